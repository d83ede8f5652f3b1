"""Files that earlier programs wrote decode to the same samples for ever."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream, metadata
from combiner_cli.media import files as media
from combiner_cli.priors import library

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = json.loads((GOLDEN / "digests.json").read_text())
RECORDINGS = json.loads((GOLDEN / "recordings.json").read_text())
LATENTS = json.loads((GOLDEN / "latents.json").read_text())
METADATA = json.loads((GOLDEN / "metadata.json").read_text())


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_files_decode_to_the_samples_of_the_day_they_were_written(name, monkeypatch):
    monkeypatch.setenv("COMBINER_PRIORS", str(GOLDEN))
    samples = pipeline.decode((GOLDEN / f"{name}.cmb").read_bytes(), library.find_id).samples
    expected = DIGESTS[name]
    assert list(samples.shape) == expected["shape"]
    assert str(samples.dtype) == expected["type"]
    assert hashlib.sha256(samples.astype(samples.dtype.newbyteorder("<")).tobytes()).hexdigest() == expected["sha256"]


def _prior_of(name):
    return library.find_id(bitstream.unpack((GOLDEN / f"{name}.cmb").read_bytes())[0].prior_id)


@pytest.mark.parametrize("name", sorted(LATENTS))
def test_golden_files_name_the_latents_of_the_day_they_were_added(name, monkeypatch):
    monkeypatch.setenv("COMBINER_PRIORS", str(GOLDEN))
    content = pipeline.read((GOLDEN / f"{name}.cmb").read_bytes(), _prior_of(name))
    latents = np.concatenate(content.z).astype("<f4")
    assert hashlib.sha256(latents.tobytes()).hexdigest() == LATENTS[name]


def test_every_golden_file_is_decoded():
    files = {path.stem for path in GOLDEN.glob("*.cmb")}
    assert files == set(LATENTS) == set(DIGESTS) | set(RECORDINGS)
    assert not set(DIGESTS) & set(RECORDINGS)


def test_golden_files_are_of_every_family_and_every_form(monkeypatch):
    monkeypatch.setenv("COMBINER_PRIORS", str(GOLDEN))
    headers = {name: bitstream.unpack((GOLDEN / f"{name}.cmb").read_bytes())[0] for name in LATENTS}
    found = {name: _prior_of(name) for name in LATENTS}
    assert {type(prior).__name__ for prior in found.values()} == {
        "Prior",
        "CovariancePrior",
        "MixturePrior",
        "PyramidPrior",
        "LappedPrior",
    }
    assert {header.version for header in headers.values()} == set(bitstream.VERSIONS)
    forms = {(header.kind, header.channels, header.bit_depth) for header in headers.values()}
    assert {("image", channels, 8) for channels in (1, 2, 3, 4)} | {("image", 1, 16), ("image", 3, 16)} <= forms
    assert {("sound", 1, 16), ("sound", 2, 16), ("sound", 1, 24), ("sound", 2, 24)} <= forms
    assert {(1, 1), (1,)} <= {header.shape for header in headers.values()}
    bits = {prior.group_bits for name, prior in found.items() if headers[name].version == 1}
    assert bits == {8, 16}


def test_a_golden_file_is_never_written_anew(tmp_path):
    """The script that adds one refuses whatever is there, and writes down what the tests check."""
    specification = importlib.util.spec_from_file_location("add", GOLDEN / "add.py")
    add = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(add)
    for name in ("photo-6-pixel", "speech-4"):
        add.add(name, GOLDEN / f"{name}.cmb", folder=tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(SystemExit, match="never written anew"):
            add.add(name, GOLDEN / "photo-6.cmb", folder=tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert json.loads((tmp_path / "latents.json").read_text())["speech-4"] == LATENTS["speech-4"]
    assert json.loads((tmp_path / "digests.json").read_text())["photo-6-pixel"] == DIGESTS["photo-6-pixel"]
    assert json.loads((tmp_path / "recordings.json").read_text())["speech-4"] == RECORDINGS["speech-4"]
    with pytest.raises(SystemExit):
        add.add("rgb", GOLDEN / "photo-6.cmb")


def test_there_is_a_golden_file_of_every_shipped_prior():
    shipped = {path.stem for path in library.shipped_folder().glob("*.safetensors")}
    first = {"cifar10-1", "cifar10-2", "cifar10-3", "photo-1", "photo-2", "speech-1"}
    mixtures = {"cifar10-4", "cifar10-5", "cifar10-6", "photo-3", "photo-4", "speech-2", "speech-3"}
    pyramids = {"photo-6"}
    older = {path.stem for path in (library.shipped_folder() / "older").glob("*.safetensors")}
    lapped = {"speech-4", "general-1"}
    assert shipped == first | mixtures | pyramids | lapped
    assert older == {"photo-5"}
    assert shipped | older <= set(DIGESTS) | set(RECORDINGS)


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_golden_recordings_decode_to_the_weights_and_the_sound_of_the_day_they_were_written(name):
    """Weights are the same for ever; samples are made of floats, and may differ by a step here and there."""
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    prior = library.find_id(bitstream.unpack(data)[0].prior_id)
    weights = np.concatenate(pipeline.read(data, prior).z).astype("<f4")
    assert hashlib.sha256(weights.tobytes()).hexdigest() == RECORDINGS[name]
    decoded, expected = pipeline.decode(data, library.find_id), media.read_signal(GOLDEN / f"{name}.wav")
    assert (decoded.sample_rate, decoded.bit_depth) == (expected.sample_rate, expected.bit_depth)
    assert decoded.samples.shape == expected.samples.shape
    difference = np.abs(decoded.samples - expected.samples) * 2 ** (decoded.bit_depth - 1)
    assert difference.max() <= 4
    assert decoded.bit_depth == 24 or (difference > 0).mean() <= 0.005


@pytest.mark.parametrize("name", sorted(METADATA))
def test_golden_files_give_the_metadata_of_the_day_they_were_written(name):
    found = metadata.read((GOLDEN / f"{name}.cmb").read_bytes())
    parts = {part: getattr(found, part) for part in ("exif", "icc", "xmp")}
    digests = {part: hashlib.sha256(content).hexdigest() for part, content in parts.items() if content}
    assert digests | ({"tags": found.tags} if found.tags else {}) == METADATA[name]
