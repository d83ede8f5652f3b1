"""This tree beside another version of the program: bytes and PSNR of files, and time, in pairs of commands.

python benchmarks/before_after.py ../combiner-0.7.1 photo.png speech.flac --runs 5

Both trees are run by this Python, one after the other and again, so that a machine whose speed drifts does the same to
both; the median of the ratios is told. Time is that of the processors, of whole commands.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import processor, write_csv, write_table

HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="tree of the other version")
    parser.add_argument("inputs", type=Path, nargs="+", help="images and sounds")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows.append(_row("--version", arguments.before, [["--version"]] * 2, arguments.runs))
        for source in map(Path.resolve, arguments.inputs):
            rows += _of_input(source, arguments.before, folder, arguments.runs)
            print(rows[-2:], flush=True)
    write_csv("before_after.csv", rows)
    write_table(
        "before_after.md",
        "Before and after",
        f"Version 0.7.1 and now, {arguments.runs} pairs of whole commands in turn on one core of {processor()}: "
        "medians of processor seconds, and the median of the ratios pair by pair. Encoded at the default quality.",
        rows,
    )


def _of_input(source: Path, before: Path, folder: Path, runs: int) -> list[dict[str, object]]:
    """Rows for encoding and decoding an image or a sound."""
    files = [folder / f"{source.stem}-{version}.cmb" for version in ("before", "now")]
    encode = [["encode", str(source), "-o", str(file), "-f", "--json"] for file in files]
    facts = [json.loads(_run(tree, command)[1]) for tree, command in zip((before, HERE), encode, strict=True)]
    decode = [["decode", str(file), "-d", str(folder), "-f"] for file in files]
    row = _row(f"encode {source.name}", before, encode, runs)
    for name, fact in zip(("before", "now"), facts, strict=True):
        row |= {f"bytes {name}": fact["bytes"], f"dB {name}": fact["psnr"]}
    return [row, _row(f"decode {source.name}", before, decode, runs)]


def _row(what: str, before: Path, commands: Sequence[list[str]], runs: int) -> dict[str, object]:
    """Seconds of a command in both versions, and their ratio."""
    one, another = commands
    pairs = [(_run(before, one)[0], _run(HERE, another)[0]) for _ in range(runs + 1)][1:]  # the first warms up
    earlier, later = ([pair[side] for pair in pairs] for side in (0, 1))
    return {
        "what": what,
        "s before": f"{statistics.median(earlier):.2f}",
        "s now": f"{statistics.median(later):.2f}",
        "now / before": f"{statistics.median(new / old for old, new in pairs):.2f}",
        "bytes before": "",
        "bytes now": "",
        "dB before": "",
        "dB now": "",
    }


def _run(tree: Path, command: Sequence[str]) -> tuple[float, str]:
    """Processor seconds of a command of a tree on one thread, and what it printed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | threads
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Python looks for the package where it is started before it looks anywhere else
    done = subprocess.run(
        [sys.executable, "-m", "combiner_cli", *command],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tree,
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime, done.stdout


if __name__ == "__main__":
    main()
