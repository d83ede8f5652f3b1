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
from common import write_table

from combiner_cli import codec, groups, metrics, priors
from combiner_cli.signals import Signal

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
    settings: codec.Settings
    prior: str = "cifar10-2"


def rows() -> list[Row]:
    """The encoders of the table; the first is how COMBINER does it."""
    gradient = [
        Row("factorised, gradient steps", bits, codec.Settings(device="cpu", refine="gradient", search=search))
        for bits, search in ((16, "astar"), (16, "best"), (8, "viterbi"))
    ]
    closed = [
        Row("full covariance, closed form", 8, codec.Settings(device="cpu", search=search))
        for search in ("astar", "best", "viterbi")
    ]
    return gradient + closed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--alone", type=int, default=4, help="images that are encoded one at a time for their times")
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    table = []
    for row in rows():
        table.append(measure(row, signals, arguments.alone))
        print(table[-1], flush=True)
    notes = (
        f"The first {len(signals)} CIFAR-10 test images, in batches of {BATCH} and the first {arguments.alone} one at "
        "a time, on the CPU; as many bits in every row as the prior expects, but for the rounding to whole groups. "
        "PSNR of the decoded 8-bit images, mean over images."
    )
    write_table("engine.md", "Posterior, refinement, groups and search", notes, table)


def measure(row: Row, signals: Sequence[Signal], alone: int) -> dict[str, object]:
    """Encode images with one encoder: bits, quality and times."""
    prior = replace(priors.find(row.prior), group_bits=row.group_bits)
    (stage,) = prior.stages(prior.tiling(signals[0].shape, signals[0].channels))
    bits = int(stage.information.sum()) / groups.INFORMATION_UNIT
    # the number of groups that the prior's own rate gives, whatever the size of a group
    count = round(bits / row.group_bits)
    settings = replace(row.settings, rate=count / groups.expected_groups(stage.information, row.group_bits))
    codec.encode(signals[0], prior, settings)  # tables of candidates are made once
    clock = time.perf_counter()
    results = []
    for first in range(0, len(signals), BATCH):
        results += codec.encode_batch(signals[first : first + BATCH], prior, settings)
    batched = (time.perf_counter() - clock) / len(signals)
    clock = time.perf_counter()
    for signal in signals[:alone]:
        codec.encode(signal, prior, settings)
    single = (time.perf_counter() - clock) / max(1, min(alone, len(signals)))
    psnr = np.mean([metrics.psnr(signal, one.decoded) for signal, one in zip(signals, results, strict=True)])
    return {
        "posterior and refinement": row.posterior,
        "groups": f"{8 * results[0].payload_bytes // row.group_bits} x {row.group_bits} bits",
        "search": row.settings.search,
        "payload bits": 8 * results[0].payload_bytes,
        "PSNR dB": f"{psnr:.2f}",
        "s per image, batched": f"{batched:.2f}",
        "s, one at a time": f"{single:.2f}",
    }


if __name__ == "__main__":
    main()
