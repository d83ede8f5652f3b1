"""Images and files with a pyramid prior: choose the noise variance, write, read, and render at other sizes.

What encodes is imported where it is used, so that decoding starts fast.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...container import bitstream
from ...container.bitstream import Header
from ...signals.signal import Rows, Signal, to_values
from ...stages import allocation
from ...stages.allocation import LAST_STAGE, Read
from ...stages.moments import StageName
from .prior import HIGHEST_CODE, LOWEST_CODE, PyramidPrior, Rendering, descend

if TYPE_CHECKING:
    from ...stages import rate_control
    from ...stages.encoder import Budget, Coded, Forecast

Array = npt.NDArray[Any]

_HALF_RANGE = 127.5
_LANCZOS = 3  # samples to each side
_MOST_ROWS = 64  # of a strip
_FIRST_CHROMA = 4  # number of the first stage of chroma in a level


def planes_of(channels: int) -> list[list[int]]:
    """The channels of each plane, in coding order: alpha alone and first, then grey or RGB."""
    colours = [0, 1, 2] if channels >= 3 else [0]
    return [[channels - 1], colours] if channels in (2, 4) else [colours]


def encode(
    signal: Signal,
    header: Header,
    prior: PyramidPrior,
    wanted: rate_control.Wanted,
    effort: int,
    method: str,
    seed: int,
) -> rate_control.Written:
    """Encode an image.

    Args:
        signal: the image.
        header: of its file, without streams.
        prior: of its weights.
        wanted: of the file.
        effort: 1 to 9.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.

    Raises:
        UsageError: the size is too small.
    """
    from ...stages import rate_control
    from ...stages.encoder import writer_for
    from .encoder import encode_planes, forecast

    clock = time.perf_counter()
    codes = rate_control.Codes(LOWEST_CODE, HIGHEST_CODE, 40, 1 / 8, _HALF_RANGE, 16)
    values = to_values(signal) * _HALF_RANGE
    planes = [values[:, :, channels] for channels in planes_of(signal.channels)]
    around = len(bitstream.pack(replace(header, class_bytes=2**16 * 8, densities=(127,) * 8, chains=1), b""))
    known: dict[int, list[Forecast]] = {}

    def foretell(code: int) -> list[Forecast]:
        if code not in known:
            known[code] = [forecast(prior, plane, code) for plane in planes]
        return known[code]

    def attempt_at(code: int) -> rate_control.Attempt:
        expected = foretell(code)

        def attempt(budget: Budget) -> tuple[bytes, Coded]:
            writer = writer_for(prior.key, expected, budget, method, seed)
            coded = encode_planes(prior, planes, expected, writer)
            return rate_control.packed(replace(header, noise=code - LOWEST_CODE), coded), coded

        return attempt

    chosen = rate_control.choose(foretell, codes, prior, wanted, signal.points, values.size, around, effort)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    data, coded = rate_control.best(attempt_at, foretell, chosen, codes, header, wanted.size, effort)
    seconds["search"] = time.perf_counter() - clock
    return rate_control.Written(data, coded.latents, seconds)


def read(header: Header, payload: bytes, prior: PyramidPrior, values_only: bool = False, damaged: bool = False) -> Read:
    """What a file of version 3 holds.

    Args:
        header: of the file.
        payload: of the file.
        prior: of its weights.
        values_only: leave classes, indices and latents empty, which takes less memory.
        damaged: whether the file is known to be, and is to be read as far as it goes.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    assert header.noise is not None
    code = header.noise + LOWEST_CODE
    source = allocation.file_source(header, payload, prior.key, prior.parts_from, not values_only, damaged)
    planes = []
    for channels in planes_of(header.channels):
        colours = len(channels)
        if 0 in channels:  # the last plane
            source.share.final = LAST_STAGE[colours] if max(header.shape) > 4 else StageName(0, 0)
        planes.append(Plane(tuple(channels), descend(prior, header.shape, colours, code, source)))
    return source.read(Rendered((*header.shape, header.channels), tuple(planes)))


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


@dataclass(frozen=True, eq=False)
class Resampled:
    """An image at another size: the function of the plane that its values describe, at the centres of other samples.

    Between samples it is their Lanczos interpolation. Rows that are asked for by themselves are as in the whole image,
    up to the rounding of float32 and of the place at which they begin, which is exact where a row of the image begins.

    Attributes:
        values: the image, ``(height, width, channels)``.
        size: height and width that are wanted.
    """

    values: Rows
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.size, self.values.shape[2])

    @property
    def multiple(self) -> int:
        """Of how many rows to ask for a multiple, from a multiple of them on."""
        exact = self.size[0] // math.gcd(self.size[0], self.values.shape[0])
        return exact if exact <= _MOST_ROWS else 1

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]:
        from PIL import Image

        (height, width), (first, last, _) = self.values.shape[:2], rows.indices(self.size[0])
        top, bottom = first * height / self.size[0], last * height / self.size[0]
        reach = math.ceil(_LANCZOS * max(1, height / self.size[0])) + 1
        begin = max(math.floor(top) - reach, 0)
        source = self.values[begin : math.ceil(bottom) + reach].astype(np.float32, copy=False)
        box = (0, top - begin, width, bottom - begin)
        parts = [
            np.asarray(Image.fromarray(plane).resize((self.size[1], last - first), Image.Resampling.LANCZOS, box=box))
            for plane in np.moveaxis(source, 2, 0)
        ]
        return np.stack(parts, axis=2)
