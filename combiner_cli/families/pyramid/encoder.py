"""From a picture to class numbers and group indices with a pyramid prior; see :mod:`combiner_cli.stages.encoder`.

What is imported here takes time: only what encodes imports this room.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import pack
from ...container.header import Numbers
from ...family import Encoded, EncodingOptions, Progress, Report, Target
from ...signals.signal import Signal, to_values
from ...stages import rate_control
from ...stages.allocation import DENSITIES, LAST_STAGE, MOST_DENSITY
from ...stages.encoder import (
    REACH,
    Budget,
    Chance,
    Coded,
    Encoding,
    Forecast,
    Search,
    Writer,
    best_classes,
    class_bits,
    writer_for,
)
from ...stages.moments import COARSE, FREQUENCY_BITS, UNIT, StageName, in_deviations
from ...stages.prior import search_method
from . import haar, levels
from .levels import Level
from .prior import HIGHEST_CODE, LOWEST_CODE, PyramidPrior, descend, noise_deviation, planes_of

Array = npt.NDArray[Any]

# variance of the details of a unit over the noise's that its class stands for, the noise itself included
CLASS_VARIANCES = np.array([1.0, 2.5, 6.6, 21.0, 80.0, 320.0, 1600.0, 11000.0, 90000.0])
COARSE_CLASS_VARIANCES = np.array([1.0, 2.7, 8.0, 30.0, 150.0, 1000.0, 10_000.0, 150_000.0, 2_000_000.0])
_MOST_WIDENINGS = 4
_HALF_RANGE = 127.5
_FAST = 2  # efforts up to this one follow one path
_WIDENED = 2  # kinds of levels from this one on, which are small


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
        np.einsum("kc,hwc->khw", haar.COLOUR, values, out=planes)
    else:
        np.multiply(values[:, :, 0], math.sqrt(3), out=planes[0])
    details = []
    for _ in haar.sizes(values.shape[:2])[1:]:
        planes, found = haar.analyse(planes)
        details.append(found.astype(np.float32))
    return Picture((values.shape[0], values.shape[1]), colours, planes, tuple(details))


@dataclass(eq=False, kw_only=True)
class _Pictured(Encoding):
    """The true weights of a picture, and the activity that follows from them.

    Attributes:
        prior: of the picture.
        picture: its weights.
    """

    prior: PyramidPrior
    picture: Picture

    @property
    def scale(self) -> float:
        """Deviations of the noise per 255th."""
        return 1 / noise_deviation(self.code)

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        details = levels.unit_details(self.picture.details[own.number][None], chroma) * self.scale
        energy = ((details - means / UNIT) ** 2).mean(axis=0)
        found = best_classes(
            energy, np.log2(frequencies.astype(np.float64)) - FREQUENCY_BITS, len(details), class_variances(own.kind)
        )
        if own.kind >= _WIDENED:
            found = self._widened(own, chroma, found)
        self.class_bits += class_bits(found, frequencies)
        return found

    def _widened(self, own: Level, chroma: bool, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Classes with which the candidates reach all details of their units, as far as higher classes help.

        In coarse levels that is tried out with the true details as context: what is out of reach
        there would stay as an error over many samples.
        """
        trial = replace(own, activity=own.activity.copy(), details=dict(own.details))
        for _ in range(_MOST_WIDENINGS):
            trial.own_activity[0, int(chroma)] = classes.reshape(own.units)
            beyond = np.zeros(own.units, dtype=bool)
            for number in levels.stages(chroma):
                moments = self.prior.moments(trial, number)
                true = self.target(StageName(own.number, number), own)
                deviations = np.sqrt(1 + moments.deviations(np.arange(len(true))) ** 2)
                outside = np.abs(true - in_deviations(moments.mean)) > REACH * deviations
                levels.mark_units(trial, number, outside, beyond)
                levels.put(trial, number, np.rint(true * UNIT))
            if not beyond.any():
                break
            classes = np.minimum(classes + beyond.reshape(-1), levels.CLASSES - 1)
        return classes

    def target(self, name: StageName, own: Level | None) -> Array:
        """The true coefficients of a stage in units of the noise's deviation, ``(latents,)``."""
        if own is None:
            return self.picture.root[: self.picture.colours].reshape(-1) * self.scale
        found: Array = levels.get(self.picture.details[own.number][None], own, name.number).reshape(-1)
        return found * self.scale


@dataclass(eq=False, kw_only=True)
class ChanceSource(_Pictured, Chance):
    """A picture with samples of the posterior in the place of candidates."""


@dataclass(eq=False, kw_only=True)
class SearchSource(_Pictured, Search):
    """A picture with candidates that a search finds."""

    def activity(self, own: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        found = super().activity(own, chroma, frequencies, means)
        self.writer.classes.put(found, frequencies)
        return found


def class_variances(kind: int) -> Array:
    """Variances that the classes of a kind of level stand for."""
    return COARSE_CLASS_VARIANCES if kind == COARSE else CLASS_VARIANCES


def forecast(prior: PyramidPrior, values: Array, code: int) -> Forecast:
    """Simulate the coding of a plane ``(height, width, 1 or 3)``."""
    picture = picture_of(values)
    source = ChanceSource(prior=prior, picture=picture, code=code, parts_from=prior.parts_from)
    decoded = descend(prior, picture.shape, picture.colours, code, source).whole()
    error = float(((np.clip(decoded, -127.5, 127.5) - values) ** 2).sum())
    return Forecast(code, source.bits, source.class_bits, source.information, error)


def encode_planes(prior: PyramidPrior, planes: Sequence[Array], expected: Sequence[Forecast], writer: Writer) -> Coded:
    """Code the planes of an image, one after the other.

    Args:
        prior: of the weights.
        planes: their values, ``(height, width, 1 or 3)`` each, in 255ths, 0 in the middle.
        expected: what a simulation of each at the noise code to be used came to.
        writer: of an empty file.
    """
    code = expected[0].code
    error = 0.0
    for values, own in zip(planes, expected, strict=True):
        picture = picture_of(values)
        writer.expected = own
        if values is planes[-1]:
            writer.share.final = LAST_STAGE[picture.colours] if max(picture.shape) > 4 else StageName(0, 0)
        source = SearchSource(prior=prior, picture=picture, code=code, parts_from=prior.parts_from, writer=writer)
        decoded = descend(prior, picture.shape, picture.colours, code, source).whole()
        error += float(((np.clip(decoded, -127.5, 127.5) - values) ** 2).sum())
    return writer.finished(code, tuple(writer.share.densities), error)


def encode(
    prior: PyramidPrior, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
) -> list[Encoded]:
    """Encode images, one after another.

    Args:
        prior: of their weights.
        signals: the images.
        target: of each file.
        options: how.
        report: called as the work proceeds.

    Raises:
        UsageError: the target cannot be met, or an option goes with another family.
    """
    method = search_method(prior, options, "best" if options.effort <= _FAST else "viterbi")
    encoded = []
    for number, signal in enumerate(signals):
        report(Progress("fit", number / len(signals)))
        encoded.append(_encoded(prior, signal, target, options, method))
    seconds = {phase: sum(one.seconds[phase] for one in encoded) for phase in encoded[0].seconds}
    return [replace(one, seconds=seconds) for one in encoded]


def _encoded(prior: PyramidPrior, signal: Signal, target: Target, options: EncodingOptions, method: str) -> Encoded:
    clock = time.perf_counter()
    codes = rate_control.Codes(LOWEST_CODE, HIGHEST_CODE, 40, 1 / 8, _HALF_RANGE, 16)
    values = to_values(signal) * _HALF_RANGE
    planes = [values[:, :, channels] for channels in planes_of(signal.channels)]
    known: dict[int, list[Forecast]] = {}

    def overhead(numbers: Numbers) -> int:
        return len(pack(prior.id, signal.format, prior.fields, {"noise": (0,), **numbers}, b""))

    around = overhead({"class_bytes": (2**19,), "densities": (MOST_DENSITY,) * DENSITIES, "chains": (1,)})

    def foretell(code: int) -> list[Forecast]:
        if code not in known:
            known[code] = [forecast(prior, plane, code) for plane in planes]
        return known[code]

    def attempt_at(code: int) -> rate_control.Attempt:
        expected = foretell(code)

        def attempt(budget: Budget) -> Coded:
            writer = writer_for(prior.key, expected, budget, method, options.seed)
            return encode_planes(prior, planes, expected, writer)

        return attempt

    size = int(target.value) if target.unit == "size" else None
    chosen = rate_control.choose(foretell, codes, prior, target, signal.points, values.size, around, options.effort)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    coded = rate_control.best(attempt_at, foretell, chosen, codes, overhead, size, options.effort)
    seconds["search"] = time.perf_counter() - clock
    return Encoded({"noise": (coded.code - LOWEST_CODE,), **coded.numbers}, coded.payload, coded.latents, seconds)
