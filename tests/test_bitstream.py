"""The container: round trips by property testing, the worked examples of FORMAT.md, and everything that is refused."""

import binascii
import re
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.container import bitstream, metadata
from combiner_cli.container.bitstream import Header
from combiner_cli.errors import DamagedFileError, UnsupportedVersionError
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.neighbourhood import phase_tiles
from combiner_cli.rec import groups

IMAGES = st.builds(
    lambda prior, height, width, channels, depth, groups: Header(
        prior, "image", (height, width), channels, depth, None, tuple(groups)
    ),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from([8, 16]),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
)
SOUNDS = st.builds(
    lambda prior, frames, rate, channels, depth, groups: Header(
        prior, "sound", (frames,), channels, depth, rate, (groups,)
    ),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2),
    st.sampled_from([16, 24]),
    st.integers(0, 2**32 - 1),
)
VERSION_2 = st.builds(
    lambda header, noise: replace(header, groups=(), noise=noise), st.one_of(IMAGES, SOUNDS), st.integers(0, 127)
)
_STREAMS = {
    "noise": st.integers(0, 127),
    "class_bytes": st.integers(0, 2**32 - 1),
    "densities": st.tuples(*[st.integers(0, 127)] * 8),
    "chains": st.integers(1, 64),
}
VERSION_3 = st.one_of(
    st.builds(lambda header, streams: replace(header, groups=(), **streams), IMAGES, st.fixed_dictionaries(_STREAMS)),
    st.builds(
        lambda header, streams: replace(header, groups=(), **streams),
        SOUNDS,
        st.fixed_dictionaries({**_STREAMS, "transform": st.tuples(st.integers(0, 8), st.integers(0, 63))}),
    ),
)
IN_STREAMS = [3, 7, 2, 3, 5, 4, 0]  # an image of version 3 up to its densities
SOUND_IN_STREAMS = [3, 7, 8, 300, 16000, 4, 0]


def _file(fields, payload=b""):
    content = bitstream.MAGIC + msgpack.packb(fields) + payload
    return content + binascii.crc32(content).to_bytes(4, "big")


@given(st.one_of(IMAGES, SOUNDS, VERSION_2, VERSION_3), st.binary(max_size=50))
def test_headers_and_payloads_come_back(header, payload):
    assert bitstream.unpack(bitstream.pack(header, payload)) == (header, payload)


@pytest.mark.parametrize(
    ("wide", "version"), [({}, 1), ({"noise": 0}, 2), ({"noise": 0, "class_bytes": 0, "densities": (0,) * 8}, 3)]
)
def test_the_version_follows_from_what_a_header_says(wide, version):
    header = Header(7, "image", (3, 5), 3, 8, None, () if wide else (4,), **wide)
    assert header.version == version
    assert bitstream.pack(header, b"")[4] == version


@given(st.integers(0, 2**32 - 1), st.integers(1, 65535), st.integers(1, 65535), st.integers(1, 65535))
def test_an_image_takes_at_most_24_bytes_around_the_payload(prior_id, height, width, groups):
    header = Header(prior_id, "image", (height, width), 4, 16, None, (groups,))
    assert len(bitstream.pack(header, b"")) <= 24


@given(st.lists(st.integers(0, 65535), max_size=40))
def test_indices_come_back(indices):
    indices = np.array(indices, dtype=np.int64)
    payload = bitstream.indices_to_bytes(indices, 16)
    assert np.array_equal(bitstream.indices_from_bytes(payload, len(indices), 16), indices)
    payload = bitstream.indices_to_bytes(indices % 256, 8)
    assert np.array_equal(bitstream.indices_from_bytes(payload, len(indices), 8), indices % 256)


def test_more_stages_than_a_header_can_hold_are_refused():
    header = Header(7, "image", (3, 5), 3, 8, None, (2**32 - 1,) * 12)
    with pytest.raises(ValueError, match="12 stages do not fit a header"):
        bitstream.pack(header, b"")


FORMAT = (Path(__file__).parent.parent / "FORMAT.md").read_text()
DUMPS = [
    bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))
    for block in re.findall(r"```hex\n(.*?)```", FORMAT, re.DOTALL)
]


def test_the_format_description_has_an_example_of_each_version():
    assert tuple(bitstream.unpack(data)[0].version for data in DUMPS[:-1]) == bitstream.VERSIONS
    assert DUMPS[-1][4] == bitstream.WITH_METADATA


def test_the_worked_example_of_version_1_parses():
    header, payload = bitstream.unpack(DUMPS[0])
    assert header == Header(0x12345678, "image", (512, 768), 3, 8, None, (2,))
    assert bitstream.indices_from_bytes(payload, 2, 16).tolist() == [4660, 65535]
    assert bitstream.pack(header, payload) == DUMPS[0]


def test_the_worked_example_of_version_2_parses():
    header, payload = bitstream.unpack(DUMPS[1])
    assert header == Header(0x9ABCDEF0, "image", (24, 32), 3, 8, None, noise=20)
    assert bitstream.pack(header, payload) == DUMPS[1]
    assert mixtures.noise_level(20, "image") == -1152
    length = mixtures.class_bytes(4, 4)
    assert payload[:length] == mixtures.pack_classes(np.array([5, 0, 15, 3]), 4)
    assert bitstream.indices_from_bytes(payload[length:], 3, 8).tolist() == [18, 255, 7]
    assert [phase_tiles((2, 2), phase).tolist() for phase in range(4)] == [[0], [1], [2], [3]]
    stages = [groups.Stage("phase", np.array([information])) for information in (3000, 1000, 1500, 500)]
    assert groups.share_out(stages, 3) == (1, 1, 0, 1)


def test_the_worked_example_of_version_4_parses():
    inner, packed = bitstream.split_metadata(DUMPS[3])
    assert inner == DUMPS[1]
    assert metadata.unpack(packed) == metadata.Metadata(xmp=b"<x/>")
    assert bitstream.with_metadata(inner, packed) == DUMPS[3]
    assert bitstream.unpack(DUMPS[3]) == bitstream.unpack(DUMPS[1])


EXAMPLE = bitstream.pack(Header(7, "image", (3, 5), 3, 8, None, (4,)), bytes(8))
WRAPPED = bitstream.with_metadata(EXAMPLE, bytes(range(10)))


@given(st.one_of(IMAGES, SOUNDS, VERSION_2), st.binary(max_size=50), st.binary(max_size=400))
def test_metadata_go_around_a_file_and_come_off_again(header, payload, packed):
    data = bitstream.pack(header, payload)
    wrapped = bitstream.with_metadata(data, packed)
    assert bitstream.split_metadata(wrapped) == (data, packed)
    assert bitstream.split_metadata(data) == (data, b"")
    assert bitstream.unpack(wrapped) == (header, payload)
    assert len(wrapped) - len(data) == metadata.overhead(packed) or not packed


def test_metadata_have_a_limit():
    with pytest.raises(ValueError, match="do not fit a file"):
        bitstream.with_metadata(EXAMPLE, bytes(bitstream.LARGEST_METADATA + 1))


@pytest.mark.parametrize("data", [EXAMPLE, WRAPPED], ids=["plain", "with metadata"])
def test_every_changed_byte_is_noticed(data):
    for position in range(len(data)):
        for value in range(256):
            changed = data[:position] + bytes([value]) + data[position + 1 :]
            if changed != data:
                for read in (bitstream.unpack, bitstream.split_metadata):
                    with pytest.raises(DamagedFileError):
                        read(changed)


@pytest.mark.parametrize("data", [EXAMPLE, WRAPPED], ids=["plain", "with metadata"])
def test_every_truncation_and_extension_is_noticed(data):
    for changed in (*(data[:length] for length in range(len(data))), data + b"\0"):
        for read in (bitstream.unpack, bitstream.split_metadata):
            with pytest.raises(DamagedFileError):
                read(changed)


@pytest.mark.parametrize(
    "data",
    [
        bitstream.with_metadata(WRAPPED, b""),
        bitstream.with_metadata(EXAMPLE[:-1], b"1234"),
        bitstream.with_metadata(b"", b"1234"),
        _file([4], EXAMPLE),
        _file([4, 1, 2], b"1" + EXAMPLE),
        _file([4, len(EXAMPLE) + 1], EXAMPLE),
        _file([4, -1], EXAMPLE),
        _file([4, [1]], b"1" + EXAMPLE),
        _file([4, 2**64 - 1], EXAMPLE),
        _file([4, bitstream.LARGEST_METADATA + 1], bytes(bitstream.LARGEST_METADATA + 1) + EXAMPLE),
    ],
)
def test_wrappers_that_make_no_sense_are_refused_even_with_a_right_checksum(data):
    with pytest.raises(DamagedFileError):
        bitstream.unpack(data)


def test_a_damaged_file_gives_its_metadata_if_asked():
    changed = WRAPPED[:-1] + b"!"
    assert bitstream.split_metadata(changed, ignore_checksum=True) == (EXAMPLE, bytes(range(10)))
    assert bitstream.unpack(changed, ignore_checksum=True) == bitstream.unpack(EXAMPLE)


def test_an_unknown_version_is_named():
    with pytest.raises(UnsupportedVersionError, match="version 9"):
        bitstream.unpack(_file([9, "whatever a later version", {"may": "hold", "in": ["its", "header"]}]))
    with pytest.raises(UnsupportedVersionError, match="version 9, this program reads versions 1 to 4"):
        bitstream.unpack(bitstream.with_metadata(_file([9]), b""))


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [1],
        [1, 7, 2, 3, 5, 4, 4],
        [1, 2**32, 2, 3, 5, 4],
        [1, 7, 16, 3, 5, 4],
        [1, 7, 2, 0, 5, 4],
        [1, 7, 2, 3, 2**32, 4],
        [1, 7, 2, 3, -5, 4],
        [1, 7, 2, 3, 5, []],
        [1, 7, 2, 3, 5, [[1]]],
        [1, 7, 2, 3, 5, None],
        [1, 7, 2, 3, 5, True],
        [1, 7.0, 2, 3, 5, 4],
        [1, 7, 10, 3, 5, 4],
        [True, 7, 2, 3, 5, 4],
        [2, 7, 2, 3, 5, 128],
        [2, 7, 2, 3, 5, [4]],
        [*IN_STREAMS],
        [*IN_STREAMS, 9],
        [*IN_STREAMS, [80] * 8],
        [*IN_STREAMS, [80] * 8 + [1, 0]],
        [*IN_STREAMS, [80] * 7 + [128, 1]],
        [*IN_STREAMS, [80] * 8 + [0]],
        [*IN_STREAMS, [80] * 8 + [65]],
        [*IN_STREAMS, [80] * 8 + [-1]],
        [*IN_STREAMS[:5], 128, 0, [80] * 8 + [1]],
        [*IN_STREAMS[:6], -1, [80] * 8 + [1]],
        [*IN_STREAMS[:6], [0], [80] * 8 + [1]],
        [*SOUND_IN_STREAMS, [80] * 8 + [1]],
        [*SOUND_IN_STREAMS, [80] * 8 + [1, 9, 0]],
        [*SOUND_IN_STREAMS, [80] * 8 + [1, 0, 64]],
        {1: 2},
        5,
    ],
)
def test_headers_with_impossible_fields_are_refused_even_with_a_right_checksum(fields):
    with pytest.raises((DamagedFileError, UnsupportedVersionError)):
        bitstream.unpack(_file(fields))


def test_headers_of_version_3_that_differ_in_one_field_from_impossible_ones_are_read():
    """Otherwise the refusals above might be for another reason than they seem to be."""
    header, payload = bitstream.unpack(_file([*IN_STREAMS, [127] * 8 + [64]], b"payload"))
    assert (header.version, header.densities, header.chains, header.transform) == (3, (127,) * 8, 64, ())
    assert payload == b"payload"
    header, _ = bitstream.unpack(_file([*SOUND_IN_STREAMS, [0] * 8 + [1, 8, 63]]))
    assert (header.kind, header.chains, header.transform) == ("sound", 1, (8, 63))


@given(st.binary(max_size=80))
def test_noise_behind_the_magic_never_escapes_as_another_error(noise):
    content = bitstream.MAGIC + noise
    for data in (content, content + binascii.crc32(content).to_bytes(4, "big"), noise):
        try:
            bitstream.unpack(data)
        except (DamagedFileError, UnsupportedVersionError) as error:
            assert str(error)


def test_a_payload_of_the_wrong_length_is_refused():
    with pytest.raises(DamagedFileError, match="payload"):
        bitstream.indices_from_bytes(bytes(7), 4, 16)
