"""What families have in common whose networks are trained by gradient steps: options, settings, words and estimates.

Nothing here needs torch; :mod:`combiner_cli.learning.networks` has what does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import checkpoint, trainer
from .distributed import Device
from .estimate import WITH_TORCH, ResourceEstimate, size_text
from .job import Learning, LearningOption
from .report import Measurement
from .trainer import TrainingPlan, best_measurement

if TYPE_CHECKING:
    import torch

STEPS = LearningOption("steps", "integer", "Gradient steps in all.", default=6000, least=1)
START = LearningOption("start", "prior", "Learn on from this prior, a name or a file.", default_text="from nothing")
PATIENCE = LearningOption(
    "patience",
    "integer",
    "End when so many measurements of what is held out, each after 100 steps, brought no better one; the best state "
    "becomes the prior.",
    default_text="all steps, the last state",
    least=1,
)
SHARDS = LearningOption(
    "shards",
    "integer",
    "Parts of a step whose gradients are computed apart, for as many processes at most.",
    default_text="the number of processes that torchrun started",
    least=1,
    most=1024,
)
SHAPES = LearningOption(
    "shapes",
    "integer",
    "Percent of the steps in which the noise has a random shape, as files that are tuned to eyes and ears have.",
    default=0,
    least=0,
    most=100,
)
GRADIENT_OPTIONS = (STEPS, START, PATIENCE, SHARDS, SHAPES)  # of families whose networks are trained by gradient steps


@dataclass(frozen=True, kw_only=True)
class GradientPlan:
    """Settings of a learning by gradient steps.

    Attributes:
        name: of the prior.
        steps: gradient steps.
        signals: parts of signals that a step learns from.
        noise_levels: lowest and highest noise level.
        seed: of all random numbers.
        size: longer side or length of a typical signal, in samples.
        start: id of the prior whose networks are learned on, if any.
        shards: equal parts of a step's signals whose gradients are computed apart.
        patience: measurements without a better one after which learning ends, if it may end early.
        shapes: percent of the steps in which the noise has a random shape.
    """

    name: str
    steps: int
    signals: int
    noise_levels: tuple[int, int]
    seed: int
    size: int
    start: int | None = None
    shards: int = 1
    patience: int | None = None
    shapes: int = 0

    def is_shaped(self, generator: np.random.Generator) -> bool:
        """Whether the noise of a step has a shape; nothing is drawn where it never has.

        Args:
            generator: of the step.
        """
        return self.shapes > 0 and int(generator.integers(100)) < self.shapes


@dataclass(frozen=True)
class GradientCosts:
    """What steps take, measured in multiplications of matrices that take as long.

    Attributes:
        element: operations of a step for each pixel or sample.
        shard: operations of a step for each of its parts, however small.
        measured: operations for each pixel or sample of a batch that is measured.
        held_out: operations for each pixel or sample that is held out, at the end.
        signal: operations for each signal that is held out, at the end, however small.
        memory: bytes of a step for each pixel or sample.
    """

    element: float
    shard: float
    measured: float
    held_out: float
    signal: float
    memory: float


class GradientLearning(Learning):
    """A learning by gradient steps.

    Attributes:
        costs: what steps take.
        signal_words: what the signals are called.
    """

    costs: GradientCosts
    signal_words: str

    def __init__(
        self,
        plan: GradientPlan,
        training: Sequence[npt.NDArray[Any]],
        held_out: Sequence[npt.NDArray[Any]],
        description: str,
        device: Device,
    ) -> None:
        """Prepare.

        Args:
            plan: settings.
            training: signals to learn from.
            held_out: signals to measure.
            description: of the data, for the card.
            device: where to compute.
        """
        self.device, self.description = device, description
        self.signals, self.held_out_signals = training, held_out
        self._gradient_plan = plan
        digest = checkpoint.fingerprint(self.family, plan, [*training, *held_out])
        self.plan = TrainingPlan(plan.steps, plan.seed, digest, plan.shards, plan.patience)
        self._bytes = sum(signal.nbytes for signal in (*training, *held_out))
        self.data = (
            f"{len(training):,} {self.signal_words} to learn from, {len(held_out):,} held out, {size_text(self._bytes)}"
        )
        ending = f"; after {plan.patience} without a better one learning ends" if plan.patience else ""
        measured = trainer.HELD_OUT_BATCHES * plan.signals
        self.held_out = f"{measured} {self.part_words} measured every {trainer.MEASURED_STEPS} steps{ending}"
        self.work = f"{plan.steps:,} steps of {plan.signals} {self.part_words}"
        self.work += f" in {plan.shards} parts" if plan.shards > 1 else ""
        self.work += f", the noise shaped in {plan.shapes} % of them" if plan.shapes else ""
        self.work += "" if plan.start is None else f", on from the prior {plan.start:08x}"

    @property
    @abstractmethod
    def part_words(self) -> str:
        """What a step learns from, as ``"crops of 32x32"``."""

    @abstractmethod
    def elements(self) -> tuple[int, int]:
        """Pixels or samples of a step, and of what is held out."""

    @abstractmethod
    def new_networks(self) -> torch.nn.ModuleDict:
        """The networks before the first step."""

    def stored_bytes(self) -> int:
        """Size of what will be stored of the networks."""
        from .networks import quantised

        stored: Mapping[str, npt.NDArray[Any]] = quantised(self.new_networks())
        return sum(tensor.nbytes for tensor in stored.values())

    def estimate(self) -> ResourceEstimate:
        plan, costs = self._gradient_plan, self.costs
        of_step, held_out = self.elements()
        return ResourceEstimate(
            self.stored_bytes(),
            WITH_TORCH + self._bytes + of_step / plan.shards * costs.memory,
            plan.steps,
            (of_step * costs.element + plan.shards * costs.shard) / self.device.processes.size,
            held_out * costs.held_out
            + len(self.held_out_signals) * costs.signal
            + trainer.HELD_OUT_BATCHES * of_step * costs.measured,
        )

    def work_done(self, measurements: Sequence[Measurement]) -> str:
        """What was done, in words for the card."""
        plan, best = self._gradient_plan, best_measurement(measurements)
        done = f"{self.work}, noise levels {plan.noise_levels[0]} to {plan.noise_levels[1]}"
        if plan.patience is None or best is None:
            return done
        return f"{done}; the prior is the state of step {best.number}, the best one"


def signals_of_step(usual: int, shards: int) -> int:
    """As many as usual, or a few more: every part of a step has the same number."""
    return -(-usual // shards) * shards
