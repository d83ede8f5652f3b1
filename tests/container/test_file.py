"""The container: every byte of a file is accounted for, and nothing else is taken for one."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.container import file, header, metadata
from combiner_cli.container.file import File, metadata_overhead, pack, with_metadata
from combiner_cli.container.header import Field
from combiner_cli.errors import DamagedFileError, UnsupportedVersionError
from combiner_cli.rec import groups
from combiner_cli.signals.signal import Format

EXTENT = st.integers(1, 2**32 - 1)
ID = st.integers(0, 2**32 - 1)
IMAGES = st.builds(
    lambda height, width, channels, depth: Format("image", (height, width), channels, depth, None),
    EXTENT,
    EXTENT,
    st.integers(1, 4),
    st.sampled_from((8, 16)),
)
SOUNDS = st.builds(
    lambda frames, rate, channels, depth: Format("sound", (frames,), channels, depth, rate),
    EXTENT,
    EXTENT,
    st.integers(1, 2),
    st.sampled_from((16, 24)),
)
FORMATS = IMAGES | SOUNDS
DENSITIES = Field("densities", 127, count=3, may_be_one=True)
FIELDS = (Field("noise", 127), Field("length"), DENSITIES, Field("chains", 64, least=1))
NUMBERS = st.fixed_dictionaries(
    {
        "noise": st.tuples(st.integers(0, 127)),
        "length": st.tuples(st.integers(0, 2**32 - 1)),
        "densities": st.tuples(*[st.integers(0, 127)] * 3) | st.tuples(st.integers(0, 127)),
        "chains": st.tuples(st.integers(1, 64)),
    }
)
RGB = Format("image", (3, 5), 3, 8, None)
EXAMPLE = pack(7, RGB, FIELDS, {"noise": (4,), "length": (300,), "densities": (1, 2, 3), "chains": (1,)}, bytes(8))
WITH_METADATA = with_metadata(File.parse(EXAMPLE), bytes(range(10)))


@given(ID, FORMATS, NUMBERS, st.binary(max_size=50), st.binary(max_size=400))
def test_what_is_packed_comes_out_again(prior_id, signal_format, numbers, payload, packed):
    plain = pack(prior_id, signal_format, FIELDS, numbers, payload)
    for data, described in ((plain, b""), (with_metadata(File.parse(plain), packed), packed)):
        parsed = File.parse(data)
        assert parsed.data == data and parsed.intact
        assert (parsed.prior_id, parsed.format, parsed.metadata) == (prior_id, signal_format, described)
        assert parsed.metadata_bytes == len(data) - len(plain) == metadata_overhead(described)
        read, rest = parsed.numbers(FIELDS)
        assert read == numbers and bytes(rest) == payload


def test_a_small_image_has_sixteen_bytes_around_its_payload():
    data = pack(2**32 - 1, Format("image", (32, 32), 3, 8, None), (Field("noise", 127),), {"noise": (127,)}, bytes(40))
    assert len(data) == 16 + 40


@pytest.mark.parametrize("data", [EXAMPLE, WITH_METADATA], ids=["plain", "with metadata"])
def test_every_changed_byte_is_noticed(data):
    for position in range(len(data)):
        for value in range(256):
            changed = data[:position] + bytes([value]) + data[position + 1 :]
            if changed != data:
                with pytest.raises(DamagedFileError):
                    File.parse(changed)


@pytest.mark.parametrize("data", [EXAMPLE, WITH_METADATA], ids=["plain", "with metadata"])
def test_every_truncation_and_extension_is_noticed(data):
    for changed in (*(data[:length] for length in range(len(data))), data + b"\0"):
        with pytest.raises(DamagedFileError):
            File.parse(changed)


def test_damage_is_looked_past_where_the_header_makes_sense():
    changed = EXAMPLE[:-5] + b"\xff" + EXAMPLE[-4:]
    parsed = File.parse(changed, ignore_checksum=True)
    assert not parsed.intact and parsed.format == RGB
    assert bytes(parsed.numbers(FIELDS)[1]) == bytes(7) + b"\xff"
    for length in range(12):
        with pytest.raises(DamagedFileError):
            File.parse(EXAMPLE[:length], ignore_checksum=True)


def sealed(content: bytes) -> bytes:
    return content + file.checksum(content)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_files_of_the_time_of_development_are_refused_by_their_version(version):
    data = sealed(b"CMB" + bytes([0x96, version]) + bytes.fromhex("ce12345678") + bytes(8))
    with pytest.raises(
        UnsupportedVersionError, match=f"version {version}, this program reads version 5; code the orig"
    ):
        File.parse(data)


def test_files_of_later_versions_are_refused_by_their_version():
    with pytest.raises(UnsupportedVersionError, match="version 6, this program reads version 5; use a newer combiner"):
        File.parse(sealed(b"CMB\x06" + EXAMPLE[4:-4]))


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (b"", "cannot be read"),
        (b"\x02\x03", "cannot be read"),
        (b"\x20\x03\x05", "code is out of range"),
        (b"\x02\x00\x05", "first is out of range"),
        (b"\x02\x03\x00", "second is out of range"),
        (b"\x02\xcf" + bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b"\x05", "out of range|cannot be read"),
        (b"\x02\xff\x05", "first is out of range"),
        (b"\x02\xc3\x05", "first is out of range"),
        (b"\x02\xca\0\0\0\0\x05", "first is out of range"),
        (b"\x02\x91\x05\x05", "cannot be read"),
        (b"\x02\xa1a\x05", "cannot be read"),
        (b"\x0a\x03\x05", "an impossible sound"),
        (b"\x12\x03\x05", "cannot be read"),
        (b"\x12\x03\x05\x00", "metadata is out of range"),
        (b"\x12\x03\x05\x05abcd", "5 bytes of metadata, which it has not"),
        (b"\x12\x03\x05\xce\x01\0\0\x01abcd", "metadata is out of range"),
    ],
)
def test_headers_that_make_no_sense_are_damage(rest, words):
    with pytest.raises(DamagedFileError, match=words):
        File.parse(sealed(b"CMB\x05" + bytes(4) + rest))


def test_numbers_of_a_family_that_make_no_sense_are_damage():
    parsed = File.parse(sealed(b"CMB\x05" + bytes(4) + b"\x02\x03\x05" + b"\x04\x01\xcc\x82\x03\x80"))
    with pytest.raises(DamagedFileError, match="densities is out of range"):
        parsed.numbers(FIELDS)
    with pytest.raises(DamagedFileError, match="cannot be read"):
        File.parse(sealed(b"CMB\x05" + bytes(4) + b"\x02\x03\x05\x04")).numbers((Field("noise", count=9),))
    with pytest.raises(DamagedFileError, match="chains is out of range"):
        parsed.numbers((Field("noise"), Field("length"), Field("densities", count=2), Field("chains", 127)))


def test_one_number_stands_for_all_by_hand():
    assert header.write((DENSITIES,), {"densities": (80,)}) == b"\x50"
    assert header.write((DENSITIES,), {"densities": (80, 80, 127)}) == b"\xcc\xd0\x50\x7f"
    assert header.read((DENSITIES,), memoryview(b"\x50\x07")) == ({"densities": (80,)}, 1)
    assert header.read((DENSITIES,), memoryview(b"\xcc\xd0\x50\x7f\x07")) == ({"densities": (80, 80, 127)}, 4)
    for damaged in (b"\xcd\x01\x00\x50\x7f", b"\xcc\xd0\x50\xcc\x80"):
        with pytest.raises(DamagedFileError, match="densities is out of range"):
            header.read((DENSITIES,), memoryview(damaged))
    with pytest.raises(ValueError, match="densities cannot be"):
        header.write((DENSITIES,), {"densities": (80, 80)})


@pytest.mark.parametrize("numbers", [{"noise": (128,)}, {"noise": (-1,)}, {"noise": (1, 2)}, {"noise": ()}])
def test_numbers_out_of_range_are_not_written(numbers):
    with pytest.raises(ValueError, match="noise cannot be"):
        header.write((Field("noise", 127),), numbers)


def test_metadata_have_a_limit():
    with pytest.raises(ValueError, match="metadata cannot be"):
        with_metadata(File.parse(EXAMPLE), bytes(header.LARGEST_METADATA + 1))


FORMAT = (Path(__file__).parents[2] / "FORMAT.md").read_text()
DUMPS = [
    bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()))
    for block in re.findall(r"```hex\n(.*?)```", FORMAT, re.DOTALL)
]


def test_the_worked_examples_of_the_format_description_parse():
    siren, mixture, pyramid, described = (File.parse(data) for data in DUMPS)
    assert (siren.prior_id, siren.format) == (0x12345678, Format("image", (512, 768), 3, 8, None))
    numbers, payload = siren.numbers((Field("index_bytes", 2, least=1),))
    assert numbers == {"index_bytes": (2,)} and np.frombuffer(payload, ">u2").tolist() == [4660, 65535]

    numbers, payload = mixture.numbers((Field("noise", 127),))
    assert numbers == {"noise": (20,)} and payload.hex() == "50f312ff07"
    stages = [groups.Stage("phase", np.array([information])) for information in (3000, 1000, 1500, 500)]
    assert groups.share_out(stages, 3) == (1, 1, 0, 1)

    densities = Field("densities", 127, count=8, may_be_one=True)
    fields = (Field("noise", 127), Field("class_bytes"), densities, Field("chains", 64, least=1))
    numbers, payload = pyramid.numbers(fields)
    assert numbers == {"noise": (40,), "class_bytes": (4,), "densities": tuple(range(80, 88)), "chains": (1,)}
    assert payload.hex() == "a3208cfa12ff0740c8"

    assert metadata.unpack(described.metadata) == metadata.Metadata(xmp=b"<x/>")
    assert described.data == with_metadata(mixture, described.metadata)
    assert bytes(described.body) == bytes(mixture.body)
