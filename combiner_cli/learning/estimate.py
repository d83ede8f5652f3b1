"""What a learning takes: told before it begins, corrected as it goes.

A family counts the operations of a step, and of what is measured at the end. How fast they are depends on the machine
and on what else it does; so the first steps are timed.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import dataclass, replace

WITH_TORCH, WITHOUT_TORCH = 300e6, 150e6  # bytes of the program itself
_USUAL_SPEED = 2e10  # operations per second of a core of a server


@dataclass(frozen=True)
class ResourceEstimate:
    """What a learning takes.

    Attributes:
        prior_bytes: size of the prior's file.
        memory: bytes of memory, about, in each process.
        steps: of the whole learning.
        step_operations: of a step in each process, counted like multiplications of matrices.
        last_operations: of what is measured after all steps, likewise.
        first_operations: of what comes before all steps, likewise.
        at_most: whether the prior may turn out to be smaller.
        speed: operations per second.
    """

    prior_bytes: int
    memory: float
    steps: int
    step_operations: float
    last_operations: float
    first_operations: float = 0.0
    at_most: bool = False
    speed: float = _USUAL_SPEED

    def seconds(self, done: int = 0) -> float:
        """Time that is left.

        Args:
            done: number of steps that are done.
        """
        first = 0.0 if done else self.first_operations
        return (first + (self.steps - done) * self.step_operations + self.last_operations) / self.speed

    def at_pace(self, seconds: float) -> ResourceEstimate:
        """The same on a machine that takes so many seconds for a step."""
        return replace(self, speed=self.step_operations / max(seconds, 1e-9))


class Pace:
    """How fast a learning goes. Steps before a resumption and the first one after it, which takes longer, do not count.

    Attributes:
        done: number of steps that are done.
    """

    _FEWEST_STEPS, _FEWEST_SECONDS = 10, 5.0  # before the time that is left is known well

    def __init__(self, estimate: ResourceEstimate, done: int) -> None:
        """Begin.

        Args:
            estimate: of the learning.
            done: number of steps before a resumption.
        """
        self.done = done
        self._estimate = estimate
        self._from, self._since = math.inf, 0.0

    def went_on(self, done: int) -> None:
        """Take note that so many steps are done."""
        if self._from == math.inf:
            self._from, self._since = done, time.monotonic()
        self.done = done

    def seconds_per_step(self) -> float | None:
        """On average, as soon as there is one."""
        steps = self.done - self._from
        return (time.monotonic() - self._since) / steps if steps > 0 else None

    def seconds_left(self) -> float:
        """Time until the prior is finished: as estimated, corrected as soon as there is a pace."""
        pace = self.seconds_per_step()
        estimate = self._estimate if pace is None else self._estimate.at_pace(pace)
        return estimate.seconds(self.done)

    def known(self) -> bool:
        """Whether enough steps were taken to tell the time that is left once more."""
        return self.done - self._from >= self._FEWEST_STEPS and time.monotonic() - self._since >= self._FEWEST_SECONDS


def memory_used() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def about_time(seconds: float) -> str:
    """A time in words, no more exact than it deserves."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def about_size(count: float) -> str:
    """Bytes in words, no more exact than they deserve."""
    return size_text(count) if count >= 1e9 else size_text(round(count, -8)).replace(".0", "")


def size_text(count: float) -> str:
    """Bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{max(1, round(count / 1e3))} kB"
