"""Photographs: whole files of the command line at nine rates, beside other codecs run here and published curves.

    python benchmarks/kodak.py kodak/ --published published_curves.json --name kodak --jobs 2
    python benchmarks/kodak.py kodak/ --baselines
    python benchmarks/kodak.py kodak/ --crops crops.png --crop-images kodim05 kodim23@300,120

Encoding takes a while: what results/NAME.csv already holds for an image, a rate and a prior is not computed again, and
the tables and the plot are written after every rate. The other codecs are measured once: results/NAME_baselines.csv.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, at_once, processor, published, read_csv, timed, write_csv, write_table
from matplotlib import pyplot
from matplotlib.ticker import MultipleLocator
from PIL import Image, ImageDraw, ImageFont

from combiner_cli.bench import measures
from combiner_cli.bench.codecs import images as baselines_images
from combiner_cli.bench.codecs.baselines import Options, curve_of, nearest, setting_text
from combiner_cli.bench.curves import LEAST_OVERLAP, LEAST_POINTS, Curve, at_rate, bd_rate, decibels
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import signed, text
from combiner_cli.codec import goals
from combiner_cli.media import files as media
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

# bits per pixel, most of them rates of RECOMBINER's published points, in an order that is of use when interrupted
RATES = (0.316, 0.13, 0.972, 0.05, 0.488, 0.18, 1.567, 0.075, 0.75)
CROP_RATES = (0.1, 0.3, 0.6)

Rows = dict[tuple[str, str, str], dict[str, object]]

CODECS = baselines_images.codecs()
# what the tables show: at every rate the best of a codec's ways
FAMILIES = {codec.title: codec for codec in CODECS.values()}
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
CROP_CODECS = ("JPEG", "WebP", "AVIF")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of PNG or lossless WebP images")
    parser.add_argument("--published", type=Path, help="published curves of the data set NAME, if there are")
    parser.add_argument("--name", default="kodak", help="of the data set and of the results")
    parser.add_argument("--jobs", type=int, default=1, help="images at once, one thread each if more than one")
    parser.add_argument("--baselines", action="store_true", help="measure only the other codecs")
    parser.add_argument("--crops", type=Path, metavar="OUT.png", help="write only a picture of crops")
    parser.add_argument("--crop-images", nargs="+", default=(), metavar="NAME[@X,Y]", help="what it shows, and where")
    parser.add_argument("--crop-size", type=int, default=192, help="side of a crop in pixels")
    parser.add_argument("--crop-rates", type=float, nargs="+", default=CROP_RATES, help="bits per pixel")
    parser.add_argument("--crop-codecs", nargs="+", choices=CROP_CODECS, default=CROP_CODECS, help="beside combiner")
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.data.iterdir() if path.suffix in (".png", ".webp"))
    if not images:
        raise SystemExit(f"{arguments.data} holds no PNG and no WebP image")
    torch.set_num_threads(1)  # only MS-SSIM is computed here, beside commands that have the cores
    if arguments.crops:
        wanted = [crop_of(word, images) for word in arguments.crop_images]
        crops(arguments.crops, wanted, arguments.crop_size, arguments.crop_rates, arguments.crop_codecs)
        return
    baselines = measure_baselines(images, f"{arguments.name}_baselines.csv", arguments.jobs)
    if arguments.baselines:
        return
    peers = published_curves(arguments.published, arguments.name) if arguments.published else {}
    rows = known_rows(arguments.name)
    failures = 0
    for rate in RATES:
        missing = [image for image in images if key(image, rate) not in rows]
        failures += measure_rate(missing, rate, arguments.name, rows, arguments.jobs)
        if missing or rate == RATES[-1]:
            report(images, arguments.name, rows, baselines, peers)
    if failures:
        raise SystemExit(f"{failures} of the commands failed; run again for what is missing")


# Measuring


def known_rows(name: str) -> Rows:
    """What was measured before; a file of another layout counts for nothing."""
    return {(row["image"], row["rate"], row["prior_id"]): dict(row) for row in read_csv(f"{name}.csv") if "jobs" in row}


def measure_rate(images: Sequence[Path], rate: float, name: str, rows: Rows, jobs: int) -> int:
    """Measure images at a rate, keep every row at once, and count the commands that failed."""
    failures = 0
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {pool.submit(measure, image, rate, jobs): image for image in images}
        for task in as_completed(tasks):
            image = tasks[task]
            try:
                row = task.result()
            except subprocess.CalledProcessError as error:
                failures += 1
                print(f"{image.stem} at {rate} bpp: {error.stderr.strip()}", file=sys.stderr, flush=True)
                continue
            rows[key(image, rate)] = row
            write_csv(f"{name}.csv", [rows[known] for known in sorted(rows, key=by_image_and_rate)])
            print(row, flush=True)
    return failures


@functools.cache
def planned_prior(shape: tuple[int, ...], rate: float) -> tuple[str, str]:
    """Name and id of the prior that the command takes for images of a shape at a rate."""
    blank = Signal("image", np.zeros((*shape, 3), np.uint8))
    prior, _ = goals.plan(blank, goals.Goal(bits_per_pixel=rate), None)
    return prior.name, f"{prior.id:08x}"


@functools.cache
def shape_of(image: Path) -> tuple[int, ...]:
    return media.read_signal(image).shape


def key(image: Path, rate: float) -> tuple[str, str, str]:
    return image.stem, str(rate), planned_prior(shape_of(image), rate)[1]


def by_image_and_rate(known: tuple[str, str, str]) -> tuple[str, str, float]:
    image, rate, prior_id = known
    return prior_id, image, float(rate)


def measure(image: Path, rate: float, jobs: int) -> dict[str, object]:
    """Encode and decode with the command line and measure the files."""
    prior, prior_id = planned_prior(shape_of(image), rate)
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "x.cmb", Path(folder) / "x.png"
        threads = 1 if jobs > 1 else None
        facts, encode_seconds = encode(image, coded, rate, threads)
        if facts["prior"] != prior:
            raise RuntimeError(f"the command took {facts['prior']} where {prior} was planned")
        _, decode_seconds = timed("decode", coded, "-o", decoded, threads=threads)
        return {
            "image": image.stem,
            "rate": rate,
            "prior": prior,
            "prior_id": prior_id,
            "bytes": coded.stat().st_size,
            **measured(media.read_signal(image), media.read_signal(decoded), coded.stat().st_size),
            "encode_s": round(encode_seconds, 2),
            "decode_s": round(decode_seconds, 2),
            "jobs": jobs,
        }


def encode(image: Path, coded: Path, rate: float, threads: int | None) -> tuple[dict[str, object], float]:
    limit = [] if threads is None else ["--threads", threads]
    return timed("encode", image, "-o", coded, "--bpp", rate, "--device", "cpu", *limit, threads=threads)


def measured(original: Signal, decoded: Signal, size: int) -> dict[str, float]:
    """Rate and quality of one file."""
    return {
        "bpp": round(metrics.bits_per_pixel(size, original.shape), 5),
        "psnr": round(metrics.psnr(original, decoded), 4),
        SIMILARITY.column: round(SIMILARITY.of(original, decoded), 6),
    }


# Other codecs


def measure_baselines(images: Sequence[Path], name: str, jobs: int) -> list[dict[str, object]]:
    """Means over the images for every setting of the other codecs; what the file holds is not measured again."""
    ways = [way for codec in CODECS.values() for way in codec.ways.items()]
    wanted = {(title, setting_text(options)): options for title, settings in ways for options in settings}
    rows: dict[tuple[str, str], dict[str, object]] = {
        (row["codec"], row["setting"]): dict(row)
        for row in read_csv(name)
        if "setting" in row and row["images"] == str(len(images))
    }
    for (title, setting), options in wanted.items():
        if (title, setting) in rows:
            continue
        row = {"codec": title, "setting": setting, "images": len(images), **mean_of_setting(images, options, jobs)}
        rows[title, setting] = row
        write_csv(name, [rows[known] for known in wanted if known in rows])
        print(row, flush=True)
    return [rows[known] for known in wanted]


def mean_of_setting(images: Sequence[Path], options: Options, jobs: int) -> dict[str, float]:
    """Mean rate and quality over images for one setting of one of Pillow's encoders."""

    def one(path: Path) -> dict[str, float]:
        original = media.read_signal(path)
        coded = baselines_images.code(original, options)
        return measured(original, coded.decoded, len(coded.data))

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, images))
    return {column: round(float(np.mean([result[column] for result in results])), 6) for column in results[0]}


def family(baselines: Sequence[dict[str, object]], title: str, column: str) -> Curve:
    """The curve of a codec: at every rate the best of its ways; MS-SSIM in dB."""
    measure = {"psnr": measures.PSNR, "msssim": SIMILARITY}[column]
    return curve_of(baselines, FAMILIES[title].ways, measure, "bpp", scaled=True)


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


def point(rate: float, rows: Sequence[dict[str, object]]) -> Point:
    def column(name: str, middle: Callable[[list[float]], np.floating] = np.mean) -> float:
        return float(middle([float(row[name]) for row in rows]))

    seconds = column("encode_s", np.median), column("decode_s", np.median)
    return Point(rate, len(rows), column("bpp"), column("psnr"), column("msssim"), *seconds)


def report(
    images: Sequence[Path],
    name: str,
    rows: Rows,
    baselines: Sequence[dict[str, object]],
    peers: dict[str, Curve],
) -> None:
    """Write the tables and the plot of what has been measured so far."""
    used, points = [], []
    for rate in sorted(RATES):
        current = [rows[known] for image in images if (known := key(image, rate)) in rows]
        if current:
            used += current
            points.append(point(rate, current))
    if not used:
        return
    others = {title: family(baselines, title, "psnr") for title in FAMILIES} | peers
    write_rates(name, points, others, used, bool(peers))
    # a mean over some of the images is no point of a curve over all
    whole = [point for point in points if point.images == len(images)]
    similar = {title: family(baselines, title, "msssim") for title in FAMILIES}
    write_deltas(name, whole, others, similar)
    plot(RESULTS / f"{name}.png", name, [(point.bpp, point.psnr) for point in whole], others, peers)


def write_rates(
    name: str, points: Sequence[Point], others: dict[str, Curve], used: Sequence[dict[str, object]], peers: bool
) -> None:
    table = []
    for own in points:
        row = {"rate": own.rate, "images": own.images, "bpp": f"{own.bpp:.4f}", "PSNR dB": f"{own.psnr:.2f}"}
        row |= {"MS-SSIM": f"{own.msssim:.4f}", "encode s": f"{own.encode:.1f}", "decode s": f"{own.decode:.1f}"}
        row |= {title: text(at_rate(curve, own.bpp)) for title, curve in others.items()}
        table.append(row)
    chosen = ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in used}))
    notes = (
        "Every image is encoded to the rate (`combiner encode --bpp`) and decoded by the command line. Weighed are "
        "whole files; PSNR (peak 255, over all samples of an image) and MS-SSIM are those of the decoded 8-bit PNG "
        f"files, means over the images. Prior: {chosen}. Seconds are medians of whole commands, start-up included, "
        f"{at_once(used)}, on {os.cpu_count()} cores of {processor()}, no GPU. The other columns are the PSNR of other "
        "codecs at the same weighed rate, linear in the logarithm of the rate between their points (mean rate and mean "
        "PSNR over images for a fixed setting); – is outside their range. JPEG (optimised tables), JPEG 2000, WebP "
        f"(method 6) and AVIF (4:4:4, speed {baselines_images.AVIF_SPEED}) were run here through Pillow, whole files; "
        "JPEG is the better of 4:2:0 and 4:4:4 at each rate, AVIF the better of the tunings iq and psnr. The same rate "
        "for every image, as here and with JPEG 2000, gives a higher mean PSNR at a mean rate than the same quality "
        "setting for every image does, as with JPEG, WebP and AVIF: some tenths of a dB are in favour of the former. "
    )
    notes += "The columns after AVIF are published curves." if peers else ""
    write_table(f"{name}.md", name.capitalize(), notes.strip(), table)


def write_deltas(name: str, own: Sequence[Point], others: dict[str, Curve], similar: dict[str, Curve]) -> None:
    """Write the BD-rates, by PSNR and where it is known by MS-SSIM."""
    psnrs = [(point.bpp, point.psnr) for point in own]
    similarities = [(point.bpp, decibels(point.msssim)) for point in own]
    table = []
    for title, curve in others.items():
        delta = bd_rate(curve, psnrs)
        by_similarity = bd_rate(similar[title], similarities).percent if title in similar else None
        row = {"beside": title, "BD-rate by PSNR %": signed(delta.percent), "range dB": span(delta)}
        table.append({**row, "BD-rate by MS-SSIM %": signed(by_similarity)})
    write_table(
        f"{name}_bd.md",
        f"{name.capitalize()}: BD-rates",
        "How much more (+) or less (−) rate combiner takes than each other codec for the same quality, on average over "
        "the range of quality that both cover: Akima interpolation (package bjontegaard) through the points of "
        f"{name}.md and those of the other codec; MS-SSIM in dB, −10 log10(1 − MS-SSIM). – is where they share less "
        f"than {LEAST_OVERLAP:g} dB or have fewer than {LEAST_POINTS} points, or where no MS-SSIM is published.",
        table,
    )


# Pictures


def plot(path: Path, name: str, own: Curve, others: dict[str, Curve], peers: dict[str, Curve]) -> None:
    """PSNR over the rate; published curves are dashed."""
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    figure, axes = pyplot.subplots(figsize=(10, 7), dpi=100)
    colours = [*pyplot.get_cmap("tab10").colors, "navy", "deeppink", "darkgreen"]
    low, high = min(RATES) * 0.9, max(RATES) * 1.15
    seen = [psnr for curve in (own, *others.values()) for rate, psnr in curve if low <= rate <= high]
    for colour, (title, curve) in zip(itertools.cycle(colours), others.items(), strict=False):
        style = "--" if title in peers else "-"
        axes.plot(*zip(*curve, strict=True), style, color=colour, linewidth=1.6, label=title)
    if own:
        axes.plot(*zip(*own, strict=True), "o-", color="black", linewidth=3, markersize=7, label="combiner", zorder=5)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(seen) - 0.5, max(seen) + 0.5)
    ticks = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 1.5)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=12)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(MultipleLocator(2))
    axes.tick_params("y", labelsize=12)
    axes.set_xlabel("bits per pixel", fontsize=13)
    axes.set_ylabel("PSNR, dB", fontsize=13)
    axes.set_title(f"{name.capitalize()}: whole files; published curves dashed" if peers else name.capitalize())
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", fontsize=11)
    figure.tight_layout()
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    # few colours, so a palette holds them and the file is a third
    Image.open(buffer).convert("RGB").quantize(96).save(path, optimize=True)


def crop_of(word: str, images: Sequence[Path]) -> tuple[Path, tuple[int, int] | None]:
    """An image by its name, and the corner of the crop if it is given."""
    name, _, corner = word.partition("@")
    found = [image for image in images if image.stem == name]
    if not found:
        raise SystemExit(f"there is no image called {name}")
    if not corner:
        return found[0], None
    left, top = (int(number) for number in corner.split(","))
    return found[0], (left, top)


def crops(
    path: Path,
    wanted: Sequence[tuple[Path, tuple[int, int] | None]],
    side: int,
    rates: Sequence[float],
    codecs: Sequence[str],
) -> None:
    """Draw crops of the original and of the codecs beside each other, a row per image and rate."""
    if not wanted:
        raise SystemExit("name the images of the crops with --crop-images")
    gap, label = 6, 42
    rows = [row for image, corner in wanted for row in crop_rows(image, corner, side, rates, codecs)]
    width, height = len(rows[0]) * (side + gap) + gap, len(rows) * (side + label + gap) + gap
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for down, row in enumerate(rows):
        for across, (words, pixels) in enumerate(row):
            left, top = gap + across * (side + gap), gap + down * (side + label + gap)
            draw.multiline_text((left, top), words, "black", font)
            canvas.paste(Image.fromarray(pixels), (left, top + label))
    canvas.save(path)
    print(f"{path}: {width} × {height}")


def crop_rows(
    image: Path, corner: tuple[int, int] | None, side: int, rates: Sequence[float], codecs: Sequence[str]
) -> list[list[tuple[str, np.ndarray]]]:
    """Labelled crops of one image at all rates."""
    original = media.read_signal(image)
    height, width = original.shape
    left, top = corner or ((width - side) // 2, (height - side) // 2)
    if not (0 <= left <= width - side and 0 <= top <= height - side):
        raise SystemExit(f"a crop of {side} pixels at {left},{top} is not inside {image.name}, {width} × {height}")

    def labelled(title: str, size: int, decoded: Signal) -> tuple[str, np.ndarray]:
        facts = f"{metrics.bits_per_pixel(size, original.shape):.3f} bpp"
        facts += f", {metrics.psnr(original, decoded):.2f} dB"
        return f"{title}\n{facts}", cut(decoded)

    def cut(signal: Signal) -> np.ndarray:
        return np.ascontiguousarray(signal.samples[top : top + side, left : left + side])

    rows = []
    for rate in rates:
        row = [(f"{image.stem}\noriginal", cut(original))]
        for title in codecs:
            coded = nearest(FAMILIES[title], original, round(rate * original.points / 8))
            row.append(labelled(title, len(coded.data), coded.decoded))
        rows.append([*row, labelled("combiner", *combiner_file(image, rate))])
    return rows


def combiner_file(image: Path, rate: float) -> tuple[int, Signal]:
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "x.cmb", Path(folder) / "x.png"
        encode(image, coded, rate, 1)
        timed("decode", coded, "-o", decoded, threads=1)
        return coded.stat().st_size, media.read_signal(decoded)


if __name__ == "__main__":
    main()
