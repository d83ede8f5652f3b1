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
from combiner_cli.codec.goals import Goal
from combiner_cli.priors import library
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
    suitable = library.suitable_priors("image", signals[0].shape)
    chosen, measured = {}, {}
    for budget in BUDGETS:
        prior, settings = goals.plan(signals[0], Goal(bits_per_pixel=budget), None)
        chosen[budget] = prior.name
        for other in suitable:
            results = pipeline.encode_batch(signals, other, settings)
            assert all(len(result.data) == settings.size for result in results)
            values = [metrics.psnr(signal, result.decoded) for signal, result in zip(signals, results, strict=True)]
            measured[budget, other.name] = float(np.mean(values))
            print(budget, other.name, measured[budget, other.name], flush=True)
    envelope = hull([(rate, psnr) for (rate, _), psnr in measured.items()])
    table = []
    for budget in BUDGETS:
        mine = measured[budget, chosen[budget]]
        best = float(np.interp(budget, *zip(*envelope, strict=True)))
        row = {"bits per pixel": budget, "bytes": int(budget * 128), "prior": chosen[budget], "PSNR dB": f"{mine:.2f}"}
        table.append({**row, "below the hull, dB": f"{best - mine:.2f}"})
    notes = (
        f"The first {len(signals)} CIFAR-10 test images at twelve budgets of the whole file, all met to the byte, with "
        "the prior that the program chooses. The hull is the upper concave one of all shipped priors at all budgets."
    )
    write_table("budgets.md", "PSNR at exact sizes", notes, table)


def hull(points: Curve) -> Curve:
    """The upper concave hull of (rate, PSNR)."""
    found: list[tuple[float, float]] = []
    for rate, psnr in sorted(points):
        while found and found[-1][0] == rate:
            found.pop()
        while len(found) > 1 and _turns_up(found[-2], found[-1], (rate, psnr)):
            found.pop()
        found.append((rate, psnr))
    return found


def _turns_up(first: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> bool:
    return (second[1] - first[1]) * (third[0] - second[0]) <= (third[1] - second[1]) * (second[0] - first[0])


if __name__ == "__main__":
    main()
