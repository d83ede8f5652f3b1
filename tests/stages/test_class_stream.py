"""The stream of classes: frequencies, the range coder, choices of classes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.errors import DamagedFileError
from combiner_cli.stages.class_stream import (
    SymbolCost,
    SymbolReader,
    SymbolWriter,
    best_classes,
    bits_of,
    equal_frequencies,
    frequencies_of,
)
from combiner_cli.stages.moments import LOWEST, OCTAVE, Moments

CLASSES = 9


def moments_of(*octaves):
    numbers = [-1 if one is None else OCTAVE * one - LOWEST for one in octaves]
    return Moments(np.zeros(len(octaves)), np.array(numbers, dtype=np.int16))


# frequencies


def test_frequencies_sum_up_and_none_is_zero():
    logits = np.random.default_rng(0).normal(0, 8, (CLASSES, 200)) * 2**22
    frequencies = frequencies_of(logits)
    assert (frequencies.sum(axis=0) == 2**16).all()
    assert frequencies.min() >= 1
    shares = np.exp2(logits / 2**22)
    shares /= shares.sum(axis=0)
    likely = shares > 0.01
    assert (frequencies / 2**16)[likely] == pytest.approx(shares[likely], rel=0.06)


def test_equal_frequencies_by_hand():
    # floor(65536 / m), and what is missing goes to the first
    assert equal_frequencies(4)[:, 0].tolist() == [16384] * 4
    assert equal_frequencies(9)[:, 0].tolist() == [7288, *[7281] * 8]


def test_bits_by_hand():
    frequencies = np.array([[2**15, 2**14], [2**15, 3 * 2**14]])
    assert bits_of(np.array([0, 0]), frequencies) == 1 + 2
    assert bits_of(np.array([1, 1]), frequencies) == pytest.approx(1 + math.log2(4 / 3))


# the range coder


@given(st.integers(0, 300), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_symbols_come_back_from_their_stream(count, seed):
    generator = np.random.default_rng(seed)
    frequencies = frequencies_of(generator.normal(0, 3, (CLASSES, count)) * 2**22)
    symbols = generator.integers(0, CLASSES, count)
    writer = SymbolWriter()
    writer.put(symbols, frequencies)
    assert writer.bits == pytest.approx(bits_of(symbols, frequencies))
    assert 8 * len(writer.stream()) < writer.bits + 9
    reader = SymbolReader(writer.stream())
    halves = [reader.read(frequencies[:, half]) for half in (slice(0, count // 3), slice(count // 3, count))]
    assert np.concatenate(halves).tolist() == symbols.tolist()


def test_streams_are_as_short_as_they_can_be_by_hand():
    halves, writer = np.array([[2**15], [2**15]], dtype=np.float64), SymbolWriter()
    assert writer.stream() == b""
    for symbol, stream in ((0, b""), (1, b"\x40"), (1, b"\x60"), (0, b"\x60"), (1, b"\x68")):
        writer.exchange(symbol, halves)
        assert writer.stream() == stream


@given(st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_no_shorter_stream_has_the_same_symbols(count, seed):
    generator = np.random.default_rng(seed)
    frequencies = frequencies_of(generator.normal(0, 3, (CLASSES, count)) * 2**22)
    symbols = generator.integers(0, CLASSES, count)
    writer = SymbolWriter()
    writer.put(symbols, frequencies)
    number, length = int.from_bytes(writer.stream()), len(writer.stream())
    for shorter in {number >> 8, (number >> 8) + 1} if length > 1 else {0}:
        stream = shorter.to_bytes(length)[1:]
        assert not length or SymbolReader(stream, damaged=True).read(frequencies).tolist() != symbols.tolist()


def test_a_stream_in_the_making_can_be_looked_at():
    writer, frequencies = SymbolWriter(), frequencies_of(np.zeros((CLASSES, 40)))
    writer.put(np.arange(40) % CLASSES, frequencies)
    assert writer.stream() == writer.stream()
    writer.put(np.arange(40) % CLASSES, frequencies)
    assert SymbolReader(writer.stream()).read(np.tile(frequencies, 2)).tolist() == 2 * (np.arange(40) % 9).tolist()


def test_what_no_encoder_writes_is_refused_or_nothing_where_damage_is_known():
    frequencies = frequencies_of(np.zeros((CLASSES, 4)))
    with pytest.raises(DamagedFileError, match="classes"):
        SymbolReader(b"\xff" * 12).read(frequencies)
    assert SymbolReader(b"\xff" * 12, damaged=True).read(frequencies).tolist() == [0] * 4


@given(st.integers(0, 80))
def test_numbers_of_two_digits_come_back(number):
    writer = SymbolWriter()
    assert writer.exchange_number(number) == number
    assert SymbolReader(writer.stream()).exchange_number(0) == number
    cost = SymbolCost()
    cost.exchange_number(number)
    assert cost.bits == writer.bits == pytest.approx(2 * math.log2(9), abs=0.01)


# choices


def test_a_class_is_chosen_for_what_it_saves():
    """With 12 weights and variance v, a class costs 6 · (log2 v + energy / (v ln 2)) bits and its own."""
    variances = np.array([1.0, 2.5, 6.6, 21.0, 80.0, 320.0, 1600.0, 11000.0, 90000.0])
    energy, even = np.array([0.5, 2.5, 21.0]), np.full((CLASSES, 3), -math.log2(CLASSES))
    assert best_classes(energy, even, 12, variances).tolist() == [0, 1, 3]
    rare = even.copy()
    rare[1:] = -20.0  # bits: more than a small variance saves
    assert best_classes(energy, rare, 12, variances).tolist() == [0, 0, 3]


def test_the_choice_between_two_classes_by_hand():
    # variance 1: 6 · e / ln 2 bits; variance 4: 6 · (2 + e / (4 ln 2)); the same where e = 8 ln 2 / 3 = 1.848
    even = np.zeros((2, 2))
    assert best_classes(np.array([1.84, 1.86]), even, 12, np.array([1.0, 4.0])).tolist() == [0, 1]
