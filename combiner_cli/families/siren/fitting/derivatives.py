"""Derivatives of many networks by their weights: gradients, Jacobians, and J'J without forming J.

J = d output / d weights of a network. The derivative of output o at point p by the weight that joins input f to unit u
of a layer is sensitivity[o, u, p] · input[f, p], so that an element of J'J is

    Σ over p of (Σ over o of sensitivity[o, u, p] · sensitivity'[o, v, p]) · (input[f, p] · input'[g, p]):

for each pair of layers one matrix product over the points, of symmetric pairs of units and symmetric pairs of inputs.
The first layer's inputs are Fourier features, the same for all networks, and it holds most of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ..network import Siren


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
        layer = weights[:, begin:end].reshape(-1, outputs, width + 1) * _sine_factor(network, number)
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
    layers = [seeds]
    for number in reversed(range(network.hidden)):
        matrix = done.matrices[number + 1].mT[:, None]  # (networks, 1, units, units of the next layer)
        below = (matrix @ layers[0]) * done.slopes[number][:, None]  # (networks, combinations, units, points)
        layers.insert(0, below)
    return [layer * _sine_factor(network, number) for number, layer in enumerate(layers)]


def gradient(network: Siren, done: Pass, residual: torch.Tensor) -> torch.Tensor:
    """Σ residual · d output / d weights over outputs and points, ``(networks, weights)``.

    Args:
        network: the shape.
        done: the forward pass.
        residual: ``(networks, outputs, points)``.
    """
    layers = sensitivities(network, done, residual[:, None])
    parts = [layer[:, 0] @ inputs.mT for layer, inputs in zip(layers, done.inputs, strict=True)]
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
    units = torch.cat([layer.expand(count, -1, -1, points) for layer in layers], dim=2).transpose(1, 2)
    inputs = torch.cat([values.expand(count, -1, -1) for values in done.inputs], dim=1)
    _, unit, number = (places[columns] for places in _weight_places(network, done.output.device))
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
        scale: of the latent of every weight, ``(weights,)``: weight = mean + scale · latent.
        done: the forward pass.
        columns: which latents, ``(columns,)``.
        inside: 1 for points that count and 0 for others, ``(networks, 1, points)``; all count if ``None``.
    """
    points, size = done.output.shape[2], len(columns)
    by_pairs = sum(2 * units * inputs * points for units, inputs in pair_counts(network))
    factor = scale[columns]
    if 2 * network.outputs * points * size * size < by_pairs:
        rows = jacobian(network, done, columns, inside).flatten(2) * factor[:, None]  # (networks, columns, rows)
        return rows @ rows.mT
    return _weight_gram(network, done, columns, inside) * (factor[:, None] * factor)


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


def pair_counts(network: Siren) -> list[tuple[int, int]]:
    """Number of pairs of units and of inputs for each pair of layers, in the order of their products.

    Args:
        network: the shape.
    """
    counts = []
    for first, (units, inputs) in enumerate(network.layers):
        counts.append((units * (units + 1) // 2, (inputs + 1) * (inputs + 2) // 2))
        counts += [(units * above, (inputs + 1) * (width + 1)) for above, width in network.layers[first + 1 :]]
    return counts


@lru_cache(maxsize=4)
def _product_places(network: Siren, device: torch.device) -> torch.Tensor:
    """Where among the products of all pairs of layers an element of J'J is, ``(weights, weights)`` int64."""
    layer, unit, number = (places.cpu() for places in _weight_places(network, device))
    units = unit - torch.tensor([sum(u for u, _ in network.layers[:n]) for n in range(network.hidden + 1)])[layer]
    widths = torch.tensor([width + 1 for _, width in network.layers])
    inputs = number - (widths.cumsum(0) - widths)[layer]
    heights = torch.tensor([height for height, _ in network.layers])
    counts = torch.tensor(pair_counts(network))
    begins = counts.prod(dim=1).cumsum(0) - counts.prod(dim=1)
    pair = torch.zeros(len(widths), len(widths), dtype=torch.long)
    pair[tuple(torch.triu_indices(len(widths), len(widths)))] = torch.arange(len(counts))
    swap = layer[:, None] > layer  # the product is stored for the lower layer first

    def ordered(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = values[:, None], values[None]
        return torch.where(swap, second, first), torch.where(swap, first, second)

    (below, above), (low_unit, high_unit), (low_input, high_input) = map(ordered, (layer, units, inputs))
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
    places = [torch.cat(of_layers).to(device) for of_layers in (layers, units, inputs)]
    return places[0], places[1], places[2]


def _seeds(done: Pass, inside: torch.Tensor | None) -> torch.Tensor:
    """Every output for itself, where points count, ``(1 or networks, outputs, outputs, points or 1)``."""
    seeds = torch.eye(done.output.shape[1], device=done.output.device, dtype=done.output.dtype)[None, :, :, None]
    return seeds if inside is None else seeds * inside[:, None]


def _sine_factor(network: Siren, layer: int) -> float:
    """The factor inside the sine of a layer."""
    return network.frequency if layer < network.hidden else 1.0
