"""From the root of a pyramid down to the finest level; from files to images, whose rows are rendered when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...family import Decoded, View
from ...stages.decoder import FileLatents, open_payload
from ...stages.moments import HIGHEST, LOWEST, OCTAVE, UNIT, Moments, StageId
from ...stages.prior import noise_number
from ...stages.shape import FLAT_PICTURE, PICTURE_FIELDS, PictureShape, numbers_in, rescaled
from . import haar, levels
from .filtering import filter as picture_filter
from .levels import (
    CHROMA_STAGES,
    HALF_RANGE,
    Level,
    band_count,
    last_stage,
    noise_deviation,
    planes_of,
)

if TYPE_CHECKING:
    from .prior import PyramidPrior

Array = npt.NDArray[Any]

# of the root's colours, times 2^levels, in 255ths of the range: of its average, which is times 2^steps besides, and of
# its details, the finest first
_AVERAGE_DEVIATION = (90.0, 36.0, 20.0)
_DETAIL_DEVIATIONS = ((55.0, 14.0, 8.0), (100.0, 28.0, 14.0))


class LatentSource(Protocol):
    """Where the classes and weights of a picture come from: a file, a search, or samples of the posterior.

    Attributes:
        wants_means: whether it has use for the expected details of units.
    """

    wants_means: ClassVar[bool]

    def classes(self, level: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        """The energy classes of all units of a level.

        Args:
            level: that they are of.
            chroma: whether they are of its chroma.
            frequencies: of the classes, ``(9, units)``.
            means: expected details of the units in steps, ``(4 or 8 · 3, units)``: colour after colour and band after
                band at each of the four positions of a unit; none of them where they are not wanted.

        Returns:
            ``(units,)``.
        """

    def weights(self, stage: StageId, level: Level | None, moments: Moments) -> Array:
        """The weights of a stage.

        Args:
            stage: which one it is.
            level: that it is of; ``None`` for the root.
            moments: of the weights; they may be changed.

        Returns:
            In whole steps, ``(latents,)``.
        """


def descend(
    prior: PyramidPrior,
    shape: tuple[int, int],
    colours: int,
    noise_level: int,
    source: LatentSource,
    noise: PictureShape = FLAT_PICTURE,
) -> Level | Array:
    """Take the weights of a plane from the root down.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        shape: height and width.
        colours: 3, or 1 where there is no chroma; then it is 0.
        noise_level: of the file.
        source: of classes and weights.
        noise: its shape.

    Returns:
        The finest level with all that was decoded of it; of an image that has none, the root
        ``(colours, height, width)`` in steps.
    """
    with prior.scratch:
        sizes = haar.sizes(shape)
        count = len(sizes) - 1
        root = root_moments(count, sizes[-1], colours, noise_level + noise.finer_at(count))
        weights = source.weights(StageId(count, 0), None, root)
        root_weights = weights.astype(np.float64).reshape(colours, -1)
        picture, classes, level = haar.synthesise_root(root_weights, sizes[-1])[None], None, None
        for number in range(count - 1, -1, -1):
            # a noise level is a sixteenth of an octave of deviation
            finer = noise.finer_at(number)
            picture = rescaled(picture, noise.finer_at(number + 1) - finer)
            level = levels.new_level(number, np.array([noise_level + finer]), picture, classes, noise)
            del picture  # what is done with makes room: all the rest are small beside the finest level
            for chroma in (False, True)[: 1 + (colours == 3)]:
                _descend_half(prior, level, chroma, source)
            if number:
                picture, classes = level.refined(sizes[number]), level.classes
        if level is None:
            samples: Array = picture[0]
            return samples
        return level


def _descend_half(prior: PyramidPrior, level: Level, chroma: bool, source: LatentSource) -> None:
    """Take the luma or the chroma of a level."""
    frequencies, means = prior.class_frequencies(level, chroma, source.wants_means)
    level.classes[:, int(chroma)] = source.classes(level, chroma, frequencies, means).reshape(1, *level.units)
    del frequencies, means  # they are large
    for number in levels.stage_numbers(chroma):
        moments = prior.moments(level, number)
        if len(moments.mean):
            levels.put(level, number, source.weights(StageId(level.number, number), level, moments))
        del moments  # the next ones need the room


def finished(prior: PyramidPrior, picture: Level | Array, filtered: bool) -> Level | Array:
    """A decoded plane as it is looked at, without what only its decoding needs.

    Args:
        prior: of the weights.
        picture: the finest level, or the root of a plane that has none, which is not filtered.
        filtered: whether it is filtered, if the prior has a filter. Alpha never is.
    """
    if not isinstance(picture, Level):
        return picture
    return levels.without_classes(prior.filter.filtered(picture) if filtered and prior.filter else picture)


def root_moments(count: int, size: tuple[int, int], colours: int, noise_level: int) -> Moments:
    """Moments of the root, the same for all pictures: mean 0, and deviations by colour and scale.

    Args:
        count: of levels.
        size: height and width of the root.
        colours: 1 or 3.
        noise_level: of the file.
    """
    sizes = haar.root_sizes(size)
    samples = [height * width for height, width in sizes]
    counts = [finer - coarser for finer, coarser in pairwise(samples)]  # of details, the finest first
    steps = len(counts)
    wanted = np.array([np.array(_AVERAGE_DEVIATION) * 2**steps, *_DETAIL_DEVIATIONS[:steps][::-1]])[:, :colours]
    # 2^levels / (noise deviation) in sixteenths of an octave; a noise level is one of those
    numbers = np.rint(np.log2(wanted / 63.75) * OCTAVE) + OCTAVE * count + noise_level
    deviation = np.repeat(np.clip(numbers, LOWEST, HIGHEST) - LOWEST, [1, *counts[::-1]], axis=0)
    return Moments(np.zeros(deviation.size), deviation.T.reshape(-1).astype(np.int16))


@dataclass(frozen=True, eq=False)
class PlaneRendering:
    """A plane of an image as a function of its weights.

    Attributes:
        picture: the finest level, or the root ``(colours, height, width)`` in steps of an image that has none.
        size: height and width.
        colours: 1 or 3.
        noise_level: that the weights' steps depend on.
    """

    picture: Level | Array
    size: tuple[int, int]
    colours: int
    noise_level: int

    def rows(self, rows: slice) -> npt.NDArray[np.float32]:
        """Rows of the plane, ``(rows, width, colours)`` in 255ths of the range, 0 in the middle of it.

        They are the inverse of the transform of colours, and of the unit of steps.
        """
        first, last, _ = rows.indices(self.size[0])
        steps = self._steps(first, last).astype(np.float64)
        matrix = haar.COLOUR[: self.colours, : self.colours] * (noise_deviation(self.noise_level) / UNIT)
        values = np.empty((last - first, self.size[1], self.colours), dtype=np.float32)
        for colour in range(self.colours):
            total = steps[0] * matrix[0, colour]
            for number in range(1, self.colours):
                total += steps[number] * matrix[number, colour]
            values[..., colour] = total
        return values

    def _steps(self, first: int, last: int) -> Array:
        """Rows of the picture in steps, ``(colours, rows, width)``."""
        if not isinstance(self.picture, Level):
            root: Array = self.picture[:, first:last]
            return root
        positions = slice(first // 4 * 2, min(-(-last // 4) * 2, self.picture.size[0]))
        some = slice(first - 2 * positions.start, last - 2 * positions.start)
        reached: Array = self.picture.refined_rows(positions, self.size)[0, :, some]
        return reached


@dataclass(frozen=True, eq=False)
class LazyRows:
    """The values of an image in [-1, 1]: rows of them are rendered when they are asked for.

    Attributes:
        shape: height, width and channels.
        planes: of the image, each with its channels.
    """

    shape: tuple[int, ...]
    planes: tuple[tuple[tuple[int, ...], PlaneRendering], ...]

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]:
        first, last, _ = rows.indices(self.shape[0])
        values = np.empty((last - first, *self.shape[1:]), dtype=np.float32)
        for channels, plane in self.planes:
            values[:, :, channels] = plane.rows(slice(first, last))
        values /= HALF_RANGE
        return values


@dataclass(frozen=True, eq=False)
class _FileSource:
    """The classes and weights that a file names; see :class:`LatentSource`.

    Attributes:
        latents: of the file.
    """

    wants_means: ClassVar[bool] = False
    latents: FileLatents

    def classes(self, level: Level, chroma: bool, frequencies: Array, means: Array) -> npt.NDArray[np.int8]:
        del level, chroma, means  # for an encoder
        return self.latents.symbols.read(frequencies)

    def weights(self, stage: StageId, level: Level | None, moments: Moments) -> Array:
        return self.latents.weights(stage, moments, band_count(level, stage.number))


def decode(prior: PyramidPrior, file: File, view: View) -> Decoded:
    """Decode an image.

    Args:
        prior: that the file was made with.
        file: to decode.
        view: how it is looked at.

    Raises:
        DamagedFileError: the file's numbers and its payload do not fit each other.
    """
    numbers, payload = file.numbers(prior.fields)
    number, (height, width) = noise_number(numbers), file.format.shape
    filtered = numbers.get(picture_filter.FIELD.name) == (1,)
    shape_numbers = numbers_in(PICTURE_FIELDS, numbers)
    noise, noise_level = PictureShape.of(shape_numbers), levels.noise_range(bool(shape_numbers))[0] + number
    latents = open_payload(
        numbers, payload, prior.key, prior.parts_from, keep=view.keep_latents, damaged=not file.intact
    )
    planes = []
    for channels in planes_of(file.format.channels):
        if 0 in channels:  # the last plane
            latents.allocator.final_stage = last_stage((height, width), len(channels))
        picture = descend(prior, (height, width), len(channels), noise_level, _FileSource(latents), noise)
        shown = finished(prior, picture, filtered and 0 in channels)
        planes.append((channels, PlaneRendering(shown, (height, width), len(channels), noise_level)))
    decoded = latents.finish()
    return Decoded(
        replace(file.format, shape=view.size or (height * view.scale, width * view.scale)),
        LazyRows((height, width, file.format.channels), tuple(planes)),
        _named(decoded.groups),
        decoded.class_bytes,
        number,
        decoded.latents,
        prior.noise_variance(noise_level),
        noise.numbers,
    )


def _named(groups: Mapping[StageId, int]) -> dict[str, int]:
    """Numbers of groups by level, luma and chroma apart, the coarsest first, from those of the stages."""
    counts: dict[str, int] = {}
    for stage, count in sorted(groups.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} {'chroma' if stage.number in CHROMA_STAGES else 'luma'}"
        counts[name] = counts.get(name, 0) + count
    return counts
