"""Fitting a picture's adaptation latents: the posterior that costs least, by gradient steps, and whether it pays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....stages.encoding.noise_levels import expected_cost
from ....stages.integer_network import dequantised
from ....stages.moments import LOWEST, OCTAVE, UNIT
from .adaptation import Adaptation, Coded, names_of_biases, nearest_precision, octaves_of_precision
from .examples import recorded
from .objective import Objective

if TYPE_CHECKING:
    from ..encoder import ImageSimulation
    from ..prior import PyramidPrior

Array = npt.NDArray[np.float32]

_RATE, _FORGETTING, _SQUARES_FORGETTING = 0.25, 0.8, 0.95  # of the steps
_MOST_PRECISE = 8.0  # octaves over the usual precision
_BITS = 1 / math.log(2)
_FIRST_EFFORT = 7  # from which on every picture is tried
_STEPS = {7: 20, 8: 40, 9: 80}
_COLUMNS = {7: 4_000, 8: 12_000, 9: 40_000}  # of a network's questions that are looked at, in all
_COLUMNS_OF_STEP = 4_000


@dataclass(eq=False)
class Adam:
    """Gradient steps with averages of gradients and of their squares (Kingma and Ba, 2015).

    Attributes:
        rate: of the steps.
        forgetting: of the averages of gradients and of their squares.
    """

    rate: float
    forgetting: tuple[float, float] = (_FORGETTING, _SQUARES_FORGETTING)
    count: int = 0
    averages: list[npt.NDArray[Any]] = field(default_factory=list)

    def step(self, gradient: npt.NDArray[Any], share: float = 1.0) -> npt.NDArray[Any]:
        """What is to be added to the parameters.

        Args:
            gradient: of them.
            share: of the rate.
        """
        if not self.averages:
            self.averages = [np.zeros_like(gradient), np.zeros_like(gradient)]
        self.count += 1
        for average, value, keep in zip(self.averages, (gradient, gradient**2), self.forgetting, strict=True):
            average *= keep
            average += (1 - keep) * value
        first, second = (
            average / (1 - keep**self.count) for average, keep in zip(self.averages, self.forgetting, strict=True)
        )
        step: npt.NDArray[Any] = -self.rate * share * first / (np.sqrt(second) + 1e-8)
        return step


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of adaptation latents, in prior deviations.

    Attributes:
        mean: ``(latents,)``.
        precision: octaves by which the noise is finer than the usual one.
    """

    mean: Array
    precision: float = 0.0

    def deviation(self, usual: Array) -> Array:
        """Of each latent, ``(latents,)``.

        Args:
            usual: prior deviations over the usual noise, ``(latents,)``.
        """
        deviation: Array = 1 / np.sqrt(1 + (usual * np.float32(2**self.precision)) ** 2)
        return deviation

    def divergence(self, usual: Array) -> float:
        """KL from the prior in bits."""
        deviation = self.deviation(usual)
        return float((0.5 * (deviation**2 + self.mean**2 - 1) - np.log(deviation)).sum()) * _BITS

    def coded(self, usual: Array) -> Coded:
        """What a file is to say so that the posterior comes out.

        Args:
            usual: as of :meth:`deviation`.
        """
        number = nearest_precision(self.precision)
        variance = (usual.astype(np.float64) * 2.0 ** octaves_of_precision(number)) ** 2
        pruned = usual <= 0
        shrunk = np.where(pruned, 0.0, (1 + variance) / np.where(pruned, 1.0, variance))
        return Coded(number, self.mean * usual * shrunk)


def usual_deviations(adaptation: Adaptation) -> Array:
    """Prior deviations of the latents over their usual noise, 0 where pruned, ``(latents,)``."""
    deviations = np.exp2((adaptation.deviations.astype(np.float32) + LOWEST) / OCTAVE)
    return np.where(adaptation.deviations < 0, np.float32(0), deviations)


def mixing_of(adaptation: Adaptation, prior: PyramidPrior) -> Array:
    """What is added to all biases, in floating point, by latents in prior deviations, ``(biases, latents)``.

    Args:
        adaptation: of the prior.
        prior: whose biases they are.
    """
    stored = prior.stored_of_networks
    parts = [dequantised(name.rpartition(".")[2], np.ones(len(stored[name]))) for name in names_of_biases(stored)]
    unit = np.concatenate(parts) * np.exp2(adaptation.exponents.astype(np.float64)) * UNIT
    mixing: Array = (adaptation.mixing * unit[:, None] * usual_deviations(adaptation)).astype(np.float32)
    return mixing


@dataclass(eq=False)
class LatentFit:
    """A posterior while it is fitted to a picture: gradient steps on cost + KL with samples of it.

    Attributes:
        usual: prior deviations over the usual noise, ``(latents,)``.
        posterior: so far.
        adam: of the steps.
    """

    usual: Array
    posterior: Posterior
    adam: Adam = field(default_factory=lambda: Adam(_RATE))

    @staticmethod
    def begin(usual: Array) -> LatentFit:
        """A posterior whose means are those of the prior."""
        return LatentFit(usual, Posterior(np.zeros(len(usual), dtype=np.float32)))

    def drawn(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """A sample in prior deviations, and the noise that it was made of, ``(latents,)`` each."""
        noise = generator.standard_normal(len(self.usual), dtype=np.float32)
        return self.posterior.mean + self.posterior.deviation(self.usual) * noise, noise

    def by_octave(self, gradient: Array, noise: Array) -> Array:
        """The gradient of cost + KL by octaves of the latents' precision, ``(latents,)``; see :meth:`step`."""
        deviation = self.posterior.deviation(self.usual)
        of_deviation = gradient * noise + (deviation - 1 / deviation) * np.float32(_BITS)
        narrower: Array = of_deviation * (deviation**2 - 1) * deviation * np.float32(math.log(2))
        return narrower

    def step(self, gradient: Array, noise: Array, share: float = 1.0) -> None:
        """Go on, given the gradient of the cost in bits by a sample.

        Args:
            gradient: ``(latents,)``.
            noise: that the sample was made of.
            share: of the rate of steps.
        """
        posterior = self.posterior
        of_precision = float(self.by_octave(gradient, noise).sum())
        step = self.adam.step(np.append(gradient + posterior.mean * _BITS, of_precision), share)
        precision = min(max(posterior.precision + float(step[-1]), -_MOST_PRECISE), _MOST_PRECISE)
        self.posterior = Posterior((posterior.mean + step[:-1]).astype(np.float32), precision)


def fitted(prior: PyramidPrior, objective: Objective, factor: float, steps: int, columns: int, seed: int) -> Posterior:
    """The posterior of a picture.

    Args:
        prior: of its weights, with an adaptation.
        objective: cost of the picture, or of some of it.
        factor: pictures like this one that there are.
        steps: of the gradient.
        columns: of a network's questions that a step looks at, about.
        seed: of all random numbers.
    """
    adaptation = prior.adaptation
    assert adaptation is not None
    generator = np.random.Generator(np.random.Philox(seed))
    fit, mixing = LatentFit.begin(usual_deviations(adaptation)), mixing_of(adaptation, prior)
    sparse = max(1, max(cost.sums.shape[1] for cost in objective.costs) // columns)
    for number in range(steps):
        sample, noise = fit.drawn(generator)
        _, _, gradient = objective(mixing @ sample, number, sparse)
        fit.step(np.float32(factor) * (gradient @ mixing), noise, min(1.0, 2 * (1 - number / steps)))
    return fit.posterior


def adapted(simulation: ImageSimulation, noise_level: int, effort: int, seed: int) -> ImageSimulation:
    """A picture with the networks adapted to it where that pays; as it is where it does not.

    Args:
        simulation: of the picture.
        noise_level: at which it is to be coded.
        effort: 1 (fastest) to 9 (best).
        seed: of all random numbers.
    """
    prior, some = simulation.prior, simulation.sample
    if prior.adaptation is None or effort < _FIRST_EFFORT:
        return simulation
    examples = recorded(some, noise_level)
    if not examples:
        return simulation
    objective = Objective.of(examples, prior.stored_of_networks, _COLUMNS[effort])
    factor = some.stands_for
    posterior = fitted(prior, objective, factor, _STEPS[effort], _COLUMNS_OF_STEP, seed)
    trial = simulation.adapted(posterior.coded(usual_deviations(prior.adaptation)))
    costs = [expected_cost(one.sample, noise_level) for one in (trial, simulation)]
    return trial if costs[0] < costs[1] else simulation
