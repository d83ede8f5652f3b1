"""What both ways of coding a fit have in common: how long they take, what they code, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from ....rec.candidates import Chaining
from ....rec.groups import Partition
from .newton import NewtonSettings
from .posterior import Descent, Objective, squared_error

_GROUPS_AHEAD = 12  # of each chain, searched and not yet decided: a path must end where the next turn can go on well


@dataclass(frozen=True)
class Schedule:
    """How long to fit and refine.

    Attributes:
        steps: gradient steps before the first group is coded, or before the first Newton step.
        rounds: number of turns of coding some groups and adapting the rest; at most one turn per group.
        steps_per_round: gradient steps after each turn, or Newton steps where refinement is in closed form.
        adapt_every: gradient steps between adaptations of the penalties.
        descent: of the gradient steps.
        newton_steps: Newton steps before the first group is coded, where refinement is in closed form.
        newton: of those steps.
        late_newton: of the Newton steps after each turn.
    """

    steps: int
    rounds: int
    steps_per_round: int
    adapt_every: int = 10
    descent: Descent = field(default_factory=Descent)
    newton_steps: int = 24
    newton: NewtonSettings = field(default_factory=NewtonSettings)
    late_newton: NewtonSettings = field(default_factory=lambda: NewtonSettings(moves=2))

    def scaled(self, factor: float) -> Schedule:
        """The same with more or fewer steps, at least one of each kind that there was.

        Args:
            factor: on the numbers of steps.
        """

        def times(count: int) -> int:
            return max(1, round(count * factor)) if count else 0

        return replace(
            self,
            steps=times(self.steps),
            steps_per_round=times(self.steps_per_round),
            newton_steps=times(self.newton_steps),
        )


@dataclass(frozen=True, eq=False)
class CodingTask:
    """What stays the same while the groups of a batch of signals are coded.

    Attributes:
        partition: of the latents of one signal.
        chaining: of the groups.
        key: of the shared sampler.
        signals: number of signals.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
    """

    partition: Partition
    chaining: Chaining
    key: int
    signals: int
    method: str
    seed: int

    def turns(self, rounds: int) -> Iterator[tuple[int, int]]:
        """First group of each turn, and the first one of the turn after.

        Args:
            rounds: number of turns; there are no more than groups.
        """
        count = self.partition.groups
        bounds = np.linspace(0, count, min(rounds, count) + 1).round().astype(np.int64)
        return ((int(first), int(last)) for first, last in pairwise(bounds))

    def searched_until(self, last: int) -> int:
        """The group up to which a turn searches so that its paths end well.

        Args:
            last: first group that the turn does not decide.
        """
        beyond = _GROUPS_AHEAD * self.chaining.chains if self.chaining.bits == 8 else 0
        return min(self.partition.groups, last + beyond)


@dataclass(frozen=True)
class Coded:
    """Indices of the groups of some signals, and how long the phases took.

    Attributes:
        indices: ``(signals, groups)`` int64.
        values: whitened latents that the networks ended with, ``(signals, latents)`` float32; pruned ones are 0.
        seconds: wall time by phase.
    """

    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    seconds: dict[str, float]


def mean_squared_error(objective: Objective, mean: torch.Tensor) -> float:
    """Of the networks with the means of the posteriors, on values in [-1, 1].

    Args:
        objective: what was fitted.
        mean: whitened, ``(networks, latents)``.
    """
    with torch.no_grad():
        total = float(squared_error(objective, mean).sum())
    points = objective.target[:, :1].numel() if objective.inside is None else float(objective.inside.sum())
    return total / (points * objective.target.shape[1])
