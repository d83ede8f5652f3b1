"""The energy of a candidate in whole numbers, and the table of candidates that it is computed from.

The energy of candidates z of a group is -log q/p in nats, up to a constant of the group: with posterior mean m and
deviation d of each latent, the sum over latents of (1/d² − 1)/2 · z² − m/d² · z. By completing the square a latent's
part is ±(slope · z + offset)². That is what is computed, in fixed point: z as a multiple of 1/7168, and slope and
offset as 16-bit numbers of one scale for the group, such that no sum leaves 32 bits. Sums of whole numbers do not
depend on their order, so that numpy (:mod:`.portable`) and vectors of any width (:mod:`.native`) give the same.

What that loses: an error of about a half in each root of a square, which for a group without latents far away from all
candidates is some thousandths of a nat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import sampler
from .candidates import STATES

LANES = sampler.LANES  # columns of a block of the table
LONG_PLANES = 16  # of a table for a long memory: values of four bits
MOST_COLUMNS = 1024  # of a group that are looked at; the table of more would take gigabytes
MOST_LONG_COLUMNS = 64  # that are kept of a table for a long memory: 128 MB
FRACTION_BITS = 15  # behind the point of a slope

UNITS = 7168  # of a candidate's value in one: the largest is 31,009
_LARGEST_VALUE = 4.3262  # of a candidate
_LARGEST_ENERGY = 0.875 * 2**30  # in whole numbers: the root fits 16 bits, and 1024 roundings fit on top
_MOST_SCALE = 24  # bits behind the point of a root; enough for the smallest of energies
_SMALLEST_DEVIATION = 2**-10  # closer candidates cannot be told apart
_LARGEST_DEVIATION = 2**10  # wider ones are as good as flat
_LARGEST_MEAN = 2**10  # candidates end at 4.3: farther means do not change which is the closest
_SMALLEST_SQUARE = 2**-10  # of a slope where there is an offset, which would grow without end

Block = npt.NDArray[np.int16]
Fill = Callable[[Block, int, int], None]


@dataclass(frozen=True)
class Energies:
    """How the energies of candidates of some groups are computed.

    Attributes:
        weights: slope, offset and sign of each column, ``(groups, columns, 3)`` int16, zeros where there is no latent.
        columns: that hold a latent, up to the last one of each group, ``(groups,)`` int32.
        units: nats that a whole number of energy stands for, a power of two, ``(groups,)`` float32.
    """

    weights: npt.NDArray[np.int16]
    columns: npt.NDArray[np.int32]
    units: npt.NDArray[np.float32]

    def of_first(self, columns: int) -> Energies:
        """The part that so many columns have in the energies."""
        if self.weights.shape[1] <= columns:
            return self
        weights = np.ascontiguousarray(self.weights[:, :columns])
        return Energies(weights, np.minimum(self.columns, columns), self.units)


def energies_of(mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> Energies:
    """How the energies of candidates of some groups are computed; of columns beyond the 1024th nothing is.

    Args:
        mean: whitened, of the posteriors, ``(groups, columns)``; 0 where there is no latent.
        deviation: positive, ``(groups, columns)``; 1 where there is no latent.
    """
    mean = np.clip(mean[:, :MOST_COLUMNS], -_LARGEST_MEAN, _LARGEST_MEAN)
    deviation = np.clip(deviation[:, :MOST_COLUMNS], _SMALLEST_DEVIATION, _LARGEST_DEVIATION)
    precision = 1 / (deviation * deviation)
    square, linear = 0.5 * precision - 0.5, -mean * precision
    sign = np.where(square < 0, -1, 1)
    used = (square != 0) | (linear != 0)
    slope = np.sqrt(np.where(linear != 0, np.maximum(np.abs(square), _SMALLEST_SQUARE), np.abs(square)))
    offset = sign * linear / (2 * np.where(used, slope, 1))
    reach = ((slope * _LARGEST_VALUE + np.abs(offset)) ** 2).sum(axis=1)
    # the largest power of four by which the largest energy stays in range
    _, exponent = np.frexp(_LARGEST_ENERGY / np.maximum(reach, 2.0**-99))
    bits = np.minimum((exponent - 1) // 2, _MOST_SCALE)
    scale = np.ldexp(1.0, bits)[:, None]
    parts = slope * scale * (2**FRACTION_BITS / UNITS), offset * scale, np.where(used, sign, 0)
    columns = np.where(used, np.arange(1, used.shape[1] + 1), 0).max(axis=1, initial=0)
    return Energies(
        np.rint(np.stack(parts, axis=2)).astype(np.int16),
        columns.astype(np.int32),
        np.ldexp(np.float32(1), -2 * bits).astype(np.float32),
    )


def table(columns: int, key: int, long: bool, fill: Fill) -> tuple[Block, ...]:
    """The first columns of the table of candidates in blocks of eight, all of which are kept.

    Args:
        columns: how many at least.
        key: of the table.
        long: whether the rows are those of a long memory.
        fill: makes a block of the table.

    Returns:
        Blocks as :func:`empty_block` describes them.
    """
    kept = _long_block if long else _short_block
    return tuple(kept(block, key, fill) for block in range(-(-columns // LANES)))


def empty_block(long: bool) -> Block:
    """Room for eight columns of the table: ``(planes, 256 current indices, 8 columns, 256 ways)``.

    The row is 256 · previous index + current index, where the ways are the previous indices and there is one plane.
    With a long memory the 16 planes are the lower four bits of the previous index b, and a way is 16 times the lower
    four bits of the index before it plus the higher four bits of b: thus those ways from which a path may go on to the
    same state are next to each other.
    """
    return np.empty((LONG_PLANES if long else 1, STATES, LANES, STATES), dtype=np.int16)


def rows_of(planes: int, plane: int) -> npt.NDArray[np.int64]:
    """The row of the table where each way begins, ``(256,)``; the current index is to be added."""
    way = np.arange(STATES, dtype=np.int64)
    if planes == 1:
        return way * STATES
    older, high = np.divmod(way, STATES // LONG_PLANES)
    rows: npt.NDArray[np.int64] = (older * STATES + high * LONG_PLANES + plane) * STATES
    return rows


@lru_cache(maxsize=1)
def lane_values() -> npt.NDArray[np.int16]:
    """The value of each 16-bit lane of the sampler as a multiple of 1/7168, ``(65536,)``."""
    values = np.rint(sampler.normal_quantiles().astype(np.float64) * UNITS).astype(np.int16)
    values.setflags(write=False)
    return values


def forget() -> None:
    """Let go of the table."""
    _short_block.cache_clear()
    _long_block.cache_clear()


@lru_cache(maxsize=MOST_COLUMNS // LANES)
def _short_block(block: int, key: int, fill: Fill) -> Block:
    values = empty_block(long=False)
    fill(values, block, key)
    values.setflags(write=False)
    return values


@lru_cache(maxsize=MOST_LONG_COLUMNS // LANES)
def _long_block(block: int, key: int, fill: Fill) -> Block:
    values = empty_block(long=True)
    fill(values, block, key)
    values.setflags(write=False)
    return values
