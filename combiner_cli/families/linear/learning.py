"""Learning a mixture prior: its options, its sizes, and how much there is to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ...errors import DatasetError, UsageError
from ...learning import checkpoint, datasets
from ...learning.distributed import CPU
from ...learning.estimate import WITHOUT_TORCH, ResourceEstimate, size_text
from ...learning.job import Learning, LearningOption, LearningRequest
from ...learning.report import CardText, Measurement, ReportStyle
from ...learning.trainer import Training, TrainingPlan
from ...signals.signal import Kind
from .fitting.classes import FEWEST_TILES
from .neighbourhood import phases
from .network import Linear

Array = npt.NDArray[Any]

_KEPT_DIRECTIONS = 0.8  # of those of a class
_COPIES_OF_TILES = 4  # tiles, weights, surroundings, projections
_LEVELS_MEASURED = 9  # of noise, at the end
# measured, in multiplications of matrices that take as long
_SIMULATED = 2e6  # operations of a tile that is held out, at each of them, besides those of its classes
_PILOT_TILES, _PILOT = 4096, 40_000  # tiles that a pilot looks at, most of them; operations of each of their weights

RATE = LearningOption("rate", "number", "Bits per pixel, or per sample of sound, to aim at.", default=1.0, above=0)
HELP_OF_TILES = "Training tiles at most."

OPTIONS = (
    RATE,
    LearningOption("tile", "integer", "Side of a tile, in samples.", default_text="16, sound 128", least=1, most=2**20),
    LearningOption("tiles", "integer", HELP_OF_TILES, default=400_000, least=1),
    LearningOption("rounds", "integer", "Turns of assignment and update in each phase.", default=6, least=1),
    LearningOption("components", "integer", "Gaussians of the mixture.", default=16, least=1, most=4096),
    LearningOption(
        "covariance",
        "choice",
        "Of the weights within a Gaussian.",
        default="full",
        choices=("full", "diagonal"),
    ),
    LearningOption("dimensions", "integer", "Weights of a tile that are kept.", default=256, least=1, most=8192),
    LearningOption("context", "integer", "Dimensions of the surroundings.", default=96, least=0, most=4096),
    LearningOption(
        "reach",
        "integer",
        "Width of the surroundings, in samples.",
        default_text="3, sound 32",
        least=1,
        most=4096,
    ),
)


@dataclass(frozen=True)
class MixturePlan:
    """Settings of a mixture prior's learning.

    Attributes:
        name: of the prior.
        kind: of the signals.
        network: shape of the network.
        components: classes of each phase.
        covariance: of a class, ``"full"`` or ``"diagonal"`` in the projected weights.
        dimensions: of the projected weights.
        context: dimensions of the surroundings that a mean depends on.
        reach: width of the surroundings in samples.
        bits_per_point: rate that the noise variance is chosen for.
        rounds: turns of assignment and update in each phase.
        seed: of all random numbers.
        size: longer side of a typical signal.
    """

    name: str
    kind: Kind
    network: Linear
    components: int
    covariance: str
    dimensions: int
    context: int
    reach: int
    bits_per_point: float
    rounds: int
    seed: int
    size: int


class MixtureLearning(Learning):
    """The learning of a mixture prior."""

    family = "linear"
    uses_torch = False
    device = CPU
    style = ReportStyle(
        "cost",
        "bits per point",
        "Cost of a training tile (KL + squared error / (2 · s2), bits over its points, up to a constant)",
        step="round",
        details={"changed": ".1%", "smallest": ".0f"},
    )
    held_out = "measured at the end"

    def __init__(
        self,
        settings: MixturePlan,
        training: Sequence[Array],
        held_out: Sequence[Array],
        description: str = "",
    ) -> None:
        """Prepare.

        Args:
            settings: of the learning.
            training: values of signals in [-1, 1], arrays of ``(planes, outputs, *shape)`` with whole tiles.
            held_out: signals that do not enter the prior, of the same form, at least one.
            description: of the data, for the card.

        Raises:
            UsageError: the settings cannot make a prior.
            DatasetError: there are too few tiles.
        """
        check(settings, training)
        self.settings, self._training, self._held_out = settings, training, held_out
        self._description = description
        self._phases = phases(len(settings.network.extent))
        digest = checkpoint.fingerprint(self.family, settings, [*training, *held_out])
        self.plan = TrainingPlan(self._phases * settings.rounds, settings.seed, digest)
        self._bytes = sum(batch.nbytes for batch in training)
        planes, kept_out = (sum(len(batch) for batch in part) for part in (training, held_out))
        mirrored = " (with mirrored copies)" if settings.kind == "image" else ""
        kind = f"{settings.kind}s to learn from{mirrored}"
        self.data = f"{planes:,} {kind}, {kept_out:,} held out, {size_text(self._bytes)}"
        self.work = f"{settings.rounds} rounds in each of {self._phases} phases, {settings.components} classes"

    def estimate(self) -> ResourceEstimate:
        settings, network = self.settings, self.settings.network
        classes = settings.components * self._phases
        around = min(settings.context, settings.dimensions)
        halves = network.latents * settings.dimensions * 2 + around * settings.dimensions
        prior_bytes = 2 * halves * self._phases + classes * settings.dimensions * (settings.dimensions + 6)
        tiles = self._bytes / 4 / network.latents / self._phases
        held_out = sum(batch[0].size * len(batch) for batch in self._held_out) / network.latents
        of_class = 2 * tiles * _KEPT_DIRECTIONS * settings.dimensions**2
        return ResourceEstimate(
            prior_bytes,
            WITHOUT_TORCH + _COPIES_OF_TILES * self._bytes,
            self.plan.steps,
            settings.components * of_class,
            held_out * _LEVELS_MEASURED * (settings.components * of_class / tiles + _SIMULATED),
            min(tiles * self._phases, _PILOT_TILES) * network.latents * _PILOT,
            at_most=True,
        )

    def training(self) -> Training:
        from .training import MixtureTraining

        return MixtureTraining(self.settings, self._training, self._held_out)

    def card_text(self, prior: Any, measurements: tuple[Measurement, ...]) -> CardText:
        del measurements  # the last state is the prior
        settings, network = self.settings, self.settings.network
        structure = (
            f"Network: no hidden layer, {network.latents} cosine features of tiles of "
            f"{'x'.join(str(side) for side in network.extent)}, {settings.dimensions} directions of the learned "
            f"matrix. Mixture: {settings.components} classes for each of {self._phases} phases, {settings.covariance} "
            f"covariances, {len(prior.levels)} directions in all; the mean depends on "
            f"{prior.context_projection.shape[2]} dimensions of the {prior.reach} samples around a tile"
        )
        unit = "bits per pixel" if settings.kind == "image" else "bits per sample"
        return CardText(self.family, self._description, structure, self.work, unit)


def begin(request: LearningRequest) -> MixtureLearning:
    """A learning from a data set of images or sounds; see :meth:`combiner_cli.family.Family.learning`."""
    values, kind = request.options, request.dataset.kind
    image = kind == "image"
    side = values["tile"] or (16 if image else 128)
    network = Linear((side, side) if image else (side,), 3 if image else 1)
    sample = datasets.sample_signals(
        request.dataset, network.extent, network.outputs, values["tiles"], request.held_out, image
    )
    settings = MixturePlan(
        name=request.name,
        kind=kind,
        network=network,
        components=values["components"],
        covariance=values["covariance"],
        dimensions=min(values["dimensions"], network.latents),
        context=values["context"],
        reach=values["reach"] or (3 if image else 32),
        bits_per_point=values["rate"],
        rounds=values["rounds"],
        seed=request.seed,
        size=sample.size,
    )
    return MixtureLearning(settings, sample.training, sample.held_out, f"{request.data}, {sample.signals:,} {kind}s")


def check(plan: MixturePlan, training: Sequence[Array]) -> None:
    """Refuse, before any work, settings that cannot make a prior, or data of which there is too little.

    Args:
        plan: settings.
        training: values of signals, as for :class:`MixtureLearning`.

    Raises:
        UsageError: the settings are such.
        DatasetError: the data are.
    """
    if plan.covariance not in ("full", "diagonal"):
        raise UsageError(f"there is no covariance {plan.covariance}; choose full or diagonal")
    if plan.reach > min(plan.network.extent):
        raise UsageError(f"surroundings of {plan.reach} samples are wider than a tile; choose fewer")
    points = sum(math.prod((len(batch), *batch.shape[2:])) for batch in training)
    tiles = points // math.prod(plan.network.extent) // phases(len(plan.network.extent))
    if tiles < FEWEST_TILES * plan.components:
        raise DatasetError(
            f"the data set has {tiles} tiles per phase, {plan.components} components take at least "
            f"{FEWEST_TILES * plan.components}; give more data or choose fewer components"
        )
