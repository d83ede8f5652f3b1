"""Data-set sweeps, measures, peers and reports."""

__all__ = ["curves", "machine", "measures", "report", "study", "tables"]
