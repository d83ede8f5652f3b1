"""The parts of the encoder one by one: posterior, refinement, size of the groups and search, at the same bits.

python benchmarks/engine.py cifar10_subset.npz
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import read_csv, write_csv, write_table

from combiner_cli.bench.tables import Row
from combiner_cli.codec import pipeline
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

BATCH = 32  # images that are encoded together


PRIOR = "cifar10-2"


@dataclass(frozen=True)
class Encoder:
    """One encoder.

    Attributes:
        words: for the table: what posterior it fits and how it refines.
        group_bits: bits of a group.
        options: how it encodes.
    """

    words: str
    group_bits: int
    options: EncodingOptions


# the first is how COMBINER does it, and each of the others adds to the one before
ENCODERS = (
    Encoder("factorised, gradient steps", 16, EncodingOptions(device="cpu", search="astar", refinement="gradient")),
    Encoder("factorised, gradient steps", 8, EncodingOptions(device="cpu", search="viterbi", refinement="gradient")),
    Encoder("full covariance, closed form", 8, EncodingOptions(device="cpu", search="viterbi")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--alone", type=int, default=4, help="images that are encoded one at a time for their times")
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    table: list[Row] = []
    known: list[dict[str, object]] = [{**row} for row in read_csv("engine.csv")]
    for encoder in ENCODERS:
        key = {"images": str(len(signals)), "prior id": f"{library.find(PRIOR).id:08x}", "row": encoder.words}
        key["group bits"] = str(encoder.group_bits)
        old = [row for row in known if all(row[name] == value for name, value in key.items())]
        if old:
            row = {name: value for name, value in old[0].items() if name not in key}
        else:
            row = measure(encoder, signals, arguments.alone)
            known.append({**key, **row})
        table.append(row)
        write_csv("engine.csv", known)
        print(row, flush=True)
    notes = (
        f"The first {len(signals)} CIFAR-10 test images, in batches of {BATCH} and the first {arguments.alone} one at "
        "a time, on the CPU; as many bits in every row as the prior expects, but for the rounding to whole groups. "
        "PSNR of the decoded 8-bit images, mean over images."
    )
    write_table("engine.md", "Posterior, refinement, groups and search", notes, table)


def measure(encoder: Encoder, signals: Sequence[Signal], alone: int) -> dict[str, object]:
    """Encode images with one encoder: bits, quality and times."""
    prior = library.find(PRIOR)
    published = pipeline.encode(signals[0], prior, options=ENCODERS[0].options)
    first = pipeline.encode(signals[0], prior, options=encoder.options)  # tables of candidates are made once
    # as many bits as the published way takes at the prior's own rate, whatever the size of a group
    target = Target("size", len(first.data) - first.payload_bytes + published.payload_bytes)
    clock = time.perf_counter()
    results = []
    for begin in range(0, len(signals), BATCH):
        results += pipeline.encode_batch(signals[begin : begin + BATCH], prior, target, encoder.options)
    batched = (time.perf_counter() - clock) / len(signals)
    clock = time.perf_counter()
    for signal in signals[:alone]:
        pipeline.encode(signal, prior, target, encoder.options)
    single = (time.perf_counter() - clock) / max(1, min(alone, len(signals)))
    pairs = zip(signals, results, strict=True)
    psnr = np.mean([metrics.psnr(signal, result.decoded) for signal, result in pairs if result.decoded])
    return {
        "posterior and refinement": encoder.words,
        "prior": prior.name,
        "bits of a group": encoder.group_bits,
        "search": encoder.options.search,
        "payload bits": 8 * results[0].payload_bytes,
        "PSNR dB": f"{psnr:.2f}",
        "s per image, batched": f"{batched:.2f}",
        "s, one at a time": f"{single:.2f}",
    }


if __name__ == "__main__":
    main()
