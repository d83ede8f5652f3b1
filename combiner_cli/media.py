"""Image and sound files to signals and back; nothing is reduced, clipped or dropped in silence, but refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import files, image_files, sound_files
from .errors import OutputError
from .signals import Kind, Signal

IMAGE_SUFFIXES = image_files.SUFFIXES
SOUND_SUFFIXES = sound_files.SUFFIXES


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
    return read_signal_bytes(files.read_bytes(path), path, note)


def read_signal_bytes(data: bytes, path: Path, note: Callable[[str], None] | None = None) -> Signal:
    """An image or a sound from the content of its file; see :func:`read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what was changed; without it such a file is refused.

    Raises:
        InputError: as :func:`read_signal`.
    """
    image = image_files.read_image(data, path)
    return sound_files.read_sound(data, path, note) if image is None else image


def write_signal(signal: Signal, path: Path) -> None:
    """Write an image or a sound in the format that the suffix of ``path`` stands for.

    PNG, WebP, JPEG 2000, TIFF, BMP and PPM hold the samples exactly; so do WAV, FLAC, AIFF, AU and CAF, whose integers
    are ``round(sample * 2**(bit_depth - 1))``, with 1.0 as the highest integer there is. The other formats are lossy.

    Raises:
        OutputError: the suffix is unknown or of the other kind, or its format cannot hold the signal.
        OSError: the file cannot be written; :func:`combiner_cli.files.atomic_output` turns it into an OutputError.
    """
    check_writable_suffix(signal.kind, path)
    path.write_bytes(signal_bytes(signal, path.suffix.lower()))


def signal_bytes(signal: Signal, suffix: str) -> bytes:
    """The content of a file of an image or a sound.

    Args:
        signal: to write.
        suffix: that stands for its format; one that :func:`check_writable_suffix` lets through.

    Raises:
        OutputError: the format cannot hold the signal.
    """
    encode = image_files.encode_image if signal.kind == "image" else sound_files.encode_sound
    return encode(signal, suffix)


def check_writable_suffix(kind: Kind, path: Path) -> None:
    """Make sure that a signal of this kind can be written under the name ``path``, as far as its suffix goes.

    Raises:
        OutputError: the suffix is unknown, or of the other kind.
    """
    suffixes = sorted(image_files.FORMATS if kind == "image" else sound_files.FORMATS)
    if path.suffix.lower() not in suffixes:
        article = "an" if kind == "image" else "a"
        given = f"as {path.suffix}" if path.suffix else "without a suffix"
        raise OutputError(f"{path}: {article} {kind} cannot be written {given}; use one of {' '.join(suffixes)}")


def default_suffix(kind: Kind) -> str:
    """The suffix of a decoded file where none is asked for; its format holds every signal of the kind exactly."""
    return ".png" if kind == "image" else ".wav"
