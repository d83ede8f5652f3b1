"""What a file of a recording with a lapped prior holds, and how it sounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...errors import DamagedFileError
from ...family import Decoded, View
from ...signals.resampling import length_at, resampled
from ...stages import allocation
from ...stages.allocation import FileSource
from ...stages.moments import UNIT, Moments, StageName
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


def decode(prior: LappedPrior, file: File, view: View) -> Decoded:
    """Decode a sound.

    Args:
        prior: that the file was made with.
        file: to decode.
        view: how it is looked at.

    Raises:
        DamagedFileError: the file's numbers and its payload do not fit each other.
    """
    numbers, payload = file.numbers(prior.fields)
    (code,), (number,), (angle,) = numbers["noise"], numbers["hop"], numbers["angle"]
    channels, sample_rate, scale = file.format.channels, file.format.sample_rate, view.scale
    assert sample_rate is not None
    if number >= len(prior.hops):
        raise DamagedFileError("the header's hop is out of range; the file is damaged")
    source = allocation.file_source(
        numbers, payload, prior.key, prior.parts_from, view.keep_latents, damaged=not file.intact
    )
    hop, coded_rate = prior.hops[number], prior.coded_rate(sample_rate)
    length = length_at(file.format.points, sample_rate, coded_rate)
    weights = _segments(RecordingSource(source), prior, transform.frame_count(length, hop), channels, hop, code)
    values = rendered(weights, channels, length * scale, hop, hop * scale)
    if channels == CHANNELS:
        values = values @ rotation(angle).astype(np.float32)
    values = resampled(values, coded_rate, sample_rate, file.format.points * scale)
    return Decoded(
        replace(file.format, shape=values.shape[:1], sample_rate=sample_rate * scale),
        values,
        named(source.stages, channels),
        len(payload) - len(source.indices),
        code,
        source.all_latents(),
    )


def _segments(
    source: RecordingSource, prior: LappedPrior, frames: int, channels: int, hop: int, code: int
) -> Iterator[Array]:
    """Weights ``(channels, frames, bins)`` of one segment after another, on values in [-1, 1]."""
    parts = segments(frames)
    for number, part in enumerate(parts):
        if number:
            source.steer()
        if number == len(parts) - 1:
            source.file.share.final = last_stage(channels)
        decoded = descend(prior, part.stop - part.start, channels, hop, code, source)
        yield decoded * (noise_deviation(code) / UNIT)


def named(stages: dict[StageName, int], channels: int) -> dict[str, int]:
    """Numbers of groups by level and phase, from those of the stages, in coding order; channels together."""
    counts: dict[str, int] = {}
    for stage, count in sorted(stages.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} phase {stage.number // channels}"
        counts[name] = counts.get(name, 0) + count
    return counts
