"""Images and sounds to files and back: every mode and depth, exactness, and refusals instead of silent losses."""

from __future__ import annotations

import base64
import errno
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import png
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from combiner_cli.errors import InputError, OutputError
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Kind, Signal
from combiner_cli.system import files

Samples = npt.NDArray[Any]

SHAPES = [(1, 1), (1, 7), (5, 1), (13, 9)]
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
# A grey image of 2 x 2 pixels that libavif wrote with 10 bits; Pillow writes 8 only.
AVIF_OF_10_BITS = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0"
    "bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAGwAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBy"
    "cAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAAgAAAAIAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAGgAAAABdpcG1h"
    "AAAAAAAAAAEAAQQBAoMEAAAAI21kYXQSAAoHOAA28CAgaTIOGUJjBMAANAAAEJA/n0A="
)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape: int, bit_depth: int = 8) -> Samples:
    generator = np.random.default_rng(list(shape))
    samples: Samples = generator.integers(0, 2**bit_depth, shape, dtype=f"u{bit_depth // 8}")
    return samples


def smooth(height: int, width: int, channels: int) -> Samples:
    """An image that lossy formats keep nearly."""
    row, column, channel = np.indices((height, width, channels))
    samples: Samples = np.clip(40 + 60 * channel + 2 * row + column, 0, 255).astype(np.uint8)
    return samples


def image_signal(samples: Samples) -> Signal:
    return Signal("image", samples, bit_depth=8 * samples.dtype.itemsize)


def sound_signal(integers: Any, bit_depth: int = 16, sample_rate: int = 44100) -> Signal:
    samples = (np.asarray(integers) / 2.0 ** (bit_depth - 1)).astype(np.float32)
    return Signal("sound", samples, sample_rate, bit_depth)


def floats(signal: Signal) -> npt.NDArray[np.float64]:
    return signal.samples.astype(np.float64)


def from_bytes(content: bytes, folder: Path, name: str = "input") -> Signal:
    (folder / name).write_bytes(content)
    return media.read_signal(folder / name)


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, bits: int, colour_type: int) -> bytes:
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))


def deep_png(samples: Samples, **options: Any) -> bytes:
    height, width, channels = samples.shape
    writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16, **options)
    buffer = io.BytesIO()
    writer.write(buffer, samples.reshape(height, -1).tolist())
    return buffer.getvalue()


def tiff(samples: Samples, photometric: int, sample_format: int = 1) -> bytes:
    """An uncompressed little-endian TIFF of one strip."""
    height, width, channels = samples.shape
    bits = 8 * samples.dtype.itemsize
    extra = 8 + samples.nbytes  # BitsPerSample of several channels does not fit its entry
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else extra),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, samples.nbytes),
        (339, 3, 1, sample_format),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = samples.astype(samples.dtype.newbyteorder("<")).tobytes() + struct.pack(
        f"<{channels}H", *[bits] * channels
    )
    return struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + directory + bytes(4)


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    """A version 2 ICC profile (ICC.1:2001-04, section 6)."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)} | tags
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    size = start + len(content)
    header = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02100000, device, space, connection, b"acsp")
    return header + fixed(0.9642, 1, 0.8249) + bytes(48) + table + content


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    """The curve of sRGB as a table, as most profiles have it."""
    encoded = np.linspace(0, 1, 1024)
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(65535 * light).astype(int))


def rgb_profile(curve: bytes) -> bytes:
    """The primaries of sRGB, adapted to D50, with a curve of one's own."""
    primaries = {
        b"rXYZ": (0.4360747, 0.2225045, 0.0139322),
        b"gXYZ": (0.3850649, 0.7168786, 0.0971045),
        b"bXYZ": (0.1430804, 0.0606169, 0.7141733),
    }
    tags = {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in primaries.items()}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile() -> bytes:
    """Paper is white, black ink is black, and the coloured inks do nothing."""
    corners = [(0 if black else 255, 128, 128) for _ in range(8) for black in (False, True)]
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4
    lut += bytes(value for corner in corners for value in corner) + bytes(range(256)) * 3
    return profile(b"CMYK", {b"A2B0": lut}, b"Lab ", b"prtr")


def from_linear(samples: Samples) -> npt.NDArray[np.float64]:
    """8-bit linear light to 8-bit sRGB (IEC 61966-2-1)."""
    light = samples.astype(np.float64) / 255
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# Images, exactly


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize(
    ("suffix", "bit_depth"),
    [(".png", 8), (".PNG", 16), (".tif", 8), (".TIFF", 8), (".jp2", 8)],
)
def test_lossless_formats_return_the_samples(
    tmp_path: Path, shape: tuple[int, int], channels: int, suffix: str, bit_depth: int
) -> None:
    signal = image_signal(noise(*shape, channels, bit_depth=bit_depth))
    media.write_signal(signal, tmp_path / f"image{suffix}")
    returned = media.read_signal(tmp_path / f"image{suffix}")
    assert (returned.kind, returned.bit_depth, returned.sample_rate) == ("image", bit_depth, None)
    assert returned.samples.dtype == signal.samples.dtype
    assert np.array_equal(returned.samples, signal.samples)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("suffix", "channels", "bit_depth"),
    [
        (".bmp", 1, 8),
        (".bmp", 3, 8),
        (".pgm", 1, 8),
        (".ppm", 3, 8),
        (".pnm", 3, 8),
        (".webp", 3, 8),
        (".webp", 4, 8),
        (".pgm", 1, 16),
        (".tif", 1, 16),
        (".jp2", 1, 16),
    ],
)
def test_other_formats_return_what_they_hold(
    tmp_path: Path, shape: tuple[int, int], suffix: str, channels: int, bit_depth: int
) -> None:
    signal = image_signal(noise(*shape, channels, bit_depth=bit_depth))
    media.write_signal(signal, tmp_path / f"image{suffix}")
    returned = media.read_signal(tmp_path / f"image{suffix}")
    assert returned.bit_depth == bit_depth
    assert np.array_equal(returned.samples, signal.samples)


def test_webp_keeps_the_colours_of_transparent_pixels(tmp_path: Path) -> None:
    samples = noise(20, 20, 4)
    samples[:, :, 3] = 0
    media.write_signal(image_signal(samples), tmp_path / "image.webp")
    assert np.array_equal(media.read_signal(tmp_path / "image.webp").samples, samples)


@pytest.mark.parametrize("channels", [1, 2])
def test_webp_keeps_grey_as_equal_colours(tmp_path: Path, channels: int) -> None:
    samples = noise(4, 6, channels)
    media.write_signal(image_signal(samples), tmp_path / "image.webp")
    expected = samples[:, :, [0, 0, 0, 1][: channels + 2]]
    assert np.array_equal(media.read_signal(tmp_path / "image.webp").samples, expected)


@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 3), (".jpeg", 3), (".avif", 4)])
def test_lossy_formats_come_close(tmp_path: Path, suffix: str, most: int) -> None:
    for channels in {1, 3, most}:
        samples = smooth(16, 24, channels)
        media.write_signal(image_signal(samples), tmp_path / f"image{suffix}")
        returned = media.read_signal(tmp_path / f"image{suffix}").samples
        assert returned.shape == samples.shape
        assert np.abs(returned.astype(int) - samples).max() < 12


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda kind: arrays.arrays(kind, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)))
    )
)
def test_png_returns_any_samples(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> None:
    path = tmp_path_factory.mktemp("png") / "image.png"
    media.write_signal(image_signal(samples), path)
    returned = media.read_signal(path).samples
    assert returned.dtype == samples.dtype
    assert np.array_equal(returned, samples)


def test_samples_need_not_be_contiguous(tmp_path: Path) -> None:
    for bit_depth in (8, 16):
        samples = noise(6, 8, 4, bit_depth=bit_depth)[::2, ::-1, :3]
        media.write_signal(image_signal(samples), tmp_path / "image.png")
        assert np.array_equal(media.read_signal(tmp_path / "image.png").samples, samples)


# Modes of images


@pytest.mark.parametrize("shape", SHAPES)
def test_one_bit(tmp_path: Path, shape: tuple[int, int]) -> None:
    bits = noise(*shape) > 100
    signal = from_bytes(saved(Image.fromarray(bits), "PNG"), tmp_path)
    assert np.array_equal(signal.samples, bits[:, :, None] * np.uint8(255))


def palette_image() -> tuple[Image.Image, Samples, Samples]:
    indices, colours = noise(5, 7) % 16, noise(16, 3)
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    return image, indices, colours


def test_palettes_become_rgb(tmp_path: Path) -> None:
    image, indices, colours = palette_image()
    assert image.mode == "P"
    for name in ("PNG", "GIF", "BMP", "TIFF"):
        assert np.array_equal(from_bytes(saved(image, name), tmp_path).samples, colours[indices])


def test_palettes_with_transparency_become_rgba(tmp_path: Path) -> None:
    image, indices, colours = palette_image()
    alpha = noise(16)
    signal = from_bytes(saved(image, "PNG", transparency=alpha.tobytes()), tmp_path)
    assert np.array_equal(signal.samples, np.dstack([colours[indices], alpha[indices]]))
    signal = from_bytes(saved(image, "GIF", transparency=3), tmp_path)
    assert np.array_equal(signal.samples[:, :, 3], np.where(indices == 3, 0, 255))
    assert np.array_equal(signal.samples[indices != 3, :3], colours[indices[indices != 3]])


def test_a_transparent_grey_or_colour_becomes_an_alpha_channel(tmp_path: Path) -> None:
    grey = noise(5, 7) // 64
    signal = from_bytes(saved(Image.fromarray(grey), "PNG", transparency=2), tmp_path)
    assert np.array_equal(signal.samples, np.dstack([grey, np.where(grey == 2, 0, 255)]))
    colour = noise(5, 7, 3) // 128
    signal = from_bytes(saved(Image.fromarray(colour), "PNG", transparency=(0, 1, 1)), tmp_path)
    opaque = (colour != [0, 1, 1]).any(axis=-1)
    assert not opaque.all()
    assert np.array_equal(signal.samples, np.dstack([colour, opaque * 255]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_grey_or_colour_of_16_bits_becomes_an_alpha_channel(tmp_path: Path, channels: int) -> None:
    samples = 1000 * (noise(5, 7, channels, bit_depth=16) // 2**15)
    key = (1000,) * channels
    content = deep_png(samples, transparent=key if channels == 3 else key[0])
    signal = from_bytes(content, tmp_path)
    opaque = (samples != key).any(axis=-1)
    assert 0 < opaque.sum() < opaque.size
    assert signal.bit_depth == 16
    assert np.array_equal(signal.samples, np.dstack([samples, opaque * 65535]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize("interlace", [False, True])
def test_png_of_16_bits_keeps_them(tmp_path: Path, shape: tuple[int, int], channels: int, interlace: bool) -> None:
    samples = noise(*shape, channels, bit_depth=16)
    signal = from_bytes(deep_png(samples, interlace=interlace), tmp_path)
    assert signal.bit_depth == 16
    assert signal.samples.dtype == np.uint16
    assert np.array_equal(signal.samples, samples)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_stretched(tmp_path: Path, bits: int) -> None:
    samples = noise(3, 5) >> (8 - bits)
    buffer = io.BytesIO()
    png.Writer(5, 3, greyscale=True, bitdepth=bits).write(buffer, samples.tolist())
    expected = samples[:, :, None] * np.uint8(255 // (2**bits - 1))
    assert np.array_equal(from_bytes(buffer.getvalue(), tmp_path).samples, expected)


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    inks = Image.frombytes("CMYK", (6, 4), noise(4, 6, 4).tobytes())
    assert np.array_equal(from_bytes(saved(inks, "TIFF"), tmp_path).samples, np.asarray(inks.convert("RGB")))
    luma = Image.frombytes("YCbCr", (6, 4), noise(4, 6, 3).tobytes())
    assert np.array_equal(from_bytes(saved(luma, "TIFF"), tmp_path).samples, np.asarray(luma.convert("RGB")))
    flat = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(floats(from_bytes(saved(flat, "JPEG"), tmp_path)) - [255, 0, 0]).max() < 5
    white = Image.new("LAB", (3, 2), (255, 128, 128))
    assert from_bytes(saved(white, "TIFF"), tmp_path).samples.min() > 250


def test_big_endian_and_white_is_zero_grey_of_16_bits(tmp_path: Path) -> None:
    samples = noise(5, 7, 1, bit_depth=16)
    assert np.array_equal(from_bytes(tiff(samples, photometric=1), tmp_path).samples, samples)
    assert np.array_equal(from_bytes(tiff(samples, photometric=0), tmp_path).samples, 65535 - samples)
    big = Image.frombytes("I;16B", (7, 5), samples.astype(">u2").tobytes())
    signal = from_bytes(saved(big, "TIFF"), tmp_path)
    assert signal.samples.dtype == np.uint16
    assert np.array_equal(signal.samples, samples)


def test_netpbm_in_all_kinds(tmp_path: Path) -> None:
    assert from_bytes(b"P1 2 1 1 0", tmp_path).samples.tolist() == [[[0], [255]]]
    assert from_bytes(b"P2 2 1 255 7 9", tmp_path).samples.tolist() == [[[7], [9]]]
    assert from_bytes(b"P3 1 1 255 7 9 11", tmp_path).samples.tolist() == [[[7, 9, 11]]]
    assert from_bytes(b"P4 2 1\n\x80", tmp_path).samples.tolist() == [[[0], [255]]]
    assert from_bytes(b"P5 2 1 15\n\x01\x0f", tmp_path).samples.tolist() == [[[17], [255]]]
    deep = from_bytes(b"P5 2 1 1023\n\x00\x00\x03\xff", tmp_path)
    assert deep.bit_depth == 16
    assert deep.samples.tolist() == [[[0], [65535]]]
    deep = from_bytes(b"P2 2 1 65535 1 65534", tmp_path)
    assert deep.bit_depth == 16
    assert deep.samples.tolist() == [[[1], [65534]]]


def refused_images() -> dict[str, tuple[bytes, str]]:
    deep = noise(2, 3, 3, bit_depth=16)
    jp2 = bytearray(saved(Image.fromarray(noise(9, 9, 3)), "JPEG2000"))
    jp2[jp2.index(b"\xff\x4f\xff\x51") + 42] = 11
    integers, floats = np.arange(6, dtype=np.int32).reshape(2, 3), np.ones((2, 3), np.float32)
    lost = "that cannot be read without loss; convert it to a 16-bit or 8-bit PNG first"
    return {
        "tiff rgb 16": (tiff(deep, 2), rf"holds 16-bit samples \(TIFF, RGB\) {lost}"),
        "tiff rgba 16": (tiff(noise(2, 3, 4, bit_depth=16), 2), rf"holds 16-bit samples \(TIFF, RGBA\) {lost}"),
        "tiff signed 16": (tiff(deep[:, :, :1], 1, sample_format=2), rf"16-bit samples \(TIFF, I\) {lost}"),
        "tiff integers": (saved(Image.fromarray(integers), "TIFF"), rf"32-bit samples \(TIFF, I\) {lost}"),
        "tiff floats": (saved(Image.fromarray(floats), "TIFF"), rf"32-bit samples \(TIFF, F\) {lost}"),
        "ppm 16": (b"P6 1 1 65535\n\x01\x02\x03\x04\x05\x06", rf"16-bit samples \(PPM, RGB\) {lost}"),
        "ppm plain 16": (b"P3 1 1 1023 1 2 3", rf"16-bit samples \(PPM, RGB\) {lost}"),
        "pfm": (saved(Image.fromarray(floats), "PPM"), rf"32-bit samples \(PPM, F\) {lost}"),
        "jpeg 2000 of 12 bits": (bytes(jp2), rf"16-bit samples \(JPEG2000, RGB\) {lost}"),
        "avif of 10 bits": (base64.b64decode(AVIF_OF_10_BITS), rf"holds 10-bit samples \(AVIF, RGB\) {lost}"),
    }


@pytest.mark.parametrize("case", refused_images())
def test_images_that_would_lose_are_refused(tmp_path: Path, case: str) -> None:
    content, message = refused_images()[case]
    with pytest.raises(InputError, match=message) as caught:
        from_bytes(content, tmp_path)
    assert str(tmp_path / "input") in str(caught.value)


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_animations_and_pages_are_refused(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(noise(16, 16, 3)), Image.fromarray(255 - noise(16, 16, 3))]
    with pytest.raises(InputError) as caught:
        from_bytes(saved(frames[0], name, save_all=True, append_images=frames[1:]), tmp_path)
    expected = f"{tmp_path / 'input'} holds 2 images (an animation or pages); extract one of them first"
    assert str(caught.value) == expected


def test_the_main_image_of_an_mpo_counts(tmp_path: Path) -> None:
    main, preview = Image.new("RGB", (16, 8), (200, 100, 50)), Image.new("RGB", (8, 4))
    signal = from_bytes(saved(main, "MPO", save_all=True, append_images=[preview]), tmp_path)
    assert signal.shape == (8, 16)
    assert np.abs(floats(signal) - [200, 100, 50]).max() < 5


# Orientation


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(tmp_path: Path, orientation: int, name: str) -> None:
    options = {"lossless": True} if name == "WEBP" else {}
    content = saved(Image.fromarray(noise(4, 7, 3)), name, exif=with_orientation(orientation), **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert expected.shape == ((7, 4, 3) if orientation in (5, 6, 7, 8) else (4, 7, 3))
    assert np.array_equal(from_bytes(content, tmp_path).samples, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", MODES.values())
def test_exif_orientation_of_16_bits(tmp_path: Path, orientation: int, channels: int) -> None:
    samples = noise(4, 7, channels, bit_depth=16)
    content = deep_png(samples)
    exif = png_chunk(b"eXIf", with_orientation(orientation).removeprefix(b"Exif\0\0"))
    signal = from_bytes(content[:33] + exif + content[33:], tmp_path)
    numbers = Image.fromarray(np.arange(28, dtype=np.uint8).reshape(4, 7))
    numbers.getexif()[0x0112] = orientation
    expected = samples.reshape(28, channels)[np.asarray(ImageOps.exif_transpose(numbers))]
    assert np.array_equal(signal.samples, expected)


@pytest.mark.parametrize("name", ["JPEG", "AVIF"])
def test_exif_orientation_of_lossy_files(tmp_path: Path, name: str) -> None:
    half = np.zeros((16, 32, 3), np.uint8)
    half[:, 16:] = 255
    signal = from_bytes(saved(Image.fromarray(half), name, exif=with_orientation(6)), tmp_path)
    assert signal.shape == (32, 16)
    assert signal.samples[:12].max() < 50
    assert signal.samples[20:].min() > 200


# Colour profiles


@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize("icc", [SRGB_PROFILE, rgb_profile(srgb_curve())], ids=["Pillow's", "table"])
def test_an_srgb_profile_changes_nothing(tmp_path: Path, channels: int, icc: bytes) -> None:
    samples = noise(64, 64, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=icc)
    assert Image.open(io.BytesIO(content)).info["icc_profile"] == icc
    assert np.array_equal(from_bytes(content, tmp_path).samples, samples)


@pytest.mark.parametrize("channels", MODES.values())
def test_another_profile_is_applied(tmp_path: Path, channels: int) -> None:
    samples = noise(16, 16, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=rgb_profile(gamma_curve(1.0)))
    returned = floats(from_bytes(content, tmp_path))
    colours = channels - 1 if channels in (2, 4) else channels
    assert returned.shape == samples.shape
    assert np.abs(returned[:, :, :colours] - from_linear(samples[:, :, :colours])).max() <= 1.5
    assert np.array_equal(returned[:, :, colours:], samples[:, :, colours:])


@pytest.mark.parametrize("channels", [1, 2])
def test_a_grey_profile_is_applied(tmp_path: Path, channels: int) -> None:
    samples = noise(16, 16, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=grey_profile(1.0))
    returned = floats(from_bytes(content, tmp_path))
    assert np.abs(returned[:, :, :1] - from_linear(samples[:, :, :1])).max() <= 1.5
    assert np.array_equal(returned[:, :, 1:], samples[:, :, 1:])


def test_a_profile_close_to_srgb_is_not_taken_for_it(tmp_path: Path) -> None:
    samples = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = saved(Image.fromarray(samples), "PNG", icc_profile=grey_profile(2.2))
    assert np.abs(from_bytes(content, tmp_path).samples[:, :, 0].astype(int) - samples).max() > 2


def test_a_palette_with_a_profile(tmp_path: Path) -> None:
    image, indices, colours = palette_image()
    returned = floats(from_bytes(saved(image, "PNG", icc_profile=rgb_profile(gamma_curve(1.0))), tmp_path))
    assert np.abs(returned - from_linear(colours[indices])).max() <= 1.5


def test_a_cmyk_profile_is_applied(tmp_path: Path) -> None:
    inks = np.zeros((1, 3, 4), np.uint8)
    inks[0, 1, 3] = 255
    inks[0, 2, 0] = 255
    image = Image.frombytes("CMYK", (3, 1), inks.tobytes())
    returned = floats(from_bytes(saved(image, "TIFF", icc_profile=cmyk_profile()), tmp_path))
    assert np.abs(returned - np.array([[[255.0] * 3, [0] * 3, [255] * 3]])).max() <= 2
    assert from_bytes(saved(image, "TIFF"), tmp_path).samples[0, 2].tolist() == [0, 255, 255]


def test_profiles_that_cannot_be_applied_are_refused(tmp_path: Path) -> None:
    colour = Image.fromarray(noise(4, 4, 3))
    linear = rgb_profile(gamma_curve(1.0))
    for damaged in (
        b"no profile at all",
        linear[:16] + b"RG\x80 " + linear[20:],
        linear[:16] + b"\x1b[3m" + linear[20:],
    ):
        with pytest.raises(InputError, match="has a damaged colour profile; remove it, or convert the image to sRGB"):
            from_bytes(saved(colour, "PNG", icc_profile=damaged), tmp_path)
    with pytest.raises(InputError, match="has a colour profile for GRAY, not for its colours; convert it to sRGB"):
        from_bytes(saved(colour, "PNG", icc_profile=grey_profile(2.2)), tmp_path)
    with pytest.raises(InputError, match="has a colour profile for CMYK, not for its colours"):
        from_bytes(saved(colour, "TIFF", icc_profile=cmyk_profile()), tmp_path)


@pytest.mark.parametrize("channels", MODES.values())
def test_profiles_of_16_bits(tmp_path: Path, channels: int) -> None:
    samples = noise(3, 3, channels, bit_depth=16)
    content = deep_png(samples)

    def with_profile(icc: bytes) -> bytes:
        return content[:33] + png_chunk(b"iCCP", b"name\0\0" + zlib.compress(icc)) + content[33:]

    assert np.array_equal(from_bytes(with_profile(SRGB_PROFILE), tmp_path).samples, samples)
    with pytest.raises(InputError, match="has 16 bits and a colour profile other than sRGB; give --keep-metadata, or"):
        from_bytes(with_profile(rgb_profile(gamma_curve(1.8))), tmp_path)


# Damage


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = png_header(2**16, 2**16, 8, 2) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    with pytest.raises(InputError) as caught:
        from_bytes(content, tmp_path)
    expected = f"{tmp_path / 'input'} has more pixels than can be read safely; give a smaller image"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "QOI"])
def test_truncated_images_are_refused(tmp_path: Path, name: str) -> None:
    content = saved(Image.fromarray(noise(40, 40, 3)), name)
    with pytest.raises(InputError, match=r"damaged or unsupported \(.+\); restore it or|neither an image nor a sound"):
        from_bytes(content[: len(content) // 2], tmp_path)


@pytest.mark.parametrize("channels", MODES.values())
def test_truncated_png_of_16_bits_is_refused(tmp_path: Path, channels: int) -> None:
    content = deep_png(noise(40, 40, channels, bit_depth=16))
    with pytest.raises(InputError, match="damaged or unsupported"):
        from_bytes(content[: len(content) // 2], tmp_path)


def damaged_sources() -> list[bytes]:
    colour, grey = Image.fromarray(smooth(12, 17, 3)), Image.fromarray(smooth(12, 17, 1)[:, :, 0])
    names = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "QOI"]
    images = [
        saved(colour, name, **({"icc_profile": rgb_profile(gamma_curve(1.8))} if name == "PNG" else {}))
        for name in names
    ]
    images += [saved(grey, "PNG", exif=with_orientation(6)), saved(grey, "PPM")]
    images += [deep_png(noise(6, 5, channels, bit_depth=16)) for channels in MODES.values()]
    images += [tiff(noise(6, 5, 1, bit_depth=16), 1)]
    sounds = []
    for container, subtype in [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("AIFF", "PCM_24")]:
        buffer = io.BytesIO()
        soundfile.write(buffer, (smooth(1, 500, 2)[0] - 128.0) / 256, 8000, subtype, format=container)
        sounds.append(buffer.getvalue())
    return images + sounds


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
    try:
        media.read_signal(path)
    except InputError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


def test_what_is_neither(tmp_path: Path) -> None:
    for content in (b"", b"text " * 100, bytes(1000)):
        with pytest.raises(InputError, match="input is neither an image nor a sound that can be read"):
            from_bytes(content, tmp_path)
    with pytest.raises(InputError, match=r"missing\.png does not exist; check the name"):
        media.read_signal(tmp_path / "missing.png")
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        media.read_signal(tmp_path)


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


# Sounds

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


def float_wave(samples: Any, sample_rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(samples, dtype=np.float32), sample_rate, "FLOAT", format="WAV")
    return buffer.getvalue()


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


def sound_file(container: str, subtype: str) -> bytes:
    """A second of noise in stereo."""
    noisy = np.random.default_rng(0).integers(-9000, 9000, (48000, 2)) / 2**15
    buffer = io.BytesIO()
    soundfile.write(buffer, noisy, 48000, subtype, format=container)
    return buffer.getvalue()


TRUNCATED = r"is cut off: |cannot be decoded to its end|ends after \d+ of 48000 frames|neither an image nor a sound"


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


# Suffixes


def test_suffixes_that_are_read_cover_those_that_are_written() -> None:
    assert not media.IMAGE_SUFFIXES & media.SOUND_SUFFIXES
    for kind, suffixes in (("image", media.IMAGE_SUFFIXES), ("sound", media.SOUND_SUFFIXES)):
        for suffix in suffixes - {".gif", ".qoi"}:
            media.check_writable_suffix("image" if kind == "image" else "sound", Path(f"name{suffix.upper()}"))


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
    with pytest.raises(OutputError) as caught:
        media.write_signal(sound_signal([[0, 0]]), tmp_path / "sound.opus")
    expected = "a .opus file cannot hold this sound of 44100 Hz and 2 channels; write a .wav file instead"
    assert str(caught.value) == expected
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
