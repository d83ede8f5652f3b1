"""Learning a prior with covariances, or a mixture of them, for networks with hidden layers.

It goes on where learning with factorised posteriors ends. The posteriors then have full covariances, and the update in
closed form (Guo et al. 2023, equation 7) takes matrices: covariance = mean of the posterior covariances plus the outer
products of the deviations of their means. A posterior is a function of its mean, the prior and the tile: only means are
kept from turn to turn, and of the covariances only their sums. A prior of hundreds of directions would fit its own
training tiles alone: the factorised prior keeps a share in it, as large as suits the held-out tiles best, and the
average of all classes one in every class likewise.

In the first turns there is one class, and the coordinates are re-chosen after each: its latents are the directions of
weight space ordered by what the posteriors know of them, and those of which they know nothing are dropped. Then the
tiles are dealt to classes, and every turn gives each tile the class under which its evidence is largest: hard
expectation maximisation. The likelihood of a tile is taken as the Gaussian that its posterior implies.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from ...errors import DamagedFileError, DatasetError
from ...priors.library import problem
from ...signals.signal import coordinates
from . import gauss_newton
from . import learning as learn
from .covariances import CovariancePrior, whole_information
from .gauss_newton import Fit, Gaussian
from .learning import Plan, RoundReport
from .posterior import Objective, hash_seed, kl, objective, squared_error

_CHECKPOINT = "combiner-covariance-checkpoint-1"
_FIT = Fit(points=96, warm=1, moves=12, pairs=1, mean_step=0.3, momentum=0.5)
_SHARED = 2.0  # samples of J'J that the average of all tiles counts for: a tile's own are few, and inverted
_FIRST_TILES = 64  # for the first such average
_STEPS = 1  # of the fit in a turn; the means go on where the last turn left them
_DROPPED_BELOW = 0.02  # bits: directions of less information are left out of the later turns
_ENTRIES_AT_ONCE = 2**23  # of the matrices of the tiles that are fitted together
_MOST_AT_ONCE = 32  # tiles
_SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)  # that a broader covariance may have in a narrower one
_FEWEST_TILES = 8  # of a class; one with fewer is given some of the largest's
_COMPRESSED = 48  # latents whose magnitudes decide the first assignment
_FIRST_TURNS = 10  # of the first assignment
_RIDGE = 1e-7  # of a covariance's average variance: keeps it positive definite


@dataclass(frozen=True)
class LearnedCovariance:
    """A finished prior and the reports of all rounds, those before a resumption included."""

    prior: CovariancePrior
    reports: tuple[RoundReport, ...]


@dataclass(frozen=True, eq=False)
class Moments:
    """The prior of each class and what its posteriors know, in the coordinates of a common basis.

    Attributes:
        mean: ``(classes, directions)`` float64.
        factor: lower Cholesky factor of the covariance, ``(classes, directions, directions)`` float64.
        spread: average covariance of the training posteriors, ``(classes, directions, directions)`` float64.
    """

    mean: torch.Tensor
    factor: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that goes on from turn to turn.

    Attributes:
        origin: weights where the coordinates are 0, ``(weights,)`` float64.
        basis: weights by coordinates, ``(weights, directions)`` float64.
        moments: of the classes.
        anchor: covariance of the factorised prior, ``(directions, directions)`` float64.
        gram: average J'J of the posteriors, ``(directions, directions)`` float64.
        labels: class of each tile, ``(tiles,)`` int64.
        places: coordinates of the posterior means, ``(tiles, directions)`` float64.
        bits: average KL of the training posteriors of each class, ``(classes,)`` float64.
        beta: of the next turn.
        reports: of all rounds and turns.
        turns: finished.
    """

    origin: torch.Tensor
    basis: torch.Tensor
    moments: Moments
    anchor: torch.Tensor
    gram: torch.Tensor
    labels: torch.Tensor
    places: torch.Tensor
    bits: torch.Tensor
    beta: float
    reports: tuple[RoundReport, ...]
    turns: int

    @property
    def classes(self) -> int:
        return len(self.moments.mean)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Some tiles after a turn, each under the class that suits it best.

    Attributes:
        labels: of the classes, ``(tiles,)``.
        z: latents of their classes, ``(tiles, directions)``.
        covariance: of the latents, ``(tiles, directions, directions)``.
        nats: KL(posterior, prior), ``(tiles,)``.
    """

    labels: torch.Tensor
    z: torch.Tensor
    covariance: torch.Tensor
    nats: torch.Tensor


def learn_covariance(
    plan: Plan,
    training: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    device: str,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[RoundReport], None] = lambda _: None,
) -> LearnedCovariance:
    """Learn a prior with covariances; arguments and errors as of :func:`learn.learn`."""
    if len(training) == 0 or len(held_out) == 0:
        raise DatasetError("the data set is too small: it needs at least one training and one held-out tile")
    if plan.components > 1 and len(training) < plan.components * _FEWEST_TILES:
        raise DatasetError(
            f"{len(training)} tiles are too few for {plan.components} classes; give more, or fewer classes"
        )
    tiles = np.concatenate([training, held_out])
    fingerprint = learn.fingerprint_of(plan, tiles)
    state = None if checkpoint is None else _load(checkpoint, fingerprint, device)
    if state is None:
        first = learn.factorised(plan, tiles, len(training), device, checkpoint, checkpoint_seconds, report)
        state = begin(first, len(training))
        if checkpoint is not None:
            _save(checkpoint, state, fingerprint)
    state = turns(plan, state, tiles, len(training), device, checkpoint, checkpoint_seconds, report)
    return LearnedCovariance(finished(plan, state), state.reports)


def resumption(plan: Plan, tiles: npt.NDArray[np.float32], checkpoint: Path) -> tuple[RoundReport, ...]:
    """The reports of the rounds and turns that are done already; as :func:`learn.resumption`."""
    state = _load(checkpoint, learn.fingerprint_of(plan, tiles), "cpu")
    return learn.resumption(plan, tiles, checkpoint) if state is None else state.reports


def turns(
    plan: Plan,
    state: _State,
    tiles: npt.NDArray[np.float32],
    training: int,
    device: str,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[RoundReport], None] = lambda _: None,
) -> _State:
    """The turns that are left; arguments as of :func:`learn.factorised`."""
    features = plan.network.fourier_features(coordinates(plan.network.extent))
    moments = tuple(np.zeros(plan.network.latents, dtype=np.float32) for _ in range(2))
    fit = objective(plan.network, features, tiles, None, (moments[0], moments[1]), state.beta, device)
    saved = time.monotonic()
    if state.turns == 0:
        state = replace(state, gram=_shared(plan, state, fit, training))
    while state.turns < plan.turns:
        if plan.components > state.classes and state.turns >= plan.turns // 2:
            state = _divided(plan, state, training)
        state = _turn(plan, state, fit, training)
        report(state.reports[-1])
        if checkpoint is not None and time.monotonic() - saved > checkpoint_seconds:
            _save(checkpoint, state, learn.fingerprint_of(plan, tiles))
            saved = time.monotonic()
    return state


def update(means: torch.Tensor, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The closed-form prior of some posteriors with covariances (Guo et al. 2023, equation 7).

    Args:
        means: posterior means, ``(signals, latents)``.
        spread: average of their covariances, ``(latents, latents)``.

    Returns:
        mean = average of the means; covariance = average of covariance + outer product of the mean's deviation.
    """
    mean = means.mean(dim=0)
    deviation = means - mean
    return mean, spread + deviation.T @ deviation / len(means)


def begin(state: learn.State, training: int) -> _State:
    """One class whose covariance is the factorised prior's, without the weights that carry no information."""
    posterior, moments = state.posterior, state.moments
    variances = torch.exp(2 * posterior.log_deviation[:training].double()).mean(dim=0)  # (weights,)
    bits = kl(posterior.mean[:training], posterior.log_deviation[:training]).mean(dim=0) / math.log(2)
    kept = torch.nonzero(bits >= _DROPPED_BELOW)[:, 0]
    if len(kept) == 0:
        raise DatasetError("nothing worth coding was learned; aim at a higher rate or give more varied data")
    basis = torch.diag(moments.deviation.double())[:, kept]
    identity = torch.eye(len(kept), dtype=torch.float64, device=basis.device)
    start = Moments(torch.zeros_like(variances[kept])[None], identity[None], torch.diag(variances[kept])[None])
    labels = torch.zeros(len(posterior.mean), dtype=torch.int64, device=basis.device)
    places = posterior.mean.double()[:, kept]
    total = bits.double().sum()[None]
    return _State(
        moments.mean.double(),
        basis,
        start,
        identity,
        torch.zeros_like(identity),
        labels,
        places,
        total,
        state.beta,
        state.reports,
        0,
    )


def finished(plan: Plan, state: _State) -> CovariancePrior:
    """The prior, every class in its own directions, those without information left out."""
    mean, bases, bits = [], [], []
    for number in range(state.classes):
        rotated, known = _by_information(state.moments, number)
        scale = float(state.bits[number] / known.sum().clamp(min=1e-9))  # what directions know jointly counts, too
        mean.append((state.origin + state.basis @ state.moments.mean[number]).cpu().numpy())
        bases.append((state.basis @ rotated).cpu().numpy())
        bits.append((known * max(1.0, scale)).cpu().numpy())
    information = whole_information(np.stack(bits), learn.PRUNED_BELOW)  # (classes, directions), decreasing
    used = max(1, int((information > 0).sum(axis=1).max()))
    basis = np.stack(bases)[:, :, :used] * (information[:, None, :used] > 0)
    prior = CovariancePrior(
        name=plan.name,
        kind=plan.kind,
        network=plan.network,
        beta=state.beta,
        mean=np.stack(mean).astype(np.float32),
        basis=basis.astype(np.float16),
        information=np.ascontiguousarray(information[:, :used]),
    )
    reason = problem(prior)
    if reason:
        raise DatasetError(f"the prior came out unusable ({reason}); aim at a higher rate or give more varied data")
    return prior


def _by_information(moments: Moments, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a class by decreasing information.

    In the directions in which the average posterior covariance is diagonal, it is that average's share of the prior
    variance that counts: with a prior in equilibrium, KL = log(prior deviation / posterior deviation).

    Returns:
        Coordinates of a step of one deviation along each, ``(directions, directions)``, and bits, ``(directions,)``.
    """
    factor = moments.factor[number]
    whitened = _whitened(factor, moments.spread[number])
    variances, rotation = torch.linalg.eigh(whitened)  # increasing variance
    known = -0.5 * torch.log2(variances.clamp(min=1e-12, max=1.0))
    return factor @ rotation, known


def _whitened(factor: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """factor⁻¹ · covariance · factor⁻ᵀ, symmetric."""
    half = torch.linalg.solve_triangular(factor, covariance, upper=False)
    whole = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    symmetric: torch.Tensor = 0.5 * (whole + whole.mT)
    return symmetric


def _in_basis(gram: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """J'J by the basis' coordinates of one by a class's latents: factor⁻ᵀ · gram · factor⁻¹."""
    half = torch.linalg.solve_triangular(factor.mT, gram, upper=True)
    found: torch.Tensor = torch.linalg.solve_triangular(factor.mT, half.mT, upper=True)
    return found


def _turn(plan: Plan, state: _State, fit: Objective, training: int) -> _State:
    """Fit all posteriors, give every tile its best class, and update the prior."""
    labels, places = state.labels.clone(), state.places.clone()
    device = places.device
    nats, errors = torch.zeros((2, len(labels)), device=device)
    size = state.basis.shape[1]
    sums = torch.zeros(state.classes, size, size, device=device, dtype=torch.float64)
    gram = torch.zeros_like(state.gram)
    for number, some in _batches(state):
        mine = _class_objective(fit, state, number, some)
        posterior = _fitted(plan, state, mine, number, some)
        gram += _in_basis(posterior.gram.double().sum(dim=0), state.moments.factor[number]) / len(labels)
        errors[some] = _sampled_error(mine, posterior, hash_seed(plan.seed, state.turns, 1))
        best = _assigned(posterior, state.moments, number)
        labels[some], nats[some] = best.labels, best.nats
        chosen = state.moments.factor[best.labels] @ best.z.double()[..., None]
        places[some] = state.moments.mean[best.labels] + chosen[..., 0]
        for other in torch.unique(best.labels).tolist():
            own = (best.labels == other) & (some < training)
            sums[other] += best.covariance[own].double().sum(dim=0)
    result = learn.round_report(
        plan, len(state.reports) + 1, plan.rounds + plan.turns, nats / math.log(2), errors, training, state.beta
    )
    bits = torch.stack([nats[:training][labels[:training] == n].double().sum() for n in range(state.classes)])
    counts = torch.bincount(labels[:training], minlength=state.classes)
    factor = state.moments.factor
    spread = factor @ (sums / counts.clamp(min=1)[:, None, None]) @ factor.mT
    after = replace(
        state,
        labels=labels,
        places=places,
        gram=gram,
        moments=replace(state.moments, spread=spread),
        bits=bits / counts.clamp(min=1) / math.log(2),
        beta=learn.adapted(plan, state.beta, result.held_out_bits_per_point),  # the prior knows the training tiles
        reports=(*state.reports, result),
        turns=state.turns + 1,
    )
    updated = replace(after, moments=_updated(after, training))
    return _rebased(updated) if state.classes == 1 else updated


def _batches(state: _State) -> Iterator[tuple[int, torch.Tensor]]:
    """Each class with some of its tiles, as many as are fitted together."""
    size = max(1, min(_MOST_AT_ONCE, _ENTRIES_AT_ONCE // state.basis.shape[1] ** 2))
    for number in range(state.classes):
        members = torch.nonzero(state.labels == number)[:, 0]
        yield from ((number, some) for some in torch.split(members, size) if len(some))


def _class_objective(fit: Objective, state: _State, number: int, some: torch.Tensor) -> Objective:
    """The fit of some tiles under a class."""
    mean = state.origin + state.basis @ state.moments.mean[number]  # (weights,)
    matrix = state.basis @ state.moments.factor[number]  # (weights, directions)
    samples = fit.target.shape[1] * fit.target.shape[2]
    return replace(
        fit, target=fit.target[some], mean=mean.float(), deviation=matrix.float(), weight=1 / (samples * state.beta)
    )


def _fitted(
    plan: Plan, state: _State, mine: Objective, number: int, some: torch.Tensor, steps: int = _STEPS
) -> Gaussian:
    """Posteriors of some tiles under a class after some steps."""
    factor = state.moments.factor[number]
    offset = (state.places[some] - state.moments.mean[number]).mT
    z = torch.linalg.solve_triangular(factor, offset, upper=False).mT.float()  # (tiles, directions)
    deviation = _whitened(factor, state.moments.spread[number]).diagonal().clamp(min=0, max=1).sqrt().float()
    rows = torch.arange(z.shape[1], device=z.device)[None]
    opened = torch.ones(1, z.shape[1], device=z.device)
    seed = hash_seed(plan.seed, state.turns)
    posterior = gauss_newton.begin(mine, rows, opened, z, deviation.expand_as(z), len(z), _FIT, seed)
    if state.gram.any():
        posterior = _with_shared(posterior, (factor.mT @ state.gram @ factor).float())
    for _ in range(steps):
        posterior = gauss_newton.step(posterior, mine, _FIT, None, seed)
    return posterior


def _with_shared(posterior: Gaussian, shared: torch.Tensor) -> Gaussian:
    """Posteriors to whose J'J the average of all tiles ``(directions, directions)`` has been added."""
    own = posterior.steps / (posterior.steps + _SHARED)
    gram = torch.lerp(shared.expand_as(posterior.gram), posterior.gram, own)
    factor = gauss_newton.cholesky(gram, posterior.noise, posterior.opened)
    return replace(posterior, gram=gram, factor=factor, steps=posterior.steps + round(_SHARED))


def _shared(plan: Plan, state: _State, fit: Objective, training: int) -> torch.Tensor:
    """Average J'J of the first tiles, of one class, at samples of their posteriors, ``(directions, directions)``."""
    total = torch.zeros_like(state.gram)
    count = min(training, _FIRST_TILES)
    for number, some in _batches(replace(state, labels=state.labels[:count])):
        mine = _class_objective(fit, state, number, some)
        total += _fitted(plan, state, mine, number, some, steps=0).gram.double().sum(dim=0)
    return total / count


def _sampled_error(mine: Objective, posterior: Gaussian, seed: int) -> torch.Tensor:
    """Sum of squared errors of one sample of each posterior, ``(tiles,)``."""
    generator = torch.Generator(device=posterior.mean.device).manual_seed(seed)
    with torch.no_grad():
        return squared_error(mine, posterior.mean + gauss_newton.draw(posterior, 1, generator)[:, 0])


def _assigned(posterior: Gaussian, moments: Moments, number: int) -> _Fitted:
    """The tiles of some posteriors under class ``number``, each under the class with the largest evidence.

    A posterior of precision gram / s2 + I that is stationary at z stands for the likelihood
    exp(-½ u' gram / s2 · u + linear' u) of the class's latents u, with linear = (gram / s2 + I) · z.
    """
    identity = torch.eye(moments.factor.shape[1], device=posterior.mean.device)
    z = posterior.mean
    best = _Fitted(
        torch.full_like(z[:, 0], number, dtype=torch.int64),
        z.clone(),
        torch.cholesky_inverse(posterior.factor),
        torch.zeros_like(z[:, 0]),
    )
    if len(moments.mean) > 1:
        gram = posterior.gram / posterior.noise[:, None, None]  # (tiles, directions, directions)
        linear = (gram @ z[..., None])[..., 0] + z
        least = torch.full_like(z[:, 0], torch.inf)
        for other in range(len(moments.mean)):
            shift = (moments.mean[other] - moments.mean[number])[:, None]
            both = torch.cat([moments.factor[other], shift], dim=1)
            both = torch.linalg.solve_triangular(moments.factor[number], both, upper=False).float()
            matrix, offset = both[:, :-1], both[:, -1]  # u = offset + matrix · latents of the other class
            pushed = gram @ offset
            precision = matrix.mT @ gram @ matrix + identity
            factor, failed = torch.linalg.cholesky_ex(precision)
            pull = (linear - pushed) @ matrix
            at = gauss_newton.solve(factor, pull)
            cost = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1) - 0.5 * (pull * at).sum(dim=1)
            cost += ((0.5 * pushed - linear) * offset).sum(dim=1)
            cost = torch.where((failed == 0) & cost.isfinite(), cost, torch.inf)
            better = torch.nonzero(cost < least)[:, 0]
            least[better] = cost[better]
            best.labels[better] = other
            if other == number:
                best.z[better], best.covariance[better] = z[better], torch.cholesky_inverse(posterior.factor[better])
            else:
                best.z[better], best.covariance[better] = at[better], torch.cholesky_inverse(factor[better])
    trace = best.covariance.diagonal(dim1=1, dim2=2).sum(dim=1)
    logarithm = torch.linalg.slogdet(best.covariance)[1] if len(moments.mean) > 1 else (
        -2 * posterior.factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    )  # fmt: skip
    nats = 0.5 * (trace + (best.z * best.z).sum(dim=1) - z.shape[1] - logarithm)
    return replace(best, nats=nats)


def _updated(state: _State, training: int) -> Moments:
    """The closed-form prior of every class, its covariance drawn to the average of all where it has few tiles."""
    labels, places = state.labels[:training], state.places[:training]
    counts = torch.bincount(labels, minlength=state.classes)
    means, covariances = state.moments.mean.clone(), torch.zeros_like(state.moments.factor)
    for number in torch.nonzero(counts)[:, 0].tolist():
        means[number], covariances[number] = update(places[labels == number], state.moments.spread[number])
    weight = counts.double()[:, None, None]
    pooled = ((weight * covariances).sum(dim=0) / weight.sum())[None]
    spread = ((weight * state.moments.spread).sum(dim=0) / weight.sum())[None]
    away = state.places[training:] - means[state.labels[training:]]  # (held-out tiles, directions)
    everywhere = torch.zeros_like(state.labels[training:])
    pooled = _blended(pooled, state.anchor[None], spread, away, everywhere)
    if state.classes == 1:
        covariances = pooled
    else:
        spreads = state.moments.spread
        covariances = _blended(covariances, pooled, spreads, away, state.labels[training:])
    ridge = _RIDGE * covariances.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    identity = torch.eye(covariances.shape[1], dtype=covariances.dtype, device=covariances.device)
    factor = torch.linalg.cholesky(covariances + ridge * identity)
    return replace(state.moments, mean=means, factor=factor)


def _blended(
    narrow: torch.Tensor, broad: torch.Tensor, spread: torch.Tensor, away: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Covariances with the share of broader ones that makes the KL of other tiles' posteriors smallest.

    Args:
        narrow: ``(classes, directions, directions)``.
        broad: ``(1, directions, directions)``.
        spread: covariance of a posterior, ``(classes, directions, directions)``.
        away: deviations of the means of some tiles' posteriors, ``(tiles, directions)``.
        labels: classes of these tiles, ``(tiles,)``.
    """
    best, least = broad.expand_as(narrow), math.inf
    for share in _SHARES:
        covariances = torch.lerp(narrow, broad, share)
        factor, failed = torch.linalg.cholesky_ex(covariances)
        if bool(failed.any()):
            continue
        cost = torch.zeros_like(away[0, 0])
        for number in torch.unique(labels).tolist():
            own = away[labels == number]
            outer = len(own) * spread[number] + own.mT @ own
            cost += 0.5 * torch.cholesky_solve(outer, factor[number]).trace()
            cost += len(own) * factor[number].diagonal().log().sum()
        if float(cost) < least:
            best, least = covariances, float(cost)
    return best


def _rebased(state: _State) -> _State:
    """The one class in coordinates in which it is the standard normal, without those that carry no information."""
    moments = state.moments
    rotated, known = _by_information(moments, 0)
    kept = int((known >= _DROPPED_BELOW).sum())
    if kept == 0:
        raise DatasetError("nothing worth coding was learned; aim at a higher rate or give more varied data")
    inverse = torch.linalg.inv(rotated)[:kept]
    rotated = rotated[:, :kept]
    identity = torch.eye(kept, dtype=rotated.dtype, device=rotated.device)
    spread = inverse @ moments.spread[0] @ inverse.mT
    return replace(
        state,
        origin=state.origin + state.basis @ moments.mean[0],
        basis=state.basis @ rotated,
        anchor=inverse @ state.anchor @ inverse.mT,
        gram=rotated.mT @ state.gram @ rotated,
        places=(state.places - moments.mean[0]) @ inverse.mT,
        moments=Moments(torch.zeros_like(known[:kept])[None], identity[None], spread[None]),
    )


def _divided(plan: Plan, state: _State, training: int) -> _State:
    """The tiles dealt to classes by what their latents' magnitudes have in common (Lloyd's algorithm)."""
    feature = state.places[:, :_COMPRESSED].abs().sqrt()  # (tiles, compressed)
    generator = torch.Generator().manual_seed(hash_seed(plan.seed, state.turns, 2))
    centres = feature[torch.randperm(training, generator=generator)[: plan.components].to(feature.device)]
    labels = state.labels
    for _ in range(_FIRST_TURNS):
        labels = torch.cdist(feature, centres).argmin(dim=1)
        counts = torch.bincount(labels[:training], minlength=plan.components)
        while int(counts.min()) < _FEWEST_TILES:
            few, many = int(counts.argmin()), int(counts.argmax())
            donors = torch.nonzero(labels[:training] == many)[:_FEWEST_TILES, 0]
            labels[donors] = few
            counts = torch.bincount(labels[:training], minlength=plan.components)
        centres = torch.stack([feature[:training][labels[:training] == n].mean(dim=0) for n in range(plan.components)])
    moments = Moments(*(one.expand(plan.components, *one.shape[1:]).clone() for one in vars(state.moments).values()))
    after = replace(state, labels=labels, moments=moments, bits=state.bits.expand(plan.components).clone())
    return replace(after, moments=_updated(after, training))


def _save(path: Path, state: _State, fingerprint: str) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    tensors = {name: getattr(state, name) for name in ("origin", "basis", "anchor", "gram", "labels", "places", "bits")}
    tensors |= {f"class_{name}": tensor for name, tensor in vars(state.moments).items()}
    metadata = {
        "format": _CHECKPOINT,
        "fingerprint": fingerprint,
        "beta": state.beta.hex(),
        "turns": str(state.turns),
        "reports": json.dumps([asdict(report) for report in state.reports]),
    }
    learn.write_checkpoint(path, tensors, metadata)


def _load(path: Path, fingerprint: str, device: str) -> _State | None:
    """A checkpoint of these turns, or ``None`` if there is none yet."""
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as content:
            metadata = content.metadata() or {}
            if metadata.get("format") != _CHECKPOINT:
                return None  # of the rounds before, or not ours at all: they will see
            if metadata["fingerprint"] != fingerprint:
                raise DatasetError(f"{path} belongs to other data or settings; remove it to start anew")
            tensors = {name: content.get_tensor(name).to(device) for name in content.keys()}  # noqa: SIM118
            moments = Moments(*(tensors.pop(f"class_{name}") for name in ("mean", "factor", "spread")))
            reports = tuple(RoundReport(**report) for report in json.loads(metadata["reports"]))
            beta, turns_done = float.fromhex(metadata["beta"]), int(metadata["turns"])
            return _State(moments=moments, beta=beta, reports=reports, turns=turns_done, **tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"checkpoint {path} cannot be read ({error}); remove it to start anew") from error
