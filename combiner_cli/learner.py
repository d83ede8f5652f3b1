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

from .errors import DamagedFileError, DatasetError, OutputError, UsageError
from .hierarchy import LOWEST, OCTAVE
from .models import whole
from .stage_coding import LEAST_REACH, MOST_REACH, REACH, REACH_PER_BIT

Array = npt.NDArray[Any]
Curve = tuple[tuple[int, float, float], ...]  # noise codes, bits per point, PSNR (peak-to-peak 2)

_LAST_RATE = 0.02  # of the learning rate, at the end
_WARM_UP = 100  # steps
_LEARNING_RATE = 2.5e-3
_LATER_RATE = 1.5e-3  # of networks that have learned before
_MOST_GRADIENT = 1.0
_REPORT_STEPS = 100


@dataclass(frozen=True)
class StepReport:
    """State after some steps.

    Attributes:
        number: steps finished.
        steps: of all.
        cost: KL + class bits + squared error / (2 · s2) of the steps since the last report, in bits per element of
            the signals, weighted as in the loss.
    """

    number: int
    steps: int
    cost: float


@dataclass(frozen=True)
class Course:
    """What decides how networks learn, besides the data.

    Attributes:
        steps: gradient steps.
        seed: of all random numbers.
        kind: of checkpoint.
        fingerprint: of everything that must not change between a checkpoint and its resumption.
    """

    steps: int
    seed: int
    kind: str
    fingerprint: str


@dataclass(frozen=True)
class Shape:
    """Shape of a network to be learned; see :class:`combiner_cli.models.whole.WholeNetwork`.

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
    """A network in floating point; see :class:`combiner_cli.models.whole.WholeNetwork`."""

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
        largest = float(whole.LARGEST_ACTIVATION)
        hidden = torch.addmm(self.first_bias, self.first, features).clamp(0, largest)
        hidden = torch.addmm(self.second_bias, self.second, hidden).clamp(0, largest)
        results = torch.addmm(self.third_bias, self.third, hidden)
        outputs, relative = self.linear.shape
        return results[:outputs] + self.linear @ features[:relative], results[outputs:]


def train(
    learner: torch.nn.ModuleDict,
    step: Callable[[np.random.Generator], float],
    plan: Course,
    start: tuple[dict[str, Array], str] | None,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    report: Callable[[StepReport], None],
) -> list[StepReport]:
    """Take all steps of a learner's networks; the reports of all of them, those before a resumption included.

    Args:
        learner: the networks by kind and name.
        step: adds up the gradients of a step that is drawn from a generator; its cost.
        plan: of the learning.
        start: networks to begin with, and the name of their prior.
        checkpoint: file to go on from, and to keep up to date.
        checkpoint_seconds: time between two states in it.
        report: called now and then.

    Raises:
        UsageError: the networks to begin with have other sizes.
        DatasetError: the checkpoint is of other data or settings.
        DamagedFileError: it cannot be read.
        OutputError: it cannot be written.
    """
    if start is not None:
        go_on_from(learner, *start)
    highest_rate = _LEARNING_RATE if start is None else _LATER_RATE
    optimiser = torch.optim.Adam(learner.parameters(), lr=highest_rate, betas=(0.9, 0.98))
    done, reports = 0, list[StepReport]()
    if checkpoint is not None and checkpoint.exists():
        done, reports = load_checkpoint(checkpoint, plan.kind, plan.fingerprint, learner, optimiser)
    saved, costs = time.monotonic(), []
    for number in range(done, plan.steps):
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([plan.seed, number])))
        for group in optimiser.param_groups:
            group["lr"] = highest_rate * relative_rate(number, plan.steps)
        optimiser.zero_grad()
        costs.append(step(generator))
        for network in (part for part in learner.modules() if isinstance(part, Learner)):
            torch.nn.utils.clip_grad_norm_(network.parameters(), _MOST_GRADIENT)
        optimiser.step()
        if (number + 1) % _REPORT_STEPS == 0 or number + 1 == plan.steps:
            reports.append(StepReport(number + 1, plan.steps, float(np.mean(costs))))
            costs = []
            report(reports[-1])
        if checkpoint is not None and (time.monotonic() - saved > checkpoint_seconds or number + 1 == plan.steps):
            save_checkpoint(checkpoint, plan.kind, plan.fingerprint, learner, optimiser, number + 1, reports)
            saved = time.monotonic()
    return reports


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

    What is beyond the reach of the candidates stays as an error; compare :func:`combiner_cli.mixtures.class_costs`.
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
        own = torch.from_numpy(whole.dequantised(name.rpartition(".")[2], tensor))
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
            tensors = {part: getattr(network, part).detach().cpu().numpy() for part in whole.TENSORS}
            tensors = {part: own[:, 0] if part.endswith("bias") else own for part, own in tensors.items()}
            found |= {f"{kind}.{name}.{part}": own for part, own in whole.quantised(tensors).items()}
    return found


def save_checkpoint(
    path: Path,
    kind: str,
    fingerprint: str,
    learner: torch.nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    done: int,
    reports: Sequence[StepReport],
) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    from safetensors.torch import save

    tensors = {f"weight.{name}": value.contiguous() for name, value in learner.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value.contiguous() for name, value in state.items()}
    facts = json.dumps({"done": done, "reports": [asdict(report) for report in reports]})
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(tensors, {"format": kind, "fingerprint": fingerprint, "facts": facts}))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"checkpoint {path} cannot be written ({error}); choose another place") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(
    path: Path, kind: str, fingerprint: str, learner: torch.nn.ModuleDict, optimiser: torch.optim.Optimizer
) -> tuple[int, list[StepReport]]:
    """Put a checkpoint's state into the learner and the optimiser; steps done, and their reports."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as content:
            metadata = content.metadata() or {}
            if metadata.get("format") != kind:
                raise DamagedFileError(f"{path} is not a checkpoint of this learning; remove it to start anew")
            if metadata["fingerprint"] != fingerprint:
                raise DatasetError(f"{path} belongs to other data or settings; remove it to start anew")
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
            facts = json.loads(metadata["facts"])
        learner.load_state_dict(
            {name.removeprefix("weight."): own for name, own in tensors.items() if name.startswith("weight.")}
        )
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, own in tensors.items():
            if name.startswith("adam."):
                _, number, part = name.split(".")
                state.setdefault(int(number), {})[part] = own
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return int(facts["done"]), [StepReport(**one) for one in facts["reports"]]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedFileError(f"checkpoint {path} cannot be read ({error}); remove it to start anew") from error
