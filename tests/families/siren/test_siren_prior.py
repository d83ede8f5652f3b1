"""Priors of the siren family: what is stored comes back, what cannot work is refused, and which signal they suit."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from support.priors import tiny_siren

from combiner_cli.errors import DamagedFileError
from combiner_cli.families import registry
from combiner_cli.signals.signal import Format

FAMILY = registry.get("siren")
NETWORK = {**asdict(tiny_siren().network), "extent": [8, 8]}
# what reading a prior takes for a file that is none
REFUSALS = (DamagedFileError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def _loaded(prior, configuration=None, tensors=None):
    return FAMILY.load(prior.name, {**prior.configuration(), **(configuration or {})}, tensors or prior.tensors())


def test_a_stored_prior_comes_back():
    prior = tiny_siren("sound")
    loaded = _loaded(prior)
    assert loaded.digest == prior.digest
    assert (loaded.name, loaded.kind, loaded.network, loaded.beta) == ("tiny", "sound", prior.network, prior.beta)
    assert loaded.family is FAMILY
    assert FAMILY.name == "siren"


def test_the_id_is_of_the_content():
    """That of a prior of the time of development, whose files go by it."""
    assert tiny_siren(name="a").id == tiny_siren(name="b").id
    assert tiny_siren(group_bits=8).id != tiny_siren().id != tiny_siren(bits=1.0).id
    assert tiny_siren().configuration() == {
        "network": asdict(tiny_siren().network),
        "kind": "image",
        "group_bits": 16,
        "beta": 1e-4,
        "family": "siren",
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("group_bits", 9),
        ("group_bits", 16.0),
        ("group_bits", True),
        ("kind", "smell"),
        ("kind", "sound"),
        ("kind", []),
        ("kind", {}),
        ("family", "oracle"),
        ("surprise", 1),
        ("mean", 1),
        ("beta", 0),
        ("beta", "much"),
        ("network", 5),
        ("network", {"extent": [8, 8]}),
        ("network", {**NETWORK, "width": 2**40}),
        ("network", {**NETWORK, "width": -1}),
        ("network", {**NETWORK, "hidden": 65}),
        ("network", {**NETWORK, "extent": [8]}),
        ("network", {**NETWORK, "extent": 8}),
        ("network", {**NETWORK, "features": 7}),
        ("network", {**NETWORK, "highest_frequency": "high"}),
        ("network", {**NETWORK, "frequency": float("nan")}),
        ("network", {**NETWORK, "highest_frequency": 10**400}),
        ("network", {**NETWORK, "highest_frequency": 1e300}),
        ("network", {**NETWORK, "extent": [2**20, 2**20]}),
        ("network", {**NETWORK, "extent": [2048, 2048], "features": 2**16}),
        ("network", {**NETWORK, "outputs": 2}),
    ],
)
def test_impossible_configurations_are_refused(key, value):
    with pytest.raises(REFUSALS):
        _loaded(tiny_siren(), {key: value})


@pytest.mark.parametrize("key", ["group_bits", "kind", "family", "beta", "network"])
def test_configurations_that_lack_something_are_refused(key):
    configuration = tiny_siren().configuration()
    del configuration[key]
    with pytest.raises(REFUSALS):
        FAMILY.load("tiny", configuration, tiny_siren().tensors())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("mean", lambda t: t[:-1].copy(), "its mean has a wrong shape"),
        ("mean", lambda t: t.astype(np.float64), "its mean has a wrong shape"),
        ("mean", lambda t: np.full_like(t, np.nan), "its mean has a wrong shape"),
        ("deviation", lambda t: np.full_like(t, np.inf), "its deviation has a wrong shape"),
        ("deviation", lambda t: -t, "a deviation or an information is out of range"),
        ("deviation", lambda t: t * 0, "a deviation or an information is out of range"),
        ("information", lambda t: -t, "a deviation or an information is out of range"),
        ("information", lambda t: t + 2**20, "a deviation or an information is out of range"),
        ("information", lambda t: t * 0, "no information at all"),
        ("information", lambda t: t.astype(np.int64), "its information has a wrong shape"),
    ],
)
def test_impossible_tensors_are_refused(name, change, words):
    prior = tiny_siren()
    tensors = prior.tensors()
    with pytest.raises(DamagedFileError, match=words):
        _loaded(prior, tensors={**tensors, name: change(tensors[name])})


@pytest.mark.parametrize("name", ["mean", "deviation", "information"])
def test_missing_tensors_are_refused(name):
    tensors = tiny_siren().tensors()
    del tensors[name]
    with pytest.raises(TypeError):
        _loaded(tiny_siren(), tensors=tensors)


def test_a_tile_at_the_border_expects_less_information():
    prior = tiny_siren()
    (stage,) = prior.stages(prior.tiling((8, 12), 3))
    whole, half = stage.information.reshape(2, -1)
    assert np.array_equal(whole, prior.information)
    assert np.array_equal(half, -(-prior.information // 2))
    assert ((half == 0) == (prior.information == 0)).all()


def test_pruned_latents_are_at_the_mean():
    prior = tiny_siren()
    z = np.random.default_rng(1).standard_normal(2 * prior.network.latents)
    z.reshape(2, -1)[:, ::7] = 0
    weights = prior.network_weights(z, prior.tiling((8, 16), 3))
    assert weights.shape == (2, prior.network.latents)
    assert np.array_equal(weights[:, ::7], np.stack([prior.mean[::7].astype(float)] * 2))
    assert np.allclose((weights - prior.mean) / prior.deviation, z.reshape(2, -1), atol=1e-9)


def test_the_own_rate_is_the_expected_information_and_that_of_quality_5():
    prior = tiny_siren(bits=2.0)
    assert prior.bits_per_point == pytest.approx(2.0 * np.count_nonzero(prior.information) / 64)
    assert prior.rate_at(5) == prior.bits_per_point
    rates = [prior.rate_at(quality) for quality in range(1, 11)]
    assert np.diff(np.log(rates)) == pytest.approx(math.log(1.12))
    assert prior.psnr_range() is None


def _distance(prior, *shape, kind="image"):
    depth, rate = (8, None) if kind == "image" else (16, 16000)
    return prior.suits(Format(kind, shape, 1, depth, rate))


def test_it_is_a_last_resort_with_the_largest_tile_that_the_signal_holds():
    small, large = tiny_siren(extent=(8, 8)), tiny_siren(extent=(32, 16))
    assert _distance(small, 8, 8) == 1000
    assert _distance(small, 8, 64) == 1003
    assert _distance(large, 64, 8) == 1001
    assert 1000 < _distance(small, 31, 31) < _distance(large, 31, 31)
    assert _distance(small, 5, 7) < _distance(large, 5, 7)
    assert _distance(small, 2**31, 1) < _distance(large, 31, 31)  # a tile that fits is always better
    assert _distance(small, 300, kind="sound") is None
    assert _distance(tiny_siren("sound"), 64, kind="sound") == 1000
    assert _distance(replace(small, name="another"), 8, 8) == 1000
