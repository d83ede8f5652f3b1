"""Learning a pyramid prior: its options, the sizes of its networks, the crops that fit the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...learning import datasets
from ...learning.distributed import CPU, Device
from ...learning.gradients import (
    GRADIENT_OPTIONS,
    GradientCosts,
    GradientLearning,
    GradientPlan,
    signals_of_step,
)
from ...learning.job import Learning, LearningOption, LearningRequest
from ...learning.report import CardText, Measurement, ReportStyle
from .adaptation.learning import AdaptationLearning, AdaptationPlan
from .filtering.learning import FilterLearning, FilterPlan

if TYPE_CHECKING:
    import torch

    from ...learning.trainer import Training
    from .prior import PyramidPrior

Picture = npt.NDArray[np.uint8]
Units = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

_MOST_BYTES = 2**31  # of the pictures
_LARGEST_CROP, _CROP_MULTIPLE = 256, 16
_FEWEST_CROPS, _FEWEST_PIXELS = 6, 96 * 32**2  # of a step
_FINE: Units = ((96, 64), (48, 48), (64, 48))
_COARSE: Units = ((160, 96), (96, 64), (96, 64))
_NOISE_LEVELS = (4, 88)

_NETWORKS, _FILTER, _ADAPTATION = "networks", "filter", "adaptation"

OPTIONS = (
    *GRADIENT_OPTIONS,
    LearningOption(
        "part",
        "choice",
        "What to learn: the networks that predict moments, without anything else, a filter of the pictures that are "
        "decoded with the prior of --start, or how its networks are adapted to a picture.",
        default=_NETWORKS,
        choices=(_NETWORKS, _FILTER, _ADAPTATION),
    ),
    LearningOption(
        "crop",
        "integer",
        "Side of the crops that are learned from, in pixels; smaller images are left out.",
        default_text=f"{_LARGEST_CROP}, or what most images have",
        least=_CROP_MULTIPLE,
        most=2**15,
    ),
    LearningOption(
        "crops",
        "integer",
        "Crops of a step.",
        default_text=f"{_FEWEST_CROPS}, more where they are small",
        least=1,
        most=2**16,
    ),
)


@dataclass(frozen=True, kw_only=True)
class PyramidPlan(GradientPlan):
    """Settings of a pyramid prior's learning, from crops of pictures.

    Attributes:
        crop: side of a crop, in samples.
        fine: units of the hidden layers of the networks of the two finest levels: of the luma, the chroma, and those
            that predict activity.
        coarse: of all other levels.
    """

    crop: int
    fine: Units = _FINE
    coarse: Units = _COARSE


class PyramidLearning(GradientLearning):
    """The learning of a pyramid prior."""

    family = "pyramid"
    style = ReportStyle(
        "cost",
        "bits per picture element",
        "Cost of a picture (KL + class bits + squared error / (2 · s2), weighted, bits per picture element), of those "
        "of the last steps and of held-out ones",
    )
    signal_words = "images"
    costs = GradientCosts(element=17_000, shard=1.2e9, measured=8_000, held_out=280_000, signal=4e9, memory=350)

    def __init__(
        self,
        settings: PyramidPlan,
        training: Sequence[Picture],
        held_out: Sequence[Picture],
        description: str = "",
        device: Device = CPU,
        start: PyramidPrior | None = None,
    ) -> None:
        """Prepare.

        Args:
            settings: of the learning.
            training: pictures of at least ``settings.crop`` samples a side, ``(height, width, 3)``.
            held_out: pictures of any size to measure, likewise.
            description: of the data, for the card.
            device: where to compute.
            start: prior whose networks are learned on; the settings have its id.
        """
        self.settings, self._start = settings, start
        super().__init__(settings, training, held_out, description, device)

    @property
    def part_words(self) -> str:
        return f"crops of {self.settings.crop}x{self.settings.crop}"

    def elements(self) -> tuple[int, int]:
        pixels = sum(picture.shape[0] * picture.shape[1] for picture in self.held_out_signals)
        return self.settings.signals * self.settings.crop**2, pixels

    def new_networks(self) -> torch.nn.ModuleDict:
        from .training import new_networks

        return new_networks(self.settings)

    def training(self) -> Training:
        from .training import PyramidTraining

        return PyramidTraining(self.settings, self.plan, self.signals, self.held_out_signals, self.device, self._start)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        del prior  # says nothing that the settings do not
        structure = (
            f"Networks that predict moments and activity, two hidden layers each: {_units(self.settings.fine)} units "
            f"in the two finest levels, {_units(self.settings.coarse)} in the others (luma, chroma, activity)"
        )
        return CardText(
            self.family, self.description, structure, self.work_done(measurements), "bits per pixel, KL and classes"
        )


def begin(request: LearningRequest) -> Learning:
    """A learning from a data set of images; see :meth:`combiner_cli.family.Family.learning`."""
    values, processes = request.options, request.device.processes
    part = values["part"]
    if part != _NETWORKS and (values["start"] is None or values["shapes"]):
        raise UsageError(
            f"--part {part} takes a prior with --start, and no --shapes: half of its pictures have a shape"
        )
    crop = values["crop"] or datasets.usual_side(request.dataset, _LARGEST_CROP, _CROP_MULTIPLE)
    sample = datasets.sample_pictures(request.dataset, crop, request.held_out, _MOST_BYTES, request.seed)
    shards = values["shards"] or processes.size
    crops = values["crops"] or max(_FEWEST_CROPS, -(-_FEWEST_PIXELS // crop**2))
    start = values["start"]
    settings: dict[str, Any] = {
        "name": request.name,
        "steps": values["steps"],
        "signals": signals_of_step(crops, shards),
        "noise_levels": _NOISE_LEVELS,
        "seed": request.seed,
        "size": sample.size,
        "start": start.id if start else None,
        "shards": shards,
        "patience": values["patience"],
        "shapes": values["shapes"],
        "crop": crop,
    }
    pictures = sample.training, sample.held_out
    description, device = f"{request.data}, {sample.signals:,} images", request.device.settled()
    if part == _ADAPTATION:
        return AdaptationLearning(AdaptationPlan(**settings), *pictures, start, description, device)
    if part == _FILTER:
        return FilterLearning(FilterPlan(**settings), *pictures, start, description, device)
    return PyramidLearning(PyramidPlan(**settings), *pictures, description, device, start)


def _units(hidden: Units) -> str:
    return ", ".join(f"{first} and {second}" for first, second in hidden)
