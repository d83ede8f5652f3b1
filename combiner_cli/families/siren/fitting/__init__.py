"""Fitting networks to signals, and coding what is fitted: everything of the family that takes torch."""

__all__ = ["coding", "conditioning", "newton", "posterior", "refinement"]
