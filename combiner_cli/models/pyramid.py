"""The pyramid family: a network without hidden layers whose features are products of Haar wavelets at all scales.

The weights of the network are the coefficients of an orthonormal Haar pyramid, coarse levels first. What a weight's
prior depends on are the weights decoded before it: the picture so far at the level's own resolution, and the details
next to it. This module has the transform and that context; both are integer arithmetic in float64 (every value is a
whole number below 2^53, every intermediate result too), so that they come out the same on every machine, whatever the
order of summation.

A level has *positions*, the samples of the coarser picture, and at each of them three details (horizontal, vertical,
diagonal) of every colour. Positions are dealt into four phases by the parity of row and column. Two by two positions
are a *unit*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from ..workers import Scratch

FAMILY = "pyramid"
Array = npt.NDArray[Any]
Offsets = tuple[tuple[int, int], ...]
Rows = slice | list[int]  # of a matrix

UNIT = 64  # steps of a coefficient per deviation of the noise
FEATURE_UNIT = 128  # steps of a feature
FEATURE_LIMIT = 2047  # largest feature in steps
MARGIN = 3  # samples around a level's picture that the context reaches
BANDS = 3
CLASSES = 9  # of a unit's activity
COARSE = 3  # levels from this one on share their networks
_LEVEL_LIMIT = 5
_CENTRE_CODE = 48
_LARGEST_ROOT = 4
LARGEST_VALUE = 2.0**28  # of coefficients and samples in steps; what is beyond is clipped
_LARGEST_FINE_VALUE = 2.0**21  # in the finest levels, whose sums of four fit float32
_FINE = 1  # levels up to this one are kept in float32

PHASES: Offsets = ((0, 0), (1, 1), (0, 1), (1, 0))
COLOUR = np.array(
    [
        [1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)],
        [1 / math.sqrt(2), 0, -1 / math.sqrt(2)],
        [1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)],
    ]
)


def _disc(square: int) -> Offsets:
    """Offsets within a distance of the origin, the origin left out."""
    reach = math.isqrt(square)
    grid = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    return tuple((y, x) for y, x in grid if 0 < y * y + x * x <= square)


def _block(first: int, last: int) -> Offsets:
    """Offsets of a square of positions, the origin left out."""
    span = range(first, last + 1)
    return tuple((y, x) for y in span for x in span if (y, x) != (0, 0))


def _earlier(phase: int) -> Offsets:
    """Offsets within two positions of one of a phase at which details of earlier phases lie."""
    own = PHASES[phase]
    parity = [((own[0] + y) % 2, (own[1] + x) % 2) for y, x in _block(-2, 2)]
    return tuple(offset for offset, other in zip(_block(-2, 2), parity, strict=True) if PHASES.index(other) < phase)


_NEAR, _WIDE = _disc(2), _disc(10)
_AROUND = ((0, 0), *_disc(2))
_SIDES: Offsets = ((-1, 0), (0, -1), (0, 1), (1, 0))
_ACROSS: Offsets = ((0, -1), (0, 1))
_DOWN: Offsets = ((-1, 0), (1, 0))
_SLANTED: Offsets = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_FAR: Offsets = ((-2, 0), (0, -2), (0, 2), (2, 0))
_CORNERS: Offsets = ((0, 0), (0, 1), (1, 0), (1, 1))
EARLIER = tuple(_earlier(phase) for phase in range(4))


@dataclass(frozen=True)
class Network:
    """What one of a level's networks sees and says.

    Attributes:
        name: of its tensors.
        relative: number of features that are relative to the local contrast.
        absolute: number of further features.
        outputs: number of means; as many deviations, or the classes of an activity, come with them.
        activity: whether it foretells activity.
        chroma: whether it is about the chroma.
    """

    name: str
    relative: int
    absolute: int
    outputs: int
    activity: bool
    chroma: bool

    @property
    def features(self) -> int:
        return self.relative + self.absolute

    @property
    def values(self) -> int:
        """Number of results."""
        return self.outputs + (CLASSES if self.activity else self.outputs)


_SCALARS = 3  # contrast, noise code, level
_CLASS_FEATURES = 9 + CLASSES
_CLASS_NUMBERS = np.arange(CLASSES)[:, None, None, None]
_LUMA, _CHROMA = slice(0, 1), slice(1, 3)  # among the colours

LUMA_ACTIVITY = Network("luma_activity", 35 + 2 * 3, _SCALARS + 5 + 9, 4 * BANDS, True, False)
LUMA = tuple(
    Network(
        f"luma_{phase}",
        len(_WIDE) + 2 * len(_NEAR) + BANDS * len(EARLIER[phase]),
        _SCALARS + 5 + BANDS * (phase > 0) + _CLASS_FEATURES,
        BANDS,
        False,
        False,
    )
    for phase in range(4)
)
CHROMA_ACTIVITY = Network("chroma_activity", 2 * 15 + 15 + 4 * BANDS, _SCALARS + 6 + 1 + 9, 8 * BANDS, True, True)
CHROMA = tuple(
    Network(
        f"chroma_{half}",
        2 * len(_NEAR) + len(_NEAR) + BANDS * len(_AROUND) + half * 2 * BANDS * len(_SIDES),
        _SCALARS + 6 + half * 2 + _CLASS_FEATURES + 1,
        2 * BANDS,
        False,
        True,
    )
    for half in range(2)
)
HALVES = (PHASES[:2], PHASES[2:])
NETWORKS = (LUMA_ACTIVITY, *LUMA, CHROMA_ACTIVITY, *CHROMA)


def sizes(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Sizes of the pictures of all levels, from the signal's to the root's."""
    found = [(shape[0], shape[1])]
    while max(found[-1]) > _LARGEST_ROOT:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


def analyse(picture: Array) -> tuple[Array, Array]:
    """One step of the orthonormal Haar transform; an odd row or column is repeated.

    Args:
        picture: ``(..., height, width)``.

    Returns:
        The coarser picture ``(..., rows, columns)`` and the details ``(..., 3, rows, columns)``.
    """
    height, width = picture.shape[-2:]
    padding = [(0, 0)] * (picture.ndim - 2) + [(0, height % 2), (0, width % 2)]
    whole = np.pad(picture, padding, mode="edge") if height % 2 or width % 2 else picture
    a, b = whole[..., 0::2, 0::2], whole[..., 0::2, 1::2]
    c, d = whole[..., 1::2, 0::2], whole[..., 1::2, 1::2]
    details = np.stack([b - a + d - c, c - a + d - b, a - b - c + d], axis=-3) / 2
    return (a + b + c + d) / 2, details


def synthesise(coarse: Array, details: Array, size: tuple[int, int]) -> Array:
    """The inverse of :func:`analyse` on whole numbers: halves are rounded down.

    Args:
        coarse: ``(..., rows, columns)``.
        details: ``(..., 3, rows, columns)``.
        size: of the finer picture.
    """
    horizontal, vertical, diagonal = details[..., 0, :, :], details[..., 1, :, :], details[..., 2, :, :]
    picture = np.empty((*coarse.shape[:-2], 2 * coarse.shape[-2], 2 * coarse.shape[-1]), dtype=coarse.dtype)
    for row, column in _CORNERS:
        part = picture[..., row::2, column::2]
        (np.add if column else np.subtract)(coarse, horizontal, out=part)
        (np.add if row else np.subtract)(part, vertical, out=part)
        (np.add if row == column else np.subtract)(part, diagonal, out=part)
    picture /= 2
    np.floor(picture, out=picture)
    found: Array = picture[..., : size[0], : size[1]]
    return found


def octaves(values: Array) -> Array:
    """A logarithm to base 2 that is straight between powers of two, so that it is exact."""
    fraction, exponent = np.frexp(values)
    found: Array = exponent + 2 * fraction - 2
    return found


@dataclass(frozen=True, eq=False)
class Level:
    """What is decoded of one level, for one or several pictures of one size.

    Attributes:
        number: 0 for the finest.
        code: of the noise variance of each picture, ``(pictures,)``.
        size: positions along each axis.
        picture: the coarser picture with a margin on all sides, ``(pictures, colours, rows + 6, columns + 6)``.
        details: with a margin of zeros, ``(pictures, colours, 3, rows + 6, columns + 6)``; those to come are 0.
        activity: classes of the units with a margin of one unit, luma and chroma,
            ``(pictures, 2, unit rows + 2, unit columns + 2)``.
        parents: classes of the units one level up at each unit, with a margin of one unit, like ``activity``.
    """

    number: int
    code: Array
    size: tuple[int, int]
    picture: Array
    details: Array
    activity: Array
    parents: Array

    @property
    def units(self) -> tuple[int, int]:
        return -(-self.size[0] // 2), -(-self.size[1] // 2)

    @property
    def kind(self) -> int:
        """Which of the sets of networks it has."""
        return min(self.number, COARSE)

    @property
    def coarse(self) -> Array:
        """The coarser picture without its margin."""
        return self.picture[..., MARGIN:-MARGIN, MARGIN:-MARGIN]

    @property
    def own_details(self) -> Array:
        """The details without their margin."""
        return self.details[..., MARGIN:-MARGIN, MARGIN:-MARGIN]

    @property
    def own_activity(self) -> Array:
        """The classes without their margin."""
        return self.activity[..., 1:-1, 1:-1]

    @property
    def own_parents(self) -> Array:
        """The classes one level up without their margin."""
        return self.parents[..., 1:-1, 1:-1]

    @cached_property
    def picture_around(self) -> Array:
        """The coarser picture at all offsets from all positions, ``(pictures, colours, 7, 7, rows, columns)``."""
        return _windows(self.picture, MARGIN)

    @cached_property
    def details_around(self) -> Array:
        """The details at all offsets from all positions, ``(pictures, colours, 3, 7, 7, rows, columns)``."""
        return _windows(self.details, MARGIN)

    @cached_property
    def activity_around(self) -> Array:
        """The classes of all units and of those around, ``(pictures, 2, 3, 3, unit rows, unit columns)``."""
        return _windows(self.activity, 1)

    @cached_property
    def parents_around(self) -> Array:
        """The same of ``parents``."""
        return _windows(self.parents, 1)

    def refined(self, size: tuple[int, int]) -> Array:
        """The picture of the next finer level."""
        return synthesise(self.coarse, self.own_details, size)

    def at(self, phase: tuple[int, int], rows: slice) -> tuple[slice, slice]:
        """The places of a phase's positions in some rows of units, in arrays without a margin."""
        last = min(2 * rows.stop, self.size[0])
        return slice(2 * rows.start + phase[0], last, 2), slice(phase[1], self.size[1], 2)


def _windows(values: Array, margin: int) -> Array:
    """A view of an array with a margin at its last two axes: ``(..., offset rows, offset columns, rows, columns)``."""
    side, (height, width) = 2 * margin + 1, values.shape[-2:]
    shape = (*values.shape[:-2], side, side, height - 2 * margin, width - 2 * margin)
    return as_strided(values, shape, (*values.strides, *values.strides[-2:]), writeable=False)


def storage(number: int) -> tuple[type[np.floating[Any]], float]:
    """How the coefficients and the coarser picture of a level are kept, and the largest of them."""
    return (np.float32, _LARGEST_FINE_VALUE) if number <= _FINE else (np.float64, LARGEST_VALUE)


def level(number: int, code: Array, picture: Array, parents: Array | None = None) -> Level:
    """A level of which nothing but the coarser picture is decoded.

    Args:
        number: 0 for the finest.
        code: of the noise variance of each picture.
        picture: ``(pictures, colours, rows, columns)``.
        parents: classes of the level before, if there is one, ``(pictures, 2, unit rows, unit columns)``.
    """
    count, colours, height, width = picture.shape
    kind, largest = storage(number)
    padded = np.empty((count, colours, height + 2 * MARGIN, width + 2 * MARGIN), dtype=kind)
    np.clip(picture, -largest, largest, out=padded[..., MARGIN:-MARGIN, MARGIN:-MARGIN], casting="same_kind")
    for axis in (2, 3):  # the edge is repeated
        ours = np.moveaxis(padded, axis, 0)
        ours[:MARGIN], ours[-MARGIN:] = ours[MARGIN], ours[-MARGIN - 1]
    details = np.zeros((count, colours, BANDS, *padded.shape[2:]), dtype=kind)
    units = -(-height // 2), -(-width // 2)
    activity = np.zeros((count, 2, units[0] + 2, units[1] + 2), dtype=np.int16)
    found = Level(number, code, (height, width), padded, details, activity, np.zeros_like(activity))
    if parents is not None:
        # a unit of this level lies in one position of the level before, four units in one unit there
        found.own_parents[...] = parents.repeat(2, axis=2).repeat(2, axis=3)[..., : units[0], : units[1]]
    return found


def _places(among: Offsets, *groups: Offsets) -> list[list[int]]:
    """The places of groups of offsets in a sequence of them."""
    return [[among.index(offset) for offset in group] for group in groups]


def stage_phases(number: int) -> Offsets:
    """The phases of a stage of a level: one of four for luma, two for chroma."""
    return HALVES[number - 4] if number >= 4 else (PHASES[number],)


def stage_places(own: Level, number: int) -> list[tuple[slice, slice]]:
    """The places of a stage's positions, phase after phase, in arrays without a margin."""
    return [own.at(phase, slice(0, own.units[0])) for phase in stage_phases(number)]


def positions(own: Level, phase: tuple[int, int], rows: slice) -> int:
    """Number of positions of a phase in some rows of units, of all pictures."""
    place = own.at(phase, rows)
    return len(own.code) * _length(place[0], own.size[0]) * _length(place[1], own.size[1])


def _length(places: slice, size: int) -> int:
    return len(range(*places.indices(size)))


def put(own: Level, number: int, values: Array) -> None:
    """Put the details of a stage, band after band of colour after colour, into their places."""
    details = own.own_details[:, 1:] if number >= 4 else own.own_details[:, :1]
    pictures, colours = details.shape[:2]
    values, largest = values.reshape(colours, BANDS, -1), storage(own.number)[1]
    first = 0
    for place in stage_places(own, number):
        part = details[(slice(None), slice(None), slice(None), *place)]
        last = first + pictures * part.shape[3] * part.shape[4]
        shaped = values[..., first:last].reshape(colours, BANDS, pictures, *part.shape[3:])
        np.clip(np.moveaxis(shaped, 2, 0), -largest, largest, out=part, casting="same_kind")
        first = last


def get(details: Array, own: Level, number: int) -> Array:
    """The inverse of :func:`put`, of other details of the level: ``(pictures, 3 colours, 3, rows, columns)``."""
    chosen = details[:, 1:] if number >= 4 else details[:, :1]
    parts = [
        np.moveaxis(chosen[(slice(None), slice(None), slice(None), *place)], 0, 2).reshape(chosen.shape[1] * BANDS, -1)
        for place in stage_places(own, number)
    ]
    return np.concatenate(parts, axis=1)


def mark_units(own: Level, number: int, marked: Array, units: Array) -> None:
    """Mark the units of one picture in which a detail of a stage is marked.

    Args:
        own: the level.
        number: of the stage.
        marked: of each latent, ``(latents,)``.
        units: that are marked so far, ``(unit rows, unit columns)``; changed.
    """
    if not marked.size:
        return
    any_detail: npt.NDArray[np.bool_] = np.any(marked.reshape(-1, _latents_per_detail(own, number)), axis=0)
    first = 0
    for rows, columns in stage_places(own, number):
        height, width = _length(rows, own.size[0]), _length(columns, own.size[1])
        units[:height, :width] |= any_detail[first : first + height * width].reshape(height, width)
        first += height * width


def _latents_per_detail(own: Level, number: int) -> int:
    """Positions of a stage: so many latents has each of its colours' bands."""
    return sum(positions(own, phase, slice(0, own.units[0])) for phase in stage_phases(number))


def unit_details(details: Array, chroma: bool) -> Array:
    """Details of all units, ``(4 positions · colours · 3, units)``; positions beyond an odd edge are 0.

    Args:
        details: ``(pictures, 3, 3, rows, columns)``.
        chroma: whether those of the chroma are wanted.
    """
    chosen = details[:, 1:] if chroma else details[:, :1]
    height, width = chosen.shape[-2:]
    whole = np.pad(chosen, [(0, 0)] * 3 + [(0, height % 2), (0, width % 2)])
    parts = [np.moveaxis(whole[..., row::2, column::2], 0, 2) for row, column in _CORNERS]
    return np.concatenate([part.reshape(part.shape[0] * BANDS, -1) for part in parts])


@lru_cache(maxsize=64)
def _runs(offsets: Offsets) -> tuple[tuple[int, int, slice], ...]:
    """Offsets as runs of equal steps along a row: first place among the offsets, row and columns of windows."""
    found: list[list[tuple[int, int]]] = []
    for offset in offsets:
        run = found[-1] if found else []
        step = run[1][1] - run[0][1] if len(run) > 1 else offset[1] - run[-1][1] if run else 0
        if run and run[-1][0] == offset[0] and step > 0 and offset[1] - run[-1][1] == step:
            run.append(offset)
        else:
            found.append([offset])
    runs, first = [], 0
    for run in found:
        step = run[1][1] - run[0][1] if len(run) > 1 else 1
        runs.append((first, run[0][0] + MARGIN, slice(run[0][1] + MARGIN, run[-1][1] + MARGIN + 1, step)))
        first += len(run)
    return tuple(runs)


class _Features:
    """The rows of a feature matrix, filled one after another for the positions of one parity in some rows of units."""

    def __init__(
        self,
        own: Level,
        network: Network,
        first: tuple[int, int],
        rows: slice,
        kind: Any,
        scratch: Scratch | None,
    ) -> None:
        self._level, self._network, self._unit_rows, self._filled = own, network, rows, 0
        place = own.at(first, rows)
        self.shape = (len(own.code), _length(place[0], own.size[0]), _length(place[1], own.size[1]))
        self._first = place[0].start, place[1].start
        shapes = (network.features, *self.shape), (network.relative, *self.shape)
        if scratch is None:
            self.values, self._magnitudes = (np.empty(shape, dtype=kind) for shape in shapes)
        else:
            self.values, self._magnitudes = scratch.take("features", shapes[0]), scratch.take("magnitudes", shapes[1])

    def _around(self, windows: Array) -> Array:
        """What lies at all offsets from the positions, ``(pictures, ..., 7, 7, rows, columns)``, of the windows."""
        (row, column), (_, height, width) = self._first, self.shape
        return windows[..., row : row + 2 * height : 2, column : column + 2 * width : 2]

    def _rows(self, *counts: int) -> Array:
        """The next rows of the matrix, ``(*counts, pictures, rows, columns)``."""
        first, self._filled = self._filled, self._filled + math.prod(counts)
        return self.values[first : self._filled].reshape(*counts, *self.shape)

    def picture(self, colours: slice, offsets: Offsets) -> None:
        """The coarser picture around the positions, less its value there."""
        windows = self._around(self._level.picture_around[:, colours]).transpose(1, 2, 3, 0, 4, 5)
        rows, here = self._rows(len(windows), len(offsets)), windows[:, MARGIN, MARGIN][:, None]
        for first, row, columns in _runs(offsets):
            around = windows[:, row, columns]
            np.subtract(around, here, out=rows[:, first : first + around.shape[1]])

    def details(self, colours: slice, offsets: Offsets) -> None:
        windows = self._around(self._level.details_around[:, colours]).transpose(3, 4, 1, 2, 0, 5, 6)
        rows = self._rows(len(offsets), *windows.shape[2:4])
        for first, row, columns in _runs(offsets):
            around = windows[row, columns]
            rows[first : first + len(around)] = around

    def measure(self) -> None:
        """Take the magnitudes of the features, which are all there but for the contrast to be divided by."""
        assert self._filled == self._network.relative
        np.abs(self.values[: self._filled], out=self._magnitudes)

    def magnitude(self, numbers: Rows) -> Array:
        """Sum of the magnitudes of some features, ``(pictures, rows, columns)``."""
        found: Array = self._magnitudes[numbers].sum(axis=0, dtype=np.float64)
        return found

    def relative_to(self, contrast: Array, energies: Sequence[Rows]) -> None:
        """Divide what is there by the contrast ``(pictures, rows, columns)``, in steps of features, and add the scalars
        and the energies: logarithms of the average magnitudes of groups of features before the division."""
        part = self.values[: self._filled]
        part *= FEATURE_UNIT / contrast
        np.floor(part, out=part)
        np.clip(part, -FEATURE_LIMIT, FEATURE_LIMIT, out=part)
        scalars, averages = self._rows(_SCALARS), np.empty((len(energies), *self.shape))
        scalars[0] = np.floor(octaves(contrast / UNIT) * (FEATURE_UNIT // 4))
        scalars[1] = (self._level.code[:, None, None] - _CENTRE_CODE) * (FEATURE_UNIT // 32)
        scalars[2] = (min(self._level.number, _LEVEL_LIMIT) - COARSE) * (FEATURE_UNIT // 4)
        for numbers, average in zip(energies, averages, strict=True):
            magnitudes = self._magnitudes[numbers]
            np.divide(magnitudes.sum(axis=0, dtype=np.float64), len(magnitudes), out=average)
        np.floor(averages, out=averages)
        np.floor(octaves(1 + averages / UNIT) * (FEATURE_UNIT // 4), out=self._rows(len(energies)), casting="same_kind")

    def classes_around(self, classes: Array) -> None:
        """The classes of the units around, of ``(pictures, 3, 3, unit rows, unit columns)``."""
        first, (_, height, width) = self._unit_rows.start, self.shape
        around = classes[..., first : first + height, :width].transpose(1, 2, 0, 3, 4)
        np.multiply(around, FEATURE_UNIT // 4, out=self._rows(3, 3), casting="same_kind")

    def classes(self, colour: int) -> None:
        """The classes of the units around, and which the own one is."""
        self.classes_around(self._level.activity_around[:, colour])
        own = self._own_units(self._level.own_activity[:, colour])
        np.multiply(own == _CLASS_NUMBERS, FEATURE_UNIT, out=self._rows(CLASSES), casting="same_kind")

    def unit_value(self, classes: Array) -> None:
        """The class of the own unit as one number."""
        np.multiply(self._own_units(classes), FEATURE_UNIT // 4, out=self._rows(), casting="same_kind")

    def _own_units(self, classes: Array) -> Array:
        first = self._unit_rows.start
        return classes[:, first : first + self.shape[1], : self.shape[2]]

    def matrix(self) -> Array:
        """The features, ``(features, positions)``."""
        assert self._filled == len(self.values)
        return self.values.reshape(len(self.values), -1)


def luma_activity_features(
    own: Level, rows: slice, kind: Any = np.float64, scratch: Scratch | None = None
) -> tuple[Array, Array]:
    """What the luma activity of units is foretold from.

    Args:
        own: the level.
        rows: of units.
        kind: type of the features.
        scratch: where the features of float64 are kept until others are asked for; ``None`` for memory of their own.

    Returns:
        Features ``(features, units)`` and contrast ``(units,)`` in steps of coefficients.
    """
    found = _Features(own, LUMA_ACTIVITY, (0, 0), rows, kind, scratch)
    offsets = _block(-2, 3)
    found.picture(_LUMA, offsets)
    found.picture(_CHROMA, _CORNERS[1:])
    found.measure()
    contrast = UNIT + np.floor(found.magnitude(slice(0, 35)) / 32)
    found.relative_to(contrast, [*_places(offsets, _ACROSS, _DOWN, _SLANTED, _FAR), slice(35, 41)])
    found.classes_around(own.parents_around[:, 0])
    return found.matrix(), contrast.reshape(-1)


def luma_features(
    own: Level, phase: int, rows: slice, kind: Any = np.float64, scratch: Scratch | None = None
) -> tuple[Array, Array]:
    """What the moments of the luma details of a phase depend on; as :func:`luma_activity_features`, of positions."""
    found = _Features(own, LUMA[phase], PHASES[phase], rows, kind, scratch)
    found.picture(_LUMA, _WIDE)
    found.picture(_CHROMA, _NEAR)
    found.details(_LUMA, EARLIER[phase])
    found.measure()
    contrast = UNIT + np.floor(found.magnitude(slice(0, len(_WIDE))) / 32)
    begin, end = len(_WIDE) + 2 * len(_NEAR), LUMA[phase].relative
    bands = [slice(begin + band, end, BANDS) for band in range(BANDS if phase else 0)]
    found.relative_to(contrast, [*_places(_WIDE, _ACROSS, _DOWN, _SLANTED, _FAR), slice(len(_WIDE), begin), *bands])
    found.classes(0)
    return found.matrix(), contrast.reshape(-1)


def chroma_activity_features(
    own: Level, rows: slice, kind: Any = np.float64, scratch: Scratch | None = None
) -> tuple[Array, Array]:
    """What the chroma activity of units is foretold from; as :func:`luma_activity_features`."""
    found = _Features(own, CHROMA_ACTIVITY, (0, 0), rows, kind, scratch)
    for colours in (_CHROMA, _LUMA):
        found.picture(colours, _block(-1, 2))
    found.details(_LUMA, _CORNERS)
    found.measure()
    contrast = UNIT + np.floor(found.magnitude(slice(0, 30)) / 32 + found.magnitude(slice(45, 57)) / 64)
    bands = [slice(45 + band, 57, BANDS) for band in range(BANDS)]
    found.relative_to(contrast, [slice(0, 15), slice(15, 30), slice(30, 45), *bands])
    found.unit_value(own.own_activity[:, 0])
    found.classes_around(own.parents_around[:, 1])
    return found.matrix(), contrast.reshape(-1)


def chroma_features(own: Level, half: int, rows: slice, kind: Any = np.float64) -> tuple[Array, Array]:
    """What the moments of the chroma details of two phases depend on; positions of one phase after the other."""
    parts = [stage_features(own, 4 + half, phase, rows, kind) for phase in HALVES[half]]
    features, contrast = zip(*parts, strict=True)
    return np.concatenate(features, axis=1), np.concatenate(contrast)


def stage_features(
    own: Level,
    number: int,
    phase: tuple[int, int],
    rows: slice,
    kind: Any = np.float64,
    scratch: Scratch | None = None,
) -> tuple[Array, Array]:
    """What the moments of the details of one phase of a stage depend on; as :func:`luma_activity_features`."""
    if number < 4:
        return luma_features(own, number, rows, kind, scratch)
    half = number - 4
    found = _Features(own, CHROMA[half], phase, rows, kind, scratch)
    for colours in (_CHROMA, _LUMA):
        found.picture(colours, _NEAR)
    around = 3 * len(_NEAR)
    sides = around + BANDS * len(_AROUND)
    found.details(_LUMA, _AROUND)
    if half:
        found.details(_CHROMA, _SIDES)
    found.measure()
    differences, luma = found.magnitude(slice(0, 2 * len(_NEAR))), found.magnitude(slice(around, sides))
    contrast = UNIT + np.floor(differences / 16 + luma / 128)
    energies: list[Rows] = [slice(8 * colour, 8 * colour + 8) for colour in range(3)]
    energies += [slice(around + band, sides, BANDS) for band in range(BANDS)]
    if half:
        places = range(sides, sides + 2 * BANDS * len(_SIDES))
        energies += [[place for place in places if (place - sides) // BANDS % 2 == colour] for colour in range(2)]
    found.relative_to(contrast, energies)
    found.classes(1)
    found.unit_value(own.own_activity[:, 0])
    return found.matrix(), contrast.reshape(-1)
