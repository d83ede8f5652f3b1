"""Small pictures in files of exactly a size."""

import re

import numpy as np
import pytest

import combiner_cli as combiner
from combiner_cli.errors import UsageError
from combiner_cli.signals.signal import Signal


def discs(seed, side=32):
    """Three discs before a smooth ground, with a little noise."""
    dice = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    ground = [
        128 + 60 * np.sin(3 * columns + dice.uniform(0, 6)) + 40 * np.cos(4 * rows + dice.uniform(0, 6))
        for _ in range(3)
    ]
    picture = np.stack(ground, axis=2)
    for _ in range(3):
        row, column, radius = *dice.uniform(0.2, 0.8, 2), dice.uniform(0.1, 0.3)
        picture[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = dice.uniform(0, 255, 3)
    return Signal("image", np.clip(picture + dice.normal(0, 4, picture.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("seed", [2, 4])
def test_a_larger_file_is_better_also_where_there_is_hardly_room(seed):
    """What cannot be left out at the noise level that was expected to be the best may leave no room for the rest."""
    picture, psnrs = discs(seed), []
    for size in range(100, 225, 25):
        result = combiner.encode(picture, size=size, tune="psnr", prior="photo-8")
        assert len(result.data) == size
        psnrs.append(combiner.psnr(picture, result.decoded))
    assert psnrs[0] > 21
    assert (np.diff(psnrs) > -0.3).all() and psnrs[-1] > psnrs[0] + 3


def test_a_size_that_is_refused_is_refused_with_the_least_that_will_do():
    """That is one without a shape of the noise, which the usual tune has where there is room."""
    picture = discs(1, 64)
    with pytest.raises(UsageError, match="ask for more than 5") as refusal:
        combiner.encode(picture, size=5, prior="photo-8")
    (least,) = map(int, re.findall(r"takes (\d+) bytes", str(refusal.value)))
    result = combiner.encode(picture, size=least, prior="photo-8")
    assert len(result.data) == least and not combiner.inspect(result.data).noise_shape
    with pytest.raises(UsageError, match=f"takes {least} bytes"):
        combiner.encode(picture, size=least - 1, prior="photo-8")
