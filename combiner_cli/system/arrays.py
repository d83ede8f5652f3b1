"""What a large picture is made of, in little memory: whole numbers in the narrowest type that holds all of them.

Arithmetic is done elsewhere, in float64. What is stored here is exact in every type, so that the type does not matter
to what is computed. As a rule it is 16 bits.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_LARGEST: tuple[tuple[type[np.number[Any]], float], ...] = (
    (np.int16, 2.0**15 - 1),
    (np.float32, 2.0**24),
    (np.float64, float("inf")),
)

_LARGE = 1 << 20  # bytes of an array from which it is worth a mapping
# a process that is forked gets a copy, as of other memory
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


def mapped_zeros(shape: tuple[int, ...], kind: npt.DTypeLike) -> Array:
    """An array of zeros whose memory goes back to the system at once when nobody uses it any more.

    What is freed in the usual way may stay with the process, in gaps between other arrays.
    """
    size = math.prod(shape) * np.dtype(kind).itemsize
    if size < _LARGE:
        return np.zeros(shape, kind)
    try:
        return np.ndarray(shape, kind, mmap.mmap(-1, size, **_PRIVATE))
    except OSError as error:
        raise MemoryError(f"no memory for an array of {size} bytes") from error


def blocks(count: int, most: int) -> Iterator[slice]:
    """A range of so many in blocks of so many at most."""
    for first in range(0, count, most):
        yield slice(first, min(first + most, count))


def largest(values: Array) -> float:
    """The largest magnitude, 0 where there is none."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


def narrowest(magnitude: float) -> np.dtype[Any]:
    """The narrowest type of whole numbers up to a magnitude."""
    return np.dtype(next(kind for kind, most in _LARGEST if magnitude <= most))


def narrowed(values: Array) -> Array:
    """Whole numbers in the narrowest type; they themselves where they have it."""
    return _as_type(values, narrowest(largest(values)))


def widened(kept: Array, magnitude: float) -> Array:
    """An array in a type that holds whole numbers up to a magnitude too: itself, or a copy of a wider type."""
    return _as_type(kept, np.promote_types(kept.dtype, narrowest(magnitude)))


def _as_type(values: Array, kind: np.dtype[Any]) -> Array:
    if values.dtype == kind:
        return values
    copy = mapped_zeros(values.shape, kind)
    copy[...] = values
    return copy


class NarrowArray:
    """An array of whole numbers that several threads fill, in the narrowest type for what it holds so far.

    Attributes:
        values: zeros at first.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.values = mapped_zeros(shape, np.int16)
        self._lock = threading.Lock()

    def put(self, place: Any, values: Array) -> None:
        """Put whole numbers into a place that numpy's indexing names."""
        magnitude = largest(values)
        with self._lock:  # or else one thread might write to an array that another one has replaced
            self.values = widened(self.values, magnitude)
            self.values[place] = values
