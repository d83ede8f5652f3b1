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

from .class_stream import FREQUENCY_BITS, Symbols
from .moments import HIGHEST, LOWEST, OCTAVE, Moments, in_deviations

Array = npt.NDArray[Any]

_MOST_OCTAVES = 15  # that a band or an outlier is widened by
_RAREST = 14  # one weight in 2^14 is an outlier
_WIDEST = 18 * OCTAVE - LOWEST  # number of a deviation that is wider; a candidate times a wider one may not be exact
_NO_OCTAVES, _NO_OUTLIERS = 65000, 64000  # in 65536ths: how often it is so
_OUTLIER_BITS = 8.0  # about what it takes to say that a weight is an outlier
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


_OCTAVE_FREQUENCIES = _mostly_none(_MOST_OCTAVES, _NO_OCTAVES)
_RARITY_FREQUENCIES = _mostly_none(_RAREST, _NO_OUTLIERS)
_OUTLIER_FREQUENCIES = _halving(_MOST_OCTAVES)
_NUMBERS = np.arange(LOWEST, HIGHEST + 1)
_EVIDENCE = np.append(
    1 + np.exp2(_NUMBERS * (2 / OCTAVE)), 1.0
)  # variances, noise included; of a pruned weight at last
_EVIDENCE_BITS = 0.5 * np.log2(_EVIDENCE)


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
    outliers: npt.NDArray[np.int64]


NO_WIDENING = Widening(0, 0, np.zeros(0, dtype=np.int64))


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
    wider = np.full(len(deviation), octaves)
    if rarity:
        outliers = widening.outliers if len(widening.outliers) else np.zeros(len(deviation), dtype=np.int64)
        often = 2 ** (FREQUENCY_BITS - rarity)
        frequencies = np.array([[2**FREQUENCY_BITS - often], [often]], dtype=np.float64)
        flagged = np.flatnonzero(symbols.exchange_all((outliers > 0).astype(np.int64), frequencies))
        wider[flagged] += 1 + symbols.exchange_all(np.maximum(outliers[flagged] - 1, 0), _OUTLIER_FREQUENCIES)
    # a pruned weight has the number -1, and is coded once it is wider
    np.maximum(deviation, np.minimum(deviation + wider * OCTAVE, _WIDEST), out=deviation, casting="unsafe")


def widenings_of(moments: Moments, bands: int, true: Array, reach: float, emphasis: float = 1.0) -> list[Widening]:
    """How it pays to widen the deviations of each band of a stage.

    Args:
        moments: of the stage.
        bands: of it, one after another, of equally many weights.
        true: the weights in units of the noise's deviation, ``(latents,)``.
        reach: deviations, noise included, that candidates can be relied on to reach.
        emphasis: how many times as much as usual errors weigh against bits.
    """
    distance = math.sqrt(emphasis) * np.abs(moments.over_noise(true - in_deviations(moments.mean))).reshape(bands, -1)
    deviation = moments.deviation.reshape(bands, -1)
    return [_widening_of(*band, reach) for band in zip(deviation, distance, strict=True)]


def _widening_of(deviation: npt.NDArray[np.int16], distance: Array, reach: float) -> Widening:
    """The cheapest widening of a band: its own bits, and KL + squared error / (2 · s2) of the weights with it.

    Args:
        deviation: numbers of deviations, ``(latents,)``.
        distance: of the true weights from their means, in units of the noise's deviation, ``(latents,)``.
        reach: deviations, noise included, that candidates can be relied on to reach.
    """
    energy = distance**2
    as_outlier = 0.5 * np.log2(1 + energy) + (_SQUARED_BITS + _OUTLIER_BITS)

    def cost(octaves: int, some: Any = slice(None)) -> Array:
        numbers = np.maximum(deviation[some], np.minimum(deviation[some] + octaves * OCTAVE, _WIDEST))
        evidence = _EVIDENCE[numbers]
        beyond = np.maximum(distance[some] - reach * np.sqrt(evidence), 0)
        bits: Array = _EVIDENCE_BITS[numbers] + (energy[some] / evidence + beyond**2) * _SQUARED_BITS
        return bits

    octaves, bits = 0, cost(0)
    least = float(np.minimum(bits, as_outlier).sum())
    for more in range(1, _MOST_OCTAVES + 1):
        wider = cost(more)
        total = float(np.minimum(wider, as_outlier).sum()) + _bits(_OCTAVE_FREQUENCIES, more)
        if total < least:
            octaves, bits, least = more, wider, total
        elif more > octaves + 1:
            break
    far = np.flatnonzero(bits > as_outlier)
    if not len(far):
        return Widening(octaves, 0, NO_WIDENING.outliers)
    choices = range(1, _MOST_OCTAVES + 1)
    widened = np.stack([cost(octaves + more, far) + _bits(_OUTLIER_FREQUENCIES, more - 1) for more in choices])
    saved = bits[far] - widened.min(axis=0)
    rarities = np.arange(1, _RAREST + 1)
    usual_bits = -np.log2(1 - 2.0**-rarities)  # of a weight that is no outlier
    gains = np.maximum(saved - (rarities - usual_bits)[:, None], 0).sum(axis=1) - len(deviation) * usual_bits
    rarity = int(rarities[gains.argmax()])
    if gains.max() <= _bits(_RARITY_FREQUENCIES, rarity):
        return Widening(octaves, 0, NO_WIDENING.outliers)
    outliers = np.zeros(len(deviation), dtype=np.int64)
    worth = saved > rarity - usual_bits[rarity - 1]
    outliers[far[worth]] = 1 + widened.argmin(axis=0)[worth]
    return Widening(octaves, rarity, outliers)


def _bits(frequencies: Array, symbol: int) -> float:
    """Bits of a symbol."""
    return FREQUENCY_BITS - math.log2(float(frequencies[symbol, 0]))
