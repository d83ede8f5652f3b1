"""What people see of a learning: the plan before it, a table and a plot meanwhile, lines where there is no terminal."""

from __future__ import annotations

import math
import re
import resource
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import click

from ..learning import curves as learning_curves
from ..learning.curves import Curves
from ..learning.estimate import about_size, about_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..families.linear.learning import MixtureReport
    from ..families.siren.learning import RoundReport
    from ..learning.trainer import StepReport

Report = TypeVar("Report")

_WIDTH, _HEIGHT = 78, 10  # of the plot, in characters
_FRAMES = 2  # per second
_FEWEST_STEPS, _FEWEST_SECONDS = 10, 5.0  # before a forecast of the time; the first step is left out, it takes longer
_LINES = 20  # of rounds, where there are many


@dataclass(frozen=True)
class Manner(Generic[Report]):
    """How a family's reports are told.

    Attributes:
        name: of the prior.
        total: steps or rounds of all.
        curves: what there is to plot of reports.
        line: a report in words, or ``None`` for one that is passed over.
        word: of what is counted, ``"step"`` or ``"round"``.
    """

    name: str
    total: int
    curves: Callable[[Sequence[Report]], Curves]
    line: Callable[[Report], str | None]
    word: str


def of_steps(name: str, steps: int, kind: str) -> Manner[StepReport]:
    """Of families that are learned by gradient steps."""

    def line(own: StepReport) -> str:
        held_out = "" if own.held_out is None else f", held out {own.held_out:.4f}"
        return f"{name}: step {own.number}/{own.steps}, cost {own.cost:.4f} bits{held_out}"

    return Manner(name, steps, lambda reports: learning_curves.of_steps(reports, kind), line, "step")


def of_mixture(name: str, rounds: int) -> Manner[MixtureReport]:
    """Of mixtures in closed form."""

    def line(own: MixtureReport) -> str:
        return (
            f"{name}: phase {own.phase}/{own.phases}, round {own.number}/{own.rounds}, "
            f"cost {own.cost:.4f} bits per point, {100 * own.changed:.1f} % changed class"
        )

    return Manner(name, rounds, learning_curves.of_mixture, line, "round")


def of_rounds(name: str, rounds: int) -> Manner[RoundReport]:
    """Of networks with hidden layers."""

    def line(own: RoundReport) -> str | None:
        if own.number % max(1, own.rounds // _LINES) and own.number != own.rounds:
            return None
        return (
            f"{name}: round {own.number}/{own.rounds}, {own.bits_per_point:.4f} bits per point, "
            f"{own.psnr:.2f} dB; held out {own.held_out_bits_per_point:.4f}, {own.held_out_psnr:.2f} dB"
        )

    return Manner(name, rounds, learning_curves.of_rounds, line, "round")


def print_plan(name: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print what will be done on stderr, folded to 80 columns."""
    width = max(len(label) for label, _ in rows)
    click.echo(f"{name}: what will be learned", err=True)
    for label, text in rows:
        front = f"  {label:{width}}  "
        folded = textwrap.wrap(text, 79 - len(front), break_long_words=False, break_on_hyphens=False) or [""]
        click.echo(front + ("\n" + " " * len(front)).join(folded), err=True)


class Pace:
    """How fast a learning goes; steps before a resumption and the first one after it do not count."""

    def __init__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._from, self._since = math.inf, 0.0

    def went_on(self, done: int) -> None:
        """So many steps are done."""
        if self._from == math.inf:
            self._from, self._since = done, time.monotonic()
        self.done = done

    def seconds_per_step(self) -> float | None:
        """On average, as soon as there is one."""
        steps = self.done - self._from
        return (time.monotonic() - self._since) / steps if steps > 0 else None

    def seconds_left(self) -> float | None:
        """About, as soon as it can be told."""
        pace = self.seconds_per_step()
        return None if pace is None else pace * (self.total - self.done)

    def known(self) -> bool:
        """Whether enough steps were taken for a forecast."""
        return self.done - self._from >= _FEWEST_STEPS and time.monotonic() - self._since >= _FEWEST_SECONDS


class Lines(Generic[Report]):
    """A line for a report on stderr, and one about the time as soon as that is known."""

    def __init__(self, manner: Manner[Report], done: int) -> None:
        self._manner, self._pace, self._told = manner, Pace(done, manner.total), False

    def step(self, done: int) -> None:
        """So many steps or rounds are done."""
        self._pace.went_on(done)
        if not self._told and self._pace.known():
            self._told = True
            pace, left = self._pace.seconds_per_step(), self._pace.seconds_left()
            if pace is not None and left is not None:
                click.echo(
                    f"{self._manner.name}: {pace:.2f} s a {self._manner.word}, about {about_time(left)} left, "
                    f"{about_size(memory_used())} of memory so far",
                    err=True,
                )

    def report(self, own: Report) -> None:
        """Print it."""
        line = self._manner.line(own)
        if line is not None:
            click.echo(line, err=True)


class Live(Generic[Report]):
    """A table of the state and a plot of the curves, drawn anew in place."""

    def __init__(self, manner: Manner[Report], done: int, reports: Sequence[Report], console: Console) -> None:
        self._manner, self._pace, self._reports = manner, Pace(done, manner.total), list(reports)
        self._unicode = not console.options.ascii_only
        self._curves = manner.curves(self._reports)

    def step(self, done: int) -> None:
        """So many steps or rounds are done."""
        self._pace.went_on(done)

    def report(self, own: Report) -> None:
        """Add it to the curves."""
        self._reports.append(own)
        self._curves = self._manner.curves(self._reports)

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        return Group(self._state(), self._plot())

    def _state(self) -> RenderableType:
        from rich import box
        from rich.table import Table

        curves, pace = self._curves, self._pace
        table = Table(box=box.SIMPLE_HEAD if self._unicode else box.ASCII2, width=_WIDTH, pad_edge=False)
        for name in (self._manner.word, "training", "held out", "best held out", f"s a {self._manner.word}", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        best, seconds, left = curves.best(), pace.seconds_per_step(), pace.seconds_left()
        over = pace.done >= pace.total
        table.add_row(
            f"{pace.done:,} of {pace.total:,}",
            f"{curves.training[-1]:.4f}" if curves.training else "–",
            "–" if not curves.held_out or curves.held_out[-1] is None else f"{curves.held_out[-1]:.4f}",
            "–" if best is None else f"{best[1]:.4f} at {best[0]:,}",
            "–" if seconds is None else f"{seconds:.2f}",
            "0 s" if over else "–" if left is None else f"about {about_time(left)}",
        )
        return table

    def _plot(self) -> RenderableType:
        from rich.text import Text

        lines = learning_curves.drawn(self._curves, _WIDTH, _HEIGHT, self._unicode)
        if not lines:
            return Text("curves begin with the first measurement", style="dim")
        thin, thick = learning_curves.marks(self._unicode)
        text = Text(learning_curves.legend(self._curves, self._unicode))
        text.highlight_regex(f"{re.escape(thin[0] * 2)} training", "cyan")
        text.highlight_regex(f"{re.escape(thick[0] * 2)} held out", "yellow")
        front = learning_curves.FRONT
        for line in lines[:-2]:
            text.append("\n" + line[:front])
            for mark in line[front:]:
                text.append(mark, style="cyan" if mark in thin else "yellow" if mark in thick else None)
        text.append("\n" + "\n".join(lines[-2:]))
        return text


@contextmanager
def view(manner: Manner[Report], done: int, reports: Sequence[Report]) -> Iterator[Lines[Report] | Live[Report]]:
    """A table with a plot on a terminal, lines elsewhere, both on stderr.

    Args:
        manner: of the family.
        done: steps or rounds before a resumption.
        reports: of these.
    """
    if not sys.stderr.isatty():
        yield Lines(manner, done)
        return
    from rich.console import Console
    from rich.live import Live as Redrawn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield Lines(manner, done)
        return
    shown = Live(manner, done, reports, console)
    with Redrawn(shown, console=console, refresh_per_second=_FRAMES):
        yield shown


def memory_used() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
