"""Learning priors: data sets, the trainer, curves, cards, estimates."""

__all__ = ["checkpoint", "datasets", "distributed", "estimate", "gradients", "job", "networks", "report", "trainer"]
