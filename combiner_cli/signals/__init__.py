"""Images and sounds as samples: signals and their formats, kinds, tiles, resizing and resampling, measures."""

__all__ = ["kinds", "lossless", "metrics", "resampling", "resizing", "signal"]
