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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DamagedFileError
from ...rec import groups
from ...rec.groups import Stage
from ...signals.signal import Kind

Array = npt.NDArray[Any]

OCTAVE = groups.INFORMATION_UNIT  # levels count 1/256 of an octave of variance
NOISE_LEVELS = 128
REACH = 3.0  # whitened values that a group of 8 bits can be relied on to reach
_HIGHEST_NOISE = {"image": -2 * OCTAVE, "sound": -8 * OCTAVE}  # at noise level 0: s2 on values in [-1, 1]
NOISE_STEP = OCTAVE // 8  # levels of variance between noise levels: an eighth of an octave, 0.38 dB


def variance_level(noise_level: int, kind: Kind) -> int:
    """Level of the noise variance of a file.

    Args:
        noise_level: as the file names it, from 0 to ``NOISE_LEVELS`` - 1; higher ones stand for less noise.
        kind: of the signal in the file.
    """
    return _HIGHEST_NOISE[kind] - NOISE_STEP * noise_level


def variance_of(level: Any) -> Any:
    """Variance of a level: 2 to the level/256, same shape.

    Args:
        level: a number, or an array of them.
    """
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
        """Number of classes."""
        return len(self.mean)

    def used(self, noise: int) -> npt.NDArray[np.int64]:
        """How many directions of each class carry information, ``(classes,)``.

        Args:
            noise: level of s2.
        """
        within = np.concatenate([[0], np.cumsum(self.levels > noise)])
        counts: npt.NDArray[np.int64] = np.diff(within[self.first])
        return counts


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
        within_tile = np.arange(int(self.counts.sum())) - np.repeat(starts, self.counts)
        levels = self.phase.levels[np.repeat(self.phase.first[self.classes], self.counts) + within_tile]
        information: npt.NDArray[np.int64] = (levels - self.noise) // 2
        return information

    def stage(self, number: int) -> Stage:
        """These latents as a stage of a signal.

        Args:
            number: of the phase.
        """
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
        weights: Array = projected @ self.phase.projection.T
        return weights

    def posterior(self, weights: Array, context: Array) -> tuple[Array, Array]:
        """Exact whitened posterior means and deviations, each ``(latents,)``.

        With prior variance t = v - s2 of a direction: mean = sqrt(t) · c / v, variance = s2 / v (Bishop, section 3.3).

        Args:
            weights: of the networks, seen under noise s2, ``(tiles, network latents)``.
            context: surroundings of the tiles, ``(tiles, context)``.
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


def pack_classes(classes: npt.NDArray[np.int64], bits: int) -> bytes:
    """Class numbers, most significant bit first, the last byte padded with zeros.

    Args:
        classes: of the tiles, ``(tiles,)``.
        bits: of each number.
    """
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits(((classes[:, None] >> shifts) & 1).astype(np.uint8).reshape(-1)).tobytes()


def class_bytes(tiles: int, bits: int) -> int:
    """Length of what :func:`pack_classes` returns.

    Args:
        tiles: number of them.
        bits: of each class number.
    """
    return -(-tiles * bits // 8)


def unpack_classes(data: bytes, tiles: int, count: int) -> npt.NDArray[np.int64]:
    """The inverse of :func:`pack_classes`, ``(tiles,)``.

    Args:
        data: as many bytes as the class numbers take.
        tiles: number of them.
        count: number of classes that the prior has.

    Raises:
        DamagedFileError: a class that the prior does not have.
    """
    classes = class_numbers(data, tiles, (count - 1).bit_length())
    if (classes >= count).any():
        raise DamagedFileError("the file names a class that its prior does not have; it is damaged")
    return classes


def class_numbers(data: bytes, tiles: int, bits: int) -> npt.NDArray[np.int64]:
    """The numbers that :func:`pack_classes` has packed, ``(tiles,)``, whether or not a prior has such classes.

    Args:
        data: as many bytes as the numbers take.
        tiles: number of them.
        bits: of each number.
    """
    stream = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[: tiles * bits].astype(np.int64).reshape(tiles, bits)
    numbers: npt.NDArray[np.int64] = (stream << np.arange(bits - 1, -1, -1)).sum(axis=1)
    return numbers


def quantised(directions: Array) -> npt.NDArray[np.int8]:
    """Directions as a prior stores them: every entry relative to the largest of its direction, in 127 steps.

    Args:
        directions: ``(directions, dimensions)``.
    """
    largest = np.abs(directions).max(axis=1, keepdims=True, initial=2.0**-30)
    whole: npt.NDArray[np.int8] = np.rint(directions * (127 / largest)).astype(np.int8)
    return whole


def unit(directions: Array) -> npt.NDArray[np.float64]:
    """The vectors of length 1 that directions stand for; the sums of squares of stored ones are exact.

    Args:
        directions: ``(directions, dimensions)`` of any type.
    """
    whole = directions.astype(np.float64)
    length = np.sqrt((whole**2).sum(axis=1, keepdims=True))
    vectors: npt.NDArray[np.float64] = whole / np.where(length > 0, length, 1)
    return vectors
