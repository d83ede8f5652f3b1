"""Curves of quality over rate: points between points, the best of several curves, BD-rates, published curves."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..system import files

Curve = Sequence[tuple[float, float]]

LEAST_OVERLAP = 6.0  # dB of quality that two curves share, for a BD-rate: what comes of less may be anything
LEAST_POINTS = 4


@dataclass(frozen=True)
class Delta:
    """A difference in rate at equal quality.

    Attributes:
        percent: average, negative is less rate; ``None`` where the curves have too little in common.
        low: lowest quality that both curves reach.
        high: highest one.
    """

    percent: float | None
    low: float
    high: float


def at_rate(curve: Curve, rate: float) -> float | None:
    """Quality of a curve at a rate, linear in the logarithm of the rate; ``None`` outside the curve's range.

    Up to 1 % below the curve's lowest rate its first point counts, which is in the curve's favour.
    """
    rates, qualities = zip(*sorted(curve), strict=True)
    if rates[0] * 0.99 <= rate < rates[0]:
        return float(qualities[0])
    if not rates[0] <= rate <= rates[-1]:
        return None
    return float(np.interp(np.log(rate), np.log(rates), qualities))


def better(curves: Iterable[Curve]) -> Curve:
    """The best that several curves reach with each rate or less."""
    some = [curve for curve in curves if curve]
    rates = sorted({rate for curve in some for rate, _ in curve})
    values = [max(value for curve in some if (value := at_rate(curve, rate)) is not None) for rate in rates]
    return list(zip(rates, itertools.accumulate(values, max), strict=True))


def rising(curve: Curve) -> Curve:
    """The points of a curve whose value no lower rate reaches."""
    kept: list[tuple[float, float]] = []
    for rate, value in sorted(curve):
        if not kept or value > kept[-1][1]:
            kept.append((rate, value))
    return kept


def decibels(similarity: float) -> float:
    """A similarity below 1 in dB, in which its curves are about as straight as those of PSNR."""
    return -10 * math.log10(max(1 - similarity, 1e-6))


def bd_rate(anchor: Curve, curve: Curve, least_overlap: float = LEAST_OVERLAP) -> Delta:
    """How much more or less rate a curve takes than another one at equal quality.

    Akima interpolation, over the range of quality that both cover.

    Args:
        anchor: of the other codec.
        curve: of the one.
        least_overlap: of the ranges, in the unit of the quality, or there is no difference.
    """
    anchor, curve = rising(anchor), rising(curve)
    if min(len(anchor), len(curve)) < LEAST_POINTS:
        return Delta(None, 0, 0)
    low, high = max(anchor[0][1], curve[0][1]), min(anchor[-1][1], curve[-1][1])
    if high - low < least_overlap:
        return Delta(None, low, high)
    import bjontegaard

    columns = [*zip(*anchor, strict=True), *zip(*curve, strict=True)]
    delta = bjontegaard.bd_rate(*columns, method="akima", require_matching_points=False, min_overlap=0)
    return Delta(float(delta), low, high)


def published(path: Path, dataset: str) -> dict[str, Curve]:
    """The curves of a file of published results, (rate, PSNR) pairs in the order of the rate.

    The file is JSON: either method, data set, list of [rate, PSNR]; or the results of one codec in the shape of
    CompressAI, whose data set is not named.

    Args:
        path: of the file.
        dataset: of which the curves are wanted.

    Raises:
        InputError: the file cannot be read, has another shape, or holds nothing on that data set.
    """
    try:
        content = json.loads(files.read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}; restore it") from error
    try:
        named = _of_one_codec(content) if "results" in content else _of_methods(content, dataset)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(
            f"{path} holds no curves; it takes method, data set, list of [rate, PSNR], or CompressAI's results"
        ) from error
    if not named:
        raise InputError(f"{path} holds no curve on a data set called {dataset}; name another with --published-name")
    return named


def _of_one_codec(content: Mapping[str, object]) -> dict[str, Curve]:
    results = content["results"]
    if not isinstance(results, Mapping):
        raise TypeError("results have no names")
    qualities = results["psnr-rgb"] if "psnr-rgb" in results else results["psnr"]
    rates = results["bpp"] if "bpp" in results else results["kbps"]
    return {str(content["name"]): _points(zip(rates, qualities, strict=True))}


def _of_methods(content: Mapping[str, object], dataset: str) -> dict[str, Curve]:
    """Names that begin with an underscore are remarks."""
    curves = {name: sets for name, sets in content.items() if not name.startswith("_") and isinstance(sets, Mapping)}
    return {name: _points(sets[dataset]) for name, sets in curves.items() if dataset in sets}


def _points(pairs: Iterable[Sequence[float]]) -> Curve:
    points = sorted((float(rate), float(quality)) for rate, quality in pairs)
    if not points:
        raise ValueError("a curve has no points")
    if not all(rate > 0 and math.isfinite(rate) and math.isfinite(quality) for rate, quality in points):
        raise ValueError("a rate or a quality is not a finite number")
    return points
