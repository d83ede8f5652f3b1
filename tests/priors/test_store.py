"""Priors as files: they come back, ids follow the content, damaged and hostile files are refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.priors import tiny_siren

from combiner_cli.errors import DamagedFileError, UnsupportedVersionError
from combiner_cli.priors import store

NETWORK = tiny_siren().configuration()["network"]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    store.save(tiny_siren(), path)
    return path


def test_a_saved_prior_comes_back(saved):
    prior, loaded = tiny_siren(), store.load(saved)
    assert loaded.digest == prior.digest
    assert loaded.network == prior.network
    assert np.array_equal(loaded.mean, prior.mean)
    assert loaded.name == "tiny"


def test_a_prior_is_saved_as_the_same_bytes_every_time(saved, tmp_path):
    for number in range(8):  # the library shuffles
        store.save(tiny_siren(), tmp_path / f"{number}.safetensors")
        assert (tmp_path / f"{number}.safetensors").read_bytes() == saved.read_bytes()


def test_a_saved_prior_has_ordinary_permissions(saved, tmp_path):
    (tmp_path / "other").touch()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_id_depends_on_the_content_and_not_on_the_name():
    assert tiny_siren(name="a").id == tiny_siren(name="b").id
    assert tiny_siren(bits=1.0).id != tiny_siren(bits=2.0).id
    assert tiny_siren(group_bits=8).id != tiny_siren(group_bits=16).id


def _rewrite(path, change_metadata=None, change_tensors=None):
    prior = tiny_siren()
    configuration = prior.configuration()
    metadata = {"format": store.FORMAT, "name": "tiny", "configuration": configuration}
    tensors = load_file(path)
    if change_metadata:
        change_metadata(metadata)
    if change_tensors:
        change_tensors(tensors)
    metadata["configuration"] = json.dumps(metadata["configuration"])
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("group_bits", 9),
        ("kind", "smell"),
        ("family", "oracle"),
        ("surprise", 1),
        ("network", {"extent": [8, 8]}),
        ("network", {**NETWORK, "width": 2**40}),
        ("network", {**NETWORK, "width": -1}),
        ("network", {**NETWORK, "extent": [8]}),
        ("network", {**NETWORK, "features": 7}),
        ("network", {**NETWORK, "highest_frequency": "high"}),
        ("network", {**NETWORK, "frequency": float("nan")}),
        ("network", {**NETWORK, "highest_frequency": 10**400}),
        ("network", {**NETWORK, "highest_frequency": 1e300}),
        ("network", {**NETWORK, "extent": [2**20, 2**20]}),
        ("network", {**NETWORK, "extent": [2048, 2048], "features": 2**16}),
        ("network", {**NETWORK, "extent": 8}),
        ("network", {**NETWORK, "outputs": 2}),
        ("network", 5),
        ("kind", []),
        ("kind", {}),
        ("group_bits", 16.0),
        ("group_bits", True),
        ("beta", 0),
        ("beta", "much"),
    ],
)
def test_impossible_configurations_are_refused(saved, key, value):
    _rewrite(saved, lambda metadata: metadata["configuration"].update({key: value}))
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        store.load(saved)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mean", lambda t: t[:-1].copy()),
        ("mean", lambda t: t.astype(np.float64)),
        ("mean", lambda t: np.full_like(t, np.nan)),
        ("deviation", lambda t: -t),
        ("deviation", lambda t: t * 0),
        ("information", lambda t: -t),
        ("information", lambda t: t * 0),
        ("information", lambda t: t + 2**20),
    ],
)
def test_impossible_tensors_are_refused(saved, name, change):
    _rewrite(saved, change_tensors=lambda tensors: tensors.update({name: change(tensors[name])}))
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        store.load(saved)


@pytest.mark.parametrize("text", ["5", "null", '"x"', "[" * 100000, "{", ""])
def test_configurations_that_are_no_objects_are_refused(saved, text):
    save_file(load_file(saved), saved, {"format": store.FORMAT, "name": "tiny", "configuration": text})
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        store.load(saved)


def test_unknown_formats_are_refused(saved):
    _rewrite(saved, lambda metadata: metadata.update(format="combiner-prior-9"))
    with pytest.raises(UnsupportedVersionError, match="combiner-prior-9"):
        store.load(saved)
    _rewrite(saved, lambda metadata: metadata.update(format="cake"))
    with pytest.raises(DamagedFileError, match="it is no prior of this program"):
        store.load(saved)
