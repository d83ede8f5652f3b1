"""The lapped transform: undone, orthonormal, of functions of continuous time; segments, channels, noise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.families.lapped import transform
from combiner_cli.families.lapped.encoder import Recording

HOPS = st.integers(1, 8).map(lambda number: 16 * number)


def noise(length, channels=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, length)).astype(np.float32)


@given(st.integers(1, 700), HOPS, st.integers(1, 2), st.integers(0, 99), st.booleans())
@settings(max_examples=30, deadline=None)
def test_synthesis_undoes_analysis(length, hop, channels, seed, short):
    recording = Recording(noise(length, channels, seed), hop, short)
    frames = transform.frame_count(length, hop)
    weights = recording.weights(slice(0, frames))
    assert weights.shape == (channels, frames, hop)
    samples = transform.render([weights], channels, length, hop, hop)
    assert samples == pytest.approx(recording.samples.T, abs=1e-6)
    halves = [recording.weights(slice(0, frames // 2)), recording.weights(slice(frames // 2, frames))]
    assert transform.render(halves, channels, length, hop, hop) == pytest.approx(samples, abs=1e-6)


@pytest.mark.parametrize("hop", [16, 48])
def test_the_features_of_all_frames_are_orthonormal(hop):
    frames = 3
    features = transform.synthesise(np.eye(frames * hop).reshape(-1, frames, hop), hop)
    assert features @ features.T == pytest.approx(np.eye(frames * hop), abs=1e-12)


@given(HOPS)
@settings(max_examples=10, deadline=None)
def test_the_squares_of_windows_that_overlap_sum_to_one(hop):
    shape = transform.window(hop)
    assert shape[:hop] ** 2 + shape[hop:] ** 2 == pytest.approx(np.ones(hop), abs=1e-12)
    assert shape == pytest.approx(shape[::-1])


def values_by_hand(weights, hop, times):
    """The continuous functions at times in hops from the beginning of the second frame."""
    values = np.zeros(len(times))
    for frame, place in np.ndindex(weights.shape):
        t = times - (frame - 1)
        window = np.sin(math.pi / 2 * np.sin(math.pi * t / 2) ** 2) * ((t > 0) & (t < 2))
        values += weights[frame, place] * window * math.sqrt(2 / hop) * np.cos(math.pi * (t + 0.5) * (place + 0.5))
    return values


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_rendering_is_of_functions_of_continuous_time(scale):
    hop, length = 16, 50
    weights = np.random.default_rng(2).normal(size=(1, transform.frame_count(length, hop), hop))
    samples = transform.render([weights], 1, length * scale, hop, hop * scale)[:, 0]
    times = (np.arange(length * scale) + 0.5) / (hop * scale)
    assert samples == pytest.approx(values_by_hand(weights[0], hop, times), abs=1e-5)
    if scale == 1:
        whole = transform.synthesise(weights[0], hop)[hop : hop + length]
        assert samples == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("short", [True, False])
def test_a_recording_goes_on_as_its_mirror_image(short):
    samples = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    weights = Recording(samples, 16, short=short).weights(slice(0, 2))
    mirrored = np.tile([1, 2, 3, 3, 2, 1], 9)[2 : 2 + 48]  # sixteen before, and twenty-nine behind
    assert mirrored[16:19].tolist() == [1, 2, 3]
    assert weights == pytest.approx(transform.analyse(mirrored[None].astype(float), 16), abs=1e-9)


@pytest.mark.parametrize("frames", [1, 2, 511, 512, 513, 1024, 5000])
def test_segments_follow_one_another(frames):
    parts = transform.segments(frames)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == frames
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= 512 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("left", "right", "angle"), [(1, 0, 0), (1, 1, 16), (0, 1, 32), (1, -1, 48), (2, 1, 9)])
def test_the_first_channel_is_turned_to_where_the_energy_is(left, right, angle):
    samples = noise(500).T
    pair = np.concatenate([left * samples, right * samples], axis=1)
    assert transform.principal_angle(pair) == angle
    rotation = transform.rotation(angle)
    assert rotation @ rotation.T == pytest.approx(np.eye(2))
    turned = pair @ rotation.T
    assert (turned[:, 1] ** 2).sum() < 1e-3 * (turned[:, 0] ** 2).sum()


def test_noise_levels_are_eighths_of_an_octave_by_hand():
    assert [transform.noise_deviation(level) for level in (0, 8, 16)] == [1 / 4, 1 / 8, 1 / 16]
    for level in (0, 5, 127):
        assert transform.noise_level_of(transform.noise_deviation(level)) == pytest.approx(level)
