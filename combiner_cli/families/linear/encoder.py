"""Encoding with a prior of the linear family: from signals and a target to class numbers and group indices.

The posteriors are exact, and no gradient step is made. Once classes and noise variances are decided, the phases of
tiles are coded one after another, each against the surroundings that the decoder will have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...container.file import length_around
from ...errors import UnreachableError, UsageError
from ...family import Encoded, EncodingOptions, Progress, Report, Target
from ...rec import candidates, groups, search
from ...rec.candidates import Chaining
from ...rec.groups import Partition
from ...signals.signal import Format, Signal, Tiling, split, to_values
from ..siren import tiles
from . import choices, mixtures
from .choices import Choice
from .mixtures import NOISE, NOISE_LEVELS, Latents, variance_level
from .neighbourhood import Canvas, stage_tiles

if TYPE_CHECKING:
    from .prior import MixturePrior

Array = npt.NDArray[np.floating]

_PEAK_TO_PEAK = 2.0  # of values
_GROUPS_AHEAD = 12  # of each chain in the next phase that are searched along
_SEAM_PASSES = (0, 1, 1, 1, 1, 2, 2, 3, 3, 4)  # by effort: searches of a phase, see code_groups
_SMALL_STAGE = 4096  # groups; in larger ones the seam does not matter
_LEVELS_AROUND = (0, 0, 0, 0, 0, 0, 0, 1, 1, 2)  # by effort: noise levels tried on each side of the expected best
_PASSES = (0, 0, 0, 0, 0, 0, 1, 1, 2, 2)  # by effort: times that classes are chosen again for what was decoded


@dataclass(frozen=True, eq=False)
class Coded:
    """A coded signal.

    Attributes:
        noise_level: as a file names it.
        classes: of all tiles, ``(tiles,)`` int64.
        indices: of all groups, stage after stage, ``(groups,)`` int64.
        z: whitened latents of all stages, one after another, float64.
        weights: of the decoded networks, ``(tiles, network latents)``.
        squared_error: sum over all samples, on values in [-1, 1].
    """

    noise_level: int
    classes: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    z: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    squared_error: float


def encode(
    prior: MixturePrior, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
) -> list[Encoded]:
    """Encode signals of one format in one computation.

    Args:
        prior: shared with the decoder.
        signals: one or more.
        target: of each file.
        options: how.
        report: called as the work proceeds.

    Raises:
        UsageError: the target cannot be met, or an option goes with another family.
    """
    method = prior.search_method(options, tiles.usual_search(options.effort))
    signal_format = signals[0].format
    layout = prior.tiling(signal_format.shape, signal_format.channels)
    values = np.concatenate([split(to_values(signal), layout) for signal in signals])
    weights = prior.network.weights(values).reshape(len(signals), layout.tiles, -1)
    count = _number_of_groups(prior, signal_format, layout, target) if target.unit == "size" else None
    clock = time.perf_counter()
    decided = _decide(prior, layout, weights, count, target, signal_format)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    coder = Coder(prior, layout, count, options.effort, method, options.seed)
    coded = []
    for number, (of_signal, choice) in enumerate(zip(weights, decided, strict=True), start=1):
        coded.append(coder.encode(of_signal, choice))
        report(Progress("search", number / len(signals)))
    seconds["search"] = time.perf_counter() - clock
    return [_encoded(prior, result, seconds) for result in coded]


def predicted_cost(prior: MixturePrior, signal: Signal, noise_variance: float, most: float) -> float:
    """What coding a signal at about a noise variance comes to, in bits; see :meth:`family.Prior.predicted_costs`."""
    layout = prior.tiling(signal.shape, signal.channels)
    weights = prior.network.weights(split(to_values(signal), layout)).reshape(1, layout.tiles, -1)
    level = min(max(round(prior.noise_level_of(noise_variance)), 0), NOISE_LEVELS - 1)
    around = length_around(signal.format, prior.fields, {NOISE.name: (level,)})
    inside = signal.points * signal.channels / (layout.tiles * prior.network.latents)  # of the samples of all tiles

    def cost(bits: float, squared_error: float) -> float:
        bits = bits * (1 + choices.OVERHEAD) + 8 * (around + mixtures.class_bytes(layout.tiles, prior.class_bits))
        return bits + squared_error * inside / (2 * math.log(2) * prior.noise_variance(level))

    # what the first phases come to, all of them together come to at least
    (choice,) = choices.choose_at(
        prior, layout, weights, level, ends=lambda bits, error: cost(float(bits[0]), float(error[0])) > most
    )
    return cost(choice.bits, choice.squared_error)


def _number_of_groups(prior: MixturePrior, signal_format: Format, layout: Tiling, target: Target) -> int:
    """Groups of a file of a size.

    Raises:
        UnreachableError: it has no room for one.
    """
    around = length_around(signal_format, prior.fields, {NOISE.name: (0,)})
    smallest = around + mixtures.class_bytes(layout.tiles, prior.class_bits) + 1
    count = math.floor(target.value) - smallest + 1
    if count < 1:
        raise UnreachableError(
            f"a file of this {signal_format.kind} takes {smallest} bytes with prior {prior.name}; "
            f"ask for more than {target.value:g}"
        )
    return count


def _decide(
    prior: MixturePrior,
    layout: Tiling,
    weights: npt.NDArray[np.floating],
    count: int | None,
    target: Target,
    signal_format: Format,
) -> list[Choice]:
    """Classes and noise variances of all signals."""
    if count is not None:
        return choices.decide_by_groups(prior, layout, weights, count)
    if target.unit == "psnr":
        error = _PEAK_TO_PEAK**2 * 10 ** (-target.value / 10)
        return choices.decide_by_error(prior, layout, weights, error)
    return choices.decide_by_rate(prior, layout, weights, *prior.typical_of(target, signal_format))


def _encoded(prior: MixturePrior, coded: Coded, seconds: dict[str, float]) -> Encoded:
    payload = mixtures.pack_classes(coded.classes, prior.class_bits) + tiles.pack_indices(coded.indices)
    return Encoded({NOISE.name: (coded.noise_level,)}, payload, coded.z, seconds)


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
        count = self.count or max(1, math.ceil(choice.bits * (1 + choices.OVERHEAD) / 8))
        best = self._attempt(weights, choice, count)
        for level in _levels_beside(choice.noise_level, self.effort):
            (beside,) = choices.choose_at(self.prior, self.layout, weights[None], level)
            best = _better(best, self._attempt(weights, beside, count))
        for _ in range(_PASSES[self.effort]):
            (again,) = choices.choose_at(self.prior, self.layout, weights[None], best.noise_level, best.weights)
            best = _better(best, self._attempt(weights, again, count))
        return best

    def _attempt(self, weights: Array, choice: Choice, count: int) -> Coded:
        generator = np.random.Generator(np.random.Philox(self.seed))
        passes = _SEAM_PASSES[self.effort]
        return code_groups(self.prior, self.layout, weights, choice, count, self.method, generator, passes)


def _better(first: Coded, second: Coded) -> Coded:
    """The one of less error, the first if they have the same."""
    return second if second.squared_error < first.squared_error else first


def _levels_beside(level: int, effort: int) -> list[int]:
    """Further noise levels to try with the same number of groups."""
    around = range(level - _LEVELS_AROUND[effort], level + _LEVELS_AROUND[effort] + 1)
    return [beside for beside in around if beside != level and 0 <= beside < NOISE_LEVELS]


def code_groups(
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
    latents = prior.latents(layout, choice.classes, variance_level(choice.noise_level, prior.kind))
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
    return Coded(choice.noise_level, choice.classes, indices, np.concatenate(values), decoded_weights, error)


@dataclass(frozen=True, eq=False)
class _PhaseCoder:
    """Codes the phases of one signal.

    Attributes:
        prior, layout, weights, method, generator, seam_passes: as for :func:`code_groups`.
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
