"""The orthonormal Haar pyramid of a picture: one step of the transform and back, the sizes of its levels, all of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...system import threads

Array = npt.NDArray[Any]

BANDS = 3
CORNERS: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (1, 0), (1, 1))  # of two by two samples
LARGEST_ROOT = 4  # samples of a side
COLOUR = np.array(
    [
        [1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)],
        [1 / math.sqrt(2), 0, -1 / math.sqrt(2)],
        [1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)],
    ]
)
_MOST_KEPT = 1 << 20  # positions of a level whose details are kept
_PIXELS_AT_ONCE = 1 << 15  # of an image that is analysed


def sizes(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Sizes of the pictures of all levels, from the image's to the root's.

    Args:
        shape: height and width of the image.
    """
    pictures = [(shape[0], shape[1])]
    while max(pictures[-1]) > LARGEST_ROOT:
        height, width = pictures[-1]
        pictures.append((-(-height // 2), -(-width // 2)))
    return pictures


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
        coarse: the coarser picture, ``(..., rows, columns)``.
        details: horizontal, vertical and diagonal ones, ``(..., 3, rows, columns)``.
        size: height and width of the finer picture.
    """
    horizontal, vertical, diagonal = details[..., 0, :, :], details[..., 1, :, :], details[..., 2, :, :]
    picture = np.empty((*coarse.shape[:-2], 2 * coarse.shape[-2], 2 * coarse.shape[-1]), dtype=coarse.dtype)
    for row, column in CORNERS:
        part = picture[..., row::2, column::2]
        (np.add if column else np.subtract)(coarse, horizontal, out=part)
        (np.add if row else np.subtract)(part, vertical, out=part)
        (np.add if row == column else np.subtract)(part, diagonal, out=part)
    picture /= 2
    np.floor(picture, out=picture)
    inside: Array = picture[..., : size[0], : size[1]]
    return inside


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of an image that is to be coded: its weights, real numbers in units of the image's 255ths.

    The details of the finest levels of a large image are made whenever they are asked for: kept, they would take more
    memory than all else.

    Attributes:
        channels: of the image, 1 or 3.
        shape: height and width.
        values: gives rows of the plane in 255ths of the range, 0 in the middle of it, ``(rows, width, 1 or 3)``.
        root: ``(3, rows, columns)``.
        kept: details of the levels from the finest on, ``(3, 3, rows, columns)`` float32 each; ``None`` where they are
            made when they are asked for.
    """

    channels: tuple[int, ...]
    shape: tuple[int, int]
    values: Callable[[slice], Array]
    root: Array
    kept: tuple[Array | None, ...]

    @staticmethod
    def of(values: Callable[[slice], Array], shape: tuple[int, int], channels: tuple[int, ...]) -> Plane:
        """Analyse a plane.

        Args:
            values: gives rows of it.
            shape: height and width.
            channels: of the image that they are.
        """
        pictures = sizes(shape)
        first = next((level for level, size in enumerate(pictures[1:]) if math.prod(size) <= _MOST_KEPT), 0)
        made = Plane(channels, shape, values, np.zeros(0), (None,) * first)
        picture = np.empty((3, *pictures[first]))
        step = max(1, _PIXELS_AT_ONCE // (shape[1] << first))

        def strip(begin: int) -> None:
            rows = slice(begin, min(begin + step, len(picture[0])))
            picture[:, rows] = made._picture(first, rows)

        threads.mapped(strip, range(0, len(picture[0]), step))
        details = []
        for _ in pictures[first + 1 :]:
            picture, level_details = analyse(picture)
            details.append(level_details.astype(np.float32))
        return Plane(channels, shape, values, picture, (*made.kept, *details))

    @property
    def colours(self) -> int:
        """1 or 3."""
        return len(self.channels)

    def details(self, level: int, rows: slice) -> Array:
        """Details of a level at some rows of its positions, ``(3, 3, rows, columns)`` float32."""
        kept = self.kept[level]
        if kept is None:
            return analyse(self._picture(level, slice(2 * rows.start, 2 * rows.stop)))[1].astype(np.float32)
        some: Array = kept[:, :, rows]
        return some

    def _picture(self, level: int, rows: slice) -> Array:
        """Rows of the picture that a level's details are of, as far as there are any, ``(3, rows, columns)``."""
        if level:
            return analyse(self._picture(level - 1, slice(2 * rows.start, 2 * rows.stop)))[0]
        values = self.values(rows)
        picture = np.zeros((3, *values.shape[:2]))
        if self.colours == 3:
            np.einsum("kc,hwc->khw", COLOUR, values, out=picture)
        else:
            np.multiply(values[:, :, 0], math.sqrt(3), out=picture[0])
        return picture
