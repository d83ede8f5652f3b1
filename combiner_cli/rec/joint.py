"""Relative entropy coding of a posterior with all its covariances, in one chain of 8-bit groups.

What is chosen depends neither on the number of threads nor on other work: every matrix product is of a fixed shape,
small enough that the library behind numpy does not divide it among threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from . import energies, native
from .candidates import STATES
from .energies import UNITS
from .search import check_method, gumbel_noise

_MOST_PRODUCT = 1024  # rows times terms of a matrix product: larger ones are divided among threads
_PATHS_AT_ONCE = 32  # for the same reason
_CACHED = 2**17  # numbers that stay in a core's cache
_SMALLEST_DEVIATION = 2**-10  # below it float32 cannot tell candidates apart: the closest ones win all the same
_LARGEST_MEAN = 2**10  # candidates end at 4.4: farther means do not change which is the closest


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
    values = _values(width, key)
    paths = _first_paths(previous, method)
    back = np.zeros((groups, STATES), dtype=np.int64)
    for number in range(groups):
        conditional = _conditional(target, slice(bounds[number], bounds[number + 1]), paths.residuals)
        if method == "viterbi":
            paths, back[number] = _step(paths, conditional, values)
        else:
            noise = None if method == "best" or generator is None else gumbel_noise(1, STATES, generator)[0]
            paths = _choice(paths, conditional, values, noise)
            back[number] = paths.last
    return _chosen(paths, back, method)


@dataclass(frozen=True)
class _Paths:
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


def _values(width: int, key: int) -> npt.NDArray[np.float32]:
    """The candidates of the first columns, ``(256 current, columns, 256 previous)``."""
    blocks = energies.table(width, key, False, native.kernel().fill)
    return np.concatenate([block[0] for block in blocks], axis=1)[:, :width] * np.float32(1 / UNITS)


def _first_paths(previous: int, method: str) -> _Paths:
    """Without a group: one path, or for Viterbi one per state, of which one is real."""
    if method != "viterbi":
        return _Paths(np.array([previous]), np.zeros(1), np.zeros((1, 0)))
    cost = np.full(STATES, np.inf)
    cost[previous] = 0
    return _Paths(np.arange(STATES), cost, np.zeros((STATES, 0)))


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


def _choice(
    paths: _Paths,
    conditional: _Conditional,
    values: npt.NDArray[np.float32],
    noise: npt.NDArray[np.float32] | None,
) -> _Paths:
    """Continue one path with its best candidate."""
    candidates = values[:, : len(conditional.held), paths.last[0]].astype(np.float64)
    residuals, energies = conditional.evaluate(candidates, np.zeros(STATES, dtype=np.int64))
    chosen = np.argmin(energies if noise is None else energies - noise)
    return _Paths(np.array([chosen]), paths.cost, np.append(paths.residuals, residuals[[chosen]], axis=1))


def _step(
    paths: _Paths, conditional: _Conditional, values: npt.NDArray[np.float32]
) -> tuple[_Paths, npt.NDArray[np.int64]]:
    """For each current index the best path to it, and the index before it on that path, ``(256,)``."""
    values = values[:, : len(conditional.held)]
    previous = (_energies(conditional, values) + paths.cost.astype(np.float32)).argmin(axis=1)
    # what float32 decided is counted in float64: 256 candidates instead of 65,536
    residuals, energies = conditional.evaluate(values[paths.last, :, previous].astype(np.float64), previous)
    cost = paths.cost[previous] + energies
    history = np.append(paths.residuals[previous], residuals, axis=1)
    return _Paths(paths.last, cost - cost.min(), history), previous


def _energies(conditional: _Conditional, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
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
        energies[block] -= np.einsum("l,clp->cp", held, values[block] * values[block])
    energies *= np.float32(0.5)
    return energies


def _chosen(paths: _Paths, back: npt.NDArray[np.int64], method: str) -> npt.NDArray[np.int64]:
    """The indices along the best path, ``(groups,)``."""
    if method != "viterbi":
        return back[:, 0].copy()
    chosen = np.zeros(len(back), dtype=np.int64)
    state = int(paths.cost.argmin())
    for number in reversed(range(len(back))):
        chosen[number], state = state, int(back[number, state])
    return chosen
