"""Time per phase and peak memory of whole commands: one CIFAR-10 image, one photograph, three seconds of speech.

python benchmarks/phases.py --cifar10 cifar10_subset.npz --photograph kodim05.png --speech clip.flac
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import processor, write_table
from speech import first_seconds

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--photograph", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    arguments = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with np.load(arguments.cifar10) as content:
            media.write_signal(Signal("image", content["test"][0]), folder / "cifar10.png")
        clip = first_seconds(arguments.speech)
        if clip is None:
            raise SystemExit(f"{arguments.speech} is not a recording of three seconds at 16 kHz")
        media.write_signal(clip, folder / "speech.wav")
        inputs = {
            "CIFAR-10 image": folder / "cifar10.png",
            f"photograph {arguments.photograph.stem}": arguments.photograph,
            "speech, 3 s": folder / "speech.wav",
        }
        for title, source in inputs.items():
            coded = folder / "x.cmb"
            facts, seconds, memory = timed("encode", source, "-o", coded, "-f", "--device", "cpu")
            _, decode_seconds, decode_memory = timed("decode", coded, "-f")
            phases = {phase: f"{value:.2f}" for phase, value in facts["phases"].items()}
            table.append(
                {
                    "input": title,
                    "prior": facts["prior"],
                    **{f"{phase} s": value for phase, value in phases.items()},
                    "encode command s": f"{seconds:.2f}",
                    "peak MB": f"{memory:.0f}",
                    "decode command s": f"{decode_seconds:.2f}",
                    "decode peak MB": f"{decode_memory:.0f}",
                }
            )
    notes = (
        f"Whole commands, start-up included, on {os.cpu_count()} cores of {processor()}, no GPU, default effort, one "
        "run. The phases are inside the encoding command; its own check of the file by decoding is the phase decode."
    )
    write_table("phases.md", "Time per phase and peak memory", notes, table)


def timed(*arguments: object) -> tuple[dict[str, dict[str, float]], float, float]:
    """What a command printed as JSON, its wall time, and its peak memory in MB."""
    # a process of its own, so that the peak memory is that of this one command
    script = (
        "import json, resource, subprocess, sys, time; clock = time.perf_counter(); "
        "done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True); "
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024; "
        "print(json.dumps([json.loads(done.stdout), time.perf_counter() - clock, usage]))"
    )
    command = [sys.executable, "-m", "combiner_cli", *map(str, arguments), "--json"]
    done = subprocess.run([sys.executable, "-c", script, *command], check=True, capture_output=True, text=True)
    facts, seconds, memory = json.loads(done.stdout)
    return facts, seconds, memory


if __name__ == "__main__":
    main()
