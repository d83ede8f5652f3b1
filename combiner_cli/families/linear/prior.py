"""Priors of the linear family: one mixture of Gaussians for each phase of tiles, for a range of rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...container.header import Fields
from ...errors import DamagedFileError
from ...family import Decoded, Encoded, EncodingOptions, Family, Report, Target, View
from ...rec import candidates
from ...rec.groups import Stage
from ...signals.kinds import KINDS
from ...signals.signal import Format, Kind, Signal, Tiling, tiling
from ...stages.prior import RANGES, MultiRatePrior
from .. import registry
from ..siren import tiles
from . import mixtures
from .mixtures import NOISE, Latents, PhaseMixture, variance_level, variance_of
from .neighbourhood import Canvas, Ring, blank, phases, stage_tiles
from .network import Linear

Array = npt.NDArray[Any]

NAME = "linear"

_LARGEST_EXTENT = 2**16  # samples of a tile along an axis
_LARGEST_SIZE = 2**32 - 1
_MOST_LATENTS = 2**13  # of a network
_RATE_STEP = 1.12  # factor on the rate from a quality to the next
_USUAL_QUALITY = 5  # that of the prior's own rate
_MOST_TOGETHER = 32  # signals
_SMALL_SIGNAL = 2**12  # points up to which signals gain from being encoded together
_POINTS_TOGETHER = 2**15


@dataclass(frozen=True, eq=False)
class MixturePrior(MultiRatePrior):
    """A mixture prior over the weights of linear networks, one mixture per phase of tiles.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals it was learned from.
        network: shape of the network.
        reach: width in samples of the surroundings that a tile's mean depends on.
        noise_codes: noise levels of the lowest and the highest rate that it was learned for.
        rates: bits over points at these levels, average of the signals of learning.
        errors: mean squared error at these levels on values in [-1, 1], geometric average of the signals of learning.
        size: longer side of a typical signal of learning, in samples.
        projection: ``(phases, latents, dimensions)`` float16.
        context_projection: ``(phases, context, kept)`` float16.
        context_gain: ``(phases, kept, dimensions)`` float16.
        mean: ``(phases, classes, dimensions)`` float32.
        counts: directions of each class, ``(phases, classes)`` int32.
        directions: of all phases and classes, one after another, ``(directions, dimensions)`` int8; they stand for the
            vectors of length 1 that point the same way.
        levels: ``(directions,)`` int16.
    """

    name: str
    kind: Kind
    network: Linear
    reach: int
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]
    size: int
    projection: npt.NDArray[np.float16]
    context_projection: npt.NDArray[np.float16]
    context_gain: npt.NDArray[np.float16]
    mean: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int32]
    directions: npt.NDArray[np.int8]
    levels: npt.NDArray[np.int16]

    @property
    def family(self) -> Family:
        """The linear family."""
        return registry.get(NAME)

    @property
    def fields(self) -> Fields:
        """The noise level."""
        return (NOISE,)

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = {"kind": self.kind, "family": NAME, "reach": self.reach, "size": self.size}
        learned = {name: list(getattr(self, name)) for name in RANGES}
        return {"network": {**asdict(self.network), "extent": list(self.network.extent)}, **fields, **learned}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""
        names = ("projection", "context_projection", "context_gain", "mean", "counts", "directions", "levels")
        return {name: getattr(self, name) for name in names}

    def rate_at(self, quality: int) -> float:
        """Bits per point at a quality from 1 to 10: the prior's own rate at quality 5, and 12 % more with each step."""
        return self.bits_per_point * _RATE_STEP ** (quality - _USUAL_QUALITY)

    def noise_variance(self, noise_level: float) -> float:
        """The variance that a noise level stands for, on values in [-1, 1], between levels as well."""
        none, one = (float(variance_of(variance_level(level, self.kind))) for level in (0, 1))
        return float(none * (one / none) ** noise_level)

    def predicted_costs(self, signals: Sequence[Signal], noise_variance: float, most: float = math.inf) -> list[float]:
        """What coding signals at a noise variance comes to; see :meth:`family.Prior.predicted_costs`."""
        from .encoder import predicted_cost

        return [predicted_cost(self, signal, noise_variance, most) for signal in signals]

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """Points of whole tiles."""
        layout = self.tiling(signal_format.shape, signal_format.channels)
        return layout.tiles * math.prod(length * scale for length in layout.extent)

    def signals_together(self, signal_format: Format, options: EncodingOptions) -> int:
        """How many small signals to encode in one computation, which does not change their bytes."""
        del options  # whatever they are
        if signal_format.points > _SMALL_SIGNAL:
            return 1
        return min(_MOST_TOGETHER, _POINTS_TOGETHER // signal_format.points)

    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode signals of one format in one computation; see :func:`.encoder.encode`."""
        from .encoder import encode

        return encode(self, signals, target, options, report)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file; of a damaged one, classes that are missing are the first, and unknown ones the last.

        Raises:
            DamagedFileError: the payload does not fit the size of the signal.
        """
        numbers, payload = file.numbers(self.fields)
        layout = self.tiling(file.format.shape, file.format.channels)
        length = mixtures.class_bytes(layout.tiles, self.class_bits)
        classes = self._classes(bytes(payload[:length]), layout, file.intact)
        indices = tiles.unpack_indices(payload[length:])
        (level,) = numbers[NOISE.name]
        noise = variance_level(level, self.kind)
        chaining = candidates.chaining_of(len(indices), long=True)
        counts, latents = tiles.look_up(self.stages(layout, classes, noise), indices, chaining, self.key)

        def render() -> npt.NDArray[np.float64]:
            weights: npt.NDArray[np.float64] = self.network_weights(latents, layout, classes, noise)
            return self.network.forward(weights, view.scale)

        values = tiles.RenderedTiles(layout, file.format.channels, view.scale, render)
        decoded = Decoded(
            tiles.format_shown(file.format, view),
            values,
            counts,
            length,
            level,
            noise_variance=float(variance_of(noise)),
        )
        return replace(decoded, latents=np.concatenate(latents)) if view.keep_latents else decoded

    def _classes(self, data: bytes, layout: Tiling, intact: bool) -> npt.NDArray[np.int64]:
        """The classes of all tiles, from the beginning of the payload.

        Raises:
            DamagedFileError: there are too few of them, or the prior has not all of them, in a file that is intact.
        """
        length = mixtures.class_bytes(layout.tiles, self.class_bits)
        if not intact:
            numbers = mixtures.class_numbers(data.ljust(length, b"\0"), layout.tiles, self.class_bits)
            return np.minimum(numbers, self.classes - 1)
        if len(data) < length:
            raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
        return mixtures.unpack_classes(data, layout.tiles, self.classes)

    @property
    def classes(self) -> int:
        """Number of classes of a phase."""
        return int(self.mean.shape[1])

    @property
    def class_bits(self) -> int:
        """Bits of the number of a class."""
        return (self.classes - 1).bit_length()

    @property
    def ring(self) -> Ring:
        """The surroundings of a tile."""
        return Ring(self.network.extent, self.reach)

    @property
    def phases(self) -> Iterator[PhaseMixture]:
        """The mixtures of all phases, float64, each made when it is first come to."""
        for number in range(len(self.counts)):
            if number not in self._phases:
                self._phases[number] = self._phase(number)
            yield self._phases[number]

    @cached_property
    def _phases(self) -> dict[int, PhaseMixture]:
        """The mixtures that are made so far, by number of the phase."""
        return {}

    def _phase(self, number: int) -> PhaseMixture:
        bounds = np.concatenate([[0], np.cumsum(self.counts.astype(np.int64))])
        first = bounds[number * self.classes : (number + 1) * self.classes + 1]
        rows = slice(int(first[0]), int(first[-1]))
        return PhaseMixture(
            self.projection[number].astype(np.float64),
            self.context_projection[number].astype(np.float64) @ self.context_gain[number].astype(np.float64),
            self.mean[number].astype(np.float64),
            first - first[0],
            self.directions[rows],
            self.levels[rows].astype(np.int64),
        )

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """Tiles of a signal, one network each.

        Args:
            shape: of the signal.
            channels: of the signal.
        """
        return tiling(shape, channels, self.network.extent, self.network.outputs)

    def latents(self, layout: Tiling, classes: npt.NDArray[np.int64], noise: int) -> tuple[Latents, ...]:
        """The latents of each phase's tiles.

        Args:
            layout: tiles of the signal.
            classes: of all tiles of all planes, ``(tiles,)``.
            noise: level of the noise variance.
        """
        return tuple(
            Latents(mixture, classes[stage_tiles(layout, number)], noise) for number, mixture in enumerate(self.phases)
        )

    def stages(self, layout: Tiling, classes: npt.NDArray[np.int64], noise: int) -> tuple[Stage, ...]:
        """The stages of a signal: the phases, one after another.

        Args:
            layout, classes, noise: as for :meth:`latents`.
        """
        return tuple(latents.stage(number) for number, latents in enumerate(self.latents(layout, classes, noise)))

    def network_weights(
        self, z: Sequence[Array], layout: Tiling, classes: npt.NDArray[np.int64], noise: int
    ) -> npt.NDArray[np.float64]:
        """Weights of all tiles' networks, ``(tiles, network latents)``.

        Args:
            z: whitened latents of each stage, ``(latents of the stage,)``.
            layout, classes, noise: as for :meth:`latents`.
        """
        canvas = self.canvas(layout)
        weights = np.empty((layout.tiles, self.network.latents))
        for number, latents in enumerate(self.latents(layout, classes, noise)):
            of_phase = latents.weights(z[number], canvas.context(number))
            weights[stage_tiles(layout, number)] = of_phase
            self.show(canvas, number, of_phase)
        return weights

    def canvas(self, layout: Tiling) -> Canvas:
        """An empty canvas for a signal.

        Args:
            layout: tiles of the signal.
        """
        return blank(self.ring, layout.counts, len(layout.planes), self.network.outputs, np.float64)

    def show(self, canvas: Canvas, phase: int, weights: Array) -> None:
        """Render a phase's networks onto the canvas, clipped to [-1, 1].

        Args:
            canvas: changed in place.
            phase: which.
            weights: ``(planes · tiles of the phase, network latents)``.
        """
        values = np.clip(self.network.forward(weights), -1, 1)
        planes = len(canvas.values)
        canvas.place(phase, values.reshape(planes, len(values) // planes, *values.shape[1:]))


def problem(prior: MixturePrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``.

    Args:
        prior: of any values at all.
    """
    network = prior.network
    whole = (*network.extent, network.outputs, prior.reach)
    possible = (
        prior.kind in list(KINDS)
        and KINDS[prior.kind].axes == len(network.extent)
        and all(type(number) is int and 0 < number <= _LARGEST_EXTENT for number in whole)
        and prior.reach <= min(network.extent)
        and type(prior.size) is int
        and 0 < prior.size <= _LARGEST_SIZE
        and network.outputs in ((1, 3) if prior.kind == "image" else (1,))
        and network.latents <= _MOST_LATENTS
        and prior.ranges_possible(NOISE.largest)
    )
    if not possible:
        return "its configuration is out of range"
    return _wrong_tensor(prior, phases(len(network.extent)))


def _is_finite(tensor: Array) -> bool:
    """Whether no value of a tensor is infinite or none at all, as whole numbers never are."""
    return np.issubdtype(tensor.dtype, np.integer) or bool(np.isfinite(tensor).all())


def _wrong_tensor(prior: MixturePrior, count: int) -> str | None:
    """Why the tensors of a prior for so many phases cannot work, or ``None``."""
    if prior.counts.dtype != np.int32:  # or else they have no sum
        return "its counts have a wrong type"
    context = prior.network.outputs * prior.ring.size
    dimensions, kept, classes = prior.projection.shape[-1], prior.context_projection.shape[-1], prior.mean.shape[1]
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "projection": (np.float16, (count, prior.network.latents, dimensions)),
        "context_projection": (np.float16, (count, context, kept)),
        "context_gain": (np.float16, (count, kept, dimensions)),
        "mean": (np.float32, (count, classes, dimensions)),
        "counts": (np.int32, (count, classes)),
        "directions": (np.int8, (int(prior.counts.sum()), dimensions)),
        "levels": (np.int16, (int(prior.counts.sum()),)),
    }
    for name, (number_type, shape) in shapes.items():
        tensor = getattr(prior, name)
        if tensor.shape != shape or tensor.dtype != number_type or not _is_finite(tensor):
            return f"its {name} has a wrong shape, type or value"
    if classes < 1 or (prior.counts < 0).any() or (prior.counts > dimensions).any():
        return "its counts are out of range"
    owner = np.repeat(np.arange(prior.counts.size), prior.counts.reshape(-1))
    if ((np.diff(prior.levels.astype(np.int64)) > 0) & (np.diff(owner) == 0)).any():
        return "its levels do not decrease"
    return None
