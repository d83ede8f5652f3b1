"""Start-up: the shortest things that one does with a tool, as whole commands, beside those of others where installed.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import processor, write_table

COMBINER = [sys.executable, "-m", "combiner_cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        table = [
            {
                "tool": tool,
                "command": " ".join(words),
                "ms": f"{1000 * median_seconds(tool, words, folder, arguments.runs):.0f}",
            }
            for tool, words in COMMANDS
            if tool == "combiner" or shutil.which(tool)
        ]
    notes = (
        f"Median wall time of {arguments.runs} runs of whole commands, on {os.cpu_count()} cores of {processor()}, "
        "files in the system's cache. The picture has 32x32 pixels, the sound lasts half a second."
    )
    write_table("startup.md", "Start-up", notes, table)


COMMANDS = (
    ("combiner", ("--version",)),
    ("combiner", ("encode", "-h")),
    ("combiner", ("info", "picture.cmb")),
    ("combiner", ("decode", "picture.cmb", "-o", "back.png", "-f")),
    ("combiner", ("decode", "sound.cmb", "-o", "back.wav", "-f")),
    ("combiner", ("encode", "sound.wav", "-o", "back.cmb", "-f")),
    ("combiner", ("encode", "picture.png", "-o", "back.cmb", "-f")),
    ("cjxl", ("--version",)),
    ("cjxl", ("picture.png", "back.jxl")),
    ("djxl", ("picture.jxl", "back.png")),
    ("flac", ("--version",)),
    ("flac", ("-f", "-s", "sound.wav", "-o", "back.flac")),
    ("zstd", ("--version",)),
    ("zstd", ("-f", "-q", "sound.wav", "-o", "back.zst")),
)


def make_inputs(folder: Path) -> None:
    """A picture and a sound, and both coded."""
    import numpy as np

    from combiner_cli.media import files as media
    from combiner_cli.signals.signal import Signal

    rows, columns = np.mgrid[:32, :32]
    picture = np.stack([4 * rows + 2 * columns, 7 * columns, 255 - 6 * rows], axis=-1).astype(np.uint8)
    media.write_signal(Signal("image", picture), folder / "picture.png")
    tone = 0.4 * np.sin(np.arange(8000) / 7, dtype=np.float32)
    media.write_signal(Signal("sound", tone[:, None], 16_000, 16), folder / "sound.wav")
    for source in ("picture.png", "sound.wav"):
        subprocess.run([*COMBINER, "encode", source], cwd=folder, check=True, capture_output=True)
    if shutil.which("cjxl"):
        subprocess.run(["cjxl", "picture.png", "picture.jxl"], cwd=folder, check=True, capture_output=True)


def median_seconds(tool: str, words: tuple[str, ...], folder: Path, runs: int) -> float:
    """Median wall time of a command; the first run is for the system's cache."""
    command = [*(COMBINER if tool == "combiner" else [tool]), *words]
    seconds = []
    for _ in range(runs + 1):
        clock = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - clock)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
