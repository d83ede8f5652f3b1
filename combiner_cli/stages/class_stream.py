"""The stream of classes of a file: what is not in groups, in an entropy code with probabilities that both sides know.

Energy classes are most of it; a few other symbols say how groups are dealt, and which weights have wider priors
than was predicted. All symbols go through one range coder, in the order in which a decoder meets them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from ..errors import DamagedFileError
from ..system import arrays
from . import integer_network

Array = npt.NDArray[Any]

FREQUENCY_BITS = 16  # of the probabilities of classes
DIGITS = 9  # values of a digit
_LOGIT_UNIT = 16
_LOWEST_LOGIT = -12 * _LOGIT_UNIT
_POWERS = np.rint(np.exp2(np.arange(_LOWEST_LOGIT, 1) / _LOGIT_UNIT + FREQUENCY_BITS))
_SYMBOLS_AT_ONCE, _SYMBOLS_PUT_AT_ONCE = 1 << 13, 1 << 18
_STATE_WORDS = 2  # words of the range coder's state


def frequencies_of(logits: Array) -> Array:
    """Frequencies of classes: whole numbers in about the proportion of 2^logit, none of them 0.

    Args:
        logits: results of a network, ``(classes, units)`` in units of 2^-22.

    Returns:
        ``(classes, units)``; those of a unit sum to 2^16.
    """
    whole_logits = np.floor(logits * (_LOGIT_UNIT * 2.0**-integer_network.RESULT_BITS))
    relative = np.maximum(whole_logits - whole_logits.max(axis=0), _LOWEST_LOGIT).astype(np.int64)
    powers = _POWERS[relative - _LOWEST_LOGIT]
    room = (1 << FREQUENCY_BITS) - len(logits)
    frequencies: Array = 1 + np.floor(powers * room / powers.sum(axis=0))
    likeliest = powers.argmax(axis=0)
    frequencies[likeliest, np.arange(frequencies.shape[1])] += (1 << FREQUENCY_BITS) - frequencies.sum(axis=0)
    return frequencies


@lru_cache
def equal_frequencies(symbols: int) -> Array:
    """Frequencies of so many symbols that are equally likely, ``(symbols, 1)``."""
    return frequencies_of(np.zeros((symbols, 1)))


def bits_of(symbols: Array, frequencies: Array) -> float:
    """Bits that symbols ``(units,)`` take, given their frequencies ``(symbols, units)``."""
    chosen = frequencies[symbols, np.arange(len(symbols))].astype(np.float64)
    return float((FREQUENCY_BITS - np.log2(chosen)).sum())


def best_classes(
    energy: Array, octaves: Array, weights: int, variances: Array, noise: Array | None = None
) -> npt.NDArray[np.int64]:
    """The energy class of least cost of each unit: its own bits, and KL + squared error / (2 · s2) of the unit's
    weights if they all had the variance that the class stands for.

    Args:
        energy: mean squared residual of each unit over the noise variance, ``(units,)``.
        octaves: logarithms to base 2 of the classes' probabilities, ``(classes, units)``.
        weights: number of weights of a unit.
        variances: that the classes stand for, over the noise's, the noise itself included, ``(classes,)``.
        noise: variance of the noise of each unit where they differ, ``(units,)``.

    Returns:
        ``(units,)``.
    """
    variances = variances[:, None]
    if noise is not None:
        variances = variances - 1 + noise
    coding = np.log2(variances) + energy / (variances * math.log(2))
    classes: npt.NDArray[np.int64] = (0.5 * weights * coding - octaves).argmin(axis=0)
    return classes


class Symbols(ABC):
    """Symbols one after another: an encoder puts them somewhere, a decoder finds them there."""

    @abstractmethod
    def exchange(self, symbol: int, frequencies: Array) -> int:
        """One symbol, for code that encoder and decoder share.

        Args:
            symbol: what an encoder puts; a decoder may be given anything.
            frequencies: of all symbols that it could be, ``(symbols, 1)``.

        Returns:
            The symbol that was put, or the one that was found.
        """

    def exchange_number(self, number: int) -> int:
        """A number below 81 in two digits, as :meth:`exchange`."""
        high, low = divmod(number, DIGITS)
        flat = equal_frequencies(DIGITS)
        return self.exchange(high, flat) * DIGITS + self.exchange(low, flat)

    @abstractmethod
    def exchange_all(self, symbols: npt.NDArray[Any], frequencies: Array) -> npt.NDArray[np.integer]:
        """Symbols that all have the same frequencies, as :meth:`exchange`.

        Args:
            symbols: what an encoder puts, ``(units,)`` whole numbers of any type; a decoder may be given any as many.
            frequencies: ``(symbols, 1)``.
        """


class SymbolCost(Symbols):
    """What symbols take, without a stream that they go into.

    Attributes:
        bits: of all symbols so far.
    """

    def __init__(self) -> None:
        self.bits = 0.0

    def put(self, symbols: Array, frequencies: Array) -> None:
        """Count symbols ``(units,)``, given their frequencies ``(symbols, units)``."""
        self.bits += bits_of(symbols, frequencies)

    def exchange(self, symbol: int, frequencies: Array) -> int:
        self.put(np.array([symbol]), frequencies)
        return symbol

    def exchange_all(self, symbols: npt.NDArray[Any], frequencies: Array) -> npt.NDArray[np.integer]:
        for some in arrays.blocks(len(symbols), _SYMBOLS_PUT_AT_ONCE):
            part = symbols[some].astype(np.int64)
            self.put(part, np.broadcast_to(frequencies, (len(frequencies), len(part))))
        return symbols


class SymbolWriter(SymbolCost):
    """The stream of classes in the making."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = constriction.stream.queue.RangeEncoder()

    def put(self, symbols: Array, frequencies: Array) -> None:
        """Put symbols ``(units,)`` into the stream, given their frequencies ``(symbols, units)``."""
        self._encoder.encode(symbols.astype(np.int32), _model(), _probabilities(frequencies))
        super().put(symbols, frequencies)

    def stream(self) -> bytes:
        """The stream, if it ended here: words, most significant byte first, without the zeros at its end that a decoder
        takes for what is missing, and as short as it can be.

        Any number in the interval of the encoder's state names the symbols (Moffat, Neal and Witten, "Arithmetic coding
        revisited", 1998); of those the one with the most zeros at its end is taken.
        """
        words: npt.NDArray[np.uint32] = self._encoder.get_compressed()
        count, (low, size) = self._encoder.pos()
        point = int.from_bytes(words.astype(">u4").tobytes()) << 32 * (count + _STATE_WORDS - len(words))
        # the library's point is in the interval, which says what the words before the state are
        first = ((point - low) >> 32 * _STATE_WORDS << 32 * _STATE_WORDS) + low
        bits = reversed(range(32 * _STATE_WORDS + 1))
        rounded_up: Iterator[int] = (-(-first >> zeros << zeros) for zeros in bits)
        shortest = next(number for number in rounded_up if number < first + size)
        return shortest.to_bytes(4 * (count + _STATE_WORDS)).rstrip(b"\0")


class SymbolReader(Symbols):
    """The stream of classes of a file, read from its beginning on.

    Attributes:
        damaged: whether the file is known to be: symbols that cannot be read are 0 then.
    """

    def __init__(self, stream: bytes, damaged: bool = False) -> None:
        self.damaged = damaged
        padded = stream + bytes(-len(stream) % 4)
        self._decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))

    def read(self, frequencies: Array) -> npt.NDArray[np.int8]:
        """The next symbols ``(units,)``, given their frequencies ``(symbols, units)``.

        Raises:
            DamagedFileError: there are no such symbols, in a file that is not known to be damaged.
        """
        symbols = np.zeros(frequencies.shape[1], dtype=np.int8)
        for begin in range(0, len(symbols), _SYMBOLS_AT_ONCE):
            some = slice(begin, begin + _SYMBOLS_AT_ONCE)
            try:
                symbols[some] = self._decoder.decode(_model(), _probabilities(frequencies[:, some]))
            except (AssertionError, ValueError) as error:
                if not self.damaged:
                    raise DamagedFileError("the classes of the file cannot be read; it is damaged") from error
        return symbols

    def exchange(self, symbol: int, frequencies: Array) -> int:
        del symbol  # it is what is found out
        return int(self.read(frequencies)[0])

    def exchange_all(self, symbols: npt.NDArray[Any], frequencies: Array) -> npt.NDArray[np.integer]:
        return self.read(np.broadcast_to(frequencies, (len(frequencies), len(symbols))))


def _model() -> Any:
    """The family of models of the range coder: any probabilities."""
    return constriction.stream.model.Categorical(perfect=False)


def _probabilities(frequencies: Array) -> npt.NDArray[np.float32]:
    """Frequencies ``(symbols, units)`` as the range coder takes them, ``(units, symbols)``: exact."""
    return np.ascontiguousarray(frequencies.T * 2.0**-FREQUENCY_BITS, dtype=np.float32)
