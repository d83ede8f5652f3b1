"""Priors: files come back, ids follow the content, damaged and hostile files are refused."""

import json

import numpy as np
import pytest
from conftest import tiny_prior
from safetensors.numpy import load_file, save_file

from combiner_cli.errors import DamagedFileError, InputError, PriorError, UnsupportedVersionError
from combiner_cli.priors import library


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    library.save(tiny_prior(), path)
    return path


def test_a_saved_prior_comes_back(saved):
    prior, loaded = tiny_prior(), library.load(saved)
    assert loaded.digest == prior.digest
    assert loaded.network == prior.network
    assert np.array_equal(loaded.mean, prior.mean)
    assert loaded.name == "tiny"


def test_a_prior_is_saved_as_the_same_bytes_every_time(saved, tmp_path):
    for number in range(8):  # the library shuffles
        library.save(tiny_prior(), tmp_path / f"{number}.safetensors")
        assert (tmp_path / f"{number}.safetensors").read_bytes() == saved.read_bytes()


def test_a_saved_prior_has_ordinary_permissions(saved, tmp_path):
    (tmp_path / "other").touch()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_id_depends_on_the_content_and_not_on_the_name():
    assert tiny_prior(name="a").id == tiny_prior(name="b").id
    assert tiny_prior(bits=1.0).id != tiny_prior(bits=2.0).id
    assert tiny_prior(group_bits=8).id != tiny_prior(group_bits=16).id


def test_find_by_name_file_and_id(prior_folder):
    prior = library.find("tiny-image")
    assert library.find(str(prior_folder / "tiny-image.safetensors")).id == prior.id
    assert library.find_id(prior.id).id == prior.id


def test_missing_priors_are_named(prior_folder):
    with pytest.raises(PriorError, match=r"no prior is called nothing; known: .*tiny-image"):
        library.find("nothing")
    with pytest.raises(PriorError, match="id 00000007"):
        library.find_id(7)
    with pytest.raises(InputError, match="cannot read prior"):
        library.find(str(prior_folder / "none.safetensors"))


def test_a_stray_file_among_the_priors_does_no_harm(prior_folder):
    (prior_folder / "a-stray.safetensors").write_bytes(b"nonsense")
    (prior_folder / "b-folder.safetensors").mkdir()
    (prior_folder / "c-link.safetensors").symlink_to(prior_folder / "nowhere")
    assert library.find_id(tiny_prior("sound").id).kind == "sound"


def _rewrite(path, change_metadata=None, change_tensors=None):
    prior = tiny_prior()
    configuration = prior.configuration()
    metadata = {"format": library.FORMATS[0], "name": "tiny", "configuration": configuration}
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
        ("network", {**library.asdict(tiny_prior().network), "width": 2**40}),
        ("network", {**library.asdict(tiny_prior().network), "width": -1}),
        ("network", {**library.asdict(tiny_prior().network), "extent": [8]}),
        ("network", {**library.asdict(tiny_prior().network), "features": 7}),
        ("network", {**library.asdict(tiny_prior().network), "highest_frequency": "high"}),
        ("network", {**library.asdict(tiny_prior().network), "frequency": float("nan")}),
        ("network", {**library.asdict(tiny_prior().network), "highest_frequency": 10**400}),
        ("network", {**library.asdict(tiny_prior().network), "highest_frequency": 1e300}),
        ("network", {**library.asdict(tiny_prior().network), "extent": [2**20, 2**20]}),
        ("network", {**library.asdict(tiny_prior().network), "extent": [2048, 2048], "features": 2**16}),
        ("network", {**library.asdict(tiny_prior().network), "extent": 8}),
        ("network", {**library.asdict(tiny_prior().network), "outputs": 2}),
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
        library.load(saved)


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
        library.load(saved)


@pytest.mark.parametrize("text", ["5", "null", '"x"', "[" * 100000, "{", ""])
def test_configurations_that_are_no_objects_are_refused(saved, text):
    save_file(load_file(saved), saved, {"format": library.FORMATS[0], "name": "tiny", "configuration": text})
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        library.load(saved)


def test_unknown_formats_are_refused(saved):
    _rewrite(saved, lambda metadata: metadata.update(format="combiner-prior-9"))
    with pytest.raises(UnsupportedVersionError, match="combiner-prior-9"):
        library.load(saved)
    _rewrite(saved, lambda metadata: metadata.update(format="cake"))
    with pytest.raises(DamagedFileError, match="not a combiner prior"):
        library.load(saved)


def test_a_tile_at_the_border_expects_less_information():
    prior = tiny_prior()
    (stage,) = prior.stages(prior.tiling((8, 12), 3))
    whole, half = stage.information.reshape(2, -1)
    assert np.array_equal(whole, prior.information)
    assert np.array_equal(half, -(-prior.information // 2))
    assert ((half == 0) == (prior.information == 0)).all()


def test_shipped_priors_load_and_cover_every_quality():
    paths = sorted(library.shipped_folder().glob("*.safetensors"))
    assert paths
    assert sum(path.stat().st_size for path in paths) < 80 * 2**20
    for path in paths:
        assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
        assert f"{library.load(path).id:08x}" in path.with_suffix(".md").read_text()
    for kind, shape in (("image", (32, 32)), ("image", (512, 768)), ("image", (1, 1)), ("sound", (16000,))):
        chosen = [library.choose(kind, shape, quality) for quality in range(1, 11)]
        rates = [prior.bits_per_point * rate for prior, rate in chosen]
        assert all(prior.kind == kind for prior, _ in chosen)
        assert (np.diff(rates) > 0).all()
        # a pyramid is for all rates, any other prior for some around its own
        assert all(0.5 < rate < 2 or prior.family == "pyramid" for prior, rate in chosen)
