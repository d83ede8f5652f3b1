"""Pictures to look at: crops of decoded photographs by codec, and curves of what people perceive.

    python benchmarks/pictures.py crops photographs/ astronaut@160,40 chelsea@90,80 --rates 0.1 0.25 0.6 -o crops.png
    python benchmarks/pictures.py curves perceptual_kodak ssimulacra2 -o kodak.png

Files of other codecs are those of the nearest size. Curves are of the means in results/NAME.csv, which perceptual.py
writes. JPEG XL needs the package pillow-jxl-plugin.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import perceptual
from common import COMBINER, read_csv
from comparisons import draw_curves, save_figure
from matplotlib import pyplot
from PIL import Image, ImageDraw, ImageFont

from combiner_cli import api
from combiner_cli.bench import measures
from combiner_cli.bench.codecs import images
from combiner_cli.bench.codecs.baselines import Codec, nearest
from combiner_cli.bench.measures import Measure
from combiner_cli.media import files as media
from combiner_cli.signals import metrics
from combiner_cli.signals.kinds import Tune
from combiner_cli.signals.signal import Signal

Pixels = npt.NDArray[Any]

CROP_RATES = (0.1, 0.25, 0.6)
_GAP, _LABEL, _FONT = 6, 60, 15
_STEP = 3  # between qualities by which a file of a certain size is looked for
_TICKS = (0.1, 0.2, 0.3, 0.5, 1, 1.5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # rates
MEASURES = {
    measure.column: measure
    for measure in (*perceptual.IMAGE_MEASURES, *perceptual.SPEECH_MEASURES, *perceptual.SOUND_MEASURES)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    crops_parser = commands.add_parser("crops", help="of photographs, a row for each and each rate")
    crops_parser.add_argument("data", type=Path, help="folder of PNG or lossless WebP images")
    crops_parser.add_argument("images", nargs="+", metavar="NAME[@X,Y]", help="what is shown, and where; the middle")
    crops_parser.add_argument("--side", type=int, default=192, help="of a crop in pixels")
    crops_parser.add_argument("--rates", type=float, nargs="+", default=CROP_RATES, help="bits per pixel")
    crops_parser.add_argument("--codecs", nargs="+", default=("JPEG", "AVIF", "JPEG XL"), help="beside combiner")
    crops_parser.add_argument("--tune", choices=perceptual.TUNES, help="the usual one")
    crops_parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    crops_parser.set_defaults(make=crops)
    curves_parser = commands.add_parser("curves", help="of means over signals")
    curves_parser.add_argument("name", help="of the results of perceptual.py")
    curves_parser.add_argument("measure", choices=MEASURES)
    curves_parser.add_argument("--codecs", nargs="+", help="that are drawn; all")
    curves_parser.add_argument("--tune", choices=perceptual.TUNES, default="perceptual", help="of the thick curve")
    curves_parser.add_argument("--unit", default="bits per pixel", help="of rates")
    curves_parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")
    curves_parser.set_defaults(make=curves)
    arguments = parser.parse_args()
    arguments.make(arguments)


def crops(arguments: argparse.Namespace) -> None:
    """Draw crops of the original and of the codecs beside each other, a row per image and rate."""
    rows = [
        row
        for word in arguments.images
        for row in crop_rows(arguments.data, word, arguments.side, arguments.rates, arguments.codecs, arguments.tune)
    ]
    side = arguments.side
    width, height = len(rows[0]) * (side + _GAP) + _GAP, len(rows) * (side + _LABEL + _GAP) + _GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT)
    for down, row in enumerate(rows):
        for across, (words, pixels) in enumerate(row):
            left, top = _GAP + across * (side + _GAP), _GAP + down * (side + _LABEL + _GAP)
            draw.multiline_text((left, top), words, "black", font)
            canvas.paste(Image.fromarray(pixels), (left, top + _LABEL))
    canvas.save(arguments.output, optimize=True)
    print(f"{arguments.output}: {width} × {height}")


def crop_rows(
    folder: Path, word: str, side: int, rates: Sequence[float], codecs: Sequence[str], tune: Tune | None
) -> list[list[tuple[str, Pixels]]]:
    """Labelled crops of one image at all rates.

    Args:
        folder: of the images.
        word: name of the image and, behind an ``@``, the corner of the crop.
        side: of the crop, pixels.
        rates: bits per pixel.
        codecs: titles of other codecs.
        tune: of the files of this program.
    """
    name, _, corner = word.partition("@")
    original = media.read_signal(next(path for path in sorted(folder.iterdir()) if path.stem == name))
    height, width = original.shape
    left, top = map(int, corner.split(",")) if corner else ((width - side) // 2, (height - side) // 2)
    if not (0 <= left <= width - side and 0 <= top <= height - side):
        raise SystemExit(f"a crop of {side} pixels at {left},{top} is not inside {name}, {width} × {height}")

    def cut(signal: Signal) -> Pixels:
        return np.ascontiguousarray(signal.samples[top : top + side, left : left + side])

    def labelled(title: str, size: int, decoded: Signal) -> tuple[str, Pixels]:
        score = measures.SSIMULACRA_2.of(original, decoded)
        words = f"{metrics.bits_per_pixel(size, original.shape):.3f} bpp\nSSIMULACRA 2 {score:.0f}"
        return f"{title}\n{words}", cut(decoded)

    rows = []
    for rate in rates:
        row = [(f"{name}\noriginal", cut(original))]
        size = round(rate * original.points / 8)
        for title in codecs:
            coded = nearest(peer(title), original, size)
            row.append(labelled(title, len(coded.data), coded.decoded))
        data = api.encode(original, size=size, tune=tune).data
        rows.append([*row, labelled(COMBINER, len(data), api.decode(data))])
    return rows


def peer(title: str) -> Codec:
    """Another codec of images as perceptual.py uses it, by its title."""
    known = {codec.title: codec for codec in images.codecs().values()}
    if title in known and title != "AVIF":
        return known[title]
    ways = [way for way in perceptual.image_peers() if way.codec.startswith(title)]
    if not ways:
        raise SystemExit(f"{title} is not to be had here")
    fine = images.at_qualities(ways[0].options, range(1, 100, _STEP))
    return replace(known["AVIF"], title=title, ways={}, fine=fine)


def curves(arguments: argparse.Namespace) -> None:
    """Draw a measure over the rate, means over all signals."""
    measure = MEASURES[arguments.measure]
    rows = read_csv(f"{arguments.name}.csv")
    names = sorted({str(row["signal"]) for row in rows})
    found = perceptual.curves_of(rows, [measure], names)
    drawn = {codec: points(of["mean"], measure) for codec, of in found.items()}
    own = f"{COMBINER} {arguments.tune}"
    if arguments.codecs:
        drawn = {codec: curve for codec, curve in drawn.items() if codec in (*arguments.codecs, own)}
    thick = drawn.pop(own)
    rates = [rate for rate, _ in thick]
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    figure, axes = pyplot.subplots(figsize=(10, 7), dpi=100)
    inside = [tick for tick in _TICKS if min(rates) * 0.9 <= tick <= max(rates) * 1.15]
    draw_curves(axes, drawn, thick, (), (min(rates), max(rates)), inside)
    axes.tick_params("y", labelsize=12)
    axes.set_xlabel(arguments.unit, fontsize=13)
    axes.set_ylabel(measure.title, fontsize=13)
    axes.set_title(f"{len(names)} signals, means of whole files")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right", fontsize=11)
    figure.tight_layout()
    save_figure(figure, arguments.output, 96)
    pyplot.close(figure)


def points(of_means: Sequence[dict[str, float]], measure: Measure) -> list[tuple[float, float]]:
    """Rates and qualities by increasing rate."""
    return sorted((point["rate"], point[measure.column]) for point in of_means)


if __name__ == "__main__":
    main()
