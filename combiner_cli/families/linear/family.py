"""The linear family as the rest of the program sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import DamagedFileError
from ...family import Configuration, Family, Tensors
from ...signals.kinds import KINDS
from ...signals.signal import Format
from ...stages.prior import RANGES, arguments_of
from .network import Linear
from .prior import NAME, MixturePrior, problem

if TYPE_CHECKING:
    from ...learning.job import Learning, LearningOption, LearningRequest

_BEHIND = 1e-6  # octaves: of two priors for the same size, that of another family is the better


class LinearFamily(Family):
    """Tiles, each one a network without hidden layers, under a mixture of Gaussians."""

    name = NAME
    kinds = tuple(KINDS)

    def load(self, name: str, configuration: Configuration, tensors: Tensors) -> MixturePrior:
        """A prior from what is stored of it.

        Raises:
            DamagedFileError: such a prior cannot work.
        """
        arguments = arguments_of(self, configuration, ("kind", "network", "reach", "size"), RANGES)
        network = dict(arguments.pop("network"))
        network["extent"] = tuple(network["extent"])
        stored: dict[str, Any] = {**tensors}
        prior = MixturePrior(name=name, network=Linear(**network), **stored, **arguments)
        reason = problem(prior)
        if reason:
            raise DamagedFileError(reason)
        return prior

    def suits(self, configuration: Configuration, signal_format: Format) -> float | None:
        """How far a signal's longer side is from that of the signals that a prior was learned from."""
        if configuration["kind"] != signal_format.kind:
            return None
        return abs(math.log2(max(signal_format.shape) / configuration["size"])) + _BEHIND

    def options(self) -> tuple[LearningOption, ...]:
        """The options of learning that only this family has."""
        from . import learning

        return learning.OPTIONS

    def learning(self, request: LearningRequest) -> Learning:
        """A learning that is ready to begin; see :meth:`family.Family.learning`."""
        from . import learning

        return learning.begin(request)


FAMILY = LinearFamily()
