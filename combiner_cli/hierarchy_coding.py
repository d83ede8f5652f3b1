"""From a picture to class numbers and group indices with a pyramid prior.

The posterior of a detail is exact: under noise of variance 1 a detail c with prior mean m and variance t has the
posterior mean m + (c − m) · t / (t + 1) and variance t / (t + 1) (Bishop, "Pattern recognition and machine learning",
2006, section 3.3). Stage after stage is coded against the moments that the decoder will have, and what was coded is
what the next moments are made of: the refinement is built in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import coder, hierarchy_groups, search
from .coder import Chaining
from .groups import INFORMATION_UNIT
from .hierarchy import FREQUENCY_BITS, Moments, PyramidPrior, StageName, descend, in_parts, noise_deviation, values_of
from .hierarchy_groups import AGAIN, DENSITIES, LAST_STAGE, Share, density_number, density_of
from .models import pyramid
from .models.pyramid import UNIT, Level

Array = npt.NDArray[Any]

# variance of the details of a unit over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, 2.5, 6.6, 21.0, 80.0, 320.0, 1600.0, 11000.0, 90000.0])
COARSE_CLASS_VARIANCES = np.array([1.0, 2.7, 8.0, 30.0, 150.0, 1000.0, 10_000.0, 150_000.0, 2_000_000.0])
REACH = 3.3  # prior deviations that candidates can be relied on to reach
LEAST_REACH, REACH_PER_BIT, MOST_REACH = 3.0, 0.3, 4.2  # what they reach as a rule, by the information of a weight
_SIMULATION_SEED = 1
_GROUP_BITS = 8
_GROUP_INFORMATION = _GROUP_BITS * INFORMATION_UNIT
_GOOD_SHARE, _GOOD_DEVIATIONS = 0.55, 1.0  # of the expected squared error, where candidates are very good
_MOST_WIDENINGS = 4
_WIDENED = 2  # kinds of levels from this one on, which are small
_MUCH_RESERVE = 8  # times the reserve are enough groups to come to any size


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture to be coded: the weights of all levels, real numbers in units of the image's 255ths.

    Attributes:
        shape: height and width.
        colours: 1 or 3.
        root: ``(3, rows, columns)``.
        details: of all levels from the finest on, ``(3, 3, rows, columns)`` each.
    """

    shape: tuple[int, int]
    colours: int
    root: Array
    details: tuple[Array, ...]


def picture_of(values: Array) -> Picture:
    """The weights of an image.

    Args:
        values: ``(height, width, 1 or 3)`` in 255ths of the range, 0 in the middle of it.
    """
    colours = values.shape[2]
    planes = np.zeros((3, *values.shape[:2]))
    if colours == 3:
        np.einsum("kc,hwc->khw", pyramid.COLOUR, values, out=planes)
    else:
        np.multiply(values[:, :, 0], math.sqrt(3), out=planes[0])
    details = []
    for _ in pyramid.sizes(values.shape[:2])[1:]:
        planes, found = pyramid.analyse(planes)
        details.append(found.astype(np.float32))
    return Picture((values.shape[0], values.shape[1]), colours, planes, tuple(details))


@dataclass(eq=False)
class _Encoding:
    """What the sources of the encoder share: the true weights, and the activity that follows from them.

    Attributes:
        prior: of the picture.
        picture: its weights.
        code: of the noise variance.
        class_bits: of all classes so far.
    """

    expects: ClassVar[bool] = True
    prior: PyramidPrior
    picture: Picture
    code: int
    class_bits: float = 0.0

    @property
    def scale(self) -> float:
        """Deviations of the noise per 255th."""
        return 1 / noise_deviation(self.code)

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        details = pyramid.unit_details(self.picture.details[own.number][None], chroma) * self.scale
        energy = ((details - means / UNIT) ** 2).mean(axis=0)
        found = best_classes(energy, np.log2(frequencies.astype(np.float64)) - FREQUENCY_BITS, len(details), own.kind)
        if own.kind >= _WIDENED:
            found = self._widened(own, chroma, found)
        self.class_bits += _class_bits(found, frequencies)
        return found

    def _widened(self, own: Level, chroma: bool, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Classes with which the candidates reach all details of their units, as far as higher classes help.

        In coarse levels that is tried out with the true details as context: what is out of reach
        there would stay as an error over many samples.
        """
        trial = pyramid.level(own.number, own.code, own.coarse)
        trial.parents[...], trial.activity[...], trial.details[...] = own.parents, own.activity, own.details
        for _ in range(_MOST_WIDENINGS):
            trial.own_activity[0, int(chroma)] = classes.reshape(own.units)
            beyond = np.zeros(own.units, dtype=bool)
            for number in range(4, 6) if chroma else range(4):
                moments = self.prior.moments(trial, number)
                true = self.target(StageName(own.number, number), own)
                deviations = np.sqrt(1 + moments.deviations(np.arange(len(true))) ** 2)
                outside = np.abs(true - moments.mean / UNIT) > REACH * deviations
                pyramid.mark_units(trial, number, outside, beyond)
                pyramid.put(trial, number, np.rint(true * UNIT))
            if not beyond.any():
                break
            classes = np.minimum(classes + beyond.reshape(-1), pyramid.CLASSES - 1)
        return classes

    def target(self, name: StageName, own: Level | None) -> Array:
        """The true coefficients of a stage in units of the noise's deviation, ``(latents,)``."""
        if own is None:
            return self.picture.root[: self.picture.colours].reshape(-1) * self.scale
        found: Array = pyramid.get(self.picture.details[own.number][None], own, name.number).reshape(-1)
        return found * self.scale

    def posterior(self, name: StageName, own: Level | None, moments: Moments) -> tuple[Array, Array, Array]:
        """Which latents of a stage are coded, and their whitened posterior means and deviations."""
        coded = np.flatnonzero(moments.deviation >= 0)
        prior, rest = moments.deviations(coded), moments.rest(coded)
        residual = self.target(name, own)[coded] - moments.mean[coded] / UNIT
        whole = rest + prior**2
        return coded, residual * prior / whole, np.sqrt(rest / whole)


@dataclass(eq=False)
class ChanceSource(_Encoding):
    """Samples of the posterior in the place of candidates: what coding will come to, without the search.

    Attributes:
        bits: KL(posterior, prior) of all latents.
        information: expected information of each of the eight densities' stages, in 1/256 bit.
        class_bits_before: bits of the classes before the finest level.
    """

    bits: float = 0.0
    information: Array = field(default_factory=lambda: np.zeros(DENSITIES))
    generator: np.random.Generator = field(
        default_factory=lambda: np.random.Generator(np.random.Philox(_SIMULATION_SEED))
    )

    def details(self, name: StageName, own: Level | None, moments: Moments) -> Array:
        coded, mean, deviation = self.posterior(name, own, moments)
        if not (self.prior.parts_from and name.level >= pyramid.COARSE):  # there nothing is too far away
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
    """What coding a picture at a noise code will come to.

    Attributes:
        code: of the noise variance.
        bits: KL of all latents.
        class_bits: of the activity.
        information: expected information of the stages of each density, in 1/256 bit.
        squared_error: sum over all samples, in 255ths squared.
    """

    code: int
    bits: float
    class_bits: float
    information: Array
    squared_error: float


def forecast(prior: PyramidPrior, values: Array, code: int) -> Forecast:
    """Simulate the coding of a plane ``(height, width, 1 or 3)``."""
    picture = picture_of(values)
    source = ChanceSource(prior, picture, code)
    decoded = descend(prior, picture.shape, picture.colours, code, source)
    error = float(((np.clip(values_of(decoded, picture.colours, code), -127.5, 127.5) - values) ** 2).sum())
    return Forecast(code, source.bits, source.class_bits, source.information, error)


@dataclass(eq=False)
class SearchSource(_Encoding):
    """Candidates that a search finds.

    Attributes:
        writer: of the file that they go into.
    """

    writer: _Writer = field(kw_only=True)

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        found = super().activity(own, chroma, frequencies, means)
        self.writer.classes.append(found)
        self.writer.frequencies.append(frequencies)
        return found

    def details(self, name: StageName, own: Level | None, moments: Moments) -> Array:
        self.writer.adjust(name, moments, self)
        return in_parts(moments, self.prior.parts_from, lambda own_moments: self._searched(name, own, own_moments))

    def _searched(self, name: StageName, own: Level | None, moments: Moments) -> tuple[Array, bool]:
        """Coefficients of a part of a stage, from the candidates that are found, and whether it has to come again."""
        writer, information = self.writer, int(moments.information().sum())
        count = writer.share.take(name, information, moments.last)
        best, more = self._tried(name, own, moments, count, 0), 0
        if hierarchy_groups.takes_more(name, count, self.prior.parts_from):
            least = _least_cost(len(best.z))
            for other in range(1, 1 + min(writer.share.most_more(information, count), writer.room(count))):
                if best.cost <= _GROUP_BITS * (count + other) + least:
                    break  # not even the best candidates would be worth that many groups
                found = self._tried(name, own, moments, count + other, other)
                best, more = (found, other) if found.cost < best.cost else (best, more)
            writer.share.take_more(more)
            writer.classes.append(np.array([more]))
            writer.frequencies.append(hierarchy_groups.MORE_FREQUENCIES)
            self.class_bits += _class_bits(writer.classes[-1], writer.frequencies[-1])
        writer.indices = np.append(writer.indices, best.indices)
        writer.latents.append(best.z)
        return best.values, more == AGAIN

    def _tried(self, name: StageName, own: Level | None, moments: Moments, count: int, more: int) -> _Found:
        """What a part of a stage comes to in some groups, of which so many are beyond its share."""
        writer, part = self.writer, hierarchy_groups.partition(moments.information(), count, self.writer.key, more)
        indices, z = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        coded, mean, deviation = self.posterior(name, own, moments)
        if part.groups:
            means, deviations = np.zeros((2, len(moments.mean)))
            means[coded], deviations[coded] = mean, deviation
            target = search.target(part, means, deviations, part.groups)
            before = writer.indices[None]
            indices = search.search(target, writer.chaining, writer.key, before, writer.method, writer.generator)[0]
            z = hierarchy_groups.look_up(np.append(writer.indices, indices), part, writer.chaining, writer.key)
        values = moments.values(part.order, z)
        error = np.abs(self.target(name, own)[coded] - values[coded] / UNIT)
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
class _Writer:
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
        classes: of all units so far, activity after activity.
        frequencies: that go with them.
        indices: of all groups so far, ``(groups,)``.
        latents: candidates of the latents that are coded, stage after stage.
    """

    share: Share
    chaining: Chaining
    key: int
    method: str
    generator: np.random.Generator
    total: int | None
    reserve: int
    expected: Forecast | None = None
    classes: list[Array] = field(default_factory=list)
    frequencies: list[Array] = field(default_factory=list)
    indices: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    latents: list[Array] = field(default_factory=list)

    def class_stream(self) -> bytes:
        return hierarchy_groups.class_bytes(self.classes, self.frequencies)

    def room(self, count: int) -> int:
        """Groups that the file has room for after so many more, if the classes come to what is expected."""
        if self.total is None or self.expected is None:
            return AGAIN
        return max(self.total - math.ceil(self.expected.class_bits / 8) - len(self.indices) - count, 0)

    def adjust(self, name: StageName, moments: Moments, source: _Encoding) -> None:
        """Set the density of a stage so that the file comes to its size; the last stage takes exactly what is left."""
        final = self.share.final
        if self.total is None or final is None or name.level > 1 or (name.level, name.number > 0) == (1, True):
            return
        assert self.expected is not None
        number = density_number(name)
        last_activity = StageName(0, 4 if final.number > 3 else 0)
        all_classes = name.level == 0 and name.number >= last_activity.number
        if all_classes:
            length = len(self.class_stream())
        else:
            spent = sum(_class_bits(*pair) for pair in zip(self.classes, self.frequencies, strict=True))
            length = math.ceil((spent + max(self.expected.class_bits - source.class_bits, 0)) / 8)
        left = self.total - length - len(self.indices)
        if name == final:
            self.share.left = max(left, 0)
            return
        later = float(self.expected.information[number + 1 :].sum())
        if later < _MUCH_RESERVE * self.reserve * _GROUP_INFORMATION:
            left -= self.reserve  # what comes later can hardly give way
        own = float(moments.information().sum()) if name.level == 0 else float(self.expected.information[number])
        self.share.densities[number] = density_of(max(left, 0) * _GROUP_INFORMATION / max(own + later, 1))


def best_classes(energy: Array, octaves: Array, details: int, kind: int) -> npt.NDArray[np.int64]:
    """The class of least cost of each unit: its own bits, and KL + squared error / (2 · s2) of the details if they all
    had the variance that the class stands for.

    Args:
        energy: mean squared residual over the noise variance, ``(units,)``.
        octaves: logarithms of the classes' probabilities to base 2, ``(classes, units)``.
        details: of a unit.
        kind: of level.
    """
    variances = (COARSE_CLASS_VARIANCES if kind == pyramid.COARSE else CLASS_VARIANCES)[:, None]
    coding = np.log2(variances) + energy / (variances * math.log(2))
    found: npt.NDArray[np.int64] = (0.5 * details * coding - octaves).argmin(axis=0)
    return found


def _class_bits(classes: Array, frequencies: Array) -> float:
    """Bits that classes take with their frequencies."""
    chosen = frequencies[classes, np.arange(len(classes))].astype(np.float64)
    return float((FREQUENCY_BITS - np.log2(chosen)).sum())


@dataclass(frozen=True, eq=False)
class Coded:
    """Coded planes of an image.

    Attributes:
        code: of the noise variance.
        densities: eight of them.
        chains: of groups.
        classes: the stream of classes.
        indices: of all groups, ``(groups,)`` int64.
        latents: candidates of all coded latents of all planes.
        squared_error: sum over all samples, in 255ths squared.
    """

    code: int
    densities: tuple[int, ...]
    chains: int
    classes: bytes
    indices: npt.NDArray[np.int64]
    latents: Array
    squared_error: float


def encode_planes(
    prior: PyramidPrior,
    planes: Sequence[Array],
    expected: Sequence[Forecast],
    ratio: float,
    method: str,
    seed: int,
    total: int | None = None,
    reserve: int = 0,
) -> Coded:
    """Code the planes of an image, one after the other.

    Args:
        prior: of the weights.
        planes: their values, ``(height, width, 1 or 3)`` each, in 255ths, 0 in the middle.
        expected: what a simulation of each at the noise code to be used came to.
        ratio: groups per 8 bits of information where there is no total.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
        total: bytes that classes and groups together take, if given. They may take more where it is small, or where
            too little was kept in reserve.
        reserve: bytes of the total that are kept back for what is not foreseen.
    """
    code = expected[0].code
    about = (
        sum(float(one.information.sum()) for one in expected) * ratio / _GROUP_INFORMATION if total is None else total
    )
    chaining = Chaining(8, coder.chains_of(int(about)))
    writer = _Writer(
        Share([density_of(ratio)] * DENSITIES, None),
        chaining,
        prior.key,
        method,
        np.random.Generator(np.random.Philox(seed)),
        total,
        reserve,
    )
    error = 0.0
    for values, own in zip(planes, expected, strict=True):
        picture = picture_of(values)
        writer.expected = own
        if values is planes[-1]:
            writer.share.final = LAST_STAGE[picture.colours] if max(picture.shape) > 4 else StageName(0, 0)
        source = SearchSource(prior, picture, code, writer=writer)
        decoded = values_of(descend(prior, picture.shape, picture.colours, code, source), picture.colours, code)
        error += float(((np.clip(decoded, -127.5, 127.5) - values) ** 2).sum())
    classes = writer.class_stream()
    if total is not None:
        missing = max(total - len(classes) - len(writer.indices), 0)  # nothing is left to code
        writer.indices = np.append(writer.indices, np.zeros(missing, dtype=np.int64))
    densities = tuple(writer.share.densities)
    return Coded(code, densities, chaining.chains, classes, writer.indices, np.concatenate(writer.latents), error)
