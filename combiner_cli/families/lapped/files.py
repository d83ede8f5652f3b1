"""Recordings to files with a lapped prior: choose hop and noise variance, and write."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import pack
from ...container.header import Numbers
from ...family import Encoded, EncodingOptions, Progress, Report, Target
from ...signals.resampling import resampled
from ...signals.signal import Signal
from ...stages import rate_control
from ...stages.allocation import DENSITIES, MOST_DENSITY
from ...stages.encoder import Budget, Coded, Forecast, writer_for
from ...stages.prior import search_method
from .encoder import Recording, encode_segments, forecast
from .prior import HIGHEST_CODE, LappedPrior, noise_deviation, principal_angle, rotation
from .transform import CHANNELS

Array = npt.NDArray[Any]

_CODES = rate_control.Codes(0, HIGHEST_CODE, 48, 1 / 4, 1.0, 48)
_LISTENED = (0, 4, 4, 6, 6, 8, 12, 16, 24, 32)  # segments that choices are made by, by effort


def encode(
    prior: LappedPrior, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
) -> list[Encoded]:
    """Encode sounds, one after another.

    Args:
        prior: of their weights.
        signals: the sounds.
        target: of each file.
        options: how.
        report: called as the work proceeds.

    Raises:
        UsageError: the target cannot be met, or an option goes with another family.
    """
    method = search_method(prior, options, "viterbi")  # fast enough for every effort
    encoded = []
    for number, signal in enumerate(signals):
        report(Progress("fit", number / len(signals)))
        encoded.append(_encoded(prior, signal, target, options, method))
    seconds = {phase: sum(one.seconds[phase] for one in encoded) for phase in encoded[0].seconds}
    return [replace(one, seconds=seconds) for one in encoded]


def _encoded(prior: LappedPrior, signal: Signal, target: Target, options: EncodingOptions, method: str) -> Encoded:
    clock, effort = time.perf_counter(), options.effort
    assert signal.sample_rate is not None
    samples = resampled(signal.samples, signal.sample_rate, prior.coded_rate(signal.sample_rate))
    angle = principal_angle(samples) if signal.channels == CHANNELS else 0
    coded_channels = samples @ rotation(angle).T.astype(np.float32) if signal.channels == CHANNELS else samples
    coded_channels = np.ascontiguousarray(coded_channels.T)
    listeners = [_Listener(prior, Recording(coded_channels, hop), _LISTENED[effort]) for hop in prior.hops]

    def overhead(numbers: Numbers) -> int:
        whole = {"noise": (0,), "hop": (0,), "angle": (angle,), **numbers}
        return len(pack(prior.id, signal.format, prior.fields, whole, b""))

    around = overhead({"class_bytes": (2**16,), "densities": (MOST_DENSITY,) * DENSITIES, "chains": (1,)})

    def chosen(listener: _Listener) -> int:
        return rate_control.choose(
            listener.foretell, _CODES, prior, target, signal.points, coded_channels.size, around, effort
        )

    usual = len(listeners) // 2
    code = chosen(listeners[usual])
    number = min(range(len(listeners)), key=lambda place: listeners[place].cost(code))
    listener = listeners[number]
    code = code if number == usual else chosen(listener)
    seconds = {"fit": time.perf_counter() - clock}
    clock = time.perf_counter()

    def attempt_at(code: int) -> rate_control.Attempt:
        expected = listener.all_parts(code)

        def attempt(budget: Budget) -> Coded:
            writer = writer_for(prior.key, expected, budget, method, options.seed)
            return encode_segments(prior, listener.recording, expected, writer)

        return attempt

    size = int(target.value) if target.unit == "size" else None
    coded = rate_control.best(attempt_at, listener.all_parts, code, _CODES, overhead, size, effort, coarser=True)
    seconds["search"] = time.perf_counter() - clock
    numbers = {"noise": (coded.code,), **coded.numbers, "hop": (number,), "angle": (angle,)}
    return Encoded(numbers, coded.payload, coded.latents, seconds)


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
