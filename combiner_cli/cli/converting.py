"""What the commands encode and decode have in common: one file, many files, and pipes."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from ..batch import inputs as batch_inputs
from ..batch import outputs, work
from ..batch.inputs import Listing
from ..batch.requests import (
    ENCODED,
    Converted,
    Decoded,
    Decoding,
    Encoding,
    Failure,
    Input,
    Job,
    Outcome,
    Places,
    Request,
)
from ..batch.work import Library
from ..container.file import File
from ..errors import CombinerError, InputError, OutputError, UsageError
from ..media import files as media
from ..signals.signal import Kind
from ..system import device
from . import display, options, streams
from .sources import naming, some_failed
from .streams import PIPE


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


def convert(inputs: Sequence[Path], request: Request, given: dict[str, Any]) -> None:
    """Make the outputs of some inputs.

    Args:
        inputs: files, folders, or ``-`` for standard input.
        request: what to do.
        given: values of the options that :func:`options.batch` declares.

    Raises:
        UsageError: options that do not go with each other.
        CombinerError: what is wrong with a single file, or that some of many failed.
    """
    inputs = [streams.named(path, 0) for path in inputs]
    places = options.taken(Places, given)
    if places.output is not None:
        places = replace(places, output=streams.named(places.output, 1))
    running, showing = options.taken(Running, given), options.taken(Showing, given)
    assert not given, f"nobody takes {given}"
    _check_options(inputs, request, places, running, showing)
    (first, *more) = inputs
    if not (more or running.dask or (places.recursive and first.is_dir())):
        _convert_one(first, request, places, showing)
        return
    listing = batch_inputs.find(inputs, places, batch_inputs.suffixes(request))
    if not (listing.inputs or listing.unreadable):
        kinds = "images and no sounds" if isinstance(request, Encoding) else f"{ENCODED} files"
        raise InputError(f"{first}{' and the others' if more else ''}: there are no {kinds} in it")
    _convert_many(listing, request, places, running, showing)


def _check_options(
    inputs: Sequence[Path], request: Request, places: Places, running: Running, showing: Showing
) -> None:
    pairs = (
        ("-o", places.output, "-d", places.directory),
        ("-o", places.output, "--keep-suffix", places.keep_suffix),
        ("-f", places.overwrite, "--skip-existing", places.skip_existing),
        ("--jobs", running.jobs > 1, "--dask", running.dask),
        ("--json", showing.as_json, "--quiet", showing.quiet),
    )
    for one, given, another, given_too in pairs:
        if given and given_too:
            raise UsageError(f"{one} and {another} exclude each other; give one of them")
    several = len(inputs) > 1 or (places.recursive and inputs[0] != PIPE and inputs[0].is_dir())
    if places.output is not None and several:
        raise UsageError("-o names the output of one input; give -d and a folder for those of several")
    if PIPE in inputs and (several or places.directory is not None or running.dask):
        raise UsageError("- stands for standard input, which goes alone, and with -o or into a pipe")
    if places.directory is not None and places.directory.exists() and not places.directory.is_dir():
        raise OutputError(f"{places.directory} is not a folder; give -d one, or -o")
    if places.output not in (None, PIPE):
        _check_output(places.output, request)


def _check_output(output: Path, request: Request) -> None:
    """Refuse names of outputs that say something else than the options, or than what is in the file."""
    if isinstance(request, Decoding):
        if request.format and output.suffix:
            raise UsageError("--format goes without -o FILE, whose suffix says the format")
    elif output.suffix.lower() in media.IMAGE_SUFFIXES | media.SOUND_SUFFIXES:
        raise UsageError(
            f"{output} would be a {ENCODED} file, which its name denies; give -o {output.with_suffix(ENCODED)}"
        )


# ---- one file --------------------------------------------------------------------------------------------------------


def _convert_one(source: Path, request: Request, places: Places, showing: Showing) -> None:
    """From a file or standard input, to a file or standard output."""
    clock = time.perf_counter()
    if source == PIPE and places.output is None:
        places = replace(places, output=PIPE)
    to_pipe = places.output == PIPE
    if to_pipe and not places.overwrite and sys.stdout.isatty():
        raise OutputError("standard output is a terminal, which a file would garble; give -o FILE, or -f to do it")
    job, make = _planned(source, request, places, showing)
    if to_pipe:
        converted = make()
        streams.write(converted.data)
    elif outputs.is_skipped(job, places):
        if not (showing.quiet or showing.as_json):
            display.note(f"{job.target} exists and is kept")
        _tell(Outcome(job.source, job.target), showing)
        return
    else:
        with outputs.opened(job, places) as output:
            converted = make()
            output.write(converted.data)
    facts = replace(converted.facts, seconds=time.perf_counter() - clock)
    _tell(Outcome(job.source, job.target, facts), showing, err=to_pipe)


def _planned(source: Path, request: Request, places: Places, showing: Showing) -> tuple[Job, Callable[[], Converted]]:
    """A single input with its output, and what makes the content of that, with a bar and notes meanwhile."""
    note = None if showing.quiet else display.note
    if isinstance(request, Decoding):
        data = _read(source, request, places)
        with naming(_shown(source)):
            file = File.parse(data, request.ignore_checksum)
            job = _job(source, file.format.kind, request, places)

        def decode() -> Converted:
            with naming(job.source):
                return work.decode_one(job, file, request, work.library(), note)

        return job, decode
    job = _job(source, None, request, places)

    def encode() -> Converted:
        data = _read(source, request, places)
        with display.progress_bar(showing.quiet) as report:
            return work.encode_one(job, data, request, work.library(), report, note)

    return job, encode


def _job(source: Path, kind: Kind | None, request: Request, places: Places) -> Job:
    """A single input with its output."""
    shown = _shown(source)
    if places.output == PIPE:
        target = Path("stdout")
        _, suffix = outputs.target_for(Input(target, Path()), kind, replace(places, output=None), request)
        return Job(shown, target, suffix)
    if source == PIPE:
        return Job(shown, *outputs.target_for(Input(shown, Path()), kind, places, request))
    return outputs.job_for(Input(source, places.directory or source.parent), kind, places, request)


def _shown(source: Path) -> Path:
    """The name of an input in messages."""
    return Path("stdin") if source == PIPE else source


def _read(source: Path, request: Request, places: Places) -> bytes:
    return streams.read(places.overwrite) if source == PIPE else work.read_source(source, request)


def _tell(outcome: Outcome, showing: Showing, err: bool = False) -> None:
    if isinstance(outcome.facts, Decoded) and outcome.facts.damaged:
        display.warn(f"{outcome.source} is damaged, its checksum does not match; this is what could be decoded")
    if outcome.failure is not None or not showing.quiet:
        display.report_outcome(outcome, showing.as_json, err)


# ---- many files ------------------------------------------------------------------------------------------------------


def _convert_many(listing: Listing, request: Request, places: Places, running: Running, showing: Showing) -> None:
    gc.enable()  # over many files it does pay
    clock = time.perf_counter()
    known = work.library()
    if request.prior:
        known.named(request.prior)
    if isinstance(request, Encoding) and request.options.device == "cuda" and not running.dask:
        device.choose_device(request.options.device)
    jobs, settled = outputs.prepare(listing.inputs, places, request)
    sizes = {job.source: job.size for job in jobs}
    outcomes: list[Outcome] = []
    count = len(jobs) + len(listing.unreadable) + len(settled)
    bar = display.files_bar(count, sum(sizes.values()), showing.quiet)
    with closing(_results(jobs, request, running, known)) as results, bar as advance:
        finished = (outputs.finish(job, result, places) for job, result in results)
        for outcome in chain(listing.unreadable, settled, finished):
            if click.get_current_context().meta.get(options.INTERRUPTED):
                raise KeyboardInterrupt  # which came out of the midst of an import as the error of a file
            with advance(sizes.get(outcome.source, 0)):
                _tell_one_of_many(outcome, showing)
            outcomes.append(replace(outcome, notes=()))
    if listing.others and not showing.quiet:
        display.note(display.others_text(listing.others))
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
