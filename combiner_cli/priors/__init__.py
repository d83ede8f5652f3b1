"""Where priors are stored, found and chosen."""

__all__ = ["library", "selection", "store"]
