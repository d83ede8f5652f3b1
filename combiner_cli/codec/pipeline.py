"""The pipeline: signals to files, files to signals.

Decoding needs numpy alone; what only an encoder needs is imported by the families when something is encoded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..container.file import File
from ..errors import CombinerError, InputError, PriorError, UnreachableError, UsageError, VerificationError
from ..family import Decoded, Encoded, EncodingOptions, Prior, Progress, Report, Target, View
from ..priors.selection import check_kind
from ..signals import metrics
from ..signals.kinds import KINDS
from ..signals.signal import Format, Signal
from . import limits, reaching

_FAR = 10.0  # times the error of a typical signal at the same rate
_FAR_WITH_SHAPE = 100.0
_MOST_ERROR = 1.5  # over the noise variance of a file, unless too few bytes were left for what its prior did not expect
_FEW_POINTS = 2**12  # of which each takes more than one of a typical signal


@dataclass(frozen=True)
class EncodeResult:
    """A finished file and what the encoder knows of it.

    Attributes:
        file: as a decoder takes it apart.
        payload_bytes: size of the class numbers and group indices in it.
        decoded: what the decoder makes of the file; ``None`` where that was not to be verified.
        seconds: wall time by phase, of the whole batch that it was encoded in.
        prior: name of the prior that it was made with.
        far_from_prior: whether the decoded signal is farther from the original than the file's noise says, or than a
            typical signal is by far at that rate, because the signal is not what the prior expects; False where that
            was not verified.
    """

    file: File
    payload_bytes: int
    decoded: Signal | None
    seconds: dict[str, float]
    prior: str = ""
    far_from_prior: bool = False

    @property
    def data(self) -> bytes:
        """All bytes of the file."""
        return self.file.data


def encode(
    signal: Signal,
    prior: Prior,
    target: Target | None = None,
    options: EncodingOptions | None = None,
    report: Report | None = None,
    verify: bool = True,
    others: Iterable[Prior] = (),
) -> EncodeResult:
    """Encode one signal.

    Args:
        signal: what to encode.
        prior: shared with the decoder.
        target: a rate, a size, a PSNR or a score; ``None`` stands for the prior's own rate.
        options: how.
        report: called as the work proceeds.
        verify: whether the file is decoded once it is made, as any decoder would, and compared.
        others: priors that are tried one after another where a PSNR or a size is out of reach of the first one.

    Raises:
        PriorError: the prior is for another kind of signal.
        UsageError: an option is out of range or goes with another family, or the target cannot be met.
        LimitError: the signal has more points than a decoder renders without being asked to.
        VerificationError: the file does not decode to what was coded.
    """
    try:
        return encode_batch([signal], prior, target, options, report, verify)[0]
    except UnreachableError:
        if target is not None and target.unit == "size" and target.perceptual:
            # a shape of the noise takes some bytes; what is refused then is refused with the least that would do
            return encode(signal, prior, replace(target, tune="psnr"), options, report, verify, others)
        for another in others:
            with suppress(UnreachableError):
                return encode_batch([signal], another, target, options, report, verify)[0]
        raise


def encode_batch(
    signals: Sequence[Signal],
    prior: Prior,
    target: Target | None = None,
    options: EncodingOptions | None = None,
    report: Report | None = None,
    verify: bool = True,
) -> list[EncodeResult]:
    """Encode signals of one format in one computation; each becomes a file of its own.

    Args:
        signals: one or more.
        prior, target, options, report, verify: as for :func:`encode`.

    Raises:
        InputError: the signals differ in format.
        PriorError, UsageError, LimitError, VerificationError: as :func:`encode`.
    """
    target, options = target or Target("rate", prior.bits_per_point), options or EncodingOptions()
    signal_format = signals[0].format
    check_kind(prior, signal_format.kind)
    if any(signal.format != signal_format for signal in signals):
        raise InputError("signals that are encoded together must have one shape and format")
    limits.check_encoded(signal_format, prior)

    attempt = partial(_attempt, prior=prior, options=options, report=report or _silence)
    goal = reaching.of_target(target, prior)
    if goal is None:
        return attempt(signals, target, verify)

    def attempt_one(signal: Signal, wanted: Target) -> EncodeResult:
        return attempt([signal], wanted, verify=True)[0]  # or else nobody knows what is reached

    return [reaching.reach(signal, goal, prior.name, partial(attempt_one, signal)) for signal in signals]


def _attempt(
    signals: Sequence[Signal], target: Target, verify: bool, prior: Prior, options: EncodingOptions, report: Report
) -> list[EncodeResult]:
    """Files of signals of one format, as near to a target as the prior's family comes by itself."""
    clock = time.perf_counter()
    encoded = prior.encode(signals, target, options, report)
    seconds = dict(encoded[0].seconds)
    seconds["prepare"] = time.perf_counter() - clock - sum(seconds.values())
    results = [
        EncodeResult(File.parse(prior.pack(signal.format, one)), len(one.payload), None, seconds, prior.name)
        for one, signal in zip(encoded, signals, strict=True)
    ]
    if not verify:
        return results
    clock = time.perf_counter()
    verified = [
        _verified(result, one, signal, prior) for result, one, signal in zip(results, encoded, signals, strict=True)
    ]
    seconds["decode"] = time.perf_counter() - clock
    return verified


def _verified(result: EncodeResult, encoded: Encoded, signal: Signal, prior: Prior) -> EncodeResult:
    """A finished file with what it decodes to.

    Raises:
        VerificationError: a decoder refuses it, or finds other weights than were coded, or another format.
    """
    try:
        content = prior.decode(result.file, View(keep_latents=True))
        decoded = content.signal()
    except CombinerError as error:
        raise VerificationError(f"the file that was made does not decode ({error}); please report this") from error
    if not np.array_equal(content.latents, encoded.latents):
        raise VerificationError("the file does not decode to the weights that were coded; please report this")
    if decoded.format != signal.format:
        raise VerificationError("the file does not decode to the format of the original; please report this")
    distance = metrics.error_of_values(signal, decoded)
    far = distance > _most_error(result, signal.format, prior, content)
    return replace(result, decoded=decoded, far_from_prior=far)


def _most_error(result: EncodeResult, signal_format: Format, prior: Prior, content: Decoded) -> float:
    """Mean squared error beyond which a file is worse than what its prior expects of a file of that size.

    Args:
        result: the file.
        signal_format: of the signal.
        prior: of the file.
        content: of the file.
    """
    if content.noise_variance is None:
        return math.inf
    # where the noise has a shape, its base says little of the error as a whole, which is larger than without one
    shaped = bool(content.noise_shape)
    most = math.inf if shaped else _MOST_ERROR * content.noise_variance
    psnr_range = prior.psnr_range()
    typical = prior.typical_noise(8 * max(result.payload_bytes, 1) / signal_format.points, signal_format)
    if signal_format.points < _FEW_POINTS or psnr_range is None or typical is None or typical.typical_error is None:
        return most
    least = 4 * 10 ** (-psnr_range[1] / 10)  # that the prior knows of
    return min(most, (_FAR_WITH_SHAPE if shaped else _FAR) * max(typical.typical_error, least))


def decode(
    file: File, find_prior: Callable[[int], Prior], view: View | None = None, most_points: int | None = None
) -> Signal:
    """Decode a file.

    Args:
        file: taken apart.
        find_prior: gives the prior with the id that the file names.
        view: the size at which the signal is rendered.
        most_points: refuse to render more pixels or sample instants than this; ``None`` stands for the usual limit.

    Raises:
        DamagedFileError: the file's numbers and its payload do not fit each other.
        UsageError: the view makes no sense for the kind of signal.
        LimitError: more points than ``most_points``.
        PriorError: the prior is missing, or not for this kind of signal.
    """
    view = _settled(view or View(), file.format)
    limit = most_points or KINDS[file.format.kind].most_points
    limits.check_declared(file.format, view, limit)
    prior = find_prior(file.prior_id)
    check_made_with(file, prior)
    limits.check_rendered(file.format, view, prior, limit)
    return prior.decode(file, view).signal()


def check_made_with(file: File, prior: Prior) -> None:
    """Refuse a prior that a file was not made with.

    Args:
        file: that names its prior.
        prior: that was given for it.

    Raises:
        PriorError: it is another one.
    """
    check_kind(prior, file.format.kind)
    if file.prior_id != prior.id:
        raise PriorError(
            f"the file needs prior {file.prior_id:08x}, not {prior.name} (id {prior.id:08x}); leave out --prior"
        )


def _settled(view: View, signal_format: Format) -> View:
    """A view of a signal with the scale that it takes.

    Raises:
        UsageError: it makes no sense for the kind of signal, or at its sample rate.
    """
    if view.fill is not None and signal_format.kind != "sound":
        raise UsageError("only a sound can be filled; leave out --fill for an image")
    if not 0 <= (view.fill or 0) <= 1:
        raise UsageError(f"the noise that fills a sound is from 0 to 1, not {view.fill}")
    if view.size is not None:
        if signal_format.kind != "image":
            raise UsageError("only an image can be resized; give --scale for a sound")
        scales = (-(-new // old) for new, old in zip(view.size, signal_format.shape, strict=True))
        return replace(view, scale=max(1, *scales))
    rate = signal_format.sample_rate
    if rate is not None and rate * view.scale >= 2**32:
        raise UsageError(f"{view.scale} times the sample rate of {rate} Hz is too high; choose a smaller scale")
    return view


def _silence(_: Progress) -> None:
    """Report nothing."""
