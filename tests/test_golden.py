"""Files that earlier programs wrote decode to the same samples for ever."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from combiner_cli import bitstream, codec, media, metadata, priors

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = json.loads((GOLDEN / "digests.json").read_text())
RECORDINGS = json.loads((GOLDEN / "recordings.json").read_text())
METADATA = json.loads((GOLDEN / "metadata.json").read_text())


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_files_decode_to_the_samples_of_the_day_they_were_written(name, monkeypatch):
    monkeypatch.setenv("COMBINER_PRIORS", str(GOLDEN))
    samples = codec.decode((GOLDEN / f"{name}.cmb").read_bytes(), priors.find_id).samples
    expected = DIGESTS[name]
    assert list(samples.shape) == expected["shape"]
    assert str(samples.dtype) == expected["type"]
    assert hashlib.sha256(samples.astype(samples.dtype.newbyteorder("<")).tobytes()).hexdigest() == expected["sha256"]


def test_there_is_a_golden_file_of_every_shipped_prior():
    shipped = {path.stem for path in priors.shipped_folder().glob("*.safetensors")}
    first = {"cifar10-1", "cifar10-2", "cifar10-3", "photo-1", "photo-2", "speech-1"}
    mixtures = {"cifar10-4", "cifar10-5", "cifar10-6", "photo-3", "photo-4", "speech-2", "speech-3"}
    pyramids = {"photo-6"}
    older = {path.stem for path in (priors.shipped_folder() / "older").glob("*.safetensors")}
    lapped = {"speech-4", "general-1"}
    assert shipped == first | mixtures | pyramids | lapped
    assert older == {"photo-5"}
    assert shipped | older <= set(DIGESTS) | set(RECORDINGS)


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_golden_recordings_decode_to_the_weights_and_the_sound_of_the_day_they_were_written(name):
    """Weights are the same for ever; samples are made of floats, and may differ by a step here and there."""
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    prior = priors.find_id(bitstream.unpack(data)[0].prior_id)
    weights = np.concatenate(codec.read(data, prior).z).astype("<f4")
    assert hashlib.sha256(weights.tobytes()).hexdigest() == RECORDINGS[name]
    decoded, expected = codec.decode(data, priors.find_id), media.read_signal(GOLDEN / f"{name}.wav")
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
