"""What families that code whole signals stage by stage share: moments, networks, groups, encoder, rate control."""

__all__ = [
    "class_stream",
    "convolution",
    "decoder",
    "encoding",
    "integer_network",
    "moments",
    "prior",
    "shape",
]
