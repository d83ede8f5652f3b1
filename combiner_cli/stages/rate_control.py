"""From what a user wants to a noise variance, and to a file of exactly a size.

What a file at a noise code comes to is foretold by simulation; how a signal is coded does not matter here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ..container.header import Numbers
from ..errors import UsageError
from ..family import Target
from .encoder import Budget, Coded, Forecast
from .prior import MultiRatePrior

OVERHEAD = 1.05  # groups per 8 bits of information
_LEAST_RATIO = 0.05
_CODES_AROUND = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)  # by effort: noise variances tried on each side of the expected best
_SMALLEST_ERROR = 1e-6 / 127.5**2
_MOST_TRIALS, _FEW_TRIALS = 8, 3
_HASTY = 2  # efforts up to this one save time
_LEAST_SLOPE = 1 / 64
_NEAREST = 0.55  # steps to 0 with which a code is the nearest or as good
_NEAR = 0.25  # octaves of variance with which it will do

Array = npt.NDArray[Any]
Foretell = Callable[[int], Sequence[Forecast]]
Attempt = Callable[[Budget], Coded]
Overhead = Callable[[Numbers], int]  # bytes of a file with some numbers besides the payload


@dataclass(frozen=True)
class Codes:
    """The noise codes of a kind of signal.

    Attributes:
        lowest: of all.
        highest: of all.
        middle: where to begin if nothing is known.
        octaves: of variance per code.
        unit: of the square root of the errors that are foretold, on values in [-1, 1].
        most: codes that a signal's is away from the usual one of a quality.
    """

    lowest: int
    highest: int
    middle: int
    octaves: float
    unit: float
    most: int


def choose(
    foretell: Foretell,
    codes: Codes,
    prior: MultiRatePrior,
    wanted: Target,
    points: int,
    samples: int,
    around: int,
    effort: int,
) -> int:
    """The noise code.

    Args:
        foretell: what the parts of the signal come to at a code.
        codes: that there are.
        prior: of the signal.
        wanted: of the file.
        points: of the signal.
        samples: that the errors are of.
        around: bytes of a file besides classes and groups.
        effort: 1 to 9.

    Raises:
        UsageError: the rate is not positive.
    """

    def error(code: int) -> float:
        found = sum(one.squared_error for one in foretell(code)) / (samples * codes.unit**2)
        return max(found, _SMALLEST_ERROR)

    def octaves_over_size(code: int) -> float:
        return math.log2(_bytes_of(foretell(code)) / max(wanted.value - around, 1))

    def within_reach(code: int) -> int:
        # finer than what the prior was learned for, weights may be larger than any candidate, the more of them the less
        # noise there is
        octave = round(1 / codes.octaves)
        while code > prior.noise_codes[1] and error(code - octave) < error(code):
            code -= octave
        return code

    if wanted.unit == "psnr":
        allowed = 4 * 10 ** (-wanted.value / 10)
        return _root(lambda code: math.log2(allowed / error(code)), codes, codes.middle, 0.73 * codes.octaves)
    if wanted.unit == "rate":
        if not (math.isfinite(wanted.value) and wanted.value > 0):
            raise UsageError(f"the rate must be positive, not {wanted.value}")
        start, usual = prior.typical(wanted.value)

        # Every signal pays the same for a dB that way, which gives the best average PSNR of many signals at their
        # average rate (the derivative of the PSNR by the bits of a signal is s2 / error).
        def excess(code: int) -> float:
            return (code - start) * codes.octaves + math.log2(error(code) / usual)

        # where the error is nothing but the noise, or there is none, no code is better than another
        found = _root(excess, codes, start, 0.4 * codes.octaves)
        return int(min(max(found, start - codes.most), start + codes.most))
    start, _ = prior.typical(max(8 * wanted.value / points, 1e-3))
    # exactly the size comes of the densities: a code nearby loses little
    hasty = effort <= _HASTY
    near = max(_NEAR / codes.octaves, _NEAREST) if hasty else _NEAREST
    return within_reach(_root(octaves_over_size, codes, start, 1 / 13, near, hasty))


def trials(code: int, codes: Codes, effort: int) -> list[int]:
    """Noise codes to try for a file of a given size, the expected best one first."""
    around = _CODES_AROUND[effort]
    found = sorted(range(code - around, code + around + 1), key=lambda other: abs(other - code))
    return [other for other in found if codes.lowest <= other <= codes.highest]


def written(
    attempt: Attempt, overhead: Overhead, expected: Sequence[Forecast], size: int | None, most: int = _MOST_TRIALS
) -> Coded | None:
    """A file, of exactly a size where there is one; ``None`` where that is too small.

    Args:
        attempt: writes a file of about a budget.
        overhead: bytes of a file besides its payload.
        expected: what the parts of the signal were foretold to come to.
        size: of the file in bytes, or ``None``.
        most: attempts.
    """
    if size is None:
        return attempt(Budget(OVERHEAD))
    # the header is as long as its numbers are large, and is known afterwards only; so is what the last stages hold
    classes = sum(one.class_bits for one in expected) / 8
    around = overhead({"noise": (0,), "class_bytes": (round(classes),), "densities": (0,) * 8, "chains": (1,)})
    reserve = max(1, size // 500)
    information = sum(float(one.information.sum()) for one in expected) / 2048
    ratio = min(OVERHEAD, max(size - around - classes, 0) / max(information, 1))
    for _ in range(most):
        coded = attempt(Budget(ratio, size - around, reserve))
        used, around = len(coded.indices), overhead(coded.numbers)
        if around + len(coded.payload) == size:
            return coded
        over = around + len(coded.classes) + used - size
        if over > 0:
            reserve *= 4
            ratio *= max(used - over - reserve, 0) / max(used, 1)
            ratio = ratio if ratio > _LEAST_RATIO else 0.0  # very large groups take long and help nothing
    return None


def best(
    attempt_at: Callable[[int], Attempt],
    foretell: Foretell,
    chosen: int,
    codes: Codes,
    overhead: Overhead,
    size: int | None,
    effort: int,
    coarser: bool = False,
) -> Coded:
    """The best file of some near a noise code.

    Args:
        attempt_at: gives what writes files at a noise code; see :func:`written`.
        foretell: what the parts of the signal come to at a code, all of them.
        chosen: noise code.
        codes: that there are.
        overhead: bytes of a file besides its payload.
        size: of the file in bytes, or ``None``.
        effort: 1 to 9.
        coarser: whether coarser noise codes are tried where the size is not met: with too few groups, more and more
            weights may have to be named because candidates do not reach them.

    Raises:
        UsageError: the size is too small.
    """
    most = _FEW_TRIALS if coarser else _MOST_TRIALS
    found = [
        file
        for code in trials(chosen, codes, effort if size is not None else 0)
        if (file := written(attempt_at(code), overhead, foretell(code), size, most))
    ]
    step = 1
    while coarser and not found and chosen > codes.lowest:
        chosen, step = max(chosen - step, codes.lowest), 2 * step
        file = written(attempt_at(chosen), overhead, foretell(chosen), size, most)
        found = [file] if file else []
    if not found:
        # no file is smaller than that of the largest noise variance, with no groups but those that cannot be left out
        smallest = attempt_at(codes.lowest)(Budget(0.0))
        length = overhead(smallest.numbers) + len(smallest.payload)
        raise UsageError(f"a file of this signal takes {length} bytes; ask for more than {size}")
    return min(found, key=lambda file: file.squared_error)


def _bytes_of(expected: Sequence[Forecast]) -> float:
    """Bytes that classes and groups are expected to take."""
    return 1.0 + sum(float(one.information.sum()) * OVERHEAD / 2048 + one.class_bits / 8 for one in expected)


def _root(
    excess: Callable[[int], float],
    codes: Codes,
    start: float,
    slope: float,
    near: float = _NEAREST,
    hasty: bool = False,
) -> int:
    """The code at which a function that grows with it is nearest to 0: secants within a bracket.

    Args:
        excess: of a code.
        codes: that there are.
        start: about where it is 0.
        slope: about how much it grows by with each code.
        near: codes from the 0 that are near enough.
        hasty: whether the slope is relied on, so that the start may be near enough.
    """
    low, high = codes.lowest - 1, codes.highest + 1  # not enough, too much
    code, found = min(max(round(start), codes.lowest), codes.highest), {}
    while code not in found:
        found[code] = excess(code)
        if found[code] > 0:
            high = code
        else:
            low = code
        if len(found) > 1:
            one, other = sorted(found, key=lambda known: abs(found[known]))[:2]
            slope = (found[one] - found[other]) / (one - other)
        slope = min(max(slope, _LEAST_SLOPE), 1.0)
        step = -found[code] / slope
        if abs(step) < near and (hasty or len(found) > 1):
            break
        code = min(max(round(code + step), low + 1), high - 1)
        if low + 1 >= high:
            break
    return min(found, key=lambda own: abs(found[own]))
