"""Photographs by PSNR: whole files of the command line beside codecs run here and published curves.

    python benchmarks/kodak.py kodak/ --published published_curves.json --name kodak --jobs 2
    python benchmarks/kodak.py kodak/ --baselines

Files at one rate for all images (--bpp), as with RECOMBINER, COIN and JPEG 2000, are coded here. Those at one setting for
all images, as other codecs are used and measured, are those with --tune psnr that perceptual.py has put into
results/perceptual_NAME.csv. Each is compared with codecs of its convention alone (kodak_codecs.py).

Encoding takes a while: what results/NAME.csv already holds for an image, a rate and a prior is not computed again, and
the tables and the plot are written after every rate. The other codecs are measured once: results/NAME_baselines.csv.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from common import COMBINER, RESULTS, number, processor, read_csv, there_and_back, write_table
from comparisons import draw_curves, save_figure
from kodak_codecs import PUBLISHED, RATE, SETTING, codecs, conventions, words
from matplotlib import pyplot
from matplotlib.ticker import MultipleLocator
from sweeps import Sweep, means_of_settings, measured_settings

from combiner_cli.bench import curves, measures
from combiner_cli.bench.codecs.baselines import Codec, Options, curve_of
from combiner_cli.bench.curves import Curve, at_rate, decibels
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import Row, signed, text
from combiner_cli.media import files as media
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

# bits per pixel, most of them rates of RECOMBINER's published points, in an order that is of use when interrupted
RATES = (0.316, 0.13, 0.972, 0.05, 0.488, 0.18, 1.567, 0.075, 0.75)
COLUMNS = (0.075, 0.13, 0.316, 0.488, 0.75, 0.972, 1.567)  # rates of the table of all codecs
OWN_SETTINGS = "combiner psnr"  # as perceptual.py calls them
SIMILARITY = replace(measures.MS_SSIM, column="msssim")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of PNG or lossless WebP images")
    parser.add_argument("--published", type=Path, help="published curves of the data set NAME, if there are")
    parser.add_argument("--name", default="kodak", help="of the data set and of the results")
    parser.add_argument("--prior", default="photo-8", help="one for all images, as for other codecs")
    parser.add_argument("--jobs", type=int, default=1, help="images at once, one thread each if more than one")
    parser.add_argument("--baselines", action="store_true", help="measure only the other codecs")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="bits per pixel of the files at one rate")
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.data.iterdir() if path.suffix in (".png", ".webp"))
    if not images:
        raise SystemExit(f"{arguments.data} holds no PNG and no WebP image")
    torch.set_num_threads(1)  # only MS-SSIM is computed here, beside commands that have the cores
    others = measured_baselines(images, f"{arguments.name}_baselines.csv", arguments.jobs)
    if arguments.baselines:
        return
    published = published_curves(arguments.published, arguments.name) if arguments.published else {}
    peers = [*measured_peers(others), *published_peers(published)]
    paths = {path.stem: path for path in images}
    threads = 1 if arguments.jobs > 1 else None
    sweep = Sweep(
        name=arguments.name,
        item="image",
        unit="bits_per_pixel",
        rates=arguments.rates,
        formats={name: media.read_signal(path).format for name, path in paths.items()},
        measure=lambda name, rate: measure(paths[name], rate, threads, arguments.prior),
        jobs=arguments.jobs,
        prior=arguments.prior,
    )
    sweep.run(("encode_cpu_s",), lambda: report(sweep, peers))


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
            "encode_cpu_s": round(encode_seconds, 2),
            "decode_cpu_s": round(decode_seconds, 2),
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
    paths = {path.stem: path for path in images}
    return means_of_settings(
        measured_settings(name, "image", paths, codecs().values(), ("psnr",), measure_baseline, jobs)
    )


def measure_baseline(codec: Codec, path: Path, options: Options) -> Row:
    """Rate, quality and processor time of one file by another encoder."""
    torch.set_num_threads(1)
    original = media.read_signal(path)
    begin = processor_seconds()
    coded = codec.encode(original, options)
    encoded = processor_seconds()
    codec.decode(coded.data, original)
    decode_seconds = processor_seconds() - encoded  # which encoders do once, too
    return {
        **measured(original, coded.decoded, len(coded.data)),
        "encode_cpu_s": round(encoded - begin - decode_seconds, 3),
        "decode_cpu_s": round(decode_seconds, 3),
    }


def processor_seconds() -> float:
    """Of this process and the programs that it has run."""
    return sum(os.times()[:4])


# Curves


@dataclass(frozen=True)
class Peer:
    """Another codec's curves.

    Attributes:
        title: its name.
        convention: one setting or one rate for all images.
        psnr: its curve.
        similarity: by MS-SSIM in dB; ``None`` where it is not known.
        seconds: of the processor to encode and to decode an image, medians over the settings; ``None`` likewise.
        published: whether it was measured elsewhere.
    """

    title: str
    convention: str
    psnr: Curve
    similarity: Curve | None = None
    seconds: tuple[float, float] | None = None
    published: bool = True


def measured_peers(rows: Sequence[Row]) -> Iterator[Peer]:
    """Codecs that ran here."""
    for title, codec in codecs().items():
        psnr, similarity = (
            curve_of(rows, codec.ways, measure, "bpp", scaled=True) for measure in (measures.PSNR, SIMILARITY)
        )
        timed = [row for row in rows if row["codec"] in codec.ways and row.get("encode_cpu_s")]
        seconds = tuple(
            float(np.median([number(row, f"{what}_cpu_s") for row in timed])) for what in ("encode", "decode") if timed
        )
        yield Peer(title, conventions()[title], psnr, similarity, seconds or None, published=False)  # type: ignore[arg-type]


def published_curves(path: Path, name: str) -> dict[str, Curve]:
    """The published curves that there are on a data set."""
    known = curves.published(path, name)
    missing = {published.method for published in PUBLISHED.values()} - set(known)
    if missing:
        print(f"no curve of {', '.join(sorted(missing))} on {name} in {path}", file=sys.stderr)
    return {title: known[one.method] for title, one in PUBLISHED.items() if one.method in known}


def published_peers(known: Mapping[str, Curve]) -> Iterator[Peer]:
    """Codecs whose curves were published."""
    for title, curve in known.items():
        yield Peer(title, PUBLISHED[title].convention, curve)


@dataclass(frozen=True)
class Point:
    """Means over the images at one setting or rate.

    Attributes:
        asked: what was asked for, in words.
        images: that the means are over.
        bpp: of the weighed files.
        psnr: in dB.
        msssim: 1 for equal images.
        encode: median processor seconds of the encoding command; ``None`` where they were not taken.
        decode: likewise of the decoding command.
    """

    asked: str
    images: int
    bpp: float
    psnr: float
    msssim: float
    encode: float | None
    decode: float | None


def points_at_rates(sweep: Sweep) -> list[Point]:
    """Of all rates that are known of some images."""
    return [point(f"--bpp {rate:g}", rows) for rate in sorted(sweep.rates) if (rows := sweep.at(rate))]


def points_at_settings(name: str) -> list[Point]:
    """Of all settings that perceptual.py has measured with --tune psnr."""
    by_setting: dict[str, list[Row]] = {}
    for row in read_csv(f"perceptual_{name}.csv"):
        if row["codec"] == OWN_SETTINGS:
            renamed = {"bpp": row["rate"], "psnr": row["psnr"], SIMILARITY.column: row["ms_ssim"]}
            by_setting.setdefault(row["setting"], []).append(renamed)
    return [point(f"setting of {rate} bpp", by_setting[rate]) for rate in sorted(by_setting, key=float)]


def point(asked: str, rows: Sequence[Row]) -> Point:
    """Means over the images."""
    means = [float(np.mean([number(row, name) for row in rows])) for name in ("bpp", "psnr", SIMILARITY.column)]
    seconds = [median(rows, f"{what}_cpu_s") for what in ("encode", "decode")]
    return Point(asked, len(rows), means[0], means[1], means[2], seconds[0], seconds[1])


def median(rows: Sequence[Row], column: str) -> float | None:
    """Of a column; ``None`` where not all rows have it."""
    known = [number(row, column) for row in rows if row.get(column)]
    return float(np.median(known)) if len(known) == len(rows) else None


# Tables


def report(sweep: Sweep, peers: Sequence[Peer]) -> None:
    """Write the tables and the plot of what has been measured so far."""
    points = {SETTING: points_at_settings(sweep.name), RATE: points_at_rates(sweep)}
    if not any(points.values()):
        return
    write_points(sweep, points)
    # a mean over some of the images is no point of a curve over all
    own = {
        convention: [point for point in some if point.images == len(sweep.formats)]
        for convention, some in points.items()
    }
    write_comparisons(sweep.name, own, peers)
    write_all_curves(sweep.name, own, peers)
    plot(RESULTS / f"{sweep.name}.png", sweep.name, own, peers)


def psnr_curve(points: Sequence[Point]) -> Curve:
    """PSNR over the rate."""
    return [(point.bpp, point.psnr) for point in points]


def write_points(sweep: Sweep, points: Mapping[str, Sequence[Point]]) -> None:
    table = [
        {
            "one … for all images": convention,
            "asked for": point.asked,
            "images": point.images,
            "bpp": f"{point.bpp:.4f}",
            "PSNR dB": f"{point.psnr:.2f}",
            "MS-SSIM": f"{point.msssim:.4f}",
            "encode s": text(point.encode, 1),
            "decode s": text(point.decode, 1),
        }
        for convention in points
        for point in points[convention]
    ]
    used = [row for rate in sweep.rates for row in sweep.at(rate)]
    chosen = ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in used}))
    notes = (
        "Files with --tune psnr, at one setting for all images, that which gives a typical image the rate (those of "
        f"perceptual_{sweep.name}.md), and of the command line at one rate for all images. Weighed are whole files; PSNR (peak 255, over all samples of an image) and MS-SSIM are those of the decoded "
        f"8-bit PNG files, means over the images. Prior: {chosen}. Seconds are medians of the processor time of whole "
        f"commands, start-up and the encoder's own check included, beside other work on {os.cpu_count()} cores of "
        f"{processor()}; – where they were not taken."
    )
    write_table(f"{sweep.name}.md", sweep.name.capitalize(), notes, table)


def write_comparisons(name: str, own: Mapping[str, Sequence[Point]], peers: Sequence[Peer]) -> None:
    """The BD-rates, each in its peer's convention; what is better comes first."""
    lines: list[tuple[float, Row]] = []
    for peer in peers:
        points = own[peer.convention]
        delta = curves.bd_rate(peer.psnr, psnr_curve(points))
        similarities = [(point.bpp, decibels(point.msssim)) for point in points]
        by_similarity = curves.bd_rate(peer.similarity, similarities).percent if peer.similarity else None
        encode, decode = peer.seconds or (None, None)
        row = {
            "beside": peer.title,
            "one … for all images": peer.convention,
            "BD-rate by PSNR %": signed(delta.percent),
            "range dB": span(delta),
            "BD-rate by MS-SSIM %": signed(by_similarity),
            "its encoder s": text(encode),
            "its decoder s": text(decode),
        }
        lines.append((-1e9 if delta.percent is None else delta.percent, row))
    lines.sort(key=lambda line: -line[0])
    notes = (
        f"How much more (+) or less (−) rate {COMBINER} takes than the codec beside it for the same quality, on "
        "average over the range of quality that both cover: Akima interpolation (package bjontegaard); the better "
        "codecs first. Most codecs are measured at one setting for all images, and so is this program beside them; beside those "
        f"of one rate for all images it has one rate, too (--bpp), which gives a higher mean PSNR at a mean rate. – is "
        f"where they share less than {curves.LEAST_OVERLAP:g} dB or have fewer than {curves.LEAST_POINTS} points, or "
        "where nothing is known: then the curve was published, and not measured here. MS-SSIM is in dB, "
        f"−10 log10(1 − MS-SSIM). {words()} Their seconds are of the processor in one process, without start-up, "
        "beside other work, medians over all settings and images."
    )
    write_table(f"{name}_bd.md", f"{name.capitalize()}: BD-rates", notes, [row for _, row in lines])


def write_all_curves(name: str, own: Mapping[str, Sequence[Point]], peers: Sequence[Peer]) -> None:
    """PSNR of all codecs at some rates, the better ones first."""
    lines = [Peer(f"**{COMBINER}**", convention, psnr_curve(own[convention])) for convention in own if own[convention]]
    anchor = psnr_curve(own[SETTING])
    lines += peers
    gains = {}
    for peer in lines:
        delta = curves.bd_rate(anchor, peer.psnr).percent if anchor else None
        gains[peer.title, peer.convention] = 1e9 if delta is None else delta
    lines.sort(key=lambda peer: gains[peer.title, peer.convention])
    table = [
        {"codec": peer.title, "one … for all images": peer.convention}
        | {f"{rate:g} bpp": text(at_rate(peer.psnr, rate)) for rate in COLUMNS}
        for peer in lines
    ]
    notes = (
        "PSNR in dB of all codecs at some rates, linear in the logarithm of the rate between their points; – is "
        "outside of their range. Only rows of one convention can be compared: one rate for all images gives a higher mean "
        "than one setting does. The better ones come first, by the rate that they take beside this program's one setting "
        f"for all images. Measured here are {', '.join(peer.title for peer in peers if not peer.published)}; the "
        "other curves were published."
    )
    write_table(f"{name}_peers.md", f"{name.capitalize()}: all codecs", notes, table)


# Pictures


def plot(path: Path, name: str, own: Mapping[str, Sequence[Point]], peers: Sequence[Peer]) -> None:
    """PSNR over the rate, a panel for each convention; published curves are dashed."""
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    figure, panels = pyplot.subplots(1, 2, figsize=(16, 8), dpi=90, sharey=True)
    shown = {"VTM 19.1", "Cool-chic 5.0", "HPCM-Large", "ELIC", "BPG 4:4:4", "hyperprior 2018", "AVIF 4:4:4, speed 2"}
    shown |= {"JPEG XL, effort 9", "WebP", "JPEG"}
    for axes, (convention, points) in zip(panels, own.items(), strict=True):
        some = [peer for peer in peers if peer.convention == convention]
        some = [peer for peer in some if convention == RATE or peer.title in shown or not points]
        named = {peer.title: peer.psnr for peer in some}
        dashed = [peer.title for peer in some if peer.published]
        if not named and not points:
            continue
        draw_curves(
            axes, named, psnr_curve(points), dashed, (min(RATES), max(RATES)), (0.05, 0.1, 0.2, 0.3, 0.5, 1, 1.5)
        )
        axes.yaxis.set_major_locator(MultipleLocator(2))
        axes.tick_params("y", labelsize=12)
        axes.set_xlabel("bits per pixel", fontsize=13)
        axes.set_title(f"{name.capitalize()}, one {convention} for all images; published curves dashed")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="upper left", fontsize=10)
    panels[0].set_ylabel("PSNR, dB", fontsize=13)
    figure.tight_layout()
    save_figure(figure, path, 96)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
