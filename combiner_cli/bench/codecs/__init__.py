"""The peers."""

__all__ = ["baselines", "images", "sounds"]
