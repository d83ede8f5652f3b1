"""What the benchmark scripts share: results, tables, and commands that are timed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from combiner_cli.bench import tables
from combiner_cli.bench.machine import processor
from combiner_cli.bench.tables import Row

RESULTS = Path(__file__).parent / "results"
COMBINER = "combiner"

__all__ = [
    "COMBINER",
    "RESULTS",
    "mean_of_rows",
    "number",
    "processor",
    "read_csv",
    "there_and_back",
    "timed",
    "write_csv",
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


def mean_of_rows(rows: Sequence[Row]) -> dict[str, float]:
    """The means of the columns that are numbers in all rows."""
    columns = [column for column in rows[0] if all(_is_number(row[column]) for row in rows)]
    return {column: round(float(np.mean([number(row, column) for row in rows])), 6) for column in columns}


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(str(value)))
    except ValueError:
        return False


# Commands


def timed(*arguments: object, threads: int | None) -> tuple[dict[str, object], float]:
    """What a command printed as JSON, and its processor seconds; it gets so many threads, or all."""
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments), "--json"]
    # decoding has no option for it
    limit = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(command, stdout=said, stderr=complaints, text=True, env=os.environ | limit)
        _, status, used = os.wait4(process.pid, 0)  # of this command alone, whatever else runs
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (said, complaints):
            file.seek(0)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, stderr=complaints.read())
        return json.loads(said.read()), used.ru_utime + used.ru_stime


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
        What the encoding command says, and the processor seconds of both commands.
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
