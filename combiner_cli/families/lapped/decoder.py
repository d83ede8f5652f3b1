"""From files with a lapped prior to sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...errors import DamagedFileError
from ...family import Decoded, View
from ...signals.resampling import length_at, resampled
from ...stages.decoder import FileLatents, open_payload
from ...stages.moments import UNIT, Moments, StageId
from . import transform
from .features import Segment, last_stage
from .prior import LappedPrior, descend, noise_deviation, segments
from .transform import CHANNELS

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class _FileSource:
    """The classes and weights that a file names; see :class:`prior.LatentSource`.

    Attributes:
        latents: of the file.
    """

    latents: FileLatents

    def limit(self) -> int:
        return self.latents.symbols.exchange_number(0)

    def classes(
        self, segment: Segment, level: int, parity: int, channel: int, frequencies: Array
    ) -> npt.NDArray[np.int8]:
        del segment, level, parity, channel  # for an encoder
        return self.latents.symbols.read(frequencies)

    def weights(self, stage: StageId, segment: Segment, moments: Moments) -> Array:
        del segment  # for an encoder
        return self.latents.weights(stage, moments, bands=1)


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
    (noise_level,), (number,), (angle,) = numbers["noise"], numbers["hop"], numbers["angle"]
    channels, sample_rate, scale = file.format.channels, file.format.sample_rate, view.scale
    assert sample_rate is not None
    if number >= len(prior.hops):
        raise DamagedFileError("the header's hop is out of range; the file is damaged")
    latents = open_payload(
        numbers, payload, prior.key, prior.parts_from, keep=view.keep_latents, damaged=not file.intact
    )
    hop, coded_rate = prior.hops[number], prior.coded_rate(sample_rate)
    length = length_at(file.format.points, sample_rate, coded_rate)
    weights = _segments(prior, latents, transform.frame_count(length, hop), channels, hop, noise_level)
    values = transform.render(weights, channels, length * scale, hop, hop * scale)
    if channels == CHANNELS:
        values = values @ transform.rotation(angle).astype(np.float32)
    values = resampled(values, coded_rate, sample_rate, file.format.points * scale)
    decoded = latents.finish()
    return Decoded(
        replace(file.format, shape=values.shape[:1], sample_rate=sample_rate * scale),
        values,
        _named(decoded.groups, channels),
        decoded.class_bytes,
        noise_level,
        decoded.latents,
        noise_deviation(noise_level) ** 2,
    )


def _segments(
    prior: LappedPrior, latents: FileLatents, frames: int, channels: int, hop: int, noise_level: int
) -> Iterator[Array]:
    """Weights ``(channels, frames, bins)`` of one segment after another, on values in [-1, 1]."""
    parts = segments(frames)
    for number, part in enumerate(parts):
        if number:
            latents.adjust_rate()
        if number == len(parts) - 1:
            latents.allocator.final_stage = last_stage(channels)
        steps = descend(prior, part.stop - part.start, channels, hop, noise_level, _FileSource(latents))
        yield steps * (noise_deviation(noise_level) / UNIT)


def _named(groups: Mapping[StageId, int], channels: int) -> dict[str, int]:
    """Numbers of groups by level and phase in coding order, channels together, from those of the stages."""
    counts: dict[str, int] = {}
    for stage, count in sorted(groups.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} phase {stage.number // channels}"
        counts[name] = counts.get(name, 0) + count
    return counts
