"""The commands about priors: which there are, what they are, and installing others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import OutputError, PriorError, UsageError, one_line
from .. import display, options

if TYPE_CHECKING:
    from ...priors.library import Entry


@click.group(invoke_without_command=True, epilog=options.exit_codes(3, 4, 5, 6, 7))
@options.json
@options.verbose
@click.pass_context
def priors(ctx: click.Context, as_json: bool) -> None:
    """List the installed priors, show one, or install another.

    Priors are looked for in the folders that COMBINER_PRIORS names, then in the user's own folder, then among those
    that come with the program.

    \b
    Examples:
      combiner priors
      combiner priors show photo-8
      combiner priors install mine.safetensors
    """
    if ctx.invoked_subcommand is not None:
        return
    from ...priors import library

    entries = list(library.entries())
    if as_json:
        click.echo(json.dumps([_facts(entry) for entry in entries]))
    else:
        display.prior_table(entries)


@priors.command(epilog=options.exit_codes(3, 4, 5, 6))
@click.argument("name", type=options.PRIOR)
@options.json
@options.verbose
def show(name: str, as_json: bool) -> None:
    """Show a prior: its facts, and its card if it has one."""
    from ...priors import library, store

    entry = library.entry(library.path_of(name))
    prior = store.load(entry.path)  # whose values are checked
    if as_json:
        click.echo(json.dumps(_facts(entry)))
        return
    click.echo(f"{entry.name}: {entry.family}, for {entry.kind}s, id {entry.id}")
    click.echo(f"  rates  {display.rates_text(entry.rates, prior.kind)}")
    click.echo(f"  file   {entry.path}, {entry.bytes:,} bytes, {entry.origin}")
    card = entry.path.with_suffix(".md")
    if card.is_file():
        click.echo()
        display.markdown(card.read_text(encoding="utf-8"))


@priors.command(epilog=options.exit_codes(6))
@click.argument("name", type=options.PRIOR)
@options.verbose
def path(name: str) -> None:
    """Print the path of a prior's file."""
    from ...priors import library

    click.echo(library.path_of(name))


@priors.command(epilog=options.exit_codes(3, 4, 5, 6, 7))
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", help="Name to install it by. [default: that of the file]")
@options.force
@options.verbose
def install(source: Path, name: str | None, force: bool) -> None:
    """Copy a prior, and its card if it has one, into the user's folder, where every command finds it.

    The file is checked first. A name that another prior has is refused, unless -f says to replace the user's own one.
    """
    from ...priors import library, store
    from ...system import files

    prior = store.load(source)
    name = name or source.stem
    if Path(name).name != name or name.startswith(".") or name.endswith(store.SUFFIX):
        raise UsageError(f"a prior cannot be called {name}; give a name without folders and suffix")
    target = library.user_folder() / f"{name}{store.SUFFIX}"
    for entry in library.entries():
        if entry.id == f"{prior.id:08x}" and entry.path != target:
            raise PriorError(f"{source} is installed already, as {entry.name} ({entry.path})")
        if entry.name == name and entry.path != target:
            raise PriorError(f"a prior that is called {name} is installed already ({entry.path}); give another --name")
    files.make_folder(target.parent)
    with files.atomic_output(target, force) as partial:
        partial.write_bytes(files.read_bytes(source))
    card = source.with_suffix(".md")
    if card.is_file():
        with files.atomic_output(target.with_suffix(".md"), overwrite=True) as partial:
            partial.write_bytes(files.read_bytes(card))
    click.echo(one_line(f"{source} -> {target}: {name}, id {prior.id:08x}"))


@priors.command(epilog=options.exit_codes(6, 7))
@click.argument("name", type=options.PRIOR)
@options.verbose
def remove(name: str) -> None:
    """Remove a prior from the user's folder. Files that were made with it can no longer be decoded."""
    from ...priors import library

    installed = library.path_of(name)
    if installed.parent != library.user_folder():
        raise PriorError(f"{name} is not in the user's folder ({installed}); only priors there can be removed")
    try:
        installed.unlink()
        installed.with_suffix(".md").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{installed} cannot be removed: {error.strerror or error}") from error
    click.echo(one_line(f"{installed} removed"))


def _facts(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "id": entry.id,
        "family": entry.family,
        "kind": entry.kind,
        "rates": list(entry.rates) if entry.rates else None,
        "bytes": entry.bytes,
        "origin": entry.origin,
        "path": str(entry.path),
    }
