"""The shared source of candidates: Philox4x32-10 words and the normal values made from them.

Both sides of the codec draw the same candidates because every value is a pure function of a key and a position,
computed in integers. The same code runs on numpy arrays and torch tensors and gives the same bits on every device.

Sources: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011) for Philox; its constants and test
vectors are those of Random123.
"""

from __future__ import annotations

from functools import lru_cache
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

# the quantile function of the normal distribution by Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988):
# quotients of polynomials, in the middle and in the tails as far as a lane reaches, coefficients of high powers first
_MIDDLE = 0.425  # quantiles less a half up to which the first is good
_MIDDLE_SQUARE, _TAIL_ROOT = 0.180625, 1.6
_MIDDLE_QUOTIENT = (
    (
        *(2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457),
        *(13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    ),
    (
        *(5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867),
        *(5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
    ),
)
_TAIL_QUOTIENT = (
    (
        *(7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258),
        *(3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    ),
    (
        *(1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459),
        *(0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
    ),
)


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
    places = (np.arange(32768) + 0.5) / 65536
    middle = 0.5 - places <= _MIDDLE
    half = np.empty(len(places))
    from_middle = places[middle] - 0.5
    half[middle] = from_middle * _quotient(_MIDDLE_QUOTIENT, _MIDDLE_SQUARE - from_middle**2)
    half[~middle] = -_quotient(_TAIL_QUOTIENT, np.sqrt(-np.log(places[~middle])) - _TAIL_ROOT)
    rounded = np.rint(half * 2**20) / 2**20
    table = np.concatenate([rounded, -rounded[::-1]]).astype(np.float32)
    table.setflags(write=False)
    return table


def _quotient(polynomials: tuple[tuple[float, ...], ...], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The quotient of two polynomials, given by their coefficients, at some values."""
    numerator, denominator = (np.polyval(coefficients, values) for coefficients in polynomials)
    quotient: npt.NDArray[np.float64] = numerator / denominator
    return quotient


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
