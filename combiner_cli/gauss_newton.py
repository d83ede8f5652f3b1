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
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from .models.siren import Siren
from .posterior import Objective, hash_seed

_PRODUCTS_AT_ONCE = 2**23  # floats of the products of inputs of the networks that are computed together on the CPU
_MOST_PRODUCTS = 2**29  # the same on a GPU
_JITTERS = (0.0, 1e-6, 1e-4, 1e-2, 1.0)  # added to a precision that is not positive definite, relative to its trace
_LARGEST_NOISE_CHANGE = 0.5  # of the logarithm of s2 in one step
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
        if self.is_matrix:
            return self.mean + (self.scale @ z[..., None])[..., 0]
        return self.mean + self.scale * z

    def pull(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient by the latents ``(networks, latents)`` of one by the weights ``(networks, weights)``."""
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
    """The map of an objective: its deviation is a vector ``(weights,)`` or a matrix ``(weights, latents)``."""
    return Affine(objective.mean[None], objective.deviation[None])


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
    places = _product_places(network, columns.device)[columns][:, columns].reshape(-1)
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
        first, second = torch.broadcast_tensors(values[:, None], values[None])
        return torch.where(swap, second, first), torch.where(swap, first, second)

    (below, above), (low_unit, high_unit), (low_input, high_input) = (ordered(one) for one in (layer, units, inputs))
    same = below == above
    unit_pair = torch.where(same, _triangular(low_unit, high_unit), low_unit * heights[above] + high_unit)
    input_pair = torch.where(same, _triangular(low_input, high_input), low_input * widths[above] + high_input)
    which = pair[below, above]
    return (begins[which] + unit_pair * counts[which, 1] + input_pair).to(device)


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


def _seeds(done: Pass, inside: torch.Tensor | None) -> torch.Tensor:
    """Every output for itself, where points count, ``(1 or networks, outputs, outputs, points or 1)``."""
    seeds = torch.eye(done.output.shape[1], device=done.output.device, dtype=done.output.dtype)[None, :, :, None]
    return seeds if inside is None else seeds * inside[:, None]


def _factor(network: Siren, layer: int) -> float:
    """The factor inside the sine of a layer."""
    return network.frequency if layer < network.hidden else 1.0
