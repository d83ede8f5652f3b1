"""Layers in float32 are whole-number arithmetic, up to the limits of what may be in them."""

import numpy as np
import pytest

from combiner_cli.families.pyramid.trunk import layers
from combiner_cli.families.pyramid.trunk.layers import (
    LARGEST_ACTIVATION,
    LARGEST_FEATURE,
    HiddenLayer,
    ResultLayer,
    activated,
    neighbourhoods,
)
from combiner_cli.system.threads import Scratch

INPUTS, FEATURES, OUTPUTS, COLUMNS = 576, 104, 8, 50


def largest_weights(generator, inputs, most):
    """Weights ``(OUTPUTS, inputs)`` whose magnitudes sum to as much as most, nearly, in every row."""
    weights = generator.integers(-1000, 1001, (OUTPUTS, inputs))
    sums = np.abs(weights).sum(axis=1, keepdims=True)
    return (weights * most // sums).astype(np.int16)


def extreme(generator, shape, least, most):
    """Numbers of which many are at the limits."""
    return np.clip(generator.integers(2 * least - 10, 2 * most + 10, shape), least, most)


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_layer_is_exact_at_the_limits(seed):
    generator = np.random.default_rng(seed)
    of_stream = largest_weights(generator, INPUTS, 2**21 // LARGEST_ACTIVATION)
    of_features = largest_weights(generator, FEATURES, 2**22 // LARGEST_FEATURE)
    bias = generator.integers(-(2**20), 2**20, OUTPUTS).astype(np.int32)
    layer = HiddenLayer(of_stream, of_features, bias)
    assert layer.exact()
    stream = extreme(generator, (INPUTS, COLUMNS), 0, LARGEST_ACTIVATION)
    stream[:, 0] = np.where(of_stream[0] > 0, LARGEST_ACTIVATION, 0)  # the largest sum that there is
    features = extreme(generator, (FEATURES, COLUMNS), -LARGEST_FEATURE, LARGEST_FEATURE)
    features[:, 0] = np.sign(of_features[0]) * LARGEST_FEATURE
    sums = 2 * of_stream.astype(np.int64) @ stream + of_features.astype(np.int64) @ features + bias[:, None]
    wanted = np.clip(sums >> 9, 0, LARGEST_ACTIVATION)
    results = layer(stream.astype(np.float32), features.astype(np.float32), Scratch())
    assert results.dtype == np.float32
    assert np.array_equal(results, wanted)


def test_a_layer_whose_sums_could_leave_the_exact_range_is_refused():
    generator = np.random.default_rng(1)
    bias = np.zeros(OUTPUTS, dtype=np.int32)
    assert not HiddenLayer(largest_weights(generator, INPUTS, 2**24 // LARGEST_ACTIVATION), None, bias).exact()
    assert not HiddenLayer(None, largest_weights(generator, FEATURES, 2**25 // LARGEST_FEATURE), bias).exact()
    assert not HiddenLayer(None, np.zeros((OUTPUTS, 1), dtype=np.int16), bias + 2**24).exact()


@pytest.mark.parametrize("seed", range(3))
def test_results_are_exact_at_the_limits(seed):
    generator = np.random.default_rng(seed)
    last = generator.integers(-32767, 32768, (OUTPUTS, 32)).astype(np.int16)
    linear = generator.integers(-2500, 2501, (3, 300)).astype(np.int16)
    bias = generator.integers(-(2**22), 2**22, OUTPUTS).astype(np.int32)
    layer = ResultLayer(last, linear, bias)
    assert layer.exact()
    hidden = extreme(generator, (32, COLUMNS), 0, LARGEST_ACTIVATION)
    features = extreme(generator, (300, COLUMNS), -LARGEST_FEATURE, LARGEST_FEATURE)
    wanted = 2 * last.astype(np.int64) @ hidden + bias[:, None]
    wanted[:3] += linear.astype(np.int64) @ features
    wanted = np.clip(wanted, -layers.LARGEST_RESULT, layers.LARGEST_RESULT)
    results = layer(hidden.astype(np.float32), features.astype(np.float32))
    assert np.array_equal(results, wanted)
    some = slice(2, 5)
    assert np.array_equal(layer(hidden.astype(np.float32), features.astype(np.float32), some), wanted[some])


def test_activations_are_rounded_down_and_clipped():
    assert activated(np.array([-3.2, 0.99, 5.0, 2000.5], dtype=np.float32)).tolist() == [0, 0, 5, LARGEST_ACTIVATION]


def test_neighbourhoods_are_what_a_convolution_multiplies():
    stream = np.zeros((2, 5, 6), dtype=np.int16)
    stream[:, 1:-1, 1:-1] = np.arange(24).reshape(2, 3, 4)
    gathered = neighbourhoods(stream, slice(1, 3), Scratch()).reshape(2, 3, 3, 2, 4)
    assert gathered[0, :, :, 0, 0].tolist() == [[0, 0, 1], [0, 4, 5], [0, 8, 9]]
    assert gathered[1, 1, 1].tolist() == [[16, 17, 18, 19], [20, 21, 22, 23]]
    assert gathered[0, 2, 1, 1].tolist() == [0, 0, 0, 0]  # below the last row
