"""What benchmarks of sound rest on: delays undone, Ogg weighed without its pages, the best of many ways."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.signals import tone

from combiner_cli.bench import measures
from combiner_cli.bench.codecs import sounds
from combiner_cli.bench.codecs.baselines import curve_of
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5000),
    st.integers(1, 2),
    st.integers(-sounds.MOST_DELAY, sounds.MOST_DELAY),
    st.floats(0.2, 1),
)
def test_any_delay_is_undone(frames, channels, delay, gain):
    original = np.random.default_rng(frames).uniform(-1, 1, (frames, channels)).astype(np.float32)
    late = np.concatenate([np.zeros((max(delay, 0), channels), np.float32), original[max(-delay, 0) :]])
    aligned = sounds.align(original, np.float32(gain) * late)
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
    aligned = sounds.align(original, decoded)
    assert np.array_equal(aligned[:3000, 0], original[:3000, 0])
    assert np.allclose(aligned[1000:3000, 1], 0.5 * np.roll(original[:, 1], 90 - 700)[1000:3000])


def page(lengths, flags=0):
    """An Ogg page with so many bytes in each segment."""
    return b"OggS" + bytes([0, flags]) + bytes(20) + bytes([len(lengths), *lengths]) + bytes(sum(lengths))


def test_packets_of_ogg_may_go_on_over_pages():
    data = page([30], 2) + page([255, 10, 40, 255]) + page([255, 3, 7], 4)
    # packets of 30, 265, 40, 513 and 7 bytes
    assert sounds.ogg_packet_bytes(data, 0) == 30 + 265 + 40 + 513 + 7
    assert sounds.ogg_packet_bytes(data, 3) == 513 + 7


@pytest.mark.parametrize(("subtype", "around"), [("VORBIS", 3000), ("OPUS", 500)])
def test_packets_are_most_of_a_long_file(subtype, around):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (160000, 1))
    soundfile.write(buffer, noise, 16000, subtype, format="OGG")
    size = len(buffer.getvalue())
    packets = sounds.ogg_packet_bytes(buffer.getvalue(), sounds.OGG_HEADERS[subtype])
    assert 0.95 * (size - around) < packets < size - around


def test_a_codec_keeps_length_rate_and_channels_even_where_it_is_resampled():
    original = tone(20000, 2, 44100)
    for codec in sounds.codecs().values():
        for title, ways in codec.ways.items():
            coded = codec.encode(original, ways[-1])
            decoded = coded.decoded
            assert (decoded.shape, decoded.channels, decoded.sample_rate) == ((20000,), 2, 44100), title
            assert metrics.signal_to_noise(original, decoded) > 20, title
            assert min(len(coded.data), coded.encode_seconds, coded.decode_seconds) > 0
            assert np.array_equal(codec.decode(coded.data, original).samples, decoded.samples)


def test_the_curve_of_a_codec_is_the_best_of_its_ways_at_that_rate_or_less():
    def rows(title, values):
        return [{"codec": title, "kbps": str(rate), "x": str(value)} for rate, value in values]

    found = rows("MP3 constant", [(8, 3.0), (16, 4.0)]) + rows("MP3 average", [(8, 2.0), (16, 5.0)])
    found += rows("MP3 variable", [(32, 6.0), (64, "inf")]) + rows("Opus", [(8, 9.0)])
    for rises, expected in ((True, [3.0, 5.0, 6.0]), (False, [2.0, 2.0, 2.0])):
        measure = measures.Measure("x", "x", lambda one, other: 0.0, rises, lambda value: 10 * value, "")
        ways = ("MP3 constant", "MP3 average", "MP3 variable")
        assert curve_of(found, ways, measure, "kbps") == list(zip([8, 16, 32], expected, strict=True))
    assert curve_of(found, ["Opus"], measure, "kbps", scaled=True) == [(8, 90.0)]


def test_equal_sounds_have_no_spectral_distance_and_halved_ones_6_db():
    noise = np.random.default_rng(0).uniform(-1, 1, (30000, 2)).astype(np.float32)
    original = Signal("sound", noise, 44100, 16)
    assert measures.spectral_distance(original, original) == 0
    halved = Signal("sound", noise / 2, 44100, 16)
    assert measures.spectral_distance(original, halved) == pytest.approx(20 * np.log10(2), abs=0.05)
