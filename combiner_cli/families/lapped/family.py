"""The lapped family: whole sounds as one network of cosines under windows that overlap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import DamagedFileError
from ...family import Configuration, Family, Prior, Tensors
from ...signals.signal import Format

if TYPE_CHECKING:
    from ...learning.job import Learning, LearningOption, LearningRequest


_FAR = 2.0  # octaves: what sounds of a sample rate are like is not known any more
_FARTHER = 1e-3  # what each octave beyond counts: of priors that are far away, a single one is the nearest


class LappedFamily(Family):
    """Whole sounds as one network of a lapped transform, whose moments are predicted from what is decoded."""

    name = "lapped"
    kinds = ("sound",)

    def load(self, name: str, configuration: Configuration, tensors: Tensors) -> Prior:
        """A prior from what is stored of it."""
        from ...stages.prior import RANGES, arguments_of
        from .prior import LappedPrior, problem

        plain = ("kind", "size", "parts_from", "sample_rate", "channels")
        arguments = arguments_of(self, configuration, plain, (*RANGES, "hops"))
        prior = LappedPrior(name=name, stored=dict(tensors), **arguments)
        reason = problem(prior)
        if reason is not None:
            raise DamagedFileError(reason)
        return prior

    def suits(self, configuration: Configuration, signal_format: Format) -> float | None:
        """Octaves between the sample rates of a sound and those of learning; all that is far away is about as far."""
        if signal_format.sample_rate is None:
            return None
        octaves = abs(math.log2(signal_format.sample_rate / configuration["sample_rate"]))
        return min(octaves, _FAR + _FARTHER * (octaves - _FAR))

    def options(self) -> tuple[LearningOption, ...]:
        """The options of learning that only this family has."""
        from . import learning

        return learning.OPTIONS

    def learning(self, request: LearningRequest) -> Learning:
        """A learning that is ready to begin."""
        from . import learning

        return learning.begin(request)


FAMILY = LappedFamily()
