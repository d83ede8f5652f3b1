"""EXIF, colour profiles, XMP and tags: through files of every format and back, and hostile ones that do no harm."""

from __future__ import annotations

import io
import json
import re
import struct
import tracemalloc
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import png
import pytest
import soundfile
from conftest import smooth_image, tiny_mixture, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import cmyk_profile, gamma_curve, grey_profile, rgb_profile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from test_cli import left_in, refused, run

from combiner_cli.container import bitstream, metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import DamagedFileError, InputError, LimitError, OutputError
from combiner_cli.media import files as media
from combiner_cli.media import images, sounds
from combiner_cli.priors import library

ICC = rgb_profile(gamma_curve(1.0))
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><d tiff:Orientation='6' dc:title='\xc3\xa9'/></x:xmpmeta>"
UPRIGHT_XMP = XMP.replace(b"'6'", b"'1'")
WITH_ALL = ["png", "jpg", "webp", "tif", "avif"]
TAGS = dict(zip(metadata.TAGS, ("Tïtle 漢", "b", "c", "2020", "e", "Jazz", "7", "h", "Some tool", "CC0"), strict=True))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KNOWN = ("exif", "icc", "xmp", "tags")


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "A picture", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 3.5)})
    return exif


def camera_file(suffix: str, icc: bytes = ICC) -> bytes:
    """A picture that lies on its side, with all metadata that there are."""
    exif, options = camera_exif(), {"xmp": XMP}
    if suffix == "png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}
    if suffix == "tif":
        exif = Image.Exif()
        exif.load(camera_exif().tobytes())
        exif[700], exif[0x0112] = XMP, 6
        options = {}
    image = Image.fromarray(smooth_image(9, 13).samples)
    buffer = io.BytesIO()
    image.save(buffer, images.FORMATS[f".{suffix}"].name, exif=exif, icc_profile=icc, **options)
    return buffer.getvalue()


def described(content: bytes) -> tuple[object, ...]:
    """What Pillow finds in an image file besides its samples."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        exif = image.getexif()
        place = {key: value for key, value in exif.get_ifd(0x8825).items() if key}
        date = exif.get_ifd(0x8769).get(0x9003)
        return exif.get(0x010E), exif.get(0x0112, 1), date, place, image.info.get("icc_profile")


# ---- the map ---------------------------------------------------------------------------------------------------------


@given(
    st.builds(
        Metadata,
        st.binary(max_size=50),
        st.binary(max_size=50),
        st.binary(max_size=50),
        st.dictionaries(TEXT, TEXT, max_size=4),
        st.dictionaries(TEXT.filter(lambda name: name not in KNOWN), st.binary(min_size=1, max_size=20), max_size=4),
    )
)
def test_metadata_come_back(found):
    packed = metadata.pack(found)
    assert metadata.unpack(packed) == found
    assert bool(packed) == bool(found)
    assert sum(found.sizes().values()) <= len(zlib.decompress(packed) if packed else b"")


def test_the_order_of_entries_does_not_matter():
    one, other = ({name: TAGS[name] for name in order} for order in (metadata.TAGS, metadata.TAGS[::-1]))
    assert metadata.pack(Metadata(tags=one)) == metadata.pack(Metadata(tags=other))


def test_too_much_is_not_written():
    with pytest.raises(InputError, match=r"the metadata have .* bytes, over the limit"):
        metadata.pack(Metadata(exif=bytes(metadata.LARGEST)))


def bomb(content: bytes, zeros: int) -> bytes:
    compressor = zlib.compressobj(9)
    parts = [compressor.compress(content)] + [compressor.compress(bytes(2**20)) for _ in range(zeros)]
    return b"".join(parts) + compressor.flush()


@pytest.mark.parametrize("content", [b"", b"\x81\xa4exif\xc6\x3f\xff\xff\xff"], ids=["zeros", "one long entry"])
def test_a_bomb_takes_little_memory(content):
    packed = bomb(content, 64)
    assert len(packed) < 2**17
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="decode with --strip"):
            metadata.unpack(packed)
        assert tracemalloc.get_traced_memory()[1] < 3 * metadata.LARGEST
    finally:
        tracemalloc.stop()


HOSTILE = [
    b"",
    b"\xc0",
    b"\x93\x01\x02\x03",
    b"\xdf\xff\xff\xff\xff",  # a map of 2^32 - 1
    b"\x81\xa3icc\xc6\xff\xff\xff\xff",  # 2^32 - 1 bytes
    b"\x81\xa3icc\xdd\xff\xff\xff\xff",
    b"\x81\xa3icc\xd9\x01a",
    b"\x81\xc4\x01a\xc4\x01a",
    b"\x81\x01\xc4\x01a",
    b"\x81\xa4tags\x81\xa1a\xc4\x01a",
    b"\x81\xa4tags\xc4\x01a",
    b"\x81\xa4tags\x81\xa1a\xa1\xff",  # not UTF-8
    b"\x81" * 100000,
    msgpack.packb({f"{number}": b"" for number in range(1000)}),
    msgpack.packb({"exif": b"a"}) + b"\0",
]


@pytest.mark.parametrize("packed", HOSTILE)
def test_maps_that_make_no_sense_are_damage(packed):
    with pytest.raises(DamagedFileError, match="decode with --strip to do without"):
        metadata.unpack(zlib.compress(packed))


@given(st.one_of(st.binary(min_size=1, max_size=60), st.binary(max_size=60).map(zlib.compress)))
def test_noise_is_refused_as_damage_or_makes_sense(noise):
    try:
        metadata.unpack(noise)
    except DamagedFileError as error:
        assert str(error)


def test_bytes_behind_the_end_and_missing_ones_are_damage():
    packed = metadata.pack(Metadata(icc=ICC))
    for wrong in (packed + b"\0", packed[:-1], packed[1:]):
        with pytest.raises(DamagedFileError):
            metadata.unpack(wrong)


# ---- pictures that stand upright -------------------------------------------------------------------------------------


def exif_with_thumbnail(order: str, thumbnail: bytes) -> bytes:
    """Two directories: orientation and a maker's note at a fixed place, and a thumbnail at the end."""
    short, long = (lambda n: struct.pack(f"{order}HH", n, 0)), (lambda n: struct.pack(f"{order}I", n))
    entry = lambda tag, kind, count, value: struct.pack(f"{order}HHI", tag, kind, count) + value  # noqa: E731
    first = 8
    second = first + 2 + 24 + 4 + 8
    third = second + 2 + 24 + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + long(first)
    entries = entry(0x0112, 3, 1, short(8)) + entry(0x927C, 7, 8, long(second - 8))
    one = struct.pack(f"{order}H", 2) + entries + long(second) + b"MAKER..."
    entries = entry(0x0201, 4, 1, long(third)) + entry(0x0202, 4, 1, long(len(thumbnail)))
    return head + one + struct.pack(f"{order}H", 2) + entries + long(0) + thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("behind", [b"", b"\0", b"more that belongs to the maker"])
def test_a_thumbnail_goes_and_makers_notes_stay_where_they_are(order, behind):
    exif = exif_with_thumbnail(order, b"\xff\xd8 secret \xff\xd9") + behind
    upright = metadata.upright_exif(exif)
    assert b"secret" not in upright
    assert upright.index(b"MAKER...") == exif.index(b"MAKER...")
    assert len(upright) <= len(exif)
    assert upright.endswith(behind) or len(behind) < 2
    again = Image.Exif()
    again.load(b"Exif\0\0" + upright)
    assert again[0x0112] == 1
    assert not again.get_ifd(1)
    assert metadata.upright_exif(upright) == upright


def test_a_thumbnail_that_is_in_the_header_does_not_take_the_header_with_it():
    exif = b"MM\0*" + struct.pack(">IHI", 8, 0, 2) + bytes(600)  # the second directory begins with 42 entries
    with pytest.raises(ValueError, match="in the header"):
        metadata.upright_exif(exif)
    exif = bytearray(exif_with_thumbnail("<", b"\xff\xd8"))
    struct.pack_into("<I", exif, exif.index(struct.pack("<HHI", 0x0201, 4, 1)) + 8, 5)
    assert metadata.upright_exif(bytes(exif))[:8] == exif[:8]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "count", "value"), [(3, 1, "HH"), (3, 2, "HH"), (4, 1, "I"), (9, 1, "i"), (1, 1, "B3x")]
)
def test_an_orientation_of_any_type_is_made_upright(order, kind, count, value):
    lying = struct.pack(f"{order}{value}", *(6, 0)[: len(value.replace("3x", ""))])
    exif = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, count) + lying
    again = Image.Exif()
    again.load(b"Exif\0\0" + metadata.upright_exif(exif + bytes(4)))
    assert again[0x0112] == 1


@given(st.data())
def test_changed_exif_is_refused_with_one_kind_of_error(data):
    exif = bytearray(exif_with_thumbnail("<", b"\xff\xd8\xff\xd9"))
    for _ in range(data.draw(st.integers(1, 6))):
        exif[data.draw(st.integers(0, len(exif) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(exif[: data.draw(st.integers(0, len(exif)))])
    try:
        assert len(metadata.upright_exif(cut)) <= len(cut)
    except ValueError as error:
        assert str(error)


def test_xmp_is_upright():
    assert metadata.upright_xmp(XMP) == UPRIGHT_XMP
    assert metadata.upright_xmp(b"<tiff:Orientation>8</tiff:Orientation>") == b"<tiff:Orientation>1</tiff:Orientation>"
    assert metadata.upright_xmp(b"tiff:Orientations='8'") == b"tiff:Orientations='8'"


# ---- image files -----------------------------------------------------------------------------------------------------


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
    content = images._encoded(original, media.image_files.FORMATS[".png"], given_)  # lying on its side
    for _ in png.Reader(bytes=content).read()[2]:
        pass  # which looks at the checksums of all chunks
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with pytest.raises(InputError, match="16 bits and a colour profile"):
        media.read_signal_bytes(content, Path("input"))
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
    words = f"a {suffix} file cannot hold a colour profile; colours are converted to sRGB"
    assert notes == ([] if suffix == ".png" else [words])


def test_a_profile_that_is_srgb_needs_no_conversion():
    from media_files import SRGB_PROFILE

    signal = smooth_image(5, 7)
    assert media.signal_bytes(signal, ".bmp", Metadata(icc=SRGB_PROFILE), pytest.fail) == media.signal_bytes(
        signal, ".bmp"
    )


def test_a_profile_of_16_bits_stays_or_is_refused():
    signal, notes = smooth_image(5, 7, 1, 16), []
    given_ = Metadata(icc=grey_profile(1.0))
    with pytest.raises(OutputError, match=r"a \.ppm file cannot hold the colour profile .* write a \.png file"):
        media.signal_bytes(signal, ".ppm", given_, notes.append)
    content = media.signal_bytes(signal, ".png", replace(given_, xmp=XMP), notes.append, strip=True)
    assert notes == ["the colour profile stays, since samples of 16 bits cannot be converted to sRGB"]
    assert media.read_with_metadata(content, Path("input"))[1] == given_


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".jp2"])
def test_what_a_format_cannot_hold_is_left_out_with_a_note(suffix):
    notes = []
    given_ = Metadata(exif=camera_exif().tobytes()[6:], xmp=XMP)
    content = media.signal_bytes(smooth_image(5, 7), suffix, given_, notes.append)
    assert content == media.signal_bytes(smooth_image(5, 7), suffix)
    assert notes == [f"a {suffix} file cannot hold EXIF and XMP, which are left out"]


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


@pytest.mark.parametrize(("suffix", "left_out"), [(".jpg", "EXIF and XMP"), (".avif", "EXIF"), (".tif", "EXIF")])
def test_what_is_too_large_is_left_out_with_a_note(suffix, left_out):
    notes = []
    exif = metadata.upright_exif(exif_with_thumbnail("<", b"") + bytes(2**16))
    media.signal_bytes(smooth_image(5, 7), suffix, Metadata(exif=exif, xmp=bytes(2**16)), notes.append)
    which = "are" if "and" in left_out else "is"
    assert notes == [f"a {suffix} file cannot hold so much {left_out}, which {which} left out"]
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


# ---- sounds ----------------------------------------------------------------------------------------------------------


def tagged(tags, suffix=".flac"):
    return media.signal_bytes(tone(3000), suffix, Metadata(tags=tags))


@pytest.mark.parametrize(
    ("suffix", "missing"),
    [
        (".flac", set()),
        (".ogg", set()),
        (".opus", set()),
        (".caf", set()),
        (".wav", {"license"}),
        (".aiff", {"album", "date", "genre", "tracknumber", "license"}),
        (".mp3", {"software", "copyright", "license"}),
        (".au", set(TAGS)),
    ],
)
def test_tags_of_sounds_survive(suffix, missing):
    signal = replace(tone(3000), sample_rate=48000)
    notes = []
    content = media.signal_bytes(signal, suffix, Metadata(tags=TAGS), notes.append)
    _, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    kept = {name: text for name, text in TAGS.items() if name not in missing}
    software = found.tags.get("software", "")
    assert software.startswith("Some tool") or "software" in missing
    assert {**found.tags, "software": ""} == {**kept, "software": ""}
    if missing:
        (words,) = notes
        assert words.startswith(f"a {suffix} file cannot hold the tag")
        assert all(name in words for name in missing)
    else:
        assert not notes
    content = media.signal_bytes(signal, suffix, Metadata(tags=TAGS), pytest.fail, strip=True)
    assert not set(media.read_with_metadata(content, Path("input"))[1].tags) - {"software"}


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac", ".mp3"])
def test_tags_that_a_format_cannot_hold_do_not_take_others_with_them(suffix):
    notes = []
    tags = {"title": "short", "artist": "before\0after", "comment": "long" * 20000, "nonsense": "not a tag"}
    content = media.signal_bytes(tone(3000), suffix, Metadata(tags=tags), notes.append)
    signal, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert found.tags["title"] == "short"
    assert found.tags.get("comment", tags["comment"]) == tags["comment"]
    assert "artist" not in found.tags
    assert signal.points >= 3000
    assert len(notes) == 1
    assert "artist" in notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("artist", "before\ufffeafter"),
        ("artist", "\uffff"),
        ("software", "é" * 64),  # libsndfile has room for 127 bytes
        ("software", "x" + "漢" * 50),
    ],
)
def test_tags_that_flac_takes_for_no_text_do_not_end_the_program(name, text):
    """libsndfile 1.2 would free memory twice: the tag before such a one is put there again."""
    notes = []
    content = media.signal_bytes(tone(3000), ".flac", Metadata(tags={"title": "short", name: text}), notes.append)
    assert media.read_with_metadata(content, Path("input"))[1].tags["title"] == "short"
    assert notes == [f"a .flac file cannot hold the tag {name} as given, which is left out"]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(metadata.TAGS), st.text(max_size=30)), st.sampled_from([".wav", ".flac", ".ogg"])
)
def test_tags_come_back_or_are_named(tags, suffix):
    tags = {name: text for name, text in tags.items() if text and text.isprintable()}
    notes = []
    content = sounds.encode_sound(tone(200), suffix, tags, notes.append)
    found = sounds.read_sound(content, Path("input"), None)[1]
    for name, text in tags.items():
        assert found.get(name, "").startswith(text) or name in notes[0]


# ---- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def camera(tmp_path, monkeypatch, prior_folder):
    """A folder with pictures, a sound, and fast priors."""
    library.save(tiny_mixture(), prior_folder / "mixed-image.safetensors")
    library.save(tiny_mixture("sound"), prior_folder / "mixed-sound.safetensors")
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(camera_file("jpg"))
    Path("photo.png").write_bytes(camera_file("png"))
    Path("plain.png").write_bytes(media.signal_bytes(smooth_image(9, 13), ".png"))
    Path("voice.flac").write_bytes(tagged({"title": "../../../outside", "artist": "\x1b[31mred"}))
    return tmp_path


ENCODE = ("encode", "--prior", "mixed-image", "-e", "1", "--keep-metadata")


def test_metadata_through_the_commands(camera):
    done = run(*ENCODE, "photo.jpg", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["bytes"] == Path("photo.cmb").stat().st_size
    assert told["metadata_bytes"] == told["bytes"] - len(bitstream.split_metadata(Path("photo.cmb").read_bytes())[0])
    assert told["bpp"] == pytest.approx(8 * told["bytes"] / (9 * 13), abs=1e-4)
    facts = json.loads(run("info", "photo.cmb", "--json").stdout)
    assert facts["version"] == 4
    assert list(facts["metadata"]) == ["exif", "icc", "xmp"]
    assert facts["metadata"]["icc"] == len(ICC)
    assert f"colour profile {len(ICC)}, XMP {len(XMP)}" in run("info", "photo.cmb").stdout
    assert run("decode", "photo.cmb", "-o", "back.webp").exit_code == 0
    assert described(Path("back.webp").read_bytes())[0] == "A picture"
    assert run("decode", "photo.cmb", "-o", "bare.png", "--strip").exit_code == 0
    with Image.open("bare.png") as image:
        assert set(image.info) == set()
    with Image.open("back.webp") as kept, Image.open("bare.png") as bare:
        assert kept.size == bare.size == (9, 13)
        assert np.abs(np.asarray(kept, dtype=int) - np.asarray(bare)).max() > 20


def test_without_the_option_nothing_is_kept_and_the_conversion_is_told(camera):
    done = run("encode", "--prior", "mixed-image", "-e", "1", "photo.jpg")
    assert "combiner: note: photo.jpg has colours of another profile, which are converted to sRGB" in done.stderr
    assert bitstream.split_metadata(Path("photo.cmb").read_bytes())[1] == b""
    assert run("encode", "--prior", "mixed-image", "-e", "1", "-f", "--quiet", "photo.jpg").stderr == ""


def test_a_file_without_metadata_is_not_wrapped(camera):
    run(*ENCODE, "plain.png", "-o", "a.cmb")
    run("encode", "--prior", "mixed-image", "-e", "1", "plain.png", "-o", "b.cmb")
    assert Path("a.cmb").read_bytes() == Path("b.cmb").read_bytes()


def test_a_size_counts_the_whole_file(camera):
    alone = metadata.overhead(metadata.pack(media.read_with_metadata(Path("photo.png").read_bytes(), Path("x"))[1]))
    for size in (alone + 60, alone + 111, alone + 400):
        assert run(*ENCODE, "photo.png", "-f", "--size", size).exit_code == 0
        assert Path("photo.cmb").stat().st_size == size
    bits = 8 * (alone + 80) / (9 * 13)
    assert run(*ENCODE, "photo.png", "-f", "--bpp", bits).exit_code == 0
    assert Path("photo.cmb").stat().st_size in (alone + 79, alone + 80)
    Path("photo.cmb").unlink()
    message = f"the metadata take {alone:,} bytes of {alone:,}; ask for a larger file, or leave out --keep-metadata"
    refused(run(*ENCODE, "photo.png", "--size", alone), 2, message)
    refused(run(*ENCODE, "photo.png", "--size", alone + 3), 2, f"{alone:,} bytes go to the metadata besides")
    assert not Path("photo.cmb").exists()


def test_tags_through_the_commands_reach_no_path(camera):
    before = left_in(camera)
    assert run("encode", "--prior", "mixed-sound", "-e", "1", "--keep-metadata", "voice.flac").exit_code == 0
    assert "\x1b" not in run("info", "voice.cmb").stdout + run("info", "voice.cmb", "--json").stdout
    assert run("decode", "voice.cmb", "--format", "flac", "-d", "out").exit_code == 0
    with soundfile.SoundFile("out/voice.flac") as sound:
        assert sound.copy_metadata() == {"title": "../../../outside", "artist": "\x1b[31mred"}
    assert left_in(camera) == sorted([*before, "out", "voice.cmb"])


def test_metadata_of_many_files(camera):
    for number in range(3):
        Path(f"{number}.png").write_bytes(camera_file("png", ICC if number else b""))
    done = run(*ENCODE, "0.png", "1.png", "2.png", "plain.png", "-d", "out", "--size", 900)
    assert done.exit_code == 0, done.output
    sizes = [metadata.read(Path(f"out/{name}.cmb").read_bytes()).sizes() for name in ("0", "1", "2", "plain")]
    assert [sorted(size) for size in sizes] == [["exif", "xmp"], ["exif", "icc", "xmp"], ["exif", "icc", "xmp"], []]
    done = run("decode", *(f"out/{name}.cmb" for name in ("0", "1", "2", "plain")), "-d", "back", "--format", "bmp")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("a .bmp file cannot hold a colour profile") == 2


def test_more_metadata_than_a_file_can_hold_are_refused_by_name(camera, monkeypatch):
    monkeypatch.setattr(metadata, "LARGEST", 400)
    message = "photo.png: the metadata have [0-9]+ bytes, over the limit of 400; leave out --keep-metadata"
    done = run(*ENCODE, "photo.png")
    assert done.exit_code == 3
    assert re.fullmatch(f"combiner: {message}\n", done.stderr)


def test_metadata_that_cannot_be_read_can_be_done_without(camera):
    run(*ENCODE, "plain.png")
    inner = Path("plain.cmb").read_bytes()
    for packed, code in ((b"noise", 4), (bomb(b"", 20), 9)):
        Path("x.cmb").write_bytes(bitstream.with_metadata(inner, packed))
        refused(run("decode", "x.cmb", "-o", "x.png"), code, "x.cmb")
        refused(run("info", "x.cmb"), code, "x.cmb")
        done = run("decode", "x.cmb", "-o", "x.png", "--strip", "-f")
        assert done.exit_code == 0, done.output
        assert done.stderr == "combiner: note: the metadata cannot be read and are left out; colours may differ\n"
        Path("x.png").unlink()


def test_a_damaged_file_with_metadata_can_be_decoded_in_part(camera):
    run(*ENCODE, "photo.png")
    data = Path("photo.cmb").read_bytes()
    whole = run("decode", "photo.cmb", "-o", "whole.png")
    assert whole.exit_code == 0
    Path("x.cmb").write_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:])  # in the metadata
    refused(run("decode", "x.cmb", "-o", "x.png"), 4, "its checksum does not match")
    done = run("decode", "x.cmb", "-o", "x.png", "--ignore-checksum")
    assert done.exit_code == 0, done.output
    assert "the metadata cannot be read and are left out" in done.stderr
    with Image.open("x.png") as image, Image.open("whole.png") as reference:
        assert np.array_equal(np.asarray(image), np.asarray(reference))
    Path("x.cmb").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])  # in the payload
    assert run("decode", "x.cmb", "-o", "x.png", "--ignore-checksum", "-f").exit_code == 0
    assert described(Path("x.png").read_bytes())[0] == "A picture"
