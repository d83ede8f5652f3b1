"""CIFAR-10: real files of the first test images at several rates, beside published curves.

python benchmarks/cifar10.py cifar10_subset.npz --published published_curves.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from common import write_csv, write_table
from comparisons import published

from combiner_cli.bench.curves import at_rate
from combiner_cli.bench.tables import text
from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.family import EncodingOptions, Prior, Target
from combiner_cli.media import files as media
from combiner_cli.priors import selection
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

PEERS = ("COMBINER", "RECOMBINER", "COIN++", "BPG_444")
RATES = (0.29, 0.41, 0.68, 0.9, 1.45, 3.2)  # bits per pixel that a typical image takes
EFFORTS = {5: RATES}
BATCH = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    suitable = selection.suitable_priors(signals[0].format)
    measured, table = [], []
    for effort, rate in [(effort, rate) for effort, rates in EFFORTS.items() for rate in rates]:
        prior = selection.nearest(suitable, rate)
        clock = time.perf_counter()
        rows = measure(signals, prior, rate, effort)
        seconds = (time.perf_counter() - clock) / len(signals)
        measured += rows
        payload = float(np.mean([row["payload_bpp"] for row in rows]))
        row = {
            "prior": prior.name,
            "effort": effort,
            "payload bpp": f"{payload:.4f}",
            "file bpp": f"{np.mean([r['file_bpp'] for r in rows]):.4f}",
            "PSNR dB": f"{np.mean([r['psnr'] for r in rows]):.2f}",
            "s per image": f"{seconds:.2f}",
        }
        for peer in PEERS:
            row[f"{peer} at that payload"] = text(at_rate(published(arguments.published, peer, "cifar10"), payload))
        table.append(row)
        print(row, flush=True)
    write_csv("cifar10.csv", measured)
    write_table(
        "cifar10.md",
        "CIFAR-10",
        f"The first {len(signals)} test images, one file each, encoded in batches of {BATCH} on the CPU; PSNR of the "
        "decoded PNG files, mean over images. Every image is coded at the quality that takes a typical one about the "
        "same rate: it pays the same for a dB as the others. Peers: published points, linear in the logarithm of the "
        "rate between them.",
        table,
    )


def measure(signals: list[Signal], prior: Prior, rate: float, effort: int) -> list[dict[str, object]]:
    """Write, decode and measure a file of every image."""
    target, options = Target("rate", rate), EncodingOptions(effort=effort, device="cpu")
    results = []
    for first in range(0, len(signals), BATCH):
        results += pipeline.encode_batch(signals[first : first + BATCH], prior, target, options)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (image, result) in enumerate(zip(signals, results, strict=True)):
            coded, decoded = Path(folder) / f"{number}.cmb", Path(folder) / f"{number}.png"
            coded.write_bytes(result.data)
            media.write_signal(pipeline.decode(File.parse(coded.read_bytes()), lambda _: prior), decoded)
            rows.append(
                {
                    "prior": prior.name,
                    "rate": rate,
                    "effort": effort,
                    "image": number,
                    "payload_bpp": 8 * result.payload_bytes / image.points,
                    "file_bpp": metrics.bits_per_pixel(coded.stat().st_size, image.shape),
                    "psnr": round(metrics.psnr(image, media.read_signal(decoded)), 4),
                }
            )
    return rows


if __name__ == "__main__":
    main()
