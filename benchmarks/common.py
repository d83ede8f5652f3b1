"""What the benchmark scripts share: results and tables, timed commands, sweeps, comparisons and plots of curves."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from combiner_cli.bench import curves, tables
from combiner_cli.bench.codecs.baselines import Codec, Options, setting_text
from combiner_cli.bench.curves import LEAST_OVERLAP, LEAST_POINTS, Curve
from combiner_cli.bench.machine import processor
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import Row, signed
from combiner_cli.family import Target, Unit
from combiner_cli.priors import library, selection
from combiner_cli.signals.signal import Format

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
COMBINER = "combiner"

Key = tuple[str, str, str]  # name of a signal, the rate that was asked for, and the id of the prior

__all__ = [
    "COMBINER",
    "RESULTS",
    "Beside",
    "Sweep",
    "at_once",
    "draw_curves",
    "mean_of_rows",
    "measured_settings",
    "number",
    "processor",
    "published",
    "read_csv",
    "save_figure",
    "there_and_back",
    "timed",
    "write_csv",
    "write_deltas",
    "write_table",
]


# Results


def write_csv(name: str, rows: Sequence[Row]) -> Path:
    """Write rows to ``results/name``, one column per key of the first."""
    RESULTS.mkdir(exist_ok=True)
    tables.write_csv(RESULTS / name, rows)
    return RESULTS / name


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of ``results/name``; none where it does not exist."""
    return tables.read_csv(RESULTS / name)


def write_table(name: str, title: str, notes: str, rows: Sequence[Row]) -> None:
    """Write a Markdown page with a table to ``results/name`` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = f"# {title}\n\n{notes}\n\n{tables.markdown(rows)}"
    (RESULTS / name).write_text(text)
    print(text)


def number(row: Row, column: str) -> float:
    """A cell of a row that may have been read from a file."""
    return float(str(row[column]))


def mean_of_rows(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means of all columns."""
    return {column: round(float(np.mean([row[column] for row in rows])), 6) for column in rows[0]}


def published(path: Path, method: str, dataset: str) -> Curve:
    """A published curve: (rate, PSNR) pairs in the order of the rate."""
    return curves.published(path, dataset)[method]


# Commands


def timed(*arguments: object, threads: int | None) -> tuple[dict[str, object], float]:
    """What a command printed as JSON, and its wall time; it gets so many threads, or all."""
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments), "--json"]
    # decoding has no option for it
    limit = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    clock = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | limit)
    return json.loads(done.stdout), time.perf_counter() - clock


def there_and_back(
    source: Path, rate: Sequence[object], decoded: Path, threads: int | None, prior: str | None = None
) -> tuple[dict[str, object], float, float]:
    """Encode and decode a file with the command line, tuned for PSNR.

    Args:
        source: the file.
        rate: option and value of what the coded file is to be.
        decoded: file that is written; the coded one lies beside it.
        threads: that each command gets; ``None`` for all.
        prior: name or file; ``None`` for the usual choice.

    Returns:
        What the encoding command says, and the seconds of both commands.
    """
    coded = decoded.with_suffix(".cmb")
    limit = [] if threads is None else ["--threads", threads]
    chosen = [] if prior is None else ["--prior", prior]
    command = ("encode", source, "-o", coded, "-f", "--tune", "psnr", *rate, "--device", "cpu", *limit, *chosen)
    facts, encode_seconds = timed(*command, threads=threads)
    if facts["bytes"] != coded.stat().st_size:
        raise RuntimeError(f"the command says {facts['bytes']} bytes of a file of {coded.stat().st_size}")
    _, decode_seconds = timed("decode", coded, "-o", decoded, "-f", *chosen, threads=threads)
    return facts, encode_seconds, decode_seconds


def at_once(used: Sequence[Row]) -> str:
    """How many of the measured commands ran beside each other, by their column jobs, in words."""
    jobs = sorted({int(str(row["jobs"])) for row in used})
    words = [f"{count} at once with a thread each" if count > 1 else "one at a time with all threads" for count in jobs]
    return " or ".join(words)


# Sweeps


@functools.cache
def planned_prior(signal_format: Format, prior: str | None) -> tuple[str, str]:
    """Name and id of the prior that the command takes for signals of a format."""
    usual = library.find(prior) if prior else selection.by_format(signal_format, Target("rate", 1.0))[0]
    return usual.name, f"{usual.id:08x}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Whole files of the command line at some rates: a row for each signal and rate, nothing measured twice.

    Attributes:
        name: of the results.
        item: what a signal is, and the column of its name.
        unit: of the rates.
        rates: that are asked for, in an order that is of use when interrupted.
        formats: of the signals by their names.
        measure: gives a row but for its first columns, by the name of a signal and a rate.
        jobs: signals at once.
        prior: name or file; ``None`` for the usual choice.
        rows: what is known.
    """

    name: str
    item: str
    unit: Unit
    rates: Sequence[float]
    formats: Mapping[str, Format]
    measure: Callable[[str, float], Row]
    jobs: int
    prior: str | None = None
    rows: dict[Key, Row] = field(default_factory=dict)

    def planned(self, name: str) -> tuple[str, str]:
        """Name and id of the prior that the command takes."""
        return planned_prior(self.formats[name], self.prior)

    def key(self, name: str, rate: float) -> Key:
        """What a row is known by."""
        return name, str(rate), self.planned(name)[1]

    def at(self, rate: float) -> list[Row]:
        """The known rows of a rate."""
        keys = (self.key(name, rate) for name in self.formats)
        return [self.rows[key] for key in keys if key in self.rows]

    def run(self, columns: Iterable[str], report: Callable[[], None]) -> None:
        """Measure what is missing, and report after every rate.

        Args:
            columns: that rows have which were measured before; others count for nothing.
            report: writes tables of what there is.

        Raises:
            SystemExit: some commands failed.
        """
        for row in read_csv(f"{self.name}.csv"):
            if set(columns) <= set(row):
                self.rows[row[self.item], row["rate"], row["prior_id"]] = row
        failures = 0
        for rate in self.rates:
            missing = [name for name in self.formats if self.key(name, rate) not in self.rows]
            failures += self._measure(missing, rate)
            if missing or rate == self.rates[-1]:
                report()
        if failures:
            raise SystemExit(f"{failures} of the commands failed; run again for what is missing")

    def _measure(self, names: Sequence[str], rate: float) -> int:
        """Measure signals at a rate, keep every row at once, and count the commands that failed."""
        failures = 0
        with ThreadPoolExecutor(self.jobs) as pool:
            tasks = {pool.submit(self._row, name, rate): name for name in names}
            for task in as_completed(tasks):
                name = tasks[task]
                try:
                    row = task.result()
                except subprocess.CalledProcessError as error:
                    failures += 1
                    print(f"{name} at {rate}: {error.stderr.strip()}", file=sys.stderr, flush=True)
                    continue
                self.rows[self.key(name, rate)] = row
                write_csv(f"{self.name}.csv", [self.rows[key] for key in sorted(self.rows, key=_by_prior)])
                print(dict(row), flush=True)
        return failures

    def _row(self, name: str, rate: float) -> Row:
        prior, prior_id = self.planned(name)
        row = self.measure(name, rate)
        if row["prior"] != prior:
            raise RuntimeError(f"the command took {row['prior']} where {prior} was planned")
        first = {self.item: name, "rate": rate, "prior": prior, "prior_id": prior_id}
        return {**first, **row, "jobs": self.jobs}


def _by_prior(key: Key) -> tuple[str, str, float]:
    name, rate, prior_id = key
    return prior_id, name, float(rate)


def measured_settings(
    name: str, codecs: Iterable[Codec], counts: tuple[str, int], columns: Iterable[str], mean: Callable[[Options], Row]
) -> list[Row]:
    """Means over all signals for every setting of the other codecs; what is known is not measured again.

    Args:
        name: of the file of results.
        codecs: the other ones.
        counts: a column, and the number of signals in it.
        columns: that rows have which were measured before; others count for nothing.
        mean: over the signals, of rate and quality with some settings.
    """
    ways = [way for codec in codecs for way in codec.ways.items()]
    asked = {(title, setting_text(options)): options for title, settings in ways for options in settings}
    column, count = counts
    known: dict[tuple[str, str], Row] = {
        (row["codec"], row["setting"]): row
        for row in read_csv(name)
        if set(columns) <= set(row) and row[column] == str(count)
    }
    rows = {setting: known[setting] for setting in asked if setting in known}
    for (title, setting), options in asked.items():
        if (title, setting) not in rows:
            rows[title, setting] = {"codec": title, "setting": setting, column: count, **mean(options)}
            write_csv(name, [rows[place] for place in asked if place in rows])
            print(rows[title, setting], flush=True)
    return [rows[setting] for setting in asked]


# Comparisons


@dataclass(frozen=True)
class Beside:
    """A curve and another one beside it.

    Attributes:
        codec: title of the one.
        title: of the other.
        by_psnr: their curves by PSNR, first the other's.
        by_measure: likewise by another measure, in which curves are about straight; ``None`` where that is not known.
    """

    codec: str
    title: str
    by_psnr: tuple[Curve, Curve]
    by_measure: tuple[Curve, Curve] | None


def write_deltas(name: str, measure_title: str, comparisons: Sequence[Beside], remarks: str) -> None:
    """Write the BD-rates to ``results/NAME_bd.md``.

    Args:
        name: of the results.
        measure_title: of the measure besides PSNR.
        comparisons: a row each.
        remarks: on this data set.
    """
    codecs = {beside.codec for beside in comparisons}
    table = []
    for beside in comparisons:
        delta = curves.bd_rate(*beside.by_psnr)
        percent = curves.bd_rate(*beside.by_measure).percent if beside.by_measure else None
        row = {"codec": beside.codec} if len(codecs) > 1 else {}
        row |= {"beside": beside.title, "BD-rate by PSNR %": signed(delta.percent), "range dB": span(delta)}
        table.append({**row, f"BD-rate by {measure_title} %": signed(percent)})
    what = "a codec" if len(codecs) > 1 else COMBINER
    notes = (
        f"How much more (+) or less (−) rate {what} takes than the one beside it for the same quality, on average over "
        "the range of quality that both cover: Akima interpolation (package bjontegaard) through the points of "
        f"{name}.md and those of the other codec. {remarks} – is where they share less than {LEAST_OVERLAP:g} dB or "
        f"have fewer than {LEAST_POINTS} points, or where nothing is known."
    )
    write_table(f"{name}_bd.md", f"{name.capitalize()}: BD-rates", notes, table)


def draw_curves(
    axes: Axes,
    named: Mapping[str, Curve],
    combiner: Curve,
    dashed: Iterable[str],
    spanned: tuple[float, float],
    ticks: Sequence[float],
) -> None:
    """Draw quality over the logarithm of the rate.

    Args:
        axes: to draw on.
        named: curves of the other codecs by title.
        combiner: its curve; it may have no points.
        dashed: titles of those that are.
        spanned: lowest and highest rate.
        ticks: of the rates.
    """
    from matplotlib import colormaps

    colours = [*colormaps["tab10"](range(10)), "navy", "deeppink", "darkgreen"]
    low, high = spanned[0] * 0.9, spanned[1] * 1.15
    seen = [value for curve in (combiner, *named.values()) for rate, value in curve if low <= rate <= high]
    margin = 0.03 * (max(seen) - min(seen))
    for colour, (title, curve) in zip(itertools.cycle(colours), named.items(), strict=False):
        style = "--" if title in set(dashed) else "-"
        axes.plot(*zip(*curve, strict=True), style, color=colour, linewidth=1.6, label=title)
    if combiner:
        points = zip(*combiner, strict=True)
        axes.plot(*points, "o-", color="black", linewidth=3, markersize=7, label=COMBINER, zorder=5)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(seen) - margin, max(seen) + margin)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=12)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)


def save_figure(figure: Figure, path: Path, colours: int) -> None:
    """Write a picture with a palette of so many colours, which makes the file a third."""
    from PIL import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(colours).save(path, optimize=True)
