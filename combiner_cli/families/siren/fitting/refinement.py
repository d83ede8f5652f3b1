"""From signals to group indices: fit within the bit budget, then code groups and adapt the rest to them, in turns.

Source: Guo et al. 2023, section 3.3 and algorithm 2 (progressive posterior refinement).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from ...rec import candidates, search
from ...rec.candidates import Chaining
from ...rec.groups import Partition
from .gauss_newton import Fit
from .posterior import Descent, Objective, Posterior, cosine, descend, hash_seed, kl, squared_error, start

_LARGEST_CHANGE = 0.1  # of the logarithm of a penalty per adaptation, as in the published rule (factor 1.1)
GROUPS_AHEAD = 12  # of each chain, searched and not yet decided: a path must end where the next turn can go on well
_LATE_RATE = 0.6  # step size between groups, relative to that of the fit's beginning


@dataclass(frozen=True)
class Progress:
    """State of a long computation, for display.

    Attributes:
        phase: what is being done.
        done: fraction of the phase, 0 to 1.
        squared_error: mean squared error so far on values in [-1, 1], or ``None``.
    """

    phase: str
    done: float
    squared_error: float | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Schedule:
    """How long to fit and refine.

    Attributes:
        steps: gradient steps before the first group is coded, or before the first Newton step.
        rounds: number of turns of coding some groups and adapting the rest; at most one turn per group.
        steps_per_round: gradient steps after each turn, or Newton steps where refinement is in closed form.
        adapt_every: gradient steps between adaptations of the penalties.
        descent: of the gradient steps.
        seed: of the encoder's random numbers.
        newton_steps: Newton steps before the first group is coded, where refinement is in closed form.
        newton: of those steps.
        late_newton: of the Newton steps after each turn.
    """

    steps: int
    rounds: int
    steps_per_round: int
    adapt_every: int = 10
    descent: Descent = field(default_factory=Descent)
    seed: int = 0
    newton_steps: int = 24
    newton: Fit = field(default_factory=Fit)
    late_newton: Fit = field(default_factory=lambda: Fit(moves=2))

    def scaled(self, factor: float) -> Schedule:
        """The same with that many times the steps, at least one of each kind that there was."""

        def times(count: int) -> int:
            return max(1, round(count * factor)) if count else 0

        return replace(
            self,
            steps=times(self.steps),
            steps_per_round=times(self.steps_per_round),
            newton_steps=times(self.newton_steps),
        )


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


class _Budget:
    """The groups of a batch of signals on the device: their latents, and the penalties that keep them to budget."""

    def __init__(self, partition: Partition, signals: int, latents: int, group_bits: int, device: torch.device) -> None:
        self.signals, self.groups = signals, partition.groups
        self.order = torch.tensor(partition.order, dtype=torch.int64, device=device)
        self.group = torch.tensor(partition.group, dtype=torch.int64, device=device)
        column = torch.tensor(partition.column, dtype=torch.int64, device=device)
        self.place = self.group * partition.width + column
        self.width = partition.width
        self.budget = group_bits * math.log(2)
        self.log_penalty = torch.zeros(signals, partition.groups, device=device)
        self.free = torch.zeros(signals, latents, device=device)
        self.free[:, self.order] = 1
        self.latents = latents

    def group_kl(self, posterior: Posterior) -> torch.Tensor:
        """KL of every group in nats, ``(signals, groups)``."""
        divergence = kl(posterior.mean, posterior.log_deviation).reshape(self.signals, self.latents)[:, self.order]
        # every latent has a place of its own: sums by index_add_ would depend on a GPU's order of execution
        places = torch.zeros(self.signals, self.groups * self.width, device=divergence.device)
        places[:, self.place] = divergence
        return places.reshape(self.signals, self.groups, self.width).sum(dim=2)

    def adapt(self, posterior: Posterior) -> None:
        """Raise the penalty of groups over budget, lower that of groups under it."""
        excess = torch.log(self.group_kl(posterior).clamp(min=1e-6) / self.budget)
        self.log_penalty += excess.clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE)
        self.log_penalty.clamp_(-8, 8)

    def penalty(self, shape: torch.Size) -> torch.Tensor:
        """Penalty of every latent, ``(networks, network latents)``; 1 for those that no group holds."""
        spread = torch.ones(self.signals, self.latents, device=self.free.device)
        spread[:, self.order] = torch.exp(self.log_penalty)[:, self.group]
        return spread.reshape(shape)

    def freeze(self, posterior: Posterior, latents: torch.Tensor, values: torch.Tensor) -> None:
        """Set some latents ``(count,)`` of every signal to their decoded values ``(signals, count)``, for good."""
        posterior.mean.view(self.signals, -1)[:, latents] = values
        self.free[:, latents] = 0


def encode(
    objective: Objective,
    partition: Partition,
    chaining: Chaining,
    key: int,
    signals: int,
    schedule: Schedule,
    method: str,
    report: Report,
) -> Coded:
    """Fit the posteriors of signals of one shape and code all their groups.

    Args:
        objective: networks of all signals, signal after signal.
        partition: of the latents of one signal.
        chaining: of the groups.
        key: of the shared sampler.
        signals: number of signals.
        schedule: how long.
        method: one of ``search.METHODS``.
        report: called as the work proceeds.

    Raises:
        UsageError: there is no such method.
    """
    search.check_method(method)
    networks = len(objective.target)
    latents = objective.network.latents
    posterior = start(networks, latents, str(objective.target.device))
    budget = _Budget(partition, signals, networks // signals * latents, chaining.bits, objective.target.device)
    rounds = min(schedule.rounds, partition.groups)
    seconds = {"fit": 0.0, "search": 0.0, "refine": 0.0}
    # pruned latents are decided from the beginning: they are the prior's mean
    clock = time.perf_counter()
    done = _fit(posterior, objective, budget, schedule, 0, cosine(schedule.steps, end=_LATE_RATE), report)
    seconds["fit"] = time.perf_counter() - clock
    indices = np.zeros((signals, partition.groups), dtype=np.int64)
    bounds = np.linspace(0, partition.groups, rounds + 1).round().astype(np.int64)
    for number, (first, last) in enumerate(pairwise(bounds)):
        clock = time.perf_counter()
        _code(posterior, budget, partition, chaining, key, indices, int(first), int(last), method, schedule.seed)
        seconds["search"] += time.perf_counter() - clock
        if last == partition.groups:
            break
        clock = time.perf_counter()
        rate = _LATE_RATE * (1 - 0.5 * number / rounds)
        rates = [rate] * schedule.steps_per_round
        done = _fit(posterior, objective, budget, schedule, done, rates, None)
        seconds["refine"] += time.perf_counter() - clock
        if number % 8 == 0:
            report(Progress("refine", (number + 1) / rounds, _mean_squared_error(objective, posterior)))
    return Coded(indices, posterior.mean.reshape(signals, -1).cpu().numpy(), seconds)


def _fit(
    posterior: Posterior,
    objective: Objective,
    budget: _Budget,
    schedule: Schedule,
    done: int,
    rates: list[float],
    report: Report | None,
) -> int:
    """Take steps and adapt the penalties in between; returns the number of steps taken so far."""
    free = budget.free.reshape(posterior.mean.shape)
    for first in range(0, len(rates), schedule.adapt_every):
        some = rates[first : first + schedule.adapt_every]
        penalty = budget.penalty(posterior.mean.shape)
        descend(posterior, objective, schedule.descent, done, some, schedule.seed, penalty, free)
        done += len(some)
        budget.adapt(posterior)
        if report is not None and first // schedule.adapt_every % 16 == 15:
            report(Progress("fit", (first + len(some)) / len(rates), _mean_squared_error(objective, posterior)))
    return done


def _code(
    posterior: Posterior,
    budget: _Budget,
    partition: Partition,
    chaining: Chaining,
    key: int,
    indices: npt.NDArray[np.int64],
    first: int,
    last: int,
    method: str,
    seed: int,
) -> None:
    """Code groups ``first`` to ``last - 1`` of every signal with an eye to those after, and freeze their latents."""
    ahead = min(partition.groups, last + (GROUPS_AHEAD * chaining.chains if chaining.bits == 8 else 0))
    begin, decided, end = np.searchsorted(partition.group, [first, last, ahead])
    latents = torch.tensor(partition.order[begin:end], dtype=torch.int64, device=posterior.mean.device)
    means, logs = (
        tensor.view(budget.signals, -1)[:, latents].double().cpu().numpy()
        for tensor in (posterior.mean, posterior.log_deviation)
    )
    shape = (budget.signals, ahead - first, partition.width)
    target = search.Target(np.zeros(shape), np.ones(shape))
    places = (slice(None), partition.group[begin:end] - first, partition.column[begin:end])
    target.mean[places], target.deviation[places] = means, np.exp(logs)
    generator = np.random.Generator(np.random.Philox(hash_seed(seed, first)))
    found = search.search(target, chaining, key, indices[:, :first], method, generator)
    indices[:, first:last] = found[:, : last - first]
    values = candidates.lookup(indices[:, :last], partition, chaining, key, slice(begin, decided))
    budget.freeze(posterior, latents[: decided - begin], torch.tensor(values, device=posterior.mean.device))


def _mean_squared_error(objective: Objective, posterior: Posterior) -> float:
    """Of the means of the posteriors, on values in [-1, 1]."""
    with torch.no_grad():
        total = float(squared_error(objective, posterior.mean).sum())
    points = objective.target[:, :1].numel() if objective.inside is None else float(objective.inside.sum())
    return total / (points * objective.target.shape[1])
