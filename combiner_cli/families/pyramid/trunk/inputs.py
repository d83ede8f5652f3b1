"""What the networks of a level see of it, besides the stream: the coarser picture and details around every unit.

All of it is relative to the contrast of the unit, in whole steps. Numbers are multiplied one by one and rounded down,
so that they come out the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ....stages.integer_network import octaves
from ....stages.moments import COARSE, OCTAVE, UNIT
from ....system.threads import Scratch
from ..haar import BANDS
from ..levels import CLASSES, Level
from .layers import FEATURE_BITS, LARGEST_FEATURE

Array = npt.NDArray[Any]

FEATURE_UNIT = 1 << FEATURE_BITS
ENERGIES = 8
SCALARS = 9 + ENERGIES
SQUARE = tuple((row, column) for row in range(3) for column in range(3))  # the units around a unit, and it itself
CROSS = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
_LUMA, _CHROMA = slice(0, 1), slice(1, 3)  # among the colours
_SIDES = ((_LUMA, 8, 6), (_CHROMA, 4, 4))  # colours, positions of a patch along an axis, and those of the contrast
PATCH = 8 * 8 + 2 * 4 * 4
_DIFFERENCES_PER_CONTRAST = 32
_CENTRE_LEVEL = 48  # of the noise
_LEVEL_LIMIT = 5
_MOST_KEPT = 1 << 16  # units of a level
_REACH = 3  # positions that a patch reaches beyond its unit
# deviations of the noise in steps by their sixteenths of an octave
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = -8 * OCTAVE, 8 * OCTAVE
_NOISE_STEPS = np.floor(UNIT * np.exp2(np.arange(_LOWEST_OCTAVE, _HIGHEST_OCTAVE + 1) / OCTAVE) + 2.0**-20)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The coarser picture around the units of some rows.

    Attributes:
        patch: it relative to the average of the unit, over the contrast, in steps of features,
            ``(96, units)`` float32.
        contrast: of luma and chroma, in steps of coefficients, ``(2, units)``.
        scalars: contrast, noise and level, noise of the coarser picture, parents, and energies: logarithms of average
            magnitudes of groups of differences; in steps of features, ``(17, units)`` float32.
    """

    patch: Array
    contrast: Array
    scalars: Array


def surroundings(level: Level, rows: slice, scratch: Scratch) -> Surroundings:
    """What is decoded before a level around its units; that of small levels is kept for their next stages.

    Args:
        level: of one picture.
        rows: of units.
        scratch: gives arrays.
    """
    kept: Surroundings | None = level.trunk.kept.get(rows.start)
    if kept is not None and kept.patch.shape[1] == (rows.stop - rows.start) * level.units[1]:
        return kept
    made = _surroundings(level, rows, scratch)
    if level.units[0] * level.units[1] <= _MOST_KEPT:
        made = Surroundings(made.patch.copy(), made.contrast, made.scalars)
        level.trunk.kept[rows.start] = made
    return made


def _surroundings(level: Level, rows: slice, scratch: Scratch) -> Surroundings:
    height, width = rows.stop - rows.start, level.units[1]
    picture = _reached(level, rows)
    of_luma = _noise(level, rows)
    noise = [of_luma, of_luma + level.shape.chroma]
    patch = scratch.take("patch", (PATCH, height, width), np.float32)
    contrast, first = np.empty((2, height, width)), 0
    averages: list[Array] = []
    for place, (colours, side, inner) in enumerate(_SIDES):
        count = (1 if colours == _LUMA else 2) * side * side
        differences = scratch.take("differences", (count, height, width), picture.dtype)
        by_colour = differences.reshape(-1, side, side, height, width)
        for plane, part in zip(picture[colours], by_colour, strict=False):
            _around(plane, part)
        by_colour[len(picture[colours]) :] = 0  # of a picture in grey
        margin = (side - inner) // 2
        magnitudes = np.abs(by_colour)
        inside = magnitudes[:, margin : side - margin, margin : side - margin]
        least = _NOISE_STEPS[np.floor(noise[place]).astype(np.int64) - _LOWEST_OCTAVE]
        contrast[place] = least + np.floor(inside.sum(axis=(0, 1, 2)) / _DIFFERENCES_PER_CONTRAST)
        averages += _luma_averages(by_colour[0], magnitudes[0]) if place == 0 else _chroma_averages(magnitudes)
        part_of_patch = patch[first : first + count]
        np.multiply(differences, _scale(contrast[place]), out=part_of_patch, casting="same_kind")
        first += count
    _limit(patch)
    scalars = np.concatenate([_scalars(level, rows, contrast, noise[0]), energies_of(np.stack(averages))])
    return Surroundings(patch.reshape(PATCH, -1), contrast.reshape(2, -1), scalars.reshape(SCALARS, -1))


def _luma_averages(differences: Array, magnitudes: Array) -> list[Array]:
    """Average magnitudes in the four rings of a patch, ``(8, 8, rows, columns)``, and of differences next to each other
    in its middle, along rows and columns."""
    sums = [magnitudes[edge : 8 - edge, edge : 8 - edge].sum(axis=(0, 1)) for edge in (3, 2, 1, 0)]
    rings = [sums[0], *(larger - smaller for smaller, larger in pairwise(sums))]
    middle = differences[2:6, 2:6]
    across = np.abs(middle[:, 1:] - middle[:, :-1]).sum(axis=(0, 1))
    down = np.abs(middle[1:] - middle[:-1]).sum(axis=(0, 1))
    counts = (4, 12, 20, 28, 12, 12)
    return [total / count for total, count in zip([*rings, across, down], counts, strict=True)]


def _chroma_averages(magnitudes: Array) -> list[Array]:
    """Average magnitudes of both colours."""
    return [colour.sum(axis=(0, 1)) / (len(colour) * colour.shape[1]) for colour in magnitudes]


def energies_of(averages: Array) -> Array:
    """Logarithms of average magnitudes in steps of coefficients, in steps of features."""
    whole = np.floor(averages.astype(np.float64))
    energies: Array = np.floor(octaves(1 + whole / UNIT) * (FEATURE_UNIT // 4)).astype(np.float32)
    return energies


def _reached(level: Level, rows: slice) -> Array:
    """The coarser picture within reach of some rows of units, ``(colours, rows, columns)``; its edge is repeated."""
    height, width = level.size
    down = np.clip(np.arange(2 * rows.start - _REACH, 2 * rows.stop + _REACH), 0, height - 1)
    across = np.clip(np.arange(-_REACH, 2 * level.units[1] + _REACH), 0, width - 1)
    # sums of 36 differences of whole numbers: exact in either type
    kind = np.float32 if level.picture.dtype == np.int16 else np.float64
    picture: Array = level.picture[0][:, down][..., across].astype(kind)
    return picture


def _around(plane: Array, differences: Array) -> None:
    """Fill in a plane around units less their average, ``(side, side, rows, columns)``."""
    side, _, height, width = differences.shape
    inside = plane[_REACH:-_REACH, _REACH:-_REACH]
    middle = np.floor((inside[0::2, 0::2] + inside[0::2, 1::2] + inside[1::2, 0::2] + inside[1::2, 1::2]) / 4)
    begin = _REACH - (side // 2 - 1)
    for row in range(side):
        for column in range(side):
            part = plane[begin + row :: 2, begin + column :: 2][:height, :width]
            np.subtract(part, middle, out=differences[row, column])


def _scale(contrast: Array) -> Array:
    """What differences are multiplied with to be features."""
    scale: Array = (FEATURE_UNIT / contrast).astype(np.float32)
    return scale


def _limit(features: Array) -> None:
    """Round features down and clip them, in place."""
    np.floor(features, out=features)
    np.maximum(features, -LARGEST_FEATURE, out=features)
    np.minimum(features, LARGEST_FEATURE, out=features)


def _scalars(level: Level, rows: slice, contrast: Array, noise: Array) -> Array:
    """See :class:`Surroundings`; those before the energies, ``(9, rows, columns)``."""
    scalars = np.empty((SCALARS - ENERGIES, *noise.shape), dtype=np.float32)
    scalars[:2] = np.floor(octaves(contrast / UNIT) * (FEATURE_UNIT // 4))
    scalars[2] = (level.noise_levels[0] - _CENTRE_LEVEL) * (FEATURE_UNIT // 32)
    scalars[3] = (min(level.number, _LEVEL_LIMIT) - COARSE) * (FEATURE_UNIT // 4)
    scalars[4] = np.floor(noise * (FEATURE_UNIT // (2 * OCTAVE)))
    scalars[5] = np.floor(_coarser_noise(level, rows) * (FEATURE_UNIT // (2 * OCTAVE)))
    scalars[6] = level.shape.chroma * (FEATURE_UNIT // (2 * OCTAVE))
    scalars[7:] = level.parents[0][:, rows]  # before they are scaled: in 8 bits they would not fit
    scalars[7:] *= FEATURE_UNIT // 4
    return scalars


def _noise(level: Level, rows: slice) -> Array:
    """Sixteenths of an octave by which the noise of units is coarser than the level's, averages of their positions."""
    height, width = rows.stop - rows.start, level.units[1]
    if level.masking is None:
        return np.zeros((height, width))
    inside = level.masking[0, 2 * rows.start : 2 * rows.stop]
    missing = ((0, 2 * height - len(inside)), (0, 2 * width - inside.shape[1]))
    whole = np.pad(inside, missing, mode="edge").astype(np.float64)
    average: Array = whole.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return average


def _coarser_noise(level: Level, rows: slice) -> Array:
    """The same of the noise of the coarser picture, in which a unit is a position."""
    step = level.shape.finer_at(level.number + 1) - level.shape.finer_at(level.number)
    masking = level.trunk.coarser_masking
    if masking is None:
        return np.full((rows.stop - rows.start, level.units[1]), float(-step))
    coarser: Array = masking[rows] - float(step)
    return coarser


def near(
    level: Level,
    phases: tuple[tuple[int, int], ...],
    chroma: bool,
    around: tuple[tuple[int, int], ...],
    rows: slice,
    contrast: Array,
    features: Array,
) -> None:
    """Fill in details around units, relative to their contrast.

    Args:
        level: of one picture; details of the phases are decoded.
        phases: one after the other, in each of which come colours, bands and units around.
        chroma: whether details of the chroma are wanted.
        around: the units, as rows and columns of a square of three.
        rows: of units.
        contrast: of these, in steps, ``(units,)``.
        features: to fill in, ``(phases * colours * 3 * len(around), units)`` float32.
    """
    height, width = rows.stop - rows.start, level.units[1]
    scale = _scale(contrast).reshape(height, width)
    filled = features.reshape(len(phases), -1, len(around), height, width)
    for phase, of_phase in zip(phases, filled, strict=True):
        padded = np.zeros((of_phase.shape[0], height + 2, width + 2), dtype=np.float32)
        details = level.details.get((phase, chroma))
        if details is not None and details.size:
            flat = details[:, :, 0].reshape(-1, *details.shape[3:])
            begin, end = max(rows.start - 1, 0), min(rows.stop + 1, flat.shape[1])
            top = begin - (rows.start - 1)
            padded[: len(flat), top : top + end - begin, 1 : 1 + flat.shape[2]] = flat[:, begin:end]
        for place, (row, column) in enumerate(around):
            part = padded[:, row : row + height, column : column + width]
            np.multiply(part, scale, out=of_phase[:, place])
    _limit(features)


def near_energies(
    level: Level, phases: tuple[tuple[int, int], ...], chroma: bool, around: tuple[tuple[int, int], ...], rows: slice
) -> Array:
    """Energies of details around units, ``(3 bands, units)`` of the luma, ``(2 colours, units)`` of the chroma; see
    :func:`near` for the arguments."""
    height, width = rows.stop - rows.start, level.units[1]
    sums = np.zeros((2 if chroma else BANDS, height + 2, width + 2))
    for phase in phases:
        details = level.details.get((phase, chroma))
        if details is not None and details.size:
            begin, end = max(rows.start - 1, 0), min(rows.stop + 1, details.shape[3])
            magnitudes = np.abs(details[:, :, 0, begin:end].astype(np.float64))
            top = begin - (rows.start - 1)
            inside = sums[:, top : top + end - begin, 1 : 1 + details.shape[4]]
            inside += magnitudes.sum(axis=1) if chroma else magnitudes[0]
    total = sum(sums[:, row : row + height, column : column + width] for row, column in around)
    count = len(phases) * len(around) * (BANDS if chroma else 1)
    return energies_of(np.asarray(total) / count).reshape(len(sums), -1)


def one_hot(level: Level, colour: int, rows: slice) -> Array:
    """Which class every unit has, in steps of features, ``(9, units)`` float32."""
    classes = level.classes[0, colour, rows].reshape(-1)
    return np.asarray((classes == np.arange(CLASSES)[:, None]) * FEATURE_UNIT, dtype=np.float32)
