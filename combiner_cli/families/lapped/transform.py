"""The lapped family: a network without hidden layers whose features are cosines under windows that overlap.

A recording is cut into frames of two hops each, one beginning a hop after the other. Under a frame's window lie as many
cosines as a hop has samples: the modified discrete cosine transform (Princen, Johnson, Bradley, "Subband/transform
coding using filter bank designs based on time domain aliasing cancellation", ICASSP 1987) with the window of Vorbis I,
section 1.3.2. All features are orthonormal on the native grid and functions of continuous time; the squares of two
overlapping windows sum to one. At another sample rate the same functions are looked at in other places: that is the
transform with another hop.

What a weight's prior depends on are the weights decoded before it. Frames come in four levels, every eighth first, then
those in the middle between decoded ones; the weights of a level's frames come in three phases, every fourth first.
Eight neighbouring weights of a frame are a *band*, whose *activity* says how large they are, roughly. This module has
the transform and that context; the context is integer arithmetic, so that it comes out the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.integer_network import FEATURE_LIMIT, FEATURE_UNIT, octaves
from ...stages.moments import LARGEST_VALUE, UNIT

Array = npt.NDArray[Any]

LEVELS = 4
PHASES = 3
BAND = 8  # weights
PARITIES = 2  # of bands
CLASSES = 16  # of a band's activity
CHANNELS = 2

_BEFORE = 16  # frames around a segment that the context reaches
_BESIDE = 16  # weights beside a frame's that it reaches
_BANDS_BESIDE = 3
_SMOOTH = 7  # weights on each side whose amplitudes are averaged
_NEAR = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6)  # weights of the nearest frames
_NEXT = (-1, 0, 1)  # of further frames, and of the other channel
_OWN: tuple[tuple[int, ...], ...] = ((), (-10, -6, -2, 2, 6, 10), (-7, -5, -3, -1, 1, 3, 5, 7))  # decoded, by phase
_STEPS = ((0, 4), (2, 4), (1, 2))  # first weight of a phase and the distance between two of them
_OWN_BANDS = (-2, -1, 1, 2)
_BANDS = (-3, -2, -1, 0, 1, 2, 3)
_BANDS_BETWEEN = (-3, -1, 1, 3)  # of the frame itself, where the bands of even number are decoded
_HATS = 8
_SCALARS = 2  # noise code, hop
_CLASS_UNIT = FEATURE_UNIT // 2
_OCTAVES_OF_CLASS = 2 * FEATURE_UNIT
_CODE_UNIT = 2
_OCTAVE_OF_HOPS = FEATURE_UNIT // 2


@dataclass(frozen=True)
class Network:
    """What one of a level's networks sees and says.

    Attributes:
        name: of its tensors.
        features: number of them.
        values: results: the octaves of the deviation, or the logits of the classes.
    """

    name: str
    features: int
    values: int

    @property
    def relative(self) -> int:
        """Features that results are linear in, besides: a deviation is in the interpolated class."""
        return int(self.values == 1)


def _detail_network(level: int, phase: int, channel: int) -> Network:
    frames = 0 if level == LEVELS - 1 else 2 * (len(_NEAR) + len(_NEXT) * (1 + (phase > 0)) + 3)
    classes = 1 + CLASSES + len(_OWN_BANDS) + 2 * (2 if level < LEVELS - 1 else 0)
    own = len(_OWN[phase]) + (phase > 0)
    other = channel * (len(_NEXT) + 2)
    return Network(f"detail_{phase}_{channel}", classes + frames + own + other + _HATS + _SCALARS, 1)


def _activity_network(level: int, parity: int, channel: int) -> Network:
    frames = 0 if level == LEVELS - 1 else 2 * (len(_BANDS) + len(_NEXT))
    own, other = parity * len(_BANDS_BETWEEN), channel * 5
    return Network(f"activity_{parity}_{channel}", frames + own + other + _HATS + _SCALARS, CLASSES)


def networks(level: int) -> dict[str, Network]:
    """The networks of a level by name."""
    channels = range(CHANNELS)
    found = [_detail_network(level, phase, channel) for phase, channel in product(range(PHASES), channels)]
    found += [_activity_network(level, parity, channel) for parity, channel in product(range(PARITIES), channels)]
    return {network.name: network for network in found}


def detail_name(phase: int, channel: int) -> str:
    """Name of the network that foretells the deviations of a phase."""
    return f"detail_{phase}_{channel}"


def activity_name(parity: int, channel: int) -> str:
    """Name of the network that foretells the activity of the bands of even or odd number."""
    return f"activity_{parity}_{channel}"


def frame_count(length: int, hop: int) -> int:
    """Frames of a recording of so many samples: each sample lies under two of them."""
    return -(-length // hop) + 1


def window(hop: int) -> Array:
    """The window of a frame, ``(2 · hop,)``."""
    rise = np.sin(math.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    found: Array = np.sin(math.pi / 2 * rise**2)
    return found


def analyse(samples: Array, hop: int) -> Array:
    """Weights of the frames whose halves are given.

    Args:
        samples: ``(..., (frames + 1) · hop)``.
        hop: even.

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
        weights: ``(..., frames, bins)``; those beyond are 0.
        hop: samples between frames, even; with another one than the weights' own, the rendering is at that many times
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
    found: Array = samples.reshape(*weights.shape[:-2], -1)
    return found


def _cosines(values: Array) -> Array:
    """The orthonormal discrete cosine transform of the fourth kind along the last axis; its own inverse."""
    size = values.shape[-1]
    turn = np.exp(-1j * math.pi * (8 * np.arange(size // 2) + 1) / (8 * size))
    found = np.fft.fft((values[..., ::2] + 1j * values[..., ::-2]) * turn, axis=-1) * turn
    result = np.empty_like(values)
    result[..., ::2], result[..., ::-2] = found.real, -found.imag
    result *= math.sqrt(2 / size)
    return result


@dataclass(frozen=True, eq=False)
class Segment:
    """What is decoded of some frames, of one or several recordings.

    Attributes:
        code: of the noise variance of each recording, ``(recordings,)``.
        hop: samples between frames.
        count: frames.
        bins: weights of a frame that are coded at all, whole bands.
        weights: in steps, ``(recordings, channels, frames, bins)`` float64; those to come are 0.
        loudness: octaves of their amplitudes as features, with a margin of zeros on all sides.
        smooth: the same of the average amplitude of fifteen neighbours.
        activity: classes of the bands, with a margin.
    """

    code: npt.NDArray[np.int64]
    hop: int
    count: int
    bins: int
    weights: Array
    loudness: npt.NDArray[np.int16]
    smooth: npt.NDArray[np.int16]
    activity: npt.NDArray[np.int16]

    @property
    def channels(self) -> int:
        return int(self.weights.shape[1])

    @property
    def bands(self) -> int:
        return self.bins // BAND


def segment(code: npt.NDArray[np.int64], hop: int, channels: int, count: int, bins: int) -> Segment:
    """Frames of which nothing is decoded."""
    recordings = len(code)
    padded = (recordings, channels, count + 2 * _BEFORE, bins + 2 * _BESIDE)
    bands = (recordings, channels, count + 2 * _BEFORE, bins // BAND + 2 * _BANDS_BESIDE)
    return Segment(
        code,
        hop,
        count,
        bins,
        np.zeros((recordings, channels, count, bins)),
        np.zeros(padded, dtype=np.int16),
        np.zeros(padded, dtype=np.int16),
        np.zeros(bands, dtype=np.int16),
    )


def frames_of(level: int) -> tuple[int, int]:
    """The first frame of a level, and the distance between two of them."""
    return (0, 1 << level) if level == LEVELS - 1 else (1 << level, 2 << level)


def _times(own: Segment, level: int, offset: int = 0) -> slice:
    """The frames of a level, or those beside them, in arrays with a margin."""
    first, step = frames_of(level)
    return slice(_BEFORE + first + offset, _BEFORE + own.count + offset, step)


def _places(own: Segment, phase: int, offset: int = 0) -> slice:
    """The weights of a phase, or those beside them, in arrays with a margin."""
    first, step = _STEPS[phase]
    return slice(_BESIDE + first + offset, _BESIDE + own.bins + offset, step)


def _bands(own: Segment, parity: int, offset: int = 0) -> slice:
    """The bands of even or odd number, or those beside them, in arrays with a margin."""
    return slice(_BANDS_BESIDE + parity + offset, _BANDS_BESIDE + own.bands + offset, PARITIES)


def target(weights: Array, level: int, phase: int) -> Array:
    """The weights ``(..., frames, bins)`` of a phase of a level, in the order of latents."""
    (first, step), (place, distance) = frames_of(level), _STEPS[phase]
    found: Array = weights[..., first::step, place::distance]
    return found


def band_target(weights: Array, level: int, parity: int) -> Array:
    """The weights ``(recordings, frames, bins)`` of the bands of a level, ``(bands of all frames, 8)``."""
    first, step = frames_of(level)
    found: Array = weights.reshape(*weights.shape[:-1], -1, BAND)[..., first::step, parity::PARITIES, :]
    return found.reshape(-1, BAND)


def put(own: Segment, level: int, phase: int, channel: int, values: Array) -> None:
    """Put decoded weights in steps ``(latents,)`` into their places."""
    place = target(own.weights[:, channel], level, phase)
    np.clip(values.reshape(place.shape), -LARGEST_VALUE, LARGEST_VALUE, out=place)
    amplitudes = np.abs(place)
    own.loudness[:, channel, _times(own, level), _places(own, phase)] = _loudness(amplitudes, UNIT)
    first, step = frames_of(level)
    around = np.abs(own.weights[:, channel, first::step])
    sums = np.zeros((*around.shape[:2], own.bins + 2 * _SMOOTH + 1))
    np.cumsum(around, axis=-1, out=sums[..., _SMOOTH + 1 : _SMOOTH + 1 + own.bins])
    sums[..., _SMOOTH + 1 + own.bins :] = sums[..., _SMOOTH + own.bins, None]
    width = 2 * _SMOOTH + 1
    inside = slice(_BESIDE, _BESIDE + own.bins)
    own.smooth[:, channel, _times(own, level), inside] = _loudness(sums[..., width:] - sums[..., :-width], UNIT * width)


def _loudness(amplitudes: Array, unit: int) -> Array:
    """Octaves of amplitudes over a unit of them, as features."""
    found: Array = np.floor((octaves(amplitudes + unit) - octaves(np.array(unit))) * FEATURE_UNIT)
    return np.minimum(found, FEATURE_LIMIT)


def put_activity(own: Segment, level: int, parity: int, channel: int, classes: Array) -> None:
    """Put decoded classes into their places."""
    place = own.activity[:, channel, _times(own, level), _bands(own, parity)]
    place[...] = classes.reshape(place.shape)


def latents(own: Segment, level: int, phase: int) -> int:
    """Number of weights of a phase of a level."""
    return target(own.weights[:, 0], level, phase).size


def band_latents(own: Segment, level: int, parity: int) -> int:
    """Number of bands of a parity of a level."""
    first, step = frames_of(level)
    return len(own.code) * len(range(first, own.count, step)) * len(range(parity, own.bands, PARITIES))


def coded(own: Segment, level: int, phase: int, channel: int) -> npt.NDArray[np.intp]:
    """The latents of a phase of a level that are coded: those of bands whose activity is not the least, in order."""
    first, step = _STEPS[phase]
    bands = _BANDS_BESIDE + np.arange(first, own.bins, step) // BAND
    return np.flatnonzero(own.activity[:, channel, _times(own, level)][..., bands])


def detail_features(
    own: Segment, level: int, phase: int, channel: int, which: npt.NDArray[np.intp], kind: type = np.float64
) -> Array:
    """Features ``(features, latents)`` of some latents of a phase of a level, whole numbers."""
    network = _detail_network(level, phase, channel)
    first, step = _STEPS[phase]
    row, column = np.divmod(which, len(range(first, own.bins, step)))
    bins = first + step * column
    recording, frame = np.divmod(row, len(range(*_times(own, level).indices(_BEFORE + own.count))))
    start, distance = frames_of(level)
    time = (recording * own.channels + channel) * (own.count + 2 * _BEFORE) + _BEFORE + start + distance * frame
    width, bands = own.bins + 2 * _BESIDE, own.bands + 2 * _BANDS_BESIDE
    place, band = time * width + _BESIDE + bins, time * bands + _BANDS_BESIDE + bins // BAND
    nearest = 1 << level
    near, smooth, far_classes = [], [0] if phase else [], []
    if level < LEVELS - 1:
        for sign in (-1, 1):
            near += [sign * nearest * width + offset for offset in _NEAR]
            near += [sign * far * nearest * width + offset for far in ((2, 3) if phase else (3,)) for offset in _NEXT]
            smooth += [sign * far * nearest * width for far in (1, 2, 3)]
            far_classes += [sign * far * nearest * bands for far in (1, 2)]
    near += list(_OWN[phase])
    values: Array = np.empty((network.features, len(which)), dtype=kind)
    filled = _class_rows(values, own, bins, band, far_classes)
    filled = _taken(values, filled, own.loudness, place, near)
    filled = _taken(values, filled, own.smooth, place, smooth)
    if channel:
        before = (own.count + 2 * _BEFORE) * width  # the first channel is so much before the second one
        filled = _taken(values, filled, own.loudness, place - before, _NEXT)
        filled = _taken(values, filled, own.smooth, place - before, [0])
        own_class = own.activity.reshape(-1)[band - (own.count + 2 * _BEFORE) * bands]
        np.multiply(own_class, _CLASS_UNIT, out=values[filled], casting="unsafe")
        filled += 1
    _general_rows(values[filled:], own, bins, own.code[recording])
    return values


def _taken(values: Array, filled: int, source: Array, place: Array, beside: Sequence[int]) -> int:
    """Fill rows with what lies beside places of an array; the number of rows that are filled then."""
    flat = source.reshape(-1)
    for offset in beside:
        values[filled] = flat.take(place + offset)
        filled += 1
    return filled


def _class_rows(values: Array, own: Segment, bins: Array, band: Array, far: Sequence[int]) -> int:
    """The activity of the bands around weights; the number of rows."""
    classes = own.activity.reshape(-1)
    here = classes.take(band)
    # between the middles of two bands their classes are interpolated
    place = 2 * (bins % BAND) + 1 - BAND
    side = np.where(place < 0, -1, 1)
    inside = (bins // BAND + side >= 0) & (bins // BAND + side < own.bands)
    beside, share = classes.take(band + side * inside), np.abs(place)
    values[0] = (here * (2 * BAND - share) + beside * share) * (_OCTAVES_OF_CLASS // (2 * BAND))
    for number in range(CLASSES):
        values[1 + number] = (here == number) * FEATURE_UNIT
    filled = 1 + CLASSES
    for offset in (*_OWN_BANDS, *far):
        values[filled] = classes.take(band + offset)
        values[filled] *= _CLASS_UNIT
        filled += 1
    return filled


def _general_rows(rows: Array, own: Segment, bins: Array, code: Array) -> None:
    """The place in the spectrum, the noise variance and the hop."""
    place = bins * (FEATURE_UNIT * (_HATS - 1)) // own.hop  # of the highest weight: just below the last hat
    for number in range(_HATS):
        rows[number] = np.maximum(FEATURE_UNIT - np.abs(place - FEATURE_UNIT * number), 0)
    rows[_HATS] = code * _CODE_UNIT
    rows[_HATS + 1] = np.floor(octaves(np.array(own.hop)) * _OCTAVE_OF_HOPS) - 8 * _OCTAVE_OF_HOPS


def activity_features(own: Segment, level: int, parity: int, channel: int, kind: type = np.float64) -> Array:
    """Features ``(features, bands)`` of the bands of even or odd number of a level, whole numbers."""
    first, step = frames_of(level)
    numbers = np.arange(parity, own.bands, PARITIES)
    shape = (len(own.code), len(range(first, own.count, step)), len(numbers))
    rows: Array = np.empty((_activity_network(level, parity, channel).features, *shape), dtype=kind)
    classes = own.activity[:, channel]
    beside = []
    if level < LEVELS - 1:
        for sign in (-1, 1):
            for far, offsets in ((1, _BANDS), (3, _NEXT)):
                beside += [
                    classes[:, _times(own, level, sign * far << level), _bands(own, parity, offset)]
                    for offset in offsets
                ]
    if parity:
        beside += [classes[:, _times(own, level), _bands(own, parity, offset)] for offset in _BANDS_BETWEEN]
    if channel:
        beside += [own.activity[:, 0, _times(own, level), _bands(own, parity, n)] for n in (-2, -1, 0, 1, 2)]
    for number, values in enumerate(beside):
        np.multiply(values, _CLASS_UNIT, out=rows[number], casting="unsafe")
    _general_rows(rows[len(beside) :], own, numbers * BAND + BAND // 2, own.code[:, None, None])
    return rows.reshape(len(rows), -1)
