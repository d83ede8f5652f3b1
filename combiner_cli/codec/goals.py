"""From what a user asks of a file to a prior and to a target that an encoder understands."""

from __future__ import annotations

import math
from dataclasses import replace

from ..errors import UsageError
from ..family import Prior, Target, Unit
from ..priors import selection
from ..priors.selection import Choice
from ..signals import metrics
from ..signals.kinds import KINDS, Tune
from ..signals.signal import Kind, Signal

USUAL_QUALITY = 5
QUALITIES = range(1, 11)
# how the command line names the units, in the order in which they are looked at
OPTIONS: dict[Unit, str] = {
    "quality": "-q",
    "size": "--size",
    "bits_per_pixel": "--bpp",
    "kilobits_per_second": "--kbps",
    "psnr": "--psnr",
    "snr": "--snr",
    "ssimulacra2": "--ssimulacra2",
}
_KIND_OF_UNIT: dict[Unit, Kind] = {
    "bits_per_pixel": "image",
    "kilobits_per_second": "sound",
    "snr": "sound",
    "ssimulacra2": "image",
}
_INSTEAD: dict[Unit, str] = {
    "bits_per_pixel": "--kbps",
    "kilobits_per_second": "--bpp",
    "snr": "--psnr",
    "ssimulacra2": "--snr",
}
USUAL_TUNE: Tune = "perceptual"
_WEIGHING_ALL_ALIKE: tuple[Unit, ...] = ("psnr", "snr")
_BEST_SCORE = 100  # of SSIMULACRA 2


def target_of(tune: Tune | None = None, **wishes: float | None) -> Target:
    """The one target among some wishes, of which at most one is not ``None``; the usual quality where all are.

    Args:
        tune: what errors are weighed by; ``None`` for what is usual of the kind of signal.
        wishes: numbers by the units in ``OPTIONS``.

    Raises:
        UsageError: there are several, which exclude each other, or a number is out of range.
    """
    given = [(unit, value) for unit in OPTIONS if (value := wishes.get(unit)) is not None]
    if len(given) > 1:
        first, second = (OPTIONS[unit] for unit, _ in given[:2])
        raise UsageError(f"{first} and {second} exclude each other; give one of them")
    usual: tuple[Unit, float] = ("quality", USUAL_QUALITY)
    unit, value = given[0] if given else usual
    if not math.isfinite(value):
        raise UsageError(f"{OPTIONS[unit]} takes a finite number")
    if unit == "quality" and value not in QUALITIES:
        raise UsageError(f"a quality is from {QUALITIES[0]} to {QUALITIES[-1]}, not {value:g}")
    if unit not in ("psnr", "snr") and value <= 0:
        raise UsageError(f"{OPTIONS[unit]} takes a positive number, not {value:g}")
    if unit == "ssimulacra2" and value >= _BEST_SCORE:
        raise UsageError(f"{OPTIONS[unit]} takes a number under {_BEST_SCORE}, not {value:g}")
    if tune == "perceptual" and unit in _WEIGHING_ALL_ALIKE:
        raise UsageError(f"{OPTIONS[unit]} weighs all errors alike; leave out --tune perceptual")
    return Target(unit, value, tune)


def plan(signal: Signal, target: Target, prior: Prior | None, metadata_bytes: int = 0) -> Choice:
    """The prior for a signal, and a rate, a size, a PSNR or a score as the target of its encoder; others that might do.

    Args:
        signal: to encode.
        target: that the user asked for.
        prior: that the user named; where it is ``None``, the one that is expected to be the best of the shipped ones.
        metadata_bytes: that metadata take of the file.

    Raises:
        UsageError: the target does not go with the kind of signal, or with a silent sound, or leaves no room beside
            the metadata.
        PriorError: the prior is for another kind of signal, or none is shipped.
    """
    if prior is not None:
        selection.check_kind(prior, signal.kind)
    settled = replace(_settled(signal, target, metadata_bytes), tune=target.tune or USUAL_TUNE)
    if prior is None:
        return selection.choose(signal, settled)
    if settled.unit == "quality":
        settled = replace(settled, unit="rate", value=prior.rate_at(round(settled.value)))
    return Choice(prior, settled)


def _settled(signal: Signal, target: Target, metadata_bytes: int) -> Target:
    """A quality, a rate, a size, a PSNR or a score that means the same for a signal."""
    kind = _KIND_OF_UNIT.get(target.unit, signal.kind)
    if kind != signal.kind:
        instead, article = _INSTEAD[target.unit], KINDS[signal.kind].article
        raise UsageError(f"{OPTIONS[target.unit]} is for {kind}s; give {instead} for {article}")
    match target.unit:
        case "bits_per_pixel":
            return _beside(math.floor(target.value * signal.points / 8), metadata_bytes)
        case "kilobits_per_second":
            assert signal.sample_rate is not None
            seconds = signal.points / signal.sample_rate
            return _beside(math.floor(target.value * 1000 * seconds / 8), metadata_bytes)
        case "size":
            return _beside(round(target.value), metadata_bytes)
        case "snr":
            constant = metrics.peak_over_signal(signal)
            if math.isinf(constant):
                raise UsageError("the sound is silent, so that it has no SNR to reach; give -q or --psnr")
            return Target("psnr", target.value + constant)
        case _:
            return target


def _beside(size: int, metadata_bytes: int) -> Target:
    """The size of a file without its metadata."""
    if metadata_bytes and size <= metadata_bytes:
        raise UsageError(
            f"the metadata take {metadata_bytes:,} bytes of {size:,}; "
            "ask for a larger file, or leave out --keep-metadata"
        )
    return Target("size", size - metadata_bytes)
