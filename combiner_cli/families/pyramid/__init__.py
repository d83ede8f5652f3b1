"""Whole images as one network of wavelets."""

__all__ = ["family"]
