"""What is around the samples in sound files: sizes in headers, pages, and tags."""

__all__ = ["headers", "id3", "ogg", "tagging"]
