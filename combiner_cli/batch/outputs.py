"""Where outputs go: their names and formats, which of them collide, and how they are written."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ..container import file as container
from ..container.file import File
from ..errors import CombinerError, InputError, UsageError
from ..media import files as media
from ..signals.kinds import KINDS
from ..signals.signal import Kind
from ..system import files
from .failures import attempt, failure
from .requests import ENCODED, Converted, Decoding, Encoding, Failure, Input, Job, Outcome, Places, Request


def prepare(inputs: Sequence[Input], places: Places, request: Request) -> tuple[list[Job], list[Outcome]]:
    """What there is to do for some inputs, and what became already of those for which there is nothing to do.

    Args:
        inputs: some files.
        places: where outputs go.
        request: what to do.
    """
    jobs: list[Job] = []
    outcomes: list[Outcome] = []
    for given in inputs:
        job = attempt(partial(_job_of_many, given, places, request))
        if isinstance(job, Failure):
            outcomes.append(Outcome(given.path, failure=job))
        else:
            jobs.append(job)
    ready: list[Job] = []
    distinct, colliding = _collisions(jobs, may_keep_suffix=isinstance(request, Encoding) and not places.keep_suffix)
    for job in distinct:
        if is_skipped(job, places):
            outcomes.append(Outcome(job.source, job.target))
            continue
        refused = attempt(partial(files.check_target, job.target, places.overwrite))
        if isinstance(refused, Failure):
            outcomes.append(Outcome(job.source, job.target, failure=refused))
        else:
            ready.append(job)
    return ready, [*outcomes, *colliding]


def job_for(given: Input, kind: Kind | None, places: Places, request: Request) -> Job:
    """An input with its output.

    Args:
        given: the input.
        kind: of the signal in a ``.cmb`` file; of what is to be encoded it may not be known.
        places: where outputs go.
        request: what to do.

    Raises:
        InputError: the input is a folder.
        UsageError, OutputError: as :func:`target_for`.
    """
    try:
        status = given.path.stat()
    except OSError:
        status = None  # whoever reads it will say why
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise InputError(f"{given.path} is a folder; give -r to take the files in it")
    size, modified = (0, None) if status is None else (status.st_size, status.st_mtime_ns)
    target, suffix = target_for(given, kind, places, request)
    return Job(given.path, target, suffix, size, modified)


def target_for(given: Input, kind: Kind | None, places: Places, request: Request) -> tuple[Path, str]:
    """The output of an input, and the suffix that says in which format it is written.

    Args:
        given, kind, places, request: as for :func:`job_for`.

    Raises:
        InputError, UsageError: the input has no name from which that of the output would follow.
        OutputError: an output of that name cannot hold what is in the file.
    """
    if isinstance(request, Encoding) or kind is None:
        return places.output or given.folder / _name(given.path, ENCODED, places), ENCODED
    suffix = _decoded_suffix(kind, places.output, request)
    target = places.output or given.folder / _name(given.path, suffix, places)
    named_so = target.suffix.lower() == suffix  # as the names of streams need not be
    media.check_writable_suffix(kind, target if named_so else target.with_suffix(suffix))
    return target, suffix


def _decoded_suffix(kind: Kind, output: Path | None, request: Decoding) -> str:
    """The suffix of the format in which a signal is written.

    Args:
        kind: of the signal.
        output: that was named, if any; a stream need not have a suffix.
        request: that may say so.
    """
    unnamed = request.format or KINDS[kind].suffix
    if output is None or (files.is_stream(output) and not output.suffix):
        return unnamed
    return output.suffix.lower()


def _name(source: Path, suffix: str, places: Places) -> str:
    """The name of an output that was not named: that of its input with another suffix.

    What was encoded with its suffix kept gets its first name back: ``a.png.cmb`` becomes ``a.png``.

    Raises:
        InputError, UsageError: the input has no name to derive one from, as ``/`` and ``/dev/fd/63`` have none.
    """
    if not source.name:
        raise InputError(f"{source} is a folder; give the name of a file")
    if files.descriptor(source) is not None:
        raise UsageError(f"{source} has no name of its own to call its output by; give it alone, with -o FILE")
    if suffix == ENCODED and places.keep_suffix:
        return source.name + suffix
    kept = source.with_suffix("")
    return kept.name if suffix != ENCODED and kept.suffix.lower() == suffix else source.with_suffix(suffix).name


def _job_of_many(given: Input, places: Places, request: Request) -> Job:
    """One of many inputs with its output, for which its file is not read whole.

    Raises:
        CombinerError: as :func:`job_for`, or a ``.cmb`` file does not say what is in it.
    """
    return job_for(given, _stated_kind(given.path, request) if isinstance(request, Decoding) else None, places, request)


def _stated_kind(path: Path, request: Decoding) -> Kind:
    """What a ``.cmb`` file says is in it.

    Raises:
        UsageError: it is a pipe, which can be read once only.
        InputError: it cannot be read.
        DamagedFileError, UnsupportedVersionError: it does not say so.
    """
    if files.is_stream(path):
        raise UsageError(f"{path} is a pipe, which cannot be one of several; give it alone")
    try:
        return container.stated_format(files.read_beginning(path, container.LONGEST_BEGINNING)).kind
    except CombinerError:  # what is wrong with it as a whole says more than what is wrong with its beginning
        return File.parse(files.read_bytes(path, request.largest_file), request.ignore_checksum).format.kind


def _collisions(jobs: Sequence[Job], may_keep_suffix: bool) -> tuple[list[Job], list[Outcome]]:
    """Jobs whose outputs are theirs alone, and failures of those that would write to the same file.

    A file that was named in two ways is one input.

    Args:
        jobs: some of which may collide.
        may_keep_suffix: whether ``--keep-suffix`` would help.
    """
    by_target: dict[Path, dict[Path, Job]] = defaultdict(dict)
    real_folders: dict[Path, Path] = {}
    for job in jobs:
        folder = job.target.parent
        if folder not in real_folders:
            real_folders[folder] = Path(os.path.realpath(folder))
        by_target[real_folders[folder] / job.target.name].setdefault(Path(os.path.realpath(job.source)), job)
    distinct: list[Job] = []
    failures: list[Outcome] = []
    advice = "give --keep-suffix, rename one" if may_keep_suffix else "rename one"
    for rivals in map(list, map(dict.values, by_target.values())):
        if len(rivals) == 1:
            distinct += rivals
            continue
        for place, job in enumerate(rivals):
            rival = rivals[0 if place else 1].source
            reason = UsageError(f"{job.source} and {rival} would both become {job.target}; {advice}, or leave one out")
            failures.append(Outcome(job.source, job.target, failure=failure(reason)))
    return distinct, failures


def is_skipped(job: Job, places: Places) -> bool:
    """Whether a job is left out because its output is there.

    Args:
        job: to do.
        places: that say whether that is so.
    """
    return places.skip_existing and job.target.is_file()


@contextmanager
def opened(job: Job, places: Places) -> Iterator[BinaryIO]:
    """The output of a job, to be written within the block; see :func:`files.output`.

    Args:
        job: to do.
        places: that say what becomes of existing files, and of times.

    Raises:
        OutputError: it exists and may not be replaced, or cannot be written.
    """
    if places.directory is not None:
        files.make_folder(job.target.parent)
    with files.output(job.target, places.overwrite, job.modified if places.keep_times else None) as file:
        yield file


def finish(job: Job, result: Converted | Failure, places: Places) -> Outcome:
    """Write what a job's output is to hold.

    Args:
        job: that was done.
        result: what came of it.
        places: as for :func:`opened`.
    """
    if isinstance(result, Failure):
        return Outcome(job.source, job.target, failure=result)

    def write() -> None:
        with opened(job, places) as file:
            file.write(result.data)

    refused = attempt(write)
    if isinstance(refused, Failure):
        return Outcome(job.source, job.target, failure=refused, notes=result.notes)
    return Outcome(job.source, job.target, result.facts, notes=result.notes)
