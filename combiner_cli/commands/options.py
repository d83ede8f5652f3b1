"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

VERBOSE = "combiner.verbose"
INTERRUPTED = "combiner.interrupt"

Command = TypeVar("Command", bound=Callable[..., Any])


def _remember_verbose(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    ctx.meta[VERBOSE] = value


force = click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
json = click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember_verbose,
    help="Show the traceback of an error.",
)
device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)


max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse to render more pixels (or sample instants). [default: 64 Mi pixels, 256 Mi instants]",
)
max_seconds = click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    help="Refuse to render a sound that lasts longer. [default: no limit but that of sample instants]",
)
ignore_checksum = click.option(
    "--ignore-checksum", is_flag=True, help="Decode what can be decoded of a damaged file, with a warning."
)
no_verify = click.option(
    "--no-verify", is_flag=True, help="Do not decode the file to check it and to tell its PSNR. It saves some time."
)


def _limit_threads(_ctx: click.Context, _option: click.Parameter, value: int | None) -> None:
    if value is None:
        return
    from ..processes import limit_threads

    limit_threads(value)


threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    expose_value=False,
    callback=_limit_threads,
    help="Threads of the CPU to use. [default: all]",
)

_BATCH = (
    click.option("-d", "--directory", type=click.Path(path_type=Path), help="Folder for the outputs."),
    click.option("-r", "--recursive", is_flag=True, help="Take the files in folders; with -d, their tree is mirrored."),
    click.option(
        "--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, help="Files to work on at the same time."
    ),
    click.option("--dask", metavar="ADDRESS", help="Let the Dask cluster with this scheduler do the work."),
    force,
    click.option("--skip-existing", is_flag=True, help="Leave out inputs whose output exists."),
    click.option(
        "--preserve-times/--no-preserve-times",
        default=True,
        help="Whether outputs have the modification time of their input. [default: they do]",
    ),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
    json,
    verbose,
)


def batch(command: Command) -> Command:
    """The options of commands that make files of many files."""
    for option in reversed(_BATCH):
        command = option(command)
    return command
