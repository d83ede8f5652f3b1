"""The command info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import display, options
from ..sources import each, listed, naming, read_file

if TYPE_CHECKING:
    from ...codec.inspection import Inspection

_BAR = 30  # characters for the whole payload


@click.command(epilog=options.exit_codes(1, 3, 4, 5))
@click.argument("inputs", metavar="FILE.cmb...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.recursive
@options.json
@options.verbose
def info(inputs: tuple[Path, ...], recursive: bool, as_json: bool) -> None:
    """Show what is inside .cmb files.

    Of each: the signal, the prior, and how many bytes of the file go to which stage of it. What only the prior knows
    is left out where that is not on this machine. FILE.cmb may be - for standard input.

    \b
    Examples:
      combiner info photo.cmb
      combiner info -r coded/ --json
    """
    from ...codec import inspection
    from ...priors import library

    def look(source: Path) -> None:
        with naming(source):
            found = inspection.inspect(read_file(source), library.find_id)
        click.echo(json.dumps(_facts(source, found)) if as_json else _text(source, found))

    each(listed(inputs, recursive), look, display.failure_teller(as_json))


def _facts(source: Path, found: Inspection) -> dict[str, object]:
    rate_name, rate = display.rate_of(found.bytes, found.kind, found.shape, found.sample_rate)
    return {
        "file": str(source),
        "version": found.version,
        "kind": found.kind,
        "shape": list(found.shape),
        "channels": found.channels,
        "bit_depth": found.bit_depth,
        "sample_rate": found.sample_rate,
        "prior": found.prior,
        "prior_id": f"{found.prior_id:08x}",
        "family": found.family,
        "noise": found.noise,
        "bytes": found.bytes,
        "metadata_bytes": found.metadata_bytes,
        "metadata": found.metadata.sizes(),
        "header_bytes": found.header_bytes,
        "class_bytes": found.class_bytes,
        "group_bytes": found.group_bytes,
        "groups": found.groups,
        "stages": found.stages,
        rate_name: rate,
    }


def _text(source: Path, found: Inspection) -> str:
    """What people see, at most 80 columns wide but for the name of the file."""
    rate = display.rate_text(*display.rate_of(found.bytes, found.kind, found.shape, found.sample_rate))
    shape = display.shape_text(found.kind, found.shape, found.channels, found.sample_rate)
    family = f", {found.family}" if found.family else ""
    lines = [
        f"{source}: {shape}, {found.bit_depth} bits",
        f"  prior    {found.prior or 'not on this machine'} (id {found.prior_id:08x}{family})",
        f"  size     {found.bytes:,} bytes, {rate}; file version {found.version}",
        f"  header   {found.header_bytes:,} bytes with checksum",
    ]
    if found.noise is not None:
        lines.insert(3, f"  noise    code {found.noise}")
    if found.metadata_bytes:
        lines.append(f"  metadata {found.metadata_bytes:,} bytes: {', '.join(display.metadata_parts(found.metadata))}")
    if found.class_bytes:
        lines.append(f"  classes  {found.class_bytes:,} bytes")
    if found.group_bytes is None:
        lines.append("  groups   unknown without the prior")
        return "\n".join(lines)
    lines.append(f"  groups   {found.group_bytes:,} bytes, {found.groups:,} groups")
    most = max(map(len, found.stages), default=0)
    for name, count in found.stages.items():
        share = count / max(found.groups or 0, 1)
        bar = "█" * round(share * _BAR)
        lines.append(f"    {name:<{most}}  {count:>9,}  {100 * share:5.1f} %  {bar}".rstrip())
    return "\n".join(lines)
