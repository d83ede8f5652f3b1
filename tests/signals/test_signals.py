"""Tiles and values: every sample is accounted for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.errors import InputError
from combiner_cli.signals import signal as signals
from combiner_cli.signals.signal import Signal

SIZES = st.tuples(st.integers(1, 21), st.integers(1, 21))


@given(SIZES, st.integers(1, 4), st.sampled_from([(4, 4), (8, 8), (5, 3)]))
def test_join_undoes_split_for_images(shape, channels, extent):
    values = np.random.default_rng(0).normal(size=(*shape, channels))
    layout = signals.tiling(shape, channels, extent, 3)
    tiles = signals.split(values, layout)
    assert tiles.shape == (layout.tiles, 3, extent[0] * extent[1])
    assert np.allclose(signals.join(tiles, layout), values, atol=1e-12)


@given(st.integers(1, 300), st.integers(1, 2))
def test_join_undoes_split_for_sounds(frames, channels):
    values = np.random.default_rng(0).normal(size=(frames, channels))
    layout = signals.tiling((frames,), channels, (64,), 1)
    assert np.array_equal(signals.join(signals.split(values, layout), layout), values)


@given(SIZES)
def test_coverage_counts_the_samples_inside(shape):
    layout = signals.tiling(shape, 4, (4, 4), 3)
    inside = signals.coverage(layout)
    assert len(inside) == layout.tiles
    assert inside.sum() == 2 * shape[0] * shape[1]  # the colours and the alpha
    assert inside.min() >= 1


def test_channels_are_dealt_into_planes():
    assert signals.tiling((8, 8), 1, (8, 8), 3).planes == ((0, 0, 0),)
    assert signals.tiling((8, 8), 2, (8, 8), 3).planes == ((0, 0, 0), (1, 1, 1))
    assert signals.tiling((8, 8), 3, (8, 8), 3).planes == ((0, 1, 2),)
    assert signals.tiling((8, 8), 4, (8, 8), 3).planes == ((0, 1, 2), (3, 3, 3))
    assert signals.tiling((8,), 2, (8,), 1).planes == ((0,), (1,))


def test_tiles_lie_in_row_major_order():
    values = np.arange(16.0).reshape(4, 4, 1)
    tiles = signals.split(values, signals.tiling((4, 4), 1, (2, 2), 1))
    assert tiles[:, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_coordinates_are_sample_centres_at_any_scale():
    assert signals.coordinates((2,)).tolist() == [[-0.5, 0.5]]
    assert signals.coordinates((1,), 4).tolist() == [[-0.75, -0.25, 0.25, 0.75]]
    grid = signals.coordinates((2, 3))
    assert grid.shape == (2, 6)
    assert grid[0].tolist() == [-0.5] * 3 + [0.5] * 3


@pytest.mark.parametrize(("depth", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_image_values_span_minus_one_to_one_and_come_back(depth, kind):
    samples = np.array([[[0], [1], [2**depth - 1]]], dtype=kind)
    signal = Signal("image", samples, None, depth)
    values = signals.to_values(signal)
    assert values.min() == -1
    assert values.max() == 1
    assert np.array_equal(signals.from_values(values, "image", None, depth).samples, samples)


def test_values_out_of_range_are_clipped_and_sounds_rounded_to_their_steps():
    image = signals.from_values(np.array([[[-7.0], [7.0]]]), "image", None, 8)
    assert image.samples.ravel().tolist() == [0, 255]
    sound = signals.from_values(np.array([[-2.0], [2.0], [0.3]]), "sound", 8000, 16)
    assert sound.samples[0, 0] == -1
    assert sound.samples[1, 0] == np.float32(32767 / 32768)
    assert sound.samples[2, 0] * 32768 == round(0.3 * 32768)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("image", np.zeros((0, 4, 3), np.uint8)), "empty"),
        (("image", np.zeros((2, 2), np.uint8)), "cannot have samples of shape"),
        (("image", np.zeros((2, 2, 5), np.uint8)), "cannot have samples of shape"),
        (("image", np.zeros((2, 2, 3), np.float32)), "cannot have samples of type"),
        (("sound", np.zeros((4, 3), np.float32), 8000, 16), "cannot have samples of shape"),
        (("sound", np.zeros((4, 1), np.float32), None, 16), "sample rate"),
        (("sound", np.array([[0.0], [np.nan]], np.float32), 8000, 16), "NaN"),
        (("sound", np.array([[0.0], [np.inf]], np.float32), 8000, 24), "NaN or infinite"),
        (("sound", np.zeros((4, 1), np.float32), 8000, 12), "bits per sample"),
    ],
)
def test_impossible_signals_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Signal(*arguments)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        signals.from_values(np.array([[np.nan]]), "sound", 8000, 16)


@given(st.integers(1, 3000), st.integers(1, 2), st.sampled_from([8000, 16000, 22050, 44100, 48000, 96000]))
def test_a_sound_at_another_rate_lasts_as_long(frames, channels, rate):
    values = np.random.default_rng(frames).uniform(-1, 1, (frames, channels)).astype(np.float32)
    sound = Signal("sound", values, 16000, 16)
    again = signals.at_rate(sound, rate)
    assert again.shape == ((2 * frames * rate + 16000) // 32000,)  # rounded, halves up
    assert (again.channels, again.sample_rate, again.bit_depth) == (channels, rate, 16)
    assert np.array_equal(again.samples * 2**15, np.rint(again.samples * 2**15))
    assert np.abs(again.samples).max() <= 1


def test_a_sound_always_has_a_sample():
    sound = Signal("sound", np.full((3, 1), 0.25, np.float32), 16000, 16)
    assert signals.at_rate(sound, 100).shape == (1,)


@pytest.mark.parametrize("rate", [11025, 44100, 48000])
def test_a_tone_stays_the_same_tone_at_another_rate(rate):
    def tone(rate):
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[:, None]

    sound = Signal("sound", tone(16000).astype(np.float32), 16000, 24)
    inner = slice(rate // 10, -rate // 10)  # a resampler rings where a tone begins and ends
    assert np.abs(signals.at_rate(sound, rate).samples - tone(rate))[inner].max() < 1e-4


def test_a_sound_is_rounded_in_place_where_that_is_allowed():
    values = np.random.default_rng(1).normal(0, 0.5, (70000, 2)).astype(np.float32)
    usual = signals.from_values(values, "sound", 8000, 16)
    assert not np.shares_memory(usual.samples, values)
    own = values.copy()
    found = signals.from_values(own, "sound", 8000, 16, in_place=True)
    assert found.samples is own
    assert np.array_equal(found.samples, usual.samples)
    values[-1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        signals.from_values(values, "sound", 8000, 16)
    as_double = values[:5].astype(np.float64)
    assert not np.shares_memory(signals.from_values(as_double, "sound", 8000, 16, in_place=True).samples, as_double)
