"""A prior that serves a range of rates, with the noise variance as the choice among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ..container.header import Field, Fields
from ..errors import DamagedFileError, UsageError
from ..family import Configuration, EncodingOptions, Family, Prior
from ..rec.candidates import MOST_CHAINS
from .allocation import DENSITIES, MOST_DENSITY

LARGEST_NOISE = 127  # that a file can name
# what the header of a file says besides what every file says: the noise level, the length of the stream of classes,
# how many groups stages have for their information, and in how many chains groups are coded
FIELDS: Fields = (
    Field("noise", LARGEST_NOISE),
    Field("class_bytes"),
    Field("densities", MOST_DENSITY, count=DENSITIES),
    Field("chains", MOST_CHAINS, least=1),
)
RANGES = ("noise_codes", "rates", "errors")


class MultiRatePrior(Prior):
    """A prior that serves a range of rates.

    Attributes:
        qualities: places of qualities 1 and 10 between the lowest and the highest rate.
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per point at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
    """

    qualities: ClassVar[tuple[float, float]]
    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]

    @property
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""
        return FIELDS

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
        """Code of the noise variance at which a typical signal takes a rate, and its mean squared error there.

        The rate, the noise variance and the error are about exponential in each other.
        """
        place = math.log(bits_per_point / self.rates[0]) / math.log(self.rates[1] / self.rates[0])
        code = self.noise_codes[0] + place * (self.noise_codes[1] - self.noise_codes[0])
        return code, self.errors[0] * (self.errors[1] / self.errors[0]) ** place

    def ranges_possible(self, highest_code: int) -> bool:
        """Whether noise codes, rates and errors are such."""
        return (
            all(len(getattr(self, name)) == 2 for name in RANGES)
            and all(type(code) is int and 0 <= code <= highest_code for code in self.noise_codes)
            and all(type(value) is float and 0 < value < 64 for value in (*self.rates, *self.errors))
            and self.noise_codes[0] < self.noise_codes[1]
            and self.rates[0] < self.rates[1]
        )


def search_method(prior: Prior, options: EncodingOptions, usual: str) -> str:
    """The search for candidates, once it is clear that the options are for such a prior.

    Args:
        prior: to encode with.
        options: of the encoder.
        usual: the method where none is asked for.

    Raises:
        UsageError: an option is for priors of other families, or there is no such search.
    """
    from ..rec import search

    if options.refinement is not None:
        raise UsageError(
            f"prior {prior.name} has no posterior to refine; leave out the refinement {options.refinement}"
        )
    if options.device == "cuda":
        raise UsageError(f"prior {prior.name} encodes on the CPU alone; leave out the device {options.device}")
    method = options.search or usual
    search.check_method(method)
    return method


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
