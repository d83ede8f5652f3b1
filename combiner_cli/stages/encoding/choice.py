"""Candidates of a part of a stage, of which an encoder takes the cheapest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...rec.groups import Partition
from ..allocation import GROUP_BITS, REPEAT
from ..moments import Moments, in_deviations
from .simulation import REACH

Array = npt.NDArray[Any]

_GOOD_SHARE, _GOOD_DEVIATIONS = 0.55, 1.0  # of the expected squared error, where candidates are very good


@dataclass(frozen=True, eq=False)
class Choice:
    """Candidates of a part of a stage.

    Attributes:
        moments: of the part.
        true: the weights in units of the noise's deviation, ``(latents,)``.
        emphasis: how many times as much as usual errors weigh against bits.
        extra: groups beyond the part's share.
        part: which latents the groups hold.
        indices: of the groups.
        candidates: whitened values of the latents, in coding order.
    """

    moments: Moments
    true: Array
    emphasis: float
    extra: int
    part: Partition
    indices: npt.NDArray[np.int64]
    candidates: Array

    def weights(self) -> Array:
        """Of all latents of the stage, in whole steps; in the place of the means of the moments where that can be."""
        return self.moments.add(self.moments.mean, self.part.order, self.candidates)

    @cached_property
    def cost(self) -> float:
        """In bits; KL + squared error / (2 · s2) as the groups have it."""
        moments, coded = self.moments, np.flatnonzero(self.moments.deviation >= 0)
        weights = moments.values(self.part.order, self.candidates)
        error = np.abs(moments.over_noise(self.true[coded] - in_deviations(weights[coded]), coded))
        cost = float(GROUP_BITS * len(self.indices))
        if self.extra == REPEAT:  # the part comes again with as many groups, and mends what it can
            left = 1 + moments.deviations(coded) ** 2
            cost += GROUP_BITS * len(self.indices) + self.emphasis * least_cost(len(coded))
        else:
            left = moments.variance_left(coded)
        squared = float((error**2 / left).sum())
        if self.extra == REPEAT or not moments.last:  # what the parts to come cannot reach stays
            squared += float((np.maximum(error - REACH * np.sqrt(left), 0) ** 2).sum())
        return cost + self.emphasis * squared / (2 * math.log(2))


def least_cost(latents: int) -> float:
    """Bits of the squared error of some latents that candidates hardly fall short of."""
    return max(_GOOD_SHARE * latents, latents - _GOOD_DEVIATIONS * math.sqrt(2 * latents)) / (2 * math.log(2))
