"""Patches of a large image in one small one."""

import numpy as np
import pytest

from combiner_cli.signals import patches
from combiner_cli.signals.signal import Signal


def image(height, width, channels=3):
    rows, columns = np.mgrid[:height, :width]
    samples = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=2)[:, :, :channels]
    return Signal("image", samples.astype(np.uint8), None, 8)


def test_parts_fade_into_each_other():
    dark, bright = np.zeros((2, 12, 1), dtype=np.uint8), np.full((2, 10, 1), 160, dtype=np.uint8)
    fading = [10, 30, 50, 70, 90, 110, 130, 150]  # (n + 0.5) / 8 of 160
    assert patches.joined([dark, bright], 1)[:, :, 0].tolist() == [[0] * 4 + fading + [160] * 2] * 2
    upright = patches.joined([dark.swapaxes(0, 1), bright.swapaxes(0, 1)], 0)
    assert (upright == patches.joined([dark, bright], 1).swapaxes(0, 1)).all()


@pytest.mark.parametrize(("height", "width"), [(512, 768), (768, 512), (2000, 3000), (400, 6000)])
def test_a_sample_has_every_share_of_detail_of_a_large_image(height, width):
    whole = image(height, width)
    noise = np.random.default_rng(1).integers(0, 256, whole.samples.shape).astype(np.uint8)
    noise[:, width // 4 :] = 128  # three quarters are grey
    some = patches.sample(Signal("image", noise, None, 8))
    assert 40_000 < some.points < min(0.28 * height * width, 360_000)
    assert 0.15 < (some.samples != 128).mean() < 0.35
    assert patches.sample(whole).shape == some.shape


@pytest.mark.parametrize(("height", "width"), [(1, 100_000), (100, 100), (300, 300), (103, 10_000)])
def test_of_a_small_or_a_narrow_one_there_is_none(height, width):
    assert patches.sample(image(height, width)) is None


def test_alpha_and_depth_stay():
    samples = np.zeros((600, 700, 4), dtype=np.uint16)
    some = patches.sample(Signal("image", samples, None, 16))
    assert some.samples.shape[2] == 4 and some.samples.dtype == np.uint16 and some.bit_depth == 16
