"""COMBINER as published: tiles of a signal, each one a network with hidden layers."""

__all__ = ["family", "tiles"]
