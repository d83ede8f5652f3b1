"""Image and sound files to signals and back. Nothing is reduced, clipped or dropped in silence: it is refused instead.

Pillow, pypng and soundfile are imported where they are used, so that commands that need none of them start fast.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from . import files
from .errors import InputError, OutputError
from .signals import Kind, Signal

if TYPE_CHECKING:
    from PIL import Image, ImageCms, ImageFile

Samples = npt.NDArray[np.generic]

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp"}
)
SOUND_SUFFIXES = frozenset({".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"})

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

# Of these a decoder may make samples beyond full scale where there were none before.
_LOSSY_SOUNDS = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
_DEEP_SOUNDS = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24"})
# From here on the sizes in headers are those of writers to a pipe, which do not know them.
_LENGTH_UNKNOWN = 0x7FFFF000
_OGG_LAST = 0x04
# Sounds are read and written in blocks: a header's number of frames is not to be trusted with an allocation, and
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK_FRAMES = 2**16


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
_IMAGE_FORMATS = {
    ".avif": _ImageFormat("AVIF", _EIGHT_BIT, {"quality": 95}),
    ".bmp": _ImageFormat("BMP", _COLOURS),
    ".jp2": _ImageFormat("JPEG2000", _EIGHT_BIT | {"I;16"}),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".pgm": _NETPBM,
    # of natural images, level 2 makes files within 2 % of the usual 6 in a third of the time
    ".png": _ImageFormat("PNG", _EIGHT_BIT | {"I;16", "16"}, {"compress_level": 2}),
    ".pnm": _NETPBM,
    ".ppm": _NETPBM,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _ImageFormat("WEBP", _EIGHT_BIT, {"lossless": True, "exact": True}),
}

# Suffix to soundfile's format, and its subtype where that does not follow from the bit depth.
_SOUND_FORMATS = {
    ".aif": ("AIFF", None),
    ".aiff": ("AIFF", None),
    ".au": ("AU", None),
    ".caf": ("CAF", None),
    ".flac": ("FLAC", None),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".oga": ("OGG", "VORBIS"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".wav": ("WAV", None),
}


def read_signal(path: Path, note: Callable[[str], None] | None = None) -> Signal:
    """Read an image or a sound; its content decides which, not its name.

    Images come upright (Exif orientation applied) and in sRGB (a colour profile that says otherwise is applied, which
    clips colours beyond sRGB). Grey stays grey, palettes become RGB, transparency becomes an alpha channel, CMYK and
    other colour spaces become RGB. Samples are 8 bits, or 16 bits for grey of 16 bits and for PNG of 16 bits. Of an
    MPO file (a JPEG with previews or gain maps behind it) the main image counts.

    Sounds come as float32. Their bit depth is 24 where the file has more than 16 bits a sample, 16 otherwise. Samples
    beyond full scale, as decoders of lossy files make them, are clipped if there is somebody to be told.

    Args:
        path: of the file.
        note: told in one line what was changed; without it such a file is refused.

    Raises:
        InputError: the file cannot be read, is neither, is damaged, cut off or animated, or holds what a signal cannot
            hold without loss: more than 16 bits, 16-bit colour other than in PNG, more than 2 channels of sound, no
            frames, values that are not finite or beyond full scale, a colour profile that cannot be applied.
    """
    data = files.read_bytes(path)
    with _image_errors(path):
        image = _open_image(data)
        if image is not None:
            with image:
                return _read_image(image, data, path)
    return _read_sound(data, path, note)


def write_signal(signal: Signal, path: Path) -> None:
    """Write an image or a sound in the format that the suffix of ``path`` stands for.

    PNG, WebP, JPEG 2000, TIFF, BMP and PPM hold the samples exactly; so do WAV, FLAC, AIFF, AU and CAF, whose integers
    are ``round(sample * 2**(bit_depth - 1))``, with 1.0 as the highest integer there is. The other formats are lossy.

    Raises:
        OutputError: the suffix is unknown or of the other kind, or its format cannot hold the signal.
        OSError: the file cannot be written; :func:`combiner_cli.files.atomic_output` turns it into an OutputError.
    """
    check_writable_suffix(signal.kind, path)
    suffix = path.suffix.lower()
    path.write_bytes(_encode_image(signal, suffix) if signal.kind == "image" else _encode_sound(signal, suffix))


def check_writable_suffix(kind: Kind, path: Path) -> None:
    """Make sure that a signal of this kind can be written under the name ``path``, as far as its suffix goes.

    Raises:
        OutputError: the suffix is unknown, or of the other kind.
    """
    suffixes = sorted(_IMAGE_FORMATS if kind == "image" else _SOUND_FORMATS)
    if path.suffix.lower() not in suffixes:
        article = "an" if kind == "image" else "a"
        given = f"as {path.suffix}" if path.suffix else "without a suffix"
        raise OutputError(f"{path}: {article} {kind} cannot be written {given}; use one of {' '.join(suffixes)}")


def default_suffix(kind: Kind) -> str:
    """The suffix of a decoded file where none is asked for; its format holds every signal of the kind exactly."""
    return ".png" if kind == "image" else ".wav"


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


class _SoundBytes(BytesIO):
    """Bytes for libsndfile, which seeks before the start of damaged files: exceptions would be printed, not raised."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _read_sound(data: bytes, path: Path, note: Callable[[str], None] | None) -> Signal:
    import soundfile

    _check_whole(data, path)
    try:
        sound = soundfile.SoundFile(_SoundBytes(data))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip(" .") or "format not recognised"
        if "SF_INFO struct incomplete" in reason:
            raise InputError(
                f"{path} has a sample rate of zero, or no channels, by its header; write it from its source again"
            ) from error
        raise InputError(f"{path} is neither an image nor a sound that can be read ({reason}); give one") from error
    with sound:
        if sound.channels > 2:
            raise InputError(f"{path} has {sound.channels} channels; mix it down to 1 or 2 first, or split it")
        samples = _read_frames(sound, path)
        bit_depth = 24 if sound.subtype in _DEEP_SOUNDS else 16
        sample_rate, lossy = sound.samplerate, sound.subtype in _LOSSY_SOUNDS
    if len(samples) == 0:
        raise InputError(f"{path} holds no samples; give a sound of at least one")
    _check_finite(samples, sample_rate, path)
    samples = _within_full_scale(samples, path, note if lossy else None)
    return Signal("sound", samples, sample_rate, bit_depth)


def _check_finite(samples: npt.NDArray[np.float32], sample_rate: int, path: Path) -> None:
    """Refuse NaN and infinity, and say when the first one is; ``(frames, channels)``."""
    faulty = ~np.isfinite(samples)
    if not faulty.any():
        return
    frame, channel = (int(place) for place in np.argwhere(faulty)[0])
    what = "NaN" if np.isnan(samples[frame, channel]) else "an infinite sample"
    where = f"{frame / sample_rate:.6g} s (sample {frame} of channel {channel + 1})"
    raise InputError(f"{path} holds {what} at {where}, {int(faulty.sum())} such samples in all; repair it first")


def _within_full_scale(
    samples: npt.NDArray[np.float32], path: Path, note: Callable[[str], None] | None
) -> npt.NDArray[np.float32]:
    """Samples in [-1, 1]: others are clipped if there is somebody to be told, and refused if not."""
    peak = float(np.abs(samples).max())
    if peak <= 1:
        return samples
    if note is None:
        raise InputError(f"{path} has samples beyond full scale (peak {peak:.4g}); normalise it first")
    beyond = int(np.count_nonzero(np.abs(samples) > 1))
    note(f"{path} has {beyond:,} samples beyond full scale (peak {peak:.4g}) that are clipped")
    return samples.clip(-1, 1)


def _check_whole(data: bytes, path: Path) -> None:
    """Refuse a sound file of which the end is missing, where libsndfile takes it for a shorter one."""
    if data[:4] == b"OggS":
        if not _ogg_is_whole(data):
            raise InputError(f"{path} is cut off: its last page is missing; restore it from its source")
        return
    end = _declared_end(data)
    if end is not None and end > len(data):
        raise InputError(f"{path} is cut off: {len(data):,} of {end:,} bytes are there; restore it from its source")


def _declared_end(data: bytes) -> int | None:
    """Where the samples of a WAV, AIFF, AU or CAF file end by its header, in bytes; ``None`` if it does not say so."""
    name, kind = data[:4], data[8:12]
    if name in (b"RIFF", b"RF64") and kind == b"WAVE":
        return _chunk_end(data, 12, b"data", "little", 4)
    if name == b"RIFX" and kind == b"WAVE":
        return _chunk_end(data, 12, b"data", "big", 4)
    if name == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _chunk_end(data, 12, b"SSND", "big", 4)
    if name == b"caff":
        return _chunk_end(data, 8, b"data", "big", 8)
    if name == b".snd":
        start, size = struct.unpack_from(">II", data.ljust(12, b"\0"), 4)
        return None if size >= _LENGTH_UNKNOWN else start + size
    return None


def _chunk_end(data: bytes, place: int, wanted: bytes, order: Literal["little", "big"], width: int) -> int | None:
    """Where a chunk ends by its own size of ``width`` bytes; chunks follow one another from ``place`` on."""
    while place + 4 + width <= len(data):
        start = place + 4 + width
        size = int.from_bytes(data[place + 4 : start], order)
        if data[place : place + 4] == wanted:
            if data[:4] == b"RF64" and size == 2**32 - 1:  # the size is in the first chunk, ds64 (EBU Tech 3306)
                size = int.from_bytes(data[28:36], order)
            unknown = size >= (_LENGTH_UNKNOWN if width == 4 and data[:4] != b"RF64" else 2**63)
            return None if unknown else start + size
        place = start + size + (size % 2 if width == 4 else 0)
    return None


def _ogg_is_whole(data: bytes) -> bool:
    """Whether the pages of an Ogg file (RFC 3533) are complete and the last one says that it is the last one."""
    place, last = 0, False
    while data[place : place + 4] == b"OggS" and place + 27 <= len(data):
        segments = data[place + 27 : place + 27 + data[place + 26]]
        last = bool(data[place + 5] & _OGG_LAST)
        place += 27 + data[place + 26] + sum(segments)
    return last and place <= len(data)


def _read_frames(sound: Any, path: Path) -> npt.NDArray[np.float32]:
    """All frames of an open soundfile.SoundFile, ``(frames, channels)``."""
    import soundfile

    blocks = [np.empty((0, sound.channels), dtype=np.float32)]
    try:
        while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            blocks.append(block)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip(" .")
        raise InputError(f"{path} cannot be decoded to its end ({reason}); restore or re-encode it") from error
    samples = np.concatenate(blocks)
    if len(samples) < sound.frames:
        raise InputError(f"{path} ends after {len(samples)} of {sound.frames} frames; restore it from its source")
    return samples


def _encode_image(signal: Signal, suffix: str) -> bytes:
    from PIL import Image

    image_format = _IMAGE_FORMATS[suffix]
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


def _encode_sound(signal: Signal, suffix: str) -> bytes:
    import soundfile

    name, subtype = _SOUND_FORMATS[suffix]
    encoded = BytesIO()
    try:
        with soundfile.SoundFile(
            encoded,
            "w",
            signal.sample_rate,
            signal.channels,
            subtype or f"PCM_{signal.bit_depth}",
            format=name,
        ) as sound:
            for start in range(0, signal.points, _BLOCK_FRAMES):
                sound.write(_integers(signal.samples[start : start + _BLOCK_FRAMES], signal.bit_depth))
    except (soundfile.LibsndfileError, OverflowError) as error:
        held = f"this sound of {signal.sample_rate} Hz and {signal.channels} channels"
        advice = "resample it first" if suffix == ".wav" else "write a .wav file instead"
        raise OutputError(f"a {suffix} file cannot hold {held}; {advice}") from error
    return encoded.getvalue()


def _integers(samples: Samples, bit_depth: int) -> npt.NDArray[np.int32]:
    """Samples as the integers of PCM, at the top of 32 bits, where libsndfile takes them from without a change.

    16-bit integers for 16-bit files would do as well, but libsndfile 1.2 turns these to noise in an MP3 of 2 channels.
    """
    steps = 2.0 ** (bit_depth - 1)
    rounded = np.clip(np.rint(samples.astype(np.float64) * steps), -steps, steps - 1)
    return rounded.astype(np.int32) << (32 - bit_depth)
