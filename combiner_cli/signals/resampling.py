"""Recordings at another sample rate, by the SoX resampler library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def length_at(length: int, sample_rate: int, other: int) -> int:
    """Samples at another sample rate that cover a recording of so many, rounded up."""
    return -(-length * other // sample_rate)


def resampled(samples: Array, sample_rate: int, other: int, length: int | None = None) -> Array:
    """A recording at another sample rate.

    Args:
        samples: ``(samples, channels)`` float32 or float64.
        sample_rate: of them, in Hz.
        other: that is wanted.
        length: of the result, which is cut or filled up with zeros; as :func:`length_at` has it where it is left out.

    Returns:
        ``(length, channels)``, same type.
    """
    wanted = length_at(len(samples), sample_rate, other) if length is None else length
    found = samples
    if sample_rate != other:
        import soxr

        found = soxr.resample(samples, sample_rate, other, quality="VHQ")
    missing = wanted - len(found)
    return found[:wanted] if missing <= 0 else np.pad(found, ((0, missing), (0, 0)))
