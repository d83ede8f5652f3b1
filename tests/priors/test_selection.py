"""Which prior suits a signal and what its file is to be."""

import numpy as np
import pytest

from combiner_cli.errors import PriorError
from combiner_cli.family import Target
from combiner_cli.priors import library, selection
from combiner_cli.signals.signal import Format

SMALL, LARGE = Format("image", (32, 32), 3, 8, None), Format("image", (512, 768), 3, 8, None)
SPEECH, MUSIC = Format("sound", (16000,), 1, 16, 16000), Format("sound", (44100,), 2, 16, 44100)


@pytest.mark.parametrize(
    ("signal_format", "names"),
    [
        (SMALL, ["cifar10-4", "cifar10-5", "cifar10-6"]),
        (Format("image", (1, 1), 1, 8, None), ["cifar10-4", "cifar10-5", "cifar10-6"]),
        (LARGE, ["photo-6"]),
        (SPEECH, ["speech-4"]),
        (Format("sound", (1,), 2, 24, 8000), ["speech-4"]),
        (MUSIC, ["general-1"]),
        (Format("sound", (1,), 1, 16, 192_000), ["general-1"]),
    ],
)
def test_the_priors_nearest_in_size_or_rate_suit(signal_format, names):
    assert [prior.name for prior in selection.suitable_priors(signal_format)] == names


@pytest.mark.parametrize("signal_format", [SMALL, LARGE, SPEECH, MUSIC])
def test_the_rate_rises_with_the_quality(signal_format):
    chosen = [selection.choose(signal_format, Target("quality", quality)) for quality in range(1, 11)]
    assert all(prior.kind == signal_format.kind and target.unit == "rate" for prior, target in chosen)
    assert (np.diff([target.value for _, target in chosen]) > 0).all()


def test_a_size_takes_the_prior_of_that_rate():
    names = [selection.choose(SMALL, Target("size", size))[0].name for size in (40, 90, 200, 400)]
    assert names == ["cifar10-4", "cifar10-4", "cifar10-5", "cifar10-6"]


def test_a_psnr_takes_the_prior_that_was_learned_for_it():
    names = [selection.choose(SMALL, Target("psnr", psnr))[0].name for psnr in (20.0, 30.0, 40.0)]
    assert names == ["cifar10-4", "cifar10-5", "cifar10-6"]
    assert selection.choose(LARGE, Target("psnr", 35.0)) == (
        library.load_shipped(library.path_of("photo-6")),
        Target("psnr", 35.0),
    )


def test_without_any_prior_for_the_kind_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
    with pytest.raises(PriorError, match="no prior for images is installed; name one with --prior"):
        selection.suitable_priors(SMALL)
