"""Priors that serve a range of rates, with the noise level as the choice among them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..container.header import Field, Fields, Numbers
from ..errors import DamagedFileError, UsageError
from ..family import Configuration, Encoded, EncodingOptions, Family, Prior, Progress, Report, Target
from ..rec.candidates import MOST_CHAINS
from ..signals.signal import Format, Signal
from .allocation import DENSITIES, LARGEST_DENSITY
from .moments import FEWEST_PARTS_FROM, MOST_PARTS_FROM
from .shape import SHAPED

if TYPE_CHECKING:
    from .encoding.rate_control import SearchOptions

LARGEST_NOISE = SHAPED - 1  # that a file can name
RANGES = ("noise_codes", "rates", "errors")  # what a configuration has at the lowest and the highest rate
# what the header of a file says besides what every file says: the noise level, the length of the stream of classes,
# how many groups stages have for their information, and in how many chains groups are coded
_FIELDS: Fields = (
    Field("noise", LARGEST_NOISE + SHAPED),  # with a shape of the noise it is so much more
    Field("class_bytes"),
    Field("densities", LARGEST_DENSITY, count=DENSITIES, may_be_one=True),
    Field("chains", MOST_CHAINS, least=1),
)


class MultiRatePrior(Prior):
    """A prior that serves a range of rates.

    Attributes:
        qualities: places of qualities 1 and 10 between the lowest and the highest rate.
        noise_codes: noise levels of the lowest and the highest rate that it was learned for.
        rates: bits per point at these levels, average of the signals of learning.
        errors: mean squared error at these levels on values in [-1, 1], geometric average of the signals of learning.
    """

    qualities: ClassVar[tuple[float, float]]
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]

    @property
    def bits_per_point(self) -> float:
        """The prior's own rate, in the middle of those that it was learned for."""
        return math.sqrt(self.rates[0] * self.rates[1])

    def rate_at(self, quality: int) -> float:
        """Bits per point of a typical signal at a quality from 1 to 10, which are equal steps of the noise level."""
        lowest, highest = self.qualities
        place = lowest + (highest - lowest) * (quality - 1) / 9
        return float(self.rates[0] * (self.rates[1] / self.rates[0]) ** place)

    def psnr_range(self) -> tuple[float, float]:
        """Lowest and highest PSNR (dB, peak-to-peak 2) that it was learned for."""
        lowest, highest = (10 * math.log10(4 / error) for error in self.errors)
        return lowest, highest

    def typical(self, bits_per_point: float) -> tuple[float, float]:
        """Noise level at which a typical signal takes a rate, and its mean squared error there.

        The rate, the noise variance and the error are about exponential in each other.
        """
        place = math.log(bits_per_point / self.rates[0]) / math.log(self.rates[1] / self.rates[0])
        noise_level = self.noise_codes[0] + place * (self.noise_codes[1] - self.noise_codes[0])
        return noise_level, self.errors[0] * (self.errors[1] / self.errors[0]) ** place

    def typical_rate(self, noise_level: float) -> float:
        """Bits per point that a typical signal takes at a noise level; the inverse of :meth:`typical`."""
        place = (noise_level - self.noise_codes[0]) / (self.noise_codes[1] - self.noise_codes[0])
        return float(self.rates[0] * (self.rates[1] / self.rates[0]) ** place)

    def typical_bits(self, noise_level: float, signal_format: Format) -> float:
        """Bits that a typical signal of a format takes at a noise level."""
        return self.typical_rate(noise_level) * signal_format.points

    @abstractmethod
    def noise_variance(self, noise_level: float) -> float:
        """The variance that a noise level stands for, on values in [-1, 1], between levels as well."""

    def typical_noise(self, bits_per_point: float, signal_format: Format) -> Target:
        """The noise that a typical signal is coded with at a rate, as a target for any other prior."""
        level, error = self.typical(bits_per_point)
        return Target("noise", self.noise_variance(level) / self.noise_gain(signal_format), typical_error=error)

    def typical_of(self, target: Target, signal_format: Format) -> tuple[float, float]:
        """Noise level that a typical signal is coded with, and its mean squared error there.

        Args:
            target: a rate or a noise.
            signal_format: of the signal that is to be coded.

        Raises:
            UsageError: the rate is not positive.
        """
        if not (math.isfinite(target.value) and target.value > 0):
            raise UsageError(f"the rate must be positive, not {target.value}")
        if target.unit == "rate":
            return self.typical(target.value)
        assert target.typical_error is not None
        return self.noise_level_of(target.value * self.noise_gain(signal_format)), target.typical_error

    def noise_level_of(self, noise_variance: float) -> float:
        """The inverse of :meth:`noise_variance`: equal steps of the level are equal factors of the variance."""
        zero, one = self.noise_variance(0), self.noise_variance(1)
        return math.log(zero / noise_variance) / math.log(zero / one)

    def noise_gain(self, signal_format: Format) -> float:
        """The noise variance of what is coded over that of the signal, where these differ.

        Args:
            signal_format: of the signal.
        """
        del signal_format  # as a rule
        return 1.0

    def search_method(self, options: EncodingOptions, usual: str) -> str:
        """The search for candidates, once it is clear that the options are for such a prior.

        Args:
            options: of the encoder.
            usual: the search where none is asked for.

        Raises:
            UsageError: an option is for priors of other families, or there is no such search.
        """
        from ..rec import search

        if options.refinement is not None:
            raise UsageError(f"prior {self.name} has no use for the refinement {options.refinement}; leave it out")
        if options.device == "cuda":
            raise UsageError(f"prior {self.name} encodes on the CPU alone; leave out the device {options.device}")
        method = options.search or usual
        search.check_method(method)
        return method

    def ranges_possible(self, highest_noise_level: int) -> bool:
        """Whether noise levels, rates and errors can be what they are said to be."""
        return (
            all(len(getattr(self, name)) == 2 for name in RANGES)
            and all(type(level) is int and 0 <= level <= highest_noise_level for level in self.noise_codes)
            and all(type(value) is float and 0 < value < 64 for value in (*self.rates, *self.errors))
            and self.noise_codes[0] < self.noise_codes[1]
            and self.rates[0] < self.rates[1]
        )


class StagewisePrior(MultiRatePrior):
    """A prior over the weights of one network for a whole signal, which are coded stage after stage.

    Attributes:
        size: longer side of a typical signal of learning, in points.
        stored: tensors of the networks that predict moments, by ``level.network.tensor``, int16 and int32.
        parts_from: octaves of a deviation over the noise's from which a weight is coded in parts.
    """

    shapes_noise = True
    size: int
    stored: dict[str, npt.NDArray[np.integer]]
    parts_from: int

    @property
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""
        return _FIELDS

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""
        return dict(self.stored)

    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode signals, one after another; see :meth:`family.Prior.encode`."""
        from .encoding.rate_control import SearchOptions

        method = self.search_method(options, self.usual_search(options.effort))
        how = SearchOptions(options.effort, method, options.seed, options.adapt)
        encoded = []
        for number, signal in enumerate(signals):
            report(Progress("encode", number / len(signals)))
            encoded.append(self.encode_one(signal, target, how))
        report(Progress("encode", 1.0))
        seconds = {phase: sum(one.seconds[phase] for one in encoded) for phase in encoded[0].seconds}
        return [replace(one, seconds=seconds) for one in encoded]

    @abstractmethod
    def usual_search(self, effort: int) -> str:
        """The search for candidates where none is asked for, one of ``search.METHODS``."""

    @abstractmethod
    def encode_one(self, signal: Signal, target: Target, how: SearchOptions) -> Encoded:
        """Encode one signal.

        Args:
            signal: what to encode.
            target: of the file.
            how: candidates are searched for.

        Raises:
            UsageError: the target cannot be met.
        """

    def configuration_possible(self) -> bool:
        """Whether what all such priors have can be what it is said to be."""
        return (
            type(self.size) is int
            and 0 < self.size < 2**32
            and type(self.parts_from) is int
            and FEWEST_PARTS_FROM <= self.parts_from <= MOST_PARTS_FROM
            and self.ranges_possible(LARGEST_NOISE)
        )


def noise_number(numbers: Numbers) -> int:
    """The number that stands for the noise level of a file, without what says that its noise has a shape."""
    return numbers["noise"][0] % SHAPED


def arguments_of(
    family: Family, configuration: Configuration, plain: Sequence[str], lists: Sequence[str]
) -> dict[str, Any]:
    """Arguments of a prior from a configuration, lists as tuples.

    Args:
        family: of the prior.
        configuration: any JSON object at all.
        plain: names of what it must have besides the family and the lists.
        lists: names of the lists that it must have.

    Raises:
        DamagedFileError: it does not have these and no others, or is of another family.
    """
    expected = {"family", *plain, *lists}
    for names, words in ((expected - set(configuration), "lacks"), (set(configuration) - expected, "has no use for")):
        if names:
            raise DamagedFileError(f"its configuration {words} {', '.join(sorted(names))}")
    if configuration["family"] != family.name:
        raise DamagedFileError(f"it belongs to another family than {family.name}")
    return {name: configuration[name] for name in plain} | {name: tuple(configuration[name]) for name in lists}
