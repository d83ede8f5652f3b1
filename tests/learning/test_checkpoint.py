"""Checkpoints as files: what is written comes back with the same bits, and nothing is half written."""

import math

import numpy as np
import pytest
from support.learned import pyramid_plan

from combiner_cli.errors import OutputError
from combiner_cli.learning import checkpoint
from combiner_cli.learning.checkpoint import CheckpointFile, ResumeState, TrainingState
from combiner_cli.learning.report import Measurement


def some_state():
    tensors = {
        "single": np.array(0.1, dtype=np.float32),
        "halves": np.arange(6, dtype=np.float16).reshape(2, 3),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "labels": np.array([3, -1, 2**40], dtype=np.int64),
    }
    facts = {"costs": [0.1, 1 / 3, 1e-300], "best": None, "beta": math.pi}
    measurements = Measurement(100, 1 / 3, None), Measurement(200, 0.1, 0.2, {"beta": 1 / 7})
    return ResumeState(217, measurements, TrainingState(facts, tensors))


def test_a_state_comes_back_with_the_same_bits(tmp_path):
    file, state = CheckpointFile(tmp_path / "x"), some_state()
    assert file.load("of it") is None
    file.save("of it", state)
    loaded = file.load("of it")
    assert (loaded.done, loaded.measurements) == (217, state.measurements)
    assert loaded.training.facts == state.training.facts
    assert list(loaded.training.tensors) == sorted(state.training.tensors)
    for name, tensor in state.training.tensors.items():
        assert loaded.training.tensors[name].dtype == tensor.dtype
        assert loaded.training.tensors[name].shape == tensor.shape
        assert np.array_equal(loaded.training.tensors[name], tensor)


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    file = CheckpointFile(tmp_path / "x")
    file.save("of it", some_state())
    before = file.path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(file.path), "replace", fail)
    with pytest.raises(OutputError, match=r"cannot be written .*No space left"):
        file.save("of it", ResumeState())
    assert file.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_fingerprint_is_of_family_settings_and_data():
    arrays = [np.arange(6).reshape(2, 3), np.zeros(4)]
    usual = checkpoint.fingerprint("a", pyramid_plan(), arrays)
    assert usual == checkpoint.fingerprint("a", pyramid_plan(), [np.asfortranarray(arrays[0]), arrays[1]])
    others = [
        checkpoint.fingerprint("b", pyramid_plan(), arrays),
        checkpoint.fingerprint("a", pyramid_plan(seed=2), arrays),
        checkpoint.fingerprint("a", pyramid_plan(), [arrays[0].reshape(3, 2), arrays[1]]),
        checkpoint.fingerprint("a", pyramid_plan(), [arrays[0] + 1, arrays[1]]),
        checkpoint.fingerprint("a", pyramid_plan(), arrays[:1]),
    ]
    assert len({usual, *others}) == 6
