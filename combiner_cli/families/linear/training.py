"""Training of a mixture prior: the noise variance that suits the rate, the phases, and what comes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DatasetError
from ...learning.checkpoint import TrainingState
from ...learning.report import Measurement, OperatingPoint, ranges_of
from ...learning.trainer import LearnedPrior, Training
from ...signals.signal import Tiling
from . import choices, mixtures
from .fitting.phases import LEVELS_ABOVE, Phases, Round, some_tiles, tile_counts
from .learning import MixturePlan
from .mixtures import NOISE_LEVELS, PhaseMixture
from .neighbourhood import phases
from .prior import MixturePrior, problem

Array = npt.NDArray[Any]

_PILOT_TILES, _PILOT_COMPONENTS, _PILOT_ROUNDS = 1024, 4, 3
_PILOTS = 3
_USUAL_SLOPE = 0.05  # of the logarithm of the rate by the noise level
# The prior is meant for noise levels around that of learning, most of them below: classes that are learned at a high
# rate are better at a low one than those that are learned there.
_LEVELS_BELOW = 28
_LEVELS_MEASURED = 4  # noise levels between measurements of the finished prior


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
    level = NOISE_LEVELS // 3
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
        level = min(max(moved, 0), NOISE_LEVELS - 1)
    return level


def _prior(plan: MixturePlan, level: int, finished: Sequence[PhaseMixture]) -> MixturePrior:
    """The prior as it is stored, its ranges still to be measured."""
    low, high = max(level - _LEVELS_BELOW, 0), min(level + LEVELS_ABOVE, NOISE_LEVELS - 1)
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
            prior.network.extent,
            tile_counts(batch, prior.network.extent),
            batch.shape[2:],
            (tuple(range(batch.shape[1])),),
        )
        values = some_tiles(batch, prior.ring, np.arange(layout.tiles))
        weights = prior.network.weights(values).reshape(len(batch), layout.tiles, -1)
        points = math.prod(layout.shape)
        for choice in choices.choose(prior, layout, weights, [level] * len(batch)):
            rates.append((choice.bits + layout.tiles * prior.class_bits) / points)
            errors.append(math.log(max(choice.squared_error, 1e-12) / points / batch.shape[1]))
    return float(np.mean(rates)), math.exp(float(np.mean(errors)))
