"""What people see: results in words and in JSON, and progress on stderr while they wait."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..codec import EncodeResult
    from ..refine import Progress
    from ..signals import Signal


def note(words: str) -> None:
    """Tell what was changed without having been asked for, beside the result and not in it."""
    click.echo(f"combiner: note: {words}", err=True)


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


def report_encoded(
    source: Path, target: Path, signal: Signal, result: EncodeResult, prior_name: str, seconds: float, as_json: bool
) -> None:
    """Print the line, or the JSON, of a finished file; the PSNR is that of the decoded signal."""
    from .. import metrics

    before, after = source.stat().st_size, len(result.data)
    rate_name, rate = rate_of(after, signal.kind, signal.shape, signal.sample_rate)
    quality = metrics.psnr(signal, result.decoded)
    noise = metrics.signal_to_noise(signal, result.decoded) if signal.kind == "sound" else None
    if as_json:
        facts: dict[str, object] = {
            "input": str(source),
            "output": str(target),
            "prior": prior_name,
            "input_bytes": before,
            "bytes": after,
        }
        facts |= {"payload_bytes": result.payload_bytes, rate_name: rate, "psnr": _finite(quality)}
        if noise is not None:
            facts |= {"snr": _finite(noise), "times_real_time": round(times_real_time(signal, seconds), 3)}
        phases = {phase: round(value, 3) for phase, value in result.seconds.items()}
        click.echo(json.dumps({**facts, "seconds": round(seconds, 3), "phases": phases}))
        return
    snr = "" if noise is None else f", SNR {noise:.2f} dB"
    click.echo(
        f"{source} -> {target}: {before:,} -> {after:,} bytes, {rate_text(rate_name, rate)}, "
        f"PSNR {quality:.2f} dB{snr}, {seconds:.1f} s{_speed_text(signal, seconds)}"
    )


def report_decoded(source: Path, target: Path, decoded: Signal, seconds: float, as_json: bool) -> None:
    """Print the line, or the JSON, of a file that was decoded."""
    if as_json:
        facts: dict[str, object] = {"input": str(source), "output": str(target), "kind": decoded.kind}
        facts |= {"shape": list(decoded.shape), "channels": decoded.channels}
        if decoded.kind == "sound":
            facts |= {"sample_rate": decoded.sample_rate}
            facts |= {"times_real_time": round(times_real_time(decoded, seconds), 3)}
        click.echo(json.dumps({**facts, "seconds": round(seconds, 3)}))
        return
    shape = shape_text(decoded.kind, decoded.shape, decoded.channels, decoded.sample_rate)
    click.echo(f"{source} -> {target}: {shape}, {seconds:.2f} s{_speed_text(decoded, seconds)}")


def times_real_time(sound: Signal, seconds: float) -> float:
    """Seconds of a sound over the seconds that it took."""
    assert sound.sample_rate is not None
    return sound.points / sound.sample_rate / seconds


def _speed_text(signal: Signal, seconds: float) -> str:
    return f", {times_real_time(signal, seconds):.2f} times real time" if signal.kind == "sound" else ""


def _finite(value: float) -> float | None:
    """JSON has no infinity: ``None`` stands for the PSNR of equal signals."""
    return round(value, 4) if abs(value) != float("inf") else None


def rate_of(size: int, kind: str, shape: tuple[int, ...], sample_rate: int | None) -> tuple[str, float]:
    """Name and value of the rate of a file of ``size`` bytes: bits per pixel or kbit/s."""
    from .. import metrics

    if kind == "image":
        return "bpp", round(metrics.bits_per_pixel(size, shape), 5)
    assert sample_rate is not None
    return "kbps", round(metrics.kilobits_per_second(size, shape[0], sample_rate), 4)


def rate_text(name: str, rate: float) -> str:
    """A rate from :func:`rate_of` in words."""
    return f"{rate:.3f} bpp" if name == "bpp" else f"{rate:.2f} kbit/s"


def shape_text(kind: str, shape: tuple[int, ...], channels: int, sample_rate: int | None) -> str:
    """Size and channels of a signal in words."""
    if kind == "image":
        return f"{shape[1]}x{shape[0]} {('grey', 'grey + alpha', 'RGB', 'RGB + alpha')[channels - 1]}"
    assert sample_rate is not None
    return f"{shape[0] / sample_rate:.2f} s {('mono', 'stereo')[channels - 1]} at {sample_rate} Hz"
