"""A learning from the data set to the prior: what it may be asked for, what a family makes of that, and the work.

    begin(family, request) ──> Learning: estimate, plan, style ──> run(...) ──> LearningResult: prior, curves, card
                               (of the family)                       trainer

The module imports no torch; what a family trains does, when it is made.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DatasetError, UsageError
from . import report
from .checkpoint import CheckpointFile
from .distributed import CPU, Device
from .estimate import ResourceEstimate
from .report import CardText, Curves, Measurement, OperatingPoint, ReportStyle
from .trainer import ProgressListener, Training, TrainingPlan, best_measurement, train

if TYPE_CHECKING:
    from ..family import Family, Prior
    from .datasets import Dataset

_TIMED_STEPS = 2
_PLOT_WIDTH, _PLOT_HEIGHT = 78, 14  # of a card without a picture, in characters


@dataclass(frozen=True)
class LearningOption:
    """An option of learning that some families have.

    Attributes:
        name: by which a request has its value, as ``"sample_rate"``; on the command line ``--sample-rate``.
        type: of its value; the value of ``"prior"`` is a prior of the family.
        help: what it does, in a sentence.
        default: where none is given; with ``None`` the family chooses.
        default_text: what is told of the default where ``default`` alone does not say it.
        least: the lowest value.
        most: the highest value.
        above: a value that is too low itself.
        choices: the values of a ``"choice"``.
        several: whether it can be given several times; the value is a tuple.
    """

    name: str
    type: Literal["integer", "number", "choice", "prior"]
    help: str
    default: int | float | str | None = None
    default_text: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    several: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    def checked(self, value: Any) -> Any:
        """A value, if it is one that the option can have.

        Args:
            value: or a sequence of them, where there may be several.

        Raises:
            UsageError: it is none.
        """
        if self.several:
            return tuple(self._checked(one) for one in (value if isinstance(value, list | tuple) else [value]))
        return self._checked(value)

    def _checked(self, value: Any) -> Any:
        if self.type == "prior":
            return value
        if self.type == "choice":
            if value not in self.choices:
                raise UsageError(f"{self.flag} is one of {', '.join(self.choices)}, not {value}")
            return value
        words = "a whole number" if self.type == "integer" else "a number"
        kinds = int if self.type == "integer" else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            raise UsageError(f"{self.flag} takes {words}, not {value}")
        if self.least is not None and value < self.least:
            raise UsageError(f"{self.flag} takes {words} of at least {self.least:g}, not {value}")
        if self.most is not None and value > self.most:
            raise UsageError(f"{self.flag} takes {words} of at most {self.most:g}, not {value}")
        if self.above is not None and value <= self.above:
            raise UsageError(f"{self.flag} takes {words} above {self.above:g}, not {value}")
        return value


@dataclass(frozen=True, eq=False)
class LearningRequest:
    """What is to be learned, and how.

    Attributes:
        name: of the prior.
        dataset: to learn from.
        held_out: percent of the signals that nothing is learned from, 1 to 50.
        seed: of all random numbers.
        description: of the data, for the card; ``None`` for the name of their folder.
        device: where to compute.
        options: values by the names of the family's options.
    """

    name: str
    dataset: Dataset
    held_out: int = 5
    seed: int = 0
    description: str | None = None
    device: Device = CPU
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """The data in words, as they are described or called."""
        return self.description or self.dataset.source.resolve().name


class Learning(ABC):
    """A learning that is ready to begin.

    Attributes:
        family: name of the prior's family.
        plan: how far it goes.
        style: how its measurements are told.
        device: where it takes place.
        data: what is learned from, in words.
        held_out: what is measured, in words.
        work: what is done, in words.
        uses_torch: whether it computes with torch.
    """

    family: str
    plan: TrainingPlan
    style: ReportStyle
    device: Device
    data: str
    held_out: str
    work: str
    uses_torch: bool = True

    @abstractmethod
    def estimate(self) -> ResourceEstimate:
        """What the learning takes, from operations that are counted."""

    @abstractmethod
    def training(self) -> Training:
        """What is trained, at its beginning; a new one every time."""

    @abstractmethod
    def card_text(self, prior: Prior, measurements: tuple[Measurement, ...]) -> CardText:
        """What is told of a learned prior.

        Args:
            prior: finished.
            measurements: of all steps.
        """


@dataclass(frozen=True, eq=False)
class LearningResult:
    """A learned prior, and what was measured on the way.

    Attributes:
        prior: to save.
        measurements: of all steps, those before a resumption included.
        points: rates and PSNR of held-out signals over the range of the prior, before coding.
        style: how the measurements are told.
        text: for the card.
        remark: what else people should know, in a line; ``None`` for nothing.
    """

    prior: Prior
    measurements: tuple[Measurement, ...]
    points: tuple[OperatingPoint, ...]
    style: ReportStyle
    text: CardText
    remark: str | None = None

    @property
    def curves(self) -> Curves:
        """The course of the learning."""
        return report.curves_of(self.style, self.measurements)

    def card(self, command: str, spent: str, picture: str | None = None) -> str:
        """The card of the prior, a Markdown page.

        Args:
            command: that made it.
            spent: time and memory of the last run, in words.
            picture: address of a picture of the curves; without one they are drawn in characters.
        """
        quantity = f"{self.curves.quantity}, by {self.style.step}"
        drawn = report.drawn(self.curves, _PLOT_WIDTH, _PLOT_HEIGHT)
        plot = "\n".join(["```", report.legend(self.curves), *drawn, "```"])
        plot = plot if picture is None else f"![{quantity}]({picture})"
        return report.card(self.prior, self.text, self.style, self.measurements, self.points, command, spent, plot)


def completed(options: Iterable[LearningOption], given: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The values of all options of a family: those that are given, and the defaults of the others.

    Args:
        options: of the family.
        given: values by name; ``None`` and an empty tuple stand for no value.
        family: its name.

    Raises:
        UsageError: the family has no such option, or the option no such value.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name not in known:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag} does not go with --family {family}; see combiner learn-prior --family {family} -h"
            )
        values[name] = known[name].checked(value)
    return values


def begin(family: Family, request: LearningRequest) -> Learning:
    """A learning that is ready to begin.

    Args:
        family: that is learned.
        request: with the options that were given; the others get their defaults.

    Raises:
        UsageError: an option is none of the family's or out of range, or two of them do not go together.
        DatasetError: nothing can be learned from the data set with these options.
    """
    values = completed(family.options(), request.options, family.name)
    dataset, processes = request.dataset, request.device.processes
    if dataset.kind not in family.kinds:
        kinds = " and ".join(f"{kind}s" for kind in family.kinds)
        raise DatasetError(f"{dataset.source} holds {dataset.kind}s; the {family.name} family is for {kinds}")
    if processes.size > 1 and "shards" not in values:
        raise UsageError(
            f"a {family.name} prior is learned by one process; start combiner without torchrun, or choose --family "
            "pyramid or lapped"
        )
    if values.get("shards") and values["shards"] % processes.size:
        raise UsageError(f"--shards {values['shards']} cannot be shared by {processes.size} processes; give a multiple")
    start = values.get("start")
    if start is not None and start.family.name != family.name:
        raise UsageError(f"--start {start.name} is of the {start.family.name} family; it goes on with that one only")
    return family.learning(replace(request, options=values))


def timed(learning: Learning) -> ResourceEstimate:
    """What a learning takes here and now: some steps are taken, and forgotten.

    Args:
        learning: whose steps are timed where that is quick; other estimates stay as they are counted.
    """
    estimate = learning.estimate()
    if not learning.uses_torch:  # a step is a whole round
        return estimate
    with learning.device.in_use(uses_torch=True):
        training = learning.training()
        training.step(0)  # which takes longer than the others
        clock = time.perf_counter()
        for number in range(1, 1 + _TIMED_STEPS):  # as many in every process
            training.step(number)
        seconds = (time.perf_counter() - clock) / _TIMED_STEPS
    return estimate.at_pace(seconds)


def run(
    learning: Learning, listener: ProgressListener | None = None, checkpoint: CheckpointFile | None = None
) -> LearningResult:
    """Learn.

    Args:
        learning: that is ready to begin.
        listener: is told how it goes.
        checkpoint: file to go on from, and to keep up to date.

    Raises:
        DatasetError: the checkpoint is of other data or settings, or nothing worth coding was learned.
        DamagedFileError: the checkpoint cannot be read.
        OutputError: it cannot be written.
        KeyboardInterrupt: SIGINT or SIGTERM came; what was done is in the checkpoint.
    """
    listener = listener or ProgressListener()
    with learning.device.in_use(learning.uses_torch):
        training = learning.training()
        measurements = train(training, learning.plan, listener, checkpoint, learning.device)
        listener.finishing(0.0)
        learned = training.finished(listener.finishing)
    text, remark = learning.card_text(learned.prior, measurements), _remark(learning.plan, measurements)
    return LearningResult(learned.prior, measurements, learned.points, learning.style, text, remark)


def _remark(plan: TrainingPlan, measurements: tuple[Measurement, ...]) -> str | None:
    """What became of a learning that might end early."""
    best, last = best_measurement(measurements), measurements[-1].number
    if plan.patience is None or best is None:
        return None
    ended = f"ended early, after step {last:,} of {plan.steps:,}; " if last < plan.steps else ""
    return f"{ended}the state of step {best.number:,}, the best one, becomes the prior"
