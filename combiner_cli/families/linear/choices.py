"""Which class each tile names and which noise variance a file has: decided before anything is coded, without gradients.

The decoder is simulated: a sample of the exact posterior stands for what will be coded, so that each phase of tiles has
surroundings such as the decoder will have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...signals.signal import Tiling
from .mixtures import NOISE_LEVELS, NOISE_STEP, OCTAVE, REACH, Latents, PhaseMixture, class_costs, variance_level
from .neighbourhood import stage_tiles

if TYPE_CHECKING:
    from .prior import MixturePrior

Array = npt.NDArray[np.floating]

OVERHEAD = 0.1  # bits of groups over the KL that reaches the quality of the posterior

_NOISE_OCTAVES = NOISE_STEP / OCTAVE  # between two noise levels
_SMALLEST_ERROR = 1e-12  # whose logarithm is taken
_TILES_AT_ONCE = 2048
_SIMULATION_SEED = 1


@dataclass(frozen=True, eq=False)
class Choice:
    """What is decided before anything is coded, for one signal.

    Attributes:
        noise_level: as a file names it.
        classes: of all tiles, ``(tiles,)`` int64.
        bits: KL(posterior, prior) of all tiles.
        squared_error: expected sum over all samples, on values in [-1, 1].
    """

    noise_level: int
    classes: npt.NDArray[np.int64]
    bits: float
    squared_error: float


_NOTHING = Choice(0, np.zeros(0, dtype=np.int64), 0.0, 0.0)


def decide_by_groups(prior: MixturePrior, layout: Tiling, weights: Array, count: int) -> list[Choice]:
    """Classes and noise variances with which signals of one shape fill a number of groups.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        count: number of groups of each signal.
    """
    bits = 8 * count / (1 + OVERHEAD)
    start, _ = prior.typical(max(bits, 1) / (layout.tiles * math.prod(layout.extent)))
    return _bisect(prior, layout, weights, start, lambda choice: math.log((choice.bits + 1) / (bits + 1)))


def decide_by_rate(prior: MixturePrior, layout: Tiling, weights: Array, start: float, error: float) -> list[Choice]:
    """Classes and noise variances of signals of one shape, each at its share of an average rate.

    Every signal pays the same for a dB: its noise variance is in proportion to its error, which gives the best average
    PSNR of many signals at their average rate (the derivative of the PSNR by the bits of a signal is s2 / error).

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        start: noise level that a typical signal is coded at.
        error: its mean squared error there, on values in [-1, 1].
    """
    samples = layout.tiles * prior.network.latents

    def excess(choice: Choice) -> float:
        octaves = _NOISE_OCTAVES * (choice.noise_level - start) * math.log(2)
        return octaves + math.log(max(choice.squared_error, _SMALLEST_ERROR) / samples / error)

    return _bisect(prior, layout, weights, start, excess)


def decide_by_error(prior: MixturePrior, layout: Tiling, weights: Array, error: float) -> list[Choice]:
    """Classes and noise variances with which signals of one shape are expected to have a mean squared error.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        error: on values in [-1, 1].
    """
    place = math.log(error / prior.errors[0]) / math.log(prior.errors[1] / prior.errors[0])
    start = prior.noise_codes[0] + place * (prior.noise_codes[1] - prior.noise_codes[0])
    wanted = error * layout.tiles * prior.network.latents
    return _bisect(
        prior,
        layout,
        weights,
        start,
        lambda choice: math.log(wanted / max(choice.squared_error, _SMALLEST_ERROR)),
    )


def _bisect(
    prior: MixturePrior, layout: Tiling, weights: Array, start: float, excess: Callable[[Choice], float]
) -> list[Choice]:
    """For each signal the choice whose excess, which grows with the noise level, is nearest to 0."""
    count = len(weights)
    low, high = np.full(count, -1), np.full(count, NOISE_LEVELS)  # not enough, too much
    levels = np.full(count, min(max(round(start), 0), NOISE_LEVELS - 1))
    best: list[tuple[float, Choice]] = [(math.inf, _NOTHING)] * count
    step = 2
    while (pending := np.flatnonzero(high - low > 1)).size:
        tried = choose(prior, layout, weights[pending], [int(level) for level in levels[pending]])
        for n, choice in zip(pending, tried, strict=True):
            over = excess(choice)
            if abs(over) < best[n][0]:
                best[n] = (abs(over), choice)
            if over > 0:
                high[n] = choice.noise_level
            else:
                low[n] = choice.noise_level
            if low[n] >= 0 and high[n] < NOISE_LEVELS:
                levels[n] = (low[n] + high[n]) // 2
            else:
                levels[n] = min(max(choice.noise_level + (step if over <= 0 else -step), low[n] + 1), high[n] - 1)
        step *= 2
    return [choice for _, choice in best]


def choose(prior: MixturePrior, layout: Tiling, weights: Array, noise_levels: Sequence[int]) -> list[Choice]:
    """Classes of all tiles at given noise levels, one signal after another.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        noise_levels: of each signal.
    """
    choices = [_NOTHING] * len(noise_levels)
    for level in sorted(set(noise_levels)):
        signals = [signal for signal, of_signal in enumerate(noise_levels) if of_signal == level]
        for signal, choice in zip(signals, choose_at(prior, layout, weights[signals], level), strict=True):
            choices[signal] = choice
    return choices


def choose_at(
    prior: MixturePrior,
    layout: Tiling,
    weights: Array,
    noise_level: int,
    decoded: Array | None = None,
    ends: Callable[[Array, Array], bool] = lambda _bits, _errors: False,
) -> list[Choice]:
    """Classes of all tiles at one noise level, one signal after another.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        noise_level: of all signals.
        decoded: of one signal, the weights that render the surroundings of its tiles, ``(tiles, network latents)``;
            where they are ``None``, the surroundings are simulated.
        ends: told the bits and the squared errors of all signals so far after each phase; where it says so, the phases
            to come are left out.
    """
    signals, noise = len(weights), variance_level(noise_level, prior.kind)
    canvas = prior.canvas(replace(layout, planes=layout.planes * signals))
    classes = np.zeros((signals, layout.tiles), dtype=np.int64)
    bits, errors = np.zeros((2, signals))
    # every signal has the same random numbers, alone and among others
    generators = [np.random.Generator(np.random.Philox(_SIMULATION_SEED)) for _ in range(signals)]
    for number, phase in enumerate(prior.phases):
        tiles = stage_tiles(layout, number)
        if not len(tiles):
            continue
        context = canvas.context(number)  # (signals · tiles, context)
        of_phase = weights[:, tiles].reshape(-1, weights.shape[2])
        chosen = best_classes(phase, of_phase, context, noise)
        latents = Latents(phase, chosen, noise)
        mean, deviation = latents.posterior(of_phase, context)
        mean = np.clip(mean, -REACH, REACH)
        sizes = latents.counts.reshape(signals, -1).sum(axis=1)
        drawn = [generator.standard_normal(int(size)) for generator, size in zip(generators, sizes, strict=True)]
        z = mean + deviation * np.concatenate(drawn)
        simulated = latents.weights(z, context)
        prior.show(canvas, number, simulated if decoded is None else decoded[tiles])
        classes[:, tiles] = chosen.reshape(signals, -1)
        divergence = 0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)
        of_tile = np.repeat(np.arange(len(chosen)), latents.counts)
        bits += np.bincount(of_tile, divergence, len(chosen)).reshape(signals, -1).sum(axis=1) / math.log(2)
        errors += ((simulated - of_phase) ** 2).sum(axis=1).reshape(signals, -1).sum(axis=1)
        if ends(bits, errors):
            break
    return [Choice(noise_level, classes[n], float(bits[n]), float(errors[n])) for n in range(signals)]


def best_classes(phase: PhaseMixture, weights: Array, context: Array, noise: int) -> npt.NDArray[np.int64]:
    """The class of the least KL + squared error / (2 · s2) of each tile, ``(tiles,)``.

    Args:
        phase: of the tiles.
        weights: that render the tiles exactly, ``(tiles, network latents)``.
        context: surroundings of the tiles, ``(tiles, context)``.
        noise: level of s2.
    """
    chosen = np.empty(len(weights), dtype=np.int64)
    for first in range(0, len(weights), _TILES_AT_ONCE):
        some = slice(first, first + _TILES_AT_ONCE)
        projected = weights[some] @ phase.projection
        outside = np.maximum((weights[some] ** 2).sum(axis=1) - (projected**2).sum(axis=1), 0)
        residual = (projected - context[some] @ phase.gain).astype(np.float32)
        chosen[some] = class_costs(residual, outside.astype(np.float32), phase, noise).argmin(axis=1)
    return chosen
