"""The inner loops of the search for candidates: in C where the package was built with a compiler, else in numpy.

The results are the same, bit for bit; C takes a tenth of the time. A compiler is asked for once, when the package is
built, and is not needed: without one there is no extension module, and :mod:`.portable` does its work. (Numba would
have to be there wherever the program runs: two hundred megabytes, most of a second to import, and seconds to compile in
every process that encodes.)

The variable ``COMBINER_NATIVE`` of the environment says otherwise: ``0`` takes numpy, ``plain`` takes C without the
vectors of AVX2, for tests and for looking for faults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import energies, portable
from .candidates import Chaining
from .energies import Block, Energies

try:
    from . import _native
except ImportError:  # no compiler was at hand
    _native = None  # type: ignore[assignment]

VARIABLE = "COMBINER_NATIVE"
SLOWER = (
    "this was installed without a C compiler and searches in numpy, several times slower; with one, install it again"
)


class Kernel(Protocol):
    """The inner loops, as :mod:`.portable` describes them."""

    def fill(self, block: Block, number: int, key: int) -> None: ...

    def add(self, table: tuple[Block, ...], weights: npt.NDArray[np.int16], total: npt.NDArray[np.int32]) -> None: ...

    def advance(
        self,
        table: tuple[Block, ...],
        groups: Energies,
        start: npt.NDArray[np.int32] | None,
        cost: npt.NDArray[np.float32],
        back: npt.NDArray[np.uint8],
    ) -> None: ...

    def follow(
        self,
        groups: Energies,
        key: int,
        indices: npt.NDArray[np.int64],
        first: int,
        chaining: Chaining,
        noise: npt.NDArray[np.float32] | None,
    ) -> None: ...


@dataclass(frozen=True)
class Native:
    """The inner loops in C.

    Attributes:
        vectors: whether to use AVX2 where the processor has it.
    """

    vectors: bool

    def fill(self, block: Block, number: int, key: int) -> None:
        _native.fill(block, number, key, energies.lane_values())

    def add(self, table: tuple[Block, ...], weights: npt.NDArray[np.int16], total: npt.NDArray[np.int32]) -> None:
        _native.add(table, weights, total, self.vectors)

    def advance(
        self,
        table: tuple[Block, ...],
        groups: Energies,
        start: npt.NDArray[np.int32] | None,
        cost: npt.NDArray[np.float32],
        back: npt.NDArray[np.uint8],
    ) -> None:
        _native.advance(table, groups.weights, groups.columns, groups.units, start, cost, back, self.vectors)

    def follow(
        self,
        groups: Energies,
        key: int,
        indices: npt.NDArray[np.int64],
        first: int,
        chaining: Chaining,
        noise: npt.NDArray[np.float32] | None,
    ) -> None:
        lanes = energies.lane_values()
        _native.follow(
            groups.weights,
            groups.columns,
            groups.units,
            noise,
            lanes,
            key,
            indices,
            first,
            chaining.chains,
            chaining.long,
        )


def is_built() -> bool:
    """Whether the extension module is there."""
    return _native is not None


def kernel() -> Kernel:
    """The inner loops to use, as the environment says; the same object each time."""
    wish = os.environ.get(VARIABLE, "")
    return _in_c(wish != "plain") if is_built() and wish != "0" else portable


_in_c = lru_cache(Native)
