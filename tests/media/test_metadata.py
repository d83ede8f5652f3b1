"""Metadata in a file: the map, hostile ones, and pictures that stand upright."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.camera_files import ICC, UPRIGHT_XMP, XMP, bomb, exif_with_thumbnail

from combiner_cli.container import metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import DamagedFileError, InputError, LimitError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


KNOWN = ("exif", "icc", "xmp", "tags")


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
    names = ("title", "artist", "date")
    one, other = ({name: f"my {name}" for name in order} for order in (names, names[::-1]))
    assert metadata.pack(Metadata(tags=one)) == metadata.pack(Metadata(tags=other))


def test_too_much_is_not_written():
    with pytest.raises(InputError, match=r"the metadata have .* bytes, over the limit"):
        metadata.pack(Metadata(exif=bytes(metadata.LARGEST)))


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
