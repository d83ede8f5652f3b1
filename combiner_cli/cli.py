"""The command line: parse, call the pipeline, report."""

from __future__ import annotations

import gc
import json
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__, display, options
from .errors import CombinerError, LimitError, PriorError, UsageError
from .learn_command import learn_prior

if TYPE_CHECKING:
    from .bitstream import Header

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_INTERRUPTED = 130
_TERMINATED = 143
_LARGEST_FILE = 2**28  # bytes of a .cmb file
_POSITIVE = click.FloatRange(0, min_open=True)
_SEEN_INTERRUPT = "combiner.interrupt"


class _Commands(click.Group):
    """A group that turns expected errors into one line and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CombinerError as error:
            _fail(ctx, str(error), error.exit_code)
        except Exception as error:
            if ctx.meta.get(_SEEN_INTERRUPT):  # in the midst of an extension's import it surfaces as another error
                _fail(ctx, "interrupted", _INTERRUPTED)
            if not _is_out_of_memory(error):
                raise
            _fail(ctx, "not enough memory for this; use a smaller input or another machine", LimitError.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted", _INTERRUPTED)


def _fail(ctx: click.Context, message: str, exit_code: int) -> None:
    if ctx.meta.get(options.VERBOSE):
        traceback.print_exc()
    click.echo(f"combiner: {message}", err=True)
    ctx.exit(exit_code)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether numpy or torch could not allocate; torch says so with a RuntimeError."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    words = str(error).lower()
    return "out of memory" in words or "can't allocate memory" in words


def _terminate(_number: int, _frame: object) -> None:
    """Leave as after an error, so that temporary files are removed."""
    raise SystemExit(_TERMINATED)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, "--version", prog_name="combiner", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Compress images and sound as Bayesian implicit neural representations.

    \b
    Examples:
      combiner encode photo.png -o photo.cmb
      combiner decode photo.cmb
      combiner info photo.cmb
      combiner learn-prior photographs/ -o mine.safetensors

    \b
    Exit codes: 0 success, 2 usage, 3 unreadable input, 4 damaged file, 5 unknown version,
    6 prior missing or of the wrong kind, 7 output not writable, 8 verification failed,
    9 over a limit, 10 unsuitable data set, 130 interrupted, 143 terminated.
    """

    def interrupt(_number: int, _frame: object) -> None:
        ctx.meta[_SEEN_INTERRUPT] = True
        raise KeyboardInterrupt

    if ctx.invoked_subcommand != learn_prior.name:
        # imports and codecs make many objects and no cycles to speak of; to look for them takes time
        gc.disable()
        ctx.call_on_close(gc.enable)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, _terminate)


@main.command()
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
    from . import codec, files, goals, media, priors

    clock = time.perf_counter()
    target = output or files.default_output(source, ".cmb")
    with files.atomic_output(target, force) as partial:
        original = media.read_signal(source, display.note)
        goal = goals.Goal(quality, size, bpp, kbps, psnr, snr)
        prior, settings = goals.plan(original, goal, priors.find(prior_name) if prior_name else None)
        settings = replace(settings, device=device, seed=seed, effort=effort, search=search, refine=refine)
        with display.progress_bar() as report:
            result = codec.encode(original, prior, settings, report)
        partial.write_bytes(result.data)
    display.report_encoded(source, target, original, result, prior.name, time.perf_counter() - clock, as_json)


@main.command()
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
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse to render more pixels (or sample instants). [default: 64 Mi]",
)
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
    from . import bitstream, codec, files, media, priors, signals

    clock = time.perf_counter()
    size = _size(resize)
    given = [name for name, asked in (("--scale", scale != 1), ("--resize", size), ("--rate", rate)) if asked]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other; give one of them")
    data = files.read_bytes(source, _LARGEST_FILE)
    with _naming(source):
        header, _ = bitstream.unpack(data)
        most_points = max_pixels or codec.MOST_POINTS[header.kind]
        scale = scale if rate is None else _scale_for(header, rate, most_points)
    target = output or files.default_output(source, media.default_suffix(header.kind))
    media.check_writable_suffix(header.kind, target)
    with files.atomic_output(target, force) as partial:
        chosen = priors.find(prior_name) if prior_name else None
        with _naming(source):
            decoded = codec.decode(data, lambda prior_id: chosen or priors.find_id(prior_id), scale, most_points, size)
            if rate is not None and rate != decoded.sample_rate:
                decoded = signals.at_rate(decoded, rate)
        media.write_signal(decoded, partial)
        seconds = time.perf_counter() - clock
    display.report_decoded(source, target, decoded, seconds, as_json)


@main.command()
@click.argument("source", metavar="FILE.cmb", type=click.Path(path_type=Path))
@options.json
@options.verbose
def info(source: Path, as_json: bool) -> None:
    """Show what is inside a .cmb file."""
    from . import bitstream, codec, files, priors

    data = files.read_bytes(source, _LARGEST_FILE)
    prior_name = None
    with _naming(source):
        header, payload = bitstream.unpack(data)
        groups = list(header.groups) or None
        with suppress(PriorError):  # version 1 says how many groups there are, version 2 leaves it to the prior
            prior = priors.find_id(header.prior_id)
            prior_name = prior.name
            groups = [len(indices) for indices in codec.read(data, prior).indices]
    rate_name, rate = display.rate_of(len(data), header.kind, header.shape, header.sample_rate)
    facts = {
        "file": str(source),
        "version": header.version,
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
        rate_name: rate,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    shape = display.shape_text(header.kind, header.shape, header.channels, header.sample_rate)
    around = len(data) - len(payload)
    click.echo(f"{source}: {shape}, {header.bit_depth} bits")
    click.echo(f"  prior    {prior_name or 'not on this machine'} (id {header.prior_id:08x})")
    click.echo(f"  size     {len(data):,} bytes, {display.rate_text(rate_name, rate)}")
    counts = "unknown without the prior" if groups is None else ", ".join(f"{n:,}" for n in groups)
    click.echo(f"  groups   {counts}")
    click.echo(f"  payload  {len(payload):,} bytes, {around} around them")


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
            "raise --max-pixels if you trust it"
        )
    return 1 if rate % header.sample_rate else rate // header.sample_rate


@contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Say which file an error is about, for those who decode many."""
    try:
        yield
    except CombinerError as error:
        raise type(error)(f"{source}: {error}") from error


main.add_command(learn_prior)
