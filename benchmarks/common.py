"""What the benchmark scripts share: the folder of results, tables in it, and timed commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from combiner_cli.bench import curves
from combiner_cli.bench.curves import Curve
from combiner_cli.bench.machine import processor
from combiner_cli.bench import tables

RESULTS = Path(__file__).parent / "results"

__all__ = ["RESULTS", "at_once", "processor", "published", "read_csv", "timed", "write_csv", "write_table"]


def write_csv(name: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows to ``results/name``, one column per key of the first."""
    RESULTS.mkdir(exist_ok=True)
    tables.write_csv(RESULTS / name, rows)
    return RESULTS / name


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of ``results/name``; none where it does not exist."""
    return tables.read_csv(RESULTS / name)


def write_table(name: str, title: str, notes: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a Markdown page with a table to ``results/name`` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = f"# {title}\n\n{notes}\n\n{tables.markdown(rows)}"
    (RESULTS / name).write_text(text)
    print(text)


def published(path: Path, method: str, dataset: str) -> Curve:
    """A published curve: (rate, PSNR) pairs in the order of the rate."""
    return curves.published(path, dataset)[method]


def timed(*arguments: object, threads: int | None) -> tuple[dict[str, object], float]:
    """What a command printed as JSON, and its wall time; it gets so many threads, or all."""
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments), "--json"]
    # decoding has no option for it
    limit = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    clock = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | limit)
    return json.loads(done.stdout), time.perf_counter() - clock


def at_once(used: Sequence[Mapping[str, object]]) -> str:
    """How many of the measured commands ran beside each other, by their column jobs, in words."""
    jobs = sorted({int(str(row["jobs"])) for row in used})
    words = [f"{count} at once with a thread each" if count > 1 else "one at a time with all threads" for count in jobs]
    return " or ".join(words)
