"""Learning the filter of a pyramid prior: its settings, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....learning.distributed import Device
from ....learning.gradients import GradientCosts, GradientLearning, GradientPlan
from ....learning.report import CardText, Measurement, ReportStyle

if TYPE_CHECKING:
    import torch

    from ....learning.trainer import Training
    from ..prior import PyramidPrior

Picture = npt.NDArray[np.uint8]

_CHANNELS, _LAYERS = 32, 4


@dataclass(frozen=True, kw_only=True)
class FilterPlan(GradientPlan):
    """Settings of the learning of a filter, from crops of pictures that are decoded in simulation.

    Attributes:
        crop: side of a crop, in samples.
        channels: of the layers between the first and the last one.
        layers: of the network.
    """

    crop: int
    channels: int = _CHANNELS
    layers: int = _LAYERS


class FilterLearning(GradientLearning):
    """The learning of a pyramid prior's filter, whose networks that predict moments stay as they are."""

    family = "pyramid"
    style = ReportStyle(
        "error",
        "of the unfiltered picture's",
        "Squared error of filtered pictures over that of the same pictures without the filter, of the last steps and "
        "of held-out ones, half of them with a shape of the noise",
        details={"gain in dB": ".3f"},
    )
    signal_words = "images"
    # those of simulated pictures are in the element's: one is made every few steps
    costs = GradientCosts(element=80_000, shard=3e8, measured=20_000, held_out=280_000, signal=4e9, memory=2_000)

    def __init__(
        self,
        settings: FilterPlan,
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
            start: prior whose pictures are to be filtered; the settings have its id.
            description: of the data, for the card.
            device: where to compute.
        """
        self.settings, self._start = settings, start
        super().__init__(settings, training, held_out, description, device)

    @property
    def part_words(self) -> str:
        return f"parts of crops of {self.settings.crop}x{self.settings.crop}"

    def elements(self) -> tuple[int, int]:
        from .training import PART

        pixels = sum(picture.shape[0] * picture.shape[1] for picture in self.held_out_signals)
        return self.settings.signals * min(self.settings.crop, 2 * PART) ** 2, pixels

    def new_networks(self) -> torch.nn.ModuleDict:
        from .training import new_networks

        return new_networks(self.settings)

    def stored_bytes(self) -> int:
        of_networks = sum(tensor.nbytes for tensor in self._start.stored_but_filter.values())
        return of_networks + sum(tensor.numel() for tensor in self.new_networks().parameters())

    def training(self) -> Training:
        from .training import FilterTraining

        return FilterTraining(self.settings, self.plan, self.signals, self.held_out_signals, self.device, self._start)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        del prior  # says nothing that the settings do not
        plan = self.settings
        structure = (
            f"The networks of {self._start.name} ({self._start.id:08x}), which predict moments and activity, and a "
            f"filter of decoded pictures: {plan.layers} layers of 3x3 positions, {plan.channels} channels between them"
        )
        return CardText(
            self.family, self.description, structure, self.work_done(measurements), "bits per pixel, KL and classes"
        )
