"""The best path through groups whose candidates depend on the index before and four bits of the one before that.

The Viterbi algorithm (Viterbi, 1967) with 4,096 states: the previous index b and the lower four bits a of the one
before it. From each state 256 candidates c go on to the state (b mod 16, c), so that the best path to that state is
the best of 256: those with any a and any higher four bits of b. Everything is laid out so that these 256 are next to
each other.

What is chosen does not depend on the number of threads: every matrix product is of a fixed shape, small enough that the
library behind numpy does not divide it among threads.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import sampler

_NIBBLES = 16  # values of four bits
_INDICES = 256  # values of an index; also the number of ways to a state
_TOGETHER = (4, 8, 16)  # groups whose energies are computed together: 4 MB each
_NARROW = 16  # columns whose squares are kept as well, 128 MB
_MOST_KEPT = 64  # columns of which anything is kept, another 4 MB each
_CACHED = 16  # 256 rows of 16 terms each: a quarter megabyte


def best_path(coefficients: npt.NDArray[np.float32], key: int, coded: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The indices of the groups of one signal along the path of the least energy: ``(groups,)``.

    Takes some 3 ms for a group of 16 columns. Of tables up to 320 MB are kept, for 64 columns; further columns are made
    again for every 16 groups, which takes a tenth of a second for each eight. 64 MB of energies come on top.

    Args:
        coefficients: of z and z² − 1 of each column in turn in the energy of a group, ``(groups, 2 · width)``.
        key: of the table.
        coded: indices of all groups before, ``(first,)``.
    """
    groups = len(coefficients)
    cost = _first_cost(coded)
    back = np.empty((groups, _NIBBLES, _INDICES), dtype=np.uint8)
    totals = np.empty((_INDICES, _INDICES), dtype=np.float32)
    energies = _room(min(groups, _TOGETHER[-1]))
    for begin in range(0, groups, _TOGETHER[-1]):
        some = coefficients[begin : begin + _TOGETHER[-1]]
        _energies(some, key, energies)
        for number in range(len(some)):
            cost, back[begin + number] = _step(cost, energies[:, number], totals)
    return _trace(cost, back)


def _first_cost(coded: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Nothing for the state after the coded indices, infinity for the others; laid out as in :func:`_step`."""
    older, previous = (int(index) for index in np.append([0, 0], coded)[-2:])
    cost = np.full((_NIBBLES, _NIBBLES, _NIBBLES), np.inf, dtype=np.float32)
    cost[previous % _NIBBLES, older % _NIBBLES, previous // _NIBBLES] = 0
    return cost.reshape(_NIBBLES, _INDICES)


def _step(
    cost: npt.NDArray[np.float32], energies: npt.NDArray[np.float32], totals: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """Go on by one group.

    Args:
        cost: of the best path to each state, ``(16 lower bits of b, 256 a and higher bits of b)``.
        energies: of the group's candidates, ``(16 lower bits of b, 256 candidates, 256 a and higher bits of b)``.
        totals: scratch, ``(256, 256)``.

    Returns:
        The costs with this group, and for each new state, ``(16, 256)``, which of the 256 ways leads to it.
    """
    least = np.empty((_NIBBLES, _INDICES), dtype=np.float32)
    ways = np.empty((_NIBBLES, _INDICES), dtype=np.intp)
    candidates = np.arange(_INDICES)
    for low in range(_NIBBLES):
        np.add(energies[low], cost[low], out=totals)
        totals.argmin(axis=1, out=ways[low])
        least[low] = totals[candidates, ways[low]]
    # costs count from the best path on, so that they stay small enough for float32
    least -= least.min()
    following = least.reshape(_NIBBLES, _NIBBLES, _NIBBLES).transpose(2, 0, 1)
    return np.ascontiguousarray(following).reshape(_NIBBLES, _INDICES), ways


def _trace(cost: npt.NDArray[np.float32], back: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The indices along the path that ends with the least cost."""
    chosen = np.empty(len(back), dtype=np.int64)
    low, way = divmod(int(cost.argmin()), _INDICES)
    for number in reversed(range(len(back))):
        older, high = divmod(way, _NIBBLES)
        chosen[number] = high * _NIBBLES + low
        low, way = older, int(back[number, older, chosen[number]])
    return chosen


def _room(groups: int) -> npt.NDArray[np.float32]:
    """Room for the energies of at least so many groups: ``(16, groups, 256, 256)``, see :func:`_step`."""
    count = next(count for count in _TOGETHER if count >= groups)
    # an unused row between groups: their distance must not be a power of two, or they compete for places in caches
    return np.empty((_NIBBLES, count, _INDICES + 1, _INDICES), dtype=np.float32)[:, :, :_INDICES]


def _energies(coefficients: npt.NDArray[np.float32], key: int, energies: npt.NDArray[np.float32]) -> None:
    """Energies of all candidates of some groups.

    Args:
        coefficients: ``(groups, terms)``.
        key: of the table.
        energies: result, ``(16, groups or more, 256, 256)``.
    """
    count = next(count for count in _TOGETHER if count >= len(coefficients))
    used = np.flatnonzero(coefficients.any(axis=0))
    columns = int(used[-1]) // 2 + 1 if len(used) else 1
    # always one of a few numbers of rows: another shape would be summed in another order
    padded = np.zeros((count, 2 * _whole_blocks(columns)), dtype=np.float32)
    padded[: len(coefficients), : 2 * columns] = coefficients[:, : 2 * columns]
    terms = 2 * min(columns, _NARROW)
    table = _narrow(key)
    for low in range(_NIBBLES):
        np.matmul(padded[:, :terms], table[low, :, :terms], out=energies[low, :count].transpose(1, 0, 2))
    for first in range(_NARROW, columns, sampler.LANES):
        block = first // sampler.LANES
        values = _kept(block, key) if first < _MOST_KEPT else _columns(block, key)
        _add(padded[:, 2 * first : 2 * (first + sampler.LANES)], values, energies[:, :count])


def _add(
    coefficients: npt.NDArray[np.float32], values: npt.NDArray[np.float32], energies: npt.NDArray[np.float32]
) -> None:
    """Add what eight more columns have to say: coefficients ``(groups, 16)``, values as of :func:`_columns`."""
    features = np.empty((_CACHED, sampler.LANES, 2, _INDICES), dtype=np.float32)
    terms = features.reshape(_CACHED, 2 * sampler.LANES, _INDICES)
    added = np.empty((_CACHED, len(coefficients), _INDICES), dtype=np.float32)
    for low in range(_NIBBLES):
        for begin in range(0, _INDICES, _CACHED):
            part = slice(begin, begin + _CACHED)
            _fill(features, values[low, part])
            np.matmul(coefficients, terms, out=added)
            energies[low, :, part] += added.transpose(1, 0, 2)


def _fill(features: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> None:
    """z and z² − 1: features ``(..., columns, 2, 256)`` of values ``(..., columns, 256)``.

    The mean of z² is taken off because a sum in float32 is the more exact the smaller it is.
    """
    features[..., 0, :] = values
    np.multiply(values, values, out=features[..., 1, :])
    features[..., 1, :] -= 1


def _whole_blocks(columns: int) -> int:
    """A number of columns rounded up to what the sampler gives at once."""
    return -(-columns // sampler.LANES) * sampler.LANES


def forget() -> None:
    """Let go of the candidates that are kept, some hundred megabytes."""
    _narrow.cache_clear()
    _kept.cache_clear()


@lru_cache(maxsize=1)
def _narrow(key: int) -> npt.NDArray[np.float32]:
    """z and z² − 1 of the first 16 columns in turn, ``(16, 256, 32, 256)``; the other axes as in :func:`_columns`."""
    features = np.empty((_NIBBLES, _INDICES, _NARROW, 2, _INDICES), dtype=np.float32)
    for first in range(0, _NARROW, sampler.LANES):
        values = _columns(first // sampler.LANES, key)
        for low in range(_NIBBLES):
            _fill(features[low, :, first : first + sampler.LANES], values[low])
    features.setflags(write=False)
    return features.reshape(_NIBBLES, _INDICES, 2 * _NARROW, _INDICES)


@lru_cache(maxsize=(_MOST_KEPT - _NARROW) // sampler.LANES)
def _kept(block: int, key: int) -> npt.NDArray[np.float32]:
    """:func:`_columns`, kept."""
    values = _columns(block, key)
    values.setflags(write=False)
    return values


def _columns(block: int, key: int) -> npt.NDArray[np.float32]:
    """Eight columns of all 2^20 rows: ``(16 lower bits of b, 256 candidates, 8, 256 a and higher bits of b)``."""
    values = np.empty((_NIBBLES, _INDICES, sampler.LANES, _INDICES), dtype=np.float32)
    way, candidates = np.arange(_INDICES, dtype=np.int64), np.arange(_CACHED, dtype=np.int64)[:, None]
    older, high = np.divmod(way, _NIBBLES)
    for low in range(_NIBBLES):
        first = (older * _INDICES + high * _NIBBLES + low) * _INDICES
        for begin in range(0, _INDICES, _CACHED):
            some = sampler.row_columns(block, first + (begin + candidates), key)
            values[low, begin : begin + _CACHED] = some.transpose(1, 0, 2)
    return values
