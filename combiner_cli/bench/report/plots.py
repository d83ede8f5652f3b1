"""Where the lines, points and ticks of a plot of quality over rate go; the report draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..curves import Curve

WIDTH, HEIGHT = 560, 428  # units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 62  # margins

_STEPS = (1, 2, 5)
_MOST_TICKS = 7
_FEWEST_TICKS = 4
# within a power of ten, coarse to fine
_RATE_STEPS = ((1,), _STEPS, (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 8), [step / 100 for step in range(100, 1000)])


@dataclass(frozen=True)
class Dot:
    """A point of a curve: where it is drawn, and what it says."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        title: of the codec.
        path: in the drawing, for SVG's attribute points.
        dots: its points within the plot.
    """

    title: str
    path: str
    dots: Sequence[Dot]


@dataclass(frozen=True)
class Tick:
    """A number at an axis and its place along it."""

    place: float
    words: str


@dataclass(frozen=True)
class Plot:
    """A plot of quality over the logarithm of the rate.

    Attributes:
        title: of the quality.
        unit: of the rate.
        lines: the first one is drawn last.
        rates: ticks below.
        qualities: ticks on the left.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    rates: Sequence[Tick]
    qualities: Sequence[Tick]


def plot(title: str, unit: str, curves: Mapping[str, Curve], combiner: Sequence[str], digits: int) -> Plot | None:
    """Lay out curves over the rates of those of combiner, or of all where it has none.

    Args:
        title: of the quality.
        unit: of the rate.
        curves: by title of the codec.
        combiner: titles of its curves.
        digits: of qualities behind the point, in words.

    Returns:
        The plot, ``None`` without any points.
    """
    spanned = [rate for title_, curve in curves.items() if title_ in combiner for rate, _ in curve]
    spanned = spanned or [rate for curve in curves.values() for rate, _ in curve]
    if not spanned:
        return None
    low, high = min(spanned) / 1.15, max(spanned) * 1.15
    seen = [value for curve in curves.values() for rate, value in curve if low <= rate <= high]
    margin = 0.04 * (max(seen) - min(seen)) or 0.5
    bottom, top = min(seen) - margin, max(seen) + margin

    def across(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(rate / low) / math.log(high / low)

    def down(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom)

    lines = []
    for codec, curve in curves.items():
        path = " ".join(f"{across(rate):.1f},{down(value):.1f}" for rate, value in curve)
        dots = [
            Dot(round(across(rate), 1), round(down(value), 1), f"{codec}: {rate:.3g} {unit}, {value:.{digits}f}")
            for rate, value in curve
            if low <= rate <= high
        ]
        lines.append(Line(codec, path, dots))
    rates = [Tick(round(across(rate), 1), f"{rate:g}") for rate in _rate_ticks(low, high)]
    qualities = [Tick(round(down(value), 1), words) for value, words in _quality_ticks(bottom, top)]
    return Plot(title, unit, lines, rates, qualities)


def _rate_ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range, even in the logarithm: as few as will do."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within: list[float] = []
    for steps in _RATE_STEPS:
        ticks = [round(step * 10.0**power, 12) for power in powers for step in steps]
        within = [tick for tick in ticks if low <= tick <= high]
        if len(within) >= _FEWEST_TICKS:
            break
    return within[:: math.ceil(len(within) / _MOST_TICKS)]


def _quality_ticks(bottom: float, top: float) -> list[tuple[float, str]]:
    """Multiples of a round step in a range, and their words."""
    rough = (top - bottom) / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (*_STEPS, 10) if step * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(bottom / step), math.floor(top / step) + 1)
    return [(number * step, f"{number * step:.{digits}f}") for number in numbers]
