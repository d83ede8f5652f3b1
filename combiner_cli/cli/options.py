"""Options that several commands share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERBOSE = "combiner.verbose"
INTERRUPTED = "combiner.interrupt"

Command = TypeVar("Command", bound=Callable[..., Any])
Values = TypeVar("Values", bound="DataclassInstance")


def taken(kind: type[Values], given: dict[str, Any], **more: object) -> Values:
    """An object of a dataclass whose fields are options, which are taken out of those that are given.

    So an option is declared once, by the name of the field that it fills.

    Args:
        kind: the dataclass.
        given: values of options by their names, of which some are for other dataclasses.
        more: values of fields that are no options.
    """
    names = [field.name for field in dataclasses.fields(kind) if field.name in given]
    return kind(**{name: given.pop(name) for name in names}, **more)


def _remember_verbose(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    ctx.meta[VERBOSE] = value


_FORCE: dict[str, Any] = {"is_flag": True, "help": "Replace an existing output."}
force = click.option("-f", "--force", **_FORCE)
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


tune = click.option(
    "--tune",
    type=click.Choice(["perceptual", "psnr"]),
    help="What errors are weighed by: how much they are noticed, or all alike. [default: perceptual]",
)
recursive = click.option("-r", "--recursive", is_flag=True, help="Take the files in folders.")

EXIT_CODES = {
    0: "success",
    1: "some of several files failed; they are named at the end",
    2: "wrong use of the command line",
    3: "an input cannot be read, or holds what cannot be coded",
    4: "a damaged .cmb or prior file",
    5: "a file of an unknown version",
    6: "a prior is missing, or of the wrong kind",
    7: "an output exists or cannot be written",
    8: "the encoder's own check of its file failed",
    9: "over a limit, or too little memory",
    10: "a data set that cannot be learned from",
    11: "a Dask cluster that cannot be used",
}


def exit_codes(*codes: int) -> str:
    """The end of a command's help: its exit codes, besides those that every command has."""
    lines = [f"  {code:>3}  {EXIT_CODES[code]}" for code in sorted({0, 2, *codes})]
    return "\n".join(["\b", "Exit codes:", *lines, "  130  interrupted, 143 terminated, 141 nobody reads the output"])


class PriorType(click.ParamType[str]):
    """The name of an installed prior, or the file of one."""

    name = "prior"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME|FILE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ..priors import library

        names = sorted({path.stem for path in library.available()})
        fitting = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return fitting or [CompletionItem(incomplete, type="file")]


PRIOR = PriorType()


def _limit_threads(_ctx: click.Context, _option: click.Parameter, value: int | None) -> None:
    if value is None:
        return
    from ..system.resources import limit_threads

    limit_threads(value)


threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    expose_value=False,
    callback=_limit_threads,
    help="Threads of the CPU to use. [default: all]",
)

# the names of these are those of fields of ``Places``, ``Running`` and ``Showing``
_BATCH = (
    click.option("-d", "--directory", type=click.Path(path_type=Path), help="Folder for the outputs."),
    click.option("-r", "--recursive", is_flag=True, help="Take the files in folders; with -d, their tree is mirrored."),
    click.option(
        "--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, help="Files to work on at the same time."
    ),
    threads,
    click.option("--dask", metavar="ADDRESS", help="Let the Dask cluster with this scheduler do the work."),
    click.option("-f", "--force", "overwrite", **_FORCE),
    click.option("--skip-existing", is_flag=True, help="Leave out inputs whose output exists."),
    click.option(
        "--preserve-times/--no-preserve-times",
        "keep_times",
        default=True,
        help="Whether outputs have the modification time of their input. [default: they do]",
    ),
    click.option("--quiet", is_flag=True, help="Print nothing but errors."),
    click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for every file."),
    verbose,
)


def batch(command: Command) -> Command:
    """The options of commands that make files of many files; :func:`converting.convert` takes them."""
    for option in reversed(_BATCH):
        command = option(command)
    return command
