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

from . import bitstream, coder, groups
from .bitstream import Header
from .coder import Chaining
from .errors import DamagedFileError, InputError, LimitError, PriorError, UsageError, VerificationError
from .priors import Prior, Stage, check_kind
from .signals import Kind, Signal, Tiling, coordinates, coverage, from_values, inside_mask, join, split, to_values

if TYPE_CHECKING:
    from .posterior import Objective
    from .refine import Coded, Progress, Report, Schedule

MOST_POINTS = 2**26  # pixels or sample instants that a file may declare, unless the caller says otherwise
REFINEMENTS = ("closed-form", "gradient")
_SMALL = 2**14  # points up to which the long schedule is affordable


@dataclass(frozen=True)
class Settings:
    """How to encode.

    Attributes:
        rate: number of groups relative to what the prior expects.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: of the encoder's own random numbers.
        schedule: how long to fit and refine; ``None`` chooses by the size of the signal.
        refine: ``"closed-form"`` (a posterior with all covariances of a network, conditioned on the coded groups), or
            ``"gradient"`` (a factorised posterior that gradient steps adapt to them).
        search: for the candidate of each group, one of ``search.METHODS``.
    """

    rate: float = 1.0
    device: str = "auto"
    seed: int = 0
    schedule: Schedule | None = None
    refine: str = "closed-form"
    search: str = "viterbi"


@dataclass(frozen=True)
class EncodeResult:
    """A finished file and what the encoder knows of it.

    Attributes:
        data: the file.
        payload_bytes: size of the group indices in it.
        decoded: what the decoder makes of the file.
        seconds: wall time by phase, of the whole batch that it was encoded in.
    """

    data: bytes
    payload_bytes: int
    decoded: Signal
    seconds: dict[str, float]


def encode(
    signal: Signal, prior: Prior, settings: Settings | None = None, report: Report | None = None
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
    signals: Sequence[Signal], prior: Prior, settings: Settings | None = None, report: Report | None = None
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
    device = choose_device(settings.device)
    layout = prior.tiling(first.shape, first.channels)
    points = layout.tiles * math.prod(layout.extent)
    if points > MOST_POINTS:
        raise LimitError(f"the {first.kind} takes {points} points, over the limit of {MOST_POINTS}; cut it into parts")
    (stage,) = prior.stages(layout)
    count = _number_of_groups(stage, prior, settings.rate)
    partition = groups.partition(stage.information, count, prior.key)
    engine, usual = _engine(settings.refine, len(signals), layout.tiles, points, prior, device)
    schedule = settings.schedule or usual
    clock = time.perf_counter()
    objective = _objective(signals, layout, prior, device)
    coded = engine(
        objective,
        partition,
        Chaining(prior.group_bits),
        prior.key,
        len(signals),
        replace(schedule, seed=settings.seed),
        settings.search,
        report or _silence,
    )
    seconds = {"prepare": 0.0, **coded.seconds}
    seconds["prepare"] = time.perf_counter() - clock - sum(coded.seconds.values())
    clock = time.perf_counter()
    results = []
    for signal, indices, values in zip(signals, coded.indices, coded.values, strict=True):
        header = Header(prior.id, *_format(signal), (count,))
        payload = bitstream.indices_to_bytes(indices, prior.group_bits)
        data = bitstream.pack(header, payload)
        if not np.array_equal(_decode_whitened(data, prior)[0], values):
            raise VerificationError("the file does not decode to the weights that were coded; please report this")
        results.append(EncodeResult(data, len(payload), decode(data, lambda _: prior), seconds))
    seconds["decode"] = time.perf_counter() - clock
    return results


def decode(data: bytes, find_prior: Callable[[int], Prior], scale: int = 1, most_points: int = MOST_POINTS) -> Signal:
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
    sample_rate = None if header.sample_rate is None else header.sample_rate * scale
    if sample_rate is not None and sample_rate >= 2**32:
        raise UsageError(
            f"{scale} times the sample rate of {header.sample_rate} Hz is too high; choose a smaller scale"
        )
    prior = find_prior(header.prior_id)
    layout = prior.tiling(header.shape, header.channels)
    # tiles are rendered whole, and what is beyond the signal is cut off afterwards
    _limit(layout.tiles * math.prod(layout.extent) * scale ** len(layout.extent), header, most_points)
    z, stage = _decode_whitened(data, prior)
    mean, deviation = prior.moments(stage)
    latents = mean + deviation * z  # two roundings
    values = join(prior.render(latents.reshape(layout.tiles, -1), scale), layout, scale)
    return from_values(values, header.kind, sample_rate, header.bit_depth)


def decode_indices(data: bytes, prior: Prior) -> tuple[Header, npt.NDArray[np.int64]]:
    """Header and group indices of a file.

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
    if len(header.groups) != 1:
        raise DamagedFileError(f"the file has {len(header.groups)} stages where its prior has one; it is damaged")
    return header, bitstream.indices_from_bytes(payload, header.groups[0], prior.group_bits)


def default_schedule(points: int) -> Schedule:
    """How long to fit and refine a signal or batch whose tiles have that many points in all."""
    from .posterior import Descent
    from .refine import Schedule

    if points <= _SMALL:
        return Schedule(steps=3000, rounds=128, steps_per_round=20, descent=Descent(points=512))
    return Schedule(steps=2500, rounds=64, steps_per_round=16)


def _engine(
    refinement: str, signals: int, tiles: int, points: int, prior: Prior, device: str
) -> tuple[Callable[..., Coded], Schedule]:
    """What fits, searches and refines, and for how long if nobody says otherwise.

    Where the covariances of all networks do not fit the memory, gradient steps refine.
    """
    from . import condition, gauss_newton, refine

    if refinement not in REFINEMENTS:
        raise UsageError(f"there is no refinement {refinement}; choose {' or '.join(REFINEMENTS)}")
    latents = int(np.count_nonzero(prior.information))
    if refinement == "gradient" or not gauss_newton.affordable(signals * tiles, latents, device):
        return refine.encode, default_schedule(points)
    return condition.encode, condition.default_schedule(tiles)


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


def _decode_whitened(data: bytes, prior: Prior) -> tuple[npt.NDArray[np.float64], Stage]:
    """Whitened latents of all tiles, ``(tiles · network latents,)`` float64, pruned ones 0, and their stage."""
    header, indices = decode_indices(data, prior)
    layout = prior.tiling(header.shape, header.channels)
    if layout.tiles * np.count_nonzero(prior.information) > coder.WIDEST_GROUP * len(indices):
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    (stage,) = prior.stages(layout)
    partition = groups.partition(stage.information, len(indices), prior.key)
    z = np.zeros(len(stage.information), dtype=np.float64)
    z[partition.order] = coder.lookup(indices, partition, Chaining(prior.group_bits), prior.key)
    return z, stage


def _limit(points: int, header: Header, most_points: int) -> None:
    if points > most_points:
        raise LimitError(
            f"the file declares {'x'.join(str(n) for n in header.shape)} samples, over the limit of {most_points}; "
            "raise --max-pixels if you trust it"
        )


def _number_of_groups(stage: Stage, prior: Prior, rate: float) -> int:
    """Groups for a stage at a multiple of the expected rate, within what the table and the integers allow."""
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"the rate must be positive, not {rate}")
    count = round(groups.expected_groups(stage.information, prior.group_bits) * rate)
    coded = int(np.count_nonzero(stage.information))
    fewest = -(-coded // (coder.WIDEST_GROUP // 2))
    return max(1, fewest, min(count, coded, int(stage.information.sum())))


def _objective(signals: Sequence[Signal], layout: Tiling, prior: Prior, device: str) -> Objective:
    """The fit of all tiles of all signals, signal after signal."""
    from .posterior import objective

    target = np.concatenate([split(to_values(signal), layout) for signal in signals])
    inside = None
    if (coverage(layout) < math.prod(layout.extent)).any():
        inside = np.tile(inside_mask(layout), (len(signals), 1, 1))
    features = prior.network.fourier_features(coordinates(layout.extent))
    return objective(prior.network, features, target, inside, (prior.mean, prior.deviation), prior.beta, device)


def _silence(_: Progress) -> None:
    """Report nothing."""


def _format(signal: Signal) -> tuple[Kind, tuple[int, ...], int, int, int | None]:
    """What signals that are encoded together have in common, in the order of a header's fields."""
    return (signal.kind, signal.shape, signal.channels, signal.bit_depth, signal.sample_rate)
