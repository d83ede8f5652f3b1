"""The command encode."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .. import options

_POSITIVE = click.FloatRange(0, min_open=True)


# names of options are those of units of ``Target``, and of fields of ``EncodingOptions``, ``Encoding`` and ``Places``
@click.command(epilog=options.exit_codes(1, 3, 4, 6, 7, 8, 9, 11))
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, or - for standard output. [default: INPUT with suffix .cmb]",
)
@click.option("-q", "--quality", type=click.IntRange(1, 10), help="1 (smallest) to 10 (best). [default: 5]")
@click.option("--size", type=click.IntRange(1), help="Bytes of the file, exactly, instead of -q.")
@click.option("--bpp", "bits_per_pixel", type=_POSITIVE, help="Bits per pixel of an image, at most, instead of -q.")
@click.option(
    "--kbps", "kilobits_per_second", type=_POSITIVE, help="Kilobits per second of a sound, at most, instead of -q."
)
@click.option("--psnr", type=_POSITIVE, help="dB that must be reached, instead of -q.")
@click.option("--snr", type=_POSITIVE, help="dB of SNR that a sound must reach, instead of -q.")
@click.option(
    "--ssimulacra2",
    type=_POSITIVE,
    metavar="SCORE",
    help="SSIMULACRA 2 that an image must reach, instead of -q; needs the extra bench.",
)
@options.tune
@click.option(
    "-e", "--effort", type=click.IntRange(1, 9), default=5, show_default=True, help="1 (fastest) to 9 (best)."
)
@click.option("--prior", type=options.PRIOR, help="Prior to use, at its own rate unless -q is given.")
@options.device
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the encoder's random numbers."
)
@click.option(
    "--search",
    type=click.Choice(["astar", "best", "viterbi"]),
    help="How candidates are chosen. [default: viterbi, with -e 1 and 2 best]",
)
@click.option(
    "--refine",
    "refinement",
    type=click.Choice(["closed-form", "gradient"]),
    help="How the rest is adapted to what is coded, with hidden layers. [default: closed-form]",
)
@click.option(
    "--no-adapt",
    "adapt",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not adapt the networks of a prior to an image, which is done from -e 7 on where it saves bytes.",
)
@click.option(
    "--no-verify",
    "verify",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Do not decode the file to check it and to tell its PSNR. It saves some time.",
)
@click.option(
    "--keep-metadata",
    is_flag=True,
    help="Keep EXIF (without its thumbnail), XMP, colour profile, and tags of sounds. Images keep their colours.",
)
@click.option(
    "--keep-suffix", is_flag=True, help="Add .cmb to the names of inputs, as in photo.png.cmb; decode takes it off."
)
@options.batch
def encode(inputs: tuple[Path, ...], **given: Any) -> None:
    """Encode images and sounds to .cmb files.

    -q, --size, --bpp, --kbps, --psnr, --snr and --ssimulacra2 exclude each other. INPUT may be - for standard input,
    whose .cmb file goes to standard output unless -o is given. Of several files the lines come in the order in which
    they are finished; one that fails does not keep the others from being encoded.

    \b
    Examples:
      combiner encode photo.png
      combiner encode -q 8 speech.flac -o speech.cmb
      combiner encode --kbps 12 speech.flac
      combiner encode --size 20000 -e 9 photo.png
      combiner encode --keep-metadata photo.jpg
      combiner encode *.png -d coded/ --jobs 4
      combiner encode -r photos/ -d coded/ --skip-existing
      cat photo.png | combiner encode - > photo.cmb
    """
    from ...batch.requests import Encoding
    from ...codec import goals
    from ...family import EncodingOptions
    from ...rec import native
    from .. import converting, display

    if not native.is_built() and not given["quiet"] and sys.stderr.isatty():
        display.note(native.SLOWER)

    wishes = {unit: given.pop(unit) for unit in goals.OPTIONS}
    target = goals.target_of(given.pop("tune"), **wishes)
    request = options.taken(Encoding, given, target=target, options=options.taken(EncodingOptions, given))
    converting.convert(inputs, request, given)
