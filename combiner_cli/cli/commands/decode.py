"""The command decode."""

from __future__ import annotations

from pathlib import Path

import click

from ...errors import UsageError
from .. import options
from ..sources import LARGEST_FILE


@click.command(epilog=options.exit_codes(1, 3, 4, 5, 6, 7, 9, 11))
@click.argument("inputs", metavar="FILE.cmb...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write; its suffix chooses the format. - for standard output. [default: PNG or WAV]",
)
@click.option("--format", "format_name", metavar="NAME", help="Format instead of PNG or WAV, as jpg or flac.")
@click.option("--prior", "prior_name", type=options.PRIOR, help="Prior to use, if it is not on the search path.")
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
@click.option("--strip", is_flag=True, help="Leave out metadata; images are converted to sRGB.")
@options.batch
def decode(
    inputs: tuple[Path, ...],
    output: Path | None,
    format_name: str | None,
    prior_name: str | None,
    scale: int,
    resize: str | None,
    rate: int | None,
    max_pixels: int | None,
    max_seconds: float | None,
    ignore_checksum: bool,
    strip: bool,
    directory: Path | None,
    recursive: bool,
    jobs: int,
    dask: str | None,
    force: bool,
    skip_existing: bool,
    preserve_times: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Decode .cmb files to images and sounds.

    FILE.cmb may be - for standard input, whose content goes to standard output unless -o is given. Of several files
    the lines come in the order in which they are finished; one that fails does not keep the others from being decoded.

    \b
    Examples:
      combiner decode photo.cmb
      combiner decode photo.cmb -o large.png --scale 2
      combiner decode photo.cmb -o small.png --resize 640x480
      combiner decode speech.cmb -o speech.flac --rate 48000
      combiner decode -r coded/ -d photos/ --format jpg
      combiner decode - --format flac < speech.cmb > speech.flac
    """
    from ...batch.work import ENCODED, Decoding, Places
    from .. import converting

    size = _size(resize)
    given = [name for name, asked in (("--scale", scale != 1), ("--resize", size), ("--rate", rate)) if asked]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other; give one of them")
    converting.convert(
        inputs,
        Decoding(
            prior_name,
            _suffix(format_name),
            scale,
            size,
            rate,
            max_pixels,
            max_seconds,
            LARGEST_FILE,
            ignore_checksum,
            strip,
        ),
        Places(output, directory, recursive, force, skip_existing, preserve_times),
        converting.Running(jobs, dask),
        converting.Showing(as_json, quiet),
        frozenset({ENCODED}),
    )


def _suffix(format_name: str | None) -> str | None:
    """The suffix of a format's files.

    Raises:
        UsageError: there is no such format.
    """
    if format_name is None:
        return None
    from ...media.images import FORMATS as IMAGES
    from ...media.sounds import FORMATS as SOUNDS

    suffix = f".{format_name.lower().removeprefix('.')}"
    if suffix not in {**IMAGES, **SOUNDS}:
        known = ", ".join(sorted(name.removeprefix(".") for name in {**IMAGES, **SOUNDS}))
        raise UsageError(f"--format takes one of {known}, not {format_name}")
    return suffix


def _size(text: str | None) -> tuple[int, int] | None:
    """Height and width of a size as it is typed, ``WxH``."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not all(number.isascii() and number.isdigit() and 0 < int(number) < 2**31 for number in (width, height)):
        raise UsageError(f"--resize takes a width and a height like 640x480, not {text}")
    return int(height), int(width)
