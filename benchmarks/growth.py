"""How the cost grows: time and memory against the number of tiles, and against the number of weights of a network.

python benchmarks/growth.py kodim05.png cifar10_subset.npz
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import processor, write_table
from phases import timed

from combiner_cli.codec import pipeline
from combiner_cli.families.siren.network import Siren
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal

SIDES = (64, 128, 256, 512)  # of crops of the photograph; then the whole of it, two by two times
WIDTHS = (8, 16, 24, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("--width", type=int, help="measure one width only and print it (used in a process of its own)")
    arguments = parser.parse_args()
    if arguments.width:
        print(fit_seconds(arguments.width, arguments.cifar10))
        return
    table = by_tiles(arguments.photograph) + by_weights(arguments)
    notes = (
        f"On {os.cpu_count()} cores of {processor()}, no GPU, default effort, one run. Photographs: whole commands at "
        "0.4 bits per pixel with the mixture prior photo-4, crops and a mosaic of one photograph. Networks: the "
        "full-covariance fit and closed-form refinement of one 32x32 image with two hidden layers and an untrained "
        "prior, 1,424 bits, start-up not included."
    )
    write_table("growth.md", "How the cost grows", notes, table)


def by_tiles(photograph: Path) -> list[dict[str, object]]:
    """Whole commands on crops and on a mosaic."""
    image = media.read_signal(photograph).samples
    pictures = [image[:side, :side] for side in SIDES] + [image, np.tile(image, (2, 2, 1))]
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, coded = Path(folder) / "x.png", Path(folder) / "x.cmb"
        for picture in pictures:
            media.write_signal(Signal("image", np.ascontiguousarray(picture)), source)
            _, seconds, memory = timed("encode", source, "-o", coded, "-f", "--bpp", "0.4", "--prior", "photo-4")
            tiles = -(-picture.shape[0] // 16) * -(-picture.shape[1] // 16)
            size = f"{picture.shape[1]}x{picture.shape[0]}"
            row = {"what": f"photograph {size}", "tiles": tiles, "weights": 768 * tiles}
            table.append({**row, "seconds": f"{seconds:.2f}", "peak MB": f"{memory:.0f}"})
            print(table[-1], flush=True)
    return table


def by_weights(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One network of growing width, each in a process of its own."""
    table: list[dict[str, object]] = []
    script = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True); "
        "print(done.stdout.strip(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    for width in WIDTHS:
        command = [sys.executable, __file__, arguments.photograph, arguments.cifar10, "--width", width]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, command)], check=True, capture_output=True, text=True
        )
        weights, seconds, memory = done.stdout.split()
        row = {"what": f"network, width {width}", "tiles": 1, "weights": int(weights)}
        table.append({**row, "seconds": f"{float(seconds):.2f}", "peak MB": f"{float(memory):.0f}"})
        print(table[-1], flush=True)
    return table


def fit_seconds(width: int, cifar10: Path) -> str:
    """Number of weights, and seconds of an encoding whose tables are there already."""
    network = Siren((32, 32), 3, 64, 16.0, width, 2)
    bounds = network.initial_bounds()
    mean = np.random.Generator(np.random.Philox(0)).uniform(-bounds, bounds).astype(np.float32)
    information = np.full(network.latents, round(1424 * 256 / network.latents), dtype=np.int32)
    prior = library.Prior("untrained", "image", network, mean, (bounds / 2).astype(np.float32), information, 16, 1e-5)
    with np.load(cifar10) as content:
        signal = Signal("image", content["test"][0])
    settings = pipeline.Settings(device="cpu")
    pipeline.encode(signal, prior, replace(settings, schedule=Schedule(steps=10, rounds=2, steps_per_round=1)))
    clock = time.perf_counter()
    pipeline.encode(signal, prior, settings)
    return f"{network.latents} {time.perf_counter() - clock}"


if __name__ == "__main__":
    main()
