"""A learned filter of decoded pictures: what it makes of them, and how it is learned."""

__all__ = ["filter", "learning"]
