"""What a learning will take, told before it begins: sizes exactly where they are known, time and memory about.

The constants are those of one core of a server, on the data of the priors that come with the program. Other machines
are slower or faster; what is told is corrected as soon as steps were taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..families.lapped.learning import LappedPlan
    from ..families.linear.learning import MixturePlan
    from ..families.pyramid.learning import PyramidPlan
    from ..families.siren.learning import Plan

_WITH_TORCH, _WITHOUT = 250e6, 100e6  # bytes of the program itself
_SECONDS_PER_PIXEL, _SECONDS_PER_SAMPLE = 0.85e-6, 0.6e-6  # of gradient steps
_SECONDS_PER_PYRAMID_PART, _SECONDS_PER_LAPPED_PART = 0.06, 0.04  # of these, however small they are
_SECONDS_TO_MEASURE_A_PIXEL, _SECONDS_TO_MEASURE_A_SAMPLE = 14e-6, 5e-6  # of what is held out, at the end
_BYTES_PER_PIXEL, _BYTES_PER_SAMPLE = 350, 900  # of a step
_MIXTURE_OPERATIONS, _NETWORK_OPERATIONS = 2e10, 1.6e10  # per second
_KEPT_DIRECTIONS = 0.8  # of those of a class
_COPIES_OF_TILES = 4  # tiles, weights, surroundings, projections
_STATE_OF_A_WEIGHT = 6 * 4  # bytes: mean, deviation, and two moments of each


@dataclass(frozen=True)
class Outlook:
    """What a learning will take.

    Attributes:
        family: of the prior.
        prior_bytes: of the prior's file.
        at_most: whether it may turn out to be smaller.
        work: what will be done, in words.
        seconds: about, on one core.
        memory: bytes, about.
    """

    family: str
    prior_bytes: int
    at_most: bool
    work: str
    seconds: float
    memory: float


def of_pyramid(plan: PyramidPlan, prior_bytes: int, data_bytes: int, measured: int) -> Outlook:
    """Of a pyramid prior.

    Args:
        plan: of the learning.
        prior_bytes: of its networks.
        data_bytes: of the pictures.
        measured: pixels that are held out.
    """
    samples = plan.pictures * plan.crop**2
    return Outlook(
        "pyramid",
        prior_bytes,
        False,
        f"{plan.steps:,} steps of {plan.pictures} crops of {plan.crop}x{plan.crop}{_parts(plan.shards)}"
        f"{_from(plan.start)}",
        plan.steps * (samples * _SECONDS_PER_PIXEL + plan.shards * _SECONDS_PER_PYRAMID_PART)
        + measured * _SECONDS_TO_MEASURE_A_PIXEL,
        _WITH_TORCH + data_bytes + samples / plan.shards * _BYTES_PER_PIXEL,
    )


def of_lapped(plan: LappedPlan, prior_bytes: int, data_bytes: int, measured: int) -> Outlook:
    """Of a lapped prior, as :func:`of_pyramid`."""
    samples = plan.stretches * plan.length * plan.channels
    return Outlook(
        "lapped",
        prior_bytes,
        False,
        f"{plan.steps:,} steps of {plan.stretches} stretches of {plan.length:,} samples{_parts(plan.shards)}"
        f"{_from(plan.start)}",
        plan.steps * (samples * _SECONDS_PER_SAMPLE + plan.shards * _SECONDS_PER_LAPPED_PART)
        + measured * _SECONDS_TO_MEASURE_A_SAMPLE,
        _WITH_TORCH + data_bytes + samples / plan.shards * _BYTES_PER_SAMPLE,
    )


def of_mixture(plan: MixturePlan, phases: int, data_bytes: int) -> Outlook:
    """Of a mixture prior in some phases, from float32 values of ``data_bytes``."""
    classes = plan.components * phases
    around = min(plan.context, plan.dimensions)
    halves = plan.network.latents * plan.dimensions * 2 + around * plan.dimensions
    tiles = data_bytes / 4 / plan.network.latents
    operations = 2 * tiles * (plan.rounds + 1) * plan.components * _KEPT_DIRECTIONS * plan.dimensions**2
    return Outlook(
        "linear",
        2 * halves * phases + classes * plan.dimensions * (plan.dimensions + 6),
        True,
        f"{phases} phases of {plan.rounds} rounds, {plan.components} classes",
        operations / _MIXTURE_OPERATIONS,
        _WITHOUT + _COPIES_OF_TILES * data_bytes,
    )


def of_network(plan: Plan, tiles: int, data_bytes: int) -> Outlook:
    """Of a prior of networks with hidden layers, from a number of tiles, float32 values of ``data_bytes``."""
    weights = plan.network.latents
    directions = weights / 2  # about as many carry information
    points = min(plan.descent.points, math.prod(plan.network.extent))
    operations = 6.0 * tiles * plan.steps * (plan.rounds + 2) * points * weights
    # of a turn: products of the Jacobian with itself, factors of matrices
    operations += plan.turns * tiles * 14 * (600 * directions**2 + directions**3)
    full = plan.covariance == "full"
    work = f"{plan.rounds} rounds of {plan.steps} steps on {tiles:,} tiles"
    return Outlook(
        "siren",
        plan.components * weights * (4 + 2 * weights) if full else 12 * weights,
        full,
        work + (f", then {plan.turns} turns with full covariances" if full else ""),
        operations / _NETWORK_OPERATIONS,
        _WITH_TORCH + data_bytes + tiles * weights * _STATE_OF_A_WEIGHT,
    )


def _parts(shards: int) -> str:
    return f" in {shards} parts" if shards > 1 else ""


def _from(start: int | None) -> str:
    return "" if start is None else f", on from prior {start:08x}"


def about_time(seconds: float) -> str:
    """A time in words, no more exact than it deserves."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def about_size(count: float) -> str:
    """Bytes in words, no more exact than they deserve."""
    return size_text(count) if count >= 1e9 else size_text(round(count, -8)).replace(".0", "")


def size_text(count: float) -> str:
    """Bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{max(1, round(count / 1e3))} kB"
