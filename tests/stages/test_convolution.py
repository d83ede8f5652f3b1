"""Convolution networks: exact in float32 up to their limits, whatever rows and columns are computed together."""

import itertools

import numpy as np
import pytest
from support.plain_filter import network_results
from support.priors import random_filter

from combiner_cli.families.pyramid.filtering import filter as picture_filter
from combiner_cli.families.pyramid.filtering.filter import CHANNELS, CONDITIONS, PREFIX, RESULTS
from combiner_cli.stages import convolution
from combiner_cli.stages.convolution import LARGEST_ACTIVATION, LARGEST_INPUT, ConvolutionNetwork

TOLD = [30, 14, 20, 4, 4, -8, 10]


def any_inputs(rows, columns, seed=0):
    values = np.random.default_rng(seed).integers(-LARGEST_INPUT, LARGEST_INPUT + 1, (CHANNELS, rows, columns))
    return values.astype(np.float32)


def whole(network, inputs):
    height = inputs.shape[1]
    return network(inputs, slice(0, height), height, TOLD)


def problem(network):
    return picture_filter.problem(network.tensors(PREFIX))


def at_the_limit(sign):
    """A network whose sums are as large as those of any that is let through, of one sign or of both."""
    channels = 48
    signs = np.random.default_rng(1).choice([-1, 1], (channels, channels, 3, 3)) if sign == 0 else sign
    inner = np.full((channels, channels, 3, 3), 127) * signs
    first, last = np.full((channels, CHANNELS, 3, 3), 127), np.full((RESULTS, channels, 3, 3), 127) * (sign or 1)
    weights = tuple(kernels.astype(np.int8) for kernels in (first, inner, last))
    limits = (LARGEST_INPUT, LARGEST_ACTIVATION, LARGEST_ACTIVATION)
    biases = tuple(
        np.full(len(kernels), 2**24 - 1 - int(np.abs(kernels[0].astype(int)).sum()) * most, np.int32)
        for kernels, most in zip(weights, limits, strict=True)
    )
    return ConvolutionNetwork(weights, biases, np.zeros((channels, CONDITIONS), np.int16))


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_sums_are_exact_up_to_the_limit(sign):
    network, inputs = at_the_limit(sign), any_inputs(7, 9)
    assert problem(network) is None
    for extreme in (inputs, np.full_like(inputs, LARGEST_INPUT), -np.full_like(inputs, LARGEST_INPUT)):
        expected = network_results(network.tensors(PREFIX), extreme.astype(np.int64), TOLD)
        assert np.array_equal(whole(network, extreme), expected)


def test_sums_that_leave_the_limit_by_one_are_refused():
    network = at_the_limit(1)
    for layer in range(3):
        biases = [bias.copy() for bias in network.biases]
        biases[layer][3] += 1
        changed = ConvolutionNetwork(network.weights, tuple(biases), network.conditions)
        assert f"layer {layer}" in problem(changed)
    conditions = network.conditions.copy()
    conditions[0, 0] = 1
    assert "layer 0" in problem(ConvolutionNetwork(network.weights, network.biases, conditions))


@pytest.mark.parametrize(("channels", "layers"), [(5, 2), (8, 3), (32, 5)])
def test_results_are_those_of_whole_numbers(channels, layers):
    network, inputs = random_filter(channels=channels, layers=layers, most=40), any_inputs(11, 14)
    expected = network_results(network.tensors(PREFIX), inputs.astype(np.int64), TOLD)
    assert np.array_equal(whole(network, inputs), expected)
    assert len(np.unique(expected)) > 50


@pytest.mark.parametrize("columns", [1, 5, 8, 256])
def test_rows_and_blocks_are_those_of_the_whole(columns, monkeypatch):
    network, inputs, height = random_filter(layers=4, most=30), any_inputs(30, 23), 30
    expected = whole(network, inputs)
    monkeypatch.setattr(convolution, "_COLUMNS_AT_ONCE", columns)
    for first, last in ((0, 30), (0, 1), (3, 9), (7, 8), (10, 20), (25, 30), (29, 30)):
        around = slice(max(first - network.reach, 0), min(last + network.reach, height))
        results = network(inputs[:, around], slice(first, last), height, TOLD)
        assert np.array_equal(results, expected[:, first:last])


@pytest.mark.parametrize("places", [1, 7, 10_000])
def test_how_many_places_are_looked_at_together_changes_nothing(places, monkeypatch):
    network, inputs = random_filter(), any_inputs(6, 5)
    expected = whole(network, inputs)
    monkeypatch.setattr(convolution, "_PLACES_AT_ONCE", places)
    assert np.array_equal(whole(network, inputs), expected)


def test_the_tensors_of_a_network_are_those_that_it_is_made_of():
    network = random_filter(layers=5)
    again = ConvolutionNetwork.among(network.tensors("x."), "x.")
    assert all(np.array_equal(one, other) for one, other in zip(network.weights, again.weights, strict=True))
    assert np.array_equal(whole(network, any_inputs(5, 5)), whole(again, any_inputs(5, 5)))


def damaged(change):
    """Tensors of a filter with a fault."""
    tensors = random_filter().tensors(PREFIX)
    first, conditions = f"{PREFIX}0.weights", f"{PREFIX}conditions"
    if change == "missing":
        del tensors[conditions]
    elif change == "more":
        tensors[f"{PREFIX}more"] = tensors[first]
    elif change == "gap":
        tensors[f"{PREFIX}7.bias"] = tensors.pop(f"{PREFIX}1.bias")
    elif change == "type":
        tensors[first] = tensors[first].astype(np.int16)
    elif change == "shape":
        tensors[first] = tensors[first][..., :2]
    elif change == "conditions":
        tensors[conditions] = tensors[conditions][:, 1:]
    elif change == "flat":
        tensors[first] = tensors[first].reshape(-1)
    elif change == "scalar":
        tensors[f"{PREFIX}0.bias"] = np.array(3, np.int32)
    elif change == "channels":
        tensors = random_filter(channels=300, most=1).tensors(PREFIX)
    elif change == "layers":
        tensors = random_filter(layers=9, most=1).tensors(PREFIX)
    return tensors


CHANGES = ("missing", "more", "gap", "type", "shape", "conditions", "flat", "scalar", "channels", "layers")


@pytest.mark.parametrize("change", CHANGES)
def test_tensors_that_are_no_filter_are_refused(change):
    assert picture_filter.problem(random_filter().tensors(PREFIX)) is None
    assert picture_filter.problem(damaged(change))


def test_inner_layers_have_as_many_channels_as_they_are_given():
    kernels = [np.zeros((made, given, 3, 3), np.int8) for given, made in itertools.pairwise([CHANNELS, 4, 6, RESULTS])]
    biases = [np.zeros(len(one), np.int32) for one in kernels]
    network = ConvolutionNetwork(tuple(kernels), tuple(biases), np.zeros((4, CONDITIONS), np.int16))
    assert "layer 1" in problem(network)
