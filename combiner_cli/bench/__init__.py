"""Data-set sweeps, measures, peers and reports."""

__all__ = ["curves", "machine", "measures", "sources", "study", "sweep"]
