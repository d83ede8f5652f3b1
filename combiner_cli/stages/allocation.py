"""How many groups each stage of a signal has.

What information a stage has is known only when the stages before it are decoded. So the file says how much information
a group holds: a density for the coarse levels, one for the second finest, and one for each stage of the finest. The
last stage takes the groups that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rec import candidates, groups
from ..rec.candidates import Chaining
from ..rec.groups import EMPTY, Partition
from .moments import COARSE, Moments, StageId

Array = npt.NDArray[Any]

GROUP_BITS = 8
GROUP_INFORMATION = GROUP_BITS * groups.INFORMATION_UNIT
DENSITIES = 8  # coarse levels, the second finest level, six stages of the finest level
LARGEST_DENSITY = 127
NO_CHANGE = 4  # of the density: a digit
REPEAT = 8  # groups more than a share, after which the same part comes again
# of 0 to 8 groups more than a share, in 65536ths
EXTRA_FREQUENCIES = np.array([49152, 5632, 3584, 2304, 1664, 1280, 896, 640, 384], dtype=np.float64)[:, None]
_DENSITY_UNIT = 96  # of a density: groups per 8 bits of information
_FEW_GROUPS, _FEW_FINE_GROUPS = 256, 16


def density_of(ratio: float) -> int:
    """The density nearest to a number of groups per 8 bits of information."""
    return min(max(round(ratio * _DENSITY_UNIT), 0), LARGEST_DENSITY)


def density_number(stage: StageId) -> int:
    """Which of the densities is a stage's."""
    return 2 + stage.number if stage.level == 0 else 1 if stage.level == 1 else 0


@dataclass(eq=False)
class GroupAllocator:
    """Deals the groups of a file to its stages, one after another, by integer arithmetic.

    Attributes:
        densities: eight of them.
        left: groups that no stage has taken yet; ``None`` where there is no bound to them.
        final_stage: the file's last stage, once its last plane or segment is begun; ``None`` before that.
        pending: information in 1/256 bit, times the density, that has not filled a group yet.
    """

    densities: list[int]
    left: int | None
    final_stage: StageId | None = None
    pending: int = 0

    def take(self, stage: StageId, information: int, last: bool = True) -> int:
        """Take the groups of a part of the next stage.

        Args:
            stage: which one it is.
            information: of all latents of the part, in 1/256 bit.
            last: whether no further part of the stage's weights comes later.

        Returns:
            How many there are.
        """
        if self.left is not None and self.ends(stage, last):
            count = min(self.left, information)
        else:
            # what comes before the last plane or segment is coded before the size of the file is known: it has one
            # density
            density = self.densities[density_number(stage) if self.final_stage else 0]
            count, self.pending = divmod(self.pending + information * density, GROUP_INFORMATION * _DENSITY_UNIT)
            if not last:
                count = max(count, 1)  # or else the parts to come had to mend what they cannot
            count = min(count, information) if self.left is None else min(count, information, self.left)
        if self.left is not None:
            self.left -= count
        return count

    def ends(self, stage: StageId, last: bool) -> bool:
        """Whether a part of a stage, the stage's last one or not, is the file's last one, which takes what is left."""
        return last and stage == self.final_stage

    def most_extra(self, information: int, count: int) -> int:
        """How many groups a part of a stage can have beyond its share.

        Args:
            information: of all latents of the part, in 1/256 bit.
            count: groups of its share, which are taken.
        """
        most = min(len(EXTRA_FREQUENCIES) - 1, information - count)
        return most if self.left is None else min(most, self.left)

    def take_extra(self, count: int) -> None:
        """Take groups beyond a share."""
        if self.left is not None:
            self.left -= count

    def adjust_rate(self, digit: int) -> None:
        """Change the density of what comes before the last plane or segment, by a digit less ``NO_CHANGE``."""
        self.densities[0] = min(max(self.densities[0] + digit - NO_CHANGE, 0), LARGEST_DENSITY)


def may_have_extra_groups(stage: StageId, count: int, information: int) -> bool:
    """Whether the file says of a part of a stage how many groups it has beyond its share.

    A few latents may have no good candidates in their share of the groups; with more they are dealt anew. Those that no
    candidates reach are coded once again.

    Args:
        stage: which one it is.
        count: groups of the share.
        information: of all latents of the part, in 1/256 bit.
    """
    # weights of coarse levels stand for many samples each
    return count < information and count <= (_FEW_GROUPS if stage.level >= COARSE else _FEW_FINE_GROUPS)


def partition(moments: Moments, count: int, key: int, extra: int = 0) -> Partition:
    """The partition of the latents of a part of a stage into groups.

    Args:
        moments: of the part.
        count: of groups, extra ones included.
        key: of the prior.
        extra: how many of the groups are beyond the part's share.
    """
    if not count:
        return EMPTY
    return groups.joined(moments.information_of, len(moments.mean), count, partition_key(key, extra))


def partition_key(key: int, extra: int) -> int:
    """The key of a partition: with each number of groups beyond a share the latents are dealt anew."""
    return (key + extra) % 2**64


def reach_of(chaining: Chaining) -> int:
    """How many groups before one decide which candidates it has."""
    return max(chaining.chains, 2)


def look_up(indices: npt.NDArray[np.int64], part: Partition, chaining: Chaining, key: int) -> Array:
    """Whitened values of the latents of a part of a stage, in the order of ``part.order``.

    Args:
        indices: of all groups up to the part's last one, or of the last ones of these, as many as count.
        part: which latents the groups hold.
        chaining: of the file.
        key: of the prior.
    """
    return candidates.candidates(rows_of(indices, part.groups, chaining), part, key)


def rows_of(indices: npt.NDArray[np.integer], count: int, chaining: Chaining) -> npt.NDArray[np.int64]:
    """Rows of the table that the last groups of some name.

    Args:
        indices: of the groups, ``(groups,)``.
        count: how many of the last ones are wanted.
        chaining: of the file.

    Returns:
        ``(count,)``.
    """
    begin = max(0, len(indices) - count - reach_of(chaining))
    return candidates.table_rows(indices[begin:].astype(np.int64), chaining)[len(indices) - count - begin :]
