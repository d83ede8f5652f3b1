"""Whole commands on speech from three seconds to an hour, by effort: times and peak memory.

python benchmarks/long.py speech/test
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
from common import processor, write_table
from phases import timed

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

SECONDS = (3, 60, 600, 3600)
EFFORTS = {3: (1, 5, 9), 60: (1, 5, 9), 600: (5,), 3600: (1,)}
KILOBITS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of recordings of one sample rate")
    parser.add_argument("--longest", type=int, default=SECONDS[-1], help="seconds")
    arguments = parser.parse_args()
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in (length for length in SECONDS if length <= arguments.longest):
            source = folder / "x.wav"
            media.write_signal(joined(arguments.data, seconds), source)
            for effort in EFFORTS[seconds]:
                table.append(measured(source, folder / "x.cmb", seconds, effort))
                print(table[-1], flush=True)
    notes = (
        f"Recordings one after another, over and over, at {KILOBITS} kbit/s (`combiner encode --kbps`). Whole "
        f"commands, start-up included, on {os.cpu_count()} cores of {processor()}, no GPU, one run; × is how many "
        "times faster than real time."
    )
    write_table("long.md", "Long recordings", notes, table)


def joined(folder: Path, seconds: int) -> Signal:
    """Recordings one after another, so many seconds of them."""
    parts, frames = [], 0
    for path in itertools.cycle(sorted(folder.rglob("*.flac"))):
        recording = media.read_signal(path)
        assert recording.sample_rate is not None
        parts.append(recording.samples[:, :1])
        frames += recording.points
        if frames >= seconds * recording.sample_rate:
            samples = np.concatenate(parts)[: seconds * recording.sample_rate]
            return Signal("sound", samples, recording.sample_rate, recording.bit_depth)
    raise SystemExit(f"{folder} holds no recordings")


def measured(source: Path, coded: Path, length: int, effort: int) -> dict[str, object]:
    """A row of the table."""
    facts, seconds, memory = timed(
        "encode", source, "-o", coded, "-f", "--tune", "psnr", "--kbps", KILOBITS, "-e", effort
    )
    decoded = coded.with_suffix(".decoded.wav")
    _, decode_seconds, decode_memory = timed("decode", coded, "-o", decoded, "-f")
    return {
        "seconds": length,
        "effort": effort,
        "PSNR dB": f"{facts['psnr']:.2f}",
        "encode s": f"{seconds:.2f}",
        "encode ×": f"{length / seconds:.1f}",
        "peak MB": f"{memory:.0f}",
        "decode s": f"{decode_seconds:.2f}",
        "decode ×": f"{length / decode_seconds:.1f}",
        "decode peak MB": f"{decode_memory:.0f}",
    }


if __name__ == "__main__":
    main()
