"""Prior deviations that are wider than predicted, where a file says so: no weight is out of reach.

Networks predict deviations from what they were learned of. What is unlike that may have weights that lie many
deviations from their means, where there are no candidates. So the stream of classes says of every band of a stage by
how many octaves all its deviations are wider, nearly always none, and which of its weights are *outliers*, with
deviations that are wider still. It costs next to nothing where nothing is wider.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..system import arrays, threads
from .class_stream import FREQUENCY_BITS, Symbols
from .moments import HIGHEST, LOWEST, OCTAVE, Moments, in_deviations

Array = npt.NDArray[Any]

_MOST_OCTAVES = 15  # that a band or an outlier is widened by
_RAREST = 14  # one weight in 2^14 is an outlier
_WIDEST = 18 * OCTAVE - LOWEST  # number of a deviation that is wider; a candidate times a wider one may not be exact
_NO_OCTAVES, _NO_OUTLIERS = 65000, 64000  # in 65536ths: how often it is so
_OUTLIER_BITS = 8.0  # about what it takes to say that a weight is an outlier
_WEIGHTS_AT_ONCE, _MOST_OF_BAND = 1 << 12, 1 << 18  # of several bands, and of one
_SQUARED_BITS = 1 / (2 * math.log(2))  # of a squared error in units of the noise variance


def _mostly_none(most: int, none: int) -> Array:
    """Frequencies of 0 to a number, ``(symbols, 1)``: about a given one of 0, the same one of all others."""
    others = ((1 << FREQUENCY_BITS) - none) // most
    return np.array([(1 << FREQUENCY_BITS) - most * others, *[others] * most], dtype=np.float64)[:, None]


def _halving(symbols: int) -> Array:
    """Frequencies each of which is half of the one before, ``(symbols, 1)``."""
    frequencies = 2.0 ** (FREQUENCY_BITS - 1 - np.arange(symbols))
    frequencies[-1] *= 2
    return frequencies[:, None]


def _bits(frequencies: Array, symbol: int) -> float:
    """Bits of a symbol."""
    return FREQUENCY_BITS - math.log2(float(frequencies[symbol, 0]))


_OCTAVE_FREQUENCIES = _mostly_none(_MOST_OCTAVES, _NO_OCTAVES)
_RARITY_FREQUENCIES = _mostly_none(_RAREST, _NO_OUTLIERS)
_OUTLIER_FREQUENCIES = _halving(_MOST_OCTAVES)
_NUMBERS = np.arange(LOWEST, HIGHEST + 1)
_EVIDENCE = np.append(
    1 + np.exp2(_NUMBERS * (2 / OCTAVE)), 1.0
)  # variances, noise included; of a pruned weight at last
_EVIDENCE_BITS = 0.5 * np.log2(_EVIDENCE)
_RARITIES = np.arange(1, _RAREST + 1)
_USUAL_BITS = -np.log2(1 - 2.0**-_RARITIES)  # of a weight that is no outlier
_MORE_OCTAVES = np.arange(1, _MOST_OCTAVES + 1)[:, None]
_OUTLIER_BITS_OF_OCTAVES = np.array([[_bits(_OUTLIER_FREQUENCIES, more)] for more in range(_MOST_OCTAVES)])


@dataclass(frozen=True, eq=False)
class Widening:
    """How the deviations of a band of a stage are widened.

    Attributes:
        octaves: that all of them are wider.
        rarity: one weight in 2^rarity is an outlier; 0 where there is none.
        outliers: octaves more of each weight, 0 of one that is no outlier, ``(latents,)``; empty where the rarity is 0.
    """

    octaves: int
    rarity: int
    outliers: npt.NDArray[np.int8]


NO_WIDENING = Widening(0, 0, np.zeros(0, dtype=np.int8))


def exchange_widening(symbols: Symbols, deviation: npt.NDArray[np.int16], widening: Widening = NO_WIDENING) -> None:
    """Say or learn how the deviations of a band are widened, and widen them in place.

    Args:
        symbols: where an encoder puts it and a decoder finds it.
        deviation: numbers of the band's deviations, as moments have them, ``(latents,)``; changed.
        widening: what an encoder says.
    """
    octaves = symbols.exchange(widening.octaves, _OCTAVE_FREQUENCIES)
    rarity = symbols.exchange(widening.rarity, _RARITY_FREQUENCIES)
    if not octaves and not rarity:
        return
    wider = np.full(len(deviation), octaves, dtype=np.int16)
    if rarity:
        outliers = widening.outliers if len(widening.outliers) else np.zeros(len(deviation), dtype=np.int8)
        often = 2 ** (FREQUENCY_BITS - rarity)
        frequencies = np.array([[2**FREQUENCY_BITS - often], [often]], dtype=np.float64)
        flagged = np.flatnonzero(symbols.exchange_all(outliers > 0, frequencies))
        wider[flagged] += 1 + symbols.exchange_all(np.maximum(outliers[flagged] - 1, 0), _OUTLIER_FREQUENCIES)
    # a pruned weight has the number -1, and is coded once it is wider
    np.maximum(deviation, np.minimum(deviation + wider * np.int16(OCTAVE), np.int16(_WIDEST)), out=deviation)


def widenings_of(moments: Moments, bands: int, true: Array, reach: float, emphasis: float = 1.0) -> list[Widening]:
    """How it pays to widen the deviations of each band of a stage.

    Args:
        moments: of the stage.
        bands: of it, one after another, of equally many weights.
        true: the weights in units of the noise's deviation, ``(latents,)``.
        reach: deviations, noise included, that candidates can be relied on to reach.
        emphasis: how many times as much as usual errors weigh against bits.
    """
    latents = len(true) // bands
    together = max(1, _WEIGHTS_AT_ONCE // max(latents, 1))

    def of_part(part: slice) -> list[Widening]:
        some = slice(part.start * latents, part.stop * latents)
        if latents > _MOST_OF_BAND:
            return [_widening_of_large_band(moments, true, some, reach, emphasis)]
        reached = _reached(moments, true, some, reach, emphasis)
        shape = part.stop - part.start, latents
        return _widenings_of_bands(reached.deviation.reshape(shape), reached.distance.reshape(shape), reach)

    parts = threads.mapped(of_part, list(arrays.blocks(bands, together)))
    return [widening for of_bands in parts for widening in of_bands]


@dataclass(frozen=True, eq=False)
class _Reached:
    """What weights come to whose deviations are wider.

    Attributes:
        deviation: numbers of deviations, of any shape.
        distance: of the true weights from their means, in units of the noise's deviation, likewise.
        energy: square of the distance, likewise.
        reach: deviations, noise included, that candidates can be relied on to reach.
    """

    deviation: npt.NDArray[np.int16]
    distance: Array
    energy: Array
    reach: float

    def bits(self, octaves: Any) -> Array:
        """KL + squared error / (2 · s2) of each weight whose deviation is so many octaves wider."""
        numbers = np.maximum(self.deviation, np.minimum(self.deviation + octaves * OCTAVE, _WIDEST))
        evidence = _EVIDENCE[numbers]
        beyond = np.maximum(self.distance - self.reach * np.sqrt(evidence), 0)
        bits: Array = _EVIDENCE_BITS[numbers] + (self.energy / evidence + beyond**2) * _SQUARED_BITS
        return bits

    def bits_as_outliers(self) -> Array:
        """About the same of each weight if it is an outlier."""
        bits: Array = 0.5 * np.log2(1 + self.energy) + (_SQUARED_BITS + _OUTLIER_BITS)
        return bits

    def some(self, which: Any) -> _Reached:
        """Those weights that an index of numpy names."""
        return _Reached(self.deviation[which], self.distance[which], self.energy[which], self.reach)


def _reached(moments: Moments, true: Array, some: slice, reach: float, emphasis: float) -> _Reached:
    """What some weights of a stage come to; see :func:`widenings_of`."""
    difference = moments.over_noise(true[some] - in_deviations(moments.mean[some]), some)
    distance = math.sqrt(emphasis) * np.abs(difference)
    return _Reached(moments.deviation[some], distance, distance**2, reach)


def _widening_of_large_band(moments: Moments, true: Array, band: slice, reach: float, emphasis: float) -> Widening:
    """As :func:`_widenings_of_bands`, of one band that is looked at piece by piece."""
    pieces = [
        slice(band.start + some.start, band.start + some.stop)
        for some in arrays.blocks(band.stop - band.start, _MOST_OF_BAND)
    ]

    def total(more: int) -> float:
        bits = 0.0
        for piece in pieces:
            weights = _reached(moments, true, piece, reach, emphasis)
            bits += float(np.minimum(weights.bits(more), weights.bits_as_outliers()).sum())
        return bits + (_bits(_OCTAVE_FREQUENCIES, more) if more else 0.0)

    octaves, least = 0, total(0)
    for more in range(1, _MOST_OCTAVES + 1):
        bits = total(more)
        if bits >= least and more > octaves + 1:
            break
        octaves, least = (more, bits) if bits < least else (octaves, least)
    unusual = []  # weights that might be outliers, where they are, and their bits
    for piece in pieces:
        weights = _reached(moments, true, piece, reach, emphasis)
        usual = weights.bits(octaves)
        far = np.flatnonzero(usual > weights.bits_as_outliers())
        unusual.append((weights.some(far), far + (piece.start - band.start), usual[far]))
    deviation, distance, energy = (
        np.concatenate([getattr(weights, name) for weights, _, _ in unusual])
        for name in ("deviation", "distance", "energy")
    )
    far, bits_of_far = (np.concatenate([each[number] for each in unusual]) for number in (1, 2))
    return _with_outliers(
        _Reached(deviation, distance, energy, reach), bits_of_far, octaves, far, band.stop - band.start
    )


def _widenings_of_bands(deviation: npt.NDArray[np.int16], distance: Array, reach: float) -> list[Widening]:
    """The cheapest widening of each band: its own bits, and KL + squared error / (2 · s2) of the weights with it.

    Args:
        deviation: numbers of deviations, ``(bands, latents)``.
        distance: of the true weights from their means, in units of the noise's deviation, ``(bands, latents)``.
        reach: deviations, noise included, that candidates can be relied on to reach.
    """
    weights = _Reached(deviation, distance, distance**2, reach)
    as_outlier = weights.bits_as_outliers()
    octaves, bits = np.zeros(len(deviation), dtype=np.int64), weights.bits(0)
    least = np.minimum(bits, as_outlier).sum(axis=1)
    pending = np.arange(len(deviation))  # bands for which more octaves may be better
    for more in range(1, _MOST_OCTAVES + 1):
        wider = weights.some(pending).bits(more)
        totals = np.minimum(wider, as_outlier[pending]).sum(axis=1) + _bits(_OCTAVE_FREQUENCIES, more)
        better = totals < least[pending]
        improved = pending[better]
        octaves[improved], bits[improved], least[improved] = more, wider[better], totals[better]
        pending = pending[better | (more <= octaves[pending] + 1)]
        if not len(pending):
            break
    far_of_bands = [np.flatnonzero(some) for some in bits > as_outlier]
    return [
        _with_outliers(weights.some((band, far)), bits[band, far], int(octaves[band]), far, deviation.shape[1])
        for band, far in enumerate(far_of_bands)
    ]


def _with_outliers(weights: _Reached, bits: Array, octaves: int, far: npt.NDArray[np.int64], latents: int) -> Widening:
    """The widening of a band all of which is so many octaves wider, with outliers where that pays.

    Args:
        weights: those that might be outliers, ``(far,)``.
        bits: what they come to as they are, ``(far,)``.
        octaves: that all of the band is wider.
        far: their places in the band.
        latents: of the band.
    """
    if not len(far):
        return Widening(octaves, 0, NO_WIDENING.outliers)
    widened = weights.bits(octaves + _MORE_OCTAVES) + _OUTLIER_BITS_OF_OCTAVES
    saved = bits - widened.min(axis=0)
    gains = np.maximum(saved - (_RARITIES - _USUAL_BITS)[:, None], 0).sum(axis=1) - latents * _USUAL_BITS
    rarity = int(_RARITIES[gains.argmax()])
    if gains.max() <= _bits(_RARITY_FREQUENCIES, rarity):
        return Widening(octaves, 0, NO_WIDENING.outliers)
    outliers = np.zeros(latents, dtype=np.int8)
    worth = saved > rarity - _USUAL_BITS[rarity - 1]
    outliers[far[worth]] = 1 + widened.argmin(axis=0)[worth]
    return Widening(octaves, rarity, outliers)
