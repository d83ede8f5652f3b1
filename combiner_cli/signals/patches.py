"""Patches of a large image in one small one, which stands for it where an estimate will do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .signal import Signal

_FADE = 8  # pixels in which a patch gives way to the one beside it
_SIDE = 96  # pixels of a patch of a sample, without those that fade
_SHARE, _FEWEST, _MOST = 0.2, 6, 32  # of an image that its patches are; and of them


def joined(parts: Sequence[npt.NDArray[Any]], axis: int) -> npt.NDArray[Any]:
    """Parts of an image in one, since a simulation of one image takes less time than those of some small ones.

    They fade into each other: edges where they meet would be dear to a prior of photographs.

    Args:
        parts: whole numbers, ``(height, width, channels)``, of the same size but along the axis.
        axis: along which they are put, 0 or 1.
    """
    share = ((np.arange(_FADE) + 0.5) / _FADE).reshape(-1, 1, 1)
    first, *others = (np.moveaxis(part, axis, 0) for part in parts)
    pieces = [first]
    for beside in others:
        before, after = pieces[-1][-_FADE:], beside[:_FADE]
        pieces[-1] = pieces[-1][:-_FADE]
        pieces += [np.rint((1 - share) * before + share * after).astype(first.dtype), beside[_FADE:]]
    return np.moveaxis(np.concatenate(pieces), 0, axis)


def sample(signal: Signal) -> Signal | None:
    """About a fifth of an image, or less of a large one: patches of every share of detail that it has, in one image.

    Args:
        signal: an image.

    Returns:
        ``None`` where the image is too small for that to make sense.
    """
    extent = _SIDE + _FADE
    patches = min(math.ceil(_SHARE * math.prod(length // _SIDE for length in signal.shape)), _MOST)
    if patches < _FEWEST or min(signal.shape) < extent:
        return None
    columns = round(math.sqrt(patches))
    rows = round(patches / columns)
    firsts = [np.linspace(0, length - extent, length // _SIDE).astype(np.int64) for length in signal.shape]
    all_patches = [signal.samples[top : top + extent, left : left + extent] for top in firsts[0] for left in firsts[1]]
    by_detail = np.argsort([_detail(patch) for patch in all_patches], kind="stable")
    # the middle one of each so many that are alike
    places = ((np.arange(rows * columns) + 0.5) / (rows * columns) * len(all_patches)).astype(np.int64)
    chosen = [all_patches[place] for place in by_detail[places]]
    bands = [joined(chosen[first : first + columns], 1) for first in range(0, len(chosen), columns)]
    return replace(signal, samples=joined(bands, 0))


def _detail(patch: npt.NDArray[Any]) -> float:
    """How much goes on in a patch: the average difference of samples two apart along both axes."""
    some = patch[::2, ::2].astype(np.float32)
    return float(sum(np.abs(np.diff(some, axis=axis)).mean() for axis in (0, 1)))
