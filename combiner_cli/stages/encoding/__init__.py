"""What only an encoder of a whole signal does: simulations, the choice of noise and rate, the coding of stages."""

__all__ = ["encoder", "rate_control", "simulation"]
