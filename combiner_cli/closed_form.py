"""From tiles to class numbers and group indices with a mixture prior: exact posteriors, no gradient step.

The classes of all tiles and the noise variance are chosen first, on a simulation of the decoder in which a sample of the
posterior stands for what will be coded. Then the phases are coded one after another, each against the surroundings that
the decoder will have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import coder, groups, mixtures, search
from .coder import Chaining
from .mixtures import Latents, MixturePrior, class_costs, noise_level, stage_tiles, variance_of
from .signals import Tiling

Array = npt.NDArray[np.floating]

_TILES_AT_ONCE = 2048
_SIMULATION_SEED = 1


@dataclass(frozen=True, eq=False)
class Choice:
    """What is decided before anything is coded, for one signal.

    Attributes:
        code: of the noise variance.
        classes: of all tiles, ``(tiles,)`` int64.
        bits: KL(posterior, prior) of all tiles.
        squared_error: expected sum over all samples, on values in [-1, 1].
    """

    code: int
    classes: npt.NDArray[np.int64]
    bits: float
    squared_error: float


@dataclass(frozen=True, eq=False)
class Coded:
    """Indices of a signal's groups and what they decode to.

    Attributes:
        indices: of all groups, stage after stage, ``(groups,)`` int64.
        weights: of all networks, ``(tiles, network latents)`` float64.
    """

    indices: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


def choose(prior: MixturePrior, layout: Tiling, weights: Array, codes: Sequence[int]) -> list[Choice]:
    """Classes of all tiles at given noise variances, one signal after another.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        codes: of the noise variance for each signal.
    """
    found: list[Choice | None] = [None] * len(codes)
    for code in sorted(set(codes)):
        some = [number for number, own in enumerate(codes) if own == code]
        for number, choice in zip(some, _choose(prior, layout, weights[some], code), strict=True):
            found[number] = choice
    return [choice for choice in found if choice is not None]


def _choose(prior: MixturePrior, layout: Tiling, weights: Array, code: int) -> list[Choice]:
    signals, noise = len(weights), noise_level(code)
    canvas = prior.canvas(replace(layout, planes=layout.planes * signals))
    classes = np.zeros((signals, layout.tiles), dtype=np.int64)
    bits, errors = np.zeros((2, signals))
    generator = np.random.Generator(np.random.Philox(_SIMULATION_SEED))
    for number, phase in enumerate(prior.phases):
        tiles = stage_tiles(layout, number)
        if not len(tiles):
            continue
        context = canvas.context(number)  # (signals · tiles, context)
        own = weights[:, tiles].reshape(-1, weights.shape[2])
        chosen = best_classes(phase, own, context, noise)
        latents = Latents(phase, chosen, noise)
        mean, deviation = latents.posterior(own, context)
        z = mean + deviation * generator.standard_normal(len(mean))
        decoded = latents.weights(z, context)
        prior.show(canvas, number, decoded)
        classes[:, tiles] = chosen.reshape(signals, -1)
        divergence = 0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)
        of_tile = np.repeat(np.arange(len(chosen)), latents.counts)
        bits += np.bincount(of_tile, divergence, len(chosen)).reshape(signals, -1).sum(axis=1) / math.log(2)
        errors += ((decoded - own) ** 2).sum(axis=1).reshape(signals, -1).sum(axis=1)
    return [Choice(code, classes[n], float(bits[n]), float(errors[n])) for n in range(signals)]


def best_classes(phase: mixtures.PhaseMixture, weights: Array, context: Array, noise: int) -> npt.NDArray[np.int64]:
    """The class of the least KL + squared error / (2 · s2) of each tile, ``(tiles,)``."""
    chosen = np.empty(len(weights), dtype=np.int64)
    for first in range(0, len(weights), _TILES_AT_ONCE):
        some = slice(first, first + _TILES_AT_ONCE)
        projected = weights[some] @ phase.projection
        outside = np.maximum((weights[some] ** 2).sum(axis=1) - (projected**2).sum(axis=1), 0)
        residual = (projected - context[some] @ phase.gain).astype(np.float32)
        chosen[some] = class_costs(residual, outside.astype(np.float32), phase, noise).argmin(axis=1)
    return chosen


def encode(
    prior: MixturePrior,
    layout: Tiling,
    weights: Array,
    choice: Choice,
    count: int,
    method: str,
    generator: np.random.Generator,
) -> Coded:
    """Code the groups of one signal, phase after phase.

    Args:
        prior: of the tiles.
        layout: of the signal.
        weights: that render the signal exactly, ``(tiles, network latents)``.
        choice: classes and noise variance.
        count: number of groups.
        method: one of ``search.METHODS``.
        generator: of the Gumbel noise of A* coding.
    """
    noise = noise_level(choice.code)
    latents = prior.latents(layout, choice.classes, noise)
    stages = prior.stages(layout, choice.classes, noise)
    canvas = prior.canvas(layout)
    decoded = np.empty(weights.shape)
    indices = []
    for number, share in enumerate(groups.share_out(stages, count)):
        tiles = stage_tiles(layout, number)
        context = canvas.context(number)
        z = np.zeros(len(stages[number].information))
        if share:
            part = groups.partition(stages[number].information, share, prior.key)
            chaining = Chaining(8)
            mean, deviation = latents[number].posterior(weights[tiles], context)
            target = search.Target(np.zeros((1, share, part.width)), np.ones((1, share, part.width)))
            target.mean[0, part.group, part.column] = mean[part.order]
            target.deviation[0, part.group, part.column] = deviation[part.order]
            found = search.search(target, chaining, prior.key, np.zeros((1, 0), dtype=np.int64), method, generator)[0]
            z[part.order] = coder.lookup(found, part, chaining, prior.key)
            indices.append(found)
        decoded[tiles] = latents[number].weights(z, context)
        prior.show(canvas, number, decoded[tiles])
    return Coded(np.concatenate([np.zeros(0, dtype=np.int64), *indices]), decoded)
