"""From signals to group indices with refinement in closed form: code some groups, condition the rest on them, in turns.

The posterior of :mod:`.gauss_newton` has all covariances of a network's latents. Its refinement after some
groups are coded is then the conditional distribution of a Gaussian: no gradient step is needed to make up for the
candidates that were chosen. What is left is nonlinearity: after each turn J'J is taken again at a few samples.

A signal of one network in one chain of 8-bit groups is coded along the best path, whose every candidate is judged by
its conditional distribution given the path so far. In a signal of several networks a group mixes latents of many of
them, and groups of several chains are searched side by side: there, each turn's groups are judged by the
marginal distributions of their latents given all turns before. (Guo et al. 2023, section 3.3, refine both cases by
gradient steps.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
import numpy.typing as npt
import torch

from ...rec import candidates, joint, search
from ...rec.candidates import Chaining
from ...rec.groups import Partition
from . import gauss_newton
from .gauss_newton import Gaussian
from .posterior import Descent, Objective, cosine, descend, hash_seed, squared_error, start
from .refinement import GROUPS_AHEAD, Coded, Progress, Report, Schedule


@dataclass(frozen=True)
class _Rows:
    """Which latents of its network the rows of each network's matrices stand for: the last row is coded first.

    Networks with fewer coded latents than others have rows before these for some that are not coded.

    Attributes:
        latents: ``(networks of a signal, rows)`` int64.
        group: of each row; -1 if it is not coded, ``(networks of a signal, rows)`` int64.
        network: of each latent in coding order, ``(coded,)`` int64.
        row: of each latent in coding order, counted from the last, ``(coded,)`` int64.
    """

    latents: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    network: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Job:
    """What stays the same while the groups of a batch of signals are coded."""

    partition: Partition
    chaining: Chaining
    key: int
    method: str
    seed: int
    rows: _Rows


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
    networks, latents = len(objective.target) // signals, objective.latents
    job = _Job(partition, chaining, key, method, schedule.seed, _rows(partition, networks, latents))
    rounds = min(schedule.rounds, partition.groups)
    bounds = np.linspace(0, partition.groups, rounds + 1).round().astype(np.int64)
    seconds = {"fit": 0.0, "search": 0.0, "refine": 0.0}
    clock = time.perf_counter()
    posterior = _fit(objective, job, signals, schedule, report)
    seconds["fit"] = time.perf_counter() - clock
    indices = np.zeros((signals, partition.groups), dtype=np.int64)
    for number, (first, last) in enumerate(pairwise(bounds)):
        clock = time.perf_counter()
        posterior = _code(posterior, job, indices, int(first), int(last))
        seconds["search"] += time.perf_counter() - clock
        if last == partition.groups:
            break
        clock = time.perf_counter()
        budget = _budget(posterior, job, int(last))
        for _ in range(schedule.steps_per_round):
            posterior = gauss_newton.step(posterior, objective, schedule.late_newton, budget, schedule.seed)
        seconds["refine"] += time.perf_counter() - clock
        report(Progress("refine", (number + 1) / rounds, _mean_squared_error(objective, posterior.mean)))
    return Coded(indices, posterior.mean.reshape(signals, -1).cpu().numpy(), seconds)


def default_schedule(networks: int) -> Schedule:
    """How long to fit and refine signals of that many networks.

    With one network a turn holds about 30 groups, within which nothing is approximate but the network's linearity.
    With several, a turn takes the latents of one network for independent: turns are shorter.
    """
    if networks == 1:
        return Schedule(steps=2000, rounds=6, steps_per_round=3, newton_steps=12, descent=Descent(points=128))
    return Schedule(steps=1500, rounds=16, steps_per_round=2, newton_steps=12, descent=Descent(points=256))


def _rows(partition: Partition, networks: int, latents: int) -> _Rows:
    """The rows of the networks of one signal."""
    network = (partition.order // latents).astype(np.int64)
    counts = np.bincount(network, minlength=networks)
    by_network = np.argsort(network, kind="stable")  # coding order within each network
    row = np.empty(len(network), dtype=np.int64)
    row[by_network] = np.arange(len(network)) - np.repeat(np.cumsum(counts) - counts, counts)
    size = int(counts.max())
    used = np.zeros((networks, latents), dtype=bool)
    used[network, partition.order % latents] = True
    places = np.argsort(used, axis=1, kind="stable")[:, :size]  # latents that nobody codes, for the rows before
    group = np.full((networks, size), -1, dtype=np.int64)
    places[network, size - 1 - row] = partition.order % latents
    group[network, size - 1 - row] = partition.group
    return _Rows(places, group, network, row)


def _fit(objective: Objective, job: _Job, signals: int, schedule: Schedule, report: Report) -> Gaussian:
    """The posteriors before anything is coded."""
    device = objective.target.device
    first = start(len(objective.target), objective.latents, str(device))
    descend(first, objective, schedule.descent, 0, cosine(schedule.steps), schedule.seed)
    report(Progress("fit", 0.25, _mean_squared_error(objective, first.mean)))
    rows = torch.tensor(job.rows.latents, device=device)
    opened = torch.tensor(job.rows.group >= 0, dtype=torch.float32, device=device)
    spread = torch.exp(first.log_deviation)
    posterior = gauss_newton.begin(objective, rows, opened, first.mean, spread, signals, schedule.newton, schedule.seed)
    budget = _budget(posterior, job, 0)
    for number in range(schedule.newton_steps):
        posterior = gauss_newton.step(posterior, objective, schedule.newton, budget, schedule.seed)
        if number % 4 == 3:
            done = 0.25 + 0.75 * (number + 1) / schedule.newton_steps
            report(Progress("fit", done, _mean_squared_error(objective, posterior.mean)))
    return posterior


def _budget(posterior: Gaussian, job: _Job, coded: int) -> torch.Tensor:
    """Nats that the groups from number ``coded`` on have, ``(signals,)``."""
    return torch.full_like(posterior.s2, (job.partition.groups - coded) * job.chaining.bits * log(2))


def _code(posterior: Gaussian, job: _Job, indices: npt.NDArray[np.int64], first: int, last: int) -> Gaussian:
    """Code groups ``first`` to ``last - 1`` with an eye to those after, and condition the rest on them."""
    far = last + (GROUPS_AHEAD * job.chaining.chains if job.chaining.bits == 8 else 0)
    ahead = min(job.partition.groups, far)
    begin, end, until = (int(place) for place in np.searchsorted(job.partition.group, [first, last, ahead]))
    if begin == end:
        return posterior  # the groups hold nothing, and any indices will do
    alone = len(job.rows.latents) == 1 and job.chaining == Chaining(8, 1)
    searched = _search_jointly if alone else _search_marginally
    chosen = searched(posterior, job, indices[:, :first], ahead - first, slice(begin, until))
    indices[:, first:last] = chosen[:, : last - first]
    found = candidates.lookup(indices[:, :last], job.partition, job.chaining, job.key, slice(begin, end))
    # rows from the end on have been cut off, and those that are left keep their number from the beginning
    signals, networks, size = posterior.signals, *posterior.latents.shape
    row = job.rows.latents.shape[1] - 1 - job.rows.row[begin:end]
    values = np.zeros((signals, networks, size), dtype=np.float32)
    values[:, job.rows.network[begin:end], row] = found
    decided = np.zeros((networks, size), dtype=np.float32)
    decided[job.rows.network[begin:end], row] = 1
    device = posterior.mean.device
    return gauss_newton.decide(
        posterior, torch.tensor(values.reshape(-1, size), device=device), torch.tensor(decided, device=device)
    )


def _search_jointly(
    posterior: Gaussian, job: _Job, coded: npt.NDArray[np.int64], groups: int, part: slice
) -> npt.NDArray[np.int64]:
    """Choose the candidates of the next groups of single networks, each given those before it."""
    first = coded.shape[1]
    count = part.stop - part.start
    inverse = gauss_newton.marginal_factor(posterior, count).cpu().numpy()
    # covariance = inverse' · inverse; with rows and columns in coding order its lower factor is this
    factor = inverse.transpose(0, 2, 1)[:, ::-1, ::-1]
    means = posterior.mean.gather(1, posterior.places).double().cpu().numpy()[:, ::-1][:, :count]
    group, column = job.partition.group[part] - first, job.partition.column[part]
    previous = coded[:, -1] if first else np.zeros(len(coded), dtype=np.int64)
    chosen = np.zeros((posterior.signals, groups), dtype=np.int64)
    for number in range(posterior.signals):
        generator = np.random.Generator(np.random.Philox(hash_seed(job.seed, first)))
        target = joint.JointTarget(means[number], factor[number], group, column, groups)
        chosen[number] = joint.search_joint(target, job.key, int(previous[number]), job.method, generator)
    return chosen


def _search_marginally(
    posterior: Gaussian, job: _Job, coded: npt.NDArray[np.int64], groups: int, part: slice
) -> npt.NDArray[np.int64]:
    """Choose the candidates of the next groups of several networks, each latent by its own distribution."""
    first = coded.shape[1]
    signals, networks, size = posterior.signals, *posterior.latents.shape
    network, row = job.rows.network[part], job.rows.latents.shape[1] - 1 - job.rows.row[part]
    target = search.Target(*(shape((signals, groups, job.partition.width)) for shape in (np.zeros, np.ones)))
    least = int(row.min())
    inverse = gauss_newton.marginal_factor(posterior, size - least)
    deviation = (inverse * inverse).sum(dim=1).sqrt().cpu().numpy().reshape(signals, networks, -1)
    means = posterior.mean.gather(1, posterior.places)[:, least:].double().cpu().numpy()
    places = (slice(None), job.partition.group[part] - first, job.partition.column[part])
    target.mean[places] = means.reshape(signals, networks, -1)[:, network, row - least]
    target.deviation[places] = deviation[:, network, row - least]
    generator = np.random.Generator(np.random.Philox(hash_seed(job.seed, first)))
    return search.search(target, job.chaining, job.key, coded, job.method, generator)


def _mean_squared_error(objective: Objective, mean: torch.Tensor) -> float:
    """Of the means of the posteriors, on values in [-1, 1]."""
    with torch.no_grad():
        total = float(squared_error(objective, mean).sum())
    points = objective.target[:, :1].numel() if objective.inside is None else float(objective.inside.sum())
    return total / (points * objective.target.shape[1])
