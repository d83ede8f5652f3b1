"""The sounds of the zoo; see :mod:`support.zoo_images`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from combiner_cli.signals.signal import Signal

from .zoo_images import generator

Array = npt.NDArray[Any]
Maker = Callable[[], Signal]

RATE = 16000  # samples per second of most sounds
SECONDS = 1.5
_QUIET = 1e-4  # -80 dBFS


def sound_of(samples: npt.ArrayLike, rate: int = RATE, bit_depth: int = 16) -> Signal:
    """A sound of samples in [-1, 1], ``(frames,)`` or ``(frames, channels)``, clipped and rounded to its bit depth."""
    values = np.asarray(samples, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    steps = 2.0 ** (bit_depth - 1)
    rounded = np.clip(np.rint(values * steps), -steps, steps - 1) / steps
    return Signal("sound", rounded.astype(np.float32), rate, bit_depth)


def times(rate: int = RATE, seconds: float = SECONDS) -> Array:
    """Seconds of all samples."""
    return np.arange(round(rate * seconds)) / rate


def tone(frequency: float, rate: int = RATE, seconds: float = SECONDS) -> Array:
    """A sine at half of full scale."""
    return 0.5 * np.sin(2 * np.pi * frequency * times(rate, seconds))


def hiss(exponent: float, deviation: float = 0.1) -> Array:
    """Gaussian noise whose amplitude falls with the frequency to a power."""
    white = generator(f"hiss {exponent}").standard_normal(len(times()))
    shape = np.maximum(np.fft.rfftfreq(len(white)) * len(white), 1) ** -exponent
    shaped = np.fft.irfft(np.fft.rfft(white) * shape, len(white))
    made: Array = shaped * (deviation / shaped.std())
    return made


def clicks(every: int, height: float = 0.9) -> Array:
    """Single samples out of silence."""
    samples = np.zeros(len(times()))
    samples[every // 2 :: every] = height
    return samples


def chirp(low: float, high: float, rate: int = RATE) -> Array:
    """A sine whose frequency rises by equal factors in equal times."""
    growth = math.log(high / low) / SECONDS
    return 0.5 * np.sin(2 * np.pi * low / growth * np.expm1(growth * times(rate)))


def speech_like(height: float) -> Array:
    """A buzz of changing pitch through three moving resonances, in syllables, with noise in between."""
    at, dice = times(), generator("speech")
    pitch = 120 + 30 * np.sin(2 * np.pi * 1.3 * at)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = np.zeros(len(at))
    for harmonic in range(1, 30):
        loudness = sum(
            np.exp(-(((harmonic * pitch - centre * (1 + 0.2 * np.sin(2 * np.pi * rate * at))) / 150) ** 2))
            for centre, rate in ((600, 2.1), (1400, 1.7), (2600, 2.9))
        )
        voice += loudness * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 4 * at), 0, 1)
    voice = voice * syllables + 0.3 * dice.standard_normal(len(at)) * np.clip(-np.sin(2 * np.pi * 4 * at), 0, 1)
    made: Array = voice * (height / np.abs(voice).max())
    return made


def telegraph() -> Array:
    """Full scale up and down at random times."""
    turns = generator("telegraph").random(len(times())) < 0.02
    return 0.99 * (1 - 2.0 * (np.cumsum(turns) % 2))


def pair(left: Array, right: Array) -> Array:
    """Two channels."""
    return np.stack([left, right], axis=1)


SOUNDS: dict[str, Maker] = {
    "white-noise": lambda: sound_of(hiss(0)),
    "white-noise-loud": lambda: sound_of(hiss(0, 0.5)),
    "pink-noise": lambda: sound_of(hiss(0.5)),
    "brown-noise": lambda: sound_of(hiss(1)),
    "clicks": lambda: sound_of(clicks(1777)),
    "impulse-train": lambda: sound_of(clicks(160)),
    "silence": lambda: sound_of(np.zeros(len(times()))),
    "silence-one-click": lambda: sound_of(clicks(len(times()))),
    "silence-one-step": lambda: sound_of(clicks(len(times()), 1 / 32768)),
    "constant": lambda: sound_of(np.full(len(times()), 0.5)),
    "jump": lambda: sound_of(0.8 * (times() > SECONDS / 2)),
    "tone": lambda: sound_of(tone(440)),
    "tone-high": lambda: sound_of(tone(7900)),
    "tone-highest": lambda: sound_of(0.5 * np.cos(np.pi * np.arange(len(times())))),
    "chord": lambda: sound_of(sum(tone(pitch) / 3 for pitch in (261.6, 329.6, 392.0))),
    "chirp": lambda: sound_of(chirp(50, 7500)),
    "square": lambda: sound_of(0.9 * np.sign(np.sin(2 * np.pi * 220 * times() + 0.1))),
    "square-clipped": lambda: sound_of(np.clip(8 * tone(300), -1, 1)),
    "sawtooth": lambda: sound_of(1.8 * (110 * times() % 1) - 0.9),
    "telegraph": lambda: sound_of(telegraph()),
    "speech-like": lambda: sound_of(speech_like(0.5)),
    "speech-like-quiet": lambda: sound_of(speech_like(_QUIET)),
    "speech-like-quiet-24": lambda: sound_of(speech_like(_QUIET), bit_depth=24),
    "amplitude-modulated": lambda: sound_of(tone(1000) * (1 + np.sin(2 * np.pi * 30 * times()))),
    "frequency-modulated": lambda: sound_of(0.5 * np.sin(2 * np.pi * 1500 * times() + 40 * np.sin(50 * times()))),
    "one-sample": lambda: sound_of([0.7]),
    "two-samples": lambda: sound_of([0.7, -0.7]),
    "three-samples-pair": lambda: sound_of(np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.5]])),
    "rate-1": lambda: sound_of(tone(0.2, 1, 60), 1),
    "rate-100": lambda: sound_of(tone(7, 100, 20) + clicks(97)[:2000] / 3, 100),
    "rate-8000": lambda: sound_of(chirp(50, 3900, 8000), 8000),
    "rate-192000": lambda: sound_of(chirp(50, 90000, 192000), 192000, 24),
    "pair-opposite": lambda: sound_of(pair(tone(440), -tone(440))),
    "pair-one-silent": lambda: sound_of(pair(speech_like(0.5), np.zeros(len(times())))),
    "pair-independent": lambda: sound_of(pair(hiss(0.5), speech_like(0.5))),
}
