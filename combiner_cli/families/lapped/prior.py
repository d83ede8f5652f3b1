"""Lapped priors: the moments of every weight of a recording, predicted from the weights that are decoded before it.

A recording is decoded in segments of some hundred frames, and a segment level by level: first the energy classes of the
level's bands, one of sixteen each, in an entropy code whose probabilities are predicted, then its weights in three
phases. The second channel of a pair comes after the first one in every step, and its moments depend on that too. The
means are all 0: the sign of a weight cannot be predicted. The weights of bands of class 0 are pruned. A weight that
candidates would not reach is an outlier: the file names it, and how much wider its prior is.

Everything that a decoder's structure depends on is made of whole numbers here, so that it is safe to let moments depend
on what is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...container.header import Field, Fields
from ...family import Decoded, Encoded, Family, Target, View
from ...signals.resampling import length_at
from ...signals.signal import Format, Kind, Signal
from ...stages import integer_network
from ...stages.class_stream import frequencies_of
from ...stages.integer_network import IntegerNetwork
from ...stages.moments import HIGHEST, LOWEST, OCTAVE, PARTS_FROM, Moments
from ...stages.prior import RANGES, StagewisePrior
from ...stages.shape import SOUND_FIELDS
from ...system import threads
from .. import registry
from . import features
from .features import BAND, LEVELS, Segment
from .transform import ANGLES, CHANNELS, LARGEST_HOP, MOST_HOPS, noise_deviation

if TYPE_CHECKING:
    from ...stages.encoding.rate_control import SearchOptions

Array = npt.NDArray[Any]

_COLUMNS_AT_ONCE = 1 << 14  # of features
_NEAR_RATE = 1.2  # a recording of a sample rate within this factor of a prior's is taken as it is
_MUCH_LOWER = 3  # times lower than the prior's is a sample rate that says nothing of what is recorded
_FINER, _FEW_SAMPLES = (8, 4, 2), 2048  # samples for each one of a recording, and how many there may be of them


@dataclass(frozen=True, eq=False)
class LappedPrior(StagewisePrior):
    """A prior over the weights of a lapped transform.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals, ``"sound"``.
        sample_rate: that it was learned at, in Hz.
        hops: samples between frames that a recording can have.
        channels: 2 where it knows how the second channel of a pair goes with the first, else 1.
        noise_codes: noise levels of the lowest and the highest rate that it was learned for.
        rates: bits per sample instant at these levels, average of the signals of learning.
        errors: mean squared error at these levels on values in [-1, 1], geometric average of the signals of learning.
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
        return registry.get("lapped")

    @property
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""
        return (*super().fields, Field("hop", 2 * MOST_HOPS - 1), Field("angle", ANGLES - 1), *SOUND_FIELDS)

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        plain = {name: getattr(self, name) for name in ("kind", "size", "parts_from", "sample_rate", "channels")}
        lists = {name: list(getattr(self, name)) for name in (*RANGES, "hops")}
        return {"family": self.family.name, **plain, **lists}

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """How many points are rendered for a sound: those of all channels, at its rate or that at which it is coded,
        whichever is more."""
        assert signal_format.sample_rate is not None
        rate = signal_format.sample_rate
        coded = length_at(signal_format.points, rate, self.coded_rate(rate, signal_format.points))
        return signal_format.channels * max(signal_format.points, coded) * scale

    def usual_search(self, effort: int) -> str:
        """The search for candidates where none is asked for."""
        del effort  # it is fast enough for all
        return "viterbi"

    def encode_one(self, signal: Signal, target: Target, how: SearchOptions) -> Encoded:
        """Encode a sound."""
        from .encoder import encode

        return encode(self, signal, target, how)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file that was made with this prior."""
        from .decoder import decode

        return decode(self, file, view)

    def coded_rate(self, sample_rate: int, points: int, as_it_is: bool = False) -> int:
        """The sample rate at which a recording is coded.

        It is the recording's own where that is near the prior's, and where it is much lower: the samples are then coded
        as if they were of the prior's rate, which is better than to make so many more of them. Of very few samples,
        which frames reach far beyond, some more are made.

        Args:
            sample_rate: of the recording.
            points: of the recording, sample instants.
            as_it_is: whether its file says that it is coded at its own rate, whatever that is.
        """
        high, low = max(sample_rate, self.sample_rate), min(sample_rate, self.sample_rate)
        if as_it_is or high <= _NEAR_RATE * low:
            return sample_rate
        if _MUCH_LOWER * sample_rate >= self.sample_rate:
            return self.sample_rate
        most = min(_FEW_SAMPLES // points, self.sample_rate // sample_rate)
        return next((times for times in _FINER if times <= most), 1) * sample_rate

    def noise_variance(self, noise_level: float) -> float:
        """The variance that a noise level stands for, on values in [-1, 1], between levels as well."""
        return noise_deviation(noise_level) ** 2

    def noise_gain(self, signal_format: Format) -> float:
        """The noise variance of what is coded over that of the signal.

        What is coded has as many weights as the signal has samples, or fewer, and an error of the noise's variance in
        each, which goes to another number of samples where the sample rate is another.
        """
        assert signal_format.sample_rate is not None
        return self.coded_rate(signal_format.sample_rate, signal_format.points) / signal_format.sample_rate

    def predicted_costs(self, signals: Sequence[Signal], noise_variance: float, most: float = math.inf) -> list[float]:
        """What coding sounds at a noise variance comes to; see :meth:`family.Prior.predicted_costs`."""
        from .encoder import predicted_cost

        del most  # there is one other prior at most
        return [predicted_cost(self, signal, noise_variance) for signal in signals]

    @cached_property
    def networks(self) -> tuple[dict[str, IntegerNetwork], ...]:
        """The networks of each level by name."""
        return tuple(
            {name: IntegerNetwork.among(self.stored, f"{level}.{name}.") for name in self.network_names(level)}
            for level in range(LEVELS)
        )

    def network_names(self, level: int) -> list[str]:
        """The networks of a level; those of a second channel only where the prior knows pairs."""
        return [name for name in features.networks(level) if self.channels == CHANNELS or name.endswith("_0")]

    @cached_property
    def scratch(self) -> threads.Scratch:
        """Memory for activations."""
        return threads.Scratch()

    def class_frequencies(self, segment: Segment, level: int, parity: int, channel: int) -> Array:
        """Frequencies of the classes of the bands of even or odd number of a level.

        Args:
            segment: that they are of, with all that is decoded before them.
            level: of their frames.
            parity: of the bands' numbers.
            channel: of the bands.

        Returns:
            ``(16, bands)``; those of a band sum to 2^16.
        """
        seen = self._seen(channel)
        network = self.networks[level][features.class_name(parity, seen)]
        view = _seen_segment(segment, channel, seen)
        return frequencies_of(self._run(network, features.class_features(view, level, parity, seen)))

    def moments(self, segment: Segment, level: int, phase: int, channel: int) -> Moments:
        """Moments of the weights of a phase of a level, frame by frame.

        Args:
            segment: that they are of, with all that is decoded before them.
            level: of their frames.
            phase: of the weights.
            channel: of the weights.
        """
        seen = self._seen(channel)
        view = _seen_segment(segment, channel, seen)
        which = features.coded(view, level, phase, seen)
        network = self.networks[level][features.detail_name(phase, seen)]
        results = self._run(network, features.detail_features(view, level, phase, seen, which))[0]
        numbers = np.floor(results * (OCTAVE * 2.0**-integer_network.RESULT_BITS))
        deviation = np.full(features.latents(segment, level, phase), -1, dtype=np.int16)
        deviation[which] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
        return Moments(np.zeros(len(deviation)), deviation)

    def _run(self, network: IntegerNetwork, columns: Array) -> Array:
        """Results of a network, on several threads where there are many columns of features."""
        count = columns.shape[1]
        strips = [slice(first, min(first + _COLUMNS_AT_ONCE, count)) for first in range(0, count, _COLUMNS_AT_ONCE)]
        parts = threads.mapped(lambda strip: network(columns[:, strip], self.scratch), strips)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(network.third), 0))

    def _seen(self, channel: int) -> int:
        """As which channel the networks see one."""
        return min(channel, self.channels - 1)


def _seen_segment(segment: Segment, channel: int, seen: int) -> Segment:
    """A segment as the networks see it: for a prior that knows no pairs, the second channel is one by itself."""
    if channel == seen:
        return segment
    arrays = (segment.weights, segment.loudness, segment.smooth, segment.padded_classes)
    alone = (array[:, channel:].copy() for array in arrays)
    return Segment(segment.noise_levels, segment.hop, segment.count, segment.bins, *alone)


def problem(prior: LappedPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    possible = (
        prior.kind == "sound"
        and prior.configuration_possible()
        and all(type(number) is int for number in (prior.sample_rate, prior.channels, *prior.hops))
        and 0 < prior.sample_rate < 2**32
        and prior.channels in (1, CHANNELS)
        and 0 < len(prior.hops) <= MOST_HOPS
        and all(2 * BAND <= hop <= LARGEST_HOP and hop % (2 * BAND) == 0 for hop in prior.hops)
    )
    if not possible:
        return "its configuration is out of range"
    shapes = {}
    for level in range(LEVELS):
        for name in prior.network_names(level):
            network = features.networks(level)[name]
            shapes[f"{level}.{name}"] = (network.features, network.values, network.values, network.relative)
    return integer_network.wrong_networks(prior.stored, shapes)
