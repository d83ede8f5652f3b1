"""The command bench: parse, measure what is missing, and write tables, curves and the report."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ...errors import UsageError
from .. import display, options

if TYPE_CHECKING:
    from ...bench.study import Outcome
    from ...signals.kinds import Tune

_PACKAGES = ("bjontegaard", "jinja2", "matplotlib", "pystoi", "pytorch_msssim")
_SOME_FAILED = 1


_Numbers = tuple[float, ...]


def _numbers(low: float, high: float, whole: bool) -> Callable[[click.Context, click.Parameter, Any], _Numbers | None]:
    """Reads numbers with commas between them, each once."""
    what = f"numbers from {low:g} to {high:g}" if math.isfinite(high) else "positive numbers"

    def convert(_ctx: click.Context, _option: click.Parameter, value: str | None) -> _Numbers | None:
        if value is None:
            return None
        try:
            numbers = [int(word) if whole else float(word) for word in value.split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(low <= number <= high and 0 < number < math.inf for number in numbers):
            raise click.BadParameter(f"{value!r}; it takes {what} with commas between them")
        return tuple(dict.fromkeys(numbers))

    return convert


@click.command(epilog=options.exit_codes(1, 3, 6, 7, 9))
@click.argument("dataset", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the results. [default: DATASET-bench, here]"
)
@click.option(
    "--rates",
    metavar="N,...",
    callback=_numbers(0, math.inf, whole=False),
    help="Bits per pixel of images, kbit/s of sounds. [default: four or five, by the signals]",
)
@click.option(
    "--qualities",
    metavar="N,...",
    callback=_numbers(1, 10, whole=True),
    help="Qualities as of encode -q, instead of --rates.",
)
@click.option(
    "--efforts",
    metavar="N,...",
    callback=_numbers(1, 9, whole=True),
    default="5",
    show_default=True,
    help="Efforts as of encode -e, a curve for each.",
)
@click.option(
    "--tunes",
    metavar="TUNE,...",
    help="perceptual, psnr, or both with a comma, as of encode --tune; a curve for each. [default: as encode does]",
)
@click.option(
    "--measure",
    type=click.Choice(["ms_ssim", "ssimulacra2", "estoi", "pesq", "visqol", "lsd"]),
    help="Measured beside PSNR and SNR. [default: ms_ssim, estoi of speech, lsd of other sounds]",
)
@click.option("--prior", "prior_name", metavar="NAME|FILE", help="Prior to use. [default: as encode does]")
@click.option(
    "--baselines",
    metavar="all|none|NAME,...",
    default="all",
    show_default=True,
    help="Other codecs to run: jpeg, jpeg2000, webp, avif; mp3, vorbis, opus.",
)
@click.option(
    "--published",
    multiple=True,
    type=click.Path(path_type=Path),
    help="JSON of published curves: method, data set, list of [rate, PSNR]; or CompressAI's results of a codec.",
)
@click.option("--published-name", metavar="NAME", help="Data set of published curves. [default: DATASET's name]")
@click.option("--published-methods", metavar="NAME,...", help="Of published curves, those to show. [default: all]")
@click.option("--limit", type=click.IntRange(1), help="Files at most, spread over the data set.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Files at once, with a thread each if more than one.",
)
@options.device
@options.threads
@options.json
@options.verbose
def bench(
    dataset: tuple[Path, ...],
    output: Path | None,
    rates: tuple[float, ...] | None,
    qualities: tuple[int, ...] | None,
    efforts: tuple[int, ...],
    tunes: str | None,
    measure: str | None,
    prior_name: str | None,
    baselines: str,
    published: tuple[Path, ...],
    published_name: str | None,
    published_methods: str | None,
    limit: int | None,
    jobs: int,
    device: str,
    as_json: bool,
) -> None:
    """Measure combiner and other codecs on a data set, and write a report.

    DATASET is a folder of images or of sounds, or such files. Whole files are weighed, and what their decoders return
    is measured. Every row is in results.csv as soon as it is measured and is not measured again, so that a sweep that
    was stopped goes on where it was. Beside it are curves of each codec in CompressAI's shape, BD-rates and
    report.html. Times are wall times in this process, without start-up.

    \b
    Examples:
      combiner bench photographs/
      combiner bench kodak/ --rates 0.1,0.2,0.4,0.8 --efforts 1,5 --jobs 4
      combiner bench kodak/ --published curves.json --published-methods COIN,VTM
      combiner bench speech/ --baselines opus,mp3 --limit 10 -o results/
    """
    from ...system import packages

    packages.require("bench", "combiner bench", *_PACKAGES)
    from ...bench import study

    if rates and qualities:
        raise UsageError("--rates and --qualities exclude each other; give one of them")
    first = dataset[0].resolve()
    folder = output or Path(f"{first.name if first.is_dir() else first.stem}-bench")
    request = study.Request(
        places=dataset,
        folder=folder,
        rates=rates,
        qualities=qualities,
        efforts=efforts,
        prior=prior_name,
        baselines=baselines,
        published=published,
        published_name=published_name,
        published_methods=published_methods,
        limit=limit,
        jobs=jobs,
        device=device,
        tunes=_tunes(tunes),
        measure=measure,
    )
    clock = time.perf_counter()
    outcome = study.run(request, display.note, display.task_bar)
    _tell(outcome, folder, time.perf_counter() - clock, as_json)
    for failure in outcome.failures:
        click.echo(f"combiner: {failure.what}: {failure.why}", err=True)
    if outcome.failures:
        click.get_current_context().exit(_SOME_FAILED)


def _tunes(words: str | None) -> tuple[Tune | None, ...]:
    """The tunes that are named with commas between them, each once; the usual one where none is."""
    if words is None:
        return (None,)
    named = dict.fromkeys(word.strip() for word in words.split(","))
    for word in named:
        if word not in ("perceptual", "psnr"):
            raise UsageError(f"there is no tune {word!r}; give perceptual or psnr, or both with a comma")
    return cast("tuple[Tune, ...]", tuple(named))


def _tell(outcome: Outcome, folder: Path, seconds: float, as_json: bool) -> None:
    """Print what came of it, in tables or as a line of JSON."""
    from ...bench.report import page, summary

    result = outcome.summary
    if as_json:
        facts = {
            "output": str(folder),
            "report": str(folder / page.NAME),
            "kind": result.kind,
            "files": result.files,
            "rows": outcome.rows,
            "measured": outcome.measured,
            "failures": [{"what": failure.what, "why": failure.why} for failure in outcome.failures],
            "bd_rates": [summary.delta_row(comparison, result.second) for comparison in result.deltas()],
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(facts))
        return
    points, deltas = page.table_of_points(result, with_others=False), page.table_of_deltas(result)
    if points.rows:
        display.show_table(None, points.heads, points.rows)
    if reason := page.no_deltas(result):
        click.echo(reason)
    else:
        display.show_table(deltas.title, deltas.heads, deltas.rows)
    known = outcome.rows - outcome.measured
    click.echo(
        f"{folder / page.NAME}: {result.count}, {outcome.measured} rows measured, {known} known before, {seconds:.0f} s"
    )
