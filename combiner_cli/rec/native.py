"""The inner loops of the search for candidates: in C where the package was built with a compiler, else in numpy.

See :mod:`combiner_cli.system.native` for which, and why so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..system import native
from . import energies, portable
from .candidates import Chaining
from .energies import Block, Energies

try:
    from . import _native
except ImportError:  # no compiler was at hand
    _native = None  # type: ignore[assignment]

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
    return _in_c(native.vectors_wanted()) if is_built() and native.wanted() else portable


_in_c = lru_cache(Native)
