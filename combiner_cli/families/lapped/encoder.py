"""From a segment of a recording to class numbers and group indices with a lapped prior."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.allocation import STRAIGHT, density_of
from ...stages.encoder import (
    GROUP_INFORMATION,
    REACH,
    Chance,
    Coded,
    Encoding,
    Forecast,
    Search,
    Writer,
    best_classes,
    class_bits,
)
from ...stages.moments import FREQUENCY_BITS, UNIT, Moments, StageName, in_deviations
from . import transform
from .prior import (
    LIMITS,
    MOST_WIDENED,
    LappedPrior,
    descend,
    digits_of,
    last_stage,
    limit_bins,
    noise_deviation,
    number_frequencies,
    place_of,
    segments,
    widen,
)
from .transform import BAND, Segment

Array = npt.NDArray[Any]

# variance of the weights of a band over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, *(1 + 4.0**n for n in range(transform.CLASSES - 1))])
_FAR_BITS = 16.0  # about what it takes to say which weight is far
_REACH_OF_PARTS = 2.8  # prior deviations
_BAND_BITS = 6.0  # about what it takes to say that a band is louder than foretold


@dataclass(eq=False, kw_only=True)
class _Recorded(Encoding):
    """The true weights of a segment, and the activity that follows from them.

    Attributes:
        weights: in units of the noise's deviation, ``(channels, frames, hop)``.
    """

    weights: Array

    def target(self, name: StageName, own: Segment) -> Array:
        level, phase, channel = place_of(name, own.channels)
        return transform.target(self.weights[None, channel, :, : own.bins], level, phase).reshape(-1)

    def classes(self, own: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        """The classes of least cost."""
        bands = transform.band_target(self.weights[None, channel, :, : own.bins], level, parity)
        octaves = np.log2(frequencies.astype(np.float64)) - FREQUENCY_BITS
        return best_classes((bands**2).mean(axis=1), octaves, BAND, CLASS_VARIANCES)

    def widen(self, name: StageName, own: Segment, moments: Moments) -> None:
        coded = np.flatnonzero(moments.deviation >= 0)
        deviation = moments.deviations(coded)
        # what is coded in parts and missed by the first one is missed by far
        reach = np.where(deviation >= 2.0**self.parts_from, _REACH_OF_PARTS, REACH) * np.sqrt(1 + deviation**2)
        sizes = np.abs(self.target(name, own)[coded] - in_deviations(moments.mean[coded]))
        far = np.flatnonzero(sizes - reach > math.sqrt(2 * math.log(2) * _FAR_BITS))
        octaves = np.clip(np.ceil(np.log2(sizes[far] / reach[far])), 1, MOST_WIDENED).astype(int)
        widen(moments, self.exchange, list(zip(far.tolist(), octaves.tolist(), strict=True)))

    @abstractmethod
    def exchange(self, symbol: int, frequencies: Array) -> int:
        """Pay for a symbol, given its frequencies ``(symbols, 1)``; the symbol."""


@dataclass(eq=False, kw_only=True)
class ChanceSource(_Recorded, Chance):
    """A segment with samples of the posterior in the place of candidates."""

    def steer(self) -> None:
        """A simulation has no groups."""

    def exchange(self, symbol: int, frequencies: Array) -> int:
        self.class_bits += class_bits(np.array([symbol]), frequencies)
        return symbol

    def limit(self) -> int:
        return limit_of(self.weights)

    def activity(self, own: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        found = self.classes(own, level, parity, channel, frequencies)
        self.class_bits += class_bits(found, frequencies)
        return found


@dataclass(eq=False, kw_only=True)
class SearchSource(_Recorded, Search):
    """A segment with candidates that a search finds.

    Attributes:
        steering: change of the density, 4 meaning none.
    """

    steering: int = STRAIGHT

    def steer(self) -> None:
        self.choose(np.array([self.steering]), number_frequencies())
        self.writer.share.steer(self.steering)

    def exchange(self, symbol: int, frequencies: Array) -> int:
        self.choose(np.array([symbol]), frequencies)
        return symbol

    def limit(self) -> int:
        found = limit_of(self.weights)
        for digit in digits_of(found):
            self.choose(np.array([digit]), number_frequencies())
        return found

    def activity(self, own: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        found = self.classes(own, level, parity, channel, frequencies)
        self.choose(found, frequencies)
        return found


def limit_of(weights: Array) -> int:
    """How many 80ths of the bands of a segment are worth coding.

    Args:
        weights: in units of the noise's deviation, ``(channels, frames, hop)``.
    """
    energy = np.maximum((weights.reshape(*weights.shape[:2], -1, BAND) ** 2).mean(axis=-1), 1)
    gained = 0.5 * BAND * (energy - 1 - np.log(energy)) / math.log(2) - _BAND_BITS
    worth = np.flatnonzero((gained > 0).any(axis=(0, 1)))
    wanted = 0 if not len(worth) else (int(worth[-1]) + 1) * BAND
    return next(limit for limit in range(LIMITS) if limit_bins(limit, weights.shape[-1]) >= wanted)


def forecast(prior: LappedPrior, weights: Array, code: int) -> Forecast:
    """Simulate the coding of a segment.

    Args:
        prior: of the weights.
        weights: on values in [-1, 1], ``(channels, frames, hop)``.
        code: of the noise variance.

    Returns:
        With the squared error on values in [-1, 1].
    """
    deviation = noise_deviation(code)
    scaled = weights / deviation
    source = ChanceSource(weights=scaled, code=code, parts_from=prior.parts_from)
    channels, count, hop = weights.shape
    decoded = descend(prior, count, channels, hop, code, source)
    error = squared_error(scaled, decoded) * deviation**2
    return Forecast(code, source.bits, source.class_bits, source.information, error)


def squared_error(weights: Array, decoded: Array) -> float:
    """Between weights in units of the noise's deviation and decoded ones in steps, of which there may be fewer."""
    bins = decoded.shape[-1]
    inside = ((weights[..., :bins] - decoded / UNIT) ** 2).sum()
    return float(inside + (weights[..., bins:] ** 2).sum())


@dataclass(frozen=True, eq=False)
class Recording:
    """What is to be coded, at the rate and in the channels in which it is.

    Attributes:
        samples: ``(channels, length)`` float32 in [-1, 1].
        hop: samples between frames.
    """

    samples: Array
    hop: int

    @property
    def segments(self) -> list[slice]:
        """The frames of each segment."""
        return segments(transform.frame_count(self.samples.shape[1], self.hop))

    def weights(self, frames: slice) -> Array:
        """Weights of some frames, ``(channels, frames, hop)``."""
        first, last = (frames.start - 1) * self.hop, frames.stop * self.hop
        inside = self.samples[:, max(first, 0) : last]
        before = max(-first, 0)
        padded = np.pad(inside, ((0, 0), (before, last - first - before - inside.shape[1])))
        return transform.analyse(padded, self.hop)


def encode_segments(prior: LappedPrior, recording: Recording, expected: Sequence[Forecast], writer: Writer) -> Coded:
    """Code the segments of a recording, one after the other.

    Args:
        prior: of the weights.
        recording: what is coded.
        expected: what a simulation of each segment at the noise code to be used came to.
        writer: of an empty file.

    Returns:
        With the squared error on values in [-1, 1].
    """
    code = expected[0].code
    density = writer.share.densities[0]  # that the header has; it is steered later
    parts, deviation = recording.segments, noise_deviation(code)
    error, spent = 0.0, 0.0
    for number, (frames, own) in enumerate(zip(parts, expected, strict=True)):
        weights = recording.weights(frames) / deviation
        channels, count, hop = weights.shape
        writer.expected = own
        source = SearchSource(weights=weights, code=code, parts_from=prior.parts_from, writer=writer)
        if number:
            source.steering = _steering(writer, expected[number:], spent)
            source.steer()
        if number == len(parts) - 1:
            writer.share.final = last_stage(channels)
        decoded = descend(prior, count, channels, hop, code, source)
        error += squared_error(weights, decoded) * deviation**2
        spent += source.class_bits
    return writer.finished(code, (density, *writer.share.densities[1:]), error)


def _steering(writer: Writer, to_come: Sequence[Forecast], spent: float) -> int:
    """The change of density with which the segments to come take the bytes that are left.

    Args:
        writer: of the file.
        to_come: what was foretold of the segments that are not coded yet.
        spent: bits of all classes so far.
    """
    if writer.total is None:
        return STRAIGHT
    class_bits_to_come = sum(one.class_bits for one in to_come)
    left = writer.total - len(writer.indices) - (spent + class_bits_to_come) / 8 - writer.reserve
    information = sum(float(one.information.sum()) for one in to_come)
    wanted = density_of(max(left, 0) * GROUP_INFORMATION / max(information, 1))
    return min(max(wanted - writer.share.densities[0], -STRAIGHT), STRAIGHT) + STRAIGHT
