"""What reading and writing the metadata of images have in common."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

Note = Callable[[str], None]

# What Pillow's and pypng's decoders raise for damaged data, and what Pillow raises for damaged EXIF besides.
DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
DAMAGED_EXIF = (*DAMAGE, AssertionError, AttributeError)

RESOLUTION = "pHYs"  # which is as in that chunk of PNG
COMMENT = "Comment"  # keyword of PNG for what is the comment of a JPEG or GIF file
INCHES_PER_METRE = 100 / 2.54
EXIF_PREFIX = b"Exif\0\0"
PHOTOSHOP = b"Photoshop 3.0\0"  # beginning of the segment of JPEG in which IPTC is
IPTC_RESOURCE = b"8BIM\x04\x04\0\0"  # and of its resource, which has no name
XMP_TAG, IPTC_TAG = 700, 33723  # of TIFF
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
# Of a TIFF file, whose other tags say how its samples are stored, in the order of their numbers: descriptions, maker,
# model, resolution, software, date, artist, host, rating, copyright, and the texts of Windows.
DESCRIPTIVE_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
EXIF_DIRECTORIES = (0x8769, 0x8825)  # of the exposure and of the place
BMP_RESOLUTION = 38  # where it is in a file


def descriptive(exif: Image.Exif) -> Image.Exif:
    """EXIF without what says how the samples of a TIFF file are stored, and how they are turned."""
    from PIL import Image

    kept = Image.Exif()
    for tag in DESCRIPTIVE_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for tag in EXIF_DIRECTORIES:
        directory = exif.get_ifd(tag)
        if directory:
            kept[tag] = dict(directory)
    return kept
