"""Phases of tiles and their decoded surroundings: what a tile's prior may depend on, the same in encoder and decoder.

Tiles are dealt into phases by the parity of their position along each axis. The phases are coded one after another; all
tiles of a phase are coded together. The surroundings of a tile are a ring of samples around it. Those that belong to
earlier phases are decoded by then and are its context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...signals.signal import Tiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ring:
    """The samples within ``reach`` of a tile.

    Attributes:
        extent: samples of a tile along each axis.
        reach: width of the ring in samples, not more than a tile.
    """

    extent: tuple[int, ...]
    reach: int

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Places of the ring relative to the tile's first sample, ``(ring, axes)``."""
        ranges = [np.arange(-self.reach, size + self.reach) for size in self.extent]
        grid = np.stack([axis.reshape(-1) for axis in np.meshgrid(*ranges, indexing="ij")], axis=1)
        inside = ((grid >= 0) & (grid < np.array(self.extent))).all(axis=1)
        return grid[~inside].astype(np.int64)

    @property
    def size(self) -> int:
        """Number of places."""
        return len(self.offsets)

    def decoded(self, phase: int) -> npt.NDArray[np.bool_]:
        """Which places lie in tiles of earlier phases, ``(ring,)``.

        Args:
            phase: of the tile that the ring is around.
        """
        steps = self.offsets // np.array(self.extent)  # (ring, axes), -1, 0 or 1 tiles away
        parity = (steps + np.array(_parities(len(self.extent))[phase])) % 2
        order = np.zeros(len(steps), dtype=np.int64)
        for axis in range(len(self.extent)):
            order = 2 * order + parity[:, axis]
        return order < phase


def phases(axes: int) -> int:
    """Number of phases: two per axis.

    Args:
        axes: number of coordinate axes.
    """
    return 1 << axes


def _parities(axes: int) -> list[tuple[int, ...]]:
    """Parity of a tile's position along each axis, phase after phase, in row-major order."""
    return list(product((0, 1), repeat=axes))


def phase_tiles(counts: tuple[int, ...], phase: int) -> npt.NDArray[np.int64]:
    """Numbers, in row-major order, of the tiles of a phase: ``(tiles,)``.

    Args:
        counts: tiles along each axis.
        phase: which.
    """
    numbers = np.arange(math.prod(counts), dtype=np.int64).reshape(counts)
    parity = _parities(len(counts))[phase]
    return numbers[tuple(slice(first, None, 2) for first in parity)].reshape(-1)


def stage_tiles(layout: Tiling, phase: int) -> npt.NDArray[np.int64]:
    """Numbers of the tiles of a phase among those of all planes, plane after plane: ``(tiles,)``.

    Args:
        layout: tiles of the signal.
        phase: which.
    """
    of_plane = phase_tiles(layout.counts, phase)
    per_plane = math.prod(layout.counts)
    return (np.arange(len(layout.planes))[:, None] * per_plane + of_plane).reshape(-1)


@dataclass(frozen=True, eq=False)
class Canvas:
    """Values of the tiles that are decoded so far, of one or many planes of one shape.

    Attributes:
        ring: around every tile.
        counts: tiles along each axis.
        values: ``(planes, outputs, *padded)``: whole tiles, with a margin of ``reach`` on every side.
    """

    ring: Ring
    counts: tuple[int, ...]
    values: Array

    def place(self, phase: int, tiles: Array) -> None:
        """Put decoded tiles of a phase on the canvas.

        Args:
            phase: which.
            tiles: ``(planes, tiles of the phase, outputs, points)``.
        """
        by_tile = self._by_tile(self.values)  # a view
        axes = len(self.counts)
        chosen = tuple(slice(first, None, 2) for first in _parities(axes)[phase])
        part = by_tile[(slice(None), slice(None), *chosen)]  # (planes, outputs, count, count, tile, tile)
        planes, outputs = part.shape[:2]
        shaped = tiles.reshape(planes, *part.shape[2 : 2 + axes], outputs, *self.ring.extent)
        part[...] = np.moveaxis(shaped, 1 + axes, 1)

    def tiles(self) -> Array:
        """All tiles in row-major order, ``(planes · tiles, outputs, points)``."""
        axes = len(self.counts)
        by_tile = np.moveaxis(self._by_tile(self.values), 1, 1 + axes)
        return by_tile.reshape(-1, self.values.shape[1], math.prod(self.ring.extent))

    def context(self, phase: int) -> Array:
        """Surroundings of all tiles of a phase, ``(planes · tiles of the phase, outputs · ring)``.

        Places beyond the signal's tiles, and those that are not decoded yet, take the mean of those of the same output
        that are there; where none are, 0.

        Args:
            phase: which.
        """
        axes = len(self.counts)
        numbers = phase_tiles(self.counts, phase)
        corner = np.stack(np.unravel_index(numbers, self.counts), axis=1) * np.array(self.ring.extent)  # (tiles, axes)
        places = corner[:, None] + self.ring.offsets  # (tiles, ring, axes)
        size = np.array(self.counts) * np.array(self.ring.extent)
        there = ((places >= 0) & (places < size)).all(axis=2) & self.ring.decoded(phase)  # (tiles, ring)
        flat = np.ravel_multi_index(
            tuple(places[..., axis] + self.ring.reach for axis in range(axes)), self.values.shape[2:]
        )
        planes, outputs = self.values.shape[:2]
        rings = self.values.reshape(planes, outputs, -1)[:, :, flat]  # (planes, outputs, tiles, ring)
        count = np.maximum(there.sum(axis=1), 1).astype(rings.dtype)
        mean = (rings * there).sum(axis=3) / count  # (planes, outputs, tiles)
        filled = np.where(there, rings, mean[..., None])
        return np.moveaxis(filled, 2, 1).reshape(planes * len(numbers), outputs * self.ring.size)

    def _by_tile(self, values: Array) -> Array:
        """A view of the canvas as ``(planes, outputs, *counts, *extent)``."""
        margin = tuple(slice(self.ring.reach, size - self.ring.reach) for size in values.shape[2:])
        inner = values[(slice(None), slice(None), *margin)]
        strides = inner.strides[2:]
        shape = (*inner.shape[:2], *self.counts, *self.ring.extent)
        steps = tuple(stride * size for stride, size in zip(strides, self.ring.extent, strict=True))
        return np.lib.stride_tricks.as_strided(inner, shape, (*inner.strides[:2], *steps, *strides))


def blank(ring: Ring, counts: tuple[int, ...], planes: int, outputs: int, kind: type[np.floating[Any]]) -> Canvas:
    """A canvas without any tile yet.

    Args:
        ring: around every tile.
        counts: tiles along each axis.
        planes: of one shape.
        outputs: of each network.
        kind: type of the values.
    """
    padded = tuple(count * size + 2 * ring.reach for count, size in zip(counts, ring.extent, strict=True))
    return Canvas(ring, counts, np.zeros((planes, outputs, *padded), dtype=kind))
