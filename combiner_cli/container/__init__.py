"""The ``.cmb`` file: its header, its payload and its metadata."""

__all__ = ["file", "header", "metadata"]
