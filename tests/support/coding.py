"""Encoding and decoding with nothing but a prior and the container, as ``codec`` does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from unittest import mock

import numpy as np
import numpy.typing as npt

from combiner_cli.container.file import File, pack
from combiner_cli.container.header import Numbers
from combiner_cli.family import Decoded, Encoded, EncodingOptions, Prior, Target, View
from combiner_cli.priors import library, store
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Format, Signal
from combiner_cli.stages import decoder
from combiner_cli.stages.class_stream import SymbolWriter


@dataclass(frozen=True, eq=False)
class Coding:
    """A signal, what an encoder made of it, and what a decoder makes of that."""

    signal: Signal
    encoded: Encoded
    file: File
    decoded: Decoded
    decoded_signal: Signal

    @property
    def psnr(self) -> float:
        return metrics.psnr(self.signal, self.decoded_signal)

    @property
    def size(self) -> int:
        return len(self.file.data)


def coded(signal: Signal, prior: Prior, target: Target | None = None, **options) -> Coding:
    """Code a signal at a target or at the prior's own rate; decoding must give the latents and the format that went in.

    Args:
        signal: to encode.
        prior: to encode with.
        target: of the file.
        options: fields of ``EncodingOptions``.
    """
    target = target or Target("rate", prior.bits_per_point)
    (encoded,) = prior.encode([signal], target, EncodingOptions(**options), lambda _: None)
    file = File.parse(prior.pack(signal.format, encoded))
    decoded = prior.decode(file, View(keep_latents=True))
    assert np.array_equal(decoded.latents, encoded.latents)
    assert decoded.class_bytes + sum(decoded.groups.values()) <= len(encoded.payload)
    lean = prior.decode(file, View()).signal()
    assert lean.format == signal.format
    assert np.array_equal(lean.samples, decoded.signal().samples)
    return Coding(signal, encoded, file, decoded, lean)


def of_size(signal: Signal, prior: Prior, size: int, **options) -> Coding:
    """Code a signal to so many bytes."""
    coding = coded(signal, prior, Target("size", size), **options)
    assert coding.size == size
    return coding


class InventedSymbols(SymbolWriter):
    """A stream of classes that is made up while it is read, rare symbols oftener than they should be."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = np.random.default_rng(seed)

    def read(self, frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Make up symbols ``(units,)``, given their frequencies ``(symbols, units)``."""
        shares = np.cumsum(np.sqrt(frequencies), axis=0)
        symbols = (shares <= self._generator.random(shares.shape[1]) * shares[-1]).sum(axis=0)
        self.put(symbols, frequencies)
        return symbols

    def exchange(self, symbol: int, frequencies: npt.NDArray[np.float64]) -> int:
        return int(self.read(frequencies)[0])

    def exchange_all(
        self, symbols: npt.NDArray[np.int64], frequencies: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        return self.read(np.broadcast_to(frequencies, (len(frequencies), len(symbols))))


def invented_file(prior: Prior, signal_format: Format, numbers: Numbers, indices: bytes, seed: int) -> bytes:
    """A file that no encoder would write, but that decodes.

    Args:
        prior: that is coded stage by stage.
        signal_format: of the file.
        numbers: of the header, but for the length of the stream of classes.
        indices: of groups.
        seed: of the stream of classes.
    """
    symbols = InventedSymbols(seed)
    with mock.patch.object(decoder, "SymbolReader", lambda *_: symbols):
        without = pack(prior.id, signal_format, prior.fields, {**numbers, "class_bytes": (0,)}, indices)
        prior.decode(File.parse(without), View())
    classes = symbols.stream()
    return pack(prior.id, signal_format, prior.fields, {**numbers, "class_bytes": (len(classes),)}, classes + indices)


@functools.cache
def shipped(name: str) -> Prior:
    """A prior that comes with the program."""
    return store.load(library.shipped_folder() / f"{name}{store.SUFFIX}")
