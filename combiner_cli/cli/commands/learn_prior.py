"""The command learn-prior: parse, tell what will be learned, learn, and write the prior with its card."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import CombinerError, OutputError, UsageError
from .. import display, options
from ..learning_options import FamilyType, LearningCommand

if TYPE_CHECKING:
    from ...learning.checkpoint import CheckpointFile, ResumeState
    from ...learning.distributed import ProcessGroup
    from ...learning.estimate import ResourceEstimate
    from ...learning.job import Learning, LearningRequest, LearningResult

_NOT_IN_THE_COMMAND = ("--threads", "--device", "--checkpoint", "--checkpoint-seconds")


@dataclass(frozen=True)
class _Files:
    """What is read and written.

    Attributes:
        dataset: folder or file to learn from, as it was typed.
        output: the prior.
        overwrite: whether it may be replaced.
        checkpoint: to go on from, and to keep up to date.
    """

    dataset: Path
    output: Path
    overwrite: bool
    checkpoint: CheckpointFile


@click.command("learn-prior", cls=LearningCommand, epilog=options.exit_codes(3, 6, 7, 9, 10))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Prior to write: NAME.safetensors."
)
@options.force
@click.option("--family", type=FamilyType(), help="Way of coding. [default: pyramid for images, lapped for sounds]")
@click.option(
    "--held-out", type=click.IntRange(1, 50), default=5, show_default=True, help="Percent of the signals kept out."
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all random numbers.")
@click.option("--dry-run", is_flag=True, help="Tell what would be learned and what it takes, then stop.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Resumed from and kept up to date. [default: NAME.checkpoint]"
)
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="Time between checkpoints."
)
@click.option(
    "--describe",
    "description",
    metavar="TEXT",
    help="Description of the data for the card. [default: the folder's name]",
)
@options.device
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads of the CPU to use. [default: 1 for products of matrices, whose last bits depend on it; else all]",
)
@options.verbose
def learn_prior(
    dataset: Path,
    output: Path,
    force: bool,
    dry_run: bool,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    family: str | None,
    **given: Any,
) -> None:
    """Learn a prior from a folder of images or sounds, or an .npz of images.

    Interrupted at any moment, the same command goes on where it was. A card (NAME.md) is written beside the prior, with
    a plot (NAME.svg) where matplotlib is installed.

    \b
    Examples:
      combiner learn-prior photographs/ -o mine.safetensors
      combiner learn-prior recordings/ --dry-run -o mine.safetensors
      combiner learn-prior scans/ --start photo-8 --steps 1000 -o mine.safetensors
      torchrun --nproc-per-node 2 -m -- combiner_cli learn-prior photographs/ \\
          -o mine.safetensors
    """
    from ...learning.checkpoint import CheckpointFile
    from ...learning.distributed import from_environment

    processes = from_environment()
    saved = CheckpointFile(checkpoint or output.with_suffix(".checkpoint"), checkpoint_seconds)
    places = _Files(dataset, output, force, saved)
    try:
        if processes.first:
            _check(places)
        _learn_prior(places, dry_run, family, processes, given)
    except CombinerError as error:
        if processes.first:
            raise
        click.get_current_context().exit(error.exit_code)  # the first process tells
    except KeyboardInterrupt:
        if processes.first:
            raise
        click.get_current_context().exit(128 + signal.SIGINT)


def _check(places: _Files) -> None:
    """Refuse, before any work, what cannot be written.

    Raises:
        UsageError: the prior's name is none.
        OutputError: a file exists and may not be replaced, or has no folder.
    """
    from ...priors import store
    from ...system import files

    output, checkpoint = places.output, places.checkpoint.path
    if output.suffix != store.SUFFIX:
        raise UsageError(f"a prior's name ends in {store.SUFFIX}, unlike {output}")
    for path in (output, output.with_suffix(".md"), output.with_suffix(".svg")):
        files.check_target(path, places.overwrite)
    for words, path in (("", output), ("checkpoint ", checkpoint)):
        if not path.parent.is_dir():
            folder = path.parent
            raise OutputError(f"{words}{path} cannot be written: the folder {folder} does not exist; create it first")


def _learn_prior(
    places: _Files, dry_run: bool, family: str | None, processes: ProcessGroup, given: dict[str, Any]
) -> None:
    """Learn and write in the first process, learn along in the others."""
    from ...families import registry
    from ...learning import job
    from ...learning.distributed import joined
    from ...learning.estimate import memory_used
    from ...priors import store
    from ...system import files

    clock = time.perf_counter()
    request = _request(places, processes, given)
    chosen = registry.to_learn(family, request.dataset.kind, request.options["start"])
    with ExitStack() as ending:
        ending.enter_context(joined(processes, request.device.name))
        with processes.together():
            writes = processes.first and not dry_run
            partial = ending.enter_context(files.atomic_output(places.output, places.overwrite)) if writes else None
            learning = job.begin(chosen, request)
            resumed = places.checkpoint.load(learning.plan.fingerprint) if processes.first else None
        estimate = job.timed(learning)
        if processes.first:
            _tell_plan(places, learning, resumed, estimate)
        if dry_run:
            return
        result = _followed(places, learning, resumed, estimate)
        if partial is None:
            return
        store.save(result.prior, partial)
    seconds, memory = time.perf_counter() - clock, memory_used() / 2**30
    spent = f"{seconds:.0f} s and {memory:.1f} GiB"
    _write_card(places, result, _command(places.dataset, learning.plan.shards), f"{spent} in the last run")
    places.checkpoint.path.unlink(missing_ok=True)
    if result.remark:
        click.echo(f"{request.name}: {result.remark}", err=True)
    unit = "pixel" if request.dataset.kind == "image" else "sample"
    rate = f"{result.prior.bits_per_point:.4f} bits per {unit}"
    click.echo(f"{places.output}: prior {result.prior.id:08x}, {rate}, {seconds:.0f} s, {memory:.1f} GiB")


def _request(places: _Files, processes: ProcessGroup, given: dict[str, Any]) -> LearningRequest:
    """What the user asked for."""
    from ...learning import datasets
    from ...learning.distributed import Device
    from ...learning.job import LearningRequest
    from ...priors import library
    from ...system.resources import limit_threads

    common = {name: given.pop(name) for name in ("held_out", "seed", "description")}
    threads = given.pop("threads")
    if threads is not None:
        limit_threads(threads)
    device = Device(given.pop("device"), threads or 1, processes)
    if processes.size > 1:
        device = device.settled()
    if given["start"] is not None:
        given["start"] = library.find(given["start"])
    dataset = datasets.open_dataset(places.dataset)
    return LearningRequest(name=places.output.stem, dataset=dataset, device=device, options=given, **common)


def _tell_plan(places: _Files, learning: Learning, resumed: ResumeState | None, estimate: ResourceEstimate) -> None:
    """Say what will be learned, and what it takes."""
    from ...learning.estimate import about_size, about_time, size_text
    from .. import learning_display

    processes, checkpoint = learning.device.processes, places.checkpoint
    done = 0 if resumed is None else resumed.done
    device = learning.device.name.partition(":")[0]
    each = " for each process" if processes.size > 1 else ""
    timed = "as some steps took here" if learning.uses_torch else "on a core of a server"
    state = f"resuming from {learning.style.step} {done:,}" if done else "there is none yet"
    size = f"{'at most ' if estimate.at_most else ''}{size_text(estimate.prior_bytes)}"
    rows = [
        ("prior", f"{places.output}, family {learning.family}, {size}"),
        ("data", f"{places.dataset}, {learning.data}"),
        ("held out", learning.held_out),
        ("work", learning.work),
        ("device", f"{device}, {processes.size} processes" if processes.size > 1 else device),
        ("time", f"about {about_time(estimate.seconds(done))}, {timed}; corrected as it goes"),
        ("memory", f"about {about_size(estimate.memory)}{each}"),
        ("checkpoint", f"{checkpoint.path}, every {checkpoint.seconds:g} s; {state}"),
    ]
    learning_display.print_plan(places.output.stem, rows)


def _followed(
    places: _Files, learning: Learning, resumed: ResumeState | None, estimate: ResourceEstimate
) -> LearningResult:
    """Learn while the user looks on."""
    from ...learning import job
    from .. import learning_display

    if not learning.device.processes.first:
        return job.run(learning, checkpoint=places.checkpoint)
    shown = learning_display.Shown(places.output.stem, learning.style, estimate)
    if resumed is not None:
        shown = learning_display.Shown(places.output.stem, learning.style, estimate, resumed.done, resumed.measurements)
    watching = None
    try:
        with learning_display.view(shown) as watching:
            return job.run(learning, watching, places.checkpoint)
    except (KeyboardInterrupt, SystemExit):
        saved = None if watching is None else watching.saved_steps
        if saved is not None:
            steps = f"{saved:,} of {learning.plan.steps:,} {learning.style.step}s are"
            display.note(f"{steps} saved in {places.checkpoint.path}; the same command goes on from there")
        raise


def _write_card(places: _Files, result: LearningResult, command: str, spent: str) -> None:
    """Write the card, and its plot beside it where there is a library for plots."""
    from urllib.parse import quote

    from ...learning import report
    from ...system import files

    picture = places.output.with_suffix(".svg")
    if report.can_plot():
        with files.atomic_output(picture, places.overwrite) as partial:
            partial.write_text(report.svg(result.curves, places.output.stem), encoding="utf-8")
    address = quote(picture.name) if report.can_plot() else None
    with files.atomic_output(places.output.with_suffix(".md"), places.overwrite) as partial:
        partial.write_text(result.card(command, spent, address), encoding="utf-8")


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
