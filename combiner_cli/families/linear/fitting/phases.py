"""The phases of a mixture prior, learned one after the other.

Every phase sees the surroundings that a decoder would have: samples of the posteriors of the phases before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import choices, mixtures
from ..learning import MixturePlan
from ..mixtures import Latents, PhaseMixture, variance_level
from ..neighbourhood import Canvas, Ring, blank, phase_tiles, phases
from . import classes
from .classes import Tiles

Array = npt.NDArray[Any]

LEVELS_ABOVE = 4  # noise levels above that of learning, for which a prior is meant


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
        self._layouts = [tile_counts(batch, self._ring.extent) for batch in training]
        self._canvases = [
            blank(self._ring, counts, len(batch), plan.network.outputs, np.float32)
            for batch, counts in zip(training, self._layouts, strict=True)
        ]
        self._tiles: Tiles | None = None
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
        tiles, noise = self._tiles, variance_level(self.noise_level, plan.kind)
        lowest = noise - mixtures.NOISE_STEP * LEVELS_ABOVE
        if self.labels is None:
            centred = tiles.weights - tiles.weights.mean(axis=0)
            self.labels = classes.first_labels(centred @ tiles.projection, plan.components, _generator(plan, number, 0))
        phase = classes.updated(plan, tiles, self.labels, lowest)
        labels, cost = classes.assign(tiles, phase, noise)
        changed = float((labels != self.labels).mean())
        sizes = np.bincount(labels, minlength=plan.components)
        classes.refill(labels, sizes, _generator(plan, number, self.rounds + 1))
        self.labels, self.rounds = labels, self.rounds + 1
        done = Round(cost / math.log(2) / math.prod(plan.network.extent), changed, int(sizes.min()))
        if self.rounds == plan.rounds:
            phase = classes.updated(plan, tiles, self.labels, lowest)
            phase = replace(phase, projection=tiles.projection, gain=tiles.kept @ phase.gain)
            self._decode(phase, tiles.weights, tiles.surroundings)
            self._tiles, self.labels, self.rounds = None, None, 0
        return done

    def _inputs(self, number: int) -> tuple[Array, Array]:
        """Weights and surroundings of the tiles of a phase."""
        picks = [phase_tiles(counts, number) for counts in self._layouts]
        parts = [some_tiles(batch, self._ring, pick) for batch, pick in zip(self._training, picks, strict=True)]
        weights = self._plan.network.weights(np.concatenate(parts))
        return weights, np.concatenate([canvas.context(number) for canvas in self._canvases])

    def _gathered(self, number: int) -> Tiles:
        """The learned matrix, and the tiles of a phase seen by it."""
        plan = self._plan
        weights, surroundings = self._inputs(number)
        known = bool(self._ring.decoded(number).any())
        kept = classes.principal(surroundings - surroundings.mean(axis=0), plan.context if known else 0)
        context = surroundings @ kept
        centred, around = weights - weights.mean(axis=0), context - context.mean(axis=0)
        projection = classes.principal(centred - around @ classes.regression(around, centred), plan.dimensions)
        projected = weights @ projection
        outside = np.maximum((weights**2).sum(axis=1) - (projected**2).sum(axis=1), 0)
        return Tiles(projected, outside, context, weights, surroundings, projection, kept)

    def _decode(self, phase: PhaseMixture, weights: Array, surroundings: Array) -> None:
        """Finish a phase: what a decoder would have of its tiles becomes the surroundings of the next one."""
        plan, number = self._plan, len(self.finished)
        noise = variance_level(self.noise_level, plan.kind)
        labels = choices.best_classes(phase, weights, surroundings, noise)
        decoded = _sampled(Latents(phase, labels, noise), weights, surroundings, plan.seed + number)
        values = np.clip(plan.network.forward(decoded), -1, 1)
        first = 0
        for canvas, counts in zip(self._canvases, self._layouts, strict=True):
            pick = phase_tiles(counts, number)
            count = len(canvas.values) * len(pick)
            part = values[first : first + count].reshape(len(canvas.values), len(pick), *values.shape[1:])
            canvas.place(number, part)
            first += count
        self.finished.append(phase)


def tile_counts(batch: Array, extent: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size // tile for size, tile in zip(batch.shape[2:], extent, strict=True))


def some_tiles(batch: Array, ring: Ring, pick: npt.NDArray[np.int64]) -> Array:
    """Some tiles of every plane, ``(planes · tiles, outputs, points)``."""
    whole = Canvas(Ring(ring.extent, 0), tile_counts(batch, ring.extent), batch).tiles()
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
