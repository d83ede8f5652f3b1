"""Image and sound files to signals and back."""

__all__ = ["files", "images", "sounds"]
