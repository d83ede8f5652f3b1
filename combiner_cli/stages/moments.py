"""Prior moments of the weights of a stage, in whole numbers, and how weights and classes are coded given them.

With the noise's deviation as the unit, means are whole steps, and deviations are numbers of sixteenths of an octave. So
all that a decoder's structure depends on comes out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rec import groups
from ..system import arrays
from . import integer_network

Array = npt.NDArray[Any]

UNIT = 64  # steps of a coefficient per deviation of the noise
LARGEST_VALUE = 2.0**28  # of coefficients in steps; what is beyond is clipped
COARSE = 3  # levels from this one on are coarse: few weights that stand for many samples each
OCTAVE = 16  # deviations are coded in sixteenths of an octave
LOWEST = -37  # of a deviation that is coded, about a fifth of the noise's
HIGHEST = 20 * OCTAVE
DEVIATION_BITS = 12  # of the fraction of a deviation
CANDIDATE_BITS = 20  # of the fraction of a candidate
FREQUENCY_BITS = 16  # of the probabilities of classes
_LOGIT_UNIT = 16
_LOWEST_LOGIT = -12 * _LOGIT_UNIT
_PART_OCTAVES = 4  # that the deviation of a detail shrinks by when a part of it is coded
_MOST_WIDENED_PARTS = 16  # or else there might be no end to the parts of a damaged file
_PART_INFORMATION = _PART_OCTAVES * groups.INFORMATION_UNIT
FEWEST_PARTS_FROM, MOST_PARTS_FROM = _PART_OCTAVES, 20
PARTS_FROM = 6  # of the priors that are learned today
_LATENTS_AT_ONCE = 1 << 16


def _deviations() -> Array:
    """Deviations in units of 2^-12 of the noise's by their number less ``LOWEST``."""
    return np.rint(np.exp2(np.arange(LOWEST, HIGHEST + 1) / OCTAVE + DEVIATION_BITS))


def _information() -> npt.NDArray[np.int64]:
    """Expected information in 1/256 bit, half of log2(1 + t), by the number of the deviation less ``LOWEST``."""
    variance = np.exp2(np.arange(LOWEST, HIGHEST + 1) * (2 / OCTAVE))
    found: npt.NDArray[np.int64] = np.maximum(np.rint(groups.INFORMATION_UNIT / 2 * np.log2(1 + variance)), 1)
    return found.astype(np.int64)


@dataclass(frozen=True)
class StageName:
    """Where a stage is.

    Attributes:
        level: 0 for the finest.
        number: within the level, 0 to 5: four of luma, two of chroma. The root is stage 0 of the level above all.
    """

    level: int
    number: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Prior moments of the details of a stage.

    Attributes:
        mean: in steps of coefficients, whole numbers of any type, ``(latents,)``.
        deviation: numbers of the deviations less ``LOWEST``, ``(latents,)`` int16; −1 where pruned, and where this part
            of a detail is not coded.
        last: whether this is the last part of the details.
    """

    mean: Array
    deviation: npt.NDArray[np.int16]
    last: bool = True

    def information(self) -> npt.NDArray[np.int16]:
        """Expected information in 1/256 bit, ``(latents,)``; 0 where pruned."""
        return self.information_of(slice(None))

    def information_of(self, which: Any) -> npt.NDArray[np.int16]:
        """The same of some latents, which an index of numpy names."""
        deviation = self.deviation[which]
        if not self.last:
            return np.where(deviation >= 0, _PART_INFORMATION, 0).astype(np.int16)
        found: npt.NDArray[np.int16] = _INFORMATION[deviation]
        return found

    def whole_information(self) -> int:
        """The expected information of all latents in 1/256 bit."""
        parts = range(0, len(self.deviation), _LATENTS_AT_ONCE)
        return sum(int(self.information_of(slice(first, first + _LATENTS_AT_ONCE)).sum()) for first in parts)

    def rest(self, which: npt.NDArray[np.int64]) -> Array:
        """Variance over the noise's of what the parts after this one have to mend and the noise, of some latents."""
        if self.last:
            return np.ones(len(which))
        found: Array = 1 + (self.deviations(which) * 2.0**-_PART_OCTAVES) ** 2
        return found

    def deviations(self, which: npt.NDArray[np.int64]) -> Array:
        """In units of the noise's deviation, of some latents."""
        found: Array = _DEVIATIONS[self.deviation[which]] * 2.0**-DEVIATION_BITS
        return found

    def values(self, which: npt.NDArray[np.integer], z: Array) -> Array:
        """Coefficients of all latents in whole steps, ``(latents,)``.

        Args:
            which: latents that have a candidate; all others are their means.
            z: their candidates, multiples of 2^-20.
        """
        return self.added(self.mean.copy(), which, z)

    def added(self, mean: Array, which: npt.NDArray[np.integer], z: Array) -> Array:
        """Means, or what has come of them so far, with some candidates as in :meth:`values`, in place where they fit
        their type.
        """
        for begin in range(0, len(which), _LATENTS_AT_ONCE):
            some = which[begin : begin + _LATENTS_AT_ONCE]
            candidates = z[begin : begin + _LATENTS_AT_ONCE].astype(np.float64) * 2.0**CANDIDATE_BITS
            scaled = _DEVIATIONS[self.deviation[some]] * candidates
            sums = mean[some] + np.floor(scaled * (UNIT * 2.0 ** -(DEVIATION_BITS + CANDIDATE_BITS)))
            mean = arrays.widened(mean, arrays.largest(sums))
            mean[some] = sums
        return mean


def in_deviations(steps: Array) -> Array:
    """Coefficients in whole steps in units of the noise's deviation: exact, in float32 where that holds the steps."""
    found: Array = steps.astype(np.promote_types(steps.dtype, np.float32)) / UNIT
    return found


def in_parts(
    moments: Moments,
    parts_from: int,
    coded: Callable[[Moments], tuple[Array, bool]],
    widen: Callable[[Moments], None] | None = None,
) -> Array:
    """Code the details of a stage, those of a large deviation in parts.

    Args:
        moments: of the details.
        parts_from: octaves of a deviation over the noise's from which a detail is coded in parts; 0 means never.
        coded: gives the coefficients ``(latents,)`` when it is given the moments of a part, and whether another part
            like it follows.
        widen: widens some of the deviations, in place, before the first parts.
    """
    least, parts = parts_from * OCTAVE - LOWEST, 0
    while True:
        if widen is not None and parts < _MOST_WIDENED_PARTS:
            widen(moments)
        if not parts_from or not moments.deviation.size or moments.deviation.max() < least:
            break
        divided = moments.deviation >= least
        values, again = coded(
            Moments(moments.mean, np.where(divided, moments.deviation, -1).astype(np.int16), last=False)
        )
        fewer = moments.deviation - (0 if again else _PART_OCTAVES * OCTAVE) * divided
        moments, parts = Moments(values, fewer.astype(np.int16)), parts + 1
    again = True
    while again:
        values, again = coded(moments)
        moments = Moments(values, moments.deviation)
    return values


# the last entry is that of a pruned latent, whose number is -1
_DEVIATIONS = np.append(_deviations(), 0)
_INFORMATION = np.append(_information(), 0).astype(np.int16)
_POWERS = np.rint(np.exp2(np.arange(_LOWEST_LOGIT, 1) / _LOGIT_UNIT + FREQUENCY_BITS))


def frequencies_of(logits: Array) -> Array:
    """Whole numbers that sum to 2^16 and are in about the proportion of 2^logit, none of them 0."""
    whole_logits = np.floor(logits * (_LOGIT_UNIT * 2.0**-integer_network.RESULT_BITS))
    relative = np.maximum(whole_logits - whole_logits.max(axis=0), _LOWEST_LOGIT).astype(np.int64)
    powers = _POWERS[relative - _LOWEST_LOGIT]
    room = (1 << FREQUENCY_BITS) - len(logits)
    found: Array = 1 + np.floor(powers * room / powers.sum(axis=0))
    top = powers.argmax(axis=0)
    found[top, np.arange(found.shape[1])] += (1 << FREQUENCY_BITS) - found.sum(axis=0)
    return found
