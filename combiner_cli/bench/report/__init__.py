"""Tables, plots and pages."""

__all__ = ["examples", "page", "summary"]
