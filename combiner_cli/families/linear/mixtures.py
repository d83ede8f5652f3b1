"""Mixtures of Gaussians as the prior of a tile's weights, and their exact posteriors under Gaussian noise.

Every tile names one class of its phase. Given the class and the decoded surroundings, the weights are Gaussian:
mean = class mean + linear function of the surroundings, covariance = sum over directions of variance · direction ·
direction'. What is stored is the covariance of the data in a class. With noise variance s2 the prior variance of a
direction is max(variance - s2, 0), the fixed point of the closed-form update (mean of the posterior covariances plus
the outer products of the deviations) for a network without hidden layers; directions under s2 are pruned and cost
nothing. One stored mixture therefore serves many rates. Source of the update: Guo et al. 2023, equation 7, with
covariances in the place of variances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import family as identity
from ...errors import DamagedFileError
from ...rec import groups
from ...rec.groups import Stage
from ...signals.signal import Kind, Tiling, tiling
from .neighbourhood import Canvas, Ring, blank, phase_tiles, phases
from .network import FAMILY, Linear

Array = npt.NDArray[Any]

OCTAVE = groups.INFORMATION_UNIT  # levels count 1/256 of an octave of variance
NOISE_CODES = 128
REACH = 3.0  # whitened values that a group of 8 bits can be relied on to reach
RANGES = ("noise_codes", "rates", "errors")  # of a prior's configuration, at its lowest and its highest rate
_HIGHEST_NOISE = {"image": -2 * OCTAVE, "sound": -8 * OCTAVE}  # level of noise code 0: s2 on values in [-1, 1]
NOISE_STEP = OCTAVE // 8  # levels between noise codes: an eighth of an octave, 0.38 dB


def noise_level(code: int, kind: Kind) -> int:
    """Level of the noise variance that a file of a kind names by a code."""
    return _HIGHEST_NOISE[kind] - NOISE_STEP * code


def variance_of(level: Any) -> Any:
    """Variance of a level: 2 to the level/256."""
    return np.exp2(np.asarray(level, dtype=np.float64) / OCTAVE)


@dataclass(frozen=True, eq=False)
class PhaseMixture:
    """The mixture of one phase of tiles.

    Attributes:
        projection: the weights' learned matrix, orthonormal columns, ``(latents, dimensions)``.
        gain: projected weights per context value, ``(context, dimensions)``.
        mean: of the projected weights of each class where the context is 0, ``(classes, dimensions)``.
        first: place of each class's first direction and, last, the number of all, ``(classes + 1,)`` int64.
        directions: orthogonal within a class, by decreasing variance, ``(directions, dimensions)`` of any type; they
            stand for the vectors of length 1 that point the same way.
        levels: of the directions' variances, ``(directions,)`` int64.
    """

    projection: Array
    gain: Array
    mean: Array
    first: npt.NDArray[np.int64]
    directions: Array
    levels: npt.NDArray[np.int64]

    @property
    def classes(self) -> int:
        return len(self.mean)

    def used(self, noise: int) -> npt.NDArray[np.int64]:
        """How many directions of each class carry information at a noise level, ``(classes,)``."""
        within = np.concatenate([[0], np.cumsum(self.levels > noise)])
        found: npt.NDArray[np.int64] = np.diff(within[self.first])
        return found


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of tiles that lie one after another in a flat array.

    Attributes:
        phase: of the tiles.
        classes: of the tiles, ``(tiles,)`` int64.
        noise: level of s2.
    """

    phase: PhaseMixture
    classes: npt.NDArray[np.int64]
    noise: int

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of latents of each tile, ``(tiles,)``."""
        return self.phase.used(self.noise)[self.classes]

    def information(self) -> npt.NDArray[np.int64]:
        """Expected information in 1/256 bit, ``(latents,)``, by integer arithmetic: half the octaves over the noise."""
        starts = np.cumsum(self.counts) - self.counts
        own = np.arange(int(self.counts.sum())) - np.repeat(starts, self.counts)
        levels = self.phase.levels[np.repeat(self.phase.first[self.classes], self.counts) + own]
        information: npt.NDArray[np.int64] = (levels - self.noise) // 2
        return information

    def stage(self, number: int) -> Stage:
        """These latents as a stage of a signal."""
        return Stage(f"phase {number}", self.information())

    def by_class(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """For each class that occurs: its tiles ``(n,)``, the places of their latents ``(n, used)``, its directions
        ``(used, dimensions)`` and their variances ``(used,)``."""
        starts = np.cumsum(self.counts) - self.counts
        order = np.argsort(self.classes, kind="stable")
        bounds = np.searchsorted(self.classes[order], np.arange(self.phase.classes + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            tiles = order[bounds[number] : bounds[number + 1]]
            used = int(self.counts[tiles[0]])
            rows = slice(int(self.phase.first[number]), int(self.phase.first[number]) + used)
            places = starts[tiles][:, None] + np.arange(used)
            yield tiles, places, unit(self.phase.directions[rows]), variance_of(self.phase.levels[rows])

    def weights(self, z: Array, context: Array) -> Array:
        """Network weights of whitened latents.

        Args:
            z: ``(latents,)``.
            context: surroundings of the tiles, ``(tiles, context)``.

        Returns:
            ``(tiles, network latents)`` float64.
        """
        s2 = float(variance_of(self.noise))
        projected = context @ self.phase.gain + self.phase.mean[self.classes]
        for tiles, places, directions, variances in self.by_class():
            projected[tiles] += (z[places] * np.sqrt(variances - s2)) @ directions
        found: Array = projected @ self.phase.projection.T
        return found

    def posterior(self, weights: Array, context: Array) -> tuple[Array, Array]:
        """Exact whitened posterior means and deviations, each ``(latents,)``, of network weights seen under noise s2.

        With prior variance t = v - s2 of a direction: mean = sqrt(t) · c / v, variance = s2 / v (Bishop, section 3.3).
        """
        s2 = float(variance_of(self.noise))
        residual = weights @ self.phase.projection - context @ self.phase.gain - self.phase.mean[self.classes]
        mean, deviation = np.zeros((2, int(self.counts.sum())))
        for tiles, places, directions, variances in self.by_class():
            mean[places] = (residual[tiles] @ directions.T) * (np.sqrt(variances - s2) / variances)
            deviation[places] = np.sqrt(s2 / variances)
        return mean, deviation


def class_costs(residual: Array, outside: Array, phase: PhaseMixture, noise: int) -> Array:
    """Negative log evidence of tiles under each class, up to a constant: KL + squared error / (2 · s2), in nats.

    With the exact posterior the evidence lower bound is tight: per direction of variance v over the noise, half of
    log(v / s2) + c² / v; for everything else half of c² / s2. A posterior mean farther than ``REACH`` prior deviations
    from the prior's is taken as the error that it will be: candidates out there are too rare to be found.

    Args:
        residual: projected weights less the context's part of their mean, ``(tiles, dimensions)``.
        outside: squared length of the weights beyond the projection, ``(tiles,)``.
        phase: the classes.
        noise: level of s2.

    Returns:
        ``(tiles, classes)``, of the residual's type.
    """
    kind = residual.dtype
    s2 = float(variance_of(noise))
    distance = (residual**2).sum(axis=1)[:, None] - 2 * residual @ phase.mean.T.astype(kind)
    costs = (distance + (phase.mean**2).sum(axis=1).astype(kind) + outside[:, None]) / s2  # (tiles, classes)
    for number, used in enumerate(phase.used(noise)):
        rows = slice(int(phase.first[number]), int(phase.first[number]) + int(used))
        saved = 1 / s2 - 1 / variance_of(phase.levels[rows])
        scaled = (unit(phase.directions[rows]) * np.sqrt(saved)[:, None]).astype(kind)  # (used, dimensions)
        part = residual @ scaled.T - scaled @ phase.mean[number].astype(kind)  # (tiles, used)
        octaves = float((phase.levels[rows] - noise).sum()) / OCTAVE
        costs[:, number] += octaves * math.log(2) - np.einsum("td,td->t", part, part)
        # what is beyond the reach of the candidates stays as an error
        ratio = variance_of(phase.levels[rows] - noise)  # v / s2
        beyond = np.maximum(np.abs(part) - (REACH * np.sqrt(ratio)).astype(kind), 0)
        costs[:, number] += np.einsum("td,td,d->t", beyond, beyond, (1 - 1 / ratio).astype(kind))
    halved: Array = 0.5 * costs
    return halved


@dataclass(frozen=True, eq=False)
class MixturePrior(identity.ForManyRates):
    """A mixture prior over the weights of linear networks, one mixture per phase of tiles.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals it was learned from.
        network: shape of the network.
        reach: width in samples of the surroundings that a tile's mean depends on.
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits over points at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
        size: longer side of a typical signal of learning, in samples.
        projection: ``(phases, latents, dimensions)`` float16.
        context_projection: ``(phases, context, kept)`` float16.
        context_gain: ``(phases, kept, dimensions)`` float16.
        mean: ``(phases, classes, dimensions)`` float32.
        counts: directions of each class, ``(phases, classes)`` int32.
        directions: of all phases and classes, one after another, ``(directions, dimensions)`` int8; they stand for the
            vectors of length 1 that point the same way.
        levels: ``(directions,)`` int16.
        family: name of the family.
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
    family: str = FAMILY

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
    def bits_per_point(self) -> float:
        """The prior's own rate, in the middle of those that it was learned for."""
        return math.sqrt(self.rates[0] * self.rates[1])

    @cached_property
    def phases(self) -> tuple[PhaseMixture, ...]:
        """The mixtures of all phases, float64."""
        bounds = np.concatenate([[0], np.cumsum(self.counts.astype(np.int64))])
        classes = self.counts.shape[1]
        found = []
        for number in range(len(self.counts)):
            own = bounds[number * classes : (number + 1) * classes + 1]
            rows = slice(int(own[0]), int(own[-1]))
            gain = self.context_projection[number].astype(np.float64) @ self.context_gain[number].astype(np.float64)
            found.append(
                PhaseMixture(
                    self.projection[number].astype(np.float64),
                    gain,
                    self.mean[number].astype(np.float64),
                    own - own[0],
                    self.directions[rows],
                    self.levels[rows].astype(np.int64),
                )
            )
        return tuple(found)

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """Tiles of a signal, one network each."""
        return tiling(shape, channels, self.network.extent, self.network.outputs)

    def latents(self, layout: Tiling, classes: npt.NDArray[np.int64], noise: int) -> tuple[Latents, ...]:
        """The latents of each phase's tiles, given the classes ``(tiles,)`` of all tiles of all planes."""
        return tuple(
            Latents(mixture, classes[stage_tiles(layout, number)], noise) for number, mixture in enumerate(self.phases)
        )

    def stages(self, layout: Tiling, classes: npt.NDArray[np.int64], noise: int) -> tuple[Stage, ...]:
        """The stages of a signal: the phases, one after another."""
        return tuple(latents.stage(number) for number, latents in enumerate(self.latents(layout, classes, noise)))

    def network_weights(
        self, z: Sequence[Array], layout: Tiling, classes: npt.NDArray[np.int64], noise: int
    ) -> npt.NDArray[np.float64]:
        """Weights of all tiles' networks, ``(tiles, network latents)``, from the whitened latents of all stages."""
        canvas = self.canvas(layout)
        weights = np.empty((layout.tiles, self.network.latents))
        for number, latents in enumerate(self.latents(layout, classes, noise)):
            found = latents.weights(z[number], canvas.context(number))
            weights[stage_tiles(layout, number)] = found
            self.show(canvas, number, found)
        return weights

    def canvas(self, layout: Tiling) -> Canvas:
        """An empty canvas for a signal."""
        return blank(self.ring, layout.counts, len(layout.planes), self.network.outputs, np.float64)

    def show(self, canvas: Canvas, phase: int, weights: Array) -> None:
        """Render a phase's networks ``(planes · tiles, network latents)`` onto the canvas, clipped to [-1, 1]."""
        values = np.clip(self.network.forward(weights), -1, 1)
        planes = len(canvas.values)
        canvas.place(phase, values.reshape(planes, len(values) // planes, *values.shape[1:]))

    def render(self, weights: npt.NDArray[np.float64], scale: int = 1) -> npt.NDArray[np.float64]:
        """Values of tiles from their weights, ``(tiles, outputs, points)``; see :meth:`Linear.forward`."""
        values: npt.NDArray[np.float64] = self.network.forward(weights, scale)
        return values

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = {"kind": self.kind, "family": self.family, "reach": self.reach, "size": self.size}
        learned = {name: list(getattr(self, name)) for name in RANGES}
        return {"network": {**asdict(self.network), "extent": list(self.network.extent)}, **fields, **learned}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""
        names = ("projection", "context_projection", "context_gain", "mean", "counts", "directions", "levels")
        return {name: getattr(self, name) for name in names}


def stage_tiles(layout: Tiling, phase: int) -> npt.NDArray[np.int64]:
    """Numbers of the tiles of a phase among those of all planes, plane after plane: ``(tiles,)``."""
    own = phase_tiles(layout.counts, phase)
    per_plane = math.prod(layout.counts)
    return (np.arange(len(layout.planes))[:, None] * per_plane + own).reshape(-1)


def pack_classes(classes: npt.NDArray[np.int64], bits: int) -> bytes:
    """Class numbers of ``bits`` bits each, most significant bit first, the last byte padded with zeros."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits(((classes[:, None] >> shifts) & 1).astype(np.uint8).reshape(-1)).tobytes()


def class_bytes(tiles: int, bits: int) -> int:
    """Length of what :func:`pack_classes` returns."""
    return -(-tiles * bits // 8)


def unpack_classes(data: bytes, tiles: int, count: int) -> npt.NDArray[np.int64]:
    """The inverse of :func:`pack_classes` for one of ``count`` classes a tile, ``(tiles,)``.

    Raises:
        DamagedFileError: a class that the prior does not have.
    """
    classes = class_numbers(data, tiles, (count - 1).bit_length())
    if (classes >= count).any():
        raise DamagedFileError("the file names a class that its prior does not have; it is damaged")
    return classes


def class_numbers(data: bytes, tiles: int, bits: int) -> npt.NDArray[np.int64]:
    """Numbers of ``bits`` bits each, most significant bit first, ``(tiles,)``: classes, if the prior has them all."""
    stream = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: tiles * bits].astype(np.int64).reshape(tiles, bits)
    numbers: npt.NDArray[np.int64] = (stream << np.arange(bits - 1, -1, -1)).sum(axis=1)
    return numbers


def problem(prior: MixturePrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    network = prior.network
    axes = {"image": 2, "sound": 1}.get(prior.kind) if isinstance(prior.kind, str) else None
    whole = (*network.extent, network.outputs, prior.reach)
    possible = (
        prior.family == FAMILY
        and axes == len(network.extent)
        and all(type(number) is int and 0 < number <= 2**16 for number in whole)
        and prior.reach <= min(network.extent)
        and type(prior.size) is int
        and 0 < prior.size < 2**32
        and network.outputs in ((1, 3) if prior.kind == "image" else (1,))
        and network.latents <= 2**13
        and all(len(getattr(prior, name)) == 2 for name in RANGES)
        and all(type(code) is int and 0 <= code < NOISE_CODES for code in prior.noise_codes)
        and all(type(value) is float and 0 < value < 64 for value in (*prior.rates, *prior.errors))
        and prior.noise_codes[0] < prior.noise_codes[1]
        and prior.rates[0] < prior.rates[1]
    )
    if not possible:
        return "its configuration is out of range"
    return _wrong_tensor(prior, phases(len(network.extent)))


def quantised(directions: Array) -> npt.NDArray[np.int8]:
    """Directions as a prior stores them: every entry relative to the largest of its direction, in 127 steps."""
    largest = np.abs(directions).max(axis=1, keepdims=True, initial=2.0**-30)
    found: npt.NDArray[np.int8] = np.rint(directions * (127 / largest)).astype(np.int8)
    return found


def unit(directions: Array) -> npt.NDArray[np.float64]:
    """The vectors of length 1 that directions stand for; the sums of squares of stored ones are exact."""
    whole = directions.astype(np.float64)
    length = np.sqrt((whole**2).sum(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = whole / np.where(length > 0, length, 1)
    return found


def _wrong_tensor(prior: MixturePrior, count: int) -> str | None:
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
    for name, (kind, shape) in shapes.items():
        tensor = getattr(prior, name)
        if tensor.shape != shape or tensor.dtype != kind or not np.isfinite(tensor).all():
            return f"its {name} has a wrong shape, type or value"
    if classes < 1 or (prior.counts < 0).any() or (prior.counts > dimensions).any():
        return "its counts are out of range"
    owner = np.repeat(np.arange(prior.counts.size), prior.counts.reshape(-1))
    if ((np.diff(prior.levels.astype(np.int64)) > 0) & (np.diff(owner) == 0)).any():
        return "its levels do not decrease"
    return None
