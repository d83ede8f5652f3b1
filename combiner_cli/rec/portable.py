"""The inner loops of the search for candidates in numpy: what :mod:`.native` does, where no compiler was at hand.

Both give the same whole numbers, the same costs and the same choices: of equals the first is taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import energies, sampler
from .candidates import STATES, Chaining, first_row
from .energies import FRACTION_BITS, LANES, Block, Energies

_ROWS_AT_ONCE = 64  # of 256 numbers each, whose words stay in a core's cache
_WIDE, _FEW = 256, 64  # columns of which the rows that so many groups need are made faster than the whole table


def fill(block: Block, number: int, key: int) -> None:
    """Make a block of the table of candidates.

    Args:
        block: result, see :func:`.energies.empty_block`.
        number: of the block: its columns are 8 · number to 8 · number + 7.
        key: of the table.
    """
    values, current = energies.lane_values(), np.arange(STATES, dtype=np.int64)[:, None]
    for plane in range(len(block)):
        first = energies.rows_of(len(block), plane)
        for begin in range(0, STATES, _ROWS_AT_ONCE):
            rows = first + current[begin : begin + _ROWS_AT_ONCE]
            lanes = sampler.row_lanes(number, rows, key)
            block[plane, begin : begin + _ROWS_AT_ONCE] = values[lanes].transpose(1, 0, 2)


def add(table: tuple[Block, ...], weights: npt.NDArray[np.int16], total: npt.NDArray[np.int32]) -> None:
    """Add the energies of all candidates of one group.

    Args:
        table: at least as many columns as there are weights.
        weights: slope, offset and sign of each column, ``(columns, 3)``.
        total: to add to, ``(planes, 256 current indices, 256 ways)``.
    """
    scratch = np.empty((STATES, STATES), dtype=np.int32)
    for column, parts in enumerate(weights):
        for values, sums in zip(table[column // LANES][:, :, column % LANES], total, strict=True):
            sums += _energies(values, parts, scratch)


def advance(
    table: tuple[Block, ...],
    groups: Energies,
    start: npt.NDArray[np.int32] | None,
    cost: npt.NDArray[np.float32],
    back: npt.NDArray[np.uint8],
) -> None:
    """Extend the best path to each state by some groups of one chain (the Viterbi algorithm).

    Args:
        table: of as many planes as ``cost``.
        groups: that follow one another in the chain.
        start: energies to begin from, ``(groups, planes, 256 current indices, 256 ways)``, or ``None``.
        cost: of the best path to each state, by plane and way, ``(planes, 256)``; replaced by those after the groups.
            Costs count from the best path on, so that they stay small enough for float32.
        back: result: for each group, plane and current index the way that the best path to it comes from,
            ``(groups, planes, 256)``.
    """
    planes = len(cost)
    total = np.empty((planes, STATES, STATES), dtype=np.int32)
    least, current = np.empty((planes, STATES), dtype=np.float32), np.arange(STATES)
    for number, (weights, columns, unit) in enumerate(zip(groups.weights, groups.columns, groups.units, strict=True)):
        total[:] = 0 if start is None else start[number]
        add(table, weights[:columns], total)
        for plane in range(planes):
            costs = total[plane].astype(np.float32)
            costs *= unit
            costs += cost[plane]
            back[number, plane] = ways = costs.argmin(axis=1)
            least[plane] = costs[current, ways]
        cost[:] = next_ways(least - least.min())


def next_ways(states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of each plane and current index, ``(planes, 256)``, by plane and way of the group that follows."""
    if len(states) == 1:
        return states
    low = energies.LONG_PLANES
    return states.reshape(low, STATES // low, low).transpose(2, 0, 1).reshape(low, STATES)


def follow(
    groups: Energies,
    key: int,
    indices: npt.NDArray[np.int64],
    first: int,
    chaining: Chaining,
    noise: npt.NDArray[np.float32] | None,
) -> None:
    """Choose one candidate after the other, each the best of the 256 that go on from those before.

    Args:
        groups: that follow one another, of all chains.
        key: of the table.
        indices: of all groups from number 0 on; those from number ``first`` on are replaced.
        first: number of the first of the groups.
        chaining: how indices name rows; 8-bit groups.
        noise: to take off the energies in nats, ``(groups, 256)``, or ``None``.
    """
    scratch = np.empty(STATES, dtype=np.int32)
    widest = int(groups.columns.max(initial=0))
    alone = chaining.long or (widest > _WIDE and len(groups.columns) < _FEW)
    table = () if alone else energies.table(widest, key, False, fill)
    for number, (weights, columns, unit) in enumerate(zip(groups.weights, groups.columns, groups.units, strict=True)):
        row = first_row(indices, first + number, chaining)
        total = np.zeros(STATES, dtype=np.int32)
        for begin in range(0, columns, LANES):
            block = begin // LANES
            values = _made_alone(block, row, key) if alone else table[block][0, :, :, row // STATES].T
            for column, parts in enumerate(weights[begin : min(begin + LANES, columns)]):
                total += _energies(values[column], parts, scratch)
        costs = total.astype(np.float32) * unit
        if noise is not None:
            costs -= noise[number]
        indices[first + number] = costs.argmin()


def _made_alone(block: int, first: int, key: int) -> npt.NDArray[np.int16]:
    """Eight columns of the 256 rows from the first one on, ``(8, 256)``."""
    return energies.lane_values()[sampler.row_lanes(block, np.arange(first, first + STATES), key)]


def _energies(
    values: npt.NDArray[np.int16], parts: npt.NDArray[np.int16], scratch: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """What one column adds to energies: the sign times the square of slope · value + offset, rounded.

    Args:
        values: of candidates.
        parts: slope, offset and sign.
        scratch: of the same shape; becomes the result.
    """
    slope, offset, sign = parts.tolist()
    np.multiply(values, slope, out=scratch, dtype=np.int32)
    scratch += (offset << FRACTION_BITS) + (1 << (FRACTION_BITS - 1))
    scratch >>= FRACTION_BITS
    scratch *= scratch
    if sign < 0:
        np.negative(scratch, out=scratch)
    return scratch
