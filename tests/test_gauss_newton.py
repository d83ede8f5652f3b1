"""The Gauss-Newton posterior: derivatives against autograd, and the exact posterior where the network is linear."""

import numpy as np
import pytest
import torch

from combiner_cli import gauss_newton
from combiner_cli.models.siren import Siren


def _network(hidden, outputs=3):
    return Siren((8, 8), outputs, 8, 4.0, 5, hidden, 3.0)


def _case(hidden, networks=2, points=11, outputs=3):
    network = _network(hidden, outputs)
    generator = torch.Generator().manual_seed(hidden)
    weights = torch.randn(networks, network.latents, generator=generator, dtype=torch.float64) * 0.4
    features = torch.randn(network.features, points, generator=generator, dtype=torch.float64)
    return network, weights, features


@pytest.mark.parametrize("hidden", [0, 1, 2, 3])
def test_jacobian_against_autograd(hidden):
    network, weights, features = _case(hidden)
    done = gauss_newton.forward(network, weights, features)
    assert torch.allclose(done.output, network.forward(weights, features))
    found = gauss_newton.jacobian(network, done, torch.arange(network.latents))
    for number in range(len(weights)):
        expected = torch.autograd.functional.jacobian(lambda w: network.forward(w[None], features)[0], weights[number])
        assert torch.allclose(found[number], expected.permute(2, 0, 1), atol=1e-10)


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_gradient_and_both_ways_to_the_gram_matrix(hidden):
    network, weights, features = _case(hidden)
    inside = torch.ones(2, 1, 11, dtype=torch.float64)
    inside[0, :, 7:] = 0
    done = gauss_newton.forward(network, weights, features)
    columns = torch.randperm(network.latents, generator=torch.Generator().manual_seed(1))[:20]
    whole = gauss_newton.jacobian(network, done, torch.arange(network.latents), inside)
    residual = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * inside
    expected = (whole * residual[:, None]).sum(dim=(2, 3))
    assert torch.allclose(gauss_newton.gradient(network, done, residual), expected)
    rows = whole.flatten(2)[:, columns]
    by_pairs = gauss_newton._weight_gram(network, done, columns, inside)
    assert torch.allclose(by_pairs, rows @ rows.mT)
    vector = torch.rand(1, network.latents, dtype=torch.float64)
    scaled = rows * vector[:, columns, None]
    assert torch.allclose(gauss_newton.gram(network, vector, done, columns, inside), scaled @ scaled.mT)
    matrix = torch.randn(2, network.latents, 30, dtype=torch.float64)
    few = columns[columns < 30]
    mixed = matrix[:, :, few].mT @ whole.flatten(2)
    assert torch.allclose(gauss_newton.gram(network, matrix, done, few, inside), mixed @ mixed.mT)
