"""Tags of WAV, AIFF and CAF files, which are in chunks."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from . import id3
from .tags import Tags, decoded

Order = Literal["little", "big"]

_FIRST = 12  # place of the first chunk of a WAV or AIFF file
_FIRST_OF_CAF = 8
_INFO = {
    b"IART": "artist",
    b"ICMT": "comment",
    b"ICOP": "copyright",
    b"ICRD": "date",
    b"IGNR": "genre",
    b"INAM": "title",
    b"IPRD": "album",
    b"ISFT": "software",
    b"ITRK": "tracknumber",
    b"IENG": "engineer",
    b"IKEY": "keywords",
    b"IPRT": "tracknumber",
    b"ISBJ": "subject",
    b"ISRC": "source",
    b"ITCH": "technician",
}
_INFO_NAMES = {name: identifier for identifier, name in reversed(_INFO.items())}
_AIFF_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"(c) ": "copyright", b"ANNO": "comment"}
_CAF_NAMES = {"comments": "comment", "year": "date", "recorded date": "date", "track number": "tracknumber"}
_CAF_KEYS = {"comment": "comments", "date": "year", "tracknumber": "track number"}
_LONGEST_INFO = 50_000  # bytes; with 51,205 libsndfile 1.2 takes the file for damaged
_ID3 = (b"id3 ", b"ID3 ", b"ID32", b"id32")
# Chunks that say how samples are stored, or nothing.
_STORAGE = frozenset(
    {b"fmt ", b"data", b"fact", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"LIST", *_ID3}
    | {b"COMM", b"SSND", b"FVER", *_AIFF_TEXTS, b"APPL"}
    | {b"desc", b"chan", b"pakt", b"kuki", b"free", b"info"}
)


def read_wave(data: bytes) -> Tags:
    """The tags of a WAV file.

    Raises:
        ValueError, struct.error: they are damaged.
    """
    order: Order = "big" if data[:4] == b"RIFX" else "little"
    info, tag = Tags(), Tags()
    for name, content in _chunks(data, _FIRST, order):
        if name == b"LIST" and content[:4] == b"INFO":
            for identifier, text in _chunks(content, 4, order):
                known = _INFO.get(identifier)
                info.add(known or decoded(identifier), decoded(text.partition(b"\0")[0]))
        elif name == b"LIST":
            info.left_out.append(f"WAV list {_shown(content[:4])}")
        elif name in _ID3 and id3.size(content):
            tag = id3.read(content)
        elif name not in _STORAGE:
            info.left_out.append(f"WAV chunk {_shown(name)}")
    tag.fill_up(info)
    return tag


def read_aiff(data: bytes) -> Tags:
    """The tags of an AIFF file.

    Raises:
        ValueError, struct.error: they are damaged.
    """
    texts, tag = Tags(), Tags()
    for name, content in _chunks(data, _FIRST, "big"):
        if name in _AIFF_TEXTS:
            texts.add(_AIFF_TEXTS[name], decoded(content.rstrip(b"\0")))
        elif name == b"APPL":  # the program follows four letters for its maker
            texts.add("software", decoded(content[4:].strip(b"\0")))
        elif name in _ID3 and id3.size(content):
            tag = id3.read(content)
        elif name not in _STORAGE:
            texts.left_out.append(f"AIFF chunk {_shown(name)}")
    tag.fill_up(texts)
    return tag


def read_caf(data: bytes) -> Tags:
    """The tags of a CAF file.

    Raises:
        ValueError, struct.error: they are damaged.
    """
    tags = Tags()
    for name, content in _chunks(data, _FIRST_OF_CAF, "big", 8):
        if name == b"info":
            texts = content[4:].split(b"\0")
            for key, text in zip(texts[::2], texts[1::2], strict=False):
                tags.add(_CAF_NAMES.get(decoded(key), decoded(key)), decoded(text))
        elif name not in _STORAGE:
            tags.left_out.append(f"CAF chunk {_shown(name)}")
    return tags


def _shown(name: bytes) -> str:
    text = name.decode("latin-1").strip()
    return text if text.isascii() and text.isprintable() and text else "of no name"


def _chunks(data: bytes, place: int, order: Order, width: int = 4) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks from a place on."""
    while place + 4 + width <= len(data):
        start = place + 4 + width
        size = int.from_bytes(data[place + 4 : start], order)
        yield data[place : place + 4], data[start : start + size]
        place = start + size + (size % 2 if width == 4 else 0)


# ---- writing ---------------------------------------------------------------------------------------------------------


def written_to_wave(data: bytes, texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """A WAV file with tags behind its samples, and the kinds that are left out.

    What a list of the kind INFO cannot hold goes to a tag of ID3, for which there is no standard, but a habit.
    """
    info = {_INFO_NAMES[name]: text for name, text in texts.items() if name in _INFO_NAMES and "\0" not in text}
    added = b""
    if info:
        listed = b"".join(_chunk(name, text.encode() + b"\0", "little") for name, text in info.items())
        added += _chunk(b"LIST", b"INFO" + listed, "little")
    left_out: list[str] = []
    if pictures or len(info) < len(texts):
        tag, left_out = id3.written(texts, pictures)
        added += _chunk(b"id3 ", tag, "little") if tag else b""
    return _with_chunks(data, added, "little"), left_out


def written_to_aiff(data: bytes, texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """An AIFF file with tags behind its samples, and the kinds that are left out."""
    tag, left_out = id3.written(texts, pictures)
    return _with_chunks(data, _chunk(b"ID3 ", tag, "big") if tag else b"", "big"), left_out


def written_to_caf(data: bytes, texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """A CAF file with tags, and the kinds that are left out."""
    left_out = ["pictures"] if pictures else []
    single = {name: text for name, text in texts.items() if "\0" not in text + name}
    if len(single) < len(texts):
        left_out.append("tags of several texts")
    pairs = [f"{_CAF_KEYS.get(name, name)}\0{text}\0".encode() for name, text in single.items()]
    while sum(map(len, pairs)) > _LONGEST_INFO:
        pairs.remove(max(pairs, key=len))
        left_out.append("tags (too many)")
    content = struct.pack(">I", len(pairs)) + b"".join(pairs)
    place = _FIRST_OF_CAF  # behind the first chunk, which has to be the first one
    place += 12 + int.from_bytes(data[place + 4 : place + 12], "big")
    info = b"info" + struct.pack(">Q", len(content)) + content if pairs else b""
    return data[:place] + info + data[place:], left_out


def _chunk(name: bytes, content: bytes, order: Order) -> bytes:
    return name + len(content).to_bytes(4, order) + content + bytes(len(content) % 2)


def _with_chunks(data: bytes, added: bytes, order: Order) -> bytes:
    """A WAV or AIFF file with chunks at its end."""
    if not added:
        return data
    longer = data + bytes(len(data) % 2) + added
    return longer[:4] + (len(longer) - 8).to_bytes(4, order) + longer[8:]
