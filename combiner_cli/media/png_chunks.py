"""The chunks of a PNG file (third edition) that are not its samples: colours, texts, resolution and the like."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..container.metadata import LARGEST

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BEHIND_HEADER = 33  # bytes of the signature and of the chunk IHDR
_AROUND = 12  # bytes of a chunk besides its content
_ANCILLARY = 0x20  # bit of the first letter
# What the decoder needs besides critical chunks: transparency, and that there are more images than one.
_FOR_THE_DECODER = frozenset({"tRNS", "acTL", "fcTL", "fdAT"})
_END = "IEND"
_XMP = "XML:com.adobe.xmp"
_LONGEST_KEYWORD = 79  # bytes
_TEXTS = ("tEXt", "zTXt", "iTXt")
# Keywords of texts that are EXIF, IPTC and the like in hexadecimal, by the habit of ImageMagick and ExifTool.
_RAW_PROFILE = "Raw profile type "
_BEFORE_RAW_PROFILE = 3  # lines: an empty one, the kind, the length
_RAW_PROFILE_LINE = 72  # hexadecimal digits

Chunk = tuple[str, bytes]


@dataclass(frozen=True)
class PngFile:
    """A PNG file in two parts.

    Attributes:
        content: of a file with what a decoder needs and nothing else, so that neither the size nor the number of other
            chunks is a matter for it.
        chunks: the other chunks, names and contents in their order.
        is_whole: whether the chunk that ends a file was there.
    """

    content: bytes
    chunks: tuple[Chunk, ...]
    is_whole: bool

    def first(self, name: str, length: int | None = None) -> bytes:
        """The content of the first chunk of a name, and of a length if it is to have one; nothing without such one."""
        return next((part for kind, part in self.chunks if kind == name and length in (None, len(part))), b"")


@dataclass(frozen=True)
class Text:
    """A text of a PNG file.

    Attributes:
        keyword: what it is.
        text: the text itself.
        more: whether its language, or the keyword in that language, is said as well.
    """

    keyword: str
    text: str
    more: bool = False


def split(data: bytes) -> PngFile | None:
    """A PNG file in its parts; ``None`` for another file.

    Raises:
        ValueError: a chunk that is not for the decoder is damaged. What else is damaged, is left to the decoder.
    """
    if not data.startswith(_SIGNATURE):
        return None
    kept, chunks, place = [_SIGNATURE], [], len(_SIGNATURE)
    name = ""
    while place + _AROUND <= len(data) and name != _END:
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + _AROUND + length
        if end > len(data) or not (kind.isascii() and kind.isalpha()):
            break
        name = kind.decode()
        if kind[0] & _ANCILLARY and name not in _FOR_THE_DECODER:
            if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise ValueError(f"the chunk {name} has a checksum that does not match")
            chunks.append((name, data[place + 8 : end - 4]))
        else:
            kept.append(data[place:end])
        place = end
    is_whole = name == _END
    if not is_whole:
        kept.append(data[place:] if place < len(data) else _chunk(_END, b""))
    return PngFile(b"".join(kept) if chunks or not is_whole else data, tuple(chunks), is_whole)


def _chunk(name: str, content: bytes) -> bytes:
    named = name.encode() + content
    return struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named))


def with_chunks(content: bytes, chunks: Sequence[Chunk]) -> bytes:
    """The content of a PNG file with more chunks behind its header."""
    added = b"".join(_chunk(name, part) for name, part in chunks)
    return content[:_BEHIND_HEADER] + added + content[_BEHIND_HEADER:] if added else content


def inflated(compressed: bytes) -> bytes:
    """What is compressed in a chunk.

    Raises:
        ValueError: it is damaged, or more than metadata may be.
    """
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(compressed, LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if decompressor.unconsumed_tail or not decompressor.eof:
        raise ValueError("what is compressed is cut off or too long")
    return content


def profile(png: PngFile) -> bytes:
    """The colour profile in the chunk iCCP, or nothing.

    Raises:
        ValueError: it is damaged.
    """
    _, _, compressed = png.first("iCCP").partition(b"\0")
    return inflated(compressed[1:]) if compressed else b""


def profile_chunk(icc: bytes) -> Chunk:
    """The chunk of a colour profile."""
    return "iCCP", b"ICC Profile\0\0" + zlib.compress(icc)


def texts(png: PngFile) -> Iterator[Text]:
    """The texts of a PNG file; XMP is one of them.

    Raises:
        ValueError: one is damaged, or they are longer than metadata may be.
    """
    total = 0
    for name, content in png.chunks:
        if name in _TEXTS:
            text = _text(name, content)
            total += len(text.text)
            if total > LARGEST:
                raise ValueError(f"the texts have more than {LARGEST:,} letters")
            yield text


def _text(name: str, content: bytes) -> Text:
    keyword, _, rest = content.partition(b"\0")
    if name == "tEXt":
        return Text(keyword.decode("latin-1"), rest.decode("latin-1"))
    if name == "zTXt":
        return Text(keyword.decode("latin-1"), inflated(rest[1:]).decode("latin-1"))
    compressed = rest[:1] == b"\1"
    language, _, rest = rest[2:].partition(b"\0")
    translated, _, text = rest.partition(b"\0")
    return Text(
        keyword.decode("latin-1"), (inflated(text) if compressed else text).decode(), bool(language or translated)
    )


def text_chunk(keyword: str, text: str) -> Chunk | None:
    """The chunk of a text, or ``None`` where there cannot be such one."""
    try:
        named = keyword.encode("latin-1")
    except UnicodeEncodeError:
        return None
    allowed = all(0x20 <= letter <= 0x7E or letter >= 0xA1 for letter in named)
    if not allowed or not 1 <= len(named) <= _LONGEST_KEYWORD or named != named.strip() or b"  " in named:
        return None
    if "\0" in text:
        return None
    try:
        return "tEXt", named + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return "iTXt", named + b"\0" + bytes(4) + text.encode()


def xmp_chunk(xmp: bytes) -> Chunk:
    """The chunk of XMP, which is a text of a name of its own.

    Raises:
        ValueError: it is not UTF-8.
    """
    xmp.decode()
    return "iTXt", _XMP.encode() + bytes(5) + xmp


def is_xmp(text: Text) -> bool:
    """Whether a text is XMP."""
    return text.keyword == _XMP


def raw_profile(png: PngFile, kinds: Sequence[str]) -> bytes:
    """The first profile of one of some kinds that is written as a text, or nothing.

    Raises:
        ValueError: it is damaged.
    """
    keywords = [f"{_RAW_PROFILE}{kind}".encode() for kind in kinds]
    for name, content in png.chunks:
        if name in _TEXTS and content.partition(b"\0")[0] in keywords:
            return bytes.fromhex("".join(_text(name, content).text.split("\n")[_BEFORE_RAW_PROFILE:]))
    return b""


def raw_profile_chunk(kind: str, profile: bytes) -> Chunk:
    """The chunk of a profile that is written as a text."""
    digits = profile.hex()
    lines = [digits[start : start + _RAW_PROFILE_LINE] for start in range(0, len(digits), _RAW_PROFILE_LINE)]
    text = "\n".join(("", kind, f"{len(profile):8}", *lines, ""))
    return "zTXt", f"{_RAW_PROFILE}{kind}".encode() + b"\0\0" + zlib.compress(text.encode())


def is_raw_profile(text: Text) -> bool:
    """Whether a text is a profile."""
    return text.keyword.startswith(_RAW_PROFILE)
