"""A Gaussian posterior with full covariance for every network, fitted by Gauss-Newton variational inference.

The model of a signal is ``target = output(weights) + noise`` with noise of variance s2 and standard normal latents z,
weights = mean + scale · z. The best Gaussian posterior has the precision E[J'J] / s2 + I up to the curvature of the
network, where J = d output / d z and the expectation is over the posterior itself. It is found by averaging J'J over
steps, each at a sample of the posterior so far, while the mean moves along precision⁻¹ · gradient (Khan and Rue, "The
Bayesian learning rule", JMLR 2023, section 4, with the Gauss-Newton matrix for the Hessian).

J is never formed where that can be avoided. The derivative of output o at point p by the weight that joins input f
to unit u of a layer is sensitivity[o, u, p] · input[f, p], so that an element of J'J is

    Σ over p of (Σ over o of sensitivity[o, u, p] · sensitivity'[o, v, p]) · (input[f, p] · input'[g, p]):

for each pair of layers one matrix product over the points, of symmetric pairs of units and symmetric pairs of inputs.
The first layer's inputs are Fourier features, the same for all networks, and it holds most of the weights.

What cheaper forms lose, on the first 8 CIFAR-10 test images at 1,424 bits (prior cifar10-2, coded for real): J'J at
128, 256, 512 and 1,024 of the 1,024 points a step gave 29.17, 29.25, 29.21 and 29.20 dB, no difference beyond chance;
covariances within layers only 29.04 dB, within units only 28.68 dB, none at all 28.35 dB. So points are left out and
covariances are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from .network import Siren
from .posterior import Objective, hash_seed

_PRODUCTS_AT_ONCE = 2**21  # floats of the products of inputs of the networks that are computed together on the CPU
_MOST_PRODUCTS = 2**29  # the same on a GPU
_MOST_MATRIX_FLOATS = 2**28  # of all networks of a batch; about five matrices of that size exist at a time
_MOST_MATRIX_FLOATS_CUDA = 2**31
_JITTERS = (0.0, 1e-6, 1e-4, 1e-2, 1.0)  # added to a precision that is not positive definite, relative to its trace
_LARGEST_NOISE_CHANGE = 0.5  # of the logarithm of s2 in one step
_TOLERATED_RISE = 1.05  # of the loss, which is estimated from samples, before a move is taken back
_TOLERATED_RISE_OF_PART = 1.3  # where it is estimated from other points every time
_PACE_GROWTH = 1.1  # of the step size after every good move, until it is whole again
_NOISE_RANGE = 1e4  # s2 stays within this factor of where it began


@dataclass(frozen=True)
class Affine:
    """The map from whitened latents to the weights of a network.

    Attributes:
        mean: ``(1 or networks, weights)``.
        scale: ``(1 or networks, weights)`` if every weight has a latent of its own; otherwise a matrix,
            ``(1 or networks, weights, latents)``.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    @property
    def is_matrix(self) -> bool:
        return self.scale.dim() == 3

    def weights(self, z: torch.Tensor) -> torch.Tensor:
        """Weights ``(networks, weights)`` of latents ``(networks, latents)``."""
        if self.is_matrix and len(self.scale) == 1:
            return self.mean + z @ self.scale[0].T
        if self.is_matrix:
            return self.mean + (self.scale @ z[..., None])[..., 0]
        return self.mean + self.scale * z

    def pull(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient by the latents ``(networks, latents)`` of one by the weights ``(networks, weights)``."""
        if self.is_matrix and len(self.scale) == 1:
            return gradient @ self.scale[0]
        if self.is_matrix:
            return (self.scale.mT @ gradient[..., None])[..., 0]
        return gradient * self.scale

    def part(self, networks: slice) -> Affine:
        """The maps of some of the networks."""
        return Affine(*(one if len(one) == 1 else one[networks] for one in (self.mean, self.scale)))

    def repeated(self, times: int) -> Affine:
        """Every network's map ``times`` times in a row."""
        return Affine(*(one if len(one) == 1 else one.repeat_interleave(times, 0) for one in (self.mean, self.scale)))


def affine(objective: Objective) -> Affine:
    """The map of an objective, whose mean and deviation may have an axis of networks or none."""
    mean, scale = objective.mean, objective.deviation
    return Affine(mean if mean.dim() == 2 else mean[None], scale if scale.dim() == 3 else scale[None])


@dataclass(frozen=True)
class Pass:
    """What a forward pass leaves for the derivatives.

    Attributes:
        output: ``(networks, outputs, points)``.
        inputs: of each layer with a constant 1 for its bias, ``(1 or networks, inputs + 1, points)``.
        slopes: derivative of each sine by its argument, ``(networks, width, points)``, one per hidden layer.
        matrices: of each layer without bias, times the factor inside its sine, ``(networks, outputs, inputs)``.
    """

    output: torch.Tensor
    inputs: list[torch.Tensor]
    slopes: list[torch.Tensor]
    matrices: list[torch.Tensor]


def forward(network: Siren, weights: torch.Tensor, features: torch.Tensor) -> Pass:
    """Evaluate networks and keep what their derivatives need.

    Args:
        network: their shape.
        weights: ``(networks, weights)``.
        features: ``(features, points)``.
    """
    activations = features[None]  # (1, features, points)
    inputs, slopes, matrices = [], [], []
    begin = 0
    for number, (outputs, width) in enumerate(network.layers):
        end = begin + outputs * (width + 1)
        layer = weights[:, begin:end].reshape(-1, outputs, width + 1) * _factor(network, number)
        ones = torch.ones_like(activations[:, :1])
        inputs.append(torch.cat([activations, ones], dim=1))  # (networks, width + 1, points)
        matrices.append(layer[..., :-1])
        activations = layer @ inputs[-1]  # (networks, outputs, points)
        if number < network.hidden:
            slopes.append(torch.cos(activations))
            activations = torch.sin(activations)
        begin = end
    return Pass(activations, inputs, slopes, matrices)


def sensitivities(network: Siren, done: Pass, seeds: torch.Tensor) -> list[torch.Tensor]:
    """Derivatives of combinations of the outputs by the sum of each unit before its sine's factor.

    Args:
        network: the shape.
        done: the forward pass.
        seeds: factor of every output in each combination, ``(1 or networks, combinations, outputs, points or 1)``.

    Returns:
        For each layer ``(1 or networks, combinations, units, points or 1)``.
    """
    found = [seeds]
    for number in reversed(range(network.hidden)):
        matrix = done.matrices[number + 1].mT[:, None]  # (networks, 1, units, units of the next layer)
        below = (matrix @ found[0]) * done.slopes[number][:, None]  # (networks, combinations, units, points)
        found.insert(0, below)
    return [one * _factor(network, number) for number, one in enumerate(found)]


def gradient(network: Siren, done: Pass, residual: torch.Tensor) -> torch.Tensor:
    """Σ residual · d output / d weights over outputs and points, ``(networks, weights)``.

    Args:
        network: the shape.
        done: the forward pass.
        residual: ``(networks, outputs, points)``.
    """
    layers = sensitivities(network, done, residual[:, None])
    parts = [one[:, 0] @ inputs.mT for one, inputs in zip(layers, done.inputs, strict=True)]
    return torch.cat([part.reshape(len(residual), -1) for part in parts], dim=1)


def jacobian(network: Siren, done: Pass, columns: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
    """d output / d weights of some weights, ``(networks, columns, outputs, points)``.

    Args:
        network: the shape.
        done: the forward pass.
        columns: which weights, ``(columns,)``.
        inside: 1 for points that count and 0 for others, ``(networks, 1, points)``; all count if ``None``.
    """
    count, _, points = done.output.shape
    layers = sensitivities(network, done, _seeds(done, inside))
    units = torch.cat([one.expand(count, -1, -1, points) for one in layers], dim=2).transpose(1, 2)
    inputs = torch.cat([one.expand(count, -1, -1) for one in done.inputs], dim=1)
    _, unit, number = (one[columns] for one in _weight_places(network, done.output.device))
    return units[:, unit] * inputs[:, number, None]  # units are (networks, units, outputs, points)


def gram(
    network: Siren,
    scale: torch.Tensor,
    done: Pass,
    columns: torch.Tensor,
    inside: torch.Tensor | None = None,
) -> torch.Tensor:
    """J'J of some latents, ``(networks, columns, columns)``, computed in whichever way takes fewer multiplications.

    Args:
        network: the shape.
        scale: of the map from latents to weights, as in :class:`Affine`.
        done: the forward pass.
        columns: which latents, ``(columns,)``.
        inside: 1 for points that count and 0 for others, ``(networks, 1, points)``; all count if ``None``.
    """
    points, size = done.output.shape[2], len(columns)
    rows = network.outputs * points
    cheap = sum(2 * units * inputs * points for units, inputs in _pair_counts(network))
    if scale.dim() == 3:
        every = torch.arange(network.latents, device=columns.device)
        chosen = scale[:, :, columns]  # (1 or networks, weights, columns)
        if 2 * rows * size * (len(every) + size) < cheap + 2 * len(every) * size * (len(every) + size):
            whole = jacobian(network, done, every, inside).flatten(2)  # (networks, weights, rows)
            return _outer(chosen.mT @ whole)
        return chosen.mT @ _weight_gram(network, done, every, inside) @ chosen
    factor = scale[:, columns]  # (1 or networks, columns)
    if 2 * rows * size * size < cheap:
        return _outer(jacobian(network, done, columns, inside).flatten(2) * factor[..., None])
    return _weight_gram(network, done, columns, inside) * (factor[:, :, None] * factor[:, None])


def _outer(matrix: torch.Tensor) -> torch.Tensor:
    """Products of all pairs of rows, ``(networks, rows, rows)``."""
    return matrix @ matrix.mT


def _weight_gram(network: Siren, done: Pass, columns: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """J'J of some weights, ``(networks, columns, columns)``, from products of units and products of inputs."""
    count, _, points = done.output.shape
    places = _places_of(network, columns)
    layers = sensitivities(network, done, _seeds(done, inside))
    parts = []
    for first in range(network.hidden + 1):
        for second in range(first, network.hidden + 1):
            units = _pairs(layers[first], layers[second], first == second).sum(dim=1)  # (networks, pairs, points)
            inputs = _pairs(done.inputs[first], done.inputs[second], first == second)  # (1 or networks, pairs, points)
            units = units.expand(count, -1, points)
            if len(inputs) == 1:  # one large product instead of many
                product = (units.reshape(-1, points) @ inputs[0].T).reshape(count, -1)
            else:
                product = (units @ inputs.mT).reshape(count, -1)
            parts.append(product)
    products = torch.cat(parts, dim=1)
    return products.index_select(1, places).reshape(count, len(columns), len(columns))


def _pairs(first: torch.Tensor, second: torch.Tensor, same: bool) -> torch.Tensor:
    """Products of the rows of two tensors ``(..., rows, points)``: of all pairs, or of half of them if symmetric."""
    if same:
        row, column = torch.tril_indices(first.shape[-2], first.shape[-2], device=first.device)
        return first[..., row, :] * first[..., column, :]
    return (first[..., :, None, :] * second[..., None, :, :]).flatten(-3, -2)


def _pair_counts(network: Siren) -> list[tuple[int, int]]:
    """Number of pairs of units and of inputs for each pair of layers, in the order of their products."""
    counts = []
    for first, (units, inputs) in enumerate(network.layers):
        counts.append((units * (units + 1) // 2, (inputs + 1) * (inputs + 2) // 2))
        counts += [(units * above, (inputs + 1) * (width + 1)) for above, width in network.layers[first + 1 :]]
    return counts


@lru_cache(maxsize=4)
def _product_places(network: Siren, device: torch.device) -> torch.Tensor:
    """Where among the products of all pairs of layers an element of J'J is, ``(weights, weights)`` int64."""
    layer, unit, number = (one.cpu() for one in _weight_places(network, device))
    units = unit - torch.tensor([sum(u for u, _ in network.layers[:n]) for n in range(network.hidden + 1)])[layer]
    widths = torch.tensor([width + 1 for _, width in network.layers])
    inputs = number - (widths.cumsum(0) - widths)[layer]
    heights = torch.tensor([height for height, _ in network.layers])
    counts = torch.tensor(_pair_counts(network))
    begins = counts.prod(dim=1).cumsum(0) - counts.prod(dim=1)
    pair = torch.zeros(len(widths), len(widths), dtype=torch.long)
    pair[tuple(torch.triu_indices(len(widths), len(widths)))] = torch.arange(len(counts))
    swap = layer[:, None] > layer  # the product is stored for the lower layer first

    def ordered(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = values[:, None], values[None]
        return torch.where(swap, second, first), torch.where(swap, first, second)

    (below, above), (low_unit, high_unit), (low_input, high_input) = (ordered(one) for one in (layer, units, inputs))
    same = below == above
    unit_pair = torch.where(same, _triangular(low_unit, high_unit), low_unit * heights[above] + high_unit)
    input_pair = torch.where(same, _triangular(low_input, high_input), low_input * widths[above] + high_input)
    which = pair[below, above]
    return (begins[which] + unit_pair * counts[which, 1] + input_pair).to(device)


def _places_of(network: Siren, columns: torch.Tensor) -> torch.Tensor:
    """Where the elements of J'J of some weights are among the products, ``(columns²,)`` int32."""
    return _places_of_tuple(network, tuple(columns.tolist()), columns.device)


@lru_cache(maxsize=4)
def _places_of_tuple(network: Siren, columns: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """:func:`_places_of`, remembered from step to step."""
    chosen = torch.tensor(columns, device=device)
    return _product_places(network, device)[chosen][:, chosen].reshape(-1).to(torch.int32)


def _triangular(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Number of an unordered pair in the order of ``torch.tril_indices``."""
    large, small = torch.maximum(first, second), torch.minimum(first, second)
    return large * (large + 1) // 2 + small


@lru_cache(maxsize=4)
def _weight_places(network: Siren, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Layer, unit and input of every weight, units and inputs counted through all layers, each ``(weights,)``."""
    layers, units, inputs = [], [], []
    first_unit = first_input = 0
    for number, (outputs, width) in enumerate(network.layers):
        place = torch.arange(outputs * (width + 1))
        layers.append(torch.full_like(place, number))
        units.append(first_unit + place // (width + 1))
        inputs.append(first_input + place % (width + 1))
        first_unit, first_input = first_unit + outputs, first_input + width + 1
    whole = [torch.cat(one).to(device) for one in (layers, units, inputs)]
    return whole[0], whole[1], whole[2]


@dataclass(frozen=True)
class Fit:
    """How to fit.

    Attributes:
        points: used per step for J'J; the other points of a tile wait for other steps.
        move_points: used per move for the gradient, likewise.
        warm: samples of J'J before the first step.
        moves: of the mean per step, with one and the same precision.
        pairs: of samples ± of the posterior per move, for the gradient; those of all moves together give the KL.
        mean_step: part of the Newton step that a move adds to the velocity of the mean: the network is not linear, a
            whole step leads astray.
        momentum: part of its velocity that the mean keeps.
        smallest_step: of the running average of J'J; the average over the last 1 / step samples in the end.
    """

    points: int = 256
    move_points: int = 1024
    warm: int = 6
    moves: int = 4
    pairs: int = 2
    mean_step: float = 0.1
    momentum: float = 0.8
    smallest_step: float = 0.1


@dataclass(frozen=True, eq=False)
class Course:
    """The means of the posteriors and how they move.

    Attributes:
        mean: of all latents, ``(networks, latents)``; decided ones have their values, pruned ones 0.
        velocity: of the rows, ``(networks, free)``.
        pace: factor on the step size, at most 1, ``(networks,)``.
        error: expected sum of squared errors at the last good mean, infinite if there is none, ``(networks,)``.
        good: the last mean at which the loss had not risen, ``(networks, latents)``.
    """

    mean: torch.Tensor
    velocity: torch.Tensor
    pace: torch.Tensor
    error: torch.Tensor
    good: torch.Tensor


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Posteriors of the networks of some signals, and what their fit has gathered.

    Rows and columns of all matrices stand for the latents in ``latents``: those not yet decided, and in several
    networks of one signal also some that are.

    Attributes:
        latents: of each network of a signal, no two the same, ``(networks of a signal, free)`` int64.
        open: 1 for those that are to be coded and not yet decided, ``(networks of a signal, free)``.
        course: the means.
        gram: running average of J'J, ``(networks, free, free)``.
        factor: lower Cholesky factor of the precision gram / s2 + I, ``(networks, free, free)``.
        s2: noise variance of each signal, ``(signals,)``.
        begin: s2 at the beginning, ``(signals,)``.
        steps: number of samples of J'J so far.
        nats: KL(posterior, prior) of the latents not yet decided of each signal, ``(signals,)``, at the last step.
    """

    latents: torch.Tensor
    open: torch.Tensor
    course: Course
    gram: torch.Tensor
    factor: torch.Tensor
    s2: torch.Tensor
    begin: torch.Tensor
    steps: int
    nats: torch.Tensor

    @property
    def signals(self) -> int:
        return len(self.s2)

    @property
    def mean(self) -> torch.Tensor:
        """Means of all latents, ``(networks, latents)``; decided ones have their values, pruned ones 0."""
        return self.course.mean

    @property
    def places(self) -> torch.Tensor:
        """Latents of the rows of every network, ``(networks, free)``."""
        return self.latents.repeat(self.signals, 1)

    @property
    def opened(self) -> torch.Tensor:
        """1 for rows not yet decided, ``(networks, free)``."""
        return self.open.repeat(self.signals, 1)

    @property
    def noise(self) -> torch.Tensor:
        """Noise variance of every network, ``(networks,)``."""
        return self.s2.repeat_interleave(len(self.latents))


def begin(
    objective: Objective,
    latents: torch.Tensor,
    opened: torch.Tensor,
    mean: torch.Tensor,
    deviation: torch.Tensor,
    signals: int,
    fit: Fit,
    seed: int,
) -> Gaussian:
    """Posteriors whose J'J is averaged over samples of a factorised posterior.

    Args:
        objective: what to fit.
        latents: of the rows of the matrices, ``(networks of a signal, free)``; all others stay 0.
        opened: 1 for rows that are to be coded, the same shape.
        mean: whitened means of the factorised posterior, ``(networks, latents)``.
        deviation: its whitened standard deviations, the same shape.
        signals: number of signals.
        fit: how.
        seed: of the random numbers.
    """
    s2 = torch.full((signals,), 0.5 / objective.weight, device=mean.device)
    places, held = latents.repeat(signals, 1), opened.repeat(signals, 1)
    chosen = torch.zeros_like(mean).scatter(1, places, mean.gather(1, places) * held)
    spread = deviation.gather(1, places) * held
    empty = torch.empty(0, device=mean.device)
    state = Gaussian(latents, opened, at_rest(chosen, places), empty, empty, s2, s2, fit.warm, torch.zeros_like(s2))
    generator = torch.Generator(device=mean.device).manual_seed(hash_seed(seed, 0))
    average = torch.zeros(1, device=mean.device)
    for count in range(fit.warm):
        noise = torch.randn(places.shape[1], generator=generator, device=mean.device)
        sample = chosen.scatter_add(1, places, spread * noise)
        average = average + _sampled_gram(state, objective, sample, fit, count) / fit.warm
    return replace(state, gram=average, factor=cholesky(average, state.noise, held))


def affordable(networks: int, latents: int, device: str) -> bool:
    """Whether the matrices of that many networks of one batch fit the memory."""
    most = _MOST_MATRIX_FLOATS_CUDA if device == "cuda" else _MOST_MATRIX_FLOATS
    return networks * latents**2 <= most


def at_rest(mean: torch.Tensor, places: torch.Tensor) -> Course:
    """Means ``(networks, latents)`` that have not moved, with rows at ``places``, ``(networks, free)``."""
    pace = torch.ones(len(mean), device=mean.device)
    velocity = torch.zeros(places.shape, device=mean.device)
    return Course(mean, velocity, pace, torch.full_like(pace, torch.inf), mean)


def step(posterior: Gaussian, objective: Objective, fit: Fit, nats: torch.Tensor | None, seed: int) -> Gaussian:
    """One step of the fit: the mean moves, s2 is adjusted to the budget, and J'J is averaged with one more sample.

    Args:
        posterior: so far.
        objective: what to fit.
        fit: how.
        nats: KL that the latents not yet decided are to have, ``(signals,)``; s2 stays as it is if ``None``.
        seed: of the random numbers; the same for all networks, so that no result depends on the rest of a batch.
    """
    count = posterior.steps + 1
    generator = torch.Generator(device=posterior.mean.device).manual_seed(hash_seed(seed, count))
    spread = draw(posterior, fit.moves * fit.pairs, generator)  # (networks, samples, free)
    for turn, some in enumerate(torch.split(spread, fit.pairs, dim=1), start=count * fit.moves):
        here = _turn(objective.target.shape[2], fit.move_points, turn)
        posterior = replace(posterior, course=_moved(posterior, objective, some, here, fit))
    posterior = replace(posterior, steps=count)
    sample = posterior.mean.scatter_add(1, posterior.places, spread[:, 0])
    sampled = _sampled_gram(posterior, objective, sample, fit, count)
    average = torch.lerp(posterior.gram, sampled, max(1 / count, fit.smallest_step))
    kl, slope = divergence(posterior, spread)
    change = torch.zeros_like(kl) if nats is None else (kl - nats) / slope
    s2 = posterior.s2 * torch.exp(torch.nan_to_num(change.clamp(-_LARGEST_NOISE_CHANGE, _LARGEST_NOISE_CHANGE)))
    s2 = torch.minimum(torch.maximum(s2, posterior.begin / _NOISE_RANGE), posterior.begin * _NOISE_RANGE)
    posterior = replace(posterior, gram=average, s2=s2, nats=kl)
    return replace(posterior, factor=cholesky(average, posterior.noise, posterior.opened))


def decide(posterior: Gaussian, values: torch.Tensor, decided: torch.Tensor) -> Gaussian:
    """Give some latents their values and condition the others on them, exactly.

    Rows that no network needs any more are cut off at the end.

    Args:
        posterior: before.
        values: of the rows, ``(networks, free)``; only those of decided ones matter.
        decided: 1 for rows that are decided now, ``(networks of a signal, free)``, none of them before.
    """
    now = decided.repeat(posterior.signals, 1)
    rows = posterior.mean.gather(1, posterior.places)
    difference = torch.where(now > 0, values - rows, 0.0)
    pushed = posterior.factor @ (posterior.factor.mT @ difference[..., None])  # precision · difference
    opened = posterior.open - decided
    size = opened.shape[1] - int((opened.flip(1).cumsum(dim=1) == 0).sum(dim=1).min())
    same = bool(opened[:, :size].all())  # the factor of the first rows' precision is the first rows of the factor
    after = replace(
        posterior,
        latents=posterior.latents[:, :size],
        open=opened[:, :size],
        gram=posterior.gram[:, :size, :size].contiguous(),
    )
    factor = posterior.factor[:, :size, :size].contiguous() if same else None
    after = replace(after, factor=cholesky(after.gram, after.noise, after.opened) if factor is None else factor)
    # the gradient of the quadratic form at the new values, for the latents that are left
    shift = solve(after.factor, -pushed[:, :size, 0] * after.opened) * after.opened
    mean = posterior.mean.scatter(1, posterior.places, torch.where(now > 0, values, rows))
    mean = mean.scatter_add(1, after.places, shift)  # adds 0 to what is decided
    course = replace(at_rest(mean, after.places), pace=posterior.course.pace)
    return replace(after, course=course)


def marginal_factor(posterior: Gaussian, count: int) -> torch.Tensor:
    """Inverse of the last ``count`` rows of the precision's factor, ``(networks, count, count)`` float64.

    Its transpose times itself is the covariance of these latents with all others integrated out.
    """
    first = posterior.factor.shape[1] - count
    corner = posterior.factor[:, first:, first:].double()
    identity = torch.eye(count, dtype=corner.dtype, device=corner.device)
    inverse: torch.Tensor = torch.linalg.solve_triangular(corner, identity.expand_as(corner), upper=False)
    return inverse


def draw(posterior: Gaussian, count: int, generator: torch.Generator) -> torch.Tensor:
    """Deviations of samples from the mean, ``(networks, count, free)``; 0 for latents already decided."""
    size = posterior.latents.shape[1]
    noise = torch.randn(size, count, generator=generator, device=posterior.mean.device)
    shared = noise.expand(len(posterior.mean), -1, -1)
    spread: torch.Tensor = torch.linalg.solve_triangular(posterior.factor.mT, shared, upper=True)
    return spread.mT * posterior.opened[:, None]


def divergence(posterior: Gaussian, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(posterior, prior) of the latents not yet decided, and about its fall with the logarithm of s2, in nats.

    The trace of the covariance is estimated from samples: with many latents a few samples are enough.

    Args:
        posterior: whose.
        spread: deviations of samples, ``(networks, samples, free)``.

    Returns:
        Two tensors ``(signals,)``; the second is at least 1.
    """
    opened = posterior.opened
    mean = posterior.mean.gather(1, posterior.places) * opened  # (networks, free)
    trace = (spread * spread).sum(dim=2).mean(dim=1)  # (networks,)
    logarithm = 2 * posterior.factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    count = opened.sum(dim=1)
    kl = 0.5 * (trace + (mean * mean).sum(dim=1) - count + logarithm)
    # the part of the covariance and, from above, that of the mean: too small a step does not overshoot
    slope = 0.5 * (count - trace + (mean * mean).sum(dim=1))
    return _by_signal(kl, posterior), _by_signal(slope, posterior).clamp(min=1.0)


def cholesky(gram: torch.Tensor, noise: torch.Tensor, opened: torch.Tensor) -> torch.Tensor:
    """Lower Cholesky factor of gram / noise + I, ``(networks, free, free)``.

    Rows of decided latents are those of I. Where rounding has left a matrix that is not positive definite, a multiple
    of I is added to it; what is not finite counts as no information at all.

    Args:
        gram: ``(networks, free, free)``, not changed.
        noise: ``(networks,)``.
        opened: 1 for latents not yet decided, ``(networks, free)``.
    """
    precision = gram / noise[:, None, None]
    if not bool(opened.all()):
        precision *= opened[:, :, None] * opened[:, None]
    diagonal = precision.diagonal(dim1=1, dim2=2)
    diagonal += 1
    factor: torch.Tensor
    factor, failed = torch.linalg.cholesky_ex(precision)
    if not bool((failed != 0).any()):
        return factor
    bad = torch.nonzero(failed)[:, 0]
    factor[bad] = _repaired(precision[bad])
    return factor


def _repaired(precision: torch.Tensor) -> torch.Tensor:
    """Cholesky factors of matrices that have none, with as much of I added as it takes, the same shape."""
    identity = torch.eye(precision.shape[1], device=precision.device, dtype=precision.dtype)
    finite = torch.isfinite(precision).all(dim=2).all(dim=1)
    factors = identity.repeat(len(precision), 1, 1)
    left = finite
    for jitter in _JITTERS:
        scale = precision.diagonal(dim1=1, dim2=2).abs().mean(dim=1)
        tried, failed = torch.linalg.cholesky_ex(precision + (jitter * scale)[:, None, None] * identity)
        good = left & (failed == 0)
        factors[good] = tried[good]
        left = left & (failed != 0)
    return factors


def solve(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """precision⁻¹ · right for vectors ``(networks, free)``."""
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _moved(posterior: Gaussian, objective: Objective, spread: torch.Tensor, here: slice, fit: Fit) -> Course:
    """One move of the means along precision⁻¹ · gradient of the expected loss, or back where the loss has risen.

    Samples come in pairs ±: what the gradient's linear part makes of them cancels, and the mean is not shaken.
    """
    course = posterior.course
    pairs = torch.cat([spread, -spread], dim=1)  # (networks, samples, free)
    pull, error = torch.zeros_like(course.velocity), torch.zeros_like(course.error)
    total, points = objective.target.shape[2], here.stop - here.start
    for part in _networks_at_once(objective, pairs.shape[1], points):
        found = _expected_error(posterior, objective, pairs[part], part, here)
        pull[part], error[part] = (one * (total / points) for one in found)
    before, now = (
        value / (2 * posterior.noise) + 0.5 * (z * z).sum(dim=1)
        for value, z in ((course.error, course.good), (error, course.mean))
    )
    tolerated = _TOLERATED_RISE if points == total else _TOLERATED_RISE_OF_PART
    risen = ~(now <= before * tolerated)[:, None]  # (networks, 1); what is not a number has risen, too
    rows = course.mean.gather(1, posterior.places)
    newton = solve(posterior.factor, (pull / posterior.noise[:, None] - rows) * posterior.opened)
    velocity = fit.momentum * course.velocity + fit.mean_step * course.pace[:, None] * newton * posterior.opened
    velocity = torch.where(risen | ~velocity.isfinite(), 0.0, velocity)
    pace = torch.where(risen[:, 0], 0.5 * course.pace, (_PACE_GROWTH * course.pace).clamp(max=1.0))
    good = torch.where(risen, course.good, course.mean)
    mean = good.scatter_add(1, posterior.places, velocity)
    return Course(mean, velocity, pace, torch.where(risen[:, 0], torch.inf, error), good)


def _expected_error(
    posterior: Gaussian, objective: Objective, pairs: torch.Tensor, part: slice, here: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """J'(target - output) ``(networks, free)`` and squared error ``(networks,)`` at some points, means over samples."""
    count = pairs.shape[1]
    places = posterior.places[part]
    z = posterior.mean[part, None].expand(-1, count, -1)  # (networks, samples, latents)
    z = z.scatter_add(2, places[:, None].expand(-1, count, -1), pairs).flatten(0, 1)
    maps = affine(objective).part(part).repeated(count)
    done = forward(objective.network, maps.weights(z), objective.features[:, here])
    residual = objective.target[part][:, :, here].repeat_interleave(count, 0) - done.output
    if objective.inside is not None:
        residual = residual * objective.inside[part][:, :, here].repeat_interleave(count, 0)
    pulled = maps.pull(gradient(objective.network, done, residual))  # (networks · samples, latents)
    error = (residual * residual).sum(dim=(1, 2)).reshape(-1, count).mean(dim=1)
    return pulled.reshape(len(places), count, -1).mean(dim=1).gather(1, places), error


def _sampled_gram(posterior: Gaussian, objective: Objective, z: torch.Tensor, fit: Fit, turn: int) -> torch.Tensor:
    """J'J at some latents from a part of the points, scaled up to all, ``(networks, free, free)``.

    The points are in a random order; the parts take turns, so that an average over steps has seen them all.
    """
    total = objective.target.shape[2]
    here = _turn(total, fit.points, turn)
    points = here.stop - here.start
    maps = affine(objective)
    same = len(posterior.latents) == 1
    columns = posterior.latents[0] if same else torch.unique(posterior.latents)
    found = torch.empty(len(z), len(columns), len(columns), device=z.device)
    for part in _networks_at_once(objective, 1, points):
        inside = None if objective.inside is None else objective.inside[part][:, :, here]
        mine = maps.part(part)
        done = forward(objective.network, mine.weights(z[part]), objective.features[:, here])
        found[part] = gram(objective.network, mine.scale * (total / points) ** 0.5, done, columns, inside)
    found.nan_to_num_(0.0, 0.0, 0.0)  # an average would never forget what is not a number
    return found if same else _rearranged(found, torch.searchsorted(columns, posterior.places))


def _turn(total: int, points: int, turn: int) -> slice:
    """One of the parts of about so many points into which all are divided; the parts take turns."""
    parts = -(-total // points)
    return slice(turn % parts * total // parts, (turn % parts + 1) * total // parts)


def _rearranged(matrices: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows and columns of each matrix in an order of its own, ``(networks, rows, rows)``."""
    count, size = rows.shape
    chosen = matrices.gather(1, rows[:, :, None].expand(-1, -1, matrices.shape[2]))
    return chosen.gather(2, rows[:, None].expand(count, size, size))


def _networks_at_once(objective: Objective, samples: int, points: int) -> Iterator[slice]:
    """Parts of the networks whose intermediate results fit the caches of a processor or the memory of a GPU."""
    networks = len(objective.target)
    floats = max(inputs * points for _, inputs in _pair_counts(objective.network)) if samples == 1 else samples * points
    most = _PRODUCTS_AT_ONCE if objective.target.device.type == "cpu" else _MOST_PRODUCTS
    if samples > 1:
        floats *= 4 * objective.network.width
    size = max(1, most // floats)
    return (slice(first, min(first + size, networks)) for first in range(0, networks, size))


def _by_signal(values: torch.Tensor, posterior: Gaussian) -> torch.Tensor:
    """Sums over the networks of each signal, ``(signals,)``."""
    return values.reshape(posterior.signals, -1).sum(dim=1)


def _seeds(done: Pass, inside: torch.Tensor | None) -> torch.Tensor:
    """Every output for itself, where points count, ``(1 or networks, outputs, outputs, points or 1)``."""
    seeds = torch.eye(done.output.shape[1], device=done.output.device, dtype=done.output.dtype)[None, :, :, None]
    return seeds if inside is None else seeds * inside[:, None]


def _factor(network: Siren, layer: int) -> float:
    """The factor inside the sine of a layer."""
    return network.frequency if layer < network.hidden else 1.0
