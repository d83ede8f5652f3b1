"""What benchmarks of whole data sets share: files at some rates, and those of other codecs; nothing measured twice."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from common import mean_of_rows, read_csv, write_csv

from combiner_cli.bench.codecs.baselines import Codec, Options, setting_text
from combiner_cli.bench.tables import Row
from combiner_cli.family import Target, Unit
from combiner_cli.priors import library, selection
from combiner_cli.signals.signal import Format

Key = tuple[str, str, str]  # name of a signal, the rate that was asked for, and the id of the prior

_SAVED = 20  # files after which results are written


def at_once(used: Sequence[Row]) -> str:
    """How many of the measured commands ran beside each other, by their column jobs, in words."""
    jobs = sorted({int(str(row["jobs"])) for row in used})
    words = [f"{count} at once with a thread each" if count > 1 else "one at a time with all threads" for count in jobs]
    return " or ".join(words)


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
    name: str,
    item: str,
    signals: Mapping[str, Any],
    codecs: Iterable[Codec],
    columns: Iterable[str],
    measure: Callable[[Codec, Any, Options], Row],
    jobs: int,
) -> list[Row]:
    """A row for each signal and every setting of the other codecs; what is known is not measured again.

    Args:
        name: of the file of results.
        item: what a signal is, and the column of its name.
        signals: whatever ``measure`` takes, by name.
        codecs: the other ones.
        columns: that rows have which were measured before; others count for nothing.
        measure: rate and quality of one file, in a process of its own.
        jobs: processes.
    """
    ways = [(codec, *way) for codec in codecs for way in codec.ways.items()]
    asked = {
        (title, setting_text(options), signal): (codec, options)
        for codec, title, settings in ways
        for options in settings
        for signal in signals
    }
    known: dict[tuple[str, str, str], Row] = {
        (row["codec"], row["setting"], row[item]): row for row in read_csv(name) if {*columns, item} <= set(row)
    }
    rows = {place: known[place] for place in asked if place in known}
    missing = [place for place in asked if place not in rows]
    with ProcessPoolExecutor(jobs) as pool:
        tasks = {pool.submit(measure, asked[place][0], signals[place[2]], asked[place][1]): place for place in missing}
        for count, task in enumerate(as_completed(tasks), 1):
            title, setting, signal = place = tasks[task]
            rows[place] = {"codec": title, "setting": setting, item: signal, **task.result()}
            if count % _SAVED == 0 or count == len(missing):
                write_csv(name, [rows[place] for place in asked if place in rows])
                print(f"{count}/{len(missing)}", *place, flush=True)
    return [rows[place] for place in asked]


def means_of_settings(rows: Iterable[Row], of: Collection[str] | None = None) -> list[Row]:
    """Means over the signals for every setting of a codec.

    Args:
        rows: one for each signal and setting.
        of: names of signals that count, as often as they are named; all of them, once, where it is ``None``.
    """
    settings: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        settings.setdefault((str(row["codec"]), str(row["setting"])), {})[_name_of(row)] = row
    return [
        {"codec": title, "setting": setting, **mean_of_rows([some[name] for name in (some if of is None else of)])}
        for (title, setting), some in settings.items()
    ]


def _name_of(row: Row) -> str:
    """The signal of a row, in its third column."""
    return str(list(row.values())[2])
