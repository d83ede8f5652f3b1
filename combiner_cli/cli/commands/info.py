"""The command info."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import one_line
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
            inspected = inspection.inspect(read_file(source), library.find_id)
        click.echo(json.dumps(_facts(source, inspected)) if as_json else _text(source, inspected))

    each(listed(inputs, recursive), look, display.failure_teller(as_json))


def _facts(source: Path, inspected: Inspection) -> dict[str, object]:
    rate_name, rate = display.rate_of(inspected.bytes, inspected.format)
    return {
        "file": str(source),
        "version": inspected.version,
        "kind": inspected.format.kind,
        "shape": list(inspected.format.shape),
        "channels": inspected.format.channels,
        "bit_depth": inspected.format.bit_depth,
        "sample_rate": inspected.format.sample_rate,
        "prior": inspected.prior,
        "prior_id": f"{inspected.prior_id:08x}",
        "family": inspected.family,
        "noise_level": inspected.noise_level,
        "noise_shape": list(inspected.noise_shape),
        "bytes": inspected.bytes,
        "metadata_bytes": inspected.metadata_bytes,
        "metadata": inspected.metadata.sizes(),
        "header_bytes": inspected.header_bytes,
        "class_bytes": inspected.class_bytes,
        "group_bytes": inspected.group_bytes,
        "groups": None if inspected.group_bytes is None else sum(inspected.groups.values()),
        "stages": dict(inspected.groups),
        rate_name: rate,
    }


def _text(source: Path, inspected: Inspection) -> str:
    """What people see, at most 80 columns wide but for the name of the file."""
    family = f", {inspected.family}" if inspected.family else ""
    rate = display.rate_text(inspected.bytes, inspected.format)
    lines = [
        f"{one_line(str(source))}: {display.shape_text(inspected.format)}, {inspected.format.bit_depth} bits",
        f"  prior    {inspected.prior or 'not on this machine'} (id {inspected.prior_id:08x}{family})",
        f"  size     {inspected.bytes:,} bytes, {rate}; file version {inspected.version}",
    ]
    if inspected.noise_level is not None:
        lines.append(f"  noise    level {inspected.noise_level}{_shape_words(inspected.noise_shape)}")
    if inspected.header_bytes is not None:
        lines.append(f"  header   {inspected.header_bytes:,} bytes with checksum")
    if inspected.metadata_bytes:
        parts = ", ".join(display.metadata_parts(inspected.metadata))
        lines.append(f"  metadata {inspected.metadata_bytes:,} bytes: {parts}")
    if inspected.class_bytes:
        lines.append(f"  classes  {inspected.class_bytes:,} bytes")
    if inspected.group_bytes is None:
        reason = "with so many samples" if inspected.prior else "without the prior"
        return "\n".join([*lines, f"  groups   unknown {reason}"])
    return "\n".join([*lines, *_group_lines(inspected.group_bytes, inspected.groups)])


def _shape_words(shape: tuple[int, ...]) -> str:
    """Where the noise is: for eyes or ears, by the numbers of the header."""
    return f", perceptual shape {' '.join(map(str, shape))}" if shape else ""


def _group_lines(group_bytes: int, groups: Mapping[str, int]) -> list[str]:
    """How many groups each stage has, with a bar for its share."""
    total = sum(groups.values())
    lines = [f"  groups   {group_bytes:,} bytes, {total:,} groups"]
    longest = max(map(len, groups), default=0)
    for name, count in groups.items():
        share = count / max(total, 1)
        bar = "█" * round(share * _BAR)
        lines.append(f"    {name:<{longest}}  {count:>9,}  {100 * share:5.1f} %  {bar}".rstrip())
    return lines
