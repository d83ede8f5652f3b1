"""Threads and memory of this process: what it may take, and what it gives back."""

from __future__ import annotations

import os
import sys

_MAPPED_FROM, _TRIMMED_FROM = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h
_LARGE, _SPARE = 1 << 22, 1 << 23  # bytes of an array with memory of its own; that are not given back one by one


def available_threads() -> int:
    """Threads that computing may take in all: as the environment says, or the cores that the process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Before numpy and torch are loaded they are told by the environment; a torch that is there is told itself."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def return_memory() -> None:
    """Have the memory of large arrays go back to the system when they are freed, where the C library is glibc.

    It would raise the size that counts as large whenever such an array is freed, and keep what is smaller in gaps.
    """
    import ctypes  # here, since most commands have no use for it

    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if change is not None:
        change(_MAPPED_FROM, _LARGE)
        change(_TRIMMED_FROM, _SPARE)
