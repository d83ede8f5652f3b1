"""Whole recordings as one network of a lapped transform."""

__all__ = ["family"]
