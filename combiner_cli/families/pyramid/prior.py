"""Pyramid priors: the moments of every weight of a picture, predicted from the weights that are decoded before it.

A level of the pyramid is decoded in six stages: the luma details of four phases, then the chroma details of two times
two. Before the luma and before the chroma come the *energy classes* of the level's units, one of nine each, in an
entropy code whose probabilities are predicted as well: they tell how large the residuals are, roughly, so that what is
left is close to Gaussian. Small networks in whole numbers (:mod:`combiner_cli.stages.integer_network`) predict. With
noise variance s2 as the unit, a detail whose prior variance is t has the evidence N(mean, t + 1); the networks were
learned by maximising it, which minimises KL + squared error / (2 · s2). Details of a variance far under the noise are
pruned and cost nothing. Where an image is unlike what the networks were learned of, a file says which bands
of a stage have wider priors, and which of its details.

Everything that a decoder's structure depends on (classes, which details are pruned, information, the partition into
groups) is made of whole numbers here. That moments depend on what is decoded is therefore safe.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...container.header import Fields
from ...family import Decoded, Encoded, Family, Target, View
from ...signals.signal import Format, Kind, Signal
from ...stages import integer_network
from ...stages.class_stream import frequencies_of
from ...stages.convolution import ConvolutionNetwork
from ...stages.integer_network import IntegerNetwork, octaves
from ...stages.moments import COARSE, HIGHEST, LOWEST, OCTAVE, UNIT, Moments
from ...stages.prior import RANGES, StagewisePrior
from ...stages.shape import PICTURE_FIELDS, PictureShape
from ...system import arrays, threads
from ...system.arrays import NarrowArray
from .. import registry
from . import features, levels
from .decoder import UnitPredictions
from .filtering import filter as picture_filter
from .filtering.filter import PictureFilter
from .levels import Level, planes_of

if TYPE_CHECKING:
    from ...stages.encoding.rate_control import SearchOptions
    from ...stages.encoding.simulation import CostEstimate

Array = npt.NDArray[Any]

_FASTEST = 2  # efforts up to this one follow one path of candidates
_FEWEST_UNITS, _MOST_UNITS = 512, 1 << 12  # at once, by all threads together


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
        stored: tensors of the networks by ``level.network.tensor``, int16 and int32, and those of a filter, if there is
            one, by names that begin with ``filter.``.
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
        return registry.get("pyramid")

    @property
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""
        of_filter = (picture_filter.FIELD,) if self.filter else ()
        return (*super().fields, *PICTURE_FIELDS, *of_filter)

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        plain = {"kind": self.kind, "family": self.family.name, "size": self.size, "parts_from": self.parts_from}
        return plain | {name: list(getattr(self, name)) for name in RANGES}

    def noise_variance(self, noise_level: float) -> float:
        """The variance that a noise level stands for, on values in [-1, 1], between levels as well."""
        return levels.noise_variance(noise_level)

    def predicted_costs(self, signals: Sequence[Signal], noise_variance: float, most: float = math.inf) -> list[float]:
        """What coding images at a noise variance comes to; see :meth:`family.Prior.predicted_costs`."""
        from .encoder import predicted_cost

        del most  # a part of a simulation would not save much
        return [predicted_cost(self, signal, noise_variance) for signal in signals]

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
    def simulated(self) -> WeakKeyDictionary[Signal, dict[PictureShape, dict[int, list[CostEstimate]]]]:
        """What the planes of images that are in use come to, by the shape of the noise and the noise level."""
        return WeakKeyDictionary()

    @cached_property
    def networks(self) -> tuple[dict[str, IntegerNetwork], ...]:
        """The networks of each kind of level by name."""
        names = [network.name for network in features.NETWORKS]
        return tuple(
            {name: IntegerNetwork.among(self.stored, f"{kind}.{name}.") for name in names} for kind in range(COARSE + 1)
        )

    @cached_property
    def filter(self) -> PictureFilter | None:
        """What pictures are filtered by once they are decoded, if there is such a filter."""
        if len(self.stored_but_filter) == len(self.stored):
            return None
        return PictureFilter(ConvolutionNetwork.among(self.stored, picture_filter.PREFIX))

    @cached_property
    def stored_but_filter(self) -> dict[str, Array]:
        """The stored tensors of the networks that predict moments."""
        return {name: tensor for name, tensor in self.stored.items() if not name.startswith(picture_filter.PREFIX)}

    def unit_predictions(
        self, level: Level, chroma: bool, wants_means: bool = True
    ) -> Generator[UnitPredictions, None, None]:
        """What is predicted of the units of a level before their classes are decoded, some rows at a time, in order.

        Args:
            level: that they are of.
            chroma: whether it is about its chroma.
            wants_means: whether the expected details are wanted, which are the larger part.
        """
        network = features.class_network(chroma)
        means = network.outputs if wants_means else 0

        def strip(rows: slice) -> UnitPredictions:
            values, contrast = features.class_features(level, chroma, rows, self.scratch.take)
            results = self.networks[level.kind][network.name](values, self.scratch)
            frequencies = frequencies_of(results[network.outputs :]).astype(np.uint16)
            return UnitPredictions(rows, frequencies, _means(results[:means], contrast))

        return threads.streamed(strip, _strips(level))

    def moments(self, level: Level, number: int) -> Moments:
        """Moments of the details of a stage.

        Args:
            level: that they are of, with all that is decoded before them.
            number: of the stage.

        Returns:
            Of band after band of colour after colour, phase after phase of a chroma stage, positions row by row.
        """
        network = features.stage_network(number)
        phases, most = levels.stage_phases(number), levels.limit(level.number)
        counts = [levels.positions(level, phase, level.all_units) for phase in phases]
        mean = NarrowArray((network.outputs, sum(counts)))
        deviation = arrays.mapped_zeros(mean.values.shape, np.int16)
        noises = [level.noise(phase, level.all_units, number in levels.CHROMA_STAGES) for phase in phases]
        noise: Array | None = None
        if any(some is not None for some in noises):  # all or none are
            noise = np.concatenate([some for some in noises if some is not None])

        def strip(item: tuple[int, slice]) -> None:
            place, rows = item
            values, contrast = features.stage_features(level, number, phases[place], rows, self.scratch.take)
            first = sum(counts[:place]) + levels.positions(level, phases[place], slice(0, rows.start))
            columns = slice(first, first + len(contrast))
            results = self.networks[level.kind][network.name](values, self.scratch)
            of_contrast = np.floor(octaves(contrast / UNIT) * OCTAVE)
            numbers = np.floor(results[network.outputs :] * (OCTAVE * 2.0**-integer_network.RESULT_BITS)) + of_contrast
            if noise is not None:
                numbers -= noise[columns]
            deviation[:, columns] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
            mean.put((slice(None), columns), np.clip(_means(results[: network.outputs], contrast), -most, most))

        threads.mapped(strip, list(product(range(len(phases)), _strips(level))))
        of_bands = None if noise is None else np.tile(noise, network.outputs)
        return Moments(mean.values.reshape(-1), deviation.reshape(-1), noise=of_bands)


def _strips(level: Level) -> list[slice]:
    """Rows of units, some hundred to some thousand units at a time, an even number of strips where there are many."""
    rows, columns = level.units
    if rows * columns <= _FEWEST_UNITS:
        return [slice(0, rows)]
    pairs = -(-rows * columns * threads.count() // (2 * _MOST_UNITS))
    step = max(1, -(-rows // (2 * pairs)), _FEWEST_UNITS // columns)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _means(results: Array, contrast: Array) -> Array:
    """Whole steps of results that are relative to the contrast."""
    means: Array = np.floor(results * contrast * 2.0**-integer_network.RESULT_BITS)
    return means


def problem(prior: PyramidPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    if prior.kind != "image" or not prior.configuration_possible():
        return "its configuration is out of range"
    networks = product(range(COARSE + 1), features.NETWORKS)
    shapes = {
        f"{kind}.{network.name}": (network.features, network.values, network.outputs, network.relative)
        for kind, network in networks
    }
    of_filter = {name: tensor for name, tensor in prior.stored.items() if name not in prior.stored_but_filter}
    reason = picture_filter.problem(of_filter) if of_filter else None
    return reason or integer_network.wrong_networks(prior.stored_but_filter, shapes)
