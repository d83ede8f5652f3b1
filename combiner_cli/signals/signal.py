"""Signals: what is encoded and what comes back, their coordinate grids, and their division into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..system import arrays, threads
from .resampling import resampled

_ROWS = 4  # of an image, that a rendering makes together
_PIXELS_AT_ONCE = 1 << 15  # so that no copy of the whole is made
INSTANTS_AT_ONCE = 1 << 16  # of a sound, likewise

Kind = Literal["image", "sound"]
FloatArray = npt.NDArray[np.floating]


class Rows(Protocol):
    """Values of a signal, ``(*shape, channels)``, some rows or instants of which can be had at a time.

    An array is one; so is what is rendered when it is asked for.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all the values."""

    def __getitem__(self, rows: slice, /) -> FloatArray:
        """Some rows, or some instants."""


@dataclass(frozen=True)
class Format:
    """Everything about a signal but its samples.

    Attributes:
        kind: ``"image"`` or ``"sound"``.
        shape: ``(height, width)`` in pixels, or ``(frames,)`` in sample instants.
        channels: 1 to 4 of an image, 1 or 2 of a sound.
        bit_depth: bits per sample in files: 8 or 16 for an image, 16 or 24 for a sound.
        sample_rate: samples per second of a sound, ``None`` for an image.
    """

    kind: Kind
    shape: tuple[int, ...]
    channels: int
    bit_depth: int
    sample_rate: int | None

    @property
    def points(self) -> int:
        """Number of coordinates: pixels, or sample instants."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Signal:
    """An image or a sound, as it is read from and written to files.

    Attributes:
        kind: ``"image"`` or ``"sound"``.
        samples: image: ``(height, width, channels)``, uint8 or uint16, channels 1 (grey), 2 (grey + alpha), 3 (RGB)
            or 4 (RGB + alpha). Sound: ``(frames, channels)``, float32 in [-1, 1], channels 1 or 2.
        sample_rate: samples per second of a sound, ``None`` for an image.
        bit_depth: bits per sample in files: 8 or 16 for an image, 16 or 24 for a sound.
    """

    kind: Kind
    samples: npt.NDArray[np.generic]
    sample_rate: int | None = None
    bit_depth: int = 8

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along the coordinate axes: ``(height, width)`` or ``(frames,)``."""
        return self.samples.shape[:-1]

    @property
    def channels(self) -> int:
        return int(self.samples.shape[-1])

    @property
    def points(self) -> int:
        """Number of coordinates: pixels, or sample instants."""
        return math.prod(self.shape)

    @property
    def format(self) -> Format:
        """Everything about it but its samples."""
        return Format(self.kind, self.shape, self.channels, self.bit_depth, self.sample_rate)

    def __post_init__(self) -> None:
        axes, most_channels = (2, 4) if self.kind == "image" else (1, 2)
        if self.samples.ndim != axes + 1 or not 1 <= self.channels <= most_channels:
            raise InputError(f"a {self.kind} cannot have samples of shape {self.samples.shape}")
        if self.points == 0:
            raise InputError(f"the {self.kind} is empty: shape {self.shape}; give one with at least one sample")
        if self.samples.dtype != sample_type(self.kind, self.bit_depth):
            raise InputError(f"a {self.bit_depth}-bit {self.kind} cannot have samples of type {self.samples.dtype}")
        if self.kind == "sound" and not (self.sample_rate and 0 < self.sample_rate < 2**32):
            raise InputError(f"a sound cannot have the sample rate {self.sample_rate}")
        if self.kind == "sound" and not bool(np.isfinite(self.samples).all()):
            raise InputError("the sound holds NaN or infinite samples; repair it first")


def sample_type(kind: Kind, bit_depth: int) -> np.dtype[np.generic]:
    """The numpy type of a signal's samples.

    Raises:
        InputError: the kind cannot have that bit depth.
    """
    types = {("image", 8): np.uint8, ("image", 16): np.uint16, ("sound", 16): np.float32, ("sound", 24): np.float32}
    if (kind, bit_depth) not in types:
        raise InputError(f"a {kind} cannot have {bit_depth} bits per sample")
    return np.dtype(types[kind, bit_depth])


def to_values(signal: Signal) -> FloatArray:
    """Samples as the network sees them: float64 in [-1, 1], same shape as ``signal.samples``."""
    if signal.kind == "sound":
        return signal.samples.astype(np.float64)
    values: FloatArray = signal.samples.astype(np.float64) * (2 / (2**signal.bit_depth - 1)) - 1
    return values


def from_values(
    values: Rows,
    kind: Kind,
    sample_rate: int | None,
    bit_depth: int,
    in_place: bool = False,
    multiple: int = _ROWS,
) -> Signal:
    """The inverse of :func:`to_values`, clipped to the range of the samples and rounded to their steps.

    A sound is rounded to the steps of its bit depth, so that a lossless file of that depth holds these very samples.

    Args:
        values: ``(*shape, channels)``.
        kind: of the signal.
        sample_rate: of a sound.
        bit_depth: of the samples.
        in_place: whether the values of a sound, an array, may be overwritten, which takes less memory.
        multiple: of so many rows of an image are asked for together.

    Raises:
        InputError: a value is not finite.
    """
    sample = sample_type(kind, bit_depth)
    reused = kind == "sound" and in_place and isinstance(values, np.ndarray) and values.dtype == sample
    samples = values if reused else arrays.mapped_zeros(values.shape, sample)
    assert isinstance(samples, np.ndarray)
    step = INSTANTS_AT_ONCE
    if kind == "image":
        step = multiple * max(1, _PIXELS_AT_ONCE // (values.shape[1] * multiple))

    def part(first: int) -> None:
        some = slice(first, first + step)
        rows = values[some]
        if not bool(np.isfinite(rows).all()):
            raise InputError("the decoded values are not finite; the prior does not fit this file")
        if kind == "sound":
            steps = 2.0 ** (bit_depth - 1)
            samples[some] = np.clip(np.rint(rows * steps), -steps, steps - 1) / steps
        else:
            samples[some] = np.rint((np.clip(rows, -1, 1) + 1) * ((2**bit_depth - 1) / 2))

    threads.mapped(part, range(0, values.shape[0], step))
    return Signal(kind, samples, sample_rate, bit_depth)


def at_rate(sound: Signal, sample_rate: int) -> Signal:
    """A sound at another sample rate, band-limited, its samples rounded to the steps of its bit depth.

    It has as many samples as last the nearest to as long, at least one.
    """
    assert sound.sample_rate is not None
    length = max((2 * sound.points * sample_rate + sound.sample_rate) // (2 * sound.sample_rate), 1)
    values = resampled(sound.samples.astype(np.float64), sound.sample_rate, sample_rate, length)
    return from_values(values, "sound", sample_rate, sound.bit_depth)


def coordinates(extent: tuple[int, ...], scale: int = 1) -> FloatArray:
    """Coordinates of the sample centres of a tile, each axis running over [-1, 1].

    Args:
        extent: samples along each axis at native resolution.
        scale: samples per native sample and axis; 1 is the native grid.

    Returns:
        ``(axes, points)`` float64, points in row-major order.
    """
    axes = [(np.arange(n * scale) + 0.5) * (2 / (n * scale)) - 1 for n in extent]
    return np.stack([axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij")])


@dataclass(frozen=True)
class Tiling:
    """The division of a signal into equal tiles, in which every plane of channels has its own tiles.

    A network has a fixed number of outputs. Channels are dealt into planes of that many: colours together, alpha in a
    plane of its own, each channel of a sound in a plane of its own. A plane with fewer channels than outputs repeats
    its channel, and decoding averages the copies.

    Attributes:
        extent: samples of a tile along each axis.
        counts: tiles along each axis.
        shape: samples of the signal along each axis.
        planes: for each plane, the channel behind each output.
    """

    extent: tuple[int, ...]
    counts: tuple[int, ...]
    shape: tuple[int, ...]
    planes: tuple[tuple[int, ...], ...]

    @property
    def tiles(self) -> int:
        """Number of tiles of all planes; the planes follow one another."""
        return len(self.planes) * math.prod(self.counts)


def tiling(shape: tuple[int, ...], channels: int, extent: tuple[int, ...], outputs: int) -> Tiling:
    """Lay tiles of ``extent`` over a signal; the last tile of an axis may reach beyond its end."""
    counts = tuple(-(-size // tile) for size, tile in zip(shape, extent, strict=True))
    return Tiling(extent, counts, shape, _planes(channels, outputs))


def _planes(channels: int, outputs: int) -> tuple[tuple[int, ...], ...]:
    if outputs == 1:
        return tuple((channel,) for channel in range(channels))
    colours = channels - 1 if channels in (2, 4) else channels
    colour_plane = tuple(min(output, colours - 1) for output in range(outputs))
    alpha_planes = tuple((channel,) * outputs for channel in range(colours, channels))
    return (colour_plane, *alpha_planes)


def coverage(layout: Tiling) -> npt.NDArray[np.int64]:
    """Number of samples inside the signal for each tile, ``(tiles,)``, by integer arithmetic."""
    inside = np.ones((1,), dtype=np.int64)
    for size, tile, count in zip(layout.shape, layout.extent, layout.counts, strict=True):
        covered = np.minimum(tile, size - tile * np.arange(count, dtype=np.int64))
        inside = (inside[:, None] * covered).reshape(-1)
    return np.tile(inside, len(layout.planes))


def inside_mask(layout: Tiling) -> FloatArray:
    """1 for the points of each tile that are inside the signal, 0 for padding, ``(tiles, 1, points)``."""
    padded = tuple(count * tile for count, tile in zip(layout.counts, layout.extent, strict=True))
    mask = np.zeros((*padded, 1))
    mask[tuple(slice(0, size) for size in layout.shape)] = 1
    one_plane = Tiling(layout.extent, layout.counts, padded, ((0,),))
    return np.tile(split(mask, one_plane), (len(layout.planes), 1, 1))


def split(values: FloatArray, layout: Tiling) -> FloatArray:
    """Cut a signal's values into tiles, the parts beyond its end filled with the nearest sample.

    Args:
        values: ``(*shape, channels)``.

    Returns:
        ``(tiles, outputs, points)``.
    """
    axes = len(layout.shape)
    padding = [
        (0, count * tile - size) for size, tile, count in zip(layout.shape, layout.extent, layout.counts, strict=True)
    ]
    padded = np.pad(values, [*padding, (0, 0)], mode="edge")
    dealt = [size for pair in zip(layout.counts, layout.extent, strict=True) for size in pair]
    # (count, tile, count, tile, channels) -> (count, count, channels, tile, tile)
    order = [*range(0, 2 * axes, 2), 2 * axes, *range(1, 2 * axes, 2)]
    blocks = padded.reshape(*dealt, -1).transpose(order)
    blocks = blocks.reshape(math.prod(layout.counts), values.shape[-1], -1)
    return np.concatenate([blocks[:, list(plane)] for plane in layout.planes])


def join(tiles: FloatArray, layout: Tiling, scale: int = 1) -> FloatArray:
    """The inverse of :func:`split`, for tiles rendered with ``scale`` samples per native sample and axis.

    Args:
        tiles: ``(tiles, outputs, points)``.

    Returns:
        ``(*shape · scale, channels)``.
    """
    axes = len(layout.shape)
    channels = 1 + max(channel for plane in layout.planes for channel in plane)
    per_plane = math.prod(layout.counts)
    values = np.empty((per_plane, channels, tiles.shape[-1]), dtype=tiles.dtype)
    for number, plane in enumerate(layout.planes):
        block = tiles[number * per_plane : (number + 1) * per_plane]
        for channel in sorted(set(plane)):
            copies = [output for output, source in enumerate(plane) if source == channel]
            values[:, channel] = block[:, copies].mean(axis=1)
    extent = [tile * scale for tile in layout.extent]
    # (count, count, channels, tile, tile) -> (count, tile, count, tile, channels)
    order = [axis for pair in zip(range(axes), range(axes + 1, 2 * axes + 1), strict=True) for axis in pair] + [axes]
    blocks = values.reshape(*layout.counts, channels, *extent).transpose(order)
    whole = blocks.reshape(*(count * tile for count, tile in zip(layout.counts, extent, strict=True)), channels)
    return whole[tuple(slice(0, size * scale) for size in layout.shape)]
