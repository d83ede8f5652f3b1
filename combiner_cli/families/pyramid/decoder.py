"""Files with a pyramid prior: what they hold, and the images that are rendered of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...family import Decoded, View
from ...stages import allocation
from ...stages.allocation import LAST_STAGE
from ...stages.moments import StageName
from .prior import LOWEST_CODE, PyramidPrior, Rendering, descend, planes_of

Array = npt.NDArray[Any]

_HALF_RANGE = 127.5
_FIRST_CHROMA = 4  # number of the first stage of chroma in a level


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
    source = allocation.file_source(
        numbers, payload, prior.key, prior.parts_from, view.keep_latents, damaged=not file.intact
    )
    planes = []
    for channels in planes_of(file.format.channels):
        colours = len(channels)
        if 0 in channels:  # the last plane
            source.share.final = LAST_STAGE[colours] if max(height, width) > 4 else StageName(0, 0)
        planes.append(Plane(channels, descend(prior, (height, width), colours, number + LOWEST_CODE, source)))
    size = view.size or (height * view.scale, width * view.scale)
    return Decoded(
        replace(file.format, shape=size),
        Rendered((height, width, file.format.channels), tuple(planes)),
        named(source.stages),
        len(payload) - len(source.indices),
        number,
        source.all_latents(),
    )


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of an image: which channels it has, and what renders them."""

    channels: tuple[int, ...]
    rendering: Rendering


@dataclass(frozen=True, eq=False)
class Rendered:
    """The values of an image in [-1, 1]: rows of them are rendered when they are asked for.

    Attributes:
        shape: height, width and channels.
        planes: of the image.
    """

    shape: tuple[int, ...]
    planes: tuple[Plane, ...]

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]:
        first, last, _ = rows.indices(self.shape[0])
        found = np.empty((last - first, *self.shape[1:]), dtype=np.float32)
        for plane in self.planes:
            found[:, :, plane.channels] = plane.rendering.rows(slice(first, last))
        found /= _HALF_RANGE
        return found


def named(stages: dict[StageName, int]) -> dict[str, int]:
    """Numbers of groups by level, luma and chroma apart, from those of the stages, the coarsest first."""
    counts: dict[str, int] = {}
    for stage, count in sorted(stages.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} {'luma' if stage.number < _FIRST_CHROMA else 'chroma'}"
        counts[name] = counts.get(name, 0) + count
    return counts
