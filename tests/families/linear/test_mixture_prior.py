"""Priors of the linear family: what is stored comes back, what cannot work is refused, and which signal they suit."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from support.learned import tiny_mixture
from support.signals import smooth_image

from combiner_cli.errors import DamagedFileError
from combiner_cli.families import registry
from combiner_cli.family import EncodingOptions
from combiner_cli.signals.signal import Format

FAMILY = registry.get("linear")
NETWORK = {"extent": [8, 8], "outputs": 3}
# what reading a prior takes for a file that is none
REFUSALS = (DamagedFileError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def _load(configuration=None, tensors=None):
    prior = tiny_mixture()
    return FAMILY.load(prior.name, {**prior.configuration(), **(configuration or {})}, tensors or prior.tensors())


def _with(name, change):
    tensors = tiny_mixture().tensors()
    return {**tensors, name: change(tensors[name])}


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_a_stored_prior_comes_back_with_its_id(kind):
    prior = tiny_mixture(kind)
    loaded = FAMILY.load(prior.name, prior.configuration(), prior.tensors())
    assert loaded.digest == prior.digest
    assert loaded.family is FAMILY
    assert FAMILY.name == "linear"
    assert (loaded.name, loaded.network) == (prior.name, prior.network)
    assert (loaded.noise_codes, loaded.rates, loaded.errors) == (prior.noise_codes, prior.rates, prior.errors)
    assert all(np.array_equal(loaded.tensors()[name], tensor) for name, tensor in prior.tensors().items())


def test_what_a_prior_says_of_itself():
    prior = tiny_mixture()
    assert prior.configuration() == {
        "network": {**asdict(prior.network), "extent": [8, 8]},
        "kind": "image",
        "family": "linear",
        "reach": 2,
        "size": 64,
        "noise_codes": list(prior.noise_codes),
        "rates": list(prior.rates),
        "errors": list(prior.errors),
    }


def test_the_id_depends_on_every_tensor_and_setting_and_not_on_the_name():
    prior = tiny_mixture()
    assert replace(prior, name="another").id == prior.id
    assert replace(prior, size=prior.size + 1).id != prior.id
    assert replace(prior, rates=(prior.rates[0] / 2, prior.rates[1])).id != prior.id
    for name, tensor in prior.tensors().items():
        changed = tensor.copy()
        changed.reshape(-1)[0] += 1
        assert replace(prior, **{name: changed}).id != prior.id


def test_typical_noise_and_error_go_through_the_measured_ends():
    prior = tiny_mixture()
    for end in (0, 1):
        code, error = prior.typical(prior.rates[end])
        assert code == pytest.approx(prior.noise_codes[end])
        assert error == pytest.approx(prior.errors[end])
    middle, _ = prior.typical(prior.bits_per_point)
    assert middle == pytest.approx(sum(prior.noise_codes) / 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "smell"),
        ("kind", "sound"),
        ("kind", []),
        ("family", "oracle"),
        ("family", "siren"),
        ("surprise", 1),
        ("network", 5),
        ("network", {"extent": [8, 8]}),
        ("network", {**NETWORK, "extent": [8]}),
        ("network", {**NETWORK, "extent": 8}),
        ("network", {**NETWORK, "extent": [2**40, 2**40]}),
        ("network", {**NETWORK, "extent": [2**15, 2**15]}),
        ("network", {**NETWORK, "extent": [-8, -8]}),
        ("network", {**NETWORK, "extent": [8.0, 8.0]}),
        ("network", {**NETWORK, "extent": [8, 0]}),
        ("network", {**NETWORK, "extent": [16, 8]}),
        ("network", {**NETWORK, "outputs": 2}),
        ("network", {**NETWORK, "outputs": 0}),
        ("reach", 9),
        ("reach", 1),
        ("reach", 0),
        ("reach", -1),
        ("reach", 2**40),
        ("reach", "far"),
        ("reach", True),
        ("size", 0),
        ("size", 10**10),
        ("noise_codes", [80, 70]),
        ("noise_codes", [70, 70]),
        ("noise_codes", [-1, 70]),
        ("noise_codes", [70, 128]),
        ("noise_codes", [70]),
        ("noise_codes", [1, 2, 3]),
        ("noise_codes", 70),
        ("noise_codes", [1.0, 2.0]),
        ("rates", [2.0, 1.0]),
        ("rates", [1.0, 1.0]),
        ("rates", [0.0, 1.0]),
        ("rates", [-1.0, 1.0]),
        ("rates", [1.0, float("nan")]),
        ("rates", [float("nan"), 1.0]),
        ("rates", [1.0, float("inf")]),
        ("rates", [1, 2]),
        ("rates", ["1", "2"]),
        ("errors", [0.0, 0.1]),
        ("errors", [float("nan"), 0.1]),
        ("errors", [0.1]),
        ("errors", None),
    ],
)
def test_impossible_configurations_are_refused(key, value):
    with pytest.raises(REFUSALS):
        _load({key: value})


@pytest.mark.parametrize("key", ["rates", "reach", "network", "family", "kind", "size"])
def test_configurations_that_lack_something_are_refused(key):
    configuration = tiny_mixture().configuration()
    del configuration[key]
    with pytest.raises(REFUSALS):
        FAMILY.load("lacking", configuration, tiny_mixture().tensors())


TENSORS = ("projection", "context_projection", "context_gain", "mean", "counts", "directions", "levels")


def _first_changed(tensor, value):
    changed = tensor.copy()
    changed.reshape(-1)[0] = value
    return changed


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1].copy(),
        lambda t: np.concatenate([t, t[:1]]),
        lambda t: t[..., None],
        lambda t: t.reshape(1, -1),
        lambda t: t[:0],
        lambda t: np.zeros((), dtype=t.dtype),
        lambda t: t.astype(np.float64),
        lambda t: t.astype(np.int64),
    ],
    ids=["shorter", "longer", "deeper", "flat", "empty", "scalar", "float64", "int64"],
)
def test_tensors_of_another_shape_or_type_are_refused(name, change):
    tensors, tensor = _with(name, change), tiny_mixture().tensors()[name]
    assert (tensors[name].shape, tensors[name].dtype) != (tensor.shape, tensor.dtype)
    with pytest.raises(REFUSALS):
        _load(tensors=tensors)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, lambda t: _first_changed(t, np.nan)) for name in TENSORS[:4]),
        *((name, lambda t: _first_changed(t, np.inf)) for name in TENSORS[:4]),
        ("counts", lambda t: _first_changed(t, -1)),
        ("counts", lambda t: _first_changed(t, t.reshape(-1)[0] - 1)),
        ("counts", lambda t: _first_changed(t, 2**31 - 1)),
        ("counts", lambda t: (t * 0).astype(np.int32)),
        ("levels", lambda t: _first_changed(t, t.min() - 1)),
        ("levels", lambda t: t[::-1].copy()),
    ],
)
def test_impossible_values_are_refused(name, change):
    with pytest.raises(DamagedFileError):
        _load(tensors=_with(name, change))


def test_counts_that_exceed_the_dimensions_are_refused_even_if_they_add_up():
    counts = tiny_mixture().counts.copy()
    counts.reshape(-1)[:2] += np.array([1, -1], dtype=np.int32)
    with pytest.raises(DamagedFileError, match=r"its (counts|levels)"):
        _load(tensors=_with("counts", lambda _: counts))


@pytest.mark.parametrize("name", TENSORS)
def test_missing_tensors_are_refused(name):
    tensors = tiny_mixture().tensors()
    del tensors[name]
    with pytest.raises(TypeError):
        _load(tensors=tensors)


def test_own_rate_qualities_and_psnr():
    prior = tiny_mixture()
    assert prior.bits_per_point == pytest.approx(math.sqrt(prior.rates[0] * prior.rates[1]))
    assert prior.rate_at(5) == prior.bits_per_point
    assert np.diff([math.log(prior.rate_at(quality)) for quality in range(1, 11)]) == pytest.approx(math.log(1.12))
    assert prior.psnr_range() == pytest.approx([10 * math.log10(4 / error) for error in prior.errors])


def test_it_suits_signals_by_their_longer_side_and_is_behind_other_families_of_the_same_size():
    prior = tiny_mixture()

    def distance(*shape):
        return prior.suits(Format("image", shape, 3, 8, None))

    assert 0 < distance(64, 3) == distance(1, 64) < 1e-3
    assert distance(128, 1) == pytest.approx(1, abs=1e-3)
    assert distance(16, 16) == pytest.approx(2, abs=1e-3)
    assert prior.suits(Format("sound", (64,), 1, 16, 16000)) is None


def test_small_signals_gain_from_company():
    prior = tiny_mixture()

    def together(*shape):
        return prior.signals_together(Format("image", shape, 3, 8, None), EncodingOptions())

    assert together(1, 1) == together(32, 32) == 32
    assert together(64, 64) == 8
    assert together(64, 65) == 1


def test_whole_tiles_are_rendered():
    prior = tiny_mixture()
    assert prior.points_rendered(Format("image", (8, 8), 3, 8, None)) == 64
    assert prior.points_rendered(Format("image", (9, 1), 4, 8, None)) == 4 * 64
    assert prior.points_rendered(Format("image", (1, 1), 1, 8, None), scale=3) == 9 * 64


def test_a_cost_is_told_to_the_end_only_where_it_is_small_enough():
    prior, signal = tiny_mixture("image"), smooth_image(24, 20)
    (cost,) = prior.predicted_costs([signal], 1e-3)
    assert prior.predicted_costs([signal], 1e-3, most=cost) == [cost]
    for share in (0.01, 0.5, 0.9):
        (least,) = prior.predicted_costs([signal], 1e-3, most=share * cost)
        assert share * cost < least <= cost
    (of_first_phase,) = prior.predicted_costs([signal], 1e-3, most=0.0)
    assert of_first_phase < cost
