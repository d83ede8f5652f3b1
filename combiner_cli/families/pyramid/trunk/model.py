"""The networks of a trunk in floating point, rounded as inference rounds them where that is asked for.

Parameters have the names of the tensors that are stored (:mod:`combiner_cli.families.pyramid.trunk.networks`), after
``kinds.`` and the number of the kind of level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ....stages.moments import COARSE
from ..haar import BANDS
from ..levels import CLASSES
from .inputs import PATCH, SCALARS, SQUARE
from .layers import (
    ACTIVATION_BITS,
    FEATURE_BITS,
    LARGEST_ACTIVATION,
    LARGEST_FEATURE,
    RESULT_WEIGHT_BITS,
    WEIGHT_BITS,
)
from .networks import HEADS, stored

Array = npt.NDArray[Any]

_MOST_OF_LAYER = 2**23 / LARGEST_FEATURE / 2**WEIGHT_BITS  # of the magnitudes of a row's weights: half of what is exact


@dataclass(frozen=True)
class TrunkShape:
    """Sizes of the networks of a level.

    Attributes:
        stream: activations of a unit that the trunk hands on.
        before: 3x3 convolutions before the luma's classes.
        luma: those before the luma's details.
        chroma: those before the chroma's details.
        head: units of the hidden layers of the networks that predict details.
        class_head: units of the hidden layer of those that predict classes.
    """

    stream: int = 64
    before: int = 1
    luma: int = 2
    chroma: int = 1
    head: tuple[int, int] = (64, 32)
    class_head: int = 48


class _Clipped(torch.autograd.Function):
    """Values between 0 and a limit; where they are above it, the gradient passes that takes them down again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.limit = limit
        return values.clamp(0.0, limit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (values,), (gradient,) = ctx.saved_tensors, gradients
        inside = functional.threshold(values, 0.0, 0.0).sign_()
        return inside.mul_(torch.where(values < ctx.limit, gradient, gradient.clamp(min=0))), None


class Rounded:
    """How a model computes: in floating point, or with the rounding of inference.

    Attributes:
        on: whether weights and activations are rounded; gradients pass as if they were not.
    """

    def __init__(self) -> None:
        self.on = False

    def down(self, values: Tensor, bits: int) -> Tensor:
        """Values rounded down to so many bits of fraction."""
        if not self.on:
            return values
        return values + (torch.floor(values.detach() * 2.0**bits) * 2.0**-bits - values.detach())

    def nearest(self, values: Tensor, bits: int) -> Tensor:
        """Values rounded to the nearest of so many bits of fraction."""
        if not self.on:
            return values
        return values + (torch.round(values.detach() * 2.0**bits) * 2.0**-bits - values.detach())

    def activated(self, sums: Tensor) -> Tensor:
        """Activations: clipped and rounded."""
        largest = LARGEST_ACTIVATION * 2.0**-ACTIVATION_BITS
        clipped: Tensor = _Clipped.apply(sums, largest)  # type: ignore[no-untyped-call]
        return self.down(clipped, ACTIVATION_BITS)

    def feature(self, values: Tensor) -> Tensor:
        """Features: clipped and rounded."""
        largest = LARGEST_FEATURE * 2.0**-FEATURE_BITS
        return self.down(values.clamp(-largest, largest), FEATURE_BITS)


class Dense(torch.nn.Module):
    """A matrix, or a 3x3 convolution, of ``(pictures, inputs, rows, columns)``."""

    def __init__(
        self,
        rounded: Rounded,
        inputs: int,
        outputs: int,
        gain: float,
        side: int = 1,
        bias: bool = True,
        bits: int = WEIGHT_BITS,
    ) -> None:
        super().__init__()
        scale = gain / math.sqrt(inputs * side * side)
        self.weight = torch.nn.Parameter(torch.randn(outputs, inputs, side, side) * scale)
        self.bias = torch.nn.Parameter(torch.zeros(outputs)) if bias else None
        self._rounded, self._bits = rounded, bits

    def forward(self, values: Tensor) -> Tensor:
        """What is multiplied, ``(pictures, outputs, rows, columns)``."""
        matrix = self._rounded.nearest(self.weight, self._bits)
        bias = None if self.bias is None else self._rounded.nearest(self.bias, self._bits + FEATURE_BITS)
        if self.weight.shape[-1] > 1:
            return functional.conv2d(values, matrix, bias, padding=1)
        # a product for each picture: faster on a CPU than a convolution
        expanded, flat = matrix.flatten(1).expand(len(values), -1, -1), values.flatten(2)
        sums = torch.bmm(expanded, flat) if bias is None else torch.baddbmm(bias[:, None], expanded, flat)
        return sums.view(len(values), -1, *values.shape[2:])

    @torch.no_grad()
    def bound(self) -> None:
        """Shrink rows of weights whose sums might leave the range in which float32 is exact."""
        sizes = self.weight.abs().sum(dim=(1, 2, 3), keepdim=True)
        self.weight.mul_((_MOST_OF_LAYER / sizes).clamp(max=1.0))


class Head(torch.nn.Module):
    """One or two hidden layers at every unit, and a linear path around them from the features."""

    def __init__(self, rounded: Rounded, name: str, stream: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        shape = HEADS[name]
        self.first = Dense(rounded, stream, hidden[0], 1.2)
        self.near = Dense(rounded, shape.features, hidden[0], 0.7, bias=False)
        self.second = Dense(rounded, hidden[0], hidden[1], 1.4) if len(hidden) > 1 else None
        self.last = Dense(rounded, hidden[-1], shape.means + shape.rest, 0.0, bits=RESULT_WEIGHT_BITS)
        self.linear = Dense(rounded, shape.relative, shape.means, 0.0, bias=False, bits=RESULT_WEIGHT_BITS)
        if self.last.bias is not None and shape.rest == shape.means:  # octaves of deviations relative to the contrast
            torch.nn.init.constant_(self.last.bias[shape.means :], -1.0)
        self._means, self._rounded = shape.means, rounded

    def forward(self, stream: Tensor, relative: Tensor, absolute: Tensor) -> tuple[Tensor, Tensor]:
        """Means and the rest, ``(pictures, results, rows, columns)``.

        Args:
            stream: of the level.
            relative: features that are relative to the contrast.
            absolute: others.
        """
        features = torch.cat([relative, absolute], dim=1)
        hidden = self._rounded.activated(self.first(stream) + self.near(features))
        if self.second is not None:
            hidden = self._rounded.activated(self.second(hidden))
        results = self.last(hidden)
        return results[:, : self._means] + self.linear(relative), results[:, self._means :]


class TrunkLevel(torch.nn.Module):
    """The networks of a kind of level."""

    def __init__(self, rounded: Rounded, shape: TrunkShape) -> None:
        super().__init__()
        width = shape.stream

        def layers(count: int) -> torch.nn.ModuleList:
            return torch.nn.ModuleList(Dense(rounded, width, width, 0.3, side=3) for _ in range(count))

        def head(name: str) -> Head:
            return Head(rounded, name, width, (shape.class_head,) if name.endswith("classes") else shape.head)

        self.embed = Dense(rounded, PATCH + SCALARS, width, 0.7)
        self.handed = Dense(rounded, width, 4 * width, 0.3, bias=False)
        self.before = layers(shape.before)
        self.luma_classes = head("luma_classes")
        self.embed_luma = Dense(rounded, CLASSES, width, 0.5)
        self.luma_layers = layers(shape.luma)
        self.luma = torch.nn.ModuleList(head(f"luma.{phase}") for phase in range(4))
        self.embed_details = Dense(rounded, 4 * BANDS * len(SQUARE), width, 0.5)
        self.chroma_classes = head("chroma_classes")
        self.embed_chroma = Dense(rounded, CLASSES, width, 0.5)
        self.chroma_layers = layers(shape.chroma)
        self.chroma = torch.nn.ModuleList(head(f"chroma.{half}") for half in range(2))


class TrunkModel(torch.nn.Module):
    """The networks of all kinds of levels.

    Attributes:
        shape: of the networks of each.
        rounded: how they compute.
    """

    def __init__(self, shape: TrunkShape, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.shape, self.rounded = shape, Rounded()
        self.kinds = torch.nn.ModuleList(TrunkLevel(self.rounded, shape) for _ in range(COARSE + 1))

    def bound(self) -> None:
        """Keep all hidden layers within the range in which float32 is exact."""
        for module in self.modules():
            if isinstance(module, Dense):
                module.bound()

    def stored(self) -> dict[str, Array]:
        """The tensors in whole numbers by ``kind.name``."""
        parameters = {name.removeprefix("kinds."): value for name, value in self.named_parameters()}
        return stored({name: np.asarray(value.detach().cpu()) for name, value in parameters.items()})


def multiply_adds(shape: TrunkShape) -> float:
    """Multiply-adds per pixel of decoding a large picture."""
    of_unit = 0.0
    for name, module in TrunkLevel(Rounded(), shape).named_modules():
        if isinstance(module, Dense) and not name.endswith("classes.linear"):  # which only an encoder has use for
            of_unit += module.weight.numel() / (4 if name == "handed" else 1)
    return (
        of_unit / 12
    )  # a unit is four positions, of four pixels each in the finest level, and all others a third of it
