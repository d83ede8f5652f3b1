"""Lapped priors: what is stored of them, what is refused, which sounds they suit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.coding import coded, shipped
from support.learned import tiny_lapped, tiny_lapped_mono
from support.priors import tiny_priors
from support.signals import tone

from combiner_cli.errors import DamagedFileError
from combiner_cli.families import registry
from combiner_cli.families.lapped.prior import problem
from combiner_cli.family import View
from combiner_cli.priors import store
from combiner_cli.signals.signal import Format

FAMILY = registry.get("lapped")


def sound(length, rate, channels=1):
    return Format("sound", (length,), channels, 16, rate)


@pytest.mark.parametrize("prior", [tiny_lapped, tiny_lapped_mono])
def test_a_prior_survives_its_file(tmp_path, prior):
    path = tmp_path / "tiny.safetensors"
    store.save(prior(), path)
    again = store.load(path)
    assert again.id == prior().id and again.configuration() == prior().configuration()
    assert again.family is FAMILY
    coding = coded(tone(200), prior())
    assert np.array_equal(again.decode(coding.file, View()).signal().samples, coding.decoded_signal.samples)


@pytest.mark.parametrize(("name", "number"), [("speech-5", "5e1e4699"), ("general-2", "aec225ca")])
def test_shipped_priors_keep_their_ids(name, number):
    assert f"{shipped(name).id:08x}" == number


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "image"},
        {"size": 0},
        {"size": 1.0},
        {"sample_rate": 0},
        {"sample_rate": 2**32},
        {"channels": 0},
        {"channels": 3},
        {"parts_from": 3},
        {"parts_from": 21},
        {"hops": []},
        {"hops": [32] * 10},
        {"hops": [32, 24]},
        {"hops": [8]},
        {"hops": [4112]},
        {"hops": [32.0]},
        {"noise_codes": [60, 20]},
    ],
    ids=str,
)
def test_impossible_configurations_are_refused(changed):
    prior = tiny_priors()["lapped"]
    assert problem(prior) is None and problem(tiny_priors()["lapped-mono"]) is None
    with pytest.raises(DamagedFileError, match="its configuration is out of range"):
        FAMILY.load("tiny", {**prior.configuration(), **changed}, prior.tensors())


@pytest.mark.parametrize("change", ["missing", "shape", "type", "more", "pairs"])
def test_tensors_that_do_not_fit_are_refused(change):
    prior = tiny_priors()["lapped"]
    tensors, name = prior.tensors(), "1.detail_2_1.first"
    if change == "missing":
        del tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][:, :-1]
    elif change == "type":
        tensors[name] = tensors[name].astype(np.int32)
    elif change == "more":
        tensors["other"] = tensors[name]
    configuration = prior.configuration() | {"channels": 1 if change == "pairs" else 2}
    with pytest.raises(DamagedFileError, match="no use" if change in ("more", "pairs") else "network 1.detail_2_1"):
        FAMILY.load("tiny", configuration, tensors)


def test_nearer_sample_rates_suit_better():
    prior = tiny_priors()["lapped"]  # of 16 kHz
    assert prior.suits(sound(100, 16000)) == 0
    assert prior.suits(sound(100, 8000)) == prior.suits(sound(100, 32000)) == 1
    assert FAMILY.suits({"sample_rate": 44100}, sound(9, 16000)) == pytest.approx(math.log2(44100 / 16000))
    # of what is unusual nothing is known, but one prior is the nearest
    assert 2 < prior.suits(sound(100, 192_000)) < prior.suits(sound(100, 100)) < 2.01
    assert prior.suits(Format("image", (3, 3), 3, 8, None)) is None


def test_a_sample_rate_near_that_of_the_prior_is_taken_as_it_is():
    prior = tiny_lapped()
    rates = {8000: 16000, 13333: 16000, 13334: 13334, 16000: 16000, 19200: 19200, 19201: 16000, 44100: 16000}
    assert {rate: prior.coded_rate(rate, 9999) for rate in rates} == rates
    assert prior.coded_rate(44100, 9999, as_it_is=True) == 44100


@pytest.mark.parametrize(
    ("rate", "points", "coded_rate"),
    [
        *((5334, 9999, 16000), (5333, 9999, 5333), (100, 2049, 100), (100, 1024, 200), (100, 512, 400)),
        *((100, 256, 800), (100, 1, 800), (5000, 1, 10000), (1, 257, 4)),
    ],
)
def test_samples_of_a_much_lower_rate_are_taken_as_they_are_or_a_few_for_each(rate, points, coded_rate):
    assert tiny_lapped().coded_rate(rate, points) == coded_rate


def test_points_are_those_of_the_higher_of_two_rates():
    prior = tiny_priors()["lapped"]
    assert prior.points_rendered(sound(100, 16000, 2)) == 200
    assert prior.points_rendered(sound(100, 48000)) == 100
    assert prior.points_rendered(sound(100, 8000)) == 200
    assert prior.points_rendered(sound(10_000, 1)) == 10_000
    assert prior.points_rendered(sound(100, 1, 2)) == 2 * 800
    assert prior.points_rendered(sound(100, 16000), scale=3) == 300


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr("combiner_cli.families.lapped.prior._COLUMNS_AT_ONCE", 50)
    data = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        data.append(coded(tone(700, 2), replace(tiny_lapped())).file.data)
    assert data[0] == data[1]
