"""Quality of decoded signals, as numbers in the columns of tables."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UsageError
from ..signals import metrics
from ..signals.resampling import resampled
from ..signals.signal import Kind, Signal
from .curves import LEAST_OVERLAP, decibels

SMALLEST_SIDE = 161  # of an image with MS-SSIM: five scales of a window of eleven pixels
SPEECH_RATE = 16000  # Hz
RATE_COLUMN: dict[Kind, str] = {"image": "bpp", "sound": "kbps"}  # of tables

_AUDIO_RATE = 48000  # Hz, of ViSQOL's audio mode
_FLOOR = 1e-6  # of the power of the loudest place of the original
_SILENCE = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Measure:
    """A measure of quality.

    Attributes:
        column: its name in CSV files.
        title: its name in tables.
        of: the measure, of an original and what was decoded; ``None`` where it is not defined.
        rises: whether more is better.
        scale: to numbers that rise with the quality and in which curves are about straight.
        words: what it is, for the notes of tables.
        digits: behind the point in tables.
        unit: of its numbers, empty for none.
        drawn_to_scale: whether plots show the numbers of ``scale``, in dB.
        least_overlap: of two curves, in numbers of ``scale``, for a BD-rate.
    """

    column: str
    title: str
    of: Callable[[Signal, Signal], float | None]
    rises: bool
    scale: Callable[[float], float]
    words: str
    digits: int = 2
    unit: str = ""
    drawn_to_scale: bool = False
    least_overlap: float = LEAST_OVERLAP


def multiscale_similarity(original: Signal, decoded: Signal) -> float | None:
    """MS-SSIM with the usual window and weights, mean over the channels; of an image that is too small ``None``."""
    if min(original.shape) < SMALLEST_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim

    pair = [torch.from_numpy(signal.samples.astype(np.float32)).movedim(-1, 0)[None] for signal in (original, decoded)]
    return float(ms_ssim(*pair, data_range=float(2**original.bit_depth - 1)))


def ssimulacra(original: Signal, decoded: Signal) -> float | None:
    """SSIMULACRA 2 of two images of 8 bits without alpha; of others, and of those that are too small, ``None``."""
    try:
        return metrics.ssimulacra2(original, decoded)
    except InputError:
        return None


def intelligibility(original: Signal, decoded: Signal) -> float | None:
    """ESTOI, mean over the channels; of a sound that is too short or silent ``None``."""
    if not original.samples.any():
        return None
    import pystoi

    rate, pairs = original.sample_rate, zip(original.samples.T, decoded.samples.T, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # too little sound is a warning and a number that means nothing
        try:
            return float(np.mean([pystoi.stoi(*pair, rate, extended=True) for pair in pairs]))
        except (RuntimeWarning, ValueError):
            return None


def speech_quality(original: Signal, decoded: Signal) -> float | None:
    """PESQ of speech, wide band, mean over the channels; ``None`` where that is not defined: of other rates than
    16 kHz, of silence, and of what is too short."""
    if original.sample_rate != SPEECH_RATE:
        return None
    import pesq

    pairs = zip(original.samples.T, decoded.samples.T, strict=True)
    try:
        return float(np.mean([pesq.pesq(SPEECH_RATE, *pair, "wb") for pair in pairs]))
    except (pesq.PesqError, ValueError):
        return None


@lru_cache(maxsize=2)
def _visqol(mode: str) -> Any:
    """ViSQOL in one of its modes."""
    import visqol

    api = visqol.VisqolApi()
    # decoded sounds are as long as the originals, and nothing is late
    api.create(mode=mode, use_lattice_model=False if mode == "speech" else None)
    return api


def listening_quality(original: Signal, decoded: Signal) -> float | None:
    """ViSQOL, mean over the channels: of speech at 16 kHz in its speech mode, of other sounds at 48 kHz in its audio
    mode; ``None`` where that is not defined, of silence and of what is too short."""
    rate = original.sample_rate or 1
    speech = rate == SPEECH_RATE
    wanted, mode = (SPEECH_RATE, "speech") if speech else (_AUDIO_RATE, "audio")
    if not original.samples.any():
        return None
    pair = [resampled(signal.samples, rate, wanted).T.astype(np.float64) for signal in (original, decoded)]
    try:
        return float(
            np.mean([_visqol(mode).measure_from_arrays(*two, wanted).moslqo for two in zip(*pair, strict=True)])
        )
    except (ValueError, IndexError):
        return None


def spectral_distance(original: Signal, decoded: Signal) -> float:
    """Distance of the logarithms of two spectrograms: rms over frequencies, mean over time and channels, in dB."""
    distances = []
    for pair in zip(original.samples.T, decoded.samples.T, strict=True):
        powers = [short_time_power(samples.astype(np.float64), original.sample_rate or 1) for samples in pair]
        floor = _FLOOR * max(float(powers[0].max()), _SILENCE)
        levels = [10 * np.log10(np.maximum(power, floor)) for power in powers]
        distances.append(np.sqrt(np.square(levels[0] - levels[1]).mean(axis=1)).mean())
    return float(np.mean(distances))


def short_time_power(samples: npt.NDArray[np.float64], sample_rate: int) -> npt.NDArray[np.float64]:
    """Power by time and frequency of ``(frames,)`` samples, Hann windows of about 32 ms, half overlapping."""
    length = 2 ** round(math.log2(0.032 * sample_rate))
    padded = np.pad(samples, (0, max(0, length - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[:: length // 2]
    power: npt.NDArray[np.float64] = np.square(np.abs(np.fft.rfft(windows * np.hanning(length), axis=1)))
    return power


PSNR = Measure(
    "psnr",
    "PSNR",
    metrics.psnr,
    True,
    float,
    "PSNR is over all samples of a file: of images with the highest integer as the peak, of sounds mapped to [0, 1] "
    "with a peak of 1.",
    unit="dB",
)
SNR = Measure(
    "snr",
    "SNR",
    metrics.signal_to_noise,
    True,
    float,
    "SNR is the energy of a sound over that of the error.",
    unit="dB",
)
MS_SSIM = Measure(
    "ms_ssim",
    "MS-SSIM",
    multiscale_similarity,
    True,
    decibels,
    "MS-SSIM (package pytorch-msssim) is the mean over the channels, 1 for equal images; in plots and for BD-rates it "
    "is in dB, −10 log10(1 − MS-SSIM).",
    digits=4,
    drawn_to_scale=True,
)
SSIMULACRA_2 = Measure(
    "ssimulacra2",
    "SSIMULACRA 2",
    ssimulacra,
    True,
    float,
    "SSIMULACRA 2 (package ssimulacra2) is 100 for equal images; from 90 on nobody sees a difference.",
    digits=1,
    least_overlap=15.0,
)
ESTOI = Measure(
    "estoi",
    "ESTOI",
    intelligibility,
    True,
    decibels,
    "ESTOI (package pystoi) predicts from the envelopes of bands up to 4.3 kHz how intelligible speech is, up to "
    "1. It is no measure of how good it sounds.",
    digits=3,
)
PESQ = Measure(
    "pesq",
    "PESQ",
    speech_quality,
    True,
    float,
    "PESQ (package pesq, wide band) predicts how listeners rate telephone speech, from 1 to 4.6.",
    least_overlap=0.6,
)
VISQOL = Measure(
    "visqol",
    "ViSQOL",
    listening_quality,
    True,
    float,
    "ViSQOL (package visqol-python; of speech at 16 kHz its speech mode with the polynomial mapping, of other sounds "
    "its audio mode) predicts how listeners rate a sound, from 1 to 5.",
    least_overlap=0.6,
)
LSD = Measure(
    "lsd",
    "LSD",
    spectral_distance,
    False,
    operator.neg,
    "Log-spectral distance in dB, less is better: windows of 23 ms, rms over frequencies, mean over time "
    "and channels. What is more than 60 dB under the loudest place of a clip counts as 60 dB under it.",
    unit="dB",
    least_overlap=3.0,
)


# measures of perception, and the extra of this package that brings what they need
PERCEPTUAL: dict[Kind, tuple[tuple[Measure, str], ...]] = {
    "image": ((MS_SSIM, "bench"), (SSIMULACRA_2, "bench")),
    "sound": ((ESTOI, "bench"), (PESQ, "listening"), (VISQOL, "listening")),
}
_CHOICES: dict[Kind, tuple[Measure, ...]] = {"image": (MS_SSIM, SSIMULACRA_2), "sound": (ESTOI, PESQ, VISQOL, LSD)}


def second_measure(kind: Kind, sample_rates: set[int | None], wanted: str | None = None) -> Measure:
    """What is measured beside PSNR: of images MS-SSIM, of speech at 16 kHz ESTOI, of other sounds LSD.

    Args:
        kind: of the signals.
        sample_rates: of the signals.
        wanted: column of another measure; ``None`` for the usual one.

    Raises:
        UsageError: there is no such measure of the kind of signal.
    """
    if wanted is not None:
        named = {measure.column: measure for measure in _CHOICES[kind]}
        if wanted not in named:
            raise UsageError(f"{wanted} is no measure of {kind}s; give one of {', '.join(named)}")
        return named[wanted]
    if kind == "image":
        return MS_SSIM
    return ESTOI if sample_rates == {SPEECH_RATE} else LSD
