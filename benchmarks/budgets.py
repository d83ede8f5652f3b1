"""Exact sizes: PSNR at twelve budgets, with the prior that is chosen for each, against the hull of all priors.

python benchmarks/budgets.py cifar10_subset.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import write_table

from combiner_cli.bench.curves import Curve
from combiner_cli.codec import goals, pipeline
from combiner_cli.family import Target
from combiner_cli.priors import selection
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

BUDGETS = tuple(float(rate) for rate in np.geomspace(0.5, 3.5, 12).round(3))  # bits per pixel of the whole file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help=".npz with an array called test")
    parser.add_argument("--images", type=int, default=6)
    arguments = parser.parse_args()
    with np.load(arguments.data) as content:
        signals = [Signal("image", image) for image in content["test"][: arguments.images]]
    suitable = selection.suitable_priors(signals[0].format)
    chosen, measured = {}, {}
    for budget in BUDGETS:
        size = goals.plan(signals[0], Target("bits_per_pixel", budget), suitable[0]).target
        planned, target = selection.by_format(signals[0].format, size)
        chosen[budget] = planned.name
        for prior in suitable:
            results = pipeline.encode_batch(signals, prior, target)
            assert all(len(result.data) == target.value for result in results)
            pairs = zip(signals, results, strict=True)
            values = [metrics.psnr(signal, result.decoded) for signal, result in pairs if result.decoded]
            measured[budget, prior.name] = float(np.mean(values))
            print(budget, prior.name, measured[budget, prior.name], flush=True)
    envelope = hull([(rate, psnr) for (rate, _), psnr in measured.items()])
    table = []
    for budget in BUDGETS:
        mine = measured[budget, chosen[budget]]
        rates, psnrs = zip(*envelope, strict=True)
        best = float(np.interp(budget, rates, psnrs))
        row = {"bits per pixel": budget, "bytes": int(budget * 128), "prior": chosen[budget], "PSNR dB": f"{mine:.2f}"}
        table.append({**row, "below the hull, dB": f"{best - mine:.2f}"})
    notes = (
        f"The first {len(signals)} CIFAR-10 test images at twelve budgets of the whole file, all met to the byte, with "
        "the prior that the program chooses. The hull is the upper concave one of all shipped priors at all budgets."
    )
    write_table("budgets.md", "PSNR at exact sizes", notes, table)


def hull(points: Curve) -> Curve:
    """The upper concave hull of (rate, PSNR)."""
    kept: list[tuple[float, float]] = []
    for rate, psnr in sorted(points):
        while kept and kept[-1][0] == rate:
            kept.pop()
        while len(kept) > 1 and _turns_up(kept[-2], kept[-1], (rate, psnr)):
            kept.pop()
        kept.append((rate, psnr))
    return kept


def _turns_up(first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> bool:
    return (second[1] - first[1]) * (third[0] - second[0]) <= (third[1] - second[1]) * (second[0] - first[0])


if __name__ == "__main__":
    main()
