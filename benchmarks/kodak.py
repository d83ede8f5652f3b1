"""Kodak: whole files of the command line at several qualities, beside baselines and published curves.

    python benchmarks/kodak.py kodak/ --published published_curves.json --jobs 2

Encoding takes a while; images that results/kodak.csv already holds for the same quality and prior are not encoded
again.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from common import RESULTS, Curve, at_rate, published, text, write_csv, write_table
from PIL import Image

from combiner_cli import media, metrics, priors
from combiner_cli.signals import Signal

QUALITIES = (1, 3, 5, 7)
BEFORE = [(0.1498, 26.52), (0.4004, 29.36)]  # factorised priors photo-1 and photo-2, A* coding (release 0.1)
PEERS = ("COIN", "COIN++", "RECOMBINER")
BASELINES = {
    "JPEG": [{"format": "JPEG", "quality": q, "optimize": True} for q in (1, 3, 5, 8, 12, 18, 25, 35, 50)],
    "JPEG 2000": [
        {"format": "JPEG2000", "quality_mode": "rates", "quality_layers": [24 / bpp], "irreversible": True, "mct": 1}
        for bpp in (0.08, 0.12, 0.2, 0.3, 0.45, 0.7)
    ],
    "WebP": [{"format": "WEBP", "quality": q, "method": 6} for q in (0, 2, 5, 10, 20, 35, 50)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="images at once, one thread each if more than one")
    arguments = parser.parse_args()
    images = sorted(arguments.data.glob("*.png"))
    rows = known_rows()
    chosen = {quality: priors.choose("image", (512, 768), quality)[0] for quality in QUALITIES}
    tasks = [(image, quality) for quality in QUALITIES for image in images]
    tasks = [task for task in tasks if (task[0].stem, str(task[1]), f"{chosen[task[1]].id:08x}") not in rows]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(lambda task: measure(*task, chosen[task[1]], arguments.jobs), tasks):
            rows[row["image"], str(row["quality"]), row["prior_id"]] = row
            write_csv("kodak.csv", [rows[key] for key in sorted(rows)])
            print(row, flush=True)
    curves = {name: baseline(images, options) for name, options in BASELINES.items()}
    write_csv("kodak_baselines.csv", [{"codec": n, "bpp": r, "psnr": p} for n, c in curves.items() for r, p in c])
    curves |= {f"{peer} (published)": published(arguments.published, peer, "kodak") for peer in PEERS}
    table, mine = [], []
    for quality in QUALITIES:
        wanted = (str(quality), f"{chosen[quality].id:08x}")
        own = [row for row in rows.values() if (str(row["quality"]), row["prior_id"]) == wanted]
        bpp, psnr, seconds = (float(np.mean([float(r[c]) for r in own])) for c in ("bpp", "psnr", "seconds"))
        mine.append((bpp, psnr))
        row = {"quality": quality, "prior": chosen[quality].name, "images": len(own), "bpp": f"{bpp:.4f}"}
        row |= {"PSNR dB": f"{psnr:.2f}", "s": f"{seconds:.1f}"}
        row |= {curve: text(at_rate(points, bpp)) for curve, points in curves.items()}
        table.append(row)
    deltas = {name: bd_rate(curve, mine) for name, curve in {"release 0.1": BEFORE, **curves}.items()}
    told = ", ".join(f"{name} {delta:+.1f} %" for name, delta in deltas.items() if delta is not None)
    write_table(
        "kodak.md",
        "Kodak",
        "Whole files, PSNR of the decoded PNG files, means over images. The other columns are the PSNR of other codecs "
        "at the same rate, linear in the logarithm of the rate between their points (mean rate and mean PSNR over "
        "images for a fixed setting); – is outside their range. Seconds of whole commands, one on each "
        f"core. BD-rate (linear in the logarithm of the rate over the common range of PSNR): {told}.",
        table,
    )


def bd_rate(anchor: Curve, mine: Curve) -> float | None:
    """Average difference in rate at equal PSNR over the range that both cover, in percent; negative is less rate."""
    low = max(min(p for _, p in anchor), min(p for _, p in mine))
    high = min(max(p for _, p in anchor), max(p for _, p in mine))
    if high <= low:
        return None
    grid = np.linspace(low, high, 200)
    logs = []
    for curve in (anchor, mine):
        rates, psnrs = zip(*sorted(curve), strict=True)
        logs.append(np.interp(grid, psnrs, np.log(rates)))
    return float(100 * (np.exp(np.mean(logs[1] - logs[0])) - 1))


def known_rows() -> dict[tuple[str, str, str], dict[str, object]]:
    path = RESULTS / "kodak.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if "quality" in row]
    return {(row["image"], row["quality"], row["prior_id"]): dict(row) for row in rows}


def measure(image: Path, quality: int, prior: priors.AnyPrior, jobs: int) -> dict[str, object]:
    """Encode and decode with the command line and measure the files."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "x.cmb", Path(folder) / "x.png"
        threads = ["--threads", "1"] if jobs > 1 else []
        clock = time.perf_counter()
        combiner("encode", image, "-o", coded, "-q", quality, *threads)
        seconds = time.perf_counter() - clock
        combiner("decode", coded, "-o", decoded)
        original = media.read_signal(image)
        return {
            "image": image.stem,
            "quality": quality,
            "prior_id": f"{prior.id:08x}",
            "bytes": coded.stat().st_size,
            "bpp": round(metrics.bits_per_pixel(coded.stat().st_size, original.shape), 5),
            "psnr": round(metrics.psnr(original, media.read_signal(decoded)), 4),
            "seconds": round(seconds, 2),
        }


def combiner(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "combiner_cli", *map(str, arguments)], check=True, capture_output=True)


def baseline(images: list[Path], settings: list[dict[str, object]]) -> Curve:
    """Mean rate and mean PSNR over images for each setting of one of Pillow's encoders."""
    points = []
    for options in settings:
        results = []
        for path in images:
            with Image.open(path) as image:
                colour = image.convert("RGB")
            buffer = BytesIO()
            colour.save(buffer, **options)
            with Image.open(BytesIO(buffer.getvalue())) as coded:
                decoded = Signal("image", np.asarray(coded.convert("RGB")))
            original = Signal("image", np.asarray(colour))
            rate = metrics.bits_per_pixel(len(buffer.getvalue()), original.shape)
            results.append((rate, metrics.psnr(original, decoded)))
        points.append(tuple(round(float(value), 5) for value in np.mean(results, axis=0)))
    return points


if __name__ == "__main__":
    main()
