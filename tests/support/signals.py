"""Signals that tests make themselves."""

from __future__ import annotations

import numpy as np

from combiner_cli.signals.signal import Signal


def smooth_image(height, width, channels=3, depth=8, seed=0):
    """A smooth random picture."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = generator.uniform(0, 6, (2, channels))
    values = 0.5 + 0.4 * np.sin(3 * x[..., None] + phase[0]) * np.cos(4 * y[..., None] + phase[1])
    peak = 2**depth - 1
    return Signal("image", np.rint(values * peak).astype(np.uint8 if depth == 8 else np.uint16), None, depth)


def tone(frames, channels=1, rate=16000, seed=0):
    """A decaying chord, in steps of 16 bits."""
    generator = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / rate
    frequency = generator.uniform(100, 600, (1, channels))
    values = 0.4 * np.sin(2 * np.pi * frequency * time) * np.exp(-2 * time)
    return Signal("sound", (np.rint(values * 32768) / 32768).astype(np.float32), rate, 16)


def recordings_of_tones(count, seed=0):
    """Tones with a little noise, single ones and pairs in turn, ``(channels, samples)`` float32."""
    generator, recordings = np.random.default_rng(seed), []
    for number in range(count):
        samples = tone(2000, 1 + number % 2, seed=seed + number).samples.T
        recordings.append((samples + generator.normal(0, 0.01, samples.shape)).astype(np.float32))
    return recordings
