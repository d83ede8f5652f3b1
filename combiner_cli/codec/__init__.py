"""The pipeline: signals to files and back."""

__all__ = ["goals", "inspection", "limits", "pipeline"]
