"""The command learn-prior: parse, gather the training data, learn, and write the prior with its card."""

from __future__ import annotations

import math
import resource
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import OutputError, UsageError
from . import display, options

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..priors import AnyPrior

_MOST_PICTURE_BYTES = 2**31
_MOST_RECORDING_BYTES = 2**31
_NOT_IN_THE_COMMAND = ("--threads", "--device", "--checkpoint", "--checkpoint-seconds")


@dataclass(frozen=True)
class Request:
    """What the user asked for; see the options' help."""

    name: str
    rate: float | None
    beta: float | None
    family: str | None
    layers: int
    covariance: str | None
    components: int | None
    tile: int | None
    dimensions: int
    context: int
    reach: int | None
    features: int
    highest_frequency: float | None
    width: int
    sine: float
    rounds: int | None
    turns: int
    steps: int | None
    start: str | None
    points: int
    tiles: int | None
    held_out: int
    group_bits: str
    checkpoint: Path
    checkpoint_seconds: float
    seed: int
    describe: str | None
    device: str
    hop: tuple[int, ...]
    sample_rate: int | None


@click.command("learn-prior", epilog=options.exit_codes(3, 6, 7, 9, 10))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Prior to write: NAME.safetensors."
)
@options.force
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Bits per pixel, or per sample of sound, to aim at. [default: 1]",
)
@click.option(
    "--family",
    type=click.Choice(["lapped", "linear", "pyramid", "siren"]),
    help="linear: tiles in closed form. pyramid: whole photographs, and lapped: whole recordings, by gradient. "
    "siren: with hidden layers. "
    "[default: linear, with layers siren]",
)
@click.option(
    "--layers",
    type=click.IntRange(0, 16),
    default=0,
    show_default=True,
    help="Hidden layers of the network; 0 is learned in closed form.",
)
@click.option(
    "--covariance",
    type=click.Choice(["full", "diagonal"]),
    help="Of the weights. [default: full without hidden layers, else diagonal]",
)
@click.option(
    "--components", type=click.IntRange(1, 4096), help="Gaussians of the mixture. [default: 16, with layers 1]"
)
@click.option(
    "--tile", type=click.IntRange(1, 2**20), help="Side of a tile. [default: 16, sound 128; with layers 32, 512]"
)
@click.option("--rounds", type=click.IntRange(1), help="Turns of fitting and updating. [default: 6, with layers 96]")
@click.option(
    "--turns",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="With layers: turns with full covariances after these.",
)
@click.option("--tiles", type=click.IntRange(1), help="Training tiles at most. [default: 400000, with layers 1024]")
@click.option(
    "--held-out", type=click.IntRange(1, 50), default=5, show_default=True, help="Percent of the signals kept out."
)
@click.option(
    "--dimensions", type=click.IntRange(1, 8192), default=256, show_default=True, help="Without layers: weights kept."
)
@click.option(
    "--context",
    type=click.IntRange(0, 4096),
    default=96,
    show_default=True,
    help="Without layers: dimensions of the surroundings.",
)
@click.option(
    "--reach", type=click.IntRange(1, 4096), help="Without layers: width of the surroundings. [default: 3, sound 32]"
)
@click.option("--beta", type=click.FloatRange(0, min_open=True), help="With layers: weight of the KL, not --rate.")
@click.option(
    "--features", type=click.IntRange(2, 4096), default=64, show_default=True, help="With layers: Fourier features."
)
@click.option(
    "--highest-frequency",
    type=click.FloatRange(1),
    help="With layers: of the features, in periods per tile. [default: half the tile]",
)
@click.option(
    "--width", type=click.IntRange(1, 4096), default=16, show_default=True, help="With layers: units of each."
)
@click.option(
    "--sine",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="With layers: factor inside the sine.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Gradient steps: of a pyramid or a lapped prior in all, with layers per round. [default: 6000, 40]",
)
@click.option(
    "--start",
    metavar="PRIOR",
    help="Pyramid, lapped: learn on from this prior, a name or a file. [default: from nothing]",
)
@click.option(
    "--hop",
    type=click.IntRange(16, 4096),
    multiple=True,
    help="Lapped: samples between frames; several let the encoder choose. [default: 256]",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 768_000),
    help="Lapped: in Hz; what has another one is resampled. [default: that of the first recording]",
)
@click.option(
    "--points", type=click.IntRange(1), default=256, show_default=True, help="With layers: points per tile and step."
)
@click.option(
    "--group-bits",
    type=click.Choice(["8", "16"]),
    default="16",
    show_default=True,
    help="With layers: bits of a group in files of version 1.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Resumed from and kept up to date. [default: NAME.checkpoint]"
)
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="Time between checkpoints."
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all random numbers.")
@click.option("--describe", metavar="TEXT", help="Description of the data for the card. [default: the folder's name]")
@options.device
@options.threads
@options.verbose
def learn_prior(dataset: Path, output: Path, force: bool, checkpoint: Path | None, **asked: object) -> None:
    """Learn a prior from a folder of images or sounds, or an .npz of images.

    Stopped at any moment, the same command goes on from the last checkpoint. A card (NAME.md) is written beside the
    prior.

    \b
    Examples:
      combiner learn-prior photographs/ --rate 0.5 -o mine.safetensors
      combiner learn-prior photographs/ --family pyramid -o mine.safetensors
      combiner learn-prior photographs/ --layers 2 --tile 64 -o mine.safetensors
    """
    from .. import datasets, files, priors

    if output.suffix != priors.SUFFIX:
        raise UsageError(f"a prior's name ends in {priors.SUFFIX}, unlike {output}")
    if asked["rate"] is not None and asked["beta"] is not None:
        raise UsageError("--rate and --beta exclude each other; give one of them")
    for name in ("rate", "beta"):
        if isinstance(value := asked[name], float) and not math.isfinite(value):
            raise UsageError(f"--{name} takes a finite number")
    card_path = output.with_suffix(".md")
    if card_path.exists() and not force:
        raise OutputError(f"{card_path} exists; use -f to replace it")
    saved = checkpoint or output.with_suffix(".checkpoint")
    request = Request(name=output.stem, checkpoint=saved, **asked)  # type: ignore[arg-type]
    clock = time.perf_counter()
    with files.atomic_output(output, force) as partial:
        source = datasets.open_dataset(dataset)
        prior, describe = _LEARNERS[_family(request)](source, request)
        priors.save(prior, partial)
    seconds = time.perf_counter() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    spent = f"{seconds:.0f} s and {memory:.1f} GiB in the last run"
    with files.atomic_output(card_path, force) as partial:
        partial.write_text(describe(_command(dataset), spent))
    saved.unlink(missing_ok=True)
    unit = "pixel" if source.kind == "image" else "sample"
    click.echo(
        f"{output}: prior {prior.id:08x}, {prior.bits_per_point:.4f} bits per {unit}, {seconds:.0f} s, {memory:.1f} GiB"
    )


_Learned = TypeVar("_Learned")
_Describe = Callable[[str, str], str]  # the command and what it took -> the text of the card


def _family(asked: Request) -> str:
    """The family that is meant, where the options go with it."""
    start = _start(asked)
    family = asked.family or ("siren" if asked.layers else start.family if start else "linear")
    if start and start.family not in ("pyramid", "lapped"):
        raise UsageError(f"--start takes a pyramid or a lapped prior, and {start.name} is a {start.family} one")
    if start and start.family != family:
        raise UsageError(f"--start {start.name} goes with --family {start.family}")
    if (asked.hop or asked.sample_rate) and family != "lapped":
        raise UsageError("--hop and --sample-rate go with --family lapped")
    if (family == "siren") != (asked.layers > 0):
        raise UsageError("--family siren and --layers of at least 1 go together")
    return family


def _start(asked: Request) -> AnyPrior | None:
    """The prior that is learned on, if any."""
    from .. import priors

    return priors.find(asked.start) if asked.start else None


def _by_steps(learn: Callable[..., _Learned], plan: Any, sample: Any, asked: Request) -> _Learned:
    """Learn by gradient steps, and show how that goes."""
    from ..codec import choose_device

    with display.step_display(plan.name) as show:
        return learn(
            plan,
            sample.training,
            sample.held_out,
            choose_device(asked.device),
            asked.checkpoint,
            asked.checkpoint_seconds,
            show,
            _start(asked),
        )


def _pyramid(source: Dataset, asked: Request) -> tuple[AnyPrior, _Describe]:
    """A prior over the weights of pyramids."""
    from .. import cards, datasets, learn_hierarchy

    if asked.beta is not None or asked.rate is not None:
        raise UsageError("a pyramid prior is for all rates; leave out --rate and --beta")
    crop = asked.tile or 256
    if crop < 16:
        raise UsageError("a pyramid takes crops of at least 16 samples; give a larger --tile")
    sample = datasets.sample_pictures(source, crop, asked.held_out, _MOST_PICTURE_BYTES, asked.seed)
    plan = learn_hierarchy.PyramidPlan(
        name=asked.name,
        steps=asked.steps or 6_000,
        pictures=6,
        crop=crop,
        fine=((96, 64), (48, 48), (64, 48)),
        coarse=((160, 96), (96, 64), (96, 64)),
        noise_codes=(4, 88),
        seed=asked.seed,
        size=sample.size,
        start=start.id if (start := _start(asked)) else None,
    )
    learned = _by_steps(learn_hierarchy.learn, plan, sample, asked)
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} images"
    return learned.prior, lambda command, spent: cards.pyramid_card(plan, learned, command, data, spent)


def _lapped(source: Dataset, asked: Request) -> tuple[AnyPrior, _Describe]:
    """A prior over the weights of lapped transforms."""
    from .. import cards, datasets, learn_recordings

    if asked.beta is not None or asked.rate is not None:
        raise UsageError("a lapped prior is for all rates; leave out --rate and --beta")
    hops = asked.hop or (256,)
    learn_recordings.check_hops(hops)
    sample = datasets.sample_recordings(source, asked.sample_rate, asked.held_out, _MOST_RECORDING_BYTES)
    length = sample.sample_rate * 128 // 125  # about a second; 64 frames of 256 samples at 16 kHz
    plan = learn_recordings.LappedPlan(
        name=asked.name,
        steps=asked.steps or 6_000,
        stretches=max(6, 12 * 16_384 // length),
        length=length,
        hops=hops,
        detail=(64, 32),
        activity=(32, 32),
        noise_codes=(8, 88),
        seed=asked.seed,
        sample_rate=sample.sample_rate,
        channels=max(len(own) for own in sample.training),
        size=sample.size,
        start=start.id if (start := _start(asked)) else None,
    )
    learned = _by_steps(learn_recordings.learn, plan, sample, asked)
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} sounds"
    return learned.prior, lambda command, spent: cards.lapped_card(plan, learned, command, data, spent)


def _mixture(source: Dataset, asked: Request) -> tuple[AnyPrior, _Describe]:
    """A mixture prior over the weights of networks without hidden layers."""
    from .. import cards, datasets, learn_mixture
    from ..models.linear import Linear

    image = source.kind == "image"
    if asked.beta is not None:
        raise UsageError("--beta goes with hidden layers; give --rate")
    side = asked.tile or (16 if image else 128)
    network = Linear((side, side) if image else (side,), 3 if image else 1)
    sample = datasets.sample_signals(
        source, network.extent, network.outputs, asked.tiles or 400_000, asked.held_out, image
    )
    plan = learn_mixture.MixturePlan(
        name=asked.name,
        kind=source.kind,
        network=network,
        components=asked.components or 16,
        covariance=asked.covariance or "full",
        dimensions=min(asked.dimensions, network.latents),
        context=asked.context,
        reach=asked.reach or (3 if image else 32),
        bits_per_point=asked.rate or 1.0,
        rounds=asked.rounds or 6,
        seed=asked.seed,
        size=sample.size,
    )
    with display.mixture_display(plan.name) as show:
        learned = learn_mixture.learn(
            plan, sample.training, sample.held_out, asked.checkpoint, asked.checkpoint_seconds, show
        )
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} {source.kind}s"
    return learned.prior, lambda command, spent: cards.mixture_card(plan, learned, command, data, spent)


def _network(source: Dataset, asked: Request) -> tuple[AnyPrior, _Describe]:
    """A prior over the weights of networks with hidden layers."""
    from .. import cards, datasets, learn, learn_covariance
    from ..codec import choose_device
    from ..models.siren import Siren
    from ..posterior import Descent

    image = source.kind == "image"
    components = asked.components or 1
    if components > 1 and asked.covariance == "diagonal":
        raise UsageError("a mixture with hidden layers has full covariances")
    covariance = asked.covariance or ("full" if components > 1 else "diagonal")
    side = asked.tile or (32 if image else 512)
    extent = (side, side) if image else (side,)
    if asked.features % (2 * len(extent)):
        raise UsageError(f"--features must be a multiple of {2 * len(extent)} for {source.kind}s")
    network = Siren(
        extent,
        3 if image else 1,
        asked.features,
        asked.highest_frequency or side / 2,
        asked.width,
        asked.layers,
        asked.sine,
    )
    training, kept_out, signals = datasets.sample_tiles(
        source, extent, network.outputs, asked.tiles or 1024, asked.held_out, asked.seed
    )
    plan = learn.Plan(
        name=asked.name,
        kind=source.kind,
        network=network,
        bits_per_point=None if asked.beta else asked.rate or 1.0,
        beta=asked.beta or 2e-5,
        rounds=asked.rounds or 96,
        steps=asked.steps or 40,
        group_bits=int(asked.group_bits),
        seed=asked.seed,
        descent=Descent(points=asked.points),
        covariance=covariance,
        components=components,
        turns=asked.turns if covariance == "full" else 0,
    )
    learned: learn.Learned | learn_covariance.LearnedCovariance
    work = learn_covariance.learn_covariance if covariance == "full" else learn.learn
    with display.round_display(plan.name, plan.rounds + plan.turns) as show:
        learned = work(
            plan,
            training,
            kept_out,
            choose_device(asked.device),
            asked.checkpoint,
            asked.checkpoint_seconds,
            report=show,
        )
    data = f"{asked.describe or source.source.resolve().name}, {signals} {source.kind}s"
    tiles = (len(training), len(kept_out))
    return learned.prior, lambda command, spent: cards.card(
        learned.prior, plan, command, data, tiles, learned.reports, spent
    )


_LEARNERS: dict[str, Callable[[Dataset, Request], tuple[AnyPrior, _Describe]]] = {
    "linear": _mixture,
    "pyramid": _pyramid,
    "lapped": _lapped,
    "siren": _network,
}


def _command(dataset: Path) -> str:
    """The command as typed, without folders and without what does not change the result."""
    words = ["combiner"]
    typed = iter(sys.argv[1:])
    for word in typed:
        if word in ("-f", "--force", "-v", "--verbose"):
            continue
        if word in _NOT_IN_THE_COMMAND:
            next(typed, None)
        elif word in ("-o", "--output"):
            words += [word, Path(next(typed, "")).name]
        else:
            words.append("DATASET" if Path(word) == dataset else word)
    return shlex.join(words)
