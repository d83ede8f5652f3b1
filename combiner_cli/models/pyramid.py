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
from typing import Any

import numpy as np
import numpy.typing as npt

FAMILY = "pyramid"
Array = npt.NDArray[Any]
Offsets = tuple[tuple[int, int], ...]

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

    def refined(self, size: tuple[int, int]) -> Array:
        """The picture of the next finer level."""
        return synthesise(self.coarse, self.own_details, size)

    def at(self, phase: tuple[int, int], rows: slice) -> tuple[slice, slice]:
        """The places of a phase's positions in some rows of units, in arrays without a margin."""
        last = min(2 * rows.stop, self.size[0])
        return slice(2 * rows.start + phase[0], last, 2), slice(phase[1], self.size[1], 2)


def storage(number: int) -> tuple[type[np.floating[Any]], float]:
    """How the coefficients and the coarser picture of a level are kept, and the largest of them."""
    return (np.float32, _LARGEST_FINE_VALUE) if number <= _FINE else (np.float64, LARGEST_VALUE)


def level(number: int, code: Array, picture: Array, parent: Level | None = None) -> Level:
    """A level of which nothing but the coarser picture is decoded.

    Args:
        number: 0 for the finest.
        code: of the noise variance of each picture.
        picture: ``(pictures, colours, rows, columns)``.
        parent: the level before, if there is one.
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
    if parent is not None:
        # a unit of this level lies in one position of the level before, four units in one unit there
        found.own_parents[...] = parent.own_activity.repeat(2, axis=2).repeat(2, axis=3)[..., : units[0], : units[1]]
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


class _Features:
    """The rows of a feature matrix, filled one after another for the positions of one parity in some rows of units."""

    def __init__(self, own: Level, network: Network, first: tuple[int, int], rows: slice, kind: Any) -> None:
        self.level, self._first, self._unit_rows = own, first, rows
        place = own.at(first, rows)
        self.shape = (len(own.code), _length(place[0], own.size[0]), _length(place[1], own.size[1]))
        self.values = np.empty((network.features, *self.shape), dtype=kind)
        self._network, self._filled = network, 0
        self._energies: list[Array] = []
        self._rows, self._columns = place[0].start, place[1].start

    def _take(self, values: Array, offset: tuple[int, int]) -> Array:
        """Values at an offset from the positions, of an array ``(pictures, ..., rows, columns)`` with a margin."""
        row, column = self._rows + MARGIN + offset[0], self._columns + MARGIN + offset[1]
        return values[..., row : row + 2 * self.shape[1] : 2, column : column + 2 * self.shape[2] : 2]

    def picture(self, colour: int, offsets: Sequence[tuple[int, int]]) -> None:
        """The coarser picture around the positions, less its value there."""
        own = self.level.picture[:, colour]
        here = self._take(own, (0, 0))
        for offset in offsets:
            np.subtract(self._take(own, offset), here, out=self.values[self._filled])
            self._filled += 1

    def details(self, colours: Sequence[int], offsets: Sequence[tuple[int, int]]) -> None:
        for offset in offsets:
            for colour in colours:
                for band in range(BANDS):
                    self.values[self._filled] = self._take(self.level.details[:, colour, band], offset)
                    self._filled += 1

    def energies(self, *groups: Sequence[int]) -> None:
        """Keep the logarithms of the average magnitudes of groups of relative features, to be added as features."""
        for numbers in groups:
            total = np.abs(self.values[list(numbers)]).sum(axis=0, dtype=np.float64)
            average = np.floor(total / len(numbers))
            self._energies.append(np.floor(octaves(1 + average / UNIT) * (FEATURE_UNIT // 4)))

    def relative_to(self, contrast: Array) -> Array:
        """Divide what is there by the contrast ``(pictures, rows, columns)``, in steps of features; the contrast."""
        assert self._filled == self._network.relative
        part = self.values[: self._filled]
        part *= FEATURE_UNIT / contrast
        np.floor(part, out=part)
        np.clip(part, -FEATURE_LIMIT, FEATURE_LIMIT, out=part)
        self.add(np.floor(octaves(contrast / UNIT) * (FEATURE_UNIT // 4)))
        self.add((self.level.code[:, None, None] - _CENTRE_CODE) * (FEATURE_UNIT // 32))
        self.add((min(self.level.number, _LEVEL_LIMIT) - COARSE) * (FEATURE_UNIT // 4))
        for energy in self._energies:
            self.add(energy)
        return contrast

    def add(self, value: Any) -> None:
        self.values[self._filled] = value
        self._filled += 1

    def magnitude(self, first: int, last: int) -> Array:
        """Sum of the magnitudes of some features."""
        found: Array = np.abs(self.values[first:last]).sum(axis=0, dtype=np.float64)
        return found

    def classes_around(self, classes: Array) -> None:
        """The classes of the units around, of an array with a margin."""
        _, height, width = self.shape
        for row in range(3):
            for column in range(3):
                first = self._unit_rows.start + row
                self.add(classes[:, first : first + height, column : column + width] * (FEATURE_UNIT // 4))

    def classes(self, colour: int) -> None:
        """The classes of the units around, and which the own one is."""
        self.classes_around(self.level.activity[:, colour])
        own = self._own_units(self.level.own_activity[:, colour])
        for number in range(CLASSES):
            self.add((own == number) * FEATURE_UNIT)

    def unit_value(self, classes: Array) -> None:
        """The class of the own unit as one number."""
        self.add(self._own_units(classes) * (FEATURE_UNIT // 4))

    def _own_units(self, classes: Array) -> Array:
        first = self._unit_rows.start
        return classes[:, first : first + self.shape[1], : self.shape[2]]

    def matrix(self) -> Array:
        """The features, ``(features, positions)``."""
        assert self._filled == len(self.values)
        return self.values.reshape(len(self.values), -1)


def luma_activity_features(own: Level, rows: slice, kind: Any = np.float64) -> tuple[Array, Array]:
    """What the luma activity of units is foretold from.

    Args:
        own: the level.
        rows: of units.
        kind: type of the features.

    Returns:
        Features ``(features, units)`` and contrast ``(units,)`` in steps of coefficients.
    """
    found = _Features(own, LUMA_ACTIVITY, (0, 0), rows, kind)
    offsets = _block(-2, 3)
    found.picture(0, offsets)
    contrast = UNIT + np.floor(found.magnitude(0, 35) / 32)
    for colour in (1, 2):
        found.picture(colour, _CORNERS[1:])
    found.energies(*_places(offsets, _ACROSS, _DOWN, _SLANTED, _FAR), range(35, 41))
    contrast = found.relative_to(contrast)
    found.classes_around(own.parents[:, 0])
    return found.matrix(), contrast.reshape(-1)


def luma_features(own: Level, phase: int, rows: slice, kind: Any = np.float64) -> tuple[Array, Array]:
    """What the moments of the luma details of a phase depend on; as :func:`luma_activity_features`, of positions."""
    found = _Features(own, LUMA[phase], PHASES[phase], rows, kind)
    found.picture(0, _WIDE)
    contrast = UNIT + np.floor(found.magnitude(0, len(_WIDE)) / 32)
    for colour in (1, 2):
        found.picture(colour, _NEAR)
    found.details((0,), EARLIER[phase])
    begin, end = len(_WIDE) + 2 * len(_NEAR), LUMA[phase].relative
    found.energies(*_places(_WIDE, _ACROSS, _DOWN, _SLANTED, _FAR), range(len(_WIDE), begin))
    if phase:
        found.energies(*(range(begin + band, end, BANDS) for band in range(BANDS)))
    contrast = found.relative_to(contrast)
    found.classes(0)
    return found.matrix(), contrast.reshape(-1)


def chroma_activity_features(own: Level, rows: slice, kind: Any = np.float64) -> tuple[Array, Array]:
    """What the chroma activity of units is foretold from; as :func:`luma_activity_features`."""
    found = _Features(own, CHROMA_ACTIVITY, (0, 0), rows, kind)
    for colour in (1, 2, 0):
        found.picture(colour, _block(-1, 2))
    found.details((0,), _CORNERS)
    contrast = UNIT + np.floor(found.magnitude(0, 30) / 32 + found.magnitude(45, 57) / 64)
    found.energies(range(15), range(15, 30), range(30, 45), *(range(45 + band, 57, BANDS) for band in range(BANDS)))
    contrast = found.relative_to(contrast)
    found.unit_value(own.own_activity[:, 0])
    found.classes_around(own.parents[:, 1])
    return found.matrix(), contrast.reshape(-1)


def chroma_features(own: Level, half: int, rows: slice, kind: Any = np.float64) -> tuple[Array, Array]:
    """What the moments of the chroma details of two phases depend on; positions of one phase after the other."""
    parts = [_chroma_features(own, half, phase, rows, kind) for phase in HALVES[half]]
    features, contrast = zip(*parts, strict=True)
    return np.concatenate(features, axis=1), np.concatenate(contrast)


def _chroma_features(own: Level, half: int, phase: tuple[int, int], rows: slice, kind: Any) -> tuple[Array, Array]:
    found = _Features(own, CHROMA[half], phase, rows, kind)
    for colour in (1, 2, 0):
        found.picture(colour, _NEAR)
    around = 3 * len(_NEAR)
    found.details((0,), _AROUND)
    luma = found.magnitude(around, around + BANDS * len(_AROUND))
    contrast = UNIT + np.floor(found.magnitude(0, 2 * len(_NEAR)) / 16 + luma / 128)
    found.energies(
        range(8), range(8, 16), range(16, 24), *(range(around + band, around + 27, BANDS) for band in range(BANDS))
    )
    if half:
        found.details((1, 2), _SIDES)
        ends = [
            [around + 27 + BANDS * (2 * side + colour) + band for side in range(4) for band in range(BANDS)]
            for colour in (0, 1)
        ]
        found.energies(*ends)
    contrast = found.relative_to(contrast)
    found.classes(1)
    found.unit_value(own.own_activity[:, 0])
    return found.matrix(), contrast.reshape(-1)
