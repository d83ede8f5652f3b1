"""What the networks of the lapped family see: the weights of a segment that are decoded before, around every weight.

What a weight's prior depends on are the weights decoded before it. Frames come in four levels, every eighth first, then
those in the middle between decoded ones; the weights of a level's frames come in three phases, every fourth first.
Eight neighbouring weights of a frame are a *band*, whose *energy class* says how large they are, roughly. All is
integer arithmetic, so that it comes out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stages.integer_network import FEATURE_LIMIT, FEATURE_UNIT, octaves
from ...stages.moments import LARGEST_VALUE, UNIT, StageId
from ...stages.shape import pitches
from .transform import CHANNELS

Array = npt.NDArray[Any]

LEVELS = 4
PHASES = 3
BAND = 8  # weights
PARITIES = 2  # of bands
CLASSES = 16  # of a band's energy
LIMITS = 81  # of the weights of a segment's frames that are coded at all

_BEFORE = 16  # frames around a segment that the context reaches
_BESIDE = 16  # weights beside a frame's that it reaches
_BANDS_BESIDE = 3
_SMOOTH = 7  # weights on each side whose amplitudes are averaged
_NEAR = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6)  # weights of the nearest frames
_NEXT = (-1, 0, 1)  # of further frames, and of the other channel
_DECODED: tuple[tuple[int, ...], ...] = (
    (),
    (-10, -6, -2, 2, 6, 10),
    (-7, -5, -3, -1, 1, 3, 5, 7),
)  # of the frame itself, by phase
_STEPS = ((0, 4), (2, 4), (1, 2))  # first weight of a phase and the distance between two of them
_BANDS_NEXT = (-2, -1, 1, 2)  # of the frame itself
_BANDS = (-3, -2, -1, 0, 1, 2, 3)
_BANDS_BETWEEN = (-3, -1, 1, 3)  # of the frame itself, once the bands of even number are decoded
_BANDS_OTHER = (-2, -1, 0, 1, 2)  # of the other channel
_HATS = 8
_SCALARS = 2  # noise level, hop
_CLASS_UNIT = FEATURE_UNIT // 2
_OCTAVES_OF_CLASS = 2 * FEATURE_UNIT
_NOISE_UNIT = 2
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
    around = level < LEVELS - 1  # whether there are decoded frames on both sides
    frames = 2 * (len(_NEAR) + len(_NEXT) * (1 + (phase > 0)) + 3) if around else 0
    classes = 1 + CLASSES + len(_BANDS_NEXT) + (4 if around else 0)
    same_frame, other_channel = len(_DECODED[phase]) + (phase > 0), channel * (len(_NEXT) + 2)
    features = classes + frames + same_frame + other_channel + _HATS + _SCALARS
    return Network(detail_name(phase, channel), features, 1)


def _class_network(level: int, parity: int, channel: int) -> Network:
    frames = 2 * (len(_BANDS) + len(_NEXT)) if level < LEVELS - 1 else 0
    same_frame, other_channel = parity * len(_BANDS_BETWEEN), channel * len(_BANDS_OTHER)
    return Network(class_name(parity, channel), frames + same_frame + other_channel + _HATS + _SCALARS, CLASSES)


def networks(level: int) -> dict[str, Network]:
    """The networks of a level by name."""
    channels = range(CHANNELS)
    details = [_detail_network(level, phase, channel) for phase, channel in product(range(PHASES), channels)]
    classes = [_class_network(level, parity, channel) for parity, channel in product(range(PARITIES), channels)]
    return {network.name: network for network in details + classes}


def detail_name(phase: int, channel: int) -> str:
    """Name of the network that predicts the deviations of a phase."""
    return f"detail_{phase}_{channel}"


def class_name(parity: int, channel: int) -> str:
    """Name of the network that predicts the classes of the bands of even or odd number."""
    return f"activity_{parity}_{channel}"


def stage_id(level: int, phase: int, channel: int, channels: int) -> StageId:
    """Which stage has the weights of a phase of a level of a channel, of so many channels."""
    return StageId(level, phase * channels + channel)


def place_of(stage: StageId, channels: int) -> tuple[int, int, int]:
    """Level, phase and channel of a stage."""
    return stage.level, stage.number // channels, stage.number % channels


def last_stage(channels: int) -> StageId:
    """The last stage of a segment."""
    return stage_id(0, PHASES - 1, channels - 1, channels)


@dataclass(frozen=True, eq=False)
class Segment:
    """What is decoded of some frames, of one or several recordings.

    Attributes:
        noise_levels: of each recording, ``(recordings,)``.
        hop: samples between frames.
        count: number of frames.
        bins: weights of a frame that are coded at all, whole bands.
        weights: in steps, ``(recordings, channels, frames, bins)`` float64; those to come are 0.
        loudness: octaves of their amplitudes as features, with a margin of zeros on all sides.
        smooth: the same of the average amplitude of fifteen neighbours.
        padded_classes: energy classes of the bands, with a margin of zeros.
    """

    noise_levels: npt.NDArray[np.int64]
    hop: int
    count: int
    bins: int
    weights: Array
    loudness: npt.NDArray[np.int16]
    smooth: npt.NDArray[np.int16]
    padded_classes: npt.NDArray[np.int16]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.weights.shape[1])

    @property
    def bands(self) -> int:
        """Number of bands of a frame that are coded at all."""
        return self.bins // BAND


def limit_bins(limit: int, hop: int) -> int:
    """The weights of a frame that are coded at all: so many 80ths of its bands, rounded up."""
    return -(-limit * (hop // BAND) // (LIMITS - 1)) * BAND


def new_segment(noise_levels: npt.NDArray[np.int64], hop: int, channels: int, count: int, bins: int) -> Segment:
    """Frames of which nothing is decoded.

    Args:
        noise_levels: of each recording, ``(recordings,)``.
        hop: samples between frames.
        channels: of each recording.
        count: number of frames.
        bins: weights of a frame that are coded at all, whole bands.
    """
    recordings = len(noise_levels)
    padded = (recordings, channels, count + 2 * _BEFORE, bins + 2 * _BESIDE)
    bands = (recordings, channels, count + 2 * _BEFORE, bins // BAND + 2 * _BANDS_BESIDE)
    return Segment(
        noise_levels,
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


def _times(segment: Segment, level: int, offset: int = 0) -> slice:
    """The frames of a level, or those beside them, in arrays with a margin."""
    first, step = frames_of(level)
    return slice(_BEFORE + first + offset, _BEFORE + segment.count + offset, step)


def _places(segment: Segment, phase: int, offset: int = 0) -> slice:
    """The weights of a phase, or those beside them, in arrays with a margin."""
    first, step = _STEPS[phase]
    return slice(_BESIDE + first + offset, _BESIDE + segment.bins + offset, step)


def _bands(segment: Segment, parity: int, offset: int = 0) -> slice:
    """The bands of even or odd number, or those beside them, in arrays with a margin."""
    return slice(_BANDS_BESIDE + parity + offset, _BANDS_BESIDE + segment.bands + offset, PARITIES)


def weights_of(weights: Array, level: int, phase: int) -> Array:
    """The weights ``(..., frames, bins)`` of a phase of a level, in the order of latents."""
    (first, step), (place, distance) = frames_of(level), _STEPS[phase]
    chosen: Array = weights[..., first::step, place::distance]
    return chosen


def bands_of(weights: Array, level: int, parity: int) -> Array:
    """The weights ``(recordings, frames, bins)`` of the bands of a level, ``(bands of all frames, 8)``."""
    first, step = frames_of(level)
    bands: Array = weights.reshape(*weights.shape[:-1], -1, BAND)[..., first::step, parity::PARITIES, :]
    return bands.reshape(-1, BAND)


def put(segment: Segment, level: int, phase: int, channel: int, weights: Array) -> None:
    """Put decoded weights into their places.

    Args:
        segment: that they are of; changed.
        level: of their frames.
        phase: of the weights.
        channel: of the weights.
        weights: in steps, ``(latents,)``.
    """
    place = weights_of(segment.weights[:, channel], level, phase)
    np.clip(weights.reshape(place.shape), -LARGEST_VALUE, LARGEST_VALUE, out=place)
    amplitudes = np.abs(place)
    segment.loudness[:, channel, _times(segment, level), _places(segment, phase)] = _loudness(amplitudes, UNIT)
    first, step = frames_of(level)
    around = np.abs(segment.weights[:, channel, first::step])
    sums = np.zeros((*around.shape[:2], segment.bins + 2 * _SMOOTH + 1))
    np.cumsum(around, axis=-1, out=sums[..., _SMOOTH + 1 : _SMOOTH + 1 + segment.bins])
    sums[..., _SMOOTH + 1 + segment.bins :] = sums[..., _SMOOTH + segment.bins, None]
    width = 2 * _SMOOTH + 1
    inside = slice(_BESIDE, _BESIDE + segment.bins)
    segment.smooth[:, channel, _times(segment, level), inside] = _loudness(
        sums[..., width:] - sums[..., :-width], UNIT * width
    )


def _loudness(amplitudes: Array, unit: int) -> Array:
    """Octaves of amplitudes over a unit of them, as features."""
    loudness: Array = np.floor((octaves(amplitudes + unit) - octaves(np.array(unit))) * FEATURE_UNIT)
    return np.minimum(loudness, FEATURE_LIMIT)


def put_classes(segment: Segment, level: int, parity: int, channel: int, classes: Array) -> None:
    """Put decoded classes ``(bands,)`` of the bands of even or odd number into their places."""
    place = segment.padded_classes[:, channel, _times(segment, level), _bands(segment, parity)]
    place[...] = classes.reshape(place.shape)


def weight_pitches(bins: int, hop: int, sample_rate: int, phase: int) -> npt.NDArray[np.int64]:
    """How high the weights of a frame are to the ear; see :func:`shape.pitches`.

    Args:
        bins: weights of a frame.
        hop: samples between frames.
        sample_rate: of the samples, in Hz.
        phase: of the weights.
    """
    first, step = _STEPS[phase]
    return pitches((2 * np.arange(first, bins, step) + 1) * sample_rate, 4 * hop)


def latents(segment: Segment, level: int, phase: int) -> int:
    """Number of weights of a phase of a level."""
    return weights_of(segment.weights[:, 0], level, phase).size


def band_count(segment: Segment, level: int, parity: int) -> int:
    """Number of bands of a parity of a level."""
    first, step = frames_of(level)
    return (
        len(segment.noise_levels) * len(range(first, segment.count, step)) * len(range(parity, segment.bands, PARITIES))
    )


def coded(segment: Segment, level: int, phase: int, channel: int) -> npt.NDArray[np.intp]:
    """The latents of a phase of a level that are coded: those of bands whose class is not 0, in order."""
    first, step = _STEPS[phase]
    bands = _BANDS_BESIDE + np.arange(first, segment.bins, step) // BAND
    return np.flatnonzero(segment.padded_classes[:, channel, _times(segment, level)][..., bands])


def detail_features(
    segment: Segment, level: int, phase: int, channel: int, which: npt.NDArray[np.intp], kind: type = np.float64
) -> Array:
    """Features ``(features, latents)`` of some latents of a phase of a level, whole numbers."""
    network = _detail_network(level, phase, channel)
    first, step = _STEPS[phase]
    row, column = np.divmod(which, len(range(first, segment.bins, step)))
    bins = first + step * column
    recording, frame = np.divmod(row, len(range(*_times(segment, level).indices(_BEFORE + segment.count))))
    start, distance = frames_of(level)
    time = (recording * segment.channels + channel) * (segment.count + 2 * _BEFORE) + _BEFORE + start + distance * frame
    width, bands = segment.bins + 2 * _BESIDE, segment.bands + 2 * _BANDS_BESIDE
    place, band = time * width + _BESIDE + bins, time * bands + _BANDS_BESIDE + bins // BAND
    nearest = 1 << level
    near, smooth, far_bands = [], [0] if phase else [], []
    if level < LEVELS - 1:
        for sign in (-1, 1):
            near += [sign * nearest * width + offset for offset in _NEAR]
            near += [sign * far * nearest * width + offset for far in ((2, 3) if phase else (3,)) for offset in _NEXT]
            smooth += [sign * far * nearest * width for far in (1, 2, 3)]
            far_bands += [sign * far * nearest * bands for far in (1, 2)]
    near += list(_DECODED[phase])
    values: Array = np.empty((network.features, len(which)), dtype=kind)
    filled = _class_rows(values, segment, bins, band, far_bands)
    filled = _taken(values, filled, segment.loudness, place, near)
    filled = _taken(values, filled, segment.smooth, place, smooth)
    if channel:
        before = (segment.count + 2 * _BEFORE) * width  # the first channel is so much before the second one
        filled = _taken(values, filled, segment.loudness, place - before, _NEXT)
        filled = _taken(values, filled, segment.smooth, place - before, [0])
        class_before = segment.padded_classes.reshape(-1)[band - (segment.count + 2 * _BEFORE) * bands]
        np.multiply(class_before, _CLASS_UNIT, out=values[filled], casting="unsafe")
        filled += 1
    _general_rows(values[filled:], segment, bins, segment.noise_levels[recording])
    return values


def _taken(values: Array, filled: int, source: Array, place: Array, beside: Sequence[int]) -> int:
    """Fill rows with what lies beside places of an array; the number of rows that are filled then."""
    flat = source.reshape(-1)
    for offset in beside:
        values[filled] = flat.take(place + offset)
        filled += 1
    return filled


def _class_rows(values: Array, segment: Segment, bins: Array, band: Array, far: Sequence[int]) -> int:
    """Fill rows with the classes of the bands around weights; the number of rows."""
    classes = segment.padded_classes.reshape(-1)
    here = classes.take(band)
    # between the middles of two bands their classes are interpolated
    place = 2 * (bins % BAND) + 1 - BAND
    side = np.where(place < 0, -1, 1)
    inside = (bins // BAND + side >= 0) & (bins // BAND + side < segment.bands)
    beside, share = classes.take(band + side * inside), np.abs(place)
    values[0] = (here * (2 * BAND - share) + beside * share) * (_OCTAVES_OF_CLASS // (2 * BAND))
    for number in range(CLASSES):
        values[1 + number] = (here == number) * FEATURE_UNIT
    filled = 1 + CLASSES
    for offset in (*_BANDS_NEXT, *far):
        values[filled] = classes.take(band + offset)
        values[filled] *= _CLASS_UNIT
        filled += 1
    return filled


def _general_rows(rows: Array, segment: Segment, bins: Array, noise_levels: Array) -> None:
    """Fill rows with the place in the spectrum, the noise level and the hop."""
    place = bins * (FEATURE_UNIT * (_HATS - 1)) // segment.hop  # of the highest weight: just below the last hat
    for number in range(_HATS):
        rows[number] = np.maximum(FEATURE_UNIT - np.abs(place - FEATURE_UNIT * number), 0)
    rows[_HATS] = noise_levels * _NOISE_UNIT
    rows[_HATS + 1] = np.floor(octaves(np.array(segment.hop)) * _OCTAVE_OF_HOPS) - 8 * _OCTAVE_OF_HOPS


def class_features(segment: Segment, level: int, parity: int, channel: int, kind: type = np.float64) -> Array:
    """Features ``(features, bands)`` of the bands of even or odd number of a level, whole numbers."""
    first, step = frames_of(level)
    numbers = np.arange(parity, segment.bands, PARITIES)
    shape = (len(segment.noise_levels), len(range(first, segment.count, step)), len(numbers))
    rows: Array = np.empty((_class_network(level, parity, channel).features, *shape), dtype=kind)
    classes = segment.padded_classes[:, channel]
    beside = []
    if level < LEVELS - 1:
        for sign in (-1, 1):
            for far, offsets in ((1, _BANDS), (3, _NEXT)):
                beside += [
                    classes[:, _times(segment, level, sign * far << level), _bands(segment, parity, offset)]
                    for offset in offsets
                ]
    if parity:
        beside += [classes[:, _times(segment, level), _bands(segment, parity, offset)] for offset in _BANDS_BETWEEN]
    if channel:
        beside += [
            segment.padded_classes[:, 0, _times(segment, level), _bands(segment, parity, offset)]
            for offset in _BANDS_OTHER
        ]
    for number, values in enumerate(beside):
        np.multiply(values, _CLASS_UNIT, out=rows[number], casting="unsafe")
    _general_rows(rows[len(beside) :], segment, numbers * BAND + BAND // 2, segment.noise_levels[:, None, None])
    return rows.reshape(len(rows), -1)
