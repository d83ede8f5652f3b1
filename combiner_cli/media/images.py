"""Image files to signals and back, by Pillow and pypng, which are imported where they are used."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..container.metadata import CHUNKS, Metadata
from ..errors import InputError, LimitError, OutputError
from ..signals.signal import Signal
from . import colours, image_samples, messages, png_chunks, unreadable
from .colour_spaces import Samples
from .colours import Colours
from .image_metadata import reading, writing
from .image_metadata.parts import DAMAGE, DAMAGED_EXIF
from .png_chunks import PngFile

if TYPE_CHECKING:
    from PIL import ImageFile

Note = Callable[[str], None]

SUFFIXES = unreadable.IMAGE_SUFFIXES | {
    *(
        ".apng",
        ".avif",
        ".avifs",
        ".bmp",
        ".dib",
        ".gif",
        ".j2c",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpc",
        ".jpe",
        ".jpeg",
        ".jpf",
    ),
    *(".jpg", ".jpx", ".mpo", ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp"),
}

# Only these are tried: formats without a signature would claim sounds, and others would start external programs.
_READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "QOI")
_EXIF_ORIENTATION = 0x0112
_LONGEST_SIDE_OF_JPEG = 65_500  # beyond which libjpeg prints a line, and Pillow does not say why it failed
_MPO_IMAGES = 0xB002  # a list of the images in an MPO file


@dataclass(frozen=True)
class ImageFormat:
    """What an image suffix stands for.

    Attributes:
        name: Pillow's name of the format.
        modes: what it holds, as Pillow's modes; ``"16"`` stands for 16 bits and more channels than one.
        parts: of metadata, that it holds, by their names in a ``.cmb`` file.
        options: for ``Image.save``.
    """

    name: str
    modes: frozenset[str]
    parts: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)


_COLOURS = frozenset({"L", "RGB"})
_EIGHT_BIT = _COLOURS | {"LA", "RGBA"}
_EXIF_ICC_XMP = frozenset({"exif", "icc", "xmp"})

_JPEG = ImageFormat("JPEG", _COLOURS, _EXIF_ICC_XMP | {"iptc", "pHYs", "tags"}, {"quality": 95})
_TIFF = ImageFormat("TIFF", _EIGHT_BIT | {"I;16"}, _EXIF_ICC_XMP | {"iptc", "pHYs"})
_NETPBM = ImageFormat("PPM", _COLOURS | {"I;16"})
# higher levels take much longer and make photographs hardly smaller
_PNG_OPTIONS = {"compress_level": 2}
FORMATS = {
    ".avif": ImageFormat("AVIF", _EIGHT_BIT, _EXIF_ICC_XMP, {"quality": 95}),
    ".bmp": ImageFormat("BMP", _COLOURS, frozenset({"pHYs"}), {"dpi": (0, 0)}),
    ".jp2": ImageFormat("JPEG2000", _EIGHT_BIT | {"I;16"}),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".pgm": _NETPBM,
    ".png": ImageFormat("PNG", _EIGHT_BIT | {"I;16", "16"}, _EXIF_ICC_XMP | {"iptc", "tags", *CHUNKS}, _PNG_OPTIONS),
    ".pnm": _NETPBM,
    ".ppm": _NETPBM,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": ImageFormat("WEBP", _EIGHT_BIT, _EXIF_ICC_XMP, {"lossless": True, "exact": True}),
}


def read_image(data: bytes, path: Path, note: Note | None = None, keep: bool = False) -> tuple[Signal, Metadata] | None:
    """The image that a file's content is, or ``None`` where it is none; see :func:`files.read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what was changed, and what of the metadata is left out.
        keep: whether metadata are read, and samples left in the colours that they describe.

    Raises:
        InputError: it is damaged, or holds what a signal cannot hold without loss.
        LimitError: it has more pixels than can be read safely.
    """
    with _image_errors(path):
        unreadable.refuse_preview(data, path)
        png = png_chunks.split(data)
        image = _open_image(png.content if png else data)
        if image is None:
            return None
        with image:
            return _read_image(image, data, png, path, note or _silence, keep)


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
        except (Image.DecompressionBombError, *DAMAGE):
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
            raise LimitError(f"{path} has more pixels than can be read safely; give a smaller image") from error
        except DAMAGE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path} is damaged or unsupported ({reason}); restore it or convert it to PNG") from error


def _open_image(data: bytes) -> ImageFile.ImageFile | None:
    from PIL import Image, UnidentifiedImageError

    logger = logging.getLogger("PIL")
    if not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())  # what it logs is in what it raises too, and would go to stderr
    try:
        return Image.open(BytesIO(data), formats=_READABLE_FORMATS)
    except UnidentifiedImageError:
        return None


def _silence(_: str) -> None:
    """Tell nobody."""


def _read_image(
    image: ImageFile.ImageFile, data: bytes, png: PngFile | None, path: Path, note: Note, keep: bool
) -> tuple[Signal, Metadata]:
    _refuse_others_than_one(image, path)
    bits = image_samples.sample_bits(image, data)
    _load(image, path, note)
    if png:
        reading.give_exif(image, png)
        if not png.is_whole:
            note(f"{path} has no chunk IEND, so that its end may be missing; all its samples are there")
    described = _described(image, data, png, path, note)
    if bits <= 8:
        samples, alpha, described = image_samples.eight_bit(image, described, path, note)
    else:
        samples, alpha = image_samples.sixteen_bit(image, png, bits, path)
    bit_depth = 8 * samples.dtype.itemsize
    if not (keep and _is_valid(described, samples.shape[-1], path)):
        convert = colours.conversion(described, samples.shape[-1], bit_depth, path)
        described = Colours()
        if convert:
            samples = convert(samples)
            note(f"{path} has colours of another profile, which are converted to sRGB; --keep-metadata keeps them")
    if alpha is not None:
        samples = np.dstack([samples, alpha])
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    signal = Signal("image", np.ascontiguousarray(image_samples.upright(samples, orientation)), bit_depth=bit_depth)
    if not keep:
        return signal, Metadata()
    parts = reading.read(image, data, png, orientation in image_samples.TURNED, path, note)
    return signal, replace(parts, icc=described.icc, chunks={**parts.chunks, **described.chunks})


def _refuse_others_than_one(image: ImageFile.ImageFile, path: Path) -> None:
    """Refuse animations, pages, and files whose first image says that it is a preview.

    Raises:
        InputError: it is one of them.
    """
    frames = getattr(image, "n_frames", 1)
    if image.format != "MPO":
        if frames > 1:
            raise InputError(f"{path} holds {frames} images (an animation or pages); extract one of them first")
        return
    images = getattr(image, "mpinfo", {}).get(_MPO_IMAGES) or [{}]
    if "Thumbnail" in images[0].get("Attribute", {}).get("MPType", ""):
        raise InputError(
            f"{path} begins with a preview of a larger image, which would be taken for it; "
            "extract the image that you want first"
        )


def _load(image: ImageFile.ImageFile, path: Path, note: Note) -> None:
    """Decode an image; what libtiff has to say of it comes as an error, or as a note where it is a warning."""
    if image.format != "TIFF":
        image.load()
        return
    lines: list[str] = []
    try:
        with messages.caught(messages.LIBTIFF) as lines:
            image.load()
    except OSError as error:
        raise ValueError(messages.reason(lines) or str(error)) from error
    errors = [line for line in lines if "Warning, " not in line]
    if errors:
        raise ValueError(messages.reason(errors))
    messages.tell(lines, path, note)


def _described(image: ImageFile.ImageFile, data: bytes, png: PngFile | None, path: Path, note: Note) -> Colours:
    """What describes the colours of a loaded image."""
    if png:
        try:
            profile = png_chunks.profile(png)
        except ValueError as error:
            raise InputError(f"{path} has a damaged colour profile; remove it, or convert the image to sRGB") from error
        chunks = {name: png.first(name, CHUNKS.get(name)) for name in ("cICP", "mDCV", "cLLI", "sRGB", "gAMA", "cHRM")}
        return colours.of_chunks({name: part for name, part in chunks.items() if part}, profile, path, note)
    profile = image.info.get("icc_profile") or reading.unseen_profile(image, data)
    code_points = reading.code_points(image, data)
    if not profile and code_points:
        return colours.of_code_points(*code_points, path, note)
    return Colours(profile)


def _is_valid(described: Colours, channels: int, path: Path) -> bool:
    """Whether colours can be kept, which is so but for none at all.

    Raises:
        InputError: the profile is damaged, or for other channels.
    """
    if described.icc:
        colours.profile_transform(described.icc, "L" if channels == 1 else "RGB", path)
    return bool(described)


def encode_image(
    signal: Signal, suffix: str, metadata: Metadata | None = None, note: Note | None = None, strip: bool = False
) -> bytes:
    """The content of a file of an image.

    Args:
        signal: to write.
        suffix: that stands for the format.
        metadata: to write with it, as far as the format holds them.
        note: told in one line what the format does not hold.
        strip: write no metadata. Colours are converted to sRGB; those that cannot be, stay what they are.

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
    if image_format.name == "JPEG" and max(signal.shape) > _LONGEST_SIDE_OF_JPEG:
        held = f"more than {_LONGEST_SIDE_OF_JPEG:,} pixels in a row or a column"
        raise OutputError(f"a {suffix} file cannot hold {held}; write a .png file instead")
    note = note or _silence
    given = metadata or Metadata()
    kept = Metadata() if strip else writing.held(given, image_format, suffix, note)
    described = colours.of_metadata(given.icc, given.chunks)
    if described and not strip and writing.holds_colours(described, image_format):
        described = writing.held_colours(given, image_format)
    elif described:
        signal, described = _in_srgb(signal, described, image_format, suffix, note)
    kept = replace(kept, icc=described.icc, chunks={**kept.chunks, **described.chunks})
    if kept.exif or kept.xmp:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns about EXIF
                return _encoded(signal, image_format, writing.standing(kept))
        except DAMAGED_EXIF:
            note(f"a {suffix} file cannot hold EXIF and XMP such as these; they are left out")
    try:
        return _encoded(signal, image_format, replace(kept, exif=b"", xmp=b""))
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise OutputError(f"a {suffix} file cannot hold this image ({error}); write a .png file instead") from error


def _in_srgb(
    signal: Signal, described: Colours, image_format: ImageFormat, suffix: str, note: Note
) -> tuple[Signal, Colours]:
    """An image in sRGB, and what describes its colours if it could not be converted.

    Raises:
        OutputError: it cannot be converted, and the format does not hold its colours either.
    """
    holds = writing.holds_colours(described, image_format)
    count = signal.channels - (signal.channels + 1) % 2
    try:
        convert = colours.conversion(described, count, signal.bit_depth, Path("the file"))
    except colours.UnconvertibleError as error:
        if holds:
            note("the colours stay what they are, since they cannot be converted to sRGB")
            return signal, described
        raise OutputError(
            f"a {suffix} file cannot hold the colours of this image, which cannot be converted to sRGB; "
            "write a .png file instead"
        ) from error
    except (InputError, *DAMAGE):
        note("the colour profile cannot be applied and is left out; colours may differ")
        return signal, Colours()
    if convert is None:
        return signal, Colours()
    if not holds:
        note(f"a {suffix} file cannot hold the colours of this image; they are converted to sRGB")
    samples: Samples = signal.samples  # type: ignore[assignment]
    converted = np.concatenate([convert(samples[..., :count]), samples[..., count:]], axis=2)
    return replace(signal, samples=converted), Colours()


def _encoded(signal: Signal, image_format: ImageFormat, metadata: Metadata) -> bytes:
    """The content of a file of an image, with metadata that the format holds."""
    if signal.bit_depth == 16 and signal.channels > 1:
        content = _encode_deep_png(signal)
    else:
        from PIL import Image

        pixels = signal.samples[:, :, 0] if signal.channels == 1 else signal.samples
        encoded = BytesIO()
        options = {**image_format.options, **writing.save_options(metadata, image_format)}
        Image.fromarray(pixels).save(encoded, image_format.name, **options)
        content = encoded.getvalue()
    return writing.with_parts(content, image_format, metadata)


def _encode_deep_png(signal: Signal) -> bytes:
    import png

    height, width = signal.shape
    writer = png.Writer(width, height, greyscale=signal.channels == 2, alpha=signal.channels != 3, bitdepth=16)
    encoded = BytesIO()
    writer.write_packed(encoded, (row.tobytes() for row in signal.samples.astype(">u2")))
    return encoded.getvalue()
