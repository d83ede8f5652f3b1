"""Learning a lapped prior: the networks that foretell the moments, by gradient steps on the evidence.

A step takes stretches of recordings through the levels the way a decoder goes, each at a noise variance of its own,
with samples of the posteriors in the place of coded candidates; every network is trained on the context that it will
meet. See :mod:`combiner_cli.learning.trainer` for the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import UsageError
from ...learning.distributed import ALONE, Ranks
from ...learning.trainer import (
    Course,
    Curve,
    Learner,
    Progress,
    Shape,
    StepReport,
    Task,
    Watcher,
    evidence,
    fingerprint,
    load_checkpoint,
    ranges_of,
    sampled,
    stored,
    train,
)
from ...stages.encoder import best_classes
from ...stages.integer_network import FEATURE_UNIT
from ...stages.moments import UNIT
from . import encoder, transform
from .prior import LARGEST_HOP, LIMITS, MOST_HOPS, LappedPrior, limit_bins, noise_deviation
from .transform import BAND, LEVELS, PARITIES, PHASES, Segment

Array = npt.NDArray[Any]

_CHECKPOINT = "combiner-lapped-checkpoint-2"
_MOST_BEYOND = 10.0  # bits; it takes about that to give a band a higher class
_REACH = 8.0  # prior deviations; with a higher class hardly anything is beyond
_FEWEST_FRAMES = 16  # of a stretch
_CURVE_STEP = 8  # noise codes between measurements
_MOST_GAIN = 2.0  # that the loudness of a stretch is varied by, up and down
_USUAL_CODE = 40  # whose stretches have weight 1; the cost of a stretch is about linear in its noise code
_WEIGHT_OCTAVES = 0.5 / 8
_MORE_THAN_NEEDED = 0.2  # share of the steps


@dataclass(frozen=True)
class LappedPlan:
    """Settings of a lapped prior's learning.

    Attributes:
        name: of the prior.
        steps: gradient steps.
        stretches: of a step.
        length: of a stretch, in samples.
        hops: samples between frames, one of them drawn for each step.
        detail: units of the hidden layers of the networks that foretell moments.
        activity: of those that foretell activity.
        noise_codes: lowest and highest noise code.
        seed: of all random numbers.
        sample_rate: of the recordings, in Hz.
        channels: 2 where second channels are learned.
        size: length of a typical recording, in samples.
        start: id of the prior whose networks are learned on, if any.
        shards: equal parts of a step's stretches whose gradients are computed apart.
        patience: evaluations without a better one after which learning ends, if it may end early.
    """

    name: str
    steps: int
    stretches: int
    length: int
    hops: tuple[int, ...]
    detail: tuple[int, int]
    activity: tuple[int, int]
    noise_codes: tuple[int, int]
    seed: int
    sample_rate: int
    channels: int
    size: int
    start: int | None = None
    shards: int = 1
    patience: int | None = None


@dataclass(frozen=True)
class LearnedLapped:
    """A finished prior, and what was measured on the way.

    Attributes:
        prior: to save.
        reports: of all steps, those before a resumption included.
        curve: noise code, bits per sample instant and PSNR (peak-to-peak 2) of simulated coding of the held-out
            recordings.
    """

    prior: LappedPrior
    reports: tuple[StepReport, ...]
    curve: Curve


def learn(
    plan: LappedPlan,
    training: Sequence[Array],
    held_out: Sequence[Array],
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    watcher: Watcher | None = None,
    start: LappedPrior | None = None,
    ranks: Ranks = ALONE,
) -> LearnedLapped:
    """Learn a lapped prior.

    Args:
        plan: settings.
        training: recordings, ``(channels, samples)`` float32 in [-1, 1], pairs as their first and second channel are
            coded.
        held_out: recordings to measure.
        device: of torch.
        checkpoint: file to go on from, and to keep up to date.
        checkpoint_seconds: time between two states in it.
        watcher: is told how it goes.
        start: prior whose networks are learned on; the plan has its id.
        ranks: the place of this process among those that learn together; all of them return the same.

    Raises:
        UsageError: the networks of that prior have other sizes than the plan's, or the parts of a step cannot be
            shared by the processes.
        DatasetError: the checkpoint is of other data or settings.
        DamagedFileError: it cannot be read.
        OutputError: it cannot be written.
    """
    prior = _unlearned(plan)
    learner = _learner(plan, prior).to(device)
    # what is held out may have channels of which nothing is learned, and has noise codes from all over the range
    others = [own[: plan.channels] for own in held_out]
    codes = np.rint(np.linspace(*plan.noise_codes, plan.stretches)).astype(np.int64)
    task = Task(
        lambda generator: _stretches(plan, training, generator),
        lambda generator: (_stretches(plan, others, generator)[0], codes),
        lambda signals, codes, generator: _Descent(learner, generator, device).run(signals, codes),
    )
    reports = train(
        learner,
        task,
        course(plan, training, held_out),
        None if start is None else (start.stored, start.name),
        checkpoint,
        checkpoint_seconds,
        watcher or Watcher(),
        ranks,
    )
    prior = replace(prior, stored=stored(learner))
    curve = ranks.shared(lambda: _curve(prior, held_out))
    prior = replace(prior, **ranges_of(curve))
    return LearnedLapped(prior, tuple(reports), curve)


def course(plan: LappedPlan, training: Sequence[Array], held_out: Sequence[Array]) -> Course:
    """What decides how the networks learn."""
    content = fingerprint(plan, [*training, *held_out])
    return Course(plan.steps, plan.seed, _CHECKPOINT, content, plan.shards, plan.patience)


def resumption(
    plan: LappedPlan, training: Sequence[Array], held_out: Sequence[Array], checkpoint: Path
) -> Progress | None:
    """Where learning would go on; ``None`` for its beginning. Arguments and errors as of :func:`learn`."""
    return load_checkpoint(checkpoint, course(plan, training, held_out))[0] if checkpoint.exists() else None


def networks_bytes(plan: LappedPlan) -> int:
    """Size of the networks as they are stored."""
    return sum(own.nbytes for own in stored(_learner(plan, _unlearned(plan))).values())


def _unlearned(plan: LappedPlan) -> LappedPrior:
    """The prior without networks, its ranges still to be measured."""
    return LappedPrior(
        plan.name,
        "sound",
        plan.sample_rate,
        plan.hops,
        plan.channels,
        plan.noise_codes,
        (1.0, 2.0),
        (1.0, 1.0),
        plan.size,
        {},
    )


def _learner(plan: LappedPlan, prior: LappedPrior) -> torch.nn.ModuleDict:
    generator = torch.Generator().manual_seed(plan.seed)
    found = torch.nn.ModuleDict()
    for level in range(LEVELS):
        known, networks = transform.networks(level), torch.nn.ModuleDict()
        for name in prior.network_names(level):
            own = known[name]
            activity = own.values > 1
            hidden = plan.activity if activity else plan.detail
            bias = (0.0,) * own.values if activity else (-1.0,)
            networks[name] = Learner(Shape(own.features, own.values, own.values, own.relative, hidden, bias), generator)
            if not activity:  # an octave per class
                networks[name].linear.data[0, 0] = 0.5  # type: ignore[operator]
        found[str(level)] = networks
    return found


def _stretches(plan: LappedPlan, training: Sequence[Array], generator: np.random.Generator) -> tuple[Array, Array]:
    """Weights of stretches of a step, ``(stretches, channels, frames, hop)``, and their noise codes."""
    hop = plan.hops[int(generator.integers(len(plan.hops)))]
    lengths = np.array([own.shape[1] for own in training], dtype=np.float64)
    # recordings by their length; a step is of single recordings or of pairs only
    first = training[int(generator.choice(len(training), p=lengths / lengths.sum()))]
    alike = [own for own in training if len(own) == len(first)]
    chances = np.array([own.shape[1] for own in alike], dtype=np.float64)
    length = (max(plan.length // hop, _FEWEST_FRAMES) + 1) * hop
    found = []
    for number in generator.choice(len(alike), plan.stretches, p=chances / chances.sum()):
        own = alike[int(number)]
        begin = int(generator.integers(-hop, max(own.shape[1] - length, 0) + hop))
        part = np.zeros((len(own), length), dtype=np.float32)
        taken = own[:, max(begin, 0) : max(begin + length, 0)]
        part[:, max(-begin, 0) : max(-begin, 0) + taken.shape[1]] = taken[:, : length - max(-begin, 0)]
        found.append(part * np.float32(_MOST_GAIN ** generator.uniform(-1, 1)) * generator.choice((-1, 1)))
    codes = generator.integers(plan.noise_codes[0], plan.noise_codes[1] + 1, plan.stretches)
    return transform.analyse(np.stack(found), hop), codes


class _Descent:
    """One step's way through the levels; the gradients of every network are added up on the way."""

    def __init__(self, learner: torch.nn.ModuleDict, generator: np.random.Generator, device: str) -> None:
        self._learner, self._generator, self._device = learner, generator, device
        self._cost = 0.0

    def run(self, weights: Array, codes: Array) -> float:
        """Take weights ``(stretches, channels, frames, hop)`` through; their cost in bits per weight."""
        deviations = np.array([noise_deviation(int(code)) for code in codes])
        scaled = weights / deviations[:, None, None, None]
        limit = max(encoder.limit_of(own) for own in scaled)
        hop = scaled.shape[3]
        # often more than the loudest stretch needs, as the others of a file may
        if self._generator.random() < _MORE_THAN_NEEDED:
            limit = int(self._generator.integers(limit, LIMITS))
        bins = limit_bins(max(limit, 1), hop)
        own = transform.segment(codes, hop, scaled.shape[1], scaled.shape[2], bins)
        true = scaled[..., :bins]
        for level in range(LEVELS - 1, -1, -1):
            for channel, parity in product(range(own.channels), range(PARITIES)):
                if transform.band_latents(own, level, parity):
                    self._activity(own, true, level, parity, channel)
            for phase, channel in product(range(PHASES), range(own.channels)):
                if transform.latents(own, level, phase):
                    self._stage(own, true, level, phase, channel)
        return self._cost / float(true.size)

    def _results(self, level: int, name: str, features: Array) -> torch.Tensor:
        values = torch.from_numpy(features).to(self._device) / FEATURE_UNIT
        found: torch.Tensor = self._learner[str(level)][name](values)[0]  # type: ignore[index]
        return found

    def _backward(self, own: Segment, stretch: Array, costs: torch.Tensor) -> None:
        """Add the gradients of the average cost of columns, and the cost itself to the sum.

        Args:
            own: the segment.
            stretch: of each column, ``(columns,)``.
            costs: ``(columns,)``.
        """
        weights = self._tensor(_weights(own.code)[stretch])
        if costs.requires_grad:  # not where costs are only measured
            (costs * weights).mean().backward()  # type: ignore[no-untyped-call]
        self._cost += float(costs.detach().sum())

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)

    def _activity(self, own: Segment, true: Array, level: int, parity: int, channel: int) -> None:
        features = transform.activity_features(own, level, parity, channel, np.float32)
        logits = self._results(level, transform.activity_name(parity, channel), features)
        octaves = torch.log_softmax(logits * math.log(2), dim=0) / math.log(2)
        energy = (transform.band_target(true[:, channel], level, parity) ** 2).mean(axis=1)
        classes = best_classes(energy, octaves.detach().cpu().numpy(), BAND, encoder.CLASS_VARIANCES)
        transform.put_activity(own, level, parity, channel, classes)
        stretch = np.repeat(np.arange(len(own.code)), len(classes) // len(own.code))
        self._backward(own, stretch, -octaves.gather(0, torch.from_numpy(classes).to(self._device)[None])[0])

    def _stage(self, own: Segment, true: Array, level: int, phase: int, channel: int) -> None:
        which = transform.coded(own, level, phase, channel)
        true = transform.target(true[:, channel], level, phase).reshape(-1)
        values = np.zeros(len(true))
        if len(which):
            features = transform.detail_features(own, level, phase, channel, which, np.float32)
            octaves = self._results(level, transform.detail_name(phase, channel), features)[0].clamp(-6, 20)
            residual = self._tensor(true[which])
            self._backward(own, which // (len(true) // len(own.code)), evidence(residual, octaves, _MOST_BEYOND))
            noise = self._tensor(self._generator.standard_normal(len(which), dtype=np.float32))
            with torch.no_grad():
                values[which] = sampled(residual, octaves, noise, _REACH).cpu().numpy()
        pruned = np.delete(true, which)
        self._cost += float((pruned**2).sum()) / (2 * math.log(2))
        transform.put(own, level, phase, channel, np.floor(values * UNIT))


def _weights(code: Array) -> Array:
    """Weights of stretches of noise codes, ``(stretches,)``."""
    return np.exp2(-(code - _USUAL_CODE) * _WEIGHT_OCTAVES).clip(0.25, 4.0)


def _curve(prior: LappedPrior, held_out: Sequence[Array]) -> Curve:
    """Noise code, bits per sample instant and PSNR of simulated coding."""
    low, high = prior.noise_codes
    found = []
    for code in sorted({*range(low, high + 1, _CURVE_STEP), high}):
        rates, errors = [], []
        for samples in held_out:
            recording = encoder.Recording(samples, prior.hops[0])
            parts = [encoder.forecast(prior, recording.weights(own), code) for own in recording.segments]
            bits = sum(one.bits + one.class_bits for one in parts)
            rates.append(bits / samples.shape[1])
            errors.append(math.log(max(sum(one.squared_error for one in parts), 1e-9) / samples.size))
        found.append((code, float(np.mean(rates)), 10 * math.log10(4 / math.exp(float(np.mean(errors))))))
    return tuple(found)


def check_hops(hops: Sequence[int]) -> None:
    """Refuse hops that a transform cannot have, or more of them than a prior can.

    Raises:
        UsageError: there is one, or there are.
    """
    if len(hops) > MOST_HOPS:
        raise UsageError(f"a prior has {MOST_HOPS} hops at most, not {len(hops)}")
    for hop in hops:
        if hop % (2 * BAND) or not 2 * BAND <= hop <= LARGEST_HOP:
            raise UsageError(f"a hop is a multiple of {2 * BAND} up to {LARGEST_HOP}, unlike {hop}")
