"""Networks that predict moments, and how they are trained: the loss, the gradient steps, the way into a prior.

The prior variance that maximises the evidence N(c; mean, t + s2) of the weights c is the fixed point of the published
closed-form update (Guo et al. 2023, equation 7) for a network without hidden layers: t = max(data variance − s2, 0).
Here the data variance depends on what is decoded, and a small network learns it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import UsageError
from ..stages import integer_network
from ..stages.encoding.simulation import LEAST_REACH, MOST_REACH, REACH, REACH_PER_BIT
from ..stages.moments import LOWEST, OCTAVE
from . import trainer
from .checkpoint import TrainingState
from .distributed import Device
from .report import Measurement, OperatingPoint, ranges_of
from .trainer import LearnedPrior, Training, TrainingPlan

if TYPE_CHECKING:
    from ..stages.prior import MultiRatePrior

Array = npt.NDArray[Any]

_LAST_RATE = 0.02  # of the learning rate, at the end
_WARM_UP = 100  # steps
_LEARNING_RATE = 2.5e-3
_LATER_RATE = 1.5e-3  # of networks that have learned before
_MOST_GRADIENT = 1.0
_LEVELS_MEASURED = 8  # noise levels between measurements of a finished prior


@dataclass(frozen=True)
class NetworkShape:
    """Shape of a network to be learned; see :class:`combiner_cli.stages.integer_network.IntegerNetwork`.

    Attributes:
        features: number of them.
        values: number of results.
        outputs: of the results, the first ones, to which a linear function of features is added.
        relative: features of that function, the first ones.
        hidden: units of the two hidden layers.
        bias: where the results begin, ``(values,)``.
    """

    features: int
    values: int
    outputs: int
    relative: int
    hidden: tuple[int, int]
    bias: tuple[float, ...]


class MomentNetwork(torch.nn.Module):
    """A network in floating point; see :class:`combiner_cli.stages.integer_network.IntegerNetwork`."""

    def __init__(self, shape: NetworkShape, generator: torch.Generator) -> None:
        """Draw the first weights.

        Args:
            shape: of the network.
            generator: of random numbers.
        """
        super().__init__()

        def drawn(rows: int, columns: int, gain: float) -> torch.nn.Parameter:
            scale = gain / math.sqrt(columns)
            return torch.nn.Parameter(torch.randn(rows, columns, generator=generator) * scale)

        first, second = shape.hidden
        self.first = drawn(first, shape.features, 1.2)
        self.first_bias = torch.nn.Parameter(torch.zeros(first, 1))
        self.second = drawn(second, first, 1.4)
        self.second_bias = torch.nn.Parameter(torch.zeros(second, 1))
        self.third = torch.nn.Parameter(torch.zeros(shape.values, second))
        self.third_bias = torch.nn.Parameter(torch.tensor(shape.bias)[:, None])
        self.linear = torch.nn.Parameter(torch.zeros(shape.outputs, shape.relative))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and the rest, ``(outputs, columns)`` and ``(values - outputs, columns)``."""
        largest = float(integer_network.LARGEST_ACTIVATION)
        hidden = torch.addmm(self.first_bias, self.first, features).clamp(0, largest)
        hidden = torch.addmm(self.second_bias, self.second, hidden).clamp(0, largest)
        results = torch.addmm(self.third_bias, self.third, hidden)
        outputs, relative = self.linear.shape
        return results[:outputs] + self.linear @ features[:relative], results[outputs:]


class GradientTraining(Training):
    """Networks that are trained by gradient steps on a cost.

    Attributes:
        peak: from the lowest to the highest value of signals, as their errors are measured.
    """

    peak: float

    def __init__(
        self,
        networks: torch.nn.ModuleDict,
        plan: TrainingPlan,
        held_out: Sequence[Array],
        device: Device,
        start: MultiRatePrior | None,
    ) -> None:
        """Begin.

        Args:
            networks: by kind and name.
            plan: of the learning.
            held_out: signals to measure.
            device: where it takes place.
            start: prior whose networks are learned on, if any.

        Raises:
            UsageError: the networks of that prior have other sizes.
        """
        self.networks, self.held_out, self.device, self._plan = networks.to(device.name), held_out, device, plan
        if start is not None:
            load_networks(self.networks, start.tensors(), start.name)
        self._highest_rate = _LEARNING_RATE if start is None else _LATER_RATE
        self._optimiser = torch.optim.Adam(networks.parameters(), lr=self._highest_rate, betas=(0.9, 0.98))
        self._costs: list[float] = []  # of the steps since the last measurement
        self._best: dict[str, torch.Tensor] = {}  # the networks when what is held out cost the least
        self._best_cost = math.inf

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Signals of a step, ``(signals, ...)``, and their noise levels, ``(signals,)``, drawn from a generator."""

    @abstractmethod
    def draw_held_out(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """The same from what is held out."""

    @abstractmethod
    def cost(self, signals: Array, noise_levels: Array, generator: np.random.Generator) -> float:
        """The cost of signals in bits per element; adds up the gradients unless those are switched off.

        Args:
            signals: as drawn.
            noise_levels: of the signals.
            generator: of all random numbers.
        """

    @abstractmethod
    def prior(self, tensors: dict[str, Array]) -> MultiRatePrior:
        """The prior of networks in whole numbers, its ranges still to be measured."""

    @abstractmethod
    def simulated(self, prior: Any, signal: Array) -> Callable[[int], tuple[float, float]]:
        """A held-out signal as it is coded, about: bits per point and mean squared error by the noise level.

        Args:
            prior: finished but for its ranges.
            signal: that is held out.
        """

    def stored(self) -> dict[str, Array]:
        """The networks in whole numbers, by the names that a prior has for them."""
        return quantised(self.networks)

    def step(self, number: int) -> None:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self._plan.seed, number])))
        for group in self._optimiser.param_groups:
            group["lr"] = self._highest_rate * relative_rate(number, self._plan.steps)
        self._optimiser.zero_grad()
        self._costs.append(self._gradients(number, generator))
        for network in (part for part in self.networks.modules() if isinstance(part, MomentNetwork)):
            torch.nn.utils.clip_grad_norm_(network.parameters(), _MOST_GRADIENT)
        self._optimiser.step()

    def is_measured(self, done: int) -> bool:
        return done % trainer.MEASURED_STEPS == 0

    def measure(self, done: int) -> Measurement:
        held_out = self.device.processes.shared(self._held_out_cost)
        training, self._costs = float(np.mean(self._costs)), []
        if self._plan.patience is not None and held_out < self._best_cost:
            self._best_cost = held_out
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in self.networks.state_dict().items()}
        return Measurement(done, training, held_out)

    def _held_out_cost(self) -> float:
        """Of parts of what is held out, always the same ones with the same random numbers."""
        costs = []
        for batch in range(trainer.HELD_OUT_BATCHES):
            seeds = np.random.SeedSequence([self._plan.seed, batch], spawn_key=(1,))
            generator = np.random.Generator(np.random.Philox(seeds))
            with torch.no_grad():
                costs.append(self.cost(*self.draw_held_out(generator), generator))
        return float(np.mean(costs))

    def state(self) -> TrainingState:
        tensors = {f"weight.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        for number, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments.items()}
        best_cost = self._best_cost if self._best else None
        facts = {"costs": self._costs, "best_cost": best_cost}
        return TrainingState(facts, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})

    def restore(self, state: TrainingState) -> None:
        of: dict[str, dict[str, torch.Tensor]] = {"weight": {}, "best": {}, "adam": {}}
        for name, array in state.tensors.items():
            kind, _, rest = name.partition(".")
            of[kind][rest] = torch.from_numpy(array)
        self.networks.load_state_dict(of["weight"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in of["adam"].items():
            number, _, part = name.partition(".")
            moments.setdefault(int(number), {})[part] = tensor
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self._costs = [float(cost) for cost in state.facts["costs"]]
        self._best, best_cost = of["best"], state.facts["best_cost"]
        self._best_cost = math.inf if best_cost is None else float(best_cost)

    def finished(self, report: Callable[[float], None]) -> LearnedPrior:
        self.networks.load_state_dict(self._best or self.networks.state_dict())
        prior = self.prior(self.stored())
        points = self.device.processes.shared(lambda: self._operating_points(prior, report))
        return LearnedPrior(replace(prior, **ranges_of(points)), points)  # type: ignore[type-var]

    def _operating_points(self, prior: MultiRatePrior, report: Callable[[float], None]) -> tuple[OperatingPoint, ...]:
        """Rates and PSNR of simulated coding over the range of a prior."""
        low, high = prior.noise_codes
        noise_levels = sorted({*range(low, high + 1, _LEVELS_MEASURED), high})
        rates: dict[int, list[float]] = {noise_level: [] for noise_level in noise_levels}
        errors: dict[int, list[float]] = {noise_level: [] for noise_level in noise_levels}
        for number, signal in enumerate(self.held_out):
            at = self.simulated(prior, signal)
            for place, noise_level in enumerate(noise_levels, 1):
                rate, error = at(noise_level)
                rates[noise_level].append(rate)
                errors[noise_level].append(math.log(error))
                report((number + place / len(noise_levels)) / len(self.held_out))
        points = []
        for noise_level in noise_levels:
            psnr = 10 * math.log10(self.peak**2 / math.exp(float(np.mean(errors[noise_level]))))
            points.append(OperatingPoint(noise_level, float(np.mean(rates[noise_level])), psnr))
        return tuple(points)

    def _gradients(self, number: int, generator: np.random.Generator) -> float:
        """Leave the gradients of a step in the parameters; its cost.

        The parts of a step have random numbers of their own, and the average of their gradients is taken in their
        order: how many processes share them makes no difference.
        """
        signals, noise_levels = self.draw(generator)
        shards, processes = self._plan.shards, self.device.processes
        if shards == 1:
            return self.cost(signals, noise_levels, generator)
        if len(noise_levels) % shards:
            raise UsageError(f"{len(noise_levels)} signals of a step cannot be cut into {shards} equal shards")
        parameters = list(self.networks.parameters())
        share, size = shards // processes.size, len(noise_levels) // shards
        gradients: list[torch.Tensor] = []
        failure: Exception | None = None
        try:
            for part in range(processes.rank * share, (processes.rank + 1) * share):
                self.networks.zero_grad()
                some = slice(part * size, (part + 1) * size)
                seeds = np.random.SeedSequence([self._plan.seed, number, part + 1])
                generator = np.random.Generator(np.random.Philox(seeds))
                gradients.append(_flat(parameters, self.cost(signals[some], noise_levels[some], generator)))
        except Exception as error:  # the others wait for this process: they are to hear of it
            if processes.size == 1:
                raise
            failure = error
            gradients = [torch.zeros_like(_flat(parameters, 0.0))] * share
        whole_step = torch.cat(processes.gathered(torch.stack(gradients)))
        if not bool(whole_step[:, -1].all()):
            with processes.together():
                if failure is not None:
                    raise failure
        return _averaged(parameters, whole_step)


def _flat(parameters: Sequence[torch.nn.Parameter], cost: float) -> torch.Tensor:
    """Gradients one after the other, then whether there is one of each parameter, the cost, and a one."""
    present = [float(parameter.grad is not None) for parameter in parameters]
    gradients = [
        (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).reshape(-1)
        for parameter in parameters
    ]
    facts = torch.tensor([*present, cost, 1.0], device=gradients[0].device)
    return torch.cat([*gradients, facts])


def _averaged(parameters: Sequence[torch.nn.Parameter], parts: torch.Tensor) -> float:
    """Put the averages of the parts' gradients into the parameters; the average cost."""
    total = torch.zeros_like(parts[0])
    for part in parts:  # one after the other: the order is what makes sums the same
        total += part
    total /= len(parts)
    *present, cost, _ = total[-len(parameters) - 2 :].tolist()
    first = 0
    for parameter, there in zip(parameters, present, strict=True):
        gradient = total[first : first + parameter.numel()].view_as(parameter)
        parameter.grad = gradient.clone() if there else None
        first += parameter.numel()
    return float(cost)


class NetworkPass:
    """One step's way through signals as a decoder goes; the gradients of every network are added up on the way."""

    def __init__(self, networks: torch.nn.ModuleDict, generator: np.random.Generator, device: str) -> None:
        """
        Args:
            networks: that are trained.
            generator: of the noise.
            device: where to compute.
        """
        self._networks, self._generator, self._device = networks, generator, device
        self._cost = 0.0

    def _tensor(self, values: Array) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)


def relative_rate(number: int, steps: int) -> float:
    """The learning rate of a step of some over the highest one: a short rise, then half a wave down."""
    falling = 0.5 * (1 + math.cos(math.pi * number / steps))
    return min(1.0, (number + 1) / _WARM_UP) * (falling * (1 - _LAST_RATE) + _LAST_RATE)


def evidence(residual: torch.Tensor, octaves: torch.Tensor, most_beyond: float = math.inf) -> torch.Tensor:
    """KL + squared error / (2 · s2) of the exact posterior in bits, up to a constant, with noise variance 1.

    What is beyond the reach of the candidates stays as an error. How far they reach, and what is lost beyond that, was
    measured on coded pictures: further, the more bits there are.

    Args:
        residual: of the weights from their prior means.
        octaves: of their prior deviations.
        most_beyond: bits that an error beyond the reach costs at most, where an encoder has a remedy.
    """
    whole_variance = torch.exp2(2 * octaves) + 1
    bits = 0.5 * torch.log2(whole_variance.detach())
    reach = (LEAST_REACH + REACH_PER_BIT * bits).clamp(max=MOST_REACH)
    beyond = (residual.abs() - reach * torch.sqrt(whole_variance)).clamp(min=0)
    stays = (beyond**2 * (1 - 1 / whole_variance)).clamp(max=most_beyond * 2 * math.log(2))
    nats = torch.log(whole_variance) + residual**2 / whole_variance + stays
    return nats * (0.5 / math.log(2))


def sampled(residual: torch.Tensor, octaves: torch.Tensor, noise: torch.Tensor, most: float = REACH) -> torch.Tensor:
    """A sample of the posterior of residuals with prior deviations of 2^octaves, as coding would find it.

    The posterior mean is at most so many deviations of the prior from the prior's.
    """
    variance = torch.exp2(2 * octaves)
    variance = torch.where(octaves * OCTAVE < LOWEST, torch.zeros_like(variance), variance)
    share = variance / (variance + 1)
    reach = most * torch.sqrt(variance)
    mean = torch.minimum(torch.maximum(share * residual, -reach), reach)
    return mean + torch.sqrt(share) * noise


def load_networks(networks: torch.nn.ModuleDict, tensors: Mapping[str, Array], name_of_prior: str) -> None:
    """Put the networks of a prior into networks to be learned.

    Args:
        networks: by kind and name.
        tensors: in whole numbers, by ``kind.network.tensor``.
        name_of_prior: for the message.

    Raises:
        UsageError: they have other sizes.
    """
    state = networks.state_dict()
    for name, tensor in tensors.items():
        values = torch.from_numpy(integer_network.dequantised(name.rpartition(".")[2], tensor))
        values = values[:, None] if name.endswith("_bias") else values
        if name not in state or values.shape != state[name].shape:
            raise UsageError(f"the networks of {name_of_prior} have other sizes than those to be learned")
        state[name] = values.float()
    networks.load_state_dict(state)


def quantised(networks: torch.nn.ModuleDict) -> dict[str, Array]:
    """The networks in whole numbers by ``kind.network.tensor``."""
    stored: dict[str, Array] = {}
    for kind, of_kind in networks.items():
        for name, network in of_kind.items():  # type: ignore[operator]
            tensors = {part: getattr(network, part).detach().cpu().numpy() for part in integer_network.TENSORS}
            tensors = {part: values[:, 0] if part.endswith("bias") else values for part, values in tensors.items()}
            stored |= {f"{kind}.{name}.{part}": values for part, values in integer_network.quantised(tensors).items()}
    return stored
