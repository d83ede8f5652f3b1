"""The one trainer: steps, measurements, checkpoints, early ends and interruptions of every learning."""

from __future__ import annotations

import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .checkpoint import CheckpointFile, ResumeState, TrainingState
from .distributed import CPU, Device
from .report import Measurement, OperatingPoint

if TYPE_CHECKING:
    from ..family import Prior

# of families that learn by gradient steps
MEASURED_STEPS = 100  # between measurements
HELD_OUT_BATCHES = 3  # of a measurement, each like that of a step

_SOON = 0.5  # seconds in which a second signal is taken for the first one: torchrun passes on what a terminal has sent


@dataclass(frozen=True)
class TrainingPlan:
    """What decides how far a learning goes.

    Attributes:
        steps: at most.
        seed: of all random numbers.
        fingerprint: of everything that must not change between a checkpoint and its resumption.
        shards: equal parts of every step's signals whose gradients are computed apart, and summed in their order.
        patience: measurements without a better one after which learning ends, with the best state; ``None`` for all
            steps and the last state.
    """

    steps: int
    seed: int
    fingerprint: str
    shards: int = 1
    patience: int | None = None


@dataclass(frozen=True)
class LearnedPrior:
    """What comes of a learning.

    Attributes:
        prior: finished.
        points: rates and PSNR of held-out signals over the range of the prior; empty where it has only one.
    """

    prior: Prior
    points: tuple[OperatingPoint, ...] = ()


class Training(ABC):
    """What is trained: it takes steps and measures itself when it is told to, and its state can be kept."""

    @abstractmethod
    def step(self, number: int) -> None:
        """Take a step.

        Args:
            number: of steps that are done. It decides the random numbers, so that they are the same after a resumption.
        """

    @abstractmethod
    def is_measured(self, done: int) -> bool:
        """Whether to measure after so many steps; after the last one it is always done."""

    @abstractmethod
    def measure(self, done: int) -> Measurement:
        """Measure after so many steps. What is learned does not depend on when that is done."""

    @abstractmethod
    def state(self) -> TrainingState:
        """Everything that goes on from step to step."""

    @abstractmethod
    def restore(self, state: TrainingState) -> None:
        """Go on from a state, or from anything that was in a checkpoint.

        Raises:
            LookupError, RuntimeError, TypeError, ValueError: it is no state of this training.
        """

    @abstractmethod
    def finished(self, report: Callable[[float], None]) -> LearnedPrior:
        """The prior, after all steps.

        Args:
            report: is told what share of the work that is left is done, 0 to 1.
        """


class ProgressListener:
    """Who is told how a learning goes: this one passes over everything, others take up what they have use for."""

    def step(self, done: int) -> None:
        """Take note that so many steps are done."""

    def measured(self, measurement: Measurement) -> None:
        """Take note of what was measured."""

    def saved(self, done: int) -> None:
        """Take note that the state after so many steps is in the checkpoint."""

    def finishing(self, share: float) -> None:
        """Take note that all steps are done, and so much, 0 to 1, of what is left: to measure the prior."""


def train(
    training: Training,
    plan: TrainingPlan,
    listener: ProgressListener | None = None,
    checkpoint: CheckpointFile | None = None,
    device: Device = CPU,
) -> tuple[Measurement, ...]:
    """Take the steps of a training; the measurements of all of them, those before a resumption included.

    SIGINT and SIGTERM wait for the end of a step and until its state is saved; another one does not.

    Args:
        training: what is trained.
        plan: how far.
        listener: is told how it goes.
        checkpoint: file to go on from, and to keep up to date.
        device: of this process.

    Raises:
        UsageError: the parts of a step cannot be shared by the processes.
        DatasetError: the checkpoint is of other data or settings.
        DamagedFileError: it cannot be read.
        OutputError: it cannot be written.
        KeyboardInterrupt: a signal came, to this process or to another one of the group.
    """
    listener, processes = listener or ProgressListener(), device.processes
    if plan.shards % processes.size:
        raise UsageError(f"{plan.shards} shards cannot be shared by {processes.size} processes; give a multiple")
    progress = _Progress(training, plan, listener, checkpoint if processes.first else None)
    state = processes.shared(lambda: None if checkpoint is None else checkpoint.load(plan.fingerprint))
    if checkpoint is not None and state is not None:
        progress.resume(state, checkpoint)
    progress.save(at_once=state is None)  # before long work, see that it can be written
    with _Interruption() as interruption:
        while not progress.over:
            progress.step()
            interrupted = processes.any(interruption.requested, device.name)
            progress.save(at_once=interrupted)
            if interrupted and not progress.over:
                interruption.obey()
    return tuple(progress.measurements)


class _Progress:
    """How far a training has come."""

    def __init__(
        self, training: Training, plan: TrainingPlan, listener: ProgressListener, checkpoint: CheckpointFile | None
    ) -> None:
        self._training, self._plan, self._listener, self._checkpoint = training, plan, listener, checkpoint
        self._saved = time.monotonic()
        self._done = 0
        self.measurements: list[Measurement] = []

    @property
    def over(self) -> bool:
        """Whether there are no more steps to take."""
        return self._done >= self._plan.steps or ended_early(self._plan, self.measurements)

    def resume(self, state: ResumeState, checkpoint: CheckpointFile) -> None:
        """Go on from the state of a checkpoint."""
        try:
            self._training.restore(state.training)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise checkpoint.unreadable(error) from error
        self._done, self.measurements = state.done, list(state.measurements)

    def step(self) -> None:
        """Take a step, and measure where it is time to."""
        self._training.step(self._done)
        self._done += 1
        self._listener.step(self._done)
        if self._training.is_measured(self._done) or self._done == self._plan.steps:
            self.measurements.append(self._training.measure(self._done))
            self._listener.measured(self.measurements[-1])

    def save(self, at_once: bool) -> None:
        """Save the state, if there is a place for it and it is time to."""
        if self._checkpoint is None:
            return
        if at_once or self.over or time.monotonic() - self._saved > self._checkpoint.seconds:
            state = ResumeState(self._done, tuple(self.measurements), self._training.state())
            self._checkpoint.save(self._plan.fingerprint, state)
            self._saved = time.monotonic()
            self._listener.saved(self._done)


def best_measurement(measurements: Sequence[Measurement]) -> Measurement | None:
    """The first measurement at which what is held out cost the least; ``None`` where it was not measured."""
    held_out = [
        (measurement.held_out, measurement.number, measurement)
        for measurement in measurements
        if measurement.held_out is not None and not math.isnan(measurement.held_out)
    ]
    return min(held_out)[2] if held_out else None


def ended_early(plan: TrainingPlan, measurements: Sequence[Measurement]) -> bool:
    """Whether what is held out has not come to cost less for as many measurements as the plan has patience."""
    if plan.patience is None:
        return False
    best = best_measurement(measurements)
    after = [measurement for measurement in measurements if best is None or measurement.number > best.number]
    return len(after) >= plan.patience


class _Interruption:
    """Has SIGINT and SIGTERM wait until they are obeyed, unless one comes again a moment later.

    Only a program's main thread can be interrupted; in any other one nothing changes.

    Attributes:
        requested: whether a signal waits.
    """

    def __init__(self) -> None:
        self.requested = False
        self._number, self._since = signal.SIGINT, 0.0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._wait)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._leave()
        if self.requested and error is None:  # it came in the last step: all of them are saved
            self.requested = False
            signal.raise_signal(self._number)

    def _wait(self, number: int, _frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._number, self._since = True, signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._since > _SOON:
            self.requested = False
            self._leave()
            signal.raise_signal(number)

    def _leave(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers = {}

    def obey(self) -> None:
        """Let the signal take effect now.

        Raises:
            KeyboardInterrupt: in any case, also where the signal came to another process.
        """
        self._leave()
        if self.requested:
            self.requested = False
            signal.raise_signal(self._number)
        raise KeyboardInterrupt
