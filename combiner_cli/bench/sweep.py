"""Measuring: every task of a data set, a row for each, nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import signal as signals_of_the_system
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..codec import pipeline
from ..errors import CombinerError, InputError, LimitError, OutputError
from ..family import EncodingOptions
from ..media import files as media
from ..signals.signal import Kind, Signal
from ..system import files
from . import measures, tables
from .codecs.baselines import Coded
from .measures import Measure
from .sources import Failure
from .tables import Cells, Row
from .tasks import CodecWay, CombinerWay, Key, Task, codecs_of, planned

RESULTS = "results.csv"
FILES = "files"  # folder of coded files

# what combiner, and what Pillow and libsndfile raise for signals that a codec does not take
REFUSALS = (CombinerError, OSError, ValueError, RuntimeError)

_COLUMNS = ("file", "sha256", "codec", "setting", "program", "prior", "prior_id", "seconds", "bytes")
_TIMES = ("encoding_time", "decoding_time", "jobs")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
        return measures.RATE_COLUMN[self.kind]

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
        """Where the file that combiner makes for a task is kept."""
        return self.folder / FILES / task.coded_name

    def has(self, task: Task, row: Row | None) -> bool:
        """Whether a task was done before; a figure without its file is none."""
        if row is None or isinstance(task.how, CodecWay):
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
    if isinstance(task.how, CombinerWay):
        coded = _code_with_combiner(original, task, task.how, store)
    else:
        coded = codecs_of(task.source.format.kind)[task.how.name].encode(original, task.how.options)
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
        "bytes": len(coded.data),
        store.rate_column: round(task.source.rate(len(coded.data)), 6),
        **{measure.column: _number(measure.of(original, coded.decoded)) for measure in store.measures},
        "encoding_time": round(coded.encode_seconds, 5),
        "decoding_time": round(coded.decode_seconds, 5),
        "jobs": jobs,
    }


def _number(value: float | None) -> float | str:
    return "" if value is None else round(value, 6)


def _code_with_combiner(original: Signal, task: Task, how: CombinerWay, store: Store) -> Coded:
    prior, target = planned(task.source, how)
    options = EncodingOptions(effort=how.effort, device=how.device)
    clock = time.perf_counter()
    result = pipeline.encode(original, prior, target, options)
    encoded = time.perf_counter()
    decoded = pipeline.decode(result.file, lambda _: prior)
    seconds = time.perf_counter() - encoded
    with files.atomic_output(store.coded(task), overwrite=True) as partial:
        partial.write_bytes(result.data)
    return Coded(result.data, decoded, encoded - clock, seconds)
