"""Files with metadata, and hostile ones, that tests make themselves."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from combiner_cli.media import images

from .media_files import gamma_curve, rgb_profile
from .signals import smooth_image

ICC = rgb_profile(gamma_curve(1.0))


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><d tiff:Orientation='6' dc:title='\xc3\xa9'/></x:xmpmeta>"


UPRIGHT_XMP = XMP.replace(b"'6'", b"'1'")


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "A picture", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 3.5)})
    return exif


def camera_file(suffix: str, icc: bytes = ICC) -> bytes:
    """A picture that lies on its side, with all metadata that there are."""
    exif, options = camera_exif(), {"xmp": XMP}
    if suffix == "png":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": text}
    if suffix == "tif":
        exif = Image.Exif()
        exif.load(camera_exif().tobytes())
        exif[700], exif[0x0112] = XMP, 6
        options = {}
    image = Image.fromarray(smooth_image(9, 13).samples)
    buffer = io.BytesIO()
    image.save(buffer, images.FORMATS[f".{suffix}"].name, exif=exif, icc_profile=icc, **options)
    return buffer.getvalue()


def described(content: bytes) -> tuple[object, ...]:
    """What Pillow finds in an image file besides its samples."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        exif = image.getexif()
        place = {key: value for key, value in exif.get_ifd(0x8825).items() if key}
        date = exif.get_ifd(0x8769).get(0x9003)
        return exif.get(0x010E), exif.get(0x0112, 1), date, place, image.info.get("icc_profile")


def bomb(content: bytes, zeros: int) -> bytes:
    compressor = zlib.compressobj(9)
    parts = [compressor.compress(content)] + [compressor.compress(bytes(2**20)) for _ in range(zeros)]
    return b"".join(parts) + compressor.flush()


def exif_with_thumbnail(order: str, thumbnail: bytes) -> bytes:
    """Two directories: orientation and a maker's note at a fixed place, and a thumbnail at the end."""
    short, long = (lambda n: struct.pack(f"{order}HH", n, 0)), (lambda n: struct.pack(f"{order}I", n))
    entry = lambda tag, kind, count, value: struct.pack(f"{order}HHI", tag, kind, count) + value  # noqa: E731
    first = 8
    second = first + 2 + 24 + 4 + 8
    third = second + 2 + 24 + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + long(first)
    entries = entry(0x0112, 3, 1, short(8)) + entry(0x927C, 7, 8, long(second - 8))
    one = struct.pack(f"{order}H", 2) + entries + long(second) + b"MAKER..."
    entries = entry(0x0201, 4, 1, long(third)) + entry(0x0202, 4, 1, long(len(thumbnail)))
    return head + one + struct.pack(f"{order}H", 2) + entries + long(0) + thumbnail
