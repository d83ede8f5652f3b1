"""The classes of a phase: first labels, assignments, and the closed-form update of every class.

Sources: the update is that of Guo et al. 2023, equation 7, with covariances in the place of variances; the alternation
is hard expectation maximisation with the rate-distortion cost of a tile in the place of its likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....system import threads
from ..mixtures import OCTAVE, PhaseMixture, class_costs

if TYPE_CHECKING:
    from ..learning import MixturePlan

Array = npt.NDArray[Any]

FEWEST_TILES = 50  # of a class; one with fewer takes half of the largest instead

_TILES_AT_ONCE = 4096
_SHRINKAGE = 400.0  # a class's covariance is drawn to the usual correlations as if those came from so many tiles
_SCALE_SHRINKAGE = 50.0  # and its variances, for that purpose, to the usual ones of its total variance
_COMPRESSED = 48  # dimensions whose magnitudes decide the first assignment
_FIRST_TURNS = 5  # of the first assignment


@dataclass(frozen=True, eq=False)
class Tiles:
    """The tiles of one phase.

    Attributes:
        projected: weights in the learned matrix's dimensions, ``(tiles, dimensions)``.
        outside: squared length of the weights beyond it, ``(tiles,)``.
        context: projected surroundings, ``(tiles, kept)``.
        weights: of the network, ``(tiles, latents)``.
        surroundings: of the tiles, ``(tiles, samples around)``.
        projection: the learned matrix, ``(latents, dimensions)``.
        kept: takes surroundings to their projection, ``(samples around, kept)``.
    """

    projected: Array
    outside: Array
    context: Array
    weights: Array
    surroundings: Array
    projection: Array
    kept: Array


def update(means: Array, covariances: Array) -> tuple[Array, Array]:
    """The closed-form prior of some posteriors with covariances (Guo et al. 2023, equation 7).

    Args:
        means: posterior means, ``(signals, latents)``.
        covariances: posterior covariances, ``(signals, latents, latents)``, or their average ``(latents, latents)``.

    Returns:
        mean = average of the means; covariance = average of covariance + outer product of the mean's deviation.
    """
    mean = means.mean(axis=0)
    deviation = means - mean
    average = covariances if covariances.ndim == 2 else covariances.mean(axis=0)
    return mean, average + deviation.T @ deviation / len(means)


def updated(plan: MixturePlan, tiles: Tiles, labels: npt.NDArray[np.int64], lowest: int) -> PhaseMixture:
    """The closed-form update of the classes; the dependence on the surroundings is the same in all of them.

    What is stored is the covariance of the data around the mean; the posteriors' own covariance is in it, since the
    fixed point of the update is max(variance - s2, 0) (see :mod:`combiner_cli.families.linear.mixtures`).
    """
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.searchsorted(labels[order], np.arange(1, plan.components)))
    means = np.stack([tiles.projected[rows].mean(axis=0) for rows in members])
    around = np.stack([tiles.context[rows].mean(axis=0) for rows in members])
    gain = regression(tiles.context - around[labels], tiles.projected - means[labels])
    mean = means - around @ gain
    residual = tiles.projected - tiles.context @ gain - mean[labels]
    average = residual.T @ residual / len(residual)

    def principal_axes(rows: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Directions of a class, the widest ones first, and the levels of their variances."""
        covariance = _shrunk(residual[rows], average)
        if plan.covariance == "diagonal":
            variances, vectors = np.diagonal(covariance), np.eye(len(covariance), dtype=covariance.dtype)
        else:
            variances, vectors = np.linalg.eigh(covariance)
        level = np.rint(OCTAVE * np.log2(np.maximum(variances, 2.0**-30))).astype(np.int64)
        used = np.argsort(-level, kind="stable")[: int((level > lowest).sum())]
        return vectors[:, used].T, level[used]

    directions, levels = zip(*threads.mapped(principal_axes, members), strict=True)
    first = np.cumsum([0, *(len(level) for level in levels)])
    nothing = np.zeros((0, 0), dtype=np.float32)
    return PhaseMixture(nothing, gain, mean, first, np.concatenate(directions), np.concatenate(levels))


def _shrunk(residual: Array, average: Array) -> Array:
    """A class's covariance, drawn to one with its own variances and the correlations of all tiles.

    Drawn to the average covariance itself, the classes of flat tiles would take over the variances of lively ones.

    Args:
        residual: of the class's tiles, ``(tiles, dimensions)``.
        average: covariance of all tiles, ``(dimensions, dimensions)``.
    """
    count = len(residual)
    sums = residual.T @ residual
    usual = np.diagonal(average)
    expected = usual * (np.trace(sums) / np.trace(average))
    variances = (np.diagonal(sums) + _SCALE_SHRINKAGE * expected / max(count, 1)) / (count + _SCALE_SHRINKAGE)
    scale = np.sqrt(variances / usual)
    drawn: Array = (sums + _SHRINKAGE * average * scale[:, None] * scale) / (count + _SHRINKAGE)
    return drawn


def assign(tiles: Tiles, phase: PhaseMixture, noise: int) -> tuple[npt.NDArray[np.int64], float]:
    """The best class of every tile, and the average cost."""
    count = len(tiles.projected)

    def assigned(first: int) -> tuple[npt.NDArray[np.int64], float]:
        """The same of some tiles, with their whole cost."""
        some = slice(first, first + _TILES_AT_ONCE)
        residual = tiles.projected[some] - tiles.context[some] @ phase.gain
        costs = class_costs(residual, tiles.outside[some], phase, noise)
        return costs.argmin(axis=1), float(costs.min(axis=1).sum(dtype=np.float64))

    labels, costs = zip(*threads.mapped(assigned, range(0, count, _TILES_AT_ONCE)), strict=True)
    return np.concatenate(labels), sum(costs) / count


def refill(labels: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], generator: np.random.Generator) -> None:
    """Give half of the largest class to each that has hardly any tiles left, in place."""
    for small in np.flatnonzero(sizes < FEWEST_TILES):
        large = int(sizes.argmax())
        members = np.flatnonzero(labels == large)
        moved = generator.permutation(members)[: len(members) // 2]
        labels[moved] = small
        sizes[small] += len(moved)
        sizes[large] -= len(moved)


def first_labels(projected: Array, components: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """k-means on compressed magnitudes, in which a texture and its negative are the same."""
    feature = np.sqrt(np.abs(projected[:, :_COMPRESSED]))
    centres = feature[generator.choice(len(feature), components, replace=False)]
    labels = np.zeros(len(feature), dtype=np.int64)
    for _ in range(_FIRST_TURNS):
        for first in range(0, len(feature), _TILES_AT_ONCE):
            some = slice(first, first + _TILES_AT_ONCE)
            labels[some] = ((centres**2).sum(axis=1) - 2 * feature[some] @ centres.T).argmin(axis=1)
        for number in range(components):
            if (labels == number).any():
                centres[number] = feature[labels == number].mean(axis=0)
    refill(labels, np.bincount(labels, minlength=components), generator)
    return labels


def regression(around: Array, values: Array) -> Array:
    """Least squares of centred values on centred surroundings, ``(kept, dimensions)``."""
    if around.shape[1] == 0:
        return np.zeros((0, values.shape[1]), dtype=values.dtype)
    gram = (around.T @ around).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram) + 1e-9
    solution: Array = np.linalg.solve(gram, (around.T @ values).astype(np.float64)).astype(values.dtype)
    return solution


def principal(values: Array, most: int) -> Array:
    """The directions of the largest variance of centred values as orthonormal columns, ``(dimensions, most)``."""
    variances, vectors = np.linalg.eigh((values.T @ values).astype(np.float64) / len(values))
    directions: Array = vectors[:, np.argsort(-variances, kind="stable")[: min(most, len(variances))]].astype(
        values.dtype
    )
    return directions
