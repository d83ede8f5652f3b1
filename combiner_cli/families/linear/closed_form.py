"""From tiles to class numbers and group indices with a mixture prior: exact posteriors, no gradient step.

The classes of all tiles and the noise variance are chosen first, on a simulation of the decoder in which a sample of
the posterior stands for what will be coded. Then the phases are coded one after another, each against the surroundings
that the decoder will have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...rec import candidates, groups, search
from ...signals.signal import Tiling
from . import mixtures
from .mixtures import (
    NOISE_CODES,
    NOISE_STEP,
    OCTAVE,
    REACH,
    Latents,
    MixturePrior,
    class_costs,
    noise_level,
    stage_tiles,
)

Array = npt.NDArray[np.floating]

OVERHEAD = 0.1  # bits of groups over the KL that reaches the quality of the posterior
_NOISE_OCTAVES = NOISE_STEP / OCTAVE  # between two codes
_GROUPS_AHEAD = 12  # of each chain in the next phase that are searched along
_SEAM_PASSES = (0, 1, 1, 1, 1, 2, 2, 3, 3, 4)  # by effort: searches of a phase, see encode
_SMALL_STAGE = 4096  # groups; in larger ones the seam does not matter
_CODES_AROUND = (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)  # by effort: noise variances tried on each side of the expected best
_PASSES = (0, 0, 0, 0, 0, 0, 1, 1, 2, 2)  # by effort: times that classes are chosen again for what was decoded
_SMALLEST_ERROR = 1e-12  # whose logarithm is taken
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


_NOTHING = Choice(0, np.zeros(0, dtype=np.int64), 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Coded:
    """A coded signal.

    Attributes:
        code: of the noise variance.
        classes: of all tiles, ``(tiles,)`` int64.
        indices: of all groups, stage after stage, ``(groups,)`` int64.
        z: whitened latents of all stages, one after another, float64.
        weights: of the decoded networks, ``(tiles, network latents)``.
        squared_error: sum over all samples, on values in [-1, 1].
    """

    code: int
    classes: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    z: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    squared_error: float


def decide(prior: MixturePrior, layout: Tiling, weights: Array, count: int | None, rate: float) -> list[Choice]:
    """Classes and noise variances of signals of one shape.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        count: number of groups of each signal, or ``None``.
        rate: where there is no count, bits over points that a typical signal takes. Every signal pays the same for
            a dB: its noise variance is in proportion to its error, which gives the best average PSNR of many signals
            at their average rate (the derivative of the PSNR by the bits of a signal is s2 / error).
    """
    if count is not None:
        bits = 8 * count / (1 + OVERHEAD)
        points = layout.tiles * math.prod(layout.extent)
        start, _ = prior.typical(max(bits, 1) / points)
        return _bisect(prior, layout, weights, start, lambda choice: math.log((choice.bits + 1) / (bits + 1)))
    start, error = prior.typical(rate)
    samples = layout.tiles * prior.network.latents

    def excess(choice: Choice) -> float:
        octaves = _NOISE_OCTAVES * (choice.code - start) * math.log(2)
        return octaves + math.log(max(choice.squared_error, _SMALLEST_ERROR) / samples / error)

    return _bisect(prior, layout, weights, start, excess)


def encode_batch(
    prior: MixturePrior,
    layout: Tiling,
    weights: Array,
    choices: Sequence[Choice],
    count: int | None,
    effort: int,
    method: str,
    seed: int,
) -> list[Coded]:
    """Code signals of one shape.

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        choices: classes and noise variance of each signal; higher efforts try others too.
        count: number of groups of each signal, or ``None`` for as many as its choice takes.
        effort: 1 to 9.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
    """
    results = []
    for own, choice in zip(weights, choices, strict=True):
        groups_of = count or max(1, math.ceil(choice.bits * (1 + OVERHEAD) / 8))

        def attempt(choice: Choice, own: Array = own, groups_of: int = groups_of) -> Coded:
            generator = np.random.Generator(np.random.Philox(seed))
            return encode(prior, layout, own, choice, groups_of, method, generator, _SEAM_PASSES[effort])

        best = attempt(choice)
        for code in _other_codes(choice.code, effort):
            best = min(best, attempt(_choose(prior, layout, own[None], code)[0]), key=lambda coded: coded.squared_error)
        for _ in range(_PASSES[effort]):
            again = attempt(_choose(prior, layout, own[None], best.code, best.weights)[0])
            best = min(best, again, key=lambda coded: coded.squared_error)
        results.append(best)
    return results


def _other_codes(code: int, effort: int) -> list[int]:
    """Further noise variances to try with the same number of groups."""
    around = range(code - _CODES_AROUND[effort], code + _CODES_AROUND[effort] + 1)
    return [other for other in around if other != code and 0 <= other < NOISE_CODES]


def _bisect(
    prior: MixturePrior, layout: Tiling, weights: Array, start: float, excess: Callable[[Choice], float]
) -> list[Choice]:
    """For each signal the choice whose excess, which grows with the code, is nearest to 0."""
    count = len(weights)
    low, high = np.full(count, -1), np.full(count, NOISE_CODES)  # not enough, too much
    codes = np.full(count, min(max(round(start), 0), NOISE_CODES - 1))
    best: list[tuple[float, Choice]] = [(math.inf, _NOTHING)] * count
    step = 2
    while (pending := np.flatnonzero(high - low > 1)).size:
        tried = choose(prior, layout, weights[pending], [int(code) for code in codes[pending]])
        for n, choice in zip(pending, tried, strict=True):
            over = excess(choice)
            if abs(over) < best[n][0]:
                best[n] = (abs(over), choice)
            if over > 0:
                high[n] = choice.code
            else:
                low[n] = choice.code
            if low[n] >= 0 and high[n] < NOISE_CODES:
                codes[n] = (low[n] + high[n]) // 2
            else:
                codes[n] = min(max(choice.code + (step if over <= 0 else -step), low[n] + 1), high[n] - 1)
        step *= 2
    return [choice for _, choice in best]


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


def _choose(
    prior: MixturePrior, layout: Tiling, weights: Array, code: int, decoded: Array | None = None
) -> list[Choice]:
    """As :func:`choose` at one noise variance.

    Where decoded weights ``(tiles, network latents)`` of the one signal are given, the surroundings are those that they
    render; else they are simulated.
    """
    signals, noise = len(weights), noise_level(code, prior.kind)
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
        own = weights[:, tiles].reshape(-1, weights.shape[2])
        chosen = best_classes(phase, own, context, noise)
        latents = Latents(phase, chosen, noise)
        mean, deviation = latents.posterior(own, context)
        mean = np.clip(mean, -REACH, REACH)
        sizes = latents.counts.reshape(signals, -1).sum(axis=1)
        drawn = [one.standard_normal(int(size)) for one, size in zip(generators, sizes, strict=True)]
        z = mean + deviation * np.concatenate(drawn)
        simulated = latents.weights(z, context)
        prior.show(canvas, number, simulated if decoded is None else decoded[tiles])
        classes[:, tiles] = chosen.reshape(signals, -1)
        divergence = 0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)
        of_tile = np.repeat(np.arange(len(chosen)), latents.counts)
        bits += np.bincount(of_tile, divergence, len(chosen)).reshape(signals, -1).sum(axis=1) / math.log(2)
        errors += ((simulated - own) ** 2).sum(axis=1).reshape(signals, -1).sum(axis=1)
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
    seam_passes: int = 1,
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
        seam_passes: searches of a small phase, each with the next one's posterior from the one before.

    Raises:
        UsageError: more groups than the latents can fill.
    """
    latents = prior.latents(layout, choice.classes, noise_level(choice.code, prior.kind))
    stages = [one.stage(number) for number, one in enumerate(latents)]
    most = sum(int(stage.information.sum()) for stage in stages)
    if most and count > most:
        raise UsageError(f"prior {prior.name} has no use for {count} bytes of groups here; ask for a smaller file")
    partitions = groups.partitions(stages, count, prior.key)
    chaining = candidates.chaining_of(count, long=True)
    canvas = prior.canvas(layout)
    indices = np.zeros((1, 0), dtype=np.int64)
    values, found_weights = [], np.empty(weights.shape)
    for number, part in enumerate(partitions):
        own = weights[stage_tiles(layout, number)]
        context = canvas.context(number)
        mean, deviation = latents[number].posterior(own, context)
        target = search.target(part, mean, deviation, part.groups)
        ahead = 0
        if number + 1 < len(partitions) and part.groups and part.groups < _SMALL_STAGE:
            ahead = min(_GROUPS_AHEAD * chaining.chains, partitions[number + 1].groups)
        decoded = latents[number].weights(mean, context)
        for _ in range(seam_passes if ahead else 1):
            whole = target
            if ahead:
                # the next phase begins where this one ends: its first groups have a say, as well as they are known,
                # first from the means of this phase, then from what the pass before has coded
                prior.show(canvas, number, decoded)
                following = weights[stage_tiles(layout, number + 1)]
                expected = latents[number + 1].posterior(following, canvas.context(number + 1))
                whole = _joined(target, search.target(partitions[number + 1], *expected, ahead))
            found = indices[:, :0]
            if part.groups:
                found = search.search(whole, chaining, prior.key, indices, method, generator)[:, : part.groups]
            rows = candidates.table_rows(np.append(indices, found, axis=1)[0], chaining)[indices.shape[1] :]
            z = np.zeros(len(mean))
            z[part.order] = candidates.candidates(rows, part, prior.key)
            decoded = latents[number].weights(z, context)
        indices = np.append(indices, found, axis=1)
        prior.show(canvas, number, decoded)
        values.append(z)
        found_weights[stage_tiles(layout, number)] = decoded
    error = float(((found_weights - weights) ** 2).sum())
    unused = np.zeros(count - indices.shape[1], dtype=np.int64)  # where there is nothing to code
    indices = np.concatenate([indices[0], unused])
    return Coded(choice.code, choice.classes, indices, np.concatenate(values), found_weights, error)


def _joined(first: search.Target, second: search.Target) -> search.Target:
    """The groups of two targets, one after another."""
    groups_of, width = first.mean.shape[1:]
    shape = (1, groups_of + second.mean.shape[1], max(width, second.mean.shape[2]))
    whole = search.Target(np.zeros(shape), np.ones(shape))
    for own, part in ((slice(0, groups_of), first), (slice(groups_of, None), second)):
        whole.mean[:, own, : part.mean.shape[2]] = part.mean
        whole.deviation[:, own, : part.mean.shape[2]] = part.deviation
    return whole
