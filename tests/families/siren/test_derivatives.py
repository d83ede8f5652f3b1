"""Derivatives of networks, against autograd."""

import pytest
import torch

from combiner_cli.families.siren.fitting import derivatives
from combiner_cli.families.siren.network import Siren


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
    done = derivatives.forward(network, weights, features)
    assert torch.allclose(done.output, network.forward(weights, features))
    jacobian = derivatives.jacobian(network, done, torch.arange(network.latents))
    for number in range(len(weights)):
        expected = torch.autograd.functional.jacobian(lambda w: network.forward(w[None], features)[0], weights[number])
        assert torch.allclose(jacobian[number], expected.permute(2, 0, 1), atol=1e-10)


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_gradient_and_both_ways_to_the_gram_matrix(hidden):
    network, weights, features = _case(hidden)
    inside = torch.ones(2, 1, 11, dtype=torch.float64)
    inside[0, :, 7:] = 0
    done = derivatives.forward(network, weights, features)
    columns = torch.randperm(network.latents, generator=torch.Generator().manual_seed(1))[:20]
    whole = derivatives.jacobian(network, done, torch.arange(network.latents), inside)
    residual = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * inside
    expected = (whole * residual[:, None]).sum(dim=(2, 3))
    assert torch.allclose(derivatives.gradient(network, done, residual), expected)
    rows = whole.flatten(2)[:, columns]
    by_pairs = derivatives._weight_gram(network, done, columns, inside)
    assert torch.allclose(by_pairs, rows @ rows.mT)
    scale = torch.rand(network.latents, dtype=torch.float64)
    scaled = rows * scale[columns, None]
    for some in (slice(None), slice(0, 2)):  # by products of pairs, and by the Jacobian
        gram = derivatives.gram(network, scale, done, columns[some], inside)
        assert torch.allclose(gram, scaled[:, some] @ scaled[:, some].mT)
