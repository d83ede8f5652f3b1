"""The command learn-prior: parse, tell what will be learned, learn, and write the prior with its card."""

from __future__ import annotations

import math
import shlex
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import CombinerError, OutputError, UsageError
from .. import display, options

if TYPE_CHECKING:
    from ...learning.datasets import Dataset
    from ...learning.distributed import Ranks
    from ..learning_jobs import Already, Finished, Job, Place, Request

_NOT_IN_THE_COMMAND = ("--threads", "--device", "--checkpoint", "--checkpoint-seconds")
_PLOT_WIDTH, _PLOT_HEIGHT = 78, 14  # of a card without a picture, in characters


@click.command("learn-prior", epilog=options.exit_codes(3, 6, 7, 9, 10))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Prior to write: NAME.safetensors."
)
@options.force
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Bits per pixel, or per sample of sound, to aim at. [default: 1]",
)
@click.option(
    "--family",
    type=click.Choice(["lapped", "linear", "pyramid", "siren"]),
    help="linear: tiles in closed form. pyramid: whole photographs, and lapped: whole recordings, by gradient. "
    "siren: with hidden layers. "
    "[default: linear, with layers siren]",
)
@click.option(
    "--layers",
    type=click.IntRange(0, 16),
    default=0,
    show_default=True,
    help="Hidden layers of the network; 0 is learned in closed form.",
)
@click.option(
    "--covariance",
    type=click.Choice(["full", "diagonal"]),
    help="Of the weights. [default: full without hidden layers, else diagonal]",
)
@click.option(
    "--components", type=click.IntRange(1, 4096), help="Gaussians of the mixture. [default: 16, with layers 1]"
)
@click.option(
    "--tile", type=click.IntRange(1, 2**20), help="Side of a tile. [default: 16, sound 128; with layers 32, 512]"
)
@click.option("--rounds", type=click.IntRange(1), help="Turns of fitting and updating. [default: 6, with layers 96]")
@click.option(
    "--turns",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="With layers: turns with full covariances after these.",
)
@click.option("--tiles", type=click.IntRange(1), help="Training tiles at most. [default: 400000, with layers 1024]")
@click.option(
    "--held-out", type=click.IntRange(1, 50), default=5, show_default=True, help="Percent of the signals kept out."
)
@click.option(
    "--dimensions", type=click.IntRange(1, 8192), default=256, show_default=True, help="Without layers: weights kept."
)
@click.option(
    "--context",
    type=click.IntRange(0, 4096),
    default=96,
    show_default=True,
    help="Without layers: dimensions of the surroundings.",
)
@click.option(
    "--reach", type=click.IntRange(1, 4096), help="Without layers: width of the surroundings. [default: 3, sound 32]"
)
@click.option("--beta", type=click.FloatRange(0, min_open=True), help="With layers: weight of the KL, not --rate.")
@click.option(
    "--features", type=click.IntRange(2, 4096), default=64, show_default=True, help="With layers: Fourier features."
)
@click.option(
    "--highest-frequency",
    type=click.FloatRange(1),
    help="With layers: of the features, in periods per tile. [default: half the tile]",
)
@click.option(
    "--width", type=click.IntRange(1, 4096), default=16, show_default=True, help="With layers: units of each."
)
@click.option(
    "--sine",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="With layers: factor inside the sine.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Gradient steps: of a pyramid or a lapped prior in all, with layers per round. [default: 6000, 40]",
)
@click.option(
    "--start",
    metavar="PRIOR",
    help="Pyramid, lapped: learn on from this prior, a name or a file. [default: from nothing]",
)
@click.option(
    "--hop",
    type=click.IntRange(16, 4096),
    multiple=True,
    help="Lapped: samples between frames; several let the encoder choose. [default: 256]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 768_000),
    help="Lapped: in Hz; what has another one is resampled. [default: that of the first recording]",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Pyramid, lapped: end when so many measurements of what is held out, each after 100 steps, brought no better "
    "one; the best state becomes the prior. [default: all steps, the last state]",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 1024),
    help="Pyramid, lapped: parts of a step whose gradients are computed apart, for as many processes at most. "
    "[default: the number of processes that torchrun started, or 1]",
)
@click.option(
    "--points", type=click.IntRange(1), default=256, show_default=True, help="With layers: points per tile and step."
)
@click.option(
    "--group-bits",
    type=click.Choice(["8", "16"]),
    default="16",
    show_default=True,
    help="With layers: bits of a group in files of version 1.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Resumed from and kept up to date. [default: NAME.checkpoint]"
)
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="Time between checkpoints."
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all random numbers.")
@click.option("--dry-run", is_flag=True, help="Tell what would be learned and what it takes, then stop.")
@click.option("--describe", metavar="TEXT", help="Description of the data for the card. [default: the folder's name]")
@options.device
@options.threads
@options.verbose
def learn_prior(
    dataset: Path, output: Path, force: bool, dry_run: bool, checkpoint: Path | None, **asked: object
) -> None:
    """Learn a prior from a folder of images or sounds, or an .npz of images.

    Stopped at any moment, the same command goes on from the last checkpoint. A card (NAME.md) is written beside the
    prior, with a plot (NAME.svg) where matplotlib is installed.

    \b
    Examples:
      combiner learn-prior photographs/ --rate 0.5 -o mine.safetensors
      combiner learn-prior photographs/ --layers 2 --tile 64 -o mine.safetensors
      combiner learn-prior photos/ --family pyramid --dry-run -o mine.safetensors
      torchrun --nproc-per-node 2 -m -- combiner_cli learn-prior photographs/ \\
          --family pyramid -o mine.safetensors
    """
    from ...learning.distributed import from_environment

    ranks = from_environment()
    try:
        request = _request(output, force, checkpoint, asked, ranks)
        _learn_prior(dataset, output, force, dry_run, request, ranks)
    except CombinerError as error:
        if ranks.first:
            raise
        click.get_current_context().exit(error.exit_code)  # the first process tells
    except KeyboardInterrupt:
        if ranks.first:
            raise
        click.get_current_context().exit(128 + signal.SIGINT)


def _request(output: Path, force: bool, checkpoint: Path | None, asked: dict[str, object], ranks: Ranks) -> Request:
    """What the user asked for, where that makes sense and can be written."""
    from ...priors import library
    from ...system import files
    from ..learning_jobs import Request

    if output.suffix != library.SUFFIX:
        raise UsageError(f"a prior's name ends in {library.SUFFIX}, unlike {output}")
    if asked["rate"] is not None and asked["beta"] is not None:
        raise UsageError("--rate and --beta exclude each other; give one of them")
    for name in ("rate", "beta"):
        if isinstance(value := asked[name], float) and not math.isfinite(value):
            raise UsageError(f"--{name} takes a finite number")
    if ranks.first:
        for path in (output, output.with_suffix(".md"), output.with_suffix(".svg")):
            files.check_target(path, force)
    saved = checkpoint or output.with_suffix(".checkpoint")
    for words, path in (("", output), ("checkpoint ", saved)):
        if ranks.first and not path.parent.is_dir():
            folder = path.parent
            raise OutputError(f"{words}{path} cannot be written: the folder {folder} does not exist; create it first")
    return Request(name=output.stem, checkpoint=saved, **asked)  # type: ignore[arg-type]


def _learn_prior(dataset: Path, output: Path, force: bool, dry_run: bool, asked: Request, ranks: Ranks) -> None:
    """Learn and write in the first process, learn along in the others."""
    from ...learning import datasets
    from ...learning.distributed import joined
    from ...priors import library
    from ...system import files
    from .. import learning_display, learning_jobs
    from ..learning_jobs import BY_STEPS, JOBS, Place

    clock = time.perf_counter()
    family = learning_jobs.family_of(asked)
    if ranks.count > 1 and family not in BY_STEPS:
        raise UsageError(
            f"a {family} prior is learned by one process; start combiner without torchrun, or give --family pyramid "
            "or lapped"
        )
    if asked.shards and asked.shards % ranks.count:
        raise UsageError(f"--shards {asked.shards} cannot be shared by {ranks.count} processes; give a multiple")
    place = Place(ranks, ranks.device(_kind_of_device(asked, family)))
    with ExitStack() as ending:
        ending.enter_context(joined(ranks, place.device))
        with ranks.together():
            writes = ranks.first and not dry_run
            partial = ending.enter_context(files.atomic_output(output, force)) if writes else None
            source = datasets.open_dataset(dataset)
            job = JOBS[family](source, asked, place)
            already = job.already() if ranks.first else learning_jobs.Already()
        if ranks.first:
            learning_display.print_plan(asked.name, _plan_rows(source, output, asked, job, already, place))
        if dry_run:
            return
        finished = _followed(job, already, asked, ranks)
        if partial is None:
            return
        library.save(finished.prior, partial)
    seconds, memory = time.perf_counter() - clock, learning_display.memory_used() / 2**30
    _write_card(output, force, finished, _command(dataset, job.shards), f"{seconds:.0f} s and {memory:.1f} GiB")
    asked.checkpoint.unlink(missing_ok=True)
    unit = "pixel" if source.kind == "image" else "sample"
    if finished.remark:
        click.echo(f"{asked.name}: {finished.remark}", err=True)
    rate = f"{finished.prior.bits_per_point:.4f} bits per {unit}"
    click.echo(f"{output}: prior {finished.prior.id:08x}, {rate}, {seconds:.0f} s, {memory:.1f} GiB")


def _kind_of_device(asked: Request, family: str) -> str:
    """``"cpu"`` or ``"cuda"``; a mixture is learned without torch."""
    if family == "linear":
        return "cpu"
    from ...codec.pipeline import choose_device

    return choose_device(asked.device)


def _plan_rows(
    source: Dataset, output: Path, asked: Request, job: Job, already: Already, place: Place
) -> list[tuple[str, str]]:
    """What will be learned, in labelled words."""
    from ...learning.estimate import about_size, about_time, size_text

    look, ranks = job.outlook, place.ranks
    total, word = job.manner.total, job.manner.word
    seconds = look.seconds * (total - already.done) / total / ranks.count
    processes = f", {ranks.count} processes" if ranks.count > 1 else ""
    files = f"{len(source.files):,} files, " if source.files else ""
    cores = "a core" if ranks.count == 1 else f"{ranks.count} cores"
    early = f"; after {asked.patience} without a better one learning ends" if asked.patience else ""
    state = f"resuming from {word} {already.done:,}" if already.done else "there is none yet"
    return [
        ("prior", f"{output}, family {look.family}, {'at most ' if look.at_most else ''}{size_text(look.prior_bytes)}"),
        ("data", f"{source.source}, {files}{job.data}"),
        ("held out", f"{job.held_out}{early}"),
        ("work", look.work),
        ("device", f"{place.device.partition(':')[0]}{processes}"),
        ("time", f"about {about_time(seconds)} on {cores} of a server; told again when it is known better"),
        ("memory", f"about {about_size(look.memory)}{' for each process' if ranks.count > 1 else ''}"),
        ("checkpoint", f"{asked.checkpoint}, every {asked.checkpoint_seconds:g} s; {state}"),
    ]


class _Silent:
    """What a process other than the first one tells: nothing."""

    def step(self, done: int) -> None:
        """So many steps are done."""

    def report(self, own: object) -> None:
        """What was measured."""


def _followed(job: Job, already: Already, asked: Request, ranks: Ranks) -> Finished:
    """Do the work of a job while the user looks on."""
    if not ranks.first:
        return job.learn(_Silent())
    from .. import learning_display

    try:
        with learning_display.view(job.manner, already.done, already.reports) as shown:
            return job.learn(shown)
    except (KeyboardInterrupt, SystemExit):
        if asked.checkpoint.exists():
            display.note(f"the same command goes on from {asked.checkpoint}")
        raise


def _write_card(output: Path, force: bool, finished: Finished, command: str, spent: str) -> None:
    """Write the card, and its plot beside it where there is a library for plots."""
    from ...learning import curves as learning_curves
    from ...system import files

    picture, curves = output.with_suffix(".svg"), finished.curves
    if learning_curves.can_plot():
        with files.atomic_output(picture, force) as partial:
            partial.write_text(learning_curves.svg(curves, output.stem), encoding="utf-8")
        from urllib.parse import quote

        plot = f"![{curves.quantity}, by {curves.word}]({quote(picture.name)})"
    else:
        lines = learning_curves.drawn(curves, _PLOT_WIDTH, _PLOT_HEIGHT)
        plot = "\n".join(["```", learning_curves.legend(curves), *lines, "```"])
    with files.atomic_output(output.with_suffix(".md"), force) as partial:
        partial.write_text(finished.describe(command, f"{spent} in the last run", plot), encoding="utf-8")


def _command(dataset: Path, shards: int) -> str:
    """The command as typed, without folders and without what does not change the result.

    Args:
        dataset: as typed.
        shards: of the learning; torchrun may have decided on them.
    """
    words = ["combiner"]
    typed = iter(sys.argv[1:])
    for word in typed:
        if word in ("-f", "--force", "-v", "--verbose"):
            continue
        if word in _NOT_IN_THE_COMMAND:
            next(typed, None)
        elif word in ("-o", "--output"):
            words += [word, Path(next(typed, "")).name]
        else:
            words.append("DATASET" if Path(word) == dataset else word)
    if shards > 1 and not any(word.partition("=")[0] == "--shards" for word in words):
        words += ["--shards", str(shards)]
    return shlex.join(words)
