"""Learning priors: data sets, the trainer, curves, cards, estimates."""

__all__ = ["cards", "curves", "datasets", "distributed", "estimate", "trainer"]
