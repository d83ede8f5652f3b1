"""CIFAR-10 with a pyramid prior for small images, beside the mixtures of ``cifar10.csv``.

python benchmarks/small.py cifar10_subset.npz --prior small-1
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from cifar10 import RATES, measure
from common import read_csv, write_csv, write_table

from combiner_cli.bench.curves import Curve, at_rate
from combiner_cli.bench.tables import signed, text
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal

EFFORT = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--prior", default="small-1")
    parser.add_argument("--images", type=int, default=100, help="at most as many as cifar10.csv has")
    parser.add_argument("--rate", type=float, action="append", help="that a typical image takes; may be repeated")
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    prior = library.find(arguments.prior)
    mixtures = {column: curve(column, len(signals)) for column in ("payload_bpp", "file_bpp")}
    rows, table = [], []
    for rate in arguments.rate or RATES:
        clock = time.process_time()
        measured = measure(signals, prior, rate, EFFORT)
        seconds = (time.process_time() - clock) / len(signals)
        rows += measured
        payload, whole, psnr = (mean(measured, column) for column in ("payload_bpp", "file_bpp", "psnr"))
        line = {"payload bpp": f"{payload:.4f}", "file bpp": f"{whole:.4f}", "PSNR dB": f"{psnr:.2f}"}
        for title, column, bpp in (("payload", "payload_bpp", payload), ("file", "file_bpp", whole)):
            other = at_rate(mixtures[column], bpp)
            line[f"mixtures at that {title}"] = text(other)
            line[f"gain, {title}"] = signed(None if other is None else psnr - other)
        table.append({**line, "processor s per image": f"{seconds:.2f}"})
        print(table[-1], flush=True)
    write_csv("small.csv", rows)
    write_table(
        "small.md",
        "Small images",
        f"The first {len(signals)} test images of CIFAR-10 with the pyramid prior {prior.name}, one file each, and the "
        "mixtures of cifar10.md at the same mean payload and at the same mean size of whole files, linear in the "
        "logarithm of the rate between their six points (– outside). PSNR in dB of the decoded PNG files, mean over "
        "images; processor seconds include writing and decoding.",
        table,
    )


def mean(rows: list[dict[str, object]], column: str) -> float:
    """Mean of a column."""
    return float(np.mean([float(str(row[column])) for row in rows]))


def curve(column: str, images: int) -> Curve:
    """Mean rate and PSNR of the mixtures at each of the rates, of the first images."""
    rows = read_csv("cifar10.csv")
    points = []
    for rate in RATES:
        some = [row for row in rows if float(row["rate"]) == rate and int(row["image"]) < images]
        points.append(tuple(float(np.mean([float(row[name]) for row in some])) for name in (column, "psnr")))
    return points  # type: ignore[return-value]


if __name__ == "__main__":
    main()
