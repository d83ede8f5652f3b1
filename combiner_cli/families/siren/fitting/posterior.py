"""The variational posterior: one factorised Gaussian per network, fitted by stochastic gradient descent.

The loss is COMBINER's, mean squared error + beta · KL(posterior, prior) (Guo et al. 2023, equation 5), divided by beta:
``weight · squared error + sum of penalty · KL`` in nats. The penalties are 1 in training and adapt group by group in
encoding, so that every group meets its budget of bits (Guo et al. 2023, section 3.3).

All posteriors live in whitened coordinates z = (weights - prior mean) / prior deviation, in which the prior of every
latent is the standard normal and one step size suits all layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..network import Siren

_FIRST_DECAY = 0.9
_SECOND_DECAY = 0.99
_INITIAL_LOG_DEVIATION = -2.0
_SHUFFLE_SEED = 0
_POINTS_AT_ONCE = 8192  # networks · points of one pass on the CPU: activations stay in the second-level cache


@dataclass(frozen=True)
class Descent:
    """Settings of the gradient descent.

    Attributes:
        rate: Adam's step size for the whitened means.
        deviation_rate: Adam's step size for the logarithms of the whitened deviations.
        points: points drawn per step for the estimate of the squared error; the rest of a tile waits for other steps.
    """

    rate: float = 0.05
    deviation_rate: float = 0.05
    points: int = 256


@dataclass(frozen=True)
class Objective:
    """What a batch of posteriors is fitted to.

    The points of the tiles are in a random order, the same in all: consecutive points are a random sample.

    Attributes:
        network: shape of the networks.
        features: Fourier features of all points of a tile, ``(features, points)`` float32.
        target: values to approximate, ``(networks, outputs, points)`` float32.
        inside: 1 for points that count and 0 for padding, ``(networks, 1, points)``, or ``None`` if all count.
        mean: prior mean of the weights, ``(latents,)`` float32.
        deviation: prior standard deviations of the weights, ``(latents,)`` float32.
        weight: of a tile's sum of squared errors against the KL in nats: 1 / (samples of a tile · beta).
    """

    network: Siren
    features: torch.Tensor
    target: torch.Tensor
    inside: torch.Tensor | None
    mean: torch.Tensor
    deviation: torch.Tensor
    weight: float

    def weights(self, z: torch.Tensor) -> torch.Tensor:
        """Weights of networks, ``(networks, latents)``.

        Args:
            z: their whitened latents, ``(networks, latents)``.
        """
        return self.mean + self.deviation * z

    def part(self, networks: slice) -> Objective:
        """The same for some of the networks; nothing is copied.

        Args:
            networks: which.
        """
        inside = None if self.inside is None else self.inside[networks]
        return replace(self, target=self.target[networks], inside=inside)


@dataclass(frozen=True)
class Posterior:
    """Whitened means and log deviations of a batch of posteriors with the state of their optimiser.

    The tensors are ``(networks, latents)`` float32 and are updated in place by :func:`descend`.

    Attributes:
        mean: whitened means.
        log_deviation: logarithms of the whitened standard deviations.
        moments: Adam's first and second moments of the two gradients.
    """

    mean: torch.Tensor
    log_deviation: torch.Tensor
    moments: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def objective(
    network: Siren,
    features: npt.NDArray[np.float64],
    target: npt.NDArray[np.floating],
    inside: npt.NDArray[np.floating] | None,
    moments: tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]],
    beta: float,
    device: str,
) -> Objective:
    """Shuffle the points and move everything that a fit needs to the device, in float32.

    Args:
        network: shape of the networks.
        features: Fourier features of all points of a tile, ``(features, points)``.
        target: values to approximate, ``(networks, outputs, points)``.
        inside: 1 for points that count and 0 for padding, ``(networks, 1, points)``, or ``None`` if all count.
        moments: mean and standard deviation of the prior of the weights, each ``(latents,)``.
        beta: loss = mean squared error + beta · KL in nats.
        device: of torch.
    """
    order = np.random.Generator(np.random.Philox(_SHUFFLE_SEED)).permutation(target.shape[2])

    def place(array: npt.NDArray[np.floating]) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float32, device=device)

    samples = target.shape[1] * target.shape[2]
    mask = None if inside is None else place(inside[:, :, order])
    mean, deviation = (place(moment) for moment in moments)
    shuffled_features, shuffled_target = place(features[:, order]), place(target[:, :, order])
    return Objective(network, shuffled_features, shuffled_target, mask, mean, deviation, 1 / (samples * beta))


def start(networks: int, latents: int, device: str) -> Posterior:
    """Posteriors at the prior's mean with a small deviation.

    Args:
        networks: number of them.
        latents: of each network.
        device: of torch.
    """
    zeros = [torch.zeros(networks, latents, device=device) for _ in range(5)]
    log_deviation = torch.full((networks, latents), _INITIAL_LOG_DEVIATION, device=device)
    return Posterior(zeros[0], log_deviation, (zeros[1], zeros[2], zeros[3], zeros[4]))


def kl(mean: torch.Tensor, log_deviation: torch.Tensor) -> torch.Tensor:
    """KL(posterior, standard normal) of every latent in nats, same shape.

    Args:
        mean: of the posteriors.
        log_deviation: logarithms of their standard deviations.
    """
    return 0.5 * (torch.exp(2 * log_deviation) + mean * mean - 1) - log_deviation


def squared_error(objective: Objective, z: torch.Tensor) -> torch.Tensor:
    """Sum of squared errors of each network at all its points, ``(networks,)``.

    Args:
        objective: what the networks are to approximate.
        z: their whitened latents, ``(networks, latents)``.
    """
    errors = []
    for networks in _networks_at_once(objective, objective.target.shape[2]):
        part = objective.part(networks)
        difference = part.network.forward(part.weights(z[networks]), part.features) - part.target
        if part.inside is not None:
            difference = difference * part.inside
        errors.append((difference * difference).sum(dim=(1, 2)))
    return torch.cat(errors)


def _networks_at_once(objective: Objective, points: int) -> list[slice]:
    """Slices of networks that are computed together: few on the CPU for its caches' sake, all of them on a GPU."""
    networks = len(objective.target)
    size = max(1, _POINTS_AT_ONCE // points) if objective.target.device.type == "cpu" else max(1, 2**24 // points)
    return [slice(first, min(first + size, networks)) for first in range(0, networks, size)]


def descend(
    posterior: Posterior,
    objective: Objective,
    settings: Descent,
    first_step: int,
    rates: list[float],
    seed: int,
    penalty: torch.Tensor | None = None,
    free: torch.Tensor | None = None,
) -> None:
    """Take gradient steps on all posteriors, in place.

    Each step draws one sample of the weights by reparameterisation and a random part of the points.

    Args:
        posterior: changed in place.
        objective: what to fit.
        settings: step sizes and points per step.
        first_step: number of steps taken before, for Adam's bias correction and the random numbers.
        rates: factor on the step sizes for each step to take.
        seed: of the random numbers.
        penalty: factor on the KL of every latent, ``(networks, latents)``; 1 if ``None``.
        free: 1 for latents that may move, 0 for those already decided, ``(networks, latents)``; all if ``None``.
    """
    points = min(settings.points, objective.target.shape[2])
    generator = torch.Generator(device=objective.target.device)
    for number, networks in enumerate(_networks_at_once(objective, points)):
        chunk, part = _chunk(posterior, networks), objective.part(networks)
        penalty_here = None if penalty is None else penalty[networks]
        free_here = None if free is None else free[networks]
        for step, factor in enumerate(rates, start=first_step):
            generator.manual_seed(hash_seed(seed, step, number))
            _step(chunk, part, settings, step + 1, factor, generator, penalty_here, free_here)


def hash_seed(*numbers: int) -> int:
    """One seed from several numbers, so that every step and part draws the same random numbers whenever it runs.

    Args:
        numbers: that tell one use from all others.
    """
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = ((mixed ^ number) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
        mixed ^= mixed >> 29
    return mixed


def cosine(steps: int, start: float = 1.0, end: float = 0.1) -> list[float]:
    """Factors on the step size that fall along half a cosine.

    Args:
        steps: number of factors.
        start: the first of them.
        end: that they fall to.
    """
    return [end + (start - end) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps))) for step in range(steps)]


def _chunk(posterior: Posterior, part: slice) -> Posterior:
    first, second, third, fourth = (moment[part] for moment in posterior.moments)
    return Posterior(posterior.mean[part], posterior.log_deviation[part], (first, second, third, fourth))


def _step(
    chunk: Posterior,
    objective: Objective,
    settings: Descent,
    count: int,
    factor: float,
    generator: torch.Generator,
    penalty: torch.Tensor | None,
    free: torch.Tensor | None,
) -> None:
    """One Adam step on the posteriors of one chunk."""
    noise = torch.randn(chunk.mean.shape[1], generator=generator, device=chunk.mean.device)
    spread = torch.exp(chunk.log_deviation)
    if free is not None:
        spread = spread * free
    deflection = spread * noise  # (networks, latents)
    error_gradient = _error_gradient(objective, chunk.mean + deflection, settings.points, generator)
    mean_pull = chunk.mean
    spread_pull = spread * spread - 1
    if penalty is not None:
        mean_pull, spread_pull = mean_pull * penalty, spread_pull * penalty
    gradients = (error_gradient + mean_pull, error_gradient * deflection + spread_pull)
    variables = (chunk.mean, chunk.log_deviation)
    rates = (settings.rate, settings.deviation_rate)
    for number, (variable, gradient, rate) in enumerate(zip(variables, gradients, rates, strict=True)):
        first, second = chunk.moments[2 * number], chunk.moments[2 * number + 1]
        first.lerp_(gradient, 1 - _FIRST_DECAY)
        second.mul_(_SECOND_DECAY).addcmul_(gradient, gradient, value=1 - _SECOND_DECAY)
        # Kingma and Ba (2015), algorithm 1, with the bias corrections gathered in two scalars
        scale = rate * factor / (1 - _FIRST_DECAY**count)
        update = first / (second.sqrt() * (1 - _SECOND_DECAY**count) ** -0.5 + 1e-8)
        if free is not None:
            update = update * free
        variable.add_(update, alpha=-scale)


def _error_gradient(objective: Objective, z: torch.Tensor, points: int, generator: torch.Generator) -> torch.Tensor:
    """Gradient of the weighted squared error with respect to whitened latents, estimated at about so many points."""
    total = objective.target.shape[2]
    samples = max(1, total // points)  # disjoint parts of the shuffled points, of about the same size; one is drawn
    drawn = int(torch.randint(samples, (1,), generator=generator, device=z.device)) if samples > 1 else 0
    here = slice(drawn * total // samples, (drawn + 1) * total // samples)
    weights = objective.weights(z).requires_grad_()
    difference = objective.network.forward(weights, objective.features[:, here]) - objective.target[:, :, here]
    if objective.inside is not None:
        difference = difference * objective.inside[:, :, here]
    loss = (difference * difference).sum() * (objective.weight * samples)
    (gradient,) = torch.autograd.grad(loss, weights)
    return gradient * objective.deviation
