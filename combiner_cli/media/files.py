"""Image and sound files to signals and back; nothing is reduced, clipped or dropped in silence, but refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..container.metadata import Metadata
from ..errors import OutputError
from ..signals.signal import Kind, Signal
from ..system import files
from . import images, sounds

IMAGE_SUFFIXES = images.SUFFIXES
SOUND_SUFFIXES = sounds.SUFFIXES


def read_signal(path: Path, note: Callable[[str], None] | None = None) -> Signal:
    """Read an image or a sound; its content decides which, not its name.

    Images come upright (Exif orientation applied) and in sRGB: a colour profile that says otherwise is applied, and so
    are the chunks cICP, gAMA and cHRM of PNG, and the numbers of colours in AVIF, which clips colours beyond sRGB. Grey
    stays grey, palettes become RGB, transparency becomes an alpha channel, CMYK and other colour spaces become RGB.
    Samples are 8 bits, or 16 bits for grey of 16 bits and for PNG of 16 bits. Of an MPO file (a JPEG with previews or
    gain maps behind it) the main image counts.

    Sounds come as float32. Their bit depth is 24 where the file has more than 16 bits a sample, 16 otherwise. Samples
    beyond full scale, as decoders of lossy files make them, are clipped if there is somebody to be told. Streams of Ogg
    one after another are one sound. WAV and FLAC files from a pipe, whose headers do not know how long they are, are
    read to their end.

    Args:
        path: of the file.
        note: told in one line what was changed; without it a sound whose samples would be is refused.

    Raises:
        InputError: the file cannot be read, is neither, is damaged, cut off or animated, is a raw photograph or begins
            with a preview, or holds what a signal cannot hold without loss: more than 16 bits, 16-bit colour other than
            in PNG, more than 2 channels of sound, no frames, values that are not finite or beyond full scale, colours
            that cannot be converted to sRGB.
        LimitError: an image has more pixels than can be read safely.
    """
    return read_signal_bytes(files.read_bytes(path), path, note)


def read_signal_bytes(data: bytes, path: Path, note: Callable[[str], None] | None = None) -> Signal:
    """An image or a sound from the content of its file; see :func:`read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: as for :func:`read_signal`.

    Raises:
        InputError, LimitError: as :func:`read_signal`.
    """
    image = images.read_image(data, path, note)
    return image[0] if image is not None else sounds.read_sound(data, path, note)[0]


def read_with_metadata(data: bytes, path: Path, note: Callable[[str], None] | None = None) -> tuple[Signal, Metadata]:
    """An image or a sound from the content of its file, with its metadata.

    Samples of an image stay in the colours that it describes, where these are grey or RGB. Metadata are those of an
    image that stands upright, without a thumbnail.

    Args:
        data: the content.
        path: of the file, for messages.
        note: as for :func:`read_signal`; told too, in one line, which kinds of metadata are left out.

    Raises:
        InputError, LimitError: as :func:`read_signal`, but that colours need not be convertible.
    """
    image = images.read_image(data, path, note, keep=True)
    if image is not None:
        return image
    return sounds.read_sound(data, path, note, keep=True)


def write_signal(
    signal: Signal, path: Path, metadata: Metadata | None = None, note: Callable[[str], None] | None = None
) -> None:
    """Write an image or a sound in the format that the suffix of ``path`` stands for.

    PNG, WebP, JPEG 2000, TIFF, BMP and PPM hold the samples exactly; so do WAV, FLAC, AIFF, AU and CAF, whose integers
    are ``round(sample * 2**(bit_depth - 1))``, with 1.0 as the highest integer there is. The other formats are lossy.

    Args:
        signal: to write.
        path: of the file.
        metadata: to write with it, as far as the format holds them.
        note: told in one line what the format does not hold.

    Raises:
        OutputError: the suffix is unknown or of the other kind, or its format cannot hold the signal.
        OSError: the file cannot be written; :func:`files.atomic_output` turns it into an OutputError.
    """
    check_writable_suffix(signal.kind, path)
    path.write_bytes(signal_bytes(signal, path.suffix.lower(), metadata, note))


def signal_bytes(
    signal: Signal,
    suffix: str,
    metadata: Metadata | None = None,
    note: Callable[[str], None] | None = None,
    strip: bool = False,
) -> bytes:
    """The content of a file of an image or a sound.

    Args:
        signal: to write.
        suffix: that stands for its format; one that :func:`check_writable_suffix` lets through.
        metadata: to write with it, as far as the format holds them.
        note: told in one line what the format does not hold.
        strip: write no metadata; colours are converted to sRGB.

    Raises:
        OutputError: the format cannot hold the signal.
    """
    if signal.kind == "image":
        return images.encode_image(signal, suffix, metadata, note, strip)
    return sounds.encode_sound(signal, suffix, None if strip else metadata, note)


def check_writable_suffix(kind: Kind, path: Path) -> None:
    """Make sure that a signal of this kind can be written under the name ``path``, as far as its suffix goes.

    Raises:
        OutputError: the suffix is unknown, or of the other kind.
    """
    suffixes = sorted(images.FORMATS if kind == "image" else sounds.FORMATS)
    if path.suffix.lower() not in suffixes:
        article = "an" if kind == "image" else "a"
        given = f"as {path.suffix}" if path.suffix else "without a suffix"
        raise OutputError(f"{path}: {article} {kind} cannot be written {given}; use one of {' '.join(suffixes)}")


def default_suffix(kind: Kind) -> str:
    """The suffix of a decoded file where none is asked for; its format holds every signal of the kind exactly."""
    return ".png" if kind == "image" else ".wav"


def image_size(path: Path) -> tuple[int, int] | None:
    """Height and width of the image in a file, as it is stored and without decoding it.

    Args:
        path: of the file.

    Returns:
        ``None`` where the beginning of the file does not tell.
    """
    return images.size_of(path)
