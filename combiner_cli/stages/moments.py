"""Prior moments of the weights of a stage, in whole numbers, and the parts in which weights are coded given them.

With the noise's deviation as the unit, means are whole steps, and deviations are numbers of sixteenths of an octave. So
all that a decoder's structure depends on comes out the same on every machine. Where the noise has a shape
(:mod:`combiner_cli.stages.shape`), means are in the unit of the base noise, and deviations in that of a weight's noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rec.groups import INFORMATION_UNIT
from ..system import arrays

Array = npt.NDArray[Any]

UNIT = 64  # steps of a weight per deviation of the noise
LARGEST_VALUE = 2.0**28  # of weights in steps; what is beyond is clipped
COARSE = 3  # levels from this one on are coarse: few weights that stand for many samples each
OCTAVE = 16  # deviations are coded in sixteenths of an octave
LOWEST = -37  # of a deviation that is coded, about a fifth of the noise's
HIGHEST = 20 * OCTAVE
DEVIATION_BITS = 12  # of the fraction of a deviation
CANDIDATE_BITS = 20  # of the fraction of a candidate
FEWEST_PARTS_FROM, MOST_PARTS_FROM = 4, 20
PARTS_FROM = 6  # of the priors that are learned today
_LOWEST_SHAPED = LOWEST - 6 * OCTAVE  # of a deviation over the base noise
_PART_OCTAVES = 4  # that the deviation of a weight shrinks by when a part of it is coded
_PART_INFORMATION = _PART_OCTAVES * INFORMATION_UNIT
_MOST_WIDENED_PARTS = 16  # or else there might be no end to the parts of a damaged file
_LATENTS_AT_ONCE = 1 << 16


def _deviations() -> Array:
    """Deviations in units of 2^-12 of the noise's by their number less ``LOWEST``, then 0 for a pruned weight."""
    return np.append(np.rint(np.exp2(np.arange(LOWEST, HIGHEST + 1) / OCTAVE + DEVIATION_BITS)), 0)


def _information() -> npt.NDArray[np.int16]:
    """Expected information in 1/256 bit, half of log2(1 + t), in the order of :func:`_deviations`."""
    variance = np.exp2(np.arange(LOWEST, HIGHEST + 1) * (2 / OCTAVE))
    information = np.maximum(np.rint(INFORMATION_UNIT / 2 * np.log2(1 + variance)), 1)
    return np.append(information, 0).astype(np.int16)


# the last entry is that of a pruned weight, whose number is -1
_DEVIATIONS = _deviations()
# the same over the base noise, those of weights with less noise included
_BASE_DEVIATIONS = np.rint(np.exp2(np.arange(_LOWEST_SHAPED, HIGHEST + 1) / OCTAVE + DEVIATION_BITS))
_INFORMATION = _information()


@dataclass(frozen=True)
class StageId:
    """Which stage of a signal it is.

    Attributes:
        level: 0 for the finest.
        number: of the stage within the level, from 0 on in coding order.
    """

    level: int
    number: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Prior moments of the weights of a stage, or of a part of them.

    Attributes:
        mean: expected weights in steps, whole numbers of any type, ``(latents,)``.
        deviation: numbers of the prior deviations less ``LOWEST``, ``(latents,)`` int16; −1 where a weight is pruned,
            and where this part of it is not coded.
        last: whether no further part of the weights follows.
        noise: sixteenths of an octave by which a weight has more noise than the base, ``(latents,)`` int16; ``None``
            where none has.
    """

    mean: Array
    deviation: npt.NDArray[np.int16]
    last: bool = True
    noise: npt.NDArray[np.int16] | None = None

    def with_noise(self, noise: npt.NDArray[np.int16]) -> Moments:
        """The same moments with a noise for each weight, where they were in the unit of the base noise.

        Args:
            noise: as the attribute.
        """
        relative = np.maximum(self.deviation - noise, -1)
        return replace(self, deviation=np.where(self.deviation < 0, -1, relative).astype(np.int16), noise=noise)

    def over_noise(self, base: Array, which: Any = slice(None)) -> Array:
        """What is in units of the base noise's deviation, in units of each weight's.

        Args:
            base: differences of some weights, ``(weights,)``.
            which: of the latents they are.
        """
        if self.noise is None:
            return base
        relative: Array = base * np.exp2(self.noise[which] * np.float32(-1 / OCTAVE))
        return relative

    def information(self) -> npt.NDArray[np.int16]:
        """Expected information in 1/256 bit, ``(latents,)``; 0 where pruned."""
        return self.information_of(slice(None))

    def information_of(self, which: Any) -> npt.NDArray[np.int16]:
        """Expected information of the latents that an index of numpy names."""
        deviation = self.deviation[which]
        if not self.last:
            return np.where(deviation >= 0, _PART_INFORMATION, 0).astype(np.int16)
        information: npt.NDArray[np.int16] = _INFORMATION[deviation]
        return information

    def total_information(self) -> int:
        """Expected information of all latents together in 1/256 bit."""
        blocks = arrays.blocks(len(self.deviation), _LATENTS_AT_ONCE)
        return sum(int(self.information_of(some).sum()) for some in blocks)

    def deviations(self, which: npt.NDArray[np.integer]) -> Array:
        """Prior deviations of some latents in units of their noise's."""
        deviations: Array = _DEVIATIONS[self.deviation[which]] * 2.0**-DEVIATION_BITS
        return deviations

    def variance_left(self, which: npt.NDArray[np.integer]) -> Array:
        """Variance of what this part leaves of some latents, over the noise's: what later parts have to mend, and the
        noise."""
        if self.last:
            return np.ones(len(which))
        variance: Array = 1 + (self.deviations(which) * 2.0**-_PART_OCTAVES) ** 2
        return variance

    def _base_deviations(self, which: npt.NDArray[np.integer]) -> Array:
        """Prior deviations of latents that are coded, in units of 2^-12 of the base noise's."""
        if self.noise is None:
            unshaped: Array = _DEVIATIONS[self.deviation[which]]
            return unshaped
        numbers = self.deviation[which] + self.noise[which] + (LOWEST - _LOWEST_SHAPED)
        shaped: Array = _BASE_DEVIATIONS[np.clip(numbers, 0, len(_BASE_DEVIATIONS) - 1)]
        return shaped

    def values(self, which: npt.NDArray[np.integer], candidates: Array) -> Array:
        """Weights of all latents in whole steps, ``(latents,)``.

        Args:
            which: numbers of the latents that have a candidate; all others are their means.
            candidates: whitened values of these latents, multiples of 2^-20.
        """
        return self.add(self.mean.copy(), which, candidates)

    def add(self, weights: Array, which: npt.NDArray[np.integer], candidates: Array) -> Array:
        """Weights with what some candidates add to them.

        Args:
            weights: the means, or what has come of them so far, in steps, ``(latents,)``; changed where its type holds
                the sums.
            which: numbers of the latents that have a candidate.
            candidates: whitened values of these latents, multiples of 2^-20.

        Returns:
            The array that was given, or one of a wider type.
        """
        for begin in range(0, len(which), _LATENTS_AT_ONCE):
            some = which[begin : begin + _LATENTS_AT_ONCE]
            whole = candidates[begin : begin + _LATENTS_AT_ONCE].astype(np.float64) * 2.0**CANDIDATE_BITS
            scaled = self._base_deviations(some) * whole
            sums = weights[some] + np.floor(scaled * (UNIT * 2.0 ** -(DEVIATION_BITS + CANDIDATE_BITS)))
            weights = arrays.widened(weights, arrays.largest(sums))
            weights[some] = sums
        return weights


def in_deviations(steps: Array) -> Array:
    """Weights in whole steps in units of the noise's deviation: exact, in float32 where that holds the steps."""
    weights: Array = steps.astype(np.promote_types(steps.dtype, np.float32)) / UNIT
    return weights


@dataclass(eq=False)
class Parts:
    """The weights of a stage while they are coded part after part.

    A weight whose prior deviation is large has more information than a group can hold. It is a sum of several parts,
    from the widest to the narrowest: each has four bits, mends what those before it missed, and leaves a deviation of a
    sixteenth. The last part is of all weights. A part may have to be repeated.

    Attributes:
        moments: of the weights, given all parts that are coded so far.
        parts_from: octaves of a deviation over the noise's from which a weight is coded in parts.
        coded: number of parts that are coded so far, repetitions included.
        finished: whether all parts are coded; the means are the weights then.
    """

    moments: Moments
    parts_from: int
    coded: int = 0
    finished: bool = False
    _last_begun: bool = False

    @property
    def may_be_widened(self) -> bool:
        """Whether a file may now say that some deviations are wider."""
        return not self._last_begun and self.coded < _MOST_WIDENED_PARTS

    def begin(self) -> Moments:
        """Moments of the part that is to be coded now; weights without one are pruned in them."""
        deviation = self.moments.deviation
        if self._last_begun or deviation.max(initial=-1) <= self._widest_of_one_part:
            self._last_begun = True
            return self.moments
        wide = deviation > self._widest_of_one_part
        return replace(self.moments, deviation=np.where(wide, deviation, -1).astype(np.int16), last=False)

    def put(self, weights: Array, repeat: bool) -> None:
        """Go on to the next part.

        Args:
            weights: what the current part has made of all weights of the stage, in steps, ``(latents,)``.
            repeat: whether the same part comes again, to mend what it missed.
        """
        deviation = self.moments.deviation
        if self._last_begun:
            self.finished = not repeat
        elif not repeat:
            wide = deviation > self._widest_of_one_part
            deviation = np.where(wide, deviation - np.int16(_PART_OCTAVES * OCTAVE), deviation)
        self.moments, self.coded = replace(self.moments, mean=weights, deviation=deviation), self.coded + 1

    @property
    def _widest_of_one_part(self) -> int:
        """Number of the largest deviation with which a weight has no part but the last one."""
        return self.parts_from * OCTAVE - LOWEST - 1
