"""The work on files, for one process or for many: contents of inputs become contents of outputs.

It may be done in this process, in others or on other machines, and gives the same bytes everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from ..codec import goals, limits, pipeline
from ..codec.pipeline import EncodeResult
from ..container import file as container
from ..container import metadata
from ..container.file import File
from ..container.metadata import Metadata
from ..errors import DamagedFileError, InputError, LimitError, UsageError
from ..family import Prior, Report, Target, View
from ..media import files as media
from ..priors import library as priors
from ..priors.selection import Choice
from ..rec import search
from ..signals import metrics
from ..signals import signal as signals
from ..signals.signal import Format, Signal
from ..system import files, resources
from .failures import attempt
from .requests import Converted, Decoded, Decoding, Encoded, Encoding, Failure, Job, Request

_SMALL_FILE = 2**15  # bytes of a file that others may be read with before one of them is encoded
_LOST = 3.0  # dB of SNR
_SMALL_SIGNAL = 2**14  # points of a signal that may wait for others that take the same prior
_MOST_TOGETHER = 32  # files that are read at once
_FEWEST_TOGETHER = 8  # of small files, where there are many processes

Note = Callable[[str], None]


class Library(NamedTuple):
    """Where priors are found, by name or file, and by id."""

    named: Callable[[str], Prior]
    with_id: Callable[[int], Prior]


def library() -> Library:
    """The priors on the search path, each found once."""
    return Library(lru_cache(maxsize=4)(priors.find), lru_cache(maxsize=8)(priors.find_id))


def windows(jobs: Sequence[Job], request: Request, workers: int) -> Iterator[list[Job]]:
    """Jobs in parts for one worker each: small files that may be encoded together, others alone.

    Args:
        jobs: what there is to do.
        request: what to do.
        workers: number of those who share the parts.
    """
    small = [job for job in jobs if job.size <= _SMALL_FILE]
    most = _MOST_TOGETHER if isinstance(request, Encoding) else 1
    if min(most, workers) > 1:
        most = min(most, max(_FEWEST_TOGETHER, len(small) // (2 * workers)))  # so that all have about the same to do
    together = {small[first]: small[first : first + most] for first in range(0, len(small), most)}
    for job in jobs:
        if job.size > _SMALL_FILE:
            yield [job]
        elif job in together:
            yield together[job]


def convert(
    jobs: Sequence[Job], request: Request, known: Library, read: Callable[[Job], bytes]
) -> Iterator[tuple[Job, Converted | Failure]]:
    """Contents of the outputs of jobs, as they are finished; what goes wrong with one does not keep others from it.

    Args:
        jobs: a window of :func:`windows`.
        request: what to do.
        known: where priors are found.
        read: gives the content of a source.
    """
    if isinstance(request, Decoding):
        for job in jobs:
            yield job, attempt(partial(_read_and_decode, job, request, known, read))
    else:
        yield from _encode_all(jobs, request, known, read)


def convert_files(request: Request, jobs: Sequence[Job]) -> list[Converted | Failure]:
    """Contents of the outputs of jobs, in their order: the work of a process that does nothing else.

    Args:
        request: what to do.
        jobs: a window of :func:`windows`.
    """
    results = dict(convert(jobs, request, _library_of_process(), lambda job: read_source(job.source, request)))
    return [results[job] for job in jobs]


@lru_cache(maxsize=1)
def _library_of_process() -> Library:
    return library()


def read_source(source: Path, request: Request) -> bytes:
    """The content of an input.

    Args:
        source: file to read.
        request: that may limit its size.

    Raises:
        InputError: it cannot be read, or is larger.
    """
    return files.read_bytes(source, request.largest_file if isinstance(request, Decoding) else None)


# ---- encoding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Planned:
    """A signal that was read, with its packed metadata, and with the prior and the target of its encoder."""

    job: Job
    signal: Signal
    metadata: bytes
    plan: Choice
    input_bytes: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def prior(self) -> Prior:
        return self.plan.prior

    @property
    def target(self) -> Target:
        return self.plan.target


def encode_one(
    job: Job, data: bytes, request: Encoding, known: Library, report: Report | None = None, note: Note | None = None
) -> Converted:
    """The content of a ``.cmb`` file.

    Args:
        job: names the source in messages.
        data: content of the source.
        request: how.
        known: where priors are found.
        report: called as the work proceeds.
        note: told at once what is changed, which the result tells as well.

    Raises:
        CombinerError: of any kind, as :func:`media.read_signal`, :func:`goals.plan` and :func:`pipeline.encode` say.
    """
    return _encode(_plan(job, data, request, known, note), request, report)


def _encode_all(
    jobs: Sequence[Job], request: Encoding, known: Library, read: Callable[[Job], bytes]
) -> Iterator[tuple[Job, Converted | Failure]]:
    """Contents of ``.cmb`` files; signals that gain from it are encoded together."""
    waiting: dict[tuple[object, ...], list[_Planned]] = {}
    for job in jobs:
        planned = attempt(partial(_read_and_plan, job, request, known, read))
        if isinstance(planned, Failure):
            yield job, planned
            continue
        key, most = _together(planned, request)
        if planned.signal.points > _SMALL_SIGNAL:
            yield job, attempt(partial(_encode, planned, request))
            continue
        group = waiting.setdefault(key, [])
        group.append(planned)
        if len(group) == most:
            yield from _encode_group(waiting.pop(key), request)
    # what takes the same prior comes together, as the candidates of each prior are made anew
    for _, group in sorted(waiting.items(), key=lambda item: str(item[0])):
        yield from _encode_group(group, request)


def _together(planned: _Planned, request: Encoding) -> tuple[tuple[object, ...], int]:
    """What signals have in common that are encoded together, and how many they are."""
    most = planned.prior.signals_together(planned.signal.format, request.options)
    if planned.target.unit in ("psnr", "ssimulacra2"):
        most = 1  # which each signal reaches by trials of its own
    alone = planned.job if most == 1 else None
    return (planned.prior.id, planned.target, planned.signal.format, alone), max(most, 2)


def _read_and_plan(job: Job, request: Encoding, known: Library, read: Callable[[Job], bytes]) -> _Planned:
    return _plan(job, read(job), request, known, None)


def _plan(job: Job, data: bytes, request: Encoding, known: Library, note: Note | None) -> _Planned:
    clock = time.perf_counter()
    notes: list[str] = []
    keep = _keeping(notes, note)
    if request.keep_metadata:
        signal, described = media.read_with_metadata(data, job.source, keep)
    else:
        signal, described = media.read_signal_bytes(data, job.source, keep), Metadata()
    try:
        packed = metadata.pack(described)
    except InputError as error:
        raise InputError(f"{job.source}: {error}") from error
    named = known.named(request.prior) if request.prior else None
    plan = goals.plan(signal, request.target, named, container.metadata_overhead(packed))
    if request.target.tune == "perceptual" and not plan.prior.shapes_noise:
        keep(f"prior {plan.prior.name} weighs all errors alike; --tune perceptual makes no difference")
    return _Planned(job, signal, packed, plan, len(data), time.perf_counter() - clock, tuple(notes))


def _keeping(notes: list[str], note: Note | None) -> Note:
    """What notes go to: a list, and who is told at once."""

    def keep(words: str) -> None:
        notes.append(words)
        if note is not None:
            note(words)

    return keep


def _encode(planned: _Planned, request: Encoding, report: Report | None = None) -> Converted:
    clock = time.perf_counter()
    _make_room_for(planned.prior.id)
    try:
        prior, target, others = planned.prior, planned.target, planned.plan.others
        result = pipeline.encode(planned.signal, prior, target, request.options, report, request.verify, others)
    except UsageError as error:
        if planned.metadata and planned.target.unit == "size":
            metadata_bytes = container.metadata_overhead(planned.metadata)
            raise UsageError(f"{error}; {metadata_bytes:,} bytes go to the metadata besides") from error
        raise
    return _encoded(planned, request, result, time.perf_counter() - clock, 1)


def _encode_group(group: Sequence[_Planned], request: Encoding) -> Iterator[tuple[Job, Converted | Failure]]:
    """Contents of the files of signals that go together; where that fails, each has its own try."""
    first = group[0]
    if len(group) == 1:
        yield first.job, attempt(partial(_encode, first, request))
        return
    clock = time.perf_counter()
    _make_room_for(first.prior.id)
    signals_together = [planned.signal for planned in group]
    results = attempt(
        lambda: pipeline.encode_batch(
            signals_together, first.prior, first.target, request.options, verify=request.verify
        )
    )
    seconds = time.perf_counter() - clock
    if isinstance(results, Failure):
        yield from ((planned.job, attempt(partial(_encode, planned, request))) for planned in group)
        return
    for planned, result in zip(group, results, strict=True):
        yield planned.job, _encoded(planned, request, result, seconds, len(group))


@lru_cache(maxsize=1)
def _make_room_for(_prior_id: int) -> None:
    """Let go of the candidates of the prior before this one; to be called with the id of each, in turn."""
    search.forget()


def _encoded(planned: _Planned, request: Encoding, result: EncodeResult, seconds: float, members: int) -> Converted:
    """A finished file, one of several that took some seconds together."""
    signal, decoded = planned.signal, result.decoded
    data = container.with_metadata(result.file, planned.metadata)
    facts = Encoded(
        prior=result.prior,
        prior_chosen=request.prior is None,
        input_bytes=planned.input_bytes,
        bytes=len(data),
        payload_bytes=result.payload_bytes,
        metadata_bytes=len(data) - len(result.data),
        format=signal.format,
        psnr=None if decoded is None else metrics.psnr(signal, decoded),
        snr=None if decoded is None or signal.sample_rate is None else metrics.signal_to_noise(signal, decoded),
        seconds=planned.seconds + seconds / members,
        phases={phase: share / members for phase, share in result.seconds.items()},
        warnings=_warnings(planned, result),
    )
    return Converted(data, facts, planned.notes)


def _warnings(planned: _Planned, result: EncodeResult) -> tuple[str, ...]:
    """What is wrong with a file although it is what was asked for."""
    warnings = []
    if result.decoded is None:
        return ()
    if result.far_from_prior and planned.target.unit == "size":
        decibels = metrics.psnr(planned.signal, result.decoded)
        warnings.append(
            f"the content is far from what prior {result.prior} expects, and reaches {decibels:.1f} dB in so few bytes"
        )
    if planned.signal.kind == "sound" and metrics.signal_to_noise(planned.signal, result.decoded) < _LOST:
        warnings.append("hardly anything of the sound is left")
    return tuple(warnings)


# ---- decoding --------------------------------------------------------------------------------------------------------


def _read_and_decode(job: Job, request: Decoding, known: Library, read: Callable[[Job], bytes]) -> Converted:
    return decode_one(job, File.parse(read(job), request.ignore_checksum), request, known)


def decode_one(job: Job, file: File, request: Decoding, known: Library, note: Note | None = None) -> Converted:
    """The content of an image or sound file.

    Args:
        job: says in which format.
        file: the ``.cmb`` file.
        request: how.
        known: where priors are found.
        note: told at once what is left out, which the result tells as well.

    Raises:
        CombinerError: of any kind, as :func:`pipeline.decode` and :func:`media.signal_bytes` say.
    """
    clock = time.perf_counter()
    resources.return_memory()
    most_points = limits.most_points(file.format, request.max_pixels, request.max_seconds)
    scale = request.scale if request.rate is None else _scale_for(file.format, request.rate, most_points)
    chosen = known.named(request.prior) if request.prior else None
    view = View(scale=scale, size=request.size, fill=request.fill)
    decoded = pipeline.decode(file, lambda number: chosen or known.with_id(number), view, most_points)
    if request.rate is not None and request.rate != decoded.sample_rate:
        decoded = signals.at_rate(decoded, request.rate)
    notes: list[str] = []
    keep = _keeping(notes, note)
    content = media.signal_bytes(decoded, job.suffix, _metadata_of(file, request, keep), keep, request.strip)
    seconds = time.perf_counter() - clock
    facts = Decoded(len(file.data), len(content), decoded.format, seconds, damaged=not file.intact)
    return Converted(content, facts, tuple(notes))


def _metadata_of(file: File, request: Decoding, note: Note) -> Metadata:
    """The metadata of a ``.cmb`` file, without which it is decoded where they cannot be read and need not be there."""
    try:
        return metadata.unpack(file.metadata)
    except (DamagedFileError, LimitError):
        if not (request.strip or request.ignore_checksum):
            raise
    note("the metadata cannot be read and are left out; colours may differ")
    return Metadata()


def _scale_for(signal_format: Format, rate: int, most_points: int) -> int:
    """Samples per native sample at which a sound is rendered for a sample rate; what is not whole, is resampled.

    Raises:
        UsageError: the file holds an image.
        LimitError: more sample instants than ``most_points``.
    """
    if signal_format.sample_rate is None:
        raise UsageError("--rate is for sounds; give --scale or --resize for an image")
    points = signal_format.points * rate // signal_format.sample_rate
    if points > most_points:
        raise LimitError(
            f"the sound has {points} samples at {rate} Hz, over the limit of {most_points}; "
            "raise --max-seconds if you trust it"
        )
    return 1 if rate % signal_format.sample_rate else rate // signal_format.sample_rate
