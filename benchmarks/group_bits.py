"""Groups of 16 bits against chained groups of 8 bits, both with A* coding along one path: same prior, same bytes.

python benchmarks/group_bits.py cifar10_subset.npz
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import write_table

from combiner_cli import codec, metrics, priors
from combiner_cli.signals import Signal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--images", type=int, default=16)
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    prior = priors.find("cifar10-2")
    table = []
    for group_bits in (16, 8):
        results = codec.encode_batch(signals, replace(prior, group_bits=group_bits), codec.Settings(device="cpu"))
        psnr = np.mean([metrics.psnr(s, r.decoded) for s, r in zip(signals, results, strict=True)])
        bits = 8 * results[0].payload_bytes
        table.append({"bits of a group": group_bits, "payload bits": bits, "PSNR dB": f"{psnr:.2f}"})
    notes = f"The first {len(signals)} CIFAR-10 test images, prior cifar10-2, as many turns of refinement in both rows."
    write_table("group_bits.md", "Groups of 16 and of 8 bits", notes, table)


if __name__ == "__main__":
    main()
