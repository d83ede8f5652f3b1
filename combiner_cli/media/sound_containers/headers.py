"""Sizes in the headers of sound files: of files that are cut off, and of those whose writer did not know them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from ...errors import InputError
from . import ogg

Note = Callable[[str], None]
Order = Literal["little", "big"]

# From here on the sizes in headers are those of writers to a pipe, which do not know them; SoX takes the largest number
# below it that is a whole number of frames.
_LENGTH_UNKNOWN = 0x7FFFF000
_RF64_UNKNOWN = 2**32 - 1  # the size is in the first chunk, ds64 (EBU Tech 3306)
_DS64_SIZE = slice(28, 36)
_BLOCK_SIZE = 12  # place in the content of the chunk fmt: bytes of a frame
FLAC = b"fLaC"
_STREAM_INFO = 8  # place of its content in a file, behind the magic and the header of the block
_TOTAL = _STREAM_INFO + 13  # place of the number of frames, of which the first 4 bits belong to a byte of another thing
_LONGEST_FRAME = 2**21  # bytes of FLAC in two channels, with room to spare
_LEAST_FRAME = 10
_FRAME = re.compile(rb"\xff[\xf8\xf9]")  # as it begins, and much else
_MOST_PLACES, _MOST_FRAMES_TRIED = 10_000, 64
_FLAC_BLOCK_SIZES = {1: 192, **{n: 576 << (n - 2) for n in range(2, 6)}, **{n: 256 << (n - 8) for n in range(8, 16)}}


@dataclass(frozen=True)
class _Chunk:
    """A chunk of a WAV, AIFF or CAF file.

    Attributes:
        start: place of its content.
        size: of its content, in bytes, as it is stated.
        block: bytes of a frame, by the chunk fmt before it; 1 without one.
    """

    start: int
    size: int
    block: int


def whole(data: bytes, path: Path, note: Note) -> bytes:
    """A sound file of which nothing is missing, with sizes that libsndfile can rely on.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what its header says wrongly.

    Raises:
        InputError: the end is missing, where libsndfile would take it for a shorter one.
    """
    if data[:4] == ogg.MAGIC:
        if not all(ogg.is_whole(link) for link in ogg.links(data)):
            raise InputError(f"{path} is cut off: its last page is missing; restore it from its source")
        return data
    if data[:4] == FLAC:
        return _flac_of_known_length(data, path)
    if data[:4] in (b"RIFF", b"RIFX") and data[8:12] == b"WAVE":
        data = _wave_of_known_length(data, path, note)
    end = _declared_end(data)
    if end is not None and end > len(data):
        raise InputError(f"{path} is cut off: {len(data):,} of {end:,} bytes are there; restore it from its source")
    return data


def _declared_end(data: bytes) -> int | None:
    """Where the samples of a WAV, AIFF, AU or CAF file end by its header, in bytes; ``None`` if it does not say so."""
    name, kind = data[:4], data[8:12]
    if name in (b"RIFF", b"RIFX", b"RF64") and kind == b"WAVE":
        chunk = _find(data, 12, b"data", "big" if name == b"RIFX" else "little", 4)
    elif name == b"FORM" and kind in (b"AIFF", b"AIFC"):
        chunk = _find(data, 12, b"SSND", "big", 4)
    elif name == b"caff":
        chunk = _find(data, 8, b"data", "big", 8)
    elif name == b".snd":
        start, size = struct.unpack_from(">II", data.ljust(12, b"\0"), 4)
        return None if size >= _LENGTH_UNKNOWN else start + size
    else:
        return None
    if chunk is None:
        return None
    size, largest = chunk.size, 2**63 if name == b"caff" else _LENGTH_UNKNOWN
    if name == b"RF64":
        size, largest = int.from_bytes(data[_DS64_SIZE], "little") if size == _RF64_UNKNOWN else size, 2**63
    return None if size >= largest else chunk.start + size


def _find(data: bytes, place: int, wanted: bytes, order: Order, width: int) -> _Chunk | None:
    """A chunk by its name; chunks with sizes of ``width`` bytes follow one another from ``place`` on."""
    block = 1
    while place + 4 + width <= len(data):
        start = place + 4 + width
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : start], order)
        if name == wanted:
            return _Chunk(start, size, block)
        if name == b"fmt ":
            block = max(1, int.from_bytes(data[start + _BLOCK_SIZE : start + _BLOCK_SIZE + 2], order))
        place = start + size + (size % 2 if width == 4 else 0)
    return None


def _wave_of_known_length(data: bytes, path: Path, note: Note) -> bytes:
    """A WAV file whose header says how long it is; one that was written to a pipe goes to the end of the file."""
    order: Order = "big" if data[:4] == b"RIFX" else "little"
    chunk = _find(data, 12, b"data", order, 4)
    there = len(data) - chunk.start if chunk else 0
    if chunk is None or there < chunk.block:
        return data
    if chunk.size == 0:
        if _are_chunks(data, chunk.start, order):
            return data
        note(f"{path} has no samples by its header; the {there:,} bytes behind it are read as samples")
    elif chunk.size <= there or chunk.size <= _LENGTH_UNKNOWN - chunk.block:
        return data
    size = there - there % chunk.block
    is_padded = there - size == 1 and size % 2 == 1 and data.endswith(b"\0")
    if size < there and not is_padded:
        note(f"{path} ends within a frame, which is left out; it may be cut off")
    known = bytearray(data[: chunk.start + size])
    known[4:8] = min(len(known) - 8, 2**32 - 1).to_bytes(4, order)
    known[chunk.start - 4 : chunk.start] = min(size, 2**32 - 1).to_bytes(4, order)
    return bytes(known)


def _are_chunks(data: bytes, place: int, order: Order) -> bool:
    """Whether nothing but whole chunks is from a place on."""
    while place + 8 <= len(data) and data[place : place + 4].isascii() and data[place : place + 4].isalnum():
        size = int.from_bytes(data[place + 4 : place + 8], order)
        place += 8 + size + size % 2
    return place in (len(data), len(data) + 1)


# ---- FLAC (RFC 9639) -------------------------------------------------------------------------------------------------


def _flac_of_known_length(data: bytes, path: Path) -> bytes:
    """A FLAC file that says how many frames it has, which the last one knows where its writer did not.

    Raises:
        InputError: there is no whole last one.
    """
    if len(data) < _TOTAL + 5 or data[_TOTAL] & 0x0F or any(data[_TOTAL + 1 : _TOTAL + 5]):
        return data
    block_size = int.from_bytes(data[_STREAM_INFO : _STREAM_INFO + 2], "big")
    total = _frames_by_the_last(data, block_size)
    if total is None:
        raise InputError(f"{path} is cut off: its last frame is not whole; restore it from its source")
    known = bytearray(data)
    known[_TOTAL] |= total >> 32
    known[_TOTAL + 1 : _TOTAL + 5] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(known)


def _frames_by_the_last(data: bytes, block_size: int) -> int | None:
    """How many samples in each channel there are up to the end of the file, or ``None`` if no frame ends there."""
    least = max(_STREAM_INFO, len(data) - _LONGEST_FRAME)
    places = [match.start() for match in _FRAME.finditer(data, least)]
    frames = ((place, _frame_end(data, place, block_size)) for place in places[:-_MOST_PLACES:-1])
    possible = ((place, length) for place, length in frames if length is not None)
    for place, length in islice(possible, _MOST_FRAMES_TRIED):
        if _checksum_16(data[place:]) == 0:
            return length
    return None


def _frame_end(data: bytes, place: int, block_size: int) -> int | None:
    """How many samples there are up to the end of the frame that begins here; ``None`` if none begins here."""
    if len(data) - place < _LEAST_FRAME:
        return None
    size_code, rate_code = data[place + 2] >> 4, data[place + 2] & 0x0F
    first = data[place + 4]
    more = max(0, 8 - (first ^ 0xFF).bit_length() - 1)  # as in UTF-8
    number = first & (0x7F >> more + 1 if more else 0x7F)
    for byte in data[place + 5 : place + 5 + more]:
        number = number << 6 | byte & 0x3F
    end = place + 5 + more
    if size_code in (6, 7):
        length = int.from_bytes(data[end : end + size_code - 5], "big") + 1
        end += size_code - 5
    else:
        length = _FLAC_BLOCK_SIZES.get(size_code, 0)
    end += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not length or _checksum_8(data[place : end + 1]):
        return None
    is_variable = data[place + 1] & 1
    return (number if is_variable else number * block_size) + length


def _checksum_8(data: bytes) -> int:
    """CRC-8 of FLAC, which is 0 of data with their own checksum."""
    checksum = 0
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x107 if checksum & 0x80 else 0)) & 0x1FF
    return checksum


def _checksum_16(data: bytes) -> int:
    """CRC-16 of FLAC, which is 0 of data with their own checksum."""
    checksum = 0
    for byte in data:
        checksum = (checksum << 8 & 0xFFFF) ^ _CRC_16[checksum >> 8 ^ byte]
    return checksum


def _crc_16_of(byte: int) -> int:
    checksum = byte << 8
    for _ in range(8):
        checksum = (checksum << 1 ^ (0x18005 if checksum & 0x8000 else 0)) & 0x1FFFF
    return checksum & 0xFFFF


_CRC_16 = tuple(_crc_16_of(byte) for byte in range(256))
