"""What the commands encode and decode have in common: one file, many files, and pipes."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import click

from ..batch import work
from ..batch.work import Converted, Decoded, Decoding, Encoding, Failure, Found, Job, Library, Outcome, Places, Request
from ..codec import goals, pipeline
from ..errors import CombinerError, InputError, OutputError, UsageError
from . import display, options
from .sources import PIPE, some_failed


@dataclass(frozen=True)
class Running:
    """Who does the work.

    Attributes:
        jobs: number of files at the same time.
        dask: address of the scheduler of a Dask cluster.
    """

    jobs: int = 1
    dask: str | None = None


@dataclass(frozen=True)
class Showing:
    """What is told.

    Attributes:
        as_json: results as lines of JSON.
        quiet: nothing but errors.
    """

    as_json: bool = False
    quiet: bool = False


def convert(
    inputs: Sequence[Path],
    request: Request,
    places: Places,
    running: Running,
    showing: Showing,
    suffixes: frozenset[str],
) -> None:
    """Make the outputs of some inputs.

    Args:
        inputs: files, folders, or ``-`` for standard input.
        request: what to do.
        places: where outputs go.
        running: who does the work.
        showing: what is told.
        suffixes: of the files in folders that count.

    Raises:
        UsageError: options that do not go with each other.
        CombinerError: what is wrong with a single file, or that some of many failed.
    """
    _check_options(inputs, request, places, running, showing)
    if PIPE in (*inputs, places.output):
        _convert_pipe(inputs[0], request, places, showing)
        return
    (first, *others) = inputs
    if others or running.dask or (places.recursive and first.is_dir()):
        found, refused = work.find(inputs, places, suffixes)
        if not (found or refused):
            kinds = "images and no sounds" if isinstance(request, Encoding) else f"{work.ENCODED} files"
            raise InputError(f"{first}{' and the others' if others else ''}: there are no {kinds} in it")
        _convert_many(found, refused, request, places, running, showing)
    else:
        _convert_one(first, request, places, showing)


def _check_options(
    inputs: Sequence[Path], request: Request, places: Places, running: Running, showing: Showing
) -> None:
    pairs = (
        ("-o", places.output, "-d", places.directory),
        ("-f", places.overwrite, "--skip-existing", places.skip_existing),
        ("--jobs", running.jobs > 1, "--dask", running.dask),
        ("--json", showing.as_json, "--quiet", showing.quiet),
    )
    for one, given, other, given_too in pairs:
        if given and given_too:
            raise UsageError(f"{one} and {other} exclude each other; give one of them")
    several = len(inputs) > 1 or (places.recursive and inputs[0] != PIPE and inputs[0].is_dir())
    if places.output is not None and several:
        raise UsageError("-o names the output of one input; give -d and a folder for those of several")
    if PIPE in inputs and (several or places.directory is not None or running.dask):
        raise UsageError("- stands for standard input, which goes alone, and with -o or into a pipe")
    if places.directory is not None and places.directory.exists() and not places.directory.is_dir():
        raise OutputError(f"{places.directory} is not a folder; give -d one, or -o")
    if isinstance(request, Decoding) and request.format and places.output not in (None, PIPE):
        raise UsageError("--format goes without -o FILE, whose suffix says the format")
    if isinstance(request, Encoding):
        goals.check(request.goal)


# ---- one file --------------------------------------------------------------------------------------------------------


def _convert_one(source: Path, request: Request, places: Places, showing: Showing) -> None:
    clock = time.perf_counter()
    with _naming(source, request):
        job = work.job_for(Found(source, places.directory or source.parent), places, request)
    if work.is_skipped(job, places):
        if not (showing.quiet or showing.as_json):
            display.note(f"{job.target} exists and is kept")
        _tell(Outcome(job.source, job.target), showing)
        return
    with work.opened(job, places) as unfinished:
        data = work.read_source(source, request)
        converted = _work(job, data, request, showing)
        unfinished.write_bytes(converted.data)
    _tell_one(job, converted, time.perf_counter() - clock, showing)


def _convert_pipe(source: Path, request: Request, places: Places, showing: Showing) -> None:
    """From standard input, to standard output, or both."""
    clock = time.perf_counter()
    to_pipe = places.output in (None, PIPE)
    if to_pipe and not places.overwrite and sys.stdout.isatty():
        raise OutputError("standard output is a terminal, which a file would garble; give -o FILE, or -f to do it")
    if source == PIPE:
        if sys.stdin.isatty() and not places.overwrite:
            raise UsageError("standard input is a terminal; give a file, or pipe one in")
        source, data = Path("stdin"), sys.stdin.buffer.read()
    else:
        data = work.read_source(source, request)
    if to_pipe:
        places = replace(places, output=None)
    with _naming(source, request):
        named = Found(Path("stdout") if to_pipe else source, Path())
        job = Job(source, work.output_for(named, work.kind_of(data, request), places, request), len(data))
    if to_pipe:
        converted = _work(job, data, request, showing)
        sys.stdout.buffer.write(converted.data)
        sys.stdout.buffer.flush()
        job = replace(job, target=Path("stdout"))
    else:
        with work.opened(job, places) as unfinished:
            converted = _work(job, data, request, showing)
            unfinished.write_bytes(converted.data)
    _tell_one(job, converted, time.perf_counter() - clock, showing, err=to_pipe)


def _work(job: Job, data: bytes, request: Request, showing: Showing) -> Converted:
    """The content of a single output, with a bar and notes while it is made."""
    note = None if showing.quiet else display.note
    if isinstance(request, Decoding):
        with _naming(job.source, request):
            return work.decode_one(job, data, request, work.library(), note)
    with display.progress_bar(showing.quiet) as report:
        return work.encode_one(job, data, request, work.library(), report, note)


@contextmanager
def _naming(source: Path, request: Request) -> Iterator[None]:
    """Say which file an error of decoding is about."""
    try:
        yield
    except CombinerError as error:
        if isinstance(request, Encoding):
            raise
        raise type(error)(display.with_name(source, str(error))) from error


def _tell_one(job: Job, converted: Converted, seconds: float, showing: Showing, err: bool = False) -> None:
    facts = replace(converted.facts, seconds=seconds)
    _tell(Outcome(job.source, job.target, facts), showing, err)


def _tell(outcome: Outcome, showing: Showing, err: bool = False) -> None:
    if isinstance(outcome.facts, Decoded) and outcome.facts.damaged:
        display.warn(f"{outcome.source} is damaged, its checksum does not match; this is what could be decoded")
    if outcome.failure is not None or not showing.quiet:
        display.report_outcome(outcome, showing.as_json, err)


# ---- many files ------------------------------------------------------------------------------------------------------


def _convert_many(
    found: Sequence[Found],
    refused: Sequence[Outcome],
    request: Request,
    places: Places,
    running: Running,
    showing: Showing,
) -> None:
    gc.enable()  # over many files it does pay
    clock = time.perf_counter()
    known = work.library()
    if request.prior:
        known.named(request.prior)
    if isinstance(request, Encoding) and request.settings.device == "cuda" and not running.dask:
        pipeline.choose_device(request.settings.device)
    jobs, settled = work.prepare(found, places, request)
    sizes = {job.source: job.size for job in jobs}
    outcomes: list[Outcome] = []
    bar = display.files_bar(len(jobs) + len(refused) + len(settled), sum(sizes.values()), showing.quiet)
    with closing(_results(jobs, request, running, known)) as results, bar as advance:
        finished = (work.finish(job, result, places) for job, result in results)
        for outcome in chain(refused, settled, finished):
            if click.get_current_context().meta.get(options.INTERRUPTED):
                raise KeyboardInterrupt  # which came out of the midst of an import as the error of a file
            with advance(sizes.get(outcome.source, 0)):
                _tell_one_of_many(outcome, showing)
            outcomes.append(replace(outcome, notes=()))
    _summarise(outcomes, request, time.perf_counter() - clock, showing)


def _tell_one_of_many(outcome: Outcome, showing: Showing) -> None:
    if outcome.failure is not None and click.get_current_context().meta.get(options.VERBOSE):
        click.echo(outcome.failure.trace, err=True, nl=False)
    if not showing.quiet:
        for words in outcome.notes:
            display.note(words)
    _tell(outcome, showing)


def _summarise(outcomes: Sequence[Outcome], request: Request, seconds: float, showing: Showing) -> None:
    """Print how much was done, and raise an error if anything failed."""
    facts = [outcome.facts for outcome in outcomes if outcome.facts is not None]
    failed = [str(outcome.source) for outcome in outcomes if outcome.failure is not None]
    if not showing.quiet:
        display.summary(
            "encoded" if isinstance(request, Encoding) else "decoded",
            facts,
            len(outcomes) - len(facts) - len(failed),
            seconds,
        )
    if failed:
        raise some_failed(failed, len(outcomes))


def _results(
    jobs: Sequence[Job], request: Request, running: Running, known: Library
) -> Generator[tuple[Job, Converted | Failure], None, None]:
    """What outputs are to hold, as it is finished."""
    if running.dask:
        from ..batch import cluster

        yield from cluster.run(running.dask, jobs, request, known)
        return
    tasks = list(work.windows(jobs, request, running.jobs))
    count = min(running.jobs, len(tasks))
    if count < 2:
        for task in tasks:
            yield from work.convert(task, request, known, lambda job: work.read_source(job.source, request))
        return
    from ..system import processes  # which takes a while to load

    for job, result in processes.run(tasks, partial(work.convert_files, request), count):
        if isinstance(result, processes.Lost):
            yield job, Failure(result.reason, CombinerError.exit_code)
        else:
            yield job, result
