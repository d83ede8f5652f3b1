"""What the benchmark scripts share: timed commands, tables, published curves, and comparisons of curves."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import bjontegaard
import numpy as np

RESULTS = Path(__file__).parent / "results"
Curve = Sequence[tuple[float, float]]
LEAST_OVERLAP = 1.0  # dB of quality that two curves share, for a BD-rate
LEAST_POINTS = 4


def write_csv(name: str, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows to ``results/name``, one column per key of the first."""
    rows = list(rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)  # hours of results must not go with a write that is cut off
    return path


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of ``results/name``; none where it does not exist."""
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_table(name: str, title: str, notes: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a Markdown page with a table to ``results/name`` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = f"# {title}\n\n{notes}\n\n{markdown(rows)}"
    (RESULTS / name).write_text(text)
    print(text)


def published(path: Path, method: str, dataset: str) -> Curve:
    """A published curve: (rate, PSNR) pairs in the order of the rate."""
    return sorted((float(rate), float(psnr)) for rate, psnr in json.loads(path.read_text())[method][dataset])


def at_rate(curve: Curve, rate: float) -> float | None:
    """PSNR of a curve at a rate, linear in the logarithm of the rate; ``None`` outside the curve's range.

    Up to 1 % below the curve's lowest rate its first point counts, which is in the curve's favour.
    """
    rates, psnrs = zip(*sorted(curve), strict=True)
    if rates[0] * 0.99 <= rate < rates[0]:
        return float(psnrs[0])
    if not rates[0] <= rate <= rates[-1]:
        return None
    return float(np.interp(np.log(rate), np.log(rates), psnrs))


def better(curves: Sequence[Curve]) -> Curve:
    """At every rate the best of several curves."""
    rates = sorted({rate for curve in curves for rate, _ in curve})
    values = [[value for curve in curves if (value := at_rate(curve, rate)) is not None] for rate in rates]
    return [(rate, max(found)) for rate, found in zip(rates, values, strict=True)]


def rising(curve: Curve) -> Curve:
    """The points of a curve whose value no lower rate reaches."""
    kept: list[tuple[float, float]] = []
    for rate, value in sorted(curve):
        if not kept or value > kept[-1][1]:
            kept.append((rate, value))
    return kept


def text(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def decibels(similarity: float) -> float:
    """A similarity of at most 1 in dB, in which its curves are about as straight as those of PSNR."""
    return -10 * math.log10(1 - similarity)


def bd_rate(anchor: Curve, own: Curve) -> tuple[float | None, float, float]:
    """Average difference in rate at equal quality in percent, negative is less rate, and the range that it is over."""
    anchor, own = rising(anchor), rising(own)
    if min(len(anchor), len(own)) < LEAST_POINTS:
        return None, 0, 0
    low, high = max(anchor[0][1], own[0][1]), min(anchor[-1][1], own[-1][1])
    if high - low < LEAST_OVERLAP:
        return None, low, high
    columns = [*zip(*anchor, strict=True), *zip(*own, strict=True)]
    delta = bjontegaard.bd_rate(*columns, method="akima", require_matching_points=False, min_overlap=0)
    return float(delta), low, high


def signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}".replace("-", "−")


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


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "this machine"
