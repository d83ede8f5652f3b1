"""The machine: arrays, threads, processes, files, optional packages. Knows nothing of signals."""

__all__ = ["arrays", "files", "packages", "processes", "threads"]
