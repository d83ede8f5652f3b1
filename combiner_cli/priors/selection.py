"""Which of the shipped priors suits a signal and what its file is to be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PriorError
from ..families import registry
from ..family import Prior, Target
from ..signals.kinds import KINDS
from ..signals.signal import Format, Kind, Signal
from . import library
from .regions import Region, is_small, regions

# with several priors for one kind of signal: qualities that are at the rates of the first and of the last one
_QUALITY_OF_LOWEST, _QUALITY_OF_HIGHEST = 2, 9
# octaves in size or sample rate from the nearest prior to others that are compared with it, and to a last resort
_BESIDE: dict[Kind, float] = {"image": 2.0, "sound": 1.0}
_ALL, _EQUAL = 64.0, 1e-3
_MIDDLE_QUALITY = 5
_SLACK = 1.0  # bits: more than sums lose by rounding
_NOISE_OVER_ERROR = 3.0  # about how many times the squared error of a file its noise variance is


def check_kind(prior: Prior, kind: Kind) -> None:
    """Refuse a prior that was learned from another kind of signal.

    Args:
        prior: that was named.
        kind: of the signal.

    Raises:
        PriorError: it was.
    """
    if prior.kind != kind:
        article = KINDS[kind].article
        raise PriorError(f"prior {prior.name} is for {prior.kind}s and this is {article}; choose another prior")


@dataclass(frozen=True)
class Choice:
    """A prior for a signal.

    Attributes:
        prior: that is expected to code the signal best.
        target: of its encoder: a rate, a size or a PSNR.
        others: priors that were compared with it, those of less cost first.
    """

    prior: Prior
    target: Target
    others: Iterable[Prior] = ()


@dataclass(frozen=True, eq=False)
class _Compared:
    """Priors in the order of what coding a signal comes to with them, which is found out when they are asked for.

    Attributes:
        priors: in any order; those whose cost nobody can say are left out.
        parts: of the signal.
        noise_variance: that they are compared at.
    """

    priors: Sequence[Prior]
    parts: Sequence[Region]
    noise_variance: float

    def __iter__(self) -> Iterator[Prior]:
        costs = {prior: _cost(prior, self.parts, self.noise_variance) for prior in self.priors}
        return iter(
            sorted((prior for prior in self.priors if math.isfinite(costs[prior])), key=lambda prior: costs[prior])
        )

    def best(self) -> Prior:
        """The first of them, without a closer look at those that come to more; of equal ones the first as given."""
        costs: dict[Prior, float] = {}
        for prior in sorted(self.priors, key=_stored_bytes):  # those first that take the least work
            costs[prior] = _cost(prior, self.parts, self.noise_variance, min(costs.values(), default=math.inf))
        return min(self.priors, key=lambda prior: costs[prior])


def choose(signal: Signal, target: Target) -> Choice:
    """The shipped prior that is expected to code a signal best, and a rate where the target is a quality.

    The priors whose size or sample rate is near the signal's, for a small image all there are, are compared by what
    coding it comes to with each, at one noise variance for all; of a large signal, by some parts of it. For all
    qualities that is the same variance, so that the prior is the same too, and a higher quality is never worse.

    Args:
        signal: to encode.
        target: a quality, a rate, a size or a PSNR.

    Raises:
        PriorError: no prior for that kind of signal is shipped.
    """
    usual, settled = by_format(signal.format, target)
    noise = _noise(usual, target, settled, signal.format)
    compared = _compared(signal.format)
    if len(compared) < 2 or noise is None:
        return Choice(usual, settled)
    middle = Target("quality", _MIDDLE_QUALITY) if target.unit == "quality" else target
    compared_at = _noise(usual, middle, settled, signal.format) or noise
    parts = regions(signal)
    best = _Compared(compared, parts, compared_at.value).best()
    if settled.unit == "rate" and best is not usual:
        settled = replace(noise, tune=target.tune)
    others = [prior for prior in compared if prior is not best]
    return Choice(best, settled, _Compared(others, parts, compared_at.value))


def _noise(usual: Prior, target: Target, settled: Target, signal_format: Format) -> Target | None:
    """About the noise of a file; ``None`` where nobody knows one.

    Args:
        usual: the prior for signals of such a format.
        target: a quality, a rate, a size, a PSNR or a score.
        settled: the same, with a rate in the place of a quality.
        signal_format: of the signal.
    """
    match target.unit:
        case "quality":
            return _noise_of_quality(suitable_priors(signal_format), round(target.value), signal_format)
        case "psnr":
            return Target("noise", _NOISE_OVER_ERROR * 4 * 10 ** (-target.value / 10))
        case "ssimulacra2":
            return usual.typical_noise(usual.rate_at(_MIDDLE_QUALITY), signal_format)
        case "size":
            return usual.typical_noise(max(target.value, 1) * 8 / signal_format.points, signal_format)
        case _:
            return usual.typical_noise(settled.value, signal_format)


def _noise_of_quality(suitable: Sequence[Prior], quality: int, signal_format: Format) -> Target | None:
    """The noise of a quality, which is finer with each by the same factor, by increasing rates of the priors."""
    if len(suitable) == 1:
        return suitable[0].typical_noise(suitable[0].rate_at(quality), signal_format)
    ends = [prior.typical_noise(prior.bits_per_point, signal_format) for prior in (suitable[0], suitable[-1])]
    first, last = ends
    if first is None or last is None or first.typical_error is None or last.typical_error is None:
        return None
    place = (quality - _QUALITY_OF_LOWEST) / (_QUALITY_OF_HIGHEST - _QUALITY_OF_LOWEST)
    error = first.typical_error * (last.typical_error / first.typical_error) ** place
    return Target("noise", first.value * (last.value / first.value) ** place, typical_error=error)


def _compared(signal_format: Format) -> list[Prior]:
    """The shipped priors that may be the best for a signal."""
    distances = _distances(signal_format)
    nearest_distance = min(distances.values(), default=0.0)
    farthest = nearest_distance + _BESIDE[signal_format.kind]
    if signal_format.kind == "image" and is_small(signal_format.shape):
        farthest = _ALL
    paths = [path for path, distance in distances.items() if distance < max(farthest, nearest_distance + _EQUAL)]
    return [library.load_shipped(path) for path in paths]


def _stored_bytes(prior: Prior) -> int:
    return sum(tensor.nbytes for tensor in prior.tensors().values())


def _cost(prior: Prior, parts: Sequence[Region], noise_variance: float, most: float = math.inf) -> float:
    """What coding a signal comes to with a prior, by some parts of it; infinite where that cannot be said.

    Args:
        prior: of any family.
        parts: of the signal.
        noise_variance: on values in [-1, 1].
        most: bits from which on nobody asks how many there are.
    """
    most_of_part = (most + _SLACK) / parts[0].count if len(parts) == 1 else math.inf
    costs = prior.predicted_costs([part.signal for part in parts], noise_variance, most_of_part)
    if costs is None:
        return math.inf
    return sum(part.count * cost for part, cost in zip(parts, costs, strict=True))


def by_format(signal_format: Format, target: Target) -> tuple[Prior, Target]:
    """The shipped prior for signals of a format and a target, and a rate where the target is a quality.

    With several priors of different rates, the rate is logarithmic in the quality.

    Args:
        signal_format: of the signal.
        target: a quality, a rate, a size or a PSNR.

    Raises:
        PriorError: no prior for that kind of signal is shipped.
    """
    suitable = suitable_priors(signal_format)
    match target.unit:
        case "psnr":
            return _of_psnr(suitable, target.value), target
        case "size":
            return nearest(suitable, max(target.value, 1) * 8 / signal_format.points), target
        case "rate":
            return nearest(suitable, target.value), target
        case "ssimulacra2":
            return suitable[-1], target
        case _:
            rate = _rate_at(suitable, round(target.value))
            return nearest(suitable, rate), replace(target, unit="rate", value=rate)


def suitable_priors(signal_format: Format) -> list[Prior]:
    """The shipped priors that suit a signal best, which differ in their rates only; by increasing rate.

    Args:
        signal_format: of the signal.

    Raises:
        PriorError: no prior for that kind of signal is shipped.
    """
    distances = _distances(signal_format)
    if not distances:
        raise PriorError(f"no prior for {signal_format.kind}s is installed; name one with --prior")
    shortest = min(distances.values())
    best = [library.load_shipped(path) for path, distance in distances.items() if distance == shortest]
    return sorted(best, key=lambda prior: prior.bits_per_point)


def nearest(suitable: Sequence[Prior], bits_per_point: float) -> Prior:
    """The prior whose own rate is the nearest in proportion.

    Args:
        suitable: some priors.
        bits_per_point: rate that is wanted.
    """
    return min(suitable, key=lambda prior: abs(math.log(bits_per_point / prior.bits_per_point)))


def _distances(signal_format: Format) -> dict[Path, float]:
    """How far a signal is from those that each shipped prior was learned from; of those that do."""
    stated = ((path, _distance(path, signal_format)) for path in library.shipped())
    return {path: distance for path, distance in stated if distance is not None}


def _distance(path: Path, signal_format: Format) -> float | None:
    """How far a signal is from those that a prior was learned from, by what its file says."""
    stated = library.stated_of_shipped(path)
    if stated.get("family") not in registry.names():
        return None
    return registry.get(stated["family"]).suits(stated, signal_format)


def _rate_at(suitable: Sequence[Prior], quality: int) -> float:
    """Bits per point of a typical signal at a quality, by increasing rates of the priors."""
    if len(suitable) == 1:
        return suitable[0].rate_at(quality)
    lowest, highest = suitable[0].bits_per_point, suitable[-1].bits_per_point
    place = (quality - _QUALITY_OF_LOWEST) / (_QUALITY_OF_HIGHEST - _QUALITY_OF_LOWEST)
    return lowest * math.exp(place * math.log(highest / lowest))


def _of_psnr(suitable: Sequence[Prior], psnr: float) -> Prior:
    """The prior that is meant for a PSNR (dB, peak-to-peak 2); the one of the highest rate if none says so."""
    ranges = {prior: psnr_range for prior in suitable if (psnr_range := prior.psnr_range()) is not None}
    if not ranges:
        return suitable[-1]
    return min(ranges, key=lambda prior: abs(sum(ranges[prior]) / 2 - psnr))
