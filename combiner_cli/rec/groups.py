"""The partition of a stage's latents into groups: integers only, the same in the encoder and the decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DamagedFileError
from ..system import arrays
from . import sampler

INFORMATION_UNIT = 256  # stored information counts 1/256 bit

_LARGEST_PRODUCT = 2**62
_LATENTS_AT_ONCE = 1 << 17  # that are looked at together
_ORDERED_AT_ONCE = 1 << 18  # latents, about, as long as they are not a small part of all
_MOST_LEADING_BITS = 4
_IN_PIECE = 1 << 16  # latents
_LATENT = 0xFFFFFFFF
_WORD_BITS = 31  # of what the permutation orders by

Information = Callable[[Any], npt.NDArray[np.integer]]  # of the latents that an index of numpy names


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
    return joined(lambda some: information[some], len(information), groups, key)


def joined(information: Information, latents: int, groups: int, key: int) -> Partition:
    """The partition that :func:`partition` makes, of latents whose information is given as for :func:`pieces`."""
    coded = sum(int(np.count_nonzero(information(some))) for some in _chunks(latents))
    order, group, column = (arrays.mapped_zeros((coded,), np.int32) for _ in range(3))
    filled = 0
    for piece in pieces(information, latents, groups, key):
        some = slice(filled, filled + len(piece.order))
        order[some], group[some], column[some] = piece.order, piece.group, piece.column
        filled = some.stop
    return Partition(order, group, column, groups)


def pieces(information: Information, latents: int, groups: int, key: int) -> Iterator[Partition]:
    """The partition that :func:`partition` makes, piece after piece in coding order, which takes much less memory.

    Args:
        information: gives the expected information of some of the latents in 1/256 bit.
        latents: number of them.
        groups: of all pieces together, at least 1.
        key: the prior's key.

    Raises:
        DamagedFileError: there cannot be that many groups.
    """
    total = sum(int(information(some).sum()) for some in _chunks(latents))
    if groups < 1 or groups > max(1, total) or total * groups > _LARGEST_PRODUCT:
        raise DamagedFileError(f"{groups} groups do not fit {latents} latents; the file is damaged")
    position, before = 0, 0
    last_group, last_first = -1, 0
    for order in _shuffled(information, latents, key):
        information_of_piece = information(order).astype(np.int64)
        behind = before + np.cumsum(information_of_piece)
        group = (behind - information_of_piece) * groups // max(1, total)
        # the first position of each latent's group: where a group begins, or that of the latent before
        begins = np.diff(group, prepend=last_group) != 0
        positions = np.arange(position, position + len(order))
        first = np.maximum.accumulate(np.where(begins, positions, last_first))
        yield Partition(order, group.astype(np.int32), (positions - first).astype(np.int32), groups)
        position, before = position + len(order), int(behind[-1])
        last_group, last_first = int(group[-1]), int(first[-1])


def _shuffled(information: Information, latents: int, key: int) -> Iterator[npt.NDArray[np.int32]]:
    """The latents that have information in pseudo-random order, piece after piece, no piece empty.

    They are ordered by a word that depends on their number among these latents. Many are first dealt by the leading
    bits of it, of which one byte for each is kept.
    """
    coded = sum(int(np.count_nonzero(information(some))) for some in _chunks(latents))
    bits = min((coded // _ORDERED_AT_ONCE).bit_length(), _MOST_LEADING_BITS)
    leading, counts = arrays.mapped_zeros((coded,), np.uint8), np.zeros(1 << bits, dtype=np.int64)
    for some in _chunks(coded if bits else 0):
        words = sampler.permutation_words(np.arange(some.start, some.stop), coded, key)
        leading[some] = words >> (_WORD_BITS - bits)
        counts += np.bincount(leading[some], minlength=1 << bits)
    for value, count in enumerate(counts.tolist() if bits else [coded]):
        keys = arrays.mapped_zeros((count,), np.int64)
        number, filled = 0, 0
        for some in _chunks(latents):
            which = np.flatnonzero(information(some))
            ours = np.flatnonzero(leading[number : number + len(which)] == value)
            words = sampler.permutation_words(number + ours, coded, key)
            # packed with the latent, so that the order does not depend on the sorting algorithm
            keys[filled : filled + len(ours)] = words << 32 | (which[ours] + some.start)
            number, filled = number + len(which), filled + len(ours)
        keys.sort()
        for first in range(0, count, _IN_PIECE):
            yield (keys[first : first + _IN_PIECE] & _LATENT).astype(np.int32)


def _chunks(count: int) -> Iterator[slice]:
    return arrays.blocks(count, _LATENTS_AT_ONCE)
