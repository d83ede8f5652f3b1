"""Pages and packets of Ogg files (RFC 3533)."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

CONTINUED, FIRST, LAST = 0x01, 0x02, 0x04  # flags of a page
MAGIC = b"OggS"
_HEADER = 27  # bytes of a page before the lengths of its segments
_CHECKSUM = slice(22, 26)
SEGMENT = 255  # bytes of the longest
_SEGMENTS = 255  # of a page at most
_NO_PACKET_ENDS = 2**64 - 1  # where the position would be
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        start: its place in the file.
        end: the place behind it, which may be beyond the end of a file that is cut off.
        flags: ``CONTINUED``, ``FIRST`` and ``LAST``.
        position: in samples, of the last packet that ends here.
        stream: its number.
        sequence: of the page in its stream.
        segments: their lengths.
        body: the segments.
    """

    start: int
    end: int
    flags: int
    position: int
    stream: int
    sequence: int
    segments: bytes
    body: bytes


def pages(data: bytes, place: int = 0) -> Iterator[Page]:
    """The pages of a file from a place on, up to something that is none."""
    while data[place : place + 4] == MAGIC and place + _HEADER <= len(data):
        flags, position, stream, sequence, _, count = struct.unpack_from("<BQIIIB", data, place + 5)
        segments = data[place + _HEADER : place + _HEADER + count]
        start = place + _HEADER + count
        end = start + sum(segments)
        yield Page(place, end, flags, position, stream, sequence, segments, data[start:end])
        place = end


def links(data: bytes) -> list[bytes]:
    """The parts of a file that are streams one after another; at the beginning of each, all of its streams begin."""
    starts, in_head = [0], True
    for page in pages(data):
        if page.flags & FIRST and not in_head:
            starts.append(page.start)
        in_head = bool(page.flags & FIRST)
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def is_whole(data: bytes) -> bool:
    """Whether the pages of a part are complete and the last one says that it is the last one."""
    last = deque(pages(data), maxlen=1)
    return bool(last) and bool(last[0].flags & LAST) and last[0].end <= len(data)


def head_packets(data: bytes, count: int) -> tuple[list[bytes], int]:
    """The first packets of the first stream of a part, and the place behind the pages that hold them.

    Args:
        data: the part.
        count: how many packets are wanted.

    Raises:
        ValueError: there are fewer, or the last one does not end with its page.
    """
    packets, packet, stream = [], bytearray(), None
    for page in pages(data):
        stream = page.stream if stream is None else stream
        if page.stream != stream:
            continue
        place = 0
        for length in page.segments:
            packet += page.body[place : place + length]
            place += length
            if length < SEGMENT:
                packets.append(bytes(packet))
                packet.clear()
        if len(packets) >= count:
            if len(packets) > count or packet:
                raise ValueError("more than headers is on the pages of the headers")
            return packets, page.end
    raise ValueError("the headers are cut off")


def with_head_packets(data: bytes, packets: Sequence[bytes]) -> bytes:
    """A part of one stream with other packets at its beginning, the first of which has a page of its own.

    Raises:
        ValueError: the part is not what it should be.
    """
    _, end = head_packets(data, len(packets))
    stream = next(pages(data)).stream
    written = _written(packets[:1], stream, 0) + _written(packets[1:], stream, 1)
    parts = [_packed(page) for page in written]
    for number, page in enumerate(pages(data, end), start=len(written)):
        parts.append(_packed(replace(page, sequence=number)))
    return b"".join(parts)


def _written(packets: Sequence[bytes], stream: int, sequence: int) -> list[Page]:
    """Pages of header packets, whose position is 0."""
    segments = bytearray()
    for packet in packets:
        segments += bytes([SEGMENT]) * (len(packet) // SEGMENT) + bytes([len(packet) % SEGMENT])
    body, made, place, continued = b"".join(packets), [], 0, False
    for start in range(0, len(segments), _SEGMENTS):
        lengths = bytes(segments[start : start + _SEGMENTS])
        length = sum(lengths)
        position = 0 if min(lengths) < SEGMENT else _NO_PACKET_ENDS
        flags = (CONTINUED if continued else 0) | (FIRST if sequence == 0 else 0)
        made.append(Page(0, 0, flags, position, stream, sequence, lengths, body[place : place + length]))
        place, sequence, continued = place + length, sequence + 1, lengths[-1] == SEGMENT
    return made


def _packed(page: Page) -> bytes:
    fields = (0, page.flags, page.position, page.stream, page.sequence, 0, len(page.segments))
    packed = bytearray(MAGIC + struct.pack("<BBQIIIB", *fields) + page.segments + page.body)
    packed[_CHECKSUM] = struct.pack("<I", _checksum(packed))
    return bytes(packed)


def _checksum(data: bytes | bytearray) -> int:
    """CRC-32 of Ogg: that of zlib with all bits in the opposite order, and nothing inverted."""
    mirrored = zlib.crc32(data.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
