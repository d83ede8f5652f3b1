"""Relative entropy coding: choose the candidates of groups, one after the other or as the best path over a chain.

- ``astar``: A* coding along one path: log q/p plus Gumbel noise decides, so that what is chosen is distributed like the
  posterior (Flamich et al., "Fast relative entropy coding with A* coding", ICML 2022; Guo et al. 2023, section 3.3).
- ``best``: the same without the noise: the candidate with the largest log q/p.
- ``viterbi``: of all paths through chained 8-bit groups the one with the largest sum of log q/p (Viterbi, 1967): for
  each of the 256 values of the last index the best path so far is kept. With a long memory there are 4,096 states: the
  previous index b and the lower four bits a of the one before it. From each state 256 candidates c go on to the state
  (b mod 16, c), so that the best path to that state is the best of 256 ways: those with any a and any higher four bits
  of b. Groups of 16 bits do not depend on each other, their best path is the best candidate of each.

What is chosen for a signal depends neither on what else is in the batch, nor on the machine and its number of threads:
energies are whole numbers (:mod:`.energies`), and of equals the first is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..system import threads
from . import energies, native, sampler
from .candidates import STATES, Chaining
from .energies import LANES, LONG_PLANES, MOST_COLUMNS, MOST_LONG_COLUMNS, Block
from .groups import Partition
from .native import Kernel

METHODS = ("astar", "best", "viterbi")

Posterior = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # whitened means and deviations

_AT_ONCE = 256  # groups; a command can be interrupted in between
_WIDE_AT_ONCE = 16  # groups with a long memory whose energies are kept meanwhile: 64 MB
_SMALLEST_WAIT = np.float32(2**-25)  # in float32 zeros stand for waits below this, and must not become infinite noise


@dataclass(frozen=True)
class Target:
    """Posteriors of some groups of some signals against their prior, in whitened coordinates.

    Attributes:
        mean: ``(signals, groups, width)``; columns beyond a group's end are 0.
        deviation: ``(signals, groups, width)``, positive; columns beyond a group's end are 1.
    """

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @property
    def signals(self) -> int:
        """Number of signals."""
        return len(self.mean)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.mean.shape[1])

    @property
    def width(self) -> int:
        """Number of columns of the widest group."""
        return int(self.mean.shape[2])

    def of_some(self, signal: int, groups: slice) -> Posterior:
        """Means and deviations of some groups of a signal, ``(groups, width)`` each."""
        return self.mean[signal, groups], self.deviation[signal, groups]


@dataclass(frozen=True, eq=False)
class LazyTarget:
    """Posteriors of the groups of one signal, which are made when they are asked for; otherwise as :class:`Target`.

    Of groups so large that no candidate is any good, as in the smallest of files, not all latents are looked at.

    Attributes:
        part: which latents the groups hold.
        posterior: gives the whitened means and deviations of latents by their numbers.
    """

    signals: ClassVar[int] = 1
    part: Partition
    posterior: Callable[[npt.NDArray[np.int32]], Posterior]

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.part.groups

    @property
    def width(self) -> int:
        """Number of columns of the widest group."""
        return min(max(self.part.width, 1), MOST_COLUMNS)

    @cached_property
    def _begins(self) -> npt.NDArray[np.int64]:
        """Where each group begins in the order of latents, and where the last one ends."""
        return np.searchsorted(self.part.group, np.arange(self.groups + 1, dtype=np.int32))

    def of_some(self, signal: int, groups: slice) -> Posterior:
        """Means and deviations of some groups, ``(groups, columns)`` each."""
        del signal  # there is one
        begins, ends = self._begins[:-1][groups], self._begins[1:][groups]
        counts = np.minimum(ends - begins, MOST_COLUMNS)
        shape = len(counts), max(int(counts.max(initial=0)), 1)
        held = np.arange(shape[1]) < counts[:, None]
        mean, deviation = np.zeros(shape), np.ones(shape)
        places = (begins[:, None] + np.arange(shape[1]))[held]
        mean[held], deviation[held] = self.posterior(self.part.order[places])
        return mean, deviation


def search(
    target: Target | LazyTarget,
    chaining: Chaining,
    key: int,
    coded: npt.NDArray[np.int64],
    method: str,
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """The index of a candidate of each of some groups that follow one another: ``(signals, groups)``.

    The signals share the noise of A* coding. A caller that decides only some of them and searches the rest again should
    give a dozen groups of each chain beyond those, or else paths end where the next group has no good candidates.

    Args:
        target: their posteriors.
        chaining: how indices name rows.
        key: of the table.
        coded: indices of all groups before the target's first one, ``(signals, first)``.
        method: one of ``METHODS``.
        generator: source of the Gumbel noise, the encoder's own; only A* coding draws from it.

    Raises:
        UsageError: there is no such method.
    """
    check_method(method)
    job = _Job(target, chaining, key, coded, native.kernel())
    noise = generator if method == "astar" else None
    if chaining.bits == 16:
        return _independent(job, noise)
    return _best_paths(job) if method == "viterbi" else _single_paths(job, noise)


def target(part: Partition, mean: npt.NDArray[np.floating], deviation: npt.NDArray[np.floating], count: int) -> Target:
    """The posteriors of the first groups of a stage of one signal.

    Of groups so large that no candidate is any good, as in the smallest of files, not all latents are looked at.

    Args:
        part: which latents the groups hold.
        mean: whitened posterior means of the stage's latents, ``(latents,)``.
        deviation: their deviations.
        count: number of groups.
    """
    some = slice(0, int(np.searchsorted(part.group, count)))
    order, group, column = part.order[some], part.group[some], part.column[some]
    if len(column) and column.max() >= MOST_COLUMNS:
        known = column < MOST_COLUMNS
        order, group, column = order[known], group[known], column[known]
    width = int(column.max(initial=0)) + 1
    posteriors = Target(np.zeros((1, count, width)), np.ones((1, count, width)))
    posteriors.mean[0, group, column], posteriors.deviation[0, group, column] = mean[order], deviation[order]
    return posteriors


def check_method(method: str) -> None:
    """Refuse what is not in ``METHODS``.

    Raises:
        UsageError: there is no such method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no search {method}; choose {', '.join(METHODS[:-1])} or {METHODS[-1]}")


def gumbel_noise(groups: int, candidates: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Independent standard Gumbel noise, ``(groups, candidates)``.

    A* sampling visits candidates in the order of decreasing noise, and draws fresh candidates for every group, so that
    the order of their numbers will do (Maddison et al., "A* sampling", NeurIPS 2014). Here all groups share one table:
    the order must be a random one, or the first rows would be chosen again and again. Independent noise is that.
    """
    noise = generator.standard_exponential((groups, candidates), dtype=np.float32)
    np.maximum(noise, _SMALLEST_WAIT, out=noise)
    return np.negative(np.log(noise, out=noise), out=noise)


def forget() -> None:
    """Let go of the candidates that are kept for the next signal with the same prior."""
    energies.forget()


@dataclass(frozen=True)
class _Job:
    """What to search, the arguments of :func:`search`, and the kernel to do it with."""

    target: Target | LazyTarget
    chaining: Chaining
    key: int
    coded: npt.NDArray[np.int64]
    kernel: Kernel

    @property
    def groups(self) -> int:
        """Number of groups to choose."""
        return self.target.groups

    def energies_of(self, signal: int, some: slice) -> energies.Energies:
        """How the energies of some groups of a signal are computed."""
        return energies.energies_of(*self.target.of_some(signal, some))


def _independent(job: _Job, generator: np.random.Generator | None) -> npt.NDArray[np.int64]:
    """Groups of 16 bits, with Gumbel noise if there is a generator: the previous index is the high byte of a row."""
    signals = job.target.signals
    chosen = np.empty((signals, job.groups), dtype=np.int64)
    total = np.empty((1, STATES, STATES), dtype=np.int32)
    for number in range(job.groups):
        noise = 0 if generator is None else gumbel_noise(1, sampler.TABLE_ROWS, generator).reshape(total.shape)
        for signal in range(signals):
            group = job.energies_of(signal, slice(number, number + 1))
            columns = int(group.columns[0])
            total[:] = 0
            job.kernel.add(_table(job, columns), group.weights[0, :columns], total)
            low, high = divmod(int((total * group.units[0] - noise).argmin()), STATES)
            chosen[signal, number] = STATES * high + low
    return chosen


def _single_paths(job: _Job, generator: np.random.Generator | None) -> npt.NDArray[np.int64]:
    """One path through each chain of every signal, from one group to the next, with noise if there is a generator."""
    first = job.coded.shape[1]
    indices = np.append(job.coded, np.zeros((len(job.coded), job.groups), dtype=np.int64), axis=1)
    for begin in range(0, job.groups, _AT_ONCE):
        some = slice(begin, min(begin + _AT_ONCE, job.groups))
        noise = None if generator is None else gumbel_noise(some.stop - begin, STATES, generator)
        for signal, path in enumerate(indices):
            job.kernel.follow(job.energies_of(signal, some), job.key, path, first + begin, job.chaining, noise)
    return indices[:, first:]


def _best_paths(job: _Job) -> npt.NDArray[np.int64]:
    """The best path through each chain of every signal."""
    chains = job.chaining.chains
    chosen = np.empty((len(job.coded), job.groups), dtype=np.int64)

    def choose(item: tuple[int, int]) -> None:
        signal, begin = item
        chosen[signal, begin::chains] = _best_path(job, signal, begin)

    items = [(signal, begin) for signal in range(len(chosen)) for begin in range(chains)]
    if job.chaining.long:  # each of which uses the threads itself
        for item in items:
            choose(item)
    else:
        threads.mapped(choose, items)
    return chosen


def _best_path(job: _Job, signal: int, begin: int) -> npt.NDArray[np.int64]:
    """The best path through the groups of the chain of group number ``begin`` of a signal."""
    chains, first = job.chaining.chains, job.coded.shape[1]
    groups = range(begin, job.groups, chains)
    planes = LONG_PLANES if job.chaining.long else 1
    cost = _first_cost(job.coded[signal, (first + begin) % chains :: chains], planes)
    back = np.empty((len(groups), planes, STATES), dtype=np.uint8)
    many = job.chaining.long and job.target.width > LANES
    at_once = _WIDE_AT_ONCE if many else _AT_ONCE
    for number in range(0, len(groups), at_once):
        some = slice(number, number + at_once)
        those = groups[some]
        parts, start = job.energies_of(signal, slice(those.start, those.stop, chains)), None
        if many:
            start, parts = _sums(job, parts), parts.of_first(0)
        job.kernel.advance(_table(job, int(parts.columns.max())), parts, start, cost, back[some])
    return _traced(cost, back)


def _first_cost(coded: npt.NDArray[np.int64], planes: int) -> npt.NDArray[np.float32]:
    """By plane and way: nothing for the way from the coded indices of a chain, infinity for the others."""
    older, previous = (int(index) for index in np.append([0, 0], coded[-2:])[-2:])
    cost = np.full((planes, STATES), np.inf, dtype=np.float32)
    cost[previous % planes, older % planes * (STATES // planes) + previous // planes] = 0
    return cost


def _sums(job: _Job, parts: energies.Energies) -> npt.NDArray[np.int32]:
    """Energies of all candidates of some groups with a long memory, ``(groups, 16, 256, 256)``.

    The table is so large that to read it for every step of a path would take longer than to read these sums: here it
    is read once for all groups. Of columns beyond the 64th no table is kept.
    """
    columns = int(parts.columns.max())
    sums = np.zeros((len(parts.units), LONG_PLANES, STATES, STATES), dtype=np.int32)

    def add(table: tuple[Block, ...], first: int) -> None:
        weights = np.ascontiguousarray(parts.weights[:, first : first + len(table) * LANES])
        counts = np.maximum(parts.columns - first, 0)

        def add_plane(plane: int) -> None:
            planes = tuple(block[plane : plane + 1] for block in table)
            for group, count, total in zip(weights, counts, sums[:, plane : plane + 1], strict=True):
                job.kernel.add(planes, group[:count], total)

        threads.mapped(add_plane, range(LONG_PLANES))

    add(_table(job, min(columns, MOST_LONG_COLUMNS)), 0)
    block = energies.empty_block(long=True)
    for first in range(MOST_LONG_COLUMNS, columns, LANES):
        job.kernel.fill(block, first // LANES, job.key)
        add((block,), first)
    return sums


def _traced(cost: npt.NDArray[np.float32], back: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The indices along the path that ends with the least cost, ``(groups,)``.

    Args:
        cost: after the last group, ``(planes, 256)``.
        back: the ways of the best paths to each state, ``(groups, planes, 256)``.
    """
    chosen = np.empty(len(back), dtype=np.int64)
    planes, ways = len(cost), back.data
    plane, way = divmod(int(cost.argmin()), STATES)
    for number in reversed(range(len(back))):
        older, high = divmod(way, STATES // planes)
        index = high * planes + plane
        chosen[number] = index
        plane, way = older, ways[number, older, index]
    return chosen


def _table(job: _Job, columns: int) -> tuple[Block, ...]:
    """The first columns of the table of candidates."""
    return energies.table(columns, job.key, job.chaining.long, job.kernel.fill)
