"""Training of an adaptation: the matrix from latents to biases, and the variances of the latents.

The latents of every picture that is learned from have a posterior of their own, which goes on from step to step. A step
takes some pictures, improves their posteriors by one gradient step each, and the matrix by the average gradient of cost
+ KL. After every turn through the pictures the prior variances are the averages of what the posteriors have, the
closed-form update of COMBINER (Guo et al. 2023, equation 7); they are kept at 1 by scaling the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....learning.checkpoint import TrainingState
from ....learning.report import Measurement, OperatingPoint
from ....learning.trainer import LearnedPrior, Training, TrainingPlan
from ....signals.signal import Signal
from ....stages.integer_network import dequantised
from ....stages.moments import HIGHEST, LOWEST, OCTAVE, UNIT
from ....stages.shape import FLAT_PICTURE
from ..encoder import PERCEPTUAL, ImageSimulation, levels_coarser
from ..levels import noise_range
from ..prior import PyramidPrior
from ..training import random_crop, random_shape, simulated
from .adaptation import MOST_EXPONENT, Adaptation, names_of_biases
from .examples import recorded
from .fitting import Adam, LatentFit, Posterior, fitted, mixing_of, usual_deviations
from .objective import Objective

if TYPE_CHECKING:
    from .learning import AdaptationPlan

Array = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

_COLUMNS = 1_000  # of a network's questions about a picture that are learned from
_HELD_OUT_COLUMNS, _HELD_OUT_STEPS = 4_000, 24
_HELD_OUT = 8  # pictures that are measured
_ANY_SHAPE, _FLAT = 1 / 6, 1 / 2  # shares of pictures; all others have the shape of perceptual files
_FIRST_GAIN = 8.0  # of the matrix, in curvatures of single biases
_DAMPING = 0.03  # of the curvature's average, where a bias has next to none
_RATE = 0.012  # of the matrix, over its first gain
_SPREAD_RATE = 0.05  # of the octaves of the latents' prior deviations over their noise
_FIRST_SPREAD = 2.0  # octaves
_TURNS_MEASURED = 4
_TURNS_OF_CROP = 4
_USUAL_COST, _LEAST_COST = 50_000.0, 4_000.0  # of a crop, in bits
_ALONE = 2  # turns in which the posteriors alone are fitted
_LEAST_VARIANCE = 1e-3
_LARGEST_FACTOR = 127  # of the matrix as it is stored
_PRUNED = 0.02  # bits of a latent's divergence under which it never pays


@dataclass(frozen=True, eq=False)
class _Example:
    """A picture to learn from.

    Attributes:
        generation: how many crops of it there were before.
        objective: its cost.
        usual_cost: with the networks as they are, in bits.
    """

    generation: int
    objective: Objective
    usual_cost: float

    @property
    def weight(self) -> float:
        """Of its gradients: what is saved counts as a share of what a picture costs."""
        return _USUAL_COST / max(self.usual_cost, _LEAST_COST)


class AdaptationTraining(Training):
    """The adaptation of a pyramid prior in training; its networks stay as they are."""

    def __init__(
        self,
        settings: AdaptationPlan,
        plan: TrainingPlan,
        training: Sequence[Picture],
        held_out: Sequence[Picture],
        start: PyramidPrior,
    ) -> None:
        """Begin.

        Args:
            settings: of the learning.
            plan: how far it goes.
            training: pictures of at least ``settings.crop`` samples a side, ``(height, width, 3)``.
            held_out: pictures to measure.
            start: prior whose networks are adapted; what adaptation it has is not used.
        """
        self._settings, self._plan, self._training, self._held_out = settings, plan, training, held_out
        self._start = replace(start, stored=start.stored_but_adaptation)
        self._examples: dict[int, _Example] = {}
        self._held_out_objectives: list[Objective] = []
        self._count = min(settings.pictures, len(training))
        self._unit, self.matrix = np.zeros(0, dtype=np.float32), np.zeros((0, settings.latents), dtype=np.float32)
        self._spread = np.full(settings.latents, _FIRST_SPREAD, dtype=np.float32)
        self._fits = [LatentFit.begin(self._usual) for _ in range(self._count)]
        self._adam, self._spread_adam = Adam(_RATE, (0.9, 0.98)), Adam(_SPREAD_RATE, (0.9, 0.98))
        self._sums: list[tuple[float, float, float]] = []  # cost as it was, as it is, divergence

    @property
    def _usual(self) -> Array:
        """Prior deviations of the latents over their noise."""
        usual: Array = np.exp2(self._spread)
        return usual

    @property
    def _steps_of_turn(self) -> int:
        return -(-self._count // self._settings.signals)

    def step(self, number: int) -> None:
        """Take a step; see :class:`Training`."""
        if not len(self.matrix):
            self._begin()
        turn, place = divmod(number, self._steps_of_turn)
        generator = self._generator(turn, 3)
        order = generator.permutation(self._count)
        noises = self._generator(number, 4)
        chosen = order[place * self._settings.signals : (place + 1) * self._settings.signals]
        gradient, of_spread = np.zeros_like(self.matrix), np.zeros_like(self._spread)
        falling = min(1.0, 2 * (1 - number / self._plan.steps))
        for picture in chosen.tolist():
            fit, example = self._fits[picture], self._example(picture, turn)
            for last in (False, True):
                sample, noise = fit.drawn(noises)
                _, cost, by_biases = example.objective(self._unit * (self.matrix @ sample))
                scaled = by_biases * self._unit
                by_latents = scaled @ self.matrix
                if last:
                    share = np.float32(example.weight / len(chosen))
                    gradient += np.outer(share * scaled, sample)
                    of_spread += share * fit.by_octave(by_latents, noise)
                    self._sums.append((example.usual_cost, cost, fit.posterior.divergence(self._usual)))
                fit.step(by_latents, noise)
        if turn < _ALONE:
            return
        self.matrix += self._adam.step(gradient, falling).astype(np.float32)
        self._spread += self._spread_adam.step(of_spread, falling).astype(np.float32)
        if place == self._steps_of_turn - 1:
            self._update_variances()
        for fit in self._fits:
            fit.usual = self._usual

    def _begin(self) -> None:
        """The matrix before the first step: directions in which gradients of the pictures lie together."""
        gradients, curvature = [], np.float32(0)
        for picture in range(self._count):
            objective = self._example(picture, 0).objective
            gradients.append(objective(np.zeros(objective.size, dtype=np.float32))[2])
            curvature = curvature + objective.squares() * np.float32(math.log(2) / self._count)
        self._unit = 1 / np.sqrt(curvature + _DAMPING * curvature.mean())
        whitened = np.stack(gradients) * self._unit
        whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
        directions = np.linalg.svd(whitened, full_matrices=False)[2][: self._settings.latents]
        self.matrix = np.zeros((len(self._unit), self._settings.latents), dtype=np.float32)
        self.matrix[:, : len(directions)] = _FIRST_GAIN * directions.T

    def _update_variances(self) -> None:
        """Set the prior variances to the averages of squares under the posteriors, and scale the matrix to them."""
        squares = [fit.posterior.mean**2 + fit.posterior.deviation(self._usual) ** 2 for fit in self._fits]
        deviations = np.sqrt(updated_variances(squares)).astype(np.float32)
        self.matrix *= deviations
        self._spread += np.log2(deviations)
        for fit in self._fits:
            fit.posterior = replace(fit.posterior, mean=fit.posterior.mean / deviations)

    def _generator(self, number: int, purpose: int) -> np.random.Generator:
        seeds = np.random.SeedSequence([self._settings.seed, number], spawn_key=(purpose,))
        return np.random.Generator(np.random.Philox(seeds))

    def _example(self, picture: int, turn: int) -> _Example:
        """One of the pictures to learn from: a crop of it, another one every few turns, and some of its questions."""
        generation = turn // _TURNS_OF_CROP
        known = self._examples.get(picture)
        if known is None or known.generation != generation:
            objective = self._objective(self._training[picture], picture, generation, _COLUMNS)
            known = self._examples[picture] = _Example(generation, objective, _cost_without(objective))
        return known

    def _objective(self, picture: Picture, number: int, generation: int, columns: int) -> Objective:
        """The cost of a crop of a picture, at a noise level and with a shape that depend on its number alone."""
        settings, generator = self._settings, self._generator(number, 2)
        drawn, noise = generator.random(), FLAT_PICTURE
        if drawn >= _FLAT:
            noise = PERCEPTUAL if drawn >= _ANY_SHAPE + _FLAT else random_shape(generator)
        noise_level = int(generator.integers(settings.noise_levels[0], settings.noise_levels[1] + 1))
        noise_level = max(noise_level - levels_coarser(noise), noise_range(not noise.flat)[0])
        seeds = np.random.SeedSequence([settings.seed, number, generation], spawn_key=(6,))
        side = min(settings.crop, *picture.shape[:2])
        crop = random_crop([picture], side, np.random.Generator(np.random.Philox(seeds)))
        signal = Signal("image", np.ascontiguousarray(crop), None, 8)
        examples = recorded(ImageSimulation(self._start, signal, noise), noise_level)
        return Objective.of(examples, self._start.stored_of_networks, columns)

    def is_measured(self, done: int) -> bool:
        """Whether a turn is over in which the matrix may have got better."""
        return done % (_TURNS_MEASURED * self._steps_of_turn) == 0

    def measure(self, done: int) -> Measurement:
        """Cost and KL over the cost without an adaptation; see :class:`Training`."""
        sums, self._sums = np.array(self._sums), []
        if not self._held_out_objectives:
            count = min(_HELD_OUT, len(self._held_out))
            for number in np.linspace(0, len(self._held_out) - 1, count).astype(np.int64).tolist():
                objective = self._objective(self._held_out[number], number, 0, _HELD_OUT_COLUMNS)
                self._held_out_objectives.append(objective)
        adapted = self.adapted()
        shares, divergences = [], []
        for number, objective in enumerate(self._held_out_objectives):
            before = _cost_without(objective)
            posterior = fitted(adapted, objective, 1.0, _HELD_OUT_STEPS, _HELD_OUT_COLUMNS, number)
            assert adapted.adaptation is not None
            usual = usual_deviations(adapted.adaptation)
            sample = posterior.mean  # without noise: what is measured is to depend on the matrix alone
            after = objective(mixing_of(adapted.adaptation, adapted) @ sample)[1]
            divergences.append(posterior.divergence(usual) / 8)
            shares.append((after + posterior.divergence(usual)) / before)
        training = float((sums[:, 1:].sum() / sums[:, 0].sum()) if len(sums) else 1.0)
        return Measurement(done, training, float(np.mean(shares)), {"bytes of latents": float(np.mean(divergences))})

    def adapted(self) -> PyramidPrior:
        """The prior with the adaptation as it is so far, in whole numbers."""
        if not len(self.matrix):
            self._begin()
        divergences = [self._divergences(fit.posterior) for fit in self._fits]
        pruned = np.mean(divergences, axis=0) < _PRUNED
        stored = self._start.stored_of_networks
        adaptation = quantised(self.matrix * self._unit[:, None], self._usual, pruned, stored)
        return replace(self._start, name=self._settings.name, stored={**self._start.stored, **adaptation.tensors()})

    def _divergences(self, posterior: Posterior) -> Array:
        """KL of each latent in bits."""
        deviation = posterior.deviation(self._usual)
        bits: Array = (0.5 * (deviation**2 + posterior.mean**2 - 1) - np.log(deviation)) / np.float32(math.log(2))
        return bits

    def state(self) -> TrainingState:
        """Everything that goes on; see :class:`Training`."""
        tensors = {
            "matrix": self.matrix,
            "unit": self._unit,
            "spread": self._spread,
            "means": np.stack([fit.posterior.mean for fit in self._fits]),
            "precisions": np.array([fit.posterior.precision for fit in self._fits]),
            "sums": np.array(self._sums, dtype=np.float64).reshape(-1, 3),
        }
        named = {"matrix": self._adam, "spread": self._spread_adam}
        named |= {f"fit{number}": fit.adam for number, fit in enumerate(self._fits)}
        facts = {name: adam.count for name, adam in named.items()}
        for name, adam in named.items():
            tensors |= {f"adam.{name}.{place}": average for place, average in enumerate(adam.averages)}
        return TrainingState(facts, tensors)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state; see :class:`Training`."""
        tensors = state.tensors
        self.matrix, self._unit, self._spread = (tensors[name] for name in ("matrix", "unit", "spread"))
        self._sums = [(float(one[0]), float(one[1]), float(one[2])) for one in tensors["sums"]]
        for fit, mean, precision in zip(self._fits, tensors["means"], tensors["precisions"], strict=True):
            fit.posterior, fit.usual = Posterior(mean, float(precision)), self._usual
        named = {"matrix": self._adam, "spread": self._spread_adam}
        named |= {f"fit{number}": fit.adam for number, fit in enumerate(self._fits)}
        for name, adam in named.items():
            adam.count = int(state.facts[name])
            adam.averages = [tensors[f"adam.{name}.{place}"] for place in range(2) if adam.count]

    def finished(self, report: Callable[[float], None]) -> LearnedPrior:
        """The prior; its rates and errors are those without an adaptation."""
        prior = self.adapted()
        points = tuple(
            OperatingPoint(level, rate, 10 * math.log10(4 / error))
            for level, rate, error in zip(prior.noise_codes, prior.rates, prior.errors, strict=True)
        )
        report(1.0)
        return LearnedPrior(prior, points)


def updated_variances(squares: Sequence[Array]) -> Array:
    """Prior variances of latents, given the expected squares of the latents of each picture under its posterior.

    That is where the sum of all KL has its minimum.

    Args:
        squares: squared mean + variance of the latents, ``(latents,)`` of each picture.
    """
    variances: Array = np.maximum(np.mean(squares, axis=0), _LEAST_VARIANCE)
    return variances


def quantised(
    matrix: Array, usual: Array, pruned: npt.NDArray[np.bool_], stored: dict[str, npt.NDArray[Any]]
) -> Adaptation:
    """An adaptation in whole numbers.

    Args:
        matrix: what latents in prior deviations add to the biases, ``(biases, latents)``.
        usual: prior deviations of the latents over their noise, ``(latents,)``.
        pruned: latents that are left out, ``(latents,)``.
        stored: tensors of the networks by name.
    """
    kept = np.flatnonzero(~pruned)
    kept = kept if len(kept) else np.arange(1)
    numbers = np.clip(np.rint(np.log2(usual[kept]) * OCTAVE), LOWEST, HIGHEST)
    names = names_of_biases(stored)
    units = np.concatenate([dequantised(name.rpartition(".")[2], np.ones(len(stored[name]))) for name in names])
    of_steps = matrix[:, kept].astype(np.float64) / units[:, None] / (np.exp2(numbers / OCTAVE) * UNIT)
    largest = np.maximum(np.abs(of_steps).max(axis=1), 2.0**-MOST_EXPONENT)
    exponents = np.clip(np.ceil(np.log2(largest / _LARGEST_FACTOR)), -MOST_EXPONENT, MOST_EXPONENT)
    mixing = np.clip(np.rint(of_steps * np.exp2(-exponents)[:, None]), -_LARGEST_FACTOR, _LARGEST_FACTOR)
    return Adaptation(names, mixing.astype(np.int8), exponents.astype(np.int8), (numbers - LOWEST).astype(np.int16))


def _cost_without(objective: Objective) -> float:
    """What a picture costs with the networks as they are, without what the means of units add to it."""
    return objective(np.zeros(objective.size, dtype=np.float32))[1]
