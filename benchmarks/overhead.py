"""Bits of whole pyramid files over KL + class bits of the posteriors at the same quality, and what searches bring.

    python benchmarks/overhead.py photographs/ --images 6

At each noise code every image is simulated (samples of the posteriors in the place of candidates: what the bits of the
KL would give) and coded. The overhead is the coded rate over the simulated one at the PSNR of the simulation, between
coded points linear in the logarithm of the rate.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from common import write_csv, write_table

from combiner_cli.families.pyramid.encoder import ImageSimulation
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal
from combiner_cli.stages.encoding import noise_levels
from combiner_cli.stages.encoding.encoder import Budget, Writer

CODES = (8, 16, 24, 32, 40, 48, 56)
METHODS = ("best", "viterbi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--prior", default="photo-8")
    arguments = parser.parse_args()
    prior = library.find(arguments.prior)
    if not isinstance(prior, PyramidPrior):
        raise SystemExit(f"{prior.name} is no pyramid")
    sources = sorted(path for path in arguments.data.iterdir() if path.suffix in media.IMAGE_SUFFIXES)
    rows = []
    for code in CODES:
        rows.append({"noise code": code, **mean([measure(prior, path, code) for path in sources[: arguments.images]])})
        print(rows[-1], flush=True)
    write_csv("overhead.csv", rows)
    table = []
    for row in rows:
        line = {"noise code": row["noise code"], "KL + classes bpp": f"{row['bpp']:.4f}", "dB": f"{row['psnr']:.2f}"}
        line["classes bpp"] = f"{row['classes']:.4f}"
        for method in METHODS:
            line[f"{method} bpp"], line[f"{method} dB"] = f"{row[f'{method} bpp']:.4f}", f"{row[f'{method} psnr']:.2f}"
            line[f"{method} s"] = f"{row[f'{method} s']:.1f}"
            over = overhead(rows, row, method)
            line[f"{method} overhead"] = "–" if over is None else f"{100 * over:+.1f} %"
        table.append(line)
    write_table(
        "overhead.md",
        "Overhead of coding",
        f"Prior {prior.name}, the first {arguments.images} images, means. Files without header and checksum (25 bytes) "
        "against KL + class bits of the posteriors; the overhead is at equal PSNR (– outside the coded range).",
        table,
    )


def measure(prior: PyramidPrior, path: Path, code: int) -> dict[str, float]:
    """Simulated and coded rates and PSNRs of an image."""
    samples = media.read_signal(path).samples[:, :, :3]
    simulation = ImageSimulation(prior, Signal("image", samples))
    pixels = simulation.format.points
    (expected,) = simulation.parts(code)
    measured = {
        "bpp": (expected.bits + expected.class_bits) / pixels,
        "classes": expected.class_bits / pixels,
        "psnr": psnr(expected.squared_error, samples.size),
    }
    for method in METHODS:
        clock = time.perf_counter()
        writer = Writer.begin(prior.key, round(expected.bits / 8), Budget(noise_levels.OVERHEAD), method, 0)
        coded = simulation.code(code, writer)
        measured[f"{method} s"] = time.perf_counter() - clock
        measured[f"{method} bpp"] = 8 * (len(coded.classes) + len(coded.indices)) / pixels
        measured[f"{method} psnr"] = psnr(coded.squared_error, samples.size)
    return measured


def psnr(squared_error: float, samples: int) -> float:
    return 10 * math.log10(4 * samples / squared_error)


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def overhead(rows: list[dict[str, float]], row: dict[str, float], method: str) -> float | None:
    """Coded rate over simulated rate at the simulated PSNR, less 1."""
    psnrs, rates = [r[f"{method} psnr"] for r in rows], [r[f"{method} bpp"] for r in rows]
    if not psnrs[0] <= row["psnr"] <= psnrs[-1]:
        return None
    return float(np.exp(np.interp(row["psnr"], psnrs, np.log(rates)))) / row["bpp"] - 1


if __name__ == "__main__":
    main()
