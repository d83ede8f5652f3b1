"""Images from their weights, rows by rows, so that they never have to be there as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.moments import UNIT
from . import haar
from .levels import Level

Array = npt.NDArray[Any]

HALF_RANGE = 127.5  # of samples in 255ths of their range
_LOUDEST = -2.0  # octave of the variance of noise level 0, on values in [-1, 1]
_LEVELS_PER_OCTAVE = 8


def noise_deviation(noise_level: int) -> float:
    """Deviation of an image's noise in 255ths of the range of samples: an eighth of an octave of variance per level."""
    return float(np.sqrt(np.exp2(_LOUDEST - noise_level / _LEVELS_PER_OCTAVE))) * HALF_RANGE


def noise_variance(noise_level: int) -> float:
    """Variance of an image's noise on values in [-1, 1]."""
    return (noise_deviation(noise_level) / HALF_RANGE) ** 2


def planes_of(channels: int) -> tuple[tuple[int, ...], ...]:
    """The channels of each plane of an image, in coding order: alpha alone and first, then grey or RGB."""
    colours = (0, 1, 2) if channels >= 3 else (0,)
    return ((channels - 1,), colours) if channels in (2, 4) else (colours,)


@dataclass(frozen=True, eq=False)
class PlaneRendering:
    """A plane of an image as a function of its weights.

    Attributes:
        picture: the finest level, or the root ``(colours, height, width)`` in steps of an image that has none.
        size: height and width.
        colours: 1 or 3.
        noise_level: that the weights' steps depend on.
    """

    picture: Level | Array
    size: tuple[int, int]
    colours: int
    noise_level: int

    def rows(self, rows: slice) -> npt.NDArray[np.float32]:
        """Rows of the plane, ``(rows, width, colours)`` in 255ths of the range, 0 in the middle of it.

        They are the inverse of the transform of colours, and of the unit of steps.
        """
        first, last, _ = rows.indices(self.size[0])
        steps = self._steps(first, last).astype(np.float64)
        matrix = haar.COLOUR[: self.colours, : self.colours] * (noise_deviation(self.noise_level) / UNIT)
        values = np.empty((last - first, self.size[1], self.colours), dtype=np.float32)
        for colour in range(self.colours):
            total = steps[0] * matrix[0, colour]
            for number in range(1, self.colours):
                total += steps[number] * matrix[number, colour]
            values[..., colour] = total
        return values

    def _steps(self, first: int, last: int) -> Array:
        """Rows of the picture in steps, ``(colours, rows, width)``."""
        if not isinstance(self.picture, Level):
            root: Array = self.picture[:, first:last]
            return root
        positions = slice(first // 4 * 2, min(-(-last // 4) * 2, self.picture.size[0]))
        reached: Array = self.picture.refined_rows(positions, self.size)[0, :, first - 2 * positions.start :]
        return reached[:, : last - first]


@dataclass(frozen=True, eq=False)
class LazyRows:
    """The values of an image in [-1, 1]: rows of them are rendered when they are asked for.

    Attributes:
        shape: height, width and channels.
        planes: of the image, each with its channels.
    """

    shape: tuple[int, ...]
    planes: tuple[tuple[tuple[int, ...], PlaneRendering], ...]

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]:
        first, last, _ = rows.indices(self.shape[0])
        values = np.empty((last - first, *self.shape[1:]), dtype=np.float32)
        for channels, plane in self.planes:
            values[:, :, channels] = plane.rows(slice(first, last))
        values /= HALF_RANGE
        return values
