"""The device behind a name."""

import pytest
import torch

from combiner_cli.errors import UsageError
from combiner_cli.system.device import NAMES, choose_device


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto") == device
        assert choose_device("cpu") == "cpu"
    assert NAMES == ("auto", "cpu", "cuda")


def test_devices_that_are_not_there_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="there is no device abacus; choose auto, cpu or cuda"):
        choose_device("abacus")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("cuda") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device is available here; choose --device cpu"):
        choose_device("cuda")
