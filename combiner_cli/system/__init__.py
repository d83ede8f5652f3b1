"""The machine: arrays, threads, processes, files, optional packages. Knows nothing of signals."""

__all__ = ["arrays", "device", "files", "packages", "processes", "threads"]
