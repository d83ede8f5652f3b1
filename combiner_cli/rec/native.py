"""The inner loops of the search for candidates: in C where the package was built with a compiler, else in numpy.

The results are the same, bit for bit; C takes a tenth of the time. A compiler is asked for once, when the package is
built, and is not needed: without one there is no extension module, and :mod:`.portable` does its work. (Numba would
have to be there wherever the program runs: two hundred megabytes, most of a second to import, and seconds to compile in
every process that encodes.)

The variable ``COMBINER_NATIVE`` of the environment says otherwise: ``0`` takes numpy, ``plain`` takes C without the
vectors of AVX2, for tests and for looking for faults.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import energies, portable
from .candidates import Chaining
from .energies import Block, Energies

VARIABLE = "COMBINER_NATIVE"


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
        library: the extension module.
        vectors: whether to use AVX2 where the processor has it.
    """

    library: ModuleType
    vectors: bool

    def fill(self, block: Block, number: int, key: int) -> None:
        self.library.fill(block, number, key, energies.lane_values())

    def add(self, table: tuple[Block, ...], weights: npt.NDArray[np.int16], total: npt.NDArray[np.int32]) -> None:
        self.library.add(table, weights, total, self.vectors)

    def advance(
        self,
        table: tuple[Block, ...],
        groups: Energies,
        start: npt.NDArray[np.int32] | None,
        cost: npt.NDArray[np.float32],
        back: npt.NDArray[np.uint8],
    ) -> None:
        self.library.advance(table, groups.weights, groups.columns, groups.units, start, cost, back, self.vectors)

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
        self.library.follow(
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
    return _library() is not None


def kernel() -> Kernel:
    """The inner loops to use, as the environment says; the same object each time."""
    library, wish = _library(), os.environ.get(VARIABLE, "")
    return portable if library is None or wish == "0" else _native(library, wish != "plain")


@lru_cache(maxsize=1)
def _library() -> ModuleType | None:
    try:
        return importlib.import_module("._native", __package__)
    except ImportError:
        return None


_native = lru_cache(Native)
