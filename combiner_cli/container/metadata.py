"""What a file says of a signal besides its samples: EXIF, XMP, IPTC, colours, resolution, texts and pictures.

In a ``.cmb`` file they are one map, compressed; see the section on metadata in FORMAT.md.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgpack

from ..errors import DamagedFileError, InputError, LimitError
from . import header

LARGEST = 2**24  # bytes of metadata that are not compressed
MOST_ENTRIES = 256  # of a map
# Chunks of PNG (third edition) that are kept as they are there, with their lengths in bytes.
CHUNKS = {"cHRM": 32, "cICP": 4, "cLLI": 8, "gAMA": 4, "mDCV": 24, "pHYs": 9}
WORDS = {  # for the parts of a file, in messages
    "exif": "EXIF",
    "icc": "colour profile",
    "xmp": "XMP",
    "iptc": "IPTC",
    "tags": "tags",
    "pictures": "pictures",
    "cICP": "colours (cICP)",
    "gAMA": "gamma",
    "cHRM": "primaries",
    "mDCV": "mastering display",
    "cLLI": "light levels",
    "pHYs": "resolution",
}
_BINARY = ("exif", "icc", "xmp", "iptc", "pictures")  # parts that are attributes of Metadata
_PICTURE_NUMBERS = 16  # bytes: width, height, depth and colours of a picture
_ORIENTATION = 0x0112
_SHORT = 3  # type of a value in an EXIF directory
_EXIF_HEADER = 8  # bytes: the byte order, and where the first directory is
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)[2-8]""")


@dataclass(frozen=True)
class Metadata:
    """What is known of a signal besides its samples; empty where it is not.

    Attributes:
        exif: of an image, beginning with the byte order; of pixels that stand upright.
        icc: colour profile that the samples of an image are meant in; without one they are in sRGB, unless ``chunks``
            say otherwise.
        xmp: of an image, a packet in UTF-8.
        tags: texts by their names: of a sound by those of Vorbis comments in small letters, of an image by the keywords
            of PNG. Several texts of one name have a NUL between them, as in ID3.
        unknown: what later programs may add, by name; it is kept and not used.
        iptc: of an image, records of the Information Interchange Model.
        pictures: of a sound, the content of FLAC's PICTURE blocks (RFC 9639, section 8.8), one behind another.
        chunks: of an image, the content of those chunks of PNG that are named in ``CHUNKS``: resolution and colours.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, bytes] = field(default_factory=dict)
    iptc: bytes = b""
    pictures: bytes = b""
    chunks: Mapping[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.parts())

    def parts(self) -> dict[str, bytes | Mapping[str, str]]:
        """What is there, by its name in a file."""
        parts: dict[str, bytes | Mapping[str, str]] = {name: getattr(self, name) for name in (*_BINARY, "tags")}
        return {name: part for name, part in (parts | {**self.chunks, **self.unknown}).items() if part}

    def sizes(self) -> dict[str, int]:
        """Bytes of each part that is there, by its name in a file; tags count their names and values."""
        parts = self.parts()
        known = {name: parts.pop(name) for name in WORDS if name in parts}
        return {name: _size(part) for name, part in (known | dict(sorted(parts.items()))).items()}


def _size(part: bytes | Mapping[str, str]) -> int:
    if isinstance(part, bytes):
        return len(part)
    return sum(len(name.encode()) + len(text.encode()) for name, text in part.items())


def pictures(content: bytes) -> list[bytes]:
    """The single pictures in what :attr:`Metadata.pictures` holds.

    Raises:
        ValueError: their lengths make no sense.
    """
    split, place = [], 0
    while place < len(content):
        end = place + 4
        for number in range(3):  # of the kind of image, of the description, and of the image itself
            end += _length_at(content, end) + 4
            end += _PICTURE_NUMBERS if number == 1 else 0
        if end > len(content):
            raise ValueError("a picture is beyond the end")
        split.append(content[place:end])
        place = end
    return split


def _length_at(content: bytes, place: int) -> int:
    if place + 4 > len(content):
        raise ValueError("a picture is cut off")
    return int.from_bytes(content[place : place + 4], "big")


def pack(metadata: Metadata) -> bytes:
    """Metadata as they are in a file; nothing where there are none.

    Raises:
        InputError: they are too large.
    """
    if not metadata:
        return b""
    parts = metadata.parts()
    if metadata.tags:
        parts["tags"] = dict(sorted(metadata.tags.items()))
    packed: bytes = msgpack.packb(dict(sorted(parts.items())))
    compressed = zlib.compress(packed, 9)
    if len(packed) > LARGEST or len(compressed) > header.LARGEST_METADATA:
        raise InputError(
            f"the metadata have {len(packed):,} bytes, over the limit of {LARGEST:,}; leave out --keep-metadata"
        )
    return compressed


def unpack(data: bytes) -> Metadata:
    """The inverse of :func:`pack`.

    Raises:
        DamagedFileError: it cannot be read.
        LimitError: there are more than any file may hold.
    """
    if not data:
        return Metadata()
    decompressor = zlib.decompressobj()
    try:
        packed = decompressor.decompress(data, LARGEST + 1)
        if len(packed) > LARGEST:
            raise LimitError(f"the metadata have more than {LARGEST:,} bytes; decode with --strip to do without")
        if not decompressor.eof or decompressor.unused_data:
            raise ValueError("the compressed metadata do not end where they should")
        parts = msgpack.unpackb(
            packed,
            strict_map_key=True,
            max_str_len=LARGEST,
            max_bin_len=LARGEST,
            max_map_len=MOST_ENTRIES,
            max_array_len=0,
            max_ext_len=0,
        )
        return _metadata(parts)
    except (ValueError, TypeError, zlib.error, msgpack.exceptions.UnpackException) as error:
        raise DamagedFileError("the metadata cannot be read; decode with --strip to do without") from error


def _metadata(parts: object) -> Metadata:
    """Give the parts of a map their meaning."""
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts):
        raise ValueError("the metadata are no map of names")
    tags = parts.pop("tags", {})
    if not isinstance(tags, dict) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise ValueError("the tags are no map of texts")
    if not all(isinstance(part, bytes) for part in parts.values()):
        raise ValueError("a part of the metadata is not binary")
    binary = {name: parts.pop(name, b"") for name in _BINARY}
    pictures(binary["pictures"])
    chunks = {name: parts.pop(name) for name in CHUNKS if name in parts}
    if any(len(content) != CHUNKS[name] for name, content in chunks.items()):
        raise ValueError("a chunk of PNG has another length")
    return Metadata(**binary, tags=tags, chunks=chunks, unknown=parts)


def upright_exif(exif: bytes) -> bytes:
    """EXIF for pixels that were turned upright: with an orientation of 1, and without a thumbnail.

    Everything else stays where it is, since makers' notes may refer to places in the file. The thumbnail was made of
    what the camera saw, and not of what is coded.

    Args:
        exif: beginning with the byte order.

    Raises:
        ValueError: it makes no sense.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        raise ValueError("no byte order")
    changed = bytearray(exif)
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        end = first + 2 + 12 * count
        second = struct.unpack_from(f"{order}I", exif, end)[0] if end + 4 <= len(exif) else 0
        entries = [(place, *struct.unpack_from(f"{order}HHI", exif, place)) for place in range(first + 2, end, 12)]
    except struct.error as error:
        raise ValueError("a directory is beyond the end") from error
    for place, tag, *_ in entries:
        if tag == _ORIENTATION:  # of whatever type: programs are not particular about that
            struct.pack_into(f"{order}HIHH", changed, place + 2, _SHORT, 1, 1, 0)
    if second:
        struct.pack_into(f"{order}I", changed, end, 0)
        return bytes(_without_thumbnail(changed, order, second))
    return bytes(changed)


def _without_thumbnail(exif: bytearray, order: str, directory: int) -> bytearray:
    """EXIF in which a directory and the JPEG file that it names are zeros, or gone where they are the end of it."""
    if directory < _EXIF_HEADER:
        raise ValueError("the directory of the thumbnail is in the header")
    try:
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        entries = [struct.unpack_from(f"{order}HHII", exif, directory + 2 + 12 * number) for number in range(count)]
    except struct.error as error:
        raise ValueError("the directory of the thumbnail is beyond the end") from error
    values = {tag: value for tag, _, _, value in entries}
    start, length = values.get(_THUMBNAIL_OFFSET, 0), values.get(_THUMBNAIL_LENGTH, 0)
    places = [(directory, 2 + 12 * count + 4)] + ([(start, length)] if start >= _EXIF_HEADER else [])
    for begin, size in places:
        end = min(begin + size, len(exif))
        exif[begin:end] = bytes(max(0, end - begin))
    if directory < start and len(exif) - 1 <= start + length:
        del exif[start:]
    return exif


def upright_xmp(xmp: bytes) -> bytes:
    """XMP for pixels that were turned upright: with an orientation of 1."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
