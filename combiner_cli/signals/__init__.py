"""Images and sounds as samples: signals and their formats, tiles, resampling, measures."""

__all__ = ["metrics", "resampling", "signal"]
