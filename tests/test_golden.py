"""Files of the format decode to the same latents on every machine, and to the same samples."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.families import registry
from combiner_cli.family import View
from combiner_cli.media import files as media
from combiner_cli.priors import library

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = json.loads((GOLDEN / "digests.json").read_text())
RECORDINGS = json.loads((GOLDEN / "recordings.json").read_text())
LATENTS = json.loads((GOLDEN / "latents.json").read_text())
METADATA = json.loads((GOLDEN / "metadata.json").read_text())


def _module(name):
    """A script beside the golden files."""
    specification = importlib.util.spec_from_file_location(f"golden_{name}", GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


add = _module("add")


@pytest.fixture(autouse=True)
def golden_priors(monkeypatch):
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(GOLDEN))


def parsed(name):
    return File.parse((GOLDEN / f"{name}.cmb").read_bytes())


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_files_decode_to_the_samples_of_the_day_they_were_written(name):
    samples, expected = pipeline.decode(parsed(name), library.find_id).samples, DIGESTS[name]
    assert list(samples.shape) == expected["shape"]
    assert str(samples.dtype) == expected["type"]
    assert add.digest_of_samples(samples) == expected["sha256"]


@pytest.mark.parametrize("name", sorted(LATENTS))
def test_golden_files_name_the_latents_of_the_day_they_were_added(name):
    file = parsed(name)
    decoded = library.find_id(file.prior_id).decode(file, View(keep_latents=True))
    assert add.digest_of_latents(decoded.latents) == LATENTS[name]


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_golden_recordings_decode_to_the_sound_of_the_day_they_were_written(name):
    sound, expected = pipeline.decode(parsed(name), library.find_id), media.read_signal(GOLDEN / f"{name}.wav")
    assert RECORDINGS[name] == LATENTS[name]
    assert sound.format == expected.format
    # the sums of a transform may be taken in another order
    steps = np.abs(sound.samples - expected.samples) * 2 ** (sound.bit_depth - 1)
    assert steps.max() <= 4
    assert sound.bit_depth == 24 or (steps > 0).mean() <= 0.005


@pytest.mark.parametrize("name", sorted(METADATA))
def test_golden_files_keep_their_metadata(name):
    assert add.words_of_metadata(parsed(name).metadata) == METADATA[name]


def test_every_golden_file_is_decoded():
    files = {path.stem for path in GOLDEN.glob("*.cmb")}
    assert files == set(LATENTS) == set(DIGESTS) | set(RECORDINGS)
    assert not set(DIGESTS) & set(RECORDINGS)
    assert {name for name in files if parsed(name).metadata} == set(METADATA)


def test_golden_files_are_of_every_family_and_every_form():
    formats = {name: parsed(name).format for name in LATENTS}
    priors = {name: library.find_id(parsed(name).prior_id) for name in LATENTS}
    assert {prior.family.name for prior in priors.values()} == set(registry.names())
    forms = {(signal.kind, signal.channels, signal.bit_depth) for signal in formats.values()}
    assert {("image", channels, 8) for channels in (1, 2, 3, 4)} | {("image", 1, 16), ("image", 3, 16)} <= forms
    assert {("sound", 1, 16), ("sound", 2, 16), ("sound", 1, 24), ("sound", 2, 24)} <= forms
    assert {(1, 1), (1,)} <= {signal.shape for signal in formats.values()}
    assert {path.stem for path in library.shipped()} <= {prior.name for prior in priors.values()}


def test_a_golden_file_is_never_written_anew(tmp_path):
    """The script that adds one refuses whatever is there, and writes down what the tests check."""
    for name in ("photo-8-pixel", "speech-5"):
        add.add(name, GOLDEN / f"{name}.cmb", folder=tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(SystemExit, match="never written anew"):
            add.add(name, GOLDEN / "photo-8.cmb", folder=tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert json.loads((tmp_path / "latents.json").read_text())["speech-5"] == LATENTS["speech-5"]
    assert json.loads((tmp_path / "digests.json").read_text())["photo-8-pixel"] == DIGESTS["photo-8-pixel"]
