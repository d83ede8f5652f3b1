"""Learning a prior: posterior fits on a data set in turns with the closed-form update of the prior.

Source: Guo et al. 2023, section 3.1 and algorithm 1: after some gradient steps on every training posterior, the prior's
mean is the average of the posterior means, and its variance the average of the posterior variances plus the squared
deviations of the posterior means (equation 7).
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...errors import DamagedFileError, DatasetError, OutputError, UsageError
from ...rec import groups
from ...signals.signal import Kind, coordinates
from .fitting.posterior import Descent, Objective, Posterior, descend, hash_seed, kl, objective, squared_error, start
from .network import Siren
from .prior import LARGEST_NETWORK, SirenPrior, problem

_FIRST_ROUND = 3  # the first round takes that many times the steps: all posteriors are still at the prior's mean
_LARGEST_CHANGE = 0.3  # of the logarithm of beta per round
_LAST_RATE = 0.1  # step size of the last round relative to the first
_INITIAL_DEVIATION = 0.3  # of the weights, relative to that of the network's usual random initialisation
_SMALLEST_DEVIATION = 1e-7
_SMALLEST_RATE = 1e-9
PRUNED_BELOW = 0.02  # bits: latents of less average information are not coded
_CHECKPOINT = "combiner-checkpoint-1"


@dataclass(frozen=True)
class Plan:
    """Settings of a prior's learning.

    Attributes:
        name: of the prior.
        kind: of the signals.
        network: shape of the network.
        bits_per_point: rate that beta is adapted to, expected information over points; or ``None`` if beta is given.
        beta: loss = mean squared error + beta · KL in nats; the starting value where it is adapted.
        rounds: turns of fitting and updating.
        steps: gradient steps per round.
        group_bits: of the groups that the prior asks for, 8 or 16.
        seed: of the initial weights and the random numbers.
        descent: of the gradient steps.
        covariance: of the prior, ``"diagonal"`` or, after the rounds, ``"full"``.
        components: classes of a mixture of full covariances.
        turns: of fitting full posteriors and updating their prior.
    """

    name: str
    kind: Kind
    network: Siren
    bits_per_point: float | None
    beta: float
    rounds: int
    steps: int
    group_bits: int
    seed: int
    descent: Descent = field(default_factory=Descent)
    covariance: str = "diagonal"
    components: int = 1
    turns: int = 0


@dataclass(frozen=True)
class RoundReport:
    """State after a round, averages over tiles.

    Attributes:
        number: rounds finished.
        rounds: rounds in all.
        bits_per_point: information of the training posteriors over points.
        psnr: of samples of the training posteriors against the training tiles, peak-to-peak 2.
        held_out_bits_per_point: the same of the tiles kept out of the prior.
        held_out_psnr: the same of the tiles kept out of the prior.
        beta: in use.
    """

    number: int
    rounds: int
    bits_per_point: float
    psnr: float
    held_out_bits_per_point: float
    held_out_psnr: float
    beta: float


@dataclass(frozen=True)
class Learned:
    """A finished prior and the reports of all rounds, those before a resumption included."""

    prior: SirenPrior
    reports: tuple[RoundReport, ...]


@dataclass(frozen=True)
class Moments:
    """Prior mean and standard deviation of every latent, each ``(latents,)``."""

    mean: torch.Tensor
    deviation: torch.Tensor


@dataclass(frozen=True)
class State:
    """Everything that goes on from round to round; the posteriors are changed in place.

    Attributes:
        posterior: of all tiles, whitened by the prior's moments.
        moments: of the prior.
        beta: of the next round.
        reports: of all rounds.
    """

    posterior: Posterior
    moments: Moments
    beta: float
    reports: tuple[RoundReport, ...]

    @property
    def rounds(self) -> int:
        """Rounds finished."""
        return len(self.reports)


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


def learn(
    plan: Plan,
    training: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    device: str,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    report: Callable[[RoundReport], None] = lambda _: None,
) -> Learned:
    """Learn a prior.

    Args:
        plan: settings.
        training: values of tiles in [-1, 1], ``(tiles, outputs, points)``.
        held_out: tiles that are fitted along but do not enter the prior, of the same form, at least one.
        device: torch device.
        checkpoint: file to resume from if it exists, and to write now and then.
        checkpoint_seconds: time between checkpoints.
        report: called after every round.

    Raises:
        UsageError: the settings cannot make a prior.
        DatasetError: no tiles, the checkpoint belongs to other data or settings, or nothing worth coding was learned.
        DamagedFileError: the checkpoint cannot be read.
        OutputError: the checkpoint cannot be written.
    """
    if len(training) == 0 or len(held_out) == 0:
        raise DatasetError("the data set is too small: it needs at least one training and one held-out tile")
    tiles = np.concatenate([training, held_out])
    state = factorised(plan, tiles, len(training), device, checkpoint, checkpoint_seconds, report)
    return Learned(_finished(plan, state, len(training)), state.reports)


def resumption(plan: Plan, tiles: npt.NDArray[np.float32], checkpoint: Path) -> tuple[RoundReport, ...]:
    """The reports of the rounds that are done already; arguments and errors as of :func:`factorised`."""
    return _load(checkpoint, fingerprint_of(plan, tiles), "cpu").reports if checkpoint.exists() else ()


def factorised(
    plan: Plan,
    tiles: npt.NDArray[np.float32],
    training: int,
    device: str,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    report: Callable[[RoundReport], None],
) -> State:
    """All rounds of learning with factorised posteriors; arguments and errors as of :func:`learn`.

    Args:
        tiles: the training tiles and, behind them, the held-out ones.
        training: number of training tiles.
    """
    check(plan)
    fingerprint = fingerprint_of(plan, tiles)
    features = plan.network.fourier_features(coordinates(plan.network.extent))
    state = _initial(plan, len(tiles), device)
    if checkpoint is not None and checkpoint.exists():
        state = _load(checkpoint, fingerprint, device)
    elif checkpoint is not None:
        _save(checkpoint, state, fingerprint)  # before hours of work, see that it can be written
    fit = objective(plan.network, features, tiles, None, _to_numpy(state.moments), state.beta, device)
    saved = time.monotonic()
    while state.rounds < plan.rounds:
        state = _round(plan, state, fit, training)
        fit = _with_prior(fit, state)
        report(state.reports[-1])
        if checkpoint is not None and time.monotonic() - saved > checkpoint_seconds:
            _save(checkpoint, state, fingerprint)
            saved = time.monotonic()
    return state


def check(plan: Plan) -> None:
    """Refuse, before any work, settings whose prior could not be loaded.

    Raises:
        UsageError: they are such.
    """
    latents = plan.network.latents
    if latents <= LARGEST_NETWORK:
        ones = np.ones(latents, dtype=np.float32)
        information = ones.astype(np.int32)
        sketch = SirenPrior(plan.name, plan.kind, plan.network, ones, ones, information, plan.group_bits, plan.beta)
        if problem(sketch) is None:
            return
    raise UsageError(f"a prior cannot have these settings: {latents} weights; choose a smaller network, tile or beta")


def _initial(plan: Plan, tiles: int, device: str) -> State:
    """One draw of the network's usual random initialisation is the mean of all; posteriors start there."""
    generator = np.random.Generator(np.random.Philox(plan.seed))
    bounds = plan.network.initial_bounds()
    mean = generator.uniform(-bounds, bounds)
    deviation = bounds / math.sqrt(3) * _INITIAL_DEVIATION
    moments = Moments(*(torch.tensor(a, dtype=torch.float32, device=device) for a in (mean, deviation)))
    return State(start(tiles, plan.network.latents, device), moments, plan.beta, ())


def _round(plan: Plan, state: State, fit: Objective, training: int) -> State:
    """Fit all posteriors for some steps, measure, update the prior, and express the posteriors in the new one."""
    steps = plan.steps * (_FIRST_ROUND if state.rounds == 0 else 1)
    taken = plan.steps * (state.rounds + (_FIRST_ROUND - 1 if state.rounds else 0))
    progress = state.rounds / plan.rounds
    rate = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
    descend(state.posterior, fit, plan.descent, taken, [rate] * steps, plan.seed)
    result = _measure(plan, state, fit, training)
    moments = _update_in_place(state, training)
    beta = state.beta if state.rounds < 2 else adapted(plan, state.beta, result.bits_per_point)
    return State(state.posterior, moments, beta, (*state.reports, result))


def adapted(plan: Plan, beta: float, bits_per_point: float) -> float:
    """Beta after a round at some rate: nearer to that of the rate asked for, if one is."""
    if plan.bits_per_point is None:
        return beta
    excess = math.log(max(bits_per_point, _SMALLEST_RATE) / plan.bits_per_point)
    return beta * math.exp(max(-_LARGEST_CHANGE, min(_LARGEST_CHANGE, excess)))


def _update_in_place(state: State, training: int) -> Moments:
    """The new prior; whitened means and log deviations are re-expressed in it."""
    old, posterior = state.moments, state.posterior
    means = old.mean + old.deviation * posterior.mean
    log_deviations = old.deviation.log() + posterior.log_deviation
    new = update(means[:training], torch.exp(2 * log_deviations[:training]))
    posterior.mean.copy_((means - new.mean) / new.deviation)
    posterior.log_deviation.copy_(log_deviations - new.deviation.log())
    return new


def _measure(plan: Plan, state: State, fit: Objective, training: int) -> RoundReport:
    """Rate and PSNR of one sample of each posterior."""
    posterior = state.posterior
    generator = torch.Generator(device=posterior.mean.device).manual_seed(hash_seed(plan.seed, state.rounds, 1))
    noise = torch.randn(posterior.mean.shape, generator=generator, device=posterior.mean.device)
    with torch.no_grad():
        errors = squared_error(fit, posterior.mean + torch.exp(posterior.log_deviation) * noise)
    information = kl(posterior.mean, posterior.log_deviation).sum(dim=1) / math.log(2)
    return round_report(plan, state.rounds + 1, plan.rounds, information, errors, training, state.beta)


def round_report(
    plan: Plan,
    number: int,
    rounds: int,
    information: torch.Tensor,
    errors: torch.Tensor,
    training: int,
    beta: float,
) -> RoundReport:
    """A report of the tiles' information in bits and sums of squared errors, both ``(tiles,)``, training first."""
    points = math.prod(plan.network.extent)

    def averages(part: slice) -> tuple[float, float]:
        error = float(errors[part].mean()) / (points * plan.network.outputs)
        return float(information[part].mean()) / points, 10 * math.log10(4 / max(error, 1e-12))

    return RoundReport(number, rounds, *averages(slice(0, training)), *averages(slice(training, None)), beta)


def _with_prior(fit: Objective, state: State) -> Objective:
    samples = fit.target.shape[1] * fit.target.shape[2]
    return replace(fit, mean=state.moments.mean, deviation=state.moments.deviation, weight=1 / (samples * state.beta))


def _finished(plan: Plan, state: State, training: int) -> SirenPrior:
    """The prior with the average information of its latents, the insignificant ones pruned."""
    posterior = state.posterior
    divergence = kl(posterior.mean[:training], posterior.log_deviation[:training]).mean(dim=0) / math.log(2)
    bits = divergence.double().cpu().numpy()
    information = np.rint(np.minimum(bits, plan.group_bits) * groups.INFORMATION_UNIT).astype(np.int32)
    information[bits < PRUNED_BELOW] = 0
    mean, deviation = _to_numpy(state.moments)
    prior = SirenPrior(plan.name, plan.kind, plan.network, mean, deviation, information, plan.group_bits, state.beta)
    reason = problem(prior)
    if reason:
        raise DatasetError(f"the prior came out unusable ({reason}); aim at a higher rate or give more varied data")
    return prior


def _to_numpy(moments: Moments) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return moments.mean.cpu().numpy(), moments.deviation.cpu().numpy()


def fingerprint_of(plan: Plan, tiles: npt.NDArray[np.float32]) -> str:
    """Of everything that must not change between a checkpoint and its resumption."""
    settings = json.dumps(asdict(plan), sort_keys=True)
    return hashlib.sha256(settings.encode() + str(tiles.shape).encode() + tiles.tobytes()).hexdigest()


def _save(path: Path, state: State, fingerprint: str) -> None:
    """Write a checkpoint, replacing the last one in one step."""
    posterior = state.posterior
    tensors = {
        "mean": posterior.mean,
        "log_deviation": posterior.log_deviation,
        **{f"moment{n}": moment for n, moment in enumerate(posterior.moments)},
        "prior_mean": state.moments.mean,
        "prior_deviation": state.moments.deviation,
    }
    metadata = {
        "format": _CHECKPOINT,
        "fingerprint": fingerprint,
        "beta": state.beta.hex(),
        "reports": json.dumps([asdict(report) for report in state.reports]),
    }
    write_checkpoint(path, tensors, metadata)


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, replacing the last one in one step.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(
            {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()},
            str(partial),
            metadata,
        )
        partial.replace(path)
    except (SafetensorError, OSError) as error:
        raise OutputError(f"checkpoint {path} cannot be written ({error}); choose another place") from error
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, fingerprint: str, device: str) -> State:
    try:
        with safe_open(str(path), framework="pt") as content:
            metadata = content.metadata() or {}
            if metadata.get("format") != _CHECKPOINT:
                raise DamagedFileError(f"{path} is not a checkpoint of learn-prior; remove it to start anew")
            if metadata["fingerprint"] != fingerprint:
                raise DatasetError(f"{path} belongs to other data or settings; remove it to start anew")

            def tensor(name: str) -> torch.Tensor:
                return content.get_tensor(name).to(device)  # type: ignore[no-any-return]

            moments = tuple(tensor(f"moment{n}") for n in range(4))
            posterior = Posterior(
                tensor("mean"), tensor("log_deviation"), (moments[0], moments[1], moments[2], moments[3])
            )
            prior = Moments(tensor("prior_mean"), tensor("prior_deviation"))
            reports = tuple(RoundReport(**report) for report in json.loads(metadata["reports"]))
            return State(posterior, prior, float.fromhex(metadata["beta"]), reports)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"checkpoint {path} cannot be read ({error}); remove it to start anew") from error
