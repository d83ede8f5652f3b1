"""Many files: which there are, where their outputs go, and the work on them, for one process or for many.

What is planned is plain data, and so is what comes back: the work may be done in this process, in others or on other
machines, and gives the same bytes everywhere.
"""

from __future__ import annotations

import os
import stat
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..codec import goals, pipeline
from ..codec.goals import Goal
from ..codec.pipeline import EncodeResult, Settings
from ..container import bitstream, metadata
from ..container.bitstream import Header
from ..container.metadata import Metadata
from ..errors import (
    OUT_OF_MEMORY,
    CombinerError,
    DamagedFileError,
    InputError,
    LimitError,
    UsageError,
    is_out_of_memory,
)
from ..families.linear.mixtures import MixturePrior
from ..families.siren.covariances import CovariancePrior
from ..media import files as media
from ..priors import library as priors
from ..priors.library import AnyPrior, ByStages
from ..rec import search
from ..signals import metrics
from ..signals import signal as signals
from ..signals.signal import Kind, Signal
from ..system import files, processes

if TYPE_CHECKING:
    from ..families.siren.refinement import Report

ENCODED = ".cmb"

_SMALL_FILE = 2**15  # bytes of a file that others may be read with before one of them is encoded
_MOST_TOGETHER = 32  # files that are read, and signals that are encoded, at once
_FEWEST_TOGETHER = 8  # of small files, where there are many processes
_SMALL_SIGNAL = 2**12  # points up to which signals gain from being encoded together
_POINTS_TOGETHER = 2**15
_MATRIX_FLOATS_TOGETHER = 2**24  # of covariances of networks with hidden layers; some matrices of that size exist

Note = Callable[[str], None]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Places:
    """Where inputs are looked for, and where outputs go.

    Attributes:
        output: file of the output of a single input.
        directory: folder of all outputs; ``None`` for that of each input.
        recursive: whether folders stand for the files in them.
        overwrite: whether existing outputs are replaced.
        skip_existing: whether inputs whose output exists are left out.
        keep_times: whether an output has the modification time of its input.
    """

    output: Path | None = None
    directory: Path | None = None
    recursive: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    keep_times: bool = True


@dataclass(frozen=True)
class Encoding:
    """How images and sounds become ``.cmb`` files.

    Attributes:
        goal: of each file.
        prior: name or file of the prior; ``None`` chooses for each signal.
        settings: how; goals decide what is said of rate and size in it.
        keep_metadata: whether metadata are kept, and the colours that images are in.
    """

    goal: Goal = field(default_factory=Goal)
    prior: str | None = None
    settings: Settings = field(default_factory=Settings)
    keep_metadata: bool = False


@dataclass(frozen=True)
class Decoding:
    """How ``.cmb`` files become images and sounds.

    Attributes:
        prior: name or file of the prior; ``None`` looks for that of each file.
        format: suffix of the outputs, where none is named; ``None`` for PNG and WAV.
        scale: samples per native sample and axis.
        size: height and width that images are rendered at instead.
        rate: sample rate that sounds are rendered at instead.
        most_points: pixels or sample instants that a file may have; ``None`` stands for ``codec.MOST_POINTS``.
        most_seconds: that a sound may last; ``None`` for any number.
        largest_file: bytes that a file may have.
        ignore_checksum: decode what can be decoded of damaged files.
        strip: whether metadata are left out.
    """

    prior: str | None = None
    format: str | None = None
    scale: int = 1
    size: tuple[int, int] | None = None
    rate: int | None = None
    most_points: int | None = None
    most_seconds: float | None = None
    largest_file: int | None = None
    ignore_checksum: bool = False
    strip: bool = False


Request = Encoding | Decoding


@dataclass(frozen=True)
class Found:
    """An input.

    Attributes:
        source: the file.
        folder: of its output, where no output is named.
    """

    source: Path
    folder: Path


@dataclass(frozen=True)
class Job:
    """An input and its output.

    Attributes:
        source: file to read.
        target: file to write; its suffix says what is written.
        size: bytes of the source; 0 where it cannot be said.
        modified: when the source was modified, in nanoseconds since 1970.
    """

    source: Path
    target: Path
    size: int = 0
    modified: int | None = None


@dataclass(frozen=True)
class Encoded:
    """What is told of a file that was encoded.

    Attributes:
        prior: name.
        input_bytes: size of the image or sound file.
        bytes: size of the ``.cmb`` file.
        payload_bytes: of that, class numbers and group indices.
        kind: of the signal.
        shape: of the signal.
        sample_rate: of a sound, in Hz.
        psnr: of what the file decodes to, in dB; ``None`` where that was not looked at.
        snr: likewise, of a sound.
        seconds: wall time; files that were encoded together have an equal share each.
        phases: the same by phase.
        metadata_bytes: of the ``.cmb`` file, what the metadata take.
    """

    prior: str
    input_bytes: int
    bytes: int
    payload_bytes: int
    kind: Kind
    shape: tuple[int, ...]
    sample_rate: int | None
    psnr: float | None
    snr: float | None
    seconds: float
    phases: dict[str, float]
    metadata_bytes: int = 0


@dataclass(frozen=True)
class Decoded:
    """What is told of a file that was decoded.

    Attributes:
        input_bytes: size of the ``.cmb`` file.
        bytes: size of the image or sound file.
        kind: of the signal.
        shape: of the signal.
        channels: of the signal.
        sample_rate: of a sound, in Hz.
        seconds: wall time.
        damaged: whether the checksum of the ``.cmb`` file does not match.
    """

    input_bytes: int
    bytes: int
    kind: Kind
    shape: tuple[int, ...]
    channels: int
    sample_rate: int | None
    seconds: float
    damaged: bool = False


@dataclass(frozen=True)
class Converted:
    """A finished file.

    Attributes:
        data: its content.
        facts: what is told of it.
        notes: what was changed without having been asked for, a line each.
    """

    data: bytes
    facts: Encoded | Decoded
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why there is no file.

    Attributes:
        message: one line.
        exit_code: of a program that does nothing else.
        trace: where it came from, for those who want to know.
    """

    message: str
    exit_code: int
    trace: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of an input; without facts and failure, it was left out since its output exists.

    Attributes:
        source: the input.
        target: its output; ``None`` where it could not be said.
        facts: of a finished file.
        failure: why there is none.
        notes: what was changed without having been asked for, a line each.
    """

    source: Path
    target: Path | None = None
    facts: Encoded | Decoded | None = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()


class Library(NamedTuple):
    """Where priors are found, by name or file, and by id."""

    named: Callable[[str], AnyPrior]
    with_id: Callable[[int], AnyPrior]


def library() -> Library:
    """The priors on the search path, each found once."""
    return Library(lru_cache(maxsize=4)(priors.find), lru_cache(maxsize=8)(priors.find_id))


# ---- which files there are -------------------------------------------------------------------------------------------


def find(inputs: Sequence[Path], places: Places, suffixes: frozenset[str]) -> tuple[list[Found], list[Outcome]]:
    """The files that inputs stand for, in their order, each once, and folders that could not be read.

    Args:
        inputs: files and, if ``places`` says so, folders, which stand for the files below them, ordered by name. Hidden
            files and folders are left out; links are followed, to each folder once.
        places: where outputs go: below ``directory`` as the files lie below the folder that was given.
        suffixes: of the files in folders that count, in lower case.
    """
    found: dict[Found, None] = {}
    failures: list[Outcome] = []
    for given in inputs:
        if not (places.recursive and given.is_dir()):
            found[Found(given, places.directory or given.parent)] = None
            continue
        for source in _walk(given, suffixes, failures):
            below = source.parent.relative_to(given)
            found[Found(source, places.directory / below if places.directory else source.parent)] = None
    return list(found), failures


def _walk(folder: Path, suffixes: frozenset[str], failures: list[Outcome]) -> list[Path]:
    """The files below a folder, by name."""

    def refuse(error: OSError) -> None:
        reason = InputError(f"{error.filename} cannot be read: {error.strerror}; change its permissions")
        failures.append(Outcome(Path(error.filename), failure=failure(reason)))

    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    links = [folder]
    while links:
        for place, folders, names in os.walk(links.pop(0), onerror=refuse):
            try:
                status = Path(place).stat()
            except OSError as error:  # it was there a moment ago
                folders.clear()
                refuse(error)
                continue
            known = (status.st_dev, status.st_ino) in seen
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [] if known else sorted(name for name in folders if not name.startswith("."))
            links += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
            paths = [Path(place, name) for name in ([] if known else names) if not name.startswith(".")]
            found += [path for path in paths if path.suffix.lower() in suffixes and _may_be_a_file(path)]
    return sorted(found)


def _may_be_a_file(path: Path) -> bool:
    """Whether a name in a folder stands for a file, or for one that is missing, and not for a pipe or a device."""
    return path.is_file() or not path.exists()


def job_for(found: Found, places: Places, request: Request) -> Job:
    """An input with its output.

    Raises:
        InputError: there is no such file, or it is a folder.
        DamagedFileError, UnsupportedVersionError: a file that is to be decoded does not say what is in it.
        OutputError: an output of that name cannot hold what is to be decoded.
    """
    try:
        status = found.source.stat()
    except OSError:
        status = None  # whoever reads it will say why
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise InputError(f"{found.source} is a folder; give -r to take the files in it")
    size, modified = (0, None) if status is None else (status.st_size, status.st_mtime_ns)
    kind = kind_of(read_source(found.source, request), request) if isinstance(request, Decoding) else None
    return Job(found.source, output_for(found, kind, places, request), size, modified)


def kind_of(data: bytes, request: Request) -> Kind | None:
    """What a file that is to be decoded says is in it; ``None`` for one that is to be encoded.

    Raises:
        DamagedFileError, UnsupportedVersionError: it does not say so.
    """
    return bitstream.unpack(data, request.ignore_checksum)[0].kind if isinstance(request, Decoding) else None


def output_for(found: Found, kind: Kind | None, places: Places, request: Request) -> Path:
    """The output of an input.

    Args:
        found: the input.
        kind: of what is in a ``.cmb`` file.
        places: where outputs go.
        request: what to do.

    Raises:
        OutputError: an output of that name cannot hold what is in the file.
    """
    suffix = ENCODED
    if isinstance(request, Decoding) and kind is not None:
        suffix = request.format or media.default_suffix(kind)
    target = places.output or found.folder / files.default_output(found.source, suffix).name
    if kind is not None:
        media.check_writable_suffix(kind, target)
    return target


def check_collisions(jobs: Sequence[Job]) -> None:
    """Make sure that every output is that of one input.

    Raises:
        UsageError: two inputs would become the same file.
    """
    owners: dict[Path, Path] = {}
    folders: dict[Path, Path] = {}
    for job in jobs:
        folder = job.target.parent
        if folder not in folders:
            folders[folder] = Path(os.path.realpath(folder))
        other = owners.setdefault(folders[folder] / job.target.name, job.source)
        if other != job.source:
            raise UsageError(f"{other} and {job.source} would both become {job.target}; rename one, or leave one out")


# ---- the work --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Planned:
    """A signal that was read, with its packed metadata, and with the prior and the settings for its goal."""

    job: Job
    signal: Signal
    metadata: bytes
    prior: AnyPrior
    settings: Settings
    input_bytes: int
    seconds: float
    notes: tuple[str, ...]


def windows(jobs: Sequence[Job], request: Request, workers: int) -> Iterator[list[Job]]:
    """Jobs in parts for one worker each: small files that may be encoded together, others alone."""
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
    waiting: dict[object, list[_Planned]] = {}
    for job in jobs:
        if isinstance(request, Decoding):
            yield job, attempt(lambda job=job: decode_one(job, read(job), request, known))  # type: ignore[misc]
            continue
        planned = attempt(lambda job=job: _plan(job, read(job), request, known, None))  # type: ignore[misc]
        if isinstance(planned, Failure):
            yield job, planned
            continue
        most = _most_together(planned)
        if most < 2:
            yield job, attempt(partial(_encode, planned))
            continue
        key = (planned.prior.id, planned.settings, pipeline.format_of(planned.signal))
        group = waiting.setdefault(key, [])
        group.append(planned)
        if len(group) == most:
            yield from _encode_group(waiting.pop(key))
    for group in waiting.values():
        yield from _encode_group(group)


@lru_cache(maxsize=1)
def _make_room_for(_prior_id: int) -> None:
    """Let go of the candidates of the prior before this one; to be called with the id of each, in turn."""
    search.forget()


def convert_files(request: Request, jobs: Sequence[Job]) -> list[Converted | Failure]:
    """Contents of the outputs of jobs, in their order: the work of a process that does nothing else."""
    results = dict(convert(jobs, request, _own_library(), lambda job: read_source(job.source, request)))
    return [results[job] for job in jobs]


@lru_cache(maxsize=1)
def _own_library() -> Library:
    return library()


def read_source(source: Path, request: Request) -> bytes:
    """The content of an input."""
    return files.read_bytes(source, request.largest_file if isinstance(request, Decoding) else None)


def attempt(work: Callable[[], Value]) -> Value | Failure:
    """The result of some work on a file, or why there is none."""
    try:
        return work()
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Failure:
    """Why there is no file, from an exception."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, CombinerError):
        return Failure(str(error), error.exit_code, trace)
    if is_out_of_memory(error):
        return Failure(OUT_OF_MEMORY, LimitError.exit_code, trace)
    words = " ".join(str(error).split())[:200]
    return Failure(f"unexpected {type(error).__name__}: {words}; please report this", CombinerError.exit_code, trace)


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
        CombinerError: of any kind, as :func:`media.read_signal`, :func:`goals.plan` and :func:`codec.encode` say.
    """
    return _encode(_plan(job, data, request, known, note), report)


def _plan(job: Job, data: bytes, request: Encoding, known: Library, note: Note | None) -> _Planned:
    clock = time.perf_counter()
    notes: list[str] = []
    keep = _keeping(notes, note)
    if request.keep_metadata:
        signal, found = media.read_with_metadata(data, job.source, keep)
    else:
        signal, found = media.read_signal_bytes(data, job.source, keep), Metadata()
    try:
        packed = metadata.pack(found)
    except InputError as error:
        raise InputError(f"{job.source}: {error}") from error
    named = known.named(request.prior) if request.prior else None
    prior, settings = goals.plan(signal, request.goal, named, metadata.overhead(packed))
    settings = replace(request.settings, rate=settings.rate, size=settings.size, psnr=settings.psnr)
    return _Planned(job, signal, packed, prior, settings, len(data), time.perf_counter() - clock, tuple(notes))


def _keeping(notes: list[str], note: Note | None) -> Note:
    """What notes go to: a list, and who is told at once."""

    def keep(words: str) -> None:
        notes.append(words)
        if note is not None:
            note(words)

    return keep


def _encode(planned: _Planned, report: Report | None = None) -> Converted:
    clock = time.perf_counter()
    _make_room_for(planned.prior.id)
    try:
        result = pipeline.encode(planned.signal, planned.prior, planned.settings, report)
    except UsageError as error:
        if planned.metadata and planned.settings.size is not None:
            around = metadata.overhead(planned.metadata)
            raise UsageError(f"{error}; {around:,} bytes go to the metadata besides") from error
        raise
    return _encoded(planned, result, time.perf_counter() - clock, 1)


def _encoded(planned: _Planned, result: EncodeResult, seconds: float, members: int) -> Converted:
    """A finished file, one of several that took some seconds together."""
    signal, decoded = planned.signal, result.decoded
    data = metadata.wrapped(result.data, planned.metadata)
    facts = Encoded(
        prior=planned.prior.name,
        input_bytes=planned.input_bytes,
        bytes=len(data),
        payload_bytes=result.payload_bytes,
        kind=signal.kind,
        shape=signal.shape,
        sample_rate=signal.sample_rate,
        psnr=None if decoded is None else metrics.psnr(signal, decoded),
        snr=None if decoded is None or signal.kind != "sound" else metrics.signal_to_noise(signal, decoded),
        seconds=planned.seconds + seconds / members,
        phases={phase: share / members for phase, share in result.seconds.items()},
        metadata_bytes=len(data) - len(result.data),
    )
    return Converted(data, facts, planned.notes)


def _most_together(planned: _Planned) -> int:
    """How many signals of that kind to encode in one computation; 1 where that gains nothing or changes the bytes."""
    signal, prior, settings = planned.signal, planned.prior, planned.settings
    if isinstance(prior, ByStages) or settings.psnr is not None or signal.points > _SMALL_SIGNAL:
        return 1
    most = min(_MOST_TOGETHER, _POINTS_TOGETHER // signal.points)
    if isinstance(prior, MixturePrior):
        return most
    if pipeline.choose_device(settings.device) != "cpu":
        return 1  # sums of a GPU may depend on how many there are
    tiles = prior.tiling(signal.shape, signal.channels).tiles
    latents = prior.directions if isinstance(prior, CovariancePrior) else prior.network.latents
    return min(most, _MATRIX_FLOATS_TOGETHER // (tiles * latents**2))


def _encode_group(group: Sequence[_Planned]) -> Iterator[tuple[Job, Converted | Failure]]:
    """Contents of the files of signals that go together; where that fails, each has its own try."""
    first = group[0]
    clock = time.perf_counter()
    _make_room_for(first.prior.id)
    signals_together = [planned.signal for planned in group]
    results = attempt(lambda: pipeline.encode_batch(signals_together, first.prior, first.settings))
    seconds = time.perf_counter() - clock
    if isinstance(results, Failure):
        yield from ((planned.job, attempt(partial(_encode, planned))) for planned in group)
        return
    for planned, result in zip(group, results, strict=True):
        yield planned.job, _encoded(planned, result, seconds, len(group))


def decode_one(job: Job, data: bytes, request: Decoding, known: Library, note: Note | None = None) -> Converted:
    """The content of an image or sound file.

    Args:
        job: the suffix of its target says in which format.
        data: content of the source.
        request: how.
        known: where priors are found.
        note: told at once what is left out, which the result tells as well.

    Raises:
        CombinerError: of any kind, as :func:`codec.decode` and :func:`media.signal_bytes` say.
    """
    clock = time.perf_counter()
    processes.return_memory()
    header = bitstream.unpack(data, request.ignore_checksum)[0]
    most_points = pipeline.limit_of(header, request.most_points, request.most_seconds)
    scale = request.scale if request.rate is None else _scale_for(header, request.rate, most_points)
    chosen = known.named(request.prior) if request.prior else None
    decoded = pipeline.decode(
        data,
        lambda number: chosen or known.with_id(number),
        scale,
        most_points,
        request.size,
        request.ignore_checksum,
    )
    if request.rate is not None and request.rate != decoded.sample_rate:
        decoded = signals.at_rate(decoded, request.rate)
    notes: list[str] = []
    keep = _keeping(notes, note)
    found = _metadata_of(data, request, keep)
    content = media.signal_bytes(decoded, job.target.suffix.lower(), found, keep, request.strip)
    seconds = time.perf_counter() - clock
    facts = Decoded(
        input_bytes=len(data),
        bytes=len(content),
        kind=decoded.kind,
        shape=decoded.shape,
        channels=decoded.channels,
        sample_rate=decoded.sample_rate,
        seconds=seconds,
        damaged=request.ignore_checksum and not bitstream.is_intact(data),
    )
    return Converted(content, facts, tuple(notes))


def _metadata_of(data: bytes, request: Decoding, note: Note) -> Metadata:
    """The metadata of a ``.cmb`` file, without which it is decoded where they cannot be read and need not be there."""
    try:
        return metadata.unpack(bitstream.split_metadata(data, request.ignore_checksum)[1])
    except (DamagedFileError, LimitError):
        if not (request.strip or request.ignore_checksum):
            raise
    note("the metadata cannot be read and are left out; colours may differ")
    return Metadata()


def _scale_for(header: Header, rate: int, most_points: int) -> int:
    """Samples per native sample at which a sound is rendered for a sample rate; what is not whole, is resampled.

    Raises:
        UsageError: the file holds an image.
        LimitError: more sample instants than ``most_points``.
    """
    if header.sample_rate is None:
        raise UsageError("--rate is for sounds; give --scale or --resize for an image")
    points = header.shape[0] * rate // header.sample_rate
    if points > most_points:
        raise LimitError(
            f"the sound has {points} samples at {rate} Hz, over the limit of {most_points}; "
            "raise --max-seconds if you trust it"
        )
    return 1 if rate % header.sample_rate else rate // header.sample_rate


# ---- outputs ---------------------------------------------------------------------------------------------------------


def prepare(found: Sequence[Found], places: Places, request: Request) -> tuple[list[Job], list[Outcome]]:
    """What there is to do for some inputs, and what became already of those for which there is nothing to do.

    Raises:
        UsageError: two inputs would become the same file.
    """
    jobs: list[Job] = []
    outcomes: list[Outcome] = []
    for one in found:
        job = attempt(partial(job_for, one, places, request))
        if isinstance(job, Failure):
            outcomes.append(Outcome(one.source, failure=job))
        else:
            jobs.append(job)
    check_collisions(jobs)
    ready: list[Job] = []
    for job in jobs:
        if is_skipped(job, places):
            outcomes.append(Outcome(job.source, job.target))
            continue
        refused = attempt(partial(files.check_target, job.target, places.overwrite))
        if isinstance(refused, Failure):
            outcomes.append(Outcome(job.source, job.target, failure=refused))
        else:
            ready.append(job)
    return ready, outcomes


def is_skipped(job: Job, places: Places) -> bool:
    """Whether a job is left out because its output is there."""
    return places.skip_existing and job.target.is_file()


@contextmanager
def opened(job: Job, places: Places) -> Iterator[Path]:
    """The output of a job, to be written within the block; see :func:`files.atomic_output`.

    Raises:
        OutputError: it exists and may not be replaced, or cannot be written.
    """
    if places.directory is not None:
        files.make_folder(job.target.parent)
    with files.atomic_output(job.target, places.overwrite) as unfinished:
        yield unfinished
        if places.keep_times and job.modified is not None:
            files.set_modified(unfinished, job.modified)


def finish(job: Job, result: Converted | Failure, places: Places) -> Outcome:
    """Write what a job's output is to hold."""
    if isinstance(result, Failure):
        return Outcome(job.source, job.target, failure=result)

    def write() -> None:
        with opened(job, places) as unfinished:
            unfinished.write_bytes(result.data)

    refused = attempt(write)
    if isinstance(refused, Failure):
        return Outcome(job.source, job.target, failure=refused, notes=result.notes)
    return Outcome(job.source, job.target, result.facts, notes=result.notes)
