"""Learning a siren prior: its options, its sizes, and how much there is to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DatasetError, UsageError
from ...learning import checkpoint, datasets
from ...learning.distributed import CPU, Device
from ...learning.estimate import WITH_TORCH, ResourceEstimate, size_text
from ...learning.job import Learning, LearningOption, LearningRequest
from ...learning.report import CardText, Measurement, ReportStyle
from ...learning.trainer import Training, TrainingPlan
from ...signals.signal import Kind
from .network import Siren
from .prior import LARGEST_NETWORK, SirenPrior, problem

Tiles = npt.NDArray[np.float32]

_FIRST_ROUND = 3  # the first round takes that many times the steps: all posteriors are still at the prior's mean
_USUAL_BETA = 2e-5  # to begin with, where it is adapted to a rate
_STATE_OF_A_WEIGHT = 6 * 4  # bytes: mean, deviation, and two moments of each
_OPERATIONS_OF_A_WEIGHT = 6.0  # and point: forwards, and backwards by activations and by weights

OPTIONS = (
    LearningOption(
        "rate",
        "number",
        "Bits per pixel, or per sample of sound, to aim at.",
        default_text="1, unless --beta is given",
        above=0,
    ),
    LearningOption("beta", "number", "Weight of the KL in the loss, in place of --rate.", above=0, default_text="none"),
    LearningOption("tile", "integer", "Side of a tile, in samples.", default_text="32, sound 512", least=1, most=2**20),
    LearningOption("tiles", "integer", "Training tiles at most.", default=1024, least=1),
    LearningOption("layers", "integer", "Hidden layers of the network.", default=2, least=1, most=16),
    LearningOption("width", "integer", "Units of a hidden layer.", default=16, least=1, most=4096),
    LearningOption("features", "integer", "Fourier features.", default=64, least=2, most=4096),
    LearningOption(
        "highest_frequency",
        "number",
        "Of the Fourier features, in periods per tile.",
        default_text="half the tile",
        least=1,
    ),
    LearningOption("sine", "number", "Factor inside the sine.", default=30.0, above=0),
    LearningOption("rounds", "integer", "Turns of fitting posteriors and updating the prior.", default=96, least=1),
    LearningOption("steps", "integer", "Gradient steps of a round.", default=40, least=1),
    LearningOption("points", "integer", "Points of a tile that a step looks at.", default=256, least=1),
    LearningOption("group_bits", "choice", "Bits of a group of weights.", default="16", choices=("8", "16")),
)


@dataclass(frozen=True)
class SirenPlan:
    """Settings of a siren prior's learning.

    Attributes:
        name: of the prior.
        kind: of the signals.
        network: shape of the network.
        bits_per_point: rate that beta is adapted to, expected information over points; or ``None`` if beta is given.
        beta: loss = mean squared error + beta · KL in nats; the starting value where it is adapted.
        rounds: turns of fitting and updating.
        steps: gradient steps per round.
        group_bits: of the groups that the prior asks for, 8 or 16.
        seed: of the initial weights and the random numbers.
        points: of a tile, drawn per step.
    """

    name: str
    kind: Kind
    network: Siren
    bits_per_point: float | None
    beta: float
    rounds: int
    steps: int
    group_bits: int
    seed: int
    points: int = 256

    @property
    def all_steps(self) -> int:
        """Gradient steps of all rounds."""
        return (self.rounds + _FIRST_ROUND - 1) * self.steps

    def round_of(self, number: int) -> int:
        """The round, from 0, of the step after so many steps."""
        return max(0, number // self.steps - (_FIRST_ROUND - 1))

    def ends_round(self, done: int) -> bool:
        """Whether a round is over after so many steps."""
        return done % self.steps == 0 and done >= _FIRST_ROUND * self.steps


class SirenLearning(Learning):
    """The learning of a siren prior."""

    family = "siren"
    style = ReportStyle(
        "PSNR",
        "dB",
        "PSNR of samples of the posteriors, before coding, and their rate (bits per point), after some of the rounds",
        least_is_best=False,
        details={"rate": ".4f", "held-out rate": ".4f", "beta": ".3g"},
    )
    held_out = "measured in every round"

    def __init__(
        self,
        settings: SirenPlan,
        training: Tiles,
        held_out: Tiles,
        description: str = "",
        device: Device = CPU,
    ) -> None:
        """Prepare.

        Args:
            settings: of the learning.
            training: values of tiles in [-1, 1], ``(tiles, outputs, points)``.
            held_out: tiles that are fitted along but do not enter the prior, of the same form.
            description: of the data, for the card.
            device: where to compute.

        Raises:
            UsageError: the settings cannot make a prior.
            DatasetError: there are no tiles.
        """
        if len(training) == 0 or len(held_out) == 0:
            raise DatasetError("the data set is too small: it needs at least one training and one held-out tile")
        check(settings)
        self.settings, self.device = settings, device
        self._training, self._held_out = training, held_out
        self._description = description
        digest = checkpoint.fingerprint(self.family, settings, [training, held_out])
        self.plan = TrainingPlan(settings.all_steps, settings.seed, digest)
        self._bytes = training.nbytes + held_out.nbytes
        self.data = f"{len(training):,} tiles to learn from, {len(held_out):,} held out, {size_text(self._bytes)}"
        self.work = f"{settings.rounds} rounds of {settings.steps} steps on {len(training) + len(held_out):,} tiles"

    def estimate(self) -> ResourceEstimate:
        settings, network = self.settings, self.settings.network
        tiles, points = len(self._training) + len(self._held_out), math.prod(network.extent)
        drawn = min(settings.points, points)
        return ResourceEstimate(
            12 * network.latents,
            WITH_TORCH + self._bytes + tiles * network.latents * _STATE_OF_A_WEIGHT,
            settings.all_steps,
            _OPERATIONS_OF_A_WEIGHT * tiles * drawn * network.latents,
            0.0,
        )

    def training(self) -> Training:
        from .training import SirenTraining

        return SirenTraining(self.settings, self._training, self._held_out, self.device.name)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        del measurements  # the last state is the prior
        network = self.settings.network
        structure = (
            f"Network: {network.features} Fourier features up to frequency {network.highest_frequency:g}, "
            f"{network.hidden} hidden layers of width {network.width}, {network.outputs} outputs: {network.latents} "
            f"weights, of which {np.count_nonzero(prior.information)} carry information and are coded in groups of "
            f"{prior.group_bits} bits. Loss: mean squared error + {prior.beta:.4g} · KL"
        )
        unit = "bits per pixel" if self.settings.kind == "image" else "bits per sample"
        work = f"{self.work}; the rate is {prior.bits_per_point:.4f} {unit}"
        data = (
            f"{self._description}; {len(self._training):,} training tiles of "
            f"{'x'.join(str(side) for side in network.extent)} and {len(self._held_out):,} held out"
        )
        return CardText(self.family, data, structure, work, unit)


def begin(request: LearningRequest) -> SirenLearning:
    """A learning from a data set of images or sounds; see :meth:`combiner_cli.family.Family.learning`."""
    values, kind = request.options, request.dataset.kind
    if values["rate"] is not None and values["beta"] is not None:
        raise UsageError("--rate and --beta exclude each other; give one of them")
    image = kind == "image"
    side = values["tile"] or (32 if image else 512)
    extent = (side, side) if image else (side,)
    if values["features"] % (2 * len(extent)):
        raise UsageError(f"--features must be a multiple of {2 * len(extent)} for {kind}s")
    network = Siren(
        extent,
        3 if image else 1,
        values["features"],
        values["highest_frequency"] or side / 2,
        values["width"],
        values["layers"],
        values["sine"],
    )
    training, held_out, signals = datasets.sample_tiles(
        request.dataset, extent, network.outputs, values["tiles"], request.held_out, request.seed
    )
    settings = SirenPlan(
        name=request.name,
        kind=kind,
        network=network,
        bits_per_point=None if values["beta"] else values["rate"] or 1.0,
        beta=values["beta"] or _USUAL_BETA,
        rounds=values["rounds"],
        steps=values["steps"],
        group_bits=int(values["group_bits"]),
        seed=request.seed,
        points=values["points"],
    )
    return SirenLearning(settings, training, held_out, f"{request.data}, {signals:,} {kind}s", request.device.settled())


def check(plan: SirenPlan) -> None:
    """Refuse, before any work, settings whose prior could not be loaded.

    Args:
        plan: settings.

    Raises:
        UsageError: they are such.
    """
    latents = plan.network.latents
    if latents <= LARGEST_NETWORK:
        ones = np.ones(latents, dtype=np.float32)
        information = ones.astype(np.int32)
        sketch = SirenPrior(plan.name, plan.kind, plan.network, ones, ones, information, plan.group_bits, plan.beta)
        if problem(sketch) is None:
            return
    raise UsageError(f"a prior cannot have these settings: {latents} weights; choose a smaller network, tile or beta")
