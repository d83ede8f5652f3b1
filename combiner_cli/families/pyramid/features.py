"""What the networks of the pyramid family see: the weights decoded before, around every position or unit.

That is the picture so far at the level's own resolution, the details next to a position, and the energy classes of the
units around. All is integer arithmetic in float64: every value is a whole number below 2^53, every intermediate result
too.

Features are gathered in strips of rows of units. What a strip reaches is unpacked first, the positions of each parity
by themselves, so that what lies at one offset from all positions of a phase is a block of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.integer_network import FEATURE_LIMIT, FEATURE_UNIT, octaves
from ...stages.moments import COARSE, UNIT
from .haar import BANDS, CORNERS
from .levels import CHROMA_STAGES, CLASSES, PHASES, Level, Offsets, Phase, block, disc, earlier, inside

Array = npt.NDArray[Any]
Rows = slice | list[int]  # of a matrix
Windows = dict[Phase, Array]  # by the parity of row and column
Memory = Callable[[str, tuple[int, ...]], Array]  # by a name and a shape

_MARGIN = 2  # units around a strip that offsets reach: 3 positions
_FEW_UNITS = 1 << 10  # of a level, of which all that is unpacked is kept
_LEVEL_LIMIT = 5
_CENTRE_LEVEL = 48  # of the noise

_NEAR, _WIDE = disc(2), disc(10)
_AROUND = ((0, 0), *disc(2))
_SIDES: Offsets = ((-1, 0), (0, -1), (0, 1), (1, 0))
_ACROSS: Offsets = ((0, -1), (0, 1))
_DOWN: Offsets = ((-1, 0), (1, 0))
_SLANTED: Offsets = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_FAR: Offsets = ((-2, 0), (0, -2), (0, 2), (2, 0))
EARLIER = tuple(earlier(phase) for phase in range(4))


@dataclass(frozen=True)
class Network:
    """What one of a level's networks sees and says.

    Attributes:
        name: of its tensors.
        relative: number of features that are relative to the local contrast.
        absolute: number of further features.
        outputs: number of means; as many deviations, or the logits of the classes, come with them.
        classes: whether it predicts energy classes.
        chroma: whether it is about the chroma.
    """

    name: str
    relative: int
    absolute: int
    outputs: int
    classes: bool
    chroma: bool

    @property
    def features(self) -> int:
        """Number of features."""
        return self.relative + self.absolute

    @property
    def values(self) -> int:
        """Number of results."""
        return self.outputs + (CLASSES if self.classes else self.outputs)


_SCALARS = 3  # contrast, noise level, level
_CLASS_FEATURES = 9 + CLASSES
_CLASS_NUMBERS = np.arange(CLASSES)[:, None, None, None]
_LUMA, _CHROMA = slice(0, 1), slice(1, 3)  # among the colours

LUMA_CLASSES = Network("luma_activity", 35 + 2 * 3, _SCALARS + 5 + 9, 4 * BANDS, True, False)
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
CHROMA_CLASSES = Network("chroma_activity", 2 * 15 + 15 + 4 * BANDS, _SCALARS + 6 + 1 + 9, 8 * BANDS, True, True)
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
NETWORKS = (LUMA_CLASSES, *LUMA, CHROMA_CLASSES, *CHROMA)


def _places(among: Offsets, *groups: Offsets) -> list[list[int]]:
    """The places of groups of offsets in a sequence of them."""
    return [[among.index(offset) for offset in group] for group in groups]


@lru_cache(maxsize=64)
def _runs(offsets: Offsets, phase: Phase) -> tuple[tuple[slice, Phase, int, slice], ...]:
    """Offsets from a phase's positions as runs along a row of one parity: places among the offsets, parities, and row
    and columns of windows.
    """
    rows: dict[tuple[Phase, int], list[tuple[int, int]]] = {}
    for place, (y, x) in enumerate(offsets):
        (row, odd_row), (column, odd_column) = divmod(phase[0] + y, 2), divmod(phase[1] + x, 2)
        rows.setdefault(((odd_row, odd_column), row + _MARGIN), []).append((place, column + _MARGIN))
    runs = []
    for (parities, row), members in rows.items():
        while members:
            step = members[1][0] - members[0][0] if len(members) > 1 else 1
            length = 1
            while length < len(members) and members[length] == (
                members[0][0] + length * step,
                members[0][1] + length,
            ):
                length += 1
            (place, column), members = members[0], members[length:]
            places = slice(place, place + (length - 1) * step + 1, step)
            runs.append((places, parities, row, slice(column, column + length)))
    return tuple(runs)


def _windows(values: Array) -> Array:
    """A view of a block of values with a margin of units, ``(..., 5 offset rows, 5 offset columns, rows, columns)``."""
    side, (height, width) = 2 * _MARGIN + 1, values.shape[-2:]
    shape = (*values.shape[:-2], side, side, height - 2 * _MARGIN, width - 2 * _MARGIN)
    return np.ndarray(shape, values.dtype, values, 0, (*values.strides, *values.strides[-2:]))


class _Strip:
    """What is decoded within reach of some rows of units, the positions of each parity by themselves.

    Beyond the picture's edge it is repeated, and details are 0, as are those that are still to come.
    """

    def __init__(self, level: Level, rows: slice) -> None:
        self._level = level
        whole = rows == level.all_units and math.prod(level.units) * len(level.noise_levels) <= _FEW_UNITS
        self._unpacked: dict[object, tuple[Array | None, Array]] = level.unpacked if whole else {}
        self._first, self._last = rows.start - _MARGIN, rows.stop + _MARGIN
        self._size = self._last - self._first, level.units[1] + 2 * _MARGIN

    def _known(self, name: object, source: Array | None, unpack: Callable[[], Array]) -> Array:
        """What is unpacked of an array, unless that was done before."""
        if name not in self._unpacked or self._unpacked[name][0] is not source:
            self._unpacked[name] = source, unpack()
        return self._unpacked[name][1]

    def picture(self) -> Windows:
        """The coarser picture, ``(3 colours, pictures, 5, 5, rows, columns)`` of each parity."""
        return dict(zip(PHASES, self._known("picture", self._level.picture, self._unpacked_picture), strict=True))

    def _unpacked_picture(self) -> Array:
        level = self._level
        reached = np.clip(np.arange(2 * self._first, 2 * self._last), 0, level.size[0] - 1)
        source = level.picture[:, :, reached].swapaxes(0, 1)
        kind = np.float32 if source.dtype == np.int16 else np.float64  # differences must be exact
        planes = np.empty((len(PHASES), 3, source.shape[1], *self._size), dtype=kind)
        planes[:, len(source) :] = 0
        for plane, (row, column) in zip(planes, PHASES, strict=True):
            part = plane[: len(source)]
            to, of = inside(-_MARGIN, level.units[1] + _MARGIN, len(range(column, level.size[1], 2)))
            part[..., to] = source[..., row::2, column::2][..., of]
            part[..., : to.start] = source[..., row::2, :1]
            part[..., to.stop :] = source[..., row::2, -1:]
        return _windows(planes)

    def details(self, phase: Phase, chroma: bool) -> Array:
        """Details at a phase's positions, ``(colours, 3, pictures, 5, 5, rows, columns)``."""
        decoded = self._level.details.get((phase, chroma))
        return self._known((phase, chroma), decoded, lambda: self._unpacked_details(decoded, chroma))

    def _unpacked_details(self, decoded: Array | None, chroma: bool) -> Array:
        level = self._level
        if decoded is None:
            return _windows(np.zeros((2 if chroma else 1, BANDS, len(level.noise_levels), *self._size), np.float32))
        plane = np.empty((*decoded.shape[:3], *self._size), dtype=np.promote_types(decoded.dtype, np.float32))
        rows, of_rows = inside(self._first, self._last, decoded.shape[3])
        columns, of_columns = inside(-_MARGIN, level.units[1] + _MARGIN, decoded.shape[4])
        plane[..., : rows.start, :] = plane[..., rows.stop :, :] = 0
        plane[..., : columns.start] = plane[..., columns.stop :] = 0
        plane[..., rows, columns] = decoded[..., of_rows, of_columns]
        return _windows(plane)


class _Features:
    """The rows of a feature matrix, filled one after another for the positions of one parity in some rows of units."""

    def __init__(self, level: Level, network: Network, phase: Phase, rows: slice, memory: Memory) -> None:
        self._level, self._network, self._unit_rows, self._filled = level, network, rows, 0
        self._phase, self._strip = phase, _Strip(level, rows)
        self._picture = self._strip.picture()
        self.shape = (len(level.noise_levels), *level.shape_of(phase, rows))
        self.values = memory("features", (network.features, *self.shape))
        self._magnitudes = memory("magnitudes", (network.relative, *self.shape))

    def _rows(self, *counts: int) -> Array:
        """The next rows of the matrix, ``(*counts, pictures, rows, columns)``."""
        first, self._filled = self._filled, self._filled + math.prod(counts)
        return self.values[first : self._filled].reshape(*counts, *self.shape)

    def picture(self, colours: slice, offsets: Offsets) -> None:
        """The coarser picture around the positions, less its value there."""
        windows, (_, height, width) = self._picture, self.shape
        here = windows[self._phase][colours, :, _MARGIN, _MARGIN, :height, :width][:, None]
        rows = self._rows(len(here), len(offsets))
        for places, parities, row, columns in _runs(offsets, self._phase):
            around = windows[parities][colours, :, row, columns, :height, :width].swapaxes(1, 2)
            np.subtract(around, here, out=rows[:, places], casting="same_kind")

    def details(self, chroma: bool, offsets: Offsets) -> None:
        """The details around the positions."""
        _, height, width = self.shape
        rows = self._rows(len(offsets), 2 if chroma else 1, BANDS)
        for places, parities, row, columns in _runs(offsets, self._phase):
            around = self._strip.details(parities, chroma)[..., row, columns, :height, :width]
            rows[places] = around.transpose(3, 0, 1, 2, 4, 5)

    def measure(self) -> None:
        """Take the magnitudes of the features, which are all there but for the contrast to be divided by."""
        assert self._filled == self._network.relative
        np.abs(self.values[: self._filled], out=self._magnitudes)

    def magnitude(self, numbers: Rows) -> Array:
        """Sum of the magnitudes of some features, ``(pictures, rows, columns)``."""
        total: Array = self._magnitudes[numbers].sum(axis=0, dtype=np.float64)
        return total

    def relative_to(self, contrast: Array, energies: Sequence[Rows]) -> None:
        """Divide what is there by the contrast ``(pictures, rows, columns)``, in steps of features, and add the scalars
        and the energies: logarithms of the average magnitudes of groups of features before the division."""
        part = self.values[: self._filled]
        part *= FEATURE_UNIT / contrast
        np.floor(part, out=part)
        np.clip(part, -FEATURE_LIMIT, FEATURE_LIMIT, out=part)
        scalars, averages = self._rows(_SCALARS), np.empty((len(energies), *self.shape))
        scalars[0] = np.floor(octaves(contrast / UNIT) * (FEATURE_UNIT // 4))
        scalars[1] = (self._level.noise_levels[:, None, None] - _CENTRE_LEVEL) * (FEATURE_UNIT // 32)
        scalars[2] = (min(self._level.number, _LEVEL_LIMIT) - COARSE) * (FEATURE_UNIT // 4)
        for numbers, average in zip(energies, averages, strict=True):
            magnitudes = self._magnitudes[numbers]
            np.divide(magnitudes.sum(axis=0, dtype=np.float64), len(magnitudes), out=average)
        np.floor(averages, out=averages)
        np.floor(octaves(1 + averages / UNIT) * (FEATURE_UNIT // 4), out=self._rows(len(energies)), casting="same_kind")

    def classes_around(self, classes: Array) -> None:
        """The classes of the units around, of classes ``(pictures, unit rows + 2, unit columns + 2)``."""
        first, (_, height, width) = self._unit_rows.start, self.shape
        rows = self._rows(3, 3)
        for row, column in product(range(3), repeat=2):
            rows[row, column] = classes[:, first + row : first + row + height, column : column + width]
        rows *= FEATURE_UNIT // 4

    def classes(self, colour: int) -> None:
        """The classes of the units around, and which that of the unit itself is."""
        self.classes_around(self._level.padded_classes[:, colour])
        here = self._units_here(self._level.classes[:, colour])
        np.multiply(here == _CLASS_NUMBERS, FEATURE_UNIT, out=self._rows(CLASSES), casting="same_kind")

    def unit_value(self, classes: Array) -> None:
        """The class of the unit itself as one number."""
        row = self._rows()
        row[...] = self._units_here(classes)
        row *= FEATURE_UNIT // 4

    def _units_here(self, classes: Array) -> Array:
        first = self._unit_rows.start
        return classes[:, first : first + self.shape[1], : self.shape[2]]

    def matrix(self) -> Array:
        """The features, ``(features, positions)``."""
        assert self._filled == len(self.values)
        return self.values.reshape(len(self.values), -1)


def class_network(chroma: bool) -> Network:
    """The network that predicts the classes of a level's luma or chroma."""
    return CHROMA_CLASSES if chroma else LUMA_CLASSES


def stage_network(number: int) -> Network:
    """The network that predicts the moments of a stage of a level."""
    return CHROMA[number - CHROMA_STAGES[0]] if number in CHROMA_STAGES else LUMA[number]


def new_memory(_name: str, shape: tuple[int, ...]) -> Array:
    """Memory that nobody has used before, of float64."""
    return np.empty(shape)


def class_features(level: Level, chroma: bool, rows: slice, memory: Memory = new_memory) -> tuple[Array, Array]:
    """What the classes of units are predicted from.

    Args:
        level: of the units.
        chroma: whether it is about its chroma.
        rows: of units.
        memory: gives arrays to fill, by what they are for; what was filled before may be filled again.

    Returns:
        Features ``(features, units)`` and contrast ``(units,)`` in steps of coefficients.
    """
    features = _Features(level, class_network(chroma), (0, 0), rows, memory)
    contrast = (_chroma_classes if chroma else _luma_classes)(features, level)
    return features.matrix(), contrast.reshape(-1)


def stage_features(
    level: Level, number: int, phase: Phase, rows: slice, memory: Memory = new_memory
) -> tuple[Array, Array]:
    """What the moments of the details of a stage depend on; as :func:`class_features`, of the positions of a phase."""
    features = _Features(level, stage_network(number), phase, rows, memory)
    if number in CHROMA_STAGES:
        contrast = _chroma_details(features, level, number - CHROMA_STAGES[0])
    else:
        contrast = _luma_details(features, number)
    return features.matrix(), contrast.reshape(-1)


def _luma_classes(features: _Features, level: Level) -> Array:
    """Fill the features of luma classes; their contrast."""
    offsets = block(-2, 3)
    features.picture(_LUMA, offsets)
    features.picture(_CHROMA, CORNERS[1:])
    features.measure()
    contrast = UNIT + np.floor(features.magnitude(slice(0, 35)) / 32)
    features.relative_to(contrast, [*_places(offsets, _ACROSS, _DOWN, _SLANTED, _FAR), slice(35, 41)])
    features.classes_around(level.padded_parents[:, 0])
    return contrast


def _luma_details(features: _Features, phase: int) -> Array:
    """Fill the features of luma details of a phase; their contrast."""
    features.picture(_LUMA, _WIDE)
    features.picture(_CHROMA, _NEAR)
    features.details(False, EARLIER[phase])
    features.measure()
    contrast = UNIT + np.floor(features.magnitude(slice(0, len(_WIDE))) / 32)
    begin, end = len(_WIDE) + 2 * len(_NEAR), LUMA[phase].relative
    bands = [slice(begin + band, end, BANDS) for band in range(BANDS if phase else 0)]
    features.relative_to(contrast, [*_places(_WIDE, _ACROSS, _DOWN, _SLANTED, _FAR), slice(len(_WIDE), begin), *bands])
    features.classes(0)
    return contrast


def _chroma_classes(features: _Features, level: Level) -> Array:
    """Fill the features of chroma classes; their contrast."""
    for colours in (_CHROMA, _LUMA):
        features.picture(colours, block(-1, 2))
    features.details(False, CORNERS)
    features.measure()
    contrast = UNIT + np.floor(features.magnitude(slice(0, 30)) / 32 + features.magnitude(slice(45, 57)) / 64)
    bands = [slice(45 + band, 57, BANDS) for band in range(BANDS)]
    features.relative_to(contrast, [slice(0, 15), slice(15, 30), slice(30, 45), *bands])
    features.unit_value(level.classes[:, 0])
    features.classes_around(level.padded_parents[:, 1])
    return contrast


def _chroma_details(features: _Features, level: Level, half: int) -> Array:
    """Fill the features of chroma details of one of two halves of the phases; their contrast."""
    for colours in (_CHROMA, _LUMA):
        features.picture(colours, _NEAR)
    around = 3 * len(_NEAR)
    sides = around + BANDS * len(_AROUND)
    features.details(False, _AROUND)
    if half:
        features.details(True, _SIDES)
    features.measure()
    differences, luma = features.magnitude(slice(0, 2 * len(_NEAR))), features.magnitude(slice(around, sides))
    contrast = UNIT + np.floor(differences / 16 + luma / 128)
    energies: list[Rows] = [slice(8 * colour, 8 * colour + 8) for colour in range(3)]
    energies += [slice(around + band, sides, BANDS) for band in range(BANDS)]
    if half:
        places = range(sides, sides + 2 * BANDS * len(_SIDES))
        energies += [[place for place in places if (place - sides) // BANDS % 2 == colour] for colour in range(2)]
    features.relative_to(contrast, energies)
    features.classes(1)
    features.unit_value(level.classes[:, 0])
    return contrast
