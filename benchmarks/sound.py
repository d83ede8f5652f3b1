"""What the benchmarks of sound share: files of the command line at some rates, beside other codecs run here.

Encoding takes a while: what results/NAME.csv already holds for a clip, a rate and a prior is not computed again. The
other codecs are measured once for a number of clips: results/NAME_baselines.csv. They are MP3, Vorbis and Opus as
libsndfile has them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sound_comparisons
import soundfile
from common import COMBINER, RESULTS, number, processor, there_and_back, write_table
from comparisons import draw_curves, published, save_figure
from matplotlib import pyplot
from sound_comparisons import CODECS
from sweeps import Sweep, means_of_settings, measured_settings

from combiner_cli.bench.codecs import sounds as codecs_of_sounds
from combiner_cli.bench.codecs.baselines import Codec, Options, nearest
from combiner_cli.bench.curves import Curve, at_rate
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.report.examples import power_levels
from combiner_cli.bench.tables import Row, text
from combiner_cli.media import files as media
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal


@dataclass(frozen=True)
class Study:
    """A benchmark of one kind of sound.

    Attributes:
        name: of the results.
        rates: kbit/s that are asked for, in an order that is of use when interrupted.
        clips: names and originals, by the folder of recordings.
        about: what the clips are, for the notes of tables.
        measure: beside PSNR and SNR.
        peers: titles of published curves to method and data set.
        footing: of the titles of published curves, that of a codec that runs here, too, on other recordings.
        ticks: of the rates in the plot.
        speaker: of a clip, by its name; ``None`` where nobody speaks.
    """

    name: str
    rates: Sequence[float]
    clips: Callable[[Path], dict[str, Signal]]
    about: str
    measure: Measure
    peers: Mapping[str, tuple[str, str]]
    footing: str | None
    ticks: Sequence[float]
    speaker: Callable[[str], str] | None = None


def run(study: Study, description: str | None) -> None:
    """Measure what is missing, and write tables and plots."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of recordings")
    parser.add_argument("--published", type=Path, help="published curves, if there are")
    parser.add_argument("--prior", metavar="NAME|FILE", help="prior to encode with, instead of the usual choice")
    parser.add_argument("--jobs", type=int, default=1, help="clips at once, one thread each if more than one")
    parser.add_argument("--first", type=int, metavar="N", help="take only so many clips, spread over all")
    parser.add_argument("--results", default=study.name, help="name of the results")
    parser.add_argument("--baselines", action="store_true", help="measure only the other codecs")
    parser.add_argument("--spectrogram", type=Path, metavar="OUT.png", help="write only a picture of spectrograms")
    parser.add_argument("--clip", help="that the spectrograms are of, by its name")
    parser.add_argument("--rate", type=float, default=study.rates[0], help="kbit/s of the spectrograms")
    arguments = parser.parse_args()
    clips = study.clips(arguments.data)
    if not clips:
        raise SystemExit(f"{arguments.data} holds no FLAC file that is long enough")
    if arguments.spectrogram:
        spectrograms(arguments.spectrogram, *named(clips, arguments.clip), arguments.rate, arguments.prior)
        return
    if arguments.first:
        chosen = np.linspace(0, len(clips) - 1, min(arguments.first, len(clips))).round()
        clips = dict(list(clips.items())[int(place)] for place in chosen)
    baselines = measured_baselines(study, arguments.results, clips, arguments.jobs)
    if arguments.baselines:
        return
    peers = published_curves(study, arguments.published) if arguments.published else {}
    threads = 1 if arguments.jobs > 1 else None
    sweep = Sweep(
        name=arguments.results,
        item="clip",
        unit="kilobits_per_second",
        rates=study.rates,
        formats={name: clip.format for name, clip in clips.items()},
        measure=lambda name, rate: measure_clip(study, clips[name], rate, threads, arguments.prior),
        jobs=arguments.jobs,
        prior=arguments.prior,
    )
    sweep.run((study.measure.column, "encode_cpu_s"), lambda: report(study, sweep, baselines, peers))


def named(clips: Mapping[str, Signal], name: str | None) -> tuple[str, Signal]:
    if name is None or name not in clips:
        raise SystemExit(f"there is no clip called {name}; name one with --clip, for example {next(iter(clips))}")
    return name, clips[name]


def beginning(signal: Signal, seconds: float) -> Signal:
    """At most the first seconds of a sound."""
    assert signal.sample_rate is not None
    frames = round(seconds * signal.sample_rate)
    return Signal("sound", signal.samples[:frames], signal.sample_rate, signal.bit_depth)


# Other codecs


def measured_baselines(study: Study, name: str, clips: Mapping[str, Signal], jobs: int) -> list[Row]:
    """A row for each clip and every setting, those that are known from before and those that are not."""
    columns = (study.measure.column,)
    measure = partial(measure_baseline, study.measure)
    return measured_settings(f"{name}_baselines.csv", "clip", clips, CODECS.values(), columns, measure, jobs)


def measure_baseline(measure: Measure, codec: Codec, original: Signal, options: Options) -> Row:
    """Rate, quality and speed of one file by one of libsndfile's encoders."""
    coded = codec.encode(original, options)
    packets = codecs_of_sounds.packet_bytes(coded.data, options)
    duration = original.points / (original.sample_rate or 1)
    return {
        "kbps": round(metrics.kilobits_per_second(len(coded.data), original.points, original.sample_rate or 1), 4),
        "packets_kbps": round(metrics.kilobits_per_second(packets, original.points, original.sample_rate or 1), 4),
        **measured(measure, original, coded.decoded),
        "encode_speed": round(duration / coded.encode_seconds, 1),
        "decode_speed": round(duration / coded.decode_seconds, 1),
    }


def measured(measure: Measure, original: Signal, decoded: Signal) -> dict[str, float]:
    return {
        "psnr": round(metrics.psnr(original, decoded), 4),
        "snr": round(metrics.signal_to_noise(original, decoded), 4),
        measure.column: round(measure.of(original, decoded) or 0.0, 6),
    }


def published_curves(study: Study, path: Path) -> dict[str, Curve]:
    return {title: published(path, *place) for title, place in study.peers.items()}


# The command line


def measure_clip(study: Study, clip: Signal, rate: float, threads: int | None, prior: str | None) -> Row:
    """Encode and decode with the command line and measure the files."""
    facts, decoded, encode_seconds, decode_seconds = clip_there_and_back(clip, rate, threads, prior)
    duration = clip.points / (clip.sample_rate or 1)
    return {
        "prior": facts["prior"],
        "seconds": round(duration, 4),
        "bytes": facts["bytes"],
        "kbps": facts["kbps"],
        "payload_kbps": round(8 * int(str(facts["payload_bytes"])) / duration / 1000, 4),
        **measured(study.measure, clip, decoded),
        "encode_cpu_s": round(encode_seconds, 3),
        "decode_cpu_s": round(decode_seconds, 3),
    }


def clip_there_and_back(
    clip: Signal, rate: float, threads: int | None, prior: str | None
) -> tuple[dict[str, object], Signal, float, float]:
    """What the encoding command says of a clip at a rate, the decoded sound, and the seconds of both commands."""
    with tempfile.TemporaryDirectory() as folder:
        source, decoded = Path(folder) / "clip.wav", Path(folder) / "back.wav"
        media.write_signal(clip, source)
        facts, encode_seconds, decode_seconds = there_and_back(source, ("--kbps", rate), decoded, threads, prior)
        return facts, media.read_signal(decoded), encode_seconds, decode_seconds


# Tables


@dataclass(frozen=True)
class Point:
    """Means over the clips at one rate.

    Attributes:
        rate: kbit/s that were asked for.
        clips: that the means are over.
        kbps: of the weighed files.
        payload: kbit/s of the group indices and classes alone.
        psnr: in dB.
        snr: in dB.
        quality: the study's own measure.
        encode: median seconds of the encoding command.
        decode: median seconds of the decoding command.
        encode_speed: times real time, all seconds of sound over all seconds of encoding.
        decode_speed: the same of decoding.
    """

    rate: float
    clips: int
    kbps: float
    payload: float
    psnr: float
    snr: float
    quality: float
    encode: float
    decode: float
    encode_speed: float
    decode_speed: float


def point(rate: float, rows: Sequence[Row], measure: Measure) -> Point:
    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([number(row, name) for row in rows])

    middle = [float(column(name).mean()) for name in ("kbps", "payload_kbps", "psnr", "snr", measure.column)]
    seconds = [float(np.median(column(name))) for name in ("encode_cpu_s", "decode_cpu_s")]
    speeds = [float(column("seconds").sum() / column(name).sum()) for name in ("encode_cpu_s", "decode_cpu_s")]
    return Point(rate, len(rows), *middle, *seconds, *speeds)


def report(study: Study, sweep: Sweep, baselines: Sequence[Row], peers: Mapping[str, Curve]) -> None:
    """Write the tables and the plot of what has been measured so far."""
    by_rate = {rate: rows for rate in sorted(sweep.rates) if (rows := sweep.at(rate))}
    if not by_rate:
        return
    points = [point(rate, rows, study.measure) for rate, rows in by_rate.items()]
    # a mean over some of the clips is no point of a curve over all
    whole = [point for point in points if point.clips == len(sweep.formats)]
    means = means_of_settings(baselines)
    used = [row for rows in by_rate.values() for row in rows]
    write_rates(study, sweep.name, points, means, peers, used)
    write_quality(study, sweep.name, points, means)
    plot(study, sweep.name, whole, means, peers)
    speakers = {name: study.speaker(name) for name in sweep.formats} if study.speaker else None
    own = [row for rate, rows in by_rate.items() if len(rows) == len(sweep.formats) for row in rows]
    sound_comparisons.write(sweep.name, study.measure, own, baselines, speakers)
    if study.footing and peers:
        sound_comparisons.write_footing(sweep.name, study.footing, own, means, peers)


def write_rates(
    study: Study,
    name: str,
    points: Sequence[Point],
    baselines: Sequence[Row],
    peers: Mapping[str, Curve],
    used: Sequence[Row],
) -> None:
    others = {title: sound_comparisons.curve_of_codec(baselines, title) for title in CODECS} | dict(peers)
    table = [
        {
            "rate": f"{point.rate:g}",
            "clips": point.clips,
            "kbit/s": text(point.kbps),
            "payload": text(point.payload),
            "PSNR dB": text(point.psnr),
            "SNR dB": text(point.snr),
            "encode s": text(point.encode),
            "decode s": text(point.decode),
            "encode ×": text(point.encode_speed, 1),
            "decode ×": text(point.decode_speed, 1),
            **{f"{title} PSNR": text(at_rate(curve, point.kbps)) for title, curve in others.items()},
        }
        for point in points
    ]
    chosen = ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in used}))
    notes = (
        f"{study.about} Every clip is encoded to the rate (`combiner encode --kbps`) and decoded by the command line. "
        "kbit/s are those of whole files, payload without their headers. PSNR is of samples mapped to [0, 1], peak 1, "
        "not rounded; it and SNR are those of the decoded 16-bit WAV files, means over the clips. "
        f"Prior: {chosen}. Seconds are medians of the processor time of whole commands, start-up and the encoder's "
        f"own check included, beside other work on {os.cpu_count()} cores of {processor()}; × is seconds of sound over "
        "those of all of them. "
        "The other columns are the PSNR of other codecs at the same rate, linear in the logarithm of the rate between "
        "their points (mean rate and mean PSNR over the clips for a fixed setting); – is outside their range. "
        "The same rate for every clip, as here, gives another mean than the same setting for every clip does, as with "
        f"the others. {words_of_baselines(baselines)}"
    )
    notes += (
        " The columns after Opus are published curves, of other recordings (test-clean): they cannot be compared directly."
        if peers
        else ""
    )
    write_table(f"{name}.md", name.capitalize(), notes, table)


def words_of_baselines(baselines: Sequence[Row]) -> str:
    def speed(title: str, column: str) -> str:
        rows = [row for row in baselines if row["codec"] in CODECS[title].ways]
        return f"{float(np.median([number(row, column) for row in rows])):.0f}"

    def around(title: str) -> str:
        rows = [row for row in baselines if row["codec"] in CODECS[title].ways]
        return f"{float(np.mean([number(row, 'kbps') - number(row, 'packets_kbps') for row in rows])):.1f}"

    speeds = ", ".join(f"{title} {speed(title, 'encode_speed')} and {speed(title, 'decode_speed')}" for title in CODECS)
    return (
        "MP3 (LAME; the best of constant, average and variable bit rate), Vorbis and Opus were run here through "
        f"libsndfile {soundfile.__libsndfile_version__} over the whole range of its settings, with its other settings "
        "as they are (Opus tuned for audio in general). Their rates are those of whole files: the headers and pages of "
        f"Ogg count, {around('Vorbis')} kbit/s of Vorbis and {around('Opus')} kbit/s of Opus with clips as short as "
        "these. Their delay is undone, and samples beyond full scale are clipped. Opus gets sounds of 44.1 kHz "
        "resampled to 48 kHz. Opus takes away the lowest frequencies and MP3 the highest, which bounds their PSNR at "
        "high rates. In one process, without start-up, they encode and decode at these multiples of "
        f"real time: {speeds}."
    )


def write_quality(study: Study, name: str, points: Sequence[Point], baselines: Sequence[Row]) -> None:
    """The study's own measure, of all codecs at the same rates."""
    measure = study.measure
    others = {title: sound_comparisons.curve_of_codec(baselines, title, measure) for title in CODECS}
    table = [
        {
            "kbit/s": text(point.kbps),
            COMBINER: text(point.quality, 3),
            **{title: text(at_rate(curve, point.kbps), 3) for title, curve in others.items()},
        }
        for point in points
    ]
    write_table(
        f"{name}_{measure.column}.md",
        f"{name.capitalize()}: {measure.title}",
        f"{measure.words} Means over the clips of {name}.md, at the same rates of whole files.",
        table,
    )


# Pictures


def plot(
    study: Study, name: str, points: Sequence[Point], baselines: Sequence[Row], peers: Mapping[str, Curve]
) -> None:
    """PSNR and the study's own measure over the rate; published curves are dashed."""
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    figure, panels = pyplot.subplots(1, 2, figsize=(14, 6.5), dpi=90)
    curves = {title: sound_comparisons.curve_of_codec(baselines, title) for title in CODECS} | dict(peers)
    qualities = {title: sound_comparisons.curve_of_codec(baselines, title, study.measure) for title in CODECS}
    spanned = (min(study.rates), max(study.rates))
    draw_curves(panels[0], curves, [(point.kbps, point.psnr) for point in points], peers, spanned, study.ticks)
    draw_curves(panels[1], qualities, [(point.kbps, point.quality) for point in points], (), spanned, study.ticks)
    for axes, title in zip(panels, ("PSNR, dB", study.measure.title), strict=True):
        axes.set_xlabel("kbit/s", fontsize=12)
        axes.set_ylabel(title, fontsize=12)
    panels[0].set_title(f"{name.capitalize()}: whole files" + ("; published curves dashed" if peers else ""))
    panels[0].legend(loc="upper left", fontsize=11)
    figure.tight_layout()
    save_figure(figure, RESULTS / f"{name}.png", 96)
    pyplot.close(figure)


def spectrograms(path: Path, name: str, clip: Signal, rate: float, prior: str | None) -> None:
    """Draw the spectrograms of an original and of what codecs make of it at about the same rate."""
    facts, decoded, _, _ = clip_there_and_back(clip, rate, None, prior)
    sounds = [(f"{name}, original", clip), labelled(COMBINER, clip, int(str(facts["bytes"])), decoded)]
    for title in ("MP3", "Opus"):
        coded = nearest(CODECS[title], clip, round(rate * 1000 / 8 * clip.points / (clip.sample_rate or 1)))
        sounds.append(labelled(title, clip, len(coded.data), coded.decoded))
    pyplot.switch_backend("agg")
    figure, panels = pyplot.subplots(2, 2, figsize=(13, 8), dpi=90, sharex=True, sharey=True, layout="constrained")
    levels = [power_levels(sound) for _, sound in sounds]
    top = levels[0].max()
    for axes, (title, sound), level in zip(panels.flat, sounds, levels, strict=True):
        extent = (0, sound.points / (sound.sample_rate or 1), 0, (sound.sample_rate or 1) / 2000)
        drawn = axes.imshow(level, "magma", vmin=top - 80, vmax=top, origin="lower", aspect="auto", extent=extent)
        axes.set_title(title)
    for axes in panels[1]:
        axes.set_xlabel("s")
    for axes in panels[:, 0]:
        axes.set_ylabel("kHz")
    figure.colorbar(drawn, ax=panels, label="dB")
    save_figure(figure, path, 256)
    print(path)


def labelled(title: str, clip: Signal, size: int, decoded: Signal) -> tuple[str, Signal]:
    rate = metrics.kilobits_per_second(size, clip.points, clip.sample_rate or 1)
    return f"{title}: {rate:.1f} kbit/s, SNR {metrics.signal_to_noise(clip, decoded):.1f} dB", decoded
