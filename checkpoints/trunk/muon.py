"""Muon for hidden matrices (momentum made orthogonal), Adam for the rest."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest orthogonal matrices, ``(count, rows, columns)``, by five Newton-Schulz steps."""
    transposed = matrices.shape[1] > matrices.shape[2]
    values = matrices.transpose(1, 2) if transposed else matrices
    values = values / (values.norm(dim=(1, 2), keepdim=True) + 1e-12)
    for _ in range(5):
        square = values @ values.transpose(1, 2)
        values = 3.4445 * values + (-4.7750 * square + 2.0315 * square @ square) @ values
    return values.transpose(1, 2) if transposed else values


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal; see Jordan and others, 2024."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, size: float = 0.2):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "size": size})

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[no-untyped-def]
        del closure
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                by_shape[update.flatten(1).shape].append((parameter, update.flatten(1)))
            for (rows, columns), members in by_shape.items():
                updates = orthogonal(torch.stack([update for _, update in members]))
                # the root mean square of an update is that of Adam, about
                scale = group["lr"] * group["size"] * max(rows, columns) ** 0.5
                for (parameter, _), update in zip(members, updates, strict=True):
                    parameter.add_(update.view_as(parameter), alpha=-scale)


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, and all other parameters."""
    hidden, rest = [], []
    for name, parameter in model.named_parameters():
        last = ".last." in name or ".linear." in name
        (rest if parameter.dim() == 1 or last else hidden).append(parameter)
    return hidden, rest
