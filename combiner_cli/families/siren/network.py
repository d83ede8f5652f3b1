"""The siren family: the latents are the weights of a sinusoidal network with Fourier features in front.

Sources: Sitzmann et al., "Implicit neural representations with periodic activation functions" (NeurIPS 2020) for the
network and its initialisation; Guo et al., "Compression with Bayesian implicit neural representations" (NeurIPS 2023)
for its use with a factorised Gaussian over the weights.

The forward pass is written once, for numpy (decoding, float64) and torch (fitting, float32).
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...signals.signal import coordinates

_POINTS_AT_ONCE = 2**16  # rendered together: bounds the memory of large tiles and scales
_ACTIVATIONS_AT_ONCE = 2**26  # likewise, of layers wider than any that is of use


@dataclass(frozen=True)
class Siren:
    """Shape of a network that maps the coordinates of a tile to its values.

    Attributes:
        extent: samples of a tile along each axis at native resolution.
        outputs: values per point.
        features: number of Fourier features, a multiple of twice the number of axes.
        highest_frequency: of the Fourier features, in periods per tile; the lowest is 1.
        width: units of each hidden layer.
        hidden: number of hidden layers, each followed by a sine.
        frequency: factor inside the sine (30 in the paper that introduced the network).
    """

    extent: tuple[int, ...]
    outputs: int
    features: int
    highest_frequency: float
    width: int
    hidden: int
    frequency: float = 30.0

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of each layer, the bias not counted."""
        sizes = [self.features, *[self.width] * self.hidden, self.outputs]
        return tuple((after, before) for before, after in pairwise(sizes))

    @property
    def latents(self) -> int:
        """Number of weights and biases of one network."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self.layers)

    def initial_bounds(self) -> npt.NDArray[np.float64]:
        """Half widths of the uniform distribution of the initial weights, ``(latents,)``.

        First layer 1/inputs, later layers sqrt(6/inputs)/frequency (Sitzmann et al., section 3.2); a bias as its layer.
        """
        counts = [outputs * (inputs + 1) for outputs, inputs in self.layers]
        later = [math.sqrt(6 / inputs) / self.frequency for _, inputs in self.layers[1:]]
        return np.repeat([1 / self.features, *later], counts)

    def fourier_features(self, points: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """cos and sin of pi · frequency · coordinate, frequencies spaced logarithmically, for each axis.

        Args:
            points: coordinates in [-1, 1], ``(axes, points)``.

        Returns:
            ``(features, points)`` float64.
        """
        axes = len(self.extent)
        frequencies = np.geomspace(1, self.highest_frequency, self.features // (2 * axes))
        angles = math.pi * frequencies[None, :, None] * points[:, None, :]  # (axes, frequencies, points)
        angles = angles.reshape(-1, points.shape[-1])
        return np.concatenate([np.cos(angles), np.sin(angles)])

    def forward(self, weights: Any, features: Any) -> Any:
        """Values of many networks at the same points.

        Args:
            weights: ``(networks, latents)``, numpy or torch. Layer by layer, each a matrix
                ``(outputs, inputs + 1)`` in row-major order whose last column is the bias.
            features: ``(features, points)`` of the same library and type.

        Returns:
            ``(networks, outputs, points)``.
        """
        activations = features
        start = 0
        for number, (outputs, inputs) in enumerate(self.layers):
            count = outputs * (inputs + 1)
            # (networks, outputs, inputs + 1)
            layer = weights[:, start : start + count].reshape(-1, outputs, inputs + 1)
            # the sine's factor is applied to the small matrix, not to every point
            factor = self.frequency if number < self.hidden else 1.0
            layer = layer * factor
            activations = layer[..., :-1] @ activations + layer[..., -1:]  # (networks, outputs, points)
            if number < self.hidden:
                activations = _sine(activations)
            start += count
        return activations

    def render(self, weights: npt.NDArray[np.float64], scale: int = 1) -> npt.NDArray[np.float64]:
        """Values of tiles from the weights of their networks.

        Args:
            weights: ``(tiles, latents)`` float64.
            scale: samples per native sample and axis.

        Returns:
            ``(tiles, outputs, points)`` float64.
        """
        points = coordinates(self.extent, scale)
        values = np.empty((len(weights), self.outputs, points.shape[1]))
        step = max(1, min(_POINTS_AT_ONCE, _ACTIVATIONS_AT_ONCE // max(self.features, self.width)))
        for first in range(0, points.shape[1], step):
            some = slice(first, first + step)
            features = self.fourier_features(points[:, some])
            for tile in range(len(weights)):
                values[tile, :, some] = self.forward(weights[tile : tile + 1], features)[0]
        return values


def _sine(array: Any) -> Any:
    """Element-wise sine of a numpy array or a torch tensor: all else that a network computes is spelled alike in both.

    torch is looked up among the loaded modules and never imported, so that decoding stays free of it.
    """
    torch = sys.modules.get("torch")
    return torch.sin(array) if torch is not None and isinstance(array, torch.Tensor) else np.sin(array)
