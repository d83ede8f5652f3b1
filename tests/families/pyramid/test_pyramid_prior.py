"""Pyramid priors: what is stored of them, what is refused, which images they suit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.coding import coded, shipped
from support.priors import tiny_priors
from support.signals import smooth_image

from combiner_cli.errors import DamagedFileError
from combiner_cli.families import registry
from combiner_cli.families.pyramid.decoder import root_moments
from combiner_cli.families.pyramid.prior import problem
from combiner_cli.family import View
from combiner_cli.priors import store
from combiner_cli.signals.signal import Format
from combiner_cli.stages.moments import LOWEST

FAMILY = registry.get("pyramid")


def image(height, width, channels=3):
    return Format("image", (height, width), channels, 8, None)


def test_a_prior_survives_its_file(tmp_path):
    prior, path = tiny_priors()["pyramid"], tmp_path / "tiny.safetensors"
    store.save(prior, path)
    again = store.load(path)
    assert (again.id, again.key, again.family) == (prior.id, prior.key, FAMILY)
    assert again.configuration() == prior.configuration()
    coding = coded(smooth_image(16, 16), prior)
    assert np.array_equal(again.decode(coding.file, View()).signal().samples, coding.decoded_signal.samples)


def test_the_shipped_prior_keeps_its_id():
    assert f"{shipped('photo-8').id:08x}" == "157d1bf0"
    assert shipped("photo-8").configuration()["family"] == "pyramid"


@pytest.mark.parametrize("change", ["missing", "shape", "type", "more"])
def test_tensors_that_do_not_fit_are_refused(change):
    prior = tiny_priors()["pyramid"]
    tensors, name = prior.tensors(), "1.luma_2.first"
    if change == "missing":
        del tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][:, :-1]
    elif change == "type":
        tensors[name] = tensors[name].astype(np.int32)
    elif change == "more":
        tensors["other"] = tensors[name]
    with pytest.raises(DamagedFileError, match="network 1.luma_2" if change != "more" else "no use"):
        FAMILY.load("tiny", prior.configuration(), tensors)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "sound"},
        {"size": 0},
        {"size": 1.0},
        {"size": True},
        {"parts_from": 0},  # of early ones, which coded no weight in parts
        {"parts_from": 3},
        {"parts_from": 21},
        {"noise_codes": [60, 20]},
        {"rates": [1, 2]},
    ],
    ids=str,
)
def test_impossible_configurations_are_refused(changed):
    prior = tiny_priors()["pyramid"]
    assert problem(prior) is None
    with pytest.raises(DamagedFileError, match="out of range"):
        FAMILY.load("tiny", {**prior.configuration(), **changed}, prior.tensors())


def test_nearer_sizes_suit_better():
    prior = tiny_priors()["pyramid"]  # of images of 32 samples
    assert prior.suits(image(32, 8)) == 0
    assert prior.suits(image(8, 128)) == 2
    assert prior.suits(image(8, 8)) == 2
    assert FAMILY.suits({"size": 512}, image(768, 512)) == pytest.approx(math.log2(1.5))
    assert prior.suits(Format("sound", (32,), 1, 16, 16000)) is None


def test_points_are_counted_plane_by_plane():
    prior = tiny_priors()["pyramid"]
    assert [prior.points_rendered(image(3, 5, channels)) for channels in (1, 2, 3, 4)] == [15, 30, 15, 30]
    assert prior.points_rendered(image(3, 5), scale=4) == 15 * 16


def test_the_root_has_wide_priors_by_hand():
    # 2 levels; 2^2 · a / 63.75 deviations of noise level 0, in sixteenths of an octave; 16 levels more are one octave
    moments = root_moments(2, (1, 2), 3, 16)  # one step: an average and a detail of each colour
    wide = (180, 55, 72, 14, 40, 8)
    assert moments.deviation.tolist() == [round(16 * math.log2(one / 63.75)) + 32 + 16 - LOWEST for one in wide]
    assert moments.mean.tolist() == [0] * 6
    moments = root_moments(0, (3, 4), 1, 16)  # two steps: of 2x2 samples, and of 3x4
    wide = (360, *[100] * 3, *[55] * (4 + 2 + 2))
    assert moments.deviation.tolist() == [round(16 * math.log2(one / 63.75)) + 16 - LOWEST for one in wide]
    assert root_moments(0, (1, 1), 1, -200).deviation.tolist() == [0]  # no narrower than that


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_number_of_threads_changes_nothing(monkeypatch, threads):
    signal = smooth_image(50, 70, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = coded(signal, tiny_priors()["pyramid"]).file.data
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr("combiner_cli.families.pyramid.prior._MOST_UNITS", 64)
    assert coded(signal, replace(tiny_priors()["pyramid"])).file.data == data
