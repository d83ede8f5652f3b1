"""The report of a sweep: one HTML file that needs nothing else, no network and, but for read-outs, no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ...system import files
from .. import machine
from ..curves import LEAST_OVERLAP, LEAST_POINTS, at_rate
from ..measures import PSNR
from ..sources import Failure
from ..tables import Row, signed, text
from . import plots
from .examples import Example
from .plots import Plot
from .summary import Summary, span, words_of_deltas
from .wording import WORDING

NAME = "report.html"

# colours on light and on dark ground
_COMBINER = (("#c2255c", "#ff7aa8"), ("#e8590c", "#ffa94d"), ("#862e9c", "#e599f7"), ("#364fc7", "#91a7ff"))
_OTHERS = {
    "JPEG": ("#8a6a2f", "#d9b877"),
    "JPEG 2000": ("#1971c2", "#74b9f5"),
    "WebP": ("#2b8a3e", "#7bd88f"),
    "AVIF": ("#7048e8", "#b5a0ff"),
    "MP3": ("#8a6a2f", "#d9b877"),
    "Vorbis": ("#2b8a3e", "#7bd88f"),
    "Opus": ("#7048e8", "#b5a0ff"),
}
_PUBLISHED = (
    ("#0c8599", "#66d9e8"),
    ("#5f6b76", "#ced4da"),
    ("#d9480f", "#ffb380"),
    ("#5c940d", "#c0eb75"),
    ("#9c36b5", "#eebefa"),
    ("#3b5bdb", "#bac8ff"),
)

_MOST_PUBLISHED = 8  # curves that are shown from the start


@dataclass(frozen=True)
class Style:
    """How a curve is drawn.

    Attributes:
        title: of the codec.
        light: colour on light ground.
        dark: colour on dark ground.
        combiner: whether it is combiner's.
        classes: of its line.
        shown: whether it is, until the reader wishes otherwise.
    """

    title: str
    light: str
    dark: str
    combiner: bool
    classes: str
    shown: bool = True


@dataclass(frozen=True)
class Table:
    """What a table shows, cell by cell."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Circumstances:
    """What was measured, and how.

    Attributes:
        title: of the data set.
        when: in words.
        settings: name and words of everything that was set.
        jobs: numbers of files that were measured at once.
        size: mean number of pixels of an image, or seconds of a sound.
    """

    title: str
    when: str
    settings: Sequence[tuple[str, str]]
    jobs: Sequence[int]
    size: float


def write(
    path: Path,
    summary: Summary,
    examples: Sequence[Example],
    failures: Sequence[Failure],
    circumstances: Circumstances,
) -> None:
    """Write a report.

    Raises:
        OutputError: it cannot be written.
    """
    content = render(summary, examples, failures, circumstances)
    with files.atomic_output(path, overwrite=True) as partial:
        partial.write_text(content, encoding="utf-8")


def render(
    summary: Summary, examples: Sequence[Example], failures: Sequence[Failure], circumstances: Circumstances
) -> str:
    """The HTML of a report; names of files are escaped, as is everything else."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(package_files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    styles = _styles(summary)
    wording = WORDING[summary.kind]
    size = {"width": plots.WIDTH, "height": plots.HEIGHT}
    margins = {"left": plots.LEFT, "right": plots.RIGHT, "top": plots.TOP, "bottom": plots.BOTTOM}
    report = {
        "title": f"Benchmark of {circumstances.title}",
        "subtitle": f"{summary.count}, measured by combiner bench, {circumstances.when}",
        "findings": _findings(summary),
        "failures": failures,
        "styles": styles,
        "plots": [plot for plot in _plots(summary) if plot is not None],
        "about_curves": f"{_about_curves(summary)} {' '.join(measure.words for measure in summary.measures)}",
        "deltas": table_of_deltas(summary),
        "few_points": no_deltas(summary),
        "about_deltas": words_of_deltas(summary),
        "examples": [_embedded(example) for example in examples],
        "about_examples": _about_examples(summary),
        "part_kind": wording.part,
        "part_width": wording.part_width,
        "most_part_width": wording.most_part_width,
        "points": table_of_points(summary, with_others=True),
        "about_points": "Means over the files. To the right of the times is the PSNR of other codecs at the same rate, "
        "linear in the logarithm of the rate between their points; – is outside their range.",
        "times": _times(summary, circumstances),
        "about_times": _about_times(circumstances),
        "settings": Table("Settings", ("what", "how"), [*circumstances.settings, *_programs(summary)]),
    }
    numbers = {style.title: number for number, style in enumerate(styles)}
    return template.render(report=report, numbers=numbers, size={**size, **margins})


def _about_times(circumstances: Circumstances) -> str:
    words = (f"{count} at once with a thread each" if count > 1 else "one at a time" for count in circumstances.jobs)
    return (
        f"Medians over all settings of the median over the files, {' or '.join(words)}: wall time in one process, "
        "without start-up and without reading and writing files; encoding includes that combiner decodes its file to "
        f"check it. Measured on {machine.description()}."
    )


def _findings(summary: Summary) -> str:
    """The BD-rates of combiner's first curve, in sentences."""
    first = summary.combiner[0]
    deltas = [comparison for comparison in summary.deltas() if comparison.title == first]
    sentences = []
    for number, measure in enumerate((PSNR, summary.second)):
        words = [
            f"{abs(percent):.0f}\N{NO-BREAK SPACE}% {'less' if percent < 0 else 'more'} than {title}"
            for title, percent in ((comparison.beside, comparison.percents[number]) for comparison in deltas)
            if percent is not None
        ]
        if words:
            listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
            sentences.append(f"At equal {measure.title}, the rate of {first} is on average {listed}.")
    return " ".join(sentences)


def _styles(summary: Summary) -> list[Style]:
    """Of all curves: the same colour for a codec in every report."""
    titles = list(dict.fromkeys([*summary.curves(PSNR), *summary.curves(summary.second)]))
    by_combiner = [title for title in titles if title in summary.combiner]
    colours = {title: _COMBINER[number % len(_COMBINER)] for number, title in enumerate(by_combiner)}
    styles = [Style(title, *pair, True, "combiner") for title, pair in colours.items()]
    styles += [Style(title, *_OTHERS[title], False, "") for title in titles if title not in by_combiner]
    for number, title in enumerate(summary.published):
        again = " again" if number // len(_PUBLISHED) % 2 else ""
        pair = _PUBLISHED[number % len(_PUBLISHED)]
        styles.append(Style(title, *pair, False, f"published{again}", number < _MOST_PUBLISHED))
    return styles


def _plots(summary: Summary) -> list[Plot | None]:
    by_psnr = {**summary.curves(PSNR), **summary.published}
    second = summary.second
    unit = "dB" if second.drawn_to_scale else second.unit
    title = f"{second.title}{', ' if unit else ''}{unit}{'' if second.rises else ', less is better'}"
    by_second = summary.curves(second, scaled=second.drawn_to_scale)
    digits = 2 if second.drawn_to_scale else second.digits
    return [
        plots.plot("PSNR, dB", summary.unit, by_psnr, summary.combiner, 2),
        plots.plot(title, summary.unit, by_second, summary.combiner, digits),
    ]


def _about_curves(summary: Summary) -> str:
    words = (
        f"Rates are {WORDING[summary.kind].rate} of whole files, qualities those of what their decoders return, both "
        "means over the files at one setting. Of a codec that is used in several ways, the best counts at each rate."
    )
    if summary.published:
        words += " Dashed curves are published ones, of the whole data set that they were measured on."
    if len(summary.published) > _MOST_PUBLISHED:
        words += " Those without a tick are hidden until they get one."
    return words


def _about_examples(summary: Summary) -> str:
    wording = WORDING[summary.kind]
    return (
        f"{wording.parts} of {wording.most_files} files at most, spread over the data set, beside files of other "
        "codecs that were looked for until they were of about the same size; rate and quality are those of whole files."
    )


def no_deltas(summary: Summary) -> str:
    """Why there is no BD-rate at all; empty where there is one."""
    deltas = summary.deltas()
    if not deltas:
        return "There is no other codec to compare with."
    if any(percent is not None for comparison in deltas for percent in comparison.percents):
        return ""
    return (
        f"There are no BD-rates: they take curves of at least {LEAST_POINTS} rates that share {LEAST_OVERLAP:g} dB or "
        "more."
    )


def table_of_deltas(summary: Summary) -> Table:
    """BD-rates of combiner's curves beside all others."""
    heads = ("beside", "codec", "by PSNR %", "range dB", f"by {summary.second.title} %")
    rows = []
    for comparison in summary.deltas():
        by_psnr, by_second = comparison.percents
        numbers = (signed(by_psnr), span(comparison.by_psnr), signed(by_second))
        rows.append((comparison.beside, comparison.title, *numbers))
    return Table("Rate at equal quality beside other codecs", heads, rows)


def table_of_points(summary: Summary, with_others: bool) -> Table:
    """combiner's points, and on request the PSNR of others at the same rates."""
    curves = {**summary.curves(PSNR), **summary.published}
    beside = {title: curve for title, curve in curves.items() if with_others and title not in summary.combiner}
    heads = ["codec", "setting", summary.unit]
    heads += [f"{measure.title} {measure.unit}".strip() for measure in summary.measures]
    heads += ["encode s", "decode s", *(f"{title} dB" for title in beside)]
    rows = []
    for title in summary.combiner:
        for point in summary.points(title):
            rate = _float(point[summary.rate_column])
            assert rate is not None
            row = [title, str(point["setting"]), text(rate, 3)]
            row += [text(_float(point[measure.column]), measure.digits) for measure in summary.measures]
            row += [text(_float(point[f"median_{name}"])) for name in ("encoding_time", "decoding_time")]
            rows.append([*row, *(text(at_rate(curve, rate)) for curve in beside.values())])
    return Table("Points", heads, rows)


def _times(summary: Summary, circumstances: Circumstances) -> Table:
    """Seconds of every codec and what they come to for a megapixel or in real time."""
    rows = []
    for title, names in summary.ways.items():
        points = [row for row in summary.means if row["codec"] in names]
        if points:
            seconds = [_median(points, name) for name in ("median_encoding_time", "median_decoding_time")]
            speeds = [_speed(summary, circumstances.size, value) for value in seconds]
            rows.append([title, *(text(value, 3) for value in seconds), *speeds])
    unit = WORDING[summary.kind].speed
    return Table("Times", ("codec", "encode s", "decode s", f"encode, {unit}", f"decode, {unit}"), rows)


def _speed(summary: Summary, size: float, seconds: float) -> str:
    number = size / max(seconds, 1e-6) / WORDING[summary.kind].points_per_unit
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _median(rows: Sequence[Row], column: str) -> float:
    values = sorted(float(str(row[column])) for row in rows)
    return values[len(values) // 2]


def _float(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _programs(summary: Summary) -> list[tuple[str, str]]:
    """What coded, and the versions of what it rests on."""
    codecs = [(codec.title, f"{codec.program}; {codec.about}") for codec in summary.codecs]
    priors = sorted({name for row in summary.means for name in str(row["priors"]).split(", ") if name})
    with_priors = [("priors", ", ".join(priors))] if priors else []
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions().items())
    return [*with_priors, *codecs, ("machine", machine.description()), ("versions", versions)]


def _embedded(example: Example) -> Mapping[str, object]:
    """An example whose pictures and sounds are addresses that hold them."""
    parts = [
        {
            "title": part.title,
            "facts": part.facts,
            "picture": _address("image/png", part.picture),
            "width": int.from_bytes(part.picture[16:20], "big"),  # of PNG's header
            "height": int.from_bytes(part.picture[20:24], "big"),
            "sound": None if part.sound is None else _address("audio/flac", part.sound),
        }
        for part in example.parts
    ]
    return {"name": example.name, "setting": example.setting, "about": example.about, "parts": parts}


def _address(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
