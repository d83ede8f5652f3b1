"""The shared source of candidates: Philox4x32-10 words and the normal values made from them.

Both sides of the codec draw the same candidates because every value is a pure function of a key and a position,
computed in integers. The same code runs on numpy arrays and torch tensors and gives the same bits on every device.

Sources: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011) for Philox; its constants and test
vectors are those of Random123.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
LANES = 8  # 16-bit lanes in the four 32-bit words of a Philox block

TABLE_STREAM = 0
PERMUTATION_STREAM = 1
FILLING_STREAM = 2
_POSITIONS_AT_ONCE = 1 << 14  # of a permutation, whose words stay in a core's cache

TABLE_ROWS = 1 << 16
_ROWS_AT_ONCE = 1 << 13  # whose words stay in a core's cache


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10 of many counters at once.

    The 64-bit products are taken in signed arithmetic that wraps around; masking leaves the same bits as the unsigned
    product, which torch does not have.

    Args:
        counter: four int64 arrays (numpy or torch) of one shape, values in [0, 2**32).
        key: two integers in [0, 2**32).

    Returns:
        Four int64 arrays of that shape, values in [0, 2**32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _MASK) ^ c1 ^ k0,
            product1 & _MASK,
            ((product0 >> 32) & _MASK) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + _KEY_STEPS[0]) & _MASK
        k1 = (k1 + _KEY_STEPS[1]) & _MASK
    return c0, c1, c2, c3


@lru_cache(maxsize=1)
def normal_quantiles() -> npt.NDArray[np.float32]:
    """The normal value of each 16-bit lane: ``(65536,)`` float32.

    Lane ``v`` stands for the quantile at (v + 1/2) / 65536, rounded to a multiple of 2**-20. The rounding makes the
    table independent of the last bit of the platform's logarithm, and float32 holds the rounded values exactly.
    The positive half mirrors the negative one.
    """
    inverse = NormalDist().inv_cdf
    half = np.array([inverse((v + 0.5) / 65536) for v in range(32768)])
    rounded = np.rint(half * 2**20) / 2**20
    table = np.concatenate([rounded, -rounded[::-1]]).astype(np.float32)
    table.setflags(write=False)
    return table


def lanes(rows: Any, columns: Any, key: int) -> Any:
    """The 16-bit lanes behind the candidates at the given places of the table.

    Args:
        rows: int64 array (numpy or torch), values in [0, 2**32).
        columns: int64 array of the same shape, values in [0, 2**32).
        key: the prior's 64-bit key.

    Returns:
        int64 array of that shape, values in [0, 65536).
    """
    zero = columns * 0
    words = philox((columns // LANES, rows, zero + TABLE_STREAM, zero), split_key(key))
    lane = columns % LANES
    word = zero
    for number, candidate in enumerate(words):
        word = word + candidate * (lane // 2 == number)
    return (word >> (16 * (lane % 2))) & 0xFFFF


def normals(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], key: int) -> npt.NDArray[np.float32]:
    """Standard normal candidates at the given places of the table (numpy), shape of ``rows``, float32."""
    candidates: npt.NDArray[np.float32] = normal_quantiles()[lanes(rows, columns, key)]
    return candidates


def row_lanes(
    block: int | npt.NDArray[np.int64], rows: npt.NDArray[np.int64], key: int, stream: int = TABLE_STREAM
) -> npt.NDArray[np.int64]:
    """The lanes of columns 8 · block to 8 · block + 7 of some rows of the table, which come from the same words.

    Args:
        block: of eight columns, one for all rows or one for each.
        rows: any shape, values in [0, 2**32). A few thousand at a time stay in a core's cache, which is fastest.
        key: the prior's key.
        stream: of words, of which each use has its own.

    Returns:
        ``(8,)`` + shape of ``rows``: in the stream of the table what :func:`lanes` gives there.
    """
    one = np.ones((1,) * rows.ndim, dtype=np.int64)
    words = philox((one * block, rows, one * stream, one * 0), split_key(key))
    halves = np.empty((LANES, *rows.shape), dtype=np.int64)
    for number, word in enumerate(words):
        np.bitwise_and(word, 0xFFFF, out=halves[2 * number])
        np.right_shift(word, 16, out=halves[2 * number + 1])
    return halves


def table(width: int, key: int) -> npt.NDArray[np.float32]:
    """The first 65,536 rows of the table, ``(65536, width)`` float32: what :func:`normals` gives at every place."""
    candidates = np.empty((TABLE_ROWS, width), dtype=np.float32)
    quantiles = normal_quantiles()
    for begin in range(0, TABLE_ROWS, _ROWS_AT_ONCE):
        rows = np.arange(begin, begin + _ROWS_AT_ONCE, dtype=np.int64)
        for first in range(0, width, LANES):
            lanes_of = row_lanes(first // LANES, rows, key)[: width - first]
            candidates[begin : begin + _ROWS_AT_ONCE, first : first + LANES] = quantiles[lanes_of].T
    return candidates


def filling(blocks: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], key: int) -> npt.NDArray[np.float32]:
    """Standard normal values for what a file leaves out, in eights, from a table that has no candidates.

    Args:
        blocks: of eight columns, ``(eights,)``.
        rows: one for each block, ``(eights,)``, values in [0, 2**32).
        key: the prior's key.

    Returns:
        ``(eights, 8)``.
    """
    values = np.empty((len(rows), LANES), dtype=np.float32)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = slice(begin, begin + _ROWS_AT_ONCE)
        values[some] = normal_quantiles()[row_lanes(blocks[some], rows[some], key, FILLING_STREAM)].T
    return values


def permutation_words(positions: npt.NDArray[np.int64], count: int, key: int) -> npt.NDArray[np.int64]:
    """What a pseudo-random permutation of ``range(count)`` orders positions by, ties by position.

    Args:
        positions: some of them, ``(positions,)``.
        count: of all positions, at most 2**32.
        key: the prior's key.

    Returns:
        31-bit words, ``(positions,)``, functions of position, ``count`` and ``key`` alone.
    """
    words = np.empty(len(positions), dtype=np.int64)
    for begin in range(0, len(positions), _POSITIONS_AT_ONCE):
        some = positions[begin : begin + _POSITIONS_AT_ONCE]
        zero = np.zeros_like(some)
        first, *_ = philox((some, zero + count, zero + PERMUTATION_STREAM, zero), split_key(key))
        words[begin : begin + len(some)] = first >> 1
    return words


def split_key(key: int) -> tuple[int, int]:
    """The two 32-bit words of a 64-bit key, low word first."""
    return key & _MASK, (key >> 32) & _MASK
