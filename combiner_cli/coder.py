"""Looking up the candidates that coded indices name: all that a decoder needs of relative entropy coding.

Encoder and decoder see the same table of 65,536 candidate rows. With 16-bit groups an index names a row. With chained
8-bit groups the row is 256 · previous index + index, where the previous index is that of the group before in the same
chain, so that a search may follow many paths (:mod:`combiner_cli.search`).
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


@dataclass(frozen=True)
class Chaining:
    """How the index of a group and those before it name a row of the table.

    Attributes:
        bits: of an index: 16 (the index is the row) or 8 (chained).
        chains: of 8-bit groups; group g follows group g − chains. Meaningless for 16 bits.
    """

    bits: int
    chains: int = 1


def chains_of(groups: int) -> int:
    """The number of chains of a stage of that many 8-bit groups: one for every 32,768, 1 to 64; part of the format.

    A chain begins with 256 candidates for its first group, and again in every turn of refinement; that wastes half a
    group each time. Many groups per chain and turn are worth more than what chains save, a quarter of the time.
    """
    return max(1, min(MOST_CHAINS, groups // GROUPS_PER_CHAIN))


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
    group, column = partition.group[part], partition.column[part]
    rows = table_rows(indices, chaining)[..., group]
    return sampler.normals(rows, np.broadcast_to(column, rows.shape), key)


def table_rows(indices: npt.NDArray[np.int64], chaining: Chaining) -> npt.NDArray[np.int64]:
    """The table row of each group's candidate, from the indices of all groups in coding order: ``(..., groups)``."""
    if chaining.bits == 16:
        return indices
    previous = np.zeros_like(indices)
    previous[..., chaining.chains :] = indices[..., : -chaining.chains]
    return previous * STATES + indices
