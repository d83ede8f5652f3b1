"""ID3 tags, version 1 and 2.2 to 2.4: of MP3 files, and in a chunk of WAV and AIFF files.

There are libraries for tags, but those that know pictures and can write are under the GPL, and soundfile knows ten
texts. What is needed here is little: texts, comments, lyrics and pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from .tags import Tags, decoded, picture, picture_parts

_MAGIC = b"ID3"
_HEADER = 10  # bytes of the tag, and of a frame
_LONGEST = 2**28 - 1  # bytes of a tag, in 7 bits of 4 bytes
_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10  # flags of a tag
_FRAME_LENGTH_TOLD, _FRAME_UNSYNCHRONISED, _FRAME_ENCRYPTED, _FRAME_COMPRESSED = 1, 2, 4, 8  # of a frame in 2.4
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_UTF_8 = 3
_VERSION_1 = 128  # bytes at the end of a file
_FRAMES = {
    "TALB": "album",
    "TBPM": "bpm",
    "TCMP": "compilation",
    "TCOM": "composer",
    "TCON": "genre",
    "TCOP": "copyright",
    "TDOR": "originaldate",
    "TDRC": "date",
    "TDRL": "releasedate",
    "TENC": "encodedby",
    "TEXT": "lyricist",
    "TIT1": "grouping",
    "TIT2": "title",
    "TIT3": "subtitle",
    "TKEY": "key",
    "TIPL": "involvedpeople",
    "TLAN": "language",
    "TMCL": "musiciancredits",
    "TMED": "media",
    "TMOO": "mood",
    "TOAL": "originalalbum",
    "TOPE": "originalartist",
    "TPE1": "artist",
    "TPE2": "albumartist",
    "TPE3": "conductor",
    "TPE4": "remixer",
    "TPOS": "discnumber",
    "TPUB": "organization",
    "TRCK": "tracknumber",
    "TSO2": "albumartistsort",
    "TSOA": "albumsort",
    "TSOC": "composersort",
    "TSOP": "artistsort",
    "TSOT": "titlesort",
    "TSRC": "isrc",
    "TSST": "discsubtitle",
}
_NAMES = {name: frame for frame, name in _FRAMES.items()}
# Names that older versions have for frames of version 2.4.
_OLDER = {
    "TYER": "TDRC",
    "TORY": "TDOR",
    "TT1": "TIT1",
    "TT2": "TIT2",
    "TT3": "TIT3",
    "TP1": "TPE1",
    "TP2": "TPE2",
    "TP3": "TPE3",
    "TP4": "TPE4",
    "TAL": "TALB",
    "TRK": "TRCK",
    "TPA": "TPOS",
    "TYE": "TDRC",
    "TCO": "TCON",
    "TCM": "TCOM",
    "TCR": "TCOP",
    "TRC": "TSRC",
    "TBP": "TBPM",
    "TEN": "TENC",
    "TSS": "TSSE",
    "TPB": "TPUB",
    "TXT": "TEXT",
    "TLA": "TLAN",
    "TKE": "TKEY",
    "TXX": "TXXX",
    "COM": "COMM",
    "ULT": "USLT",
    "PIC": "APIC",
}
_COMMENTS = {"COMM": "comment", "USLT": "lyrics"}
# Frames that say how the file is played, or nothing that outlives it: they are left out without a word.
_TECHNICAL = frozenset(
    {"TLEN", "TSSE", "TSIZ", "TDLY", "TLE", "TSI", "TDY", "SEEK", "ASPI", "MLLT", "MCDI", "PCNT", "TFLT"}
)


def size(data: bytes, place: int = 0) -> int:
    """How long the tag of version 2 is that begins at a place, with its header; 0 if there is none."""
    if data[place : place + 3] != _MAGIC or len(data) < place + _HEADER:
        return 0
    footer = _HEADER if data[place + 5] & _FOOTER else 0
    return _HEADER + _seven_bits(data[place + 6 : place + 10]) + footer


def read(data: bytes) -> Tags:
    """What a tag of version 2 says, which the data begin with.

    Raises:
        ValueError, struct.error: it is damaged.
    """
    tags = Tags()
    version, flags = data[3], data[5]
    content = data[_HEADER : _HEADER + _seven_bits(data[6:10])]
    if flags & _UNSYNCHRONISED and version < 4:
        content = _synchronised(content)
    if flags & _EXTENDED and version > 2:
        (length,) = struct.unpack_from(">I", content)
        content = content[_seven_bits(content[:4]) if version == 4 else length + 4 :]
    for name, frame in _frames(content, version):
        _add_frame(tags, _OLDER.get(name, name), frame, version)
    return tags


def read_version_1(data: bytes) -> Tags:
    """What the tag of version 1 at the end of a file says, if there is one."""
    tags, tag = Tags(), data[-_VERSION_1:]
    if len(tag) < _VERSION_1 or not tag.startswith(b"TAG"):
        return tags
    for name, start, end in (("title", 3, 33), ("artist", 33, 63), ("album", 63, 93), ("date", 93, 97)):
        tags.add(name, decoded(tag[start:end].partition(b"\0")[0]).strip())
    if tag[125] == 0 and tag[126]:
        tags.add("tracknumber", str(tag[126]))
    tags.add("comment", decoded(tag[97:127].partition(b"\0")[0]).strip())
    return tags


def _seven_bits(digits: bytes) -> int:
    number = 0
    for digit in digits:
        number = number << 7 | digit & 0x7F
    return number


def _synchronised(content: bytes) -> bytes:
    """Content without the zeros that keep decoders of samples from taking it for some."""
    return content.replace(b"\xff\x00", b"\xff")


def _frames(content: bytes, version: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the frames of a tag."""
    place, head = 0, 6 if version == 2 else _HEADER
    while place + head < len(content) and content[place]:  # behind the last frame are zeros
        name = content[place : place + (3 if version == 2 else 4)].decode("latin-1")
        if version == 2:
            length, flags = int.from_bytes(content[place + 3 : place + 6], "big"), 0
        else:
            digits, flags = content[place + 4 : place + 8], content[place + 9]
            length = _seven_bits(digits) if version == 4 else int.from_bytes(digits, "big")
        frame = content[place + head : place + head + length]
        if len(frame) < length:
            raise ValueError("a frame is cut off")
        place += head + length
        if version == 3:  # the same flags are in other bits
            flags = (_FRAME_COMPRESSED if flags & 0x80 else 0) | (_FRAME_ENCRYPTED if flags & 0x40 else 0)
        if flags & (_FRAME_ENCRYPTED | _FRAME_COMPRESSED):
            name = "compressed or encrypted"
        frame = frame[4:] if flags & _FRAME_LENGTH_TOLD else frame
        yield name, _synchronised(frame) if flags & _FRAME_UNSYNCHRONISED else frame


def _add_frame(tags: Tags, name: str, frame: bytes, version: int) -> None:
    if name in _TECHNICAL or not frame:
        return
    if name == "TXXX":
        described, *texts = _texts(frame[0], frame[1:])
        for text in texts:
            tags.add(described or name, text)
    elif name in _FRAMES or (name.startswith("T") and len(name) == 4 and name.isalnum()):
        for text in _texts(frame[0], frame[1:]):
            tags.add(_FRAMES.get(name, name), text)
    elif name in _COMMENTS:
        described, *texts = _texts(frame[0], frame[4:])
        if described.startswith("iTun"):  # volume and place in a catalogue, in hexadecimal
            return
        for text in texts:
            tags.add(_COMMENTS[name] if not described else f"{_COMMENTS[name]}:{described}", text)
    elif name == "APIC":
        _add_picture(tags, frame, version)
    else:
        tags.left_out.append(f"ID3 frame {name}" if name.isprintable() else "damaged ID3 frame")


def _texts(encoding: int, content: bytes) -> list[str]:
    """The texts of a frame, which have a zero between them."""
    if encoding >= len(_ENCODINGS):
        raise ValueError("the encoding of a text is unknown")
    text = content.decode(_ENCODINGS[encoding], errors="replace")
    return [part.removeprefix("\ufeff") for part in text.rstrip("\0").split("\0")]


def _add_picture(tags: Tags, frame: bytes, version: int) -> None:
    if version == 2:
        media_type, rest = {b"JPG": "image/jpeg", b"PNG": "image/png"}.get(frame[1:4], ""), frame[4:]
    else:
        typed, _, rest = frame[1:].partition(b"\0")
        media_type = decoded(typed)
    wide = frame[0] in (1, 2)
    end = 1
    while end < len(rest) and rest[end : end + 1 + wide] != bytes(1 + wide):
        end += 1 + wide
    description = _texts(frame[0], rest[1:end])[0]
    content = rest[end + 1 + wide :]
    if content:
        tags.add_picture(picture(rest[0], media_type, description, content))


# ---- writing ---------------------------------------------------------------------------------------------------------


def written(texts: Mapping[str, str], pictures: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """A tag of version 2.4, and the kinds that are left out."""
    frames: list[bytes] = []
    left_out: list[str] = []
    for name, text in texts.items():
        frames.append(_text_frame(name, text))
    for block in pictures:
        kind, media_type, description, content = picture_parts(block)
        if kind > 255 or "\0" in media_type + description or not media_type.isascii():
            left_out.append("picture that makes no sense")
            continue
        head = bytes([_UTF_8]) + media_type.encode() + bytes([0, kind]) + description.encode() + b"\0"
        frames.append(_frame("APIC", head + content))
    content = b"".join(frames)
    if len(content) > _LONGEST:
        return b"", ["tags (too many)"]
    return _MAGIC + bytes([4, 0, 0]) + _digits(len(content)) + content if frames else b"", left_out


def _text_frame(name: str, text: str) -> bytes:
    """The frame of a text of one of the names that :class:`Tags` has."""
    for frame, comment in _COMMENTS.items():
        if name == comment or name.startswith(f"{comment}:"):
            described = name[len(comment) + 1 :]
            # the language is not known, and several texts are paragraphs here
            paragraphs = text.replace("\0", "\n")
            return _frame(frame, bytes([_UTF_8]) + b"XXX" + f"{described}\0{paragraphs}".encode())
    if name in _NAMES:
        return _frame(_NAMES[name], bytes([_UTF_8]) + text.encode())
    return _frame("TXXX", bytes([_UTF_8]) + f"{name.upper()}\0{text}".encode())


def _frame(name: str, content: bytes) -> bytes:
    return name.encode() + _digits(len(content)) + bytes(2) + content


def _digits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
