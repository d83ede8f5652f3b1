"""From files with a pyramid prior to images that are rendered when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...family import Decoded, View
from ...stages.decoder import FileLatents, open_payload
from ...stages.moments import Moments, StageId
from .levels import CHROMA_STAGES, Level, band_count, last_stage
from .prior import LOWEST_NOISE, PyramidPrior, descend
from .rendering import LazyRows, noise_variance, planes_of

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class _FileSource:
    """The classes and weights that a file names; see :class:`prior.LatentSource`.

    Attributes:
        latents: of the file.
    """

    wants_means: ClassVar[bool] = False
    latents: FileLatents

    def classes(self, level: Level, chroma: bool, frequencies: Array, means: Array) -> npt.NDArray[np.int8]:
        del level, chroma, means  # for an encoder
        return self.latents.symbols.read(frequencies)

    def weights(self, stage: StageId, level: Level | None, moments: Moments) -> Array:
        return self.latents.weights(stage, moments, band_count(level, stage.number))


def decode(prior: PyramidPrior, file: File, view: View) -> Decoded:
    """Decode an image.

    Args:
        prior: that the file was made with.
        file: to decode.
        view: how it is looked at.

    Raises:
        DamagedFileError: the file's numbers and its payload do not fit each other.
    """
    numbers, payload = file.numbers(prior.fields)
    (number,), (height, width) = numbers["noise"], file.format.shape
    latents = open_payload(
        numbers, payload, prior.key, prior.parts_from, keep=view.keep_latents, damaged=not file.intact
    )
    planes = []
    for channels in planes_of(file.format.channels):
        if 0 in channels:  # the last plane
            latents.allocator.final_stage = last_stage((height, width), len(channels))
        plane = descend(prior, (height, width), len(channels), number + LOWEST_NOISE, _FileSource(latents))
        planes.append((channels, plane))
    decoded = latents.finish()
    return Decoded(
        replace(file.format, shape=view.size or (height * view.scale, width * view.scale)),
        LazyRows((height, width, file.format.channels), tuple(planes)),
        _named(decoded.groups),
        decoded.class_bytes,
        number,
        decoded.latents,
        noise_variance(number + LOWEST_NOISE),
    )


def _named(groups: Mapping[StageId, int]) -> dict[str, int]:
    """Numbers of groups by level, luma and chroma apart, the coarsest first, from those of the stages."""
    counts: dict[str, int] = {}
    for stage, count in sorted(groups.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} {'chroma' if stage.number in CHROMA_STAGES else 'luma'}"
        counts[name] = counts.get(name, 0) + count
    return counts
