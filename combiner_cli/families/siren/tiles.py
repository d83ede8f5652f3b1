"""What all families of tiles share: from group indices to whitened latents, and from rendered tiles to a signal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...container.header import Field
from ...errors import DamagedFileError
from ...family import View
from ...rec import candidates, groups
from ...rec.candidates import Chaining
from ...rec.groups import Stage
from ...signals.signal import Format, Tiling, join

Array = npt.NDArray[np.floating]

INDEX_BYTES = Field("index_bytes", 2, least=1)  # of a group index: 1 in chained groups, 2 in plain ones

_FAST = 2  # efforts up to this one follow one path


def usual_search(effort: int) -> str:
    """The search for candidates where none is asked for.

    Args:
        effort: of the encoder, 1 to 9.
    """
    return "best" if effort <= _FAST else "viterbi"


def chaining_of(count: int, index_bytes: int) -> Chaining:
    """How the groups of a file are chained: part of the format.

    Args:
        count: number of groups.
        index_bytes: bytes of an index.
    """
    return candidates.chaining_of(count) if index_bytes == 1 else Chaining(8 * index_bytes)


def pack_indices(indices: npt.NDArray[np.int64], index_bytes: int = 1) -> bytes:
    """Group indices as big-endian integers.

    Args:
        indices: of all groups, ``(groups,)``.
        index_bytes: bytes of an index.
    """
    return indices.astype(f">u{index_bytes}").tobytes()


def unpack_indices(payload: bytes | memoryview, index_bytes: int = 1) -> npt.NDArray[np.int64]:
    """The inverse of :func:`pack_indices`, ``(groups,)``.

    Args:
        payload: the part of it that holds indices.
        index_bytes: bytes of an index.

    Raises:
        DamagedFileError: the payload ends within an index.
    """
    if len(payload) % index_bytes:
        raise DamagedFileError("the payload ends within a group index; the file is damaged")
    return np.frombuffer(payload, dtype=f">u{index_bytes}").astype(np.int64)


def look_up(
    stages: Sequence[Stage], indices: npt.NDArray[np.int64], chaining: Chaining, key: int
) -> tuple[dict[str, int], tuple[npt.NDArray[np.float64], ...]]:
    """The whitened latents that group indices name.

    Args:
        stages: of the signal, in coding order.
        indices: of all groups, stage after stage, ``(groups,)``.
        chaining: how indices name rows of the table of candidates.
        key: of that table.

    Returns:
        The number of groups of each stage by its name, and the latents of each stage, ``(latents of the stage,)``.
        Pruned latents, and those of a stage without groups, are 0, the prior's mean.

    Raises:
        DamagedFileError: the latents cannot be dealt to that many groups.
    """
    partitions = groups.partitions(stages, len(indices), key)
    ends = np.cumsum([partition.groups for partition in partitions])[:-1]
    rows_by_stage = np.split(candidates.table_rows(indices, chaining), ends)
    latents = []
    for stage, partition, rows in zip(stages, partitions, rows_by_stage, strict=True):
        z = np.zeros(len(stage.information), dtype=np.float64)
        z[partition.order] = candidates.candidates(rows, partition, key)
        latents.append(z)
    counts = {stage.name: partition.groups for stage, partition in zip(stages, partitions, strict=True)}
    return counts, tuple(latents)


def format_shown(signal_format: Format, view: View) -> Format:
    """The format of a signal as a view shows it.

    Args:
        signal_format: of the signal in the file.
        view: how it is looked at.
    """
    shape = view.size or tuple(length * view.scale for length in signal_format.shape)
    sample_rate = None if signal_format.sample_rate is None else signal_format.sample_rate * view.scale
    return replace(signal_format, shape=shape, sample_rate=sample_rate)


class RenderedTiles:
    """Values of a signal of tiles, ``(*shape, channels)``; all of them are rendered once any are asked for."""

    def __init__(self, layout: Tiling, channels: int, scale: int, render: Callable[[], Array]) -> None:
        """Remember how to render.

        Args:
            layout: tiles of the signal.
            channels: of the signal.
            scale: samples per native sample and axis.
            render: gives the values of all tiles, ``(tiles, outputs, points)``.
        """
        self.shape = (*(length * scale for length in layout.shape), channels)
        self._layout, self._scale, self._render = layout, scale, render
        self._lock = threading.Lock()  # rows are asked for by several threads
        self._values: Array | None = None

    def __getitem__(self, rows: slice, /) -> Array:
        """Some rows, or some instants."""
        with self._lock:
            if self._values is None:
                self._values = join(self._render(), self._layout, self._scale)
        return self._values[rows]
