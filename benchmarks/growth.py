"""How the cost grows: time and memory against the number of weights of a network.

python benchmarks/growth.py cifar10_subset.npz
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import processor, write_table

from combiner_cli.codec import pipeline
from combiner_cli.families.siren.network import Siren
from combiner_cli.families.siren.prior import SirenPrior
from combiner_cli.family import EncodingOptions
from combiner_cli.signals.signal import Signal

WIDTHS = (8, 16, 24, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("--width", type=int, help="measure one width only and print it (used in a process of its own)")
    arguments = parser.parse_args()
    if arguments.width:
        print(fit_seconds(arguments.width, arguments.cifar10))
        return
    notes = (
        f"On {os.cpu_count()} cores of {processor()}, no GPU, default effort, one run: the full-covariance fit and "
        "closed-form refinement of one 32x32 image with two hidden layers and an untrained prior, 1,424 bits, start-up "
        "not included."
    )
    write_table("growth.md", "How the cost grows", notes, by_weights(arguments.cifar10))


def by_weights(cifar10: Path) -> list[dict[str, object]]:
    """One network of growing width, each in a process of its own."""
    table: list[dict[str, object]] = []
    script = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True); "
        "print(done.stdout.strip(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    for width in WIDTHS:
        command = [sys.executable, __file__, cifar10, "--width", width]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, command)], check=True, capture_output=True, text=True
        )
        weights, seconds, memory = done.stdout.split()
        row = {"width of the network": width, "weights": int(weights)}
        table.append({**row, "seconds": f"{float(seconds):.2f}", "peak MB": f"{float(memory):.0f}"})
        print(table[-1], flush=True)
    return table


def fit_seconds(width: int, cifar10: Path) -> str:
    """Number of weights, and seconds of an encoding whose tables are there already."""
    network = Siren((32, 32), 3, 64, 16.0, width, 2)
    bounds = network.initial_bounds()
    mean = np.random.Generator(np.random.Philox(0)).uniform(-bounds, bounds).astype(np.float32)
    information = np.full(network.latents, round(1424 * 256 / network.latents), dtype=np.int32)
    prior = SirenPrior("untrained", "image", network, mean, (bounds / 2).astype(np.float32), information, 16, 1e-5)
    with np.load(cifar10) as content:
        signal = Signal("image", content["test"][0])
    pipeline.encode(signal, prior, options=EncodingOptions(effort=1, device="cpu"))
    clock = time.perf_counter()
    pipeline.encode(signal, prior, options=EncodingOptions(device="cpu"))
    return f"{network.latents} {time.perf_counter() - clock}"


if __name__ == "__main__":
    main()
