"""The pyramid family: whole images as one network of wavelets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import DamagedFileError
from ...family import Configuration, Family, Prior, Tensors
from ...signals.signal import Format

if TYPE_CHECKING:
    from ...learning.job import Learning, LearningOption, LearningRequest


class PyramidFamily(Family):
    """Whole images as one network of wavelets, whose moments are predicted from what is decoded."""

    name = "pyramid"
    kinds = ("image",)

    def load(self, name: str, configuration: Configuration, tensors: Tensors) -> Prior:
        """A prior from what is stored of it."""
        from ...stages.prior import RANGES, arguments_of
        from .prior import PyramidPrior, problem
        from .trunk import prior as trunk

        arguments = arguments_of(self, configuration, ("kind", "size", "parts_from"), RANGES)
        prior: PyramidPrior
        if trunk.is_trunk(tensors):
            prior = trunk.TrunkPrior(name=name, stored=dict(tensors), **arguments)
            reason = trunk.problem(prior)
        else:
            prior = PyramidPrior(name=name, stored=dict(tensors), **arguments)
            reason = problem(prior)
        if reason is not None:
            raise DamagedFileError(reason)
        return prior

    def suits(self, configuration: Configuration, signal_format: Format) -> float | None:
        """Octaves between the longer sides of an image and of a typical one of learning."""
        if signal_format.kind != "image":
            return None
        return abs(math.log2(max(signal_format.shape) / configuration["size"]))

    def options(self) -> tuple[LearningOption, ...]:
        """The options of learning that only this family has."""
        from . import learning

        return learning.OPTIONS

    def learning(self, request: LearningRequest) -> Learning:
        """A learning that is ready to begin."""
        from . import learning

        return learning.begin(request)


FAMILY = PyramidFamily()
