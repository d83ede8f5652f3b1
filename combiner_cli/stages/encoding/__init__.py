"""What only an encoder of a whole signal does: simulations, the choice of noise and rate, the coding of stages."""

__all__ = ["encoder", "noise_levels", "rate_control", "simulation"]
