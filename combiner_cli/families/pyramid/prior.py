"""Pyramid priors: the moments of every weight of a picture, foretold from the weights that are decoded before it.

A level of the pyramid is decoded in six stages: the luma details of four phases, then the chroma details of two times
two. Before the luma and before the chroma comes the *activity* of the level's units, one of nine classes each, in an
entropy code whose probabilities are foretold as well: it tells how large the residuals are, roughly, so that what is
left is close to Gaussian. Small networks in whole numbers (:mod:`.integer_network`) do the foretelling. With
noise variance s2 as the unit, a detail whose prior variance is t has the evidence N(mean, t + 1); the networks were
learned by maximising it, which minimises KL + squared error / (2 · s2). Details of a variance far under the noise are
pruned and cost nothing. A detail with more information than a group can hold is a sum of several weights, from the one
with the widest prior to the one with the narrowest: each is coded when those before it are, and mends what they missed.

Everything that a decoder's structure depends on (classes, which details are pruned, information, the partition into
groups) is made of whole numbers here. That moments depend on what is decoded is therefore safe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...family import Decoded, Encoded, EncodingOptions, Family, Report, Target, View
from ...signals.signal import Format, Kind, Signal
from ...stages import integer_network as whole
from ...stages.integer_network import WholeNetwork, octaves
from ...stages.moments import (
    COARSE,
    FEWEST_PARTS_FROM,
    HIGHEST,
    LOWEST,
    MOST_PARTS_FROM,
    OCTAVE,
    UNIT,
    Moments,
    StageName,
    frequencies_of,
)
from ...stages.prior import LARGEST_NOISE, RANGES, MultiRatePrior
from ...system import arrays, threads
from ...system.arrays import Compact
from . import features as pyramid_features
from . import haar
from . import levels as pyramid
from .levels import Level

Array = npt.NDArray[Any]

NAME = "pyramid"
LOWEST_CODE, HIGHEST_CODE = -16, 111  # of the noise variance; a file holds their number less the lowest
_LOUDEST = -2.0  # octave of the variance of noise code 0, on values in [-1, 1]
_CODES_PER_OCTAVE = 8
_ROOT_DEVIATION = (150.0, 60.0, 40.0)  # of the root's colours, times 2^levels, in 255ths of the range
_FEWEST_UNITS, _MOST_UNITS = 512, 1 << 12  # at once, by all threads together
_BLOCK = 64  # rows of an image
_SUMMED_AT_ONCE = 1 << 13  # values of a block that is rounded once


class Source(Protocol):
    """Where the weights of a picture come from: a file, a search, or chance.

    Attributes:
        expects: whether it has use for the expected details of units.
    """

    expects: ClassVar[bool]

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        """Classes of all units ``(units,)``, given their frequencies ``(9, units)`` and the expected details in steps
        ``(4 or 8 · 3, units)``: colour after colour and band after band at each of the four positions of a unit."""

    def details(self, name: StageName, own: Level | None, moments: Moments) -> Array:
        """Whole coefficients of all latents of a stage, ``(latents,)``."""


@dataclass(frozen=True, eq=False)
class PyramidPrior(MultiRatePrior):
    """A prior over the weights of a pyramid.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals, ``"image"``.
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per pixel at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
        size: longer side of a typical signal of learning, in samples.
        stored: tensors of the networks by ``level.network.tensor``, int16 and int32.
        parts_from: octaves of a deviation over the noise's from which a detail is coded in parts.
    """

    qualities: ClassVar[tuple[float, float]] = (0.1, 0.85)
    name: str
    kind: Kind
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]
    size: int
    stored: dict[str, Array]
    parts_from: int

    @property
    def family(self) -> Family:
        """The way of coding that it belongs to."""
        from .family import FAMILY

        return FAMILY

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        plain = {"kind": self.kind, "family": NAME, "size": self.size, "parts_from": self.parts_from}
        return plain | {name: list(getattr(self, name)) for name in RANGES}

    def tensors(self) -> dict[str, Array]:
        """The stored tensors by name."""
        return dict(self.stored)

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """How many points are rendered for an image: those of all planes."""
        return len(planes_of(signal_format.channels)) * signal_format.points * scale**2

    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode images, one after another."""
        from .encoder import encode

        return encode(self, signals, target, options, report)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file that was made with this prior."""
        from .decoder import decode

        return decode(self, file, view)

    @cached_property
    def scratch(self) -> threads.Scratch:
        """Memory for features and activations."""
        return threads.Scratch()

    @cached_property
    def networks(self) -> tuple[dict[str, WholeNetwork], ...]:
        """The networks of each kind of level by name."""
        return tuple(
            {
                network.name: WholeNetwork.among(self.stored, f"{kind}.{network.name}.")
                for network in pyramid_features.NETWORKS
            }
            for kind in range(COARSE + 1)
        )

    def activity(self, own: Level, chroma: bool, expected: bool = True) -> tuple[Array, Array]:
        """Frequencies ``(9, units)`` uint16 of the classes of all units, with a sum of 2^16; expected details in steps.

        Where the latter are not wanted there are none of them: they are the larger part.
        """
        network = pyramid_features.CHROMA_ACTIVITY if chroma else pyramid_features.LUMA_ACTIVITY
        features = pyramid_features.chroma_activity_features if chroma else pyramid_features.luma_activity_features

        count = own.units[0] * own.units[1]
        frequencies = arrays.fresh((pyramid.CLASSES, count), np.uint16)
        means = np.empty((network.outputs if expected else 0, count))

        def strip(rows: slice) -> None:
            values, contrast = features(own, rows, scratch=self.scratch)
            results = self.networks[own.kind][network.name](values, self.scratch)
            units = slice(rows.start * own.units[1], rows.stop * own.units[1])
            frequencies[:, units] = frequencies_of(results[network.outputs :])
            means[:, units] = _means(results[: len(means)], contrast)

        threads.mapped(strip, _strips(own))
        return frequencies, means

    def moments(self, own: Level, number: int) -> Moments:
        """Moments of a stage: result after result, phase after phase of a chroma stage, positions row by row."""
        chroma = number in pyramid.CHROMA_STAGES
        network = pyramid_features.CHROMA[number - 4] if chroma else pyramid_features.LUMA[number]
        phases, most = pyramid.stage_phases(number), pyramid.limit(own.number)
        counts = [pyramid.positions(own, phase, own.all_units) for phase in phases]
        mean = Compact((network.outputs, sum(counts)))
        deviation = arrays.fresh(mean.values.shape, np.int16)

        def strip(item: tuple[int, slice]) -> None:
            place, rows = item
            values, contrast = pyramid_features.stage_features(own, number, phases[place], rows, scratch=self.scratch)
            first = sum(counts[:place]) + pyramid.positions(own, phases[place], slice(0, rows.start))
            columns = slice(first, first + len(contrast))
            results = self.networks[own.kind][network.name](values, self.scratch)
            of_contrast = np.floor(octaves(contrast / UNIT) * OCTAVE)
            numbers = np.floor(results[network.outputs :] * (OCTAVE * 2.0**-whole.RESULT_BITS)) + of_contrast
            deviation[:, columns] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
            mean.put((slice(None), columns), np.clip(_means(results[: network.outputs], contrast), -most, most))

        threads.mapped(strip, list(product(range(len(phases)), _strips(own))))
        return Moments(mean.values.reshape(-1), deviation.reshape(-1))


def _strips(own: Level) -> list[slice]:
    """Rows of units, some hundred to some thousand units at a time, an even number of strips where there are many."""
    rows, columns = own.units
    pairs = -(-rows * columns * threads.count() // (2 * _MOST_UNITS))
    step = max(1, -(-rows // (2 * pairs)), _FEWEST_UNITS // columns)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _means(results: Array, contrast: Array) -> Array:
    """Whole steps of results that are relative to the contrast."""
    found: Array = np.floor(results * contrast * 2.0**-whole.RESULT_BITS)
    return found


def noise_deviation(code: int) -> float:
    """Deviation of an image's noise in 255ths of the range of samples: an eighth of an octave of variance per code."""
    return float(np.sqrt(np.exp2(_LOUDEST - code / _CODES_PER_OCTAVE))) * 127.5


def planes_of(channels: int) -> tuple[tuple[int, ...], ...]:
    """The channels of each plane, in coding order: alpha alone and first, then grey or RGB."""
    colours = (0, 1, 2) if channels >= 3 else (0,)
    return ((channels - 1,), colours) if channels in (2, 4) else (colours,)


@dataclass(frozen=True, eq=False)
class Rendering:
    """An image that is rendered from its weights rows by rows, so that it never has to be there as a whole.

    Attributes:
        picture: the finest level, or the root ``(colours, height, width)`` in steps of an image that has none.
        size: height and width.
        colours: 1 or 3.
        code: of the noise variance.
    """

    picture: Level | Array
    size: tuple[int, int]
    colours: int
    code: int

    def rows(self, rows: slice) -> Array:
        """Rows of the image, ``(rows, width, colours)`` float32 in 255ths of the range, 0 in the middle of it.

        They are the inverse of the transform of colours, and of the unit of steps.
        """
        first, last, _ = rows.indices(self.size[0])
        steps = self._steps(first, last)
        unit = noise_deviation(self.code) / UNIT
        if self.colours == 1:
            grey: Array = steps[0, :, :, None].astype(np.float64) * ((1 / math.sqrt(3)) * unit)
            return grey.astype(np.float32)
        found = np.empty((*steps.shape[1:], self.colours), dtype=np.float32)
        whole_blocks = self.size[0] // _BLOCK * _BLOCK  # rows in them
        for begin, end in ((first, min(last, whole_blocks)), (max(first, whole_blocks), last)):
            if begin < end:
                height = _BLOCK if end <= whole_blocks else self.size[0] - whole_blocks
                part = slice(begin - first, end - first)
                at_once = height * found.shape[1] * self.colours <= _SUMMED_AT_ONCE
                _mix(steps[:, part], haar.COLOUR * unit, at_once, found[part])
        return found

    def _steps(self, first: int, last: int) -> Array:
        """Rows of the picture in steps, ``(colours, rows, width)``."""
        if not isinstance(self.picture, Level):
            root: Array = self.picture[:, first:last]
            return root
        positions = slice(first // 4 * 2, min(-(-last // 4) * 2, self.picture.size[0]))
        found: Array = self.picture.refined_rows(positions, self.size)[0, :, first - 2 * positions.start :]
        return found[:, : last - first]

    def whole(self) -> Array:
        """The image, ``(height, width, colours)``, as :meth:`rows`."""
        found = arrays.fresh((*self.size, self.colours), np.float32)

        def strip(first: int) -> None:
            rows = slice(first, first + _BLOCK)
            found[rows] = self.rows(rows)

        threads.mapped(strip, range(0, len(found), _BLOCK))
        return found


def _mix(steps: Array, matrix: Array, at_once: bool, found: Array) -> None:
    """Values ``(rows, width, colours)`` float32 of steps ``(colours, rows, width)``, times a matrix.

    The terms are summed up in float64. The sum is rounded at the end, or with every term: what files decode to is as it
    was when a library summed blocks of rows, and rounded in the one way or the other by their size.
    """
    for colour in range(len(steps)):
        total = steps[0] * matrix[0, colour]
        for number in range(1, len(steps)):
            if not at_once:
                total = total.astype(np.float32)
            total = total + steps[number] * matrix[number, colour]
        found[..., colour] = total


def descend(prior: PyramidPrior, shape: tuple[int, ...], colours: int, code: int, source: Source) -> Rendering:
    """The weights of a picture from the root down.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        shape: height and width.
        colours: 3, or 1 where there is no chroma; then it is 0.
        code: of the noise variance.
        source: of classes and details.
    """
    try:
        return _descended(prior, shape, colours, code, source)
    finally:
        prior.scratch.release()


def _descended(prior: PyramidPrior, shape: tuple[int, ...], colours: int, code: int, source: Source) -> Rendering:
    sizes = haar.sizes(shape)
    levels = len(sizes) - 1
    root = root_moments(levels, sizes[-1], colours, code)
    details = source.details(StageName(levels, 0), None, root)
    picture, classes, own = details.reshape(1, colours, *sizes[-1]), None, None
    for number in range(levels - 1, -1, -1):
        own = pyramid.level(number, np.array([code]), picture, classes)
        del picture  # what is done with makes room: all the rest are small beside the finest level
        for chroma in (False, True)[: 1 + (colours == 3)]:
            _descend_half(prior, own, chroma, source)
        if number:
            picture, classes = own.refined(sizes[number]), own.own_activity
    return Rendering(pyramid.without_activity(own) if own else picture[0], sizes[0], colours, code)


def _descend_half(prior: PyramidPrior, own: Level, chroma: bool, source: Source) -> None:
    """The luma or the chroma of a level."""
    frequencies, means = prior.activity(own, chroma, source.expects)
    own.own_activity[:, int(chroma)] = source.activity(own, chroma, frequencies, means).reshape(1, *own.units)
    del frequencies, means  # they are large
    for number in pyramid.stages(chroma):
        moments = prior.moments(own, number)
        if len(moments.mean):
            pyramid.put(own, number, source.details(StageName(own.number, number), own, moments))
        del moments  # the next ones need the room


def root_moments(levels: int, size: tuple[int, int], colours: int, code: int) -> Moments:
    """Moments of the root, the same for all pictures: mean 0 and a deviation per colour."""
    # 2^levels · 150 / (noise deviation) in sixteenths of an octave; a noise code is one of those
    wanted = np.log2(np.array(_ROOT_DEVIATION[:colours]) / 63.75)
    numbers = np.clip(np.rint(wanted * OCTAVE) + OCTAVE * levels + code, LOWEST, HIGHEST) - LOWEST
    count = size[0] * size[1]
    return Moments(np.zeros(colours * count), np.repeat(numbers, count).astype(np.int16))


def problem(prior: PyramidPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    possible = (
        prior.kind == "image"
        and type(prior.size) is int
        and 0 < prior.size < 2**32
        and type(prior.parts_from) is int
        and FEWEST_PARTS_FROM <= prior.parts_from <= MOST_PARTS_FROM
        and prior.ranges_possible(LARGEST_NOISE)
    )
    if not possible:
        return "its configuration is out of range"
    networks = product(range(COARSE + 1), pyramid_features.NETWORKS)
    shapes = {f"{kind}.{own.name}": (own.features, own.values, own.outputs, own.relative) for kind, own in networks}
    return whole.wrong_networks(prior.stored, shapes)
