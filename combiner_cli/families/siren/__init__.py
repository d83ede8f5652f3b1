"""COMBINER as published: a network with hidden layers per tile."""

__all__ = [
    "conditioning",
    "covariance_coding",
    "covariances",
    "gauss_newton",
    "learn_covariance",
    "learning",
    "network",
    "posterior",
    "refinement",
]
