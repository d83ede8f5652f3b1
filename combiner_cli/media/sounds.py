"""Sound files to signals and back, by soundfile, which is imported where it is used."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..container.metadata import TAGS
from ..errors import InputError, OutputError
from ..signals.signal import Signal

Samples = npt.NDArray[np.generic]

SUFFIXES = frozenset({".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav"})


# Of these a decoder may make samples beyond full scale where there were none before.
_LOSSY_SOUNDS = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
_DEEP_SOUNDS = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24"})
# From here on the sizes in headers are those of writers to a pipe, which do not know them.
_LENGTH_UNKNOWN = 0x7FFFF000
_OGG_LAST = 0x04
# Sounds are read and written in blocks: a header's number of frames is not to be trusted with an allocation, and
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK_FRAMES = 2**16
_SHORT_FRAMES = 2**12
# A tag that libFLAC takes for no text makes libsndfile 1.2 free memory twice (libsndfile pull request 1132): so do
# these two characters, and one of several bytes that is cut where the name of a software has room for no more.
_NO_TEXT = frozenset("\ufffe\uffff")
_LONGEST_SOFTWARE = 127  # bytes


# Suffix to soundfile's format, and its subtype where that does not follow from the bit depth.
FORMATS = {
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


class _SoundBytes(BytesIO):
    """Bytes for libsndfile, which seeks before the start of damaged files: exceptions would be printed, not raised."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def read_sound(data: bytes, path: Path, note: Callable[[str], None] | None) -> tuple[Signal, dict[str, str]]:
    """The sound that a file's content is, and its tags; see :func:`combiner_cli.media.files.read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what was changed; without it such a file is refused.

    Raises:
        InputError: it is none, is damaged or cut off, or holds what a signal cannot hold without loss.
    """
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
        tags = _tags(sound)
    if len(samples) == 0:
        raise InputError(f"{path} holds no samples; give a sound of at least one")
    _check_finite(samples, sample_rate, path)
    samples = _within_full_scale(samples, path, note if lossy else None)
    return Signal("sound", samples, sample_rate, bit_depth), tags


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


def _tags(sound: Any) -> dict[str, str]:
    """The tags of an open soundfile.SoundFile that say something."""
    found: dict[str, str] = sound.copy_metadata()
    return {name: found[name] for name in TAGS if found.get(name)}


def encode_sound(
    signal: Signal, suffix: str, tags: Mapping[str, str] | None = None, note: Callable[[str], None] | None = None
) -> bytes:
    """The content of a file of a sound.

    Args:
        signal: to write.
        suffix: that stands for the format.
        tags: to write with it, as far as the format holds them.
        note: told in one line which it does not hold.

    Raises:
        OutputError: the format cannot hold the sound.
    """
    known = {name: tags[name] for name in TAGS if name in tags} if tags else {}
    held = _held(known, signal, suffix)
    left_out = [name for name in known if name not in held]
    if left_out and note is not None:
        which = "tag" if len(left_out) == 1 else "tags"
        are = "is" if len(left_out) == 1 else "are"
        note(f"a {suffix} file cannot hold the {which} {', '.join(left_out)} as given, which {are} left out")
    return _encoded(signal, suffix, held)


def _held(tags: Mapping[str, str], signal: Signal, suffix: str) -> Mapping[str, str]:
    """Tags that come back from a file as they were given.

    Formats do not say what they refuse, cut off or garble, and long tags may take others with them or make a file that
    cannot be read: so a short silence is written and read.
    """
    import soundfile

    if not tags:
        return tags
    silence = replace(signal, samples=np.zeros((_SHORT_FRAMES, signal.channels), dtype=np.float32))
    remaining = {name: text for name, text in tags.items() if suffix != ".flac" or _is_harmless(name, text)}
    while remaining:
        try:
            with soundfile.SoundFile(_SoundBytes(_encoded(silence, suffix, remaining))) as sound:
                found = _tags(sound)
        except (soundfile.LibsndfileError, OutputError):
            found = {}
        held = {name for name, text in remaining.items() if _same(found.get(name, ""), text)}
        if len(held) == len(remaining):
            break
        if not held:
            del remaining[max(remaining, key=lambda name: len(remaining[name]))]
            continue
        remaining = {name: text for name, text in remaining.items() if name in held}
    return remaining


def _is_harmless(name: str, text: str) -> bool:
    """Whether a tag of a FLAC file is still text when libsndfile hands it on."""
    return _NO_TEXT.isdisjoint(text) and (name != "software" or len(text.encode()) <= _LONGEST_SOFTWARE)


def _same(found: str, given: str) -> bool:
    """Whether a tag came back; libsndfile puts its own name behind that of the software."""
    return found == given or found.startswith(f"{given} (libsndfile-")


def _encoded(signal: Signal, suffix: str, tags: Mapping[str, str]) -> bytes:
    import soundfile

    name, subtype = FORMATS[suffix]
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
            for tag, text in tags.items():
                setattr(sound, tag, text)
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
