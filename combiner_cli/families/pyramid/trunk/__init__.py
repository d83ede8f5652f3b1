"""Networks of the second generation: a trunk of convolutions over every level."""

__all__ = ["prior"]
