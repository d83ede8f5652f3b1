"""The linear family: a network without hidden layers, f(x) = sum of weights times product-cosine features.

The features are all products of cosines cos(pi · k · (x + 1) / 2) along the axes, scaled so that they are orthonormal
on the native grid of sample centres (there they are the discrete cosine transform). They are functions of a continuous
coordinate: a tile renders at any resolution. With orthonormal features the posterior of Gaussian weights under Gaussian
noise is exact linear algebra, without a gradient step (Bishop, "Pattern recognition and machine learning", 2006,
section 3.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """Shape of a network without hidden layers.

    Attributes:
        extent: samples of a tile along each axis at native resolution.
        outputs: values per point.
    """

    extent: tuple[int, ...]
    outputs: int

    @property
    def latents(self) -> int:
        """Number of weights: one per output and feature, as many features as a tile has points."""
        return self.outputs * math.prod(self.extent)

    def weights(self, values: Array) -> Array:
        """The weights whose network has these values at the native sample centres.

        Args:
            values: ``(tiles, outputs, points)``.

        Returns:
            ``(tiles, latents)``, output after output, frequencies in row-major order; same type.
        """
        cube = values.reshape(-1, *self.extent)
        for axis, size in enumerate(self.extent):
            cube = _along(cube, cosines(size, 1, values.dtype), axis + 1)
        return cube.reshape(len(values), self.latents)

    def forward(self, weights: Array, scale: int = 1) -> Array:
        """Values of many tiles.

        Args:
            weights: ``(tiles, latents)``.
            scale: samples per native sample and axis.

        Returns:
            ``(tiles, outputs, points)``, same type.
        """
        cube = weights.reshape(-1, *self.extent)
        for axis, size in enumerate(self.extent):
            cube = _along(cube, cosines(size, scale, weights.dtype).T, axis + 1)
        return cube.reshape(len(weights), self.outputs, math.prod(cube.shape[1:]))


def cosines(size: int, scale: int, kind: np.dtype[Any]) -> Array:
    """Features of one axis at the centres of samples, ``(size, size · scale)``.

    Args:
        size: native samples of a tile along the axis, and number of features.
        scale: samples per native sample.
        kind: type of the features.
    """
    places = (np.arange(size * scale) + 0.5) / (size * scale)  # (x + 1) / 2
    features = np.cos(math.pi * np.arange(size)[:, None] * places)
    features *= np.where(np.arange(size) == 0, math.sqrt(1 / size), math.sqrt(2 / size))[:, None]
    return features.astype(kind)


def _along(cube: Array, matrix: Array, axis: int) -> Array:
    """Multiply one axis of an array by a matrix ``(new, old)``."""
    return np.moveaxis(np.moveaxis(cube, axis, -1) @ matrix.T, -1, axis)
