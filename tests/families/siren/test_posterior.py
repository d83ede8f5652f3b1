"""The fit: gradients against differences, the KL against its integral, and padding that does not count."""

import math

import numpy as np
import pytest
import torch
from support.priors import tiny_siren
from support.signals import smooth_image

from combiner_cli.families.siren.fitting import posterior
from combiner_cli.families.siren.fitting.posterior import Descent
from combiner_cli.signals.signal import coordinates, split, to_values


def _objective(image, prior, inside=None):
    layout = prior.tiling(image.shape, image.channels)
    features = prior.network.fourier_features(coordinates(layout.extent))
    target = split(to_values(image), layout)
    return posterior.objective(
        prior.network, features, target, inside, (prior.mean, prior.deviation), prior.beta, "cpu"
    )


def test_kl_against_numerical_integration():
    mean, deviation = 0.7, 0.3
    z = np.linspace(-6, 6, 200001)
    q = np.exp(-((z - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
    p = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    integral = float(np.sum(np.where(q > 0, q * np.log(np.maximum(q, 1e-300) / p), 0)) * (z[1] - z[0]))
    value = posterior.kl(torch.tensor(mean, dtype=torch.float64), torch.tensor(math.log(deviation)))
    assert float(value) == pytest.approx(integral, rel=1e-5)


def test_error_gradient_against_finite_differences():
    objective = _objective(smooth_image(8, 8), tiny_siren())
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, objective.network.latents, generator=generator)
    gradient = posterior._error_gradient(objective, z, 64, generator)
    direction = torch.randn(z.shape, generator=generator)
    step = 1e-3
    ahead, behind = (posterior.squared_error(objective, z + s * step * direction).double() for s in (1, -1))
    slope = float((ahead - behind) / (2 * step)) * objective.weight
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-2)


def test_descent_lowers_the_loss():
    objective = _objective(smooth_image(8, 16), tiny_siren())
    fitted = posterior.start(2, objective.network.latents, "cpu")

    def loss():
        error = posterior.squared_error(objective, fitted.mean).sum() * objective.weight
        return float(error + posterior.kl(fitted.mean, fitted.log_deviation).sum())

    before = loss()
    posterior.descend(fitted, objective, Descent(points=64), 0, posterior.cosine(200), 1)
    assert loss() < 0.7 * before


def test_frozen_latents_do_not_move():
    objective = _objective(smooth_image(8, 8), tiny_siren())
    fitted = posterior.start(1, objective.network.latents, "cpu")
    free = torch.ones_like(fitted.mean)
    free[0, ::2] = 0
    posterior.descend(fitted, objective, Descent(), 0, [1.0] * 10, 1, None, free)
    assert (fitted.mean[0, ::2] == 0).all()
    assert (fitted.mean[0, 1::2] != 0).all()


def test_points_outside_the_signal_do_not_count():
    prior = tiny_siren()
    image = smooth_image(8, 8)
    inside = np.ones((1, 1, 64))
    inside[..., 32:] = 0
    changed = image.samples.copy()
    changed[4:] = 255 - changed[4:]
    first = _objective(image, prior, inside)
    second = _objective(type(image)("image", changed), prior, inside)
    z = torch.zeros(1, prior.network.latents)
    assert torch.equal(posterior.squared_error(first, z), posterior.squared_error(second, z))
    results = []
    for objective in (first, second):
        fitted = posterior.start(1, prior.network.latents, "cpu")
        posterior.descend(fitted, objective, Descent(points=16), 0, [1.0] * 20, 3)
        results.append(fitted.mean)
    assert torch.equal(*results)


def test_steps_do_not_depend_on_how_they_are_divided():
    objective = _objective(smooth_image(8, 8), tiny_siren())
    whole = posterior.start(1, objective.network.latents, "cpu")
    posterior.descend(whole, objective, Descent(points=16), 0, [1.0] * 10, 3)
    divided = posterior.start(1, objective.network.latents, "cpu")
    posterior.descend(divided, objective, Descent(points=16), 0, [1.0] * 4, 3)
    posterior.descend(divided, objective, Descent(points=16), 4, [1.0] * 6, 3)
    assert torch.equal(whole.mean, divided.mean)
