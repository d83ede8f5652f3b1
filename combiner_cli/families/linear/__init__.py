"""Tiles of a signal, each one a network without hidden layers, under a mixture of Gaussians."""

__all__ = ["family"]
