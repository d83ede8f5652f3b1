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
from ...rec.candidates import Chaining
from ...rec.groups import Partition
from ...signals.signal import Tiling
from .mixtures import NOISE_CODES, NOISE_STEP, OCTAVE, REACH, Latents, PhaseMixture, class_costs, noise_level
from .neighbourhood import Canvas
from .prior import MixturePrior, stage_tiles

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


def decide_by_rate(prior: MixturePrior, layout: Tiling, weights: Array, rate: float) -> list[Choice]:
    """Classes and noise variances of signals of one shape, each at its share of an average rate.

    Every signal pays the same for a dB: its noise variance is in proportion to its error, which gives the best average
    PSNR of many signals at their average rate (the derivative of the PSNR by the bits of a signal is s2 / error).

    Args:
        prior: of the tiles.
        layout: of each signal.
        weights: that render the signals exactly, ``(signals, tiles, network latents)``.
        rate: bits over points that a typical signal takes.
    """
    start, error = prior.typical(rate)
    samples = layout.tiles * prior.network.latents

    def excess(choice: Choice) -> float:
        octaves = _NOISE_OCTAVES * (choice.code - start) * math.log(2)
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


@dataclass(frozen=True, eq=False)
class Coder:
    """Codes signals of one shape.

    Attributes:
        prior: of the tiles.
        layout: of each signal.
        count: number of groups of each signal, or ``None`` for as many as what is decided for it takes.
        effort: 1 to 9.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
    """

    prior: MixturePrior
    layout: Tiling
    count: int | None
    effort: int
    method: str
    seed: int

    def encode(self, weights: Array, choice: Choice) -> Coded:
        """The best of some ways to code a signal.

        Args:
            weights: that render it exactly, ``(tiles, network latents)``.
            choice: classes and noise variance; higher efforts try others too.

        Raises:
            UsageError: more groups than the latents can fill, or there is no such search.
        """
        count = self.count or max(1, math.ceil(choice.bits * (1 + OVERHEAD) / 8))
        best = self._attempt(weights, choice, count)
        for code in _codes_beside(choice.code, self.effort):
            (beside,) = _choose(self.prior, self.layout, weights[None], code)
            best = _better(best, self._attempt(weights, beside, count))
        for _ in range(_PASSES[self.effort]):
            (again,) = _choose(self.prior, self.layout, weights[None], best.code, best.weights)
            best = _better(best, self._attempt(weights, again, count))
        return best

    def _attempt(self, weights: Array, choice: Choice, count: int) -> Coded:
        generator = np.random.Generator(np.random.Philox(self.seed))
        passes = _SEAM_PASSES[self.effort]
        return encode(self.prior, self.layout, weights, choice, count, self.method, generator, passes)


def _better(first: Coded, second: Coded) -> Coded:
    """The one of less error, the first if they have the same."""
    return second if second.squared_error < first.squared_error else first


def _codes_beside(code: int, effort: int) -> list[int]:
    """Further noise variances to try with the same number of groups."""
    around = range(code - _CODES_AROUND[effort], code + _CODES_AROUND[effort] + 1)
    return [beside for beside in around if beside != code and 0 <= beside < NOISE_CODES]


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
    choices = [_NOTHING] * len(codes)
    for code in sorted(set(codes)):
        signals = [signal for signal, of_signal in enumerate(codes) if of_signal == code]
        for signal, choice in zip(signals, _choose(prior, layout, weights[signals], code), strict=True):
            choices[signal] = choice
    return choices


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
    return [Choice(code, classes[n], float(bits[n]), float(errors[n])) for n in range(signals)]


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
    stages = [of_phase.stage(number) for number, of_phase in enumerate(latents)]
    most = sum(int(stage.information.sum()) for stage in stages)
    if most and count > most:
        raise UsageError(f"prior {prior.name} has no use for {count} bytes of groups here; ask for a smaller file")
    partitions = groups.partitions(stages, count, prior.key)
    chaining = candidates.chaining_of(count, long=True)
    coder = _PhaseCoder(
        prior, layout, weights, latents, partitions, chaining, method, generator, seam_passes, prior.canvas(layout)
    )
    indices = np.zeros((1, 0), dtype=np.int64)
    values, decoded_weights = [], np.empty(weights.shape)
    for number in range(len(partitions)):
        chosen, z, decoded = coder.code(number, indices)
        indices = np.append(indices, chosen, axis=1)
        prior.show(coder.canvas, number, decoded)
        values.append(z)
        decoded_weights[stage_tiles(layout, number)] = decoded
    error = float(((decoded_weights - weights) ** 2).sum())
    unused = np.zeros(count - indices.shape[1], dtype=np.int64)  # where there is nothing to code
    indices = np.concatenate([indices[0], unused])
    return Coded(choice.code, choice.classes, indices, np.concatenate(values), decoded_weights, error)


@dataclass(frozen=True, eq=False)
class _PhaseCoder:
    """Codes the phases of one signal.

    Attributes:
        prior, layout, weights, method, generator, seam_passes: as for :func:`encode`.
        latents: of each phase's tiles.
        partitions: of each phase's latents.
        chaining: of the groups of all phases.
        canvas: with what is decoded so far; the phase that is being coded is drawn on it.
    """

    prior: MixturePrior
    layout: Tiling
    weights: Array
    latents: Sequence[Latents]
    partitions: Sequence[Partition]
    chaining: Chaining
    method: str
    generator: np.random.Generator
    seam_passes: int
    canvas: Canvas

    def code(
        self, number: int, coded: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], Array]:
        """Code a phase.

        Args:
            number: of the phase.
            coded: indices of all groups of the phases before, ``(1, groups)``.

        Returns:
            Indices of the phase's groups, ``(1, groups)``, its whitened latents ``(latents,)``, and the weights that
            they decode to, ``(tiles of the phase, network latents)``.
        """
        part, latents, context = self.partitions[number], self.latents[number], self.canvas.context(number)
        mean, deviation = latents.posterior(self._weights(number), context)
        target = search.target(part, mean, deviation, part.groups)
        ahead = self._groups_ahead(number)
        decoded = latents.weights(mean, context)
        for _ in range(self.seam_passes if ahead else 1):
            whole = _joined(target, self._next_target(number, decoded, ahead)) if ahead else target
            chosen = coded[:, :0]
            if part.groups:
                chosen = search.search(whole, self.chaining, self.prior.key, coded, self.method, self.generator)
                chosen = chosen[:, : part.groups]
            rows = candidates.table_rows(np.append(coded, chosen, axis=1)[0], self.chaining)[coded.shape[1] :]
            z = np.zeros(len(mean))
            z[part.order] = candidates.candidates(rows, part, self.prior.key)
            decoded = latents.weights(z, context)
        return chosen, z, decoded

    def _weights(self, number: int) -> Array:
        """The weights that render the tiles of a phase exactly, ``(tiles of the phase, network latents)``."""
        return self.weights[stage_tiles(self.layout, number)]

    def _groups_ahead(self, number: int) -> int:
        """How many groups of the next phase are searched along with those of a phase."""
        count = self.partitions[number].groups
        if number + 1 == len(self.partitions) or not 0 < count < _SMALL_STAGE:
            return 0
        return min(_GROUPS_AHEAD * self.chaining.chains, self.partitions[number + 1].groups)

    def _next_target(self, number: int, decoded: Array, count: int) -> search.Target:
        """Posteriors of the first groups of the next phase, as well as they are known.

        The next phase begins where this one ends, so that its first groups have a say: first from the means of this
        phase, then from what the pass before has coded.
        """
        self.prior.show(self.canvas, number, decoded)
        mean, deviation = self.latents[number + 1].posterior(self._weights(number + 1), self.canvas.context(number + 1))
        return search.target(self.partitions[number + 1], mean, deviation, count)


def _joined(first: search.Target, second: search.Target) -> search.Target:
    """The groups of two targets, one after another."""
    count, width = first.mean.shape[1:]
    shape = (1, count + second.mean.shape[1], max(width, second.mean.shape[2]))
    whole = search.Target(np.zeros(shape), np.ones(shape))
    for place, part in ((slice(0, count), first), (slice(count, None), second)):
        whole.mean[:, place, : part.mean.shape[2]] = part.mean
        whole.deviation[:, place, : part.mean.shape[2]] = part.deviation
    return whole
