"""What images and sounds have in common: suffixes, damage, and writing."""

from __future__ import annotations

import errno
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.media_files import (
    MODES,
    deep_png,
    from_bytes,
    gamma_curve,
    image_signal,
    noise,
    palette_image,
    rgb_profile,
    saved,
    smooth,
    sound_signal,
    tiff,
    with_chunks,
    with_orientation,
)

from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import InputError, LimitError, OutputError
from combiner_cli.media import files as media
from combiner_cli.media import images, sounds
from combiner_cli.media.sound_containers.tags import picture
from combiner_cli.signals.signal import Kind, Signal
from combiner_cli.system import files


def damaged_sources() -> list[bytes]:
    colour, grey = Image.fromarray(smooth(12, 17, 3)), Image.fromarray(smooth(12, 17, 1)[:, :, 0])
    names = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "QOI"]
    images = [
        saved(colour, name, **({"icc_profile": rgb_profile(gamma_curve(1.8))} if name == "PNG" else {}))
        for name in names
    ]
    images += [saved(grey, "PNG", exif=with_orientation(6)), saved(grey, "PPM")]
    images += [deep_png(noise(6, 5, channels, bit_depth=16)) for channels in MODES.values()]
    images += [tiff(noise(6, 5, 1, bit_depth=16), 1), saved(colour, "TIFF", compression="tiff_lzw", dpi=(300, 300))]
    chunks = {
        "gAMA": struct.pack(">I", 10**5),
        "pHYs": struct.pack(">IIB", 1, 2, 1),
        "iTXt": b"Title" + bytes(5) + b"a",
    }
    images += [with_chunks(saved(colour, "PNG"), zTXt=b"Author\0\0" + zlib.compress(b"one"), **chunks)]
    images += [with_chunks(deep_png(noise(6, 5, 3, bit_depth=16)), cICP=bytes((12, 13, 0, 1)))]
    records = b"Photoshop 3.0\x008BIM\x04\x04" + struct.pack(">HI", 0, 8) + b"\x1c\x02x\0\3abc"
    jpeg = saved(colour, "JPEG", dpi=(300, 300), comment=b"hello")
    images += [jpeg[:20] + b"\xff\xed" + struct.pack(">H", len(records) + 2) + records + jpeg[20:]]
    sounds = []
    for container, subtype in [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("AIFF", "PCM_24")]:
        buffer = io.BytesIO()
        soundfile.write(buffer, (smooth(1, 500, 2)[0] - 128.0) / 256, 8000, subtype, format=container)
        sounds.append(buffer.getvalue())
    signal = sound_signal((smooth(1, 500, 1)[0] - 128.0) * 100, sample_rate=48000)
    found = Metadata(tags={"title": "a", "isrc": "b", "comment": "c"}, pictures=picture(3, "image/png", "", b"x"))
    suffixes = (".wav", ".flac", ".ogg", ".opus", ".aiff", ".mp3", ".caf")
    sounds += [media.signal_bytes(signal, suffix, found) for suffix in suffixes]
    unknown = bytearray(media.signal_bytes(signal, ".flac"))
    unknown[21:26] = bytes([unknown[21] & 0xF0, 0, 0, 0, 0])
    return images + sounds + [bytes(unknown), sounds[2] + sounds[2]]


SOURCES = damaged_sources()


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SOURCES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.floats(0.5, 1) | st.just(1.0),
)
def test_damage_ends_in_an_input_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, source: bytes, changes: list[tuple[float, int]], keep: float
) -> None:
    content = bytearray(source)
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: int(keep * len(content))])
    lines: list[str] = []
    for reads in (media.read_signal_bytes, media.read_with_metadata):
        try:
            reads(path.read_bytes(), path, lines.append)
        except (InputError, LimitError) as error:
            lines.append(str(error))
    assert all(str(path) in line and "\n" not in line for line in lines)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    colour = Image.fromarray(noise(4, 4, 3))
    assert from_bytes(saved(colour, "PNG"), tmp_path, "image.wav").kind == "image"
    media.write_signal(sound_signal([[1], [2]]), tmp_path / "sound.flac")
    for name in ("sound.png", "sound.raw", "sound"):
        assert from_bytes((tmp_path / "sound.flac").read_bytes(), tmp_path, name).kind == "sound"


def test_reading_warns_of_nothing(tmp_path: Path) -> None:
    image, _, _ = palette_image()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_bytes(saved(image, "PNG", transparency=bytes(range(16))), tmp_path)
        with pytest.raises(InputError):
            from_bytes(saved(image, "WEBP")[:40], tmp_path)


def test_suffixes_that_are_read_cover_those_that_are_written() -> None:
    assert not media.IMAGE_SUFFIXES & media.SOUND_SUFFIXES
    assert images.FORMATS.keys() <= media.IMAGE_SUFFIXES
    assert sounds.FORMATS.keys() <= media.SOUND_SUFFIXES


def test_suffixes_that_are_read_cover_those_of_the_formats_that_are_read() -> None:
    names = {"PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "QOI", "MPO", "DIB"}
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in names}
    assert {".jfif", ".jpe", ".j2k", ".pbm", ".pgm"} <= known <= media.IMAGE_SUFFIXES


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (".8svx", "SVX"),
        (".aifc", "AIFF"),
        (".avr", "AVR"),
        (".nist", "NIST"),
        (".paf", "PAF"),
        (".pvf", "PVF"),
        (".rf64", "RF64"),
        (".sf", "IRCAM"),
        (".snd", "AU"),
        (".voc", "VOC"),
        (".w64", "W64"),
        (".wav", "WAVEX"),
    ],
)
def test_sounds_of_these_suffixes_are_read(tmp_path: Path, suffix: str, name: str) -> None:
    assert suffix in media.SOUND_SUFFIXES
    integers = np.arange(-500, 500)[:, None]
    soundfile.write(tmp_path / f"sound{suffix}", integers / 2**15, 8000, "PCM_16", format=name)
    assert np.array_equal(media.read_signal(tmp_path / f"sound{suffix}").samples, integers / np.float32(2**15))


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "image",
            "a.wav",
            "a.wav: an image cannot be written as .wav; use one of .avif .bmp .jp2 .jpeg .jpg .pgm .png",
        ),
        ("image", "a.gif", "a.gif: an image cannot be written as .gif; use one of .avif"),
        ("sound", "a.png", "a.png: a sound cannot be written as .png; use one of .aif .aiff .au .caf .flac .mp3 .oga"),
        ("sound", "b/a", "b/a: a sound cannot be written without a suffix; use one of .aif"),
    ],
)
def test_suffixes_that_cannot_be_written(tmp_path: Path, kind: Kind, name: str, message: str) -> None:
    with pytest.raises(OutputError) as caught:
        media.check_writable_suffix(kind, Path(name))
    assert str(caught.value).startswith(message)
    signal = image_signal(noise(2, 2, 1)) if kind == "image" else sound_signal([[0]])
    with pytest.raises(OutputError, match="cannot be written"):
        media.write_signal(signal, tmp_path / Path(name).name)
    assert list(tmp_path.iterdir()) == []


def test_default_suffixes() -> None:
    assert media.default_suffix("image") == ".png"
    assert media.default_suffix("sound") == ".wav"


@pytest.mark.parametrize(
    ("suffix", "channels", "bit_depth", "message"),
    [
        (".jpg", 2, 8, "a .jpg file cannot hold transparency; write a .png file instead"),
        (".JPEG", 4, 8, "a .jpeg file cannot hold transparency; write a .png file instead"),
        (".bmp", 4, 8, "a .bmp file cannot hold transparency; write a .png file instead"),
        (".ppm", 4, 8, "a .ppm file cannot hold transparency; write a .png file instead"),
        (".jpg", 1, 16, "a .jpg file cannot hold 16-bit samples; write a .png file instead"),
        (".webp", 1, 16, "a .webp file cannot hold 16-bit samples; write a .png file instead"),
        (".tif", 3, 16, "a .tif file cannot hold 16-bit samples of several channels; write a .png file instead"),
    ],
)
def test_images_that_a_format_cannot_hold(
    tmp_path: Path, suffix: str, channels: int, bit_depth: int, message: str
) -> None:
    signal = image_signal(noise(3, 3, channels, bit_depth=bit_depth))
    with pytest.raises(OutputError) as caught:
        media.write_signal(signal, tmp_path / f"image{suffix}")
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_what_only_the_encoder_refuses(tmp_path: Path) -> None:
    wide = image_signal(np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(OutputError, match=r"a \.webp file cannot hold this image \(.+\); write a \.png file instead"):
        media.write_signal(wide, tmp_path / "image.webp")
    long = image_signal(np.zeros((65_501, 1, 1), np.uint8))
    with pytest.raises(
        OutputError, match=r"a \.jpg file cannot hold more than 65,500 pixels in a row or a column; write"
    ):
        media.write_signal(long, tmp_path / "image.jpg")
    media.signal_bytes(image_signal(np.zeros((1, 65_500, 1), np.uint8)), ".jpg")
    with pytest.raises(OutputError) as caught:
        media.write_signal(sound_signal([[0, 0]]), tmp_path / "sound.opus")
    expected = "a .opus file cannot hold this sound of 44100 Hz and 2 channels; write a .wav file instead"
    assert str(caught.value) == expected
    with pytest.raises(
        OutputError, match=r"a \.ogg file cannot hold this sound of 200001 Hz and 1 channels; write a .wav"
    ):
        media.write_signal(sound_signal([[0]], sample_rate=200_001), tmp_path / "sound.ogg")
    with pytest.raises(OutputError, match=r"a \.wav file cannot hold this sound of 4000000000 Hz"):
        media.write_signal(sound_signal([[0]], sample_rate=4_000_000_000), tmp_path / "sound.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("signal", "name"), [(image_signal(noise(2, 3, 3)), "image.png"), (sound_signal([[1], [2]]), "sound.wav")]
)
def test_writing_within_an_atomic_output(tmp_path: Path, signal: Signal, name: str) -> None:
    with files.atomic_output(tmp_path / name, overwrite=False) as temporary:
        media.write_signal(signal, temporary)
    assert np.array_equal(media.read_signal(tmp_path / name).samples, signal.samples)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_failed_write_is_explained_by_the_atomic_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with (
        pytest.raises(OutputError, match=r"image\.png cannot be written: no space left on the device"),
        files.atomic_output(tmp_path / "image.png", overwrite=False) as temporary,
    ):
        media.write_signal(image_signal(noise(2, 2, 3)), temporary)
    assert list(tmp_path.iterdir()) == []


def test_importing_stays_light() -> None:
    program = "import sys, combiner_cli.media; print(sorted({'PIL', 'soundfile', 'png', 'torch'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
