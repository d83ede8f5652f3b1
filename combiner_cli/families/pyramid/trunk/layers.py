"""Layers of networks in whole numbers, whose matrix products are exact in float32.

Weights, features and activations are whole numbers. What a layer multiplies is bounded, and so are the magnitudes of
its weights: every product and partial sum stays below 2^24, so that float32 holds it exactly, in any order of summation
and with any number of threads. Matrices are kept as the multiples of powers of two that they stand for; to divide by
these rounds nothing. Between layers results are rounded down. (The idea: Ballé, Johnston, Minnen, "Integer networks for
data compression with latent-variable models", ICLR 2019.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ....system.threads import Scratch

Array = npt.NDArray[Any]

FEATURE_BITS = 7  # of a feature's fraction
LARGEST_FEATURE = 2047  # in steps
ACTIVATION_BITS = 6
LARGEST_ACTIVATION = 1023  # in steps; the smallest is 0
WEIGHT_BITS = 8  # of hidden layers
RESULT_WEIGHT_BITS = 12
RESULT_BITS = FEATURE_BITS + RESULT_WEIGHT_BITS  # of a result's fraction
BIAS_BITS = FEATURE_BITS + WEIGHT_BITS  # of the biases of hidden layers
LARGEST_STREAM = LARGEST_ACTIVATION << (BIAS_BITS - ACTIVATION_BITS)  # in units of biases
_EXACT = 2**24  # whole numbers up to here are exact in float32
_LOW_BITS = 6  # of the weights of results, which are multiplied in two parts
LARGEST_RESULT = 2.0**24  # in units of 2^-RESULT_BITS


@dataclass(frozen=True, eq=False)
class HiddenLayer:
    """A layer of activations: what it makes of activations, of features, or of both together.

    Attributes:
        activations: weights of activations in units of 2^-8, ``(outputs, inputs)``, or ``(outputs, inputs, 3, 3)`` of a
            convolution.
        features: weights of features likewise.
        bias: in units of 2^-15, ``(outputs,)``.
    """

    activations: Array | None
    features: Array | None
    bias: Array

    @property
    def outputs(self) -> int:
        """Number of activations that it makes."""
        return len(self.bias)

    def exact(self, beside: int = 0) -> bool:
        """Whether no sum can leave the range in which float32 is exact.

        Args:
            beside: the largest number that is added to the sums besides, in units of the biases.
        """
        sums = np.abs(self.bias.astype(np.int64)) + beside
        for matrix, largest in (
            (self.activations, 2 * LARGEST_ACTIVATION),
            (self.features, LARGEST_FEATURE),
        ):
            if matrix is not None:
                sums = sums + np.abs(matrix.astype(np.int64)).reshape(len(matrix), -1).sum(axis=1) * largest
        return bool(sums.max() < _EXACT)

    def sums(self, activations: Array | None, features: Array | None, scratch: Scratch) -> Array:
        """What activations and features come to before they are rounded, in steps of activations.

        Args:
            activations: ``(inputs, columns)`` float32.
            features: ``(inputs, columns)`` float32.
            scratch: gives the array of the results.
        """
        columns = (activations if activations is not None else features).shape[1]  # type: ignore[union-attr]
        total = scratch.take("sums", (self.outputs, columns), np.float32)
        if self._activations is not None and activations is not None:
            np.matmul(self._activations, activations, out=total)
        if self._features is not None and features is not None:
            if self._activations is None or activations is None:
                np.matmul(self._features, features, out=total)
            else:
                total += np.matmul(self._features, features, out=scratch.take("products", total.shape, np.float32))
        total += self._bias
        return total

    def __call__(self, activations: Array | None, features: Array | None, scratch: Scratch) -> Array:
        """The layer's activations, ``(outputs, columns)``; see :meth:`sums`."""
        return activated(self.sums(activations, features, scratch))

    @cached_property
    def _activations(self) -> Array | None:
        return None if self.activations is None else _float32(self.activations, -WEIGHT_BITS)

    @cached_property
    def _features(self) -> Array | None:
        bits = ACTIVATION_BITS - FEATURE_BITS - WEIGHT_BITS
        return None if self.features is None else _float32(self.features, bits)

    @cached_property
    def _bias(self) -> Array:
        return _float32(self.bias, ACTIVATION_BITS - BIAS_BITS)


@dataclass(frozen=True, eq=False)
class ResultLayer:
    """The last layer of a network, and a linear path around the hidden ones.

    Attributes:
        last: weights of activations in units of 2^-12, ``(results, hidden)``.
        linear: weights of features to the first results in units of 2^-12, ``(outputs, features)``.
        bias: in units of 2^-19, ``(results,)``.
    """

    last: Array
    linear: Array
    bias: Array

    def exact(self) -> bool:
        """Whether no sum can leave the range in which float32 is exact."""
        return all(
            np.abs(part.astype(np.float64)).sum(axis=1).max(initial=0) * largest < _EXACT
            for matrix, largest in ((self.last, LARGEST_ACTIVATION), (self.linear, LARGEST_FEATURE))
            for part in _parts(matrix)
        )

    def __call__(self, hidden: Array, features: Array, wanted: slice = slice(None)) -> Array:
        """Results in units of 2^-19, whole numbers in float64, ``(results, columns)``.

        Args:
            hidden: activations, ``(hidden, columns)`` float32.
            features: ``(features, columns)`` float32.
            wanted: which results are.
        """
        outputs = len(self.linear)
        results = _product(self._last[:, wanted], hidden)
        results *= 2.0 ** (FEATURE_BITS - ACTIVATION_BITS)
        results += self.bias[wanted, None]
        straight = range(len(self.bias))[wanted]
        count = max(0, min(outputs, straight.stop) - straight.start)
        if count:
            results[:count] += _product(self._linear[:, straight.start : straight.start + count], features)
        return np.clip(results, -LARGEST_RESULT, LARGEST_RESULT, out=results)

    @cached_property
    def _last(self) -> Array:
        return np.stack(_parts(self.last))

    @cached_property
    def _linear(self) -> Array:
        return np.stack(_parts(self.linear))


def _parts(matrix: Array) -> Sequence[Array]:
    """A matrix as the sum of one of multiples of 2^6, counted in these, and one of what is left."""
    whole = matrix.astype(np.int64)
    high = (whole + (1 << (_LOW_BITS - 1))) >> _LOW_BITS
    return high.astype(np.float32), (whole - (high << _LOW_BITS)).astype(np.float32)


def _product(parts: Array, values: Array) -> Array:
    """The product with a matrix that is given in two parts, in float64."""
    rows = parts.shape[1]
    products = np.matmul(parts.reshape(2 * rows, -1), values).astype(np.float64)
    total: Array = products[:rows] * 2.0**_LOW_BITS + products[rows:]
    return total


def activated(sums: Array) -> Array:
    """Activations from sums in steps of activations: rounded down and clipped, in place."""
    np.floor(sums, out=sums)
    np.maximum(sums, 0, out=sums)  # two steps take less time than one of numpy.clip
    return np.minimum(sums, LARGEST_ACTIVATION, out=sums)


def _float32(values: Array, octaves: int) -> Array:
    """Whole numbers times a power of two; a matrix, or a column of biases."""
    scaled = values.astype(np.float32) * np.float32(2.0**octaves)
    return scaled.reshape(len(values), -1)


def neighbourhoods(stream: Array, rows: slice, scratch: Scratch) -> Array:
    """What a 3x3 convolution multiplies at the units of some rows, ``(channels * 9, units)`` float32.

    Args:
        stream: with a margin of one unit of zeros, ``(channels, unit rows + 2, unit columns + 2)``.
        rows: of units.
        scratch: gives the array.
    """
    height, width = rows.stop - rows.start, stream.shape[2] - 2
    gathered = scratch.take("neighbourhoods", (len(stream), 3, 3, height, width), np.float32)
    for row in range(3):
        for column in range(3):
            gathered[:, row, column] = stream[:, rows.start + row : rows.stop + row, column : column + width]
    return gathered.reshape(len(stream) * 9, -1)
