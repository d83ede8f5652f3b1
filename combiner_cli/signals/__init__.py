"""Images and sounds as samples: signals and their formats, kinds, patches, resizing and resampling, measures."""

__all__ = ["kinds", "lossless", "metrics", "patches", "resampling", "resizing", "signal"]
