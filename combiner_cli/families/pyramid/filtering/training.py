"""Training of a filter: a convolution network that learns, rounded as it will be, what decoded pictures lack.

Pictures are decoded in simulation, with samples of the posterior in the place of candidates, at noise levels from all
over the range, half of them with a shape of the noise. Several steps learn from each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ....learning.distributed import Device
from ....learning.networks import GradientTraining
from ....learning.report import Measurement
from ....learning.trainer import TrainingPlan
from ....signals.signal import Signal
from ....stages.convolution import (
    LARGEST_ACTIVATION,
    LARGEST_RESULT,
    LARGEST_WEIGHT,
    SIDE,
    WEIGHT_BITS,
    ConvolutionNetwork,
)
from ....stages.encoding.simulation import SimulatedCoder
from ....stages.moments import UNIT
from ....stages.shape import FLAT_PICTURE, PictureShape
from .. import haar
from ..encoder import PERCEPTUAL, ImageSimulation, levels_coarser
from ..levels import HALF_RANGE, Level, noise_deviation, noise_range
from ..prior import PyramidPrior
from ..training import random_crop, random_shape, simulated
from . import filter as picture_filter
from .filter import CHANNELS, CONDITIONS, PREFIX, RESULTS

if TYPE_CHECKING:
    from .learning import FilterPlan

Array = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]

_LEARNING_RATE = 4e-3
_LATEST = 64  # pictures that a step draws from
_STEPS_OF_EACH = 4  # until there is a new one
PART = 48  # positions of a side of what a step sees of a picture
_LEAST_ERROR = 0.05  # variances of the noise; pictures that have less are exact already, and count less
_ANY_SHAPE, _FLAT = 1 / 6, 1 / 2  # shares of pictures; all others have the shape of perceptual files
_GREY = 1 / 8  # share of pictures without colours
# gains of the weights to begin with: of the first layer, of those that add, of the last one
_FIRST_GAIN, _INNER_GAIN, _LAST_GAIN = 1.0, 0.5, 0.03
# units of the parameters, in which they learn about equally fast: of the last layer's weights, of biases, of conditions
_LAST_UNIT, _BIAS_UNIT, _LAST_BIAS_UNIT, _CONDITION_UNIT = 2.0, 32.0, 64.0, 2.0
_STEPS_OF_ONE = 2.0**WEIGHT_BITS


class FilterNetwork(torch.nn.Module):
    """A :class:`combiner_cli.stages.convolution.ConvolutionNetwork` in training; gradients ignore its rounding."""

    def __init__(self, channels: int, layers: int, generator: torch.Generator) -> None:
        """Draw the first weights.

        Args:
            channels: of the layers between the first and the last one.
            layers: of kernels, two at least.
            generator: of random numbers.
        """
        super().__init__()
        sizes = [CHANNELS, *[channels] * (layers - 1), RESULTS]
        gains = [_FIRST_GAIN, *[_INNER_GAIN] * (layers - 2), _LAST_GAIN]

        def drawn(given: int, made: int, gain: float) -> torch.nn.Parameter:
            scale = gain * math.sqrt(2 / (SIDE**2 * given))
            return torch.nn.Parameter(torch.randn(made, given, SIDE, SIDE, generator=generator) * scale)

        self.weights = torch.nn.ParameterList(map(drawn, sizes, sizes[1:], gains))
        self.biases = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(size)) for size in sizes[1:])
        self.conditions = torch.nn.Parameter(torch.zeros(channels, CONDITIONS))

    def forward(self, inputs: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Results in steps, ``(pictures, results, rows, columns)``.

        Args:
            inputs: as :func:`filter.inputs` has them, ``(pictures, channels, rows, columns)``.
            conditions: as :func:`filter.conditions` has them, ``(pictures, conditions)``.
        """
        values, last = inputs, len(self.weights) - 1
        of_picture = conditions @ _in_steps(self.conditions * _CONDITION_UNIT).T
        for number, (weights, bias) in enumerate(self._scaled()):
            kernels, biases = _in_steps(weights, LARGEST_WEIGHT), _in_steps(bias)
            sums = torch.nn.functional.conv2d(values, kernels, biases, padding=SIDE // 2)
            if number == 0:
                sums = sums + of_picture[:, :, None, None]
            sums = _rounded(sums)
            if number == last:
                return sums.clamp(-LARGEST_RESULT, LARGEST_RESULT)
            values = (sums + values if number else sums).clamp(0, LARGEST_ACTIVATION)
        raise AssertionError("a filter has layers")

    def _scaled(self) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        """Weights and biases of each layer in units of what it is given and of what it makes of that."""
        last = len(self.weights) - 1
        for number, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            units = (_LAST_UNIT, _LAST_BIAS_UNIT) if number == last else (1.0, _BIAS_UNIT)
            yield weights * units[0], bias * units[1]

    def quantised(self) -> ConvolutionNetwork:
        """The network in whole numbers."""
        scaled = list(self._scaled())
        conditions = self.conditions * _CONDITION_UNIT
        most = np.iinfo(np.int16).max
        return ConvolutionNetwork(
            tuple(_whole(weights, LARGEST_WEIGHT).astype(np.int8) for weights, _ in scaled),
            tuple(_whole(bias, np.iinfo(np.int32).max).astype(np.int32) for _, bias in scaled),
            _whole(conditions, most).astype(np.int16),
        )


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """Values rounded down, with the gradients of the values."""
    return values + (torch.floor(values) - values).detach()


def _in_steps(values: torch.Tensor, most: float = math.inf) -> torch.Tensor:
    """Values rounded to multiples of 2^-8, clipped to so many of them."""
    return _rounded(values * _STEPS_OF_ONE + 0.5).clamp(-most, most) / _STEPS_OF_ONE


def _whole(values: torch.Tensor, most: int) -> Array:
    """Values in units of 2^-8, rounded as in training and clipped."""
    units = np.floor(values.detach().cpu().numpy().astype(np.float64) * _STEPS_OF_ONE + 0.5)
    return np.clip(units, -most, most)


@dataclass(frozen=True, eq=False)
class Example:
    """A decoded picture and what it lacks.

    Attributes:
        inputs: of the filter, ``(channels, rows, columns)``.
        lacking: of the coarser picture and of the details, in steps, ``(results, rows, columns)``.
        conditions: of the filter.
    """

    inputs: npt.NDArray[np.float32]
    lacking: npt.NDArray[np.float32]
    conditions: tuple[int, ...]

    def part(self, generator: np.random.Generator) -> tuple[Array, tuple[int, ...]]:
        """A part of it, ``(channels + results, rows, columns)``, and the conditions.

        Args:
            generator: that says which one.
        """
        whole = np.concatenate([self.inputs, self.lacking])
        sides = [min(size, PART) for size in whole.shape[1:]]
        first = [int(generator.integers(size - side + 1)) for size, side in zip(whole.shape[1:], sides, strict=True)]
        return whole[:, first[0] : first[0] + sides[0], first[1] : first[1] + sides[1]], self.conditions


def example(
    prior: PyramidPrior, picture: Picture, noise_level: int, noise: PictureShape, generator: np.random.Generator
) -> Example:
    """Decode a picture in simulation.

    Args:
        prior: of its weights.
        picture: ``(height, width, 1 or 3)``, larger than any root.
        noise_level: that it is coded with.
        noise: its shape.
        generator: of the samples of the posterior.
    """
    simulation = ImageSimulation(prior, Signal("image", picture, None, 8), noise)
    (plane,) = simulation.planes
    level = simulation.decoded(plane, noise_level, SimulatedCoder(generator=generator))
    assert isinstance(level, Level)
    coarse, details = level.coefficients(slice(0, level.size[0]))
    decoded = np.concatenate([coarse[0][:, None], details[0]], axis=1)
    values = np.zeros((3, *picture.shape[:2]))
    colours = haar.COLOUR[: plane.colours, : plane.colours] if plane.colours > 1 else np.full((1, 1), math.sqrt(3))
    values[: plane.colours] = np.einsum("kc,hwc->khw", colours, picture - HALF_RANGE)
    true_coarse, true_details = haar.analyse(values * (UNIT / noise_deviation(noise_level)))
    lacking = np.zeros((3, *decoded.shape[1:]), dtype=np.float32)
    true = np.concatenate([true_coarse[:, None], true_details], axis=1)
    lacking[: len(decoded)] = true[: len(decoded)] - decoded
    inputs = picture_filter.inputs(level, slice(0, level.size[0]))
    return Example(inputs, lacking.reshape(RESULTS, *level.size), picture_filter.conditions(level))


class FilterTraining(GradientTraining):
    """The filter of a pyramid prior in training."""

    peak = 2.0

    def __init__(
        self,
        settings: FilterPlan,
        plan: TrainingPlan,
        training: Sequence[Picture],
        held_out: Sequence[Picture],
        device: Device,
        start: PyramidPrior,
    ) -> None:
        """Begin.

        Args:
            settings: of the learning.
            plan: how far it goes.
            training: pictures of at least ``settings.crop`` samples a side, ``(height, width, 3)``.
            held_out: pictures to measure.
            device: where to compute.
            start: prior whose pictures are to be filtered; what filter it has is not used.
        """
        super().__init__(new_networks(settings), plan, held_out, device, None)
        self._settings, self._training, self._highest_rate = settings, training, _LEARNING_RATE
        self._start, self._number = start, 0
        self._examples: dict[int, Example] = {}  # by their numbers
        self._held_out_examples: list[Example] = []

    def stored(self) -> dict[str, Array]:
        network: Any = self.networks["filter"]
        stored: dict[str, Array] = network.quantised().tensors(PREFIX)
        return stored

    def step(self, number: int) -> None:
        self._number = number
        super().step(number)

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        first = self._number // _STEPS_OF_EACH
        wanted = range(first, first + _LATEST)
        kept = {number: one for number, one in self._examples.items() if number in wanted}
        self._examples = kept | {number: self._example(number) for number in wanted if number not in kept}
        return self._drawn(list(self._examples.values()), generator)

    def draw_held_out(self, generator: np.random.Generator) -> tuple[Array, Array]:
        if not self._held_out_examples:
            self._held_out_examples = self._examples_held_out()
        return self._drawn(self._held_out_examples, generator)

    def _drawn(self, examples: Sequence[Example], generator: np.random.Generator) -> tuple[Array, Array]:
        chosen = [examples[int(generator.integers(len(examples)))] for _ in range(self._settings.signals)]
        parts, conditions = zip(*(one.part(generator) for one in chosen), strict=True)
        return np.stack(parts), np.array(conditions, dtype=np.float32)

    def _example(self, number: int) -> Example:
        """One of the pictures to learn from; which one depends on its number alone."""
        seeds = np.random.SeedSequence([self._settings.seed, number], spawn_key=(2,))
        generator = np.random.Generator(np.random.Philox(seeds))
        crop = random_crop(self._training, self._settings.crop, generator)
        lowest, highest = self._settings.noise_levels
        noise_level, drawn = int(generator.integers(lowest, highest + 1)), generator.random()
        noise = PERCEPTUAL if drawn >= _ANY_SHAPE + _FLAT else random_shape(generator)
        noise = FLAT_PICTURE if drawn < _FLAT else noise
        crop = _grey(crop) if generator.random() < _GREY else crop
        return example(self._start, crop, _coarser(noise_level, noise), noise, generator)

    def _examples_held_out(self) -> list[Example]:
        """Pictures at noise levels from all over the range, every other one with a shape of the noise."""
        made = []
        side, count = self._settings.crop, 2 * self._settings.signals
        generator = np.random.Generator(np.random.Philox(self._settings.seed))
        for number, noise_level in enumerate(np.linspace(*self._settings.noise_levels, count)):
            noise = (FLAT_PICTURE, PERCEPTUAL)[number % 2]
            crop = random_crop(self.held_out, min(side, *map(min, (one.shape[:2] for one in self.held_out))), generator)
            made.append(example(self._start, crop, _coarser(round(noise_level), noise), noise, generator))
        return made

    def cost(self, signals: Array, noise_levels: Array, generator: np.random.Generator) -> float:
        del generator  # there is nothing random in it
        values = torch.from_numpy(signals.astype(np.float32)).to(self.device.name)
        lacking = values[:, CHANNELS:] / UNIT
        added = (
            self.networks["filter"](values[:, :CHANNELS], torch.from_numpy(noise_levels).to(self.device.name)) / UNIT
        )
        before, after = ((error**2).mean(dim=(1, 2, 3)) for error in (lacking, lacking - added))
        left = (after / before.clamp(min=_LEAST_ERROR)).mean()
        if left.requires_grad:
            left.backward()
        return float(left.detach() / (before / before.clamp(min=_LEAST_ERROR)).mean())

    def measure(self, done: int) -> Measurement:
        measured = super().measure(done)
        assert measured.held_out is not None
        return replace(measured, details={"gain in dB": -10 * math.log10(measured.held_out)})

    def prior(self, tensors: dict[str, Array]) -> PyramidPrior:
        return replace(self._start, name=self._settings.name, stored=self._start.stored_but_filter | tensors)

    def simulated(self, prior: PyramidPrior, signal: Picture) -> Callable[[int], tuple[float, float]]:
        return simulated(prior, signal)


def new_networks(settings: FilterPlan) -> torch.nn.ModuleDict:
    """The network before the first step."""
    generator = torch.Generator().manual_seed(settings.seed)
    return torch.nn.ModuleDict({"filter": FilterNetwork(settings.channels, settings.layers, generator)})


def _coarser(noise_level: int, noise: PictureShape) -> int:
    """The noise level of a shape that is like one without, if files can have it."""
    return max(noise_level - levels_coarser(noise), noise_range(not noise.flat)[0])


def _grey(picture: Picture) -> Picture:
    """A picture without its colours, ``(height, width, 1)``."""
    grey: Picture = np.rint(picture.mean(axis=2, keepdims=True)).astype(np.uint8)
    return grey
