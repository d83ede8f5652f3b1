"""Recordings at another sample rate, by the SoX resampler library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def length_at(length: int, sample_rate: int, new_rate: int) -> int:
    """Samples at another sample rate that cover a recording of so many, rounded up."""
    return -(-length * new_rate // sample_rate)


def resampled(samples: Array, sample_rate: int, new_rate: int, length: int | None = None) -> Array:
    """A recording at another sample rate.

    Args:
        samples: ``(samples, channels)`` float32 or float64.
        sample_rate: of them, in Hz.
        new_rate: that is wanted.
        length: of the result, which is cut or filled up with zeros; as :func:`length_at` has it where it is left out.

    Returns:
        ``(length, channels)``, same type.
    """
    wanted = length_at(len(samples), sample_rate, new_rate) if length is None else length
    if sample_rate != new_rate:
        import soxr

        samples = soxr.resample(samples, sample_rate, new_rate, quality="VHQ")
    missing = wanted - len(samples)
    return samples[:wanted] if missing <= 0 else np.pad(samples, ((0, missing), (0, 0)))
