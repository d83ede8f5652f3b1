"""Learning the adaptation of a pyramid prior: its settings, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....learning import checkpoint
from ....learning.distributed import Device
from ....learning.estimate import ResourceEstimate, size_text
from ....learning.gradients import GradientPlan
from ....learning.job import Learning
from ....learning.report import CardText, Measurement, ReportStyle
from ....learning.trainer import TrainingPlan
from .adaptation import names_of_biases

if TYPE_CHECKING:
    from ....learning.trainer import Training
    from ..prior import PyramidPrior

Picture = npt.NDArray[np.uint8]

_LATENTS, _PICTURES = 64, 400
_BYTES, _OPERATIONS = 15e6, 3e9  # of a picture to learn from; of a step with it


@dataclass(frozen=True, kw_only=True)
class AdaptationPlan(GradientPlan):
    """Settings of the learning of an adaptation, from crops of pictures that are coded in simulation.

    Attributes:
        crop: side of a crop, in samples.
        latents: of a picture.
        pictures: that are learned from, at most, a crop of each.
    """

    crop: int
    latents: int = _LATENTS
    pictures: int = _PICTURES


class AdaptationLearning(Learning):
    """The learning of a pyramid prior's adaptation, whose networks stay as they are."""

    family = "pyramid"
    uses_torch = False
    style = ReportStyle(
        "cost",
        "of that with the networks as they are",
        "Cost of pictures with adapted networks, KL of the latents included, over the cost without, of the last steps "
        "and of held-out pictures, half of them with a shape of the noise",
        details={"bytes of latents": ".1f"},
    )

    def __init__(
        self,
        settings: AdaptationPlan,
        training: Sequence[Picture],
        held_out: Sequence[Picture],
        start: PyramidPrior,
        description: str,
        device: Device,
    ) -> None:
        """Prepare.

        Args:
            settings: of the learning.
            training: pictures of at least ``settings.crop`` samples a side, ``(height, width, 3)``.
            held_out: pictures to measure, of any size.
            start: prior whose networks are adapted; the settings have its id.
            description: of the data, for the card.
            device: where to compute.
        """
        self.settings, self._start, self.device, self.description = settings, start, device, description
        self._training, self._held_out = training, held_out
        digest = checkpoint.fingerprint(self.family, settings, [*training, *held_out])
        self.plan = TrainingPlan(settings.steps, settings.seed, digest)
        self._bytes = sum(picture.nbytes for picture in (*training, *held_out))
        count = min(settings.pictures, len(training))
        self.data = f"{count:,} images to learn from, {len(held_out):,} held out, {size_text(self._bytes)}"
        self.held_out = f"some of {len(held_out):,} crops of {settings.crop}x{settings.crop}, fitted anew every time"
        self.work = (
            f"{settings.steps:,} steps of {settings.signals} crops of {settings.crop}x{settings.crop}, "
            f"on from the prior {start.id:08x}"
        )

    def estimate(self) -> ResourceEstimate:
        """What it takes; see :class:`Learning`."""
        settings, stored = self.settings, self._start.stored_of_networks
        biases = sum(len(stored[name]) for name in names_of_biases(stored))
        networks = sum(tensor.nbytes for tensor in self._start.stored.values())
        return ResourceEstimate(
            networks + biases * (settings.latents + 1),
            self._bytes + min(settings.pictures, len(self._training)) * _BYTES,
            settings.steps,
            settings.signals * _OPERATIONS,
            min(settings.pictures, len(self._training)) * 4 * _OPERATIONS,
        )

    def training(self) -> Training:
        """What is trained; see :class:`Learning`."""
        from .training import AdaptationTraining

        return AdaptationTraining(self.settings, self.plan, self._training, self._held_out, self._start)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        """What is told of the prior; see :class:`Learning`."""
        latents = len(prior.adaptation.deviations)
        structure = (
            f"All that {self._start.name} ({self._start.id:08x}) has, and an adaptation: {latents} latents of a "
            f"picture, of {self.settings.latents} that were learned, on which the biases of the networks depend"
        )
        noise = f"noise levels {self.settings.noise_levels[0]} to {self.settings.noise_levels[1]}"
        return CardText(
            self.family, self.description, structure, f"{self.work}, {noise}", "bits per pixel, KL and classes"
        )
