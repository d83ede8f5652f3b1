"""Photographs: whole files of the command line at nine rates, beside other codecs run here and published curves.

    python benchmarks/kodak.py kodak/ --published published_curves.json --name kodak --jobs 2
    python benchmarks/kodak.py kodak/ --baselines

Encoding takes a while: what results/NAME.csv already holds for an image, a rate and a prior is not computed again, and
the tables and the plot are written after every rate. The other codecs are measured once: results/NAME_baselines.csv.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from common import (
    COMBINER,
    RESULTS,
    Beside,
    Sweep,
    at_once,
    draw_curves,
    mean_of_rows,
    measured_settings,
    number,
    processor,
    published,
    save_figure,
    there_and_back,
    write_deltas,
    write_table,
)
from matplotlib import pyplot
from matplotlib.ticker import MultipleLocator

from combiner_cli.bench import measures
from combiner_cli.bench.codecs import images as codecs_of_images
from combiner_cli.bench.codecs.baselines import Options, curve_of
from combiner_cli.bench.curves import Curve, at_rate, decibels
from combiner_cli.bench.tables import Row, text
from combiner_cli.media import files as media
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

# bits per pixel, most of them rates of RECOMBINER's published points, in an order that is of use when interrupted
RATES = (0.316, 0.13, 0.972, 0.05, 0.488, 0.18, 1.567, 0.075, 0.75)

# what the tables show: at every rate the best of a codec's ways
CODECS = {codec.title: codec for codec in codecs_of_images.codecs().values()}
SIMILARITY = replace(measures.MS_SSIM, column="msssim")
PEERS = {
    "COIN": "COIN",
    "COIN++": "COIN++",
    "MSCN": "MSCN",
    "RECOMBINER": "RECOMBINER",
    "JPEG 2000, published": "JPEG2000",
    "BPG 4:4:4": "BPG_444_dense",
    "hyperprior 2018": "bmshj2018-hyperprior",
    "Cool-chic 5.0": "Cool-chic_5.0",
    "VTM 19.1": "VTM-19.1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of PNG or lossless WebP images")
    parser.add_argument("--published", type=Path, help="published curves of the data set NAME, if there are")
    parser.add_argument("--name", default="kodak", help="of the data set and of the results")
    parser.add_argument("--prior", default="photo-8", help="one for all images, as for other codecs")
    parser.add_argument("--jobs", type=int, default=1, help="images at once, one thread each if more than one")
    parser.add_argument("--baselines", action="store_true", help="measure only the other codecs")
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.data.iterdir() if path.suffix in (".png", ".webp"))
    if not images:
        raise SystemExit(f"{arguments.data} holds no PNG and no WebP image")
    torch.set_num_threads(1)  # only MS-SSIM is computed here, beside commands that have the cores
    others = measured_baselines(images, f"{arguments.name}_baselines.csv", arguments.jobs)
    if arguments.baselines:
        return
    peers = published_curves(arguments.published, arguments.name) if arguments.published else {}
    paths = {path.stem: path for path in images}
    threads = 1 if arguments.jobs > 1 else None
    sweep = Sweep(
        name=arguments.name,
        item="image",
        unit="bits_per_pixel",
        rates=RATES,
        formats={name: media.read_signal(path).format for name, path in paths.items()},
        measure=lambda name, rate: measure(paths[name], rate, threads, arguments.prior),
        jobs=arguments.jobs,
        prior=arguments.prior,
    )
    sweep.run(("jobs",), lambda: report(sweep, others, peers))


# Measuring


def measure(image: Path, rate: float, threads: int | None, prior: str) -> Row:
    """Encode and decode with the command line and measure the files."""
    with tempfile.TemporaryDirectory() as folder:
        decoded = Path(folder) / "x.png"
        facts, encode_seconds, decode_seconds = there_and_back(image, ("--bpp", rate), decoded, threads, prior)
        size = int(str(facts["bytes"]))
        return {
            "prior": facts["prior"],
            "bytes": size,
            **measured(media.read_signal(image), media.read_signal(decoded), size),
            "encode_s": round(encode_seconds, 2),
            "decode_s": round(decode_seconds, 2),
        }


def measured(original: Signal, decoded: Signal, size: int) -> dict[str, float]:
    """Rate and quality of one file."""
    return {
        "bpp": round(metrics.bits_per_pixel(size, original.shape), 5),
        "psnr": round(metrics.psnr(original, decoded), 4),
        SIMILARITY.column: round(measures.multiscale_similarity(original, decoded) or 0.0, 6),
    }


# Other codecs


def measured_baselines(images: Sequence[Path], name: str, jobs: int) -> list[Row]:
    """Means over the images for every setting of the other codecs; what the file holds is not measured again."""

    def mean(options: Options) -> Row:
        return mean_of_setting(images, options, jobs)

    return measured_settings(name, CODECS.values(), ("images", len(images)), ("setting",), mean)


def mean_of_setting(images: Sequence[Path], options: Options, jobs: int) -> dict[str, float]:
    """Mean rate and quality over images for one setting of one of Pillow's encoders."""

    def one(path: Path) -> dict[str, float]:
        original = media.read_signal(path)
        coded = codecs_of_images.code(original, options)
        return measured(original, coded.decoded, len(coded.data))

    with ThreadPoolExecutor(jobs) as pool:
        return mean_of_rows(list(pool.map(one, images)))


def curve_of_codec(baselines: Sequence[Row], title: str, column: str) -> Curve:
    """The curve of a codec: at every rate the best of its ways; MS-SSIM in dB."""
    measure = {"psnr": measures.PSNR, "msssim": SIMILARITY}[column]
    return curve_of(baselines, CODECS[title].ways, measure, "bpp", scaled=True)


def published_curves(path: Path, name: str) -> dict[str, Curve]:
    """The published curves that there are on a data set."""
    curves = {}
    for title, method in PEERS.items():
        try:
            curves[title] = published(path, method, name)
        except KeyError:
            print(f"no curve of {method} on {name} in {path}", file=sys.stderr)
    return curves


# Tables


@dataclass(frozen=True)
class Point:
    """Means over the images at one rate.

    Attributes:
        rate: that was asked for.
        images: that the means are over.
        bpp: of the weighed files.
        psnr: in dB.
        msssim: 1 for equal images.
        encode: median seconds of the encoding command.
        decode: median seconds of the decoding command.
    """

    rate: float
    images: int
    bpp: float
    psnr: float
    msssim: float
    encode: float
    decode: float


def point(rate: float, rows: Sequence[Row]) -> Point:
    def column(name: str, middle: Callable[[list[float]], np.floating] = np.mean) -> float:
        return float(middle([number(row, name) for row in rows]))

    seconds = column("encode_s", np.median), column("decode_s", np.median)
    return Point(rate, len(rows), column("bpp"), column("psnr"), column("msssim"), *seconds)


def report(sweep: Sweep, baselines: Sequence[Row], peers: dict[str, Curve]) -> None:
    """Write the tables and the plot of what has been measured so far."""
    by_rate = {rate: rows for rate in sorted(sweep.rates) if (rows := sweep.at(rate))}
    if not by_rate:
        return
    points = [point(rate, rows) for rate, rows in by_rate.items()]
    others = {title: curve_of_codec(baselines, title, "psnr") for title in CODECS} | peers
    write_rates(sweep.name, points, others, [row for rows in by_rate.values() for row in rows], bool(peers))
    # a mean over some of the images is no point of a curve over all
    whole = [point for point in points if point.images == len(sweep.formats)]
    psnrs = [(point.bpp, point.psnr) for point in whole]
    similarities = [(point.bpp, decibels(point.msssim)) for point in whole]
    comparisons = [
        Beside(
            COMBINER,
            title,
            (curve, psnrs),
            (curve_of_codec(baselines, title, "msssim"), similarities) if title in CODECS else None,
        )
        for title, curve in others.items()
    ]
    write_deltas(sweep.name, "MS-SSIM", comparisons, "MS-SSIM is in dB, −10 log10(1 − MS-SSIM).")
    plot(RESULTS / f"{sweep.name}.png", sweep.name, psnrs, others, peers)


def write_rates(name: str, points: Sequence[Point], others: dict[str, Curve], used: Sequence[Row], peers: bool) -> None:
    table = [
        {
            "rate": point.rate,
            "images": point.images,
            "bpp": f"{point.bpp:.4f}",
            "PSNR dB": f"{point.psnr:.2f}",
            "MS-SSIM": f"{point.msssim:.4f}",
            "encode s": f"{point.encode:.1f}",
            "decode s": f"{point.decode:.1f}",
            **{title: text(at_rate(curve, point.bpp)) for title, curve in others.items()},
        }
        for point in points
    ]
    chosen = ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in used}))
    notes = (
        "Every image is encoded to the rate (`combiner encode --bpp`) and decoded by the command line. Weighed are "
        "whole files; PSNR (peak 255, over all samples of an image) and MS-SSIM are those of the decoded 8-bit PNG "
        f"files, means over the images. Prior: {chosen}. Seconds are medians of whole commands, start-up included, "
        f"{at_once(used)}, on {os.cpu_count()} cores of {processor()}, no GPU. The other columns are the PSNR of other "
        "codecs at the same weighed rate, linear in the logarithm of the rate between their points (mean rate and mean "
        "PSNR over images for a fixed setting); – is outside their range. JPEG (optimised tables), JPEG 2000, WebP "
        f"(method 6) and AVIF (4:4:4, speed {codecs_of_images.AVIF_SPEED}) were run here through Pillow, whole files; "
        "JPEG is the better of 4:2:0 and 4:4:4 at each rate, AVIF the better of the tunings iq and psnr. The same rate "
        "for every image, as here and with JPEG 2000, gives a higher mean PSNR at a mean rate than the same quality "
        "setting for every image does, as with JPEG, WebP and AVIF: some tenths of a dB are in favour of the former. "
    )
    notes += "The columns after AVIF are published curves." if peers else ""
    write_table(f"{name}.md", name.capitalize(), notes.strip(), table)


# Pictures


def plot(path: Path, name: str, combiner: Curve, others: dict[str, Curve], peers: dict[str, Curve]) -> None:
    """PSNR over the rate; published curves are dashed."""
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    figure, axes = pyplot.subplots(figsize=(10, 7), dpi=100)
    draw_curves(axes, others, combiner, peers, (min(RATES), max(RATES)), (0.05, 0.1, 0.2, 0.3, 0.5, 1, 1.5))
    axes.yaxis.set_major_locator(MultipleLocator(2))
    axes.tick_params("y", labelsize=12)
    axes.set_xlabel("bits per pixel", fontsize=13)
    axes.set_ylabel("PSNR, dB", fontsize=13)
    axes.set_title(f"{name.capitalize()}: whole files; published curves dashed" if peers else name.capitalize())
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", fontsize=11)
    figure.tight_layout()
    save_figure(figure, path, 96)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
