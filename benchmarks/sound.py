"""What the benchmarks of sound share: files of the command line at some rates, beside other codecs run here.

Encoding takes a while: what results/NAME.csv already holds for a clip, a rate and a prior is not computed again. The
other codecs are measured once for a number of clips: results/NAME_baselines.csv. They are MP3, Vorbis and Opus as
libsndfile has them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from common import RESULTS, at_once, processor, published, read_csv, timed, write_csv, write_table
from matplotlib import pyplot
from PIL import Image

from combiner_cli.bench import measures
from combiner_cli.bench.codecs import sounds as baselines_sounds
from combiner_cli.bench.codecs.baselines import Options, curve_of, nearest, setting_text
from combiner_cli.bench.curves import LEAST_OVERLAP, LEAST_POINTS, Curve, at_rate, bd_rate
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.report.examples import power_levels
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import Row, signed, text
from combiner_cli.codec import goals
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

Rows = dict[tuple[str, str, str], Row]

# what the tables show: at every rate the best of a codec's ways
FAMILIES = {codec.title: codec for codec in baselines_sounds.codecs().values()}


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
        anchors: of a peer's curve, the published curve that it is compared with beside combiner's own comparison.
        ticks: of the rates in the plot.
    """

    name: str
    rates: Sequence[float]
    clips: Callable[[Path], dict[str, Signal]]
    about: str
    measure: Measure
    peers: Mapping[str, tuple[str, str]]
    anchors: Mapping[str, str]
    ticks: Sequence[float]


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
    bench = Bench(study, arguments.results, clips, arguments.prior, arguments.jobs)
    baselines = measure_baselines(bench)
    if arguments.baselines:
        return
    peers = published_curves(study, arguments.published) if arguments.published else {}
    rows = known_rows(bench)
    failures = 0
    for rate in study.rates:
        missing = [name for name in clips if key(bench, name, rate) not in rows]
        failures += measure_rate(bench, missing, rate, rows)
        if missing or rate == study.rates[-1]:
            report(bench, rows, baselines, peers)
    if failures:
        raise SystemExit(f"{failures} of the commands failed; run again for what is missing")


@dataclass(frozen=True, eq=False)
class Bench:
    """A study on certain clips.

    Attributes:
        study: of the kind of sound.
        results: name of the results.
        clips: names and originals.
        prior: to encode with, ``None`` for the usual choice.
        jobs: clips at once.
    """

    study: Study
    results: str
    clips: dict[str, Signal]
    prior: str | None
    jobs: int


def named(clips: Mapping[str, Signal], name: str | None) -> tuple[str, Signal]:
    if name not in clips:
        raise SystemExit(f"there is no clip called {name}; name one with --clip, for example {next(iter(clips))}")
    return name, clips[name]


def beginning(signal: Signal, seconds: float) -> Signal:
    """At most the first seconds of a sound."""
    assert signal.sample_rate is not None
    frames = round(seconds * signal.sample_rate)
    return Signal("sound", signal.samples[:frames], signal.sample_rate, signal.bit_depth)


# Other codecs


def measure_baselines(bench: Bench) -> list[Row]:
    """Means over the clips for every setting, those that are known from before and those that are not."""
    name = f"{bench.results}_baselines.csv"
    ways = [way for codec in FAMILIES.values() for way in codec.ways.items()]
    wanted = {(title, setting_text(options)): options for title, settings in ways for options in settings}
    known = {
        (row["codec"], row["setting"]): dict(row)
        for row in read_csv(name)
        if row["clips"] == str(len(bench.clips)) and bench.study.measure.column in row
    }
    rows: dict[tuple[str, str], Row] = {setting: known[setting] for setting in wanted if setting in known}
    with ProcessPoolExecutor(bench.jobs) as pool:
        for (title, setting), options in wanted.items():
            if (title, setting) in rows:
                continue
            tasks = [pool.submit(measure_baseline, bench.study.measure, clip, options) for clip in bench.clips.values()]
            row = {"codec": title, "setting": setting, "clips": len(tasks), **means([task.result() for task in tasks])}
            rows[title, setting] = row
            write_csv(name, [rows[known] for known in wanted if known in rows])
            print(row, flush=True)
    return [rows[setting] for setting in wanted]


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {column: round(float(np.mean([row[column] for row in rows])), 6) for column in rows[0]}


def measure_baseline(measure: Measure, original: Signal, options: Options) -> dict[str, float]:
    """Rate, quality and speed of one file by one of libsndfile's encoders."""
    coded = baselines_sounds.code(original, options)
    packets = baselines_sounds.packet_bytes(coded.data, options)
    duration = original.points / (original.sample_rate or 1)
    return {
        "kbps": metrics.kilobits_per_second(len(coded.data), original.points, original.sample_rate or 1),
        "packets_kbps": metrics.kilobits_per_second(packets, original.points, original.sample_rate or 1),
        **measured(measure, original, coded.decoded),
        "encode_speed": duration / coded.encode_seconds,
        "decode_speed": duration / coded.decode_seconds,
    }


def measured(measure: Measure, original: Signal, decoded: Signal) -> dict[str, float]:
    return {
        "psnr": round(metrics.psnr(original, decoded), 4),
        "snr": round(metrics.signal_to_noise(original, decoded), 4),
        measure.column: round(measure.of(original, decoded), 6),
    }


def family(baselines: Sequence[Row], title: str, measure: Measure = measures.PSNR, rate: str = "kbps") -> Curve:
    """The curve of a codec in the measure's own numbers: the best that its ways reach with each rate or less."""
    return curve_of(baselines, FAMILIES[title].ways, measure, rate)


def published_curves(study: Study, path: Path) -> dict[str, Curve]:
    return {title: published(path, *place) for title, place in study.peers.items()}


# The command line


def known_rows(bench: Bench) -> Rows:
    column = bench.study.measure.column
    return {
        (row["clip"], row["rate"], row["prior_id"]): row for row in read_csv(f"{bench.results}.csv") if column in row
    }


def measure_rate(bench: Bench, names: Sequence[str], rate: float, rows: Rows) -> int:
    """Measure clips at a rate, keep every row at once, and count the commands that failed."""
    failures = 0
    with ThreadPoolExecutor(bench.jobs) as pool:
        tasks = {pool.submit(measure_clip, bench, name, rate): name for name in names}
        for task in as_completed(tasks):
            name = tasks[task]
            try:
                row = task.result()
            except subprocess.CalledProcessError as error:
                failures += 1
                print(f"{name} at {rate} kbit/s: {error.stderr.strip()}", file=sys.stderr, flush=True)
                continue
            rows[key(bench, name, rate)] = row
            write_csv(f"{bench.results}.csv", [rows[known] for known in sorted(rows, key=by_clip_and_rate)])
            print(dict(row), flush=True)
    return failures


@functools.cache
def planned_prior(frames: int, channels: int, sample_rate: int, rate: float, name: str | None) -> tuple[str, str]:
    """Name and id of the prior that the command takes for a sound of that size at a rate."""
    blank = Signal("sound", np.zeros((frames, channels), np.float32), sample_rate, 16)
    prior, _ = goals.plan(blank, goals.Goal(kilobits_per_second=rate), library.find(name) if name else None)
    return prior.name, f"{prior.id:08x}"


def prior_of(bench: Bench, name: str, rate: float) -> tuple[str, str]:
    clip = bench.clips[name]
    return planned_prior(clip.points, clip.channels, clip.sample_rate or 1, rate, bench.prior)


def key(bench: Bench, name: str, rate: float) -> tuple[str, str, str]:
    return name, str(rate), prior_of(bench, name, rate)[1]


def by_clip_and_rate(known: tuple[str, str, str]) -> tuple[str, str, float]:
    name, rate, prior_id = known
    return prior_id, name, float(rate)


def measure_clip(bench: Bench, name: str, rate: float) -> Row:
    """Encode and decode with the command line and measure the files."""
    clip, threads = bench.clips[name], 1 if bench.jobs > 1 else None
    prior, prior_id = prior_of(bench, name, rate)
    with tempfile.TemporaryDirectory() as folder:
        facts, decoded, encode_seconds, decode_seconds = there_and_back(clip, rate, Path(folder), threads, bench.prior)
    if facts["prior"] != prior:
        raise RuntimeError(f"the command took {facts['prior']} where {prior} was planned")
    duration = clip.points / (clip.sample_rate or 1)
    return {
        "clip": name,
        "rate": rate,
        "prior": prior,
        "prior_id": prior_id,
        "seconds": round(duration, 4),
        "bytes": facts["bytes"],
        "kbps": facts["kbps"],
        "payload_kbps": round(8 * int(str(facts["payload_bytes"])) / duration / 1000, 4),
        **measured(bench.study.measure, clip, decoded),
        "encode_s": round(encode_seconds, 3),
        "decode_s": round(decode_seconds, 3),
        "jobs": bench.jobs,
    }


def there_and_back(
    clip: Signal, rate: float, folder: Path, threads: int | None, prior: str | None
) -> tuple[dict[str, object], Signal, float, float]:
    """What the encoding command says of a clip at a rate, the decoded file, and the seconds of both commands."""
    source, coded, back = folder / "clip.wav", folder / "clip.cmb", folder / "back.wav"
    media.write_signal(clip, source)
    limit = [] if threads is None else ["--threads", threads]
    chosen = [] if prior is None else ["--prior", prior]
    facts, encode_seconds = timed(
        "encode", source, "-o", coded, "--kbps", rate, "--device", "cpu", *limit, *chosen, threads=threads
    )
    if facts["bytes"] != coded.stat().st_size:
        raise RuntimeError(f"the command says {facts['bytes']} bytes of a file of {coded.stat().st_size}")
    _, decode_seconds = timed("decode", coded, "-o", back, *chosen, threads=threads)
    return facts, media.read_signal(back), encode_seconds, decode_seconds


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
    def column(name: str) -> np.ndarray:
        return np.array([float(str(row[name])) for row in rows])

    middle = [float(column(name).mean()) for name in ("kbps", "payload_kbps", "psnr", "snr", measure.column)]
    seconds = [float(np.median(column(name))) for name in ("encode_s", "decode_s")]
    speeds = [float(column("seconds").sum() / column(name).sum()) for name in ("encode_s", "decode_s")]
    return Point(rate, len(rows), *middle, *seconds, *speeds)


def report(bench: Bench, rows: Rows, baselines: Sequence[Row], peers: Mapping[str, Curve]) -> None:
    """Write the tables and the plot of what has been measured so far."""
    study = bench.study
    used, points = [], []
    for rate in sorted(study.rates):
        current = [rows[known] for name in bench.clips if (known := key(bench, name, rate)) in rows]
        if current:
            used += current
            points.append(point(rate, current, study.measure))
    if not used:
        return
    # a mean over some of the clips is no point of a curve over all
    whole = [point for point in points if point.clips == len(bench.clips)]
    write_rates(bench, points, baselines, peers, used)
    write_quality(bench, points, baselines)
    write_deltas(bench, whole, baselines, peers)
    plot(bench, whole, baselines, peers)


def write_rates(
    bench: Bench, points: Sequence[Point], baselines: Sequence[Row], peers: Mapping[str, Curve], used: Sequence[Row]
) -> None:
    study = bench.study
    others = {title: family(baselines, title) for title in FAMILIES} | dict(peers)
    table = []
    for own in points:
        row = {"rate": f"{own.rate:g}", "clips": own.clips, "kbit/s": text(own.kbps), "payload": text(own.payload)}
        row |= {"PSNR dB": text(own.psnr), "SNR dB": text(own.snr)}
        row |= {"encode s": text(own.encode), "decode s": text(own.decode)}
        row |= {"encode ×": text(own.encode_speed, 1), "decode ×": text(own.decode_speed, 1)}
        row |= {f"{title} PSNR": text(at_rate(curve, own.kbps)) for title, curve in others.items()}
        table.append(row)
    chosen = ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in used}))
    notes = (
        f"{study.about} Every clip is encoded to the rate (`combiner encode --kbps`) and decoded by the command line. "
        "kbit/s are those of whole files, payload without their headers. PSNR is of samples mapped to [0, 1], peak 1, "
        "not rounded; it and SNR are those of the decoded 16-bit WAV files, means over the clips. "
        f"Prior: {chosen}. Seconds are medians of whole commands, start-up included, {at_once(used)}, on "
        f"{os.cpu_count()} cores of {processor()}, no GPU; × is how many times faster than real time all of them were. "
        "The other columns are the PSNR of other codecs at the same rate, linear in the logarithm of the rate between "
        "their points (mean rate and mean PSNR over the clips for a fixed setting); – is outside their range. "
        "The same rate for every clip, as here, gives another mean than the same setting for every clip does, as with "
        f"the others. {words_of_baselines(baselines)}"
    )
    notes += " The columns after Opus are published curves, of other recordings (test-clean)." if peers else ""
    write_table(f"{bench.results}.md", bench.results.capitalize(), notes, table)


def words_of_baselines(baselines: Sequence[Row]) -> str:
    def speed(title: str, column: str) -> str:
        rows = [row for row in baselines if row["codec"] in FAMILIES[title].ways]
        return f"{float(np.median([float(str(row[column])) for row in rows])):.0f}"

    def around(title: str) -> str:
        rows = [row for row in baselines if row["codec"] in FAMILIES[title].ways]
        return f"{float(np.mean([float(str(row['kbps'])) - float(str(row['packets_kbps'])) for row in rows])):.1f}"

    speeds = ", ".join(
        f"{title} {speed(title, 'encode_speed')} and {speed(title, 'decode_speed')}" for title in FAMILIES
    )
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


def write_quality(bench: Bench, points: Sequence[Point], baselines: Sequence[Row]) -> None:
    """The study's own measure, of all codecs at the same rates."""
    measure = bench.study.measure
    others = {title: family(baselines, title, measure) for title in FAMILIES}
    table = []
    for own in points:
        row = {"kbit/s": text(own.kbps), "combiner": text(own.quality, 3)}
        for title, curve in others.items():
            value = at_rate(curve, own.kbps)
            row[title] = text(value, 3)
        table.append(row)
    write_table(
        f"{bench.results}_{measure.column}.md",
        f"{bench.results.capitalize()}: {measure.title}",
        f"{measure.words} Means over the clips of {bench.results}.md, at the same rates of whole files.",
        table,
    )


def write_deltas(bench: Bench, own: Sequence[Point], baselines: Sequence[Row], peers: Mapping[str, Curve]) -> None:
    """Write the BD-rates, by PSNR and by the study's own measure."""
    measure = bench.study.measure
    psnrs = [(point.kbps, point.psnr) for point in own]
    qualities = [(point.kbps, measure.scale(point.quality)) for point in own]
    table = []

    def add(name: str, beside: str, curve: Curve, other: Curve, scaled: Curve | None) -> None:
        delta = bd_rate(curve, other)
        quality = None if scaled is None else bd_rate(scaled, qualities).percent
        row = {"codec": name, "beside": beside, "BD-rate by PSNR %": signed(delta.percent), "range dB": span(delta)}
        table.append({**row, f"BD-rate by {measure.title} %": signed(quality)})

    for title in FAMILIES:
        for rate, suffix in (("kbps", ""), ("packets_kbps", ", packets alone")):
            if rate == "packets_kbps" and title == "MP3":
                continue  # a file of frames, which are headers and sound in one
            scaled = [(at, measure.scale(value)) for at, value in family(baselines, title, measure, rate)]
            add("combiner", f"{title}{suffix}", family(baselines, title, measures.PSNR, rate), psnrs, scaled)
    for title, curve in peers.items():
        add("combiner", title, curve, psnrs, None)
    for title, anchor in bench.study.anchors.items():
        if title in peers and anchor in peers:
            add(title, anchor, peers[anchor], peers[title], None)
    write_table(
        f"{bench.results}_bd.md",
        f"{bench.results.capitalize()}: BD-rates",
        "How much more (+) or less (−) rate a codec takes than the one beside it for the same quality, on average over "
        "the range of quality that both cover: Akima interpolation (package bjontegaard) through the points of "
        f"{bench.results}.md and those of the other codec. By SNR they are the same as by PSNR, since the two differ "
        "by a constant for each clip. Packets alone are files of Ogg without its headers and pages, whereas the whole "
        f"file counts for combiner. – is where they share less than {LEAST_OVERLAP:g} dB or have fewer than "
        f"{LEAST_POINTS} points, or where nothing is known."
        + (" Published curves are of other recordings; the last rows compare them among themselves." if peers else ""),
        table,
    )


# Pictures


def plot(bench: Bench, own: Sequence[Point], baselines: Sequence[Row], peers: Mapping[str, Curve]) -> None:
    """PSNR and the study's own measure over the rate; published curves are dashed."""
    pyplot.switch_backend("agg")  # a benchmark needs no screen
    study = bench.study
    figure, panels = pyplot.subplots(1, 2, figsize=(14, 6.5), dpi=90)
    curves = {title: family(baselines, title) for title in FAMILIES} | dict(peers)
    qualities = {title: family(baselines, title, study.measure) for title in FAMILIES}
    draw(panels[0], study, curves, [(point.kbps, point.psnr) for point in own], peers)
    draw(panels[1], study, qualities, [(point.kbps, point.quality) for point in own], {})
    panels[0].set_ylabel("PSNR, dB", fontsize=12)
    panels[1].set_ylabel(study.measure.title, fontsize=12)
    panels[0].set_title(f"{bench.results.capitalize()}: whole files" + ("; published curves dashed" if peers else ""))
    panels[0].legend(loc="upper left", fontsize=11)
    figure.tight_layout()
    save(figure, RESULTS / f"{bench.results}.png", 96)


def draw(axes: pyplot.Axes, study: Study, curves: Mapping[str, Curve], own: Curve, dashed: Mapping[str, Curve]) -> None:
    low, high = min(study.rates) * 0.9, max(study.rates) * 1.15
    seen = [value for curve in (own, *curves.values()) for rate, value in curve if low <= rate <= high]
    margin = 0.03 * (max(seen) - min(seen))
    if own:
        axes.plot(*zip(*own, strict=True), "o-", color="black", linewidth=3, markersize=7, label="combiner", zorder=5)
    for colour, (title, curve) in zip(itertools.cycle(pyplot.get_cmap("tab10").colors), curves.items(), strict=False):
        style = "--" if title in dashed else "-"
        axes.plot(*zip(*curve, strict=True), style, color=colour, linewidth=1.6, label=title)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(seen) - margin, max(seen) + margin)
    axes.set_xticks(study.ticks, [f"{tick:g}" for tick in study.ticks], fontsize=11)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("kbit/s", fontsize=12)
    axes.grid(alpha=0.3)


def save(figure: pyplot.Figure, path: Path, colours: int) -> None:
    """Write a picture with a palette of so many colours, which makes the file a third."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    pyplot.close(figure)
    Image.open(buffer).convert("RGB").quantize(colours).save(path, optimize=True)


def spectrograms(path: Path, name: str, clip: Signal, rate: float, prior: str | None) -> None:
    """Draw the spectrograms of an original and of what codecs make of it at about the same rate."""
    with tempfile.TemporaryDirectory() as folder:
        facts, decoded, _, _ = there_and_back(clip, rate, Path(folder), None, prior)
    sounds = [(f"{name}, original", clip), labelled("combiner", clip, int(str(facts["bytes"])), decoded)]
    for title in ("MP3", "Opus"):
        coded = nearest(FAMILIES[title], clip, round(rate * 1000 / 8 * clip.points / (clip.sample_rate or 1)))
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
    save(figure, path, 256)
    print(path)


def labelled(title: str, clip: Signal, size: int, decoded: Signal) -> tuple[str, Signal]:
    rate = metrics.kilobits_per_second(size, clip.points, clip.sample_rate or 1)
    return f"{title}: {rate:.1f} kbit/s, SNR {metrics.signal_to_noise(clip, decoded):.1f} dB", decoded
