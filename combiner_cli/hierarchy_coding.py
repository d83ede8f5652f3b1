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
from typing import Any

import numpy as np
import numpy.typing as npt

from . import coder, hierarchy_groups, search
from .coder import Chaining
from .groups import INFORMATION_UNIT
from .hierarchy import FREQUENCY_BITS, Moments, PyramidPrior, StageName, descend, noise_deviation
from .hierarchy_groups import DENSITIES, LAST_STAGE, Share, density_number, density_of, ratio_of
from .models import pyramid
from .models.pyramid import UNIT, Level

Array = npt.NDArray[Any]

# variance of the details of a unit over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, 2.5, 6.6, 21.0, 80.0, 320.0, 1600.0, 11000.0, 90000.0])
COARSE_CLASS_VARIANCES = np.array([1.0, 2.7, 8.0, 30.0, 150.0, 1000.0, 10_000.0, 150_000.0, 2_000_000.0])
REACH = 3.3  # prior deviations that candidates can be relied on to reach
_SIMULATION_SEED = 1
_GROUP_INFORMATION = 8 * INFORMATION_UNIT
_ROWS_AT_ONCE = 64
_MOST_WIDENINGS = 4
_TRIED_LEVEL = 5
_RATIOS, _RATIO_STEP = 8, 1 / 96
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


def values_of(picture: Array, colours: int, code: int) -> Array:
    """The inverse of :func:`picture_of` for a decoded picture ``(3, height, width)`` in steps."""
    found = np.empty((*picture.shape[1:], colours), dtype=np.float32)
    matrix = (pyramid.COLOUR if colours == 3 else np.full((3, 1), 1 / math.sqrt(3))) * (noise_deviation(code) / UNIT)
    for first in range(0, len(found), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        if colours == 3:
            np.einsum("khw,kc->hwc", picture[:, rows], matrix, out=found[rows], casting="same_kind")
        else:
            np.multiply(picture[0, rows, :, None], matrix[0, 0], out=found[rows], casting="same_kind")
    return found


@dataclass(eq=False)
class _Encoding:
    """What the sources of the encoder share: the true weights, and the activity that follows from them.

    Attributes:
        prior: of the picture.
        picture: its weights.
        code: of the noise variance.
        class_bits: of all classes so far.
    """

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
        found = best_classes(energy, np.log2(frequencies) - FREQUENCY_BITS, len(details), own.kind)
        if own.kind == pyramid.COARSE:
            found = self._widened(own, chroma, found)
        self.class_bits += _class_bits(found, frequencies)
        return found

    def _widened(self, own: Level, chroma: bool, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Classes with which the candidates reach all details of their units, as far as higher classes help.

        In coarse levels, which are small, that is tried out with the true details as context: what is out of reach
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
        prior = moments.deviations(coded)
        residual = self.target(name, own)[coded] - moments.mean[coded] / UNIT
        whole = 1 + prior**2
        return coded, residual * prior / whole, 1 / np.sqrt(whole)


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
        mean = np.clip(mean, -REACH, REACH)
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
        until: the finest level to be coded.
        squared_error: of all coefficients so far, over the noise variance, where not all levels are to be coded.
    """

    writer: _Writer = field(kw_only=True)
    until: int = 0
    squared_error: float = 0.0

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        if own.number < self.until:
            raise _EnoughError
        found = super().activity(own, chroma, frequencies, means)
        self.writer.classes.append(found)
        self.writer.frequencies.append(frequencies)
        return found

    def details(self, name: StageName, own: Level | None, moments: Moments) -> Array:
        writer = self.writer
        writer.adjust(name, moments, self)
        part = hierarchy_groups.partition(writer.share, name, moments, writer.key)
        z = np.zeros(0, dtype=np.float32)
        if part.groups:
            coded, mean, deviation = self.posterior(name, own, moments)
            means, deviations = np.zeros((2, len(moments.mean)))
            means[coded], deviations[coded] = mean, deviation
            target = search.target(part, means, deviations, part.groups)
            found = search.search(
                target, writer.chaining, writer.key, writer.indices[None], writer.method, writer.generator
            )
            writer.indices = np.append(writer.indices, found[0])
            z = hierarchy_groups.look_up(writer.indices, part, writer.chaining, writer.key)
        writer.latents.append(z)
        values = moments.values(part.order, z)
        if self.until:
            self.squared_error += float(((self.target(name, own) - values / UNIT) ** 2).sum())
        return values


class _EnoughError(Exception):
    """All levels that were to be coded are."""


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
    return float((FREQUENCY_BITS - np.log2(frequencies[classes, np.arange(len(classes))])).sum())


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


def _best_ratio(prior: PyramidPrior, values: Array, code: int, ratio: float, method: str, seed: int) -> float:
    """A number of groups per 8 bits, near the one asked for, with which the coarsest levels come out well.

    A weight of the coarsest levels stands for many samples and has as much information as a group or more, so that
    there are few candidates for it. Another number of groups deals it other candidates: some are tried.
    """
    picture = picture_of(values)
    costs = {}
    for step in range(_RATIOS):
        tried = density_of(ratio * (1 + _RATIO_STEP * step))
        writer = _Writer(
            Share([tried] * DENSITIES, None, LAST_STAGE[picture.colours]),
            Chaining(8, 1),
            prior.key,
            method,
            np.random.Generator(np.random.Philox(seed)),
            None,
            0,
        )
        source = SearchSource(prior, picture, code, writer=writer, until=_TRIED_LEVEL)
        try:
            descend(prior, picture.shape, picture.colours, code, source)
        except _EnoughError:
            costs[tried] = source.squared_error / (2 * math.log(2)) + 8 * len(writer.indices) + source.class_bits
        else:
            return ratio  # so small a picture that nothing is coarse
    return ratio_of(min(costs, key=lambda density: costs[density]))


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
    code, asked = expected[0].code, ratio
    if len(planes) == 1:
        ratio = _best_ratio(prior, planes[0], code, ratio, method, seed)
    about = (
        sum(float(one.information.sum()) for one in expected) * asked / _GROUP_INFORMATION if total is None else total
    )
    chaining = Chaining(8, coder.chains_of(int(about)))
    writer = _Writer(
        Share([density_of(ratio)] + [density_of(asked)] * (DENSITIES - 1), None),
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
