"""A mixture of Gaussians over the weights of networks without hidden layers."""

__all__ = ["closed_form", "learning", "mixtures", "neighbourhood", "network"]
