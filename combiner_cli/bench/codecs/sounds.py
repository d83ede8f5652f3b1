"""Other codecs of sounds, as libsndfile has them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ...signals.signal import Signal
from .baselines import Codec, Coded, Options

MOST_DELAY = 3000  # samples by which a decoded sound is early or late
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
OGG_HEADERS = {"VORBIS": 3, "OPUS": 2}  # packets before the first one of sound

_MP3: Options = {"format": "MP3"}
_VORBIS: Options = {"format": "OGG", "subtype": "VORBIS"}
_OPUS: Options = {"format": "OGG", "subtype": "OPUS"}
_LEVELS = (0.999, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
_FINE_LEVELS = tuple(round(level, 3) for level in np.linspace(0.999, 0, 112).tolist())
_OPUS_KILOBITS = (6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256)


def code(original: Signal, options: Options) -> Coded:
    """A file by one of libsndfile's encoders, and what it decodes to without the codec's delay.

    Opus takes few sample rates. A sound of another one is resampled to 48 kHz before, and what is decoded is resampled
    back, which does not count as the codec's time.

    Args:
        original: of one or two channels.
        options: for ``soundfile.write``, the format included.
    """
    rate = original.sample_rate or 1
    inner = rate if options.get("subtype") != "OPUS" or rate in OPUS_RATES else 48000
    samples = original.samples if inner == rate else soxr.resample(original.samples, rate, inner, "VHQ")
    buffer = BytesIO()
    clock = time.perf_counter()
    soundfile.write(buffer, samples, inner, **options)
    encoded = time.perf_counter()
    data = buffer.getvalue()
    raw = soundfile.read(BytesIO(data), dtype="float32", always_2d=True)
    seconds = time.perf_counter() - encoded
    return Coded(data, _like(original, *raw), encoded - clock, seconds)


def decode(data: bytes, original: Signal) -> Signal:
    """What a file holds, at the sample rate and of the length of the original, without the codec's delay."""
    return _like(original, *soundfile.read(BytesIO(data), dtype="float32", always_2d=True))


def _like(original: Signal, samples: npt.NDArray[np.float32], sample_rate: int) -> Signal:
    rate = original.sample_rate or 1
    samples = samples if sample_rate == rate else soxr.resample(samples, sample_rate, rate, "VHQ")
    aligned = align(original.samples.astype(np.float32), samples).clip(-1, 1)
    return Signal("sound", aligned, rate, original.bit_depth)


def align(original: npt.NDArray[np.float32], decoded: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Undo a codec's delay: of all shifts by at most so many samples the one with the least squared error.

    Args:
        original: ``(frames, channels)``.
        decoded: ``(any number of frames, channels)``; beyond its ends is silence. All channels are shifted alike.

    Returns:
        ``(frames, channels)`` float32.
    """
    frames = len(original)
    padded = np.zeros((frames + 2 * MOST_DELAY, original.shape[1]), dtype=np.float32)
    kept = decoded[: frames + MOST_DELAY]
    padded[MOST_DELAY : MOST_DELAY + len(kept)] = kept
    size = 1 << (len(padded) + frames).bit_length()
    spectrum = np.fft.rfft(padded, size, axis=0) * np.conj(np.fft.rfft(original, size, axis=0))
    correlation = np.fft.irfft(spectrum.sum(axis=1), size)[: 2 * MOST_DELAY + 1]
    energy = np.concatenate([[0], np.cumsum(np.square(padded, dtype=np.float64).sum(axis=1))])
    shift = int(np.argmin(energy[frames:] - energy[: -frames or None][: 2 * MOST_DELAY + 1] - 2 * correlation))
    return padded[shift : shift + frames]


def packet_bytes(data: bytes, options: Options) -> int:
    """Bytes of a file without what an Ogg file has around its packets of sound."""
    headers = OGG_HEADERS.get(str(options.get("subtype")))
    return len(data) if headers is None else ogg_packet_bytes(data, headers)


def ogg_packet_bytes(data: bytes, headers: int) -> int:
    """Bytes of the packets of sound in an Ogg file: without its pages and without so many packets of headers."""
    packets, open_packet, place = [], 0, 0
    while data[place : place + 4] == b"OggS":
        segments = data[place + 27 : place + 27 + data[place + 26]]
        for length in segments:
            open_packet += length
            if length < 255:
                packets.append(open_packet)
                open_packet = 0
        place += 27 + len(segments) + sum(segments)
    return sum(packets[headers:])


def _with_levels(options: Options, levels: Sequence[float]) -> list[Options]:
    return [{**options, "compression_level": level} for level in levels]


def _opus_level(kilobits: float) -> float:
    """The level at which libsndfile asks Opus for so many kbit/s for each channel."""
    return round(1 - (kilobits - 6) / 250, 4)


def codecs() -> Mapping[str, Codec]:
    """Those that this libsndfile has, by their names for the command line."""
    program = f"libsndfile {soundfile.__libsndfile_version__}"
    known = {
        "mp3": Codec(
            "MP3",
            {
                f"MP3 {mode.lower()}": _with_levels({**_MP3, "bitrate_mode": mode}, _LEVELS)
                for mode in ("CONSTANT", "AVERAGE", "VARIABLE")
            },
            _with_levels({**_MP3, "bitrate_mode": "AVERAGE"}, _FINE_LEVELS),
            ".mp3",
            program,
            "LAME, the best of constant, average and variable bit rate",
            code,
            decode,
        ),
        "vorbis": Codec(
            "Vorbis",
            {"Vorbis": _with_levels(_VORBIS, (1.0, *_LEVELS[2:]))},
            _with_levels(_VORBIS, _FINE_LEVELS),
            ".ogg",
            program,
            "in Ogg",
            code,
            decode,
        ),
        "opus": Codec(
            "Opus",
            {"Opus": _with_levels(_OPUS, [_opus_level(rate) for rate in _OPUS_KILOBITS])},
            _with_levels(_OPUS, [_opus_level(rate) for rate in np.geomspace(6, 256, 96).round(2).tolist()]),
            ".opus",
            program,
            "in Ogg, tuned for audio in general",
            code,
            decode,
        ),
    }
    here = {"mp3": "MP3" in soundfile.available_formats()}
    here |= {name: name.upper() in soundfile.available_subtypes("OGG") for name in ("vorbis", "opus")}
    return {name: codec for name, codec in known.items() if here[name]}
