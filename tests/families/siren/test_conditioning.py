"""Refinement in closed form: what is coded is what comes back, within the budget, however the signal is divided."""

import math

import numpy as np
import pytest
import torch
from support.priors import tiny_siren
from support.signals import smooth_image

from combiner_cli.errors import UsageError
from combiner_cli.families.siren.fitting import conditioning, newton, posterior
from combiner_cli.families.siren.fitting.coding import CodingTask, Schedule
from combiner_cli.families.siren.fitting.newton import NewtonSettings
from combiner_cli.families.siren.fitting.posterior import Descent
from combiner_cli.rec import candidates, groups
from combiner_cli.rec.candidates import Chaining
from combiner_cli.signals.signal import coordinates, coverage, inside_mask, split, to_values

QUICK = Schedule(steps=40, rounds=4, steps_per_round=1, newton_steps=3, newton=NewtonSettings(points=64, warm=2))


def _encode(image, prior, chaining, schedule=QUICK, method="viterbi", count=20, signals=1):
    layout = prior.tiling(image.shape, image.channels)
    (stage,) = prior.stages(layout)
    partition = groups.partition(stage.information, count, prior.key)
    target = np.concatenate([split(to_values(image), layout)] * signals)
    partial = (coverage(layout) < math.prod(layout.extent)).any()
    inside = np.tile(inside_mask(layout), (signals, 1, 1)) if partial else None
    features = prior.network.fourier_features(coordinates(layout.extent))
    moments = (prior.mean, prior.deviation)
    objective = posterior.objective(prior.network, features, target, inside, moments, prior.beta, "cpu")
    task = CodingTask(partition, chaining, prior.key, signals, method, 0)
    return conditioning.encode(objective, task, schedule, lambda _: None), partition


@pytest.mark.parametrize("method", ["astar", "best", "viterbi"])
@pytest.mark.parametrize("chaining", [Chaining(8), Chaining(8, 3), Chaining(16)])
@pytest.mark.parametrize("size", [(8, 8), (13, 21)])
def test_the_indices_name_the_values(size, chaining, method):
    prior = tiny_siren()
    coded, partition = _encode(smooth_image(*size), prior, chaining, method=method, signals=2)
    decoded = candidates.lookup(coded.indices, partition, chaining, prior.key)
    assert np.array_equal(coded.values[:, partition.order], decoded)
    pruned = np.ones(coded.values.shape[1], dtype=bool)
    pruned[partition.order] = False
    assert pruned.any()
    assert (coded.values[:, pruned] == 0).all()
    assert np.array_equal(coded.indices[0], coded.indices[1])  # equal signals of one batch
    assert coded.indices.max() < 2**chaining.bits


def test_repeated_runs_give_the_same_indices():
    first, second = (_encode(smooth_image(8, 8), tiny_siren(), Chaining(8))[0] for _ in range(2))
    assert np.array_equal(first.indices, second.indices)


def test_more_turns_than_groups_and_groups_without_latents():
    prior = tiny_siren(bits=60.0)
    schedule = Schedule(steps=5, rounds=1000, steps_per_round=0, newton_steps=1)
    coded, partition = _encode(smooth_image(8, 8), prior, Chaining(8), schedule, count=300)
    assert len(np.unique(partition.group)) < 300
    assert np.array_equal(
        coded.values[:, partition.order], candidates.lookup(coded.indices, partition, Chaining(8), prior.key)
    )


def test_an_unknown_search_is_refused():
    with pytest.raises(UsageError, match="no search"):
        _encode(smooth_image(8, 8), tiny_siren(), Chaining(8), method="luck")


def test_the_posterior_meets_the_budget_of_what_is_left(learned_prior, monkeypatch):
    seen = []
    original = newton.step

    def spy(fitted, objective, settings, nats, seed):
        after = original(fitted, objective, settings, nats, seed)
        seen.append((float(nats[0]), float(after.nats[0])))
        return after

    monkeypatch.setattr(newton, "step", spy)
    fit = NewtonSettings(points=64, pairs=8)
    schedule = Schedule(300, 3, 8, newton_steps=30, descent=Descent(points=64), newton=fit, late_newton=fit)
    _encode(smooth_image(8, 8, seed=33), learned_prior, Chaining(8), schedule, count=12)
    assert len({budget for budget, _ in seen}) == 3  # before the first, second and third turn
    for budget, nats in dict(seen).items():  # the last of each turn
        assert nats == pytest.approx(budget, rel=0.1, abs=6.0)


def test_a_search_through_one_network_uses_covariances_in_coding_order(monkeypatch):
    """The factor that the search is given is that of the marginal covariance of the next latents."""
    prior = tiny_siren()
    network = prior.network
    features = torch.tensor(network.fourier_features(coordinates(network.extent)), dtype=torch.float32)
    target = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(2))
    mean, deviation = (torch.tensor(one) for one in (prior.mean, prior.deviation))
    objective = posterior.Objective(network, features, target, None, mean, deviation, 20.0)
    partition = groups.partition(prior.information.astype(np.int64), 20, prior.key)
    rows = conditioning._rows(partition, 1, network.latents)
    latents = torch.tensor(rows.latents)
    factorised = posterior.start(1, network.latents, "cpu")
    fitted = newton.begin(objective, latents, torch.ones(latents.shape), factorised, 1, NewtonSettings(), 0)
    seen = []

    def spy(target, key, previous, method, generator):
        seen.append(target)
        return np.zeros(target.groups, dtype=np.int64)

    monkeypatch.setattr(conditioning.joint, "search_joint", spy)
    task = CodingTask(partition, Chaining(8), prior.key, 1, "viterbi", 0)
    conditioning._code(fitted, task, rows, np.zeros((1, 20), dtype=np.int64), 0, 5)
    order = partition.order[partition.group < task.searched_until(5)]
    assert 5 < task.searched_until(5) < 20
    place = {int(latent): number for number, latent in enumerate(rows.latents[0])}
    factor = fitted.factor[0].double().numpy()
    covariance = np.linalg.inv(factor @ factor.T)
    chosen = [place[int(latent)] for latent in order]
    assert np.allclose(np.triu(seen[0].factor, 1), 0)
    assert np.allclose(seen[0].factor @ seen[0].factor.T, covariance[np.ix_(chosen, chosen)], atol=1e-6)
