"""Training of a lapped prior: the networks that predict the moments, by gradient steps on the evidence.

A step takes stretches of recordings through the levels the way a decoder goes, each at a noise variance of its own,
with samples of the posteriors in the place of coded candidates; every network is trained on the context that it will
meet. See :mod:`combiner_cli.learning.networks` for the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ...learning.distributed import Device
from ...learning.networks import (
    GradientTraining,
    MomentNetwork,
    NetworkPass,
    NetworkShape,
    evidence,
    sampled,
)
from ...learning.trainer import TrainingPlan
from ...stages.class_stream import best_classes
from ...stages.integer_network import FEATURE_UNIT
from ...stages.moments import OCTAVE, UNIT
from ...stages.shape import EXPONENT_UNIT, FLAT_SOUND, SoundShape
from . import encoder, features, transform
from .features import BAND, LEVELS, LIMITS, PARITIES, PHASES, Segment, limit_bins
from .prior import LappedPrior
from .transform import noise_deviation

if TYPE_CHECKING:
    from .learning import LappedPlan

Array = npt.NDArray[Any]

_MOST_BEYOND = 10.0  # bits; it takes about that to give a band a higher class
_SMALLEST_ERROR = 1e-9  # whose logarithm is taken
_REACH = 8.0  # prior deviations; with a higher class hardly anything is beyond
_FEWEST_FRAMES = 16  # of a stretch
_MOST_GAIN = 2.0  # that the loudness of a stretch is varied by, up and down
_USUAL_LEVEL = 40  # of noise; its stretches have weight 1. The cost of a stretch is about linear in its noise level
_WEIGHT_OCTAVES = 0.5 / 8
_MOST_EXPONENT, _MOST_TILT = 44, 20  # of random shapes of the noise
_MORE_THAN_NEEDED = 0.2  # share of the steps


class LappedTraining(GradientTraining):
    """The networks of a lapped prior in training."""

    peak = 2.0

    def __init__(
        self,
        settings: LappedPlan,
        plan: TrainingPlan,
        training: Sequence[Array],
        held_out: Sequence[Array],
        device: Device,
        start: LappedPrior | None,
    ) -> None:
        """Begin.

        Args:
            settings: of the learning.
            plan: how far it goes.
            training: recordings, ``(channels, samples)`` float32 in [-1, 1], pairs as their first and second channel
                are coded.
            held_out: recordings to measure.
            device: where to compute.
            start: prior whose networks are learned on; the settings have its id.

        Raises:
            UsageError: the networks of that prior have other sizes.
        """
        super().__init__(new_networks(settings), plan, held_out, device, start)
        self._settings, self._training = settings, training
        # what is held out may have channels of which nothing is learned, and has noise levels from all over the range
        self._parts_held_out = [recording[: settings.channels] for recording in held_out]
        self._held_out_levels = np.rint(np.linspace(*settings.noise_levels, settings.signals)).astype(np.int64)

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        return _stretches(self._settings, self._training, generator)

    def draw_held_out(self, generator: np.random.Generator) -> tuple[Array, Array]:
        return _stretches(self._settings, self._parts_held_out, generator)[0], self._held_out_levels

    def cost(self, signals: Array, noise_levels: Array, generator: np.random.Generator) -> float:
        noise = random_shape(generator) if self._settings.is_shaped(generator) else FLAT_SOUND
        finer = noise_levels + _levels_finer(noise)
        return TrainingPass(self.networks, generator, self.device.name, noise, self._settings.sample_rate).run(
            signals, finer
        )

    def prior(self, tensors: dict[str, Array]) -> LappedPrior:
        return replace(unlearned(self._settings), stored=tensors)

    def simulated(self, prior: LappedPrior, signal: Array) -> Callable[[int], tuple[float, float]]:
        recording = encoder.Recording(signal, prior.hops[0])
        segments = [recording.weights(segment) for segment in recording.segments]

        def at(noise_level: int) -> tuple[float, float]:
            parts = [encoder.simulate(prior, weights, noise_level) for weights in segments]
            rate = sum(part.bits + part.class_bits for part in parts) / signal.shape[1]
            return rate, max(sum(part.squared_error for part in parts), _SMALLEST_ERROR) / signal.size

        return at


def unlearned(settings: LappedPlan) -> LappedPrior:
    """The prior without networks, its ranges still to be measured."""
    return LappedPrior(
        settings.name,
        "sound",
        settings.sample_rate,
        settings.hops,
        settings.channels,
        settings.noise_levels,
        (1.0, 2.0),
        (1.0, 1.0),
        settings.size,
        {},
    )


def new_networks(settings: LappedPlan) -> torch.nn.ModuleDict:
    """The networks before the first step, by level and name."""
    prior, generator = unlearned(settings), torch.Generator().manual_seed(settings.seed)
    networks = torch.nn.ModuleDict()
    for level in range(LEVELS):
        known, of_level = features.networks(level), torch.nn.ModuleDict()
        for name in prior.network_names(level):
            network = known[name]
            activity = network.values > 1
            hidden = settings.activity if activity else settings.detail
            bias = (0.0,) * network.values if activity else (-1.0,)
            shape = NetworkShape(network.features, network.values, network.values, network.relative, hidden, bias)
            of_level[name] = MomentNetwork(shape, generator)
            if not activity:  # an octave per class
                of_level[name].linear.data[0, 0] = 0.5  # type: ignore[operator]
        networks[str(level)] = of_level
    return networks


def _stretches(
    settings: LappedPlan, recordings: Sequence[Array], generator: np.random.Generator
) -> tuple[Array, Array]:
    """Weights of stretches of a step, ``(stretches, channels, frames, hop)``, and their noise levels."""
    hop = settings.hops[int(generator.integers(len(settings.hops)))]
    lengths = np.array([recording.shape[1] for recording in recordings], dtype=np.float64)
    # recordings by their length; a step is of single recordings or of pairs only
    first = recordings[int(generator.choice(len(recordings), p=lengths / lengths.sum()))]
    alike = [recording for recording in recordings if len(recording) == len(first)]
    chances = np.array([recording.shape[1] for recording in alike], dtype=np.float64)
    length = (max(settings.length // hop, _FEWEST_FRAMES) + 1) * hop
    stretches = []
    for number in generator.choice(len(alike), settings.signals, p=chances / chances.sum()):
        recording = alike[int(number)]
        begin = int(generator.integers(-hop, max(recording.shape[1] - length, 0) + hop))
        stretch = np.zeros((len(recording), length), dtype=np.float32)
        taken = recording[:, max(begin, 0) : max(begin + length, 0)]
        stretch[:, max(-begin, 0) : max(-begin, 0) + taken.shape[1]] = taken[:, : length - max(-begin, 0)]
        stretches.append(stretch * np.float32(_MOST_GAIN ** generator.uniform(-1, 1)) * generator.choice((-1, 1)))
    noise_levels = generator.integers(settings.noise_levels[0], settings.noise_levels[1] + 1, settings.signals)
    return transform.analyse(np.stack(stretches), hop), noise_levels


def random_shape(generator: np.random.Generator) -> SoundShape:
    """A shape of the noise that files may have, without smoothing."""
    return SoundShape(int(generator.integers(0, _MOST_EXPONENT + 1)), 0, int(generator.integers(0, _MOST_TILT + 1)))


def _levels_finer(noise: SoundShape) -> int:
    """About by how many levels the base noise is finer with a shape at the same rate."""
    return round(noise.exponent / 4 + noise.tilt * 0.8)


class TrainingPass(NetworkPass):
    """One step's way through the levels, with a shape of the noise, of recordings of a sample rate in Hz."""

    def __init__(
        self,
        networks: torch.nn.ModuleDict,
        generator: np.random.Generator,
        device: str,
        noise: SoundShape = FLAT_SOUND,
        sample_rate: int = 1,
    ) -> None:
        super().__init__(networks, generator, device)
        self._noise, self._sample_rate = noise, sample_rate

    def run(self, weights: Array, noise_levels: Array) -> float:
        """Take weights ``(stretches, channels, frames, hop)`` through; their cost in bits per weight."""
        deviations = np.array([noise_deviation(int(level)) for level in noise_levels])
        scaled = weights / deviations[:, None, None, None]
        limit = max(encoder.limit_of(stretch) for stretch in scaled)
        hop = scaled.shape[3]
        # often more than the loudest stretch needs, as the others of a file may
        if self._generator.random() < _MORE_THAN_NEEDED:
            limit = int(self._generator.integers(limit, LIMITS))
        bins = limit_bins(max(limit, 1), hop)
        segment = features.new_segment(noise_levels, hop, scaled.shape[1], scaled.shape[2], bins)
        true = scaled[..., :bins]
        for level in range(LEVELS - 1, -1, -1):
            for channel, parity in product(range(segment.channels), range(PARITIES)):
                if features.band_count(segment, level, parity):
                    self._classes(segment, true, level, parity, channel)
            for phase, channel in product(range(PHASES), range(segment.channels)):
                if features.latents(segment, level, phase):
                    self._stage(segment, true, level, phase, channel)
        return self._cost / float(true.size)

    def _results(self, level: int, name: str, columns: Array) -> torch.Tensor:
        values = torch.from_numpy(columns).to(self._device) / FEATURE_UNIT
        results: torch.Tensor = self._networks[str(level)][name](values)[0]  # type: ignore[index]
        return results

    def _backward(self, segment: Segment, stretch: Array, costs: torch.Tensor) -> None:
        """Add the gradients of the average cost of columns, and the cost itself to the sum.

        Args:
            segment: of recordings.
            stretch: of each column, ``(columns,)``.
            costs: ``(columns,)``.
        """
        weights = self._tensor(_weights(segment.noise_levels)[stretch])
        if costs.requires_grad:  # not where costs are only measured
            (costs * weights).mean().backward()  # type: ignore[no-untyped-call]
        self._cost += float(costs.detach().sum())

    def _classes(self, segment: Segment, true: Array, level: int, parity: int, channel: int) -> None:
        columns = features.class_features(segment, level, parity, channel, np.float32)
        logits = self._results(level, features.class_name(parity, channel), columns)
        octaves = torch.log_softmax(logits * math.log(2), dim=0) / math.log(2)
        energy = (features.bands_of(true[:, channel], level, parity) ** 2).mean(axis=1)
        classes = best_classes(energy, octaves.detach().cpu().numpy(), BAND, encoder.CLASS_VARIANCES)
        features.put_classes(segment, level, parity, channel, classes)
        stretch = np.repeat(np.arange(len(segment.noise_levels)), len(classes) // len(segment.noise_levels))
        self._backward(segment, stretch, -octaves.gather(0, torch.from_numpy(classes).to(self._device)[None])[0])

    def _stage(self, segment: Segment, true: Array, level: int, phase: int, channel: int) -> None:
        which = features.coded(segment, level, phase, channel)
        true = features.weights_of(true[:, channel], level, phase).reshape(-1)
        values = np.zeros(len(true))
        if len(which):
            columns = features.detail_features(segment, level, phase, channel, which, np.float32)
            octaves = self._results(level, features.detail_name(phase, channel), columns)[0].clamp(-6, 20)
            coarser = self._octaves_of_noise(octaves.detach(), segment, phase, which)
            octaves, scale = octaves - coarser, torch.exp2(coarser)
            residual = self._tensor(true[which]) / scale
            self._backward(
                segment, which // (len(true) // len(segment.noise_levels)), evidence(residual, octaves, _MOST_BEYOND)
            )
            noise = self._tensor(self._generator.standard_normal(len(which), dtype=np.float32))
            with torch.no_grad():
                values[which] = (sampled(residual, octaves, noise, _REACH) * scale).cpu().numpy()
        pruned = np.delete(true, which)
        self._cost += float((pruned**2).sum()) / (2 * math.log(2))
        features.put(segment, level, phase, channel, np.floor(values * UNIT))

    def _octaves_of_noise(self, octaves: torch.Tensor, segment: Segment, phase: int, which: Array) -> torch.Tensor:
        """Octaves by which the noise of weights is coarser than the base, as :meth:`SoundShape.shaped` has them.

        Args:
            octaves: of their prior deviations, ``(weights,)``.
            segment: that they are of.
            phase: of the weights.
            which: of the latents they are.
        """
        spectrum = 0.5 * torch.log2(1 + torch.exp2(2 * octaves)) * (self._noise.exponent / EXPONENT_UNIT)
        pitch = features.weight_pitches(segment.bins, segment.hop, self._sample_rate, phase)
        return spectrum + self._tensor(self._noise.tilted(pitch)[which % len(pitch)]) / OCTAVE


def _weights(noise_levels: Array) -> Array:
    """Weights of stretches of noise levels, ``(stretches,)``."""
    return np.exp2(-(noise_levels - _USUAL_LEVEL) * _WEIGHT_OCTAVES).clip(0.25, 4.0)
