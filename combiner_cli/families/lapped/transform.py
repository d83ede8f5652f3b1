"""The lapped transform of recordings: from samples to the weights of frames, and back at any sample rate.

A recording is cut into frames of two hops each, one beginning a hop after the other. Under a frame's window lie as many
cosines as a hop has samples: the modified discrete cosine transform (Princen, Johnson, Bradley, "Subband/transform
coding using filter bank designs based on time domain aliasing cancellation", ICASSP 1987) with the window of Vorbis I,
section 1.3.2. All features are orthonormal on the native grid and functions of continuous time; the squares of two
overlapping windows sum to one. At another sample rate the same functions are looked at in other places: that is the
transform with another hop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CHANNELS = 2  # at most
ANGLES = 64  # of half a turn
MOST_FRAMES = 512  # of a segment
LARGEST_HOP = 4096
MOST_HOPS = 9  # of a prior
_NOISE_LEVELS_PER_OCTAVE = 8
_LOUDEST = -2.0  # octave of the deviation of noise level 0, on values in [-1, 1]


def noise_deviation(noise_level: float) -> float:
    """Deviation of a recording's noise on values in [-1, 1]: an eighth of an octave (0.75 dB) per level."""
    return float(2 ** (_LOUDEST - noise_level / _NOISE_LEVELS_PER_OCTAVE))


def noise_level_of(deviation: float) -> float:
    """The inverse of :func:`noise_deviation`, between levels as well."""
    return _NOISE_LEVELS_PER_OCTAVE * (_LOUDEST - math.log2(deviation))


def frame_count(length: int, hop: int) -> int:
    """Frames of a recording of so many samples: each sample lies under two of them.

    Args:
        length: samples of the recording.
        hop: samples between frames.
    """
    return -(-length // hop) + 1


def segments(frames: int) -> list[slice]:
    """The frames of the segments of a recording of so many frames, about equally many each."""
    count = -(-frames // MOST_FRAMES)
    ends = [frames * number // count for number in range(count + 1)]
    return [slice(first, last) for first, last in pairwise(ends)]


def window(hop: int) -> Array:
    """The window of a frame, ``(2 · hop,)``."""
    rise = np.sin(math.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    shape: Array = np.sin(math.pi / 2 * rise**2)
    return shape


def analyse(samples: Array, hop: int) -> Array:
    """The weights of frames that follow one another.

    Args:
        samples: of all hops that the frames lie over, ``(..., (frames + 1) · hop)``.
        hop: samples between frames, even.

    Returns:
        ``(..., frames, hop)`` float64.
    """
    halves = samples.reshape(*samples.shape[:-1], -1, hop).astype(np.float64)
    shape = window(hop)
    first, second = halves[..., :-1, :] * shape[:hop], halves[..., 1:, :] * shape[hop:]
    half = hop // 2
    # the two halves of a frame folded onto one hop
    folded = np.empty_like(first)
    folded[..., :half] = -second[..., half - 1 :: -1] - second[..., half:]
    folded[..., half:] = first[..., :half] - first[..., : half - 1 : -1]
    return _cosines(folded)


def synthesise(weights: Array, hop: int) -> Array:
    """The inverse of :func:`analyse`, but for the first and the last hop, which have one frame only.

    Args:
        weights: of the frames, ``(..., frames, bins)``; those beyond are 0.
        hop: samples between frames, even; with another one than the weights are of, the rendering is at that many times
            their sample rate.

    Returns:
        ``(..., (frames + 1) · hop)`` float64.
    """
    whole = np.zeros((*weights.shape[:-1], hop))
    bins = min(weights.shape[-1], hop)
    whole[..., :bins] = weights[..., :bins]
    folded, half, shape = _cosines(whole), hop // 2, window(hop)
    frames = np.empty((*weights.shape[:-1], 2, hop))
    frames[..., 0, :half] = folded[..., half:]
    frames[..., 0, half:] = -folded[..., : half - 1 : -1]
    frames[..., 1, :half] = -folded[..., half - 1 :: -1]
    frames[..., 1, half:] = -folded[..., :half]
    frames *= shape.reshape(2, hop)
    samples = np.zeros((*weights.shape[:-2], weights.shape[-2] + 1, hop))
    samples[..., :-1, :] += frames[..., 0, :]
    samples[..., 1:, :] += frames[..., 1, :]
    flat: Array = samples.reshape(*weights.shape[:-2], -1)
    return flat


def _cosines(values: Array) -> Array:
    """The orthonormal discrete cosine transform of the fourth kind along the last axis; its own inverse."""
    size = values.shape[-1]
    turn = np.exp(-1j * math.pi * (8 * np.arange(size // 2) + 1) / (8 * size))
    spectrum = np.fft.fft((values[..., ::2] + 1j * values[..., ::-2]) * turn, axis=-1) * turn
    result = np.empty_like(values)
    result[..., ::2], result[..., ::-2] = spectrum.real, -spectrum.imag
    result *= math.sqrt(2 / size)
    return result


def rotation(angle: int) -> Array:
    """The orthogonal matrix from the channels of a pair to what is coded, by an angle in 64ths of half a turn."""
    turn = math.pi * angle / ANGLES
    return np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def principal_angle(samples: Array) -> int:
    """The angle in 64ths of half a turn at which the first of two coded channels has the most energy.

    Args:
        samples: ``(samples, 2)``.
    """
    left, right = samples[:, 0].astype(np.float64), samples[:, 1].astype(np.float64)
    turn = 0.5 * math.atan2(2 * float(left @ right), float(left @ left - right @ right))
    return round(turn * ANGLES / math.pi) % ANGLES


def render(segments: Iterable[Array], channels: int, length: int, hop: int, rendered_hop: int) -> Array:
    """The samples of a recording, from the weights of its segments.

    Args:
        segments: weights of one after another, on values in [-1, 1], ``(channels, frames, bins)`` each.
        channels: of the recording.
        length: samples that come out.
        hop: samples between the frames of the weights.
        rendered_hop: samples between frames of what comes out.

    Returns:
        ``(length, channels)`` float32 in [-1, 1].
    """
    samples = np.zeros((length, channels), dtype=np.float32)
    overlap = np.zeros((channels, rendered_hop))  # what the segment before has under the first half of a frame
    place = -rendered_hop  # of the next sample: the first frame begins a hop before the recording
    for weights in segments:
        part = synthesise(weights, rendered_hop) * math.sqrt(rendered_hop / hop)
        part[:, :rendered_hop] += overlap
        part, overlap = part[:, :-rendered_hop], part[:, -rendered_hop:].copy()
        first, last = max(place, 0), min(place + part.shape[1], length)
        if first < last:
            samples[first:last] = part[:, first - place : last - place].T
        place += part.shape[1]
    return samples
