"""The command line: parse, call the pipeline, report."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from . import __version__, display
from .errors import CombinerError, LimitError, OutputError, UsageError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_INTERRUPTED = 130
_TERMINATED = 143
_LARGEST_FILE = 2**28  # bytes of a .cmb file
_VERBOSE = "combiner.verbose"
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
    if ctx.meta.get(_VERBOSE):
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

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, _terminate)


def _remember_verbose(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    ctx.meta[_VERBOSE] = value


_force = click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember_verbose,
    help="Show the traceback of an error.",
)
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
_threads = click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the CPU to use. [default: all]")


@main.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write. [default: INPUT with suffix .cmb]"
)
@_force
@click.option("-q", "--quality", type=click.IntRange(1, 10), help="1 (smallest) to 10 (best). [default: 5]")
@click.option("--prior", "prior_name", metavar="NAME|FILE", help="Prior to use, at its own rate unless -q is given.")
@_device
@_threads
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the encoder's random numbers."
)
@_json
@_verbose
def encode(
    source: Path,
    output: Path | None,
    force: bool,
    quality: int | None,
    prior_name: str | None,
    device: str,
    threads: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Encode an image or a sound to a .cmb file.

    \b
    Examples:
      combiner encode photo.png
      combiner encode -q 8 speech.flac -o speech.cmb
    """
    from . import codec, files, media, priors

    clock = time.perf_counter()
    target = output or files.default_output(source, ".cmb")
    with files.atomic_output(target, force) as partial:
        original = media.read_signal(source)
        if prior_name is None:
            prior, rate = priors.choose(original.kind, original.shape, 5 if quality is None else quality)
        else:
            prior = priors.find(prior_name)
            rate = 1.0 if quality is None else priors.relative_rate(quality)
        priors.check_kind(prior, original.kind)
        _limit_threads(threads)
        with display.progress_bar() as report:
            result = codec.encode(original, prior, codec.Settings(rate=rate, device=device, seed=seed), report)
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
@_force
@click.option("--prior", "prior_name", metavar="NAME|FILE", help="Prior to use, if it is not on the search path.")
@click.option(
    "--scale", type=click.IntRange(1, 64), default=1, show_default=True, help="Render at this many times the size."
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Refuse to render more pixels (or sample instants). [default: 64 Mi]",
)
@_json
@_verbose
def decode(
    source: Path,
    output: Path | None,
    force: bool,
    prior_name: str | None,
    scale: int,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Decode a .cmb file to an image or a sound.

    \b
    Examples:
      combiner decode photo.cmb
      combiner decode photo.cmb -o large.png --scale 2
    """
    from . import bitstream, codec, files, media, priors

    clock = time.perf_counter()
    data = files.read_bytes(source, _LARGEST_FILE)
    with _naming(source):
        header, _ = bitstream.unpack(data)
    target = output or files.default_output(source, media.default_suffix(header.kind))
    media.check_writable_suffix(header.kind, target)
    with files.atomic_output(target, force) as partial:
        chosen = priors.find(prior_name) if prior_name else None
        with _naming(source):
            decoded = codec.decode(
                data, lambda prior_id: chosen or priors.find_id(prior_id), scale, max_pixels or codec.MOST_POINTS
            )
        media.write_signal(decoded, partial)
        seconds = time.perf_counter() - clock
    shape = display.shape_text(decoded.kind, decoded.shape, decoded.channels, decoded.sample_rate)
    if as_json:
        facts = {"input": str(source), "output": str(target), "kind": decoded.kind, "shape": list(decoded.shape)}
        click.echo(json.dumps({**facts, "channels": decoded.channels, "seconds": round(seconds, 3)}))
    else:
        click.echo(f"{source} -> {target}: {shape}, {seconds:.2f} s")


@main.command()
@click.argument("source", metavar="FILE.cmb", type=click.Path(path_type=Path))
@_json
@_verbose
def info(source: Path, as_json: bool) -> None:
    """Show what is inside a .cmb file."""
    from . import bitstream, files, priors
    from .errors import PriorError

    data = files.read_bytes(source, _LARGEST_FILE)
    with _naming(source):
        header, payload = bitstream.unpack(data)
    try:
        prior_name: str | None = priors.find_id(header.prior_id).name
    except PriorError:
        prior_name = None
    rate_name, rate = display.rate_of(len(data), header.kind, header.shape, header.sample_rate)
    facts = {
        "file": str(source),
        "version": bitstream.VERSION,
        "kind": header.kind,
        "shape": list(header.shape),
        "channels": header.channels,
        "bit_depth": header.bit_depth,
        "sample_rate": header.sample_rate,
        "prior": prior_name,
        "prior_id": f"{header.prior_id:08x}",
        "groups": list(header.groups),
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
    click.echo(f"  groups   {', '.join(f'{n:,}' for n in header.groups)}; {len(payload):,} bytes, {around} around them")


@main.command("learn-prior")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Prior to write: NAME.safetensors."
)
@_force
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Bits per pixel, or per sample of sound, to aim at. [default: 1]",
)
@click.option("--beta", type=click.FloatRange(0, min_open=True), help="Fixed weight of the KL, instead of --rate.")
@click.option("--tile", type=click.IntRange(1, 2**20), help="Side of a tile. [default: 32 for images, 512 for sound]")
@click.option("--features", type=click.IntRange(2, 4096), default=64, show_default=True, help="Fourier features.")
@click.option(
    "--highest-frequency",
    type=click.FloatRange(1),
    help="Of the features, in periods per tile. [default: half the tile]",
)
@click.option("--width", type=click.IntRange(1, 4096), default=16, show_default=True, help="Units of a hidden layer.")
@click.option("--hidden", type=click.IntRange(1, 16), default=2, show_default=True, help="Hidden layers.")
@click.option(
    "--sine", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, help="Factor inside the sine."
)
@click.option("--rounds", type=click.IntRange(1), default=96, show_default=True, help="Turns of fitting and updating.")
@click.option("--steps", type=click.IntRange(1), default=40, show_default=True, help="Gradient steps per round.")
@click.option("--points", type=click.IntRange(1), default=256, show_default=True, help="Points per tile and step.")
@click.option("--tiles", type=click.IntRange(1), default=1024, show_default=True, help="Training tiles at most.")
@click.option(
    "--held-out", type=click.IntRange(1, 50), default=5, show_default=True, help="Percent of the signals kept out."
)
@click.option("--group-bits", type=click.Choice(["8", "16"]), default="16", show_default=True, help="Bits of a group.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Resumed from and kept up to date. [default: NAME.checkpoint]"
)
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="Time between checkpoints."
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all random numbers.")
@click.option("--describe", metavar="TEXT", help="Description of the data for the card. [default: the folder's name]")
@_device
@_threads
@_verbose
def learn_prior(
    dataset: Path,
    output: Path,
    force: bool,
    rate: float | None,
    beta: float | None,
    tile: int | None,
    features: int,
    highest_frequency: float | None,
    width: int,
    hidden: int,
    sine: float,
    rounds: int,
    steps: int,
    points: int,
    tiles: int,
    held_out: int,
    group_bits: str,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    seed: int,
    describe: str | None,
    device: str,
    threads: int | None,
) -> None:
    """Learn a prior from a folder of images or sounds, or an .npz of images.

    Stopped at any moment, the same command goes on from the last checkpoint. A card (NAME.md) is written beside the
    prior.

    \b
    Example:
      combiner learn-prior photographs/ --tile 64 --rate 0.3 -o mine.safetensors
    """
    from . import cards, datasets, files, learn, priors
    from .codec import choose_device
    from .models.siren import Siren
    from .posterior import Descent

    if output.suffix != priors.SUFFIX:
        raise UsageError(f"a prior's name ends in {priors.SUFFIX}, unlike {output}")
    if rate is not None and beta is not None:
        raise UsageError("--rate and --beta exclude each other; give one of them")
    card_path = output.with_suffix(".md")
    if card_path.exists() and not force:
        raise OutputError(f"{card_path} exists; use -f to replace it")
    with files.atomic_output(output, force) as partial:
        source = datasets.open_dataset(dataset)
        image = source.kind == "image"
        side = tile or (32 if image else 512)
        extent = (side, side) if image else (side,)
        if features % (2 * len(extent)):
            raise UsageError(f"--features must be a multiple of {2 * len(extent)} for {source.kind}s")
        network = Siren(extent, 3 if image else 1, features, highest_frequency or side / 2, width, hidden, sine)
        training, kept_out, signals = datasets.sample_tiles(source, extent, network.outputs, tiles, held_out, seed)
        plan = learn.Plan(
            name=output.stem,
            kind=source.kind,
            network=network,
            bits_per_point=None if beta else rate or 1.0,
            beta=beta or 2e-5,
            rounds=rounds,
            steps=steps,
            group_bits=int(group_bits),
            seed=seed,
            descent=Descent(points=points),
        )
        _limit_threads(threads)
        clock = time.perf_counter()
        saved = checkpoint or output.with_suffix(".checkpoint")
        with display.round_display(plan.name, rounds) as show:
            learned = learn.learn(
                plan, training, kept_out, choose_device(device), saved, checkpoint_seconds, report=show
            )
        prior = learned.prior
        priors.save(prior, partial)
        seconds = time.perf_counter() - clock
    data = f"{describe or dataset.resolve().name}, {signals} {source.kind}s"
    with files.atomic_output(card_path, force) as partial:
        text = cards.card(
            prior, plan, _command(dataset), data, (len(training), len(kept_out)), learned.reports, seconds
        )
        partial.write_text(text)
    saved.unlink(missing_ok=True)
    unit = "pixel" if image else "sample"
    click.echo(f"{output}: prior {prior.id:08x}, {prior.bits_per_point:.4f} bits per {unit}, {seconds:.0f} s")


@contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Say which file an error is about, for those who decode many."""
    try:
        yield
    except CombinerError as error:
        raise type(error)(f"{source}: {error}") from error


def _command(dataset: Path) -> str:
    """The command as typed, without folders and without what does not change the result."""
    words = ["combiner"]
    typed = iter(sys.argv[1:])
    for word in typed:
        if word in ("-f", "--force", "-v", "--verbose"):
            continue
        if word in ("--threads", "--device", "--checkpoint", "--checkpoint-seconds"):
            next(typed, None)
        elif word in ("-o", "--output"):
            words += [word, Path(next(typed, "")).name]
        else:
            words.append("DATASET" if Path(word) == dataset else word)
    return shlex.join(words)


def _limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
