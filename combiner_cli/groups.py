"""The partition of a stage's latents into groups: integers only, the same in the encoder and the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import sampler
from .errors import DamagedFileError

INFORMATION_UNIT = 256  # stored information counts 1/256 bit

_LARGEST_PRODUCT = 2**62


@dataclass(frozen=True)
class Stage:
    """Latents that are coded together.

    Attributes:
        name: what they are.
        information: expected information of each latent in 1/256 bit, ``(latents,)`` int64; 0 means pruned.
    """

    name: str
    information: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """A partition of latents into groups of about equal expected information.

    Attributes:
        order: latents in coding order, ``(coded,)`` int32. Latents without expected information are absent: they are
            pruned, take the prior's mean and cost nothing.
        group: group of each latent of ``order``, ``(coded,)`` int32, never decreasing.
        column: position of each latent of ``order`` within its group, ``(coded,)`` int32.
        groups: number of groups.
    """

    order: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]
    groups: int

    @property
    def width(self) -> int:
        """Number of latents in the largest group."""
        return int(self.column.max()) + 1 if len(self.column) else 0


_NOTHING = np.zeros(0, dtype=np.int32)
EMPTY = Partition(_NOTHING, _NOTHING, _NOTHING, 0)


def expected_groups(information: npt.NDArray[np.int64], group_bits: int) -> int:
    """The number of groups that holds the expected information of all latents at ``group_bits`` bits a group."""
    return max(1, round(int(information.sum()) / (group_bits * INFORMATION_UNIT)))


def share_out(stages: Sequence[Stage], groups: int) -> tuple[int, ...]:
    """Deal groups to stages in proportion to their expected information, by integer arithmetic.

    Stage s gets the groups between floor(groups · B / T) of the information B before it and the same behind it, T being
    the information of all.
    """
    total = max(1, sum(int(stage.information.sum()) for stage in stages))
    before, counts = 0, []
    for stage in stages:
        behind = before + int(stage.information.sum())
        counts.append(groups * behind // total - groups * before // total)
        before = behind
    return tuple(counts)


def partitions(stages: Sequence[Stage], groups: int, key: int) -> tuple[Partition, ...]:
    """The partitions of all stages of a file into ``groups`` groups in all; a stage may get none."""
    return tuple(
        partition(stage.information, share, key) if share else EMPTY
        for stage, share in zip(stages, share_out(stages, groups), strict=True)
    )


def partition(information: npt.NDArray[np.integer], groups: int, key: int) -> Partition:
    """Permute the latents pseudo-randomly and cut them into ``groups`` parts of equal expected information.

    Group g holds the latents before which between g/groups and (g+1)/groups of all expected information lies. The
    permutation mixes latents of all tiles, so that easy and hard tiles share groups and the number of groups is all
    that a decoder has to be told.

    Args:
        information: expected information of each latent in 1/256 bit, ``(latents,)``, not negative.
        groups: at least 1.
        key: the prior's key.

    Raises:
        DamagedFileError: there cannot be that many groups.
    """
    # in place and in 32 bits where that is possible: a large photograph has tens of millions of latents
    coded = np.flatnonzero(information).astype(np.int32)
    order = coded[sampler.permutation(len(coded), key)]
    total = int(information.sum())
    if groups < 1 or groups > max(1, total) or total * groups > _LARGEST_PRODUCT:
        raise DamagedFileError(f"{groups} groups do not fit {len(coded)} latents; the file is damaged")
    own = information[order]
    before = np.cumsum(own, dtype=np.int64)
    before -= own
    before *= groups
    before //= max(1, total)
    group = before.astype(np.int32)
    firsts = np.searchsorted(group, np.arange(groups, dtype=np.int32)).astype(np.int32)
    column = np.arange(len(order), dtype=np.int32)
    column -= firsts[group]
    return Partition(order, group, column, groups)
