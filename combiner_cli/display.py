"""What people see on stderr while they wait."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .learn import RoundReport
    from .refine import Progress


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None] | None]:
    """A bar on stderr with phase, PSNR so far and time left, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:>7}"),
        BarColumn(),
        TextColumn("{task.fields[psnr]:>9}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def report(progress: Progress) -> None:
            if progress.phase not in tasks:
                tasks[progress.phase] = bar.add_task(progress.phase, total=1.0, psnr="")
            error = progress.squared_error
            psnr = "" if error is None else f"{10 * math.log10(4 / max(error, 1e-12)):.2f} dB"
            bar.update(tasks[progress.phase], completed=progress.done, psnr=psnr)

        yield report


@contextmanager
def round_display(name: str, rounds: int) -> Iterator[Callable[[RoundReport], None]]:
    """A bar on a terminal, a line now and then elsewhere, both on stderr."""
    if not sys.stderr.isatty():
        yield lambda result: _print_round(name, result)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=rounds, state="")

        def show(result: RoundReport) -> None:
            state = f"{result.held_out_bits_per_point:.3f} b {result.held_out_psnr:.2f} dB"
            bar.update(task, completed=result.number, state=state)

        yield show


def _print_round(name: str, result: RoundReport) -> None:
    if result.number % max(1, result.rounds // 20) == 0 or result.number == result.rounds:
        click.echo(
            f"{name}: round {result.number}/{result.rounds}, {result.bits_per_point:.4f} bits per point, "
            f"{result.psnr:.2f} dB; held out {result.held_out_bits_per_point:.4f}, {result.held_out_psnr:.2f} dB",
            err=True,
        )
