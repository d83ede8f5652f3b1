"""The command info."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import click

from ..errors import PriorError
from . import display, options
from .sources import LARGEST_FILE, naming


@click.command()
@click.argument("source", metavar="FILE.cmb", type=click.Path(path_type=Path))
@options.json
@options.verbose
def info(source: Path, as_json: bool) -> None:
    """Show what is inside a .cmb file."""
    from .. import bitstream, codec, files, metadata, priors

    data = files.read_bytes(source, LARGEST_FILE)
    prior_name = None
    with naming(source):
        inner, packed = bitstream.split_metadata(data)
        header, payload = bitstream.unpack(inner)
        kept = metadata.unpack(packed)
        groups = list(header.groups) or None
        with suppress(PriorError):  # version 1 says how many groups there are, version 2 leaves it to the prior
            prior = priors.find_id(header.prior_id)
            prior_name = prior.name
            groups = [len(indices) for indices in codec.read(inner, prior).indices]
    rate_name, rate = display.rate_of(len(data), header.kind, header.shape, header.sample_rate)
    facts = {
        "file": str(source),
        "version": bitstream.WITH_METADATA if packed else header.version,
        "kind": header.kind,
        "shape": list(header.shape),
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "sample_rate": header.sample_rate,
        "prior": prior_name,
        "prior_id": f"{header.prior_id:08x}",
        "groups": groups,
        "bytes": len(data),
        "payload_bytes": len(payload),
        "metadata_bytes": len(data) - len(inner),
        "metadata": kept.sizes(),
        rate_name: rate,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    shape = display.shape_text(header.kind, header.shape, header.channels, header.sample_rate)
    around = len(inner) - len(payload)
    click.echo(f"{source}: {shape}, {header.bit_depth} bits")
    click.echo(f"  prior    {prior_name or 'not on this machine'} (id {header.prior_id:08x})")
    click.echo(f"  size     {len(data):,} bytes, {display.rate_text(rate_name, rate)}")
    counts = "unknown without the prior" if groups is None else ", ".join(f"{n:,}" for n in groups)
    click.echo(f"  groups   {counts}")
    click.echo(f"  payload  {len(payload):,} bytes, {around} around them")
    if packed:
        click.echo(f"  metadata {len(data) - len(inner):,} bytes: {', '.join(display.metadata_parts(kept))}")
