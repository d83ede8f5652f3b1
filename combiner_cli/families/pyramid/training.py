"""Training of a pyramid prior: the networks that predict the moments, by gradient steps on the evidence.

A step takes crops of pictures down the pyramid the way a decoder goes, each at a noise variance of its own, with
samples of the posteriors in the place of coded candidates; every network is trained on the context that it will meet.
See :mod:`combiner_cli.learning.networks` for the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from ...signals.signal import Signal
from ...stages.class_stream import best_classes
from ...stages.integer_network import FEATURE_UNIT
from ...stages.integer_network import octaves as octaves_of
from ...stages.moments import COARSE, OCTAVE, PARTS_FROM, UNIT
from ...stages.shape import FLAT_PICTURE, LEVELS, PictureShape, rescaled
from . import encoder, haar, levels
from . import features as pyramid_features
from .features import Network
from .levels import Level, noise_deviation
from .prior import PyramidPrior

if TYPE_CHECKING:
    from .learning import PyramidPlan

Array = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]

_USUAL_LEVEL = 48  # of noise; its pictures have weight 1. The cost is about inverse to the noise deviation ...
_WEIGHT_OCTAVES = 0.7 / 16  # ... and so is the weight, nearly
_SMALLEST_ERROR = 1e-6 / 127.5**2  # of a picture
_MOST_BEYOND = 10.0  # bits; it takes about that to say that a detail's deviation is wider
_FINE = 2  # levels of the pyramid, from the finest on, that are called fine
_MOST_FINER, _MOST_CHROMA, _MOST_MASKING = (20, 24, 6, 6), 12, 14  # of random shapes of the noise
_FINEST_NOISE = 110  # level that a random shape gives the coarsest details; finer than files have it
_FINEST_CROP = 7 / 16  # of the finest level's positions along an axis; it has most of the work


class PyramidTraining(GradientTraining):
    """The networks of a pyramid prior in training."""

    peak = 2.0

    def __init__(
        self,
        settings: PyramidPlan,
        plan: TrainingPlan,
        training: Sequence[Picture],
        held_out: Sequence[Picture],
        device: Device,
        start: PyramidPrior | None,
    ) -> None:
        """Begin.

        Args:
            settings: of the learning.
            plan: how far it goes.
            training: pictures of at least ``settings.crop`` samples a side, ``(height, width, 3)``.
            held_out: pictures to measure.
            device: where to compute.
            start: prior whose networks are learned on; the settings have its id.

        Raises:
            UsageError: the networks of that prior have other sizes.
        """
        # a filter is of what other networks left
        of_networks = replace(start, stored=start.stored_but_filter) if start else None
        super().__init__(new_networks(settings), plan, held_out, device, of_networks)
        self._settings, self._training = settings, training
        # crops of what is held out may have to be smaller, and have noise levels from all over the range
        smallest = min(min(picture.shape[:2]) for picture in held_out)
        self._held_out_settings = replace(settings, crop=min(settings.crop, smallest))
        self._held_out_levels = np.rint(np.linspace(*settings.noise_levels, settings.signals)).astype(np.int64)

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        return _crops(self._settings, self._training, generator)

    def draw_held_out(self, generator: np.random.Generator) -> tuple[Array, Array]:
        return _crops(self._held_out_settings, self.held_out, generator)[0], self._held_out_levels

    def cost(self, signals: Array, noise_levels: Array, generator: np.random.Generator) -> float:
        noise = random_shape(generator) if self._settings.is_shaped(generator) else FLAT_PICTURE
        levels_of_shape = noise_levels - encoder.levels_coarser(noise)
        if not noise.flat:
            levels_of_shape = np.minimum(levels_of_shape, _FINEST_NOISE - noise.finer_at(LEVELS))
        return TrainingPass(self.networks, generator, self.device.name, noise).run(signals, levels_of_shape)

    def prior(self, tensors: dict[str, Array]) -> PyramidPrior:
        settings = self._settings
        ranges = (1.0, 2.0), (1.0, 1.0)  # still to be measured
        return PyramidPrior(settings.name, "image", settings.noise_levels, *ranges, settings.size, tensors, PARTS_FROM)

    def simulated(self, prior: PyramidPrior, signal: Picture) -> Callable[[int], tuple[float, float]]:
        return simulated(prior, signal)


def simulated(prior: PyramidPrior, signal: Picture) -> Callable[[int], tuple[float, float]]:
    """A picture as it is coded, about: bits per pixel and mean squared error by the noise level.

    Args:
        prior: of its weights.
        signal: the picture, ``(height, width, 3)``.
    """
    simulation = encoder.ImageSimulation(prior, Signal("image", signal, None, 8))

    def at(noise_level: int) -> tuple[float, float]:
        expected = simulation.cost(noise_level)
        rate = (expected.bits + expected.class_bits) / (signal.shape[0] * signal.shape[1])
        return rate, max(expected.squared_error, _SMALLEST_ERROR) / signal.size

    return at


def new_networks(settings: PyramidPlan) -> torch.nn.ModuleDict:
    """The networks before the first step, by level and name."""
    generator = torch.Generator().manual_seed(settings.seed)
    networks = torch.nn.ModuleDict()
    for kind in range(COARSE + 1):
        luma, chroma, classes = settings.fine if kind < _FINE else settings.coarse
        of_level = torch.nn.ModuleDict()
        for network in pyramid_features.NETWORKS:
            hidden = classes if network.classes else chroma if network.chroma else luma
            of_level[network.name] = MomentNetwork(_shape(network, hidden), generator)
        networks[str(kind)] = of_level
    return networks


def _shape(network: Network, hidden: tuple[int, int]) -> NetworkShape:
    # octaves of the deviations begin at -1, relative to the contrast
    bias = [0.0] * network.outputs + [0.0 if network.classes else -1.0] * (network.values - network.outputs)
    return NetworkShape(network.features, network.values, network.outputs, network.relative, hidden, tuple(bias))


def _crops(settings: PyramidPlan, pictures: Sequence[Picture], generator: np.random.Generator) -> tuple[Array, Array]:
    """Crops of a step, ``(pictures, 3, crop, crop)`` in 255ths with 0 in the middle, and their noise levels."""
    crops = []
    for _ in range(settings.signals):
        crops.append(random_crop(pictures, settings.crop, generator).transpose(2, 0, 1))
    noise_levels = generator.integers(settings.noise_levels[0], settings.noise_levels[1] + 1, settings.signals)
    return np.stack(crops) - 127.5, noise_levels


def random_crop(pictures: Sequence[Picture], side: int, generator: np.random.Generator) -> Picture:
    """A square part of one of some pictures, ``(side, side, 3)``, turned or mirrored.

    Args:
        pictures: ``(height, width, 3)`` each, none of them smaller.
        side: of the part, in samples.
        generator: that says which one.
    """
    picture = pictures[int(generator.integers(len(pictures)))]
    top, left = (generator.integers(size - side + 1) for size in picture.shape[:2])
    crop = picture[top : top + side, left : left + side]
    for axis in (0, 1):
        crop = np.flip(crop, axis) if generator.random() < 0.5 else crop
    return crop.transpose(1, 0, 2) if generator.random() < 0.5 else crop


def random_shape(generator: np.random.Generator) -> PictureShape:
    """A shape of the noise that files may have.

    Args:
        generator: that says which one.
    """
    finer = tuple(int(generator.integers(0, most + 1)) for most in _MOST_FINER)
    return PictureShape(
        finer, int(generator.integers(0, _MOST_CHROMA + 1)), int(generator.integers(0, _MOST_MASKING + 1))
    )


class TrainingPass(NetworkPass):
    """One step's way down the pyramid, with a shape of the noise."""

    def __init__(
        self,
        networks: torch.nn.ModuleDict,
        generator: np.random.Generator,
        device: str,
        noise: PictureShape = FLAT_PICTURE,
    ) -> None:
        super().__init__(networks, generator, device)
        self._noise, self._weights = noise, np.ones(0)

    def run(self, pictures: Array, noise_levels: Array) -> float:
        """Take pictures ``(pictures, 3, height, width)`` down; their cost in bits per element, weighted.

        Args:
            pictures: in 255ths, 0 in the middle.
            noise_levels: of the finest level of each of them.
        """
        self._weights = _weights(noise_levels + encoder.levels_coarser(self._noise))
        scale = UNIT / np.array([noise_deviation(int(level)) for level in noise_levels])
        planes = np.einsum("kc,bchw->bkhw", haar.COLOUR, pictures) * scale[:, None, None, None]
        sizes, details = haar.sizes(pictures.shape[2:]), []
        for _ in sizes[1:]:
            planes, of_level = haar.analyse(planes)
            details.append(of_level)
        planes = planes * _times(self._noise.finer_at(len(details)))
        planes = np.floor(planes + UNIT * self._generator.standard_normal(planes.shape))
        classes = None
        for number in range(len(details) - 1, -1, -1):
            finer = self._noise.finer_at(number)
            planes = rescaled(planes, self._noise.finer_at(number + 1) - finer)
            level = levels.new_level(number, noise_levels + finer, planes, classes, self._noise)
            true = details[number] * _times(finer)
            if number == 0:
                level, true = self._cropped(level, true)
            self._level(level, true)
            if number:
                planes, classes = level.refined(sizes[number]), level.classes
        return self._cost / pictures.size

    def _cropped(self, level: Level, true: Array) -> tuple[Level, Array]:
        """A part of the finest level, and of its details."""
        side = [2 * max(1, round(size * _FINEST_CROP / 2)) for size in level.size]
        room = [(size - length) // 2 + 1 for size, length in zip(level.size, side, strict=True)]
        first = [2 * int(self._generator.integers(places)) for places in room]
        rows, columns = (slice(start, start + length) for start, length in zip(first, side, strict=True))
        part = levels.new_level(0, level.noise_levels, level.picture[..., rows, columns], shape=self._noise)
        part.masking = None if level.masking is None else level.masking[:, rows, columns]
        units = (slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2))
        part.parents[...] = level.parents[(slice(None), slice(None), *units)]
        return part, true[..., rows, columns]

    def _level(self, level: Level, true: Array) -> None:
        """All stages of a level; true details ``(pictures, 3, 3, rows, columns)`` in steps."""
        for chroma in (False, True):
            self._classes(level, true, chroma)
            for number in levels.stage_numbers(chroma):
                self._stage(level, true, number)

    def _results(self, level: Level, network: Network, features: Array) -> tuple[torch.Tensor, torch.Tensor]:
        values = torch.from_numpy(features).to(self._device) / FEATURE_UNIT
        results: tuple[torch.Tensor, torch.Tensor] = self._networks[str(level.kind)][network.name](values)  # type: ignore[index]
        return results

    def _backward(self, counts: Sequence[int], costs: torch.Tensor, counted: torch.Tensor | None = None) -> None:
        """Add the gradients of the average cost of positions, and the cost itself to the sum.

        Args:
            counts: positions of a picture in each phase.
            costs: ``(positions,)``, picture after picture within phases.
            counted: the part that a file pays for, if not all.
        """
        weights = self._tensor(np.concatenate([np.repeat(self._weights, count) for count in counts]))
        if costs.requires_grad:  # not where costs are only measured
            (costs * weights).mean().backward()  # type: ignore[no-untyped-call]
        self._cost += float(((costs if counted is None else counted).detach() * weights).sum())

    def _classes(self, level: Level, true: Array, chroma: bool) -> None:
        network = pyramid_features.class_network(chroma)
        features, contrast = pyramid_features.class_features(level, chroma, level.all_units, _memory)
        means, logits = self._results(level, network, features)
        residual = self._tensor(levels.unit_details(true, chroma) / UNIT) - means * self._tensor(contrast / UNIT)
        energy, noise = (residual**2).mean(dim=0), levels.unit_noise(level, chroma, level.all_units)
        octaves = torch.log_softmax(logits * math.log(2), dim=0) / math.log(2)
        classes = best_classes(
            energy.detach().cpu().numpy(),
            octaves.detach().cpu().numpy(),
            network.outputs,
            encoder.class_variances(level.kind),
            noise,
        )
        level.classes[:, int(chroma)] = classes.reshape(len(level.noise_levels), *level.units)
        entropy = -octaves.gather(0, torch.from_numpy(classes).to(self._device)[None])[0]
        # means serve to tell what is left over: about what it takes to code that
        over_noise = energy if noise is None else energy / self._tensor(noise)
        self._backward(
            [level.units[0] * level.units[1]],
            entropy + 0.5 * network.outputs * torch.log2(1 + over_noise),
            entropy,
        )

    def _stage(self, level: Level, true: Array, number: int) -> None:
        rows, phases = level.all_units, levels.stage_phases(number)
        network = pyramid_features.stage_network(number)
        parts = [pyramid_features.stage_features(level, number, phase, rows, _memory) for phase in phases]
        features, contrast = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        if not features.shape[1]:
            return
        means, octaves = self._results(level, network, features)
        means = means * self._tensor(contrast / UNIT)
        octaves = (octaves + self._tensor(octaves_of(contrast / UNIT))).clamp(-6, 20)
        coarser = self._octaves_of_noise(level, number)
        octaves, scale = octaves - coarser, torch.exp2(coarser)
        residual = (self._tensor(levels.details_of(true, number) / UNIT) - means) / scale
        counts = [levels.positions(level, phase, rows) // len(level.noise_levels) for phase in phases]
        self._backward(counts, evidence(residual, octaves, _MOST_BEYOND).sum(dim=0))
        noise = self._generator.standard_normal(residual.shape, dtype=np.float32)
        with torch.no_grad():
            values = means + sampled(residual, octaves, self._tensor(noise)) * scale
        levels.put(level, number, np.floor(values.cpu().numpy().astype(np.float64) * UNIT))

    def _octaves_of_noise(self, level: Level, number: int) -> torch.Tensor:
        """Octaves by which the noise of a stage's details is coarser than the level's, ``(positions,)`` or a number."""
        chroma = number in levels.CHROMA_STAGES
        parts = [level.noise(phase, level.all_units, chroma) for phase in levels.stage_phases(number)]
        noises = [part for part in parts if part is not None]  # all or none are
        return self._tensor(np.concatenate(noises) / OCTAVE if noises else np.zeros(1))


def _times(sixteenths: int) -> float:
    """The factor that so many sixteenths of an octave are."""
    return float(np.exp2(sixteenths / OCTAVE))


def _weights(noise_levels: Array) -> Array:
    """Weights of pictures of noise levels, ``(pictures,)``."""
    return np.exp2(-(noise_levels - _USUAL_LEVEL) * _WEIGHT_OCTAVES).clip(0.1, 8.0)


def _memory(_name: str, shape: tuple[int, ...]) -> Array:
    """Memory for features, which networks in training take in float32."""
    return np.empty(shape, dtype=np.float32)
