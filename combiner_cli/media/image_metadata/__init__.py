"""Metadata of image files: what there is, what a format holds, and how it is written."""

__all__ = ["parts", "reading", "writing"]
