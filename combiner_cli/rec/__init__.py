"""Relative entropy coding: the shared sampler, groups, candidates, and the search for their numbers."""

__all__ = ["candidates", "groups", "joint", "native", "sampler", "search"]
