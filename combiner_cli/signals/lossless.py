"""About how many bytes a sound takes without loss: linear prediction and Rice codes, as FLAC has them (RFC 9639)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .signal import Signal

Array = npt.NDArray[Any]

_BLOCK = 128  # samples that have a Rice parameter
_PARAMETER_BITS = 4
_DIFFERENCES = range(5)  # orders of differences
_ORDERS = range(1, 9)  # of predictors whose coefficients are in the file
_FRAME, _FRAME_BYTES = 4096, 9  # samples that have a header of their own, and the bytes of it
_MOST_FRAMES = 64  # that are looked at, spread over all
_AROUND = 86  # bytes of a file without samples
_FEW, _LEAST_PRECISION, _PRECISION = 192, 7, 12  # samples of a frame that has coefficients of the fewest bits; usual
_COEFFICIENTS_BITS = 9  # besides themselves
_TAPER = 0.25  # of a frame at each end, by a window before its correlations are taken
_RIDGE = 1e-9
_TRIED = 0.96  # of the bits is about what the best of more windows, partitions and orders takes


def lossless_bytes(sound: Signal) -> int:
    """About how many bytes a sound takes without loss, a long one by some of its frames.

    Args:
        sound: any one.
    """
    frames = -(-sound.points // _FRAME)
    samples, times = sound.samples, 1.0
    if frames > _MOST_FRAMES:
        chosen = np.linspace(0, frames - 2, _MOST_FRAMES).astype(np.int64)  # the last one may be shorter
        samples = samples[(chosen[:, None] * _FRAME + np.arange(_FRAME)).reshape(-1)]
        times = frames / _MOST_FRAMES
    whole = np.rint(samples.astype(np.float64) * 2.0 ** (sound.bit_depth - 1))
    channels = [_bits(channel, sound.bit_depth) for channel in whole.T]
    if len(channels) == 2:  # or one of them and the difference
        difference = _bits(whole[:, 0] - whole[:, 1], sound.bit_depth + 1)
        channels = [np.minimum(np.minimum(*channels) + difference, channels[0] + channels[1])]
    bits = times * sum(float(channel.sum()) for channel in channels)
    return _AROUND + _FRAME_BYTES * frames + round(_TRIED * bits / 8)


def _bits(samples: Array, bit_depth: int) -> Array:
    """Bits of each frame of a channel: as it is, or with the best predictor."""
    width = min(_FRAME, len(samples))
    frames = np.pad(samples, (0, -len(samples) % width)).reshape(-1, width)
    lengths = np.minimum(width, len(samples) - width * np.arange(len(frames)))
    costs, residuals = [lengths * float(bit_depth)], frames
    for order in _DIFFERENCES:
        costs.append(order * bit_depth + _rice_bits(residuals, lengths, order))
        residuals = np.diff(residuals, axis=1, prepend=0)
    precision = _LEAST_PRECISION if width <= _FEW else _PRECISION
    correlations = _correlations(frames, lengths)
    for order in _ORDERS:
        residuals = frames - np.rint(_predicted(frames, correlations, order, precision))
        costs.append(order * (bit_depth + precision) + _COEFFICIENTS_BITS + _rice_bits(residuals, lengths, order))
    last = np.take_along_axis(frames, lengths[:, None] - 1, axis=1)
    constant = ((frames == last) | (np.arange(width) >= lengths[:, None])).all(axis=1)
    return np.where(constant, bit_depth, np.min(costs, axis=0))


def _correlations(frames: Array, lengths: Array) -> Array:
    """Correlations of frames ``(frames, samples)`` with themselves, so many samples later, ``(frames, 1 + orders)``."""
    place = (np.arange(frames.shape[1]) + 0.5) / lengths[:, None]
    edge = np.clip(np.minimum(place, 1 - place) / _TAPER, 0, 1)
    windowed = frames * (0.5 - 0.5 * np.cos(np.pi * edge))
    padded = np.pad(windowed, ((0, 0), (0, _ORDERS[-1])))
    width = frames.shape[1]
    return np.stack([(windowed * padded[:, lag : lag + width]).sum(axis=1) for lag in range(1 + _ORDERS[-1])], axis=1)


def _predicted(frames: Array, correlations: Array, order: int, precision: int) -> Array:
    """Samples of frames as so many before each of them predict it, with coefficients of some bits."""
    lags = np.abs(np.arange(order)[:, None] - np.arange(order))
    ridge = (_RIDGE * correlations[:, 0] + 1)[:, None, None] * np.eye(order)
    coefficients = np.linalg.solve(correlations[:, lags] + ridge, correlations[:, 1 : order + 1, None])[..., 0]
    largest = np.maximum(np.abs(coefficients).max(axis=1, keepdims=True), 2.0**-precision)
    step = np.exp2(np.ceil(np.log2(largest)) + 1 - precision)
    coefficients = np.rint(coefficients / step) * step
    predicted = np.zeros_like(frames)
    for lag in range(1, min(order, frames.shape[1] - 1) + 1):
        predicted[:, lag:] += coefficients[:, lag - 1 : lag] * frames[:, :-lag]
    return predicted


def _rice_bits(residuals: Array, lengths: Array, order: int) -> Array:
    """Bits of each frame in Rice codes of the best parameters.

    Args:
        residuals: of each frame, ``(frames, samples)``.
        lengths: samples of each frame that there are.
        order: samples at its beginning that are not predicted.
    """
    there = (np.arange(residuals.shape[1]) >= order) & (np.arange(residuals.shape[1]) < lengths[:, None])
    beyond = ((0, 0), (0, -residuals.shape[1] % _BLOCK))
    natural = np.where(there, 2 * np.abs(residuals) - (residuals < 0), 0)  # the sign is a bit of it
    natural, there = (np.pad(values, beyond).reshape(len(residuals), -1, _BLOCK) for values in (natural, there))
    counts = there.sum(axis=2)
    # a Rice code of parameter k takes k + 1 bits and one for each 2^k of the number
    parameters = np.floor(np.log2(np.maximum(natural.sum(axis=2) / np.maximum(counts, 1), 1)))
    quotients = np.floor(natural * np.exp2(-parameters)[..., None]).sum(axis=2)
    bits: Array = (counts * (parameters + 1) + quotients + _PARAMETER_BITS).sum(axis=1)
    return bits
