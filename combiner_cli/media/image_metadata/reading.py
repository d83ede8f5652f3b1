"""The metadata in image files."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...container.metadata import CHUNKS, MOST_ENTRIES, Metadata, upright_exif, upright_xmp
from .. import png_chunks
from ..png_chunks import PngFile
from .parts import (
    BMP_RESOLUTION,
    COMMENT,
    DAMAGED_EXIF,
    DESCRIPTIVE_TAGS,
    EXIF_DIRECTORIES,
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
    from PIL import ImageFile

# How samples are stored and turned, what is kept in another place, and padding.
_STORAGE_TAGS = frozenset(
    {254, 255, *range(256, 260), *range(262, 267), 273, 274, *range(277, 282), 284, *range(288, 293), 297}
    | {*range(317, 326), 330, *range(332, 348), *range(512, 522), 529, 530, 531, 532}
    | {XMP_TAG, IPTC_TAG, 34675, 59932}
)
# Resources of Photoshop besides IPTC that say nothing more: resolution, thumbnails, digest of IPTC, EXIF, XMP.
_IPTC_NUMBER = 0x0404
_KNOWN_RESOURCES = frozenset({_IPTC_NUMBER, 0x03ED, 0x0409, 0x040C, 0x0425, 0x0422, 0x0423, 0x0424})
# Beginnings of the segments of JPEG that are kept, or that say how samples are stored; JFXX is a thumbnail.
_KNOWN_SEGMENTS = (
    *(b"JFIF\0", b"JFXX\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"MPF\0", PHOTOSHOP),
    b"Adobe",
)
# Chunks of PNG that say how samples are stored, or are kept.
_KNOWN_CHUNKS = frozenset({"iCCP", "sRGB", "sBIT", "eXIf", "tEXt", "zTXt", "iTXt", "hIST", *CHUNKS})
_MOST_METRES = 2**31 - 1
_LONG = 4  # type of integers of 4 bytes, with zeros behind what does not fill them
# Of a BMP file, whose profile is told to be so far behind the beginning of the second header.
_BMP_HEADER, _BMP_COLOUR_SPACE, _BMP_PROFILE = 14, 70, 126
_BMP_LEAST = 54
_BMP_EMBEDDED = b"DEBM"
_JPEG2000_ICC = (b"\2", b"\3")  # methods of a colour specification that are profiles
_JPEG2000_KNOWN = frozenset({"jP  ", "ftyp", "jp2h", "jp2c", "free"})
_CODE_POINTS = b"colrnclx"  # of the box of colours by numbers (ISO/IEC 14496-12, section 12.1.5)


def read(
    image: ImageFile.ImageFile, data: bytes, png: PngFile | None, turned: bool, path: Path, note: Note
) -> Metadata:
    """What a loaded image says besides its samples and their colours, for an image that stands upright.

    Args:
        image: the image.
        data: the content of its file.
        png: the same in parts, if it is a PNG file.
        turned: whether rows became columns.
        path: of the file, for messages.
        note: told in one line which kinds are left out.
    """
    left_out = list(_unknown(image, data, png))
    try:
        exif = _exif(image)
    except DAMAGED_EXIF as error:
        note(f"{path} has EXIF that cannot be read ({error}); it is left out")
        exif = b""
    tags, xmp = _texts_of_png(png, left_out) if png else _texts(image)
    resolution = _resolution(image, data, png)
    if turned:
        resolution = resolution[4:8] + resolution[:4] + resolution[8:]
    if left_out:
        note(f"{path} has metadata that are not kept; left out: {', '.join(dict.fromkeys(left_out))}")
    return Metadata(
        exif=exif,
        xmp=upright_xmp(xmp),
        tags=tags,
        iptc=_iptc(image, png),
        chunks={RESOLUTION: resolution} if resolution else {},
    )


def give_exif(image: ImageFile.ImageFile, png: PngFile) -> None:
    """Give an image the EXIF of the PNG file that it is from.

    Raises:
        ValueError: it is written as a text that makes no sense.
    """
    exif = png.first("eXIf") or png_chunks.raw_profile(png, ("exif", "APP1"))
    if exif:
        image.info["exif"] = EXIF_PREFIX + exif.removeprefix(EXIF_PREFIX)


def _exif(image: ImageFile.ImageFile) -> bytes:
    """EXIF of a loaded image, upright."""
    raw = image.info.get("exif", b"").removeprefix(EXIF_PREFIX)
    if raw:
        return upright_exif(raw)
    exif = descriptive(image.getexif())  # of a TIFF file
    return exif.tobytes().removeprefix(EXIF_PREFIX) if exif else b""


def _texts_of_png(png: PngFile, left_out: list[str]) -> tuple[Mapping[str, str], bytes]:
    """The texts of a PNG file, and its XMP."""
    texts: dict[str, str] = {}
    xmp = b""
    try:
        for text in png_chunks.texts(png):
            if png_chunks.is_xmp(text):
                xmp = text.text.encode()
            elif not png_chunks.is_raw_profile(text):
                _add(texts, text.keyword, text.text)
                if text.more:
                    left_out.append("languages of texts")
    except ValueError:
        left_out.append("texts that cannot be read")
    if len(texts) > MOST_ENTRIES:
        left_out.append("texts of too many names")
    return dict(list(texts.items())[:MOST_ENTRIES]), xmp


def _texts(image: ImageFile.ImageFile) -> tuple[Mapping[str, str], bytes]:
    """The comments of a JPEG or GIF file, and the XMP of any."""
    texts: dict[str, str] = {}
    comments = [content for name, content in getattr(image, "applist", []) if name == "COM"]
    if image.format == "GIF":
        comments = [image.info.get("comment", b"")]
    for comment in comments:
        if comment.strip(b"\0"):
            _add(texts, COMMENT, _decoded(comment.rstrip(b"\0")))
    xmp = image.info.get("xmp", b"")
    return texts, xmp if isinstance(xmp, bytes) else b""


def _add(texts: dict[str, str], keyword: str, text: str) -> None:
    """Put a text to those of its name."""
    text = text.replace("\0", " ")
    texts[keyword] = f"{texts[keyword]}\0{text}" if keyword in texts else text


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _iptc(image: ImageFile.ImageFile, png: PngFile | None) -> bytes:
    if png:
        try:
            return _iptc_of_resources(png_chunks.raw_profile(png, ("iptc", "8bim")))
        except ValueError:  # which is told of texts already
            return b""
    if image.format == "TIFF":
        directory = image.tag_v2  # type: ignore[attr-defined]
        # As Pillow's own reader of IPTC has it: where the type of the tag says integers, it would take the first.
        records: bytes = directory._tagdata.get(IPTC_TAG, b"")
        return records.rstrip(b"\0") if directory.tagtype.get(IPTC_TAG) == _LONG else records
    records = image.info.get("photoshop", {}).get(_IPTC_NUMBER, b"")
    return records if isinstance(records, bytes) else b""


def _iptc_of_resources(content: bytes) -> bytes:
    """The records of IPTC in a block of Photoshop's resources, or in what is such records itself."""
    if not content.startswith(b"8BIM"):
        return content
    place = content.find(IPTC_RESOURCE)
    start = place + len(IPTC_RESOURCE) + 4
    return content[start : start + int.from_bytes(content[start - 4 : start], "big")] if place >= 0 else b""


def _resolution(image: ImageFile.ImageFile, data: bytes, png: PngFile | None) -> bytes:
    """The resolution of an image as in the chunk pHYs of PNG, or nothing."""
    if png:
        return png.first(RESOLUTION, CHUNKS[RESOLUTION])
    info = image.info
    if image.format in ("JPEG", "MPO"):
        unit = {1: INCHES_PER_METRE, 2: 100.0}.get(info.get("jfif_unit", 0))
        return _per_metre(info.get("jfif_density", (1, 1)), unit)
    if image.format == "BMP" and len(data) >= _BMP_LEAST:
        return _per_metre(struct.unpack_from("<ii", data, BMP_RESOLUTION), 1.0)
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        unit = {2: INCHES_PER_METRE, 3: 100.0}.get(tags.get(RESOLUTION_UNIT, 2))
        return _per_metre((tags.get(X_RESOLUTION, 0), tags.get(Y_RESOLUTION, 0)), unit)
    return _per_metre(info["dpi"], INCHES_PER_METRE) if image.format == "JPEG2000" and "dpi" in info else b""


def _per_metre(resolution: Sequence[float], factor: float | None) -> bytes:
    """A resolution as in the chunk pHYs; without a factor it is but the shape of a pixel, and nothing of a square."""
    try:
        horizontal, vertical = (round(float(number) * (factor or 1)) for number in resolution)
    except (ArithmeticError, ValueError):  # infinite, or not a number
        return b""
    if not (0 < horizontal <= _MOST_METRES and 0 < vertical <= _MOST_METRES):
        return b""
    if factor is None and horizontal == vertical:
        return b""
    return struct.pack(">IIB", horizontal, vertical, factor is not None)


def _unknown(image: ImageFile.ImageFile, data: bytes, png: PngFile | None) -> Iterator[str]:
    """The kinds of metadata in a file that are not read."""
    if png:
        names = [name for name, _ in png.chunks if name not in _KNOWN_CHUNKS]
        yield from _listed("PNG chunk", names)
    elif image.format in ("JPEG", "MPO"):
        yield from _unknown_of_jpeg(image)
    elif image.format == "TIFF":
        tags = set(image.tag_v2) - _STORAGE_TAGS - {*DESCRIPTIVE_TAGS, *EXIF_DIRECTORIES}  # type: ignore[attr-defined]
        yield from _listed("TIFF tag", [str(tag) for tag in sorted(tags)])
    elif image.format == "JPEG2000":
        names = [name for name, _ in _boxes(data) if name not in _JPEG2000_KNOWN]
        yield from _listed("JPEG 2000 box", [name.strip() for name in names if name.isascii() and name.isprintable()])


def _unknown_of_jpeg(image: ImageFile.ImageFile) -> Iterator[str]:
    for name, content in image.applist:  # type: ignore[attr-defined]
        if name == "COM" or content.startswith(_KNOWN_SEGMENTS):
            continue
        if content.startswith(b"http://ns.adobe.com/xmp/extension/\0"):
            yield "extended XMP"
        else:
            yield "C2PA or other JUMBF" if name == "APP11" and content.startswith(b"JP") else f"JPEG segment {name}"
    if set(image.info.get("photoshop", {})) - _KNOWN_RESOURCES:
        yield "resources of Photoshop"
    if getattr(image, "n_frames", 1) > 1:
        yield "further images, as previews or gain maps"


def _listed(what: str, names: Iterable[str]) -> Iterator[str]:
    listed = list(dict.fromkeys(names))
    if listed:
        yield f"{what}{'s' if len(listed) > 1 else ''} {' '.join(listed)}"


# ---- colours in files in which Pillow does not look for them ---------------------------------------------------------


def unseen_profile(image: ImageFile.ImageFile, data: bytes) -> bytes:
    """The colour profile in a file of a format in which Pillow does not look for one."""
    if image.format == "JPEG2000":
        header = next((content for name, content in _boxes(data) if name == "jp2h"), b"")
        specifications = [content for name, content in _boxes(header, 0) if name == "colr"]
        return next((content[3:] for content in specifications if content[:1] in _JPEG2000_ICC), b"")
    version_5 = image.format == "BMP" and data[_BMP_HEADER : _BMP_HEADER + 4] == b"\x7c\0\0\0"
    if version_5 and data[_BMP_COLOUR_SPACE : _BMP_COLOUR_SPACE + 4] == _BMP_EMBEDDED:
        start, length = struct.unpack_from("<II", data, _BMP_PROFILE)
        return data[_BMP_HEADER + start : _BMP_HEADER + start + length]
    return b""


def code_points(image: ImageFile.ImageFile, data: bytes) -> tuple[int, int] | None:
    """The numbers of primaries and transfer (ITU-T H.273) in an AVIF file, which Pillow does not apply."""
    place = data.find(_CODE_POINTS) + len(_CODE_POINTS) if image.format == "AVIF" else -1
    return struct.unpack_from(">HH", data, place) if len(_CODE_POINTS) <= place <= len(data) - 4 else None


def _boxes(data: bytes, place: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the boxes of a JPEG 2000 file, or of one of its boxes; a bare codestream has none."""
    if place is None and data[4:8] != b"jP  ":
        return
    place = place or 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if length == 1 and place + 16 <= len(data):  # the length is 64 bits behind the kind
            (length,), head = struct.unpack_from(">Q", data, place + 8), 16
        end = place + length if length else len(data)
        yield kind.decode("latin-1"), data[place + head : end]
        if end < place + head:
            return
        place = end
