"""Sounds to files and back: exactness, bit depths, and refusals instead of silent losses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.media_files import float_wave, floats, from_bytes, sound_signal

from combiner_cli.errors import InputError
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

LOSSLESS_SOUNDS = [".wav", ".flac", ".aif", ".aiff", ".au", ".caf"]


@pytest.mark.parametrize("suffix", LOSSLESS_SOUNDS)
@pytest.mark.parametrize("bit_depth", [16, 24])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 1000, 2**16 + 3])
def test_integers_of_sounds_are_exact(tmp_path: Path, suffix: str, bit_depth: int, channels: int, frames: int) -> None:
    highest = 2 ** (bit_depth - 1)
    generator = np.random.default_rng(frames)
    integers = generator.integers(-highest, highest, (frames, channels))
    integers[0] = -highest
    integers[-1] = highest - 1
    signal = sound_signal(integers, bit_depth, 22050)
    path = tmp_path / f"sound{suffix}"
    media.write_signal(signal, path)
    assert soundfile.info(path).subtype == f"PCM_{bit_depth}"
    stored, sample_rate = soundfile.read(path, dtype="int32", always_2d=True)
    assert sample_rate == 22050
    assert np.array_equal(stored >> (32 - bit_depth), integers)
    assert not (stored & (2 ** (32 - bit_depth) - 1)).any()
    returned = media.read_signal(path)
    assert (returned.kind, returned.bit_depth, returned.sample_rate) == ("sound", bit_depth, 22050)
    assert returned.samples.dtype == np.float32
    assert np.array_equal(returned.samples, signal.samples)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (17, 1), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([16, 24]),
    st.sampled_from([".wav", ".flac"]),
)
def test_samples_between_steps_are_rounded(
    tmp_path_factory: pytest.TempPathFactory, samples: npt.NDArray[np.float32], bit_depth: int, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("sound") / f"sound{suffix}"
    media.write_signal(Signal("sound", samples, 8000, bit_depth), path)
    stored, _ = soundfile.read(path, dtype="int32", always_2d=True)
    steps = 2 ** (bit_depth - 1)
    expected = [min(round(float(sample) * steps), steps - 1) for sample in samples[:, 0]]
    assert (stored[:, 0] >> (32 - bit_depth)).tolist() == expected


@pytest.mark.parametrize(
    ("container", "subtype", "bit_depth"),
    [
        ("WAV", "PCM_U8", 16),
        ("WAV", "PCM_16", 16),
        ("WAV", "PCM_24", 24),
        ("WAV", "PCM_32", 24),
        ("WAV", "FLOAT", 24),
        ("WAV", "DOUBLE", 24),
        ("WAV", "ULAW", 16),
        ("CAF", "ALAC_20", 24),
        ("FLAC", "PCM_S8", 16),
        ("OGG", "VORBIS", 16),
        ("MP3", "MPEG_LAYER_III", 16),
    ],
)
def test_bit_depths_that_are_read(tmp_path: Path, container: str, subtype: str, bit_depth: int) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.25 * np.sin(np.arange(4000) / 20), 16000, subtype, format=container)
    signal = from_bytes(buffer.getvalue(), tmp_path)
    assert (signal.bit_depth, signal.sample_rate, signal.samples.shape) == (bit_depth, 16000, (4000, 1))


@pytest.mark.parametrize(
    ("suffix", "sample_rate"), [(".ogg", 44100), (".oga", 8000), (".opus", 48000), (".mp3", 44100)]
)
@pytest.mark.parametrize("bit_depth", [16, 24])
def test_lossy_sounds_come_close(tmp_path: Path, suffix: str, sample_rate: int, bit_depth: int) -> None:
    wave = 0.25 * np.sin(np.arange(sample_rate) * (2 * np.pi * 440 / sample_rate))
    samples = np.column_stack([wave, -wave]).astype(np.float32)
    media.write_signal(Signal("sound", samples, sample_rate, bit_depth), tmp_path / f"sound{suffix}")
    returned = media.read_signal(tmp_path / f"sound{suffix}")
    assert (returned.sample_rate, returned.bit_depth) == (sample_rate, 16)
    assert returned.samples.shape == samples.shape
    error = floats(returned) - samples
    assert np.mean(error**2) < 0.02 * np.mean(samples**2)


def test_minutes_of_vorbis_do_not_overflow_the_stack(tmp_path: Path) -> None:
    frames = 10 * 60 * 8000
    media.write_signal(sound_signal(np.zeros((frames, 1)), sample_rate=8000), tmp_path / "sound.ogg")
    assert soundfile.info(tmp_path / "sound.ogg").frames == frames


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((4, 3)), "input has 3 channels; mix it down to 1 or 2 first, or split it"),
        (np.zeros((0, 2)), "input holds no samples; give a sound of at least one"),
        (
            [0.0] * 2000 + [np.nan, 0.0, np.nan],
            r"input holds NaN at 0\.25 s \(sample 2000 of channel 1\), 2 such samples in all; repair it first",
        ),
        ([[0.0, 0.0], [0.5, -np.inf]], r"an infinite sample at 0\.000125 s \(sample 1 of channel 2\), 1 such"),
        ([0.0, -1.25], r"input has samples beyond full scale \(peak 1\.25\); normalise it first"),
    ],
)
def test_sounds_that_are_refused(tmp_path: Path, samples: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_bytes(float_wave(samples), tmp_path)


def test_full_scale_is_not_beyond_full_scale(tmp_path: Path) -> None:
    signal = from_bytes(float_wave([1.0, -1.0, 0.1]), tmp_path)
    assert signal.samples[:, 0].tolist() == [1.0, -1.0, float(np.float32(0.1))]
    media.write_signal(signal, tmp_path / "sound.wav")
    stored, _ = soundfile.read(tmp_path / "sound.wav", dtype="int32")
    assert (stored >> 8).tolist() == [2**23 - 1, -(2**23), round(float(np.float32(0.1)) * 2**23)]


def loud_vorbis() -> bytes:
    """A file of full-scale steps, of which the decoder makes samples beyond full scale."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sign(np.sin(np.arange(16000) / 40)), 16000, "VORBIS", format="OGG")
    return buffer.getvalue()


def test_a_lossy_sound_beyond_full_scale_is_clipped_if_somebody_is_told(tmp_path: Path) -> None:
    (tmp_path / "loud.ogg").write_bytes(loud_vorbis())
    exact, _ = soundfile.read(tmp_path / "loud.ogg", dtype="float32", always_2d=True)
    beyond = int((np.abs(exact) > 1).sum())
    assert beyond > 0
    notes: list[str] = []
    signal = media.read_signal(tmp_path / "loud.ogg", notes.append)
    assert np.array_equal(signal.samples, exact.clip(-1, 1))
    (note,) = notes
    assert note.startswith(f"{tmp_path / 'loud.ogg'} has {beyond:,} samples beyond full scale (peak 1.")
    with pytest.raises(InputError, match="normalise it first"):
        media.read_signal(tmp_path / "loud.ogg")


def test_a_lossless_sound_beyond_full_scale_is_refused_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "loud.wav").write_bytes(float_wave([0.0, 1.5]))
    notes: list[str] = []
    with pytest.raises(InputError, match="normalise it first"):
        media.read_signal(tmp_path / "loud.wav", notes.append)
    assert notes == []


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000) | st.just(2**16 + 1),
    st.integers(1, 2),
    st.sampled_from([16, 24]),
    st.sampled_from([".wav", ".flac"]),
    st.sampled_from([8000, 11025, 16000, 44100, 48000, 96000]),
    st.integers(0, 2**32 - 1),
)
def test_sounds_of_any_length_come_back_whole(
    tmp_path_factory: pytest.TempPathFactory,
    frames: int,
    channels: int,
    bit_depth: int,
    suffix: str,
    rate: int,
    seed: int,
) -> None:
    highest = 2 ** (bit_depth - 1)
    integers = np.random.default_rng(seed).integers(-highest, highest, (frames, channels))
    signal = sound_signal(integers, bit_depth, rate)
    path = tmp_path_factory.getbasetemp() / f"whole{suffix}"
    media.write_signal(signal, path)
    returned = media.read_signal(path)
    assert (returned.shape, returned.channels) == ((frames,), channels)
    assert (returned.sample_rate, returned.bit_depth) == (rate, bit_depth)
    assert np.array_equal(returned.samples, signal.samples)
