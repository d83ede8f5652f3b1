"""From a sound to a file with a lapped prior. What is imported here takes time: only what encodes imports it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...container.header import Numbers
from ...family import Encoded, Target
from ...signals.lossless import lossless_bytes
from ...signals.resampling import length_at, resampled
from ...signals.signal import Format, Signal
from ...stages.class_stream import FREQUENCY_BITS, best_classes
from ...stages.encoding import noise_levels
from ...stages.encoding.encoder import CodedSignal, SearchingCoder, Writer
from ...stages.encoding.rate_control import SearchOptions
from ...stages.encoding.simulation import Coder, CostEstimate, NoiseGrid, SimulatedCoder, Simulation
from ...stages.moments import UNIT, Moments, StageId
from ...stages.prior import LARGEST_NOISE
from ...stages.shape import FLAT_SOUND, SOUND_FIELDS, SoundShape, header_numbers
from . import features, levels, transform
from .decoder import descend
from .features import BAND, LIMITS, Segment, limit_bins
from .transform import CHANNELS, noise_deviation

if TYPE_CHECKING:
    from .prior import LappedPrior

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

# variance of the weights of a band over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, *(1 + 4.0**n for n in range(features.CLASSES - 1))])
GRID = NoiseGrid(0, LARGEST_NOISE, middle=48, octaves=1 / 4, farthest=48, attempts=3)
# of searches for the best ESTOI and PESQ of speech and the best ViSQOL of music: shapes.py, shapes_music.py, fill.py
PERCEPTUAL, PERCEPTUAL_MUSIC = SoundShape(28, 2, 14, 11), SoundShape(48, 2, 14, 11)
_RATE_OF_MUSIC = 32_000  # of a prior that is not for speech alone, at least
_NUMBERS = ("hop", "angle")  # of the header, that do not depend on what is coded
_SIMULATED = (0, 4, 4, 6, 6, 8, 12, 16, 24, 32)  # segments that choices are made by, by effort
_SHORT = 7  # longest hops: of a shorter recording, what lies beyond its ends is a large part
_FEW_SAMPLES = 2048  # at the coded rate, as which what a decoder makes of them is looked at
_MUCH_LOST, _MUCH_LOST_OF_ERROR = 0.01, 0.5  # of the energy, and of the error that is allowed, by resampling
_FEWEST_SEGMENTS = 1  # effort
_MANY_SAMPLES = 1 << 30  # of which no more are made
_RIDGE = 1e-3  # of the variance of samples that a decoder makes little of
_BAND_BITS = 6.0  # about what it takes to say that a band is louder than predicted


@dataclass(frozen=True, eq=False)
class Recording:
    """What is to be coded, at the rate and in the channels in which it is.

    Beyond its ends, where frames reach, a recording goes on as its mirror image, which costs much less than to end
    abruptly and makes no difference to a listener.

    Attributes:
        samples: ``(channels, length)`` float32 in [-1, 1].
        hop: samples between frames.
        short: whether what lies beyond its ends is a large part of it.
    """

    samples: Array
    hop: int
    short: bool = False

    @property
    def frames(self) -> int:
        """Number of frames."""
        return transform.frame_count(self.samples.shape[1], self.hop)

    @property
    def share_inside(self) -> float:
        """Of the squared error of all weights, what the recording has.

        What lies beyond the ends of a short one has about as much error as it has itself, which does not matter.
        """
        return self.samples.shape[1] / (self.frames * self.hop) if self.short else 1.0

    @property
    def segments(self) -> list[slice]:
        """The frames of each segment."""
        return transform.segments(self.frames)

    def weights(self, frames: slice) -> Array:
        """Weights of some frames, ``(channels, frames, hop)``.

        They are made when they are asked for, which takes little time: those of a long recording take much memory.
        """
        length = self.samples.shape[1]
        places = np.arange((frames.start - 1) * self.hop, frames.stop * self.hop) % (2 * length)
        return transform.analyse(self.samples[:, np.minimum(places, 2 * length - 1 - places)], self.hop)


@dataclass(eq=False)
class _EncoderSource:
    """The true weights of a segment, as a coder makes them; see :class:`decoder.LatentSource`.

    Attributes:
        true: in units of the noise's deviation, ``(channels, frames, hop)``.
        coder: of the weights.
        energy: squares of the weights of the stages so far; stages in which no band is coded are left out.
    """

    true: Array
    coder: Coder
    energy: float = 0.0

    def limit(self) -> int:
        return self.coder.symbols.exchange_number(limit_of(self.true))

    def classes(
        self, segment: Segment, level: int, parity: int, channel: int, frequencies: Array
    ) -> npt.NDArray[np.int64]:
        bands = features.bands_of(self.true[None, channel, :, : segment.bins], level, parity)
        octaves = np.log2(frequencies.astype(np.float64)) - FREQUENCY_BITS
        classes = best_classes((bands**2).mean(axis=1), octaves, BAND, CLASS_VARIANCES)
        self.coder.symbols.put(classes, frequencies)
        return classes

    def weights(self, stage: StageId, segment: Segment, moments: Moments) -> Array:
        level, phase, channel = features.place_of(stage, segment.channels)
        true = features.weights_of(self.true[None, channel, :, : segment.bins], level, phase).reshape(-1)
        self.energy += float((true**2).sum())
        return self.coder.weights(stage, moments, true)


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


def simulate(prior: LappedPrior, weights: Array, noise_level: int) -> CostEstimate:
    """What a segment comes to, without a shape of the noise.

    Args:
        prior: of the weights.
        weights: on values in [-1, 1], ``(channels, frames, hop)``.
        noise_level: of the file.
    """
    return _simulated(prior, weights, noise_level, FLAT_SOUND)[0]


def _simulated(prior: LappedPrior, weights: Array, noise_level: int, noise: SoundShape) -> tuple[CostEstimate, float]:
    """What a segment comes to, and its squared error, whatever the shape of the noise."""
    coder = SimulatedCoder()
    decoded, weighted_error = coded_segment(prior, weights, noise_level, noise, coder)
    bins = decoded.shape[-1]
    squared_error = np.square(weights[..., :bins] - decoded).sum() + np.square(weights[..., bins:]).sum()
    return coder.cost(weighted_error), float(squared_error)


def coded_segment(
    prior: LappedPrior, weights: Array, noise_level: int, noise: SoundShape, coder: Coder
) -> tuple[Array, float]:
    """Code a segment.

    Args:
        prior: of the weights.
        weights: on values in [-1, 1], ``(channels, frames, hop)``.
        noise_level: of the file.
        noise: its shape.
        coder: of the weights.

    Returns:
        The weights that a decoder will have, ``(channels, frames, bins)``, and their squared error, over the factors of
        their noise; both on values in [-1, 1]. What is not coded has the base noise.
    """
    deviation = noise_deviation(noise_level)
    true = weights / deviation
    channels, count, hop = weights.shape
    before, source = coder.weighted_error, _EncoderSource(true, coder)
    decoded = descend(prior, count, channels, hop, noise_level, source, noise)
    left_out = max(float((true**2).sum()) - source.energy, 0.0)
    error = (coder.weighted_error - before + left_out) * deviation**2
    return decoded * (deviation / UNIT), error


class SoundSimulation(Simulation):
    """A sound with one of the hops of its prior, and what coding it comes to.

    Attributes:
        recording: what is to be coded of the sound.
    """

    prior: LappedPrior
    noise: SoundShape

    def __init__(
        self,
        prior: LappedPrior,
        signal_format: Format,
        recording: Recording,
        numbers: Numbers,
        most_segments: int,
        noise: SoundShape = FLAT_SOUND,
    ) -> None:
        """
        Args:
            prior: of the weights.
            signal_format: of the sound.
            recording: what is to be coded of it.
            numbers: of the header that depend neither on what is coded nor on the shape of the noise.
            most_segments: that choices are made by.
            noise: its shape.
        """
        self.prior, self.format, self.grid = prior, signal_format, GRID
        self.samples, self.recording, self._most_segments = recording.samples.size, recording, most_segments
        self._fixed = numbers
        self._take_shape(noise)

    def _part(self, noise_level: int, number: int) -> tuple[CostEstimate, float]:
        if (noise_level, number) not in self._known:
            weights = self.recording.weights(self.recording.segments[number])
            self._known[noise_level, number] = _simulated(self.prior, weights, noise_level, self.noise)
        return self._known[noise_level, number]

    def parts(self, noise_level: int) -> Sequence[CostEstimate]:
        """What each segment comes to at a noise level, in coding order."""
        return [self._part(noise_level, number)[0] for number in range(len(self.recording.segments))]

    def cost(self, noise_level: int) -> CostEstimate:
        """About what the whole sound comes to at a noise level; of a long one, by some of its segments."""
        numbers, count = self._looked_at, len(self.recording.segments)
        cost = CostEstimate.total((self._part(noise_level, number)[0] for number in numbers), count / len(numbers))
        if self.recording.short:
            return replace(cost, squared_error=cost.squared_error * self.recording.share_inside)
        return cost

    def lost(self, noise_level: int) -> float:
        """About the sum of the squared errors of the sound itself at a noise level, whatever the shape of the noise."""
        numbers, recording = self._looked_at, self.recording
        total = sum(self._part(noise_level, number)[1] for number in numbers)
        return total * recording.share_inside * len(recording.segments) / len(numbers)

    @property
    def _looked_at(self) -> Sequence[int]:
        """The numbers of the segments that choices are made by, spread over all."""
        count, most = len(self.recording.segments), self._most_segments
        return range(count) if count <= most else [(2 * place + 1) * count // (2 * most) for place in range(most)]

    def _take_shape(self, noise: SoundShape) -> None:
        self.noise = noise
        self.numbers = {**self._fixed, **header_numbers(SOUND_FIELDS, noise.numbers)}
        self._known: dict[tuple[int, int], tuple[CostEstimate, float]] = {}

    def code(self, noise_level: int, writer: Writer) -> CodedSignal:
        """Code all segments."""
        coder = SearchingCoder(writer, self.prior.parts_from)
        segments, error = self.recording.segments, 0.0
        expected = self.parts(noise_level) if writer.budget.total is not None else ()
        for number, (frames, of_segment) in enumerate(zip_longest(segments, expected)):
            last = number == len(segments) - 1
            final_stage = features.last_stage(self.format.channels) if last else None
            writer.begin_part(of_segment, 0, final_stage)
            if number:
                writer.adjust_rate(expected[number:])
            error += coded_segment(self.prior, self.recording.weights(frames), noise_level, self.noise, coder)[1]
        return writer.finish(noise_level, error * self.recording.share_inside)


def encode(prior: LappedPrior, signal: Signal, target: Target, how: SearchOptions) -> Encoded:
    """Encode a sound.

    Args:
        prior: of its weights.
        signal: the sound.
        target: of the file.
        how: candidates are searched for.

    Raises:
        UsageError: the target cannot be met.
    """
    begun = time.perf_counter()
    noise = perceptual_shape(prior) if target.perceptual else FLAT_SOUND
    as_it_is = _loses_much(prior, signal, target)
    simulations = _simulations(prior, signal, how.effort, noise, as_it_is)
    lossless = lossless_bytes(signal) if target.unit in ("rate", "noise") else math.inf
    simulation, noise_level = levels.choose(simulations, target, how.effort, lossless)
    fitted = time.perf_counter()
    coded = levels.no_larger(simulation, noise_level, target, how, lossless)
    seconds = {"fit": fitted - begun, "search": time.perf_counter() - fitted}
    return Encoded(simulation.header(coded.numbers), coded.payload, coded.latents, seconds)


def perceptual_shape(prior: LappedPrior) -> SoundShape:
    """The shape of the noise with which it is heard least in what a prior is for."""
    return PERCEPTUAL_MUSIC if prior.sample_rate >= _RATE_OF_MUSIC else PERCEPTUAL


def predicted_cost(prior: LappedPrior, signal: Signal, noise_variance: float) -> float:
    """What coding a sound at about a noise variance comes to, in bits; see :meth:`family.Prior.predicted_costs`."""
    coded_variance = noise_variance * prior.noise_gain(signal.format)
    level = min(max(round(prior.noise_level_of(coded_variance)), GRID.lowest), GRID.highest)
    simulations = _simulations(prior, signal, _FEWEST_SEGMENTS, FLAT_SOUND, as_it_is=False)
    usual = noise_levels.expected_cost(simulations[len(simulations) // 2], level)
    return usual + _lost_by_resampling(prior, signal) / (2 * math.log(2) * noise_variance)


def _loses_much(prior: LappedPrior, signal: Signal, target: Target) -> bool:
    """Whether so much of a sound is lost on the way to its prior's sample rate that it has to be coded as it is."""
    lost = _lost_by_resampling(prior, signal)
    if lost > _MUCH_LOST * float(np.square(signal.samples, dtype=np.float64).sum()):
        return True
    assert signal.sample_rate is not None
    if target.unit == "psnr":
        allowed = 4 * 10 ** (-target.value / 10)
    elif target.unit in ("rate", "noise") and signal.sample_rate < prior.coded_rate(signal.sample_rate, _MANY_SAMPLES):
        level, _ = prior.typical_of(target, signal.format)
        allowed = prior.noise_variance(level) / prior.noise_gain(signal.format)
    else:
        return False
    return lost > _MUCH_LOST_OF_ERROR * allowed * signal.samples.size


def _lost_by_resampling(prior: LappedPrior, signal: Signal) -> float:
    """Squared error of a sound, summed over all samples, once it was at the sample rate at which it is coded.

    A higher rate loses too: what lies next to half of the lower one is filtered away on the way back.
    """
    rate = signal.sample_rate
    assert rate is not None
    coded_rate = prior.coded_rate(rate, signal.points)
    if coded_rate == rate:
        return 0.0
    coded = resampled(signal.samples, rate, coded_rate)
    return float(np.square(signal.samples - resampled(coded, coded_rate, rate, signal.points), dtype=np.float64).sum())


def _simulations(
    prior: LappedPrior, signal: Signal, effort: int, noise: SoundShape, as_it_is: bool
) -> list[SoundSimulation]:
    """The sound with each of the hops of its prior, at the coded rate or as it is."""
    assert signal.sample_rate is not None
    samples, angle = _at_rate(signal, prior.coded_rate(signal.sample_rate, signal.points, as_it_is)), 0
    if signal.channels == CHANNELS:
        angle = transform.principal_angle(samples)
        samples = samples @ transform.rotation(angle).T.astype(np.float32)
    channels = np.ascontiguousarray(samples.T)
    short = channels.shape[1] < _SHORT * max(prior.hops)
    noise = FLAT_SOUND if short else noise  # there is not much to follow
    return [
        SoundSimulation(
            prior,
            signal.format,
            Recording(channels, hop, short),
            dict(zip(_NUMBERS, ((number + as_it_is * transform.MOST_HOPS,), (angle,)), strict=True)),
            _SIMULATED[effort],
            noise,
        )
        for number, hop in enumerate(prior.hops)
    ]


def _at_rate(signal: Signal, coded_rate: int) -> Array:
    """The samples of a sound at the rate at which it is coded, ``(samples, channels)`` float32."""
    assert signal.sample_rate is not None
    count = length_at(signal.points, signal.sample_rate, coded_rate)
    if coded_rate == signal.sample_rate or count > _FEW_SAMPLES:
        return resampled(signal.samples, signal.sample_rate, coded_rate)
    # to a resampler all is silence beyond the ends, which is most of what it makes a few samples from: these are what a
    # decoder makes the sound from, as well as it can
    made: FloatArray = resampled(np.eye(count), coded_rate, signal.sample_rate, signal.points)
    energies = made @ made.T
    ridge = _RIDGE * float(energies.trace()) / signal.points
    weighted = np.linalg.solve(energies + ridge * np.eye(signal.points), signal.samples.astype(np.float64))
    return (made.T @ weighted).astype(np.float32)
