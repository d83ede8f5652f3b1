"""The pipeline: signals to files, files to signals.

Decoding needs numpy alone; torch is imported when something is encoded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..container import bitstream
from ..container.bitstream import Header
from ..errors import CombinerError, DamagedFileError, InputError, LimitError, PriorError, UsageError, VerificationError
from ..families.lapped import decoder
from ..families.lapped.prior import LappedPrior
from ..families.linear import mixtures
from ..families.linear.mixtures import MixturePrior
from ..families.pyramid import files as pyramid_codec
from ..families.siren.covariances import CovariancePrior
from ..priors.library import AnyPrior, ByStages, Prior, check_kind
from ..rec import candidates, groups
from ..rec.candidates import Chaining
from ..rec.groups import Stage
from ..signals import metrics
from ..signals.resampling import length_at
from ..signals.signal import (
    Kind,
    Rows,
    Signal,
    Tiling,
    coordinates,
    coverage,
    from_values,
    inside_mask,
    join,
    split,
    to_values,
)

if TYPE_CHECKING:
    from ..families.siren.posterior import Objective
    from ..families.siren.refinement import Coded, Progress, Report, Schedule

# pixels or sample instants that a file may declare, unless the caller says otherwise
MOST_POINTS: dict[Kind, int] = {"image": 2**26, "sound": 2**28}
_HIGHEST_RATE = 192_000  # Hz at which the seconds that a caller allows are counted; files may declare any
_MOST_WEIGHTS = 4  # of a network for each point of a tile, before they count
_CHAINED = 8  # bits of a chained group
_FAST = 2  # efforts up to this one follow one path
_MOST_ATTEMPTS = 16  # to reach a PSNR
_CLOSE_ENOUGH = 0.02  # dB over it
_DB_PER_DOUBLING = 4.0  # of the size, about
_MOST_OCTAVES = 2.0  # that a file grows at once
_SATURATED = 0.1  # dB: a file of almost twice the size that gains less is about the best that its prior can do
_MARGIN = 0.15  # octaves of size beyond the first guess, so that the next one is on the other side
REFINEMENTS = ("closed-form", "gradient")
_STEPS = (0.0, 0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0)  # of a fit with hidden layers, by effort
_SMALL = 2**14  # points up to which the long schedule is affordable


@dataclass(frozen=True)
class Settings:
    """How to encode.

    At most one of ``size`` and ``psnr`` is given; with neither, ``rate`` says how large the file becomes.

    Attributes:
        rate: payload relative to what the prior expects of a signal; with a mixture prior the quality that goes with
            it in a typical signal, and the payload follows from the signal.
        size: bytes of the whole file.
        psnr: dB that the decoded signal must reach.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: of the encoder's own random numbers.
        effort: 1 (fastest) to 9 (best).
        search: one of ``search.METHODS``; ``None`` is viterbi, or best at the lowest efforts.
        refine: with hidden layers, ``"closed-form"`` (a posterior with all covariances of a network, conditioned on
            the coded groups) or ``"gradient"`` (a factorised posterior that gradient steps adapt to them).
        group_bits: 8 (chained groups), or 16 for a file of version 1 as published, without mixtures.
        schedule: how long to fit and refine by gradient; ``None`` chooses by the size of the signal.
        verify: whether every file is decoded once it is made, as any decoder would, and compared.
    """

    rate: float = 1.0
    size: int | None = None
    psnr: float | None = None
    device: str = "auto"
    seed: int = 0
    effort: int = 5
    search: str | None = None
    refine: str = "closed-form"
    group_bits: int = 8
    schedule: Schedule | None = None
    verify: bool = True


@dataclass(frozen=True)
class EncodeResult:
    """A finished file and what the encoder knows of it.

    Attributes:
        data: the file.
        payload_bytes: size of the class numbers and group indices in it.
        decoded: what the decoder makes of the file; ``None`` where that was not to be verified.
        seconds: wall time by phase, of the whole batch that it was encoded in.
    """

    data: bytes
    payload_bytes: int
    decoded: Signal | None
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
        values: the whole signal in [-1, 1], ``(*shape, channels)``, an image at its own resolution, where it comes
            with the latents, an array or, of pyramids, what slices of rows are rendered from; else ``None``.
        stages: number of groups of each stage by its name; of pyramids and lapped priors, by level and kind.
    """

    header: Header
    layout: Tiling
    classes: npt.NDArray[np.int64]
    noise: int
    indices: tuple[npt.NDArray[np.int64], ...]
    z: tuple[npt.NDArray[np.floating], ...]
    values: Rows | None = None
    stages: dict[str, int] = field(default_factory=dict)


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
    if any(format_of(signal) != format_of(first) for signal in signals):
        raise InputError("signals that are encoded together must have one shape and format")
    layout = prior.tiling(first.shape, first.channels)
    points = _whole_points(layout, prior, first.sample_rate)
    most = MOST_POINTS[first.kind]
    if points > most:
        raise LimitError(f"the {first.kind} takes {points} points, over the limit of {most}; cut it into parts")
    if settings.psnr is not None:
        return [_encode_to_psnr(signal, prior, settings, report) for signal in signals]
    clock = time.perf_counter()
    if isinstance(prior, ByStages):
        files = _encode_by_stages(signals, prior, settings)
    elif isinstance(prior, MixturePrior):
        files = _encode_mixture(signals, layout, prior, settings)
    elif isinstance(prior, CovariancePrior):
        files = _encode_covariance(signals, layout, prior, settings, report or _silence)
    else:
        files = _encode_network(signals, layout, prior, settings, report or _silence)
    seconds = dict(files.seconds)
    seconds["prepare"] = time.perf_counter() - clock - sum(seconds.values())
    files = replace(files, seconds=seconds)
    return _results(files, signals, prior) if settings.verify else [_unverified(data, seconds) for data in files.data]


def _results(files: _Files, signals: Sequence[Signal], prior: AnyPrior) -> list[EncodeResult]:
    """Decode finished files by the decoder's own code, and check that they hold what was coded."""
    seconds = dict(files.seconds)
    clock = time.perf_counter()
    results = []
    for data, values, signal in zip(files.data, files.values, signals, strict=True):
        result = _unverified(data, seconds)
        results.append(replace(result, decoded=_verified(data, values, signal, prior)))
    seconds["decode"] = time.perf_counter() - clock
    return results


def _unverified(data: bytes, seconds: dict[str, float]) -> EncodeResult:
    return EncodeResult(data, len(bitstream.unpack(data)[1]), None, seconds)


def _verified(data: bytes, values: npt.NDArray[np.floating], signal: Signal, prior: AnyPrior) -> Signal:
    """What a finished file decodes to.

    Raises:
        VerificationError: a decoder refuses it, or finds other weights than were coded, or another format.
    """
    try:
        content = read(data, prior)
        decoded = _render(content, prior, 1)
    except CombinerError as error:
        raise VerificationError(f"the file that was made does not decode ({error}); please report this") from error
    if not np.array_equal(np.concatenate(content.z), values):
        raise VerificationError("the file does not decode to the weights that were coded; please report this")
    if format_of(decoded) != format_of(signal):
        raise VerificationError("the file does not decode to the format of the original; please report this")
    return decoded


def decode(
    data: bytes,
    find_prior: Callable[[int], AnyPrior],
    scale: int = 1,
    most_points: int | None = None,
    size: tuple[int, int] | None = None,
    ignore_checksum: bool = False,
) -> Signal:
    """Decode a file.

    Args:
        data: the whole file.
        find_prior: gives the prior with the id that the file names.
        scale: samples per native sample and axis: the network is a function and renders at any resolution.
        most_points: refuse to render more pixels or sample instants than this; ``None`` stands for ``MOST_POINTS``.
        size: height and width that an image is rendered at, instead of a scale.
        ignore_checksum: decode what can be decoded of a damaged file; its header must make sense.

    Raises:
        DamagedFileError: not a file of this program, or truncated or changed.
        UnsupportedVersionError: written by a version that this one does not know.
        LimitError: more points than ``most_points``.
        PriorError: the prior is missing, or not for this kind of signal.
    """
    header, _ = bitstream.unpack(data, ignore_checksum)
    most_points = most_points or MOST_POINTS[header.kind]
    if size is not None:
        if header.kind != "image":
            raise UsageError("only an image can be resized; give --scale for a sound")
        scale = max(1, *(-(-new // old) for new, old in zip(size, header.shape, strict=True)))
    _limit(math.prod(header.shape) * scale ** len(header.shape), header, most_points)
    if header.sample_rate is not None and header.sample_rate * scale >= 2**32:
        raise UsageError(
            f"{scale} times the sample rate of {header.sample_rate} Hz is too high; choose a smaller scale"
        )
    prior = find_prior(header.prior_id)
    check_kind(prior, header.kind)
    layout = prior.tiling(header.shape, header.channels)
    _limit(_whole_points(layout, prior, header.sample_rate) * scale ** len(layout.extent), header, most_points)
    content = read(data, prior, scale, values_only=True, ignore_checksum=ignore_checksum)
    return _render(content, prior, scale, size)


def limit_of(header: Header, most_pixels: int | None, most_seconds: float | None) -> int:
    """Points that may be rendered of a file, as the caller has it.

    Args:
        header: of the file.
        most_pixels: or sample instants; ``None`` stands for ``MOST_POINTS``.
        most_seconds: that a sound may last; as many sample instants are allowed as they have at the sound's rate, up
            to 192 kHz, if that is more than ``MOST_POINTS``.

    Raises:
        LimitError: the sound lasts longer.
    """
    usual = most_pixels or MOST_POINTS[header.kind]
    if header.sample_rate is None or most_seconds is None:
        return usual
    seconds = header.shape[0] / header.sample_rate
    if seconds > most_seconds:
        raise LimitError(
            f"the sound lasts {seconds:.6g} s, over the limit of {most_seconds:g}; raise --max-seconds if you trust it"
        )
    return max(usual, math.ceil(most_seconds * min(header.sample_rate, _HIGHEST_RATE)))


def read(
    data: bytes, prior: AnyPrior, scale: int = 1, values_only: bool = False, ignore_checksum: bool = False
) -> Content:
    """The latents that a file stands for.

    Args:
        data: the whole file.
        prior: that it was made with.
        scale: samples per native sample of values that come with the latents of a sound.
        values_only: leave latents, indices and classes empty where the values come with them.
        ignore_checksum: read what can be read of a damaged file; its header must make sense.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
        PriorError: the file was made with another prior.
    """
    data, _ = bitstream.split_metadata(data, ignore_checksum)
    header, payload = bitstream.unpack(data, ignore_checksum)
    check_kind(prior, header.kind)
    if header.prior_id != prior.id:
        raise PriorError(
            f"the file needs prior {header.prior_id:08x}, not {prior.name} (id {prior.id:08x}); leave out --prior"
        )
    layout = prior.tiling(header.shape, header.channels)
    if (header.version == 3) != isinstance(prior, ByStages):
        raise DamagedFileError(
            f"the file has version {header.version}, which its prior does not go with; it is damaged"
        )
    damaged = ignore_checksum and not bitstream.is_intact(data)
    if damaged:
        header, payload = _mended(header, payload, layout, prior)
    if isinstance(prior, ByStages):
        if isinstance(prior, LappedPrior):
            found = decoder.read(header, payload, prior, scale, values_only, damaged)
            stages = decoder.named(found.stages, header.channels)
        else:
            found = pyramid_codec.read(header, payload, prior, values_only, damaged)
            stages = pyramid_codec.named(found.stages)
        return Content(
            header, layout, found.classes, header.noise or 0, found.indices, found.latents, found.values, stages
        )
    if not isinstance(prior, Prior):
        return _read_mixture(header, payload, layout, prior)
    if header.noise is None:
        if len(header.groups) != 1:
            raise DamagedFileError(f"the file has {len(header.groups)} stages where its prior has one; it is damaged")
        indices = bitstream.indices_from_bytes(payload, header.groups[0], prior.group_bits)
        chaining = Chaining(prior.group_bits)  # one chain
    else:
        indices = bitstream.indices_from_bytes(payload, len(payload), _CHAINED)
        chaining = candidates.chaining_of(len(indices))
    if layout.tiles * np.count_nonzero(prior.information) > candidates.WIDEST_GROUP * len(indices):
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    none = np.zeros(0, dtype=np.int64)
    weights = prior.stages(layout)
    parts, z = _look_up(weights, indices, chaining, prior.key)
    return Content(header, layout, none, 0, parts, z, stages=_counts(weights, parts))


def _mended(header: Header, payload: bytes, layout: Tiling, prior: AnyPrior) -> tuple[Header, bytes]:
    """A header and a payload that fit each other, of a damaged file: what is missing is 0, what is too much is cut.

    A class that the prior does not have becomes its last one. What no file has stays, and is refused later.
    """
    if header.class_bytes is not None:
        return replace(header, class_bytes=min(header.class_bytes, len(payload))), payload
    if isinstance(prior, Prior) and len(header.groups) == 1:
        most = layout.tiles * int(np.count_nonzero(prior.information))  # groups; the encoder makes no empty ones
        wanted = min(header.groups[0], most) * prior.group_bits // 8
        return header, payload[:wanted].ljust(wanted, b"\0")
    if isinstance(prior, MixturePrior | CovariancePrior):
        length = mixtures.class_bytes(layout.tiles, prior.class_bits)
        numbers = mixtures.class_numbers(payload[:length].ljust(length, b"\0"), layout.tiles, prior.class_bits)
        classes = mixtures.pack_classes(np.minimum(numbers, prior.classes - 1), prior.class_bits)
        return header, classes + payload[length:]
    return header, payload


def _read_mixture(header: Header, payload: bytes, layout: Tiling, prior: MixturePrior | CovariancePrior) -> Content:
    """The latents of a file of version 2 whose payload begins with the classes."""
    if header.noise is None:
        raise DamagedFileError("the file has version 1, which its prior does not go with; it is damaged")
    length = mixtures.class_bytes(layout.tiles, prior.class_bits)
    if len(payload) < length:
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    classes = mixtures.unpack_classes(payload[:length], layout.tiles, prior.classes)
    indices = bitstream.indices_from_bytes(payload[length:], len(payload) - length, _CHAINED)
    if isinstance(prior, CovariancePrior) and layout.tiles * prior.fewest > candidates.WIDEST_GROUP * len(indices):
        raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
    noise = mixtures.noise_level(header.noise, prior.kind)
    chaining = candidates.chaining_of(len(indices), long=isinstance(prior, MixturePrior))
    stages = prior.stages(layout, classes, noise)
    parts, z = _look_up(stages, indices, chaining, prior.key)
    return Content(header, layout, classes, noise, parts, z, stages=_counts(stages, parts))


def _counts(stages: Sequence[Stage], parts: Sequence[npt.NDArray[np.int64]]) -> dict[str, int]:
    """Number of groups of each stage by its name."""
    return {stage.name: len(part) for stage, part in zip(stages, parts, strict=True)}


def _look_up(
    stages: Sequence[Stage], indices: npt.NDArray[np.int64], chaining: Chaining, key: int
) -> tuple[tuple[npt.NDArray[np.int64], ...], tuple[npt.NDArray[np.float64], ...]]:
    """Indices and whitened latents of every stage; a stage without groups has the prior's mean."""
    partitions = groups.partitions(stages, len(indices), key)
    ends = np.cumsum([partition.groups for partition in partitions])[:-1]
    all_rows = np.split(candidates.table_rows(indices, chaining), ends)
    found = []
    for stage, partition, rows in zip(stages, partitions, all_rows, strict=True):
        z = np.zeros(len(stage.information), dtype=np.float64)
        z[partition.order] = candidates.candidates(rows, partition, key)
        found.append(z)
    return tuple(np.split(indices, ends)), tuple(found)


def _render(content: Content, prior: AnyPrior, scale: int, size: tuple[int, int] | None = None) -> Signal:
    header = content.header
    sample_rate = None if header.sample_rate is None else header.sample_rate * scale
    if isinstance(prior, LappedPrior):
        assert content.values is not None
        return from_values(content.values, header.kind, sample_rate, header.bit_depth, in_place=True)
    if content.values is not None:
        height, width = header.shape
        return _sized(content.values, size or (height * scale, width * scale), header.bit_depth)
    assert not isinstance(prior, ByStages)
    weights = prior.network_weights(content.z, content.layout, content.classes, content.noise)
    values = join(prior.render(weights, scale), content.layout, scale)
    if size is not None:
        return _sized(values, size, header.bit_depth)
    return from_values(values, header.kind, sample_rate, header.bit_depth)


def _sized(values: Rows, size: tuple[int, int], bit_depth: int) -> Signal:
    """An image of a height and a width."""
    if values.shape[:2] == size:
        return from_values(values, "image", None, bit_depth)
    resampled = pyramid_codec.Resampled(values, size)
    return from_values(resampled, "image", None, bit_depth, multiple=resampled.multiple)


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
    device = choose_device(settings.device)
    (stage,) = prior.stages(layout)
    empty = _header(signals[0], prior, 1, settings.group_bits)
    count = _number_of_groups(stage, empty, settings)
    header = _header(signals[0], prior, count, settings.group_bits)
    partition = groups.partition(stage.information, count, prior.key)
    engine, usual = _engine(settings, len(signals), layout, prior, device)
    coded = engine(
        _objective(signals, layout, prior, device),
        partition,
        candidates.chaining_of(count) if settings.group_bits == _CHAINED else Chaining(settings.group_bits),
        prior.key,
        len(signals),
        replace(settings.schedule or usual, seed=settings.seed),
        _method(settings),
        report,
    )
    payloads = [bitstream.indices_to_bytes(indices, settings.group_bits) for indices in coded.indices]
    return _Files([bitstream.pack(header, payload) for payload in payloads], list(coded.values), coded.seconds)


def _encode_covariance(
    signals: Sequence[Signal], layout: Tiling, prior: CovariancePrior, settings: Settings, report: Report
) -> _Files:
    """Files of signals with a prior that has covariances; signals whose tiles name the same classes go together."""
    from ..families.siren import conditioning, covariance_coding

    if settings.group_bits != _CHAINED:
        raise UsageError(f"prior {prior.name} goes with groups of {_CHAINED} bits only")
    header = _header(signals[0], prior, 0, _CHAINED)
    before = mixtures.class_bytes(layout.tiles, prior.class_bits)
    schedule = settings.schedule or conditioning.default_schedule(layout.tiles).scaled(_STEPS[settings.effort])
    schedule, device = replace(schedule, seed=settings.seed), choose_device(settings.device)
    clock = time.perf_counter()
    chosen = covariance_coding.choose(_objective(signals, layout, prior, device), prior, settings.seed)
    files = _Files([b""] * len(signals), [np.zeros(0)] * len(signals), {"fit": time.perf_counter() - clock})
    kinds, kind = np.unique(chosen.reshape(len(signals), layout.tiles), axis=0, return_inverse=True)
    for number, classes in enumerate(kinds):
        members = [int(member) for member in np.flatnonzero(kind.reshape(-1) == number)]
        (stage,) = prior.stages(layout, classes)
        partition = groups.partition(stage.information, _number_of_groups(stage, header, settings, before), prior.key)
        fit = _objective([signals[int(member)] for member in members], layout, prior, device)
        fit = covariance_coding.under(fit, prior, np.tile(classes, len(members)))
        coded = conditioning.encode(
            fit, partition, Chaining(_CHAINED), prior.key, len(members), schedule, _method(settings), report
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
    from ..families.linear import closed_form

    if settings.group_bits != _CHAINED:
        raise UsageError(f"prior {prior.name} goes with groups of {_CHAINED} bits only")
    tiles = np.concatenate([split(to_values(signal), layout) for signal in signals])
    weights = prior.network.weights(tiles).reshape(len(signals), layout.tiles, -1)
    header = _header(signals[0], prior, 0, _CHAINED)
    smallest = _smallest_file(layout, prior, header, _CHAINED)
    count = None
    if settings.size is not None:
        count = settings.size - smallest + 1
        if count < 1:
            raise UsageError(
                f"a file of this {signals[0].kind} takes {smallest} bytes with prior {prior.name}; "
                f"ask for more than {settings.size}"
            )
    elif not (math.isfinite(settings.rate) and settings.rate > 0):
        raise UsageError(f"the rate must be positive, not {settings.rate}")
    rate = settings.rate * prior.bits_per_point
    clock = time.perf_counter()
    choices = closed_form.decide(prior, layout, weights, count, rate)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    coded = closed_form.encode_batch(
        prior, layout, weights, choices, count, settings.effort, _method(settings), settings.seed
    )
    seconds["search"] = time.perf_counter() - clock
    data = []
    for one in coded:
        payload = mixtures.pack_classes(one.classes, prior.class_bits)
        payload += bitstream.indices_to_bytes(one.indices, _CHAINED)
        data.append(bitstream.pack(replace(header, noise=one.code), payload))
    return _Files(data, [one.z for one in coded], seconds)


def _encode_by_stages(signals: Sequence[Signal], prior: ByStages, settings: Settings) -> _Files:
    """Files of images with a pyramid prior, or of sounds with a lapped one."""
    from ..families.lapped import files as recording_codec
    from ..stages import rate_control

    if settings.group_bits != _CHAINED:
        raise UsageError(f"prior {prior.name} goes with groups of {_CHAINED} bits only")
    wanted = rate_control.Wanted(settings.rate, settings.size, settings.psnr)
    files = _Files([], [], {})
    for signal in signals:
        header = _header(signal, prior, 0, _CHAINED)
        if isinstance(prior, LappedPrior):
            method = settings.search or "viterbi"  # fast enough for every effort
            written = recording_codec.encode(signal, header, prior, wanted, settings.effort, method, settings.seed)
        else:
            method = _method(settings)
            written = pyramid_codec.encode(signal, header, prior, wanted, settings.effort, method, settings.seed)
        files.data.append(written.data)
        files.values.append(written.latents)
        for phase, seconds in written.seconds.items():
            files.seconds[phase] = files.seconds.get(phase, 0.0) + seconds
    return files


def _smallest_file(layout: Tiling, prior: AnyPrior, header: Header, group_bits: int) -> int:
    """Bytes of a file with as few groups as there can be."""
    around = len(bitstream.pack(header, b""))
    if isinstance(prior, ByStages):
        return around + 1
    if isinstance(prior, MixturePrior):
        return around + mixtures.class_bytes(layout.tiles, prior.class_bits) + 1
    if isinstance(prior, CovariancePrior):
        around += mixtures.class_bytes(layout.tiles, prior.class_bits)
        (stage,) = prior.stages(layout, np.zeros(layout.tiles, dtype=np.int64))
    else:
        (stage,) = prior.stages(layout)
    return around + _fewest_groups(stage) * group_bits // 8


def _fewest_groups(stage: Stage) -> int:
    """As many as the encoder's table has to have to hold the latents, with some room."""
    return max(1, -(-int(np.count_nonzero(stage.information)) // (candidates.WIDEST_GROUP // 2)))


def _method(settings: Settings) -> str:
    return settings.search or ("best" if settings.effort <= _FAST else "viterbi")


def _header(signal: Signal, prior: AnyPrior, count: int, group_bits: int) -> Header:
    if group_bits == _CHAINED:
        return Header(prior.id, *format_of(signal), noise=0)
    if not isinstance(prior, Prior) or group_bits != prior.group_bits:
        raise UsageError(f"prior {prior.name} does not go with groups of {group_bits} bits")
    return Header(prior.id, *format_of(signal), groups=(count,))


def _encode_to_psnr(signal: Signal, prior: AnyPrior, settings: Settings, report: Report | None) -> EncodeResult:
    """The smallest file found that reaches a PSNR: false position on the logarithm of the size.

    Raises:
        UsageError: no file with this prior reaches it.
    """
    assert settings.psnr is not None
    below: tuple[float, EncodeResult] | None = None
    above: tuple[float, EncodeResult] | None = None
    header = _header(signal, prior, 1, settings.group_bits)
    smallest = _smallest_file(prior.tiling(signal.shape, signal.channels), prior, header, settings.group_bits)
    # the first file stage by stage is expected to reach it, that of any other prior is as good a beginning as any
    first = _encode_by_stages([signal], prior, settings) if isinstance(prior, ByStages) else None
    each = replace(settings, psnr=None, verify=True)  # or else nobody knows what is reached
    attempt = _results(first, [signal], prior)[0] if first else encode(signal, prior, each, report)
    for _ in range(_MOST_ATTEMPTS):
        assert attempt.decoded is not None
        reached = metrics.psnr(signal, attempt.decoded) - settings.psnr
        if reached >= 0:
            above = (reached, attempt)
        elif above is None and below is not None and _is_saturated(below, (reached, attempt)):
            break
        else:
            below = (reached, attempt)
        size = _next_size(below, above, smallest)
        if size is None or (above is not None and above[0] < _CLOSE_ENOUGH):
            break
        try:
            attempt = encode(signal, prior, replace(each, size=size), report)
        except UsageError:
            if above is None:
                raise
            smallest = (size + len(above[1].data) + 1) // 2  # that was too small for this signal
            continue
        if below is not None and len(attempt.data) <= len(below[1].data):
            break  # it does not get larger than this
    if above is None:
        assert below is not None
        best, asked = (_decibels_text(signal, round(psnr, 2)) for psnr in (settings.psnr + below[0], settings.psnr))
        raise UsageError(f"prior {prior.name} reaches {best} here; ask for less than {asked}")
    return above[1]


def _decibels_text(signal: Signal, psnr: float) -> str:
    """A PSNR, and the SNR that is the same of a sound that is not silent."""
    if signal.kind != "sound" or math.isinf(metrics.peak_over_signal(signal)):
        return f"{psnr:g} dB"
    return f"{psnr:g} dB (SNR {psnr - metrics.peak_over_signal(signal):.2f} dB)"


def _is_saturated(smaller: tuple[float, EncodeResult], larger: tuple[float, EncodeResult]) -> bool:
    """Whether many more bytes hardly gain anything."""
    grown = larger[1].payload_bytes > 1.8 * smaller[1].payload_bytes
    return grown and larger[0] < smaller[0] + _SATURATED


def _next_size(
    below: tuple[float, EncodeResult] | None, above: tuple[float, EncodeResult] | None, smallest: int
) -> int | None:
    """A size between the largest file that fails and the smallest that does not, or beyond; ``None``: none is left."""
    if below is None or above is None:
        reached, result = above or below or (0.0, None)
        assert result is not None
        around = len(result.data) - result.payload_bytes
        octaves = min(-reached / _DB_PER_DOUBLING, _MOST_OCTAVES)
        size = around + round(result.payload_bytes * 2 ** (octaves + math.copysign(_MARGIN, octaves)))
        size = max(size, smallest)
        return size if size != len(result.data) else None
    small, large = len(below[1].data), len(above[1].data)
    if large - small <= max(1, large // 500):
        return None
    share = min(max(-below[0] / (above[0] - below[0]), 0.1), 0.9)
    size = round(small * math.exp(share * math.log(large / small)))
    return min(max(size, small + 1), large - 1)


def default_schedule(points: int) -> Schedule:
    """How long to fit and refine a signal or batch whose tiles have that many points in all."""
    from ..families.siren.posterior import Descent
    from ..families.siren.refinement import Schedule

    if points <= _SMALL:
        return Schedule(steps=3000, rounds=128, steps_per_round=20, descent=Descent(points=512))
    return Schedule(steps=2500, rounds=64, steps_per_round=16)


def _engine(
    settings: Settings, signals: int, layout: Tiling, prior: Prior, device: str
) -> tuple[Callable[..., Coded], Schedule]:
    """What fits, searches and refines, and for how long if nobody says otherwise.

    Where the covariances of all networks do not fit the memory, gradient steps refine.
    """
    from ..families.siren import conditioning, gauss_newton
    from ..families.siren import refinement as refine

    if settings.refine not in REFINEMENTS:
        raise UsageError(f"there is no refinement {settings.refine}; choose {' or '.join(REFINEMENTS)}")
    latents = int(np.count_nonzero(prior.information))
    if settings.refine == "gradient" or not gauss_newton.affordable(signals * layout.tiles, latents, device):
        schedule = default_schedule(layout.tiles * math.prod(layout.extent))
        return refine.encode, schedule.scaled(_STEPS[settings.effort])
    return conditioning.encode, conditioning.default_schedule(layout.tiles).scaled(_STEPS[settings.effort])


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


def _whole_points(layout: Tiling, prior: AnyPrior, sample_rate: int | None) -> int:
    """Points that are rendered: tiles are whole, and what is beyond the signal is cut off afterwards.

    Networks that have many more weights than points, and recordings of a lower sample rate than their prior's, count
    for what they take.
    """
    points = layout.tiles * math.prod(layout.extent)
    if isinstance(prior, Prior | CovariancePrior):
        points = max(points, layout.tiles * prior.network.latents // _MOST_WEIGHTS)
    if isinstance(prior, LappedPrior) and sample_rate is not None:
        points = max(points, length_at(points, sample_rate, prior.coded_rate(sample_rate)))
    return points


def _limit(points: int, header: Header, most_points: int) -> None:
    if points > most_points:
        size = "x".join(str(length) for length in reversed(header.shape))  # width first, as people say it
        raise LimitError(
            f"the file declares {size} samples, over the limit of {most_points}; "
            f"raise {'--max-pixels' if header.kind == 'image' else '--max-seconds'} if you trust it"
        )


def _number_of_groups(stage: Stage, header: Header, settings: Settings, before: int = 0) -> int:
    """Groups for a stage at the asked size, of which ``before`` bytes are taken, or rate, within what can be coded."""
    coded = int(np.count_nonzero(stage.information))
    fewest = _fewest_groups(stage)
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
    from ..families.siren.posterior import objective

    target = np.concatenate([split(to_values(signal), layout) for signal in signals])
    inside = None
    if (coverage(layout) < math.prod(layout.extent)).any():
        inside = np.tile(inside_mask(layout), (len(signals), 1, 1))
    features = prior.network.fourier_features(coordinates(layout.extent))
    mean, deviation = (prior.mean, prior.deviation) if isinstance(prior, Prior) else (prior.mean[0], prior.basis[0])
    return objective(prior.network, features, target, inside, (mean, deviation), prior.beta, device)


def _silence(_: Progress) -> None:
    """Report nothing."""


def format_of(signal: Signal) -> tuple[Kind, tuple[int, ...], int, int, int | None]:
    """What signals that are encoded together have in common, in the order of a header's fields."""
    return (signal.kind, signal.shape, signal.channels, signal.bit_depth, signal.sample_rate)
