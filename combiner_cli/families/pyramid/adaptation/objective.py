"""What it costs to code a picture as a function of what is added to the biases of the networks, and its gradient.

Weights do not change, so that the sums of the first layer and the linear path are computed once. Then a step takes two
small matrix products there and two back, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....stages.encoding.simulation import LEAST_REACH, MOST_REACH, REACH_PER_BIT
from ....stages.integer_network import LARGEST_ACTIVATION, TENSORS, dequantised
from ....system import threads
from .adaptation import names_of_biases
from .examples import Example

Array = npt.NDArray[np.float32]

_BIASES = ("first_bias", "second_bias", "third_bias")
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = -6.0, 20.0  # of predicted deviations
_MOST_BEYOND = 10.0  # bits of an error that candidates do not reach; it takes about that to widen a deviation
_BITS = 1 / math.log(2)  # of a natural unit of information


@dataclass(frozen=True, eq=False)
class BiasCost:
    """The cost of what one network was asked, by its biases.

    Attributes:
        example: what it was asked, without the features.
        tensors: of the network, in floating point.
        sums: of the first layer, its bias included, ``(hidden, columns)``.
        linear: of the linear path, ``(outputs, columns)``.
        weight: columns that each one stands for.
    """

    example: Example
    tensors: Mapping[str, Array]
    sums: Array
    linear: Array
    weight: float = 1.0

    @staticmethod
    def of(example: Example, stored: Mapping[str, npt.NDArray[Any]], weight: float = 1.0) -> BiasCost:
        """Prepare.

        Args:
            example: what a network was asked.
            stored: tensors of all networks by name.
            weight: columns that each one stands for.
        """
        tensors = {part: dequantised(part, stored[f"{example.name}.{part}"]).astype(np.float32) for part in TENSORS}
        sums = tensors["first"] @ example.features + tensors["first_bias"][:, None]
        linear = tensors["linear"] @ example.features[: tensors["linear"].shape[1]]
        return BiasCost(example, tensors, sums, linear, weight)

    def __call__(self, added: Sequence[Array], columns: slice = slice(None)) -> tuple[float, float, tuple[Array, ...]]:
        """Cost in bits, its part that a file pays for and is an error, and the gradient.

        Args:
            added: to the biases of the three layers.
            columns: that are asked for; they stand for all.

        Returns:
            Cost, the cost without what the means of units add to it, and gradients like ``added``.
        """
        cost, counted, back, scale = self._back(added, columns)
        return scale * cost, scale * counted, tuple(np.float32(scale) * part.sum(axis=1) for part in back)

    def squares(self) -> tuple[Array, ...]:
        """Sums of the squares of the gradients of single columns by the biases as they are: about a curvature."""
        none = [np.zeros(len(self.tensors[name]), dtype=np.float32) for name in _BIASES]
        _, _, back, scale = self._back(none, slice(None))
        return tuple(np.float32(scale) * (part**2).sum(axis=1) for part in back)

    def _back(self, added: Sequence[Array], columns: slice) -> tuple[float, float, tuple[Array, ...], float]:
        """Cost of some columns, what of it is counted, gradients of each by each bias, and what they stand for."""
        first, largest, tensors = self.sums[:, columns], np.float32(LARGEST_ACTIVATION), self.tensors
        scale = self.weight * self.sums.shape[1] / max(first.shape[1], 1)
        before = first + added[0][:, None]
        hidden = np.clip(before, 0, largest)
        between = tensors["second"] @ hidden
        between += (tensors["second_bias"] + added[1])[:, None]
        last = np.clip(between, 0, largest)
        results = tensors["third"] @ last
        results += (tensors["third_bias"] + added[2])[:, None]
        outputs = self.example.network.outputs
        results[:outputs] += self.linear[:, columns]
        cost, counted, back = self._cost(results, columns)
        of_last = (tensors["third"].T @ back) * ((between > 0) & (between < largest))
        of_first = (tensors["second"].T @ of_last) * ((before > 0) & (before < largest))
        return cost, counted, (of_first, of_last, back), scale

    def _cost(self, results: Array, columns: slice) -> tuple[float, float, Array]:
        """Cost of results, what of it is counted, and the gradient by the results."""
        example = self.example
        outputs, contrast, noise = example.network.outputs, example.contrast[columns], example.noise[columns]
        residual = example.true[:, columns] - results[:outputs] * contrast
        if example.classes is not None:
            return _cost_of_classes(residual, results[outputs:], example.classes[columns], contrast)
        octaves = results[outputs:] + example.octaves[columns]
        free = (octaves > _LOWEST_OCTAVE) & (octaves < _HIGHEST_OCTAVE)
        octaves = np.clip(octaves, _LOWEST_OCTAVE, _HIGHEST_OCTAVE) - noise
        unit = np.exp2(-noise)
        cost, by_residual, by_octaves = evidence(residual * unit, octaves)
        back = np.concatenate([by_residual * (-unit * contrast), by_octaves * free])
        return cost, cost, back


def _cost_of_classes(
    residual: Array, logits: Array, classes: npt.NDArray[np.int64], contrast: Array
) -> tuple[float, float, Array]:
    """Bits of classes, and about what the means leave to code, which is not counted; the gradient by the results."""
    powers = np.exp2(logits - logits.max(axis=0))
    shares = powers / powers.sum(axis=0)
    place = classes, np.arange(len(classes))
    entropy = float(-np.log2(np.maximum(shares[place], 1e-12)).sum())
    shares[place] -= 1
    energy = 1 + (residual**2).mean(axis=0)
    left = float(0.5 * len(residual) * np.log2(energy).sum())
    by_means = residual * (-_BITS * contrast / energy)
    return entropy + left, entropy, np.concatenate([by_means, shares])


def evidence(residual: Array, octaves: Array) -> tuple[float, Array, Array]:
    """KL + squared error / (2 · s2) of exact posteriors in bits; see :func:`combiner_cli.learning.networks.evidence`.

    Args:
        residual: of the weights from their prior means, in deviations of their noise.
        octaves: of their prior deviations.

    Returns:
        The sum, and its gradients by both.
    """
    prior = np.exp2(2 * octaves)
    whole = 1 + prior
    root = np.sqrt(whole)
    reach = np.minimum(LEAST_REACH + REACH_PER_BIT * 0.5 * np.log2(whole), MOST_REACH)
    share = prior / whole
    beyond = np.maximum(np.abs(residual) - reach * root, 0)
    stays = beyond**2 * share
    most = np.float32(_MOST_BEYOND * 2 * math.log(2))
    held = (stays < most) * beyond
    nats = np.log(whole) + residual**2 / whole + np.minimum(stays, most)
    by_residual = (residual / whole + held * share * np.sign(residual)) * _BITS
    by_whole = (1 - residual**2 / whole) / whole - held * share * reach / root + held * beyond / whole**2
    return float(nats.sum(dtype=np.float64)) * 0.5 * _BITS, by_residual, by_whole * prior


@dataclass(frozen=True, eq=False)
class Objective:
    """The cost of a picture by what is added to all biases.

    Attributes:
        costs: of the networks that were asked anything.
        places: of the biases of these networks among all of them, each of the three layers.
        size: number of all biases.
    """

    costs: tuple[BiasCost, ...]
    places: tuple[tuple[slice, ...], ...]
    size: int

    @staticmethod
    def of(examples: Sequence[Example], stored: Mapping[str, npt.NDArray[Any]], most_columns: int) -> Objective:
        """Prepare.

        Args:
            examples: what networks were asked.
            stored: tensors of all networks by name.
            most_columns: of an example that are looked at, evenly spread.
        """
        places = places_of(stored)

        def prepared(example: Example) -> BiasCost:
            columns = example.features.shape[1]
            step = -(-columns // most_columns)
            some = example.some(slice(step // 2, None, step))
            return BiasCost.of(some, stored, columns / some.features.shape[1])

        costs = tuple(threads.mapped(prepared, list(examples)))
        of_costs = tuple(tuple(places[f"{cost.example.name}.{part}"] for part in _BIASES) for cost in costs)
        return Objective(costs, of_costs, max((place.stop for place in places.values()), default=0))

    def __call__(self, added: Array, first: int = 0, step: int = 1) -> tuple[float, float, Array]:
        """Cost in bits, that without what the means of units add to it, and the gradient by what is added.

        Args:
            added: to all biases, ``(biases,)``.
            first: column to begin with.
            step: columns from one that is looked at to the next.
        """

        def one(item: tuple[BiasCost, tuple[slice, ...]]) -> tuple[float, float, tuple[Array, ...]]:
            cost, places = item
            sparse = step if cost.sums.shape[1] >= 64 * step else 1
            return cost([added[place] for place in places], slice(first % sparse, None, sparse))

        parts = threads.mapped(one, list(zip(self.costs, self.places, strict=True)))
        gradient = self._whole([part[2] for part in parts])
        return sum(part[0] for part in parts), sum(part[1] for part in parts), gradient

    def squares(self) -> Array:
        """About the curvature of the cost by each bias, ``(biases,)``; see :meth:`BiasCost.squares`."""
        return self._whole(threads.mapped(BiasCost.squares, list(self.costs)))

    def _whole(self, parts: Sequence[Sequence[Array]]) -> Array:
        """What is of the biases of all networks, those that were not asked included."""
        whole = np.zeros(self.size, dtype=np.float32)
        for values, places in zip(parts, self.places, strict=True):
            for place, some in zip(places, values, strict=True):
                whole[place] = some
        return whole


def places_of(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, slice]:
    """Where the biases of each tensor are among all of them, by the name of the tensor."""
    places, first = {}, 0
    for name in names_of_biases(stored):
        places[name] = slice(first, first + len(stored[name]))
        first = places[name].stop
    return places
