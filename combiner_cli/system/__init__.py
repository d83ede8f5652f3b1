"""The machine: arrays, code in C, threads, processes, files, optional packages. Knows nothing of signals."""

__all__ = ["arrays", "device", "files", "native", "packages", "processes", "threads"]
