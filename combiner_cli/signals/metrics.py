"""Distortion between a signal and its decoded version, and rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import BytesIO

import numpy as np

from ..errors import InputError, UsageError
from .signal import INSTANTS_AT_ONCE, FloatArray, Format, Signal

SMALLEST_SIDE_OF_SSIMULACRA = 8  # pixels
_GREY, _PEAK = 128, 255  # of a picture of differences


def mean_squared_error(a: Signal, b: Signal) -> float:
    """Mean of the squared differences over all samples, in float64.

    Image: in squared steps of the stored integers. Sound: in the squared units of samples in [-1, 1].

    Raises:
        InputError: the signals differ in kind, shape, channels, bit depth of an image, or sample rate.
    """
    _check_comparable(a, b)
    parts = zip(_parts(a), _parts(b), strict=True)
    return math.fsum(float(np.square(first - second).sum()) for first, second in parts) / a.samples.size


def error_of_values(a: Signal, b: Signal) -> float:
    """Mean of the squared differences of samples in [-1, 1], as a network sees them.

    Raises:
        InputError: as :func:`mean_squared_error`.
    """
    step = 1.0 if a.kind == "sound" else 2 / (2**a.bit_depth - 1)
    return mean_squared_error(a, b) * step**2


def psnr(reference: Signal, decoded: Signal) -> float:
    """Peak signal-to-noise ratio in dB over all samples, infinite for equal signals.

    Image: peak ``2**bit_depth - 1`` over the stored integers. Sound: samples mapped from [-1, 1] to [0, 1] with peak
    1, not rounded, as the papers of the COMBINER family do.

    Raises:
        InputError: the signals cannot be compared, see :func:`mean_squared_error`.
    """
    # Mapping [-1, 1] to [0, 1] halves differences; a peak of 2 over differences that are not halved is the same.
    peak = 2 if reference.kind == "sound" else 2**reference.bit_depth - 1
    return _decibels(float(peak**2), mean_squared_error(reference, decoded))


def signal_to_noise(reference: Signal, decoded: Signal) -> float:
    """Energy of a sound over the energy of the error, in dB.

    Infinite for equal sounds; minus infinity for a reference that is silent and a decoded sound that is not.

    Raises:
        InputError: the signals are no sounds or cannot be compared, see :func:`mean_squared_error`.
    """
    return _decibels(_energy(reference), mean_squared_error(reference, decoded))


def ssimulacra2(reference: Signal, decoded: Signal) -> float:
    """SSIMULACRA 2 of two images of 8 bits without alpha: 100 for equal ones.

    Raises:
        InputError: the signals are no such images, or have less than 8 pixels a side.
        UsageError: its package is not installed.
    """
    _check_comparable(reference, decoded)
    if reference.kind != "image" or reference.bit_depth != 8 or reference.channels not in (1, 3):
        raise InputError("SSIMULACRA 2 is for images of 8 bits without alpha; give another measure")
    if min(reference.shape) < SMALLEST_SIDE_OF_SSIMULACRA:
        raise InputError(f"SSIMULACRA 2 takes images of {SMALLEST_SIDE_OF_SSIMULACRA} pixels a side and more")
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError as error:
        raise UsageError("SSIMULACRA 2 needs a package; pip install 'combiner[bench]' brings it") from error
    from PIL import Image

    files = []
    for signal in (reference, decoded):
        files.append(BytesIO())
        samples = signal.samples[..., 0] if signal.channels == 1 else signal.samples
        Image.fromarray(samples).save(files[-1], "PNG", compress_level=1)
    return float(compute_ssimulacra2(*files))


def peak_over_signal(sound: Signal) -> float:
    """PSNR less SNR of whatever a sound is decoded to, in dB: a constant of the sound, infinite for a silent one.

    Raises:
        InputError: the signal is no sound.
    """
    return _decibels(4.0, _energy(sound))  # the peak of samples in [-1, 1] is 2, see psnr


def largest_difference(a: Signal, b: Signal) -> float:
    """The largest absolute difference of two samples: of images in steps, of sounds in units of full scale.

    Raises:
        InputError: the signals cannot be compared, see :func:`mean_squared_error`.
    """
    _check_comparable(a, b)
    return max(float(np.abs(first - second).max()) for first, second in zip(_parts(a), _parts(b), strict=True))


def difference(reference: Signal, decoded: Signal, gain: float) -> Signal:
    """The second signal less the first, amplified and clipped: an image of 8 bits around grey, or a sound.

    Of alpha nothing is shown.

    Raises:
        InputError: the signals cannot be compared, see :func:`mean_squared_error`.
    """
    _check_comparable(reference, decoded)
    pairs = zip(_parts(reference), _parts(decoded), strict=True)
    amplified = np.concatenate([(second - first) * gain for first, second in pairs])
    if reference.kind == "sound":
        return Signal("sound", amplified.clip(-1, 1).astype(np.float32), reference.sample_rate, reference.bit_depth)
    grey = _GREY + amplified * (_PEAK / (2**reference.bit_depth - 1))
    colours = reference.channels - 1 if reference.channels in (2, 4) else reference.channels
    return Signal("image", np.rint(grey[..., :colours].clip(0, _PEAK)).astype(np.uint8))


def bits_per_pixel(size: int, shape: tuple[int, ...]) -> float:
    """Rate of a file of ``size`` bytes that holds an image of ``shape`` (height, width); channels do not count."""
    return 8 * size / math.prod(shape)


def kilobits_per_second(size: int, frames: int, sample_rate: int) -> float:
    """Rate of a file of ``size`` bytes that holds ``frames`` sample instants at ``sample_rate`` Hz; kilo is 1000."""
    return 8 * size * sample_rate / frames / 1000


def rate(size: int, signal_format: Format) -> float:
    """Rate of a file in the unit in which it is counted for its kind of signal.

    Args:
        size: of the file, in bytes.
        signal_format: of the signal in it.
    """
    if signal_format.sample_rate is None:
        return bits_per_pixel(size, signal_format.shape)
    return kilobits_per_second(size, signal_format.points, signal_format.sample_rate)


def _energy(sound: Signal) -> float:
    """Mean of the squared samples, in float64."""
    if sound.kind != "sound":
        raise InputError(f"a signal-to-noise ratio needs sounds, not an {sound.kind}; use PSNR")
    return math.fsum(float(np.square(part).sum()) for part in _parts(sound)) / sound.samples.size


def _parts(signal: Signal) -> Iterator[FloatArray]:
    """The samples in float64, some rows or instants at a time, so that long signals take little memory."""
    step = max(1, INSTANTS_AT_ONCE // math.prod(signal.samples.shape[1:]))
    for first in range(0, len(signal.samples), step):
        yield signal.samples[first : first + step].astype(np.float64)


def _check_comparable(a: Signal, b: Signal) -> None:
    for name, first, second in (
        ("kind", a.kind, b.kind),
        ("shape", a.samples.shape, b.samples.shape),
        ("sample rate", a.sample_rate, b.sample_rate),
    ):
        if first != second:
            raise InputError(f"signals of {name} {first} and {second} cannot be compared; give two of the same {name}")
    # The depth of a sound is that of its file and says nothing about the scale of its samples.
    if a.kind == "image" and a.bit_depth != b.bit_depth:
        raise InputError(
            f"images of {a.bit_depth} and {b.bit_depth} bits cannot be compared; give two of the same depth"
        )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
