"""Small convolution networks in whole numbers, exact in float32: the same results whatever the order of summation.

    inputs ──> 3x3 ──> [ + 3x3 ] ... ──> 3x3 ──> results
               clip      clip

An inner layer adds to what it is given; without that, such networks hardly learn anything.
Weights are of 8 bits, activations too, and what goes in is of 10 bits. No partial sum of a layer reaches 2^24, which is
made sure of from the weights before a network is used; so its products of matrices are exact in float32, in any order
and with any number of threads. Between layers sums are scaled by powers of two and rounded down, which is exact too.
Outside of the picture everything is 0, so that rows can be computed by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Edges = tuple[bool, bool]

SIDE = 3  # of a kernel
LARGEST_INPUT, LARGEST_ACTIVATION, LARGEST_RESULT = 511, 255, 1023
LARGEST_WEIGHT = 127
WEIGHT_BITS = 8  # of the fraction of weights, biases and conditions
MOST_CHANNELS, FEWEST_LAYERS, MOST_LAYERS = 256, 2, 8
_EXACT = 2**24  # up to here float32 has all whole numbers
_SCALE = np.float32(2.0**-WEIGHT_BITS)
_COLUMNS_AT_ONCE = 256  # of a block, whose layers stay in memory that is near
_PLACES_AT_ONCE = 1024  # whose neighbourhoods stay in a core's cache
_WEIGHTS, _BIAS, _CONDITIONS = "weights", "bias", "conditions"


@dataclass(frozen=True, eq=False)
class ConvolutionNetwork:
    """Layers of kernels of 3x3, of which the inner ones add to what they are given, with clipped activations between.

    Attributes:
        weights: of each layer, int8 ``(results, channels, 3, 3)``, in units of 2^-8.
        biases: of each layer, int32 ``(results,)``, likewise.
        conditions: of what is the same all over the picture to the sums of the first layer, int16
            ``(results, conditions)``, likewise.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    conditions: Array

    @staticmethod
    def among(stored: Mapping[str, Array], prefix: str) -> ConvolutionNetwork:
        """One of the networks of a prior, whose tensors are known to be those of such a network.

        Args:
            stored: tensors by name.
            prefix: with which the names of the network's tensors begin.
        """
        layers = range(sum(name.startswith(prefix) and name.endswith(_BIAS) for name in stored))
        return ConvolutionNetwork(
            tuple(stored[f"{prefix}{layer}.{_WEIGHTS}"] for layer in layers),
            tuple(stored[f"{prefix}{layer}.{_BIAS}"] for layer in layers),
            stored[f"{prefix}{_CONDITIONS}"],
        )

    def tensors(self, prefix: str) -> dict[str, Array]:
        """The inverse of :meth:`among`: the tensors by their names.

        Args:
            prefix: with which the names begin.
        """
        named = {f"{prefix}{layer}.{_WEIGHTS}": weights for layer, weights in enumerate(self.weights)}
        named |= {f"{prefix}{layer}.{_BIAS}": bias for layer, bias in enumerate(self.biases)}
        return named | {f"{prefix}{_CONDITIONS}": self.conditions}

    @property
    def reach(self) -> int:
        """Rows and columns to each side that a result depends on."""
        return len(self.weights) * (SIDE // 2)

    def __call__(self, inputs: Array, rows: slice, height: int, conditions: Sequence[int]) -> npt.NDArray[np.float32]:
        """Results of some rows of a picture.

        Args:
            inputs: whole numbers of at most ``LARGEST_INPUT``: of these rows and ``reach`` more on both sides, as far
                as there are any, ``(channels, rows, columns)``.
            rows: that are wanted, at least one.
            height: rows of the whole picture.
            conditions: whole numbers that are the same all over the picture.

        Returns:
            Whole numbers, ``(results, rows, columns)``.
        """
        first, last, width = max(rows.start - self.reach, 0), min(rows.stop + self.reach, height), inputs.shape[2]
        biases = [bias.astype(np.int64) for bias in self.biases]
        biases[0] = biases[0] + self.conditions.astype(np.int64) @ np.array(conditions, dtype=np.int64)
        scaled = [bias.astype(np.float32) * _SCALE for bias in biases]
        results = np.empty((len(biases[-1]), rows.stop - rows.start, width), dtype=np.float32)
        for begin in range(0, width, _COLUMNS_AT_ONCE):
            end = min(begin + _COLUMNS_AT_ONCE, width)
            left, right = max(begin - self.reach, 0), min(end + self.reach, width)
            # what of a picture goes on beyond what is given
            beyond = (first > 0, last < height), (left > 0, right < width)
            block, places = self._block(inputs[:, :, left:right], scaled, beyond), (rows.start - first, begin - left)
            top, side = (place - len(biases) * before for place, (before, _) in zip(places, beyond, strict=True))
            results[:, :, begin:end] = block[:, top : top + results.shape[1], side : side + end - begin]
        return results

    def _block(self, values: Array, biases: Sequence[Array], beyond: tuple[Edges, Edges]) -> npt.NDArray[np.float32]:
        """Results of a block, less at the sides beyond which the picture goes on."""
        inside = tuple(slice(int(before), -1 if after else None) for before, after in beyond)
        for number, (matrix, bias) in enumerate(zip(self._matrices, biases, strict=True)):
            results = _sums(matrix, bias, values, beyond)
            if number == len(biases) - 1:
                return np.clip(results, -LARGEST_RESULT, LARGEST_RESULT, out=results)
            if number:
                results += values[(slice(None), *inside)]
            values = np.clip(results, 0, LARGEST_ACTIVATION, out=results)
        raise AssertionError("a network has layers")

    @cached_property
    def _matrices(self) -> list[npt.NDArray[np.float32]]:
        """The weights of each layer, ``(results, 9 · channels)``; that they are not whole any more costs no bit."""
        columns = (weights.transpose(0, 2, 3, 1).reshape(len(weights), -1) for weights in self.weights)
        return [np.ascontiguousarray(matrix.astype(np.float32) * _SCALE) for matrix in columns]


def _sums(matrix: Array, bias: Array, values: Array, beyond: tuple[Edges, Edges]) -> npt.NDArray[np.float32]:
    """What a layer makes of a block, rounded down.

    Args:
        matrix: ``(results, 9 · channels)``.
        bias: ``(results,)``.
        values: ``(channels, rows, columns)``.
        beyond: whether the picture goes on above and below, left and right, so that what is at that side has no result.

    Returns:
        ``(results, rows less those, columns less those)``.
    """
    channels, *sizes = values.shape
    rows, columns = (size - sum(edges) for size, edges in zip(sizes, beyond, strict=True))
    # zeros around the picture; rows are one behind another, and a neighbour is at a fixed distance
    padded = np.zeros((channels, rows + 2, columns + 2), dtype=np.float32)
    top, side = (1 - before for before, _ in beyond)
    padded[:, top : top + sizes[0], side : side + sizes[1]] = values
    flat, stride = padded.reshape(channels, -1), columns + 2
    places = rows * stride - 2
    results = np.empty((len(matrix), rows * stride), dtype=np.float32)
    around = np.empty((SIDE * SIDE, channels, min(places, _PLACES_AT_ONCE)), dtype=np.float32)
    for first in range(0, places, _PLACES_AT_ONCE):
        last = min(first + _PLACES_AT_ONCE, places)
        neighbours = around[..., : last - first]
        for number in range(SIDE * SIDE):
            begin = first + number // SIDE * stride + number % SIDE
            neighbours[number] = flat[:, begin : begin + last - first]
        sums = matrix @ neighbours.reshape(SIDE * SIDE * channels, -1)
        sums += bias[:, None]
        np.floor(sums, out=results[:, first:last])
    inside: npt.NDArray[np.float32] = results.reshape(len(matrix), rows, stride)[..., :columns]
    return inside


def problem(
    stored: Mapping[str, Array], prefix: str, channels: int, results: int, most_conditions: Sequence[int]
) -> str | None:
    """Why tensors are not those of a network that is exact, or ``None``.

    Args:
        stored: tensors by name, all of which begin with the prefix.
        prefix: of their names.
        channels: of what goes in.
        results: how many there are.
        most_conditions: the largest magnitudes of the conditions.
    """
    layers = sum(name.endswith(f".{_BIAS}") for name in stored)
    wanted = {f"{prefix}{layer}.{part}" for layer in range(layers) for part in (_WEIGHTS, _BIAS)}
    if not FEWEST_LAYERS <= layers <= MOST_LAYERS or set(stored) != wanted | {f"{prefix}{_CONDITIONS}"}:
        return "the layers of its filter are not those of a filter"
    network = ConvolutionNetwork.among(stored, prefix)
    reason = _wrong_shape(network, channels, results, len(most_conditions))
    if reason is not None:
        return reason
    limits = [LARGEST_INPUT, *[LARGEST_ACTIVATION] * (layers - 1)]
    for layer, (weights, bias, limit) in enumerate(zip(network.weights, network.biases, limits, strict=True)):
        sums = np.abs(weights.astype(np.int64)).sum(axis=(1, 2, 3)) * limit + np.abs(bias.astype(np.int64))
        if layer == 0:
            sums += np.abs(network.conditions.astype(np.int64)) @ np.array(most_conditions, dtype=np.int64)
        if int(sums.max()) >= _EXACT:
            return f"the sums of layer {layer} of its filter may leave the numbers that are exact"
    return None


def _wrong_shape(network: ConvolutionNetwork, channels: int, results: int, conditions: int) -> str | None:
    """Which tensor of a network does not go with the others or has a wrong type, or ``None``."""
    last = len(network.weights) - 1
    for layer, (weights, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        made = results if layer == last else bias.size
        right = weights.shape == (made, channels, SIDE, SIDE) and bias.shape == (made,) and 0 < made <= MOST_CHANNELS
        if not right or weights.dtype != np.int8 or bias.dtype != np.int32:
            return f"layer {layer} of its filter has a wrong shape or type"
        if 0 < layer < last and made != channels:
            return f"layer {layer} of its filter cannot add to what it is given"
        channels = made
    right = network.conditions.shape == (len(network.biases[0]), conditions)
    return None if right and network.conditions.dtype == np.int16 else "the conditions of its filter do not fit"
