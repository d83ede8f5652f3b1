"""The command test."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from ...errors import one_line
from .. import display, options
from ..sources import each, listed, naming, read_file


@click.command(epilog=options.exit_codes(1, 3, 4, 5, 6, 9))
@click.argument("inputs", metavar="FILE.cmb...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.recursive
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@options.json
@options.verbose
def test(inputs: tuple[Path, ...], recursive: bool, quiet: bool, as_json: bool) -> None:
    """Decode .cmb files without writing anything, and vouch for them.

    A file is sound if its checksum holds, its prior is here, and all of it decodes. FILE.cmb may be - for standard
    input.

    \b
    Examples:
      combiner test photo.cmb
      combiner test -r coded/ --quiet && echo all well
    """
    from ...codec import pipeline
    from ...priors import library

    def look(source: Path) -> None:
        clock = time.perf_counter()
        with naming(source):
            decoded = pipeline.decode(read_file(source), library.find_id)
        seconds = time.perf_counter() - clock
        if as_json:
            facts = {"file": str(source), "ok": True, "kind": decoded.kind, "shape": list(decoded.shape)}
            click.echo(json.dumps({**facts, "seconds": round(seconds, 3)}))
        elif not quiet:
            click.echo(one_line(f"{source}: OK, {display.shape_text(decoded.format)}"))

    each(listed(inputs, recursive), look, display.failure_teller(as_json))
