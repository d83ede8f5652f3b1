"""Parts of a large signal by which priors are compared: few samples that stand for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..signals.signal import Signal, to_values

SMALL_SIDE = 128  # pixels of an image that is looked at whole
_SIDE, _INSTANTS = 64, 1 << 15  # pixels and sample instants of a region
_FEWEST, _MOST, _SHARE = 3, 12, 0.03  # regions, and the share of the signal that they are
_FLAT = 0.25  # weight of a region in which nothing happens, in octaves of variance over that of a step


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a signal.

    Attributes:
        signal: the part.
        count: of how many such parts it stands for.
    """

    signal: Signal
    count: float


def is_small(signal_shape: Sequence[int]) -> bool:
    """Whether a signal is looked at whole.

    Args:
        signal_shape: pixels or sample instants along each axis.
    """
    most = SMALL_SIDE if len(signal_shape) == 2 else 4 * _INSTANTS
    return max(signal_shape) <= most


def regions(signal: Signal) -> list[Region]:
    """A signal itself where it is small, else some parts of it, more of them where more happens.

    Args:
        signal: an image or a sound.
    """
    if is_small(signal.shape):
        return [Region(signal, 1.0)]
    extent = _SIDE if signal.kind == "image" else _INSTANTS
    firsts = [_firsts(length, extent) for length in signal.shape]
    corners = np.stack(np.meshgrid(*firsts, indexing="ij"), axis=-1).reshape(-1, len(firsts))
    weights = np.array([_activity(_part(signal, corner, extent)) for corner in corners])
    count = min(max(math.ceil(_SHARE * len(corners)), _FEWEST), _MOST)
    # equal steps along the sum of the weights: each part is taken as often as its weight says, which makes up for that
    steps = (np.arange(count) + 0.5) / count * weights.sum()
    chosen, often = np.unique(np.searchsorted(np.cumsum(weights), steps), return_counts=True)
    shares = weights[chosen] / weights.sum() * count
    return [
        Region(_part(signal, corners[place], extent), float(times / share))
        for place, times, share in zip(chosen, often, shares, strict=True)
    ]


def _firsts(length: int, extent: int) -> npt.NDArray[np.int64]:
    """First samples of the parts along an axis, which cover it about once."""
    count = max(1, length // extent)
    return np.rint(np.linspace(0, max(length - extent, 0), count)).astype(np.int64)


def _part(signal: Signal, corner: npt.NDArray[np.int64], extent: int) -> Signal:
    inside = tuple(slice(int(first), int(first) + extent) for first in corner)
    return Signal(signal.kind, signal.samples[inside], signal.sample_rate, signal.bit_depth)


def _activity(part: Signal) -> float:
    """Octaves of variance over that of a step, about: how much there is to code."""
    samples = part.samples[::4] if part.kind == "image" else part.samples[::64]
    step = 2 / 255 if part.kind == "image" else 2.0**-10
    values = to_values(Signal(part.kind, samples, part.sample_rate, part.bit_depth))
    variance = float(values.var(axis=tuple(range(values.ndim - 1))).sum())
    return _FLAT + math.log2(1 + variance / step**2)
