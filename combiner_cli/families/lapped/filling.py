"""Noise in the place of the bands of a recording that have no bits.

Weights that are coded are as large as in the recording, as they are samples of their posterior; those of bands of class
0 are 0, which is heard as holes. Noise of their likely size fills these. It is added to what is decoded and nothing
depends on it, so that a listener can have more or less of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...rec import sampler
from ...stages.class_stream import FREQUENCY_BITS
from ...stages.moments import UNIT
from . import features
from .features import BAND, Segment

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Filling:
    """What is added to the weights of a segment.

    Attributes:
        strength: deviations of the base noise, 0 to 1, that are added at most.
        key: of the prior.
        doubt: of bands of class 0 the probability that was predicted of the other classes, 0 of all others,
            ``(channels, frames, bands)``.
    """

    strength: float
    key: int
    doubt: Array

    @staticmethod
    def new(strength: float, key: int, channels: int, frames: int, hop: int) -> Filling:
        """Of a segment of which nothing is decoded.

        Args:
            strength: as the attribute.
            key: of the prior.
            channels: 1 or 2.
            frames: of the segment.
            hop: samples between frames.
        """
        return Filling(strength, key, np.zeros((channels, frames, hop // BAND)))

    def note(self, segment: Segment, level: int, parity: int, channel: int, classes: Array, frequencies: Array) -> None:
        """Take note of the classes of the bands of even or odd number of a level.

        Args:
            segment: that they are of.
            level: of their frames.
            parity: of the bands' numbers.
            channel: of the bands.
            classes: of the bands, ``(bands,)``.
            frequencies: with which the classes were decoded, ``(16, bands)``.
        """
        first, step = features.frames_of(level)
        place = self.doubt[channel, first::step, parity : segment.bands : features.PARITIES]
        doubt = np.where(classes == 0, 1 - frequencies[0] * 2.0**-FREQUENCY_BITS, 0)
        place[...] = doubt.reshape(place.shape)

    def filled(self, weights: Array, first: int) -> Array:
        """Weights with noise where nothing is coded.

        Args:
            weights: of the segment in steps, ``(channels, frames, bins)``.
            first: number of the segment's first frame in the recording.
        """
        if not self.strength:
            return weights
        channels, frames, bins = weights.shape
        channel, frame, band = np.nonzero(self.doubt[..., : bins // BAND])
        deviation = self.strength * UNIT * np.sqrt(self.doubt[channel, frame, band])
        noise = sampler.filling(band, (first + frame) * channels + channel, self.key)
        filled = weights.copy()
        filled.reshape(channels, frames, -1, BAND)[channel, frame, band] += deviation[:, None] * noise
        return filled
