"""Sound files that are cut off, and those whose headers do not know how long they are."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.media_files import Samples, from_bytes, sound_file, sound_signal

from combiner_cli.errors import InputError
from combiner_cli.media import files as media

TRUNCATED = r"is cut off: |is damaged or cut off |cannot be decoded to its end|ends after \d+ of 48000 frames|neither"


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_truncated_sounds_are_refused(tmp_path: Path, container: str, subtype: str) -> None:
    content = sound_file(container, subtype)
    assert from_bytes(content, tmp_path).points >= 48000  # ADPCM fills its last block
    for kept in (len(content) - 1, len(content) - 3000, len(content) * 2 // 3, len(content) // 9, 100):
        with pytest.raises(InputError, match=TRUNCATED):
            from_bytes(content[:kept], tmp_path)


def test_an_ogg_file_that_ends_with_a_page_that_is_not_its_last_is_refused(tmp_path: Path) -> None:
    content = sound_file("OGG", "VORBIS")
    with pytest.raises(InputError, match="input is cut off: its last page is missing; restore it from its source"):
        from_bytes(content[: content.rindex(b"OggS")], tmp_path)


@pytest.mark.parametrize(("order", "header"), [("<", b"RIFF"), (">", b"RIFX")])
def test_a_cut_wave_file_says_how_much_is_there(tmp_path: Path, order: str, header: bytes) -> None:
    form = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    odd = struct.pack(f"{order}4sI", b"note", 3) + b"abc\0"  # chunks of odd sizes are padded
    samples = struct.pack(f"{order}4sI8h", b"data", 16, *range(8))
    content = struct.pack(f"{order}4sI4s", header, 4 + len(form + odd + samples), b"WAVE") + form + odd + samples
    assert (from_bytes(content, tmp_path).samples[:, 0] * 2**15).tolist() == list(range(8))
    with pytest.raises(InputError, match=r"input is cut off: 67 of 72 bytes are there; restore it from its source"):
        from_bytes(content[:67], tmp_path)


@pytest.mark.parametrize("size", [2**32 - 1, 0x7FFFF000])
def test_wave_files_of_unknown_length_are_read_to_their_end(tmp_path: Path, size: int) -> None:
    """As programs that write to a pipe make them."""
    content = bytearray(sound_file("WAV", "PCM_16"))
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    assert from_bytes(bytes(content), tmp_path).shape == (48000,)


def test_a_sample_rate_of_zero_is_refused(tmp_path: Path) -> None:
    content = bytearray(sound_file("WAV", "PCM_16"))
    content[24:28] = bytes(4)
    with pytest.raises(InputError, match="input has a sample rate of zero, or no channels, by its header"):
        from_bytes(bytes(content), tmp_path)


def test_a_header_that_declares_too_many_frames_is_refused(tmp_path: Path) -> None:
    media.write_signal(sound_signal(np.zeros((100, 1))), tmp_path / "sound.flac")
    content = bytearray((tmp_path / "sound.flac").read_bytes())
    content[8 + 13] |= 0x0F  # the highest bits of the number of frames, which counts 2**36 - 1 then
    content[8 + 14 : 8 + 18] = b"\xff" * 4
    with pytest.raises(InputError, match=r"cannot be decoded to its end|ends after"):
        from_bytes(bytes(content), tmp_path)


def test_a_seek_before_the_start_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    media.write_signal(sound_signal(np.zeros((50, 2))), tmp_path / "sound.aiff")
    content = (tmp_path / "sound.aiff").read_bytes()
    with pytest.raises(InputError, match="neither an image nor a sound"):
        from_bytes(content.replace(b"SSND", b"\0SND"), tmp_path)
    assert printed == []


# Writers to a pipe, which do not know how long the sound will be


def wave(frames: int, bit_depth: int = 16, channels: int = 1) -> tuple[bytes, Samples]:
    """A WAV file and its samples."""
    highest = 2 ** (bit_depth - 1)
    integers = np.random.default_rng(frames).integers(-highest, highest, (frames, channels))
    signal = sound_signal(integers, bit_depth, 48000)
    return media.signal_bytes(signal, ".wav"), signal.samples


def with_sizes(content: bytes, data_size: int, riff_size: int) -> bytes:
    place = content.index(b"data") + 4
    changed = content[:4] + riff_size.to_bytes(4, "little") + content[8:place] + data_size.to_bytes(4, "little")
    return changed + content[place + 4 :]


@pytest.mark.parametrize("riff_size", [0, 36, 0x7FFFF023, 2**32 - 1])
@pytest.mark.parametrize(
    ("data_size", "bit_depth", "channels"),
    [
        (0x7FFFEFFF, 24, 1),  # SoX: a whole number of frames
        (0x7FFFEFFC, 24, 2),
        (0x7FFFF000, 16, 1),
        (0x7FFFFFFF, 16, 2),
        (2**32 - 1, 24, 2),
    ],
)
def test_waves_from_a_pipe_are_read_to_their_end(data_size: int, bit_depth: int, channels: int, riff_size: int) -> None:
    content, samples = wave(1001, bit_depth, channels)
    signal = media.read_signal_bytes(with_sizes(content, data_size, riff_size), Path("input"), pytest.fail)
    assert signal.bit_depth == bit_depth
    assert np.array_equal(signal.samples, samples)


@pytest.mark.parametrize("riff_size", [0, 36, 2**32 - 1])
def test_a_wave_without_samples_by_its_header_is_read_with_a_note(riff_size: int) -> None:
    content, samples = wave(1000)
    notes: list[str] = []
    signal = media.read_signal_bytes(with_sizes(content, 0, riff_size), Path("input"), notes.append)
    assert np.array_equal(signal.samples, samples)
    assert notes == ["input has no samples by its header; the 2,000 bytes behind it are read as samples"]


@pytest.mark.parametrize("behind", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO", b"\0"])
def test_a_wave_of_nothing_but_its_header_holds_no_samples(behind: bytes) -> None:
    content = with_sizes(wave(1)[0][:-2] + behind, 0, 36 + len(behind))
    with pytest.raises(InputError, match="input holds no samples"):
        media.read_signal_bytes(content, Path("input"), pytest.fail)


def test_a_wave_from_a_pipe_that_ends_within_a_frame_is_told() -> None:
    content, samples = wave(100, 24, 2)
    notes: list[str] = []
    signal = media.read_signal_bytes(with_sizes(content, 2**32 - 1, 0)[:-2], Path("input"), notes.append)
    assert np.array_equal(signal.samples, samples[:-1])
    assert notes == ["input ends within a frame, which is left out; it may be cut off"]


def test_a_wave_that_says_less_than_a_pipe_would_is_cut_off() -> None:
    content, _ = wave(100, 24, 2)
    with pytest.raises(InputError, match=r"input is cut off: .* of 2,147,479,5\d\d bytes are there"):
        media.read_signal_bytes(with_sizes(content, 0x7FFFEFFA - 6, 0), Path("input"))


def without_total(content: bytes) -> bytes:
    """A FLAC file as it is written to a pipe: with 0 samples, and no sum of them."""
    return content[:21] + bytes([content[21] & 0xF0]) + bytes(20) + content[42:]


@pytest.mark.parametrize("frames", [1, 100, 4096, 4097, 600_000, 4096 * 130])
@pytest.mark.parametrize(("channels", "bit_depth"), [(1, 16), (2, 16), (2, 24)])
def test_flac_of_unknown_length_is_read(frames: int, channels: int, bit_depth: int) -> None:
    integers = np.random.default_rng(frames).integers(-500, 500, (frames, channels))
    signal = sound_signal(integers, bit_depth, 44100)
    content = without_total(media.signal_bytes(signal, ".flac"))
    returned = media.read_signal_bytes(content, Path("input"), pytest.fail)
    assert np.array_equal(returned.samples, signal.samples)


def test_flac_of_unknown_length_that_is_cut_off_is_refused() -> None:
    integers = np.random.default_rng(0).integers(-500, 500, (20_000, 2))
    content = without_total(media.signal_bytes(sound_signal(integers, 16, 44100), ".flac"))
    for missing in (1, 10, 1000, len(content) - 8192, len(content) - 100):
        with pytest.raises(
            InputError, match="input is cut off: its last frame is not whole; restore it from its source"
        ):
            media.read_signal_bytes(content[:-missing], Path("input"))
    hostile = content[:100] + b"\xff\xf8" * 500_000
    with pytest.raises(InputError, match="its last frame is not whole"):
        media.read_signal_bytes(hostile, Path("input"))


# Streams of Ogg one after another


def ogg(seconds: float, subtype: str = "VORBIS", sample_rate: int = 48000, channels: int = 1) -> bytes:
    times = np.arange(int(seconds * sample_rate))[:, None] / sample_rate
    buffer = io.BytesIO()
    samples = 0.3 * np.sin(2 * np.pi * np.array([[440.0, 660.0]])[:, :channels] * times)
    soundfile.write(buffer, samples, sample_rate, subtype, format="OGG")
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtypes", [("VORBIS", "VORBIS"), ("OPUS", "OPUS"), ("VORBIS", "OPUS", "VORBIS")])
def test_all_streams_of_a_chained_ogg_file_are_read(subtypes: tuple[str, ...], channels: int) -> None:
    parts = [ogg(1 + number / 2, subtype, channels=channels) for number, subtype in enumerate(subtypes)]
    single = [media.read_signal_bytes(part, Path("input")).samples for part in parts]
    signal = media.read_signal_bytes(b"".join(parts), Path("input"), pytest.fail)
    assert signal.points == sum(len(samples) for samples in single) > 100_000
    assert np.array_equal(signal.samples, np.concatenate(single))


@pytest.mark.parametrize(
    ("more", "words"),
    [({"sample_rate": 24000}, "and of 24000 Hz and 1"), ({"channels": 2}, "and of 48000 Hz and 2")],
)
def test_streams_that_do_not_agree_are_refused(more: dict[str, int], words: str) -> None:
    with pytest.raises(InputError) as caught:
        media.read_signal_bytes(ogg(1) + ogg(1, **more), Path("input"))
    expected = f"input holds 2 streams one after another, of 48000 Hz and 1 channels {words}; split it into files first"
    assert str(caught.value) == expected


def test_a_chained_ogg_file_of_which_a_part_is_missing_is_refused() -> None:
    part = ogg(1)
    for content in (part + part[:-100], part + part[: part.rindex(b"OggS")], part[: part.rindex(b"OggS")] + part):
        with pytest.raises(InputError, match="input is cut off: its last page is missing"):
            media.read_signal_bytes(content, Path("input"))
