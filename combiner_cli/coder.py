"""Relative entropy coding: choose one candidate of each group, and look candidates up again.

Encoder and decoder see the same table of 65,536 candidate rows. With 16-bit groups an index names a row. With chained
8-bit groups the row is 256 · previous index + index, so that a search may follow many paths; here A* coding follows
one (Flamich et al., "Fast relative entropy coding with A* coding", ICML 2022; Guo et al. 2023, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import sampler
from .groups import Partition

WIDEST_GROUP = 512  # columns of the encoder's table; more would cost gigabytes
_GROUPS_AT_ONCE = 32  # scores of that many groups are in memory together
_CHAIN_STATES = 256
_SMALLEST_WAIT = np.float32(2**-25)  # in float32 zeros stand for waits below this, and must not become infinite noise


@dataclass(frozen=True)
class Target:
    """Posteriors of some groups of some signals against their prior, in whitened coordinates.

    Attributes:
        mean: ``(signals, groups, width)``; columns beyond a group's end are 0.
        deviation: ``(signals, groups, width)``, positive; columns beyond a group's end are 1.
    """

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


def lookup(
    indices: npt.NDArray[np.int64], partition: Partition, group_bits: int, key: int, part: slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Whitened values of coded latents, float32, in the order of ``partition.order``.

    Args:
        indices: of the groups from the first one on, ``(..., groups)``.
        partition: which latents the groups hold.
        group_bits: 8 or 16.
        key: of the table.
        part: which positions of ``partition.order`` to look up; their groups must be among ``indices``.

    Returns:
        ``(..., positions)``.
    """
    group, column = partition.group[part], partition.column[part]
    rows = table_rows(indices, group_bits)[..., group]
    return sampler.normals(rows, np.broadcast_to(column, rows.shape), key)


def table_rows(indices: npt.NDArray[np.int64], group_bits: int) -> npt.NDArray[np.int64]:
    """The table row of each group's candidate, from the indices of all groups in coding order: ``(..., groups)``."""
    if group_bits == 16:
        return indices
    previous = np.zeros_like(indices)
    previous[..., 1:] = indices[..., :-1]
    return previous * _CHAIN_STATES + indices


def search(
    target: Target, group_bits: int, key: int, previous: npt.NDArray[np.int64], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """A* coding of groups that follow one another: the index of a candidate of each, ``(signals, groups)``.

    The signals share the noise: what is chosen for one does not depend on what else is in the batch.

    Args:
        target: their posteriors.
        group_bits: 8 or 16.
        key: of the table.
        previous: index of the group before the first, ``(signals,)``, for chained groups; 0 at the start of a stage.
        generator: source of the Gumbel noise, the encoder's own.
    """
    coefficients = _coefficients(target)
    candidates = _candidates(target.mean.shape[2], key)
    if group_bits == 16:
        return _search_independent(coefficients, candidates, generator)
    return _search_chained(coefficients, candidates, previous, generator)


def gumbel_noise(groups: int, candidates: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Independent standard Gumbel noise, ``(groups, candidates)``.

    A* sampling visits candidates in the order of decreasing noise, and draws fresh candidates for every group, so that
    the order of their numbers will do (Maddison et al., "A* sampling", NeurIPS 2014). Here all groups share one table:
    the order must be a random one, or the first rows would be chosen again and again. Independent noise is that.
    """
    noise = generator.standard_exponential((groups, candidates), dtype=np.float32)
    np.maximum(noise, _SMALLEST_WAIT, out=noise)
    return np.negative(np.log(noise, out=noise), out=noise)


def _coefficients(target: Target) -> npt.NDArray[np.float32]:
    """log q/p of a candidate z is [z, z²] times this, up to a constant: ``(signals, groups, 2 · width)``."""
    precision = target.deviation**-2.0
    return np.concatenate([target.mean * precision, 0.5 - 0.5 * precision], axis=2).astype(np.float32)


@lru_cache(maxsize=1)
def _candidates(width: int, key: int) -> npt.NDArray[np.float32]:
    """[z, z²] of every row of the table, ``(rows, 2 · width)``."""
    table = sampler.table(width, key)
    return np.concatenate([table, table * table], axis=1)


def _search_independent(
    coefficients: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    signals, groups, _ = coefficients.shape
    at_once = max(1, _GROUPS_AT_ONCE // signals)
    chosen = np.empty((signals, groups), dtype=np.int64)
    for first in range(0, groups, at_once):
        block = slice(first, min(first + at_once, groups))
        noise = gumbel_noise(block.stop - block.start, len(candidates), generator)
        scores = coefficients[:, block] @ candidates.T  # (signals, groups, rows)
        scores += noise
        chosen[:, block] = scores.argmax(axis=2)
    return chosen


def _search_chained(
    coefficients: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    previous: npt.NDArray[np.int64],
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    signals, groups, _ = coefficients.shape
    states = candidates.reshape(_CHAIN_STATES, _CHAIN_STATES, -1)
    chosen = np.empty((signals, groups), dtype=np.int64)
    for number in range(groups):
        scores = states[previous] @ coefficients[:, number, :, None]  # (signals, candidates, 1)
        scores = scores[..., 0] + gumbel_noise(1, _CHAIN_STATES, generator)
        previous = chosen[:, number] = scores.argmax(axis=1)
    return chosen
