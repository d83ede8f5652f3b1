"""What people see: results in words and in JSON, and progress on stderr while they wait."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CombinerError, one_line

if TYPE_CHECKING:
    from ..batch.requests import Decoded, Encoded, Outcome
    from ..container.metadata import Metadata
    from ..family import Progress
    from ..priors.library import Entry
    from ..signals.signal import Format, Kind

_BYTES_ON_TOP = 2**16  # of an input's size that take as long as what every file takes


def note(words: str) -> None:
    """Tell what was changed without having been asked for, beside the result and not in it."""
    click.echo(f"combiner: note: {one_line(words)}", err=True)


def warn(words: str) -> None:
    """Tell what is wrong with a result that was asked for all the same."""
    click.echo(f"combiner: warning: {one_line(words)}", err=True)


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on stderr with phase, PSNR so far and time left, if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
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


def report_encoded(source: Path, target: Path, facts: Encoded, as_json: bool, err: bool = False) -> None:
    """Print the line, or the JSON, of a finished file; the PSNR is that of the decoded signal, if it was decoded."""
    rate_name, rate = rate_of(facts.bytes, facts.format)
    qualities = {name: value for name, value in (("psnr", facts.psnr), ("snr", facts.snr)) if value is not None}
    if as_json:
        told: dict[str, object] = {
            "input": str(source),
            "output": str(target),
            "prior": facts.prior,
            "prior_chosen": facts.prior_chosen,
            "input_bytes": facts.input_bytes,
            "bytes": facts.bytes,
        }
        told |= {"payload_bytes": facts.payload_bytes, "metadata_bytes": facts.metadata_bytes, rate_name: rate}
        told |= {name: finite(value) for name, value in qualities.items()}
        told |= _speed(facts)
        told |= {"warnings": list(facts.warnings)}
        phases = {phase: round(value, 3) for phase, value in facts.phases.items()}
        click.echo(json.dumps({**told, "seconds": round(facts.seconds, 3), "phases": phases}), err=err)
        return
    decibels = "".join(f"{name.upper()} {value:.2f} dB, " for name, value in qualities.items()) or "not verified, "
    of_which = f" ({facts.metadata_bytes:,} of them metadata)" if facts.metadata_bytes else ""
    words = (
        f"{source} -> {target}: {facts.input_bytes:,} -> {facts.bytes:,} bytes{of_which}, "
        f"{rate_text(facts.bytes, facts.format)}, {decibels}{facts.seconds:.1f} s{_speed_text(facts)}"
    )
    chosen = (f"{words}, chosen prior {facts.prior}",) if facts.prior_chosen else (words,)
    click.echo(one_line("; ".join((*chosen, *facts.warnings))), err=err)


def report_decoded(source: Path, target: Path, facts: Decoded, as_json: bool, err: bool = False) -> None:
    """Print the line, or the JSON, of a file that was decoded."""
    if as_json:
        told: dict[str, object] = {"input": str(source), "output": str(target), "kind": facts.format.kind}
        told |= {"shape": list(facts.format.shape), "channels": facts.format.channels}
        if facts.format.sample_rate is not None:
            told |= {"sample_rate": facts.format.sample_rate, **_speed(facts)}
        click.echo(json.dumps({**told, "seconds": round(facts.seconds, 3)}), err=err)
        return
    words = f"{source} -> {target}: {shape_text(facts.format)}, {facts.seconds:.2f} s{_speed_text(facts)}"
    click.echo(one_line(words), err=err)


def report_outcome(outcome: Outcome, as_json: bool, err: bool = False) -> None:
    """Print what became of a file: the lines of :func:`report_encoded` and :func:`report_decoded`, or an error.

    As JSON there is a line for every file, those that were left out included.
    """
    from ..batch.requests import Encoded

    if outcome.facts is not None and outcome.target is not None:
        if isinstance(outcome.facts, Encoded):
            report_encoded(outcome.source, outcome.target, outcome.facts, as_json, err)
        else:
            report_decoded(outcome.source, outcome.target, outcome.facts, as_json, err)
    elif outcome.failure is not None:
        failure = outcome.failure
        if as_json:
            told: dict[str, object] = {"input": str(outcome.source), "error": failure.message}
            click.echo(json.dumps({**told, "exit_code": failure.exit_code}), err=err)
        else:
            click.echo(f"combiner: {with_name(outcome.source, failure.message)}", err=True)
    elif as_json:
        click.echo(json.dumps({"input": str(outcome.source), "output": str(outcome.target), "skipped": True}), err=err)


def summary(done: str, facts: Sequence[Encoded | Decoded], skipped: int, seconds: float) -> None:
    """Print how much was done, on stderr, beside the lines of the files."""
    left_out = f", {skipped} skipped" if skipped else ""
    before, after = (sum(sizes) for sizes in ([one.input_bytes for one in facts], [one.bytes for one in facts]))
    files = "1 file" if len(facts) == 1 else f"{len(facts):,} files"
    click.echo(f"{files} {done}{left_out}: {before:,} -> {after:,} bytes, {seconds:.1f} s", err=True)


def others_text(count: int) -> str:
    """What is said of files in folders that are neither media nor ``.cmb`` files.

    Args:
        count: number of them.
    """
    if count == 1:
        return "1 file in the folders is no image or sound by its name, and is left alone"
    return f"{count:,} files in the folders are no images or sounds by their names, and are left alone"


def with_name(source: Path, message: str) -> str:
    """A message that says which file it is about.

    Args:
        source: the file.
        message: that may say so already.
    """
    name = one_line(str(source))
    return message if message.startswith((f"{name} ", f"{name}: ")) else f"{name}: {message}"


@contextmanager
def files_bar(files: int, total_bytes: int, quiet: bool) -> Iterator[Callable[[int], AbstractContextManager[None]]]:
    """A bar over files on stderr with the time that is left, if stderr is a terminal.

    Time goes by bytes of input, with something on top for every file.

    Args:
        files: number of inputs.
        total_bytes: of all inputs.
        quiet: whether to do without.

    Yields:
        A function that is told the bytes of a finished input, and gives a block in which its line may be printed.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: nullcontext()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[finished]}/{task.fields[files]} files"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # lines go to where they belong by themselves, while there is no bar
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("files", total=total_bytes + files * _BYTES_ON_TOP, files=files, finished=0)
        finished = 0

        @contextmanager
        def advance(size: int) -> Iterator[None]:
            nonlocal finished
            finished += 1
            bar.update(task, advance=size + _BYTES_ON_TOP, finished=finished)
            bar.stop()
            yield
            bar.start()

        yield advance


def _times_real_time(facts: Encoded | Decoded) -> float | None:
    """Seconds of a sound over the seconds that it took; ``None`` for an image."""
    sample_rate = facts.format.sample_rate
    return None if sample_rate is None else facts.format.points / sample_rate / facts.seconds


def _speed(facts: Encoded | Decoded) -> dict[str, float]:
    times = _times_real_time(facts)
    return {} if times is None else {"times_real_time": round(times, 3)}


def _speed_text(facts: Encoded | Decoded) -> str:
    times = _times_real_time(facts)
    return "" if times is None else f", {times:.2f} times real time"


def finite(value: float | None) -> float | None:
    """JSON has no infinity: ``None`` stands for the PSNR of equal signals."""
    return None if value is None or math.isinf(value) else round(value, 4)


def failure_teller(as_json: bool) -> Callable[[Path, CombinerError], None]:
    """What tells of one of many files that it failed: a line on stderr, as JSON one on stdout."""

    def tell(source: Path, error: CombinerError) -> None:
        if as_json:
            click.echo(json.dumps({"file": str(source), "error": str(error), "exit_code": error.exit_code}))
        else:
            click.echo(f"combiner: {with_name(source, str(error))}", err=True)

    return tell


def rate_of(size: int, signal_format: Format) -> tuple[str, float]:
    """The rate of a file as JSON has it: its name, and its value in bits per pixel or kbit/s.

    Args:
        size: of the file, in bytes.
        signal_format: of the signal in it.
    """
    from ..signals import metrics
    from ..signals.kinds import KINDS

    return KINDS[signal_format.kind].rate_name, round(metrics.rate(size, signal_format), 5)


def rate_text(size: int, signal_format: Format) -> str:
    """The rate of a file in words.

    Args:
        size, signal_format: as for :func:`rate_of`.
    """
    from ..signals import metrics
    from ..signals.kinds import KINDS

    return f"{metrics.rate(size, signal_format):.3f} {KINDS[signal_format.kind].rate_unit}"


def shape_text(signal_format: Format) -> str:
    """Size and channels of a signal in words.

    Args:
        signal_format: of the signal.
    """
    if signal_format.sample_rate is None:
        height, width = signal_format.shape
        return f"{width}x{height} {('grey', 'grey + alpha', 'RGB', 'RGB + alpha')[signal_format.channels - 1]}"
    seconds = signal_format.points / signal_format.sample_rate
    return f"{seconds:.2f} s {('mono', 'stereo')[signal_format.channels - 1]} at {signal_format.sample_rate} Hz"


def rates_text(rates: Sequence[float], kind: Kind) -> str:
    """The rates that a prior is meant for.

    Args:
        rates: lowest and highest bits per point, or the one rate.
        kind: of the signals.
    """
    from ..signals.kinds import KINDS

    return f"{' to '.join(f'{rate:.2f}' for rate in rates)} bits per {KINDS[kind].point}"


def prior_table(entries: Sequence[Entry]) -> None:
    """Print a table of priors."""
    rows = [
        (
            entry.name,
            entry.id,
            entry.family,
            f"{entry.kind}s",
            " to ".join(f"{rate:.2f}" for rate in entry.rates),
            f"{entry.bytes / 1e6:.1f}",
            entry.origin,
        )
        for entry in entries
    ]
    show_table(None, ("name", "id", "family", "for", "bits per sample", "MB", "from"), rows)


def markdown(text: str) -> None:
    """Print a Markdown text, readable on a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def metadata_parts(metadata: Metadata) -> list[str]:
    """What metadata hold, in words, with the bytes of each part as they are outside of a file.

    Args:
        metadata: of a file.
    """
    from ..container.metadata import WORDS

    sizes = metadata.sizes()
    parts = [f"{words} {sizes[name]:,}" for name, words in WORDS.items() if name in sizes]
    unknown = sum(size for name, size in sizes.items() if name not in WORDS)
    return [*parts, f"unknown {unknown:,}"] if unknown else parts


@contextmanager
def task_bar(words: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar with time left on a terminal, a line for every tenth of the work elsewhere, both on stderr."""
    if not sys.stderr.isatty():
        done = 0

        def line() -> None:
            nonlocal done
            done += 1
            if done * 10 // total > (done - 1) * 10 // total:
                click.echo(f"{words}: {done}/{total}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # steps of a codec's own take turns, so that the speed is an average over many
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600) as bar:
        task = bar.add_task(words, total=total)
        yield lambda: bar.advance(task)


def show_table(title: str | None, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)
