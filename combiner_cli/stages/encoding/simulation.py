"""What coding a signal at a noise level comes to, found out without the search for candidates.

The posterior of a weight is exact: under noise of variance 1 a weight c with prior mean m and variance t has the
posterior mean m + (c − m) · t / (t + 1) and variance t / (t + 1) (Bishop, "Pattern recognition and machine learning",
2006, section 3.3). A simulation takes a sample of it in the place of a candidate, and goes on as a decoder does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ...container.file import length_around
from ...container.header import Numbers
from ...signals.signal import Format
from ...system import arrays
from ..allocation import DENSITIES, density_number
from ..class_stream import SymbolCost
from ..moments import CANDIDATE_BITS, COARSE, Moments, StageId, in_deviations
from ..shape import SHAPED, PictureShape, SoundShape
from ..widening import exchange_widening, widenings_of

if TYPE_CHECKING:
    from ..prior import MultiRatePrior
    from .encoder import CodedSignal, Writer

Array = npt.NDArray[Any]
Shape = PictureShape | SoundShape

REACH = 3.3  # prior deviations that candidates can be relied on to reach
LEAST_REACH, REACH_PER_BIT, MOST_REACH = 3.0, 0.3, 4.2  # what they reach as a rule, by the information of a weight
_SIMULATION_SEED = 1
_LATENTS_AT_ONCE = 1 << 20  # that are looked at together


class Coder(Protocol):
    """What an encoder does with the classes and weights of a signal: count what they take, or put them into a file.

    Attributes:
        symbols: where the symbols of the stream of classes go.
        weighted_error: squared errors of all weights so far, each over the variance of its noise.
    """

    @property
    def symbols(self) -> SymbolCost: ...

    @property
    def weighted_error(self) -> float: ...

    def weights(self, stage: StageId, moments: Moments, true: Array, bands: int = 1) -> Array:
        """Code the weights of the next stage.

        Args:
            stage: which one it is.
            moments: of the weights; they may be changed.
            true: the weights in units of the noise's deviation, ``(latents,)``.
            bands: of the weights, one after another, of equally many weights.

        Returns:
            What a decoder will have, in whole steps, ``(latents,)``.
        """


@dataclass(frozen=True, eq=False)
class CostEstimate:
    """What coding a signal, or a part of one, at a noise level will come to.

    Attributes:
        bits: KL(posterior, prior) of all latents.
        class_bits: of the stream of classes.
        information: expected information of the stages of each density, in 1/256 bit, ``(8,)``.
        squared_error: sum over all samples, on values in [-1, 1]; where the noise has a shape, over all weights, each
            error over the factor of its noise.
    """

    bits: float
    class_bits: float
    information: Array
    squared_error: float

    @staticmethod
    def total(parts: Iterable[CostEstimate], factor: float = 1.0) -> CostEstimate:
        """The cost of several parts together, times a factor where they stand for others too."""
        parts = list(parts)
        return CostEstimate(
            factor * sum(part.bits for part in parts),
            factor * sum(part.class_bits for part in parts),
            factor * sum((part.information for part in parts), np.zeros(DENSITIES)),
            factor * sum(part.squared_error for part in parts),
        )


@dataclass(eq=False)
class SimulatedCoder:
    """Samples of the posterior in the place of candidates.

    Attributes:
        symbols: counts the bits of the stream of classes.
        bits: KL(posterior, prior) of all latents so far.
        information: expected information so far of the stages of each density, in 1/256 bit.
        weighted_error: squared errors of all weights so far, each over the variance of its noise.
        generator: of the samples.
    """

    symbols: SymbolCost = field(default_factory=SymbolCost)
    bits: float = 0.0
    weighted_error: float = 0.0
    information: Array = field(default_factory=lambda: np.zeros(DENSITIES))
    generator: np.random.Generator = field(
        default_factory=lambda: np.random.Generator(np.random.Philox(_SIMULATION_SEED))
    )

    def weights(self, stage: StageId, moments: Moments, true: Array, bands: int = 1) -> Array:
        """Code the weights of the next stage; see :class:`Coder`."""
        widenings = widenings_of(moments, bands, true, REACH)
        for deviation, widening in zip(moments.deviation.reshape(bands, -1), widenings, strict=True):
            exchange_widening(self.symbols, deviation, widening)
        self.information[density_number(stage)] += float(moments.total_information())
        weights = moments.mean
        for some in arrays.blocks(len(true), _LATENTS_AT_ONCE):
            coded = some.start + np.flatnonzero(moments.deviation[some] >= 0)
            weights = moments.add(weights, coded, self._drawn(stage, *posterior(moments, true, coded)))
        self.weighted_error += squared_over_noise(moments, true, weights)
        return weights

    def _drawn(self, stage: StageId, mean: Array, deviation: Array) -> Array:
        """A sample of a whitened posterior, whose divergence is counted."""
        if stage.level < COARSE:  # in coarse levels nothing is too far away
            reach = np.minimum(LEAST_REACH - REACH_PER_BIT * np.log2(deviation), MOST_REACH)
            mean = np.clip(mean, -reach, reach)
        drawn = mean + deviation * self.generator.standard_normal(len(mean), dtype=np.float32)
        self.bits += float((0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)).sum()) / math.log(2)
        rounded: Array = np.rint(drawn * 2.0**CANDIDATE_BITS) * 2.0**-CANDIDATE_BITS
        return rounded

    def cost(self, squared_error: float) -> CostEstimate:
        """What all that was coded comes to, given the error that is left."""
        return CostEstimate(self.bits, self.symbols.bits, self.information, squared_error)


def posterior(moments: Moments, true: Array, coded: npt.NDArray[np.integer]) -> tuple[Array, Array]:
    """The exact posterior of weights of a part of a stage: whitened means and deviations, ``(coded,)``.

    Args:
        moments: of the part.
        true: the weights in units of the noise's deviation, ``(latents,)``.
        coded: numbers of latents that are coded.
    """
    prior, left = moments.deviations(coded), moments.variance_left(coded)
    residual = moments.over_noise(true[coded] - in_deviations(moments.mean[coded]), coded)
    evidence = left + prior**2
    return residual * prior / evidence, np.sqrt(left / evidence)


def squared_over_noise(moments: Moments, true: Array, weights: Array) -> float:
    """Squared errors of the weights of a stage, each over the variance of its noise.

    Args:
        moments: of the stage.
        true: the weights in units of the base noise's deviation, ``(latents,)``.
        weights: what a decoder will have, in whole steps, ``(latents,)``.
    """
    return sum(
        float((moments.over_noise(true[some] - in_deviations(weights[some]), some) ** 2).sum())
        for some in arrays.blocks(len(true), _LATENTS_AT_ONCE)
    )


@dataclass(frozen=True)
class NoiseGrid:
    """The noise levels that signals of a kind can be coded at.

    Attributes:
        lowest: of all, with the most noise; a file holds how far its level is above.
        highest: of all.
        middle: where to begin if nothing is known.
        octaves: of variance from a level to the next.
        farthest: levels that a signal's is away at most from the usual one of its rate.
        attempts: files that are written at a level until one has the size that is wanted.
        adaptation: octaves of noise variance that a signal's level is coarser by for each octave of error more than a
            typical signal's; ``None`` where every signal pays the same for a dB.
        evenness: by how much of the octaves that a signal takes more than a typical one it is made smaller besides.
    """

    lowest: int
    highest: int
    middle: int
    octaves: float
    farthest: int
    attempts: int
    adaptation: float | None = None
    evenness: float = 0.0


class Simulation(ABC):
    """A signal whose weights are known, and what coding it comes to: simulated, or in earnest.

    The signal is analysed once. What was simulated is kept, so that one may ask again.

    Attributes:
        prior: of the weights.
        format: of the signal.
        noise: its shape.
        grid: the noise levels that there are.
        samples: number of samples that squared errors are sums over.
        numbers: of the header that do not depend on what is coded, those of the shape of the noise among them.
    """

    prior: MultiRatePrior
    format: Format
    noise: Shape
    grid: NoiseGrid
    samples: int
    numbers: Numbers

    @abstractmethod
    def parts(self, noise_level: int) -> Sequence[CostEstimate]:
        """What each plane or segment comes to at a noise level, in coding order."""

    def cost(self, noise_level: int) -> CostEstimate:
        """About what the whole signal comes to at a noise level."""
        return CostEstimate.total(self.parts(noise_level))

    @cached_property
    def unshaped(self) -> Self:
        """The same signal with noise without a shape; itself where that has none."""
        return self if self.noise.flat else self._with_noise(self.noise.none)

    @property
    def weaker(self) -> Self:
        """The same signal with half as much of a shape of the noise; without one in the end."""
        noise = self.noise.weaker
        return self.unshaped if noise.flat else self._with_noise(noise)

    @property
    def sample(self) -> Self:
        """Some of the signal, that stands for all of it where sizes are compared; itself where it is not large."""
        return self

    def about_as_large(self, noise_level: int) -> int:
        """A level with the signal's shape of the noise at which it may take as much as at another one without.

        Args:
            noise_level: without a shape.
        """
        return noise_level

    def _with_noise(self, noise: Shape) -> Self:
        """The same signal, analysed as it is, with another shape of the noise."""
        reshaped = copy(self)
        reshaped._take_shape(noise)
        return reshaped

    @abstractmethod
    def _take_shape(self, noise: Any) -> None:
        """Begin with a shape of the noise: nothing of what was simulated holds with it."""

    def lagrangian(self, noise_level: int) -> float:
        """Cost of the signal at a noise level in bits, the squared error counted as the bits that it is worth."""
        cost = self.cost(noise_level)
        return cost.bits + cost.class_bits + self.worth(noise_level)

    def worth(self, noise_level: int) -> float:
        """Bits that the squared error at a noise level is worth."""
        return self.cost(noise_level).squared_error / (2 * math.log(2) * self.noise_variance(noise_level))

    def noise_variance(self, noise_level: int) -> float:
        """The variance that a noise level stands for, on values in [-1, 1]."""
        return self.prior.noise_variance(noise_level)

    @abstractmethod
    def code(self, noise_level: int, writer: Writer) -> CodedSignal:
        """Code all planes or segments.

        Args:
            noise_level: of the file.
            writer: of an empty file.
        """

    def overhead(self, numbers: Numbers) -> int:
        """Bytes of a file besides its payload.

        Args:
            numbers: of the header, those that depend on what is coded.
        """
        return length_around(self.format, self.prior.fields, self.header(numbers))

    def header(self, numbers: Numbers) -> Numbers:
        """All numbers of the header of a file.

        Args:
            numbers: those that depend on what is coded.
        """
        shaped = SHAPED * (self.unshaped is not self)
        return {**self.numbers, **numbers, "noise": (numbers["noise"][0] + shaped,)}
