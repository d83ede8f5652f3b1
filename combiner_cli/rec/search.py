"""Relative entropy coding: choose the candidates of groups, one after the other or as the best path over a chain.

- ``astar``: A* coding along one path: log q/p plus Gumbel noise decides, so that what is chosen is distributed like the
  posterior (Flamich et al., "Fast relative entropy coding with A* coding", ICML 2022; Guo et al. 2023, section 3.3).
- ``best``: the same without the noise: the candidate with the largest log q/p.
- ``viterbi``: of all paths through chained 8-bit groups the one with the largest sum of log q/p (Viterbi, 1967): for
  each of the 256 values of the last index the best path so far is kept (with a long memory,
  :mod:`.long_memory`, 4,096 paths). Groups of 16 bits do not depend on each other, their best path is the
  best candidate of each.

The energy of a candidate is -log q/p in nats, up to a constant of its group. What is chosen for a signal depends
neither on what else is in the batch nor on the number of threads: every matrix product is of one signal and of a fixed
shape, small enough that the library behind numpy does not divide it among threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..system import threads
from . import candidates as coder
from . import long_memory, sampler
from .candidates import STATES, Chaining
from .groups import Partition

METHODS = ("astar", "best", "viterbi")

_FEW, _MANY = 4, 16  # groups whose energies are computed together
_WIDE, _FEW_ROWS = 256, 64  # columns of which so many times 256 rows are made faster than the whole table
_MOST_COLUMNS = 1024  # of a group that are looked at; the table of more would take gigabytes
_MOST_TERMS = 64  # of a sum in one matrix product: 16 · 64 · 256 is the largest product that is not divided
_MOST_PRODUCT = 1024  # rows times terms of a product, for the same reason
_PATHS_AT_ONCE = 32  # for the same reason
_CACHED = 2**17  # numbers that stay in a core's cache
_SMALLEST_WAIT = np.float32(2**-25)  # in float32 zeros stand for waits below this, and must not become infinite noise
_SMALLEST_DEVIATION = 2**-10  # below it float32 cannot tell candidates apart: the closest ones win all the same
_LARGEST_MEAN = 2**10  # candidates end at 4.4: farther means do not change which is the closest


@dataclass(frozen=True)
class Target:
    """Posteriors of some groups of some signals against their prior, in whitened coordinates.

    Attributes:
        mean: ``(signals, groups, width)``; columns beyond a group's end are 0.
        deviation: ``(signals, groups, width)``, positive; columns beyond a group's end are 1.
    """

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


@dataclass(frozen=True)
class JointTarget:
    """Posterior of some groups of one signal with all their covariances, in whitened coordinates.

    Attributes:
        mean: ``(latents,)``, in coding order.
        factor: ``(latents, latents)``, lower triangular C; the covariance is C·C'.
        group: group of each latent, from 0 on, ``(latents,)``, never decreasing.
        column: position of each latent within its group, ``(latents,)``.
        groups: number of groups; ``None`` where the last latent is in the last group.
    """

    mean: npt.NDArray[np.float64]
    factor: npt.NDArray[np.float64]
    group: npt.NDArray[np.integer]
    column: npt.NDArray[np.integer]
    groups: int | None = None


def search(
    target: Target,
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
    if chaining.bits == 8 and method != "viterbi":
        return _single_paths(target, chaining, key, coded, _chain_noise(method, generator))
    coefficients = [_coefficients(*posterior) for posterior in zip(target.mean, target.deviation, strict=True)]
    if chaining.long:
        pairs = zip(coefficients, coded, strict=True)
        return np.stack([long_memory.best_path(table, key, before) for table, before in pairs])
    _, groups, width = target.mean.shape
    features = _features(_whole_blocks(width), key)
    kind = _Independent if chaining.bits == 16 else _Trellis
    walks = [kind(chaining.chains, groups, before) for before in coded]
    at_once = _FEW if groups <= _FEW else _MANY
    buffers = [np.empty((2, at_once, STATES, STATES), dtype=np.float32) for _ in range(2)]
    blocks = [slice(begin, min(begin + at_once, groups)) for begin in range(0, groups, at_once)]

    def energies(item: tuple[slice, int], buffer: int) -> npt.NDArray[np.float32]:
        block, signal = item
        found, scratch = buffers[buffer]
        _energies(coefficients[signal][block], features, found, scratch)
        costs: npt.NDArray[np.float32] = found[: block.stop - block.start]
        return costs

    items = [(block, signal) for block in blocks for signal in range(len(walks))]
    for (block, signal), costs in zip(items, threads.ahead(energies, items), strict=True):
        if method == "astar":
            if signal == 0:
                shape = (block.stop - block.start, STATES, STATES)
                noise = gumbel_noise(shape[0], sampler.TABLE_ROWS, generator).reshape(shape)
            costs -= noise
        walks[signal].advance(costs, block.start)
    return np.stack([walk.chosen() for walk in walks])


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
    if len(column) and column.max() >= _MOST_COLUMNS:
        known = column < _MOST_COLUMNS
        order, group, column = order[known], group[known], column[known]
    width = int(column.max(initial=0)) + 1
    found = Target(np.zeros((1, count, width)), np.ones((1, count, width)))
    found.mean[0, group, column], found.deviation[0, group, column] = mean[order], deviation[order]
    return found


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


def _chain_noise(method: str, generator: np.random.Generator) -> Callable[[int], npt.NDArray[np.float32] | None]:
    """The noise of all candidates of the next so many groups of a path, ``(groups, 256)``, or ``None``."""
    return lambda groups: gumbel_noise(groups, STATES, generator) if method == "astar" else None


def _single_paths(
    target: Target,
    chaining: Chaining,
    key: int,
    coded: npt.NDArray[np.int64],
    noise: Callable[[int], npt.NDArray[np.float32] | None],
) -> npt.NDArray[np.int64]:
    """One path through each chain of 8-bit groups of every signal, from one group to the next: ``(signals, groups)``.

    Only the 256 rows that go on from the path are looked at.
    """
    (signals, groups, width), chains = target.mean.shape, chaining.chains
    mean, deviation = _bounded(target.mean, target.deviation)
    precision = deviation**-2.0
    linear, square = (-mean * precision)[:, :, None], (0.5 * precision - 0.5)[:, :, None]
    # zeros stand for the indices before the first
    start = max(chains, 2) + coded.shape[1]
    indices = np.zeros((signals, start + groups), dtype=np.int64)
    indices[:, start - coded.shape[1] : start] = coded
    for begin in range(0, groups, chains):
        run = slice(begin, min(begin + chains, groups))
        first = STATES * indices[:, start + run.start - chains : start + run.stop - chains]
        if chaining.long:
            first = first + coder.older_part(indices[:, start + run.start - 2 : start + run.stop - 2])
        values = _candidates(first, width, key, chaining.long or (width > _WIDE and signals * groups < _FEW_ROWS))
        energies = ((values * square[:, run] + linear[:, run]) * values).sum(axis=3)
        drawn = noise(run.stop - begin)
        if drawn is not None:
            energies -= drawn
        indices[:, start + run.start : start + run.stop] = energies.argmin(axis=2)
    return indices[:, start:]


def _candidates(first: npt.NDArray[np.int64], width: int, key: int, alone: bool) -> npt.NDArray[np.float64]:
    """The 256 rows from each of some on, ``(..., 256, width)``: made alone, or taken from the whole table."""
    if not alone:
        table = sampler.table(_whole_blocks(width), key).reshape(STATES, STATES, -1)
        return table[first // STATES, :, :width].astype(np.float64)
    rows = first[..., None] + np.arange(STATES)
    blocks = [sampler.row_columns(block, rows, key) for block in range(-(-width // sampler.LANES))]
    return np.moveaxis(np.concatenate(blocks)[:width], 0, -1).astype(np.float64, order="C")


def _bounded(
    mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means and deviations with which every energy is a finite float32."""
    return np.clip(mean, -_LARGEST_MEAN, _LARGEST_MEAN), np.maximum(deviation, _SMALLEST_DEVIATION)


def _coefficients(mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The energy of a candidate z is [z, z² − 1] of each column times this: ``(groups, 2 · width)``."""
    mean, deviation = _bounded(mean, deviation)
    precision = deviation**-2.0
    return np.stack([-mean * precision, 0.5 * precision - 0.5], axis=2).astype(np.float32).reshape(len(mean), -1)


def _whole_blocks(width: int) -> int:
    """A width rounded up to what one block of the sampler gives, so that few tables are made."""
    return -(-width // sampler.LANES) * sampler.LANES


def forget() -> None:
    """Let go of the candidates that are kept for the next signal with the same prior."""
    _features.cache_clear()
    long_memory.forget()


@lru_cache(maxsize=1)
def _features(width: int, key: int) -> npt.NDArray[np.float32]:
    """z and z² − 1 of every column by current and previous index, ``(256 current, 2 · width, 256 previous)``.

    The first features are those of the first columns. The mean of z² is taken off because a sum in float32 is the more
    exact the smaller it is.
    """
    features = np.empty((STATES, width, 2, STATES), dtype=np.float32)
    for block in range(width // sampler.LANES):
        columns = slice(block * sampler.LANES, (block + 1) * sampler.LANES)
        candidates = sampler.table_columns(block, key).reshape(-1, STATES, STATES).transpose(2, 0, 1)
        features[:, columns, 0] = candidates
        features[:, columns, 1] = candidates * candidates - 1
    features.setflags(write=False)
    return features.reshape(STATES, 2 * width, STATES)


def _energies(
    coefficients: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    energies: npt.NDArray[np.float32],
    scratch: npt.NDArray[np.float32],
) -> None:
    """Energies of all candidates of some groups of one signal.

    Args:
        coefficients: ``(groups, terms)``, at most as many groups as ``energies`` holds.
        features: of the table.
        energies: result, ``(groups, 256 current, 256 previous)``.
        scratch: of the same shape.
    """
    used = np.flatnonzero(coefficients.any(axis=0))
    terms = int(used[-1]) + 1 if len(used) else 1
    # always the same number of rows: another shape would be summed in another order
    padded = np.zeros((len(energies), terms), dtype=np.float32)
    padded[: len(coefficients)] = coefficients[:, :terms]
    np.matmul(padded[:, :_MOST_TERMS], features[:, : min(terms, _MOST_TERMS)], out=energies.transpose(1, 0, 2))
    for begin in range(_MOST_TERMS, terms, _MOST_TERMS):
        part = slice(begin, min(begin + _MOST_TERMS, terms))
        np.matmul(padded[:, part], features[:, part], out=scratch.transpose(1, 0, 2))
        energies += scratch


def _runs(first: int, groups: int, chains: int) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """Cut some groups from number ``first`` on into runs without two groups of one chain: positions, and chains."""
    for begin in range(0, groups, chains):
        run = slice(begin, min(begin + chains, groups))
        yield run, np.arange(first + run.start, first + run.stop) % chains


def _last_indices(chains: int, coded: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The last coded index of each chain, ``(chains,)``; 0 where there is none."""
    last = np.zeros(chains, dtype=np.int64)
    known = min(chains, len(coded))
    numbers = np.arange(len(coded) - known, len(coded))
    last[numbers % chains] = coded[numbers]
    return last


class _Walk(ABC):
    """The search through the groups of one signal, some groups at a time."""

    def __init__(self, chains: int, groups: int, coded: npt.NDArray[np.int64]) -> None:
        self._chains, self._first = chains, len(coded)
        self._last = _last_indices(chains, coded)
        self._chosen = np.zeros(groups, dtype=np.int64)

    @abstractmethod
    def advance(self, costs: npt.NDArray[np.float32], begin: int) -> None:
        """Go on to the groups from ``begin`` on; costs ``(groups, 256 current, 256 previous)`` may be overwritten."""

    def chosen(self) -> npt.NDArray[np.int64]:
        """The indices of all groups, ``(groups,)``."""
        return self._chosen


class _Independent(_Walk):
    """Groups of 16 bits: the previous index of the chained table is the high byte."""

    def advance(self, costs: npt.NDArray[np.float32], begin: int) -> None:
        best = costs.reshape(len(costs), -1).argmin(axis=1)
        self._chosen[begin : begin + len(costs)] = best % STATES * STATES + best // STATES


class _Trellis(_Walk):
    """The best paths through chained groups, one to each value of the last index of each chain."""

    def __init__(self, chains: int, groups: int, coded: npt.NDArray[np.int64]) -> None:
        super().__init__(chains, groups, coded)
        self._cost = np.full((chains, STATES), np.inf, dtype=np.float32)
        self._cost[np.arange(chains), self._last] = 0
        self._back = np.empty((groups, STATES), dtype=np.uint8)
        self._row_starts = np.arange(_MANY * STATES).reshape(_MANY, STATES) * STATES

    def advance(self, costs: npt.NDArray[np.float32], begin: int) -> None:
        for run, chains in _runs(self._first + begin, len(costs), self._chains):
            totals = costs[run]
            totals += self._cost[chains, None]
            previous = totals.argmin(axis=2)  # (groups, current)
            least = totals.reshape(-1)[previous + self._row_starts[: len(previous)]]
            self._back[begin + run.start : begin + run.stop] = previous
            # costs count from the best path on, so that they stay small enough for float32
            self._cost[chains] = least - least.min(axis=1, keepdims=True)

    def chosen(self) -> npt.NDArray[np.int64]:
        last = self._cost.argmin(axis=1)
        for run, chains in reversed(list(_runs(self._first, len(self._chosen), self._chains))):
            self._chosen[run] = last[chains]
            last[chains] = self._back[run][np.arange(len(chains)), last[chains]]
        return self._chosen


def search_joint(
    target: JointTarget, key: int, previous: int, method: str, generator: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """The index of a candidate of each group of a posterior with covariances, in one chain of 8 bits: ``(groups,)``.

    Given the candidates of a path so far, the next group is Gaussian with mean m_k + C_k,<k · ε_<k and factor C_kk,
    where ε are the standardised residuals of the groups before. Every path carries its own. The path that is found
    need not be the best of all, because what follows an index depends on the path to it. Groups beyond those that the
    caller decides help as in :func:`search`.

    Args:
        target: the posterior given everything that is coded before.
        key: of the table.
        previous: index of the group before the first; 0 at the start of a stage.
        method: one of ``METHODS``.
        generator: source of the Gumbel noise of A* coding.

    Raises:
        UsageError: there is no such method, or A* coding has no generator.
    """
    check_method(method)
    if method == "astar" and generator is None:
        raise UsageError("A* coding needs a generator of noise; pass one")
    groups = target.groups if target.groups is not None else int(target.group.max(initial=-1)) + 1
    bounds = np.searchsorted(target.group, np.arange(groups + 1))
    width = int(np.diff(bounds).max(initial=1))
    features = _features(_whole_blocks(width), key)
    paths = _first_paths(previous, method)
    back = np.zeros((groups, STATES), dtype=np.int64)
    for number in range(groups):
        conditional = _conditional(target, slice(bounds[number], bounds[number + 1]), paths.residuals)
        if method == "viterbi":
            paths, back[number] = _joint_step(paths, conditional, features)
        else:
            noise = None if method == "best" or generator is None else gumbel_noise(1, STATES, generator)[0]
            paths = _joint_choice(paths, conditional, features, noise)
            back[number] = paths.last
    return _joint_chosen(paths, back, method)


@dataclass(frozen=True)
class _JointPaths:
    """Paths through the groups so far.

    Attributes:
        last: last index of each path, ``(paths,)``.
        cost: of each path, relative to the best, ``(paths,)``.
        residuals: standardised, of all latents so far, ``(paths, latents so far)``.
    """

    last: npt.NDArray[np.int64]
    cost: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Conditional:
    """Posterior of one group given each path.

    Attributes:
        whitener: inverse of the factor by column of the table, ``(latents, columns)``.
        held: 1 for the columns that hold a latent, ``(columns,)``.
        offset: whitened mean given each path, ``(paths, latents)``.
    """

    whitener: npt.NDArray[np.float64]
    held: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def evaluate(
        self, candidates: npt.NDArray[np.float64], path: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Residuals ``(count, latents)`` and energies ``(count,)`` of candidates ``(count, columns)`` after paths."""
        residuals = candidates @ self.whitener.T - self.offset[path]
        return residuals, 0.5 * (residuals**2).sum(axis=1) - 0.5 * candidates**2 @ self.held


def _first_paths(previous: int, method: str) -> _JointPaths:
    """Without a group: one path, or for Viterbi one per state, of which one is real."""
    if method != "viterbi":
        return _JointPaths(np.array([previous]), np.zeros(1), np.zeros((1, 0)))
    cost = np.full(STATES, np.inf)
    cost[previous] = 0
    return _JointPaths(np.arange(STATES), cost, np.zeros((STATES, 0)))


def _conditional(target: JointTarget, group: slice, residuals: npt.NDArray[np.float64]) -> _Conditional:
    """The posterior of the latents at some positions given the residuals of those before, ``(paths, before)``."""
    column, factor = target.column[group], target.factor[group, group].copy()
    latents, columns = len(column), int(column.max(initial=0)) + 1
    diagonal = np.arange(latents)
    factor[diagonal, diagonal] = np.maximum(factor[diagonal, diagonal], _SMALLEST_DEVIATION)
    inverse = np.linalg.inv(factor)
    # in parts, for the sake of the same sums with any number of threads
    at_once = min(len(residuals), _PATHS_AT_ONCE)
    parts = residuals.reshape(len(residuals) // at_once, at_once, group.start)
    shift = (parts @ target.factor[group, : group.start].T).reshape(len(residuals), latents)
    mean = np.clip(target.mean[group] + shift, -_LARGEST_MEAN, _LARGEST_MEAN)
    whitener, held = np.zeros((latents, columns)), np.zeros(columns)
    whitener[:, column], held[column] = inverse, 1
    return _Conditional(whitener, held, mean @ inverse.T)


def _joint_choice(
    paths: _JointPaths,
    conditional: _Conditional,
    features: npt.NDArray[np.float32],
    noise: npt.NDArray[np.float32] | None,
) -> _JointPaths:
    """Continue one path with its best candidate."""
    candidates = features[:, : 2 * len(conditional.held) : 2, paths.last[0]].astype(np.float64)
    residuals, energies = conditional.evaluate(candidates, np.zeros(STATES, dtype=np.int64))
    chosen = np.argmin(energies if noise is None else energies - noise)
    return _JointPaths(np.array([chosen]), paths.cost, np.append(paths.residuals, residuals[[chosen]], axis=1))


def _joint_step(
    paths: _JointPaths, conditional: _Conditional, features: npt.NDArray[np.float32]
) -> tuple[_JointPaths, npt.NDArray[np.int64]]:
    """For each current index the best path to it, and the index before it on that path, ``(256,)``."""
    columns = 2 * len(conditional.held)
    values, squares = features[:, :columns:2], features[:, 1:columns:2]  # (current, columns, previous)
    previous = (_joint_energies(conditional, values, squares) + paths.cost.astype(np.float32)).argmin(axis=1)
    # what float32 decided is counted in float64: 256 candidates instead of 65,536
    residuals, energies = conditional.evaluate(values[paths.last, :, previous].astype(np.float64), previous)
    cost = paths.cost[previous] + energies
    history = np.append(paths.residuals[previous], residuals, axis=1)
    return _JointPaths(paths.last, cost - cost.min(), history), previous


def _joint_energies(
    conditional: _Conditional, values: npt.NDArray[np.float32], squares: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Energies of all candidates, each after the best path to its previous index: ``(256 current, 256 previous)``."""
    whitener = conditional.whitener.astype(np.float32)
    offset, held = conditional.offset.T.astype(np.float32), conditional.held.astype(np.float32)
    latents, columns = whitener.shape
    rows = max(1, _MOST_PRODUCT // columns)
    energies = np.empty((STATES, STATES), dtype=np.float32)
    at_once = min(STATES, max(1, _CACHED // (STATES * max(1, latents))))
    residuals = np.empty((at_once, latents, STATES), dtype=np.float32)
    for begin in range(0, STATES, at_once):
        block = slice(begin, min(begin + at_once, STATES))
        some = residuals[: block.stop - begin]
        for row in range(0, latents, rows):
            np.matmul(whitener[row : row + rows], values[block], out=some[:, row : row + rows])
        some -= offset
        np.einsum("clp,clp->cp", some, some, out=energies[block])
        energies[block] -= np.einsum("l,clp->cp", held, squares[block])
    energies *= np.float32(0.5)
    return energies


def _joint_chosen(paths: _JointPaths, back: npt.NDArray[np.int64], method: str) -> npt.NDArray[np.int64]:
    """The indices along the best path, ``(groups,)``."""
    if method != "viterbi":
        return back[:, 0].copy()
    chosen = np.zeros(len(back), dtype=np.int64)
    state = int(paths.cost.argmin())
    for number in reversed(range(len(back))):
        chosen[number], state = state, int(back[number, state])
    return chosen
