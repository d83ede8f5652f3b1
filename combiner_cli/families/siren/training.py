"""Training of a siren prior: posterior fits on a data set in turns with the closed-form update of the prior.

Source: Guo et al. 2023, section 3.1 and algorithm 1: after some gradient steps on every training posterior, the prior's
mean is the average of the posterior means, and its variance the average of the posterior variances plus the squared
deviations of the posterior means (equation 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ...errors import DatasetError
from ...learning.checkpoint import TrainingState
from ...learning.report import Measurement
from ...learning.trainer import LearnedPrior, Training
from ...rec import groups
from ...signals.signal import coordinates
from .fitting.posterior import Descent, Posterior, descend, hash_seed, kl, objective, squared_error, start
from .prior import SirenPrior, problem

if TYPE_CHECKING:
    from .learning import SirenPlan

_LARGEST_CHANGE = 0.3  # of the logarithm of beta per round
_LAST_RATE = 0.1  # step size of the last round relative to the first
_INITIAL_DEVIATION = 0.3  # of the weights, relative to that of the network's usual random initialisation
_SMALLEST_DEVIATION = 1e-7
_SMALLEST_RATE = 1e-9
_ROUNDS_WITH_FIRST_BETA = 2
PRUNED_BELOW = 0.02  # bits: latents of less average information are not coded
_ADAM = tuple(f"moment{number}" for number in range(4))


@dataclass(frozen=True)
class Moments:
    """Prior mean and standard deviation of every latent, each ``(latents,)``."""

    mean: torch.Tensor
    deviation: torch.Tensor


def update(means: torch.Tensor, variances: torch.Tensor) -> Moments:
    """The closed-form prior of some posteriors (Guo et al. 2023, equation 7).

    Args:
        means: posterior means, ``(signals, latents)``.
        variances: posterior variances, ``(signals, latents)``.

    Returns:
        mean = average of the means; variance = average of variance + squared deviation of the mean.
    """
    mean = means.mean(dim=0)
    variance = variances.mean(dim=0) + ((means - mean) ** 2).mean(dim=0)
    return Moments(mean, variance.sqrt().clamp(min=_SMALLEST_DEVIATION))


class SirenTraining(Training):
    """A siren prior in training; a step is a gradient step on the posteriors of all tiles."""

    def __init__(
        self, plan: SirenPlan, training: npt.NDArray[np.float32], held_out: npt.NDArray[np.float32], device: str
    ) -> None:
        """Begin.

        Args:
            plan: settings.
            training: values of tiles in [-1, 1], ``(tiles, outputs, points)``.
            held_out: tiles that are fitted along but do not enter the prior, of the same form, at least one.
            device: of torch.
        """
        tiles = np.concatenate([training, held_out])
        self._plan, self._training = plan, len(training)
        self.moments = _initial_moments(plan, device)
        self.posterior = start(len(tiles), plan.network.latents, device)
        self._beta = plan.beta
        features = plan.network.fourier_features(coordinates(plan.network.extent))
        self._objective = objective(plan.network, features, tiles, None, self._moment_arrays(), self._beta, device)
        self._last = Measurement(0, math.nan)

    def step(self, number: int) -> None:
        plan = self._plan
        this_round = plan.round_of(number)
        progress = this_round / plan.rounds
        rate = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
        descend(self.posterior, self._objective, Descent(points=plan.points), number, [rate], plan.seed)
        if plan.ends_round(number + 1):
            self._last = self._measured(this_round)
            self.moments = self._update_in_place()
            if this_round >= _ROUNDS_WITH_FIRST_BETA:
                self._beta = adapted(plan, self._beta, self._last.details["rate"])
            self._use_moments()

    def is_measured(self, done: int) -> bool:
        return self._plan.ends_round(done)

    def measure(self, done: int) -> Measurement:
        return replace(self._last, number=done)

    def state(self) -> TrainingState:
        posterior = self.posterior
        tensors = {
            "mean": posterior.mean,
            "log_deviation": posterior.log_deviation,
            **dict(zip(_ADAM, posterior.moments, strict=True)),
            "prior_mean": self.moments.mean,
            "prior_deviation": self.moments.deviation,
        }
        return TrainingState({"beta": self._beta}, {name: tensor.cpu().numpy() for name, tensor in tensors.items()})

    def restore(self, state: TrainingState) -> None:
        device = self.posterior.mean.device
        tensors = {name: torch.from_numpy(tensor).to(device) for name, tensor in state.tensors.items()}
        first, second, third, fourth = (tensors[name] for name in _ADAM)
        restored = Posterior(tensors["mean"], tensors["log_deviation"], (first, second, third, fourth))
        if restored.mean.shape != self.posterior.mean.shape:
            raise ValueError("of other tiles")
        self.posterior, self._beta = restored, float(state.facts["beta"])
        self.moments = Moments(tensors["prior_mean"], tensors["prior_deviation"])
        self._use_moments()

    def finished(self, report: Callable[[float], None]) -> LearnedPrior:
        """The prior with the average information of its latents, the insignificant ones pruned."""
        plan, posterior = self._plan, self.posterior
        some = slice(0, self._training)
        divergence = kl(posterior.mean[some], posterior.log_deviation[some]).mean(dim=0) / math.log(2)
        bits = divergence.double().cpu().numpy()
        information = np.rint(np.minimum(bits, plan.group_bits) * groups.INFORMATION_UNIT).astype(np.int32)
        information[bits < PRUNED_BELOW] = 0
        mean, deviation = self._moment_arrays()
        prior = SirenPrior(
            plan.name, plan.kind, plan.network, mean, deviation, information, plan.group_bits, self._beta
        )
        reason = problem(prior)
        if reason:
            raise DatasetError(f"the prior came out unusable ({reason}); aim at a higher rate or give more varied data")
        report(1.0)
        return LearnedPrior(prior)

    def _measured(self, this_round: int) -> Measurement:
        """Rate and PSNR of one sample of each posterior."""
        plan, posterior = self._plan, self.posterior
        seed = hash_seed(plan.seed, this_round, 1)
        generator = torch.Generator(device=posterior.mean.device).manual_seed(seed)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=posterior.mean.device)
        with torch.no_grad():
            errors = squared_error(self._objective, posterior.mean + torch.exp(posterior.log_deviation) * noise)
        information = kl(posterior.mean, posterior.log_deviation).sum(dim=1) / math.log(2)
        points = math.prod(plan.network.extent)

        def averages(part: slice) -> tuple[float, float]:
            error = float(errors[part].mean()) / (points * plan.network.outputs)
            return float(information[part].mean()) / points, 10 * math.log10(4 / max(error, 1e-12))

        rate, psnr = averages(slice(0, self._training))
        held_out_rate, held_out_psnr = averages(slice(self._training, None))
        details = {"rate": rate, "held-out rate": held_out_rate, "beta": self._beta}
        return Measurement(0, psnr, held_out_psnr, details)

    def _update_in_place(self) -> Moments:
        """The new prior; whitened means and log deviations are re-expressed in it."""
        old, posterior = self.moments, self.posterior
        means = old.mean + old.deviation * posterior.mean
        log_deviations = old.deviation.log() + posterior.log_deviation
        new = update(means[: self._training], torch.exp(2 * log_deviations[: self._training]))
        posterior.mean.copy_((means - new.mean) / new.deviation)
        posterior.log_deviation.copy_(log_deviations - new.deviation.log())
        return new

    def _use_moments(self) -> None:
        """Fit to the prior as it is now."""
        fit = self._objective
        samples = fit.target.shape[1] * fit.target.shape[2]
        weight = 1 / (samples * self._beta)
        self._objective = replace(fit, mean=self.moments.mean, deviation=self.moments.deviation, weight=weight)

    def _moment_arrays(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return self.moments.mean.cpu().numpy(), self.moments.deviation.cpu().numpy()


def _initial_moments(plan: SirenPlan, device: str) -> Moments:
    """One draw of the network's usual random initialisation is the mean of all; posteriors start there."""
    generator = np.random.Generator(np.random.Philox(plan.seed))
    bounds = plan.network.initial_bounds()
    mean = generator.uniform(-bounds, bounds)
    deviation = bounds / math.sqrt(3) * _INITIAL_DEVIATION
    return Moments(*(torch.tensor(array, dtype=torch.float32, device=device) for array in (mean, deviation)))


def adapted(plan: SirenPlan, beta: float, bits_per_point: float) -> float:
    """Beta after a round at some rate: nearer to that of the rate asked for, if one is.

    Args:
        plan: settings.
        beta: of the round.
        bits_per_point: rate of the round.
    """
    if plan.bits_per_point is None:
        return beta
    excess = math.log(max(bits_per_point, _SMALLEST_RATE) / plan.bits_per_point)
    return beta * math.exp(max(-_LARGEST_CHANGE, min(_LARGEST_CHANGE, excess)))
