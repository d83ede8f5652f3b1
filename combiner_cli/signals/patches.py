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
_GOLDEN = (math.sqrt(5) - 1) / 2


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
    """About a fifth of an image, or less of a large one: patches from all over it, in one image.

    Args:
        signal: an image.

    Returns:
        ``None`` where the image is too small for that to make sense.
    """
    height, width = signal.shape
    extent = _SIDE + _FADE
    patches = min(math.ceil(_SHARE * (height // _SIDE) * (width // _SIDE)), _MOST)
    if patches < _FEWEST or min(height, width) < extent:
        return None
    columns = min(max(round(math.sqrt(patches * width / height)), 1), patches)
    rows = max(round(patches / columns), 1)

    def patch(row: int, column: int) -> npt.NDArray[Any]:
        # no two patches of a row or of a column are quite beside each other
        top = (row + _GOLDEN * column % 1) / rows * (height - extent)
        left = (column + _GOLDEN * row % 1) / columns * (width - extent)
        return signal.samples[int(top) : int(top) + extent, int(left) : int(left) + extent]

    bands = [joined([patch(row, column) for column in range(columns)], 1) for row in range(rows)]
    return replace(signal, samples=joined(bands, 0))
