"""Processes that work side by side, and what becomes of the work of one that dies.

The processes are started afresh ("spawn"): none inherits locks or threads of libraries. An interrupt from the keyboard
does not reach them; they end when the process that started them lets go of them, or is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from typing import TypeVar

from .resources import available_threads, limit_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """What takes the place of a result that nobody could compute.

    Attributes:
        reason: in words.
    """

    reason: str


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
