"""Colour spaces as curves and a matrix, and the conversion of samples to sRGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.unsignedinteger]
Floats = npt.NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # from what is in a file, in [0, 1], to light
Chromaticities = tuple[tuple[float, float], ...]  # x and y of red, green, blue and white

# Chromaticities x, y of red, green, blue and white, by their numbers in ITU-T H.273, table 2.
_D65 = (0.3127, 0.3290)
BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
_SMPTE170M = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
PRIMARIES = {
    1: BT709,
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: _SMPTE170M,
    7: _SMPTE170M,
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_D50 = np.array((0.9642, 1.0, 0.8249))  # white of profiles (ICC.1:2022, section 7.2.16)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_TRANSFER = 13
_POINTS_AT_ONCE = 2**18  # that are converted in floating point


@dataclass(frozen=True)
class Parametric:
    """A curve of two pieces: a line up to the threshold, and a power of what is shifted from there on."""

    gamma: float
    scale: float = 1.0
    shift: float = 0.0
    slope: float = 0.0
    threshold: float = 0.0
    offset: float = 0.0
    line_offset: float = 0.0

    def __call__(self, encoded: Floats) -> Floats:
        power = np.maximum(self.scale * encoded + self.shift, 0) ** self.gamma + self.offset
        line = self.slope * encoded + self.line_offset
        result: Floats = np.where(encoded >= self.threshold, power, line)
        return result


@dataclass(frozen=True)
class Space:
    """Colours by their light.

    Attributes:
        curves: of the channels, one or three.
        to_white: matrix from linear light to CIE XYZ for the white of profiles, for three channels.
    """

    curves: tuple[Curve, ...]
    to_white: Floats | None = None


def _film_curve(alpha: float, beta: float, slope: float) -> Parametric:
    """The curve whose inverse is ``alpha * light ** 0.45 - (alpha - 1)`` from a light of beta on, and a line below."""
    return Parametric(1 / 0.45, 1 / alpha, (alpha - 1) / alpha, 1 / slope, slope * beta)


SRGB_CURVE = Parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE = _film_curve(1.09929682680944, 0.018053968510807, 4.5)
# By their numbers in ITU-T H.273, table 3; what is not here is HDR, or in no use for images.
CURVES = {
    **dict.fromkeys((1, 6, 11, 14, 15), _BT709_CURVE),
    4: Parametric(2.2),
    5: Parametric(2.8),
    7: _film_curve(1.111572195921731, 0.022821585529445, 4.0),
    8: Parametric(1.0),
    SRGB_TRANSFER: SRGB_CURVE,
}


def to_xyz(chromaticities: Chromaticities) -> Floats:
    """The matrix from linear light of these primaries and white to CIE XYZ, adapted to the white of profiles."""
    points = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in chromaticities])
    white = points[3]
    primaries = points[:3].T
    matrix = primaries * np.linalg.solve(primaries, white)
    wanted = _BRADFORD @ _D50 / (_BRADFORD @ white)
    adapted: Floats = np.linalg.solve(_BRADFORD, wanted[:, None] * (_BRADFORD @ matrix))
    return adapted


def converted(samples: Samples, space: Space) -> Samples:
    """Samples of a space in sRGB; what is beyond its colours is clipped.

    Args:
        samples: uint8 or uint16, ``(height, width, channels)``, with as many channels as the space has curves.
        space: that they are in.
    """
    peak = np.iinfo(samples.dtype).max
    levels = np.linspace(0, 1, peak + 1)
    with np.errstate(all="ignore"):  # curves of hostile profiles
        lights = [np.nan_to_num(curve(levels)).clip(0, 1) for curve in space.curves]
    if space.to_white is None:
        shades: Samples = _encoded(lights[0], peak).astype(samples.dtype)[samples]
        return shades
    tables = [light.astype(np.float32) for light in lights]
    matrix = np.linalg.solve(to_xyz(BT709), space.to_white).astype(np.float32)
    flat = samples.reshape(-1, 3)
    result = np.empty_like(flat)
    for start in range(0, len(flat), _POINTS_AT_ONCE):
        part = flat[start : start + _POINTS_AT_ONCE]
        light = np.stack([table[part[:, channel]] for channel, table in enumerate(tables)], axis=1)
        result[start : start + _POINTS_AT_ONCE] = _encoded(light @ matrix.T, peak)
    return result.reshape(samples.shape)


def _encoded(light: npt.NDArray[np.floating], peak: int) -> npt.NDArray[np.floating]:
    """Light as levels of sRGB up to a peak; what is beyond is clipped."""
    light = light.clip(0, 1)
    levels: npt.NDArray[np.floating] = np.rint(
        peak * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    )
    return levels
