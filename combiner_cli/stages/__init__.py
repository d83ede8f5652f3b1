"""What families that code whole signals stage by stage share: moments, networks, groups, encoder, rate control."""

__all__ = ["allocation", "encoder", "integer_network", "moments", "prior", "rate_control"]
