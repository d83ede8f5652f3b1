"""Many files at once."""

__all__ = ["cluster", "work"]
