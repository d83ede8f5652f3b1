"""A picture's own biases: a few latents with learned Gaussian priors, coded before everything else of a file.

The networks that predict moments are shared by all files. What one picture is like, adaptation latents say: their
products with a learned matrix are added to the biases of the networks (a linear map from latents to weights, as in He
et al., "RECOMBINER", ICLR 2024). The latents are coded group by group by relative entropy coding like those of
any stage. All is made of whole numbers, so that the adapted networks are the same on every machine.

Which networks they are does not matter here: they are a list of named biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....stages.class_stream import FREQUENCY_BITS, Symbols
from ....stages.moments import HIGHEST, LARGEST_VALUE, LOWEST, OCTAVE, Moments, StageId

Array = npt.NDArray[Any]

PREFIX = "adaptation."
STAGE = StageId(64, 0)  # of the latents: coarser than any level, and coded as coarse levels are
STAGE_NAME = "adaptation"
MOST_LATENTS = 256
MOST_EXPONENT = 40  # of a row of the matrix
_BIAS = "_bias"  # names of biases end so
_MIXING, _EXPONENTS, _DEVIATIONS = (PREFIX + name for name in ("mixing", "exponents", "deviations"))
_TENSORS = {_MIXING: np.int8, _EXPONENTS: np.int8, _DEVIATIONS: np.int16}
_LARGEST_BIAS = 2**31 - 1
_PRECISIONS = 81  # that a file chooses from
_USUAL_PRECISION = 40  # stands for that of the signals of learning
_PRECISIONS_PER_OCTAVE = 4
# of files that have no adaptation, and of those that have one, in 65536ths
_FLAGS = np.array([3 << (FREQUENCY_BITS - 2), 1 << (FREQUENCY_BITS - 2)], dtype=np.float64)[:, None]


@dataclass(frozen=True, eq=False)
class Coded:
    """What an encoder wants a file to say of a picture.

    Attributes:
        precision: how precisely, in quarters of an octave over the least.
        true: latents with which their posterior means come out as they should, in units of the usual noise,
            ``(latents,)``.
    """

    precision: int
    true: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Adaptation:
    """How biases depend on latents, and how latents are distributed.

    Attributes:
        biases: names of the tensors that are adapted, in the order of the matrix's rows.
        mixing: ``(biases of all tensors, latents)`` int8.
        exponents: power of two that the products of a row are multiplied by, to be in a bias's units, given latents
            in whole steps, ``(biases of all tensors,)`` int8.
        deviations: numbers of the latents' prior deviations less ``LOWEST``, over their usual noise, ``(latents,)``
            int16.
    """

    biases: tuple[str, ...]
    mixing: npt.NDArray[np.int8]
    exponents: npt.NDArray[np.int8]
    deviations: npt.NDArray[np.int16]

    @staticmethod
    def among(stored: Mapping[str, Array]) -> Adaptation | None:
        """The adaptation of a prior, if it has one.

        Args:
            stored: tensors of all its networks and of the adaptation by name.
        """
        if _MIXING not in stored:
            return None
        return Adaptation(names_of_biases(stored), stored[_MIXING], stored[_EXPONENTS], stored[_DEVIATIONS])

    def tensors(self) -> dict[str, Array]:
        """What a prior stores of it."""
        return {_MIXING: self.mixing, _EXPONENTS: self.exponents, _DEVIATIONS: self.deviations}

    def moments(self, precision: int) -> Moments:
        """Prior moments of the latents.

        Args:
            precision: of the file, in quarters of an octave over the least.
        """
        finer = (precision - _USUAL_PRECISION) * (OCTAVE // _PRECISIONS_PER_OCTAVE)
        noise = np.full(len(self.deviations), -finer, dtype=np.int16)
        deviations = np.minimum(self.deviations, HIGHEST - LOWEST)
        return Moments(np.zeros(len(noise)), deviations).with_noise(noise)

    def adapted(self, stored: Mapping[str, Array], latents: Array) -> dict[str, Array]:
        """The biases of a picture by the names of their tensors, int32.

        Args:
            stored: tensors of the networks by name.
            latents: in whole steps, ``(latents,)``.
        """
        # sums stay below 2^8 · 2^8 · 2^28, so that they are exact in any order
        sums = self.mixing.astype(np.float64) @ np.clip(latents, -LARGEST_VALUE, LARGEST_VALUE).astype(np.float64)
        added = np.floor(np.ldexp(sums, self.exponents.astype(np.int32)))
        biases, first = {}, 0
        for name in self.biases:
            usual = stored[name]
            more = added[first : first + len(usual)]
            biases[name] = np.clip(usual + more, -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int32)
            first += len(usual)
        return biases


def nearest_precision(octaves: float) -> int:
    """The number of the precision that is nearest to one in octaves of noise deviation over the usual one."""
    return min(max(round(octaves * _PRECISIONS_PER_OCTAVE) + _USUAL_PRECISION, 0), _PRECISIONS - 1)


def octaves_of_precision(number: int) -> float:
    """The inverse of :func:`nearest_precision`."""
    return (number - _USUAL_PRECISION) / _PRECISIONS_PER_OCTAVE


def names_of_biases(stored: Mapping[str, Array]) -> tuple[str, ...]:
    """The biases among stored tensors in the order in which they are adapted."""
    return tuple(sorted(name for name in stored if name.endswith(_BIAS) and not name.startswith(PREFIX)))


def exchange(
    adaptation: Adaptation, symbols: Symbols, weights: Callable[[Moments], Array], coded: Coded | None = None
) -> Array | None:
    """The latents of a file, for code that encoder and decoder share: the first that a file says.

    Args:
        adaptation: of the prior.
        symbols: of the stream of classes.
        weights: the weights of a stage with some moments, in whole steps.
        coded: what an encoder says; a decoder may be given anything.

    Returns:
        In whole steps, ``(latents,)``; ``None`` where the file does not adapt the networks.
    """
    if not symbols.exchange(int(coded is not None), _FLAGS):
        return None
    precision = symbols.exchange_number(coded.precision if coded else 0)
    return weights(adaptation.moments(precision))


def problem(stored: Mapping[str, Array], of_networks: Mapping[str, Array]) -> str | None:
    """Why the tensors of an adaptation cannot work, or ``None``.

    Args:
        stored: those of a prior whose names begin with the prefix.
        of_networks: those of the networks that are adapted.
    """
    if set(stored) != set(_TENSORS):
        return "its adaptation lacks tensors or has others"
    rows = sum(len(of_networks[name]) for name in names_of_biases(of_networks))
    latents = len(stored[_DEVIATIONS]) if stored[_DEVIATIONS].ndim == 1 else 0
    shapes = {_MIXING: (rows, latents), _EXPONENTS: (rows,), _DEVIATIONS: (latents,)}
    for name, kind in _TENSORS.items():
        if stored[name].shape != shapes[name] or stored[name].dtype != kind:
            return f"its tensor {name} has a wrong shape or type"
    if not 0 < latents <= MOST_LATENTS:
        return f"its adaptation has {latents} latents"
    if np.abs(stored[_EXPONENTS].astype(np.int64)).max() > MOST_EXPONENT:
        return "an exponent of its adaptation is out of range"
    if not ((stored[_DEVIATIONS] >= -1) & (stored[_DEVIATIONS] <= HIGHEST - LOWEST)).all():
        return "a deviation of its adaptation is out of range"
    return None
