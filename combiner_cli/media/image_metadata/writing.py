"""Metadata that image formats hold, and how they are written."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...container.metadata import CHUNKS, LARGEST, WORDS, Metadata, upright_exif, upright_xmp
from .. import png_chunks
from ..colours import Colours
from ..png_chunks import Chunk
from .parts import (
    BMP_RESOLUTION,
    COMMENT,
    DAMAGED_EXIF,
    EXIF_PREFIX,
    INCHES_PER_METRE,
    IPTC_RESOURCE,
    IPTC_TAG,
    PHOTOSHOP,
    RESOLUTION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP_TAG,
    Y_RESOLUTION,
    Note,
    descriptive,
)

if TYPE_CHECKING:
    from ..images import ImageFormat

# What fits a segment of JPEG; larger EXIF is not parsed either, since its entries may all name the same bytes.
_LONGEST_SEGMENT = 65533
_LONGEST_EXIF = _LONGEST_SEGMENT - len(EXIF_PREFIX)
_LONGEST_XMP_IN_JPEG = _LONGEST_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")
_LONGEST_ICC_IN_JPEG = 255 * (_LONGEST_SEGMENT - len(b"ICC_PROFILE\0\1\1"))
_LONGEST_IPTC_IN_JPEG = _LONGEST_SEGMENT - len(PHOTOSHOP + IPTC_RESOURCE) - 5
_LONGEST_ICC_OF_PILLOW = 2**20  # in a PNG file
_TOO_MUCH = " (too much)"
_JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
_JFIF_UNIT = 13  # place of it in a file, before two numbers of 16 bits
_INCH, _CENTIMETRE = 1, 2  # of JFIF; in TIFF they are 2 and 3


def holds_colours(described: Colours, image_format: ImageFormat) -> bool:
    """Whether a format holds what describes the colours of an image."""
    if described.icc:
        largest = _LONGEST_ICC_IN_JPEG if image_format.name == "JPEG" else LARGEST
        return "icc" in image_format.parts and len(described.icc) <= largest
    return image_format.parts.issuperset(described.chunks)


def held_colours(metadata: Metadata, image_format: ImageFormat) -> Colours:
    """All that describes colours, of that the format holds."""
    chunks = {name: part for name, part in metadata.chunks.items() if name in image_format.parts and name != RESOLUTION}
    return Colours(metadata.icc if "icc" in image_format.parts else b"", chunks)


def held(metadata: Metadata, image_format: ImageFormat, suffix: str, note: Note) -> Metadata:
    """The metadata that a format holds, but for colours; a note names the kinds that it does not hold."""
    parts = {name for name in metadata.parts() if name != "icc" and (name not in CHUNKS or name == RESOLUTION)}
    left_out = dict.fromkeys(parts - image_format.parts, "")
    if RESOLUTION in left_out and _tells_resolution(metadata.exif) and "exif" in image_format.parts:
        del left_out[RESOLUTION]
    tags = _held_tags(metadata.tags, image_format.name) if "tags" not in left_out else {}
    if image_format.name in ("JPEG", "TIFF", "AVIF") and len(metadata.exif) > _LONGEST_EXIF:
        left_out["exif"] = _TOO_MUCH
    if image_format.name == "JPEG":
        if len(metadata.xmp) > _LONGEST_XMP_IN_JPEG:
            left_out["xmp"] = _TOO_MUCH
        if len(metadata.iptc) > _LONGEST_IPTC_IN_JPEG:
            left_out["iptc"] = _TOO_MUCH
        if RESOLUTION in parts and _jfif_density(metadata.chunks[RESOLUTION]) is None:
            left_out[RESOLUTION] = ""
    words = {
        name: WORDS.get(name, "what this program does not know") for name in [*WORDS, *left_out] if name in left_out
    }
    if len(tags) < len(metadata.tags):
        words["tags"] = "texts"
    if words:
        kinds = dict.fromkeys(f"{kind}{left_out.get(name, '')}" for name, kind in words.items())
        note(f"a {suffix} file cannot hold all of the metadata; left out: {', '.join(kinds)}")
    if image_format.name == "PNG" and len(metadata.icc) > _LONGEST_ICC_OF_PILLOW:
        note("the colour profile has more than 1 MiB, for which some programs refuse a PNG file")
    resolution = metadata.chunks.get(RESOLUTION, b"") if RESOLUTION not in left_out else b""
    exif, xmp, iptc = (b"" if part in left_out else getattr(metadata, part) for part in ("exif", "xmp", "iptc"))
    return Metadata(exif, xmp=xmp, tags=tags, iptc=iptc, chunks={RESOLUTION: resolution} if resolution else {})


def _held_tags(tags: Mapping[str, str], format_name: str) -> Mapping[str, str]:
    """Texts that a PNG or JPEG file holds."""
    if format_name == "PNG":
        return {name: text for name, text in tags.items() if all(_text_chunks(name, text))}
    comments = tags.get(COMMENT, "").split("\0")
    return {COMMENT: tags[COMMENT]} if all(0 < len(text.encode()) <= _LONGEST_SEGMENT for text in comments) else {}


def _text_chunks(keyword: str, texts: str) -> list[Chunk | None]:
    return [png_chunks.text_chunk(keyword, text) for text in texts.split("\0")]


def _tells_resolution(exif: bytes) -> bool:
    """Whether EXIF has the resolution as well."""
    from PIL import Image

    parsed = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about EXIF
        try:
            parsed.load(EXIF_PREFIX + exif)
            return X_RESOLUTION in parsed
        except DAMAGED_EXIF:
            return False


def standing(metadata: Metadata) -> Metadata:
    """Metadata that do not turn the image in the programs that show it, whatever a hostile file says.

    Raises:
        ValueError: the EXIF make no sense.
    """
    exif = upright_exif(metadata.exif) if metadata.exif else b""
    return replace(metadata, exif=exif, xmp=upright_xmp(metadata.xmp))


def save_options(metadata: Metadata, image_format: ImageFormat) -> dict[str, Any]:
    """Options of ``Image.save`` that write metadata; of the rest takes care :func:`with_parts`.

    Args:
        metadata: that the format holds.
        image_format: the format.

    Raises:
        ValueError and others of ``DAMAGED_EXIF``: EXIF or XMP make no sense.
    """
    if image_format.name in ("PNG", "BMP"):
        return {}
    options: dict[str, Any] = {"icc_profile": metadata.icc} if metadata.icc else {}
    if image_format.name == "TIFF":
        exif = _tiff_tags(metadata)
        return {**options, "exif": exif} if exif else options
    if metadata.exif:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def _tiff_tags(metadata: Metadata) -> bytes:
    """The tags of a TIFF file, as EXIF."""
    from PIL import Image

    exif = Image.Exif()
    if metadata.exif:
        exif.load(EXIF_PREFIX + metadata.exif)
        exif = descriptive(exif)
    if metadata.xmp:
        exif[XMP_TAG] = metadata.xmp
    if metadata.iptc:
        exif[IPTC_TAG] = metadata.iptc
    resolution = metadata.chunks.get(RESOLUTION)
    if resolution and X_RESOLUTION not in exif:
        exif[X_RESOLUTION], exif[Y_RESOLUTION], exif[RESOLUTION_UNIT] = _tiff_resolution(resolution)
    return exif.tobytes() if exif else b""


def _tiff_resolution(resolution: bytes) -> tuple[float, float, int]:
    """A resolution and its unit as TIFF has them."""
    horizontal, vertical, metric = struct.unpack(">IIB", resolution)
    if not metric:
        return horizontal, vertical, 1
    inches = _whole_inches(horizontal), _whole_inches(vertical)
    if inches[0] is not None and inches[1] is not None:
        return inches[0], inches[1], _INCH + 1
    return horizontal / 100, vertical / 100, _CENTIMETRE + 1


def _whole_inches(per_metre: int) -> int | None:
    """The resolution by the inch, if it is a whole number but for the rounding of that by the metre."""
    number = round(per_metre / INCHES_PER_METRE)
    return number if number and round(number * INCHES_PER_METRE) == per_metre else None


def _jfif_density(resolution: bytes) -> tuple[int, int, int] | None:
    """Unit and resolution of a JFIF file, or ``None`` where it has no room for such one."""
    horizontal, vertical, metric = struct.unpack(">IIB", resolution)
    unit, numbers = 0, (horizontal, vertical)
    if metric and not (horizontal % 100 or vertical % 100 or (_whole_inches(horizontal) and _whole_inches(vertical))):
        unit, numbers = _CENTIMETRE, (horizontal // 100, vertical // 100)
    elif metric:
        unit, numbers = _INCH, (round(horizontal / INCHES_PER_METRE), round(vertical / INCHES_PER_METRE))
    return (unit, *numbers) if all(0 < number < 2**16 for number in numbers) else None


def with_parts(content: bytes, image_format: ImageFormat, metadata: Metadata) -> bytes:
    """The content of a file with those metadata that Pillow does not write.

    Args:
        content: that Pillow or pypng wrote.
        image_format: its format.
        metadata: that the format holds.

    Raises:
        ValueError: the XMP is not UTF-8.
    """
    resolution = metadata.chunks.get(RESOLUTION)
    if image_format.name == "PNG":
        return png_chunks.with_chunks(content, _png_parts(metadata))
    if image_format.name == "BMP" and resolution:
        horizontal, vertical, metric = struct.unpack(">IIB", resolution)
        numbers = struct.pack("<II", horizontal, vertical) if metric else bytes(8)
        return content[:BMP_RESOLUTION] + numbers + content[BMP_RESOLUTION + len(numbers) :]
    return _with_segments(content, metadata) if image_format.name == "JPEG" else content


def _png_parts(metadata: Metadata) -> list[Chunk]:
    chunks = [*metadata.chunks.items()]
    if metadata.icc:
        chunks.append(png_chunks.profile_chunk(metadata.icc))
    if metadata.exif:
        chunks.append(("eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(png_chunks.xmp_chunk(metadata.xmp))
    if metadata.iptc:
        resource = IPTC_RESOURCE + struct.pack(">I", len(metadata.iptc)) + metadata.iptc
        chunks.append(png_chunks.raw_profile_chunk("iptc", resource + bytes(len(resource) % 2)))
    texts = [chunk for keyword, text in metadata.tags.items() for chunk in _text_chunks(keyword, text)]
    return chunks + [chunk for chunk in texts if chunk is not None]


def _with_segments(content: bytes, metadata: Metadata) -> bytes:
    """A JPEG file with resolution, IPTC and comments."""
    density = _jfif_density(metadata.chunks[RESOLUTION]) if RESOLUTION in metadata.chunks else None
    if density and content.startswith(_JFIF):
        content = content[:_JFIF_UNIT] + struct.pack(">BHH", *density) + content[_JFIF_UNIT + 5 :]
    segments = b""
    if metadata.iptc:
        resource = IPTC_RESOURCE + struct.pack(">I", len(metadata.iptc)) + metadata.iptc
        segments += _segment(b"\xff\xed", PHOTOSHOP + resource + bytes(len(resource) % 2))
    for comment in metadata.tags.get(COMMENT, "").split("\0"):
        segments += _segment(b"\xff\xfe", comment.encode()) if comment else b""
    place = 2
    while content[place] == 0xFF and 0xE0 <= content[place + 1] <= 0xEF:  # applications' segments come first
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return content[:place] + segments + content[place:]


def _segment(marker: bytes, content: bytes) -> bytes:
    return marker + struct.pack(">H", len(content) + 2) + content
