"""Lapped priors: the moments of every weight of a recording, foretold from the weights that are decoded before it.

A recording is decoded in segments of some hundred frames, and a segment level by level: first the activity of the
level's bands, one of sixteen classes each, in an entropy code whose probabilities are foretold, then its weights in
three phases. The second channel of a pair comes after the first one in every step, and its moments depend on that too.
The means are all 0: the sign of a weight cannot be foretold. The weights of bands of the least activity are pruned.
A weight that candidates would not reach is named, with how much wider its prior is. What else
:mod:`combiner_cli.families.pyramid.prior` says of pyramids holds here as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise, product
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...container.header import Field, Fields
from ...family import Decoded, Encoded, EncodingOptions, Family, Report, Target, View
from ...signals.resampling import length_at
from ...signals.signal import Format, Kind, Signal
from ...stages import integer_network
from ...stages.integer_network import WholeNetwork
from ...stages.moments import (
    FEWEST_PARTS_FROM,
    HIGHEST,
    LOWEST,
    MOST_PARTS_FROM,
    OCTAVE,
    PARTS_FROM,
    Moments,
    StageName,
    frequencies_of,
)
from ...stages.prior import LARGEST_NOISE, RANGES, MultiRatePrior
from ...system import threads
from . import transform
from .transform import BAND, CHANNELS, LEVELS, PARITIES, PHASES, Segment

Array = npt.NDArray[Any]

NAME = "lapped"
HIGHEST_CODE = LARGEST_NOISE
ANGLES = 64  # of half a turn
LIMITS = 81  # of the weights of a segment's frames that are coded at all
DIGITS = 9  # of a number that a segment begins with
MOST_FRAMES = 512  # of a segment
LARGEST_HOP = 4096
MOST_HOPS = 9  # of a prior
MOST_WIDENED = 4  # octaves
_FAR_AT_ONCE = 8
# of 0 to 8 weights with wider priors, in 65536ths; after 8 others may follow
_FAR_FREQUENCIES = np.array([60000, 2500, 1200, 700, 450, 300, 200, 120, 66], dtype=np.float64)[:, None]
_HEXADECIMAL = 16
_CODES_PER_OCTAVE = 8
_LOUDEST = -2.0  # octave of the deviation of noise code 0, on values in [-1, 1]
_AT_ONCE = 1 << 14  # columns of features
_NEAR_RATE = 1.2  # a recording of a sample rate within this factor of a prior's is taken as it is


def noise_deviation(code: int) -> float:
    """Deviation of a recording's noise on values in [-1, 1]: an eighth of an octave (0.75 dB) per code."""
    return float(2 ** (_LOUDEST - code / _CODES_PER_OCTAVE))


@dataclass(frozen=True, eq=False)
class LappedPrior(MultiRatePrior):
    """A prior over the weights of a lapped transform.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals, ``"sound"``.
        sample_rate: that it was learned at, in Hz.
        hops: samples between frames that a recording can have.
        channels: 2 where it knows how the second channel of a pair goes with the first, else 1.
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per sample instant at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
        size: length of a typical signal of learning, in samples.
        stored: tensors of the networks by ``level.network.tensor``, int16 and int32.
        parts_from: octaves of a deviation over the noise's from which a weight is coded in parts.
    """

    qualities: ClassVar[tuple[float, float]] = (0.35, 0.92)
    name: str
    kind: Kind
    sample_rate: int
    hops: tuple[int, ...]
    channels: int
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]
    size: int
    stored: dict[str, Array]
    parts_from: int = PARTS_FROM

    @property
    def family(self) -> Family:
        """The way of coding that it belongs to."""
        from .family import FAMILY

        return FAMILY

    @property
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""
        return (*super().fields, Field("hop", MOST_HOPS - 1), Field("angle", ANGLES - 1))

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        plain = ("kind", "size", "parts_from", "sample_rate", "channels")
        lists = {name: list(getattr(self, name)) for name in (*RANGES, "hops")}
        return {"family": NAME, **{name: getattr(self, name) for name in plain}, **lists}

    def tensors(self) -> dict[str, Array]:
        """The stored tensors by name."""
        return dict(self.stored)

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """How many points are rendered for a sound: those of all channels, at its rate or that at which it is coded,
        whichever is more."""
        assert signal_format.sample_rate is not None
        points, rate = signal_format.channels * signal_format.points, signal_format.sample_rate
        return max(points, length_at(points, rate, self.coded_rate(rate))) * scale

    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode sounds, one after another."""
        from .files import encode

        return encode(self, signals, target, options, report)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file that was made with this prior."""
        from .decoder import decode

        return decode(self, file, view)

    def coded_rate(self, sample_rate: int) -> int:
        """The sample rate at which a recording is coded: its own where that is near enough to the prior's."""
        near = max(sample_rate, self.sample_rate) <= _NEAR_RATE * min(sample_rate, self.sample_rate)
        return sample_rate if near else self.sample_rate

    @cached_property
    def networks(self) -> tuple[dict[str, WholeNetwork], ...]:
        """The networks of each level by name."""
        return tuple(
            {name: WholeNetwork.among(self.stored, f"{level}.{name}.") for name in self.network_names(level)}
            for level in range(LEVELS)
        )

    def network_names(self, level: int) -> list[str]:
        """The networks of a level; those of a second channel only where the prior knows pairs."""
        return [name for name in transform.networks(level) if self.channels == CHANNELS or name.endswith("_0")]

    @cached_property
    def scratch(self) -> threads.Scratch:
        """Memory for activations."""
        return threads.Scratch()

    def activity(self, own: Segment, level: int, parity: int, channel: int) -> Array:
        """Frequencies ``(16, bands)`` of the classes of the bands of even or odd number, which sum to 2^16."""
        seen = self._seen(channel)
        network = self.networks[level][transform.activity_name(parity, seen)]
        return frequencies_of(
            self._run(network, transform.activity_features(_of(own, channel, seen), level, parity, seen))
        )

    def moments(self, own: Segment, level: int, phase: int, channel: int) -> Moments:
        """Moments of the weights of a phase of a level, frame by frame."""
        seen = self._seen(channel)
        view = _of(own, channel, seen)
        which = transform.coded(view, level, phase, seen)
        network = self.networks[level][transform.detail_name(phase, seen)]
        results = self._run(network, transform.detail_features(view, level, phase, seen, which))[0]
        numbers = np.floor(results * (OCTAVE * 2.0**-integer_network.RESULT_BITS))
        deviation = np.full(transform.latents(own, level, phase), -1, dtype=np.int16)
        deviation[which] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
        return Moments(np.zeros(len(deviation)), deviation)

    def _run(self, network: WholeNetwork, features: Array) -> Array:
        """Results of a network, on several threads where there are many columns."""
        columns = features.shape[1]
        strips = [slice(first, min(first + _AT_ONCE, columns)) for first in range(0, columns, _AT_ONCE)]
        parts = threads.mapped(lambda strip: network(features[:, strip], self.scratch), strips)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(network.third), 0))

    def _seen(self, channel: int) -> int:
        """As which channel the networks see one."""
        return min(channel, self.channels - 1)


def _of(own: Segment, channel: int, seen: int) -> Segment:
    """A segment as the networks see it: for a prior that knows no pairs, the second channel is one of its own."""
    if channel == seen:
        return own
    arrays = (own.weights, own.loudness, own.smooth, own.activity)
    return Segment(own.code, own.hop, own.count, own.bins, *(array[:, channel:].copy() for array in arrays))


class Source(Protocol):
    """Where the weights of a recording come from: a file, a search, or chance."""

    def steer(self) -> None:
        """Change the density of the groups, before every segment but the first."""

    def limit(self) -> int:
        """How many 80ths of the bands of a segment are coded at all."""

    def activity(self, own: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        """Classes of bands ``(bands,)``, given their frequencies ``(16, bands)``."""

    def details(self, name: StageName, own: Any, moments: Moments) -> Array:
        """Whole weights of all latents of a stage, ``(latents,)``."""


def stage_name(level: int, phase: int, channel: int, channels: int) -> StageName:
    """The name of a stage, by which it gets its groups."""
    return StageName(level, phase * channels + channel)


def place_of(name: StageName, channels: int) -> tuple[int, int, int]:
    """Level, phase and channel of a stage."""
    return name.level, name.number // channels, name.number % channels


def last_stage(channels: int) -> StageName:
    """The last stage of a segment."""
    return stage_name(0, PHASES - 1, channels - 1, channels)


def segments(frames: int) -> list[slice]:
    """The frames of the segments of a recording, about equally many each."""
    count = -(-frames // MOST_FRAMES)
    ends = [frames * number // count for number in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(ends)]


def digits_of(number: int) -> tuple[int, int]:
    """The two digits of a number that a segment begins with."""
    return divmod(number, DIGITS)


def number_frequencies() -> Array:
    """Frequencies of a digit, ``(9, 1)``: all alike."""
    return _flat(DIGITS)


def widen(moments: Moments, exchange: Callable[[int, Array], int], wanted: Sequence[tuple[int, int]] = ()) -> None:
    """Write or read which of the coded weights of a part of a stage have wider priors, and widen them.

    Args:
        moments: of the part; the deviations are changed.
        exchange: writes a symbol, given its frequencies ``(symbols, 1)``, and returns it; or reads one, whatever it is
            given.
        wanted: numbers of weights among the coded ones, and octaves, to be written.
    """
    coded = np.flatnonzero(moments.deviation >= 0)
    done, more = 0, len(coded) > 0
    while more:
        now = exchange(min(len(wanted) - done, _FAR_AT_ONCE), _FAR_FREQUENCIES)
        for _ in range(now):
            number, octaves = wanted[done] if wanted else (0, 1)
            place = coded[_exchanged_number(exchange, len(coded), number)]
            octaves = 1 + exchange(octaves - 1, _flat(MOST_WIDENED))
            moments.deviation[place] = min(moments.deviation[place] + octaves * OCTAVE, HIGHEST - LOWEST)
            done += 1
        more = now == _FAR_AT_ONCE and done < len(coded)  # or else there might be no end in a damaged file


def _exchanged_number(exchange: Callable[[int, Array], int], count: int, number: int) -> int:
    """A number below a count, in hexadecimal digits from the last one on, of which the first one is in fewer bits.

    What digits could say beyond the count stands for the last number.
    """
    found, place = 0, 1
    while place < count:
        left = -(-count // place)  # numbers that the remaining digits can be
        found += place * exchange(number // place % _HEXADECIMAL, _flat(min(left, _HEXADECIMAL)))
        place *= _HEXADECIMAL
    return min(found, count - 1)


@lru_cache
def _flat(symbols: int) -> Array:
    """Frequencies of so many symbols, all alike, ``(symbols, 1)``."""
    return frequencies_of(np.zeros((symbols, 1)))


def limit_bins(limit: int, hop: int) -> int:
    """The weights of a frame that are coded at all: so many 80ths of its bands, rounded up."""
    return -(-limit * (hop // BAND) // (LIMITS - 1)) * BAND


def descend(prior: LappedPrior, count: int, channels: int, hop: int, code: int, source: Source) -> Array:
    """The weights of a segment in steps, ``(channels, frames, bins)``, as many as its limit leaves.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        count: frames.
        channels: 1 or 2.
        hop: samples between frames.
        code: of the noise variance.
        source: of classes and weights.
    """
    try:
        return _descended(prior, count, channels, hop, code, source)
    finally:
        prior.scratch.release()


def _descended(prior: LappedPrior, count: int, channels: int, hop: int, code: int, source: Source) -> Array:
    bins = limit_bins(source.limit(), hop)
    own = transform.segment(np.array([code]), hop, channels, count, bins)
    for level in range(LEVELS - 1, -1, -1):
        for channel, parity in product(range(channels), range(PARITIES)):
            if transform.band_latents(own, level, parity):
                frequencies = prior.activity(own, level, parity, channel)
                classes = source.activity(own, level, parity, channel, frequencies)
                transform.put_activity(own, level, parity, channel, classes)
        for phase, channel in product(range(PHASES), range(channels)):
            if transform.latents(own, level, phase):
                name, moments = stage_name(level, phase, channel, channels), prior.moments(own, level, phase, channel)
                transform.put(own, level, phase, channel, source.details(name, own, moments))
    found: Array = own.weights[0]
    return found


def rotation(angle: int) -> Array:
    """The orthogonal matrix from the channels of a pair to what is coded, by an angle in 64ths of half a turn."""
    turn = math.pi * angle / ANGLES
    return np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def principal_angle(samples: Array) -> int:
    """The angle in 64ths of half a turn at which the first of two coded channels has the most energy.

    Args:
        samples: ``(samples, 2)``.
    """
    left, right = samples[:, 0].astype(np.float64), samples[:, 1].astype(np.float64)
    turn = 0.5 * math.atan2(2 * float(left @ right), float(left @ left - right @ right))
    return round(turn * ANGLES / math.pi) % ANGLES


def problem(prior: LappedPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    whole_numbers = (prior.size, prior.sample_rate, prior.parts_from, prior.channels, *prior.hops)
    possible = (
        prior.kind == "sound"
        and all(type(number) is int for number in whole_numbers)
        and 0 < prior.size < 2**32
        and 0 < prior.sample_rate < 2**32
        and prior.channels in (1, CHANNELS)
        and FEWEST_PARTS_FROM <= prior.parts_from <= MOST_PARTS_FROM
        and 0 < len(prior.hops) <= MOST_HOPS
        and all(2 * BAND <= hop <= LARGEST_HOP and hop % (2 * BAND) == 0 for hop in prior.hops)
        and prior.ranges_possible(HIGHEST_CODE)
    )
    if not possible:
        return "its configuration is out of range"
    shapes = {}
    for level in range(LEVELS):
        for name in prior.network_names(level):
            own = transform.networks(level)[name]
            shapes[f"{level}.{name}"] = (own.features, own.values, own.values, own.relative)
    return integer_network.wrong_networks(prior.stored, shapes)


def rendered(weights: Iterator[Array], count: int, length: int, hop: int, at_hop: int) -> Array:
    """Samples ``(length, channels)`` of the weights of all segments in turn, in [-1, 1] if those are.

    Args:
        weights: ``(channels, frames, bins)`` of each segment.
        count: channels.
        length: samples that come out.
        hop: samples between the frames of the weights.
        at_hop: samples between frames of what comes out.
    """
    found = np.zeros((length, count), dtype=np.float32)
    end = np.zeros((count, at_hop))
    place = -at_hop  # of the next sample: the first frame begins a hop before the recording
    for own in weights:
        samples = transform.synthesise(own, at_hop) * math.sqrt(at_hop / hop)
        samples[:, :at_hop] += end
        samples, end = samples[:, :-at_hop], samples[:, -at_hop:].copy()
        first, last = max(place, 0), min(place + samples.shape[1], length)
        if first < last:
            found[first:last] = samples[:, first - place : last - place].T
        place += samples.shape[1]
    return found
