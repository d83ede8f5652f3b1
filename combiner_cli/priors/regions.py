"""Parts of a large signal by which priors are compared: few samples that stand for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..signals import patches
from ..signals.signal import Signal, to_values

SMALL_SIDE = 128  # pixels of an image that is looked at whole
_SIDE, _INSTANTS = 80, 1 << 15  # pixels and sample instants of a region
_FEWEST, _MOST, _SHARE = 3, 12, 0.03  # regions, and the share of the signal that they are


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
    """A signal itself where it is small, else some parts of it, busy ones and others; those of an image side by side.

    Args:
        signal: an image or a sound.
    """
    if is_small(signal.shape):
        return [Region(signal, 1.0)]
    extent = _SIDE if signal.kind == "image" else _INSTANTS
    firsts = [_firsts(length, extent) for length in signal.shape]
    corners = np.stack(np.meshgrid(*firsts, indexing="ij"), axis=-1).reshape(-1, len(firsts))
    by_activity = np.argsort([_activity(_part(signal, corner, extent)) for corner in corners], kind="stable")
    count = min(max(math.ceil(_SHARE * len(corners)), _FEWEST), _MOST, len(corners))
    # one of each so many that are alike in how much happens there
    places = ((np.arange(count) + 0.5) / count * len(corners)).astype(np.int64)
    parts = [_part(signal, corners[place], extent) for place in by_activity[places]]
    if signal.kind == "image":
        together = patches.joined([part.samples for part in parts], axis=1)
        return [Region(replace(parts[0], samples=together), len(corners) / count)]
    return [Region(part, len(corners) / count) for part in parts]


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
    return math.log2(1 + variance / step**2)
