"""Which of the shipped priors suits a signal and what its file is to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import PriorError
from ..families import registry
from ..family import Prior, Target
from ..signals.kinds import KINDS
from ..signals.signal import Format, Kind
from . import library, store

# with several priors for one kind of signal: qualities that are at the rates of the first and of the last one
_QUALITY_OF_LOWEST, _QUALITY_OF_HIGHEST = 2, 9


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


def choose(signal_format: Format, target: Target) -> tuple[Prior, Target]:
    """The shipped prior for a signal and a target, and a rate where the target is a quality.

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
    distances = {
        path: distance for path in library.shipped() if (distance := _distance(path, signal_format)) is not None
    }
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


def _distance(path: Path, signal_format: Format) -> float | None:
    """How far a signal is from those that a prior was learned from, by what its file says."""
    stated = store.stated_configuration(path)
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
