"""BD-rates of sounds: beside codecs that run here, with intervals, and beside published curves of other recordings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from common import COMBINER, mean_of_rows, number, write_table

from combiner_cli.bench import curves, measures
from combiner_cli.bench.codecs import sounds as codecs_of_sounds
from combiner_cli.bench.codecs.baselines import curve_of
from combiner_cli.bench.curves import Curve, rising
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import Row, signed, text

# what the tables show: at every rate the best of a codec's ways
CODECS = {codec.title: codec for codec in codecs_of_sounds.codecs().values()}

RESAMPLED = 300  # times, for an interval
LEVEL = 0.95
FOOTING_STEP = 2.0  # dB between the lines of the table beside published curves
_SEED = 1


def curve_of_codec(means: Sequence[Row], title: str, measure: Measure = measures.PSNR, rate: str = "kbps") -> Curve:
    """The curve of a codec in the measure's own numbers: the best that its ways reach with each rate or less."""
    return curve_of(means, CODECS[title].ways, measure, rate)


class Clips:
    """Rows of clips as arrays, so that means over any of them are quickly taken."""

    def __init__(self, rows: Sequence[Row], names: Sequence[str], key: Callable[[Row], tuple[str, str]]) -> None:
        """Of rows of all clips at some settings.

        Args:
            rows: a row for each clip and setting.
            names: of the clips.
            key: names the setting of a row.
        """
        places = {name: place for place, name in enumerate(names)}
        self._settings = list(dict.fromkeys(map(key, rows)))
        columns = [column for column in rows[0] if column not in ("codec", "setting", "clip", "prior", "prior_id")]
        self._values = {column: np.full((len(self._settings), len(names)), np.nan) for column in columns}
        order = {setting: place for place, setting in enumerate(self._settings)}
        for row in rows:
            place = order[key(row)], places[str(row["clip"])]
            for column in columns:
                self._values[column][place] = number(row, column)

    def means(self, clips: Sequence[int]) -> list[Row]:
        """Means over clips, which may be named several times, of each setting."""
        averages = {column: values[:, clips].mean(axis=1) for column, values in self._values.items()}
        return [
            {
                "codec": setting[0],
                "setting": setting[1],
                **{name: float(values[n]) for name, values in averages.items()},
            }
            for n, setting in enumerate(self._settings)
        ]


def write(
    name: str, measure: Measure, own: Sequence[Row], baselines: Sequence[Row], speakers: Mapping[str, str] | None
) -> None:
    """Write the BD-rates, by PSNR and by another measure, with intervals.

    Args:
        name: of the results.
        measure: the other one.
        own: rows of this program, a row for each clip and rate.
        baselines: rows of the other codecs, one for each clip and setting.
        speakers: who speaks in each clip; ``None`` where nobody does.
    """
    names = list(dict.fromkeys(str(row["clip"]) for row in own))
    of_own = Clips(own, names, lambda row: (COMBINER, str(row["rate"])))
    of_others = Clips(baselines, names, lambda row: (str(row["codec"]), str(row["setting"])))
    generator = np.random.default_rng(_SEED)
    everything = list(range(len(names)))
    by_clip = [generator.integers(0, len(names), len(names)).tolist() for _ in range(RESAMPLED)]
    groups = list(_groups(names, speakers).values())
    by_speaker = [
        [clip for group in generator.integers(0, len(groups), len(groups)) for clip in groups[int(group)]]
        for _ in range(RESAMPLED if speakers else 0)
    ]
    table = []
    for title, rate in _anchors():
        row: dict[str, object] = {"beside": title if rate == "kbps" else f"{title}, packets alone"}
        for one in (measures.PSNR, measure):

            def percents(
                draws: Sequence[Sequence[int]], one: Measure = one, rate: str = rate, title: str = title
            ) -> list[float]:
                deltas = [_delta(of_own.means(draw), of_others.means(draw), title, one, rate) for draw in draws]
                return [delta.percent for delta in deltas if delta.percent is not None]

            delta = _delta(of_own.means(everything), of_others.means(everything), title, one, rate)
            row[f"by {one.title} %"] = signed(delta.percent)
            row |= {"range dB": span(delta)} if one is measures.PSNR else {}
            known = delta.percent is not None
            row[f"by {one.title}, clips"] = _interval(percents(by_clip) if known else [])
            if speakers:
                row[f"by {one.title}, speakers"] = _interval(percents(by_speaker) if known else [])
        table.append(row)
    write_table(f"{name}_bd.md", f"{name.capitalize()}: BD-rates", _notes(name, measure, len(groups), speakers), table)


def _notes(name: str, measure: Measure, groups: int, speakers: Collection[str] | None) -> str:
    drawn = f"{RESAMPLED} draws of clips with replacement"
    if speakers:
        drawn += f", and of all clips of {groups} speakers drawn likewise, who are few"
    return (
        f"How much more (+) or less (−) rate {COMBINER} takes than the codec beside it for the same quality, on "
        "average over the range of quality that both cover: Akima interpolation (package bjontegaard) through the points of "
        f"{name}.md and those of the other codec, whole files. Behind each the middle {LEVEL:.0%} of {drawn}. By SNR "
        "they are the same as by PSNR, since the two differ by a constant for each clip. Packets alone are files of Ogg "
        "without its headers and pages, whereas the whole file counts for this program. – is where curves share less "
        f"than {curves.LEAST_OVERLAP:g} dB ({measure.least_overlap:g} by {measure.title}, {measure.unit or 'dB'})."
    )


def _groups(names: Sequence[str], speakers: Mapping[str, str] | None) -> dict[str, list[int]]:
    """The clips of each speaker."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(speakers[name] if speakers else name, []).append(place)
    return groups


def _anchors() -> list[tuple[str, str]]:
    """Other codecs, and the columns of their rates: an MP3 file has no container."""
    return [
        (title, rate)
        for title in CODECS
        for rate in ("kbps", "packets_kbps")
        if (title, rate) != ("MP3", "packets_kbps")
    ]


def _delta(own: Sequence[Row], others: Sequence[Row], title: str, measure: Measure, rate: str) -> curves.Delta:
    """The BD-rate between means of this program and of another codec."""
    mine = [(number(row, "kbps"), measure.scale(number(row, measure.column))) for row in own]
    other = [(at, measure.scale(value)) for at, value in curve_of_codec(others, title, measure, rate)]
    return curves.bd_rate(other, mine, least_overlap=measure.least_overlap)


def _interval(percents: Sequence[float]) -> str:
    """The middle of some numbers, where all draws gave one."""
    if len(percents) < RESAMPLED:
        return text(None)
    low, high = np.quantile(percents, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return f"{signed(float(low))} to {signed(float(high))}"


def write_footing(
    name: str, footing: str, own: Sequence[Row], means: Sequence[Row], published: Mapping[str, Curve]
) -> None:
    """Write how much of the rate of a codec that ran on both sets of recordings the others take.

    Args:
        name: of the results.
        footing: title of that codec; its published curve has that title with ``, published`` behind it.
        own: rows of this program, a row for each clip and rate.
        means: of the other codecs.
        published: curves of PSNR, of other recordings.
    """
    by_rate: dict[str, list[Row]] = {}
    for row in own:
        by_rate.setdefault(str(row["rate"]), []).append(row)
    mine = [(mean["kbps"], mean["psnr"]) for mean in map(mean_of_rows, by_rate.values())]
    here, there = curve_of_codec(means, footing), published[f"{footing}, published"]
    others = {title: curve for title, curve in published.items() if title != f"{footing}, published"}
    pairs = {COMBINER: (mine, here)} | {title: (curve, there) for title, curve in others.items()}
    levels = np.arange(min(curve[0][1] for curve in others.values()) // 1, max(there[-1][1], here[-1][1]), FOOTING_STEP)
    table = []
    for level in levels:
        shares = {title: _share(curve, anchor, float(level)) for title, (curve, anchor) in pairs.items()}
        if sum(share is not None for share in shares.values()) > 1:
            table.append({"PSNR dB": f"{level:g}"} | {title: text(share) for title, share in shares.items()})
    notes = (
        "Published curves are of other recordings (LibriSpeech test-clean) than those here (test-other), so that they "
        f"cannot be compared directly, and nobody has published an SNR. {footing} was measured with both: a number is the "
        f"rate of a codec over that of {footing} at the same PSNR on its own recordings ({footing} here is the best "
        "of constant, average and variable bit rate, which is hard on this program). It is a hint, not a comparison: how "
        f"{footing} does depends on the recordings, too. – is outside of what both cover."
    )
    write_table(f"{name}_published.md", f"{name.capitalize()}: beside published curves", notes, table)


def _share(curve: Curve, anchor: Curve, quality: float) -> float | None:
    """The rate of a curve over that of another one at some quality; ``None`` outside of what both cover."""
    rates = []
    for one in (curve, anchor):
        at, values = zip(*rising(one), strict=True)
        if not values[0] <= quality <= values[-1]:
            return None
        rates.append(float(np.exp(np.interp(quality, values, np.log(at)))))
    return rates[0] / rates[1]
