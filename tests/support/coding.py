"""Encoding and decoding with nothing but a prior and the container, as ``codec`` does."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from combiner_cli.container.file import File
from combiner_cli.family import Decoded, Encoded, EncodingOptions, Prior, Target, View
from combiner_cli.priors import library, store
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal


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


@functools.cache
def shipped(name: str) -> Prior:
    """A prior that comes with the program."""
    return store.load(library.shipped_folder() / f"{name}{store.SUFFIX}")
