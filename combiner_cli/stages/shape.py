"""The shape of the noise: how much more or less of it than usual a weight has, so that it is where it is least noticed.

The noise of a file has a base deviation, which its noise level stands for. A shape gives each weight a deviation of its
own, in sixteenths of an octave over the base: by its level, by what is decoded around it, or by its own predicted
deviation. So a decoder knows it without being told anything but a few numbers in the header. All is made of whole
numbers; a shape that is flat changes nothing, and takes no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..container.header import Field, Numbers
from ..system import arrays, threads
from ..system.arrays import NarrowArray
from .integer_network import octaves
from .moments import OCTAVE, UNIT, Moments

Array = npt.NDArray[Any]

SHAPED = 128  # is added to the noise level of a header that has a shape
LEVELS = 4  # whose noise is finer than that of the level before
MASKED_LEVELS = 4  # the finest ones: coarser ones have few weights
EXPONENT_UNIT = 64
FILL_UNIT = 16
_WEAK = 8  # sixteenths of an octave between levels, or 64ths of an exponent
_MOST_FINER = 4 * OCTAVE  # a level than the one before
_EVEN = 2 * OCTAVE  # stands for chroma with the noise of the luma
_MASKING_UNIT = 32
_MOST_SMOOTHING = 15
_MOST_TILT = 2 * OCTAVE
_LOW_PITCH = 700  # Hz, under which pitch is about linear in the frequency, and above it in its logarithm
_REACH = 2  # positions around one that are looked at for what masks
_WINDOW = (2 * _REACH + 1) ** 2
_LEAST_SPREAD = 2 * UNIT * _WINDOW**2  # two deviations of the noise, in the units of a spread
_MOST_SPREAD = 3 * OCTAVE  # more or less than the average
_FACTOR_BITS = 24  # of the fraction of a factor
_ROWS_AT_ONCE, _VALUES_AT_ONCE = 1 << 17, 1 << 16  # positions, and numbers


@dataclass(frozen=True)
class PictureShape:
    """The shape of the noise of a picture.

    Attributes:
        finer: by how many sixteenths of an octave the noise of a level is finer than that of the next finer level, for
            levels 1 to 4; further levels have the noise of level 4.
        chroma: sixteenths of an octave by which the noise of chroma details is coarser than that of luma.
        masking: how much of a local spread's octaves over the average the noise follows, in 32nds.
    """

    finer: tuple[int, ...] = (0,) * LEVELS
    chroma: int = 0
    masking: int = 0

    @property
    def flat(self) -> bool:
        """Whether all weights have the base noise."""
        return not (any(self.finer) or self.chroma or self.masking)

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the header says of it; nothing where it is flat."""
        return () if self.flat else (*self.finer, self.chroma + _EVEN, self.masking)

    @property
    def none(self) -> PictureShape:
        """No shape."""
        return FLAT_PICTURE

    @property
    def weaker(self) -> PictureShape:
        """Half as much of it, or none where that would be next to nothing."""
        if max(self.finer) < _WEAK:
            return self.none
        # towards 0
        return PictureShape(tuple(int(finer / 2) for finer in self.finer), int(self.chroma / 2), self.masking // 2)

    @staticmethod
    def of(numbers: Sequence[int]) -> PictureShape:
        """The inverse of ``numbers``."""
        return PictureShape(tuple(numbers[:LEVELS]), numbers[-2] - _EVEN, numbers[-1]) if numbers else FLAT_PICTURE

    def finer_at(self, level: int) -> int:
        """Sixteenths of an octave by which the noise of a level is finer than the base, that of level 0."""
        return sum(self.finer[:level])

    def masks(self, level: int) -> bool:
        """Whether the noise of a level depends on what is decoded around."""
        return self.masking > 0 and level < MASKED_LEVELS


@dataclass(frozen=True)
class SoundShape:
    """The shape of the noise of a sound: a power of the predicted spectrum, and coarser the higher the pitch.

    With it goes how much noise a decoder adds where nothing is coded, which changes nothing else.

    Attributes:
        exponent: that the variance of a weight over the base noise, the noise included, is taken to, in 64ths.
        smoothing: weights of its phase on each side of one whose variances are averaged with its own, as octaves.
        tilt: sixteenths of an octave by which noise is coarser for each octave of pitch, as hearing has it.
        fill: deviation of the noise in the place of bands that have no bits, at most, in 16ths of the base noise's.
    """

    exponent: int = 0
    smoothing: int = 0
    tilt: int = 0
    fill: int = 0

    @property
    def flat(self) -> bool:
        """Whether all weights have the base noise; a sound is not filled then."""
        return not (self.exponent or self.tilt)

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the header says of it; nothing where it is flat."""
        return () if self.flat else (self.exponent, self.smoothing, self.tilt, self.fill)

    @property
    def none(self) -> SoundShape:
        """No shape."""
        return FLAT_SOUND

    @property
    def weaker(self) -> SoundShape:
        """Half as much of it, or none where that would be next to nothing."""
        if self.exponent < _WEAK:
            return self.none
        return SoundShape(self.exponent // 2, self.smoothing, int(self.tilt / 2), self.fill)

    @staticmethod
    def of(numbers: Sequence[int]) -> SoundShape:
        """The inverse of ``numbers``."""
        return SoundShape(*numbers) if numbers else FLAT_SOUND

    def tilted(self, pitch: Array) -> npt.NDArray[np.int64]:
        """Sixteenths of an octave by which noise at some pitches, as :func:`pitches` has them, is coarser."""
        return (self.tilt * pitch.astype(np.int64) + OCTAVE // 2) // OCTAVE

    def shaped(self, moments: Moments, pitch: Array) -> Moments:
        """Moments whose deviations are over the base noise, with noise of this shape.

        Args:
            moments: of weights in rows, their neighbours along frequency one behind another.
            pitch: of the weights of a row, as :func:`pitches` has them.
        """
        if self.flat or not len(moments.deviation):
            return moments
        information = moments.information().astype(np.int64).reshape(-1, len(pitch))
        if self.smoothing:
            information = _smoothed(information, self.smoothing)
        # information is half of log2(v / s2) in 1/256 bit, which is octaves of a deviation
        noise = (information * self.exponent + _HALF_SIXTEENTH) // (2 * _HALF_SIXTEENTH) + self.tilted(pitch)
        return moments.with_noise(noise.reshape(-1).astype(np.int16))


FLAT_PICTURE, FLAT_SOUND = PictureShape(), SoundShape()
_HALF_SIXTEENTH = EXPONENT_UNIT * 256 // OCTAVE // 2
_PRESENT = ("noise", SHAPED)  # a header has a shape where this number is at least so large
PICTURE_FIELDS = (
    Field("finer", _MOST_FINER, count=LEVELS, present=_PRESENT),
    Field("chroma", 2 * _EVEN, present=_PRESENT),
    Field("masking", _MASKING_UNIT, present=_PRESENT),
)
SOUND_FIELDS = (
    Field("exponent", EXPONENT_UNIT - 1, present=_PRESENT),
    Field("smoothing", _MOST_SMOOTHING, present=_PRESENT),
    Field("tilt", _MOST_TILT, present=_PRESENT),
    Field("fill", FILL_UNIT, present=_PRESENT),
)


def header_numbers(fields: Sequence[Field], numbers: Sequence[int]) -> Numbers:
    """The numbers of a shape by the fields that they are of; none where it is flat."""
    remaining = list(numbers)
    return {field.name: [remaining.pop(0) for _ in range(field.count)] for field in fields} if numbers else {}


def numbers_in(fields: Sequence[Field], header: Numbers) -> tuple[int, ...]:
    """The numbers of a shape among those of a header; none where it has no shape."""
    return tuple(number for field in fields for number in header.get(field.name, ()))


def pitches(frequencies: Array, unit: int) -> npt.NDArray[np.int64]:
    """How high frequencies are to the ear: sixteenths of octaves of 1 + frequency / (700 Hz), rounded down.

    Args:
        frequencies: whole numbers.
        unit: of them that a Hz has.
    """
    low = _LOW_PITCH * unit
    sixteenths: Array = np.floor((octaves(low + frequencies) - octaves(np.array(low))) * OCTAVE)
    return sixteenths.astype(np.int64)


def rescaled(values: Array, sixteenths: int) -> Array:
    """Whole numbers over 2^(sixteenths / 16), rounded: a picture in the larger unit of the next level's noise.

    Args:
        values: whole numbers of any type, of at most 2^28 in magnitude.
        sixteenths: of an octave, 0 to 64.
    """
    if not sixteenths:
        return values
    factor = float(np.rint(np.exp2(_FACTOR_BITS - sixteenths / OCTAVE))) * 2.0**-_FACTOR_BITS
    flat, scaled = values.reshape(-1), NarrowArray((values.size,))

    def block(some: slice) -> None:
        scaled.put(some, np.floor(flat[some].astype(np.float64) * factor + 0.5))

    threads.mapped(block, list(arrays.blocks(len(flat), _VALUES_AT_ONCE)))
    return scaled.values.reshape(values.shape)


def masking(luma: Array, strength: int) -> npt.NDArray[np.int16]:
    """How much coarser the noise may be where a picture is busy, and how much finer it has to be where it is smooth.

    Args:
        luma: of the picture that is decoded so far, in steps, ``(pictures, rows, columns)``.
        strength: of the shape, in 32nds.

    Returns:
        Sixteenths of an octave at each position, ``(pictures, rows, columns)``.
    """
    spread = arrays.mapped_zeros(luma.shape, np.int16)
    strips = list(arrays.blocks(luma.shape[1], max(1, _ROWS_AT_ONCE // max(luma.shape[0] * luma.shape[2], 1))))

    def take(rows: slice) -> None:
        spread[:, rows] = _spread(luma, rows)

    threads.mapped(take, strips)
    average = spread.sum(axis=(1, 2), dtype=np.int64) // (luma.shape[1] * luma.shape[2])
    for rows in strips:
        over = np.clip(spread[:, rows] - average[:, None, None], -_MOST_SPREAD, _MOST_SPREAD)
        spread[:, rows] = (over * strength + _MASKING_UNIT // 2) // _MASKING_UNIT
    return spread


def _spread(luma: Array, rows: slice) -> Array:
    """Sixteenths of octaves of the sum of the distances of 25 samples from their average, for some rows."""
    height, width = luma.shape[1:]
    reached = np.clip(np.arange(rows.start - _REACH, rows.stop + _REACH), 0, height - 1)
    whole = np.pad(luma[:, reached].astype(np.float64), ((0, 0), (0, 0), (_REACH, _REACH)), mode="edge")
    count = rows.stop - rows.start
    windows = [
        whole[:, row : row + count, column : column + width]
        for row in range(2 * _REACH + 1)
        for column in range(2 * _REACH + 1)
    ]
    total = sum(windows[1:], windows[0].copy())
    distance = np.zeros_like(total)
    for window in windows:
        distance += np.abs(_WINDOW * window - total)
    # its 625th part is the average distance
    sixteenths: Array = np.floor(octaves(np.maximum(distance, _LEAST_SPREAD)) * OCTAVE)
    return sixteenths


def _smoothed(information: Array, reach: int) -> Array:
    """Averages of whole numbers in rows over neighbours on both sides, as far as there are any, rounded down."""
    columns = information.shape[1]
    sums = np.pad(np.cumsum(information, axis=1), ((0, 0), (1, 0)))
    places = np.arange(columns)
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, columns)
    averages: Array = (sums[:, last] - sums[:, first]) // (last - first)
    return averages
