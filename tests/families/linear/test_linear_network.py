"""Networks without hidden layers: their features are orthonormal functions of a continuous coordinate."""

import math
from itertools import product

import numpy as np
import pytest

from combiner_cli.families.linear.network import Linear, cosines

SHAPES = [Linear((8, 8), 3), Linear((4, 6), 1), Linear((16,), 1), Linear((1, 5), 3), Linear((1,), 1)]


def _weights(network, tiles=2):
    return np.random.default_rng(3).normal(size=(tiles, network.latents))


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16])
def test_features_are_orthonormal_on_the_native_grid(size):
    features = cosines(size, 1, np.dtype(np.float64))
    assert np.allclose(features @ features.T, np.eye(size), atol=1e-12)


@pytest.mark.parametrize("network", SHAPES)
def test_the_weights_of_values_render_these_values(network):
    values = np.random.default_rng(1).uniform(-1, 1, (5, network.outputs, math.prod(network.extent)))
    weights = network.weights(values)
    assert weights.shape == (5, network.latents)
    assert np.allclose(network.forward(weights), values, atol=1e-12)


@pytest.mark.parametrize("network", SHAPES)
def test_squared_errors_of_weights_are_squared_errors_of_values(network):
    weights = _weights(network)
    values = network.forward(weights)
    assert np.allclose((weights**2).sum(), (values**2).sum())


def test_weights_lie_output_after_output_with_frequencies_in_row_major_order():
    network = Linear((4, 6), 3)
    weights = np.zeros((1, network.latents))
    weights[0, 24 + 2 * 6 + 5] = 1  # output 1, frequency 2 along the height and 5 along the width
    features = [cosines(size, 1, np.dtype(np.float64)) for size in network.extent]
    values = network.forward(weights).reshape(3, 4, 6)
    assert np.allclose(values[1], np.outer(features[0][2], features[1][5]))
    assert not values[[0, 2]].any()


@pytest.mark.parametrize("network", SHAPES)
def test_rendering_at_an_odd_scale_coincides_with_native_where_the_points_do(network):
    weights = _weights(network)
    native = network.forward(weights).reshape(-1, *network.extent)
    large = network.forward(weights, 3).reshape(-1, *(3 * size for size in network.extent))
    common = (slice(None), *(slice(1, None, 3) for _ in network.extent))
    assert np.allclose(large[common], native, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2, 5])
@pytest.mark.parametrize("network", [Linear((3, 4), 2), Linear((6,), 1)])
def test_rendering_evaluates_the_products_of_cosines(network, scale):
    weights = _weights(network, 1)
    found = network.forward(weights, scale).reshape(network.outputs, *(scale * size for size in network.extent))
    own = weights.reshape(network.outputs, *network.extent)
    for place in product(*(range(0, scale * size, 3) for size in network.extent)):
        expected = np.zeros(network.outputs)
        for frequencies in product(*(range(size) for size in network.extent)):
            feature = 1.0
            for at, frequency, size in zip(place, frequencies, network.extent, strict=True):
                x = (at + 0.5) * 2 / (scale * size) - 1
                length = math.sqrt((2 if frequency else 1) / size)
                feature *= length * math.cos(math.pi * frequency * (x + 1) / 2)
            expected += own[(slice(None), *frequencies)] * feature
        assert np.allclose(found[(slice(None), *place)], expected, atol=1e-12)


def test_the_type_of_numbers_is_kept():
    network = Linear((8,), 1)
    single = np.ones((1, 1, 8), dtype=np.float32)
    assert network.weights(single).dtype == np.float32
    assert network.forward(network.weights(single), 2).dtype == np.float32
