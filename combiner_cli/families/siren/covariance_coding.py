"""From signals to class numbers and group indices with a prior that has covariances.

The refinement between groups is that of :mod:`.conditioning`. What is added is the choice of a class for every
tile: the one under which a short fit ends with the smallest cost, KL + squared error / (2 · s2).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from .covariances import CovariancePrior
from .posterior import Descent, Objective, cosine, descend, kl, squared_error, start

_STEPS = 200  # of the fit under each class
_SAMPLES = 4  # of the posterior, for the expected squared error


def under(objective: Objective, prior: CovariancePrior, classes: npt.NDArray[np.int64]) -> Objective:
    """An objective with the map from latents to weights of each network's class.

    Args:
        objective: of the networks; its own map does not matter.
        prior: with the classes.
        classes: of the networks, ``(networks,)``.
    """
    device = objective.target.device
    used, place = np.unique(classes, return_inverse=True)
    mean = torch.tensor(prior.mean[used], device=device)  # (used, weights)
    matrix = torch.tensor(prior.basis[used].astype(np.float32), device=device)  # (used, weights, directions)
    if len(used) == 1:  # one map for all: the matrix products are large ones
        return replace(objective, mean=mean[0], deviation=matrix[0])
    own = torch.tensor(place, device=device)
    return replace(objective, mean=mean[own], deviation=matrix[own])


def choose(objective: Objective, prior: CovariancePrior, seed: int) -> npt.NDArray[np.int64]:
    """The class of every network, ``(networks,)``.

    Args:
        objective: of the networks; its own map does not matter.
        prior: with the classes.
        seed: of the random numbers of the fits.
    """
    networks = len(objective.target)
    if prior.classes == 1:
        return np.zeros(networks, dtype=np.int64)
    costs = [_cost(under(objective, prior, np.full(networks, n)), seed) for n in range(prior.classes)]
    chosen: npt.NDArray[np.int64] = torch.stack(costs).argmin(dim=0).cpu().numpy()
    return chosen


def _cost(objective: Objective, seed: int) -> torch.Tensor:
    """KL + weighted squared error of factorised posteriors after a short fit, in nats, ``(networks,)``."""
    device = objective.target.device
    posterior = start(len(objective.target), objective.latents, str(device))
    descend(posterior, objective, Descent(), 0, cosine(_STEPS), seed)
    generator = torch.Generator(device=device).manual_seed(seed)
    error = torch.zeros(len(objective.target), device=device)
    spread = torch.exp(posterior.log_deviation)
    with torch.no_grad():
        for _ in range(_SAMPLES):
            noise = torch.randn(objective.latents, generator=generator, device=device)
            error += squared_error(objective, posterior.mean + spread * noise) / _SAMPLES
    cost = kl(posterior.mean, posterior.log_deviation).sum(dim=1) + objective.weight * error
    return torch.where(cost.isfinite(), cost, torch.inf)
