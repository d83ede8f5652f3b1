"""Both tunes beside other codecs, by measures of what people perceive: files weighed, decoded files measured.

    python benchmarks/perceptual.py kodak/ --names kodim01 kodim05 --side 512 --name perceptual_photographs
    python benchmarks/perceptual.py speech/test --first 12 --seconds 3 --name perceptual_speech
    python benchmarks/perceptual.py music/ --first 8 --seconds 6 --name perceptual_music --rates 32 48 64 96 128

Images are measured beside AVIF in its usual tune, 4:4:4 and 4:2:0, and JPEG XL where the package pillow-jxl-plugin is
there; sounds beside Opus. Every row is in results/NAME.csv as soon as it is measured, and is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from common import read_csv, write_csv, write_table
from PIL import features

from combiner_cli.bench import curves, measures
from combiner_cli.bench.codecs import images, sounds
from combiner_cli.bench.codecs.baselines import Options, setting_text
from combiner_cli.bench.curves import Curve
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.tables import Row, signed
from combiner_cli.codec import goals, pipeline
from combiner_cli.container.file import File
from combiner_cli.family import Target
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.kinds import Tune
from combiner_cli.signals.signal import Signal

IMAGE_MEASURES = (measures.SSIMULACRA_2, measures.MS_SSIM, measures.PSNR)
SPEECH_MEASURES = (measures.ESTOI, measures.PESQ, measures.VISQOL, measures.SNR)
SOUND_MEASURES = (measures.VISQOL, measures.LSD, measures.SNR)
UNITS = {"pesq": 10.0, "visqol": 10.0}  # of scales that are about a dB
BITS_PER_PIXEL = (0.4, 0.1, 1.0, 0.2, 1.5, 0.6)
KILOBITS = (12, 6, 24, 9, 32, 18)
TUNES: tuple[Tune, ...] = ("perceptual", "psnr")
AVIF_SPEED = 4
AVIF_QUALITIES = (10, 22, 35, 50, 65, 78, 88)
JXL_QUALITIES = (15, 30, 50, 65, 80, 90)
OPUS_ORDER = (3, 0, 6, 1, 5, 2, 4)  # of the lowest of its settings


@dataclass(frozen=True, eq=False)
class Way:
    """A codec with one setting.

    Attributes:
        codec: its title.
        setting: in words.
        code: gives the bytes of a file and what it decodes to.
    """

    codec: str
    setting: str
    code: Callable[[Signal], tuple[int, Signal]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images or recordings")
    parser.add_argument("--names", nargs="+", default=(), help="of the signals, without suffix; all of them")
    parser.add_argument("--first", type=int, help="take only so many, spread over all")
    parser.add_argument("--side", type=int, help="take only the middle of images, pixels")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a recording, from its beginning")
    parser.add_argument("--rates", type=float, nargs="+", help="bits per pixel, or kbit/s")
    parser.add_argument("--without", nargs="+", default=(), help="columns of measures to leave out: visqol takes long")
    parser.add_argument("--prior", help="name or file; the usual choice")
    parser.add_argument("--label", default="", help="put behind the name of combiner, of other priors")
    parser.add_argument("--name", default="perceptual", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signals = dict(chosen(arguments))
    one = next(iter(signals.values()))
    rows: dict[tuple[str, str, str], Row] = {
        (row["codec"], row["setting"], row["signal"]): row for row in read_csv(f"{arguments.name}.csv")
    }
    of = [measure for measure in measures_of(one) if measure.column not in arguments.without]
    for way in ways(one, arguments):
        for name, signal in signals.items():
            key = way.codec, way.setting, name
            if key not in rows:
                size, decoded = way.code(signal)
                rows[key] = row(way, name, signal, size, decoded, of)
                write_csv(f"{arguments.name}.csv", list(rows.values()))
        print(way.codec, way.setting, flush=True)
        report(arguments, list(rows.values()), of, len(signals), one)


def measures_of(signal: Signal) -> Sequence[Measure]:
    """What is measured of a kind of signal."""
    if signal.kind == "image":
        return IMAGE_MEASURES
    return SPEECH_MEASURES if signal.sample_rate == measures.SPEECH_RATE else SOUND_MEASURES


def chosen(arguments: argparse.Namespace) -> Iterator[tuple[str, Signal]]:
    """The signals that are measured, by name."""
    suffixes = (".png", ".webp", ".flac", ".wav")
    paths = sorted(path for path in arguments.data.rglob("*") if path.suffix in suffixes)
    if arguments.names:
        paths = [path for path in paths if path.stem in arguments.names]
    signals = {path.stem: media.read_signal(path) for path in paths}
    names = [name for name, signal in signals.items() if seconds_of(signal) >= arguments.seconds]
    if arguments.first:
        places = np.linspace(0, len(names) - 1, min(arguments.first, len(names))).round().astype(int)
        names = [names[place] for place in places]
    for name in names:
        signal = signals[name]
        if signal.kind == "sound":
            length = round(arguments.seconds * (signal.sample_rate or 1))
            signal = Signal("sound", signal.samples[:length].copy(), signal.sample_rate, signal.bit_depth)
        elif arguments.side:
            top, left = ((size - arguments.side) // 2 for size in signal.shape)
            middle = signal.samples[top : top + arguments.side, left : left + arguments.side]
            signal = Signal("image", middle.copy(), None, signal.bit_depth)
        yield name, signal


def seconds_of(signal: Signal) -> float:
    """How long a sound is; an image is for ever."""
    return signal.points / signal.sample_rate if signal.sample_rate else float("inf")


def ways(one: Signal, arguments: argparse.Namespace) -> Iterator[Way]:
    """All codecs and settings, in an order that is of use when interrupted."""
    image = one.kind == "image"
    peers = image_peers() if image else sound_peers()
    rates = arguments.rates or (BITS_PER_PIXEL if image else KILOBITS)
    for place in range(max(len(rates), len(peers))):
        for tune in TUNES if place < len(rates) else ():
            yield combiner_way(rates[place], tune, image, arguments.prior, arguments.label)
        yield from peers[place : place + 1]


def combiner_way(rate: float, tune: Tune, image: bool, prior_name: str | None, label: str) -> Way:
    """Files of a rate."""

    def code(signal: Signal) -> tuple[int, Signal]:
        target = Target("bits_per_pixel" if image else "kilobits_per_second", rate, tune)
        plan = goals.plan(signal, target, library.find(prior_name) if prior_name else None)
        data = pipeline.encode(signal, plan.prior, plan.target, verify=False).data
        return len(data), pipeline.decode(File.parse(data), lambda _: plan.prior)

    return Way(f"combiner {tune}{label}", f"{rate:g}", code)


def image_peers() -> list[Way]:
    """AVIF and JPEG XL, from the middle of their qualities outwards."""
    found = []
    for quality in sorted(AVIF_QUALITIES, key=lambda quality: abs(quality - 50)):
        for sampling in ("4:4:4", "4:2:0"):
            options = {"format": "AVIF", "speed": AVIF_SPEED, "subsampling": sampling, "quality": quality}
            found.append(pillow_way(f"AVIF {sampling}", quality, {**options, "max_threads": 1}))
    with suppress(ImportError):
        import_module("pillow_jxl")  # Pillow knows the format then

        for quality in sorted(JXL_QUALITIES, key=lambda quality: abs(quality - 50)):
            found.append(pillow_way("JPEG XL", quality, {"format": "JXL", "quality": quality, "effort": 7}))
    return found


def pillow_way(title: str, quality: int, options: dict[str, object]) -> Way:
    """A codec of Pillow."""

    def code(signal: Signal) -> tuple[int, Signal]:
        coded = images.code(signal, options)
        return len(coded.data), coded.decoded

    return Way(title, f"quality {quality}", code)


def sound_peers() -> list[Way]:
    """Opus, from the middle of its rates outwards."""

    def way(options: Options) -> Way:
        def code(signal: Signal) -> tuple[int, Signal]:
            coded = sounds.code(signal, options)
            return len(coded.data), coded.decoded

        return Way("Opus", setting_text(options), code)

    settings = sounds.codecs()["opus"].ways["Opus"][: len(OPUS_ORDER)]
    return [way(settings[place]) for place in OPUS_ORDER]


def row(way: Way, name: str, signal: Signal, size: int, decoded: Signal, of: Sequence[Measure]) -> Row:
    """Rate and quality of one file."""
    rate = 8 * size / signal.points
    if signal.sample_rate:
        rate *= signal.sample_rate / 1000
    qualities = {measure.column: round(measure.of(signal, decoded) or 0.0, 5) for measure in of}
    facts = {"codec": way.codec, "setting": way.setting, "signal": name, "bytes": size, "rate": round(rate, 5)}
    return {**facts, **qualities}


def curve_of(points: Sequence[dict[str, float]], measure: Measure) -> Curve:
    """Rates, and a measure in which the curve is about straight, in units of about a dB."""
    unit = UNITS.get(measure.column, 1.0)
    return [(point["rate"], unit * measure.scale(point[measure.column])) for point in points]


def report(arguments: argparse.Namespace, rows: Sequence[Row], of: Sequence[Measure], count: int, one: Signal) -> None:
    """Write the means and the BD-rates of what is known."""
    points: dict[str, list[dict[str, float]]] = {}
    settings = dict.fromkeys((str(row["codec"]), str(row["setting"])) for row in rows)
    for codec, setting in settings:
        some = [row for row in rows if (row["codec"], row["setting"]) == (codec, setting)]
        if len(some) == count:
            names = ("rate", *(measure.column for measure in of))
            mean = {name: float(np.mean([float(str(row[name])) for row in some])) for name in names}
            points.setdefault(codec, []).append(mean)
    unit = "bpp" if one.kind == "image" else "kbit/s"
    table = [
        {"codec": codec, unit: f"{point['rate']:.3f}" if one.kind == "image" else f"{point['rate']:.2f}"}
        | {measure.title: f"{point[measure.column]:.{measure.digits}f}" for measure in of}
        for codec, some in sorted(points.items())
        for point in sorted(some, key=lambda point: point["rate"])
    ]
    what = f"the middle {arguments.side} by {arguments.side} pixels" if arguments.side else "whole images"
    if one.kind == "sound":
        what = f"the first {arguments.seconds:g} s of recordings"
    notes = (
        f"{count} signals, {what}; means over them. Whole files are weighed and decoded files are measured. "
        f"AVIF: Pillow with libavif {features.version('avif')}, speed {AVIF_SPEED}, its usual tune. "
        if one.kind == "image"
        else f"{count} signals, {what}; means over them. Whole files are weighed, those of Ogg with headers and pages, "
        "and decoded files are measured. "
    )
    notes += " ".join(measure.words for measure in of)
    title = arguments.name.replace("_", " ").capitalize()
    write_table(f"{arguments.name}.md", title, notes, table)
    deltas = []
    for codec in sorted(name for name in points if name.startswith("combiner")):
        for anchor in sorted(name for name in points if name != codec):
            cells = {"codec": codec, "beside": anchor}
            for measure in of:
                pair = (curve_of(points[name], measure) for name in (anchor, codec))
                cells[f"{measure.title} %"] = signed(curves.bd_rate(*pair).percent)
            deltas.append(cells)
    if deltas:
        notes = (
            "How much more (+) or less (−) rate a codec takes than the one beside it for the same quality, on average "
            "over what both cover: Akima interpolation of the means."
        )
        write_table(f"{arguments.name}_bd.md", f"{title}: BD-rates", notes, deltas)


if __name__ == "__main__":
    main()
