"""The identity of a prior: a digest of everything that decides how a file decodes."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt


def digest(configuration: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """SHA-256 of a configuration as sorted JSON and of the tensors' bytes, little-endian, ordered by name."""
    content = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for _, tensor in sorted(tensors.items()):
        content.update(np.ascontiguousarray(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)).data)
    return content.digest()


class Identified(ABC):
    """A prior, as what is the same in all families."""

    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""

    @abstractmethod
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything that decides how a file decodes."""
        return digest(self.configuration(), self.tensors())

    @property
    def id(self) -> int:
        """The 32 bits that a file carries."""
        return int.from_bytes(self.digest[:4], "big")

    @property
    def key(self) -> int:
        """The 64-bit key of the shared sampler."""
        return int.from_bytes(self.digest[:8], "big")


class ForManyRates(Identified):
    """A prior that serves a range of rates.

    Attributes:
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per point at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
    """

    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]

    @property
    def bits_per_point(self) -> float:
        """The prior's own rate, in the middle of those that it was learned for."""
        return math.sqrt(self.rates[0] * self.rates[1])

    def typical(self, bits_per_point: float) -> tuple[float, float]:
        """Code of the noise variance at which a typical signal takes a rate, and its mean squared error there.

        The rate, the noise variance and the error are about exponential in each other.
        """
        place = math.log(bits_per_point / self.rates[0]) / math.log(self.rates[1] / self.rates[0])
        code = self.noise_codes[0] + place * (self.noise_codes[1] - self.noise_codes[0])
        return code, self.errors[0] * (self.errors[1] / self.errors[0]) ** place
