"""Pyramid priors: the moments of every weight of a picture, foretold from the weights that are decoded before it.

A level of the pyramid is decoded in six stages: the luma details of four phases, then the chroma details of two times
two. Before the luma and before the chroma comes the *activity* of the level's units, one of nine classes each, in an
entropy code whose probabilities are foretold as well: it tells how large the residuals are, roughly, so that what is
left is close to Gaussian. Small networks in whole numbers (:mod:`combiner_cli.models.whole`) do the foretelling. With
noise variance s2 as the unit, a detail whose prior variance is t has the evidence N(mean, t + 1); the networks were
learned by maximising it, which minimises KL + squared error / (2 · s2). Details of a variance far under the noise are
pruned and cost nothing. A detail with more information than a group can hold is a sum of several weights, from the one
with the widest prior to the one with the narrowest: each is coded when those before it are, and mends what they missed.

Everything that a decoder's structure depends on (classes, which details are pruned, information, the partition into
groups) is made of whole numbers here. That moments depend on what is decoded is therefore safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from . import groups, identity, workers
from .mixtures import NOISE_CODES, noise_level, variance_of
from .models import pyramid, whole
from .models.pyramid import COARSE, FAMILY, UNIT, Level
from .models.whole import WholeNetwork
from .signals import Kind, Tiling, tiling

Array = npt.NDArray[Any]

OCTAVE = 16  # deviations are coded in sixteenths of an octave
LOWEST = -37  # of a deviation that is coded, about a fifth of the noise's
HIGHEST = 20 * OCTAVE
LOWEST_CODE, HIGHEST_CODE = -16, 111  # of the noise variance; a file holds their number less the lowest
DEVIATION_BITS = 12  # of the fraction of a deviation
CANDIDATE_BITS = 20  # of the fraction of a candidate
FREQUENCY_BITS = 16  # of the probabilities of classes
_LOGIT_UNIT = 16
_LOWEST_LOGIT = -12 * _LOGIT_UNIT
_ROOT_DEVIATION = (150.0, 60.0, 40.0)  # of the root's colours, times 2^levels, in 255ths of the range
_FEWEST_UNITS, _MOST_UNITS = 512, 1 << 13  # at once
_PART_OCTAVES = 4  # that the deviation of a detail shrinks by when a part of it is coded
_MOST_WIDENED_PARTS = 16  # or else there might be no end to the parts of a damaged file
_PART_INFORMATION = _PART_OCTAVES * groups.INFORMATION_UNIT
FEWEST_PARTS_FROM, MOST_PARTS_FROM = _PART_OCTAVES, 20
PARTS_FROM = 6  # of the priors that are learned today
_ROWS_AT_ONCE = 64  # of an image
RANGES = ("noise_codes", "rates", "errors")
_LATENTS_AT_ONCE = 1 << 16


def _deviations() -> Array:
    """Deviations in units of 2^-12 of the noise's by their number less ``LOWEST``."""
    return np.rint(np.exp2(np.arange(LOWEST, HIGHEST + 1) / OCTAVE + DEVIATION_BITS))


def _information() -> npt.NDArray[np.int64]:
    """Expected information in 1/256 bit, half of log2(1 + t), by the number of the deviation less ``LOWEST``."""
    variance = np.exp2(np.arange(LOWEST, HIGHEST + 1) * (2 / OCTAVE))
    found: npt.NDArray[np.int64] = np.maximum(np.rint(groups.INFORMATION_UNIT / 2 * np.log2(1 + variance)), 1)
    return found.astype(np.int64)


@dataclass(frozen=True)
class StageName:
    """Where a stage is.

    Attributes:
        level: 0 for the finest.
        number: within the level, 0 to 5: four of luma, two of chroma. The root is stage 0 of the level above all.
    """

    level: int
    number: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Prior moments of the details of a stage.

    Attributes:
        mean: in steps of coefficients, whole numbers, ``(latents,)``, as the level keeps its coefficients.
        deviation: numbers of the deviations less ``LOWEST``, ``(latents,)`` int16; −1 where pruned, and where this part
            of a detail is not coded.
        last: whether this is the last part of the details.
    """

    mean: Array
    deviation: npt.NDArray[np.int16]
    last: bool = True

    def information(self) -> npt.NDArray[np.int16]:
        """Expected information in 1/256 bit, ``(latents,)``; 0 where pruned."""
        if not self.last:
            return np.where(self.deviation >= 0, _PART_INFORMATION, 0).astype(np.int16)
        found: npt.NDArray[np.int16] = _INFORMATION[self.deviation]
        return found

    def rest(self, which: npt.NDArray[np.int64]) -> Array:
        """Variance over the noise's of what the parts after this one have to mend and the noise, of some latents."""
        if self.last:
            return np.ones(len(which))
        found: Array = 1 + (self.deviations(which) * 2.0**-_PART_OCTAVES) ** 2
        return found

    def deviations(self, which: npt.NDArray[np.int64]) -> Array:
        """In units of the noise's deviation, of some latents."""
        found: Array = _DEVIATIONS[self.deviation[which]] * 2.0**-DEVIATION_BITS
        return found

    def values(self, which: npt.NDArray[np.integer], z: Array) -> Array:
        """Coefficients of all latents in whole steps, ``(latents,)``.

        Args:
            which: latents that have a candidate; all others are their means.
            z: their candidates, multiples of 2^-20.
        """
        found = Moments(self.mean.copy(), self.deviation)
        found.add(which, z)
        return found.mean

    def add(self, which: npt.NDArray[np.integer], z: Array) -> None:
        """Turn the means into what :meth:`values` gives, in place."""
        for begin in range(0, len(which), _LATENTS_AT_ONCE):
            some = which[begin : begin + _LATENTS_AT_ONCE]
            candidates = z[begin : begin + _LATENTS_AT_ONCE].astype(np.float64) * 2.0**CANDIDATE_BITS
            scaled = _DEVIATIONS[self.deviation[some]] * candidates
            self.mean[some] += np.floor(scaled * (UNIT * 2.0 ** -(DEVIATION_BITS + CANDIDATE_BITS)))


def in_parts(
    moments: Moments,
    parts_from: int,
    coded: Callable[[Moments], tuple[Array, bool]],
    widen: Callable[[Moments], None] | None = None,
) -> Array:
    """Code the details of a stage, those of a large deviation in parts.

    Args:
        moments: of the details.
        parts_from: octaves of a deviation over the noise's from which a detail is coded in parts; 0 means never.
        coded: gives the coefficients ``(latents,)`` when it is given the moments of a part, and whether another part
            like it follows.
        widen: widens some of the deviations, in place, before the first parts.
    """
    least, parts = parts_from * OCTAVE - LOWEST, 0
    while True:
        if widen is not None and parts < _MOST_WIDENED_PARTS:
            widen(moments)
        divided = moments.deviation >= least
        if not parts_from or not divided.any():
            break
        values, again = coded(
            Moments(moments.mean, np.where(divided, moments.deviation, -1).astype(np.int16), last=False)
        )
        fewer = moments.deviation - (0 if again else _PART_OCTAVES * OCTAVE) * divided
        moments, parts = Moments(values, fewer.astype(np.int16)), parts + 1
    again = True
    while again:
        values, again = coded(moments)
        moments = Moments(values, moments.deviation)
    return values


# the last entry is that of a pruned latent, whose number is -1
_DEVIATIONS = np.append(_deviations(), 0)
_INFORMATION = np.append(_information(), 0).astype(np.int16)
_POWERS = np.rint(np.exp2(np.arange(_LOWEST_LOGIT, 1) / _LOGIT_UNIT + FREQUENCY_BITS))


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
class PyramidPrior(identity.ForManyRates):
    """A prior over the weights of a pyramid.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals, ``"image"``.
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per pixel at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
        size: longer side of a typical signal of learning, in samples.
        stored: tensors of the networks by ``level.network.tensor``, int16 and int32.
        parts_from: octaves of a deviation over the noise's from which a detail is coded in parts; 0 means never.
        family: name of the family.
    """

    name: str
    kind: Kind
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]
    size: int
    stored: dict[str, Array]
    parts_from: int = 0
    family: str = FAMILY

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = {"kind": self.kind, "family": self.family, "size": self.size}
        if self.parts_from:  # priors of before there was such a thing keep their ids
            fields["parts_from"] = self.parts_from
        return {**fields, **{name: list(getattr(self, name)) for name in RANGES}}

    def tensors(self) -> dict[str, Array]:
        """The stored tensors by name."""
        return dict(self.stored)

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """One tile for each plane, of the signal's own size."""
        return tiling(shape, channels, shape, 3)

    @cached_property
    def scratch(self) -> workers.Scratch:
        """Memory for features."""
        return workers.Scratch()

    @cached_property
    def networks(self) -> tuple[dict[str, WholeNetwork], ...]:
        """The networks of each kind of level by name."""
        return tuple(
            {network.name: self._network(f"{kind}.{network.name}.") for network in pyramid.NETWORKS}
            for kind in range(COARSE + 1)
        )

    def _network(self, begin: str) -> WholeNetwork:
        tensors = {part: self.stored[begin + part].astype(np.float64) for part in whole.TENSORS}
        return WholeNetwork(**{part: own[:, None] if part.endswith("_bias") else own for part, own in tensors.items()})

    def activity(self, own: Level, chroma: bool, expected: bool = True) -> tuple[Array, Array]:
        """Frequencies ``(9, units)`` uint16 of the classes of all units, with a sum of 2^16; expected details in steps.

        Where the latter are not wanted there are none of them: they are the larger part.
        """
        network = pyramid.CHROMA_ACTIVITY if chroma else pyramid.LUMA_ACTIVITY
        features = pyramid.chroma_activity_features if chroma else pyramid.luma_activity_features

        count = own.units[0] * own.units[1]
        frequencies = np.empty((pyramid.CLASSES, count), dtype=np.uint16)
        means = np.empty((network.outputs if expected else 0, count))

        def strip(rows: slice) -> None:
            values, contrast = features(own, rows, scratch=self.scratch)
            results = self.networks[own.kind][network.name](values)
            units = slice(rows.start * own.units[1], rows.stop * own.units[1])
            frequencies[:, units] = frequencies_of(results[network.outputs :])
            means[:, units] = _means(results[: len(means)], contrast)

        workers.mapped(strip, _strips(own))
        return frequencies, means

    def moments(self, own: Level, number: int) -> Moments:
        """Moments of a stage: result after result, phase after phase of a chroma stage, positions row by row."""
        network = pyramid.CHROMA[number - 4] if number >= 4 else pyramid.LUMA[number]
        phases, (kind, largest) = pyramid.stage_phases(number), pyramid.storage(own.number)
        counts = [pyramid.positions(own, phase, slice(0, own.units[0])) for phase in phases]
        mean = np.empty((network.outputs, sum(counts)), dtype=kind)
        deviation = np.empty(mean.shape, dtype=np.int16)

        def strip(item: tuple[int, slice]) -> None:
            place, rows = item
            values, contrast = pyramid.stage_features(own, number, phases[place], rows, scratch=self.scratch)
            first = sum(counts[:place]) + pyramid.positions(own, phases[place], slice(0, rows.start))
            columns = slice(first, first + len(contrast))
            results = self.networks[own.kind][network.name](values)
            octaves = np.floor(pyramid.octaves(contrast / UNIT) * OCTAVE)
            numbers = np.floor(results[network.outputs :] * (OCTAVE * 2.0**-whole.RESULT_BITS)) + octaves
            deviation[:, columns] = np.clip(numbers, LOWEST - 1, HIGHEST) - LOWEST
            mean[:, columns] = np.clip(_means(results[: network.outputs], contrast), -largest, largest)

        workers.mapped(strip, list(product(range(len(phases)), _strips(own))))
        return Moments(mean.reshape(-1), deviation.reshape(-1))


def _strips(own: Level) -> list[slice]:
    """Rows of units, some hundred to some thousand units at a time, an even number of strips where there are many."""
    rows, columns = own.units
    pairs = -(-rows * columns // (2 * _MOST_UNITS))
    step = max(1, -(-rows // (2 * pairs)), _FEWEST_UNITS // columns)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _means(results: Array, contrast: Array) -> Array:
    """Whole steps of results that are relative to the contrast."""
    found: Array = np.floor(results * contrast * 2.0**-whole.RESULT_BITS)
    return found


def frequencies_of(logits: Array) -> Array:
    """Whole numbers that sum to 2^16 and are in about the proportion of 2^logit, none of them 0."""
    whole_logits = np.floor(logits * (_LOGIT_UNIT * 2.0**-whole.RESULT_BITS))
    relative = np.maximum(whole_logits - whole_logits.max(axis=0), _LOWEST_LOGIT).astype(np.int64)
    powers = _POWERS[relative - _LOWEST_LOGIT]
    room = (1 << FREQUENCY_BITS) - len(logits)
    found: Array = 1 + np.floor(powers * room / powers.sum(axis=0))
    top = powers.argmax(axis=0)
    found[top, np.arange(found.shape[1])] += (1 << FREQUENCY_BITS) - found.sum(axis=0)
    return found


def noise_deviation(code: int) -> float:
    """Deviation of an image's noise in 255ths of the range of samples; codes below 0 go on below those of mixtures."""
    return float(np.sqrt(variance_of(noise_level(code, "image")))) * 127.5


def descend(prior: PyramidPrior, shape: tuple[int, ...], colours: int, code: int, source: Source) -> Array:
    """The weights of a picture from the root down, and the values that they render: ``(3, height, width)`` in steps.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        shape: height and width.
        colours: 3, or 1 where there is no chroma; then it is 0.
        code: of the noise variance.
        source: of classes and details.
    """
    sizes = pyramid.sizes(shape)
    levels = len(sizes) - 1
    picture = np.zeros((1, 3, *sizes[-1]))
    root = root_moments(levels, sizes[-1], colours, code)
    picture[0, :colours] = source.details(StageName(levels, 0), None, root).reshape(colours, *sizes[-1])
    classes = None
    for number in range(levels - 1, -1, -1):
        own = pyramid.level(number, np.array([code]), picture, classes)
        del picture  # what is done with makes room: all the rest are small beside the finest level
        for chroma in (False, True)[: 1 + (colours == 3)]:
            _descend_half(prior, own, chroma, source)
        picture, classes = own.refined(sizes[number]), own.own_activity
        del own
    found: Array = picture[0]
    return found


def _descend_half(prior: PyramidPrior, own: Level, chroma: bool, source: Source) -> None:
    """The luma or the chroma of a level."""
    frequencies, means = prior.activity(own, chroma, source.expects)
    own.own_activity[:, int(chroma)] = source.activity(own, chroma, frequencies, means).reshape(1, *own.units)
    for number in range(4, 6) if chroma else range(4):
        moments = prior.moments(own, number)
        if len(moments.mean):
            pyramid.put(own, number, source.details(StageName(own.number, number), own, moments))


def root_moments(levels: int, size: tuple[int, int], colours: int, code: int) -> Moments:
    """Moments of the root, the same for all pictures: mean 0 and a deviation per colour."""
    # 2^levels · 150 / (noise deviation) in sixteenths of an octave; a noise code is one of those
    octaves = np.log2(np.array(_ROOT_DEVIATION[:colours]) / 63.75)
    numbers = np.clip(np.rint(octaves * OCTAVE) + OCTAVE * levels + code, LOWEST, HIGHEST) - LOWEST
    count = size[0] * size[1]
    return Moments(np.zeros(colours * count), np.repeat(numbers, count).astype(np.int16))


def values_of(picture: Array, colours: int, code: int) -> Array:
    """The values of an image from its picture: the inverse of the transform of colours, and of the unit of steps.

    Args:
        picture: ``(3, height, width)`` in steps.
        colours: 1 or 3.
        code: of the noise variance.

    Returns:
        ``(height, width, colours)`` float32 in 255ths of the range, 0 in the middle of it.
    """
    found = np.empty((*picture.shape[1:], colours), dtype=np.float32)
    matrix = (pyramid.COLOUR if colours == 3 else np.full((3, 1), 1 / math.sqrt(3))) * (noise_deviation(code) / UNIT)

    def strip(first: int) -> None:
        rows = slice(first, first + _ROWS_AT_ONCE)
        if colours == 3:
            np.einsum("khw,kc->hwc", picture[:, rows], matrix, out=found[rows], casting="same_kind")
        else:
            np.multiply(picture[0, rows, :, None], matrix[0, 0], out=found[rows], casting="same_kind")

    workers.mapped(strip, range(0, len(found), _ROWS_AT_ONCE))
    return found


def problem(prior: PyramidPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    possible = (
        prior.family == FAMILY
        and prior.kind == "image"
        and type(prior.size) is int
        and 0 < prior.size < 2**32
        and type(prior.parts_from) is int
        and prior.parts_from in (0, *range(FEWEST_PARTS_FROM, MOST_PARTS_FROM + 1))
        and ranges_possible(prior, NOISE_CODES - 1)
    )
    if not possible:
        return "its configuration is out of range"
    networks = product(range(COARSE + 1), pyramid.NETWORKS)
    shapes = {f"{kind}.{own.name}": (own.features, own.values, own.outputs, own.relative) for kind, own in networks}
    return wrong_networks(prior.stored, shapes)


def wrong_networks(stored: dict[str, Array], shapes: dict[str, tuple[int, int, int, int]]) -> str | None:
    """Why the tensors of networks cannot work, or ``None``.

    Args:
        stored: tensors by ``level.network.tensor``.
        shapes: features, results, outputs and relative features of the networks by ``level.network``.
    """
    for name, shape in shapes.items():
        if not whole.fits({part: stored.get(f"{name}.{part}") for part in whole.TENSORS}, *shape):
            return f"its network {name} has a wrong shape or type"
    wanted = {f"{name}.{part}" for name, part in product(shapes, whole.TENSORS)}
    return None if set(stored) == wanted else "it holds tensors that it has no use for"


def ranges_possible(prior: identity.ForManyRates, highest_code: int) -> bool:
    """Whether noise codes, rates and errors of a prior are such."""
    return (
        all(len(getattr(prior, name)) == 2 for name in RANGES)
        and all(type(code) is int and 0 <= code <= highest_code for code in prior.noise_codes)
        and all(type(value) is float and 0 < value < 64 for value in (*prior.rates, *prior.errors))
        and prior.noise_codes[0] < prior.noise_codes[1]
        and prior.rates[0] < prior.rates[1]
    )
