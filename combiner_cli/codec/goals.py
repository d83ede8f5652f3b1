"""What a user asks a file to be, and which prior and settings go with it."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from ..errors import UsageError
from ..priors import library
from ..priors.library import AnyPrior, check_kind
from ..signals import metrics
from ..signals.signal import Signal
from .pipeline import Settings

_USUAL_QUALITY = 5


@dataclass(frozen=True)
class Goal:
    """What a user asks a file to be; at most one of them.

    Attributes:
        quality: 1 to 10.
        size: bytes of the file.
        bits_per_pixel: of an image, at most.
        kilobits_per_second: of a sound, at most.
        psnr: dB to reach.
        snr: dB to reach, of a sound.
    """

    quality: int | None = None
    size: int | None = None
    bits_per_pixel: float | None = None
    kilobits_per_second: float | None = None
    psnr: float | None = None
    snr: float | None = None


def check(goal: Goal) -> None:
    """Make sure that a goal is one that some signal can have.

    Raises:
        UsageError: it is several that exclude each other, or not a finite number.
    """
    names = ("-q", "--size", "--bpp", "--kbps", "--psnr", "--snr")
    given = [name for name, value in zip(names, astuple(goal), strict=True) if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other; give one of them")
    if not all(math.isfinite(value) for value in astuple(goal) if value is not None):
        raise UsageError(f"{given[0]} takes a finite number")


def plan(signal: Signal, goal: Goal, prior: AnyPrior | None, around: int = 0) -> tuple[AnyPrior, Settings]:
    """The prior and the settings for a goal.

    Args:
        signal: to encode.
        goal: of the file.
        prior: if the user named one, else the shipped ones are looked at.
        around: bytes that metadata take of the size that is asked for.

    Raises:
        UsageError: goals that exclude each other, or do not go with the kind of signal, or with a silent sound, or
            leave no room beside the metadata.
        PriorError: the prior is for another kind of signal, or none is shipped.
    """
    check(goal)
    if prior is not None:
        check_kind(prior, signal.kind)
    size = _size(signal, goal)
    if size is not None:
        if around and size <= around:
            raise UsageError(
                f"the metadata take {around:,} bytes of {size:,}; ask for a larger file, or leave out --keep-metadata"
            )
        size -= around
        chosen = prior or library.nearest_prior(
            library.suitable_priors(signal.kind, signal.shape, signal.sample_rate), max(size, 1) * 8 / signal.points
        )
        return chosen, Settings(size=size)
    psnr = _psnr(signal, goal)
    if psnr is not None:
        # values span 2 for images, and for sounds, whose PSNR counts from a peak of 1 on samples mapped to [0, 1]
        chosen = prior or library.prior_for_psnr(
            library.suitable_priors(signal.kind, signal.shape, signal.sample_rate), psnr
        )
        return chosen, Settings(psnr=psnr)
    if prior is not None:
        return prior, Settings(rate=library.quality_rate(prior, goal.quality or _USUAL_QUALITY))
    chosen, rate = library.choose(signal.kind, signal.shape, goal.quality or _USUAL_QUALITY, signal.sample_rate)
    return chosen, Settings(rate=rate)


def _size(signal: Signal, goal: Goal) -> int | None:
    """Bytes of the file that a goal asks for, if it does."""
    if goal.bits_per_pixel is not None:
        if signal.kind != "image":
            raise UsageError("--bpp is for images; give --kbps for a sound")
        return math.floor(goal.bits_per_pixel * signal.points / 8)
    if goal.kilobits_per_second is not None:
        if signal.sample_rate is None:
            raise UsageError("--kbps is for sounds; give --bpp for an image")
        return math.floor(goal.kilobits_per_second * 1000 * signal.points / signal.sample_rate / 8)
    return goal.size


def _psnr(signal: Signal, goal: Goal) -> float | None:
    """PSNR that a goal asks for, if it does."""
    if goal.snr is None:
        return goal.psnr
    if signal.kind != "sound":
        raise UsageError("--snr is for sounds; give --psnr for an image")
    constant = metrics.peak_over_signal(signal)
    if math.isinf(constant):
        raise UsageError("the sound is silent, so that it has no SNR to reach; give -q or --psnr")
    return goal.snr + constant
