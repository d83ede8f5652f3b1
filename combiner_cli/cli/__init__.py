"""The command line."""

__all__ = ["converting", "display", "learning_display", "learning_jobs", "main", "options", "sources"]
