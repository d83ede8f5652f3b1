"""What a file of a recording with a lapped prior holds, and how it sounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.bitstream import Header
from ...errors import DamagedFileError
from ...signals.resampling import length_at, resampled
from ...stages import allocation
from ...stages.allocation import FileSource, Read
from ...stages.moments import Moments, StageName
from ..pyramid.levels import UNIT
from . import transform
from .prior import (
    DIGITS,
    LappedPrior,
    descend,
    last_stage,
    noise_deviation,
    number_frequencies,
    rendered,
    rotation,
    segments,
    widen,
)
from .transform import CHANNELS, Segment

Array = npt.NDArray[Any]


@dataclass(eq=False)
class RecordingSource:
    """The weights of a recording that a file names.

    Attributes:
        file: where they are.
    """

    file: FileSource

    def steer(self) -> None:
        self.file.share.steer(self._digit())

    def limit(self) -> int:
        return self._digit() * DIGITS + self._digit()

    def _digit(self) -> int:
        return int(self.file.symbols(number_frequencies())[0])

    def activity(self, own: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        del own, level, parity, channel
        return self.file.classes_of(frequencies)

    def details(self, name: StageName, own: Segment, moments: Moments) -> Array:
        del own
        return self.file.details(name, None, moments, lambda part: widen(part, self._exchange))

    def _exchange(self, _: int, frequencies: Array) -> int:
        return int(self.file.symbols(frequencies)[0])


def read(
    header: Header,
    payload: bytes,
    prior: LappedPrior,
    scale: int = 1,
    values_only: bool = False,
    damaged: bool = False,
) -> Read:
    """What a file of version 3 holds of a recording.

    Args:
        header: of the file.
        payload: of the file.
        prior: that it names.
        scale: samples that are rendered for each one of the recording.
        values_only: leave classes, indices and latents empty, which takes less memory.
        damaged: whether the file is known to be, and is to be read as far as it goes.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    assert header.sample_rate is not None
    number, angle = header.transform
    if number >= len(prior.hops):
        raise DamagedFileError("the header holds a value out of range; the file is damaged")
    file = allocation.file_source(header, payload, prior.key, prior.parts_from, not values_only, damaged)
    hop, coded_rate = prior.hops[number], prior.coded_rate(header.sample_rate)
    length = length_at(header.shape[0], header.sample_rate, coded_rate)
    weights = _segments(RecordingSource(file), prior, length, header, hop)
    values = rendered(weights, header.channels, length * scale, hop, hop * scale)
    if header.channels == CHANNELS:
        values = values @ rotation(angle).astype(np.float32)
    values = resampled(values, coded_rate, header.sample_rate, header.shape[0] * scale)
    return file.read(values)


def _segments(source: RecordingSource, prior: LappedPrior, length: int, header: Header, hop: int) -> Iterator[Array]:
    """Weights ``(channels, frames, bins)`` of one segment after another, on values in [-1, 1]."""
    assert header.noise is not None
    parts = segments(transform.frame_count(length, hop))
    for number, frames in enumerate(parts):
        if number:
            source.steer()
        if number == len(parts) - 1:
            source.file.share.final = last_stage(header.channels)
        decoded = descend(prior, frames.stop - frames.start, header.channels, hop, header.noise, source)
        yield decoded * (noise_deviation(header.noise) / UNIT)


def named(stages: dict[StageName, int], channels: int) -> dict[str, int]:
    """Numbers of groups by level and phase, from those of the stages, in coding order; channels together."""
    counts: dict[str, int] = {}
    for stage, count in sorted(stages.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} phase {stage.number // channels}"
        counts[name] = counts.get(name, 0) + count
    return counts
