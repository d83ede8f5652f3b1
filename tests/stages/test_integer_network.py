"""Networks in whole numbers: the same results whatever the order of their sums."""

import numpy as np
import pytest

from combiner_cli.stages.integer_network import (
    TENSORS,
    IntegerNetwork,
    dequantised,
    fits,
    octaves,
    quantised,
    wrong_networks,
)
from combiner_cli.system.threads import Scratch

SHAPE = (5, 4, 2, 3)  # features, results, outputs with a linear path, features of that


@pytest.fixture(scope="module")
def tensors():
    generator = np.random.default_rng(3)
    shapes = {
        "first": (8, 5),
        "first_bias": (8,),
        "second": (6, 8),
        "second_bias": (6,),
        "third": (4, 6),
        "third_bias": (4,),
        "linear": (2, 3),
    }
    return {name: generator.normal(0, 0.3, shape) for name, shape in shapes.items()}


def test_a_network_in_whole_numbers_is_about_the_network_in_floating_point(tensors):
    stored, generator = quantised(tensors), np.random.default_rng(0)
    features = generator.integers(-400, 400, (5, 50)).astype(float)
    x = features / 128
    hidden = np.clip(tensors["first"] @ x + tensors["first_bias"][:, None], 0, 16)
    hidden = np.clip(tensors["second"] @ hidden + tensors["second_bias"][:, None], 0, 16)
    expected = tensors["third"] @ hidden + tensors["third_bias"][:, None]
    expected[:2] += tensors["linear"] @ x[:3]
    results = IntegerNetwork(**stored)(features)
    assert np.array_equal(results, np.floor(results))
    assert results / 2**22 == pytest.approx(expected, abs=0.02)


def test_neither_order_nor_memory_makes_a_difference(tensors):
    network, generator, scratch = IntegerNetwork(**quantised(tensors)), np.random.default_rng(1), Scratch()
    features = generator.integers(-400, 400, (5, 5000)).astype(float)
    results = network(features, scratch)
    order = generator.permutation(5000)
    assert np.array_equal(network(features[:, order], scratch), results[:, order])
    assert np.array_equal(network(features), results)


def test_a_network_by_hand():
    tensors = {name: np.ones((1,) if name.endswith("bias") else (1, 1)) for name in TENSORS}
    network = IntegerNetwork(**quantised({**tensors, "linear": np.array([[0.5]])}))

    def result(feature):
        return (network(np.array([[128.0 * feature]])) / 2**22).item()

    # 0.5 + 1 = 1.5; 1.5 + 1 = 2.5; 2.5 + 1 = 3.5; and half the feature
    assert result(0.5) == 3.75
    # activations end at 0: 0; 0 + 1; 1 + 1 = 2
    assert result(-20) == 2 - 10
    # and at 16: 16; 16; 16 + 1
    assert result(20) == 17 + 10
    # results end at 32
    assert result(100) == 32


def test_what_is_stored_comes_back(tensors):
    for name, tensor in quantised(tensors).items():
        assert dequantised(name, tensor) == pytest.approx(tensors[name], abs=2**-12)


def test_the_logarithm_is_straight_between_powers_of_two():
    assert octaves(np.array([1, 2, 3, 4, 6, 0.5, 0.75])).tolist() == [0, 1, 1.5, 2, 2.5, -1, -0.5]


def test_tensors_of_another_shape_or_type_do_not_fit(tensors):
    stored = quantised(tensors)
    assert fits(stored, *SHAPE)
    assert not fits(stored, 6, 4, 2, 3)
    assert not fits({**stored, "third": stored["third"].astype(np.int32)}, *SHAPE)
    assert not fits({**stored, "second_bias": None}, *SHAPE)
    assert not fits(dict.fromkeys(TENSORS), *SHAPE)


def test_networks_that_are_missing_or_too_many_are_named(tensors):
    stored = {f"1.luma.{name}": tensor for name, tensor in quantised(tensors).items()}
    assert wrong_networks(stored, {"1.luma": SHAPE}) is None
    assert "network 2.luma" in wrong_networks(stored, {"1.luma": SHAPE, "2.luma": SHAPE})
    assert "no use" in wrong_networks({**stored, "more": stored["1.luma.first"]}, {"1.luma": SHAPE})
