"""Image files to signals and back, by Pillow and pypng, which are imported where they are used."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..container.metadata import Metadata, upright_exif, upright_xmp
from ..errors import InputError, OutputError
from ..signals.signal import Signal

if TYPE_CHECKING:
    from PIL import Image, ImageCms, ImageFile, PngImagePlugin

Samples = npt.NDArray[np.generic]
Note = Callable[[str], None]

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
_EXIF_PREFIX = b"Exif\0\0"
_XMP_TAG = 700
# Of a TIFF file, whose other tags say how its samples are stored, in the order of their numbers: descriptions, maker,
# model, resolution, software, date, artist, host, rating, copyright, and the texts of Windows.
_DESCRIPTIVE_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
_EXIF_DIRECTORIES = (0x8769, 0x8825)  # of the exposure and of the place
# What fits a segment of JPEG; larger EXIF is not parsed either, since its entries may all name the same bytes.
_LONGEST_EXIF = 65533 - len(_EXIF_PREFIX)
# Of a BMP file, whose profile is told to be so far behind the beginning of the second header.
_BMP_HEADER, _BMP_COLOUR_SPACE, _BMP_PROFILE = 14, 70, 126
_BMP_EMBEDDED = b"DEBM"
_JPEG2000_ICC = (b"\2", b"\3")  # methods of a colour specification that are profiles
_PNG_HEADER = 33  # bytes of the signature and of the chunk IHDR
_LONGEST_XMP_IN_JPEG = 65533 - len(b"http://ns.adobe.com/xap/1.0/\0")
_PARTS = {"exif": "EXIF", "icc": "colour profile", "xmp": "XMP"}  # of metadata, in words
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
# And what Pillow raises for damaged EXIF.
_DAMAGED_EXIF = (*_DAMAGE, AssertionError, AttributeError)


@dataclass(frozen=True)
class _ImageFormat:
    """What an image suffix stands for.

    Attributes:
        name: Pillow's name of the format.
        modes: what it holds, as Pillow's modes; ``"16"`` stands for 16 bits and more channels than one.
        options: for ``Image.save``.
        parts: of metadata, that it holds.
    """

    name: str
    modes: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    parts: frozenset[str] = frozenset(_PARTS)


_COLOURS = frozenset({"L", "RGB"})
_EIGHT_BIT = _COLOURS | {"LA", "RGBA"}

_JPEG = _ImageFormat("JPEG", _COLOURS, {"quality": 95})
_TIFF = _ImageFormat("TIFF", _EIGHT_BIT | {"I;16"})
_NO_PARTS: frozenset[str] = frozenset()
_NETPBM = _ImageFormat("PPM", _COLOURS | {"I;16"}, parts=_NO_PARTS)
FORMATS = {
    ".avif": _ImageFormat("AVIF", _EIGHT_BIT, {"quality": 95}),
    ".bmp": _ImageFormat("BMP", _COLOURS, parts=_NO_PARTS),
    ".jp2": _ImageFormat("JPEG2000", _EIGHT_BIT | {"I;16"}, parts=_NO_PARTS),
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


def read_image(data: bytes, path: Path, note: Note | None = None, keep: bool = False) -> tuple[Signal, Metadata] | None:
    """The image that a file's content is, or ``None`` where it is none; see :func:`files.read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what was changed.
        keep: whether metadata are read, and samples left in the colours of their profile.

    Raises:
        InputError: it is damaged, or holds what a signal cannot hold without loss.
    """
    with _image_errors(path):
        image = _open_image(data)
        if image is None:
            return None
        with image:
            return _read_image(image, data, path, note or _silence, keep)


def size_of(path: Path) -> tuple[int, int] | None:
    """Height and width of the image in a file, told from its beginning; ``None`` where that does not tell them.

    Args:
        path: of the file.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_READABLE_FORMATS) as image:
                return image.height, image.width
        except (Image.DecompressionBombError, *_DAMAGE):
            return None


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


def _silence(_: str) -> None:
    """Tell nobody."""


def _read_image(image: ImageFile.ImageFile, data: bytes, path: Path, note: Note, keep: bool) -> tuple[Signal, Metadata]:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise InputError(f"{path} holds {frames} images (an animation or pages); extract one of them first")
    bits = _sample_bits(image, data)
    image.load()
    profile = _unseen_profile(image, data)
    if profile:
        image.info["icc_profile"] = profile
    if bits <= 8:
        samples, profile = _eight_bit(image, path, note, keep)
    else:
        samples, profile = _sixteen_bit(image, data, bits, path, keep)
    samples = _upright(samples, image.getexif().get(_EXIF_ORIENTATION, 1))
    signal = Signal("image", np.ascontiguousarray(samples), bit_depth=8 * samples.dtype.itemsize)
    return signal, _metadata(image, profile, path, note) if keep else Metadata()


def _unseen_profile(image: ImageFile.ImageFile, data: bytes) -> bytes:
    """The colour profile in a file of a format in which Pillow does not look for one."""
    if image.format == "JPEG2000":
        return _jpeg2000_profile(data)
    version_5 = image.format == "BMP" and data[_BMP_HEADER : _BMP_HEADER + 4] == b"\x7c\0\0\0"
    if version_5 and data[_BMP_COLOUR_SPACE : _BMP_COLOUR_SPACE + 4] == _BMP_EMBEDDED:
        start, length = struct.unpack_from("<II", data, _BMP_PROFILE)
        return data[_BMP_HEADER + start : _BMP_HEADER + start + length]
    return b""


def _jpeg2000_profile(data: bytes) -> bytes:
    """The first ICC profile in the boxes of a JPEG 2000 file; a bare codestream has no boxes."""
    place, end = 0, len(data) if data[4:8] == b"jP  " else 0
    while place + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if length == 1 and place + 16 <= end:  # the length is 64 bits behind the kind
            (length,), head = struct.unpack_from(">Q", data, place + 8), 16
        close = min(place + length, end) if length else end
        if kind == b"jp2h":
            place, end = place + head, close
            continue
        if kind == b"colr" and data[place + head : place + head + 1] in _JPEG2000_ICC:
            return data[place + head + 3 : close]
        if close < place + head:
            break
        place = close
    return b""


def _metadata(image: ImageFile.ImageFile, profile: bytes, path: Path, note: Note) -> Metadata:
    """What a loaded image says besides its samples, which are turned upright."""
    try:
        exif = _exif(image)
    except _DAMAGED_EXIF as error:
        note(f"{path} has EXIF that cannot be read ({error}); it is left out")
        exif = b""
    xmp = image.info.get("xmp", b"")
    return Metadata(exif=exif, icc=profile, xmp=upright_xmp(xmp) if isinstance(xmp, bytes) else b"")


def _exif(image: ImageFile.ImageFile) -> bytes:
    """EXIF of a loaded image, upright."""
    raw = image.info.get("exif", b"").removeprefix(_EXIF_PREFIX)
    if raw:
        return upright_exif(raw)
    found = _descriptive(image.getexif())  # of a TIFF file, or written as text
    return found.tobytes().removeprefix(_EXIF_PREFIX) if found else b""


def _descriptive(exif: Image.Exif) -> Image.Exif:
    """EXIF without what says how the samples of a TIFF file are stored, and how they are turned."""
    from PIL import Image

    found = Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in exif:
            found[tag] = exif[tag]
    for tag in _EXIF_DIRECTORIES:
        directory = exif.get_ifd(tag)
        if directory:
            found[tag] = dict(directory)
    return found


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


def _eight_bit(image: ImageFile.ImageFile, path: Path, note: Note, keep: bool) -> tuple[Samples, bytes]:
    """Samples of a loaded image of 8 bits or fewer, ``(height, width, channels)`` uint8, and their colour profile.

    They are in sRGB, where there is no profile. One that is not for grey or RGB is not kept, but applied.
    """
    grey = image.mode in _GREY_MODES
    alpha = None
    colour: Image.Image = image
    if image.has_transparency_data:
        with_alpha = image.convert("LA" if grey else "RGBA")
        alpha = np.asarray(with_alpha.getchannel("A"))
        colour = with_alpha.convert("L" if grey else "RGB")
    elif image.mode != "CMYK":
        colour = image.convert("L" if grey else "RGB")
    profile: bytes = image.info.get("icc_profile") or b""
    if profile:
        transform = _srgb_transform(profile, colour.mode, path)
        if not (keep and colour.mode != "CMYK"):
            colour, profile = _transformed(colour, transform), b""
            if transform is not None:
                hint = "" if image.mode == "CMYK" else "; --keep-metadata keeps them"
                note(f"{path} has colours of another profile, which are converted to sRGB{hint}")
    samples = np.atleast_3d(np.asarray(colour if grey else colour.convert("RGB")))
    return samples if alpha is None else np.dstack([samples, alpha]), profile


def _sixteen_bit(image: ImageFile.ImageFile, data: bytes, bits: int, path: Path, keep: bool) -> tuple[Samples, bytes]:
    """Samples of a loaded image of more than 8 bits, ``(height, width, channels)`` uint16, and their colour profile.

    They are in sRGB, where there is no profile.
    """
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
    profile: bytes = image.info.get("icc_profile") or b""
    if profile:
        transform = _srgb_transform(profile, "L" if samples.shape[-1] <= 2 else "RGB", path)
        if transform is not None and not keep:
            raise InputError(
                f"{path} has 16 bits and a colour profile other than sRGB; give --keep-metadata, or convert it to sRGB"
            )
    if "transparency" in image.info:
        opaque = (samples != np.asarray(image.info["transparency"])).any(axis=-1)
        samples = np.dstack([samples, np.where(opaque, np.iinfo(np.uint16).max, 0).astype(np.uint16)])
    return samples, profile if keep else b""


def _read_deep_png(data: bytes) -> npt.NDArray[np.uint16]:
    import png

    try:
        width, height, rows, info = png.Reader(bytes=data).read()
        flat = np.vstack([np.asarray(row, dtype=np.uint16) for row in rows])
    except png.Error as error:
        raise ValueError(str(error)) from error
    return flat.reshape(height, width, info["planes"])


def _transformed(colour: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Convert an image in mode L, RGB or CMYK to sRGB; L stays L, the others become RGB."""
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
        if not space.isprintable():
            raise OSError("the colour space has no name")
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
    except (OSError, UnicodeDecodeError, ImageCms.PyCMSError) as error:
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


def encode_image(
    signal: Signal, suffix: str, metadata: Metadata | None = None, note: Note | None = None, strip: bool = False
) -> bytes:
    """The content of a file of an image.

    Args:
        signal: to write.
        suffix: that stands for the format.
        metadata: to write with it, as far as the format holds them.
        note: told in one line what the format does not hold.
        strip: write no metadata. The colour profile is applied; it stays only with samples of 16 bits.

    Raises:
        OutputError: the format cannot hold the image.
    """
    image_format = FORMATS[suffix]
    mode = ("L", "LA", "RGB", "RGBA")[signal.channels - 1]
    if signal.bit_depth == 16:
        mode = "I;16" if signal.channels == 1 else "16"
    if mode not in image_format.modes:
        held = "16-bit samples of several channels" if mode == "16" else "16-bit samples"
        held = held if signal.bit_depth == 16 else "transparency"
        raise OutputError(f"a {suffix} file cannot hold {held}; write a .png file instead")
    note = note or _silence
    metadata = metadata or Metadata()
    kept = Metadata(icc=metadata.icc) if strip else _held(metadata, image_format, suffix, note)
    if kept.icc and (strip or "icc" not in image_format.parts):
        signal, kept = _in_srgb(signal, kept, image_format, suffix, note)
    if kept.exif or kept.xmp:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns about EXIF
                return _encoded(signal, image_format, _standing(kept))
        except _DAMAGED_EXIF:
            note(f"a {suffix} file cannot hold EXIF and XMP such as these; they are left out")
    try:
        return _encoded(signal, image_format, Metadata(icc=kept.icc))
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise OutputError(f"a {suffix} file cannot hold this image ({error}); write a .png file instead") from error


def _held(metadata: Metadata, image_format: _ImageFormat, suffix: str, note: Note) -> Metadata:
    """The metadata that a format holds, and the colour profile, whether it holds it or not."""
    left_out = {part for part in ("exif", "xmp") if getattr(metadata, part) and part not in image_format.parts}
    if image_format.name in ("JPEG", "TIFF", "AVIF") and len(metadata.exif) > _LONGEST_EXIF:
        left_out.add("exif")
    if image_format.name == "JPEG" and len(metadata.xmp) > _LONGEST_XMP_IN_JPEG:
        left_out.add("xmp")
    if left_out:
        names = " and ".join(_PARTS[part] for part in sorted(left_out))
        large = "so much " if left_out <= image_format.parts else ""
        note(f"a {suffix} file cannot hold {large}{names}, which {'are' if len(left_out) > 1 else 'is'} left out")
    exif, xmp = (b"" if part in left_out else getattr(metadata, part) for part in ("exif", "xmp"))
    return Metadata(exif, metadata.icc, xmp)


def _standing(metadata: Metadata) -> Metadata:
    """Metadata that do not turn the image in the programs that show it, whatever a hostile file says.

    Raises:
        ValueError: the EXIF make no sense.
    """
    exif = upright_exif(metadata.exif) if metadata.exif else b""
    return replace(metadata, exif=exif, xmp=upright_xmp(metadata.xmp))


def _in_srgb(
    signal: Signal, metadata: Metadata, image_format: _ImageFormat, suffix: str, note: Note
) -> tuple[Signal, Metadata]:
    """An image in sRGB, and the metadata without the colour profile that it was in.

    Raises:
        OutputError: the samples have 16 bits and cannot be converted, and the format does not hold the profile either.
    """
    from PIL import Image

    without = replace(metadata, icc=b"")
    colours = signal.channels - (signal.channels + 1) % 2
    try:
        transform = _srgb_transform(metadata.icc, "L" if colours == 1 else "RGB", Path("the file"))
    except (InputError, *_DAMAGE):
        note("the colour profile cannot be applied and is left out; colours may differ")
        return signal, without
    if transform is None:
        return signal, without
    if signal.bit_depth == 16:
        if "icc" in image_format.parts:
            note("the colour profile stays, since samples of 16 bits cannot be converted to sRGB")
            return signal, metadata
        raise OutputError(f"a {suffix} file cannot hold the colour profile of this image; write a .png file instead")
    if "icc" not in image_format.parts:
        note(f"a {suffix} file cannot hold a colour profile; colours are converted to sRGB")
    colour = Image.fromarray(np.squeeze(signal.samples[..., :colours], axis=2 if colours == 1 else ()))
    converted = np.atleast_3d(np.asarray(_transformed(colour, transform)))
    samples = np.concatenate([converted, signal.samples[..., colours:]], axis=2)
    return replace(signal, samples=samples), without


def _encoded(signal: Signal, image_format: _ImageFormat, metadata: Metadata) -> bytes:
    """The content of a file of an image, with metadata that the format holds."""
    from PIL import Image

    if signal.bit_depth == 16 and signal.channels > 1:
        return _encode_deep_png(signal, metadata)
    pixels = signal.samples[:, :, 0] if signal.channels == 1 else signal.samples
    encoded = BytesIO()
    options = {**image_format.options, **_save_options(metadata, image_format)}
    Image.fromarray(pixels).save(encoded, image_format.name, **options)
    return encoded.getvalue()


def _save_options(metadata: Metadata, image_format: _ImageFormat) -> dict[str, Any]:
    """Options of ``Image.save`` that write metadata."""
    from PIL import Image

    options: dict[str, Any] = {"icc_profile": metadata.icc} if metadata.icc else {}
    if image_format.name == "TIFF" and (metadata.exif or metadata.xmp):
        exif = Image.Exif()
        if metadata.exif:
            exif.load(_EXIF_PREFIX + metadata.exif)
        exif = _descriptive(exif)
        if metadata.xmp:
            exif[_XMP_TAG] = metadata.xmp
        return {**options, "exif": exif.tobytes()}
    if metadata.exif:
        options["exif"] = _EXIF_PREFIX + metadata.exif
    if metadata.xmp and image_format.name == "PNG":
        options["pnginfo"] = _png_text(metadata.xmp)
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    return options


def _png_text(xmp: bytes) -> PngImagePlugin.PngInfo:
    from PIL import PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return text


def _encode_deep_png(signal: Signal, metadata: Metadata) -> bytes:
    import png

    height, width = signal.shape
    writer = png.Writer(width, height, greyscale=signal.channels == 2, alpha=signal.channels != 3, bitdepth=16)
    encoded = BytesIO()
    writer.write_packed(encoded, (row.tobytes() for row in signal.samples.astype(">u2")))
    return _with_png_chunks(encoded.getvalue(), metadata) if metadata else encoded.getvalue()


def _with_png_chunks(content: bytes, metadata: Metadata) -> bytes:
    """The content of a PNG file with metadata behind its header."""
    from PIL import PngImagePlugin

    with_chunks = BytesIO()
    with_chunks.write(content[:_PNG_HEADER])
    if metadata.icc:
        PngImagePlugin.putchunk(with_chunks, b"iCCP", b"ICC Profile\0\0", zlib.compress(metadata.icc))
    if metadata.exif:
        PngImagePlugin.putchunk(with_chunks, b"eXIf", metadata.exif)
    if metadata.xmp:
        for kind, text, *_ in _png_text(metadata.xmp).chunks:
            PngImagePlugin.putchunk(with_chunks, kind, text)
    with_chunks.write(content[_PNG_HEADER:])
    return with_chunks.getvalue()
