"""Curves of a learning: what training and held-out signals cost from step to step, as characters or as an SVG."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..families.linear.learning import MixtureReport
    from ..families.siren.learning import RoundReport
    from .trainer import StepReport

_MARKS = "⣀⠤⠒⠉", "▄▀"  # of training and of what is held out, from the bottom of a character to its top
_PLAIN_MARKS = ".", "o"  # for terminals without Unicode
_LABEL = 9  # characters in front of the axis
FRONT = _LABEL + 1  # and of a drawn curve


@dataclass(frozen=True)
class Curves:
    """What was measured of training signals and of what is held out.

    Attributes:
        quantity: that is measured, with its unit.
        word: for the horizontal axis, ``"step"`` or ``"round"``.
        numbers: of the steps or rounds that were measured.
        training: values at these.
        held_out: likewise, ``None`` where it was not measured.
        least_is_best: whether a lower value is a better one.
    """

    quantity: str
    word: str
    numbers: tuple[int, ...]
    training: tuple[float, ...]
    held_out: tuple[float | None, ...]
    least_is_best: bool = True

    def best(self) -> tuple[int, float] | None:
        """Number and value of the best measurement of what is held out, if there is any."""
        found = [
            (value, number)
            for number, value in zip(self.numbers, self.held_out, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if not found:
            return None
        value, number = min(found, key=lambda one: one[0] if self.least_is_best else -one[0])
        return number, value


def of_steps(reports: Sequence[StepReport], kind: str) -> Curves:
    """Costs of gradient steps on images or sounds."""
    return Curves(
        f"cost, bits per {'picture element' if kind == 'image' else 'weight'}",
        "step",
        tuple(own.number for own in reports),
        tuple(own.cost for own in reports),
        tuple(own.held_out for own in reports),
    )


def of_rounds(reports: Sequence[RoundReport]) -> Curves:
    """PSNR of rounds, whose rate is kept near the one that was asked for."""
    return Curves(
        "PSNR, dB",
        "round",
        tuple(own.number for own in reports),
        tuple(own.psnr for own in reports),
        tuple(own.held_out_psnr for own in reports),
        least_is_best=False,
    )


def of_mixture(reports: Sequence[MixtureReport]) -> Curves:
    """Costs of the rounds of all phases, one after the other."""
    return Curves(
        "cost, bits per point",
        "round",
        tuple((own.phase - 1) * own.rounds + own.number for own in reports),
        tuple(own.cost for own in reports),
        (None,) * len(reports),
    )


def marks(unicode: bool) -> tuple[str, str]:
    """The characters of a drawn curve of training, and of one of what is held out."""
    return _MARKS if unicode else _PLAIN_MARKS


def legend(curves: Curves, unicode: bool = True) -> str:
    """What the characters of drawn curves stand for."""
    thin, thick = (own[0] * 2 for own in marks(unicode))
    held_out = f"  {thick} held out" if any(own is not None for own in curves.held_out) else ""
    return f"{curves.quantity}: {thin} training{held_out}"


def drawn(curves: Curves, width: int, height: int, unicode: bool = True) -> list[str]:
    """The curves in characters, thin ones for training and thick ones for what is held out.

    Args:
        curves: to draw.
        width: in characters, at least 24.
        height: of the field in characters; two lines more are for the axis.
        unicode: whether marks may be other than ASCII.

    Returns:
        Lines of at most ``width`` characters; none before there is something to draw.
    """
    values = [own for own in (*curves.training, *curves.held_out) if own is not None and math.isfinite(own)]
    if not values:
        return []
    low, high = min(values), max(values)
    room = max(high - low, 1e-4 * max(abs(high), abs(low), 1e-9))
    low, high = (low + high - room) / 2, (low + high + room) / 2
    columns, last = width - FRONT, curves.numbers[-1]
    field = [[" "] * columns for _ in range(height)]
    for series, shapes in zip((curves.training, curves.held_out), marks(unicode), strict=True):
        known = [
            (number, value)
            for number, value in zip(curves.numbers, series, strict=True)
            if value is not None and math.isfinite(value)
        ]
        for column in range(columns):
            value = _at(known, last * (column + 1) / columns)
            if value is None:
                continue
            place = min(int((value - low) / (high - low) * height * len(shapes)), height * len(shapes) - 1)
            field[height - 1 - place // len(shapes)][column] = shapes[place % len(shapes)]
    labels = {0: high, height - 1: low} | ({height // 2: high - (high - low) * (height // 2) / (height - 1)})
    bar, corner, line = ("│", "└", "─") if unicode else ("|", "+", "-")
    lines = [
        f"{labels[row]:>{_LABEL - 1}.4g} {bar}" if row in labels else f"{'':{_LABEL}}{bar}" for row in range(height)
    ]
    drawing = [f"{front}{''.join(row)}".rstrip() for front, row in zip(lines, field, strict=True)]
    begin, end = "0", f"{curves.word} {last:,}"
    axis = f"{'':{_LABEL}}{corner}{line * columns}"
    return [*drawing, axis, f"{'':{_LABEL}}{begin}{end:>{columns + 1 - len(begin)}}"]


def _at(known: Sequence[tuple[int, float]], number: float) -> float | None:
    """The value of a curve between its measurements; before the first one there is none, after the last it is level."""
    before = [own for own in known if own[0] <= number]
    after = [own for own in known if own[0] > number]
    if not before:
        return None
    if not after:
        return before[-1][1]
    (first, value), (second, other) = before[-1], after[0]
    return value + (other - value) * (number - first) / (second - first)


def can_plot() -> bool:
    """Whether there is a library for plots: matplotlib, of the extra ``plot``."""
    return importlib.util.find_spec("matplotlib") is not None


def svg(curves: Curves, title: str) -> str:
    """The curves as an SVG picture, the same for the same curves; see :func:`can_plot`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        mark = "." if len(curves.numbers) < 30 else ""
        axes.plot(curves.numbers, curves.training, marker=mark, color="tab:blue", label="training")
        known = [
            (number, value) for number, value in zip(curves.numbers, curves.held_out, strict=True) if value is not None
        ]
        if known:
            axes.plot(*zip(*known, strict=True), marker=mark, color="tab:orange", label="held out")
        best = curves.best()
        if best is not None:
            axes.plot(*best, "o", color="tab:orange", fillstyle="none", markersize=8, label=f"best, {best[1]:.4g}")
        axes.set(title=title, xlabel=curves.word, ylabel=curves.quantity)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        content = StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
