"""Many files at once: requests, which files there are, where outputs go, and who does the work."""

__all__ = ["cluster", "inputs", "outputs", "requests", "work"]
