"""Whole images as one network of wavelets."""

__all__ = ["features", "files", "learning", "levels", "prior"]
