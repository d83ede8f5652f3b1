"""Metadata in a file, read as FORMAT.md has it: plain, and the same as the program reads."""

import struct
import zlib

import numpy as np
import pytest

from combiner_cli.container import metadata
from combiner_cli.container.file import File, pack, with_metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.signals.signal import Format


def msgpack_item(data, at):
    """One item of a metadata map, by the table of msgpack's types, and where the next one is."""
    kind = data[at]
    if kind < 0x80:
        return kind, at + 1
    if kind < 0x90:
        return msgpack_map(data, at + 1, kind - 0x80)
    if 0xA0 <= kind < 0xC0:
        return data[at + 1 : at + 1 + kind - 0xA0].decode(), at + 1 + kind - 0xA0
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDE: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4}[kind]
    number, start = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    if kind in (0xCC, 0xCD, 0xCE):
        return number, start
    if kind == 0xDE:
        return msgpack_map(data, start, number)
    content = data[start : start + number]
    return content if kind < 0xD0 else content.decode(), start + number


def msgpack_map(data, at, entries):
    parts = {}
    for _ in range(entries):
        name, at = msgpack_item(data, at)
        parts[name], at = msgpack_item(data, at)
    return parts, at


def unwrapped(data):
    """The map of metadata in a file, and the file without them."""
    assert struct.unpack(">I", data[-4:]) == (zlib.crc32(data[:-4]),)
    assert data[8] & 16
    at = 9
    for _ in ("first", "second"):
        _, at = msgpack_item(data, at)
    length, start = msgpack_item(data, at)
    packed = zlib.decompress(data[start : start + length])
    parts, end = msgpack_item(packed, 0)
    assert end == len(packed)
    bare = data[:8] + bytes([data[8] - 16]) + data[9:at] + data[start + length : -4]
    return parts, bare + struct.pack(">I", zlib.crc32(bare))


@pytest.mark.parametrize("size", [1, 100, 300, 70000])
def test_the_description_is_enough_to_read_metadata(size):
    bare = pack(7, Format("image", (4, 600), 3, 8, None), (), {}, bytes([1, 2, 3]))
    noise = np.random.default_rng(size).bytes(size)
    tags = {f"tag {number}": "é" * number for number in (3, 20, 40, 200)}
    given = Metadata(noise, b"icc", b"", tags, {"later": b"unknown", **{f"x{n}": b"x" for n in range(size % 99)}})
    parts, rest = unwrapped(with_metadata(File.parse(bare), metadata.pack(given)))
    assert rest == bare
    assert list(parts) == sorted(parts)
    assert parts == {"exif": noise, "icc": b"icc", "tags": tags, **given.unknown}
