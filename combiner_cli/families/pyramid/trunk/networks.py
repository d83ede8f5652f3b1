"""The networks of a kind of level, in whole numbers: the trunk, and the small networks that read its stream.

The stream has some dozens of activations at every unit. It begins with what is decoded before the level and the coarser
level's stream, and goes on with the classes and the details of the level as they are decoded; between these, 3x3
convolutions spread what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ....system import arrays, threads
from ....system.threads import Scratch
from ..haar import BANDS
from ..levels import CHROMA_STAGES, CLASSES, HALVES, PHASES, Level
from . import inputs
from .inputs import CROSS, PATCH, SCALARS, SQUARE
from .layers import (
    BIAS_BITS,
    LARGEST_STREAM,
    RESULT_BITS,
    RESULT_WEIGHT_BITS,
    WEIGHT_BITS,
    HiddenLayer,
    ResultLayer,
    activated,
    neighbourhoods,
)

Array = npt.NDArray[Any]

CHROMA_NEAR = 4 * BANDS * len(CROSS)  # features of luma details for the chroma
HALF_NEAR = 2 * 2 * BANDS * len(CROSS)  # and of the details of the first half
_FEWEST_UNITS, _MOST_UNITS = 1 << 9, 1 << 11  # at once
_MOST_OUTPUTS, _MOST_LAYERS = 1024, 64  # of a prior that is not made to waste time


@dataclass(frozen=True)
class HeadShape:
    """What a small network sees and says.

    Attributes:
        near: features besides the patch that are relative to the contrast.
        further: features besides the scalars that are not.
        means: results to which a linear function of the relative features is added.
        rest: further results.
    """

    near: int
    further: int
    means: int
    rest: int

    @property
    def relative(self) -> int:
        """Number of features that are relative to the contrast."""
        return PATCH + self.near

    @property
    def features(self) -> int:
        """Number of all features."""
        return self.relative + SCALARS + self.further


HEADS = {
    "luma_classes": HeadShape(0, 0, 4 * BANDS, CLASSES),
    **{
        f"luma.{phase}": HeadShape(phase * BANDS * len(SQUARE), CLASSES + BANDS * (phase > 0), BANDS, BANDS)
        for phase in range(4)
    },
    "chroma_classes": HeadShape(CHROMA_NEAR, CLASSES + BANDS, 8 * BANDS, CLASSES),
    **{
        f"chroma.{half}": HeadShape(
            CHROMA_NEAR + half * HALF_NEAR, 2 * CLASSES + BANDS + 2 * half, 4 * BANDS, 4 * BANDS
        )
        for half in range(2)
    },
}


@dataclass(frozen=True, eq=False)
class Head:
    """A small network: one or two hidden layers, and a linear path around them."""

    first: HiddenLayer
    second: HiddenLayer | None
    last: ResultLayer

    def __call__(self, stream: Array, features: Array, scratch: Scratch, wanted: slice = slice(None)) -> Array:
        """Results in units of 2^-19, ``(results, units)`` in float64.

        Args:
            stream: at the units, ``(channels, units)`` float32.
            features: the patch, what is near, scalars and further ones, ``(features, units)`` float32.
            scratch: for activations.
            wanted: which results are.
        """
        hidden = self.first(stream, features, scratch)
        if self.second is not None:
            again = scratch.take("second", hidden.shape, np.float32)
            np.copyto(again, hidden)
            hidden = self.second(again, None, scratch)
        return self.last(hidden, features[: self.last.linear.shape[1]], wanted)


@dataclass(frozen=True, eq=False)
class LevelNetworks:
    """The networks of a kind of level.

    Attributes:
        tensors: by name, as they are stored.
    """

    tensors: Mapping[str, Array]

    @cached_property
    def width(self) -> int:
        """Channels of the stream."""
        return len(self.tensors["embed.bias"])

    @cached_property
    def heads(self) -> dict[str, Head]:
        """The small networks by name."""
        return {name: self._head(name) for name in HEADS}

    @cached_property
    def layers(self) -> dict[str, HiddenLayer]:
        """The layers of the trunk by name."""
        tensors = self.tensors
        layers = {"embed": HiddenLayer(None, tensors["embed.weight"], tensors["embed.bias"])}
        zeros = np.zeros(4 * self.width, dtype=np.int32)
        layers["handed"] = HiddenLayer(tensors["handed.weight"], None, zeros)
        for name in ("embed_luma", "embed_details", "embed_chroma"):
            layers[name] = HiddenLayer(None, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        for part in ("before", "luma_layers", "chroma_layers"):
            for number in range(self._depth(part)):
                name = f"{part}.{number}"
                layers[name] = HiddenLayer(tensors[f"{name}.weight"], None, tensors[f"{name}.bias"])
        return layers

    def problem(self) -> str | None:
        """Why the networks cannot work, or ``None``."""
        for name, tensor in self.tensors.items():
            if tensor.dtype != (np.int32 if name.endswith(".bias") else np.int16):
                return f"{name} has a wrong type"
        if {name: tensor.shape for name, tensor in self.tensors.items()} != self._wanted_shapes():
            return "a tensor is missing, of no use or of a wrong shape"
        layers, tensors = self.layers, self.tensors
        # both together make the stream's first activations, the coarser level's those of four units
        both = tensors["embed.weight"].repeat(4, axis=0), tensors["embed.bias"].repeat(4)
        begun = HiddenLayer(tensors["handed.weight"], *both)
        for name, layer in {**layers, "the beginning": begun}.items():
            if not layer.exact(LARGEST_STREAM):
                return f"the sums of {name} may be too large"
        for name, head in self.heads.items():
            parts = (head.first, head.second, head.last)
            if not all(part.exact() for part in parts if part is not None):
                return f"the sums of {name} may be too large"
        return None

    def _wanted_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors by name, given the sizes of hidden layers as the tensors have them."""

        def rows(name: str) -> int:
            tensor = self.tensors.get(name)
            return len(tensor) if tensor is not None and tensor.size > 0 and len(tensor) <= _MOST_OUTPUTS else 0

        width = rows("embed.bias")
        inputs_of = {
            "embed": PATCH + SCALARS,
            "embed_luma": CLASSES,
            "embed_details": 4 * BANDS * len(SQUARE),
            "embed_chroma": CLASSES,
        }
        shapes: dict[str, tuple[int, ...]] = {"handed.weight": (4 * width, width)}
        for name, count in inputs_of.items():
            shapes |= {f"{name}.weight": (width, count), f"{name}.bias": (width,)}
        for part in ("before", "luma_layers", "chroma_layers"):
            for number in range(min(self._depth(part), _MOST_LAYERS)):
                shapes |= {f"{part}.{number}.weight": (width, width, 3, 3), f"{part}.{number}.bias": (width,)}
        for name, head in HEADS.items():
            first = last = rows(f"{name}.first.bias")
            shapes |= {f"{name}.first.weight": (first, width), f"{name}.first.bias": (first,)}
            shapes[f"{name}.near.weight"] = (first, head.features)
            if f"{name}.second.bias" in self.tensors:
                last = rows(f"{name}.second.bias")
                shapes |= {f"{name}.second.weight": (last, first), f"{name}.second.bias": (last,)}
            results = head.means + head.rest
            shapes |= {f"{name}.last.weight": (results, last), f"{name}.last.bias": (results,)}
            shapes[f"{name}.linear.weight"] = (head.means, head.relative)
        return shapes

    def _depth(self, part: str) -> int:
        return sum(name.startswith(f"{part}.") and name.endswith(".bias") for name in self.tensors)

    def _head(self, name: str) -> Head:
        tensors = {
            key.removeprefix(f"{name}."): value for key, value in self.tensors.items() if key.startswith(f"{name}.")
        }
        second = (
            HiddenLayer(tensors["second.weight"], None, tensors["second.bias"]) if "second.bias" in tensors else None
        )
        return Head(
            HiddenLayer(tensors["first.weight"], tensors["near.weight"], tensors["first.bias"]),
            second,
            ResultLayer(tensors["last.weight"], tensors["linear.weight"], tensors["last.bias"]),
        )

    # what follows takes the stream of a level from one step to the next

    def begun(self, level: Level, handed: Array | None, scratch: Scratch) -> Array:
        """The stream before the luma's classes.

        Args:
            level: of which nothing is decoded.
            handed: the stream of the coarser level at its end, if there is one.
            scratch: for activations.

        Returns:
            ``(channels, unit rows + 2, unit columns + 2)`` int16, with a margin of zeros.
        """

        def strip(rows: slice) -> Array:
            around = inputs.surroundings(level, rows, scratch)
            features = np.concatenate([around.patch, around.scalars])
            before = 0.0 if handed is None else self._handed(handed, level, rows, scratch)
            sums = self.layers["embed"].sums(None, features, scratch)
            sums += before
            return activated(sums)

        return self._spread(self._by_strips(level, strip), "before", level, scratch)

    def with_classes(self, level: Level, chroma: bool, stream: Array, scratch: Scratch) -> Array:
        """The stream after the classes of the luma or the chroma; see :meth:`begun`."""
        layer = self.layers["embed_chroma" if chroma else "embed_luma"]

        def strip(rows: slice) -> Array:
            sums = layer.sums(None, inputs.one_hot(level, int(chroma), rows), scratch)
            sums += inside(stream, rows)
            return activated(sums)

        joined = self._by_strips(level, strip)
        return self._spread(joined, "chroma_layers" if chroma else "luma_layers", level, scratch)

    def with_luma(self, level: Level, stream: Array, scratch: Scratch) -> Array:
        """The stream after the details of the luma; see :meth:`begun`."""

        def strip(rows: slice) -> Array:
            contrast = inputs.surroundings(level, rows, scratch).contrast
            count = (rows.stop - rows.start) * level.units[1]
            near = scratch.take("near", (4 * BANDS * len(SQUARE), count), np.float32)
            inputs.near(level, PHASES, False, SQUARE, rows, contrast[0], near)
            sums = self.layers["embed_details"].sums(None, near, scratch)
            sums += inside(stream, rows)
            return activated(sums)

        return self._by_strips(level, strip)

    def results(
        self, name: str, level: Level, stream: Array, rows: slice, scratch: Scratch, wanted: slice
    ) -> tuple[Array, Array]:
        """What a small network says about the units of some rows.

        Args:
            name: of the network.
            level: as far as it is decoded.
            stream: of the level.
            rows: of units.
            scratch: for features and activations.
            wanted: which results are.

        Returns:
            Results in units of 2^-19, ``(results, units)``, and the contrast of luma and chroma, ``(2, units)``.
        """
        around = inputs.surroundings(level, rows, scratch)
        shape = HEADS[name]
        features = scratch.take("features", (shape.features, around.patch.shape[1]), np.float32)
        features[:PATCH] = around.patch
        features[shape.relative : shape.relative + SCALARS] = around.scalars
        further: list[Array] = []
        if name.startswith("luma."):
            phases = PHASES[: int(name[-1])]
            further = [inputs.one_hot(level, 0, rows)]
            if phases:
                inputs.near(level, phases, False, SQUARE, rows, around.contrast[0], features[PATCH : shape.relative])
                further.append(inputs.near_energies(level, phases, False, SQUARE, rows))
        elif name.startswith("chroma"):
            last = PATCH + CHROMA_NEAR
            inputs.near(level, PHASES, False, CROSS, rows, around.contrast[0], features[PATCH:last])
            further = [inputs.one_hot(level, 0, rows), inputs.near_energies(level, PHASES, False, CROSS, rows)]
            if name.startswith("chroma."):
                further.append(inputs.one_hot(level, 1, rows))
            if shape.near > CHROMA_NEAR:
                inputs.near(level, HALVES[0], True, CROSS, rows, around.contrast[1], features[last : shape.relative])
                further.append(inputs.near_energies(level, HALVES[0], True, CROSS, rows))
        if further:
            np.concatenate(further, out=features[shape.relative + SCALARS :])
        return self.heads[name](inside(stream, rows), features, scratch, wanted), around.contrast

    def _handed(self, handed: Array, level: Level, rows: slice, scratch: Scratch) -> Array:
        """What the coarser level's stream comes to at the units of some rows, of which the first is even."""
        coarser = slice(rows.start // 2, -(-rows.stop // 2))
        sums = self.layers["handed"].sums(inside(handed, coarser), None, scratch)
        height, width = coarser.stop - coarser.start, handed.shape[2] - 2
        spread = sums.reshape(self.width, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
        finer = spread.reshape(self.width, 2 * height, 2 * width)
        return finer[:, : rows.stop - rows.start, : level.units[1]].reshape(self.width, -1)

    def _spread(self, stream: Array, part: str, level: Level, scratch: Scratch) -> Array:
        """The stream after the convolutions of a part of the trunk."""
        for number in range(self._depth(part)):
            stream = self._convolved(self.layers[f"{part}.{number}"], stream, level, scratch)
        return stream

    def _convolved(self, layer: HiddenLayer, stream: Array, level: Level, scratch: Scratch) -> Array:
        def strip(rows: slice) -> Array:
            sums = layer.sums(neighbourhoods(stream, rows, scratch), None, scratch)
            sums += inside(stream, rows)
            return activated(sums)

        return self._by_strips(level, strip)

    def _by_strips(self, level: Level, strip: Callable[[slice], Array]) -> Array:
        """A stream that is made in strips of rows of units, each ``(channels, units)``."""
        units = level.units
        stream = arrays.mapped_zeros((self.width, units[0] + 2, units[1] + 2), np.int16)

        def put(rows: slice) -> None:
            made = strip(rows)
            stream[:, rows.start + 1 : rows.stop + 1, 1:-1] = made.reshape(len(made), -1, units[1])

        threads.mapped(put, strips(level))
        return stream


def inside(stream: Array, rows: slice) -> Array:
    """The stream at the units of some rows, ``(channels, units)`` float32."""
    values = stream[:, rows.start + 1 : rows.stop + 1, 1:-1].astype(np.float32)
    return values.reshape(len(values), -1)


def strips(level: Level) -> list[slice]:
    """Even numbers of rows of units that are worked on together, but for the last; as many for each of two threads."""
    rows, columns = level.units
    pairs = -(-rows * columns // (2 * _MOST_UNITS))
    step = max(-(-rows // (2 * pairs)), _FEWEST_UNITS // columns)
    step = max(2, step + step % 2)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def stage_head(number: int) -> str:
    """Name of the small network of a stage of a level."""
    return f"chroma.{number - CHROMA_STAGES[0]}" if number in CHROMA_STAGES else f"luma.{number}"


def stored(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Tensors in floating point, of one kind of level or of several, as they are stored."""
    whole = {}
    for name, tensor in tensors.items():
        result = ".last." in name or ".linear." in name
        if name.endswith(".bias"):
            bits, kind = RESULT_BITS if result else BIAS_BITS, "int32"
        else:
            bits, kind = RESULT_WEIGHT_BITS if result else WEIGHT_BITS, "int16"
        most = np.iinfo(kind).max
        scaled = np.clip(np.rint(tensor.astype(np.float64) * 2.0**bits), -most, most).astype(kind)
        convolution = scaled.ndim == 4 and scaled.shape[-1] == 3
        whole[name] = scaled if scaled.ndim == 1 or convolution else scaled.reshape(len(scaled), -1)
    return whole
