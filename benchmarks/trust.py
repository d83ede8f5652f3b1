"""What can be relied on, in figures, each with the command that makes it.

python benchmarks/trust.py kodim05.png recording.flac

The figures of `coverage.md`, `fuzz.md`, `stopped.md` and `load.md` are taken from there; everything else is measured
here. Without files only those that are taken from there are renewed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import RESULTS, processor, write_table
from coverage_table import FOUNDATIONS, OVERALL, PACKAGE

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File, pack
from combiner_cli.errors import CombinerError
from combiner_cli.family import View
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Format, Signal

TESTS = Path(__file__).parent.parent / "tests"
GOLDEN = TESTS / "golden"
FILES = ("chained", "cifar10-1", "photo-8-grey", "sound-tags")  # small ones, one of them with metadata
APPENDED = 64
SIDE = (128, 192)
TITLE = "What can be relied on"
MEASURED, GOLDEN_TEST = "python benchmarks/trust.py", "pytest tests/test_golden.py"
# Cases of the fuzzer, in words.
FUZZED = {
    "header": "headers through the parser",
    "described": "files with metadata through the parser",
    "file": "files decoded",
    "metadata": "files with metadata shown, decoded and written",
    "prior": "priors loaded and used",
}
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path, nargs="?")
    parser.add_argument("recording", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.photograph is None:
        renew()
        return
    if arguments.recording is None:
        parser.error("give a photograph and a recording, or neither")
    rows = damage() + limits()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = media.read_signal(arguments.photograph)
        part = np.ascontiguousarray(image.samples[: SIDE[0], : SIDE[1], :3])
        media.write_signal(Signal("image", part), folder / "x.png")
        media.write_signal(Signal("image", np.ascontiguousarray(part[:32, :32])), folder / "small.png")
        sound = media.read_signal(arguments.recording)
        media.write_signal(replace(sound, samples=sound.samples[: sound.sample_rate]), folder / "x.wav")
        rows += determinism(folder)
    rows += golden() + from_results()
    notes = f"On {os.cpu_count()} cores of {processor()}, no GPU."
    write_table("trust.md", TITLE, notes, rows)


def renew() -> None:
    """Keep what was measured, and take the figures of other pages as they are now."""
    notes = (RESULTS / "trust.md").read_text().splitlines()[2]
    measured_here = {f"`{command}`" for command in (MEASURED, GOLDEN_TEST)}
    measured: list[Row] = [{**cells} for cells in table_of("trust.md") if cells["command"] in measured_here]
    write_table("trust.md", TITLE, notes, measured + from_results())


def row(what: str, outcome: str, command: str = MEASURED) -> Row:
    return {"what": what, "found": outcome, "command": f"`{command}`"}


def damage() -> list[Row]:
    """Every change of a byte, every truncation, and appended bytes."""
    dice, counts = random.Random(1), Counter[str]()
    for data in ((GOLDEN / f"{name}.cmb").read_bytes() for name in FILES):
        for place, right in enumerate(data):
            for value in set(range(256)) - {right}:
                counts["changes"] += 1
                counts["changes refused"] += refused(data[:place] + bytes([value]) + data[place + 1 :])
        for length in range(len(data)):
            counts["truncations"] += 1
            counts["truncations refused"] += refused(data[:length])
        for count in range(1, APPENDED + 1):
            for more in (bytes(count), b"\xff" * count, dice.randbytes(count)):
                counts["extensions"] += 1
                counts["extensions refused"] += refused(data + more)
    titles = {
        "changes": f"every other value of every byte of {len(FILES)} files",
        "truncations": "every truncation of them",
        "extensions": f"1 to {APPENDED} bytes added to them",
    }
    return [row(title, f"{counts[f'{kind} refused']:,} of {counts[kind]:,} refused") for kind, title in titles.items()]


def refused(data: bytes) -> bool:
    """Whether a file is refused as damaged, which the command line turns into exit code 4."""
    try:
        pipeline.decode(File.parse(data), library.find_id)
    except CombinerError as error:
        return error.exit_code == 4
    return False


def limits() -> list[Row]:
    """A small file that declares a gigantic image."""
    prior = library.find("photo-8")
    numbers = {field.name: (field.least,) * field.count for field in prior.fields}
    data = pack(prior.id, Format("image", (2**32 - 1, 2**32 - 1), 3, 8, None), prior.fields, numbers, bytes(2))
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "x.cmb"
        source.write_bytes(data)
        # a process of its own, so that the peak memory is that of this one command
        script = (
            "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True); "
            "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [sys.executable, "-c", script, sys.executable, "-m", "combiner_cli", "decode", str(source)]
        times = []
        for _ in range(5):
            clock = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            times.append(time.perf_counter() - clock)
        code, memory = map(int, done.stdout.split())
    outcome = f"exit code {code} in {min(times):.2f} s, {memory / 1024:.0f} MB, start-up included, best of {len(times)}"
    return [row(f"{len(data)} bytes that declare 4294967295x4294967295 pixels", outcome)]


def determinism(folder: Path) -> list[Row]:
    """Files and samples of three processes with one and two threads."""
    rows = []
    for source, prior in ((folder / "x.png", None), (folder / "x.wav", None), (folder / "small.png", "cifar10-2")):
        digests = set()
        for number, threads in enumerate((1, 1, 2)):
            coded = folder / f"{number}.cmb"
            command = ["encode", source, "-o", coded, "-f", "--threads", threads, "--device", "cpu", "-e", 2]
            command += ["--prior", prior] if prior else []
            facts = combiner(*command)
            back = folder / f"{number}{source.suffix}"
            combiner("decode", coded, "-o", back, "-f", threads=threads)
            digests.add(hashlib.sha256(coded.read_bytes() + back.read_bytes()).hexdigest())
        same = "the same bytes" if len(digests) == 1 else f"{len(digests)} different results"
        rows.append(row(f"{facts['prior']}: encoded and decoded by three processes, with 1, 1 and 2 threads", same))
    return rows


def combiner(*arguments: object, threads: int = 1) -> dict[str, object]:
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments), "--json"]
    environment = {**os.environ, **({} if "encode" in arguments else limit)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    facts: dict[str, object] = json.loads(done.stdout)
    return facts


def golden() -> list[Row]:
    """Files that earlier programs wrote."""
    os.environ[library.SEARCH_VARIABLE] = str(GOLDEN)
    latents = json.loads((GOLDEN / "latents.json").read_text())
    samples = json.loads((GOLDEN / "digests.json").read_text())
    counts = Counter[str]()
    for name, expected in latents.items():
        file = File.parse((GOLDEN / f"{name}.cmb").read_bytes())
        decoded = library.find_id(file.prior_id).decode(file, View(keep_latents=True))
        counts["latents"] += hashlib.sha256(decoded.latents.astype("<f4").tobytes()).hexdigest() == expected
        if name in samples:
            values = decoded.signal().samples
            little = values.astype(values.dtype.newbyteorder("<"))
            counts["samples"] += hashlib.sha256(little.tobytes()).hexdigest() == samples[name]["sha256"]
    text = f"latents of {counts['latents']} of {len(latents)}, samples of {counts['samples']} of {len(samples)}"
    return [row("golden files that decode as on the day they were written", text, GOLDEN_TEST)]


def from_results() -> list[Row]:
    """Figures of other pages."""
    rows = []
    run = {cells["module"]: cells["run, %"] for cells in table_of("coverage.md")}
    if run:
        parts = ", ".join(f"{name} {run[f'{PACKAGE}/{name}.py']} %" for name in FOUNDATIONS)
        rows.append(
            row("lines that the tests run", f"{run[OVERALL]} %; {parts}", "python benchmarks/coverage_table.py")
        )
    for cells in table_of("fuzz.md"):
        outcome = (
            f"{cells.get('FINDING', '0')} errors of another type, longest {cells['longest, CPU s']} s of the processor"
        )
        rows.append(row(f"{cells['cases']} mutated {FUZZED[cells['case']]}", outcome, "make fuzz"))
    for cells in table_of("stopped.md"):
        complete, absent, kept = (cells[name] for name in ("target complete", "absent", "old one untouched"))
        outcome = f"{complete} complete, {absent} absent, {kept} untouched, {cells['faults']} faults"
        rows.append(row(f"{cells['command']}, {cells['times']} times {cells['stopped by']}", outcome, "make kill"))
    for cells in table_of("load.md"):
        outcome = f"{cells['peak MB']} MB, bound {cells['bound MB']} MB"
        rows.append(row(f"peak memory: {cells['what']}", outcome, "python benchmarks/load.py"))
    return rows


def table_of(name: str) -> list[dict[str, str]]:
    """The rows of a Markdown table; none if it has not been made."""
    if not (RESULTS / name).exists():
        return []
    lines = [line for line in (RESULTS / name).read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [dict(zip(cells[0], row_cells, strict=True)) for row_cells in cells[2:]]


if __name__ == "__main__":
    main()
