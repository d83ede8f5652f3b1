"""Networks in whole numbers: the same results whatever the order of their sums."""

import numpy as np
import pytest

from combiner_cli.stages import integer_network
from combiner_cli.stages.integer_network import (
    LARGEST_FEATURE,
    TENSORS,
    IntegerNetwork,
    dequantised,
    fits,
    octaves,
    quantised,
    wrong_networks,
)
from combiner_cli.system.native import VARIABLE
from combiner_cli.system.threads import Scratch

in_c = pytest.mark.skipif(
    integer_network._integer_network is None or not integer_network._integer_network.SUPPORTED,
    reason="there was no compiler when the package was installed, or the processor has no AVX2",
)

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


def random_network(features, hidden, last, results, outputs, relative, largest):
    """With weights of all sizes up to the largest."""
    generator = np.random.default_rng(features)

    def weights(*shape):
        sizes = np.clip(np.rint(generator.standard_t(2, shape) * largest), -largest - 1, largest)
        return sizes.astype(np.int16)

    def bias(count):
        return generator.integers(-(largest**2), largest**2, count).astype(np.int32)

    first, second, third = weights(hidden, features), weights(last, hidden), weights(results, last)
    return IntegerNetwork(first, bias(hidden), second, bias(last), third, bias(results), weights(outputs, relative))


def in_both_ways(network, features, monkeypatch):
    results = []
    for wish in ("", "0"):
        monkeypatch.setenv(VARIABLE, wish)
        results.append(network(features))
    return results


@in_c
@pytest.mark.parametrize("largest", [200, 2**15 - 1])  # of which the second fills 32 bits many times
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1, 1, 1), (5, 7, 9, 3, 1, 3), (79, 48, 48, 12, 6, 51), (129, 96, 64, 6, 3, 2)]
)
@pytest.mark.parametrize("columns", [0, 1, 31, 32, 33, 200])
def test_results_in_c_are_the_same(shape, largest, columns, monkeypatch):
    network = random_network(*shape, largest)
    features = np.random.default_rng(columns).integers(-LARGEST_FEATURE, LARGEST_FEATURE + 1, (shape[0], columns + 4))
    features = features.astype(np.float64)[:, 2 : columns + 2]  # as a part of an array
    expected = in_both_ways(network, features, monkeypatch)
    assert np.array_equal(*expected)


@in_c
def test_the_largest_sums_are_the_same_in_c(monkeypatch):
    """All weights, features and activations as large as they can be, of either sign."""
    for sign in (1, -1):
        ones = {
            "first": np.full((1024, 200), 2**15 - 1),
            "first_bias": np.full(1024, 2**31 - 1),
            "second": np.full((1024, 1024), sign * 2**15 - 1),
            "second_bias": np.full(1024, -(2**31)),
            "third": np.full((3, 1024), sign * 2**15 - 1),
            "third_bias": np.full(3, 2**31 - 1),
            "linear": np.full((2, 200), -(2**15)),
        }
        kinds = {name: np.int32 if name.endswith("bias") else np.int16 for name in TENSORS}
        network = IntegerNetwork(**{name: tensor.astype(kinds[name]) for name, tensor in ones.items()})
        for feature in (LARGEST_FEATURE, -LARGEST_FEATURE):
            assert np.array_equal(*in_both_ways(network, np.full((200, 3), float(feature)), monkeypatch))


@in_c
def test_what_c_cannot_take_numpy_does(monkeypatch):
    network = random_network(5, 8, 6, 4, 2, 3, 200)
    features = np.random.default_rng(1).integers(-400, 400, (5, 50)).astype(np.float64)
    for unusual in (features * 12, features[:, ::2], features.astype(np.float32), np.asfortranarray(features)):
        with monkeypatch.context() as patched:
            assert np.array_equal(*in_both_ways(network, unusual, patched))
    assert (features * 12 > LARGEST_FEATURE).any()
    with monkeypatch.context() as patched:
        patched.setattr(integer_network, "_integer_network", None)
        assert np.array_equal(network(features), in_both_ways(network, features, patched)[1])


@in_c
def test_arrays_of_the_wrong_size_are_refused():
    network, library = random_network(5, 8, 6, 4, 2, 3, 200), integer_network._integer_network
    features, results = np.zeros((5, 9)), np.empty((4, 9))
    first, second, third, linear = network._packed
    assert library.run(features, first, second, third, linear, results)
    weights, ends, bias = second
    for arguments in (
        (features[:3].copy(), first, second, third, linear, results),
        (features[0].copy(), first, second, third, linear, results),
        (features[:, ::2], first, second, third, linear, results),
        (features, second, second, third, linear, results),
        (features, first, (weights[:2].copy(), ends, bias), third, linear, results),
        (features, first, (weights, ends + 1, bias), third, linear, results),
        (features, first, (weights, ends[:0].copy(), bias), third, linear, results),
        (features, first, (weights, np.append(ends, 0).astype(np.int32), bias), third, linear, results),
        (features, first, second, linear, third, results),
        (features, first, second, third, linear, np.empty((5, 9))),
        (features, first, second, third, linear, results[:, :8].copy()),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            library.run(*arguments)
