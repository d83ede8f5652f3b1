"""Files that earlier programs wrote decode to the same samples for ever."""

import hashlib
import json
from pathlib import Path

import pytest

from combiner_cli import codec, priors

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = json.loads((GOLDEN / "digests.json").read_text())


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
    assert shipped == first | mixtures | pyramids
    assert older == {"photo-5"}
    assert shipped | older <= set(DIGESTS)
