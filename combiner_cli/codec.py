"""The pipeline: signals to files, files to signals.

Decoding needs numpy alone; torch is imported when something is encoded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import bitstream, coder, groups, mixtures
from .bitstream import Header
from .coder import Chaining
from .covariances import CovariancePrior
from .errors import DamagedFileError, InputError, LimitError, PriorError, UsageError, VerificationError
from .groups import Stage
from .mixtures import MixturePrior
from .priors import AnyPrior, Prior, check_kind
from .signals import Kind, Signal, Tiling, coordinates, coverage, from_values, inside_mask, join, split, to_values

if TYPE_CHECKING:
    from .posterior import Objective
    from .refine import Progress, Report, Schedule

MOST_POINTS = 2**26  # pixels or sample instants that a file may declare, unless the caller says otherwise
_METHOD = "viterbi"  # of the search for candidates
_CHAINED = 8  # bits of a chained group
_SMALL = 2**14  # points up to which the long schedule is affordable


@dataclass(frozen=True)
class Settings:
    """How to encode.

    At most one of ``size`` and ``psnr`` is given; with neither, ``rate`` says how large the file becomes.

    Attributes:
        rate: payload relative to what the prior expects of a signal; a mixture prior turns it into a noise variance, and
            the payload follows from the signal.
        size: bytes of the whole file.
        psnr: dB that the decoded signal must reach.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: of the encoder's own random numbers.
        effort: 1 (fastest) to 9 (best).
        method: of the search, one of ``search.METHODS``.
        group_bits: 8 (chained groups), or 16 for a file of version 1 as published, without mixtures.
        schedule: how long to fit and refine by gradient; ``None`` chooses by the size of the signal.
    """

    rate: float = 1.0
    size: int | None = None
    psnr: float | None = None
    device: str = "auto"
    seed: int = 0
    effort: int = 5
    method: str = "viterbi"
    group_bits: int = 8
    schedule: Schedule | None = None


@dataclass(frozen=True)
class EncodeResult:
    """A finished file and what the encoder knows of it.

    Attributes:
        data: the file.
        payload_bytes: size of the class numbers and group indices in it.
        decoded: what the decoder makes of the file.
        seconds: wall time by phase, of the whole batch that it was encoded in.
    """

    data: bytes
    payload_bytes: int
    decoded: Signal
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds, in the terms of its prior.

    Attributes:
        header: of the file.
        layout: tiles of the signal.
        classes: of the tiles, ``(tiles,)``; empty where the prior has none.
        noise: level of the noise variance; 0 where the prior has no use for it.
        indices: of the groups of each stage.
        z: whitened latents of each stage, ``(stage latents,)`` float64, pruned ones 0.
    """

    header: Header
    layout: Tiling
    classes: npt.NDArray[np.int64]
    noise: int
    indices: tuple[npt.NDArray[np.int64], ...]
    z: tuple[npt.NDArray[np.float64], ...]


def encode(
    signal: Signal, prior: AnyPrior, settings: Settings | None = None, report: Report | None = None
) -> EncodeResult:
    """Encode one signal.

    Args:
        signal: what to encode.
        prior: shared with the decoder.
        settings: how.
        report: called as the work proceeds.

    Raises:
        PriorError: the prior is for another kind of signal.
        UsageError: a setting is out of range or the device is missing.
        LimitError: the signal has more points than a decoder renders without being asked to.
        VerificationError: the file does not decode to what was coded.
    """
    return encode_batch([signal], prior, settings, report)[0]


def encode_batch(
    signals: Sequence[Signal], prior: AnyPrior, settings: Settings | None = None, report: Report | None = None
) -> list[EncodeResult]:
    """Encode signals of one shape and format in one batched computation; each becomes a file of its own.

    Raises:
        InputError: the signals differ in shape or format.
        PriorError, UsageError, LimitError, VerificationError: as :func:`encode`.
    """
    settings = settings or Settings()
    first = signals[0]
    check_kind(prior, first.kind)
    if any(_format(signal) != _format(first) for signal in signals):
        raise InputError("signals that are encoded together must have one shape and format")
    layout = prior.tiling(first.shape, first.channels)
    points = layout.tiles * math.prod(layout.extent)
    if points > MOST_POINTS:
        raise LimitError(f"the {first.kind} takes {points} points, over the limit of {MOST_POINTS}; cut it into parts")
    if settings.psnr is not None:
        return [_encode_to_psnr(signal, prior, settings, report) for signal in signals]
    clock = time.perf_counter()
    if isinstance(prior, MixturePrior):
        files = _encode_mixture(signals, layout, prior, settings)
    elif isinstance(prior, CovariancePrior):
        files = _encode_covariance(signals, layout, prior, settings, report or _silence)
    else:
        files = _encode_network(signals, layout, prior, settings, report or _silence)
    seconds = dict(files.seconds)
    seconds["prepare"] = time.perf_counter() - clock - sum(seconds.values())
    clock = time.perf_counter()
    results = []
    for data, values in zip(files.data, files.values, strict=True):
        content = read(data, prior)
        if not np.array_equal(np.concatenate(content.z), values):
            raise VerificationError("the file does not decode to the weights that were coded; please report this")
        payload = len(data) - len(bitstream.pack(content.header, b""))
        results.append(EncodeResult(data, payload, _render(content, prior, 1), seconds))
    seconds["decode"] = time.perf_counter() - clock
    return results


def decode(
    data: bytes, find_prior: Callable[[int], AnyPrior], scale: int = 1, most_points: int = MOST_POINTS
) -> Signal:
    """Decode a file.

    Args:
        data: the whole file.
        find_prior: gives the prior with the id that the file names.
        scale: samples per native sample and axis: the network is a function and renders at any resolution.
        most_points: refuse to render more pixels or sample instants than this.

    Raises:
        DamagedFileError: not a file of this program, or truncated or changed.
        UnsupportedVersionError: written by a version that this one does not know.
        LimitError: more points than ``most_points``.
        PriorError: the prior is missing, or not for this kind of signal.
    """
    header, _ = bitstream.unpack(data)
    _limit(math.prod(header.shape) * scale ** len(header.shape), header, most_points)
    if header.sample_rate is not None and header.sample_rate * scale >= 2**32:
        raise UsageError(
            f"{scale} times the sample rate of {header.sample_rate} Hz is too high; choose a smaller scale"
        )
    prior = find_prior(header.prior_id)
    layout = prior.tiling(header.shape, header.channels)
    # tiles are rendered whole, and what is beyond the signal is cut off afterwards
    _limit(layout.tiles * math.prod(layout.extent) * scale ** len(layout.extent), header, most_points)
    return _render(read(data, prior), prior, scale)


def read(data: bytes, prior: AnyPrior) -> Content:
    """The latents that a file stands for.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
        PriorError: the file was made with another prior.
    """
    header, payload = bitstream.unpack(data)
    check_kind(prior, header.kind)
    if header.prior_id != prior.id:
        raise PriorError(
            f"the file needs prior {header.prior_id:08x}, not {prior.name} (id {prior.id:08x}); leave out --prior"
        )
    layout = prior.tiling(header.shape, header.channels)
    if not isinstance(prior, Prior):
        return _read_mixture(header, payload, layout, prior)
    if header.noise is None:
        if len(header.groups) != 1:
            raise DamagedFileError(f"the file has {len(header.groups)} stages where its prior has one; it is damaged")
        indices = bitstream.indices_from_bytes(payload, header.groups[0], prior.group_bits)
        chaining = Chaining(prior.group_bits)
    else:
        indices, chaining = bitstream.indices_from_bytes(payload, len(payload), _CHAINED), Chaining(_CHAINED)
    if layout.tiles * np.count_nonzero(prior.information) > coder.WIDEST_GROUP * len(indices):
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    none = np.zeros(0, dtype=np.int64)
    parts, z = _look_up(prior.stages(layout), indices, chaining, prior.key)
    return Content(header, layout, none, 0, parts, z)


def _read_mixture(header: Header, payload: bytes, layout: Tiling, prior: MixturePrior | CovariancePrior) -> Content:
    """The latents of a file of version 2 whose payload begins with the classes."""
    if header.noise is None:
        raise DamagedFileError("the file has version 1, which its prior does not go with; it is damaged")
    length = mixtures.class_bytes(layout.tiles, prior.class_bits)
    if len(payload) < length:
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    classes = mixtures.unpack_classes(payload[:length], layout.tiles, prior.classes)
    indices = bitstream.indices_from_bytes(payload[length:], len(payload) - length, _CHAINED)
    if isinstance(prior, CovariancePrior) and layout.tiles * prior.fewest > coder.WIDEST_GROUP * len(indices):
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    noise = mixtures.noise_level(header.noise)
    parts, z = _look_up(prior.stages(layout, classes, noise), indices, Chaining(_CHAINED), prior.key)
    return Content(header, layout, classes, noise, parts, z)


def _look_up(
    stages: Sequence[Stage], indices: npt.NDArray[np.int64], chaining: Chaining, key: int
) -> tuple[tuple[npt.NDArray[np.int64], ...], tuple[npt.NDArray[np.float64], ...]]:
    """Indices and whitened latents of every stage; a stage without groups has the prior's mean."""
    shares = groups.share_out(stages, len(indices))
    parts = tuple(np.split(indices, np.cumsum(shares)[:-1]))
    found = []
    for stage, share, part in zip(stages, shares, parts, strict=True):
        z = np.zeros(len(stage.information), dtype=np.float64)
        if share:
            partition = groups.partition(stage.information, share, key)
            z[partition.order] = coder.lookup(part, partition, chaining, key)
        found.append(z)
    return parts, tuple(found)


def _render(content: Content, prior: AnyPrior, scale: int) -> Signal:
    header = content.header
    weights = prior.network_weights(content.z, content.layout, content.classes, content.noise)
    values = join(prior.render(weights, scale), content.layout, scale)
    sample_rate = None if header.sample_rate is None else header.sample_rate * scale
    return from_values(values, header.kind, sample_rate, header.bit_depth)


@dataclass(frozen=True, eq=False)
class _Files:
    """Finished files, the whitened latents that their encoder ended with, and wall time by phase."""

    data: list[bytes]
    values: list[npt.NDArray[np.floating]]
    seconds: dict[str, float]


def _encode_network(
    signals: Sequence[Signal], layout: Tiling, prior: Prior, settings: Settings, report: Report
) -> _Files:
    """Files of signals with a prior over the weights of networks with hidden layers."""
    from . import refine

    device = choose_device(settings.device)
    (stage,) = prior.stages(layout)
    empty = _header(signals[0], prior, 1, settings.group_bits)
    count = _number_of_groups(stage, empty, settings)
    header = _header(signals[0], prior, count, settings.group_bits)
    partition = groups.partition(stage.information, count, prior.key)
    schedule = settings.schedule or default_schedule(layout.tiles * math.prod(layout.extent))
    coded = refine.encode(
        _objective(signals, layout, prior, device),
        partition,
        Chaining(settings.group_bits),
        prior.key,
        len(signals),
        replace(schedule, seed=settings.seed),
        settings.method,
        report,
    )
    payloads = [bitstream.indices_to_bytes(indices, settings.group_bits) for indices in coded.indices]
    return _Files([bitstream.pack(header, payload) for payload in payloads], list(coded.values), coded.seconds)


def _encode_covariance(
    signals: Sequence[Signal], layout: Tiling, prior: CovariancePrior, settings: Settings, report: Report
) -> _Files:
    """Files of signals with a prior that has covariances; signals whose tiles name the same classes go together."""
    from . import condition, covariance_coding

    if settings.group_bits != _CHAINED:
        raise UsageError(f"prior {prior.name} goes with groups of {_CHAINED} bits only")
    header = _header(signals[0], prior, 0, _CHAINED)
    before = mixtures.class_bytes(layout.tiles, prior.class_bits)
    schedule = settings.schedule or condition.default_schedule(layout.tiles)
    schedule, device = replace(schedule, seed=settings.seed), choose_device(settings.device)
    clock = time.perf_counter()
    chosen = covariance_coding.choose(_objective(signals, layout, prior, device), prior, settings.seed)
    files = _Files([b""] * len(signals), [np.zeros(0)] * len(signals), {"fit": time.perf_counter() - clock})
    kinds, kind = np.unique(chosen.reshape(len(signals), layout.tiles), axis=0, return_inverse=True)
    for number, classes in enumerate(kinds):
        members = [int(member) for member in np.flatnonzero(kind.reshape(-1) == number)]
        (stage,) = prior.stages(layout, classes)
        partition = groups.partition(stage.information, _number_of_groups(stage, header, settings, before), prior.key)
        fit = _objective([signals[member] for member in members], layout, prior, device)
        fit = covariance_coding.under(fit, prior, np.tile(classes, len(members)))
        coded = condition.encode(
            fit, partition, Chaining(_CHAINED), prior.key, len(members), schedule, settings.method, report
        )
        packed = mixtures.pack_classes(classes, prior.class_bits)
        for member, indices, values in zip(members, coded.indices, coded.values, strict=True):
            payload = packed + bitstream.indices_to_bytes(indices, _CHAINED)
            files.data[member], files.values[member] = bitstream.pack(header, payload), values
        for phase, seconds in coded.seconds.items():
            files.seconds[phase] = files.seconds.get(phase, 0.0) + seconds
    return files


def _encode_mixture(signals: Sequence[Signal], layout: Tiling, prior: MixturePrior, settings: Settings) -> _Files:
    """Files of signals with a mixture prior."""
    from . import closed_form

    if settings.group_bits != _CHAINED:
        raise UsageError(f"prior {prior.name} goes with groups of {_CHAINED} bits only")
    tiles = np.concatenate([split(to_values(signal), layout) for signal in signals])
    weights = prior.network.weights(tiles).reshape(len(signals), layout.tiles, -1)
    header = _header(signals[0], prior, 0, _CHAINED)
    smallest = len(bitstream.pack(header, b"")) + mixtures.class_bytes(layout.tiles, prior.class_bits)
    count = None
    if settings.size is not None:
        count = settings.size - smallest
        if count < 1:
            raise UsageError(
                f"a file of this {signals[0].kind} takes {smallest + 1} bytes with prior {prior.name}; "
                f"ask for more than {settings.size}"
            )
    elif not (math.isfinite(settings.rate) and settings.rate > 0):
        raise UsageError(f"the rate must be positive, not {settings.rate}")
    rate = settings.rate * prior.bits_per_point
    coded = closed_form.encode_batch(
        prior, layout, weights, count, rate, settings.effort, settings.method, settings.seed
    )
    data = []
    for one in coded:
        payload = mixtures.pack_classes(one.classes, prior.class_bits)
        payload += bitstream.indices_to_bytes(one.indices, _CHAINED)
        data.append(bitstream.pack(replace(header, noise=one.code), payload))
    return _Files(data, [one.z for one in coded], {})


def _header(signal: Signal, prior: AnyPrior, count: int, group_bits: int) -> Header:
    if group_bits == _CHAINED:
        return Header(prior.id, *_format(signal), noise=0)
    if not isinstance(prior, Prior) or group_bits != prior.group_bits:
        raise UsageError(f"prior {prior.name} does not go with groups of {group_bits} bits")
    return Header(prior.id, *_format(signal), groups=(count,))


def _encode_to_psnr(signal: Signal, prior: AnyPrior, settings: Settings, report: Report | None) -> EncodeResult:
    """The smallest file found that reaches a PSNR."""
    raise UsageError("to come")


def default_schedule(points: int) -> Schedule:
    """How long to fit and refine a signal or batch whose tiles have that many points in all."""
    from .posterior import Descent
    from .refine import Schedule

    if points <= _SMALL:
        return Schedule(steps=3000, rounds=128, steps_per_round=20, descent=Descent(points=512))
    return Schedule(steps=2500, rounds=64, steps_per_round=16)


def choose_device(name: str) -> str:
    """The torch device behind ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {name}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available here; choose --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _limit(points: int, header: Header, most_points: int) -> None:
    if points > most_points:
        raise LimitError(
            f"the file declares {'x'.join(str(n) for n in header.shape)} samples, over the limit of {most_points}; "
            "raise --max-pixels if you trust it"
        )


def _number_of_groups(stage: Stage, header: Header, settings: Settings, before: int = 0) -> int:
    """Groups for a stage at the asked size, of which ``before`` bytes are taken, or rate, within what can be coded."""
    coded = int(np.count_nonzero(stage.information))
    fewest = max(1, -(-coded // (coder.WIDEST_GROUP // 2)))
    most = min(coded, int(stage.information.sum()))
    if settings.size is not None:
        around = len(bitstream.pack(header, b"")) + before
        count = (settings.size - around) * 8 // settings.group_bits
        if count < fewest:
            smallest = around + fewest * settings.group_bits // 8
            raise UsageError(f"a file of this {header.kind} takes {smallest} bytes; ask for more than {settings.size}")
        return min(count, most)
    if not (math.isfinite(settings.rate) and settings.rate > 0):
        raise UsageError(f"the rate must be positive, not {settings.rate}")
    count = round(groups.expected_groups(stage.information, settings.group_bits) * settings.rate)
    return max(fewest, min(count, most))


def _objective(signals: Sequence[Signal], layout: Tiling, prior: Prior | CovariancePrior, device: str) -> Objective:
    """The fit of all tiles of all signals, signal after signal."""
    from .posterior import objective

    target = np.concatenate([split(to_values(signal), layout) for signal in signals])
    inside = None
    if (coverage(layout) < math.prod(layout.extent)).any():
        inside = np.tile(inside_mask(layout), (len(signals), 1, 1))
    features = prior.network.fourier_features(coordinates(layout.extent))
    mean, deviation = (prior.mean, prior.deviation) if isinstance(prior, Prior) else (prior.mean[0], prior.basis[0])
    return objective(prior.network, features, target, inside, (mean, deviation), prior.beta, device)


def _silence(_: Progress) -> None:
    """Report nothing."""


def _format(signal: Signal) -> tuple[Kind, tuple[int, ...], int, int, int | None]:
    """What signals that are encoded together have in common, in the order of a header's fields."""
    return (signal.kind, signal.shape, signal.channels, signal.bit_depth, signal.sample_rate)
