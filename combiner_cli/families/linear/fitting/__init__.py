"""How a mixture is fitted to tiles: phase by phase, and in each phase assignments and updates in turns."""

__all__ = ["phases"]
