"""The orthonormal Haar pyramid of a picture: one step of the transform and back, and the sizes of its levels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

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


def root_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes of the pictures that a root is taken apart to, from its own to that of one sample.

    Args:
        size: height and width of the root.
    """
    pictures = [size]
    while max(pictures[-1]) > 1:
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


def analyse_root(root: Array) -> Array:
    """The weights of a root, as many as it has samples: its average, times 2^steps, then details, the coarsest first.

    Args:
        root: ``(colours, height, width)``.

    Returns:
        ``(colours, samples)``.
    """
    size, picture, parts = (root.shape[1], root.shape[2]), root, []
    for finer in root_sizes(size)[:-1]:
        picture, details = analyse(picture)
        parts.append([details[:, band, :rows, :columns] for band, rows, columns in _real_details(finer)])
    average: list[list[Array]] = [[picture]]
    return np.concatenate([part.reshape(len(root), -1) for step in average + parts[::-1] for part in step], axis=1)


def synthesise_root(weights: Array, size: tuple[int, int]) -> Array:
    """The inverse of :func:`analyse_root` on whole numbers, ``(colours, *size)``: halves are rounded down.

    Args:
        weights: of the root, ``(colours, samples)``, of a type that holds sums of them.
        size: height and width of the root.
    """
    sizes, colours = root_sizes(size), len(weights)
    picture, first = weights[:, :1].reshape(colours, 1, 1), 1
    for coarser, finer in zip(sizes[:0:-1], sizes[-2::-1], strict=True):
        details = np.zeros((colours, BANDS, *coarser), dtype=weights.dtype)
        for band, rows, columns in _real_details(finer):
            last = first + rows * columns
            details[:, band, :rows, :columns] = weights[:, first:last].reshape(colours, rows, columns)
            first = last
        picture = synthesise(picture, details, finer)
    return picture


def _real_details(size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Bands of the details of a picture, each with its rows and columns: those that no repeated sample has a part in.

    Args:
        size: height and width of the picture.
    """
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    yield 0, rows, size[1] // 2
    yield 1, size[0] // 2, columns
    yield 2, size[0] // 2, size[1] // 2
