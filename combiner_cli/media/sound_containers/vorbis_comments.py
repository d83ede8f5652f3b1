"""Tags of FLAC, Vorbis and Opus files: Vorbis comments, and pictures."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping, Sequence

from ...container.metadata import pictures as split_pictures
from . import ogg
from .tags import Tags, decoded

_FLAC = b"fLaC"
_PADDING, _APPLICATION, _SEEK_TABLE, _COMMENTS, _CUE_SHEET, _PICTURE = 1, 2, 3, 4, 5, 6  # kinds of blocks
_LAST_BLOCK = 0x80
_LONGEST_BLOCK = 2**24 - 1
_LEFT_OUT = {_APPLICATION: "FLAC application block", _CUE_SHEET: "FLAC cue sheet"}
_PICTURE_COMMENT = "metadata_block_picture"
# First bytes of the first packet to those of the second one, and how many packets are headers.
_VORBIS, _OPUS, _OGG_FLAC = b"\x01vorbis", b"OpusHead", b"\x7fFLAC"
_HEADERS = {_VORBIS: (b"\x03vorbis", 3), _OPUS: (b"OpusTags", 2)}
_FRAMING = b"\x01"


def read_flac(data: bytes) -> Tags:
    """The tags of a FLAC file.

    Raises:
        ValueError, struct.error: they are damaged.
    """
    tags = Tags()
    for kind, content in _blocks(data)[0]:
        _add_block(tags, kind, content)
    return tags


def _add_block(tags: Tags, kind: int, content: bytes) -> None:
    if kind == _COMMENTS:
        _add_comments(tags, content)
    elif kind == _PICTURE:
        _add_picture(tags, content)
    elif kind in _LEFT_OUT:
        tags.left_out.append(_LEFT_OUT[kind])


def read_ogg(data: bytes) -> Tags:
    """The tags of a part of an Ogg file.

    Raises:
        ValueError, struct.error: they are damaged.
    """
    tags = Tags()
    (first,), _ = ogg.head_packets(data, 1)
    if first.startswith(_OGG_FLAC):
        packets, _ = ogg.head_packets(data, 1 + max(1, int.from_bytes(first[7:9], "big")))
        for packet in packets[1:]:
            _add_block(tags, packet[0] & ~_LAST_BLOCK, packet[4:])
        return tags
    for start, (magic, count) in _HEADERS.items():
        if first.startswith(start):
            packets, _ = ogg.head_packets(data, count)
            _add_comments(tags, packets[1][len(magic) :])
    return tags


def _blocks(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Kinds and contents of the blocks of a FLAC file, and the place behind them."""
    blocks, place, is_last = [], len(_FLAC), False
    while not is_last:
        head, length = data[place], int.from_bytes(data[place + 1 : place + 4], "big")
        if place + 4 + length > len(data):
            raise ValueError("a block is cut off")
        blocks.append((head & ~_LAST_BLOCK, data[place + 4 : place + 4 + length]))
        place, is_last = place + 4 + length, bool(head & _LAST_BLOCK)
    return blocks, place


def _comments(content: bytes) -> tuple[bytes, Iterator[bytes]]:
    """The vendor and the comments of a block of Vorbis comments."""

    def split() -> Iterator[bytes]:
        place = 4 + length
        (count,) = struct.unpack_from("<I", content, place)
        place += 4
        for _ in range(count):
            (size,) = struct.unpack_from("<I", content, place)
            if place + 4 + size > len(content):
                raise ValueError("a comment is cut off")
            yield content[place + 4 : place + 4 + size]
            place += 4 + size

    (length,) = struct.unpack_from("<I", content)
    return content[4 : 4 + length], split()


def _add_comments(tags: Tags, content: bytes) -> None:
    for comment in _comments(content)[1]:
        name, _, text = decoded(comment).partition("=")
        if name.lower() == _PICTURE_COMMENT:
            try:
                _add_picture(tags, base64.b64decode(text, validate=True))
            except binascii.Error:
                tags.left_out.append("damaged picture")
        else:
            tags.add(name, text)


def _add_picture(tags: Tags, block: bytes) -> None:
    try:
        is_one = len(split_pictures(block)) == 1
    except ValueError:
        is_one = False
    if is_one:
        tags.add_picture(block)
    else:
        tags.left_out.append("damaged picture")


# ---- writing ---------------------------------------------------------------------------------------------------------


def written_to_flac(data: bytes, texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """A FLAC file with tags instead of those that are in it, and the kinds that are left out."""
    blocks, end = _blocks(data)
    vendor = next((_comments(content)[0] for kind, content in blocks if kind == _COMMENTS), b"")
    comments, left_out = _packed_comments(vendor, texts)
    kept = [(kind, content) for kind, content in blocks if kind not in (_COMMENTS, _PICTURE, _PADDING)]
    added = [(_COMMENTS, comments), *((_PICTURE, picture) for picture in pictures)]
    for kind, content in added:
        if len(content) <= _LONGEST_BLOCK:
            kept.append((kind, content))
        else:
            left_out.append("picture (too large)" if kind == _PICTURE else "tags (too many)")
    parts = [
        bytes([kind | (_LAST_BLOCK if number == len(kept) else 0)]) + len(content).to_bytes(3, "big") + content
        for number, (kind, content) in enumerate(kept, start=1)
    ]
    return _FLAC + b"".join(parts) + data[end:], left_out


def written_to_ogg(data: bytes, texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """A Vorbis or Opus file with tags instead of those that are in it, and the kinds that are left out."""
    (first,), _ = ogg.head_packets(data, 1)
    magic, count = next(tags for start, tags in _HEADERS.items() if first.startswith(start))
    packets, _ = ogg.head_packets(data, count)
    vendor, _ = _comments(packets[1][len(magic) :])
    comments, left_out = _packed_comments(vendor, texts, pictures)
    framing = _FRAMING if first.startswith(_VORBIS) else b""
    return ogg.with_head_packets(data, [first, magic + comments + framing, *packets[2:]]), left_out


def _packed_comments(
    vendor: bytes, texts: Mapping[str, str], pictures: Sequence[bytes] = ()
) -> tuple[bytes, list[str]]:
    """A block of Vorbis comments, and the kinds that it cannot hold."""
    named = {name.upper(): text for name, text in texts.items() if _is_name(name)}
    left_out = ["tags of names that Vorbis comments cannot have"] if len(named) < len(texts) else []
    comments = [f"{name}={part}".encode() for name, text in named.items() for part in text.split("\0")]
    comments += [f"{_PICTURE_COMMENT.upper()}=".encode() + base64.b64encode(picture) for picture in pictures]
    head = struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(comments))
    return head + b"".join(struct.pack("<I", len(comment)) + comment for comment in comments), left_out


def _is_name(name: str) -> bool:
    """Whether Vorbis comments may have a name; the one of pictures is for pictures."""
    allowed = all(" " <= letter <= "}" and letter != "=" for letter in name)
    return bool(name) and allowed and name.lower() != _PICTURE_COMMENT
