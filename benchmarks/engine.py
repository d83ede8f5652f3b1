"""The parts of the encoder one by one: posterior, refinement, size of the groups and search, at the same bits.

python benchmarks/engine.py cifar10_subset.npz
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from common import read_csv, write_csv, write_table

from combiner_cli.codec import pipeline
from combiner_cli.priors import library
from combiner_cli.rec import groups
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

BATCH = 32  # images that are encoded together


@dataclass(frozen=True)
class Row:
    """One encoder.

    Attributes:
        posterior: for the table: what it fits and how it refines.
        group_bits: bits of a group.
        settings: how it encodes; its rate is overruled by the number of bits.
        prior: name of the prior.
    """

    posterior: str
    group_bits: int
    settings: pipeline.Settings
    prior: str = "cifar10-2"


def rows() -> list[Row]:
    """The encoders of the table; the first is how COMBINER does it, and every other one adds to the one before."""
    steps = pipeline.Settings(device="cpu", refine="gradient")
    closed = pipeline.Settings(device="cpu", search="viterbi")
    return [
        Row("factorised, gradient steps", 16, replace(steps, search="astar", group_bits=16)),
        Row("factorised, gradient steps", 8, replace(steps, search="viterbi")),
        Row("full covariance, closed form", 8, closed),
        Row("mixture, no hidden layer, closed form", 8, closed, "cifar10-5"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--alone", type=int, default=4, help="images that are encoded one at a time for their times")
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    table = []
    known = read_csv("engine.csv")
    for row in rows():
        key = {"images": str(len(signals)), "prior id": f"{library.find(row.prior).id:08x}", "row": row.posterior}
        key["group bits"] = str(row.group_bits)
        found = [old for old in known if all(old[name] == value for name, value in key.items())]
        measured = {name: found[0][name] for name in found[0] if name not in key} if found else None
        table.append(measured or measure(row, signals, arguments.alone))
        known += [] if found else [{**key, **table[-1]}]
        write_csv("engine.csv", known)
        print(table[-1], flush=True)
    notes = (
        f"The first {len(signals)} CIFAR-10 test images, in batches of {BATCH} and the first {arguments.alone} one at "
        "a time, on the CPU; as many bits in every row as the prior expects, but for the rounding to whole groups. "
        "PSNR of the decoded 8-bit images, mean over images."
    )
    write_table("engine.md", "Posterior, refinement, groups and search", notes, table)


def measure(row: Row, signals: Sequence[Signal], alone: int) -> dict[str, object]:
    """Encode images with one encoder: bits, quality and times."""
    published, prior = library.find("cifar10-2"), library.find(row.prior)
    layout = published.tiling(signals[0].shape, signals[0].channels)
    # the number of groups that the factorised prior's own rate gives, whatever the size of a group
    count = groups.expected_groups(published.stages(layout)[0].information, 16)
    first = pipeline.encode(signals[0], prior, row.settings)  # tables of candidates are made once
    settings = replace(row.settings, size=len(first.data) - first.payload_bytes + count * 2)
    clock = time.perf_counter()
    results = []
    for first in range(0, len(signals), BATCH):
        results += pipeline.encode_batch(signals[first : first + BATCH], prior, settings)
    batched = (time.perf_counter() - clock) / len(signals)
    clock = time.perf_counter()
    for signal in signals[:alone]:
        pipeline.encode(signal, prior, settings)
    single = (time.perf_counter() - clock) / max(1, min(alone, len(signals)))
    psnr = np.mean([metrics.psnr(signal, one.decoded) for signal, one in zip(signals, results, strict=True)])
    return {
        "posterior and refinement": row.posterior,
        "prior": row.prior,
        "bits of a group": row.group_bits,
        "search": row.settings.search,
        "payload bits": 8 * results[0].payload_bytes,
        "PSNR dB": f"{psnr:.2f}",
        "s per image, batched": f"{batched:.2f}",
        "s, one at a time": f"{single:.2f}",
    }


if __name__ == "__main__":
    main()
