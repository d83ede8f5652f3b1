"""Files that are known by their first bytes and cannot be read: each is named, with what to do about it."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Suffixes of pictures and sounds that cannot be read, so that a folder's are refused by name and not passed over.
IMAGE_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf"}
    | {".rw2", ".sr2", ".srf", ".srw", ".x3f", ".heic", ".heif", ".jxl"}
)
SOUND_SUFFIXES = frozenset({".aac", ".ape", ".m4a", ".mka", ".wma", ".wv"})

_DEVELOP = "develop it first, to a PNG or TIFF file"
_IMAGE = "convert it to PNG first"
_SOUND = "convert it to FLAC or WAV first"
_VIDEO = "extract the picture or the sound that you want first"
_DRAWING = "export it as PNG first"

# Where they are, the first bytes, what the file is, and what to do.
_SIGNATURES = (
    (0, b"FUJIFILMCCD-RAW", "a raw photograph (RAF)", _DEVELOP),
    (0, b"IIRO", "a raw photograph (ORF)", _DEVELOP),
    (0, b"IIRS", "a raw photograph (ORF)", _DEVELOP),
    (0, b"MMOR", "a raw photograph (ORF)", _DEVELOP),
    (0, b"IIU\0", "a raw photograph (RW2)", _DEVELOP),
    (0, b"FOVb", "a raw photograph (X3F)", _DEVELOP),
    (0, b"\0MRM", "a raw photograph (MRW)", _DEVELOP),
    (0, b"\xff\x0a", "a JPEG XL image", _IMAGE),
    (4, b"JXL \r\n\x87\n", "a JPEG XL image", _IMAGE),
    (0, b"II\xbc", "a JPEG XR image", _IMAGE),
    (0, b"8BPS", "a Photoshop document", _DRAWING),
    (0, b"gimp xcf", "a GIMP document", _DRAWING),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", _IMAGE),
    (0, b"#?RADIANCE", "a Radiance HDR image", _IMAGE),
    (0, b"\0\0\1\0", "an icon", _IMAGE),
    (0, b"icns", "an icon", _IMAGE),
    (0, b"DDS ", "a DDS texture", _IMAGE),
    (0, b"P7\n", "a PAM image", _IMAGE),
    (0, b"%PDF", "a PDF document", _DRAWING),
    (0, b"%!PS", "a PostScript document", _DRAWING),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _DRAWING),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (WMA, WMV)", _SOUND),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file", _VIDEO),
    (8, b"AVI ", "an AVI video", _VIDEO),
    (0, b"\0\0\1\xba", "an MPEG video", _VIDEO),
    (0, b"\0\0\1\xb3", "an MPEG video", _VIDEO),
    (0, b"FLV\1", "a Flash video", _VIDEO),
    (0, b"\xff\xf1", "an AAC sound", _SOUND),
    (0, b"\xff\xf9", "an AAC sound", _SOUND),
    (0, b"ADIF", "an AAC sound", _SOUND),
    (0, b"\x0b\x77", "a Dolby Digital sound (AC-3)", _SOUND),
    (0, b"#!AMR", "an AMR sound", _SOUND),
    (0, b"MAC ", "a Monkey's Audio sound (APE)", _SOUND),
    (0, b"wvpk", "a WavPack sound", _SOUND),
    (0, b"TTA1", "a True Audio sound", _SOUND),
    (0, b"MPCK", "a Musepack sound", _SOUND),
    (0, b"MP+", "a Musepack sound", _SOUND),
    (0, b"DSD ", "a DSD sound", _SOUND),
    (0, b"MThd", "a MIDI file", "render it to FLAC or WAV first"),
    (0, b"CMB", "a .cmb file already", "decode it first"),
)
# By the brand of an ISO base media file (ISO/IEC 14496-12); other brands are videos.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), ("a HEIC image", _IMAGE)),
    **dict.fromkeys((b"avif", b"avis"), ("an AVIF image", "restore it if it is damaged, or convert it to PNG")),
    b"crx ": ("a raw photograph (CR3)", _DEVELOP),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), ("an M4A sound (AAC or Apple Lossless)", _SOUND)),
}
_HEAD = 1024  # bytes in which a drawing tells that it is one

_TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_HEADER, _TIFF_BIG_HEADER = 8, 16  # bytes
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUB_IMAGES, _PHOTOMETRIC, _DNG_VERSION = 254, 255, 330, 262, 50706
_WIDTH, _HEIGHT = 256, 257
_MOST_SUB_IMAGES = 16  # that are looked at
_REDUCED = 1  # bit of NewSubfileType; SubfileType has 2 for it
_OLD_REDUCED = 2
_SENSOR = (32803, 34892)  # photometric interpretations: colour filter array, and what was made of it
_CR2 = b"CR\2"


def refuse_known(data: bytes, path: Path) -> None:
    """Refuse a file that neither Pillow nor libsndfile reads, if it is known what it is.

    Args:
        data: its content.
        path: of the file, for messages.

    Raises:
        InputError: it is empty, or of a known format.
    """
    if not data:
        raise InputError(f"{path} is empty; give an image or a sound")
    if data[4:8] == b"ftyp":
        name, advice = _BRANDS.get(data[8:12], ("an MP4 or QuickTime file", _VIDEO))
        raise InputError(f"{path} is {name}, which cannot be read; {advice}")
    for place, signature, name, advice in _SIGNATURES:
        if data.startswith(signature, place):
            raise InputError(f"{path} is {name}, which cannot be read; {advice}")
    head = data[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<") and b"<svg" in head:
        raise InputError(f"{path} is an SVG drawing, which cannot be read; {_DRAWING}")


def refuse_preview(data: bytes, path: Path) -> None:
    """Refuse a TIFF file whose first image is a preview of what it is about, as in raw photographs.

    Args:
        data: its content; of another format than TIFF nothing is said.
        path: of the file, for messages.

    Raises:
        InputError: it is a raw photograph, or says of its first image that there is a larger one.
    """
    if data[:4] not in _TIFF_HEADERS:
        return
    try:
        first = _directory(data)
        raw = data[8:11] == _CR2 or _DNG_VERSION in first or first.get(_PHOTOMETRIC) in _SENSOR
        reduced = bool(first.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED) or first.get(_OLD_SUBFILE_TYPE) == _OLD_REDUCED
        largest = _pixels(first)
        places = first.get(_SUB_IMAGES, ())
        places = places[:_MOST_SUB_IMAGES] if isinstance(places, tuple) else (places,)
        sub_images = [_directory(data, place) for place in places]
        raw = raw or any(one.get(_PHOTOMETRIC) in _SENSOR for one in sub_images)
        larger = any(_pixels(one) > largest for one in sub_images)
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return  # the decoder says what is wrong with it
    if raw:
        raise InputError(f"{path} is a raw photograph, of which only a preview could be read; {_DEVELOP}")
    if reduced or larger:
        raise InputError(
            f"{path} begins with a preview of a larger image, which would be taken for it; "
            "extract the image that you want first"
        )


def _directory(data: bytes, place: int | None = None) -> ImageFileDirectory_v2:
    """A directory of a TIFF file: the one at ``place``, or the first."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(data[: _TIFF_BIG_HEADER if b"+" in data[2:4] else _TIFF_HEADER])
    file = BytesIO(data)
    file.seek(directory.next if place is None else place)
    directory.load(file)
    return directory


def _pixels(directory: ImageFileDirectory_v2) -> int:
    return int(directory.get(_WIDTH, 0)) * int(directory.get(_HEIGHT, 0))
