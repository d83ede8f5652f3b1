"""From the payload of a file to the weights of its stages, whatever the weights are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..container.header import Numbers
from ..errors import DamagedFileError
from ..rec import candidates, groups
from ..rec.candidates import Chaining
from ..rec.groups import Partition
from .allocation import (
    DENSITIES,
    EXTRA_FREQUENCIES,
    GROUP_BITS,
    NO_CHANGE,
    REPEAT,
    GroupAllocator,
    may_have_extra_groups,
    partition_key,
    rows_of,
)
from .class_stream import DIGITS, SymbolReader, equal_frequencies
from .moments import Moments, Parts, StageId
from .widening import exchange_widening

Array = npt.NDArray[Any]

_MOST_REPEATED = 1 << 30  # latents, many times what encoders make of the largest image; or else hours for a few bytes


@dataclass(frozen=True, eq=False)
class DecodedLatents:
    """What a file turned out to hold.

    Attributes:
        latents: candidates of the latents that are coded, stage after stage, ``(latents,)``; empty where they were not
            to be kept.
        groups: number of groups of each stage, of all planes or segments together.
        class_bytes: length of the stream of classes.
    """

    latents: npt.NDArray[np.float32]
    groups: Mapping[StageId, int]
    class_bytes: int


@dataclass(eq=False)
class FileLatents:
    """The latents that a file names, taken from it stage after stage.

    Attributes:
        symbols: the stream of classes.
        allocator: deals the groups to the stages.
        indices: of all groups, ``(groups,)`` uint8.
        chaining: how indices name candidates.
        key: of the prior.
        parts_from: of the prior.
        class_bytes: length of the stream of classes.
        keep: whether candidates are kept.
    """

    symbols: SymbolReader
    allocator: GroupAllocator
    indices: npt.NDArray[np.uint8]
    chaining: Chaining
    key: int
    parts_from: int
    class_bytes: int
    keep: bool
    _used: int = 0  # groups of the parts so far
    _repeated: int = 0  # latents of parts that came again
    _latents: list[Array] = field(default_factory=list)
    _groups: dict[StageId, int] = field(default_factory=dict)

    def adjust_rate(self) -> None:
        """Change the density of the groups, as the file says."""
        digit = self.symbols.exchange(NO_CHANGE, equal_frequencies(DIGITS))
        self.allocator.adjust_rate(digit)

    def weights(self, stage: StageId, moments: Moments, bands: int = 1) -> Array:
        """The weights of the next stage.

        Args:
            stage: which one it is.
            moments: of the weights; they may be changed.
            bands: of the weights, one after another, of equally many weights.

        Returns:
            In whole steps, ``(latents,)``.

        Raises:
            DamagedFileError: the file does not name such weights.
        """
        parts = Parts(moments, self.parts_from)
        while not parts.finished:
            if parts.may_be_widened:
                for deviation in parts.moments.deviation.reshape(bands, -1):
                    exchange_widening(self.symbols, deviation)
            parts.put(*self._part(stage, parts.begin()))
        return parts.moments.mean

    def _part(self, stage: StageId, moments: Moments) -> tuple[Array, bool]:
        """Weights of a stage once a part of them is read, and whether it comes again."""
        information = moments.total_information()
        share, extra = self.allocator.take(stage, information, moments.last), 0
        ends = self.allocator.ends(stage, moments.last)
        if not ends and may_have_extra_groups(stage, share, information):
            extra = self.symbols.exchange(0, EXTRA_FREQUENCIES)
            extra = min(extra, self.allocator.most_extra(information, share))
            self.allocator.take_extra(extra)
        if extra == REPEAT:
            self._repeated += len(moments.mean)
            if self._repeated > _MOST_REPEATED:
                raise DamagedFileError("the file repeats its parts without end; it is damaged")
        weights, count = moments.mean, share + extra  # nobody has use for the means any more
        if count:
            self._groups[stage] = self._groups.get(stage, 0) + count
            key = partition_key(self.key, extra)
            for piece in groups.pieces(moments.information_of, len(weights), count, key):
                values = self._candidates(piece)
                weights = moments.add(weights, piece.order, values)
                if self.keep:
                    self._latents.append(values)
            self._used += count
        return weights, extra == REPEAT

    def _candidates(self, piece: Partition) -> npt.NDArray[np.float32]:
        """Whitened values of the latents of a piece of the partition that is being read."""
        first, last = int(piece.group[0]), int(piece.group[-1]) + 1
        rows = rows_of(self.indices[: self._used + last], last - first, self.chaining)
        return candidates.candidates(rows, replace(piece, group=piece.group - first), self.key)

    def finish(self) -> DecodedLatents:
        """What the file turned out to hold, when all of it is decoded."""
        latents = np.concatenate([np.zeros(0, dtype=np.float32), *self._latents])
        return DecodedLatents(latents, self._groups, self.class_bytes)


def open_payload(
    numbers: Numbers,
    payload: memoryview,
    key: int,
    parts_from: int,
    keep: bool,
    damaged: bool,
) -> FileLatents:
    """The latents that a file names.

    Args:
        numbers: of the file's header.
        payload: of the file.
        key: of the prior.
        parts_from: of the prior.
        keep: whether candidates are kept.
        damaged: whether the file is known to be: what is missing is 0 then, and no error.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    (class_bytes,), (chains,), densities = numbers["class_bytes"], numbers["chains"], list(numbers["densities"])
    if class_bytes > len(payload):
        if not damaged:
            raise DamagedFileError("the file declares more classes than its payload holds; it is damaged")
        class_bytes = len(payload)
    indices = np.frombuffer(payload[class_bytes:], dtype=np.uint8)  # there may be millions
    return FileLatents(
        SymbolReader(bytes(payload[:class_bytes]), damaged),
        GroupAllocator(densities * (DENSITIES // len(densities)), len(indices)),
        indices,
        Chaining(GROUP_BITS, chains),
        key,
        parts_from,
        class_bytes,
        keep,
    )
