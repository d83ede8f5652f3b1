"""The command decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...errors import UsageError
from .. import options
from ..sources import LARGEST_FILE


def _suffix(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """The suffix of a format's files.

    Raises:
        UsageError: there is no such format.
    """
    if name is None:
        return None
    from ...media.images import FORMATS as IMAGES
    from ...media.sounds import FORMATS as SOUNDS

    suffix = f".{name.lower().removeprefix('.')}"
    if suffix not in {**IMAGES, **SOUNDS}:
        known = ", ".join(sorted(name.removeprefix(".") for name in {**IMAGES, **SOUNDS}))
        raise UsageError(f"--format takes one of {known}, not {name}")
    return suffix


def _height_and_width(_ctx: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Height and width of a size as it is typed, ``WxH``.

    Raises:
        UsageError: it is no size.
    """
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not all(number.isascii() and number.isdigit() and 0 < int(number) < 2**31 for number in (width, height)):
        raise UsageError(f"--resize takes a width and a height like 640x480, not {text}")
    return int(height), int(width)


# names of options are those of fields of ``Decoding`` and ``Places``
@click.command(epilog=options.exit_codes(1, 3, 4, 5, 6, 7, 9, 11))
@click.argument("inputs", metavar="FILE.cmb...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write; its suffix chooses the format. - for standard output. [default: PNG or WAV]",
)
@click.option("--format", metavar="NAME", callback=_suffix, help="Format instead of PNG or WAV, as jpg or flac.")
@click.option("--prior", type=options.PRIOR, help="Prior to use, if it is not on the search path.")
@click.option(
    "--scale", type=click.IntRange(1, 64), default=1, show_default=True, help="Render at this many times the size."
)
@click.option(
    "--resize",
    "size",
    metavar="WxH",
    callback=_height_and_width,
    help="Render an image at this width and height instead of --scale.",
)
@click.option(
    "--rate", type=click.IntRange(1, 2**32 - 1), help="Render a sound at this sample rate instead of --scale."
)
@click.option(
    "--fill",
    type=click.FloatRange(0, 1),
    help="Noise in the place of what a sound leaves out. [default: as the file says]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse to render more pixels (or sample instants). [default: 64 Mi pixels, 256 Mi instants]",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    help="Refuse to render a sound that lasts longer. [default: no limit but that of sample instants]",
)
@click.option("--ignore-checksum", is_flag=True, help="Decode what can be decoded of a damaged file, with a warning.")
@click.option("--strip", is_flag=True, help="Leave out metadata; images are converted to sRGB.")
@options.batch
def decode(inputs: tuple[Path, ...], **given: Any) -> None:
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
    from ...batch.requests import Decoding
    from .. import converting

    sizes = (("--scale", given["scale"] != 1), ("--resize", given["size"]), ("--rate", given["rate"]))
    asked = [name for name, value in sizes if value]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} exclude each other; give one of them")
    converting.convert(inputs, options.taken(Decoding, given, largest_file=LARGEST_FILE), given)
