"""Looking up the candidates that coded indices name: all that a decoder needs of relative entropy coding.

Encoder and decoder see the same table of candidate rows. With 16-bit groups an index names a row. With chained 8-bit
groups the row is 256 · previous index + index, where the previous index is that of the group before in the same chain,
so that a search may follow many paths (:mod:`.search`). With a long memory four bits of the index before
the previous one have a say as well: more paths, and fewer bits wasted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import sampler
from .groups import Partition

WIDEST_GROUP = 512  # columns of the encoder's table; more would cost gigabytes
STATES = 256  # values of an index of 8 bits
MOST_CHAINS = 64
GROUPS_PER_CHAIN = 2**15
LONGEST_OF_LONG_MEMORY = 256  # groups; a search through them takes seconds; part of the format
_POSITIONS_AT_ONCE = 1 << 14  # whose words stay in a core's cache
_LONG = 12  # bits of the long memory
_OLDER = 16  # values of the four bits of the index before the previous one


@dataclass(frozen=True)
class Chaining:
    """How the index of a group and those before it name a row of the table.

    Attributes:
        bits: of an index: 16 (the index is the row) or 8 (chained).
        chains: of 8-bit groups; group g follows group g − chains. Meaningless for 16 bits.
        memory: bits of the indices before that a row depends on: 8, those of the previous index, or 12 with one chain,
            where the lower four of the index before that one come on top. Meaningless for 16 bits.
    """

    bits: int
    chains: int = 1
    memory: int = 8

    def __post_init__(self) -> None:
        assert self.memory == STATES.bit_length() - 1 or (self.memory, self.bits, self.chains) == (_LONG, 8, 1)

    @property
    def long(self) -> bool:
        """Whether the row depends on the index before the previous one."""
        return self.memory == _LONG


def chains_of(groups: int) -> int:
    """The number of chains of a file of that many 8-bit groups: one for every 32,768, 1 to 64; part of the format.

    A chain begins with 256 candidates for its first group, and again in every turn of refinement; that wastes half a
    group each time. Many groups per chain and turn are worth more than what chains save, a quarter of the time.
    """
    return max(1, min(MOST_CHAINS, groups // GROUPS_PER_CHAIN))


def chaining_of(groups: int, long: bool = False) -> Chaining:
    """How the groups of a file of version 2 are chained: part of the format.

    Args:
        groups: of the file.
        long: whether the memory is long where the file is small: so it is with a mixture prior.
    """
    if long and groups <= LONGEST_OF_LONG_MEMORY:
        return Chaining(8, 1, _LONG)
    return Chaining(8, chains_of(groups))


def lookup(
    indices: npt.NDArray[np.int64], partition: Partition, chaining: Chaining, key: int, part: slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Whitened values of coded latents, float32, in the order of ``partition.order``.

    Args:
        indices: of the groups from the first one on, ``(..., groups)``.
        partition: which latents the groups hold.
        chaining: how indices name rows.
        key: of the table.
        part: which positions of ``partition.order`` to look up; their groups must be among ``indices``.

    Returns:
        ``(..., positions)``.
    """
    return candidates(table_rows(indices, chaining), partition, key, part)


def candidates(
    rows: npt.NDArray[np.int64], partition: Partition, key: int, part: slice = slice(None)
) -> npt.NDArray[np.float32]:
    """Whitened values of latents from the table rows of their groups; see :func:`lookup`.

    Args:
        rows: of the groups, ``(..., groups)``.
        partition: which latents the groups hold.
        key: of the table.
        part: which positions of ``partition.order``.

    Returns:
        ``(..., positions)``.
    """
    group, column = partition.group[part], partition.column[part]
    values = np.empty((*rows.shape[:-1], len(group)), dtype=np.float32)
    for begin in range(0, len(group), _POSITIONS_AT_ONCE):
        some = slice(begin, begin + _POSITIONS_AT_ONCE)
        chosen = rows[..., group[some]]
        columns = np.broadcast_to(column[some].astype(np.int64), chosen.shape)
        values[..., some] = sampler.normals(chosen, columns, key)
    return values


def table_rows(indices: npt.NDArray[np.int64], chaining: Chaining) -> npt.NDArray[np.int64]:
    """The table row of each group's candidate, from the indices of all groups in coding order: ``(..., groups)``.

    Where there is no previous index, or none before it, 0 stands for it. With a long memory the row is
    65,536 · (index before the previous one mod 16) + 256 · previous index + index.
    """
    if chaining.bits == 16:
        return indices
    rows = _earlier(indices, chaining.chains) * STATES + indices
    if chaining.long:
        rows += _earlier(indices, 2) % _OLDER * STATES**2
    return rows


def first_row(indices: npt.NDArray[np.int64], group: int, chaining: Chaining) -> int:
    """The row of index 0 of a group with 8-bit indices, from the indices of the groups before it: ``(groups,)``."""
    row = STATES * int(indices[group - chaining.chains]) if group >= chaining.chains else 0
    if chaining.long and group >= 2:
        row += int(indices[group - 2]) % _OLDER * STATES**2
    return row


def _earlier(indices: npt.NDArray[np.int64], distance: int) -> npt.NDArray[np.int64]:
    """For each group the index so many groups before it, 0 where there is none."""
    earlier = np.zeros_like(indices)
    earlier[..., distance:] = indices[..., :-distance]
    return earlier
