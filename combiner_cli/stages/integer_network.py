"""Small networks in whole numbers: the same results on every machine, whatever the order of summation.

Weights, features and results are whole numbers in float64. Every product and partial sum stays below 2^53, so that a
matrix product is exact, in any order and with any number of threads. Between layers the results are scaled by powers of
two and rounded down, which is exact as well. (Ballé, Johnston, Minnen: "Integer networks for data compression with
latent-variable models", ICLR 2019, for the idea.)

Where the package was built with a compiler and the processor has AVX2, a network runs in C, in 16 and 32 bits, with the
same results in a fraction of the time; see :mod:`combiner_cli.system.native`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ..system import native
from ..system.threads import Scratch

try:
    from . import _integer_network
except ImportError:  # no compiler was at hand
    _integer_network = None  # type: ignore[assignment]

Array = npt.NDArray[Any]

FEATURE_BITS = 7  # of a feature's fraction
FEATURE_UNIT = 1 << FEATURE_BITS  # steps of a feature
FEATURE_LIMIT = 2047  # largest feature in steps, as a rule
LARGEST_FEATURE = 4095  # of any, for the code in C: energy classes of sounds reach 3840
WEIGHT_BITS = 12
HIDDEN_BITS = 10
LINEAR_BITS = WEIGHT_BITS + HIDDEN_BITS - FEATURE_BITS
RESULT_BITS = WEIGHT_BITS + HIDDEN_BITS
LARGEST_ACTIVATION = 16
LARGEST_RESULT = 2.0**27  # in units of 2^-RESULT_BITS
_BITS = {
    "first": WEIGHT_BITS,
    "first_bias": FEATURE_BITS + WEIGHT_BITS,
    "second": WEIGHT_BITS,
    "second_bias": RESULT_BITS,
    "third": WEIGHT_BITS,
    "third_bias": RESULT_BITS,
    "linear": LINEAR_BITS,
}
TENSORS = tuple(_BITS)
MOST_HIDDEN = 1024  # units of a layer, so that sums stay exact
_AT_ONCE = 4096  # columns whose activations stay in a core's cache
_MOST_OF_SUM = 2**31 - 1

# weights ``(rows, columns)`` int16, ends of parts of pairs of columns and bias ``(rows,)`` int32
Packed = tuple[npt.NDArray[np.int16], npt.NDArray[np.int32], npt.NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Two hidden layers with clipped linear activations, and a linear path around them; whole numbers of any type.

    Attributes:
        first: ``(hidden, features)`` in units of 2^-12.
        first_bias: ``(hidden,)`` in units of 2^-19.
        second: ``(hidden 2, hidden)`` in units of 2^-12.
        second_bias: ``(hidden 2,)`` in units of 2^-22.
        third: ``(results, hidden 2)`` in units of 2^-12.
        third_bias: ``(results,)`` in units of 2^-22.
        linear: of the first features to the first results, ``(outputs, relative)`` in units of 2^-15.
    """

    first: Array
    first_bias: Array
    second: Array
    second_bias: Array
    third: Array
    third_bias: Array
    linear: Array

    @staticmethod
    def among(stored: dict[str, Array], prefix: str) -> IntegerNetwork:
        """One of the networks of a prior.

        Args:
            stored: tensors of all its networks by name.
            prefix: with which the names of the network's tensors begin.
        """
        return IntegerNetwork(**{part: stored[prefix + part] for part in TENSORS})

    def __call__(self, features: Array, scratch: Scratch | None = None) -> Array:
        """The network's results for every column of features.

        Args:
            features: whole numbers in float64, in units of 2^-7, ``(features, columns)``.
            scratch: where activations are kept meanwhile.

        Returns:
            Whole numbers in units of 2^-22, ``(results, columns)``.
        """
        results = np.empty((len(self.third), features.shape[1]))
        if self._run_in_c(features, results):
            return results
        ready, scratch = self._ready, scratch or Scratch()
        outputs, relative = ready.linear.shape
        for begin in range(0, features.shape[1], _AT_ONCE):
            some = features[:, begin : begin + _AT_ONCE]
            hidden = _activated("first", ready.first, ready.first_bias, some, scratch)
            hidden = _activated("second", ready.second, ready.second_bias, hidden, scratch)
            part = results[:, begin : begin + _AT_ONCE]
            np.matmul(ready.third, hidden, out=part)
            part += ready.third_bias
            part[:outputs] += ready.linear @ some[:relative]
        np.clip(results, -LARGEST_RESULT, LARGEST_RESULT, out=results)
        return results

    def _run_in_c(self, features: Array, results: Array) -> bool:
        """Fill in the results, if that can be done: where no feature is beyond ``LARGEST_FEATURE``."""
        if _integer_network is None or not _integer_network.SUPPORTED or not native.vectors_wanted():
            return False
        rows_in_one_piece = features.dtype == np.float64 and features.strides[1] == features.itemsize
        return rows_in_one_piece and _integer_network.run(features, *self._packed, results)

    @cached_property
    def _packed(self) -> tuple[Packed, Packed, Packed, Packed]:
        """The layers as they are multiplied in C: the three, and the linear path."""
        largest = LARGEST_ACTIVATION << HIDDEN_BITS
        no_bias = np.zeros(len(self.linear), dtype=np.int32)
        return (
            _packed(self.first, self.first_bias, LARGEST_FEATURE),
            _packed(self.second, self.second_bias, largest),
            _packed(self.third, self.third_bias, largest),
            _packed(self.linear, no_bias, LARGEST_FEATURE),
        )

    @cached_property
    def _ready(self) -> IntegerNetwork:
        """The network in float64, matrix and bias of both hidden layers times the power of two that their sums are
        scaled by: exact.
        """
        first, second = 2.0 ** (HIDDEN_BITS - FEATURE_BITS - WEIGHT_BITS), 2.0**-WEIGHT_BITS
        scales = {"first": first, "first_bias": first, "second": second, "second_bias": second}
        scaled = {name: getattr(self, name).astype(np.float64) * scales.get(name, 1.0) for name in TENSORS}
        columns = {name: tensor[:, None] for name, tensor in scaled.items() if name.endswith("_bias")}
        return IntegerNetwork(**{**scaled, **columns})


def _packed(matrix: Array, bias: Array, largest: int) -> Packed:
    """A layer with even numbers of rows and columns, the pairs of columns in parts whose sums stay in 32 bits.

    Args:
        matrix: whole numbers of at most 16 bits, ``(rows, columns)``.
        bias: ``(rows,)``.
        largest: of what the matrix is multiplied with.
    """
    rows, columns = (size + size % 2 for size in matrix.shape)
    weights, even_bias = np.zeros((rows, columns), dtype=np.int16), np.zeros(rows, dtype=np.int32)
    weights[: matrix.shape[0], : matrix.shape[1]], even_bias[: len(bias)] = matrix, bias
    pairs = np.abs(weights.astype(np.int64)).reshape(rows, columns // 2, 2).sum(axis=2)
    ends, sums = [], np.zeros(rows, dtype=np.int64)
    for number, products in enumerate((pairs * largest).T):
        sums += products
        if sums.max() > _MOST_OF_SUM:
            ends.append(number)
            sums = products.copy()
    return weights, np.array([*ends, columns // 2], dtype=np.int32), even_bias


def _activated(name: str, matrix: Array, bias: Array, values: Array, scratch: Scratch) -> Array:
    """A hidden layer's activations, in an array that this thread keeps for the layer."""
    sums = scratch.take(name, (len(matrix), values.shape[1]))
    np.matmul(matrix, values, out=sums)
    sums += bias
    np.floor(sums, out=sums)
    np.clip(sums, 0, LARGEST_ACTIVATION << HIDDEN_BITS, out=sums)
    return sums


def octaves(values: Array) -> Array:
    """A logarithm to base 2 that is straight between powers of two, so that it is exact."""
    fraction, exponent = np.frexp(values)
    logarithm: Array = exponent + 2 * fraction - 2
    return logarithm


def quantised(tensors: dict[str, Array]) -> dict[str, Array]:
    """Tensors of a network as they are stored.

    Args:
        tensors: in floating point, by the names in ``TENSORS``.

    Returns:
        int16 weights and int32 biases by the same names.
    """
    stored = {}
    for name, tensor in tensors.items():
        kind = np.int32 if name.endswith("bias") else np.int16
        limits = np.iinfo(kind)
        scaled = np.rint(tensor.astype(np.float64) * 2.0 ** _BITS[name])
        stored[name] = np.clip(scaled, -limits.max, limits.max).astype(kind)
    return stored


def dequantised(name: str, tensor: Array) -> Array:
    """The inverse of :func:`quantised` for one tensor of a name in ``TENSORS``."""
    values: Array = tensor.astype(np.float64) * 2.0 ** -_BITS[name]
    return values


def fits(tensors: dict[str, Array | None], features: int, results: int, outputs: int, relative: int) -> bool:
    """Whether stored tensors are those of a network with so many features and results."""
    first, second = tensors["first"], tensors["second"]
    if first is None or second is None or first.ndim != 2 or second.ndim != 2:
        return False
    hidden, last = len(first), len(second)
    shapes = {
        "first": (hidden, features),
        "first_bias": (hidden,),
        "second": (last, hidden),
        "second_bias": (last,),
        "third": (results, last),
        "third_bias": (results,),
        "linear": (outputs, relative),
    }
    if not 0 < hidden <= MOST_HIDDEN or not 0 < last <= MOST_HIDDEN:
        return False
    for name, shape in shapes.items():
        tensor = tensors[name]
        kind = np.int32 if name.endswith("bias") else np.int16
        if tensor is None or tensor.shape != shape or tensor.dtype != kind:
            return False
    return True


def wrong_networks(stored: dict[str, Array], shapes: dict[str, tuple[int, int, int, int]]) -> str | None:
    """Why the tensors of networks cannot work, or ``None``.

    Args:
        stored: tensors by ``level.network.tensor``.
        shapes: features, results, outputs and relative features of the networks by ``level.network``.
    """
    for name, shape in shapes.items():
        if not fits({part: stored.get(f"{name}.{part}") for part in TENSORS}, *shape):
            return f"its network {name} has a wrong shape or type"
    wanted = {f"{name}.{part}" for name, part in product(shapes, TENSORS)}
    return None if set(stored) == wanted else "it holds tensors that it has no use for"
