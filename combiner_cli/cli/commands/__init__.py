"""One command a module."""

__all__ = ["bench", "compare", "completion", "decode", "encode", "info", "learn_prior", "priors", "test"]
