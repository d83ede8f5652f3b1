"""Metadata that no encoder would write, and files that hold them."""

from __future__ import annotations

import functools
import random
import struct
import zlib
from functools import partial

import msgpack
from PIL import Image, ImageCms

from combiner_cli.container import header
from combiner_cli.container.file import MAGIC, VERSION, File
from combiner_cli.container.metadata import CHUNKS
from combiner_cli.media.sound_containers.tags import picture

from .mutations import NUMBERS, mutated, resealed
from .profiles import cmyk_profile, gamma_curve, grey_profile, rgb_profile, srgb_curve

_BEGINNING = 24  # bytes of a file up to where the longest length of metadata ends
# Orientation, descriptions, resolution, places of samples, thumbnail, XMP, profile, and directories of EXIF.
_EXIF_TAGS = (0, 0x0112, 270, 271, 282, 283, 296, 305, 306, 18246, 33432, 40091, 256, 258, 259, 273, 279, 322, 330)
_EXIF_TAGS += (0x0201, 0x0202, 700, 34675, 0x8769, 0x8825, 0xA005, 0x927C, 0x9003, 0xFFFF)
_TAGS = (
    "title",
    "artist",
    "album",
    "date",
    "comment",
    "comment:x",
    "tracknumber",
    "isrc",
    "software",
    "lyrics",
    "tdrc",
)
_TAGS += ("tdrc", "Title", "Comment", "metadata_block_picture", "replaygain_track_gain", "iabc")
_TAGS += ("Raw profile type iptc",)
_NAMES = ("", "exif", "icc", "xmp", "tags", "later", "EXIF", "e" * 300, "\0", "\x1b[31m", "a\nb", "\u202e")
_TEXTS = (
    "",
    "a",
    "before\0after",
    "\x1b[31mred",
    "a\nb",
    "../../outside",
    "漢字",
    "\u202e",
    "\ufffe",
    "=",
    "long " * 9000,
)
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><d tiff:Orientation='6' dc:title='\xc3\xa9'/></x:xmpmeta>"


def described(plain: bytes, packed: bytes, dice: random.Random, intact: bool) -> bytes:
    """A file with metadata, of which something is changed on the way, or nothing.

    Args:
        plain: the file without metadata, intact.
        packed: the metadata.
        dice: what is changed.
        intact: whether the checksum is made right in the end.
    """
    file = File.parse(plain)
    if dice.random() < 0.3:
        packed = mutated(packed, dice)
    body = mutated(bytes(file.body), dice, near=30) if dice.random() < 0.3 else bytes(file.body)
    length = _length(len(packed), dice) if dice.random() < 0.3 else msgpack.packb(len(packed))
    common = header.write(header.COMMON, header.common_numbers(file.format, has_metadata=dice.random() < 0.95))
    content = MAGIC + bytes([VERSION]) + file.prior_id.to_bytes(4, "big") + common + length + packed + body
    if dice.random() < 0.3:
        content = mutated(content, dice, near=dice.choice((_BEGINNING, None)))
    return resealed(content + bytes(4)) if intact else content + dice.randbytes(4)


def _length(length: int, dice: random.Random) -> bytes:
    """Something odd in the place where a file says how long its metadata are."""
    odd = (None, True, 1.5, "name", b"bytes", [], [length], {}, {1: 2}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1))
    numbers = (length + 1, length - 1, 2 * length, dice.choice(NUMBERS))
    packed: bytes = msgpack.packb(dice.choice((*odd, *numbers, *numbers, *numbers)))
    match dice.randrange(5):
        case 0:
            packed += msgpack.packb(dice.choice((*odd, *NUMBERS)))
        case 1:
            packed = packed[: dice.randrange(len(packed) + 1)]
    return packed


def packed_metadata(dice: random.Random) -> bytes:
    """Metadata as they are in a file: mostly a map that can be read, of parts of which many make no sense."""
    kind = dice.random()
    packed: bytes = msgpack.packb(_parts(dice) if kind < 0.85 else _no_parts(dice))
    if 0.75 < kind < 0.9:
        packed = mutated(packed, dice)
    compressed = zlib.compress(packed, dice.choice((0, 1, 9)))
    return mutated(compressed, dice) if kind > 0.95 else compressed


def _no_parts(dice: random.Random) -> object:
    """Something else than a map of names to binary parts."""
    deep: object = b"x"
    for _ in range(dice.choice((1, 20, 400))):
        deep = {"exif": deep} if dice.random() < 0.5 else [deep]
    many = {str(number): b"x" for number in range(dice.choice((200, 256, 257, 3000)))}
    odd = (None, 1, -1, 1.5, "text", [], {1: 2}, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1))
    return dice.choice(
        (*odd, deep, many, {"icc": dice.choice(odd)}, {"tags": {"title": dice.choice(odd)}}, {"tags": many})
    )


def _parts(dice: random.Random) -> dict[str, object]:
    """The parts of metadata by name, hostile in places, in any order."""
    makers = {"exif": exif, "icc": profile, "xmp": xmp, "tags": tags, "iptc": iptc, "pictures": pictures}
    makers |= {name: partial(chunk, length=length) for name, length in CHUNKS.items()}
    names = [name for name in makers if dice.random() < (0.2 if name in CHUNKS else 0.6)]
    parts: dict[str, object] = {name: makers[name](dice) for name in names}
    for _ in range(dice.choice((0, 0, 0, 1, 3))):
        parts[dice.choice(_NAMES)] = dice.randbytes(dice.choice((0, 1, 50)))
    return {name: parts[name] for name in dice.sample(list(parts), len(parts))}


def exif(dice: random.Random) -> bytes:
    """EXIF of a camera with changes, or directories of random entries that name one another."""
    kind = dice.random()
    if kind < 0.3:
        return mutated(_camera_exif(), dice)
    if kind < 0.35:
        return dice.randbytes(dice.choice((0, 3, 40)))
    made = _random_exif(dice)
    return mutated(made, dice) if kind > 0.8 else made


def _random_exif(dice: random.Random) -> bytes:
    order = dice.choice("<>")
    places = [8 + dice.randrange(60) * 2 for _ in range(3)]
    content = bytearray(dice.randbytes(dice.choice((20, 200, 400, 400, 3000, 70000))))
    content[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", dice.choice((8, places[0])))
    odd = (0, 1, 6, 6 << 16, 8, len(content), len(content) - 1, 2**31, 2**32 - 1, *places)
    for place in (8, *places):
        count = dice.choice((0, 1, 3, 8, 8, 30, 65535))
        entries = b"".join(
            struct.pack(
                f"{order}HHII",
                dice.choice((0x0112, dice.choice(_EXIF_TAGS), dice.choice(_EXIF_TAGS))),
                dice.randrange(14),
                dice.choice((0, 1, 1, 1, 2, 3, 20, 2**16, 2**31, 2**32 - 1)),
                dice.choice((*odd, dice.getrandbits(8), dice.getrandbits(32))),
            )
            for _ in range(min(count, 30))
        )
        directory = struct.pack(f"{order}H", count) + entries + struct.pack(f"{order}I", dice.choice((0, *odd)))
        room = max(len(content) - place, 0)
        content[place : place + len(directory)] = directory[:room]
    return bytes(content)


def profile(dice: random.Random) -> bytes:
    """A colour profile, most of them with changes."""
    made = dice.choice(_profiles())
    kind = dice.random()
    if kind < 0.3:
        return made
    if kind < 0.6:
        return mutated(made, dice, near=dice.choice((132, 300)))
    if kind < 0.8:  # numbers in the table of tags and in the tags
        changed = bytearray(made)
        for _ in range(dice.randint(1, 6)):
            place = dice.randrange(128, len(changed) - 4)
            changed[place : place + 4] = struct.pack(">I", dice.choice(NUMBERS) % 2**32)
        return bytes(changed)
    return mutated(made, dice) if kind < 0.95 else dice.randbytes(dice.choice((1, 127, 128, 200)))


def xmp(dice: random.Random) -> bytes:
    """An XMP packet, or something else."""
    odd = (b"\0", b"\xff\xfe", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"tiff:Orientation" + b" " * 3000, b"x" * 70000)
    kind = dice.random()
    return _XMP if kind < 0.2 else mutated(_XMP, dice) if kind < 0.6 else dice.choice(odd)


def tags(dice: random.Random) -> dict[str, str]:
    """Tags of a sound, by names that are known or not."""
    names = dice.sample(_TAGS, dice.choice((0, 1, 3, len(_TAGS)))) + dice.choices(_NAMES, k=dice.choice((0, 0, 1)))
    return {name: dice.choice(_TEXTS) for name in names}


def iptc(dice: random.Random) -> bytes:
    """Records of IPTC, or something else."""
    return dice.choice((b"\x1c\x02x\0\x05Title", b"8BIM\x04\x04\0\0\xff\xff\xff\xff", dice.randbytes(9), b"x" * 70000))


def pictures(dice: random.Random) -> bytes:
    """Pictures of a sound, of which some make no sense."""
    kinds = (0, 3, 3, 255, 256, 2**32 - 1)
    types = ("image/jpeg", "image/png", "", "-->", "a\0b", "é")
    lengths = (0, 9, 300)
    made = [
        picture(dice.choice(kinds), dice.choice(types), dice.choice(_TEXTS[:-1]), dice.randbytes(dice.choice(lengths)))
        for _ in range(dice.choice((1, 1, 2, 5)))
    ]
    return mutated(b"".join(made), dice) if dice.random() < 0.2 else b"".join(made)


def chunk(dice: random.Random, length: int) -> bytes:
    """A chunk of PNG that describes colours or the resolution, mostly of the length that it is to have."""
    numbers = [dice.choice((0, 1, 2, 12, 13, 16, 22, 45455, 100000, 32900, 2**31, 2**32 - 1)) for _ in range(8)]
    packed = dice.choice((struct.pack(">8I", *numbers), bytes(number % 256 for number in numbers), dice.randbytes(32)))
    return packed[: length if dice.random() < 0.95 else dice.choice((0, 1, 33))]


@functools.cache
def _camera_exif() -> bytes:
    camera = Image.Exif()
    camera[0x010E], camera[0x0112] = "A picture", 6
    camera.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    camera.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 3.5)})
    return camera.tobytes().removeprefix(b"Exif\0\0")


@functools.cache
def _profiles() -> list[bytes]:
    made = [ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes() for space in ("sRGB", "LAB", "XYZ")]
    made += [rgb_profile(gamma_curve(1.0)), rgb_profile(srgb_curve()), grey_profile(2.2), cmyk_profile()]
    return made
