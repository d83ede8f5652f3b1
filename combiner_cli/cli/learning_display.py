"""What people see of a learning: the plan before it, a table and a plot meanwhile, lines where there is no terminal."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..learning import report
from ..learning.estimate import Pace, ResourceEstimate, about_size, about_time, memory_used
from ..learning.report import Measurement, ReportStyle
from ..learning.trainer import ProgressListener

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDTH, _HEIGHT = 78, 10  # of the plot, in characters
_FRAMES = 2  # per second
_LONG_END = 5.0  # seconds of measuring the prior, of which is told where there is no terminal


@dataclass(frozen=True)
class Shown:
    """A learning that is shown.

    Attributes:
        name: of the prior.
        style: how its measurements are told.
        estimate: of what it takes.
        done: number of steps before a resumption.
        measurements: after these.
    """

    name: str
    style: ReportStyle
    estimate: ResourceEstimate
    done: int = 0
    measurements: tuple[Measurement, ...] = ()


def print_plan(name: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print what will be done on stderr, folded to 80 columns.

    Args:
        name: of the prior.
        rows: labelled words.
    """
    width = max(len(label) for label, _ in rows)
    click.echo(f"{name}: what will be learned", err=True)
    for label, text in rows:
        front = f"  {label:{width}}  "
        folded = textwrap.wrap(text, 79 - len(front), break_long_words=False, break_on_hyphens=False) or [""]
        click.echo(front + ("\n" + " " * len(front)).join(folded), err=True)


class _Watching(ProgressListener):
    """What is common to those who show a learning.

    Attributes:
        saved_steps: steps that are saved in the checkpoint; ``None`` before there is one.
    """

    def __init__(self, shown: Shown) -> None:
        self.saved_steps: int | None = None
        self._shown, self._pace = shown, Pace(shown.estimate, shown.done)
        self._finishing: tuple[float, float] | None = None  # share of it, and when it began

    def step(self, done: int) -> None:
        self._pace.went_on(done)

    def saved(self, done: int) -> None:
        self.saved_steps = done

    def finishing(self, share: float) -> None:
        began = time.monotonic() if self._finishing is None else self._finishing[1]
        self._finishing = share, began


class Lines(_Watching):
    """A line for a measurement on stderr, and one about the time as soon as that is known."""

    def __init__(self, shown: Shown) -> None:
        """Begin.

        Args:
            shown: the learning.
        """
        super().__init__(shown)
        self._told = False

    def step(self, done: int) -> None:
        super().step(done)
        if not self._told and self._pace.known():
            self._told = True
            click.echo(
                f"{self._shown.name}: {self._pace.seconds_per_step():.2f} s a {self._shown.style.step}, about "
                f"{about_time(self._pace.seconds_left())} left, {about_size(memory_used())} of memory so far",
                err=True,
            )

    def measured(self, measurement: Measurement) -> None:
        line = self._shown.style.line(measurement, self._shown.estimate.steps)
        click.echo(f"{self._shown.name}: {line}", err=True)

    def finishing(self, share: float) -> None:
        first = self._finishing is None
        super().finishing(share)
        left = self._pace.seconds_left()
        if first and left > _LONG_END:
            click.echo(f"{self._shown.name}: the prior is measured, which takes about {about_time(left)}", err=True)


class Live(_Watching):
    """A table of the state and a plot of the curves, drawn anew in place."""

    def __init__(self, shown: Shown, console: Console) -> None:
        """Begin.

        Args:
            shown: the learning.
            console: to draw on.
        """
        super().__init__(shown)
        self._measurements = list(shown.measurements)
        self._unicode = not console.options.ascii_only
        self._curves = report.curves_of(shown.style, self._measurements)

    def measured(self, measurement: Measurement) -> None:
        self._measurements.append(measurement)
        self._curves = report.curves_of(self._shown.style, self._measurements)

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        return Group(self._state(), self._plot())

    def _state(self) -> RenderableType:
        from rich import box
        from rich.table import Table

        curves, pace, word = self._curves, self._pace, self._shown.style.step
        table = Table(box=box.SIMPLE_HEAD if self._unicode else box.ASCII2, width=_WIDTH, pad_edge=False)
        for name in (word, "training", "held out", "best held out", f"s a {word}", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        best, seconds = curves.best(), pace.seconds_per_step()
        is_measuring = self._finishing is not None and self._finishing[0] < 1
        table.add_row(
            "measuring" if is_measuring else f"{pace.done:,} of {self._shown.estimate.steps:,}",
            f"{curves.training[-1]:.4f}" if curves.training else "–",
            "–" if not curves.held_out or curves.held_out[-1] is None else f"{curves.held_out[-1]:.4f}",
            "–" if best is None else f"{best[1]:.4f} at {best[0]:,}",
            "–" if seconds is None else f"{seconds:.2f}",
            self._left(),
        )
        return table

    def _left(self) -> str:
        """The time that is left, in words."""
        if self._finishing is None:
            return f"about {about_time(self._pace.seconds_left())}"
        share, began = self._finishing
        if not share:
            return f"about {about_time(self._pace.seconds_left())}"
        left = (time.monotonic() - began) * (1 - share) / share
        return f"about {about_time(left)}" if left >= 1 else "0 s"

    def _plot(self) -> RenderableType:
        from rich.text import Text

        lines = report.drawn(self._curves, _WIDTH, _HEIGHT, self._unicode)
        if not lines:
            return Text("curves begin with the first measurement", style="dim")
        thin, thick = report.marks(self._unicode)
        text = Text(report.legend(self._curves, self._unicode))
        text.highlight_regex(f"{re.escape(thin[0] * 2)} training", "cyan")
        text.highlight_regex(f"{re.escape(thick[0] * 2)} held out", "yellow")
        front = report.FRONT
        for line in lines[:-2]:
            text.append("\n" + line[:front])
            for mark in line[front:]:
                text.append(mark, style="cyan" if mark in thin else "yellow" if mark in thick else None)
        text.append("\n" + "\n".join(lines[-2:]))
        return text


@contextmanager
def view(shown: Shown) -> Iterator[Lines | Live]:
    """A table with a plot on a terminal, lines elsewhere, both on stderr.

    Args:
        shown: the learning.
    """
    if not sys.stderr.isatty():
        yield Lines(shown)
        return
    from rich.console import Console
    from rich.live import Live as Redrawn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield Lines(shown)
        return
    live = Live(shown, console)
    with Redrawn(live, console=console, refresh_per_second=_FRAMES):
        yield live
