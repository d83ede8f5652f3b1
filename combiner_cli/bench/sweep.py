"""Measuring: every file of a data set by every codec with every setting, a row for each, nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal as signals_of_the_system
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import __version__
from ..codec import goals, pipeline
from ..codec.goals import Goal
from ..errors import CombinerError, InputError, LimitError, OutputError
from ..media import files as media
from ..priors import library
from ..priors.library import AnyPrior
from ..signals.signal import Kind, Signal, sample_type
from ..system import files
from . import measures
from .codecs import baselines, images, sounds
from .codecs.baselines import Codec, Options
from .measures import Measure
from .report import tables
from .report.tables import Cells, Row
from .sources import Failure, Source

RESULTS = "results.csv"
FILES = "files"  # folder of coded files
USUAL_EFFORT = 5

# what combiner, and what Pillow and libsndfile raise for signals that a codec does not take
REFUSALS = (CombinerError, OSError, ValueError, RuntimeError)

_EVERY = 2  # of the settings that the other codecs have
_COLUMNS = ("file", "sha256", "codec", "setting", "program", "prior", "prior_id", "seconds", "bytes")
_TIMES = ("encoding_time", "decoding_time", "jobs")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Key = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Own:
    """How combiner codes a file.

    Attributes:
        goal: rate or quality.
        effort: 1 to 9.
        prior: name or file, ``None`` for the usual choice.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
    """

    goal: Goal
    effort: int
    prior: str | None = None
    device: str = "auto"

    @property
    def title(self) -> str:
        """Of the codec in tables."""
        return "combiner" if self.effort == USUAL_EFFORT else f"combiner -e {self.effort}"

    @property
    def setting(self) -> str:
        """As it is written in tables."""
        name, value = self._asked
        return f"{name}={value:g}" if self.device == "auto" else f"{name}={value:g} device={self.device}"

    @property
    def words(self) -> str:
        """The rate or the quality, for people."""
        name, value = self._asked
        return {"bpp": f"{value:g} bpp", "kbps": f"{value:g} kbit/s", "quality": f"quality {value:g}"}[name]

    @property
    def _asked(self) -> tuple[str, float]:
        goal = self.goal
        asked = {"bpp": goal.bits_per_pixel, "kbps": goal.kilobits_per_second, "quality": goal.quality}
        ((name, value),) = ((name, value) for name, value in asked.items() if value is not None)
        return name, value


@dataclass(frozen=True)
class Other:
    """How another codec codes a file.

    Attributes:
        name: of the codec, see :func:`other_codecs`.
        way: of using it.
        options: its settings.
    """

    name: str
    way: str
    options: Options


@dataclass(frozen=True)
class Task:
    """A file to be coded.

    Attributes:
        source: of the signal.
        how: it is coded.
        title: of the codec.
        setting: in words.
        program: with its version.
        prior: name of the prior, empty for other codecs.
        prior_id: its id, likewise.
    """

    source: Source
    how: Own | Other
    title: str
    setting: str
    program: str
    prior: str = ""
    prior_id: str = ""

    @property
    def key(self) -> Key:
        """What a row is known by."""
        return self.source.digest, self.title, self.setting, self.program, self.prior_id

    @property
    def coded_name(self) -> str:
        """Of the file that combiner writes, in the folder of coded files."""
        words = re.sub(r"[^\w.=]+", "-", f"{self.title}-{self.setting}")
        return f"{self.source.digest[:16]}-{words}-{self.prior_id}.cmb"


def other_codecs(kind: Kind) -> Mapping[str, Codec]:
    """The other codecs of a kind of signal that run here, by their names for the command line."""
    return images.codecs() if kind == "image" else sounds.codecs()


def check_codable(signal: Signal) -> None:
    """Refuse what not all codecs of its kind hold.

    Raises:
        InputError: an image of more than 8 bits, or with transparency.
    """
    if signal.kind == "image":
        images.check_codable(signal)


def tasks_of(sources: Sequence[Source], own: Sequence[Own], others: Sequence[str]) -> list[Task]:
    """Everything that is to be measured, file after file.

    Args:
        sources: the data set.
        own: ways of combiner.
        others: names of other codecs.

    Raises:
        PriorError: there is no prior for the data set, or the one that was named is for another kind.
    """
    available = other_codecs(sources[0].kind)
    tasks = []
    for source in sources:
        for how in own:
            prior, _ = planned(source, how)
            facts = (how.title, how.setting, f"combiner {__version__}", prior.name, f"{prior.id:08x}")
            tasks.append(Task(source, how, *facts))
        for name in others:
            other = available[name]
            for way, settings in other.ways.items():
                for options in settings[::_EVERY]:
                    setting = baselines.setting_text(options)
                    tasks.append(Task(source, Other(name, way, options), way, setting, other.program))
    return tasks


def planned(source: Source, how: Own) -> tuple[AnyPrior, pipeline.Settings]:
    """The prior and the settings that a file is coded with."""
    facts = (source.kind, source.shape, source.channels, source.sample_rate, source.bit_depth)
    prior, settings = _planned(facts, how.goal, how.prior)
    return prior, replace(settings, effort=how.effort, device=how.device)


@lru_cache(maxsize=256)
def _planned(
    facts: tuple[Kind, tuple[int, ...], int, int | None, int], goal: Goal, prior: str | None
) -> tuple[AnyPrior, pipeline.Settings]:
    kind, shape, channels, sample_rate, bit_depth = facts
    blank = np.broadcast_to(np.zeros((), sample_type(kind, bit_depth)), (*shape, channels))
    return goals.plan(Signal(kind, blank, sample_rate, bit_depth), goal, _found(prior) if prior else None)


@lru_cache(maxsize=4)
def _found(prior: str) -> AnyPrior:
    return library.find(prior)


@lru_cache(maxsize=1)
def _original(path: Path) -> Signal:
    return media.read_signal(path, lambda _: None)


@dataclass(frozen=True)
class Store:
    """What a sweep keeps in its folder.

    Attributes:
        folder: of the results.
        kind: of the data set.
        measure: of quality beside PSNR and SNR.
    """

    folder: Path
    kind: Kind
    measure: Measure

    @property
    def rate_column(self) -> str:
        """Bits per pixel or kbit/s."""
        return "bpp" if self.kind == "image" else "kbps"

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Everything that is measured."""
        return (measures.PSNR, *([] if self.kind == "image" else [measures.SNR]), self.measure)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table of results."""
        return (*_COLUMNS, self.rate_column, *(measure.column for measure in self.measures), *_TIMES)

    def read(self) -> dict[Key, Cells]:
        """The rows that were measured before.

        Raises:
            InputError: the table is of another kind of data set, or damaged.
        """
        path = self.folder / RESULTS
        rows = tables.read_csv(path)
        if rows and tuple(rows[0]) != self.columns:
            raise InputError(f"{path} is a table of something else; give another folder with -o")
        return {_key(row): row for row in rows}

    def write(self, rows: Mapping[Key, Row]) -> None:
        """Keep all rows, in the order of files, codecs and rates."""
        ordered = sorted(rows.values(), key=lambda row: (row["file"], row["codec"], float(str(row["bytes"]))))
        tables.write_csv(self.folder / RESULTS, ordered, self.columns)

    def coded(self, task: Task) -> Path:
        """Where the file of a task of combiner's own is kept."""
        return self.folder / FILES / task.coded_name

    def has(self, task: Task, row: Row | None) -> bool:
        """Whether a task was done before; a figure without its file is none."""
        if row is None or isinstance(task.how, Other):
            return row is not None
        path = self.coded(task)
        return path.is_file() and path.stat().st_size == int(str(row["bytes"]))


def _key(row: Row) -> Key:
    digest, title, setting, program, prior = (
        str(row[column]) for column in ("sha256", "codec", "setting", "program", "prior_id")
    )
    return digest, title, setting, program, prior


@dataclass(frozen=True)
class Swept:
    """What a sweep comes to.

    Attributes:
        rows: of the tasks that could be done, in the order of the tasks.
        failures: what could not.
        measured: number of rows that were not there before.
    """

    rows: dict[Key, Row]
    failures: list[Failure]
    measured: int


def run(tasks: Sequence[Task], store: Store, jobs: int, report: Callable[[], None]) -> Swept:
    """Measure what has not been measured; every row is kept at once.

    Args:
        tasks: what is wanted.
        store: where results are kept.
        jobs: files at once, with a thread each if more than one.
        report: called for every task that is done.

    Raises:
        InputError: earlier results cannot be read.
        OutputError: results cannot be written.
        LimitError: a process ended before its work.
    """
    known: dict[Key, Row] = dict(store.read())
    missing = [task for task in tasks if not store.has(task, known.get(task.key))]
    failures = []
    for _ in range(len(tasks) - len(missing)):
        report()
    with _results(missing, store, jobs) as results:
        for task, result in results:
            if isinstance(result, Failure):
                failures.append(result)
            else:
                known[task.key] = result
                store.write(known)
            report()
    rows = {task.key: known[task.key] for task in tasks if task.key in known}
    return Swept(rows, failures, len(missing) - len(failures))


@contextmanager
def _results(tasks: Sequence[Task], store: Store, jobs: int) -> Iterator[Iterator[tuple[Task, Row | Failure]]]:
    """Results as they come, of this process or of others, which end with the block whatever ends it."""
    if jobs == 1 or len(tasks) < 2:
        yield ((task, attempt(task, store, 1)) for task in tasks)
        return
    # a fork would copy locks of threads
    context = multiprocessing.get_context("spawn")
    with _environment(dict.fromkeys(_THREADS, "1")):
        pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _be_quiet)
        try:
            waiting = {pool.submit(attempt, task, store, jobs): task for task in tasks}
            yield ((waiting[future], future.result()) for future in as_completed(waiting))
        except BaseException as error:
            for child in multiprocessing.active_children():
                child.terminate()
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise LimitError("a process ended before its work, most likely for memory; use fewer --jobs") from error
            raise
        pool.shutdown()


def _be_quiet() -> None:
    """An interruption of all is told by the first process alone."""
    signals_of_the_system.signal(signals_of_the_system.SIGINT, signals_of_the_system.SIG_DFL)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def attempt(task: Task, store: Store, jobs: int) -> Row | Failure:
    """Measure a task, or say why that is not possible.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        return _measure(task, store, jobs)
    except OutputError:
        raise  # no other task would fare better
    except REFUSALS as error:
        return Failure(f"{task.source.name} by {task.title}, {task.setting}", " ".join(str(error).split()))


def _measure(task: Task, store: Store, jobs: int) -> Row:
    """Code a file, decode it, and weigh and measure both."""
    original = _original(task.source.path)
    if isinstance(task.how, Own):
        size, decoded, encode_seconds, decode_seconds = _code_own(original, task, task.how, store)
    else:
        coded = other_codecs(task.source.kind)[task.how.name].encode(original, task.how.options)
        size, decoded = len(coded.data), coded.decoded
        encode_seconds, decode_seconds = coded.encode_seconds, coded.decode_seconds
    seconds = task.source.seconds
    return {
        "file": task.source.name,
        "sha256": task.source.digest,
        "codec": task.title,
        "setting": task.setting,
        "program": task.program,
        "prior": task.prior,
        "prior_id": task.prior_id,
        "seconds": "" if seconds is None else round(seconds, 4),
        "bytes": size,
        store.rate_column: round(task.source.rate(size), 6),
        **{measure.column: _number(measure.of(original, decoded)) for measure in store.measures},
        "encoding_time": round(encode_seconds, 5),
        "decoding_time": round(decode_seconds, 5),
        "jobs": jobs,
    }


def _number(value: float | None) -> float | str:
    return "" if value is None else round(value, 6)


def _code_own(original: Signal, task: Task, how: Own, store: Store) -> tuple[int, Signal, float, float]:
    prior, settings = planned(task.source, how)
    clock = time.perf_counter()
    data = pipeline.encode(original, prior, settings).data
    encoded = time.perf_counter()
    decoded = pipeline.decode(data, lambda _: prior)
    seconds = time.perf_counter() - encoded
    with files.atomic_output(store.coded(task), overwrite=True) as partial:
        partial.write_bytes(data)
    return len(data), decoded, encoded - clock, seconds
