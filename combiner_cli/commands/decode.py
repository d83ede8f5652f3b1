"""The command decode."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import LimitError, UsageError
from . import display, options
from .sources import LARGEST_FILE, naming

if TYPE_CHECKING:
    from ..bitstream import Header


@click.command()
@click.argument("source", metavar="FILE.cmb", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write; its suffix chooses the format. [default: PNG or WAV]",
)
@options.force
@click.option("--prior", "prior_name", metavar="NAME|FILE", help="Prior to use, if it is not on the search path.")
@click.option(
    "--scale", type=click.IntRange(1, 64), default=1, show_default=True, help="Render at this many times the size."
)
@click.option("--resize", metavar="WxH", help="Render an image at this width and height instead of --scale.")
@click.option(
    "--rate", type=click.IntRange(1, 2**32 - 1), help="Render a sound at this sample rate instead of --scale."
)
@options.max_pixels
@options.max_seconds
@options.ignore_checksum
@options.json
@options.verbose
def decode(
    source: Path,
    output: Path | None,
    force: bool,
    prior_name: str | None,
    scale: int,
    resize: str | None,
    rate: int | None,
    max_pixels: int | None,
    max_seconds: float | None,
    ignore_checksum: bool,
    as_json: bool,
) -> None:
    """Decode a .cmb file to an image or a sound.

    \b
    Examples:
      combiner decode photo.cmb
      combiner decode photo.cmb -o large.png --scale 2
      combiner decode photo.cmb -o small.png --resize 640x480
      combiner decode speech.cmb -o speech.flac --rate 48000
    """
    from .. import bitstream, codec, files, media, priors, signals

    clock = time.perf_counter()
    size = _size(resize)
    given = [name for name, asked in (("--scale", scale != 1), ("--resize", size), ("--rate", rate)) if asked]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other; give one of them")
    data = files.read_bytes(source, LARGEST_FILE)
    with naming(source):
        header, _ = bitstream.unpack(data, ignore_checksum)
        most_points = codec.limit_of(header, max_pixels, max_seconds)
        scale = scale if rate is None else _scale_for(header, rate, most_points)
    target = output or files.default_output(source, media.default_suffix(header.kind))
    media.check_writable_suffix(header.kind, target)
    with files.atomic_output(target, force) as partial:
        chosen = priors.find(prior_name) if prior_name else None
        with naming(source):
            decoded = codec.decode(
                data, lambda prior_id: chosen or priors.find_id(prior_id), scale, most_points, size, ignore_checksum
            )
            if rate is not None and rate != decoded.sample_rate:
                decoded = signals.at_rate(decoded, rate)
        media.write_signal(decoded, partial)
        seconds = time.perf_counter() - clock
    if ignore_checksum and not bitstream.is_intact(data):
        display.warn(f"{source} is damaged, its checksum does not match; this is what could be decoded")
    display.report_decoded(source, target, decoded, seconds, as_json)


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of a size as it is typed, ``WxH``."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not all(number.isascii() and number.isdigit() and 0 < int(number) < 2**31 for number in (width, height)):
        raise UsageError(f"--resize takes a width and a height like 640x480, not {text}")
    return int(height), int(width)


def _scale_for(header: Header, rate: int, most_points: int) -> int:
    """Samples per native sample at which a sound is rendered for a sample rate; what is not whole, is resampled.

    Raises:
        UsageError: the file holds an image.
        LimitError: more sample instants than ``most_points``.
    """
    if header.sample_rate is None:
        raise UsageError("--rate is for sounds; give --scale or --resize for an image")
    points = header.shape[0] * rate // header.sample_rate
    if points > most_points:
        raise LimitError(
            f"the sound has {points} samples at {rate} Hz, over the limit of {most_points}; "
            "raise --max-seconds if you trust it"
        )
    return 1 if rate % header.sample_rate else rate // header.sample_rate
