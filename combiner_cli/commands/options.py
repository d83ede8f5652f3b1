"""Options that several commands share."""

from __future__ import annotations

import os
import sys

import click

VERBOSE = "combiner.verbose"


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
    """Before numpy and torch are loaded they are told by the environment; a torch that is there is told itself."""
    if value is None:
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(value)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(value)


threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    expose_value=False,
    callback=_limit_threads,
    help="Threads of the CPU to use. [default: all]",
)
