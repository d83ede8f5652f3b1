"""Which share of its lines the tests run: of all, of the modules that every file rests on, and of those least tried.

python benchmarks/coverage_table.py                             # the whole suite, and results/coverage.md
python benchmarks/coverage_table.py --measured coverage.json    # what `coverage json` wrote, and results/coverage.md
python benchmarks/coverage_table.py tests/container             # some tests; the table is only printed
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import write_table

from combiner_cli.bench import tables

ROOT = Path(__file__).parent.parent
PACKAGE = "combiner_cli"
OVERALL = "overall"
FOUNDATIONS = ("rec/sampler", "rec/groups", "rec/candidates", "container/header", "container/file", "system/files")
ENOUGH = 95  # percent; modules under it are named
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="files of tests, or other arguments of pytest; all without them")
    parser.add_argument("--measured", type=Path, help="a report of coverage, as JSON, instead of running tests")
    arguments = parser.parse_args()
    report = json.loads(arguments.measured.read_text()) if arguments.measured else measured(arguments.tests)
    rows = rows_of(report)
    if arguments.tests:
        print(tables.markdown(rows))
        return
    notes = (
        f"Lines of `{PACKAGE}` that the tests run in their own processes: overall, of the modules that every file "
        f"rests on, and of all modules under {ENOUGH} %. What runs only in processes that tests start is not counted."
    )
    write_table("coverage.md", "Lines that the tests run", notes, rows)


def measured(tests: Sequence[str]) -> Mapping[str, Any]:
    """The report of coverage of some tests, or of all."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        environment = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "coverage")}
        kinds = ["--cov", "--cov-fail-under=0", f"--cov-report=json:{report}"]
        command = [sys.executable, "-m", "pytest", "-n", "logical", *kinds, *tests]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        content: Mapping[str, Any] = json.loads(report.read_text())
    return content


def rows_of(report: Mapping[str, Any]) -> list[Row]:
    """The rows of the table, of a report as JSON."""
    counts = {name: counted(file["summary"]) for name, file in report["files"].items()}
    named = [f"{PACKAGE}/{name}.py" for name in FOUNDATIONS]
    rows = [row(OVERALL, *counted(report["totals"])), *(row(name, *counts[name]) for name in named)]
    least = sorted((run / lines, name) for name, (lines, run) in counts.items() if 100 * run < ENOUGH * lines)
    return rows + [row(name, *counts[name]) for _, name in least if name not in named]


def counted(summary: Mapping[str, int]) -> tuple[int, int]:
    """Lines, and those of them that were run."""
    return summary["num_statements"], summary["covered_lines"]


def row(name: str, lines: int, run: int) -> Row:
    # rounded down: 100 % is all of them
    return {
        "module": name,
        "lines": f"{lines:,}",
        "not run": f"{lines - run:,}",
        "run, %": f"{1000 * run // lines / 10}",
    }


if __name__ == "__main__":
    main()
