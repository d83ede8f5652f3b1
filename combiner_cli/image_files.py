"""Image files to signals and back, by Pillow and pypng, which are imported where they are used."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, OutputError
from .signals import Signal

if TYPE_CHECKING:
    from PIL import Image, ImageCms, ImageFile

Samples = npt.NDArray[np.generic]

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp"}
)

# Only these are tried: formats without a signature would claim sounds, and others would start external programs.
_READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "QOI")
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0
# Colour space of a profile to the modes of images it is for; the first is the mode that its conversion takes.
_PROFILE_MODES = {"GRAY": ("L",), "RGB": ("RGB", "L"), "CMYK": ("CMYK",)}
# Steps of 8 bits by which an sRGB profile may differ from Pillow's: primaries and curves are rounded in profiles.
_SRGB_TOLERANCE = 2

# What Pillow's and pypng's decoders raise for damaged data.
_DAMAGE = (
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


@dataclass(frozen=True)
class _ImageFormat:
    """What an image suffix stands for.

    Attributes:
        name: Pillow's name of the format.
        modes: what it holds, as Pillow's modes; ``"16"`` stands for 16 bits and more channels than one.
        options: for ``Image.save``.
    """

    name: str
    modes: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)


_COLOURS = frozenset({"L", "RGB"})
_EIGHT_BIT = _COLOURS | {"LA", "RGBA"}

_JPEG = _ImageFormat("JPEG", _COLOURS, {"quality": 95})
_TIFF = _ImageFormat("TIFF", _EIGHT_BIT | {"I;16"})
_NETPBM = _ImageFormat("PPM", _COLOURS | {"I;16"})
FORMATS = {
    ".avif": _ImageFormat("AVIF", _EIGHT_BIT, {"quality": 95}),
    ".bmp": _ImageFormat("BMP", _COLOURS),
    ".jp2": _ImageFormat("JPEG2000", _EIGHT_BIT | {"I;16"}),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".pgm": _NETPBM,
    # higher levels take much longer and make photographs hardly smaller
    ".png": _ImageFormat("PNG", _EIGHT_BIT | {"I;16", "16"}, {"compress_level": 2}),
    ".pnm": _NETPBM,
    ".ppm": _NETPBM,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _ImageFormat("WEBP", _EIGHT_BIT, {"lossless": True, "exact": True}),
}


def read_image(data: bytes, path: Path) -> Signal | None:
    """The image that a file's content is, or ``None`` where it is none; see :func:`combiner_cli.media.read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.

    Raises:
        InputError: it is damaged, or holds what a signal cannot hold without loss.
    """
    with _image_errors(path):
        image = _open_image(data)
        if image is None:
            return None
        with image:
            return _read_image(image, data, path)


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    """Turn what Pillow and pypng raise for damaged images into an InputError of one line."""
    from PIL import Image

    with warnings.catch_warnings():
        # Pillow warns about metadata and palettes; what makes an image unreadable, it raises.
        warnings.simplefilter("ignore")
        try:
            yield
        except Image.DecompressionBombError as error:
            raise InputError(f"{path} has more pixels than can be read safely; give a smaller image") from error
        except _DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path} is damaged or unsupported ({reason}); restore it or convert it to PNG") from error


def _open_image(data: bytes) -> ImageFile.ImageFile | None:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(BytesIO(data), formats=_READABLE_FORMATS)
    except UnidentifiedImageError:
        return None


def _read_image(image: ImageFile.ImageFile, data: bytes, path: Path) -> Signal:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise InputError(f"{path} holds {frames} images (an animation or pages); extract one of them first")
    bits = _sample_bits(image, data)
    image.load()
    samples = _eight_bit(image, path) if bits <= 8 else _sixteen_bit(image, data, bits, path)
    samples = _upright(samples, image.getexif().get(_EXIF_ORIENTATION, 1))
    return Signal("image", np.ascontiguousarray(samples), bit_depth=8 * samples.dtype.itemsize)


def _sample_bits(image: ImageFile.ImageFile, data: bytes) -> int:
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


def _eight_bit(image: ImageFile.ImageFile, path: Path) -> Samples:
    """Samples of a loaded image of 8 bits or fewer, ``(height, width, channels)`` uint8 in sRGB."""
    grey = image.mode in _GREY_MODES
    alpha = None
    colour: Image.Image = image
    if image.has_transparency_data:
        with_alpha = image.convert("LA" if grey else "RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        colour = with_alpha.convert("L" if grey else "RGB")
    elif image.mode != "CMYK":
        colour = image.convert("L" if grey else "RGB")
    profile = image.info.get("icc_profile")
    if profile:
        colour = _to_srgb(colour, profile, path)
    samples = np.atleast_3d(np.asarray(colour if grey else colour.convert("RGB")))
    return samples if alpha is None else np.dstack([samples, alpha])


def _sixteen_bit(image: ImageFile.ImageFile, data: bytes, bits: int, path: Path) -> Samples:
    """Samples of a loaded image of more than 8 bits, ``(height, width, channels)`` uint16 in sRGB."""
    if bits == 16 and (image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")):
        samples = np.asarray(image).astype(np.uint16)[:, :, None]
        if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
            samples = np.iinfo(np.uint16).max - samples
    elif image.format == "PNG":
        samples = _read_deep_png(data)
    else:
        raise InputError(
            f"{path} holds {bits}-bit samples ({image.format}, {image.mode}) that cannot be read without loss; "
            f"convert it to a 16-bit or 8-bit PNG first"
        )
    profile = image.info.get("icc_profile")
    if profile and _srgb_transform(profile, "L" if samples.shape[-1] <= 2 else "RGB", path) is not None:
        raise InputError(f"{path} has 16 bits and a colour profile other than sRGB; convert it to sRGB first")
    if "transparency" in image.info:
        opaque = (samples != np.asarray(image.info["transparency"])).any(axis=-1)
        samples = np.dstack([samples, np.where(opaque, np.iinfo(np.uint16).max, 0).astype(np.uint16)])
    return samples


def _read_deep_png(data: bytes) -> npt.NDArray[np.uint16]:
    import png

    try:
        width, height, rows, info = png.Reader(bytes=data).read()
        flat = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except png.Error as error:
        raise ValueError(str(error)) from error
    return flat.reshape(height, width, info["planes"])


def _to_srgb(colour: Image.Image, profile: bytes, path: Path) -> Image.Image:
    """Apply a colour profile to an image in mode L, RGB or CMYK; L stays L, the others become RGB."""
    transform = _srgb_transform(profile, colour.mode, path)
    if transform is None:
        return colour
    converted = transform.apply(colour.convert(transform.input_mode))
    # Profiles map greys to greys, so that any channel is the grey.
    return converted.getchannel("G") if colour.mode == "L" else converted


def _srgb_transform(profile: bytes, mode: str, path: Path) -> ImageCms.ImageCmsTransform | None:
    """The conversion from a profile to sRGB for images in mode L, RGB or CMYK; ``None`` if it would change nothing."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if mode not in _PROFILE_MODES.get(space, ()):
            raise InputError(f"{path} has a colour profile for {space}, not for its colours; convert it to sRGB first")
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            _PROFILE_MODES[space][0],
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            # Otherwise dark greys come out wrong by up to 10 steps, from a table that is too coarse.
            ImageCms.Flags.NOOPTIMIZE,
        )
    except (OSError, ImageCms.PyCMSError) as error:
        raise InputError(f"{path} has a damaged colour profile; remove it, or convert the image to sRGB") from error
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the conversion is the identity up to rounding. Names of profiles do not tell, there are too many."""
    from PIL import Image

    levels = np.arange(0, 256, 1 if mode == "L" else 15, dtype=np.uint8)
    lattice = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    before = Image.fromarray(lattice.reshape(len(levels), -1, *lattice.shape[3:])).convert("RGB")
    after = transform.apply(before.convert(transform.input_mode))
    return bool(np.abs(np.asarray(after, dtype=np.int16) - np.asarray(before)).max() <= _SRGB_TOLERANCE)


def _upright(samples: Samples, orientation: int) -> Samples:
    """Apply an Exif orientation, 1 to 8, to ``(height, width, channels)``; other values mean nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return samples[rows, columns]


def encode_image(signal: Signal, suffix: str) -> bytes:
    """The content of a file of an image.

    Raises:
        OutputError: the format cannot hold the image.
    """
    from PIL import Image

    image_format = FORMATS[suffix]
    mode = ("L", "LA", "RGB", "RGBA")[signal.channels - 1]
    if signal.bit_depth == 16:
        mode = "I;16" if signal.channels == 1 else "16"
    if mode not in image_format.modes:
        held = "16-bit samples of several channels" if mode == "16" else "16-bit samples"
        held = held if signal.bit_depth == 16 else "transparency"
        raise OutputError(f"a {suffix} file cannot hold {held}; write a .png file instead")
    if mode == "16":
        return _encode_deep_png(signal)
    pixels = signal.samples[:, :, 0] if signal.channels == 1 else signal.samples
    encoded = BytesIO()
    try:
        Image.fromarray(pixels).save(encoded, image_format.name, **image_format.options)
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise OutputError(f"a {suffix} file cannot hold this image ({error}); write a .png file instead") from error
    return encoded.getvalue()


def _encode_deep_png(signal: Signal) -> bytes:
    import png

    height, width = signal.shape
    writer = png.Writer(width, height, greyscale=signal.channels == 2, alpha=signal.channels != 3, bitdepth=16)
    encoded = BytesIO()
    writer.write_packed(encoded, (row.tobytes() for row in signal.samples.astype(">u2")))
    return encoded.getvalue()
