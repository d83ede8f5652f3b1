"""Learning a pyramid prior: the networks that foretell the moments, by gradient steps on the evidence.

The prior variance that maximises the evidence N(c; mean, t + s2) of the details c is the fixed point of the published
closed-form update (Guo et al. 2023, equation 7) for a network without hidden layers: t = max(data variance − s2, 0).
Here the data variance depends on what is decoded, and a small network learns it. A step takes crops of pictures down
the pyramid the way a decoder goes, each at a noise variance of its own, with samples of the posteriors in the place of
coded candidates; every network is trained on the context that it will meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

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
from ...stages.integer_network import octaves as octaves_of
from ...stages.moments import COARSE, PARTS_FROM, UNIT
from . import encoder, haar, levels
from . import features as pyramid_features
from .features import Network
from .levels import Level
from .prior import PyramidPrior, noise_deviation

Array = npt.NDArray[Any]

_CHECKPOINT = "combiner-pyramid-checkpoint-2"
_USUAL_CODE = 48  # whose pictures have weight 1; the cost of a picture is about inverse to its noise deviation ...
_WEIGHT_OCTAVES = 0.7 / 16  # ... and so is its weight, nearly
_CURVE_STEP = 8  # noise codes between measurements
_FINE = 2  # levels, from the finest on, that are called fine
_FINEST_CROP = 7 / 16  # of the finest level's positions along an axis; it has most of the work


@dataclass(frozen=True)
class PyramidPlan:
    """Settings of a pyramid prior's learning.

    Attributes:
        name: of the prior.
        steps: gradient steps.
        pictures: of a step.
        crop: side of a picture of a step, in samples.
        fine: units of the hidden layers of the networks of the two finest levels: of the luma, the chroma, and those
            that foretell activity.
        coarse: of all other levels.
        noise_codes: lowest and highest noise code.
        seed: of all random numbers.
        size: longer side of a typical signal.
        start: id of the prior whose networks are learned on, if any.
        shards: equal parts of a step's pictures whose gradients are computed apart.
        patience: evaluations without a better one after which learning ends, if it may end early.
    """

    name: str
    steps: int
    pictures: int
    crop: int
    fine: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    coarse: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    noise_codes: tuple[int, int]
    seed: int
    size: int
    start: int | None = None
    shards: int = 1
    patience: int | None = None


@dataclass(frozen=True)
class LearnedPyramid:
    """A finished prior, and what was measured on the way.

    Attributes:
        prior: to save.
        reports: of all steps, those before a resumption included.
        curve: noise code, bits per pixel and PSNR of simulated coding of the held-out pictures.
    """

    prior: PyramidPrior
    reports: tuple[StepReport, ...]
    curve: Curve


def learn(
    plan: PyramidPlan,
    training: Sequence[npt.NDArray[np.uint8]],
    held_out: Sequence[npt.NDArray[np.uint8]],
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    watcher: Watcher | None = None,
    start: PyramidPrior | None = None,
    ranks: Ranks = ALONE,
) -> LearnedPyramid:
    """Learn a pyramid prior.

    Args:
        plan: settings.
        training: pictures of at least ``plan.crop`` samples a side, ``(height, width, 3)``.
        held_out: pictures to measure.
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
    learner = _learner(plan).to(device)
    # crops of what is held out may have to be smaller, and have noise codes from all over the range
    other = replace(plan, crop=min(plan.crop, *(min(own.shape[:2]) for own in held_out)))
    codes = np.rint(np.linspace(*plan.noise_codes, plan.pictures)).astype(np.int64)
    task = Task(
        lambda generator: _crops(plan, training, generator),
        lambda generator: (_crops(other, held_out, generator)[0], codes),
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
    low, high = plan.noise_codes
    prior = PyramidPrior(
        plan.name, "image", (low, high), (1.0, 2.0), (1.0, 1.0), plan.size, stored(learner), PARTS_FROM
    )
    curve = ranks.shared(lambda: _curve(prior, held_out))
    prior = replace(prior, **ranges_of(curve))
    return LearnedPyramid(prior, tuple(reports), curve)


def course(
    plan: PyramidPlan, training: Sequence[npt.NDArray[np.uint8]], held_out: Sequence[npt.NDArray[np.uint8]]
) -> Course:
    """What decides how the networks learn."""
    content = fingerprint(plan, [*training, *held_out])
    return Course(plan.steps, plan.seed, _CHECKPOINT, content, plan.shards, plan.patience)


def resumption(
    plan: PyramidPlan,
    training: Sequence[npt.NDArray[np.uint8]],
    held_out: Sequence[npt.NDArray[np.uint8]],
    checkpoint: Path,
) -> Progress | None:
    """Where learning would go on; ``None`` for its beginning. Arguments and errors as of :func:`learn`."""
    return load_checkpoint(checkpoint, course(plan, training, held_out))[0] if checkpoint.exists() else None


def networks_bytes(plan: PyramidPlan) -> int:
    """Size of the networks as they are stored."""
    return sum(own.nbytes for own in stored(_learner(plan)).values())


def _learner(plan: PyramidPlan) -> torch.nn.ModuleDict:
    generator = torch.Generator().manual_seed(plan.seed)
    found = torch.nn.ModuleDict()
    for kind in range(COARSE + 1):
        luma, chroma, activity = plan.fine if kind < _FINE else plan.coarse
        networks = torch.nn.ModuleDict()
        for network in pyramid_features.NETWORKS:
            hidden = activity if network.activity else chroma if network.chroma else luma
            networks[network.name] = Learner(_shape(network, hidden), generator)
        found[str(kind)] = networks
    return found


def _shape(network: Network, hidden: tuple[int, int]) -> Shape:
    # octaves of the deviations begin at -1, relative to the contrast
    bias = [0.0] * network.outputs + [0.0 if network.activity else -1.0] * (network.values - network.outputs)
    return Shape(network.features, network.values, network.outputs, network.relative, hidden, tuple(bias))


def _crops(
    plan: PyramidPlan, training: Sequence[npt.NDArray[np.uint8]], generator: np.random.Generator
) -> tuple[Array, Array]:
    """Pictures of a step, ``(pictures, 3, crop, crop)`` in 255ths with 0 in the middle, and their noise codes."""
    found = []
    for _ in range(plan.pictures):
        picture = training[int(generator.integers(len(training)))]
        top, left = (generator.integers(size - plan.crop + 1) for size in picture.shape[:2])
        crop = picture[top : top + plan.crop, left : left + plan.crop]
        for axis in (0, 1):
            crop = np.flip(crop, axis) if generator.random() < 0.5 else crop
        crop = crop.transpose(1, 0, 2) if generator.random() < 0.5 else crop
        found.append(crop.transpose(2, 0, 1))
    codes = generator.integers(plan.noise_codes[0], plan.noise_codes[1] + 1, plan.pictures)
    return np.stack(found) - 127.5, codes


class _Descent:
    """One step's way down the pyramid; the gradients of every network are added up on the way."""

    def __init__(self, learner: torch.nn.ModuleDict, generator: np.random.Generator, device: str) -> None:
        self._learner, self._generator, self._device = learner, generator, device
        self._cost = 0.0

    def run(self, pictures: Array, codes: Array) -> float:
        """Take pictures ``(pictures, 3, height, width)`` down; their cost in bits per element, weighted."""
        scale = UNIT / np.array([noise_deviation(int(code)) for code in codes])
        planes = np.einsum("kc,bchw->bkhw", haar.COLOUR, pictures) * scale[:, None, None, None]
        sizes, details = haar.sizes(pictures.shape[2:]), []
        for _ in sizes[1:]:
            planes, found = haar.analyse(planes)
            details.append(found)
        planes = np.floor(planes + UNIT * self._generator.standard_normal(planes.shape))
        classes = None
        for number in range(len(details) - 1, -1, -1):
            own, true = levels.level(number, codes, planes, classes), details[number]
            if number == 0:
                own, true = self._cropped(own, true)
            self._level(own, true)
            if number:
                planes, classes = own.refined(sizes[number]), own.own_activity
        return self._cost / pictures.size

    def _cropped(self, own: Level, true: Array) -> tuple[Level, Array]:
        """A part of the finest level, and of its details."""
        side = [2 * max(1, round(size * _FINEST_CROP / 2)) for size in own.size]
        room = [(size - length) // 2 + 1 for size, length in zip(own.size, side, strict=True)]
        first = [2 * int(self._generator.integers(places)) for places in room]
        rows, columns = (slice(start, start + length) for start, length in zip(first, side, strict=True))
        found = levels.level(0, own.code, own.picture[..., rows, columns])
        units = (slice(rows.start // 2, rows.stop // 2), slice(columns.start // 2, columns.stop // 2))
        found.own_parents[...] = own.own_parents[(slice(None), slice(None), *units)]
        return found, true[..., rows, columns]

    def _level(self, own: Level, true: Array) -> None:
        """All stages of a level; true details ``(pictures, 3, 3, rows, columns)`` in steps."""
        for chroma in (False, True):
            self._activity(own, true, chroma)
            for number in levels.stages(chroma):
                self._stage(own, true, number)

    def _results(self, own: Level, network: Network, features: Array) -> tuple[torch.Tensor, torch.Tensor]:
        values = torch.from_numpy(features).to(self._device) / FEATURE_UNIT
        found: tuple[torch.Tensor, torch.Tensor] = self._learner[str(own.kind)][network.name](values)  # type: ignore[index]
        return found

    def _backward(
        self, own: Level, counts: Sequence[int], costs: torch.Tensor, counted: torch.Tensor | None = None
    ) -> None:
        """Add the gradients of the average cost of positions, and the cost itself to the sum.

        Args:
            own: the level.
            counts: positions of a picture in each phase.
            costs: ``(positions,)``, picture after picture within phases.
            counted: the part that a file pays for, if not all.
        """
        weights = self._tensor(np.concatenate([np.repeat(_weights(own.code), count) for count in counts]))
        if costs.requires_grad:  # not where costs are only measured
            (costs * weights).mean().backward()  # type: ignore[no-untyped-call]
        self._cost += float(((costs if counted is None else counted).detach() * weights).sum())

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)

    def _activity(self, own: Level, true: Array, chroma: bool) -> None:
        network = pyramid_features.CHROMA_ACTIVITY if chroma else pyramid_features.LUMA_ACTIVITY
        gather = pyramid_features.chroma_activity_features if chroma else pyramid_features.luma_activity_features
        features, contrast = gather(own, slice(0, own.units[0]), np.float32)
        means, logits = self._results(own, network, features)
        residual = self._tensor(levels.unit_details(true, chroma) / UNIT) - means * self._tensor(contrast / UNIT)
        energy = (residual**2).mean(dim=0)
        octaves = torch.log_softmax(logits * math.log(2), dim=0) / math.log(2)
        classes = best_classes(
            energy.detach().cpu().numpy(),
            octaves.detach().cpu().numpy(),
            network.outputs,
            encoder.class_variances(own.kind),
        )
        own.own_activity[:, int(chroma)] = classes.reshape(len(own.code), *own.units)
        entropy = -octaves.gather(0, torch.from_numpy(classes).to(self._device)[None])[0]
        # means serve to tell what is left over: about what it takes to code that
        self._backward(
            own, [own.units[0] * own.units[1]], entropy + 0.5 * network.outputs * torch.log2(1 + energy), entropy
        )

    def _stage(self, own: Level, true: Array, number: int) -> None:
        rows = slice(0, own.units[0])
        if number in levels.CHROMA_STAGES:
            network = pyramid_features.CHROMA[number - 4]
            features, contrast = pyramid_features.chroma_features(own, number - 4, rows, np.float32)
        else:
            network = pyramid_features.LUMA[number]
            features, contrast = pyramid_features.luma_features(own, number, rows, np.float32)
        if not features.shape[1]:
            return
        means, octaves = self._results(own, network, features)
        means = means * self._tensor(contrast / UNIT)
        octaves = (octaves + self._tensor(octaves_of(contrast / UNIT))).clamp(-6, 20)
        residual = self._tensor(levels.get(true, own, number) / UNIT) - means
        phases = levels.stage_phases(number)
        counts = [levels.positions(own, phase, rows) // len(own.code) for phase in phases]
        self._backward(own, counts, evidence(residual, octaves).sum(dim=0))
        noise = self._generator.standard_normal(residual.shape, dtype=np.float32)
        with torch.no_grad():
            values = means + sampled(residual, octaves, self._tensor(noise))
        levels.put(own, number, np.floor(values.cpu().numpy().astype(np.float64) * UNIT))


def _weights(code: Array) -> Array:
    """Weights of pictures of noise codes, ``(pictures,)``."""
    return np.exp2(-(code - _USUAL_CODE) * _WEIGHT_OCTAVES).clip(0.1, 8.0)


def _curve(prior: PyramidPrior, held_out: Sequence[npt.NDArray[np.uint8]]) -> Curve:
    """Noise code, bits per pixel and PSNR of simulated coding, from where pictures take hardly any bits."""
    low, high = prior.noise_codes
    found = []
    for code in sorted({*range(low, high + 1, _CURVE_STEP), high}):
        rates, errors = [], []
        for picture in held_out:
            values = picture.astype(np.float64) - 127.5
            expected = encoder.forecast(prior, values, code)
            pixels = picture.shape[0] * picture.shape[1]
            rates.append((expected.bits + expected.class_bits) / pixels)
            errors.append(math.log(max(expected.squared_error, 1e-6) / picture.size))
        found.append((code, float(np.mean(rates)), 10 * math.log10(255**2 / math.exp(float(np.mean(errors))))))
    return tuple(found)
