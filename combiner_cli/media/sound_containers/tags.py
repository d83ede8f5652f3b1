"""Tags of a sound as all formats have them here: texts by name, and pictures."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

# What made the stream of samples that is not kept: it is left out without a word, as other encoders do.
_OF_THE_STREAM = frozenset({"encoder", "encoder_options", "encodersettings", "waveformatextensible_channel_mask"})
_LONGEST_TYPE = 255  # letters of a picture's type that are believed


@dataclass
class Tags:
    """What is found in a file, piece by piece.

    Attributes:
        texts: by their names, which are those of Vorbis comments in small letters; several of one name have a NUL
            between them.
        pictures: contents of FLAC's PICTURE blocks.
        left_out: kinds of what is there besides.
    """

    texts: dict[str, str] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """Put a text to those of its name, unless it is there already."""
        name, text = name.lower(), text.strip("\0")
        there = self.texts.get(name, "").split("\0")
        if name and text and text not in there and name not in _OF_THE_STREAM:
            self.texts[name] = "\0".join([part for part in there if part] + [text])

    def add_picture(self, picture: bytes) -> None:
        """Add a picture, unless it is there already."""
        if picture not in self.pictures:
            self.pictures.append(picture)

    def fill_up(self, more: Tags) -> None:
        """Add what another place in the file says of things that are not said yet."""
        for name, text in more.texts.items():
            self.texts.setdefault(name, text)
        for picture in more.pictures:
            self.add_picture(picture)
        self.left_out += more.left_out


def picture(kind: int, media_type: str, description: str, content: bytes) -> bytes:
    """The content of a PICTURE block of FLAC, without the size of the picture, which it need not tell."""
    typed, described = media_type[:_LONGEST_TYPE].encode(), description.encode()
    return b"".join(
        (
            struct.pack(">II", kind, len(typed)) + typed,
            struct.pack(">I", len(described)) + described,
            struct.pack(">5I", 0, 0, 0, 0, len(content)) + content,
        )
    )


def picture_parts(block: bytes) -> tuple[int, str, str, bytes]:
    """Kind, media type, description and content of a picture, of a block that makes sense."""
    kind, length = struct.unpack_from(">II", block)
    end = 8 + length
    (described,) = struct.unpack_from(">I", block, end)
    description = block[end + 4 : end + 4 + described]
    content = block[end + 4 + described + 20 :]
    return kind, block[8:end].decode(errors="replace"), description.decode(errors="replace"), content


def decoded(text: bytes) -> str:
    """A text whose encoding is not told: UTF-8 if it can be, and Latin-1 otherwise."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
