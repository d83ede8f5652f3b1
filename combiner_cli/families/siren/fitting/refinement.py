"""Coding as published: fit within the bit budget, then code groups and adapt the rest by gradient steps, in turns.

Source: Guo et al. 2023, section 3.3 and algorithm 2 (progressive posterior refinement).
"""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import torch

from ....family import Progress, Report
from ....rec import candidates, search
from ....rec.groups import Partition
from .coding import Coded, CodingTask, Schedule, mean_squared_error
from .posterior import Descent, Objective, Posterior, cosine, descend, hash_seed, kl, start

_LARGEST_CHANGE = 0.1  # of the logarithm of a penalty per adaptation, as in the published rule (factor 1.1)
_LATE_RATE = 0.6  # step size between groups, relative to that of the fit's beginning
_SMALL = 2**14  # points up to which the long schedule is affordable


def default_schedule(points: int) -> Schedule:
    """How long to fit and refine a signal or batch.

    Args:
        points: of all its tiles together.
    """
    if points <= _SMALL:
        return Schedule(steps=3000, rounds=128, steps_per_round=20, descent=Descent(points=512))
    return Schedule(steps=2500, rounds=64, steps_per_round=16)


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


def encode(objective: Objective, task: CodingTask, schedule: Schedule, report: Report) -> Coded:
    """Fit the posteriors of signals of one shape and code all their groups.

    Args:
        objective: networks of all signals, signal after signal.
        task: what is to be coded.
        schedule: how long.
        report: called as the work proceeds.

    Raises:
        UsageError: there is no search of the task's method.
    """
    search.check_method(task.method)
    networks, latents = len(objective.target), objective.network.latents
    posterior = start(networks, latents, str(objective.target.device))
    per_signal = networks // task.signals * latents
    budget = _Budget(task.partition, task.signals, per_signal, task.chaining.bits, objective.target.device)
    fit = _Fit(posterior, objective, budget, schedule, task.seed)
    turns = list(task.turns(schedule.rounds))
    seconds = {"fit": 0.0, "search": 0.0, "refine": 0.0}
    # pruned latents are decided from the beginning: they are the prior's mean
    clock = time.perf_counter()
    fit.descend(cosine(schedule.steps, end=_LATE_RATE), report)
    seconds["fit"] = time.perf_counter() - clock
    indices = np.zeros((task.signals, task.partition.groups), dtype=np.int64)
    for number, (first, last) in enumerate(turns):
        clock = time.perf_counter()
        _code(posterior, budget, task, indices, first, last)
        seconds["search"] += time.perf_counter() - clock
        if last == task.partition.groups:
            break
        clock = time.perf_counter()
        rate = _LATE_RATE * (1 - 0.5 * number / len(turns))
        fit.descend([rate] * schedule.steps_per_round, None)
        seconds["refine"] += time.perf_counter() - clock
        if number % 8 == 0:
            report(Progress("refine", (number + 1) / len(turns), mean_squared_error(objective, posterior.mean)))
    return Coded(indices, posterior.mean.reshape(task.signals, -1).cpu().numpy(), seconds)


class _Fit:
    """A descent with penalties that adapt, and the number of its steps so far."""

    def __init__(
        self, posterior: Posterior, objective: Objective, budget: _Budget, schedule: Schedule, seed: int
    ) -> None:
        self._posterior, self._objective, self._budget = posterior, objective, budget
        self._schedule, self._seed, self._steps = schedule, seed, 0

    def descend(self, rates: list[float], report: Report | None) -> None:
        """Take steps and adapt the penalties in between.

        Args:
            rates: factor on the step sizes for each step to take.
            report: called now and then, unless it is ``None``.
        """
        posterior, every = self._posterior, self._schedule.adapt_every
        free = self._budget.free.reshape(posterior.mean.shape)
        for first in range(0, len(rates), every):
            some = rates[first : first + every]
            penalty = self._budget.penalty(posterior.mean.shape)
            descend(posterior, self._objective, self._schedule.descent, self._steps, some, self._seed, penalty, free)
            self._steps += len(some)
            self._budget.adapt(posterior)
            if report is not None and first // every % 16 == 15:
                error = mean_squared_error(self._objective, posterior.mean)
                report(Progress("fit", (first + len(some)) / len(rates), error))


def _code(
    posterior: Posterior, budget: _Budget, task: CodingTask, indices: npt.NDArray[np.int64], first: int, last: int
) -> None:
    """Code groups ``first`` to ``last - 1`` of every signal with an eye to those after, and freeze their latents."""
    partition, ahead = task.partition, task.searched_until(last)
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
    generator = np.random.Generator(np.random.Philox(hash_seed(task.seed, first)))
    chosen = search.search(target, task.chaining, task.key, indices[:, :first], task.method, generator)
    indices[:, first:last] = chosen[:, : last - first]
    values = candidates.lookup(indices[:, :last], partition, task.chaining, task.key, slice(begin, decided))
    budget.freeze(posterior, latents[: decided - begin], torch.tensor(values, device=posterior.mean.device))
