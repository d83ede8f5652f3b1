"""A prior of a family that the program does not know: what codec and batch can do with the interface alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from combiner_cli.container.header import Field
from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.family import Decoded, Encoded, Family, Prior
from combiner_cli.signals.signal import Format, to_values

_LEVELS = 255


class PlainFamily(Family):
    """Signals as averages over blocks of samples, a byte each: as few bytes as blocks are large."""

    name, kinds = "plain", ("image", "sound")

    def load(self, name, configuration, tensors):
        return PlainPrior(name, configuration["kind"])

    def suits(self, configuration, signal_format):
        return 0.0 if configuration["kind"] == signal_format.kind else None

    def options(self):
        return ()

    def learning(self, request):
        raise UsageError("there is nothing to learn")


PLAIN = PlainFamily()


@dataclass(frozen=True, eq=False)
class PlainPrior(Prior):
    """Of the whole signal as a row of numbers; with more bytes there are more averages.

    Attributes:
        seen: targets that encoders were asked for, in their order.
        wrong: what is done wrong on purpose: ``"latents"``, ``"payload"`` or ``"format"``.
    """

    name: str = "plain"
    kind: str = "image"
    most: int = 1000
    wrong: str = ""
    seen: list = field(default_factory=list)

    @property
    def family(self):
        return PLAIN

    @property
    def fields(self):
        return (Field("count", least=2**16),)  # always five bytes

    def configuration(self):
        return {"family": "plain", "kind": self.kind, "most": self.most}

    def tensors(self):
        return {}

    @property
    def bits_per_point(self):
        return 1.0

    def rate_at(self, quality):
        return 0.2 * quality

    def psnr_range(self):
        return None

    def points_rendered(self, signal_format: Format, scale: int = 1):
        return signal_format.points * scale ** len(signal_format.shape)

    def encode(self, signals, target, options, report):
        self.seen.append(target)
        return [self._encoded(signal, target) for signal in signals]

    def _encoded(self, signal, target):
        values = np.moveaxis(to_values(signal), -1, 0).reshape(-1)  # channel after channel
        count = round(target.value * signal.points / 8) if target.unit == "rate" else 20
        if target.unit == "size":
            around = len(self.pack(signal.format, Encoded({"count": (2**16,)}, b"", np.zeros(0), {})))
            count = round(target.value) - around
            if count < 1:
                raise UsageError(f"a file of this {signal.kind} takes {around + 1} bytes; ask for more")
        count = min(count, len(values), self.most)
        parts = np.array_split(values, count)
        numbers = np.array([round((part.mean() + 1) / 2 * _LEVELS) for part in parts])
        payload = bytes((numbers ^ (self.wrong == "payload")).astype(np.uint8))
        latents = numbers + (self.wrong == "latents") * 1.0
        return Encoded({"count": (2**16 + count,)}, payload, latents, {"fit": 0.0})

    def decode(self, file, view):
        numbers, payload = file.numbers(self.fields)
        if len(payload) != numbers["count"][0] - 2**16:
            raise DamagedFileError("the payload has another length than the header says; the file is damaged")
        latents = np.frombuffer(payload, np.uint8).astype(float)
        size = file.format.points * file.format.channels
        lengths = [len(part) for part in np.array_split(np.zeros(size), len(latents))]
        planes = np.repeat(latents / _LEVELS * 2 - 1, lengths).reshape(file.format.channels, *file.format.shape)
        values = np.moveaxis(planes, 0, -1)
        signal_format = file.format
        if view.size is not None or view.scale > 1:
            size = view.size or tuple(length * view.scale for length in signal_format.shape)
            signal_format = Format(self.kind, size, signal_format.channels, signal_format.bit_depth, None)
        if self.wrong == "format":
            signal_format = Format(
                self.kind, signal_format.shape, signal_format.channels, 16, signal_format.sample_rate
            )
        return Decoded(
            signal_format, values, {"all": len(latents)}, 0, None, latents if view.keep_latents else latents[:0]
        )
