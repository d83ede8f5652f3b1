"""Memory of a batch of many mixed files beside that of the largest alone, and of decoding beside what comes out.

python benchmarks/load.py kodim05.png recording.flac
python benchmarks/load.py kodim05.png recording.flac --files 20 --largest 0.4    # a quick look
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import processor, write_table
from large import mosaic

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

MEGAPIXELS = (0.1, 0.4, 1.6, 6.0, 24.0)
SECONDS = (3, 60, 600, 3600)
SMALL = (64, 96, 128, 200)  # pixels of the sides of most files of the batch
KIBI = 1024
MOST_OF_LARGEST, MOST_OF_OUTPUT, BASE = 1.5, 3, 100  # the bounds that are looked at; MB
_EVERY = 0.02  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--files", type=int, default=200, help="of the batch")
    parser.add_argument("--largest", type=float, default=1.6, help="megapixels of the largest file of the batch")
    parser.add_argument("--decode-only", action="store_true", help="leave the batch out")
    arguments = parser.parse_args()
    image, sound = (media.read_signal(path) for path in (arguments.photograph, arguments.recording))
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not arguments.decode_only:
            table += batch(image, sound, folder, arguments.files, arguments.largest)
        for megapixels in (size for size in MEGAPIXELS if size <= 16 * arguments.largest):
            media.write_signal(Signal("image", mosaic(image.samples, megapixels)), folder / "x.png")
            table.append(decoded(folder / "x.png", f"image of {megapixels} megapixels"))
        for seconds in (length for length in SECONDS if length <= 2400 * arguments.largest):
            media.write_signal(lasting(sound, seconds), folder / "x.wav")
            table.append(decoded(folder / "x.wav", f"sound of {seconds} s"))
    notes = (
        "Peak memory (the proportional set size of all processes of a command together, looked at every "
        f"{1000 * _EVERY:.0f} ms), effort 1, on {os.cpu_count()} cores of {processor()}. Bounds: a batch takes at most "
        f"{MOST_OF_LARGEST} times what its largest file takes alone; decoding at most {MOST_OF_OUTPUT} times the "
        f"samples, as a file of their bit depth holds them, and {BASE} MB; PNG and WAV."
    )
    write_table("load.md", "Memory under load", notes, table)


def batch(image: Signal, sound: Signal, folder: Path, count: int, largest: float) -> list[dict[str, object]]:
    """A batch of one large and many small files, and the large one alone."""
    inputs, large = folder / "inputs", folder / "large.png"
    inputs.mkdir()
    media.write_signal(Signal("image", mosaic(image.samples, largest)), large)
    os.link(large, inputs / f"{count // 2:03}.png")
    for number in set(range(count)) - {count // 2}:
        if number % 3 == 2:
            media.write_signal(lasting(sound, 1 + number % 5), inputs / f"{number:03}.wav")
        else:
            side = SMALL[number % len(SMALL)]
            corner = number * 7 % (min(image.shape) - side)
            part = image.samples[corner : corner + side, corner : corner + side]
            media.write_signal(Signal("image", np.ascontiguousarray(part)), inputs / f"{number:03}.png")
    alone, _ = peak("encode", large, "-o", folder / "large.cmb", "-e", 1)
    together, seconds = peak("encode", *sorted(inputs.iterdir()), "-d", folder / "coded", "-e", 1)
    made = len(list((folder / "coded").glob("*.cmb")))
    assert made == count, f"{made} files came of {count}"
    row = row_of(
        f"encode {count} files, the largest of {largest} megapixels", together, MOST_OF_LARGEST * alone, seconds
    )
    return [row]


def decoded(source: Path, title: str) -> dict[str, object]:
    """Decoding of a file of a signal."""
    coded = source.with_suffix(".cmb")
    command = [sys.executable, "-m", "combiner_cli", "encode", source, "-o", coded, "-f", "-e", "1", "--no-verify"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    memory, seconds = peak("decode", coded, "-f", "-o", source)
    signal = media.read_signal(source)
    samples = signal.samples.size * signal.bit_depth // 8
    return row_of(f"decode {title}", memory, MOST_OF_OUTPUT * samples / 1e6 + BASE, seconds)


def row_of(what: str, memory: float, bound: float, seconds: float) -> dict[str, object]:
    return {
        "what": what,
        "peak MB": f"{memory:.0f}",
        "bound MB": f"{bound:.0f}",
        "within": "yes" if memory <= bound else "no",
        "s": f"{seconds:.1f}",
    }


def lasting(sound: Signal, seconds: int) -> Signal:
    """One channel of a recording, over and over, for so many seconds."""
    assert sound.sample_rate is not None
    samples = np.resize(sound.samples[:, :1], (seconds * sound.sample_rate, 1))
    return Signal("sound", samples, sound.sample_rate, sound.bit_depth)


def peak(*arguments: object) -> tuple[float, float]:
    """Peak memory of a command in MB, that of processes which it starts included, and its wall time."""
    clock, most = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        most = max(most, memory_of(process.pid))
        time.sleep(_EVERY)
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {process.stderr.read()}")
    return most, time.perf_counter() - clock


def memory_of(number: int) -> float:
    """MB of a process and of its children, each shared page counted once."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    kibibytes = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kibibytes * KIBI / 1e6 + sum(memory_of(int(child)) for child in children)


if __name__ == "__main__":
    main()
