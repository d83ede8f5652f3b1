"""The pyramid family: a network without hidden layers whose features are products of Haar wavelets at all scales.

The weights of the network are the coefficients of an orthonormal Haar pyramid, coarse levels first. What a weight's
prior depends on are the weights decoded before it (:mod:`combiner_cli.families.pyramid.features`). This module has what
is decoded of a level. Every value is a whole number; arithmetic with them is exact in float64, so that results are the
same on every machine, whatever the order of summation.

A level has *positions*, the samples of the coarser picture, and at each of them three details (horizontal, vertical,
diagonal) of every colour. Positions are dealt into four phases by the parity of row and column. Two by two positions
are a *unit*. The details of a level are coded in six stages: the luma of each phase, then the chroma of two phases
and of the other two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.moments import COARSE, LARGEST_VALUE, OCTAVE, StageId
from ...stages.prior import LARGEST_NOISE
from ...stages.shape import FLAT_PICTURE, PictureShape, masking
from ...system import arrays, threads
from ...system.arrays import NarrowArray
from .haar import BANDS, CORNERS, LARGEST_ROOT, synthesise

Array = npt.NDArray[Any]
Offsets = tuple[tuple[int, int], ...]
Phase = tuple[int, int]

CLASSES = 9  # of a unit's energy
_LARGEST_FINE_VALUE = 2.0**21  # in the finest levels, whose sums of four fit float32
_FINE = 1  # levels up to this one
_POSITIONS_AT_ONCE = 1 << 14  # of a level that is rendered

_LOWEST_NOISE, _LOWEST_SHAPED_NOISE = -16, -48  # level
HALF_RANGE = 127.5  # of samples in 255ths of their range
_LOUDEST = -2.0  # octave of the variance of noise level 0, on values in [-1, 1]
_NOISE_LEVELS_PER_OCTAVE = 8

PHASES: Offsets = ((0, 0), (1, 1), (0, 1), (1, 0))
HALVES = (PHASES[:2], PHASES[2:])
LUMA_STAGES, CHROMA_STAGES = range(4), range(4, 6)


def noise_range(shaped: bool) -> tuple[int, int]:
    """The lowest and the highest noise level of a file, which holds the number of levels over the lowest one.

    A shape makes the noise of coarse levels finer, so that small files need a lower one.

    Args:
        shaped: whether the file has a shape of the noise.
    """
    lowest = _LOWEST_SHAPED_NOISE if shaped else _LOWEST_NOISE
    return lowest, lowest + LARGEST_NOISE


def noise_deviation(noise_level: float) -> float:
    """Deviation of an image's noise in 255ths of the range of samples: an eighth of an octave of variance per level."""
    return float(np.sqrt(np.exp2(_LOUDEST - noise_level / _NOISE_LEVELS_PER_OCTAVE))) * HALF_RANGE


def noise_variance(noise_level: float) -> float:
    """Variance of an image's noise on values in [-1, 1]."""
    return (noise_deviation(noise_level) / HALF_RANGE) ** 2


def planes_of(channels: int) -> tuple[tuple[int, ...], ...]:
    """The channels of each plane of an image, in coding order: alpha alone and first, then grey or RGB."""
    colours = (0, 1, 2) if channels >= 3 else (0,)
    return ((channels - 1,), colours) if channels in (2, 4) else (colours,)


@dataclass(eq=False)
class Level:
    """What is decoded of one level, for one or several pictures of one size.

    Attributes:
        number: 0 for the finest.
        noise_levels: of each picture, ``(pictures,)``.
        size: positions along each axis.
        picture: the coarser picture, ``(pictures, 1 or 3 colours, rows, columns)``.
        padded_classes: energy classes of the units with a margin of one unit, luma and chroma,
            ``(pictures, 2, unit rows + 2, unit columns + 2)``.
        padded_parents: classes of the units one level up at each unit, with a margin of one unit, likewise.
        shape: of the noise.
        masking: sixteenths of an octave by which the noise at each position is coarser than the level's,
            ``(pictures, rows, columns)`` int16; ``None`` where it nowhere is.
        details: at the positions of the phases at which they are decoded, of luma or chroma,
            ``(colours, 3, pictures, rows, columns)``, by the phase and whether they are of the chroma.
        unpacked: what is within reach of all units of a small level, by what it is of, with the array that it was made
            of: for whoever comes to the level again.
    """

    number: int
    noise_levels: Array
    size: tuple[int, int]
    picture: Array
    padded_classes: Array
    padded_parents: Array
    shape: PictureShape = FLAT_PICTURE
    masking: Array | None = None
    details: dict[tuple[Phase, bool], Array] = field(default_factory=dict)
    unpacked: dict[object, tuple[Array | None, Array]] = field(default_factory=dict)

    @property
    def units(self) -> tuple[int, int]:
        """Rows and columns of units."""
        return -(-self.size[0] // 2), -(-self.size[1] // 2)

    @property
    def kind(self) -> int:
        """Which of the sets of networks it has: coarse levels share theirs."""
        return min(self.number, COARSE)

    @property
    def classes(self) -> Array:
        """The energy classes without their margin."""
        return self.padded_classes[..., 1:-1, 1:-1]

    @property
    def parents(self) -> Array:
        """The classes one level up without their margin."""
        return self.padded_parents[..., 1:-1, 1:-1]

    def noise(self, phase: Phase, rows: slice, chroma: bool) -> Array | None:
        """Sixteenths of an octave by which details have more noise than the level, ``None`` where none has.

        Args:
            phase: of the positions.
            rows: of units.
            chroma: whether it is about chroma details.

        Returns:
            ``(positions,)``, picture after picture.
        """
        more = self.shape.chroma * chroma
        if self.masking is None:
            count = positions(self, phase, rows)
            return np.full(count, more, dtype=np.int16) if more else None
        around: Array = self.masking[(slice(None), *self.places(phase, rows))].reshape(-1)
        return around + np.int16(more)

    def places(self, phase: Phase, rows: slice) -> tuple[slice, slice]:
        """The rows and columns of a phase's positions in some rows of units."""
        inside = self.rows_of(rows)
        return slice(inside.start + phase[0], inside.stop, 2), slice(phase[1], self.size[1], 2)

    def rows_of(self, units: slice) -> slice:
        """The rows of positions in some rows of units."""
        return slice(2 * units.start, min(2 * units.stop, self.size[0]))

    def shape_of(self, phase: Phase, rows: slice) -> tuple[int, int]:
        """How many rows and columns of a phase's positions lie in some rows of units."""
        places = self.places(phase, rows)
        return _length(places[0], self.size[0]), _length(places[1], self.size[1])

    @property
    def all_units(self) -> slice:
        """All rows of units."""
        return slice(0, self.units[0])

    def refined(self, size: tuple[int, int]) -> Array:
        """The picture of the next finer level, ``(pictures, colours, *size)``.

        Args:
            size: height and width of that picture.
        """
        picture = NarrowArray((*self.picture.shape[:2], *size))

        def strip(rows: slice) -> None:
            place = (slice(None), slice(None), slice(2 * rows.start, 2 * rows.stop))
            picture.put(place, self.refined_rows(rows, size))

        threads.mapped(strip, list(strips(self.size)))
        return picture.values

    def refined_rows(self, rows: slice, size: tuple[int, int]) -> Array:
        """Rows of the picture of the next finer level.

        Args:
            rows: of positions, beginning with an even one; twice as many rows come of them, as far as there are any.
            size: height and width of that picture.

        Returns:
            ``(pictures, colours, rows, columns)`` in float32 or float64.
        """
        coarse, details = self.coefficients(rows)
        return synthesise(coarse, details, (min(2 * rows.stop, size[0]) - 2 * rows.start, size[1]))

    def coefficients(self, rows: slice) -> tuple[Array, Array]:
        """Rows of the coarser picture and of the details at its positions.

        Args:
            rows: of positions.

        Returns:
            ``(pictures, colours, rows, columns)`` and ``(pictures, colours, 3, rows, columns)``, whole numbers in
            float32 or float64, new arrays.
        """
        kind = np.float32 if self.number <= _FINE else np.float64
        coarse = self.picture[:, :, rows].astype(kind)
        whole = np.zeros((*coarse.shape[:2], BANDS, *coarse.shape[2:]), dtype=kind)
        for ((row, column), chroma), details in self.details.items():
            above = (row - rows.start) % 2  # rows before the first one of that phase
            part = whole[:, slice(1, 3) if chroma else slice(0, 1), :, above::2, column::2]
            first = (rows.start + above) // 2
            part[...] = np.moveaxis(details[..., first : first + part.shape[3], :], 2, 0)
        return coarse, whole


def disc(square: int) -> Offsets:
    """Offsets of positions within a distance of the origin, the square of which is given, the origin left out."""
    reach = math.isqrt(square)
    grid = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    return tuple((y, x) for y, x in grid if 0 < y * y + x * x <= square)


def block(first: int, last: int) -> Offsets:
    """Offsets of a square of positions from one row and column to another, the origin left out."""
    span = range(first, last + 1)
    return tuple((y, x) for y in span for x in span if (y, x) != (0, 0))


def earlier(phase: int) -> Offsets:
    """Offsets within two positions of one of a phase at which details of earlier phases lie."""
    row, column = PHASES[phase]
    offsets = block(-2, 2)
    return tuple((y, x) for y, x in offsets if PHASES.index(((row + y) % 2, (column + x) % 2)) < phase)


def inside(first: int, last: int, count: int) -> tuple[slice, slice]:
    """Which of a range of units are among so many: their places in the range, and among them all."""
    start, stop = max(first, 0), max(min(last, count), 0)
    return slice(start - first, max(start, stop) - first), slice(start, stop)


def strips(size: tuple[int, int]) -> Iterator[slice]:
    """Rows of positions, an even number of them but for the last ones, that are rendered together."""
    step = max(2, _POSITIONS_AT_ONCE // size[1] // 2 * 2)
    for first in range(0, size[0], step):
        yield slice(first, min(first + step, size[0]))


def limit(number: int) -> float:
    """The largest magnitude of a level's coefficients and of its coarser picture."""
    return LARGEST_VALUE if number > _FINE else _LARGEST_FINE_VALUE


def _kept(values: Array, number: int) -> Array:
    """Whole numbers as a level keeps them: clipped, in the narrowest type."""
    most = limit(number)
    return arrays.narrowed(np.clip(values, -most, most) if arrays.largest(values) > most else values)


def new_level(
    number: int,
    noise_levels: Array,
    picture: Array,
    parents: Array | None = None,
    shape: PictureShape = FLAT_PICTURE,
) -> Level:
    """A level of which nothing but the coarser picture is decoded.

    Args:
        number: 0 for the finest.
        noise_levels: of each picture at the level, ``(pictures,)``.
        picture: the coarser picture in steps of the level before, ``(pictures, colours, rows, columns)``.
        parents: classes of the level before, if there is one, ``(pictures, 2, unit rows, unit columns)``.
        shape: of the noise.
    """
    height, width = picture.shape[2:]
    units = -(-height // 2), -(-width // 2)
    classes = np.zeros((len(picture), 2, units[0] + 2, units[1] + 2), dtype=np.int8)
    level = Level(number, noise_levels, (height, width), _kept(picture, number), classes, np.zeros_like(classes), shape)
    if shape.masks(number):
        level.masking = masking(level.picture[:, 0], shape.masking)
    if parents is not None:
        # a unit of this level lies in one position of the level before, four units in one unit there
        level.parents[...] = parents.repeat(2, axis=2).repeat(2, axis=3)[..., : units[0], : units[1]]
    return level


def without_classes(level: Level) -> Level:
    """A level that is decoded, without what only its decoding needs."""
    none = np.zeros((len(level.noise_levels), 2, 0, 0), dtype=np.int8)
    return replace(level, padded_classes=none, padded_parents=none, masking=None, unpacked={})


def stage_numbers(chroma: bool) -> range:
    """The numbers of the stages of the luma or the chroma of a level."""
    return CHROMA_STAGES if chroma else LUMA_STAGES


def last_stage(shape: tuple[int, ...], colours: int) -> StageId:
    """The last stage of a picture, given its height and width, and whether it has 3 colours or 1."""
    if max(shape) <= LARGEST_ROOT:
        return StageId(0, 0)  # the root
    return StageId(0, CHROMA_STAGES[-1] if colours > 1 else LUMA_STAGES[-1])


def last_classes(colours: int) -> int:
    """Number of the stage of level 0 before which the last classes of a picture come, which has 3 colours or 1."""
    return stage_numbers(colours > 1)[0]


def band_count(level: Level | None, number: int) -> int:
    """Bands of a stage, those of all colours; the root, for which there is no level, is one."""
    return 1 if level is None else 2 * BANDS if number in CHROMA_STAGES else BANDS


def stage_phases(number: int) -> Offsets:
    """The phases of a stage of a level: one of four for luma, two for chroma."""
    return HALVES[number - CHROMA_STAGES[0]] if number in CHROMA_STAGES else (PHASES[number],)


def positions(level: Level, phase: Phase, rows: slice) -> int:
    """Number of positions of a phase in some rows of units, of all pictures."""
    height, width = level.shape_of(phase, rows)
    return len(level.noise_levels) * height * width


def stage_positions(level: Level, number: int) -> int:
    """Positions of a stage: so many latents has each of its colours' bands."""
    return sum(positions(level, phase, level.all_units) for phase in stage_phases(number))


def _length(places: slice, size: int) -> int:
    return len(range(*places.indices(size)))


def put(level: Level, number: int, weights: Array) -> None:
    """Put the details of a stage into their places.

    Args:
        level: that they are of; changed.
        number: of the stage.
        weights: the details, band after band of colour after colour, in steps, ``(latents,)``. They may be kept as they
            are; whoever made them must be done with them.
    """
    chroma = number in CHROMA_STAGES
    kept, first = _kept(weights, level.number).reshape(2 if chroma else 1, BANDS, -1), 0
    for phase in stage_phases(number):
        shape = len(level.noise_levels), *level.shape_of(phase, level.all_units)
        last = first + math.prod(shape)
        level.details[phase, chroma] = kept[..., first:last].reshape(*kept.shape[:2], *shape)
        first = last


def details_of(details: Array, number: int) -> Array:
    """The details of a stage as :func:`put` takes them, ``(colours · 3, positions)``.

    Args:
        details: all details of the level, ``(pictures, 3 colours, 3, rows, columns)``.
        number: of the stage.
    """
    chroma = number in CHROMA_STAGES
    return np.concatenate([phase_details(details, phase, chroma) for phase in stage_phases(number)], axis=1)


def phase_details(details: Array, phase: Phase, chroma: bool) -> Array:
    """Details of luma or chroma at a phase's positions, ``(colours · 3, positions)``, among those of rows of units."""
    chosen = details[:, slice(1, 3) if chroma else slice(0, 1), :, phase[0] :: 2, phase[1] :: 2]
    return np.moveaxis(chosen, 0, 2).reshape(chosen.shape[1] * BANDS, -1)


def unit_noise(level: Level, chroma: bool, rows: slice) -> Array | None:
    """Variance of the noise of some rows of units over the level's, ``(units,)``; ``None`` where all have the same."""
    shape = len(level.noise_levels), 2 * len(range(*rows.indices(level.units[0]))), 2 * level.units[1]
    more = level.shape.chroma * chroma
    if level.masking is None:
        return np.full(math.prod(shape) // 4, np.exp2(more * (2 / OCTAVE))) if more else None
    whole, masked = np.zeros(shape), level.masking[:, level.rows_of(rows)]
    whole[:, : masked.shape[1], : level.size[1]] = masked
    variance: Array = np.exp2((whole + more) * (2 / OCTAVE))
    of_units: Array = variance.reshape(shape[0], shape[1] // 2, 2, level.units[1], 2).mean(axis=(2, 4))
    return of_units.reshape(-1)


def unit_details(details: Array, chroma: bool) -> Array:
    """Details of all units, ``(4 positions · colours · 3, units)``; positions beyond an odd edge are 0.

    Args:
        details: all details of a level, ``(pictures, 3, 3, rows, columns)``.
        chroma: whether those of the chroma are wanted.
    """
    chosen = details[:, 1:] if chroma else details[:, :1]
    height, width = chosen.shape[-2:]
    whole = np.pad(chosen, [(0, 0)] * 3 + [(0, height % 2), (0, width % 2)])
    parts = [np.moveaxis(whole[..., row::2, column::2], 0, 2) for row, column in CORNERS]
    return np.concatenate([part.reshape(part.shape[0] * BANDS, -1) for part in parts])
