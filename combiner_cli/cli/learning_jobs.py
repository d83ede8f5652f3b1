"""What the families of priors need to learn: data and settings from a request, the work itself, and the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError
from . import learning_display
from .learning_display import Manner

if TYPE_CHECKING:
    from ..learning.curves import Curves
    from ..learning.datasets import Dataset, PictureSample, RecordingSample
    from ..learning.distributed import Ranks
    from ..learning.estimate import Outlook
    from ..learning.trainer import Progress, StepReport
    from ..priors.library import AnyPrior

BY_STEPS = ("pyramid", "lapped")  # families that several processes can learn together, and that may end early
_MOST_PICTURE_BYTES = 2**31
_MOST_RECORDING_BYTES = 2**31
_FEWEST_SIGNALS = 6  # of a step


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
    shards: int | None
    patience: int | None


class Watching(Protocol):
    """Who is told how a learning goes."""

    def step(self, done: int) -> None:
        """So many steps or rounds are done."""

    def report(self, own: Any) -> None:
        """What was measured, now and then."""


@dataclass(frozen=True)
class Place:
    """Where a learning takes place.

    Attributes:
        ranks: this process among those that learn together.
        device: of torch, of this process.
    """

    ranks: Ranks
    device: str


@dataclass(frozen=True)
class Already:
    """What is done before a learning goes on.

    Attributes:
        done: steps or rounds.
        reports: of these.
    """

    done: int = 0
    reports: Sequence[Any] = ()


@dataclass(frozen=True)
class Finished:
    """A learned prior and what is told of it.

    Attributes:
        prior: to save.
        curves: for the card.
        describe: the command, what it took, and a plot -> the text of the card.
        remark: what else the user should know.
    """

    prior: AnyPrior
    curves: Curves
    describe: Callable[[str, str, str], str]
    remark: str | None = None


@dataclass(frozen=True)
class Job:
    """A learning that is ready to begin.

    Attributes:
        outlook: what it will take.
        manner: how its reports are told.
        data: what is learned from, in words.
        held_out: what is measured, in words.
        already: finds out what is done.
        learn: does the work, and tells how it goes.
        shards: parts of a step.
    """

    outlook: Outlook
    manner: Manner[Any]
    data: str
    held_out: str
    already: Callable[[], Already]
    learn: Callable[[Watching], Finished]
    shards: int = 1


def family_of(asked: Request) -> str:
    """The family that is meant, where the options go with it."""
    start = start_of(asked)
    family = asked.family or ("siren" if asked.layers else start.family if start else "linear")
    if start and start.family not in ("pyramid", "lapped"):
        raise UsageError(f"--start takes a pyramid or a lapped prior, and {start.name} is a {start.family} one")
    if start and start.family != family:
        raise UsageError(f"--start {start.name} goes with --family {start.family}")
    if (asked.hop or asked.sample_rate) and family != "lapped":
        raise UsageError("--hop and --sample-rate go with --family lapped")
    if (asked.shards or asked.patience) and family not in BY_STEPS:
        raise UsageError("--shards and --patience go with --family pyramid or lapped")
    if (family == "siren") != (asked.layers > 0):
        raise UsageError("--family siren and --layers of at least 1 go together")
    return family


def start_of(asked: Request) -> AnyPrior | None:
    """The prior that is learned on, if any."""
    from ..priors import library

    return library.find(asked.start) if asked.start else None


def _pyramid(source: Dataset, asked: Request, place: Place) -> Job:
    """A prior over the weights of pyramids."""
    from ..families.pyramid import learning as learn_hierarchy
    from ..learning import cards, datasets
    from ..learning import estimate as outlook

    if asked.beta is not None or asked.rate is not None:
        raise UsageError("a pyramid prior is for all rates; leave out --rate and --beta")
    crop = asked.tile or 256
    if crop < 16:
        raise UsageError("a pyramid takes crops of at least 16 samples; give a larger --tile")
    sample = datasets.sample_pictures(source, crop, asked.held_out, _MOST_PICTURE_BYTES, asked.seed)
    start, shards = start_of(asked), asked.shards or place.ranks.count
    plan = learn_hierarchy.PyramidPlan(
        name=asked.name,
        steps=asked.steps or 6_000,
        pictures=_signals_of_step(_FEWEST_SIGNALS, shards),
        crop=crop,
        fine=((96, 64), (48, 48), (64, 48)),
        coarse=((160, 96), (96, 64), (96, 64)),
        noise_codes=(4, 88),
        seed=asked.seed,
        size=sample.size,
        start=start.id if start else None,
        shards=shards,
        patience=asked.patience,
    )
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} images"

    return Job(
        outlook.of_pyramid(
            plan, learn_hierarchy.networks_bytes(plan), _bytes(sample), sum(own.size // 3 for own in sample.held_out)
        ),
        learning_display.of_steps(plan.name, plan.steps, "image"),
        _data_text(sample, "images"),
        _measured_text(plan.pictures, "crops"),
        lambda: _steps_done(learn_hierarchy.resumption(plan, sample.training, sample.held_out, asked.checkpoint)),
        _by_steps(learn_hierarchy.learn, cards.pyramid_card, plan, sample, asked, place, data, "image"),
        shards,
    )


def _lapped(source: Dataset, asked: Request, place: Place) -> Job:
    """A prior over the weights of lapped transforms."""
    from ..families.lapped import learning as learn_recordings
    from ..learning import cards, datasets
    from ..learning import estimate as outlook

    if asked.beta is not None or asked.rate is not None:
        raise UsageError("a lapped prior is for all rates; leave out --rate and --beta")
    hops = asked.hop or (256,)
    learn_recordings.check_hops(hops)
    sample = datasets.sample_recordings(source, asked.sample_rate, asked.held_out, _MOST_RECORDING_BYTES)
    length = sample.sample_rate * 128 // 125  # about a second; 64 frames of 256 samples at 16 kHz
    start, shards = start_of(asked), asked.shards or place.ranks.count
    plan = learn_recordings.LappedPlan(
        name=asked.name,
        steps=asked.steps or 6_000,
        stretches=_signals_of_step(max(_FEWEST_SIGNALS, 12 * 16_384 // length), shards),
        length=length,
        hops=hops,
        detail=(64, 32),
        activity=(32, 32),
        noise_codes=(8, 88),
        seed=asked.seed,
        sample_rate=sample.sample_rate,
        channels=max(len(own) for own in sample.training),
        size=sample.size,
        start=start.id if start else None,
        shards=shards,
        patience=asked.patience,
    )
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} sounds"

    return Job(
        outlook.of_lapped(
            plan, learn_recordings.networks_bytes(plan), _bytes(sample), sum(own.size for own in sample.held_out)
        ),
        learning_display.of_steps(plan.name, plan.steps, "sound"),
        f"{_data_text(sample, 'sounds')} at {sample.sample_rate} Hz",
        _measured_text(plan.stretches, "stretches"),
        lambda: _steps_done(learn_recordings.resumption(plan, sample.training, sample.held_out, asked.checkpoint)),
        _by_steps(learn_recordings.learn, cards.lapped_card, plan, sample, asked, place, data, "sound"),
        shards,
    )


def _by_steps(
    work: Callable[..., Any],
    card: Callable[..., str],
    plan: Any,
    sample: PictureSample | RecordingSample,
    asked: Request,
    place: Place,
    data: str,
    kind: str,
) -> Callable[[Watching], Finished]:
    """Learning by gradient steps: the work of a family on its plan and data, and what comes of it."""
    from ..learning import curves as learning_curves
    from ..learning.trainer import Watcher

    def learn(watcher: Watching) -> Finished:
        learned = work(
            plan,
            sample.training,
            sample.held_out,
            place.device,
            asked.checkpoint,
            asked.checkpoint_seconds,
            Watcher(watcher.step, watcher.report),
            start_of(asked),
            place.ranks,
        )
        return Finished(
            learned.prior,
            learning_curves.of_steps(learned.reports, kind),
            lambda command, spent, plot: card(plan, learned, command, data, spent, plot),
            _remark(plan.patience, plan.steps, learned.reports),
        )

    return learn


def _mixture(source: Dataset, asked: Request, _place: Place) -> Job:
    """A mixture prior over the weights of networks without hidden layers."""
    from ..families.linear import learning as learn_mixture
    from ..families.linear.neighbourhood import phases
    from ..families.linear.network import Linear
    from ..learning import cards, datasets
    from ..learning import curves as learning_curves
    from ..learning import estimate as outlook

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
    learn_mixture.check(plan, sample.training)
    data = f"{asked.describe or source.source.resolve().name}, {sample.signals} {source.kind}s"
    count = phases(len(network.extent))

    def learn(watcher: Watching) -> Finished:
        def report(own: learn_mixture.MixtureReport) -> None:
            watcher.step((own.phase - 1) * plan.rounds + own.number)
            watcher.report(own)

        learned = learn_mixture.learn(
            plan, sample.training, sample.held_out, asked.checkpoint, asked.checkpoint_seconds, report
        )
        return Finished(
            learned.prior,
            learning_curves.of_mixture(learned.reports),
            lambda command, spent, plot: cards.mixture_card(plan, learned, command, data, spent, plot),
        )

    planes, kept_out = (sum(len(batch) for batch in part) for part in (sample.training, sample.held_out))
    size = sum(batch.nbytes for batch in sample.training)
    mirrored = " (with mirrored copies)" if image else ""
    return Job(
        outlook.of_mixture(plan, count, size),
        learning_display.of_mixture(plan.name, count * plan.rounds),
        f"{planes:,} {source.kind}s to learn from{mirrored}, {kept_out:,} held out, {outlook.size_text(size)}",
        "measured at the end",
        lambda: _rounds_done(learn_mixture.resumption(plan, sample.training, asked.checkpoint)),
        learn,
    )


def _network(source: Dataset, asked: Request, place: Place) -> Job:
    """A prior over the weights of networks with hidden layers."""
    import numpy as np

    from ..families.siren import learn_covariance
    from ..families.siren import learning as learn
    from ..families.siren.network import Siren
    from ..families.siren.posterior import Descent
    from ..learning import cards, datasets
    from ..learning import curves as learning_curves
    from ..learning import estimate as outlook

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
    learn.check(plan)
    data = f"{asked.describe or source.source.resolve().name}, {signals} {source.kind}s"
    tiles = (len(training), len(kept_out))

    def already() -> Already:
        resumption = learn_covariance.resumption if covariance == "full" else learn.resumption
        return _rounds_done(resumption(plan, np.concatenate([training, kept_out]), asked.checkpoint))

    def work(watcher: Watching) -> Finished:
        def report(own: learn.RoundReport) -> None:
            watcher.step(own.number)
            watcher.report(own)

        learned: learn.Learned | learn_covariance.LearnedCovariance
        method = learn_covariance.learn_covariance if covariance == "full" else learn.learn
        learned = method(
            plan, training, kept_out, place.device, asked.checkpoint, asked.checkpoint_seconds, report=report
        )
        return Finished(
            learned.prior,
            learning_curves.of_rounds(learned.reports),
            lambda command, spent, plot: cards.card(
                learned.prior, plan, command, data, tiles, learned.reports, spent, plot
            ),
        )

    size = training.nbytes + kept_out.nbytes
    return Job(
        outlook.of_network(plan, sum(tiles), size),
        learning_display.of_rounds(plan.name, plan.rounds + plan.turns),
        f"{tiles[0]:,} tiles to learn from, {tiles[1]:,} held out, of {signals:,} {source.kind}s, "
        f"{outlook.size_text(size)}",
        "measured in every round",
        already,
        work,
    )


def _bytes(sample: PictureSample | RecordingSample) -> int:
    return sum(own.nbytes for own in (*sample.training, *sample.held_out))


def _data_text(sample: PictureSample | RecordingSample, signals: str) -> str:
    from ..learning.estimate import size_text

    return (
        f"{len(sample.training):,} {signals} to learn from, {len(sample.held_out):,} held out, "
        f"{size_text(_bytes(sample))}"
    )


def _measured_text(count: int, parts: str) -> str:
    from ..learning.trainer import HELD_OUT_BATCHES, REPORT_STEPS

    return f"{HELD_OUT_BATCHES * count} {parts} measured every {REPORT_STEPS} steps"


def _signals_of_step(usual: int, shards: int) -> int:
    """As many as usual, or a few more: every part of a step has the same number."""
    return -(-usual // shards) * shards


def _steps_done(progress: Progress | None) -> Already:
    return Already() if progress is None else Already(progress.done, progress.reports)


def _rounds_done(reports: Sequence[Any]) -> Already:
    return Already(len(reports), reports)


def _remark(patience: int | None, steps: int, reports: Sequence[StepReport]) -> str | None:
    """What became of learning that might end early."""
    from ..learning.trainer import best_report

    best, last = best_report(reports), reports[-1].number
    if patience is None or best is None:
        return None
    ended = f"ended early, after step {last:,} of {steps:,}; " if last < steps else ""
    return f"{ended}the state of step {best.number:,}, the best one, becomes the prior"


JOBS: dict[str, Callable[[Dataset, Request, Place], Job]] = {
    "linear": _mixture,
    "pyramid": _pyramid,
    "lapped": _lapped,
    "siren": _network,
}
