"""Both tunes beside other codecs, by measures of what people perceive: files weighed, decoded files measured.

    python benchmarks/perceptual.py kodak/ --name perceptual_kodak --jobs 2
    python benchmarks/perceptual.py speech/test --seconds 3 --name perceptual_speech_short
    python benchmarks/perceptual.py music/ --first 8 --seconds 6 --rates 24 32 48 64 96 128 --name perceptual_music

Images are measured beside AVIF in its usual tuning, 4:4:4 and 4:2:0, JPEG XL where the package pillow-jxl-plugin is
there, WebP and JPEG; sounds beside Opus, MP3 and Vorbis. What is in results/NAME.csv is not measured again.
"""

from __future__ import annotations

import argparse
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import PIL
import soundfile
import torch
from common import read_csv, write_csv, write_table
from PIL import features

from combiner_cli.bench import curves, measures
from combiner_cli.bench.codecs import images, sounds
from combiner_cli.bench.codecs.baselines import Options, setting_text
from combiner_cli.bench.curves import Curve
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.tables import Row, signed
from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.family import Target
from combiner_cli.media import files as media
from combiner_cli.priors import library, selection
from combiner_cli.signals.kinds import Tune
from combiner_cli.signals.signal import Signal

IMAGE_MEASURES = (measures.SSIMULACRA_2, measures.MS_SSIM, measures.PSNR)
SPEECH_MEASURES = (measures.ESTOI, measures.PESQ, measures.VISQOL, measures.SNR)
SOUND_MEASURES = (measures.VISQOL, measures.LSD, measures.SNR)
BITS_PER_PIXEL = (0.1, 0.15, 0.22, 0.33, 0.5, 0.7, 1.0, 1.5)
KILOBITS = (6, 8, 11, 15, 20, 27, 36, 48)
TUNES: tuple[Tune, ...] = ("perceptual", "psnr")
AVIF_SPEED = 2
AVIF_QUALITIES = (8, 18, 30, 42, 55, 67, 78, 87)
JXL_EFFORT = 9
JXL_QUALITIES = (5, 15, 30, 45, 60, 72, 82, 90)
OPUS_SETTINGS = 11  # from 6 to 48 kbit/s
NOT_MEASURED = ("codec", "setting", "signal", "bytes", "rate", "packet_rate")  # columns
SAVED = 8  # files after which results are written


@dataclass(frozen=True)
class Way(ABC):
    """A codec with one setting.

    Attributes:
        codec: its title.
        setting: in words.
    """

    codec: str
    setting: str

    @abstractmethod
    def code(self, signal: Signal) -> tuple[int, int, Signal]:
        """The bytes of a file, those without what a container has around them, and what the file decodes to."""

    def key(self, name: str) -> tuple[str, str, str]:
        """What a row is known by.

        Args:
            name: of the signal.
        """
        return self.codec, self.setting, name


@dataclass(frozen=True)
class OwnWay(Way):
    """Files of this program, all of one rate of a typical signal.

    Attributes:
        rate: bits per pixel or kbit/s.
        tune: of the files.
        prior_name: or file; the usual choice where it is ``None``.
    """

    rate: float
    tune: Tune
    prior_name: str | None

    def code(self, signal: Signal) -> tuple[int, int, Signal]:
        per_point = self.rate * 1000 / signal.sample_rate if signal.sample_rate else self.rate
        target = Target("rate", per_point, self.tune)
        prior = library.find(self.prior_name) if self.prior_name else selection.by_format(signal.format, target)[0]
        data = pipeline.encode(signal, prior, target, verify=False).data
        return len(data), len(data), pipeline.decode(File.parse(data), lambda _: prior)


@dataclass(frozen=True, eq=False)
class PeerWay(Way):
    """Files of another codec.

    Attributes:
        options: of Pillow or of libsndfile.
    """

    options: Options

    def code(self, signal: Signal) -> tuple[int, int, Signal]:
        if signal.kind == "image":
            with suppress(ImportError):
                import_module("pillow_jxl")
            coded = images.code(signal, self.options)
            return len(coded.data), len(coded.data), coded.decoded
        coded = sounds.code(signal, self.options)
        return len(coded.data), sounds.packet_bytes(coded.data, self.options), coded.decoded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images or recordings")
    parser.add_argument("--names", nargs="+", default=(), help="of the signals, without suffix; all of them")
    parser.add_argument("--first", type=int, help="take only so many, spread over all")
    parser.add_argument("--side", type=int, help="take only the middle of images, pixels")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of a recording, from its beginning; all")
    parser.add_argument("--rates", type=float, nargs="+", help="bits per pixel, or kbit/s")
    parser.add_argument("--without", nargs="+", default=(), help="columns of measures to leave out: visqol takes long")
    parser.add_argument("--prior", help="name or file; the usual choice")
    parser.add_argument("--label", default="", help="put behind the name of combiner, of other priors")
    parser.add_argument("--only", nargs="+", default=("",), help="beginnings of the codecs to measure now; all")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--name", default="perceptual", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signals = dict(chosen(arguments))
    one = next(iter(signals.values()))
    rows: dict[tuple[str, str, str], Row] = {
        (row["codec"], row["setting"], row["signal"]): row for row in read_csv(f"{arguments.name}.csv")
    }
    of = [measure for measure in measures_of(one) if measure.column not in arguments.without]
    if rows and {measure.column for measure in of} != set(next(iter(rows.values()))) - set(NOT_MEASURED):
        parser.error(f"results/{arguments.name}.csv has other measures: take another --name")
    work = [(way, name) for way in ways(one, arguments) for name in signals if way.key(name) not in rows]
    with ProcessPoolExecutor(arguments.jobs) as processes:
        running = {processes.submit(measured, way, name, signals[name], of): way.key(name) for way, name in work}
        for number, done in enumerate(as_completed(running), 1):
            rows[running[done]] = done.result()
            print(f"{number}/{len(running)}", *running[done], flush=True)
            if number % SAVED == 0 or number == len(running):
                write_csv(f"{arguments.name}.csv", list(rows.values()))
    report(arguments, list(rows.values()), of, list(signals), one)


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
    least = arguments.seconds if arguments.seconds < math.inf else 0.0
    names = [name for name, signal in signals.items() if seconds_of(signal) >= least]
    if arguments.first:
        places = np.linspace(0, len(names) - 1, min(arguments.first, len(names))).round().astype(int)
        names = [names[place] for place in places]
    for name in names:
        signal = signals[name]
        if signal.kind == "sound" and arguments.seconds < math.inf:
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
    """All codecs and settings that are asked for."""
    image = one.kind == "image"
    known: list[Way] = []
    for rate in arguments.rates or (BITS_PER_PIXEL if image else KILOBITS):
        for tune in TUNES:
            known.append(OwnWay(f"combiner {tune}{arguments.label}", f"{rate:g}", rate, tune, arguments.prior))
    known.extend(image_peers() if image else sound_peers())
    return (way for way in known if way.codec.startswith(tuple(arguments.only)))


def image_peers() -> Iterator[PeerWay]:
    """Other codecs of images at their best, each from the middle of its qualities outwards."""
    for sampling in ("4:4:4", "4:2:0"):
        options = {"format": "AVIF", "speed": AVIF_SPEED, "subsampling": sampling, "max_threads": 1}
        yield from peer_ways(f"AVIF {sampling}", images.at_qualities(options, AVIF_QUALITIES))
    with suppress(ImportError):
        import_module("pillow_jxl")  # Pillow knows the format then
        yield from peer_ways("JPEG XL", images.at_qualities({"format": "JXL", "effort": JXL_EFFORT}, JXL_QUALITIES))
    for name in ("webp", "jpeg"):
        for title, settings in images.codecs()[name].ways.items():
            yield from peer_ways(title, settings[::2])


def sound_peers() -> Iterator[PeerWay]:
    """Other codecs of sounds, each from the middle of its settings outwards."""
    for name, most in (("opus", OPUS_SETTINGS), ("mp3", None), ("vorbis", None)):
        for title, settings in sounds.codecs()[name].ways.items():
            yield from peer_ways(title, settings[:most])


def peer_ways(title: str, settings: Sequence[Options]) -> Iterator[PeerWay]:
    """The settings of a codec from the middle outwards."""
    middle = (len(settings) - 1) / 2
    for place in sorted(range(len(settings)), key=lambda place: abs(place - middle)):
        yield PeerWay(title, setting_text(settings[place]), dict(settings[place]))


def measured(way: Way, name: str, signal: Signal, of: Sequence[Measure]) -> Row:
    """Rate and quality of one file."""
    torch.set_num_threads(1)
    size, packets, decoded = way.code(signal)
    per_byte = 8 / signal.points * ((signal.sample_rate or 1000) / 1000)
    facts = {"codec": way.codec, "setting": way.setting, "signal": name, "bytes": size}
    rates = {"rate": round(per_byte * size, 5), "packet_rate": round(per_byte * packets, 5)}
    return facts | rates | {measure.column: round(measure.of(signal, decoded) or 0.0, 5) for measure in of}


Curves = dict[str, dict[str, list[dict[str, float]]]]  # points by codec and signal, or "mean"


def curves_of(rows: Sequence[Row], of: Sequence[Measure], names: Sequence[str]) -> Curves:
    """The points of all codecs, for each signal and on average; a setting counts once all signals are measured.

    Args:
        rows: that are known.
        of: what was measured.
        names: of the signals.
    """
    columns = ("rate", *(measure.column for measure in of))
    found: Curves = {}
    by_setting: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        by_setting.setdefault((str(row["codec"]), str(row["setting"])), {})[str(row["signal"])] = row
    for (codec, _), some in by_setting.items():
        if set(names) - set(some):
            continue
        for title, rate in ((codec, "rate"), (f"{codec}, packets", "packet_rate")):
            if rate != "rate" and all(some[name][rate] == some[name]["rate"] for name in names):
                continue  # it has no container
            points = {
                name: {column: float(str(some[name][rate if column == "rate" else column])) for column in columns}
                for name in names
            }
            points["mean"] = {
                column: float(np.mean([point[column] for point in points.values()])) for column in columns
            }
            for name, point in points.items():
                found.setdefault(title, {}).setdefault(name, []).append(point)
    return found


def curve_of(points: Sequence[dict[str, float]], measure: Measure) -> Curve:
    """Rates, and a measure in which the curve is about straight."""
    return [(point["rate"], measure.scale(point[measure.column])) for point in points]


def report(
    arguments: argparse.Namespace, rows: Sequence[Row], of: Sequence[Measure], names: list[str], one: Signal
) -> None:
    """Write the means and the BD-rates of what is known."""
    found = curves_of(rows, of, names)
    unit, digits = ("bpp", 3) if one.kind == "image" else ("kbit/s", 2)
    table = [
        {"codec": codec, unit: f"{point['rate']:.{digits}f}"}
        | {measure.title: f"{point[measure.column]:.{measure.digits}f}" for measure in of}
        for codec, of_signals in sorted(found.items())
        for point in sorted(of_signals["mean"], key=lambda point: point["rate"])
    ]
    words = " ".join(measure.words for measure in of)
    title = arguments.name.replace("_", " ").capitalize()
    head = (
        f"{len(names)} signals, {extent(arguments, one)}; means over them. Files are weighed, decoded files measured. "
    )
    write_table(f"{arguments.name}.md", title, head + peer_words(one) + words, table)
    deltas = []
    for codec in sorted(name for name in found if name.startswith("combiner")):
        for anchor in sorted(name for name in found if name != codec):
            cells = {"codec": codec, "beside": anchor}
            for measure in of:
                cells[f"{measure.title} %"] = delta(found, codec, anchor, measure, ["mean"])
                cells[f"{measure.title} % by signal"] = delta(found, codec, anchor, measure, names)
            deltas.append(cells)
    if deltas:
        notes = (
            "How much more (+) or less (−) rate a codec takes than the one beside it for the same quality, on average "
            "over what both cover: Akima interpolation, of the means over all signals and, by signal, of each signal's "
            "own curves, of which the median is given."
        )
        write_table(f"{arguments.name}_bd.md", f"{title}: BD-rates", notes, deltas)


def delta(found: Curves, codec: str, anchor: str, measure: Measure, names: Sequence[str]) -> str:
    """The median of the BD-rates of some curves, in per cent: of curves that hardly overlap they are anything."""
    pairs = [[curve_of(found[some][name], measure) for some in (anchor, codec)] for name in names]
    percents = [curves.bd_rate(other, own, measure.least_overlap).percent for other, own in pairs]
    known = [percent for percent in percents if percent is not None]
    return signed(float(np.median(known)) if len(known) > len(names) / 2 else None)


def extent(arguments: argparse.Namespace, one: Signal) -> str:
    """What of the signals was coded, in words."""
    if one.kind == "sound":
        return (
            f"the first {arguments.seconds:g} s of recordings" if arguments.seconds < math.inf else "whole recordings"
        )
    return f"the middle {arguments.side} by {arguments.side} pixels" if arguments.side else "whole images"


def peer_words(one: Signal) -> str:
    """How other codecs were used."""
    if one.kind == "sound":
        return (
            "All files of this program's curve are of one rate of a typical signal, as the others are of one setting. "
            f"Opus, MP3 and Vorbis: libsndfile {soundfile.__libsndfile_version__}; Ogg files with headers and pages, "
            "and their packets alone. "
        )
    return (
        "All files of a point are of one rate of a typical image, or of one setting. "
        f"AVIF: Pillow {PIL.__version__} with libavif {features.version('avif')}, speed {AVIF_SPEED}, tuning iq; "
        f"JPEG XL: pillow-jxl-plugin, effort {JXL_EFFORT}; WebP: libwebp {features.version('webp')}, method 6; JPEG: "
        "optimised tables. "
    )


if __name__ == "__main__":
    main()
