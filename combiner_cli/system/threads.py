"""A few threads for work in numpy, which lets go of the interpreter's lock while it computes.

What is computed does not depend on how many there are: every item is computed alone, and results are in order. The
library behind numpy's matrix products has threads of its own, which would be in the way; it is kept to one meanwhile.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
import numpy.typing as npt

from . import arrays

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 8  # more threads would wait for each other


def count() -> int:
    """Number of threads to use: as the environment says, or one for each core that the process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return min(int(asked), _MOST)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST)


class Scratch:
    """Arrays of float64 that every thread keeps for itself from one piece of work to the next.

    To get fresh memory from the system takes longer than to fill it. At the end of a ``with`` block the memory of all
    threads is given back; none of them may be at work then.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._of_thread = threading.local()

    def take(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """An array with anything in it; whoever took that name before in this thread must be done with it."""
        kept: npt.NDArray[np.float64] | None = getattr(self._of_thread, name, None)
        size = math.prod(shape)
        if kept is None or kept.size < size:
            kept = arrays.mapped_zeros((size,), np.float64)
            setattr(self._of_thread, name, kept)
        return kept[:size].reshape(shape)


def mapped(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results of all items, in order."""
    threads = count()
    if threads < 2:
        return [function(item) for item in items]
    with _alone():  # for a single item too: what is computed at once is small, and idle threads of products keep a core
        return [function(item) for item in items] if len(items) < 2 else list(_pool(threads).map(function, items))


def streamed(function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    """Results of all items, in order and one after another, while the next few are worked on."""
    threads = count()
    if threads < 2:
        yield from map(function, items)
        return
    under_way: deque[Future[Result]] = deque()
    with _alone():
        try:
            for item in items:
                under_way.append(_pool(threads).submit(function, item))
                if len(under_way) > 2 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:  # nothing goes on for somebody who has stopped to ask
            for future in under_way:
                future.cancel()
            wait(under_way)


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="combiner")


def _alone() -> AbstractContextManager[object]:
    """Where the matrix products have one thread each."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
