"""The Gauss-Newton posterior: the exact one where the network is linear, within its budget, and always finite."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_cli.families.siren.fitting import gaussian, newton
from combiner_cli.families.siren.fitting.newton import NewtonSettings
from combiner_cli.families.siren.fitting.posterior import Objective, squared_error, start
from combiner_cli.families.siren.network import Siren
from combiner_cli.signals.signal import coordinates


def _network(hidden, outputs=3):
    return Siren((8, 8), outputs, 8, 4.0, 5, hidden, 3.0)


def _objective(network, target, prior_deviation=0.7, weight=40.0, inside=None):
    mean = torch.linspace(-0.2, 0.3, network.latents)
    deviation = torch.full((network.latents,), prior_deviation)
    features = torch.tensor(network.fourier_features(coordinates(network.extent)), dtype=torch.float32)
    return Objective(network, features, target, inside, mean, deviation, weight)


def _begun(objective, fit, signals=2, latents=None, spread=0.1):
    rows = torch.arange(objective.network.latents)[None] if latents is None else latents
    factorised = start(len(objective.target), objective.network.latents, "cpu")
    factorised.log_deviation.fill_(math.log(spread) if spread else -math.inf)
    return newton.begin(objective, rows, torch.ones(rows.shape), factorised, signals, fit, 3)


def test_without_a_hidden_layer_the_posterior_is_that_of_linear_regression():
    network = _network(0)
    generator = torch.Generator().manual_seed(4)
    objective = _objective(network, torch.randn(2, 3, 64, generator=generator) * 0.5)
    fit = NewtonSettings(points=64, pairs=64, mean_step=1.0, momentum=0.0)
    posterior = _begun(objective, fit)
    budget = torch.tensor([30.0, 45.0])
    for _ in range(30):
        posterior = newton.step(posterior, objective, fit, budget, 0)
    features = torch.cat([objective.features, torch.ones(1, 64)]).double()
    precision = torch.block_diag(*[features @ features.T] * 3) * 0.7**2  # outputs have weights of their own
    for number in range(2):
        s2 = float(posterior.s2[number])
        exact = precision / s2 + torch.eye(network.latents)
        factor = posterior.factor[number].double()
        assert torch.allclose(factor @ factor.T, exact, rtol=1e-4, atol=1e-3)
        known = objective.mean.double().reshape(3, -1) @ features
        right = ((objective.target[number] - known) @ features.T).reshape(-1) * 0.7 / s2
        mean = torch.linalg.solve(exact, right)
        assert torch.allclose(posterior.mean[number].double(), mean, atol=5e-3)
        covariance = torch.linalg.inv(exact)
        exact_kl = 0.5 * (covariance.trace() + mean @ mean - network.latents - torch.logdet(covariance))
        assert float(exact_kl) == pytest.approx(float(budget[number]), rel=0.06)


@pytest.mark.parametrize("hidden", [1, 2])
def test_the_fit_meets_its_budget_and_lowers_the_error(hidden):
    network = _network(hidden)
    generator = torch.Generator().manual_seed(4)
    features = torch.tensor(network.fourier_features(coordinates(network.extent)), dtype=torch.float32)
    objective = _objective(network, torch.zeros(2, 3, 64))
    truth = objective.weights(torch.randn(2, network.latents, generator=generator) * 0.3)
    objective = replace(objective, target=network.forward(truth, features))
    fit = NewtonSettings(points=32)
    posterior = _begun(objective, fit)
    before = squared_error(objective, posterior.mean)
    budget = torch.tensor([60.0, 90.0])
    for _ in range(40):
        posterior = newton.step(posterior, objective, fit, budget, 0)
    assert torch.allclose(posterior.nats, budget, rtol=0.05)
    assert (squared_error(objective, posterior.mean) < 0.5 * before).all()


def test_decided_latents_condition_the_others_exactly():
    """Three networks of one signal decide different latents: against the textbook formula for a Gaussian."""
    network = _network(1)
    generator = torch.Generator().manual_seed(6)
    objective = _objective(network, torch.randn(3, 3, 64, generator=generator))
    latents = torch.stack([torch.randperm(network.latents, generator=generator)[:20] for _ in range(3)])
    posterior = _begun(objective, NewtonSettings(points=64, warm=2), signals=1, latents=latents)
    moved = posterior.mean.scatter(1, latents, torch.randn(3, 20, generator=generator))
    posterior = replace(posterior, motion=gaussian.at_rest(moved, latents))
    decided = torch.zeros(3, 20)
    decided[0, 15:], decided[1, 17:], decided[2, 14:] = 1, 1, 1
    values = torch.randn(3, 20, generator=generator)
    after = gaussian.decide(posterior, values, decided)
    assert after.latents.shape == (3, 17)
    for number in range(3):
        factor = posterior.factor[number].double().numpy()
        covariance = np.linalg.inv(factor @ factor.T)
        known, left = (np.flatnonzero(decided[number].numpy() == flag) for flag in (1, 0))
        before = moved[number, latents[number]].double().numpy()
        gain = covariance[np.ix_(left, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
        mean = before[left] + gain @ (values[number, known].double().numpy() - before[known])
        conditioned = after.mean[number, latents[number]]
        assert np.allclose(conditioned[left], mean, atol=1e-4)
        assert torch.equal(conditioned[known], values[number, known])  # to the last bit: the decoder has these
        conditional = covariance[np.ix_(left, left)] - gain @ covariance[np.ix_(known, left)]
        rest = after.factor[number, : len(left), : len(left)].double().numpy()
        assert np.allclose(np.linalg.inv(rest @ rest.T), conditional, atol=1e-4)


def test_the_marginal_factor_gives_the_covariance_of_the_last_rows():
    generator = torch.Generator().manual_seed(6)
    objective = _objective(_network(1), torch.randn(2, 3, 64, generator=generator))
    posterior = _begun(objective, NewtonSettings(points=64))
    factor = posterior.factor.double()
    inverse = gaussian.marginal_factor(posterior, 7)
    whole = torch.linalg.inv(factor @ factor.mT)
    assert torch.allclose(inverse.mT @ inverse, whole[:, -7:, -7:], atol=1e-8)


@pytest.mark.parametrize("damage", [0.0, -1e3, float("nan"), float("inf")])
def test_a_precision_that_is_not_positive_definite_still_has_a_finite_factor(damage):
    gram = torch.diag(torch.full((6,), damage)).repeat(2, 1, 1)
    gram[1] = torch.eye(6)
    factor = gaussian.cholesky(gram, torch.tensor([0.01, 0.5]), torch.ones(2, 6))
    assert factor.isfinite().all()
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    assert torch.allclose(factor[1], torch.eye(6) * 3**0.5)


def test_degenerate_fits_stay_finite():
    """A target that the prior's mean meets exactly, a start without any spread, a budget of nothing, no points."""
    network = _network(2)
    objective = _objective(network, torch.zeros(2, 3, 64))
    objective = replace(objective, target=network.forward(objective.mean.repeat(2, 1), objective.features))
    for case in (objective, replace(objective, inside=torch.zeros(2, 1, 64))):
        for budget in (0.0, 50.0, 1e6):
            posterior = _begun(case, NewtonSettings(), spread=0.0)
            for _ in range(5):
                posterior = newton.step(posterior, case, NewtonSettings(), torch.full((2,), budget), 0)
            assert posterior.factor.isfinite().all()
            assert posterior.mean.isfinite().all()
            assert (posterior.s2 > 0).all()
            assert posterior.s2.isfinite().all()


def test_steps_repeat_to_the_last_bit_and_leave_what_they_started_from():
    objective = _objective(_network(1), torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1)))
    begun = _begun(objective, NewtonSettings(points=16))
    first, second = (
        newton.step(begun, objective, NewtonSettings(points=16), torch.full((2,), 40.0), 5) for _ in range(2)
    )
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.factor, second.factor)


def test_points_outside_the_signal_do_not_count():
    inside = torch.ones(2, 1, 64)
    inside[..., 40:] = 0
    target = torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1))
    means = []
    for filler in (0.0, 5.0):
        objective = _objective(_network(1), torch.where(inside > 0, target, filler), inside=inside)
        posterior = _begun(objective, NewtonSettings(points=32))
        for _ in range(3):
            posterior = newton.step(posterior, objective, NewtonSettings(points=32), torch.full((2,), 40.0), 0)
        means.append(posterior.mean)
    assert torch.equal(*means)
