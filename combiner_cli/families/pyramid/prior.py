"""Pyramid priors: the moments of every weight of a picture, predicted from the weights that are decoded before it.

A level of the pyramid is decoded in six stages: the luma details of four phases, then the chroma details of two times
two. Before the luma and before the chroma come the *energy classes* of the level's units, one of nine each, in an
entropy code whose probabilities are predicted as well: they tell how large the residuals are, roughly, so that what is
left is close to Gaussian. Small networks in whole numbers (:mod:`combiner_cli.stages.integer_network`) predict. With
noise variance s2 as the unit, a detail whose prior variance is t has the evidence N(mean, t + 1); the networks were
learned by maximising it, which minimises KL + squared error / (2 · s2). Details of a variance far under the noise are
pruned and cost nothing. Where an image is unlike what the networks were learned of, a file says that bands of a stage have
wider priors, and which of its details.

Everything that a decoder's structure depends on (classes, which details are pruned, information, the partition into
groups) is made of whole numbers here. That moments depend on what is decoded is therefore safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...family import Decoded, Encoded, Family, Target, View
from ...signals.signal import Format, Kind, Signal
from ...stages import integer_network
from ...stages.class_stream import frequencies_of
from ...stages.integer_network import IntegerNetwork, octaves
from ...stages.moments import COARSE, HIGHEST, LOWEST, OCTAVE, UNIT, Moments, StageId
from ...stages.prior import LARGEST_NOISE, RANGES, StagewisePrior
from ...system import arrays, threads
from ...system.arrays import NarrowArray
from . import features as pyramid_features
from . import haar, levels
from .levels import Level
from .rendering import PlaneRendering, planes_of

if TYPE_CHECKING:
    from ...stages.rate_control import SearchOptions

Array = npt.NDArray[Any]

LOWEST_NOISE = -16  # level; a file holds the number of levels above it
HIGHEST_NOISE = LOWEST_NOISE + LARGEST_NOISE
_FASTEST = 2  # efforts up to this one follow one path of candidates
_ROOT_DEVIATION = (150.0, 60.0, 40.0)  # of the root's colours, times 2^levels, in 255ths of the range
_FEWEST_UNITS, _MOST_UNITS = 512, 1 << 12  # at once, by all threads together


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


@dataclass(frozen=True, eq=False)
class PyramidPrior(StagewisePrior):
    """A prior over the weights of a pyramid.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals, ``"image"``.
        noise_codes: noise levels of the lowest and the highest rate that it was learned for.
        rates: bits per pixel at these levels, average of the signals of learning.
        errors: mean squared error at these levels on values in [-1, 1], geometric average of the signals of learning.
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
        plain = {"kind": self.kind, "family": self.family.name, "size": self.size, "parts_from": self.parts_from}
        return plain | {name: list(getattr(self, name)) for name in RANGES}

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """How many points are rendered for an image: those of all planes."""
        return len(planes_of(signal_format.channels)) * signal_format.points * scale**2

    def usual_search(self, effort: int) -> str:
        """The search for candidates where none is asked for."""
        return "best" if effort <= _FASTEST else "viterbi"

    def encode_one(self, signal: Signal, target: Target, how: SearchOptions) -> Encoded:
        """Encode an image."""
        from .encoder import encode

        return encode(self, signal, target, how)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file that was made with this prior."""
        from .decoder import decode

        return decode(self, file, view)

    @cached_property
    def scratch(self) -> threads.Scratch:
        """Memory for features and activations."""
        return threads.Scratch()

    @cached_property
    def networks(self) -> tuple[dict[str, IntegerNetwork], ...]:
        """The networks of each kind of level by name."""
        names = [network.name for network in pyramid_features.NETWORKS]
        return tuple(
            {name: IntegerNetwork.among(self.stored, f"{kind}.{name}.") for name in names} for kind in range(COARSE + 1)
        )

    def class_frequencies(self, level: Level, chroma: bool, wants_means: bool = True) -> tuple[Array, Array]:
        """What is predicted of the units of a level before their classes are decoded.

        Args:
            level: that they are of.
            chroma: whether it is about its chroma.
            wants_means: whether the expected details are wanted, which are the larger part.

        Returns:
            Frequencies of the classes, ``(9, units)`` uint16 with a sum of 2^16, and expected details of the units in
            steps, ``(4 or 8 · 3, units)``; none of these where they are not wanted.
        """
        network = pyramid_features.CHROMA_CLASSES if chroma else pyramid_features.LUMA_CLASSES
        features = pyramid_features.chroma_class_features if chroma else pyramid_features.luma_class_features
        count = level.units[0] * level.units[1]
        frequencies = arrays.mapped_zeros((levels.CLASSES, count), np.uint16)
        means = np.empty((network.outputs if wants_means else 0, count))

        def strip(rows: slice) -> None:
            values, contrast = features(level, rows, scratch=self.scratch)
            results = self.networks[level.kind][network.name](values, self.scratch)
            units = slice(rows.start * level.units[1], rows.stop * level.units[1])
            frequencies[:, units] = frequencies_of(results[network.outputs :])
            means[:, units] = _means(results[: len(means)], contrast)

        threads.mapped(strip, _strips(level))
        return frequencies, means

    def moments(self, level: Level, number: int) -> Moments:
        """Moments of the details of a stage.

        Args:
            level: that they are of, with all that is decoded before them.
            number: of the stage.

        Returns:
            Of band after band of colour after colour, phase after phase of a chroma stage, positions row by row.
        """
        chroma = number in levels.CHROMA_STAGES
        network = pyramid_features.CHROMA[number - 4] if chroma else pyramid_features.LUMA[number]
        phases, most = levels.stage_phases(number), levels.limit(level.number)
        counts = [levels.positions(level, phase, level.all_units) for phase in phases]
        mean = NarrowArray((network.outputs, sum(counts)))
        deviation = arrays.mapped_zeros(mean.values.shape, np.int16)

        def strip(item: tuple[int, slice]) -> None:
            place, rows = item
            values, contrast = pyramid_features.stage_features(level, number, phases[place], rows, scratch=self.scratch)
            first = sum(counts[:place]) + levels.positions(level, phases[place], slice(0, rows.start))
            columns = slice(first, first + len(contrast))
            results = self.networks[level.kind][network.name](values, self.scratch)
            of_contrast = np.floor(octaves(contrast / UNIT) * OCTAVE)
            numbers = np.floor(results[network.outputs :] * (OCTAVE * 2.0**-integer_network.RESULT_BITS)) + of_contrast
            deviation[:, columns] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
            mean.put((slice(None), columns), np.clip(_means(results[: network.outputs], contrast), -most, most))

        threads.mapped(strip, list(product(range(len(phases)), _strips(level))))
        return Moments(mean.values.reshape(-1), deviation.reshape(-1))


def _strips(level: Level) -> list[slice]:
    """Rows of units, some hundred to some thousand units at a time, an even number of strips where there are many."""
    rows, columns = level.units
    pairs = -(-rows * columns * threads.count() // (2 * _MOST_UNITS))
    step = max(1, -(-rows // (2 * pairs)), _FEWEST_UNITS // columns)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _means(results: Array, contrast: Array) -> Array:
    """Whole steps of results that are relative to the contrast."""
    means: Array = np.floor(results * contrast * 2.0**-integer_network.RESULT_BITS)
    return means


def descend(
    prior: PyramidPrior, shape: tuple[int, int], colours: int, noise_level: int, source: LatentSource
) -> PlaneRendering:
    """Take the weights of a plane from the root down.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        shape: height and width.
        colours: 3, or 1 where there is no chroma; then it is 0.
        noise_level: of the file.
        source: of classes and weights.
    """
    try:
        return _descended(prior, shape, colours, noise_level, source)
    finally:
        prior.scratch.release()


def _descended(
    prior: PyramidPrior, shape: tuple[int, int], colours: int, noise_level: int, source: LatentSource
) -> PlaneRendering:
    sizes = haar.sizes(shape)
    count = len(sizes) - 1
    root = root_moments(count, sizes[-1], colours, noise_level)
    weights = source.weights(StageId(count, 0), None, root)
    picture, classes, level = weights.reshape(1, colours, *sizes[-1]), None, None
    for number in range(count - 1, -1, -1):
        level = levels.new_level(number, np.array([noise_level]), picture, classes)
        del picture  # what is done with makes room: all the rest are small beside the finest level
        for chroma in (False, True)[: 1 + (colours == 3)]:
            _descend_half(prior, level, chroma, source)
        if number:
            picture, classes = level.refined(sizes[number]), level.classes
    finest = levels.without_classes(level) if level else picture[0]
    return PlaneRendering(finest, sizes[0], colours, noise_level)


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


def root_moments(count: int, size: tuple[int, int], colours: int, noise_level: int) -> Moments:
    """Moments of the root, the same for all pictures: mean 0 and a deviation per colour.

    Args:
        count: of levels.
        size: height and width of the root.
        colours: 1 or 3.
        noise_level: of the file.
    """
    # 2^levels · 150 / (noise deviation) in sixteenths of an octave; a noise level is one of those
    wanted = np.log2(np.array(_ROOT_DEVIATION[:colours]) / 63.75)
    numbers = np.clip(np.rint(wanted * OCTAVE) + OCTAVE * count + noise_level, LOWEST, HIGHEST) - LOWEST
    samples = size[0] * size[1]
    return Moments(np.zeros(colours * samples), np.repeat(numbers, samples).astype(np.int16))


def problem(prior: PyramidPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    if prior.kind != "image" or not prior.configuration_possible():
        return "its configuration is out of range"
    networks = product(range(COARSE + 1), pyramid_features.NETWORKS)
    shapes = {
        f"{kind}.{network.name}": (network.features, network.values, network.outputs, network.relative)
        for kind, network in networks
    }
    return integer_network.wrong_networks(prior.stored, shapes)
