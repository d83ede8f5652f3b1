"""From signals to group indices with refinement in closed form: code some groups, condition the rest on them, in turns.

The posterior of :mod:`.gaussian` has all covariances of a network's latents. Its refinement after some
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
from math import log

import numpy as np
import numpy.typing as npt
import torch

from ....family import Progress, Report
from ....rec import candidates, joint, search
from ....rec.candidates import Chaining
from ....rec.groups import Partition
from . import gaussian, newton
from .coding import Coded, CodingTask, Schedule, mean_squared_error
from .gaussian import Gaussian
from .posterior import Descent, Objective, cosine, descend, hash_seed, start


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
    rows = _rows(task.partition, len(objective.target) // task.signals, objective.network.latents)
    turns = list(task.turns(schedule.rounds))
    seconds = {"fit": 0.0, "search": 0.0, "refine": 0.0}
    clock = time.perf_counter()
    posterior = _fit(objective, task, rows, schedule, report)
    seconds["fit"] = time.perf_counter() - clock
    indices = np.zeros((task.signals, task.partition.groups), dtype=np.int64)
    for number, (first, last) in enumerate(turns):
        clock = time.perf_counter()
        posterior = _code(posterior, task, rows, indices, first, last)
        seconds["search"] += time.perf_counter() - clock
        if last == task.partition.groups:
            break
        clock = time.perf_counter()
        budget = _budget(posterior, task, last)
        for _ in range(schedule.steps_per_round):
            posterior = newton.step(posterior, objective, schedule.late_newton, budget, task.seed)
        seconds["refine"] += time.perf_counter() - clock
        report(Progress("refine", (number + 1) / len(turns), mean_squared_error(objective, posterior.mean)))
    return Coded(indices, posterior.mean.reshape(task.signals, -1).cpu().numpy(), seconds)


def default_schedule(networks: int) -> Schedule:
    """How long to fit and refine.

    With one network a turn holds about 30 groups, within which nothing is approximate but the network's linearity.
    With several, a turn takes the latents of one network for independent: turns are shorter.

    Args:
        networks: of one signal.
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


def _fit(objective: Objective, task: CodingTask, rows: _Rows, schedule: Schedule, report: Report) -> Gaussian:
    """The posteriors before anything is coded."""
    device, seed = objective.target.device, task.seed
    factorised = start(len(objective.target), objective.network.latents, str(device))
    descend(factorised, objective, schedule.descent, 0, cosine(schedule.steps), seed)
    report(Progress("fit", 0.25, mean_squared_error(objective, factorised.mean)))
    latents = torch.tensor(rows.latents, device=device)
    still_open = torch.tensor(rows.group >= 0, dtype=torch.float32, device=device)
    posterior = newton.begin(objective, latents, still_open, factorised, task.signals, schedule.newton, seed)
    budget = _budget(posterior, task, 0)
    for number in range(schedule.newton_steps):
        posterior = newton.step(posterior, objective, schedule.newton, budget, seed)
        if number % 4 == 3:
            done = 0.25 + 0.75 * (number + 1) / schedule.newton_steps
            report(Progress("fit", done, mean_squared_error(objective, posterior.mean)))
    return posterior


def _budget(posterior: Gaussian, task: CodingTask, coded: int) -> torch.Tensor:
    """Nats that the groups from number ``coded`` on have, ``(signals,)``."""
    return torch.full_like(posterior.s2, (task.partition.groups - coded) * task.chaining.bits * log(2))


def _code(
    posterior: Gaussian, task: CodingTask, rows: _Rows, indices: npt.NDArray[np.int64], first: int, last: int
) -> Gaussian:
    """Code groups ``first`` to ``last - 1`` with an eye to those after, and condition the rest on them."""
    partition, ahead = task.partition, task.searched_until(last)
    begin, end, until = (int(place) for place in np.searchsorted(partition.group, [first, last, ahead]))
    if begin == end:
        return posterior  # the groups hold nothing, and any indices will do
    alone = len(rows.latents) == 1 and task.chaining == Chaining(8, 1)
    coded, groups, part = indices[:, :first], ahead - first, slice(begin, until)
    if alone:
        chosen = _search_jointly(posterior, task, coded, groups, part)
    else:
        chosen = _search_marginally(posterior, task, rows, coded, groups, part)
    indices[:, first:last] = chosen[:, : last - first]
    decoded = candidates.lookup(indices[:, :last], partition, task.chaining, task.key, slice(begin, end))
    # rows from the end on have been cut off, and those that are left keep their number from the beginning
    networks, size = posterior.latents.shape
    network, row = rows.network[begin:end], rows.latents.shape[1] - 1 - rows.row[begin:end]
    values = np.zeros((task.signals, networks, size), dtype=np.float32)
    values[:, network, row] = decoded
    decided = np.zeros((networks, size), dtype=np.float32)
    decided[network, row] = 1
    device = posterior.mean.device
    return gaussian.decide(
        posterior, torch.tensor(values.reshape(-1, size), device=device), torch.tensor(decided, device=device)
    )


def _search_jointly(
    posterior: Gaussian, task: CodingTask, coded: npt.NDArray[np.int64], groups: int, part: slice
) -> npt.NDArray[np.int64]:
    """Choose the candidates of the next groups of single networks, each given those before it."""
    first = coded.shape[1]
    count = part.stop - part.start
    inverse = gaussian.marginal_factor(posterior, count).cpu().numpy()
    # covariance = inverse' · inverse; with rows and columns in coding order its lower factor is this
    factor = inverse.transpose(0, 2, 1)[:, ::-1, ::-1]
    means = posterior.mean.gather(1, posterior.places).double().cpu().numpy()[:, ::-1][:, :count]
    group, column = task.partition.group[part] - first, task.partition.column[part]
    previous = coded[:, -1] if first else np.zeros(len(coded), dtype=np.int64)
    chosen = np.zeros((task.signals, groups), dtype=np.int64)
    for number in range(task.signals):
        generator = np.random.Generator(np.random.Philox(hash_seed(task.seed, first)))
        target = joint.JointTarget(means[number], factor[number], group, column, groups)
        chosen[number] = joint.search_joint(target, task.key, int(previous[number]), task.method, generator)
    return chosen


def _search_marginally(
    posterior: Gaussian, task: CodingTask, rows: _Rows, coded: npt.NDArray[np.int64], groups: int, part: slice
) -> npt.NDArray[np.int64]:
    """Choose the candidates of the next groups of several networks, each latent by its own distribution."""
    first = coded.shape[1]
    networks, size = posterior.latents.shape
    network, row = rows.network[part], rows.latents.shape[1] - 1 - rows.row[part]
    shape = (task.signals, groups, task.partition.width)
    target = search.Target(np.zeros(shape), np.ones(shape))
    least = int(row.min())
    inverse = gaussian.marginal_factor(posterior, size - least)
    deviation = (inverse * inverse).sum(dim=1).sqrt().cpu().numpy().reshape(task.signals, networks, -1)
    means = posterior.mean.gather(1, posterior.places)[:, least:].double().cpu().numpy()
    places = (slice(None), task.partition.group[part] - first, task.partition.column[part])
    target.mean[places] = means.reshape(task.signals, networks, -1)[:, network, row - least]
    target.deviation[places] = deviation[:, network, row - least]
    generator = np.random.Generator(np.random.Philox(hash_seed(task.seed, first)))
    return search.search(target, task.chaining, task.key, coded, task.method, generator)
