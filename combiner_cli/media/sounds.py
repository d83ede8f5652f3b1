"""Sound files to signals and back, by soundfile, which is imported where it is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..container.metadata import Metadata
from ..errors import InputError, OutputError
from ..signals.signal import Signal
from . import messages, unreadable

if TYPE_CHECKING:
    import soundfile

Note = Callable[[str], None]
Samples = npt.NDArray[np.generic]

SUFFIXES = unreadable.SOUND_SUFFIXES | {
    *(".8svx", ".aif", ".aifc", ".aiff", ".au", ".avr", ".bwf", ".caf", ".flac", ".mp2", ".mp3", ".nist", ".oga"),
    *(".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sf", ".snd", ".sph", ".voc", ".w64", ".wav", ".wave"),
}

# Of these a decoder may make samples beyond full scale where there were none before.
_LOSSY_SOUNDS = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
_DEEP_SOUNDS = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24"})
# Sounds are read and written in blocks: a header's number of frames is not to be trusted with an allocation, and
# libsndfile's Vorbis encoder overflows the stack when it is given minutes at once.
_BLOCK_FRAMES = 2**16
_HIGHEST_OF_VORBIS = 200_000  # Hz, beyond which libsndfile 1.2 ends the program as it closes the file
_NO_SUCH_FILE = "File does not exist"

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


def read_sound(data: bytes, path: Path, note: Note | None = None, keep: bool = False) -> tuple[Signal, Metadata]:
    """The sound that a file's content is, and its metadata; see :func:`combiner_cli.media.files.read_signal`.

    Args:
        data: the content.
        path: of the file, for messages.
        note: told in one line what was changed, and what of the metadata is left out; without it a sound whose samples
            would be changed is refused.
        keep: whether metadata are read.

    Raises:
        InputError: it is none, is damaged or cut off, or holds what a signal cannot hold without loss.
    """
    from .sound_containers import headers, id3, ogg, tagging  # here, since images have no use for them

    tell = note or _silence
    # libmpg123 has much to say of tags before the samples, and libsndfile does not look for FLAC behind them.
    tag, data = data[: id3.size(data)], data[id3.size(data) :]
    data = headers.whole(data, path, tell)
    links = ogg.links(data) if data[:4] == ogg.MAGIC else [data]
    parts = [_read_part(link, path, tell) for link in links]
    first = parts[0]
    for part in parts[1:]:
        if (part.sample_rate, part.channels) != (first.sample_rate, first.channels):
            raise InputError(
                f"{path} holds {len(parts)} streams one after another, of {first.sample_rate} Hz and {first.channels} "
                f"channels and of {part.sample_rate} Hz and {part.channels}; split it into files first"
            )
    samples = first.samples if len(parts) == 1 else np.concatenate([part.samples for part in parts])
    if len(samples) == 0:
        raise InputError(f"{path} holds no samples; give a sound of at least one")
    _check_finite(samples, first.sample_rate, path)
    samples = _within_full_scale(samples, path, note if all(part.is_lossy for part in parts) else None)
    signal = Signal("sound", samples, first.sample_rate, max(part.bit_depth for part in parts))
    return signal, tagging.read(tag, data, path, tell) if keep else Metadata()


@dataclass(frozen=True)
class _Part:
    """A stream of samples, which most files have one of.

    Attributes:
        samples: ``(frames, channels)`` float32, of any size.
        sample_rate: in Hz.
        bit_depth: 16 or 24.
        is_lossy: whether a decoder may have made samples beyond full scale where there were none before.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int
    bit_depth: int
    is_lossy: bool

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])


def _silence(_: str) -> None:
    """Tell nobody."""


def _read_part(data: bytes, path: Path, note: Note) -> _Part:
    """The samples of a file, or of one of its streams; what libmpg123 has to say of it is a reason, or a note.

    Raises:
        InputError: as :func:`read_sound`.
    """
    import soundfile

    lines: list[str] = []
    try:
        with messages.caught(messages.LIBMPG123) as lines, soundfile.SoundFile(_SoundBytes(data)) as sound:
            if sound.channels > 2:
                raise InputError(f"{path} has {sound.channels} channels; mix it down to 1 or 2 first, or split it")
            bit_depth = 24 if sound.subtype in _DEEP_SOUNDS else 16
            samples, failure = _read_frames(sound)
            declared = sound.frames
            part = _Part(samples, sound.samplerate, bit_depth, sound.subtype in _LOSSY_SOUNDS)
    except soundfile.LibsndfileError as error:
        if lines:  # libmpg123 took it for its own
            words = messages.reason(lines)
            raise InputError(f"{path} is damaged or cut off ({words}); restore it from its source") from error
        unreadable.refuse_known(data, path)
        reason = _reason(error)
        if "SF_INFO struct incomplete" in reason:
            raise InputError(
                f"{path} has a sample rate of zero, or no channels, by its header; write it from its source again"
            ) from error
        raise InputError(f"{path} is neither an image nor a sound that can be read ({reason}); give one") from error
    if failure is not None:
        reason = messages.reason(lines) or failure
        raise InputError(f"{path} cannot be decoded to its end ({reason}); restore or re-encode it")
    if len(samples) < declared:
        raise InputError(f"{path} ends after {len(samples)} of {declared} frames; restore it from its source")
    messages.tell(lines, path, note)
    return part


def _reason(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says of a file; of MPEG audio that cannot be decoded it says that there is no such file."""
    words: str = error.error_string.strip(" .")
    return "format not recognised" if not words or words.startswith(_NO_SUCH_FILE) else words


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


def _read_frames(sound: soundfile.SoundFile) -> tuple[npt.NDArray[np.float32], str | None]:
    """All frames of a sound, ``(frames, channels)``, and why there are no more if something is wrong with them."""
    import soundfile

    blocks, failure = [np.empty((0, sound.channels), dtype=np.float32)], None
    try:
        while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            blocks.append(block)
    except soundfile.LibsndfileError as error:
        failure = _reason(error)
    return np.concatenate(blocks), failure


def encode_sound(signal: Signal, suffix: str, metadata: Metadata | None = None, note: Note | None = None) -> bytes:
    """The content of a file of a sound.

    Args:
        signal: to write.
        suffix: that stands for the format.
        metadata: to write with it, as far as the format holds them.
        note: told in one line which it does not hold.

    Raises:
        OutputError: the format cannot hold the sound.
    """
    content = _encoded(signal, suffix)
    if not metadata:
        return content
    from .sound_containers import tagging

    return tagging.written(content, suffix, metadata, note or _silence)


def _encoded(signal: Signal, suffix: str) -> bytes:
    import soundfile

    name, subtype = FORMATS[suffix]
    encoded = BytesIO()
    try:
        if subtype == "VORBIS" and (signal.sample_rate or 0) > _HIGHEST_OF_VORBIS:
            raise OverflowError("the encoder of Vorbis has no setting for this sample rate")
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
