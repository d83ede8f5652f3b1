"""Learning a mixture prior in closed form: phase by phase, assign tiles to classes and update the classes, in turns.

Sources: the update is that of Guo et al. 2023, equation 7, with covariances in the place of variances; the alternation
is hard expectation maximisation with the rate-distortion cost of a tile in the place of its likelihood. Every phase
sees the surroundings that a decoder would have: samples of the posteriors of the phases before it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DamagedFileError, DatasetError, OutputError, UsageError
from ...signals.signal import Kind, Tiling
from . import choices, mixtures
from .mixtures import NOISE_CODES, OCTAVE, Latents, PhaseMixture, class_costs, noise_level
from .neighbourhood import Canvas, Ring, blank, phase_tiles, phases
from .network import Linear
from .prior import MixturePrior, problem

Array = npt.NDArray[Any]

_TILES_AT_ONCE = 4096
_SHRINKAGE = 400.0  # a class's covariance is drawn to the usual correlations as if those came from so many tiles
_SCALE_SHRINKAGE = 50.0  # and its variances, for that purpose, to the usual ones of its total variance
_FEWEST_TILES = 50  # of a class; one with fewer takes half of the largest instead
_COMPRESSED = 48  # dimensions whose magnitudes decide the first assignment
_FIRST_TURNS = 5  # of the first assignment
_CHECKPOINT = "combiner-mixture-checkpoint-1"
_PILOT_TILES, _PILOT_COMPONENTS, _PILOT_ROUNDS = 1024, 4, 3
_PILOTS = 3
_USUAL_SLOPE = 0.05  # of the logarithm of the rate by the noise code
# The prior is meant for noise codes around that of learning, most of them below: classes that are learned at a high
# rate are better at a low one than those that are learned there.
_CODES_BELOW, _CODES_ABOVE = 28, 4


@dataclass(frozen=True)
class MixturePlan:
    """Settings of a mixture prior's learning.

    Attributes:
        name: of the prior.
        kind: of the signals.
        network: shape of the network.
        components: classes of each phase.
        covariance: of a class, ``"full"`` or ``"diagonal"`` in the projected weights.
        dimensions: of the projected weights.
        context: dimensions of the surroundings that a mean depends on.
        reach: width of the surroundings in samples.
        bits_per_point: rate that the noise variance is chosen for.
        rounds: turns of assignment and update in each phase.
        seed: of all random numbers.
        size: longer side of a typical signal.
    """

    name: str
    kind: Kind
    network: Linear
    components: int
    covariance: str
    dimensions: int
    context: int
    reach: int
    bits_per_point: float
    rounds: int
    seed: int
    size: int


@dataclass(frozen=True)
class MixtureReport:
    """State after a round.

    Attributes:
        phase: number of the phase, from 1.
        phases: number of phases.
        number: rounds of this phase finished.
        rounds: rounds of each phase.
        cost: KL + squared error / (2 · s2) of a training tile, average, in bits over its points, up to a constant.
        changed: share of the tiles that took another class.
        smallest: tiles of the smallest class.
    """

    phase: int
    phases: int
    number: int
    rounds: int
    cost: float
    changed: float
    smallest: int


@dataclass(frozen=True)
class LearnedMixture:
    """A finished prior, and what was measured on the way.

    Attributes:
        prior: to save.
        reports: of all rounds, those before a resumption included.
        curve: bits per point and PSNR (peak-to-peak 2) of posterior samples of the held-out signals, by noise code.
    """

    prior: MixturePrior
    reports: tuple[MixtureReport, ...]
    curve: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, eq=False)
class _Tiles:
    """The tiles of one phase.

    Attributes:
        projected: weights in the learned matrix's dimensions, ``(tiles, dimensions)``.
        outside: squared length of the weights beyond it, ``(tiles,)``.
        context: projected surroundings, ``(tiles, kept)``.
    """

    projected: Array
    outside: Array
    context: Array


def learn(
    plan: MixturePlan,
    training: Sequence[Array],
    held_out: Sequence[Array],
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[MixtureReport], None] = lambda _: None,
) -> LearnedMixture:
    """Learn a mixture prior.

    Args:
        plan: settings.
        training: values of signals in [-1, 1], arrays of ``(planes, outputs, *shape)`` with whole tiles.
        held_out: signals that do not enter the prior, of the same form, at least one.
        checkpoint: file to resume from if it exists, and to write now and then.
        checkpoint_seconds: time between checkpoints.
        report: called after every round.

    Raises:
        UsageError: the settings cannot make a prior.
        DatasetError: too few tiles, or the checkpoint belongs to other data or settings.
        DamagedFileError: the checkpoint cannot be read.
        OutputError: the checkpoint cannot be written.
    """
    check(plan, training)
    fingerprint = _fingerprint(plan, training)
    state = _State(None, [], None, 0, [])
    if checkpoint is not None and checkpoint.exists():
        state = _load(checkpoint, fingerprint)
    elif checkpoint is not None:
        _save(checkpoint, state, fingerprint)  # before long work, see that it can be written
    if state.code is None:
        state.code = _pilot(plan, training)
    clock = time.monotonic()

    def round_done(result: MixtureReport) -> None:
        nonlocal clock
        state.reports.append(result)
        report(result)
        if checkpoint is not None and time.monotonic() - clock > checkpoint_seconds:
            _save(checkpoint, state, fingerprint)
            clock = time.monotonic()

    _learn_phases(plan, training, state, round_done)
    prior = _prior(plan, state.code, state.finished)
    curve = _curve(prior, held_out)
    prior = _with_ranges(prior, curve)
    reason = problem(prior)
    if reason:
        raise DatasetError(f"the prior came out unusable ({reason}); aim at another rate or give more varied data")
    return LearnedMixture(prior, tuple(state.reports), curve)


def resumption(plan: MixturePlan, training: Sequence[Array], checkpoint: Path) -> tuple[MixtureReport, ...]:
    """The reports of the rounds that are done already; arguments and errors as of :func:`learn`."""
    return tuple(_load(checkpoint, _fingerprint(plan, training)).reports) if checkpoint.exists() else ()


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


@dataclass
class _State:
    """Everything that goes on from round to round.

    Attributes:
        code: of the noise variance, once it is chosen.
        finished: phases that are learned.
        labels: classes of the tiles of the phase that is being learned.
        rounds: turns taken in it.
        reports: of all rounds.
    """

    code: int | None
    finished: list[PhaseMixture]
    labels: npt.NDArray[np.int64] | None
    rounds: int
    reports: list[MixtureReport]


def check(plan: MixturePlan, training: Sequence[Array]) -> None:
    """Refuse, before any work, settings that cannot make a prior, or data of which there is too little.

    Raises:
        UsageError: the settings are such.
        DatasetError: the data are.
    """
    if plan.covariance not in ("full", "diagonal"):
        raise UsageError(f"there is no covariance {plan.covariance}; choose full or diagonal")
    if plan.reach > min(plan.network.extent):
        raise UsageError(f"surroundings of {plan.reach} samples are wider than a tile; choose fewer")
    points = sum(math.prod((len(batch), *batch.shape[2:])) for batch in training)
    tiles = points // math.prod(plan.network.extent) // phases(len(plan.network.extent))
    if tiles < _FEWEST_TILES * plan.components:
        raise DatasetError(
            f"the data set has {tiles} tiles per phase, {plan.components} components take at least "
            f"{_FEWEST_TILES * plan.components}; give more data or choose fewer components"
        )


def _pilot(plan: MixturePlan, training: Sequence[Array]) -> int:
    """The code of the noise variance at which a few classes, learned from a part of the data, take the planned rate."""
    count = phases(len(plan.network.extent))
    part, tiles = [], 0
    for batch in training:
        own = math.prod(batch.shape[2:]) // math.prod(plan.network.extent)
        part.append(batch[: max(1, (_PILOT_TILES * count - tiles) // own)])
        tiles += len(part[-1]) * own
        if tiles >= _PILOT_TILES * count:
            break
    code = NOISE_CODES // 3
    small = replace(plan, components=min(plan.components, _PILOT_COMPONENTS), rounds=_PILOT_ROUNDS)
    for _ in range(_PILOTS):
        state = _State(code, [], None, 0, [])
        _learn_phases(small, part, state, lambda _: None)
        found = _code_of_rate(_prior(small, code, state.finished), part, plan.bits_per_point, code)
        if found == code:
            break
        code = found
    return code


def _code_of_rate(prior: MixturePrior, batches: Sequence[Array], rate: float, code: int) -> int:
    """The noise code at which signals take a rate, by Newton's method with the usual slope."""
    for _ in range(_PILOTS):
        measured, _ = _measured(prior, batches, code)
        moved = code + round(math.log(rate / measured) / _USUAL_SLOPE)
        if moved == code:
            break
        code = min(max(moved, 0), NOISE_CODES - 1)
    return code


def _learn_phases(
    plan: MixturePlan, training: Sequence[Array], state: _State, report: Callable[[MixtureReport], None]
) -> None:
    """Learn the phases that are missing in the state, in place."""
    assert state.code is not None
    ring = Ring(plan.network.extent, plan.reach)
    layouts = [_counts(batch, ring.extent) for batch in training]
    canvases = [
        blank(ring, counts, len(batch), plan.network.outputs, np.float32)
        for batch, counts in zip(training, layouts, strict=True)
    ]
    for number in range(phases(len(ring.extent))):
        picks = [phase_tiles(counts, number) for counts in layouts]
        values = np.concatenate([_tiles(batch, ring, pick) for batch, pick in zip(training, picks, strict=True)])
        weights = plan.network.weights(values)
        context = np.concatenate([canvas.context(number) for canvas in canvases])
        if number == len(state.finished):
            state.finished.append(_learn_phase(plan, weights, context, number, state, report))
            state.labels, state.rounds = None, 0
        phase = state.finished[number]
        classes = choices.best_classes(phase, weights, context, noise_level(state.code, plan.kind))
        decoded = _sampled(
            Latents(phase, classes, noise_level(state.code, plan.kind)), weights, context, plan.seed + number
        )
        values = np.clip(plan.network.forward(decoded), -1, 1)
        done = 0
        for canvas, pick in zip(canvases, picks, strict=True):
            own = len(canvas.values) * len(pick)
            canvas.place(number, values[done : done + own].reshape(len(canvas.values), len(pick), *values.shape[1:]))
            done += own


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
    found: Array = latents.weights(mean + deviation * noise, context).astype(np.float32)
    return found


def _learn_phase(
    plan: MixturePlan,
    weights: Array,
    context: Array,
    number: int,
    state: _State,
    report: Callable[[MixtureReport], None],
) -> PhaseMixture:
    """The learned matrix, the dependence on the surroundings, and the classes of one phase."""
    assert state.code is not None
    known = bool(Ring(plan.network.extent, plan.reach).decoded(number).any())
    kept = _principal(context - context.mean(axis=0), plan.context if known else 0)  # (context, kept)
    surroundings = context @ kept
    centred, around = weights - weights.mean(axis=0), surroundings - surroundings.mean(axis=0)
    projection = _principal(centred - around @ _regression(around, centred), plan.dimensions)
    projected = weights @ projection
    outside = np.maximum((weights**2).sum(axis=1) - (projected**2).sum(axis=1), 0)
    tiles = _Tiles(projected, outside, surroundings)
    if state.labels is None:
        state.labels = _first_labels(centred @ projection, plan.components, _generator(plan, number, 0))
    noise = noise_level(state.code, plan.kind)
    while state.rounds < plan.rounds:
        phase = _classes(plan, tiles, state.labels, noise - mixtures.NOISE_STEP * _CODES_ABOVE)
        labels, cost = _assign(tiles, phase, noise)
        changed = float((labels != state.labels).mean())
        sizes = np.bincount(labels, minlength=plan.components)
        state.labels, state.rounds = labels, state.rounds + 1
        _refill(labels, sizes, _generator(plan, number, state.rounds))
        of_point = cost / math.log(2) / math.prod(plan.network.extent)
        count = phases(len(plan.network.extent))
        smallest = int(sizes.min())
        report(MixtureReport(number + 1, count, state.rounds, plan.rounds, of_point, changed, smallest))
    phase = _classes(plan, tiles, state.labels, noise - mixtures.NOISE_STEP * _CODES_ABOVE)
    return replace(phase, projection=projection, gain=kept @ phase.gain)


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
    means = np.stack([tiles.projected[own].mean(axis=0) for own in members])
    around = np.stack([tiles.context[own].mean(axis=0) for own in members])
    gain = _regression(tiles.context - around[labels], tiles.projected - means[labels])
    mean = means - around @ gain
    residual = tiles.projected - tiles.context @ gain - mean[labels]
    average = residual.T @ residual / len(residual)
    first, directions, levels = [0], [], []
    for own in members:
        covariance = _shrunk(residual[own], average)
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
    for small in np.flatnonzero(sizes < _FEWEST_TILES):
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
    found: Array = np.linalg.solve(gram, (around.T @ values).astype(np.float64)).astype(values.dtype)
    return found


def _principal(values: Array, most: int) -> Array:
    """The directions of the largest variance of centred values as orthonormal columns, ``(dimensions, most)``."""
    variances, vectors = np.linalg.eigh((values.T @ values).astype(np.float64) / len(values))
    found: Array = vectors[:, np.argsort(-variances, kind="stable")[: min(most, len(variances))]].astype(values.dtype)
    return found


def _prior(plan: MixturePlan, code: int, finished: Sequence[PhaseMixture]) -> MixturePrior:
    """The prior as it is stored, its ranges still to be measured."""
    low, high = max(code - _CODES_BELOW, 0), min(code + _CODES_ABOVE, NOISE_CODES - 1)
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


def _curve(prior: MixturePrior, held_out: Sequence[Array]) -> tuple[tuple[int, float, float], ...]:
    """Bits per point and PSNR of the held-out signals at noise codes over the range of the prior."""
    codes = sorted({*range(prior.noise_codes[0], prior.noise_codes[1] + 1, 4), *prior.noise_codes})
    found = []
    for own in codes:
        rate, error = _measured(prior, held_out, own)
        found.append((own, rate, 10 * math.log10(4 / error)))
    return tuple(found)


def _measured(prior: MixturePrior, batches: Sequence[Array], code: int) -> tuple[float, float]:
    """Average bits per point and geometric average of the mean squared error of signals at a noise code."""
    rates, errors = [], []
    for batch in batches:
        layout = Tiling(
            prior.network.extent, _counts(batch, prior.network.extent), batch.shape[2:], (tuple(range(batch.shape[1])),)
        )
        values = _tiles(batch, prior.ring, np.arange(layout.tiles))
        weights = prior.network.weights(values).reshape(len(batch), layout.tiles, -1)
        points = math.prod(layout.shape)
        for choice in choices.choose(prior, layout, weights, [code] * len(batch)):
            rates.append((choice.bits + layout.tiles * prior.class_bits) / points)
            errors.append(math.log(max(choice.squared_error, 1e-12) / points / batch.shape[1]))
    return float(np.mean(rates)), math.exp(float(np.mean(errors)))


def _with_ranges(prior: MixturePrior, curve: Sequence[tuple[int, float, float]]) -> MixturePrior:
    ends = (curve[0], curve[-1])
    errors = [4 * 10 ** (-psnr / 10) for _, _, psnr in ends]
    return replace(prior, rates=(ends[0][1], ends[1][1]), errors=(errors[0], errors[1]))


def _fingerprint(plan: MixturePlan, training: Sequence[Array]) -> str:
    """Of everything that must not change between a checkpoint and its resumption."""
    content = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
    for batch in training:
        content.update(str(batch.shape).encode() + np.ascontiguousarray(batch).tobytes())
    return content.hexdigest()


def _save(path: Path, state: _State, fingerprint: str) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    from safetensors.numpy import save

    tensors: dict[str, Array] = {}
    for number, phase in enumerate(state.finished):
        for name in PhaseMixture.__dataclass_fields__:
            tensors[f"{name}.{number}"] = np.ascontiguousarray(getattr(phase, name))
    if state.labels is not None:
        tensors["labels"] = state.labels
    facts = {"code": state.code, "rounds": state.rounds, "finished": len(state.finished)}
    reports = json.dumps([asdict(report) for report in state.reports])
    metadata = {"format": _CHECKPOINT, "fingerprint": fingerprint, "facts": json.dumps(facts), "reports": reports}
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(tensors, metadata))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"checkpoint {path} cannot be written ({error}); choose another place") from error
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, fingerprint: str) -> _State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as content:
            metadata = content.metadata() or {}
            if metadata.get("format") != _CHECKPOINT:
                raise DamagedFileError(f"{path} is not a checkpoint of this learning; remove it to start anew")
            if metadata["fingerprint"] != fingerprint:
                raise DatasetError(f"{path} belongs to other data or settings; remove it to start anew")
            facts = json.loads(metadata["facts"])
            names = list(PhaseMixture.__dataclass_fields__)
            finished = [
                PhaseMixture(*(content.get_tensor(f"{name}.{number}") for name in names))
                for number in range(facts["finished"])
            ]
            labels = content.get_tensor("labels") if "labels" in content.keys() else None  # noqa: SIM118
            reports = [MixtureReport(**report) for report in json.loads(metadata["reports"])]
            return _State(facts["code"], finished, labels, facts["rounds"], reports)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"checkpoint {path} cannot be read ({error}); remove it to start anew") from error
