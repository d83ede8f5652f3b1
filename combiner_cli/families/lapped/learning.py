"""Learning a lapped prior: its options, the sizes of its networks, the stretches that fit the recordings."""

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
from ...learning.job import LearningOption, LearningRequest
from ...learning.report import CardText, Measurement, ReportStyle
from .features import BAND
from .transform import CHANNELS, LARGEST_HOP, MOST_HOPS, principal_angle, rotation

if TYPE_CHECKING:
    import torch

    from ...learning.trainer import Training
    from .prior import LappedPrior

Array = npt.NDArray[Any]

_MOST_BYTES = 2**31  # of the recordings
_FEWEST_STRETCHES, _FEWEST_SAMPLES = 6, 12 * 16_384  # of a step
_USUAL_HOP = 256
_NOISE_LEVELS = (8, 88)

OPTIONS = (
    *GRADIENT_OPTIONS,
    LearningOption(
        "hop",
        "integer",
        "Samples between frames; several let the encoder choose.",
        default_text=str(_USUAL_HOP),
        least=2 * BAND,
        most=LARGEST_HOP,
        several=True,
    ),
    LearningOption(
        "sample_rate",
        "integer",
        "In Hz; what has another one is resampled.",
        default_text="that of the first recording",
        least=1000,
        most=768_000,
    ),
)


@dataclass(frozen=True, kw_only=True)
class LappedPlan(GradientPlan):
    """Settings of a lapped prior's learning, from stretches of recordings.

    Attributes:
        length: of a stretch, in samples.
        hops: samples between frames, one of them drawn for each step.
        sample_rate: of the recordings, in Hz.
        channels: 2 where second channels are learned.
        detail: units of the hidden layers of the networks that predict moments.
        activity: of those that predict activity.
    """

    length: int
    hops: tuple[int, ...]
    sample_rate: int
    channels: int
    detail: tuple[int, int] = (64, 32)
    activity: tuple[int, int] = (32, 32)


class LappedLearning(GradientLearning):
    """The learning of a lapped prior."""

    family = "lapped"
    style = ReportStyle(
        "cost",
        "bits per weight",
        "Cost of a stretch (KL + class bits + squared error / (2 · s2), bits per weight), of those of the last steps "
        "and of held-out ones",
    )
    signal_words = "sounds"
    costs = GradientCosts(element=12_000, shard=0.8e9, measured=6_000, held_out=100_000, signal=1e9, memory=900)

    def __init__(
        self,
        settings: LappedPlan,
        training: Sequence[Array],
        held_out: Sequence[Array],
        description: str = "",
        device: Device = CPU,
        start: LappedPrior | None = None,
    ) -> None:
        """Prepare.

        Args:
            settings: of the learning.
            training: recordings, ``(channels, samples)`` float32 in [-1, 1], pairs as their first and second channel
                are coded.
            held_out: recordings to measure.
            description: of the data, for the card.
            device: where to compute.
            start: prior whose networks are learned on; the settings have its id.
        """
        self.settings, self._start = settings, start
        super().__init__(settings, training, held_out, description, device)
        self.data += f" at {settings.sample_rate} Hz"

    @property
    def part_words(self) -> str:
        return f"stretches of {self.settings.length:,} samples"

    def elements(self) -> tuple[int, int]:
        samples = self.settings.signals * self.settings.length * self.settings.channels
        return samples, sum(recording.size for recording in self.held_out_signals)

    def new_networks(self) -> torch.nn.ModuleDict:
        from .training import new_networks

        return new_networks(self.settings)

    def training(self) -> Training:
        from .training import LappedTraining

        return LappedTraining(self.settings, self.plan, self.signals, self.held_out_signals, self.device, self._start)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        del prior  # says nothing that the settings do not
        settings = self.settings
        channels = "single channels and pairs" if settings.channels > 1 else "single channels"
        hops = " or ".join(str(hop) for hop in settings.hops)
        units = ", ".join(f"{first} and {second}" for first, second in (settings.detail, settings.activity))
        return CardText(
            self.family,
            f"{self.description}; {channels} at {settings.sample_rate} Hz",
            f"Frames of {hops} samples. Networks that predict moments and activity, two hidden layers each: {units} "
            "units",
            self.work_done(measurements),
            "bits per sample instant, KL and classes",
            settings.sample_rate,
        )


def begin(request: LearningRequest) -> LappedLearning:
    """A learning from a data set of sounds; see :meth:`combiner_cli.family.Family.learning`."""
    values, processes = request.options, request.device.processes
    hops = values["hop"] or (_USUAL_HOP,)
    check_hops(hops)
    sample = datasets.sample_recordings(request.dataset, values["sample_rate"], request.held_out, _MOST_BYTES, _turned)
    length = sample.sample_rate * 128 // 125  # about a second; 64 frames of 256 samples at 16 kHz
    shards, start = values["shards"] or processes.size, values["start"]
    settings = LappedPlan(
        name=request.name,
        steps=values["steps"],
        signals=signals_of_step(max(_FEWEST_STRETCHES, _FEWEST_SAMPLES // length), shards),
        noise_levels=_NOISE_LEVELS,
        seed=request.seed,
        size=sample.size,
        start=start.id if start else None,
        shards=shards,
        patience=values["patience"],
        length=length,
        hops=hops,
        sample_rate=sample.sample_rate,
        channels=max(len(recording) for recording in sample.training),
        shapes=values["shapes"],
    )
    description = f"{request.data}, {sample.signals:,} sounds"
    return LappedLearning(settings, sample.training, sample.held_out, description, request.device.settled(), start)


def check_hops(hops: Sequence[int]) -> None:
    """Refuse hops that a transform cannot have, or more of them than a prior can.

    Args:
        hops: samples between frames.

    Raises:
        UsageError: there is one, or there are.
    """
    if len(hops) > MOST_HOPS:
        raise UsageError(f"a prior has {MOST_HOPS} hops at most, not {len(hops)}")
    for hop in hops:
        if hop % (2 * BAND) or not 2 * BAND <= hop <= LARGEST_HOP:
            raise UsageError(f"a hop is a multiple of {2 * BAND} up to {LARGEST_HOP}, unlike {hop}")


def _turned(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """A pair of channels as it is coded, ``(samples, channels)``; a single one as it is."""
    if samples.shape[1] != CHANNELS:
        return samples
    turned: npt.NDArray[np.floating] = samples @ rotation(principal_angle(samples)).T
    return turned
