"""The siren family as the rest of the program sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import DamagedFileError
from ...family import Configuration, Family, Tensors
from ...signals.kinds import KINDS
from ...signals.signal import Format
from .network import Siren
from .prior import NAME, SirenPrior, problem

if TYPE_CHECKING:
    from ...learning.job import Learning, LearningOption, LearningRequest

_LAST_RESORT = 1000.0  # octaves behind all other families
_TOO_LARGE = 64.0  # octaves that a tile larger than the signal is behind one that fits


class SirenFamily(Family):
    """COMBINER as published: tiles, each one a network with hidden layers."""

    name = NAME
    kinds = tuple(KINDS)

    def load(self, name: str, configuration: Configuration, tensors: Tensors) -> SirenPrior:
        """A prior from what is stored of it.

        Raises:
            DamagedFileError: such a prior cannot work.
        """
        settings: dict[str, Any] = {**configuration}
        if settings.pop("family") != NAME:
            raise DamagedFileError("it belongs to another family")
        network = dict(settings.pop("network"))
        network["extent"] = tuple(network["extent"])
        stored: dict[str, Any] = {**tensors}
        prior = SirenPrior(name=name, network=Siren(**network), **stored, **settings)
        reason = problem(prior)
        if reason:
            raise DamagedFileError(reason)
        return prior

    def suits(self, configuration: Configuration, signal_format: Format) -> float | None:
        """How far a signal is from those of a prior: a last resort, with tiles as large as the longer side holds."""
        if configuration["kind"] != signal_format.kind:
            return None
        octaves = math.log2(max(signal_format.shape) / max(configuration["network"]["extent"]))
        return _LAST_RESORT + (octaves if octaves >= 0 else _TOO_LARGE - octaves)

    def options(self) -> tuple[LearningOption, ...]:
        """The options of learning that only this family has."""
        from . import learning

        return learning.OPTIONS

    def learning(self, request: LearningRequest) -> Learning:
        """A learning that is ready to begin; see :meth:`family.Family.learning`."""
        from . import learning

        return learning.begin(request)


FAMILY = SirenFamily()
