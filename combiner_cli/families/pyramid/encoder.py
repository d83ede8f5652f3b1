"""From an image to a file with a pyramid prior. What is imported here takes time: only what encodes imports it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...family import Encoded, Target
from ...signals import patches
from ...signals.signal import Signal, to_values
from ...stages.class_stream import FREQUENCY_BITS, best_classes
from ...stages.encoding import noise_levels, rate_control
from ...stages.encoding.encoder import CodedSignal, SearchingCoder, Writer
from ...stages.encoding.rate_control import SearchOptions
from ...stages.encoding.simulation import REACH, Coder, CostEstimate, NoiseGrid, SimulatedCoder, Simulation
from ...stages.moments import COARSE, UNIT, Moments, StageId, in_deviations
from ...stages.shape import FLAT_PICTURE, PICTURE_FIELDS, PictureShape, header_numbers
from ...system import threads
from . import haar, levels
from .decoder import PlaneRendering, descend, finished
from .filtering import filter as picture_filter
from .levels import HALF_RANGE, Level, noise_deviation, planes_of

if TYPE_CHECKING:
    from .prior import PyramidPrior

Array = npt.NDArray[Any]

# variance of the details of a unit over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, 2.5, 6.6, 21.0, 80.0, 320.0, 1600.0, 11000.0, 90000.0])
COARSE_CLASS_VARIANCES = np.array([1.0, 2.7, 8.0, 30.0, 150.0, 1000.0, 10_000.0, 150_000.0, 2_000_000.0])
GRID = NoiseGrid(*levels.noise_range(shaped=False), middle=40, octaves=1 / 8, farthest=16, attempts=8, adaptation=1.2)
PERCEPTUAL = PictureShape((14, 20, 4, 4), 8, 10)  # of a search for the best SSIMULACRA 2; benchmarks/shapes.py
_EVENNESS = 0.35  # with a shape: that busy pictures take fewer bits is noticed less than in dB
_COARSER, _FINER = (0.7, 0.4, 0.2, 0.0), 0.75  # levels of the noise that make up for levels finer and for masking
_MOST_RAISES = 4  # of the classes of units
_RAISED = 2  # kinds of levels from this one on, which are small
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of an image that is to be coded: its weights, real numbers in units of the image's 255ths.

    Attributes:
        channels: of the image, 1 or 3.
        shape: height and width.
        root: ``(3, rows, columns)``.
        details: of all levels from the finest on, ``(3, 3, rows, columns)`` float32 each.
    """

    channels: tuple[int, ...]
    shape: tuple[int, int]
    root: Array
    details: tuple[Array, ...]

    @property
    def colours(self) -> int:
        """1 or 3."""
        return len(self.channels)


def analyse(values: Array, channels: tuple[int, ...]) -> Plane:
    """The weights of a plane of an image.

    Args:
        values: of the plane in 255ths of the range, 0 in the middle of it, ``(height, width, 1 or 3)``.
        channels: of the image that they are.
    """
    picture = np.zeros((3, *values.shape[:2]))
    if len(channels) == 3:
        np.einsum("kc,hwc->khw", haar.COLOUR, values, out=picture)
    else:
        np.multiply(values[:, :, 0], math.sqrt(3), out=picture[0])
    details = []
    for _ in haar.sizes(values.shape[:2])[1:]:
        picture, level_details = haar.analyse(picture)
        details.append(level_details.astype(np.float32))
    return Plane(channels, (values.shape[0], values.shape[1]), picture, tuple(details))


@dataclass(frozen=True, eq=False)
class _EncoderSource:
    """The true weights of a plane, as a coder makes them; see :class:`decoder.LatentSource`.

    Attributes:
        prior: of the weights.
        plane: that they are of.
        noise_level: of the file.
        noise: its shape.
        coder: of the weights.
        raises: whether classes are raised, which takes long and costs and gains little.
    """

    wants_means: ClassVar[bool] = True
    prior: PyramidPrior
    plane: Plane
    noise_level: int
    noise: PictureShape
    coder: Coder
    raises: bool

    def _scale(self, level: int) -> float:
        """Deviations of a level's noise per 255th."""
        return 1 / noise_deviation(self.noise_level + self.noise.finer_at(level))

    def classes(self, level: Level, chroma: bool, frequencies: Array, means: Array) -> npt.NDArray[np.int64]:
        details = levels.unit_details(self.plane.details[level.number][None], chroma) * self._scale(level.number)
        energy = ((details - means / UNIT) ** 2).mean(axis=0)
        octaves = np.log2(frequencies.astype(np.float64)) - FREQUENCY_BITS
        noise = levels.unit_noise(level, chroma)
        classes = best_classes(energy, octaves, len(details), class_variances(level.kind), noise)
        if self.raises and level.kind >= _RAISED:
            classes = self._raised(level, chroma, classes)
        self.coder.symbols.put(classes, frequencies)
        return classes

    def _raised(self, level: Level, chroma: bool, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Classes with which the candidates reach all details of their units, as far as higher classes help.

        In coarse levels that is tried out with the true details as context: what is out of reach
        there would stay as an error over many samples.
        """
        trial = replace(level, padded_classes=level.padded_classes.copy(), details=dict(level.details))
        for _ in range(_MOST_RAISES):
            trial.classes[0, int(chroma)] = classes.reshape(level.units)
            beyond = np.zeros(level.units, dtype=bool)
            for number in levels.stage_numbers(chroma):
                moments = self.prior.moments(trial, number)
                true = self._true(StageId(level.number, number), level)
                deviations = np.sqrt(1 + moments.deviations(np.arange(len(true))) ** 2)
                outside = np.abs(moments.over_noise(true - in_deviations(moments.mean))) > REACH * deviations
                mark_units(trial, number, outside, beyond)
                levels.put(trial, number, np.rint(true * UNIT))
            if not beyond.any():
                break
            classes = np.minimum(classes + beyond.reshape(-1), levels.CLASSES - 1)
        return classes

    def weights(self, stage: StageId, level: Level | None, moments: Moments) -> Array:
        bands = levels.band_count(level, stage.number)
        return self.coder.weights(stage, moments, self._true(stage, level), bands)

    def _true(self, stage: StageId, level: Level | None) -> Array:
        """The true weights of a stage in units of the noise's deviation, ``(latents,)``."""
        if level is None:
            true = haar.analyse_root(self.plane.root[: self.plane.colours]).reshape(-1)
        else:
            true = levels.details_of(self.plane.details[level.number][None], level, stage.number).reshape(-1)
        scaled: Array = true * self._scale(stage.level)
        return scaled


def class_variances(kind: int) -> Array:
    """Variances that the classes of a kind of level stand for."""
    return COARSE_CLASS_VARIANCES if kind == COARSE else CLASS_VARIANCES


class ImageSimulation(Simulation):
    """An image whose Haar pyramid is known, and what coding it comes to.

    Attributes:
        noise: its shape.
        planes: of the image, in coding order.
    """

    prior: PyramidPrior
    noise: PictureShape

    def __init__(
        self, prior: PyramidPrior, signal: Signal, noise: PictureShape = FLAT_PICTURE, stands_for: float = 1.0
    ) -> None:
        """
        Args:
            prior: of the weights.
            signal: the image.
            noise: its shape.
            stands_for: images as large as this one, where it is a sample of a larger one.
        """
        self.prior, self.format, self._signal = prior, signal.format, signal
        self.samples = round(stands_for * signal.points * signal.channels)
        values = to_values(signal) * HALF_RANGE
        self.planes = [analyse(values[:, :, channels], channels) for channels in planes_of(signal.channels)]
        self._stands_for = stands_for
        self._take_shape(noise)

    @cached_property
    def _unshaped_sample(self) -> ImageSimulation | None:
        some = patches.sample(self._signal)
        return ImageSimulation(self.prior, some, stands_for=self._signal.points / some.points) if some else None

    @property
    def sample(self) -> ImageSimulation:
        """Patches from all over a large image; see :class:`Simulation`."""
        some = self._unshaped_sample if self._stands_for == 1 else None
        return some._with_noise(self.noise) if some else self

    def about_as_large(self, noise_level: int) -> int:
        """A level with the image's shape at which it takes about as much as at another one without."""
        return noise_level - levels_coarser(self.noise)

    def cost(self, noise_level: int) -> CostEstimate:
        """What the whole image, or the one that it is a sample of, comes to at a noise level."""
        return CostEstimate.total(self.parts(noise_level), self._stands_for)

    def _take_shape(self, noise: PictureShape) -> None:
        lowest, highest = levels.noise_range(not noise.flat)
        self.grid = replace(GRID, lowest=lowest, highest=highest, evenness=0.0 if noise.flat else _EVENNESS)
        self.noise, self.numbers = noise, header_numbers(PICTURE_FIELDS, noise.numbers)
        if self.prior.filter:  # until it is known whether that is better
            self.numbers = {**self.numbers, picture_filter.FIELD.name: (1,)}
        # a prior is chosen by what it comes to, and is then asked the same by the encoder
        self._known = self.prior.simulated.setdefault(self._signal, {}).setdefault(noise, {})

    def parts(self, noise_level: int) -> Sequence[CostEstimate]:
        """What each plane comes to at a noise level, in coding order."""
        if noise_level not in self._known:
            self._known[noise_level] = [self._simulated(plane, noise_level) for plane in self.planes]
        return self._known[noise_level]

    def _simulated(self, plane: Plane, noise_level: int) -> CostEstimate:
        coder = SimulatedCoder()
        picture = self.decoded(plane, noise_level, coder)
        if self.noise.flat:
            return coder.cost(self._least_error(plane, picture, noise_level)[0])
        return coder.cost(coder.weighted_error * self.noise_variance(noise_level))

    def code(self, noise_level: int, writer: Writer) -> CodedSignal:
        """Code all planes."""
        coder = SearchingCoder(writer, self.prior.parts_from)
        error, filtered = 0.0, False
        expected = self.parts(noise_level) if writer.budget.total is not None else ()
        for plane, of_plane in zip_longest(self.planes, expected):
            last = plane is self.planes[-1]
            final_stage = levels.last_stage(plane.shape, plane.colours) if last else None
            writer.begin_part(of_plane, levels.last_classes(plane.colours), final_stage)
            picture = self.decoded(plane, noise_level, coder)
            if self.noise.flat or (self.prior.filter and last):
                least, filtered = self._least_error(plane, picture, noise_level)
                error += least
        if not self.noise.flat:  # which counts otherwise
            error = coder.weighted_error * self.noise_variance(noise_level)
        coded = writer.finish(noise_level - self.grid.lowest, error)
        return replace(coded, further={picture_filter.FIELD.name: (int(filtered),)}) if self.prior.filter else coded

    def decoded(self, plane: Plane, noise_level: int, coder: Coder) -> Level | Array:
        """What a decoder will have of a plane, once it is coded: its finest level, or its root if it has none.

        Args:
            plane: to code.
            noise_level: of the file.
            coder: of its weights.
        """
        source = _EncoderSource(self.prior, plane, noise_level, self.noise, coder, raises=self._stands_for == 1)
        return descend(self.prior, plane.shape, plane.colours, noise_level, source, self.noise)

    def rendering(self, plane: Plane, noise_level: int, coder: Coder) -> PlaneRendering:
        """What a decoder shows of a plane, once it is coded, filtered if the prior has a filter.

        Args:
            plane: to code.
            noise_level: of the file.
            coder: of its weights.
        """
        return self._shown(plane, self.decoded(plane, noise_level, coder), noise_level, filtered=True)

    def _shown(self, plane: Plane, picture: Level | Array, noise_level: int, filtered: bool) -> PlaneRendering:
        shown = finished(self.prior, picture, filtered and 0 in plane.channels)
        return PlaneRendering(shown, plane.shape, plane.colours, noise_level)

    def _least_error(self, plane: Plane, picture: Level | Array, noise_level: int) -> tuple[float, bool]:
        """Squared error of what a decoder will have, filtered or not, whichever is better, and which of them is."""
        choices = (False, True) if self.prior.filter and 0 in plane.channels else (False,)
        return min(
            (self._error(plane, self._shown(plane, picture, noise_level, filtered)), filtered) for filtered in choices
        )

    def _error(self, plane: Plane, rendering: PlaneRendering) -> float:
        """Squared error of what a decoder will have, on values in [-1, 1]."""
        samples, depth = self._signal.samples, self._signal.bit_depth

        def strip(first: int) -> float:
            rows = slice(first, first + _ROWS_AT_ONCE)
            true = to_values(Signal("image", samples[rows][:, :, plane.channels], None, depth))
            decoded = np.clip(rendering.rows(rows) / HALF_RANGE, -1, 1)
            return float(((decoded - true) ** 2).sum())

        return sum(threads.mapped(strip, range(0, plane.shape[0], _ROWS_AT_ONCE)))


def levels_coarser(noise: PictureShape) -> int:
    """About by how many levels the noise of the finest level is coarser with a shape at the same rate.

    Args:
        noise: its shape.
    """
    finer = sum(share * sixteenths for share, sixteenths in zip(_COARSER, noise.finer, strict=True))
    return round(finer - _FINER * noise.masking)


def mark_units(level: Level, number: int, marked: Array, units: Array) -> None:
    """Mark the units of one picture in which a detail of a stage is marked.

    Args:
        level: that the details are of.
        number: of the stage.
        marked: whether each latent is, ``(latents,)``.
        units: that are marked so far, ``(unit rows, unit columns)``; changed.
    """
    if not marked.size:
        return
    any_detail: npt.NDArray[np.bool_] = np.any(marked.reshape(-1, levels.stage_positions(level, number)), axis=0)
    first = 0
    for phase in levels.stage_phases(number):
        height, width = level.shape_of(phase, level.all_units)
        units[:height, :width] |= any_detail[first : first + height * width].reshape(height, width)
        first += height * width


def predicted_cost(prior: PyramidPrior, signal: Signal, noise_variance: float) -> float:
    """What coding an image at about a noise variance comes to, in bits; see :meth:`family.Prior.predicted_costs`."""
    level = min(max(round(prior.noise_level_of(noise_variance)), GRID.lowest), GRID.highest)
    return noise_levels.expected_cost(ImageSimulation(prior, signal), level)


def encode(prior: PyramidPrior, signal: Signal, target: Target, how: SearchOptions) -> Encoded:
    """Encode an image.

    Args:
        prior: of its weights.
        signal: the image.
        target: of the file.
        how: candidates are searched for.

    Raises:
        UsageError: the target cannot be met.
    """
    begun = time.perf_counter()
    noise = PERCEPTUAL if target.perceptual else FLAT_PICTURE
    simulation = ImageSimulation(prior, signal, noise)
    simulation, noise_level = noise_levels.choose(simulation, target, how.effort)
    fitted = time.perf_counter()
    coded = rate_control.code(simulation, noise_level, target, how)
    seconds = {"fit": fitted - begun, "search": time.perf_counter() - fitted}
    return Encoded(simulation.header(coded.numbers), coded.payload, coded.latents, seconds)
