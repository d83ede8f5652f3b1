"""A prior that serves a range of rates, with the noise variance as the choice among them."""

from __future__ import annotations

import math

from ..family import Prior


class MultiRatePrior(Prior):
    """A prior that serves a range of rates.

    Attributes:
        noise_codes: codes of the lowest and the highest rate that it was learned for.
        rates: bits per point at these codes, average of the signals of learning.
        errors: mean squared error at these codes on values in [-1, 1], geometric average of the signals of learning.
    """

    noise_codes: tuple[int, int]
    rates: tuple[float, float]
    errors: tuple[float, float]

    @property
    def bits_per_point(self) -> float:
        """The prior's own rate, in the middle of those that it was learned for."""
        return math.sqrt(self.rates[0] * self.rates[1])

    def typical(self, bits_per_point: float) -> tuple[float, float]:
        """Code of the noise variance at which a typical signal takes a rate, and its mean squared error there.

        The rate, the noise variance and the error are about exponential in each other.
        """
        place = math.log(bits_per_point / self.rates[0]) / math.log(self.rates[1] / self.rates[0])
        code = self.noise_codes[0] + place * (self.noise_codes[1] - self.noise_codes[0])
        return code, self.errors[0] * (self.errors[1] / self.errors[0]) ** place
