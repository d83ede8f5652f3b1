"""What a sweep comes to: means over the files, curves, BD-rates, and files of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...signals.kinds import KINDS
from ...signals.signal import Kind
from ...system import files
from .. import curves, tables
from ..codecs.baselines import Codec, curve_of
from ..curves import LEAST_OVERLAP, LEAST_POINTS, Curve, Delta
from ..measures import PSNR, RATE_COLUMN, Measure
from ..tables import Row, signed, text

# names of columns in the results of CompressAI, where they differ
_COMPRESSAI = {"image": {"psnr": "psnr-rgb", "ms_ssim": "ms-ssim-rgb"}, "sound": {}}


@dataclass(frozen=True)
class Comparison:
    """A curve of combiner beside that of another codec.

    Attributes:
        title: of combiner's curve.
        beside: title of the other codec.
        by_psnr: difference in rate at equal PSNR.
        by_second: at equal quality by the other measure, ``None`` where that is not known.
    """

    title: str
    beside: str
    by_psnr: Delta
    by_second: Delta | None

    @property
    def percents(self) -> tuple[float | None, float | None]:
        """The two differences as numbers, ``None`` where one is not known."""
        return self.by_psnr.percent, None if self.by_second is None else self.by_second.percent


@dataclass(frozen=True, eq=False)
class Summary:
    """A sweep in numbers.

    Attributes:
        kind: of the data set.
        files: number of files.
        measures: of quality.
        rate_column: bpp or kbps.
        means: over all files, a row for each codec and setting.
        combiner: titles of combiner's curves.
        codecs: the other ones, that ran.
        published: curves of PSNR.
    """

    kind: Kind
    files: int
    measures: Sequence[Measure]
    rate_column: str
    means: Sequence[Row]
    combiner: Sequence[str]
    codecs: Sequence[Codec]
    published: Mapping[str, Curve]

    @property
    def second(self) -> Measure:
        """The measure beside PSNR and SNR."""
        return self.measures[-1]

    @property
    def ways(self) -> dict[str, tuple[str, ...]]:
        """What the curve of each title is the best of: values of the column codec."""
        alone = {title: (title,) for title in self.combiner}
        return alone | {codec.title: tuple(codec.ways) for codec in self.codecs}

    @property
    def count(self) -> str:
        """Number of files and what they are, in words."""
        return f"{self.files} {self.kind}{'' if self.files == 1 else 's'}"

    @property
    def unit(self) -> str:
        """Of the rate."""
        return KINDS[self.kind].rate_unit

    def points(self, title: str) -> list[Row]:
        """Means of one codec, by rate."""
        points = [row for row in self.means if row["codec"] == title]
        return sorted(points, key=lambda row: float(str(row[self.rate_column])))

    def curves(self, measure: Measure, scaled: bool = False) -> dict[str, Curve]:
        """Curves of everything that was measured here and has any, by title."""
        by_title = {
            title: curve_of(self.means, ways, measure, self.rate_column, scaled) for title, ways in self.ways.items()
        }
        return {title: curve for title, curve in by_title.items() if curve}

    def deltas(self) -> list[Comparison]:
        """BD-rates of all curves of combiner beside all others."""
        by_psnr = self.curves(PSNR)
        by_second = self.curves(self.second, scaled=True)
        anchors = {title: curve for title, curve in by_psnr.items() if title not in self.combiner}
        anchors |= self.published
        comparisons = []
        for title in self.combiner:
            first = self.combiner[0]
            # of several curves of combiner, the first is a codec beside which the others are seen
            beside = anchors if title == first else {first: by_psnr.get(first, []), **anchors}
            for name, anchor in beside.items():
                second = None
                if name in by_second:
                    pair = by_second[name], by_second.get(title, [])
                    second = curves.bd_rate(*pair, least_overlap=self.second.least_overlap)
                delta = curves.bd_rate(anchor, by_psnr.get(title, []))
                comparisons.append(Comparison(title, name, delta, second))
        return comparisons


def summarise(
    kind: Kind,
    rows: Iterable[Row],
    count: int,
    measures: Sequence[Measure],
    combiner: Sequence[str],
    codecs: Sequence[Codec],
    published: Mapping[str, Curve],
) -> Summary:
    """Means over the files of a data set; a setting that not all files have is no point of a curve.

    Args:
        kind: of the data set.
        rows: of the sweep.
        count: files of the data set.
        measures: of quality.
        combiner: titles of combiner's curves.
        codecs: the other ones, that ran.
        published: curves of PSNR; those whose title a codec has that ran are told apart from it.
    """
    rate = RATE_COLUMN[kind]
    settings: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        settings.setdefault((str(row["codec"]), str(row["setting"])), []).append(row)
    columns = (rate, "bytes", *(measure.column for measure in measures))
    means = [_mean(some, columns) for some in settings.values() if len(some) == count]
    here = {*combiner, *(codec.title for codec in codecs)}
    apart = {f"{title}, published" if title in here else title: curve for title, curve in published.items()}
    return Summary(kind, count, measures, rate, means, combiner, codecs, apart)


def _mean(rows: Sequence[Row], columns: Iterable[str]) -> Row:
    """Means, and medians of times, over the files at one setting."""

    def column(name: str) -> list[float]:
        return [float(str(row[name])) for row in rows if row[name] not in ("", None)]

    def mean(name: str) -> float | None:
        # a measure that is not defined for one file has no mean over all
        return float(np.mean(column(name))) if len(column(name)) == len(rows) else None

    times = ("encoding_time", "decoding_time")
    named = {name: rows[0][name] for name in ("codec", "setting")}
    programs = {"priors": ", ".join(sorted({f"{row['prior']} ({row['prior_id']})" for row in rows if row["prior"]}))}
    medians = {f"median_{name}": float(np.median(column(name))) for name in times}
    return {**named, **programs, **{name: mean(name) for name in (*columns, *times)}, **medians}


def write(summary: Summary, folder: Path, descriptions: Mapping[str, str]) -> None:
    """Write the curves of every codec, and the BD-rates.

    Args:
        summary: of the sweep.
        folder: that they are written to.
        descriptions: of codecs, by their titles in the column codec.
    """
    curve_folder = folder / "curves"
    curve_folder.mkdir(parents=True, exist_ok=True)
    for title in dict.fromkeys(str(row["codec"]) for row in summary.means):
        content = compressai(summary, title, descriptions.get(title, title))
        name = re.sub(r"[^\w.]+", "-", title.lower().replace(":", ""))
        with files.atomic_output(curve_folder / f"{name}.json", overwrite=True) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n")
    rows = [delta_row(comparison, summary.second) for comparison in summary.deltas()]
    columns = ("codec", "beside", "bd_rate_psnr", "psnr_low", "psnr_high", f"bd_rate_{summary.second.column}")
    tables.write_csv(folder / "bd_rate.csv", rows, columns)
    with files.atomic_output(folder / "bd_rate.md", overwrite=True) as partial:
        partial.write_text(f"# BD-rates\n\n{words_of_deltas(summary)}\n\n{_delta_table(summary)}", encoding="utf-8")


def compressai(summary: Summary, title: str, description: str) -> dict[str, object]:
    """The curve of one codec in the shape of CompressAI's results: lists by rate, means over the files."""
    points = summary.points(title)
    names = _COMPRESSAI[summary.kind]
    columns = (summary.rate_column, *(measure.column for measure in summary.measures))
    columns = (*columns, "encoding_time", "decoding_time")
    lists = {names.get(column, column): [_finite(point[column]) for point in points] for column in columns}
    known = {name: values for name, values in lists.items() if any(value is not None for value in values)}
    return {"name": title, "description": description, "results": known}


def _finite(value: object) -> float | None:
    """JSON has no infinity."""
    return value if isinstance(value, float) and math.isfinite(value) else None


def delta_row(comparison: Comparison, second: Measure) -> dict[str, object]:
    """A row of the table of BD-rates; what is not known is empty."""
    by_psnr, by_second = comparison.percents
    known = by_psnr is not None
    return {
        "codec": comparison.title,
        "beside": comparison.beside,
        "bd_rate_psnr": _rounded(by_psnr),
        "psnr_low": round(comparison.by_psnr.low, 2) if known else "",
        "psnr_high": round(comparison.by_psnr.high, 2) if known else "",
        f"bd_rate_{second.column}": _rounded(by_second),
    }


def _rounded(value: float | None) -> object:
    return "" if value is None else round(value, 2)


def span(delta: Delta) -> str:
    """The range of quality of a BD-rate in words."""
    return "–" if delta.percent is None else f"{text(delta.low, 1)} to {text(delta.high, 1)}"


def _delta_table(summary: Summary) -> str:
    rows = [
        {
            "codec": comparison.title,
            "beside": comparison.beside,
            "BD-rate by PSNR %": signed(comparison.percents[0]),
            "range dB": span(comparison.by_psnr),
            f"BD-rate by {summary.second.title} %": signed(comparison.percents[1]),
        }
        for comparison in summary.deltas()
    ]
    return tables.markdown(rows) if rows else "There is no other codec to compare with.\n"


def words_of_deltas(summary: Summary) -> str:
    """What BD-rates are."""
    return (
        "How much more (+) or less (−) rate the codec takes than the one beside it for the same quality, on average "
        "over the range of quality that both cover: Akima interpolation (package bjontegaard) through means over the "
        f"files. – is where they share less than {LEAST_OVERLAP:g} dB or have fewer than {LEAST_POINTS} points, or "
        f"where no {summary.second.title} is known."
    )
