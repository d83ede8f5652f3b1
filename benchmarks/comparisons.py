"""Curves of codecs beside each other: BD-rates, and plots."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from common import COMBINER, write_table

from combiner_cli.bench import curves
from combiner_cli.bench.curves import LEAST_OVERLAP, LEAST_POINTS, Curve
from combiner_cli.bench.report.summary import span
from combiner_cli.bench.tables import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def published(path: Path, method: str, dataset: str) -> Curve:
    """A published curve: (rate, PSNR) pairs in the order of the rate."""
    return curves.published(path, dataset)[method]


@dataclass(frozen=True)
class Beside:
    """A curve and another one beside it.

    Attributes:
        codec: title of the one.
        title: of the other.
        by_psnr: their curves by PSNR, first the other's.
        by_measure: likewise by another measure, in which curves are about straight; ``None`` where that is not known.
    """

    codec: str
    title: str
    by_psnr: tuple[Curve, Curve]
    by_measure: tuple[Curve, Curve] | None


def write_deltas(name: str, measure_title: str, comparisons: Sequence[Beside], remarks: str) -> None:
    """Write the BD-rates to ``results/NAME_bd.md``.

    Args:
        name: of the results.
        measure_title: of the measure besides PSNR.
        comparisons: a row each.
        remarks: on this data set.
    """
    codecs = {beside.codec for beside in comparisons}
    table = []
    for beside in comparisons:
        delta = curves.bd_rate(*beside.by_psnr)
        percent = curves.bd_rate(*beside.by_measure).percent if beside.by_measure else None
        row = {"codec": beside.codec} if len(codecs) > 1 else {}
        row |= {"beside": beside.title, "BD-rate by PSNR %": signed(delta.percent), "range dB": span(delta)}
        table.append({**row, f"BD-rate by {measure_title} %": signed(percent)})
    what = "a codec" if len(codecs) > 1 else COMBINER
    notes = (
        f"How much more (+) or less (−) rate {what} takes than the one beside it for the same quality, on average over "
        "the range of quality that both cover: Akima interpolation (package bjontegaard) through the points of "
        f"{name}.md and those of the other codec. {remarks} – is where they share less than {LEAST_OVERLAP:g} dB or "
        f"have fewer than {LEAST_POINTS} points, or where nothing is known."
    )
    write_table(f"{name}_bd.md", f"{name.capitalize()}: BD-rates", notes, table)


def draw_curves(
    axes: Axes,
    named: Mapping[str, Curve],
    combiner: Curve,
    dashed: Iterable[str],
    spanned: tuple[float, float],
    ticks: Sequence[float],
) -> None:
    """Draw quality over the logarithm of the rate.

    Args:
        axes: to draw on.
        named: curves of the other codecs by title.
        combiner: its curve; it may have no points.
        dashed: titles of those that are.
        spanned: lowest and highest rate.
        ticks: of the rates.
    """
    from matplotlib import colormaps

    colours = [*colormaps["tab10"](range(10)), "navy", "deeppink", "darkgreen"]
    low, high = spanned[0] * 0.9, spanned[1] * 1.15
    seen = [value for curve in (combiner, *named.values()) for rate, value in curve if low <= rate <= high]
    margin = 0.03 * (max(seen) - min(seen))
    for colour, (title, curve) in zip(itertools.cycle(colours), named.items(), strict=False):
        style = "--" if title in set(dashed) else "-"
        axes.plot(*zip(*curve, strict=True), style, color=colour, linewidth=1.6, label=title)
    if combiner:
        points = zip(*combiner, strict=True)
        axes.plot(*points, "o-", color="black", linewidth=3, markersize=7, label=COMBINER, zorder=5)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(seen) - margin, max(seen) + margin)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=12)
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)


def save_figure(figure: Figure, path: Path, colours: int) -> None:
    """Write a picture with a palette of so many colours, which makes the file a third."""
    from PIL import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(colours).save(path, optimize=True)
