"""The types of the extension module; :mod:`.portable` says what its functions do."""

import numpy as np
from numpy.typing import NDArray

from .energies import Block

def fill(block: Block, number: int, key: int, lane_values: NDArray[np.int16], /) -> None: ...
def add(table: tuple[Block, ...], weights: NDArray[np.int16], total: NDArray[np.int32], vectors: bool, /) -> None: ...
def advance(
    table: tuple[Block, ...],
    weights: NDArray[np.int16],
    columns: NDArray[np.int32],
    units: NDArray[np.float32],
    start: NDArray[np.int32] | None,
    cost: NDArray[np.float32],
    back: NDArray[np.uint8],
    vectors: bool,
    /,
) -> None: ...
def follow(
    weights: NDArray[np.int16],
    columns: NDArray[np.int32],
    units: NDArray[np.float32],
    noise: NDArray[np.float32] | None,
    lane_values: NDArray[np.int16],
    key: int,
    indices: NDArray[np.int64],
    first: int,
    chains: int,
    long: bool,
    /,
) -> None: ...
