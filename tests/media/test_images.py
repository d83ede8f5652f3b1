"""Images to files and back: every mode and depth, exactness, and refusals instead of silent losses."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import png
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.media_files import (
    MODES,
    SHAPES,
    Samples,
    deep_png,
    floats,
    from_bytes,
    image_signal,
    noise,
    palette_image,
    png_chunk,
    png_header,
    read,
    saved,
    smooth,
    tiff,
    with_chunks,
    with_orientation,
)

from combiner_cli.errors import InputError, LimitError
from combiner_cli.media import files as media

# A grey image of 2 x 2 pixels that libavif wrote with 10 bits; Pillow writes 8 only.
AVIF_OF_10_BITS = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0"
    "bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAGwAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBy"
    "cAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAAgAAAAIAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAGgAAAABdpcG1h"
    "AAAAAAAAAAEAAQQBAoMEAAAAI21kYXQSAAoHOAA28CAgaTIOGUJjBMAANAAAEJA/n0A="
)


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


@pytest.mark.parametrize("shape", SHAPES)
def test_one_bit(tmp_path: Path, shape: tuple[int, int]) -> None:
    bits = noise(*shape) > 100
    signal = from_bytes(saved(Image.fromarray(bits), "PNG"), tmp_path)
    assert np.array_equal(signal.samples, bits[:, :, None] * np.uint8(255))


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


@pytest.mark.parametrize("name", ["PNG", "BMP", "PPM", "TIFF"])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    """With the error of an image that has more pixels than the program renders."""
    side = 2**16
    content = {
        "PNG": png_header(side, side, 8, 2) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b""),
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        "PPM": b"P6 65536 65536 255\n",
        "TIFF": tiff(np.zeros((1, 1, 3), np.uint8), 2).replace(
            struct.pack("<HHII", 256, 4, 1, 1) + struct.pack("<HHII", 257, 4, 1, 1),
            struct.pack("<HHII", 256, 4, 1, side) + struct.pack("<HHII", 257, 4, 1, side),
        ),
    }[name]
    with pytest.raises(LimitError) as caught:
        from_bytes(content, tmp_path)
    expected = f"{tmp_path / 'input'} has more pixels than can be read safely; give a smaller image"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "QOI"])
def test_truncated_images_are_refused(tmp_path: Path, name: str) -> None:
    content = saved(Image.fromarray(noise(40, 40, 3)), name)
    words = r"damaged or unsupported \(.+\); restore it or|neither an image nor a sound|an AVIF image, which cannot be"
    with pytest.raises(InputError, match=words):
        from_bytes(content[: len(content) // 2], tmp_path)


@pytest.mark.parametrize("channels", MODES.values())
def test_truncated_png_of_16_bits_is_refused(tmp_path: Path, channels: int) -> None:
    content = deep_png(noise(40, 40, channels, bit_depth=16))
    with pytest.raises(InputError, match="damaged or unsupported"):
        from_bytes(content[: len(content) // 2], tmp_path)


@pytest.mark.parametrize("bit_depth", [8, 16])
def test_a_png_without_its_end_is_read_with_a_note(bit_depth: int) -> None:
    samples = noise(40, 40, 3, bit_depth=bit_depth)
    content = saved(Image.fromarray(samples), "PNG") if bit_depth == 8 else deep_png(samples)
    returned, notes = read(content[:-12])
    assert np.array_equal(returned, samples)
    assert notes == ["input has no chunk IEND, so that its end may be missing; all its samples are there"]
    for missing in (13, 16, 17):  # of the checksum of the samples, and of the samples
        with pytest.raises(InputError, match="damaged or unsupported"):
            media.read_signal_bytes(content[: -missing - 12 * (bit_depth // 8)], Path("input"))


def test_a_damaged_chunk_of_png_that_is_not_for_the_decoder_is_damage() -> None:
    content = with_chunks(saved(Image.fromarray(noise(4, 4, 3)), "PNG"), gAMA=struct.pack(">I", 45455))
    damaged = content.replace(struct.pack(">I", 45455), struct.pack(">I", 45454))
    with pytest.raises(InputError, match=r"damaged or unsupported \(the chunk gAMA has a checksum that does not"):
        media.read_signal_bytes(damaged, Path("input"))
