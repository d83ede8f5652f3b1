"""Encoding with a prior of the linear family: from signals and a target to payloads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...container.file import pack
from ...errors import UsageError
from ...family import Encoded, EncodingOptions, Progress, Report, Target
from ...signals.signal import Format, Signal, Tiling, split, to_values
from ..siren import tiles
from . import closed_form, mixtures
from .closed_form import Choice, Coded
from .prior import NOISE, MixturePrior

_PEAK_TO_PEAK = 2.0  # of values


def encode(
    prior: MixturePrior, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
) -> list[Encoded]:
    """Encode signals of one format in one computation.

    Args:
        prior: shared with the decoder.
        signals: one or more.
        target: of each file.
        options: how.
        report: called as the work proceeds.

    Raises:
        UsageError: the target cannot be met, or an option goes with another family.
    """
    _check(prior, options)
    signal_format = signals[0].format
    layout = prior.tiling(signal_format.shape, signal_format.channels)
    values = np.concatenate([split(to_values(signal), layout) for signal in signals])
    weights = prior.network.weights(values).reshape(len(signals), layout.tiles, -1)
    count = _number_of_groups(prior, signal_format, layout, target) if target.unit == "size" else None
    clock = time.perf_counter()
    choices = _decide(prior, layout, weights, count, target)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    coder = closed_form.Coder(prior, layout, count, options.effort, tiles.search_method(options), options.seed)
    coded = []
    for number, (of_signal, choice) in enumerate(zip(weights, choices, strict=True), start=1):
        coded.append(coder.encode(of_signal, choice))
        report(Progress("search", number / len(signals)))
    seconds["search"] = time.perf_counter() - clock
    return [_encoded(prior, result, seconds) for result in coded]


def _check(prior: MixturePrior, options: EncodingOptions) -> None:
    """Refuse options of networks with hidden layers: here the fit is exact."""
    if options.refinement is not None:
        raise UsageError(f"prior {prior.name} needs no refinement; leave out --refine")
    if options.device == "cuda":
        raise UsageError(f"prior {prior.name} has no use for a GPU; leave out --device")


def _number_of_groups(prior: MixturePrior, signal_format: Format, layout: Tiling, target: Target) -> int:
    """Groups of a file of a size.

    Raises:
        UsageError: it has no room for one.
    """
    around = len(pack(prior.id, signal_format, prior.fields, {NOISE.name: (0,)}, b""))
    smallest = around + mixtures.class_bytes(layout.tiles, prior.class_bits) + 1
    count = math.floor(target.value) - smallest + 1
    if count < 1:
        raise UsageError(
            f"a file of this {signal_format.kind} takes {smallest} bytes with prior {prior.name}; "
            f"ask for more than {target.value:g}"
        )
    return count


def _decide(
    prior: MixturePrior, layout: Tiling, weights: npt.NDArray[np.floating], count: int | None, target: Target
) -> list[Choice]:
    """Classes and noise variances of all signals."""
    if count is not None:
        return closed_form.decide_by_groups(prior, layout, weights, count)
    if target.unit == "psnr":
        error = _PEAK_TO_PEAK**2 * 10 ** (-target.value / 10)
        return closed_form.decide_by_error(prior, layout, weights, error)
    if not (math.isfinite(target.value) and target.value > 0):
        raise UsageError(f"the rate must be positive, not {target.value}")
    return closed_form.decide_by_rate(prior, layout, weights, target.value)


def _encoded(prior: MixturePrior, coded: Coded, seconds: dict[str, float]) -> Encoded:
    payload = mixtures.pack_classes(coded.classes, prior.class_bits) + tiles.pack_indices(coded.indices)
    return Encoded({NOISE.name: (coded.code,)}, payload, coded.z, seconds)
