"""Metadata of images through files of every format and back, and hostile ones that do no harm."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import png
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.camera_files import ICC, UPRIGHT_XMP, XMP, camera_exif, camera_file, described, exif_with_thumbnail
from support.media_files import (
    SRGB_PROFILE,
    cmyk_profile,
    from_linear,
    grey_profile,
    table_profile,
)
from support.signals import smooth_image

from combiner_cli.container import metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import InputError
from combiner_cli.media import files as media
from combiner_cli.media import images

WITH_ALL = ["png", "jpg", "webp", "tif", "avif"]


@pytest.mark.parametrize("target", WITH_ALL)
@pytest.mark.parametrize("source", WITH_ALL)
def test_metadata_of_images_survive(source, target):
    content = camera_file(source)
    signal, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert signal.shape == (13, 9)  # upright
    assert found.icc == ICC
    assert b"Orientation='6'" not in found.xmp
    written = media.signal_bytes(signal, f".{target}", found, pytest.fail)
    assert described(written) == ("A picture", 1, "2020:01:02 03:04:05", {1: "N", 2: (52.0, 30.0, 3.5)}, ICC)
    again, found_again = media.read_with_metadata(written, Path("input"), pytest.fail)
    assert again.shape == signal.shape
    assert (found_again.icc, found_again.xmp) == (found.icc, found.xmp)
    if target in ("png", "webp", "tif"):
        assert np.array_equal(again.samples, signal.samples)
    if target in ("png", "webp", "jpg"):
        assert found_again.exif == found.exif


def test_colours_are_kept_rather_than_converted():
    content = camera_file("png")
    notes = []
    kept, _ = media.read_with_metadata(content, Path("input"), notes.append)
    assert not notes
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(kept.samples, np.asarray(ImageOps.exif_transpose(image)))
    converted = media.read_signal_bytes(content, Path("input"), notes.append)
    assert notes == ["input has colours of another profile, which are converted to sRGB; --keep-metadata keeps them"]
    assert np.abs(kept.samples.astype(int) - converted.samples).max() > 20


def jpeg2000_with(content: bytes, icc: bytes, long: bool) -> bytes:
    """A JPEG 2000 file with another colour specification, whose box has a length of 64 bits if it is long."""
    header, old = content.index(b"jp2h") - 4, content.index(b"colr") - 4
    (header_length,), (old_length,) = (struct.unpack_from(">I", content, place) for place in (header, old))
    text = b"\2\0\0" + icc
    box = struct.pack(">I4s", len(text) + 8, b"colr") + text
    if long:
        box = struct.pack(">I4sQ", 1, b"colr", len(text) + 16) + text
    length = struct.pack(">I", header_length - old_length + len(box))
    return content[:header] + length + content[header + 4 : old] + box + content[old + old_length :]


def bmp_with(content: bytes, icc: bytes) -> bytes:
    """A BMP file with a header of version 5 and a profile behind the pixels."""
    pixels = content[54:]
    space = bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
    header = struct.pack("<I", 124) + content[18:54] + space
    total = 14 + len(header) + len(pixels) + len(icc)
    return b"BM" + struct.pack("<III", total, 0, 14 + len(header)) + header + pixels + icc


@pytest.mark.parametrize("kind", ["jp2", "long jp2", "bmp"])
def test_profiles_that_pillow_does_not_see_are_not_ignored(kind):
    signal, notes = smooth_image(16, 17), []
    content = media.signal_bytes(signal, f".{kind.split()[-1]}")
    wide, damaged = (
        bmp_with(content, icc) if kind == "bmp" else jpeg2000_with(content, icc, "long" in kind)
        for icc in (ICC, ICC[:100])
    )
    with Image.open(io.BytesIO(wide)) as image:
        assert "icc_profile" not in image.info
    kept, found = media.read_with_metadata(wide, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, signal.samples)
    assert found == Metadata(icc=ICC)
    converted = media.read_signal_bytes(wide, Path("input"), notes.append)
    assert "converted to sRGB" in notes[0]
    reference = media.read_signal_bytes(media.signal_bytes(signal, ".png", found), Path("input"))
    assert np.array_equal(converted.samples, reference.samples)
    with pytest.raises(InputError, match="damaged colour profile"):
        media.read_signal_bytes(damaged, Path("input"))
    assert not media.read_with_metadata(content, Path("input"), pytest.fail)[1]


def test_a_file_without_metadata_has_none():
    content = media.signal_bytes(smooth_image(5, 7), ".png")
    assert not media.read_with_metadata(content, Path("input"), pytest.fail)[1]


def test_cmyk_is_converted_and_its_profile_is_not_kept():
    buffer = io.BytesIO()
    Image.fromarray(smooth_image(5, 7, 4).samples, "CMYK").save(buffer, "TIFF", icc_profile=cmyk_profile())
    notes = []
    signal, found = media.read_with_metadata(buffer.getvalue(), Path("input"), notes.append)
    assert notes == ["input has colours of another profile, which are converted to sRGB"]
    assert not found.icc
    assert np.array_equal(signal.samples, media.read_signal_bytes(buffer.getvalue(), Path("input")).samples)


def test_exif_that_cannot_be_read_is_left_out_with_a_note():
    buffer = io.BytesIO()
    Image.fromarray(smooth_image(5, 7).samples).save(buffer, "WEBP", exif=b"II*\0\xff\xff\xff\xff")
    notes = []
    assert not media.read_with_metadata(buffer.getvalue(), Path("input"), notes.append)[1]
    assert notes == ["input has EXIF that cannot be read (a directory is beyond the end); it is left out"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_deep_images_keep_their_profile(channels):
    icc = grey_profile(1.0) if channels < 3 else ICC
    original = smooth_image(5, 7, channels, 16)
    given_ = Metadata(exif=camera_exif().tobytes()[6:], icc=icc, xmp=XMP)
    content = images._encoded(original, images.FORMATS[".png"], given_)  # lying on its side
    for _ in png.Reader(bytes=content).read()[2]:
        pass  # which looks at the checksums of all chunks
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    signal, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert found.icc == icc
    assert found.xmp == UPRIGHT_XMP
    turned = original.samples.swapaxes(0, 1)[:, ::-1]  # orientation 6
    assert np.array_equal(signal.samples, turned)
    again = media.signal_bytes(signal, ".png", found, pytest.fail)
    assert media.read_with_metadata(again, Path("input"), pytest.fail)[1] == found


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jp2", ".ppm"])
def test_colours_are_converted_where_the_profile_cannot_be_held_or_is_not_wanted(channels, suffix):
    if suffix in (".bmp", ".ppm") and channels in (2, 4):
        return
    icc = grey_profile(1.0) if channels < 3 else ICC
    signal = smooth_image(8, 9, channels)
    notes = []
    content = media.signal_bytes(signal, suffix, Metadata(icc=icc), notes.append, strip=suffix == ".png")
    reference = media.read_signal_bytes(media.signal_bytes(signal, ".png", Metadata(icc=icc)), Path("input"))
    assert np.array_equal(media.read_signal_bytes(content, Path("input"), pytest.fail).samples, reference.samples)
    assert np.abs(reference.samples.astype(int) - signal.samples).max() > 20
    words = f"a {suffix} file cannot hold the colours of this image; they are converted to sRGB"
    assert notes == ([] if suffix == ".png" else [words])


def test_a_profile_that_is_srgb_needs_no_conversion():
    signal = smooth_image(5, 7)
    assert media.signal_bytes(signal, ".bmp", Metadata(icc=SRGB_PROFILE), pytest.fail) == media.signal_bytes(
        signal, ".bmp"
    )


def test_a_profile_of_16_bits_is_applied_stays_or_is_refused():
    signal, notes = smooth_image(5, 7, 1, 16), []
    content = media.signal_bytes(signal, ".ppm", Metadata(icc=grey_profile(1.0)), notes.append)
    assert notes == ["a .ppm file cannot hold the colours of this image; they are converted to sRGB"]
    converted = media.read_signal_bytes(content, Path("input")).samples
    assert np.abs(converted - 257 * from_linear(signal.samples / 257)).max() < 2
    given_ = Metadata(icc=table_profile())
    signal, notes = smooth_image(5, 7, 3, 16), []
    content = media.signal_bytes(signal, ".png", replace(given_, xmp=XMP), notes.append, strip=True)
    assert notes == ["the colours stay what they are, since they cannot be converted to sRGB"]
    assert media.read_with_metadata(content, Path("input"))[1] == given_


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".jp2"])
def test_what_a_format_cannot_hold_is_left_out_with_a_note(suffix):
    notes = []
    given_ = Metadata(exif=camera_exif().tobytes()[6:], xmp=XMP)
    content = media.signal_bytes(smooth_image(5, 7), suffix, given_, notes.append)
    assert content == media.signal_bytes(smooth_image(5, 7), suffix)
    assert notes == [f"a {suffix} file cannot hold all of the metadata; left out: EXIF, XMP"]


@pytest.mark.parametrize("suffix", [f".{name}" for name in WITH_ALL])
def test_exif_that_makes_no_sense_is_left_out_with_a_note(suffix):
    notes = []
    xmp = b"" if suffix == ".avif" else XMP
    content = media.signal_bytes(smooth_image(5, 7), suffix, Metadata(exif=b"no EXIF", xmp=xmp), notes.append)
    assert notes == [f"a {suffix} file cannot hold EXIF and XMP such as these; they are left out"]
    assert content == media.signal_bytes(smooth_image(5, 7), suffix)


@pytest.mark.parametrize("suffix", [f".{name}" for name in WITH_ALL])
@pytest.mark.parametrize("part", ["exif", "xmp"])
def test_hostile_metadata_do_not_turn_an_image(suffix, part):
    lying = camera_exif().tobytes()[6:] if part == "exif" else XMP.replace(b"'6'", b'"6"')
    content = media.signal_bytes(smooth_image(5, 7), suffix, Metadata(**{part: lying}), pytest.fail)
    assert media.read_signal_bytes(content, Path("input")).shape == (5, 7)


@pytest.mark.parametrize(
    ("suffix", "left_out"),
    [
        (".jpg", "EXIF (too much), XMP (too much)"),
        (".avif", "EXIF (too much)"),
        (".tif", "EXIF (too much)"),
    ],
)
def test_what_is_too_large_is_left_out_with_a_note(suffix, left_out):
    notes = []
    exif = metadata.upright_exif(exif_with_thumbnail("<", b"") + bytes(2**16))
    media.signal_bytes(smooth_image(5, 7), suffix, Metadata(exif=exif, xmp=bytes(2**16)), notes.append)
    assert notes == [f"a {suffix} file cannot hold all of the metadata; left out: {left_out}"]
    assert media.signal_bytes(smooth_image(5, 7), ".png", Metadata(exif=exif), pytest.fail)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(images.FORMATS)),
    st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda noise: b"II*\0\x08\0\0\0" + noise)),
    st.one_of(st.binary(max_size=40), st.just(ICC), st.just(cmyk_profile()), st.just(ICC[:200])),
    st.binary(max_size=40),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_hostile_metadata_do_no_harm(suffix, exif, icc, xmp, strip, channels):
    notes = []
    signal = smooth_image(3, 4, channels)
    content = media.signal_bytes(signal, suffix, Metadata(exif, icc, xmp), notes.append, strip)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (4, 3)
    assert all("\n" not in note for note in notes)


def test_entries_of_exif_that_say_how_a_tiff_file_is_stored_are_not_written():
    exif = Image.Exif()
    exif[0x010E], exif[256], exif[259], exif[273], exif[322] = "A picture", 5000, 5, 7, 16
    content = media.signal_bytes(smooth_image(5, 7), ".tif", Metadata(exif=exif.tobytes()[6:]), pytest.fail)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), smooth_image(5, 7).samples)
        assert 322 not in image.tag_v2
        assert image.tag_v2[0x010E] == "A picture"
