"""What is told of a learning: what was measured, its curves as characters or as an SVG, and the card of the prior."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

from .estimate import size_text

if TYPE_CHECKING:
    from ..family import Prior

_MARKS = "⣀⠤⠒⠉", "▄▀"  # of training and of what is held out, from the bottom of a character to its top
_PLAIN_MARKS = ".", "o"  # for terminals without Unicode
_LABEL = 9  # characters in front of the axis
FRONT = _LABEL + 1  # and of a drawn curve
_CARD_WIDTH = 110  # of the card's sentences
_ROWS = 20  # of the table of measurements, about


@dataclass(frozen=True)
class Measurement:
    """What was measured after some steps.

    Attributes:
        number: of steps done.
        training: a quantity of the training signals, since the last measurement.
        held_out: the same quantity of signals that nothing is learned from; ``None`` where it is not measured.
        details: other quantities by their names.
    """

    number: int
    training: float
    held_out: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportStyle:
    """How the measurements of a family are told.

    Attributes:
        quantity: that is measured, as ``"cost"``.
        unit: of it, as ``"bits per pixel"``.
        explanation: of the quantity and of what it is measured on, for the card; ends without a full stop.
        step: what is counted, ``"step"`` or ``"round"``.
        least_is_best: whether a lower value is a better one.
        details: names of the details that measurements have, each with how it is formatted.
    """

    quantity: str
    unit: str
    explanation: str
    step: str = "step"
    least_is_best: bool = True
    details: Mapping[str, str] = field(default_factory=dict)

    def line(self, measurement: Measurement, steps: int) -> str:
        """A measurement in words.

        Args:
            measurement: to tell.
            steps: of the whole learning.
        """
        parts = [f"{self.step} {measurement.number}/{steps}", f"{self.quantity} {measurement.training:.4f} {self.unit}"]
        if measurement.held_out is not None:
            parts.append(f"held out {measurement.held_out:.4f}")
        return ", ".join([*parts, *(f"{name} {text}" for name, text in self.details_of(measurement))])

    def details_of(self, measurement: Measurement) -> list[tuple[str, str]]:
        """Names and formatted values of the details of a measurement."""
        return [(name, format(measurement.details[name], form)) for name, form in self.details.items()]


@dataclass(frozen=True)
class OperatingPoint:
    """Rate and quality of the held-out signals at a noise variance, before coding.

    Attributes:
        noise_level: that stands for the noise variance in files.
        rate: bits per point.
        psnr: dB, peak-to-peak 2.
    """

    noise_level: int
    rate: float
    psnr: float


def ranges_of(points: Sequence[OperatingPoint]) -> dict[str, Any]:
    """The fields of a prior for many rates that follow from what was measured.

    Args:
        points: at noise levels over the range of the prior, from the lowest to the highest.
    """
    ends = points[0], points[-1]
    return {
        "noise_codes": tuple(point.noise_level for point in ends),
        "rates": tuple(point.rate for point in ends),
        "errors": tuple(4 * 10 ** (-point.psnr / 10) for point in ends),
    }


@dataclass(frozen=True)
class Curves:
    """What was measured of training signals and of what is held out.

    Attributes:
        quantity: that is measured, with its unit.
        step: for the horizontal axis, ``"step"`` or ``"round"``.
        numbers: of the steps or rounds that were measured.
        training: values at these.
        held_out: likewise, ``None`` where it was not measured.
        least_is_best: whether a lower value is a better one.
    """

    quantity: str
    step: str
    numbers: tuple[int, ...]
    training: tuple[float, ...]
    held_out: tuple[float | None, ...]
    least_is_best: bool = True

    def best(self) -> tuple[int, float] | None:
        """Number and value of the first of the best measurements of what is held out, if there is any."""
        measured = [
            (value, number)
            for number, value in zip(self.numbers, self.held_out, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if not measured:
            return None
        value, number = min(measured, key=lambda pair: pair[0] if self.least_is_best else -pair[0])
        return number, value


def curves_of(style: ReportStyle, measurements: Sequence[Measurement]) -> Curves:
    """The curves of a learning.

    Args:
        style: of its family.
        measurements: in their order.
    """
    return Curves(
        f"{style.quantity}, {style.unit}",
        style.step,
        tuple(measurement.number for measurement in measurements),
        tuple(measurement.training for measurement in measurements),
        tuple(measurement.held_out for measurement in measurements),
        style.least_is_best,
    )


def marks(unicode: bool) -> tuple[str, str]:
    """The characters of a drawn curve of training, and of one of what is held out."""
    return _MARKS if unicode else _PLAIN_MARKS


def legend(curves: Curves, unicode: bool = True) -> str:
    """What the characters of drawn curves stand for."""
    thin, thick = (mark[0] * 2 for mark in marks(unicode))
    held_out = f"  {thick} held out" if any(value is not None for value in curves.held_out) else ""
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
    values = [value for value in (*curves.training, *curves.held_out) if value is not None and math.isfinite(value)]
    if not values:
        return []
    low, high = min(values), max(values)
    room = max(high - low, 1e-4 * max(abs(high), abs(low), 1e-9))
    low, high = (low + high - room) / 2, (low + high + room) / 2
    columns, last = width - FRONT, curves.numbers[-1]
    canvas = [[" "] * columns for _ in range(height)]
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
            canvas[height - 1 - place // len(shapes)][column] = shapes[place % len(shapes)]
    labels = {0: high, height - 1: low} | ({height // 2: high - (high - low) * (height // 2) / (height - 1)})
    bar, corner, line = ("│", "└", "─") if unicode else ("|", "+", "-")
    lines = [
        f"{labels[row]:>{_LABEL - 1}.4g} {bar}" if row in labels else f"{'':{_LABEL}}{bar}" for row in range(height)
    ]
    drawing = [f"{front}{''.join(row)}".rstrip() for front, row in zip(lines, canvas, strict=True)]
    begin, end = "0", f"{curves.step} {last:,}"
    axis = f"{'':{_LABEL}}{corner}{line * columns}"
    return [*drawing, axis, f"{'':{_LABEL}}{begin}{end:>{columns + 1 - len(begin)}}"]


def _at(known: Sequence[tuple[int, float]], number: float) -> float | None:
    """The value of a curve between its measurements; before the first one there is none, after the last it is level."""
    before = [pair for pair in known if pair[0] <= number]
    after = [pair for pair in known if pair[0] > number]
    if not before:
        return None
    if not after:
        return before[-1][1]
    (left, value), (right, next_value) = before[-1], after[0]
    return value + (next_value - value) * (number - left) / (right - left)


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
        axes.set(title=title, xlabel=curves.step, ylabel=curves.quantity)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        content = StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


@dataclass(frozen=True)
class CardText:
    """What a family says of a learned prior.

    Attributes:
        family: name of it.
        data: that the prior was learned from.
        structure: of the prior: what it is made of, in what sizes.
        work: that was done, in words that go on after "Learned with".
        rate_unit: of its rates, in words.
        sample_rate: of sounds, in Hz, whose rates are told in kbit/s as well; ``None`` for images.
    """

    family: str
    data: str
    structure: str
    work: str
    rate_unit: str
    sample_rate: int | None = None


def card(
    prior: Prior,
    text: CardText,
    style: ReportStyle,
    measurements: Sequence[Measurement],
    points: Sequence[OperatingPoint],
    command: str,
    spent: str,
    plot: str,
) -> str:
    """The card of a prior, a Markdown page.

    Args:
        prior: finished.
        text: what its family says of it.
        style: how measurements are told.
        measurements: of all steps.
        points: rates and PSNR of held-out signals at noise levels over the range of the prior; may be empty.
        command: that made it.
        spent: time and memory of this run, which may have gone on from a checkpoint.
        plot: of the course of learning, in Markdown.
    """
    size = size_text(sum(tensor.nbytes for tensor in prior.tensors().values()))
    sections = [
        f"# {prior.name}",
        f"A prior of the `{text.family}` family for {prior.kind}s, id `{prior.id:08x}`, {size}.",
        "\n".join(
            [
                _bullet(f"Data: {text.data}."),
                f"- Command: `{command}`",  # whole, so that it can be copied
                _bullet(f"{text.structure}."),
                _bullet(f"Learned with {text.work}; {spent}."),
            ]
        ),
    ]
    if points:
        sections += [
            _paragraph(f"Rate ({text.rate_unit}) and PSNR (dB) of held-out signals, as predicted before coding:"),
            _points_table(points, text.sample_rate),
        ]
    sections += [_paragraph(f"{style.explanation}:"), plot, _measurements_table(style, measurements)]
    return "\n\n".join(sections) + "\n"


def _points_table(points: Sequence[OperatingPoint], sample_rate: int | None) -> str:
    """A row for each noise level."""
    header, rows = ["noise level", "rate", "PSNR"], []
    for point in points:
        rows.append([str(point.noise_level), f"{point.rate:.4f}", f"{point.psnr:.2f}"])
    if sample_rate is not None:
        header.insert(2, "kbit/s")
        for row, point in zip(rows, points, strict=True):
            row.insert(2, f"{point.rate * sample_rate / 1000:.2f}")
    return _table(header, rows)


def _measurements_table(style: ReportStyle, measurements: Sequence[Measurement]) -> str:
    """About twenty rows, the last measurement among them."""
    every = max(1, len(measurements) // _ROWS)
    chosen = list(reversed(measurements[::-1][::every]))
    held_out = any(measurement.held_out is not None for measurement in chosen)
    header = [style.step, f"training {style.quantity}", *[f"held-out {style.quantity}"] * held_out, *style.details]
    rows = []
    for measurement in chosen:
        value = "–" if measurement.held_out is None else f"{measurement.held_out:.4f}"
        details = [text for _, text in style.details_of(measurement)]
        rows.append([str(measurement.number), f"{measurement.training:.4f}", *[value] * held_out, *details])
    return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def _bullet(text: str) -> str:
    return textwrap.fill(
        f"- {text}", _CARD_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _CARD_WIDTH, break_long_words=False, break_on_hyphens=False)
