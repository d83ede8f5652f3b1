"""The machine: arrays, code in C, threads, memory, processes, files, optional packages. Knows nothing of signals."""

__all__ = ["arrays", "device", "files", "native", "packages", "processes", "resources", "threads"]
