"""The smallest file that reaches a quality by some measure: false position on the logarithm of the size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UnreachableError, UsageError
from ..family import Prior, Target
from ..signals import metrics
from ..signals.signal import Signal

if TYPE_CHECKING:
    from .pipeline import EncodeResult

_MOST_ATTEMPTS = 16
_MOST_OCTAVES = 2.0  # that a file grows at once
_GROWN = 1.8  # times the payload that count as almost twice
_MARGIN = 0.15  # octaves of size beyond the first guess, so that the next one is on the other side


@dataclass(frozen=True)
class Goal:
    """A quality that is to be reached.

    Attributes:
        first: what an encoder is asked for at first.
        wanted: in the units of the measure.
        measured: the measure, of an original and what was decoded.
        words: a quality in words, of an original and a number.
        per_doubling: about what twice the size gains.
        close_enough: over what is wanted.
        saturated: a file of almost twice the size that gains less is about the best that its prior can do.
    """

    first: Target
    wanted: float
    measured: Callable[[Signal, Signal], float]
    words: Callable[[Signal, float], str]
    per_doubling: float
    close_enough: float
    saturated: float


def of_target(target: Target, prior: Prior) -> Goal | None:
    """What a target wants to be reached; ``None`` where an encoder meets it by itself.

    Args:
        target: of a file.
        prior: that it is to be made with.
    """
    if target.unit == "psnr":  # which an encoder comes about to, or to as good a beginning as any
        return Goal(target, target.value, metrics.psnr, _decibels_text, 4.0, 0.02, 0.1)
    if target.unit == "ssimulacra2":
        first = replace(target, unit="rate", value=prior.bits_per_point)
        return Goal(first, target.value, metrics.ssimulacra2, _score_text, 16.0, 0.1, 0.4)
    return None


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A file, and how much it is over what is asked for (below 0: under it)."""

    excess: float
    result: EncodeResult

    @property
    def size(self) -> int:
        return len(self.result.data)


def reach(signal: Signal, goal: Goal, prior_name: str, attempt: Callable[[Target], EncodeResult]) -> EncodeResult:
    """The smallest file found that reaches a quality.

    Args:
        signal: to encode.
        goal: that its decoded version is to reach.
        prior_name: of the prior, for messages.
        attempt: makes a file for a target and decodes it.

    Raises:
        UnreachableError: no file with this prior reaches it.
    """
    below: _Attempt | None = None
    above: _Attempt | None = None
    smallest = 1
    result = attempt(goal.first)
    for number in range(1, _MOST_ATTEMPTS + 1):
        assert result.decoded is not None
        latest = _Attempt(goal.measured(signal, result.decoded) - goal.wanted, result)
        if latest.excess >= 0:
            above = latest
        elif above is None and below is not None and _is_saturated(below, latest, goal):
            break
        else:
            below = latest
        size = _next_size(below, above, smallest, goal)
        if size is None or number == _MOST_ATTEMPTS or (above is not None and above.excess < goal.close_enough):
            break
        try:
            result = attempt(replace(goal.first, unit="size", value=size))
        except UsageError:
            if above is None:
                raise
            smallest = (size + above.size + 1) // 2  # that was too small for this signal
            continue
        if below is not None and len(result.data) <= below.size:
            break  # it does not get larger than this
    if above is None:
        assert below is not None
        best, asked = (goal.words(signal, round(value, 2)) for value in (goal.wanted + below.excess, goal.wanted))
        raise UnreachableError(f"prior {prior_name} reaches {best} here; ask for less than {asked}")
    return above.result


def _decibels_text(signal: Signal, psnr: float) -> str:
    """A PSNR, and the SNR that is the same of a sound that is not silent."""
    if signal.kind != "sound" or math.isinf(metrics.peak_over_signal(signal)):
        return f"{psnr:g} dB"
    return f"{psnr:g} dB (SNR {psnr - metrics.peak_over_signal(signal):.2f} dB)"


def _score_text(_signal: Signal, score: float) -> str:
    return f"a SSIMULACRA 2 of {score:g}"


def _is_saturated(smaller: _Attempt, larger: _Attempt, goal: Goal) -> bool:
    """Whether many more bytes hardly gain anything."""
    grown = larger.result.payload_bytes > _GROWN * smaller.result.payload_bytes
    return grown and larger.excess < smaller.excess + goal.saturated


def _next_size(below: _Attempt | None, above: _Attempt | None, smallest: int, goal: Goal) -> int | None:
    """A size between the largest file that fails and the smallest that does not, or beyond; ``None``: none is left."""
    if below is None or above is None:
        only = above or below
        assert only is not None
        around = only.size - only.result.payload_bytes
        octaves = min(-only.excess / goal.per_doubling, _MOST_OCTAVES)
        size = around + round(only.result.payload_bytes * 2 ** (octaves + math.copysign(_MARGIN, octaves)))
        size = max(size, smallest)
        return size if size != only.size else None
    small, large = below.size, above.size
    if large - small <= max(1, large // 500):
        return None
    share = min(max(-below.excess / (above.excess - below.excess), 0.1), 0.9)
    size = round(small * math.exp(share * math.log(large / small)))
    return min(max(size, small + 1), large - 1)
