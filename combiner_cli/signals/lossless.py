"""About how many bytes a sound takes without loss: polynomial prediction and Rice codes, as Shorten and FLAC have them.

Robinson, "Shorten: simple lossless and near-lossless waveform compression", 1994.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .signal import INSTANTS_AT_ONCE, Signal

_BLOCK = 256  # samples that have a Rice parameter
_PARAMETER_BITS = 5
_ORDERS = 4  # of differences
_FRAME, _FRAME_BYTES = 4096, 10  # samples that have a header of their own, and the bytes of it
_AROUND = 86  # bytes of a file without samples


def lossless_bytes(sound: Signal) -> int:
    """About how many bytes a sound takes without loss.

    Args:
        sound: any one.
    """
    steps = 2.0 ** (sound.bit_depth - 1)
    bits = 0.0
    for first in range(0, sound.points, INSTANTS_AT_ONCE):
        part = np.rint(sound.samples[first : first + INSTANTS_AT_ONCE].astype(np.float64) * steps)
        bits += sum(_bits(channel, sound.bit_depth) for channel in part.T)
    return _AROUND + _FRAME_BYTES * -(-sound.points // _FRAME) + round(bits / 8)


def _bits(samples: npt.NDArray[Any], bit_depth: int) -> float:
    """Bits of a channel: the first samples as they are, then each block with the best order of differences."""
    residuals, costs = samples, []
    for _ in range(_ORDERS + 1):
        padded = np.pad(np.abs(residuals), (0, -len(residuals) % _BLOCK)).reshape(-1, _BLOCK)
        # a Rice code of parameter k takes k + 1 bits and one for each 2^k of the number, whose sign is a bit of it
        parameter = np.floor(np.log2(np.maximum(2 * padded.mean(axis=1), 1)))
        length = np.minimum(_BLOCK, len(residuals) - _BLOCK * np.arange(len(padded)))
        coded = length * (parameter + 1) + 2 * padded.sum(axis=1) * np.exp2(-parameter) + _PARAMETER_BITS
        costs.append(np.where(padded.any(axis=1), coded, 0))
        residuals = np.diff(residuals)
        residuals = np.append(np.zeros(len(samples) - len(residuals)), residuals)  # they are foretold by nothing
    return bit_depth + float(np.min(costs, axis=0).sum())
