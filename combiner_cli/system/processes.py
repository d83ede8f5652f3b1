"""Processes that work side by side, and what becomes of the work of one that dies.

The processes are started afresh ("spawn"): none inherits locks or threads of libraries. An interrupt from the keyboard
does not reach them; they end when the process that started them lets go of them, or is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAPPED_FROM, _TRIMMED_FROM = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h
_LARGE, _SPARE = 1 << 22, 1 << 23  # bytes of an array with memory of its own; that are not given back one by one


@dataclass(frozen=True)
class Lost:
    """What takes the place of a result that nobody could compute.

    Attributes:
        reason: in words.
    """

    reason: str


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


def run(
    tasks: Sequence[Sequence[Item]], work: Callable[[Sequence[Item]], Sequence[Result]], count: int
) -> Iterator[tuple[Item, Result | Lost]]:
    """Results of the items of tasks, as they are finished.

    When a process dies, nobody can tell which of the tasks under way was to blame. The items of all of them are then
    worked on again one by one with nothing beside them, and one whose process dies again is given up.

    Args:
        tasks: items that go to a process together.
        work: gives the results of some items, in order; a function at the top level of a module, or a partial of one.
        count: number of processes. Each has its share of the threads.

    Yields:
        Items, each with its result or with the reason why there is none.
    """
    threads = max(1, available_threads() // count)
    waiting = deque(tasks)
    while waiting:
        suspects = yield from _until_one_dies(waiting, work, count, threads)
        alone: deque[Sequence[Item]] = deque([item] for item in suspects)
        while alone:
            for item in (yield from _until_one_dies(alone, work, 1, threads)):
                yield item, Lost("the process that worked on it died twice; perhaps there is too little memory for it")


def _until_one_dies(
    waiting: deque[Sequence[Item]], work: Callable[[Sequence[Item]], Sequence[Result]], count: int, threads: int
) -> Generator[tuple[Item, Result | Lost], None, list[Item]]:
    """Results of waiting tasks; returns the items of those that were under way when a process died."""
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _prepare, (threads,))
    under_way: dict[Future[Sequence[Result]], Sequence[Item]] = {}
    suspects: list[Item] = []
    try:
        while under_way or (waiting and not suspects):
            while waiting and len(under_way) < count and not suspects:
                task = waiting.popleft()
                try:
                    with _interrupts_blocked():  # what is blocked here is so in a process that is started now
                        under_way[pool.submit(work, task)] = task
                except BrokenProcessPool:
                    suspects += task
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                task, error = under_way.pop(future), future.exception()
                if isinstance(error, BrokenProcessPool):
                    suspects += task
                elif error is not None:
                    yield from ((item, Lost(f"unexpected {type(error).__name__}: {error}")) for item in task)
                else:
                    yield from zip(task, future.result(), strict=True)
        return suspects
    finally:
        for process in list((pool._processes or {}).values()):  # before Python 3.14 there is no other way
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _prepare(threads: int) -> None:
    """The beginning of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where signals cannot be blocked
    limit_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
