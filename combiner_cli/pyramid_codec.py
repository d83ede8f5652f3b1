"""Images and files with a pyramid prior: choose the noise variance, write, read, and render at other sizes.

What encodes is imported where it is used, so that decoding starts fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import bitstream, hierarchy_groups
from .bitstream import Header
from .coder import Chaining
from .errors import DamagedFileError, UsageError
from .hierarchy import HIGHEST_CODE, LOWEST_CODE, PyramidPrior, StageName, descend, values_of
from .hierarchy_groups import LAST_STAGE, FileSource, Share
from .signals import Signal, to_values

if TYPE_CHECKING:
    from .hierarchy_coding import Coded, Forecast

Array = npt.NDArray[Any]

OVERHEAD = 1.05  # groups per 8 bits of information
_LEAST_RATIO = 0.05
_HALF_RANGE = 127.5
_CODES_AROUND = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)  # by effort: noise variances tried on each side of the expected best
_SMALLEST_ERROR = 1e-6
_MOST_TRIALS = 8
_MIDDLE_CODE = 40
_HASTY = 2  # efforts up to this one save time
_LEAST_SLOPE = 1 / 64
_NEAREST, _NEAR = 0.55, 2.0  # steps to 0 with which a code is the nearest or as good, and with which it will do
_MOST_CODES = 16  # that an image's noise code is away from the usual one of a quality


@dataclass(frozen=True, eq=False)
class Written:
    """A finished file.

    Attributes:
        data: the file.
        latents: whitened latents of all stages of all planes.
        seconds: wall time by phase.
    """

    data: bytes
    latents: Array
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Read:
    """What a file holds.

    Attributes:
        classes: of all units, ``(units,)``.
        indices: of all groups in one array.
        latents: whitened latents of all stages in one array.
        values: the image in [-1, 1], ``(height, width, channels)``.
    """

    classes: npt.NDArray[np.int64]
    indices: tuple[npt.NDArray[np.int64], ...]
    latents: tuple[npt.NDArray[np.float32], ...]
    values: npt.NDArray[np.float32]


def planes_of(channels: int) -> list[list[int]]:
    """The channels of each plane, in coding order: alpha alone and first, then grey or RGB."""
    colours = [0, 1, 2] if channels >= 3 else [0]
    return [[channels - 1], colours] if channels in (2, 4) else [colours]


def encode(
    signal: Signal,
    header: Header,
    prior: PyramidPrior,
    rate: float,
    size: int | None,
    psnr: float | None,
    effort: int,
    method: str,
    seed: int,
) -> Written:
    """Encode an image.

    Args:
        signal: the image.
        header: of its file, without streams.
        prior: of its weights.
        rate: bits per pixel over the prior's own that a typical image takes at the quality wanted.
        size: of the file in bytes, or ``None``.
        psnr: dB that the decoded image is expected to reach, or ``None``; not together with a size.
        effort: 1 to 9.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.

    Raises:
        UsageError: the size is too small.
    """
    from .hierarchy_coding import forecast

    clock = time.perf_counter()
    values = to_values(signal) * _HALF_RANGE
    planes = [values[:, :, channels] for channels in planes_of(signal.channels)]
    around = len(bitstream.pack(replace(header, class_bytes=2**16 * 8, densities=(127,) * 8, chains=1), b""))
    known: dict[int, list[Forecast]] = {}

    def foretell(code: int) -> list[Forecast]:
        if code not in known:
            known[code] = [forecast(prior, plane, code) for plane in planes]
        return known[code]

    if psnr is not None:
        chosen = _of_error(foretell, 127.5**2 * 4 * 10 ** (-psnr / 10), values.size)
    elif size is None:
        if not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"the rate must be positive, not {rate}")
        code, error = prior.typical(rate * prior.bits_per_point)
        chosen = _of_equal_slope(foretell, code, error * _HALF_RANGE**2, values.size)
    else:
        code, _ = prior.typical(max(8 * size / signal.points, 1e-3))
        # exactly the size comes of the densities: a code nearby loses little
        hasty = effort <= _HASTY
        chosen = _of_size(foretell, code, size - around, _NEAR if hasty else _NEAREST, hasty)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    found = [
        written
        for trial in _trials(chosen, effort if size is not None else 0)
        if (written := _written(prior, header, planes, foretell(trial), size, method, seed))
    ]
    if not found:
        # no file is smaller than that of the largest noise variance, with no groups but those that cannot be left out
        smallest, _ = _attempt(prior, header, planes, foretell(LOWEST_CODE), 0.0, method, seed)
        raise UsageError(f"a file of this {header.kind} takes {len(smallest)} bytes; ask for more than {size}")
    data, coded = min(found, key=lambda written: written[1].squared_error)
    seconds["search"] = time.perf_counter() - clock
    return Written(data, coded.latents, seconds)


def _trials(code: int, effort: int) -> list[int]:
    around = _CODES_AROUND[effort]
    codes = sorted(range(code - around, code + around + 1), key=lambda other: abs(other - code))
    return [other for other in codes if LOWEST_CODE <= other <= HIGHEST_CODE]


def _written(
    prior: PyramidPrior,
    header: Header,
    planes: Sequence[Array],
    expected: Sequence[Forecast],
    size: int | None,
    method: str,
    seed: int,
) -> tuple[bytes, Coded] | None:
    """A file, of exactly a size where there is one; ``None`` where that is too small."""
    if size is None:
        return _attempt(prior, header, planes, expected, OVERHEAD, method, seed)
    # the header is as long as its numbers are large, and is known afterwards only; so is what the last stages hold
    classes = sum(one.class_bits for one in expected) / 8
    around = len(bitstream.pack(replace(header, noise=0, class_bytes=round(classes), densities=(0,) * 8), b""))
    reserve = max(1, size // 500)
    information = sum(float(one.information.sum()) for one in expected) / 2048
    ratio = min(OVERHEAD, max(size - around - classes, 0) / max(information, 1))
    for _ in range(_MOST_TRIALS):
        data, coded = _attempt(prior, header, planes, expected, ratio, method, seed, size - around, reserve)
        if len(data) == size:
            return data, coded
        used = len(coded.indices)
        around = len(data) - len(coded.classes) - used
        over = around + len(coded.classes) + used - size
        if over > 0:
            reserve *= 4
            ratio *= max(used - over - reserve, 0) / max(used, 1)
            ratio = ratio if ratio > _LEAST_RATIO else 0.0  # very large groups take long and help nothing
    return None


def _attempt(
    prior: PyramidPrior,
    header: Header,
    planes: Sequence[Array],
    expected: Sequence[Forecast],
    ratio: float,
    method: str,
    seed: int,
    total: int | None = None,
    reserve: int = 0,
) -> tuple[bytes, Coded]:
    """A file whose size may turn out to be another one; see :func:`encode_planes`."""
    from .hierarchy_coding import encode_planes

    coded = encode_planes(prior, planes, expected, ratio, method, seed, total, reserve)
    own = replace(
        header,
        noise=coded.code - LOWEST_CODE,
        class_bytes=len(coded.classes),
        densities=coded.densities,
        chains=coded.chains,
    )
    return bitstream.pack(own, coded.classes + coded.indices.astype(np.uint8).tobytes()), coded


def _of_equal_slope(foretell: Callable[[int], list[Forecast]], start: float, error: float, samples: int) -> int:
    """The noise code at which the noise variance is to the error as it is for a typical image.

    Every signal pays the same for a dB that way, which gives the best average PSNR of many signals at their average
    rate (the derivative of the PSNR by the bits of a signal is s2 / error).
    """

    def excess(code: int) -> float:
        found = sum(one.squared_error for one in foretell(code)) / samples
        return (code - start) / 8 + math.log2(max(found, _SMALLEST_ERROR) / error)

    # where the error is nothing but the noise, or there is none, no code is better than another
    return int(min(max(_root(excess, start, 1 / 20), start - _MOST_CODES), start + _MOST_CODES))


def _of_error(foretell: Callable[[int], list[Forecast]], error: float, samples: int) -> int:
    """The noise code with a mean squared error in 255ths squared."""

    def excess(code: int) -> float:
        found = sum(one.squared_error for one in foretell(code)) / samples
        return math.log2(error / max(found, _SMALLEST_ERROR))

    return _root(excess, _MIDDLE_CODE, 1 / 11)


def _of_size(
    foretell: Callable[[int], list[Forecast]], start: float, size: int, near: float, hasty: bool = False
) -> int:
    """The noise code at which classes and groups take so many bytes, or one so near; see :func:`_root`."""

    def excess(code: int) -> float:
        return math.log2(_bytes_of(foretell(code)) / max(size, 1))

    return _root(excess, start, 1 / 13, near, hasty)


def _bytes_of(expected: Sequence[Forecast]) -> float:
    """Bytes that classes and groups are expected to take."""
    return 1.0 + sum(float(one.information.sum()) * OVERHEAD / 2048 + one.class_bits / 8 for one in expected)


def _root(
    excess: Callable[[int], float], start: float, slope: float, near: float = _NEAREST, hasty: bool = False
) -> int:
    """The code at which a function that grows with it is nearest to 0: secants within a bracket.

    Args:
        excess: of a code.
        start: about where it is 0.
        slope: about how much it grows by with each code.
        near: codes from the 0 that are near enough.
        hasty: whether the slope is relied on, so that the start may be near enough.
    """
    low, high = LOWEST_CODE - 1, HIGHEST_CODE + 1  # not enough, too much
    code, found = min(max(round(start), LOWEST_CODE), HIGHEST_CODE), {}
    while code not in found:
        found[code] = excess(code)
        if found[code] > 0:
            high = code
        else:
            low = code
        if len(found) > 1:
            one, other = sorted(found, key=lambda known: abs(found[known]))[:2]
            slope = (found[one] - found[other]) / (one - other)
        slope = min(max(slope, _LEAST_SLOPE), 1.0)
        step = -found[code] / slope
        if abs(step) < near and (hasty or len(found) > 1):
            break
        code = min(max(round(code + step), low + 1), high - 1)
        if low + 1 >= high:
            break
    return min(found, key=lambda own: abs(found[own]))


def read(header: Header, payload: bytes, prior: PyramidPrior, values_only: bool = False) -> Read:
    """What a file of version 3 holds.

    Args:
        header: of the file.
        payload: of the file.
        prior: of its weights.
        values_only: leave classes and latents empty, which takes less memory.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    assert header.class_bytes is not None and header.noise is not None
    if header.class_bytes > len(payload):
        raise DamagedFileError("the file declares more classes than its payload holds; it is damaged")
    indices = bitstream.indices_from_bytes(payload[header.class_bytes :], len(payload) - header.class_bytes, 8)
    code = header.noise + LOWEST_CODE
    source = FileSource(
        Share(list(header.densities), len(indices)),
        Chaining(8, header.chains),
        prior.key,
        prior.parts_from,
        hierarchy_groups.class_decoder(payload[: header.class_bytes]),
        indices,
        keep=not values_only,
    )
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
    classes = np.concatenate([np.zeros(0, dtype=np.int8), *source.classes]).astype(np.int64)
    latents = np.concatenate([np.zeros(0, dtype=np.float32), *source.latents])
    return Read(classes, (indices,), (latents,), values)


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
