"""Gauss-Newton variational inference: the fit of the Gaussian posteriors of many networks.

The model of a signal is ``target = output(weights) + noise`` with noise of variance s2 and standard normal latents z,
weights = mean + scale · z. The best Gaussian posterior has the precision E[J'J] / s2 + I up to the curvature of the
network, where J = d output / d z and the expectation is over the posterior itself. It is found by averaging J'J over
steps, each at a sample of the posterior so far, while the mean moves along precision⁻¹ · gradient (Khan and Rue, "The
Bayesian learning rule", JMLR 2023, section 4, with the Gauss-Newton matrix for the Hessian).

What cheaper forms lose, on the first 8 CIFAR-10 test images at 1,424 bits (prior cifar10-2, coded for real): J'J at
128, 256, 512 and 1,024 of the 1,024 points a step gave 29.17, 29.25, 29.21 and 29.20 dB, no difference beyond chance;
covariances within layers only 29.04 dB, within units only 28.68 dB, none at all 28.35 dB. So points are left out and
covariances are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from . import derivatives
from .gaussian import Gaussian, Motion, at_rest, cholesky, divergence, draw, solve
from .posterior import Objective, Posterior, hash_seed

_PRODUCTS_AT_ONCE = 2**21  # floats of the products of inputs of the networks that are computed together on the CPU
_MOST_PRODUCTS = 2**29  # the same on a GPU
_MOST_MATRIX_FLOATS = 2**28  # of all networks of a batch; about five matrices of that size exist at a time
_MOST_MATRIX_FLOATS_CUDA = 2**31
_LARGEST_NOISE_CHANGE = 0.5  # of the logarithm of s2 in one step
_TOLERATED_RISE = 1.05  # of the loss, which is estimated from samples, before a move is taken back
_TOLERATED_RISE_OF_PART = 1.3  # where it is estimated from different points every time
_PACE_GROWTH = 1.1  # of the step size after every good move, until it is whole again
_NOISE_RANGE = 1e4  # s2 stays within this factor of where it began


@dataclass(frozen=True)
class NewtonSettings:
    """Settings of the fit.

    Attributes:
        points: used per step for J'J; the other points of a tile wait for other steps.
        move_points: used per move for the gradient, likewise.
        warm: samples of J'J before the first step.
        moves: of the mean per step, with one and the same precision.
        pairs: of samples ± of the posterior per move, for the gradient; those of all moves together give the KL.
        mean_step: part of the Newton step that a move adds to the velocity of the mean: the network is not linear, a
            whole step leads astray.
        momentum: part of its velocity that the mean keeps.
        smallest_step: of the running average of J'J; the average over the last 1 / step samples in the end.
    """

    points: int = 256
    move_points: int = 1024
    warm: int = 6
    moves: int = 4
    pairs: int = 2
    mean_step: float = 0.1
    momentum: float = 0.8
    smallest_step: float = 0.1


def affordable(networks: int, latents: int, device: str) -> bool:
    """Whether the matrices of all networks of a batch fit the memory.

    Args:
        networks: of the batch.
        latents: of a network.
        device: of torch.
    """
    most = _MOST_MATRIX_FLOATS_CUDA if device == "cuda" else _MOST_MATRIX_FLOATS
    return networks * latents**2 <= most


def begin(
    objective: Objective,
    latents: torch.Tensor,
    still_open: torch.Tensor,
    factorised: Posterior,
    signals: int,
    settings: NewtonSettings,
    seed: int,
) -> Gaussian:
    """Posteriors whose J'J is averaged over samples of factorised ones.

    Args:
        objective: what to fit.
        latents: of the rows of the matrices, ``(networks of a signal, rows)``; all others stay 0.
        still_open: 1 for rows that are to be coded, the same shape.
        factorised: posteriors to begin with, of all networks.
        signals: number of signals.
        settings: how to fit.
        seed: of the random numbers.
    """
    s2 = torch.full((signals,), 0.5 / objective.weight, device=factorised.mean.device)
    places, undecided = latents.repeat(signals, 1), still_open.repeat(signals, 1)
    mean = torch.zeros_like(factorised.mean).scatter(1, places, factorised.mean.gather(1, places) * undecided)
    spread = torch.exp(factorised.log_deviation).gather(1, places) * undecided
    empty = torch.empty(0, device=mean.device)
    nothing = torch.zeros_like(s2)
    state = Gaussian(latents, still_open, at_rest(mean, places), empty, empty, s2, s2, settings.warm, nothing)
    generator = torch.Generator(device=mean.device).manual_seed(hash_seed(seed, 0))
    average = torch.zeros(1, device=mean.device)
    for count in range(settings.warm):
        noise = torch.randn(places.shape[1], generator=generator, device=mean.device)
        sample = mean.scatter_add(1, places, spread * noise)
        average = average + _sampled_gram(state, objective, sample, settings, count) / settings.warm
    return replace(state, gram=average, factor=cholesky(average, state.noise, undecided))


def step(
    posterior: Gaussian, objective: Objective, settings: NewtonSettings, nats: torch.Tensor, seed: int
) -> Gaussian:
    """One step of the fit: the mean moves, s2 is adjusted to the budget, and J'J is averaged with one more sample.

    Args:
        posterior: so far.
        objective: what to fit.
        settings: how to fit.
        nats: KL that the latents not yet decided are to have, ``(signals,)``.
        seed: of the random numbers; the same for all networks, so that no result depends on the rest of a batch.
    """
    count = posterior.steps + 1
    generator = torch.Generator(device=posterior.mean.device).manual_seed(hash_seed(seed, count))
    spread = draw(posterior, settings.moves * settings.pairs, generator)  # (networks, samples, rows)
    for turn, some in enumerate(torch.split(spread, settings.pairs, dim=1), start=count * settings.moves):
        here = _turn(objective.target.shape[2], settings.move_points, turn)
        posterior = replace(posterior, motion=_moved(posterior, objective, some, here, settings))
    posterior = replace(posterior, steps=count)
    sample = posterior.mean.scatter_add(1, posterior.places, spread[:, 0])
    sampled = _sampled_gram(posterior, objective, sample, settings, count)
    average = torch.lerp(posterior.gram, sampled, max(1 / count, settings.smallest_step))
    kl, slope = divergence(posterior, spread)
    change = ((kl - nats) / slope).clamp(-_LARGEST_NOISE_CHANGE, _LARGEST_NOISE_CHANGE)
    s2 = posterior.s2 * torch.exp(torch.nan_to_num(change))
    s2 = torch.minimum(torch.maximum(s2, posterior.initial_s2 / _NOISE_RANGE), posterior.initial_s2 * _NOISE_RANGE)
    posterior = replace(posterior, gram=average, s2=s2, nats=kl)
    return replace(posterior, factor=cholesky(average, posterior.noise, posterior.undecided))


def _moved(
    posterior: Gaussian, objective: Objective, spread: torch.Tensor, here: slice, settings: NewtonSettings
) -> Motion:
    """One move of the means along precision⁻¹ · gradient of the expected loss, or back where the loss has risen.

    Samples come in pairs ±: what the gradient's linear part makes of them cancels, and the mean is not shaken.
    """
    motion = posterior.motion
    pairs = torch.cat([spread, -spread], dim=1)  # (networks, samples, rows)
    pull, error = torch.zeros_like(motion.velocity), torch.zeros_like(motion.error)
    total, points = objective.target.shape[2], here.stop - here.start
    for networks in _networks_at_once(objective, pairs.shape[1], points):
        expected = _expected_error(posterior, objective, pairs[networks], networks, here)
        pull[networks], error[networks] = (of_points * (total / points) for of_points in expected)
    before, now = (
        value / (2 * posterior.noise) + 0.5 * (z * z).sum(dim=1)
        for value, z in ((motion.error, motion.good), (error, motion.mean))
    )
    tolerated = _TOLERATED_RISE if points == total else _TOLERATED_RISE_OF_PART
    risen = ~(now <= before * tolerated)[:, None]  # (networks, 1); what is not a number has risen, too
    rows = motion.mean.gather(1, posterior.places)
    newton = solve(posterior.factor, (pull / posterior.noise[:, None] - rows) * posterior.undecided)
    velocity = (
        settings.momentum * motion.velocity + settings.mean_step * motion.pace[:, None] * newton * posterior.undecided
    )
    velocity = torch.where(risen | ~velocity.isfinite(), 0.0, velocity)
    pace = torch.where(risen[:, 0], 0.5 * motion.pace, (_PACE_GROWTH * motion.pace).clamp(max=1.0))
    good = torch.where(risen, motion.good, motion.mean)
    mean = good.scatter_add(1, posterior.places, velocity)
    return Motion(mean, velocity, pace, torch.where(risen[:, 0], torch.inf, error), good)


def _expected_error(
    posterior: Gaussian, objective: Objective, pairs: torch.Tensor, networks: slice, here: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """J'(target - output) ``(networks, rows)`` and squared error ``(networks,)`` at some points, means over samples."""
    count, part = pairs.shape[1], objective.part(networks)
    places = posterior.places[networks]
    z = posterior.mean[networks, None].expand(-1, count, -1)  # (networks, samples, latents)
    z = z.scatter_add(2, places[:, None].expand(-1, count, -1), pairs).flatten(0, 1)
    done = derivatives.forward(part.network, part.weights(z), part.features[:, here])
    residual = part.target[:, :, here].repeat_interleave(count, 0) - done.output
    if part.inside is not None:
        residual = residual * part.inside[:, :, here].repeat_interleave(count, 0)
    pulled = part.deviation * derivatives.gradient(part.network, done, residual)  # (networks · samples, latents)
    error = (residual * residual).sum(dim=(1, 2)).reshape(-1, count).mean(dim=1)
    return pulled.reshape(len(places), count, -1).mean(dim=1).gather(1, places), error


def _sampled_gram(
    posterior: Gaussian, objective: Objective, z: torch.Tensor, settings: NewtonSettings, turn: int
) -> torch.Tensor:
    """J'J at some latents from a part of the points, scaled up to all, ``(networks, rows, rows)``.

    The points are in a random order; the parts take turns, so that an average over steps has seen them all.
    """
    total = objective.target.shape[2]
    here = _turn(total, settings.points, turn)
    points = here.stop - here.start
    same = len(posterior.latents) == 1
    columns = posterior.latents[0] if same else torch.unique(posterior.latents)
    scale = objective.deviation * (total / points) ** 0.5
    sampled = torch.empty(len(z), len(columns), len(columns), device=z.device)
    for networks in _networks_at_once(objective, 1, points):
        part = objective.part(networks)
        inside = None if part.inside is None else part.inside[:, :, here]
        done = derivatives.forward(part.network, part.weights(z[networks]), part.features[:, here])
        sampled[networks] = derivatives.gram(part.network, scale, done, columns, inside)
    sampled.nan_to_num_(0.0, 0.0, 0.0)  # an average would never forget what is not a number
    return sampled if same else _rearranged(sampled, torch.searchsorted(columns, posterior.places))


def _turn(total: int, points: int, turn: int) -> slice:
    """One of the parts of about so many points into which all are divided; the parts take turns."""
    parts = -(-total // points)
    return slice(turn % parts * total // parts, (turn % parts + 1) * total // parts)


def _rearranged(matrices: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows and columns of each matrix in an order that each network has for itself, ``(networks, rows, rows)``."""
    count, size = rows.shape
    chosen = matrices.gather(1, rows[:, :, None].expand(-1, -1, matrices.shape[2]))
    return chosen.gather(2, rows[:, None].expand(count, size, size))


def _networks_at_once(objective: Objective, samples: int, points: int) -> Iterator[slice]:
    """Parts of the networks whose intermediate results fit the caches of a processor or the memory of a GPU."""
    networks = len(objective.target)
    if samples == 1:
        floats = max(inputs * points for _, inputs in derivatives.pair_counts(objective.network))
    else:
        floats = samples * points * 4 * objective.network.width
    most = _PRODUCTS_AT_ONCE if objective.target.device.type == "cpu" else _MOST_PRODUCTS
    size = max(1, most // floats)
    return (slice(first, min(first + size, networks)) for first in range(0, networks, size))
