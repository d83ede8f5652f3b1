"""What a picture tells its decoder about itself before anything else: latents that the biases of networks depend on."""

__all__ = ["adaptation", "learning"]
