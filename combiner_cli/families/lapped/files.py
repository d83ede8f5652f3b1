"""Recordings to files with a lapped prior: choose hop and noise variance, and write."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container import bitstream
from ...container.bitstream import Header
from ...signals.resampling import resampled
from ...signals.signal import Signal
from ...stages import rate_control
from ...stages.encoder import Budget, Coded, Forecast, writer_for
from .encoder import Recording, encode_segments, forecast
from .prior import HIGHEST_CODE, LappedPrior, noise_deviation, principal_angle, rotation
from .transform import CHANNELS

Array = npt.NDArray[Any]

_CODES = rate_control.Codes(0, HIGHEST_CODE, 48, 1 / 4, 1.0, 48)
_LISTENED = (0, 4, 4, 6, 6, 8, 12, 16, 24, 32)  # segments that choices are made by, by effort


def encode(
    signal: Signal, header: Header, prior: LappedPrior, wanted: rate_control.Wanted, effort: int, method: str, seed: int
) -> rate_control.Written:
    """Encode a sound.

    Args:
        signal: the sound.
        header: of its file, without streams.
        prior: of its weights.
        wanted: of the file.
        effort: 1 to 9.
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.

    Raises:
        UsageError: the size is too small.
    """
    clock = time.perf_counter()
    assert signal.sample_rate is not None
    samples = resampled(signal.samples, signal.sample_rate, prior.coded_rate(signal.sample_rate))
    angle = principal_angle(samples) if signal.channels == CHANNELS else 0
    coded_channels = samples @ rotation(angle).T.astype(np.float32) if signal.channels == CHANNELS else samples
    coded_channels = np.ascontiguousarray(coded_channels.T)
    streams = replace(header, class_bytes=2**16, densities=(127,) * 8, chains=1, transform=(0, angle))
    around = len(bitstream.pack(streams, b""))
    listeners = [_Listener(prior, Recording(coded_channels, hop), _LISTENED[effort]) for hop in prior.hops]

    def chosen(listener: _Listener) -> int:
        return rate_control.choose(
            listener.foretell, _CODES, prior, wanted, signal.points, coded_channels.size, around, effort
        )

    usual = len(listeners) // 2
    code = chosen(listeners[usual])
    number = min(range(len(listeners)), key=lambda place: listeners[place].cost(code))
    listener = listeners[number]
    code = code if number == usual else chosen(listener)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()
    header = replace(header, transform=(number, angle))

    def attempt_at(code: int) -> rate_control.Attempt:
        expected = listener.all_parts(code)

        def attempt(budget: Budget) -> tuple[bytes, Coded]:
            writer = writer_for(prior.key, expected, budget, method, seed)
            coded = encode_segments(prior, listener.recording, expected, writer)
            return rate_control.packed(replace(header, noise=code), coded), coded

        return attempt

    data, coded = rate_control.best(
        attempt_at, listener.all_parts, code, _CODES, header, wanted.size, effort, coarser=True
    )
    seconds["search"] = time.perf_counter() - clock
    return rate_control.Written(data, coded.latents, seconds)


@dataclass(frozen=True, eq=False)
class _Listener:
    """Simulates the coding of a recording, by some of its segments where there are many.

    Attributes:
        prior: of the weights.
        recording: to be coded.
        most: segments that are listened to.
        known: what segments came to, by noise code and number.
    """

    prior: LappedPrior
    recording: Recording
    most: int
    known: dict[tuple[int, int], Forecast] = field(default_factory=dict)

    def _part(self, code: int, number: int) -> Forecast:
        if (code, number) not in self.known:
            weights = self.recording.weights(self.recording.segments[number])
            self.known[code, number] = forecast(self.prior, weights, code)
        return self.known[code, number]

    def foretell(self, code: int) -> Sequence[Forecast]:
        """What the recording is expected to come to."""
        count = len(self.recording.segments)
        if count <= self.most:
            return self.all_parts(code)
        numbers = [(2 * place + 1) * count // (2 * self.most) for place in range(self.most)]
        parts, factor = [self._part(code, number) for number in numbers], count / self.most
        return [
            replace(
                part,
                bits=part.bits * factor,
                class_bits=part.class_bits * factor,
                information=part.information * factor,
                squared_error=part.squared_error * factor,
            )
            for part in parts
        ]

    def all_parts(self, code: int) -> list[Forecast]:
        """What each segment is expected to come to."""
        return [self._part(code, number) for number in range(len(self.recording.segments))]

    def cost(self, code: int) -> float:
        """Bits, and the squared error in bits, of what is listened to."""
        parts = self.foretell(code)
        error = sum(part.squared_error for part in parts) / (2 * math.log(2) * noise_deviation(code) ** 2)
        return error + sum(part.bits + part.class_bits for part in parts)
