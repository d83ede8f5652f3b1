"""The command encode."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from . import display, options

_POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write. [default: INPUT with suffix .cmb]"
)
@options.force
@click.option("-q", "--quality", type=click.IntRange(1, 10), help="1 (smallest) to 10 (best). [default: 5]")
@click.option("--size", type=click.IntRange(1), help="Bytes of the file, exactly, instead of -q.")
@click.option("--bpp", type=_POSITIVE, help="Bits per pixel of an image, at most, instead of -q.")
@click.option("--kbps", type=_POSITIVE, help="Kilobits per second of a sound, at most, instead of -q.")
@click.option("--psnr", type=_POSITIVE, help="dB that must be reached, instead of -q.")
@click.option("--snr", type=_POSITIVE, help="dB of SNR that a sound must reach, instead of -q.")
@click.option(
    "-e", "--effort", type=click.IntRange(1, 9), default=5, show_default=True, help="1 (fastest) to 9 (best)."
)
@click.option("--prior", "prior_name", metavar="NAME|FILE", help="Prior to use, at its own rate unless -q is given.")
@options.device
@options.threads
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
    type=click.Choice(["closed-form", "gradient"]),
    default="closed-form",
    show_default=True,
    help="How the rest is adapted to what is coded, with hidden layers.",
)
@options.no_verify
@options.json
@options.verbose
def encode(
    source: Path,
    output: Path | None,
    force: bool,
    quality: int | None,
    size: int | None,
    bpp: float | None,
    kbps: float | None,
    psnr: float | None,
    snr: float | None,
    effort: int,
    prior_name: str | None,
    device: str,
    seed: int,
    search: str | None,
    refine: str,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Encode an image or a sound to a .cmb file.

    -q, --size, --bpp, --kbps, --psnr and --snr exclude each other.

    \b
    Examples:
      combiner encode photo.png
      combiner encode -q 8 speech.flac -o speech.cmb
      combiner encode --kbps 12 speech.flac
      combiner encode --size 20000 -e 9 photo.png
    """
    from .. import codec, files, goals, media, priors

    clock = time.perf_counter()
    target = output or files.default_output(source, ".cmb")
    with files.atomic_output(target, force) as partial:
        original = media.read_signal(source, display.note)
        goal = goals.Goal(quality, size, bpp, kbps, psnr, snr)
        prior, settings = goals.plan(original, goal, priors.find(prior_name) if prior_name else None)
        settings = replace(settings, device=device, seed=seed, effort=effort, search=search, refine=refine)
        settings = replace(settings, verify=not no_verify)
        with display.progress_bar() as report:
            result = codec.encode(original, prior, settings, report)
        partial.write_bytes(result.data)
    display.report_encoded(source, target, original, result, prior.name, time.perf_counter() - clock, as_json)
