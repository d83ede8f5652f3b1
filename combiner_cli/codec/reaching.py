"""The smallest file that reaches a PSNR: false position on the logarithm of the size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UnreachableError, UsageError
from ..family import Target
from ..signals import metrics
from ..signals.signal import Signal

if TYPE_CHECKING:
    from .pipeline import EncodeResult

_MOST_ATTEMPTS = 16
_CLOSE_ENOUGH = 0.02  # dB over it
_DB_PER_DOUBLING = 4.0  # of the size, about
_MOST_OCTAVES = 2.0  # that a file grows at once
_SATURATED = 0.1  # dB: a file of almost twice the size that gains less is about the best that its prior can do
_GROWN = 1.8  # times the payload that count as almost twice
_MARGIN = 0.15  # octaves of size beyond the first guess, so that the next one is on the other side


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A file, and how many dB it is over what is asked for (below 0: under it)."""

    excess: float
    result: EncodeResult

    @property
    def size(self) -> int:
        return len(self.result.data)


def reach(signal: Signal, psnr: float, prior_name: str, attempt: Callable[[Target], EncodeResult]) -> EncodeResult:
    """The smallest file found that reaches a PSNR.

    Args:
        signal: to encode.
        psnr: dB that its decoded version is to reach.
        prior_name: of the prior, for messages.
        attempt: makes a file for a target and decodes it.

    Raises:
        UnreachableError: no file with this prior reaches it.
    """
    below: _Attempt | None = None
    above: _Attempt | None = None
    smallest = 1
    result = attempt(Target("psnr", psnr))  # about there, or as good a beginning as any
    for number in range(1, _MOST_ATTEMPTS + 1):
        assert result.decoded is not None
        latest = _Attempt(metrics.psnr(signal, result.decoded) - psnr, result)
        if latest.excess >= 0:
            above = latest
        elif above is None and below is not None and _is_saturated(below, latest):
            break
        else:
            below = latest
        size = _next_size(below, above, smallest)
        if size is None or number == _MOST_ATTEMPTS or (above is not None and above.excess < _CLOSE_ENOUGH):
            break
        try:
            result = attempt(Target("size", size))
        except UsageError:
            if above is None:
                raise
            smallest = (size + above.size + 1) // 2  # that was too small for this signal
            continue
        if below is not None and len(result.data) <= below.size:
            break  # it does not get larger than this
    if above is None:
        assert below is not None
        best, asked = (_decibels_text(signal, round(value, 2)) for value in (psnr + below.excess, psnr))
        raise UnreachableError(f"prior {prior_name} reaches {best} here; ask for less than {asked}")
    return above.result


def _decibels_text(signal: Signal, psnr: float) -> str:
    """A PSNR, and the SNR that is the same of a sound that is not silent."""
    if signal.kind != "sound" or math.isinf(metrics.peak_over_signal(signal)):
        return f"{psnr:g} dB"
    return f"{psnr:g} dB (SNR {psnr - metrics.peak_over_signal(signal):.2f} dB)"


def _is_saturated(smaller: _Attempt, larger: _Attempt) -> bool:
    """Whether many more bytes hardly gain anything."""
    grown = larger.result.payload_bytes > _GROWN * smaller.result.payload_bytes
    return grown and larger.excess < smaller.excess + _SATURATED


def _next_size(below: _Attempt | None, above: _Attempt | None, smallest: int) -> int | None:
    """A size between the largest file that fails and the smallest that does not, or beyond; ``None``: none is left."""
    if below is None or above is None:
        only = above or below
        assert only is not None
        around = only.size - only.result.payload_bytes
        octaves = min(-only.excess / _DB_PER_DOUBLING, _MOST_OCTAVES)
        size = around + round(only.result.payload_bytes * 2 ** (octaves + math.copysign(_MARGIN, octaves)))
        size = max(size, smallest)
        return size if size != only.size else None
    small, large = below.size, above.size
    if large - small <= max(1, large // 500):
        return None
    share = min(max(-below.excess / (above.excess - below.excess), 0.1), 0.9)
    size = round(small * math.exp(share * math.log(large / small)))
    return min(max(size, small + 1), large - 1)
