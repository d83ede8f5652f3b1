"""What learning networks that foretell moments has in common: the networks, the loss, the steps, the checkpoints.

The prior variance that maximises the evidence N(c; mean, t + s2) of the weights c is the fixed point of the published
closed-form update (Guo et al. 2023, equation 7) for a network without hidden layers: t = max(data variance − s2, 0).
Here the data variance depends on what is decoded, and a small network learns it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import DamagedFileError, DatasetError, OutputError, UsageError
from ..stages import integer_network
from ..stages.encoder import LEAST_REACH, MOST_REACH, REACH, REACH_PER_BIT
from ..stages.moments import LOWEST, OCTAVE
from .distributed import Ranks

Array = npt.NDArray[Any]
Curve = tuple[tuple[int, float, float], ...]  # noise codes, bits per point, PSNR (peak-to-peak 2)

_LAST_RATE = 0.02  # of the learning rate, at the end
_WARM_UP = 100  # steps
_LEARNING_RATE = 2.5e-3
_LATER_RATE = 1.5e-3  # of networks that have learned before
_MOST_GRADIENT = 1.0
REPORT_STEPS = 100
HELD_OUT_BATCHES = 3  # of an evaluation, each like that of a step


@dataclass(frozen=True)
class StepReport:
    """State after some steps.

    Attributes:
        number: steps finished.
        steps: of all.
        cost: KL + class bits + squared error / (2 · s2) of the steps since the last report, in bits per element of
            the signals, weighted as in the loss.
        held_out: the same of parts of the held-out signals, always the same parts with the same random numbers.
    """

    number: int
    steps: int
    cost: float
    held_out: float | None = None


@dataclass(frozen=True)
class Course:
    """What decides how networks learn, besides the data.

    Attributes:
        steps: gradient steps at most.
        seed: of all random numbers.
        kind: of checkpoint.
        fingerprint: of everything that must not change between a checkpoint and its resumption.
        shards: equal parts of every step's signals whose gradients are computed apart, and summed in their order.
        patience: evaluations without a better one after which learning ends, with the best state; ``None`` for all
            steps and the last state.
    """

    steps: int
    seed: int
    kind: str
    fingerprint: str
    shards: int = 1
    patience: int | None = None


@dataclass(frozen=True)
class Task:
    """What networks learn from.

    Attributes:
        draw: signals of a step ``(signals, ...)`` and their noise codes, drawn from a generator.
        draw_held_out: the same from what is held out.
        descend: cost of signals and noise codes with random numbers from a generator, in bits per element; adds up the
            gradients unless those are switched off.
    """

    draw: Callable[[np.random.Generator], tuple[Array, Array]]
    draw_held_out: Callable[[np.random.Generator], tuple[Array, Array]]
    descend: Callable[[Array, Array, np.random.Generator], float]


@dataclass(frozen=True)
class Watcher:
    """Who is told how learning goes.

    Attributes:
        step: called after every step, with the number of those that are done.
        report: called now and then.
    """

    step: Callable[[int], None] = lambda _done: None
    report: Callable[[StepReport], None] = lambda _report: None


@dataclass
class Progress:
    """What goes on from step to step besides the networks and the optimiser.

    Attributes:
        done: steps.
        reports: of all steps.
        costs: of the steps since the last report.
        best: the networks when what is held out cost the least, where that is what counts.
    """

    done: int
    reports: list[StepReport]
    costs: list[float]
    best: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Shape:
    """Shape of a network to be learned; see :class:`combiner_cli.stages.integer_network.WholeNetwork`.

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


class Learner(torch.nn.Module):
    """A network in floating point; see :class:`combiner_cli.stages.integer_network.WholeNetwork`."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
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


def train(
    learner: torch.nn.ModuleDict,
    task: Task,
    plan: Course,
    start: tuple[dict[str, Array], str] | None,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    watcher: Watcher,
    ranks: Ranks,
) -> list[StepReport]:
    """Take the steps of a learner's networks; the reports of all of them, those before a resumption included.

    Args:
        learner: the networks by kind and name.
        task: what they learn from.
        plan: of the learning.
        start: networks to begin with, and the name of their prior.
        checkpoint: file to go on from, and to keep up to date.
        checkpoint_seconds: time between two states in it.
        watcher: is told how it goes.
        ranks: the place of this process among those that learn together.

    Raises:
        UsageError: the networks to begin with have other sizes, or the parts cannot be shared by the processes.
        DatasetError: the checkpoint is of other data or settings.
        DamagedFileError: it cannot be read.
        OutputError: it cannot be written.
    """
    if plan.shards % ranks.count:
        raise UsageError(f"{plan.shards} shards cannot be shared by {ranks.count} processes; give a multiple of these")
    if start is not None:
        go_on_from(learner, *start)
    highest_rate = _LEARNING_RATE if start is None else _LATER_RATE
    optimiser = torch.optim.Adam(learner.parameters(), lr=highest_rate, betas=(0.9, 0.98))
    progress = _resumed(learner, optimiser, plan, checkpoint, ranks)
    saved = time.monotonic()
    while progress.done < plan.steps and not ended_early(plan, progress.reports):
        number = progress.done
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([plan.seed, number])))
        for group in optimiser.param_groups:
            group["lr"] = highest_rate * relative_rate(number, plan.steps)
        optimiser.zero_grad()
        progress.costs.append(_gradients(learner, task, plan, number, generator, ranks))
        for network in (part for part in learner.modules() if isinstance(part, Learner)):
            torch.nn.utils.clip_grad_norm_(network.parameters(), _MOST_GRADIENT)
        optimiser.step()
        progress.done += 1
        watcher.step(progress.done)
        last = progress.done == plan.steps
        if progress.done % REPORT_STEPS == 0 or last:
            _evaluate(learner, task, plan, progress, ranks)
            watcher.report(progress.reports[-1])
            last = last or ended_early(plan, progress.reports)
        if checkpoint is not None and ranks.first and (time.monotonic() - saved > checkpoint_seconds or last):
            save_checkpoint(checkpoint, plan, learner, optimiser, progress)
            saved = time.monotonic()
    if progress.best:
        learner.load_state_dict(progress.best)
    return progress.reports


def best_report(reports: Sequence[StepReport]) -> StepReport | None:
    """The first report at which what is held out cost the least."""
    measured = [own for own in reports if own.held_out is not None and not math.isnan(own.held_out)]
    return min(measured, key=lambda own: own.held_out or 0.0, default=None)


def ended_early(plan: Course, reports: Sequence[StepReport]) -> bool:
    """Whether what is held out has not come to cost less for as many evaluations as the plan has patience."""
    if plan.patience is None:
        return False
    best = best_report(reports)
    return sum(1 for own in reports if best is None or own.number > best.number) >= plan.patience


def _gradients(
    learner: torch.nn.ModuleDict,
    task: Task,
    plan: Course,
    number: int,
    generator: np.random.Generator,
    ranks: Ranks,
) -> float:
    """Leave the gradients of a step in the parameters; its cost.

    The parts of a step have random numbers of their own, and the average of their gradients is taken in their order:
    how many processes share them makes no difference.
    """
    signals, codes = task.draw(generator)
    if plan.shards == 1:
        return task.descend(signals, codes, generator)
    if len(codes) % plan.shards:
        raise UsageError(f"{len(codes)} signals of a step cannot be cut into {plan.shards} equal shards")
    parameters = list(learner.parameters())
    share, size = plan.shards // ranks.count, len(codes) // plan.shards
    found: list[torch.Tensor] = []
    failure: Exception | None = None
    try:
        for part in range(ranks.number * share, (ranks.number + 1) * share):
            learner.zero_grad()
            own = slice(part * size, (part + 1) * size)
            generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([plan.seed, number, part + 1])))
            found.append(_flat(parameters, task.descend(signals[own], codes[own], generator)))
    except Exception as error:  # the others wait for this process: they are to hear of it
        if ranks.count == 1:
            raise
        failure = error
        empty = torch.zeros_like(_flat(parameters, 0.0))
        found = [empty] * share
    whole_step = torch.cat(ranks.gathered(torch.stack(found)))
    if not bool(whole_step[:, -1].all()):
        with ranks.together():
            if failure is not None:
                raise failure
    return _averaged(parameters, whole_step)


def _flat(parameters: Sequence[torch.nn.Parameter], cost: float) -> torch.Tensor:
    """Gradients one after the other, then whether there is one of each parameter, the cost, and a one."""
    present = [float(own.grad is not None) for own in parameters]
    gradients = [(torch.zeros_like(own) if own.grad is None else own.grad).reshape(-1) for own in parameters]
    facts = torch.tensor([*present, cost, 1.0], device=gradients[0].device)
    return torch.cat([*gradients, facts])


def _averaged(parameters: Sequence[torch.nn.Parameter], parts: torch.Tensor) -> float:
    """Put the averages of the parts' gradients into the parameters; the average cost."""
    total = torch.zeros_like(parts[0])
    for own in parts:  # one after the other: the order is what makes sums the same
        total += own
    total /= len(parts)
    *present, cost, _ = total[-len(parameters) - 2 :].tolist()
    first = 0
    for own, there in zip(parameters, present, strict=True):
        own.grad = total[first : first + own.numel()].view_as(own).clone() if there else None
        first += own.numel()
    return float(cost)


def _evaluate(learner: torch.nn.ModuleDict, task: Task, plan: Course, progress: Progress, ranks: Ranks) -> None:
    """Report on the steps since the last report, and keep the networks if they are the best so far."""

    def measured() -> float:
        costs = []
        for batch in range(HELD_OUT_BATCHES):
            seeds = np.random.SeedSequence([plan.seed, batch], spawn_key=(1,))
            generator = np.random.Generator(np.random.Philox(seeds))
            with torch.no_grad():
                costs.append(task.descend(*task.draw_held_out(generator), generator))
        return float(np.mean(costs))

    held_out = ranks.shared(measured)
    progress.reports.append(StepReport(progress.done, plan.steps, float(np.mean(progress.costs)), held_out))
    progress.costs = []
    if plan.patience is not None and best_report(progress.reports) is progress.reports[-1]:
        progress.best = {name: own.detach().cpu().clone() for name, own in learner.state_dict().items()}


def fingerprint(plan: Any, training: Sequence[npt.NDArray[Any]]) -> str:
    """Of everything that must not change between a checkpoint and its resumption: a dataclass, and what is learned."""
    content = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
    for values in training:
        content.update(str(values.shape).encode() + np.ascontiguousarray(values).tobytes())
    return content.hexdigest()


def ranges_of(curve: Curve) -> dict[str, Any]:
    """The fields of a prior for many rates that follow from its curve."""
    ends = curve[0], curve[-1]
    return {
        "noise_codes": tuple(code for code, _, _ in ends),
        "rates": tuple(rate for _, rate, _ in ends),
        "errors": tuple(4 * 10 ** (-psnr / 10) for _, _, psnr in ends),
    }


def relative_rate(number: int, steps: int) -> float:
    """The learning rate of a step of some over the highest one: a short rise, then half a wave down."""
    falling = 0.5 * (1 + math.cos(math.pi * number / steps))
    return min(1.0, (number + 1) / _WARM_UP) * (falling * (1 - _LAST_RATE) + _LAST_RATE)


def evidence(residual: torch.Tensor, octaves: torch.Tensor, most_beyond: float = math.inf) -> torch.Tensor:
    """KL + squared error / (2 · s2) of the exact posterior in bits, up to a constant, with noise variance 1.

    What is beyond the reach of the candidates stays as an error; compare :func:`mixtures.class_costs`.
    How far they reach, and what is lost beyond that, was measured on coded pictures: further, the more bits there are.

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


def go_on_from(learner: torch.nn.ModuleDict, networks: dict[str, Array], name_of_prior: str) -> None:
    """Put the networks of a prior into a learner.

    Raises:
        UsageError: they have other sizes.
    """
    state = learner.state_dict()
    for name, tensor in networks.items():
        own = torch.from_numpy(integer_network.dequantised(name.rpartition(".")[2], tensor))
        own = own[:, None] if name.endswith("_bias") else own
        if name not in state or own.shape != state[name].shape:
            raise UsageError(f"the networks of {name_of_prior} have other sizes than those to be learned")
        state[name] = own.float()
    learner.load_state_dict(state)


def stored(learner: torch.nn.ModuleDict) -> dict[str, Array]:
    """The networks in whole numbers by ``kind.network.tensor``."""
    found: dict[str, Array] = {}
    for kind, networks in learner.items():
        for name, network in networks.items():  # type: ignore[operator]
            tensors = {part: getattr(network, part).detach().cpu().numpy() for part in integer_network.TENSORS}
            tensors = {part: own[:, 0] if part.endswith("bias") else own for part, own in tensors.items()}
            found |= {f"{kind}.{name}.{part}": own for part, own in integer_network.quantised(tensors).items()}
    return found


def save_checkpoint(
    path: Path,
    plan: Course,
    learner: torch.nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    from safetensors.torch import save

    tensors = {f"weight.{name}": value.contiguous() for name, value in learner.state_dict().items()}
    tensors |= {f"best.{name}": value.contiguous() for name, value in progress.best.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value.contiguous() for name, value in state.items()}
    reports = [asdict(report) for report in progress.reports]
    facts = json.dumps({"done": progress.done, "reports": reports, "costs": progress.costs})
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(tensors, {"format": plan.kind, "fingerprint": plan.fingerprint, "facts": facts}))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"checkpoint {path} cannot be written ({error}); choose another place") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path, plan: Course) -> tuple[Progress, dict[str, torch.Tensor]]:
    """What goes on from step to step, and all tensors of a checkpoint.

    Raises:
        DatasetError: it is of other data or settings.
        DamagedFileError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as content:
            metadata = content.metadata() or {}
            if metadata.get("format") != plan.kind:
                raise DamagedFileError(f"{path} is not a checkpoint of this learning; remove it to start anew")
            if metadata["fingerprint"] != plan.fingerprint:
                raise DatasetError(f"{path} belongs to other data or settings; remove it to start anew")
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
            facts = json.loads(metadata["facts"])
        reports = [StepReport(**one) for one in facts["reports"]]
        best = {name.removeprefix("best."): own for name, own in tensors.items() if name.startswith("best.")}
        return Progress(int(facts["done"]), reports, [float(own) for own in facts["costs"]], best), tensors
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"checkpoint {path} cannot be read ({error}); remove it to start anew") from error


def _resumed(
    learner: torch.nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    plan: Course,
    checkpoint: Path | None,
    ranks: Ranks,
) -> Progress:
    """Put a checkpoint's state, if there is one, into the learner and the optimiser."""

    def read() -> tuple[Progress, dict[str, torch.Tensor]] | None:
        return load_checkpoint(checkpoint, plan) if checkpoint is not None and checkpoint.exists() else None

    found = ranks.shared(read)
    if found is None:
        return Progress(0, [], [], {})
    progress, tensors = found
    try:
        learner.load_state_dict(
            {name.removeprefix("weight."): own for name, own in tensors.items() if name.startswith("weight.")}
        )
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, own in tensors.items():
            if name.startswith("adam."):
                _, number, part = name.split(".")
                state.setdefault(int(number), {})[part] = own
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedFileError(f"checkpoint {checkpoint} cannot be read ({error}); remove it to start anew") from error
    return progress
