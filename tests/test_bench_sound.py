"""What the benchmarks of sound rest on: delays undone, Ogg weighed without its pages, the best of many ways."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli import metrics
from combiner_cli.signals import Signal

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import music
import sound


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 2), st.integers(-sound.MOST_DELAY, sound.MOST_DELAY), st.floats(0.2, 1))
def test_any_delay_is_undone(frames, channels, delay, gain):
    original = np.random.default_rng(frames).uniform(-1, 1, (frames, channels)).astype(np.float32)
    late = np.concatenate([np.zeros((max(delay, 0), channels), np.float32), original[max(-delay, 0) :]])
    aligned = sound.align(original, np.float32(gain) * late)
    missing = min(max(-delay, 0), frames)  # what the decoder did not return at the beginning
    expected = np.float32(gain) * original
    expected[:missing] = 0
    assert aligned.shape == original.shape
    if not missing:
        assert np.allclose(aligned, expected, atol=1e-6)
    # a few samples that are left may happen to fit better elsewhere
    errors = [float(np.square(original - own, dtype=np.float64).sum()) for own in (aligned, expected)]
    assert errors[0] <= errors[1] + 1e-4


def test_the_channels_of_a_sound_are_shifted_alike():
    original = np.random.default_rng(0).uniform(-1, 1, (4000, 2)).astype(np.float32)
    decoded = np.column_stack([np.roll(original[:, 0], 700), 0.5 * np.roll(original[:, 1], 90)])
    aligned = sound.align(original, decoded)
    assert np.array_equal(aligned[:3000, 0], original[:3000, 0])
    assert np.allclose(aligned[1000:3000, 1], 0.5 * np.roll(original[:, 1], 90 - 700)[1000:3000])


def page(lengths, flags=0):
    """An Ogg page with so many bytes in each segment."""
    return b"OggS" + bytes([0, flags]) + bytes(20) + bytes([len(lengths), *lengths]) + bytes(sum(lengths))


def test_packets_of_ogg_may_go_on_over_pages():
    data = page([30], 2) + page([255, 10, 40, 255]) + page([255, 3, 7], 4)
    # packets of 30, 265, 40, 513 and 7 bytes
    assert sound.ogg_packet_bytes(data, 0) == 30 + 265 + 40 + 513 + 7
    assert sound.ogg_packet_bytes(data, 3) == 513 + 7


@pytest.mark.parametrize(("subtype", "around"), [("VORBIS", 3000), ("OPUS", 500)])
def test_packets_are_most_of_a_long_file(subtype, around):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (160000, 1))
    soundfile.write(buffer, noise, 16000, subtype, format="OGG")
    size = len(buffer.getvalue())
    packets = sound.ogg_packet_bytes(buffer.getvalue(), sound.OGG_HEADERS[subtype])
    assert 0.95 * (size - around) < packets < size - around


def test_a_codec_keeps_length_rate_and_channels_even_where_it_is_resampled():
    original = tone(20000, 2, 44100)
    for title, ways in sound.SETTINGS.items():
        data, decoded, encode_seconds, decode_seconds = sound.code(original, ways[-1])
        assert (decoded.shape, decoded.channels, decoded.sample_rate) == ((20000,), 2, 44100), title
        assert metrics.signal_to_noise(original, decoded) > 20, title
        assert min(len(data), encode_seconds, decode_seconds) > 0


def test_the_curve_of_a_codec_is_the_best_of_its_ways_at_that_rate_or_less():
    def rows(title, values):
        return [{"codec": title, "kbps": str(rate), "x": str(value)} for rate, value in values]

    baselines = rows("MP3 constant", [(8, 3.0), (16, 4.0)]) + rows("MP3 average", [(8, 2.0), (16, 5.0)])
    baselines += rows("MP3 variable", [(32, 6.0)])
    for rises, expected in ((True, [3.0, 5.0, 6.0]), (False, [2.0, 2.0, 2.0])):
        measure = sound.Measure("x", "x", lambda one, other: 0.0, rises, float, "")
        assert sound.family_of_measure(baselines, "MP3", measure) == list(zip([8, 16, 32], expected, strict=True))


def test_equal_sounds_have_no_spectral_distance_and_halved_ones_6_db():
    noise = np.random.default_rng(0).uniform(-1, 1, (30000, 2)).astype(np.float32)
    original = Signal("sound", noise, 44100, 16)
    assert music.spectral_distance(original, original) == 0
    halved = Signal("sound", noise / 2, 44100, 16)
    assert music.spectral_distance(original, halved) == pytest.approx(20 * np.log10(2), abs=0.05)
