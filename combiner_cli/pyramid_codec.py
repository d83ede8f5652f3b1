"""Images and files with a pyramid prior: choose the noise variance, write, read, and render at other sizes.

What encodes is imported where it is used, so that decoding starts fast.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import bitstream, hierarchy_groups
from .bitstream import Header
from .hierarchy import HIGHEST_CODE, LOWEST_CODE, PyramidPrior, StageName, descend, values_of
from .hierarchy_groups import LAST_STAGE, Read
from .signals import Signal, to_values

if TYPE_CHECKING:
    from . import rates
    from .stage_coding import Budget, Coded, Forecast

Array = npt.NDArray[Any]

_HALF_RANGE = 127.5
_FIRST_CHROMA = 4  # number of the first stage of chroma in a level


def planes_of(channels: int) -> list[list[int]]:
    """The channels of each plane, in coding order: alpha alone and first, then grey or RGB."""
    colours = [0, 1, 2] if channels >= 3 else [0]
    return [[channels - 1], colours] if channels in (2, 4) else [colours]


def encode(
    signal: Signal, header: Header, prior: PyramidPrior, wanted: rates.Wanted, effort: int, method: str, seed: int
) -> rates.Written:
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
    from . import rates
    from .hierarchy_coding import encode_planes, forecast
    from .stage_coding import writer_for

    clock = time.perf_counter()
    codes = rates.Codes(LOWEST_CODE, HIGHEST_CODE, 40, 1 / 8, _HALF_RANGE, 16)
    values = to_values(signal) * _HALF_RANGE
    planes = [values[:, :, channels] for channels in planes_of(signal.channels)]
    around = len(bitstream.pack(replace(header, class_bytes=2**16 * 8, densities=(127,) * 8, chains=1), b""))
    known: dict[int, list[Forecast]] = {}

    def foretell(code: int) -> list[Forecast]:
        if code not in known:
            known[code] = [forecast(prior, plane, code) for plane in planes]
        return known[code]

    def attempt_at(code: int) -> rates.Attempt:
        expected = foretell(code)

        def attempt(budget: Budget) -> tuple[bytes, Coded]:
            writer = writer_for(prior.key, expected, budget, method, seed)
            coded = encode_planes(prior, planes, expected, writer)
            return rates.packed(replace(header, noise=code - LOWEST_CODE), coded), coded

        return attempt

    chosen = rates.choose(foretell, codes, prior, wanted, signal.points, values.size, around, effort)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    data, coded = rates.best(attempt_at, foretell, chosen, codes, header, wanted.size, effort)
    seconds["search"] = time.perf_counter() - clock
    return rates.Written(data, coded.latents, seconds)


def read(header: Header, payload: bytes, prior: PyramidPrior, values_only: bool = False, damaged: bool = False) -> Read:
    """What a file of version 3 holds.

    Args:
        header: of the file.
        payload: of the file.
        prior: of its weights.
        values_only: leave classes and latents empty, which takes less memory.
        damaged: whether the file is known to be, and is to be read as far as it goes.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    assert header.noise is not None
    code = header.noise + LOWEST_CODE
    source = hierarchy_groups.file_source(header, payload, prior.key, prior.parts_from, not values_only, damaged)
    planes = planes_of(header.channels)
    values = np.empty((*header.shape, header.channels if len(planes) > 1 else 0), dtype=np.float32)
    for channels in planes:
        colours = len(channels)
        if channels is planes[-1]:
            source.share.final = LAST_STAGE[colours] if max(header.shape) > 4 else StageName(0, 0)
        decoded = values_of(descend(prior, header.shape, colours, code, source), colours, code)
        np.divide(decoded, _HALF_RANGE, out=decoded)
        if len(planes) == 1:
            values = decoded  # a copy would be the largest thing in memory
        else:
            values[:, :, channels] = decoded
    return source.read(values)


def named(stages: dict[StageName, int]) -> dict[str, int]:
    """Numbers of groups by level, luma and chroma apart, from those of the stages, the coarsest first."""
    counts: dict[str, int] = {}
    for stage, count in sorted(stages.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} {'luma' if stage.number < _FIRST_CHROMA else 'chroma'}"
        counts[name] = counts.get(name, 0) + count
    return counts


def resampled(values: Array, size: tuple[int, ...]) -> Array:
    """The function of the plane that the weights describe, at the centres of other samples.

    Between samples it is their Lanczos interpolation; at its own size the image is left as it is.

    Args:
        values: ``(height, width, channels)``.
        size: height and width.
    """
    if values.shape[:2] == tuple(size):
        return values
    from PIL import Image

    parts = [
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.LANCZOS))
        for plane in np.moveaxis(values, 2, 0)
    ]
    return np.stack(parts, axis=2)
