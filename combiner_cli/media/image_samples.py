"""The samples of an image that Pillow opened, in as many bits as its file has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from . import colours
from .colour_spaces import Samples
from .colours import Colours
from .png_chunks import PngFile

if TYPE_CHECKING:
    from PIL import ImageFile

TURNED = (5, 6, 7, 8)  # Exif orientations in which rows become columns
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0


def sample_bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Bits per sample in the file, at least 8. Pillow's mode does not tell: it makes 8 bits of 16 in many formats."""
    from PIL import TiffImagePlugin

    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(8, *image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))))
    if image.format == "PNG":
        return 16 if any(";16" in str(tile.args) for tile in image.tile) else 8
    if image.format == "PPM":
        if image.mode in ("I", "F"):
            return 16 if image.mode == "I" else 32
        # Binary RGB of 8 bits has a plain string here, everything else ends with the highest value.
        return 16 if any(isinstance(tile.args, tuple) and tile.args[-1] > 255 for tile in image.tile) else 8
    if image.format == "JPEG2000":
        # Behind the markers SOC and SIZ: 36 bytes of sizes, the number of components, 3 bytes for each (ISO 15444-1).
        sizes = data.index(b"\xff\x4f\xff\x51") + 40
        components = int.from_bytes(data[sizes : sizes + 2], "big")
        deepest = max((depth & 0x7F) + 1 for depth in data[sizes + 2 : sizes + 2 + 3 * components : 3])
        return 16 if deepest > 8 else 8  # Pillow shifts depths between up to 16
    if image.format == "AVIF":
        # The flag high_bitdepth of the AV1 codec configuration box (AV1-ISOBMFF, section 2.3).
        return 10 if data[data.index(b"av1C") + 6] & 0x40 else 8
    return 8


def eight_bit(
    image: ImageFile.ImageFile, described: Colours, path: Path, note: Callable[[str], None]
) -> tuple[Samples, Samples | None, Colours]:
    """Samples of a loaded image of 8 bits or fewer, ``(height, width, 1 or 3)`` uint8, its alpha, and its colours.

    Of CMYK the profile is applied, since there is none for what becomes of it.
    """
    grey = image.mode in _GREY_MODES
    if image.has_transparency_data:
        with_alpha = image.convert("LA" if grey else "RGBA")
        return (
            np.atleast_3d(np.asarray(with_alpha.convert("L" if grey else "RGB"))),
            np.asarray(with_alpha.getchannel("A")),
            described,
        )
    if image.mode == "CMYK" and described.icc:
        inks = colours.profile_transform(described.icc, "CMYK", path).apply(image)
        note(f"{path} has colours of another profile, which are converted to sRGB")
        return np.asarray(inks), None, Colours()
    return np.atleast_3d(np.asarray(image.convert("L" if grey else "RGB"))), None, described


def sixteen_bit(
    image: ImageFile.ImageFile, png: PngFile | None, bits: int, path: Path
) -> tuple[Samples, Samples | None]:
    """Samples of a loaded image of more than 8 bits, ``(height, width, 1 or 3)`` uint16, and its alpha."""
    if bits == 16 and (image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")):
        samples = np.asarray(image).astype(np.uint16)[:, :, None]
        if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
            samples = np.iinfo(np.uint16).max - samples
    elif png:
        samples = _read_deep_png(png.content)
    else:
        raise InputError(
            f"{path} holds {bits}-bit samples ({image.format}, {image.mode}) that cannot be read without loss; "
            f"convert it to a 16-bit or 8-bit PNG first"
        )
    if samples.shape[-1] in (2, 4):
        return samples[:, :, :-1], samples[:, :, -1]
    if "transparency" in image.info:
        opaque = (samples != np.asarray(image.info["transparency"])).any(axis=-1)
        return samples, np.where(opaque, np.iinfo(np.uint16).max, 0).astype(np.uint16)
    return samples, None


def _read_deep_png(data: bytes) -> npt.NDArray[np.uint16]:
    import png

    try:
        width, height, rows, info = png.Reader(bytes=data).read()
        flat = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except png.Error as error:
        raise ValueError(str(error)) from error
    return flat.reshape(height, width, info["planes"])


def upright(samples: Samples, orientation: int) -> Samples:
    """Apply an Exif orientation, 1 to 8, to ``(height, width, channels)``; other values mean nothing."""
    if orientation in TURNED:
        samples = samples.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return samples[rows, columns]
