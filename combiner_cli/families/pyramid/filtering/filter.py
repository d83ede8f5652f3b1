"""A learned filter of a decoded picture: what it adds to the samples, in whole numbers.

A small convolution network looks at the finest level: its details, and the coarser picture less the average around
each position, in units of the noise's deviation, and what else a decoder knows: energy classes, masking, noise level
and shape. It says what they lack, about, which is added before the last step of the transform. All is made of whole
numbers: the same on every machine, and any rows can be filtered by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ....container.header import Field
from ....stages import convolution
from ....stages.convolution import ConvolutionNetwork
from ....stages.integer_network import octaves
from ....stages.moments import UNIT
from ....stages.shape import LEVELS
from ....system import threads
from ....system.arrays import NarrowArray
from ..haar import BANDS
from ..levels import Level

Array = npt.NDArray[Any]

PREFIX = "filter."
FIELD = Field("filter", 1)  # of a header: whether the picture is filtered
_COLOURS = 3
RESULTS = _COLOURS * (1 + BANDS)  # coarser picture and details
CHANNELS = RESULTS + 3  # and the classes of luma and chroma, and masking
CONDITIONS = LEVELS + 3  # the noise level and the numbers of the shape
_REACH = 2  # positions to each side whose average is taken
_WINDOW = (2 * _REACH + 1) ** 2
INPUT_STEPS = 8  # of an input in a deviation of the noise
_STRAIGHT = 32.0  # of an input, from where on octaves count
_PER_CLASS, _PER_MASKING = 16, 2  # steps of an input
_MIDDLE_LEVEL = 40
_ROWS_AT_ONCE = 64  # an even number; as many more as a result reaches to are looked at on each side
_MOST_CONDITIONS = (256, *(64,) * (CONDITIONS - 1))  # magnitudes, none of which a file exceeds


@dataclass(frozen=True, eq=False)
class PictureFilter:
    """A filter of decoded pictures.

    Attributes:
        network: that tells what a picture lacks.
    """

    network: ConvolutionNetwork

    def filtered(self, level: Level) -> Level:
        """The finest level of a picture once it is filtered.

        Args:
            level: of one picture, decoded, with its classes and masking.
        """
        picture = NarrowArray(level.picture.shape)
        kept = {place: NarrowArray(details.shape) for place, details in level.details.items()}
        told = conditions(level)

        def strip(first: int) -> None:
            rows = slice(first, min(first + _ROWS_AT_ONCE, level.size[0]))
            added = self._added(level, rows, told)
            coarse, details = level.coefficients(rows)
            colours = coarse.shape[1]
            picture.put((slice(None), slice(None), rows), coarse + added[:colours, 0])
            details += added[:colours, 1:]
            for ((row, column), chroma), array in kept.items():
                some = details[:, slice(1, 3) if chroma else slice(0, 1), :, row::2, column::2]
                place = slice(first // 2, first // 2 + some.shape[3])
                array.put((..., place, slice(None)), np.moveaxis(some, 0, 2))

        threads.mapped(strip, range(0, level.size[0], _ROWS_AT_ONCE))
        return replace(level, picture=picture.values, details={place: array.values for place, array in kept.items()})

    def _added(self, level: Level, rows: slice, told: Sequence[int]) -> npt.NDArray[np.float32]:
        """What is added to some rows of the coarser picture and of the details, ``(3 colours, 4, rows, columns)``."""
        reach, height = self.network.reach, level.size[0]
        around = slice(max(rows.start - reach, 0), min(rows.stop + reach, height))
        results = self.network(inputs(level, around), rows, height, told)
        return results.reshape(_COLOURS, 1 + BANDS, *results.shape[1:])


def conditions(level: Level) -> tuple[int, ...]:
    """What a network is told of a whole picture.

    Args:
        level: the finest one.
    """
    noise = level.shape
    return int(level.noise_levels[0]) - _MIDDLE_LEVEL, *noise.finer, noise.chroma, noise.masking


def inputs(level: Level, rows: slice) -> npt.NDArray[np.float32]:
    """What a network is told of some positions.

    Args:
        level: the finest one of one picture, decoded, with its classes and masking.
        rows: of its positions.

    Returns:
        Whole numbers, ``(15, rows, columns)``; of a picture of one colour, zeros for the other two.
    """
    coarse, details = level.coefficients(rows)
    values = np.zeros((CHANNELS, *coarse.shape[2:]), dtype=np.float32)
    of_colours = values[:RESULTS].reshape(_COLOURS, 1 + BANDS, *coarse.shape[2:])[: coarse.shape[1]]
    of_colours[:, 0] = coarse[0] - _average(level.picture[0], rows)
    of_colours[:, 1:] = details[0]
    values[:RESULTS] = _compressed(np.floor(values[:RESULTS] * np.float32(INPUT_STEPS / UNIT)))
    units = np.arange(rows.start, rows.stop) // 2
    classes = level.classes[0][:, units].repeat(2, axis=2)[..., : level.size[1]]
    values[RESULTS : RESULTS + 2] = np.multiply(classes, _PER_CLASS, dtype=np.float32)
    if level.masking is not None:
        values[RESULTS + 2] = np.multiply(level.masking[0, rows], _PER_MASKING, dtype=np.float32)
    return values


def _compressed(values: Array) -> Array:
    """Whole numbers that grow with the octaves of others, once those are large; an edge does not outshine all else."""
    magnitude = np.abs(values)
    large = np.floor(_STRAIGHT * (1 + octaves(np.maximum(magnitude, _STRAIGHT) / _STRAIGHT)))
    return np.where(magnitude > _STRAIGHT, np.copysign(large, values), values)


def _average(picture: Array, rows: slice) -> npt.NDArray[np.float32]:
    """Averages over five by five positions, rounded down, ``(colours, rows, columns)``.

    Args:
        picture: the coarser one, ``(colours, rows, columns)``.
        rows: that are wanted. Beyond an edge the samples there are repeated.
    """
    height, width = picture.shape[1:]
    reached = np.clip(np.arange(rows.start - _REACH, rows.stop + _REACH), 0, height - 1)
    whole = np.pad(picture[:, reached].astype(np.float64), ((0, 0), (0, 0), (_REACH, _REACH)), mode="edge")
    count = rows.stop - rows.start
    lines = sum((whole[:, row : row + count] for row in range(1, 2 * _REACH + 1)), whole[:, :count])
    sums = sum((lines[..., column : column + width] for column in range(1, 2 * _REACH + 1)), lines[..., :width])
    averages: npt.NDArray[np.float32] = np.floor(sums / _WINDOW).astype(np.float32)
    return averages


def problem(stored: dict[str, Array]) -> str | None:
    """Why the tensors of a filter cannot work, or ``None``.

    Args:
        stored: those of a prior whose names begin with the prefix.
    """
    return convolution.problem(stored, PREFIX, CHANNELS, RESULTS, _MOST_CONDITIONS)
