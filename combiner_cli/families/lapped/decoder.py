"""Through the levels of a segment, the way that encoder and decoder share; from files with a lapped prior to sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...errors import DamagedFileError
from ...family import Decoded, View
from ...rec import sampler
from ...signals.resampling import length_at, resampled
from ...stages.class_stream import FREQUENCY_BITS
from ...stages.decoder import FileLatents, open_payload
from ...stages.moments import UNIT, Moments, StageId
from ...stages.prior import noise_number
from ...stages.shape import FILL_UNIT, FLAT_SOUND, SOUND_FIELDS, SoundShape, numbers_in
from . import features, transform
from .features import BAND, LEVELS, PARITIES, PHASES, Segment, last_stage, limit_bins
from .transform import CHANNELS, noise_deviation

if TYPE_CHECKING:
    from .prior import LappedPrior

Array = npt.NDArray[Any]


class LatentSource(Protocol):
    """Where the classes and weights of a segment come from: a file, a search, or samples of the posterior."""

    def limit(self) -> int:
        """How many 80ths of the bands of the segment are coded at all."""

    def classes(self, segment: Segment, level: int, parity: int, channel: int, frequencies: Array) -> Array:
        """The energy classes of the bands of even or odd number of a level.

        Args:
            segment: that they are of.
            level: of their frames.
            parity: of the bands' numbers.
            channel: of the bands.
            frequencies: of the classes, ``(16, bands)``.

        Returns:
            ``(bands,)``.
        """

    def weights(self, stage: StageId, segment: Segment, moments: Moments) -> Array:
        """The weights of a stage.

        Args:
            stage: which one it is.
            segment: that it is of.
            moments: of the weights; they may be changed.

        Returns:
            In whole steps, ``(latents,)``.
        """


def descend(
    prior: LappedPrior,
    count: int,
    channels: int,
    hop: int,
    noise_level: int,
    source: LatentSource,
    noise: SoundShape = FLAT_SOUND,
) -> Array:
    """Take the weights of a segment level by level.

    Encoder and decoder go the same way; they differ in the source.

    Args:
        prior: of the weights.
        count: frames of the segment.
        channels: 1 or 2.
        hop: samples between frames.
        noise_level: of the file.
        source: of classes and weights.
        noise: its shape.

    Returns:
        In steps, ``(channels, frames, bins)``, as many bins as the segment's limit leaves.
    """
    with prior.scratch:
        bins = limit_bins(source.limit(), hop)
        segment = features.new_segment(np.array([noise_level]), hop, channels, count, bins)
        for level in range(LEVELS - 1, -1, -1):
            for channel, parity in product(range(channels), range(PARITIES)):
                if features.band_count(segment, level, parity):
                    frequencies = prior.class_frequencies(segment, level, parity, channel)
                    classes = source.classes(segment, level, parity, channel, frequencies)
                    features.put_classes(segment, level, parity, channel, classes)
            for phase, channel in product(range(PHASES), range(channels)):
                if features.latents(segment, level, phase):
                    stage = features.stage_id(level, phase, channel, channels)
                    moments = prior.moments(segment, level, phase, channel)
                    moments = noise.shaped(moments, features.weight_pitches(bins, hop, prior.sample_rate, phase))
                    features.put(segment, level, phase, channel, source.weights(stage, segment, moments))
        weights: Array = segment.weights[0]
        return weights


@dataclass(frozen=True, eq=False)
class Filling:
    """Noise in the place of the bands of a segment that have no bits.

    Weights that are coded are as large as in the recording, as they are samples of their posterior; those of bands of
    class 0 are 0, which is heard as holes. Noise of their likely size fills these. It is added to what is decoded and
    nothing depends on it, so that a listener can have more or less of it.

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


@dataclass(frozen=True, eq=False)
class _FileSource:
    """The classes and weights that a file names; see :class:`LatentSource`.

    Attributes:
        latents: of the file.
        filling: takes note of the bands that have no bits.
    """

    latents: FileLatents
    filling: Filling

    def limit(self) -> int:
        return self.latents.symbols.exchange_number(0)

    def classes(
        self, segment: Segment, level: int, parity: int, channel: int, frequencies: Array
    ) -> npt.NDArray[np.int8]:
        classes = self.latents.symbols.read(frequencies)
        self.filling.note(segment, level, parity, channel, classes, frequencies)
        return classes

    def weights(self, stage: StageId, segment: Segment, moments: Moments) -> Array:
        del segment  # for an encoder
        return self.latents.weights(stage, moments)


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
    noise_level, (number,), (angle,) = noise_number(numbers), numbers["hop"], numbers["angle"]
    noise = SoundShape.of(numbers_in(SOUND_FIELDS, numbers))
    channels, sample_rate, scale = file.format.channels, file.format.sample_rate, view.scale
    assert sample_rate is not None
    as_it_is, number = divmod(number, transform.MOST_HOPS)
    if number >= len(prior.hops):
        raise DamagedFileError("the header's hop is out of range; the file is damaged")
    latents = open_payload(
        numbers, payload, prior.key, prior.parts_from, keep=view.keep_latents, damaged=not file.intact
    )
    hop = prior.hops[number]
    coded_rate = prior.coded_rate(sample_rate, file.format.points, bool(as_it_is))
    length = length_at(file.format.points, sample_rate, coded_rate)
    fill = noise.fill / FILL_UNIT if view.fill is None else view.fill
    weights = _segments(prior, latents, transform.frame_count(length, hop), channels, hop, noise_level, noise, fill)
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
        prior.noise_variance(noise_level),
        noise.numbers,
    )


def _segments(
    prior: LappedPrior,
    latents: FileLatents,
    frames: int,
    channels: int,
    hop: int,
    noise_level: int,
    noise: SoundShape,
    fill: float,
) -> Iterator[Array]:
    """Weights ``(channels, frames, bins)`` of one segment after another, filled, on values in [-1, 1]."""
    parts = transform.segments(frames)
    for number, part in enumerate(parts):
        if number:
            latents.adjust_rate()
        if number == len(parts) - 1:
            latents.allocator.final_stage = last_stage(channels)
        count = part.stop - part.start
        source = _FileSource(latents, Filling.new(fill, prior.key, channels, count, hop))
        steps = descend(prior, count, channels, hop, noise_level, source, noise)
        yield source.filling.filled(steps, part.start) * (noise_deviation(noise_level) / UNIT)


def _named(groups: Mapping[StageId, int], channels: int) -> dict[str, int]:
    """Numbers of groups by level and phase in coding order, channels together, from those of the stages."""
    counts: dict[str, int] = {}
    for stage, count in sorted(groups.items(), key=lambda item: (-item[0].level, item[0].number)):
        name = f"level {stage.level} phase {stage.number // channels}"
        counts[name] = counts.get(name, 0) + count
    return counts
