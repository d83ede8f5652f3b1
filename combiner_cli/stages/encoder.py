"""From the weights of stages to class numbers and group indices, whatever the weights are of.

The posterior of a weight is exact: under noise of variance 1 a weight c with prior mean m and variance t has the
posterior mean m + (c − m) · t / (t + 1) and variance t / (t + 1) (Bishop, "Pattern recognition and machine learning",
2006, section 3.3). Stage after stage is coded against the moments that the decoder will have, and what was coded is
what the next moments are made of: the refinement is built in.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..container.header import Numbers
from ..rec import candidates, search
from ..rec.candidates import Chaining
from ..rec.groups import INFORMATION_UNIT
from . import allocation
from .allocation import AGAIN, DENSITIES, Share, density_number, density_of
from .moments import COARSE, FREQUENCY_BITS, Moments, StageName, in_deviations, in_parts

Array = npt.NDArray[Any]

REACH = 3.3  # prior deviations that candidates can be relied on to reach
LEAST_REACH, REACH_PER_BIT, MOST_REACH = 3.0, 0.3, 4.2  # what they reach as a rule, by the information of a weight
_SIMULATION_SEED = 1
_GROUP_BITS = 8
GROUP_INFORMATION = _GROUP_BITS * INFORMATION_UNIT
_GOOD_SHARE, _GOOD_DEVIATIONS = 0.55, 1.0  # of the expected squared error, where candidates are very good
_MOST_REPEATED = 16  # parts of a stage: a weight thousands of deviations away would take thousands of them
_MUCH_RESERVE = 8  # times the reserve are enough groups to come to any size


@dataclass(eq=False, kw_only=True)
class Encoding(ABC):
    """What the sources of the encoder share: the true weights, and what follows from them.

    Attributes:
        parts_from: of the prior.
        code: of the noise variance.
        class_bits: of all classes so far.
    """

    expects: ClassVar[bool] = True
    parts_from: int
    code: int
    class_bits: float = 0.0

    @abstractmethod
    def target(self, name: StageName, own: Any) -> Array:
        """The true weights of a stage in units of the noise's deviation, ``(latents,)``."""

    def widen(self, name: StageName, own: Any, moments: Moments) -> None:
        """Widen deviations that are too small for candidates to reach the true weights, where a file can say so."""
        del name, own, moments  # as a rule it cannot

    def posterior(self, name: StageName, own: Any, moments: Moments) -> tuple[Array, Array, Array]:
        """Which latents of a stage are coded, and their whitened posterior means and deviations."""
        coded = np.flatnonzero(moments.deviation >= 0)
        prior, rest = moments.deviations(coded), moments.rest(coded)
        residual = self.target(name, own)[coded] - in_deviations(moments.mean[coded])
        whole = rest + prior**2
        return coded, residual * prior / whole, np.sqrt(rest / whole)


@dataclass(eq=False, kw_only=True)
class Chance(Encoding):
    """Samples of the posterior in the place of candidates: what coding will come to, without the search.

    Attributes:
        bits: KL(posterior, prior) of all latents.
        information: expected information of each of the eight densities' stages, in 1/256 bit.
    """

    bits: float = 0.0
    information: Array = field(default_factory=lambda: np.zeros(DENSITIES))
    generator: np.random.Generator = field(
        default_factory=lambda: np.random.Generator(np.random.Philox(_SIMULATION_SEED))
    )

    def details(self, name: StageName, own: Any, moments: Moments) -> Array:
        self.widen(name, own, moments)
        coded, mean, deviation = self.posterior(name, own, moments)
        if not (self.parts_from and name.level >= COARSE):  # there nothing is too far away
            reach = np.minimum(LEAST_REACH - REACH_PER_BIT * np.log2(deviation), MOST_REACH)
            mean = np.clip(mean, -reach, reach)
        drawn = mean + deviation * self.generator.standard_normal(len(coded), dtype=np.float32)
        z = np.rint(drawn * 2.0**20) * 2.0**-20
        divergence = float((0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)).sum()) / math.log(2)
        self.bits += divergence
        self.information[density_number(name)] += float(moments.information().sum())
        return moments.values(coded, z)


@dataclass(frozen=True, eq=False)
class Forecast:
    """What coding at a noise code will come to.

    Attributes:
        code: of the noise variance.
        bits: KL of all latents.
        class_bits: of the activity.
        information: expected information of the stages of each density, in 1/256 bit.
        squared_error: sum over all samples.
    """

    code: int
    bits: float
    class_bits: float
    information: Array
    squared_error: float


@dataclass(eq=False, kw_only=True)
class Search(Encoding):
    """Candidates that a search finds.

    Attributes:
        writer: of the file that they go into.
        repeated: times that a part of the stage at hand had to come again.
    """

    writer: Writer
    repeated: int = 0

    def choose(self, symbols: Array, frequencies: Array) -> None:
        """Put symbols into the file, given their frequencies."""
        self.writer.classes.put(symbols, frequencies)
        self.class_bits += class_bits(symbols, frequencies)

    def details(self, name: StageName, own: Any, moments: Moments) -> Array:
        self.writer.adjust(name, moments, self)
        self.repeated = 0
        return in_parts(
            moments,
            self.parts_from,
            lambda own_moments: self._searched(name, own, own_moments),
            lambda own_moments: self.widen(name, own, own_moments),
        )

    def _searched(self, name: StageName, own: Any, moments: Moments) -> tuple[Array, bool]:
        """Coefficients of a part of a stage, from the candidates that are found, and whether it has to come again."""
        writer, information = self.writer, int(moments.information().sum())
        if moments.last and name == writer.share.final:
            writer.leave_rest()
        count = writer.share.take(name, information, moments.last)
        best, more = self._tried(name, own, moments, count, 0), 0
        if allocation.takes_more(name, count, self.parts_from):
            least = _least_cost(len(best.z))
            most = min(writer.share.most_more(information, count), writer.room(count))
            if self.repeated >= _MOST_REPEATED:
                most = min(most, AGAIN - 1)
            for other in range(1, 1 + most):
                if best.cost <= _GROUP_BITS * (count + other) + least:
                    break  # not even the best candidates would be worth that many groups
                found = self._tried(name, own, moments, count + other, other)
                best, more = (found, other) if found.cost < best.cost else (best, more)
            writer.share.take_more(more)
            self.choose(np.array([more]), allocation.MORE_FREQUENCIES)
        writer.append(best.indices)
        writer.latents.append(best.z)
        self.repeated += more == AGAIN
        return best.values, more == AGAIN

    def _tried(self, name: StageName, own: Any, moments: Moments, count: int, more: int) -> _Found:
        """What a part of a stage comes to in some groups, of which so many are beyond its share."""
        writer, part = self.writer, allocation.partition(moments.information(), count, self.writer.key, more)
        indices, z = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        coded, mean, deviation = self.posterior(name, own, moments)
        if part.groups:
            means, deviations = np.zeros((2, len(moments.mean)))
            means[coded], deviations[coded] = mean, deviation
            target = search.target(part, means, deviations, part.groups)
            before = writer.indices[-allocation.reach_of(writer.chaining) :]
            (indices,) = search.search(
                target, writer.chaining, writer.key, before[None], writer.method, writer.generator
            )
            z = allocation.look_up(np.append(before, indices), part, writer.chaining, writer.key)
        values = moments.values(part.order, z)
        error = np.abs(self.target(name, own)[coded] - in_deviations(values[coded]))
        cost = float(_GROUP_BITS * count)
        if more == AGAIN:
            rest = 1 + moments.deviations(coded) ** 2
            cost += _GROUP_BITS * count + _least_cost(len(coded))
        else:
            rest = moments.rest(coded)
        squared = float((error**2 / rest).sum())
        if more == AGAIN or not moments.last:  # what the parts to come cannot reach stays
            squared += float((np.maximum(error - REACH * np.sqrt(rest), 0) ** 2).sum())
        return _Found(indices, z, values, cost + squared / (2 * math.log(2)))


def _least_cost(latents: int) -> float:
    """Bits of the squared error of some latents that candidates hardly fall short of."""
    return max(_GOOD_SHARE * latents, latents - _GOOD_DEVIATIONS * math.sqrt(2 * latents)) / (2 * math.log(2))


@dataclass(frozen=True, eq=False)
class _Found:
    """Candidates of a part of a stage.

    Attributes:
        indices: of the groups.
        z: the candidates.
        values: coefficients of all latents in whole steps.
        cost: in bits; KL + squared error / (2 · s2) as the groups have it.
    """

    indices: npt.NDArray[np.int64]
    z: Array
    values: Array
    cost: float


@dataclass(eq=False)
class ClassWriter:
    """The stream of classes in the making.

    Attributes:
        encoder: of the range coder.
        bits: of all symbols so far.
    """

    encoder: Any = field(default_factory=allocation.class_encoder)
    bits: float = 0.0

    def put(self, symbols: Array, frequencies: Array) -> None:
        """Put symbols into the stream, given their frequencies."""
        allocation.put_classes(self.encoder, symbols, frequencies)
        self.bits += class_bits(symbols, frequencies)

    def stream(self) -> bytes:
        """The stream, if it ended here."""
        return allocation.class_bytes(self.encoder)


@dataclass(eq=False)
class Writer:
    """A file in the making.

    Attributes:
        share: of the groups.
        chaining: of the groups.
        key: of the prior.
        method: one of ``search.METHODS``.
        generator: source of the Gumbel noise of A* coding.
        total: bytes that classes and groups together take, exactly; ``None`` where that is left open.
        reserve: bytes that are kept back until the last stage, for what is not foreseen.
        expected: of the plane that is being coded.
        classes: all so far.
        latents: candidates of the latents that are coded, stage after stage.
        kept: indices of groups, with room for more.
        count: groups so far.
    """

    share: Share
    chaining: Chaining
    key: int
    method: str
    generator: np.random.Generator
    total: int | None
    reserve: int
    expected: Forecast | None = None
    classes: ClassWriter = field(default_factory=ClassWriter)
    latents: list[Array] = field(default_factory=list)
    kept: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1 << 16, dtype=np.int64))
    count: int = 0

    def finished(self, code: int, densities: tuple[int, ...], squared_error: float) -> Coded:
        """All that is coded; where there is a total it is filled up, should there be nothing left to code."""
        classes = self.class_stream()
        if self.total is not None:
            missing = max(self.total - len(classes) - len(self.indices), 0)
            self.append(np.zeros(missing, dtype=np.int64))
        latents = np.concatenate([np.zeros(0, dtype=np.float32), *self.latents])
        return Coded(code, densities, self.chaining.chains, classes, self.indices, latents, squared_error)

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Of all groups so far, ``(groups,)``."""
        return self.kept[: self.count]

    def append(self, indices: npt.NDArray[np.int64]) -> None:
        """Put the indices of further groups into the file."""
        end = self.count + len(indices)
        if end > len(self.kept):
            self.kept = np.append(self.indices, np.zeros(end, dtype=np.int64))
        self.kept[self.count : end] = indices
        self.count = end

    def room(self, count: int) -> int:
        """Groups that the file has room for after so many more, if the classes come to what is expected."""
        if self.total is None or self.expected is None:
            return AGAIN
        return max(self.total - math.ceil(self.expected.class_bits / 8) - len(self.indices) - count, 0)

    def class_stream(self) -> bytes:
        return self.classes.stream()

    def leave_rest(self) -> None:
        """Give all bytes that are left to what is coded next; all classes are in the stream."""
        if self.total is not None:
            self.share.left = max(self.total - len(self.class_stream()) - len(self.indices), 0)

    def adjust(self, name: StageName, moments: Moments, source: Encoding) -> None:
        """Set the density of a stage so that the file comes to its size; the last stage takes exactly what is left."""
        final = self.share.final
        if self.total is None or final is None or name.level > 1 or (name.level, name.number > 0) == (1, True):
            return
        assert self.expected is not None
        if name == final:
            self.leave_rest()
            return
        number, last_activity = density_number(name), 4 if final.number > 3 else 0
        if name.level == 0 and name.number >= last_activity:
            length = len(self.class_stream())  # the classes are all there
        else:
            length = math.ceil((self.classes.bits + max(self.expected.class_bits - source.class_bits, 0)) / 8)
        left = self.total - length - len(self.indices)
        later = float(self.expected.information[number + 1 :].sum())
        if later < _MUCH_RESERVE * self.reserve * GROUP_INFORMATION:
            left -= self.reserve  # what comes later can hardly give way
        own = float(moments.information().sum()) if name.level == 0 else float(self.expected.information[number])
        self.share.densities[number] = density_of(max(left, 0) * GROUP_INFORMATION / max(own + later, 1))


@dataclass(frozen=True)
class Budget:
    """How large a file is to be.

    Attributes:
        ratio: groups per 8 bits of information where there is no total, and before the size is known.
        total: bytes that classes and groups together take, if given. They may take more where it is small, or where
            too little was kept in reserve.
        reserve: bytes of the total that are kept back for what is not foreseen.
    """

    ratio: float
    total: int | None = None
    reserve: int = 0


def writer_for(key: int, expected: Sequence[Forecast], budget: Budget, method: str, seed: int) -> Writer:
    """An empty file.

    Args:
        key: of the prior.
        expected: what simulations of all parts at the noise code to be used came to.
        budget: of the file.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
    """
    about = budget.total
    if about is None:
        about = int(sum(float(one.information.sum()) for one in expected) * budget.ratio / GROUP_INFORMATION)
    chaining = Chaining(8, candidates.chains_of(about))
    share = Share([density_of(budget.ratio)] * DENSITIES, None)
    generator = np.random.Generator(np.random.Philox(seed))
    return Writer(share, chaining, key, method, generator, budget.total, budget.reserve)


def best_classes(energy: Array, octaves: Array, details: int, variances: Array) -> npt.NDArray[np.int64]:
    """The class of least cost of each unit: its own bits, and KL + squared error / (2 · s2) of the details if they all
    had the variance that the class stands for.

    Args:
        energy: mean squared residual over the noise variance, ``(units,)``.
        octaves: logarithms of the classes' probabilities to base 2, ``(classes, units)``.
        details: of a unit.
        variances: that the classes stand for, in units of the noise's, the noise itself included.
    """
    variances = variances[:, None]
    coding = np.log2(variances) + energy / (variances * math.log(2))
    found: npt.NDArray[np.int64] = (0.5 * details * coding - octaves).argmin(axis=0)
    return found


def class_bits(classes: Array, frequencies: Array) -> float:
    """Bits that classes take with their frequencies."""
    chosen = frequencies[classes, np.arange(len(classes))].astype(np.float64)
    return float((FREQUENCY_BITS - np.log2(chosen)).sum())


@dataclass(frozen=True, eq=False)
class Coded:
    """Coded planes of an image, or segments of a recording.

    Attributes:
        code: of the noise variance.
        densities: eight of them.
        chains: of groups.
        classes: the stream of classes.
        indices: of all groups, ``(groups,)`` int64.
        latents: candidates of all coded latents of all of them.
        squared_error: sum over all samples.
    """

    code: int
    densities: tuple[int, ...]
    chains: int
    classes: bytes
    indices: npt.NDArray[np.int64]
    latents: Array
    squared_error: float

    @property
    def numbers(self) -> Numbers:
        """Of the header, but for the noise level."""
        return {
            "class_bytes": (len(self.classes),),
            "densities": self.densities,
            "chains": (self.chains,),
        }

    @property
    def payload(self) -> bytes:
        """Of the file."""
        return self.classes + self.indices.astype(np.uint8).tobytes()
