"""Training of a mixture prior in closed form: phase by phase, assign tiles to classes and update the classes, in turns.

Sources: the update is that of Guo et al. 2023, equation 7, with covariances in the place of variances; the alternation
is hard expectation maximisation with the rate-distortion cost of a tile in the place of its likelihood. Every phase
sees the surroundings that a decoder would have: samples of the posteriors of the phases before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DatasetError
from ...learning.checkpoint import TrainingState
from ...learning.report import Measurement, OperatingPoint, ranges_of
from ...learning.trainer import LearnedPrior, Training
from ...signals.signal import Tiling
from . import closed_form, mixtures
from .learning import FEWEST_TILES, MixturePlan
from .mixtures import NOISE_CODES, OCTAVE, Latents, PhaseMixture, class_costs, noise_level
from .neighbourhood import Canvas, Ring, blank, phase_tiles, phases
from .prior import MixturePrior, problem

Array = npt.NDArray[Any]

_TILES_AT_ONCE = 4096
_SHRINKAGE = 400.0  # a class's covariance is drawn to the usual correlations as if those came from so many tiles
_SCALE_SHRINKAGE = 50.0  # and its variances, for that purpose, to the usual ones of its total variance
_COMPRESSED = 48  # dimensions whose magnitudes decide the first assignment
_FIRST_TURNS = 5  # of the first assignment
_PILOT_TILES, _PILOT_COMPONENTS, _PILOT_ROUNDS = 1024, 4, 3
_PILOTS = 3
_USUAL_SLOPE = 0.05  # of the logarithm of the rate by the noise level
# The prior is meant for noise levels around that of learning, most of them below: classes that are learned at a high
# rate are better at a low one than those that are learned there.
_LEVELS_BELOW, _LEVELS_ABOVE = 28, 4
_LEVELS_MEASURED = 4  # noise levels between measurements of the finished prior


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


@dataclass(frozen=True)
class Round:
    """What a round has changed.

    Attributes:
        cost: KL + squared error / (2 · s2) of a training tile, average, in bits over its points, up to a constant.
        changed: share of the tiles that took another class.
        smallest: tiles of the smallest class.
    """

    cost: float
    changed: float
    smallest: int


class MixtureTraining(Training):
    """A mixture prior in training; a step is a round of a phase."""

    def __init__(self, plan: MixturePlan, training: Sequence[Array], held_out: Sequence[Array]) -> None:
        """Begin.

        Args:
            plan: settings.
            training: values of signals in [-1, 1], arrays of ``(planes, outputs, *shape)`` with whole tiles.
            held_out: signals that do not enter the prior, of the same form, at least one.
        """
        self._plan, self._training, self._held_out = plan, training, held_out
        self._phases: Phases | None = None
        self._last = Round(math.nan, 0.0, 0)

    def step(self, number: int) -> None:
        del number  # the state says which round is next
        if self._phases is None:
            self._phases = Phases(self._plan, self._training, _pilot(self._plan, self._training))
        self._last = self._phases.round()

    def is_measured(self, done: int) -> bool:
        return done > 0  # every round tells its cost

    def measure(self, done: int) -> Measurement:
        details = {"changed": self._last.changed, "smallest": float(self._last.smallest)}
        return Measurement(done, self._last.cost, None, details)

    def state(self) -> TrainingState:
        if self._phases is None:
            return TrainingState({"noise_level": None})
        done = self._phases
        facts = {"noise_level": done.noise_level, "finished": len(done.finished), "rounds": done.rounds}
        tensors = {
            f"{part.name}.{number}": getattr(phase, part.name)
            for number, phase in enumerate(done.finished)
            for part in fields(PhaseMixture)
        }
        if done.labels is not None:
            tensors["labels"] = done.labels
        return TrainingState(facts, tensors)

    def restore(self, state: TrainingState) -> None:
        if state.facts["noise_level"] is None:
            return
        names = [part.name for part in fields(PhaseMixture)]
        finished = [
            PhaseMixture(*(state.tensors[f"{name}.{number}"] for name in names))
            for number in range(int(state.facts["finished"]))
        ]
        self._phases = Phases(self._plan, self._training, int(state.facts["noise_level"]), finished)
        if "labels" in state.tensors:
            self._phases.go_on(state.tensors["labels"], int(state.facts["rounds"]))

    def finished(self, report: Callable[[float], None]) -> LearnedPrior:
        assert self._phases is not None
        prior = _prior(self._plan, self._phases.noise_level, self._phases.finished)
        points = _operating_points(prior, self._held_out, report)
        prior = replace(prior, **ranges_of(points))
        reason = problem(prior)
        if reason:
            raise DatasetError(f"the prior came out unusable ({reason}); aim at another rate or give more varied data")
        return LearnedPrior(prior, points)


class Phases:
    """The phases of a mixture prior, learned one after the other at a noise level.

    Attributes:
        noise_level: that they are learned at.
        finished: phases that are learned.
        labels: classes of the tiles of the phase that is being learned, ``(tiles,)``; ``None`` before its first round.
        rounds: that are done in it.
    """

    def __init__(
        self,
        plan: MixturePlan,
        training: Sequence[Array],
        level: int,
        finished: Sequence[PhaseMixture] = (),
    ) -> None:
        """Begin with the first phase that is not finished.

        Args:
            plan: settings.
            training: values of signals, as for :class:`MixtureTraining`.
            level: of noise.
            finished: phases that are learned already.
        """
        self.noise_level = level
        self.finished: list[PhaseMixture] = []
        self.labels: npt.NDArray[np.int64] | None = None
        self.rounds = 0
        self._plan, self._training = plan, training
        self._ring = Ring(plan.network.extent, plan.reach)
        self._layouts = [_counts(batch, self._ring.extent) for batch in training]
        self._canvases = [
            blank(self._ring, counts, len(batch), plan.network.outputs, np.float32)
            for batch, counts in zip(training, self._layouts, strict=True)
        ]
        self._tiles: _Tiles | None = None
        for number, phase in enumerate(finished):
            self._decode(phase, *self._inputs(number))

    @property
    def over(self) -> bool:
        """Whether all phases are learned."""
        return len(self.finished) == phases(len(self._ring.extent))

    def go_on(self, labels: npt.NDArray[np.int64], rounds: int) -> None:
        """Go on in the midst of a phase."""
        self.labels, self.rounds = labels, rounds

    def round(self) -> Round:
        """Assign tiles and update classes once; after the last round of a phase it is finished."""
        plan, number = self._plan, len(self.finished)
        if self._tiles is None:
            self._tiles = self._gathered(number)
        tiles, noise = self._tiles, noise_level(self.noise_level, plan.kind)
        lowest = noise - mixtures.NOISE_STEP * _LEVELS_ABOVE
        if self.labels is None:
            centred = tiles.weights - tiles.weights.mean(axis=0)
            self.labels = _first_labels(centred @ tiles.projection, plan.components, _generator(plan, number, 0))
        phase = _classes(plan, tiles, self.labels, lowest)
        labels, cost = _assign(tiles, phase, noise)
        changed = float((labels != self.labels).mean())
        sizes = np.bincount(labels, minlength=plan.components)
        _refill(labels, sizes, _generator(plan, number, self.rounds + 1))
        self.labels, self.rounds = labels, self.rounds + 1
        done = Round(cost / math.log(2) / math.prod(plan.network.extent), changed, int(sizes.min()))
        if self.rounds == plan.rounds:
            phase = _classes(plan, tiles, self.labels, lowest)
            phase = replace(phase, projection=tiles.projection, gain=tiles.kept @ phase.gain)
            self._decode(phase, tiles.weights, tiles.surroundings)
            self._tiles, self.labels, self.rounds = None, None, 0
        return done

    def _inputs(self, number: int) -> tuple[Array, Array]:
        """Weights and surroundings of the tiles of a phase."""
        picks = [phase_tiles(counts, number) for counts in self._layouts]
        parts = [_tiles(batch, self._ring, pick) for batch, pick in zip(self._training, picks, strict=True)]
        weights = self._plan.network.weights(np.concatenate(parts))
        return weights, np.concatenate([canvas.context(number) for canvas in self._canvases])

    def _gathered(self, number: int) -> _Tiles:
        """The learned matrix, and the tiles of a phase seen by it."""
        plan = self._plan
        weights, surroundings = self._inputs(number)
        known = bool(self._ring.decoded(number).any())
        kept = _principal(surroundings - surroundings.mean(axis=0), plan.context if known else 0)
        context = surroundings @ kept
        centred, around = weights - weights.mean(axis=0), context - context.mean(axis=0)
        projection = _principal(centred - around @ _regression(around, centred), plan.dimensions)
        projected = weights @ projection
        outside = np.maximum((weights**2).sum(axis=1) - (projected**2).sum(axis=1), 0)
        return _Tiles(projected, outside, context, weights, surroundings, projection, kept)

    def _decode(self, phase: PhaseMixture, weights: Array, surroundings: Array) -> None:
        """Finish a phase: what a decoder would have of its tiles becomes the surroundings of the next one."""
        plan, number = self._plan, len(self.finished)
        noise = noise_level(self.noise_level, plan.kind)
        classes = closed_form.best_classes(phase, weights, surroundings, noise)
        decoded = _sampled(Latents(phase, classes, noise), weights, surroundings, plan.seed + number)
        values = np.clip(plan.network.forward(decoded), -1, 1)
        first = 0
        for canvas, counts in zip(self._canvases, self._layouts, strict=True):
            pick = phase_tiles(counts, number)
            count = len(canvas.values) * len(pick)
            part = values[first : first + count].reshape(len(canvas.values), len(pick), *values.shape[1:])
            canvas.place(number, part)
            first += count
        self.finished.append(phase)


@dataclass(frozen=True, eq=False)
class _Tiles:
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


def _pilot(plan: MixturePlan, training: Sequence[Array]) -> int:
    """The noise level at which a few classes, learned from a part of the data, take the planned rate."""
    count = phases(len(plan.network.extent))
    part, tiles = [], 0
    for batch in training:
        of_plane = math.prod(batch.shape[2:]) // math.prod(plan.network.extent)
        part.append(batch[: max(1, (_PILOT_TILES * count - tiles) // of_plane)])
        tiles += len(part[-1]) * of_plane
        if tiles >= _PILOT_TILES * count:
            break
    level = NOISE_CODES // 3
    small = replace(plan, components=min(plan.components, _PILOT_COMPONENTS), rounds=_PILOT_ROUNDS)
    for _ in range(_PILOTS):
        pilot = Phases(small, part, level)
        while not pilot.over:
            pilot.round()
        of_rate = _level_of_rate(_prior(small, level, pilot.finished), part, plan.bits_per_point, level)
        if of_rate == level:
            break
        level = of_rate
    return level


def _level_of_rate(prior: MixturePrior, batches: Sequence[Array], rate: float, level: int) -> int:
    """The noise level at which signals take a rate, by Newton's method with the usual slope."""
    for _ in range(_PILOTS):
        measured, _ = _simulated(prior, batches, level)
        moved = level + round(math.log(rate / measured) / _USUAL_SLOPE)
        if moved == level:
            break
        level = min(max(moved, 0), NOISE_CODES - 1)
    return level


def _counts(batch: Array, extent: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size // tile for size, tile in zip(batch.shape[2:], extent, strict=True))


def _tiles(batch: Array, ring: Ring, pick: npt.NDArray[np.int64]) -> Array:
    """Some tiles of every plane, ``(planes · tiles, outputs, points)``."""
    whole = Canvas(Ring(ring.extent, 0), _counts(batch, ring.extent), batch).tiles()
    tiles: Array = whole.reshape(len(batch), -1, *whole.shape[1:])[:, pick]
    return tiles.reshape(-1, *whole.shape[1:])


def _sampled(latents: Latents, weights: Array, context: Array, seed: int) -> Array:
    """Weights of posterior samples, as a decoder might see them, ``(tiles, network latents)`` float32."""
    mean, deviation = latents.posterior(weights, context)
    noise = np.random.Generator(np.random.Philox(seed)).standard_normal(len(mean), dtype=np.float32)
    sample: Array = latents.weights(mean + deviation * noise, context).astype(np.float32)
    return sample


def _generator(plan: MixturePlan, phase: int, rounds: int) -> np.random.Generator:
    """The same after a resumption as without one."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([plan.seed, phase, rounds])))


def _classes(plan: MixturePlan, tiles: _Tiles, labels: npt.NDArray[np.int64], lowest: int) -> PhaseMixture:
    """The closed-form update of the classes; the dependence on the surroundings is the same in all of them.

    What is stored is the covariance of the data around the mean; the posteriors' own covariance is in it, since the
    fixed point of the update is max(variance - s2, 0) (see :mod:`combiner_cli.families.linear.mixtures`).
    """
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.searchsorted(labels[order], np.arange(1, plan.components)))
    means = np.stack([tiles.projected[rows].mean(axis=0) for rows in members])
    around = np.stack([tiles.context[rows].mean(axis=0) for rows in members])
    gain = _regression(tiles.context - around[labels], tiles.projected - means[labels])
    mean = means - around @ gain
    residual = tiles.projected - tiles.context @ gain - mean[labels]
    average = residual.T @ residual / len(residual)
    first, directions, levels = [0], [], []
    for rows in members:
        covariance = _shrunk(residual[rows], average)
        if plan.covariance == "diagonal":
            variances, vectors = np.diagonal(covariance), np.eye(len(covariance), dtype=covariance.dtype)
        else:
            variances, vectors = np.linalg.eigh(covariance)
        level = np.rint(OCTAVE * np.log2(np.maximum(variances, 2.0**-30))).astype(np.int64)
        used = np.argsort(-level, kind="stable")[: int((level > lowest).sum())]
        directions.append(vectors[:, used].T)
        levels.append(level[used])
        first.append(first[-1] + len(used))
    nothing = np.zeros((0, 0), dtype=np.float32)
    return PhaseMixture(nothing, gain, mean, np.array(first), np.concatenate(directions), np.concatenate(levels))


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


def _assign(tiles: _Tiles, phase: PhaseMixture, noise: int) -> tuple[npt.NDArray[np.int64], float]:
    """The best class of every tile, and the average cost."""
    labels = np.empty(len(tiles.projected), dtype=np.int64)
    total = 0.0
    for first in range(0, len(labels), _TILES_AT_ONCE):
        some = slice(first, first + _TILES_AT_ONCE)
        residual = tiles.projected[some] - tiles.context[some] @ phase.gain
        costs = class_costs(residual, tiles.outside[some], phase, noise)
        labels[some] = costs.argmin(axis=1)
        total += float(costs.min(axis=1).sum(dtype=np.float64))
    return labels, total / len(labels)


def _refill(labels: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], generator: np.random.Generator) -> None:
    """Give half of the largest class to each that has hardly any tiles left, in place."""
    for small in np.flatnonzero(sizes < FEWEST_TILES):
        large = int(sizes.argmax())
        members = np.flatnonzero(labels == large)
        moved = generator.permutation(members)[: len(members) // 2]
        labels[moved] = small
        sizes[small] += len(moved)
        sizes[large] -= len(moved)


def _first_labels(projected: Array, components: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
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
    _refill(labels, np.bincount(labels, minlength=components), generator)
    return labels


def _regression(around: Array, values: Array) -> Array:
    """Least squares of centred values on centred surroundings, ``(kept, dimensions)``."""
    if around.shape[1] == 0:
        return np.zeros((0, values.shape[1]), dtype=values.dtype)
    gram = (around.T @ around).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram) + 1e-9
    solution: Array = np.linalg.solve(gram, (around.T @ values).astype(np.float64)).astype(values.dtype)
    return solution


def _principal(values: Array, most: int) -> Array:
    """The directions of the largest variance of centred values as orthonormal columns, ``(dimensions, most)``."""
    variances, vectors = np.linalg.eigh((values.T @ values).astype(np.float64) / len(values))
    directions: Array = vectors[:, np.argsort(-variances, kind="stable")[: min(most, len(variances))]].astype(
        values.dtype
    )
    return directions


def _prior(plan: MixturePlan, level: int, finished: Sequence[PhaseMixture]) -> MixturePrior:
    """The prior as it is stored, its ranges still to be measured."""
    low, high = max(level - _LEVELS_BELOW, 0), min(level + _LEVELS_ABOVE, NOISE_CODES - 1)
    projections, gains = zip(*(_low_rank(phase.gain, plan.context) for phase in finished), strict=True)
    return MixturePrior(
        plan.name,
        plan.kind,
        plan.network,
        plan.reach,
        (low, high),
        (1.0, 2.0),
        (1.0, 1.0),
        plan.size,
        np.stack([phase.projection for phase in finished]).astype(np.float16),
        np.stack(projections).astype(np.float16),
        np.stack(gains).astype(np.float16),
        np.stack([phase.mean for phase in finished]).astype(np.float32),
        np.stack([np.diff(phase.first) for phase in finished]).astype(np.int32),
        mixtures.quantised(np.concatenate([phase.directions for phase in finished])),
        np.concatenate([phase.levels for phase in finished]).astype(np.int16),
    )


def _low_rank(gain: Array, rank: int) -> tuple[Array, Array]:
    """A matrix of a rank as a product ``(context, rank) · (rank, dimensions)``."""
    left, values, right = np.linalg.svd(gain.astype(np.float64), full_matrices=False)
    rank = min(rank, len(values))
    return left[:, :rank], values[:rank, None] * right[:rank]


def _operating_points(
    prior: MixturePrior, held_out: Sequence[Array], report: Callable[[float], None]
) -> tuple[OperatingPoint, ...]:
    """Rates and PSNR of the held-out signals at noise levels over the range of the prior."""
    low, high = prior.noise_codes
    levels = sorted({*range(low, high + 1, _LEVELS_MEASURED), high})
    points = []
    for number, level in enumerate(levels):
        rate, error = _simulated(prior, held_out, level)
        points.append(OperatingPoint(level, rate, 10 * math.log10(4 / error)))
        report((number + 1) / len(levels))
    return tuple(points)


def _simulated(prior: MixturePrior, batches: Sequence[Array], level: int) -> tuple[float, float]:
    """Average bits per point and geometric average of the mean squared error of signals at a noise level."""
    rates, errors = [], []
    for batch in batches:
        layout = Tiling(
            prior.network.extent, _counts(batch, prior.network.extent), batch.shape[2:], (tuple(range(batch.shape[1])),)
        )
        values = _tiles(batch, prior.ring, np.arange(layout.tiles))
        weights = prior.network.weights(values).reshape(len(batch), layout.tiles, -1)
        points = math.prod(layout.shape)
        for choice in closed_form.choose(prior, layout, weights, [level] * len(batch)):
            rates.append((choice.bits + layout.tiles * prior.class_bits) / points)
            errors.append(math.log(max(choice.squared_error, 1e-12) / points / batch.shape[1]))
    return float(np.mean(rates)), math.exp(float(np.mean(errors)))
