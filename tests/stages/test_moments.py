"""Moments of weights in whole numbers, and the parts that weights are coded in."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.stages.moments import HIGHEST, LOWEST, OCTAVE, Moments, Parts, in_deviations


def of_octaves(*octaves, mean=None, last=True):
    """Moments of weights whose deviations are so many octaves over the noise's; ``None`` for a pruned one."""
    numbers = [-1 if one is None else OCTAVE * one - LOWEST for one in octaves]
    means = np.zeros(len(octaves)) if mean is None else np.array(mean, dtype=float)
    return Moments(means, np.array(numbers, dtype=np.int16), last)


def test_weights_by_hand():
    moments = of_octaves(0, None, 1, mean=[100, -7, 5])
    # one and two deviations of the noise are 64 and 128 steps
    assert moments.values(np.array([0, 2]), np.array([1.5, -0.25])).tolist() == [100 + 96, -7, 5 - 32]
    assert moments.mean.tolist() == [100, -7, 5]
    assert moments.deviations(np.array([0, 2])).tolist() == [1, 2]
    # half of log2(1 + t) bits, in 256ths
    assert moments.information().tolist() == [128, 0, round(128 * math.log2(5))]
    assert moments.total_information() == 128 + 297
    assert moments.information_of(np.array([2, 1])).tolist() == [297, 0]


def test_candidates_are_rounded_down_to_steps():
    moments = of_octaves(0, 0)
    assert moments.values(np.array([0, 1]), np.array([2.0**-7, -(2.0**-7)])).tolist() == [0, -1]


@pytest.mark.parametrize("octaves", [1, 14])
def test_weights_are_added_in_a_type_that_holds_them(octaves):
    moments = of_octaves(octaves)
    start = np.zeros(1, dtype=np.int16)
    weights = moments.add(start, np.array([0]), np.array([1.0]))
    assert weights.tolist() == [64 * 2**octaves]
    assert (weights is start) == (octaves == 1)


@pytest.mark.parametrize("steps", [[100, -7, 5], [2**20, -7, 5]])
def test_steps_are_the_same_deviations_in_every_type_that_holds_them(steps):
    for kind in (np.int32, np.float32, np.float64):
        assert np.array_equal(in_deviations(np.array(steps, dtype=kind)), np.array(steps) / 64)
    narrow = in_deviations(np.array([100, -7, 5], dtype=np.int16))
    assert narrow.tolist() == [100 / 64, -7 / 64, 5 / 64]
    assert narrow.dtype == np.float32


def test_what_a_part_leaves_is_a_sixteenth_of_its_deviation_and_the_noise():
    part = of_octaves(6, 13, last=False)
    assert part.information().tolist() == [4 * 256, 4 * 256]
    assert part.variance_left(np.array([0, 1])).tolist() == [1 + 4.0**2, 1 + 512.0**2]
    assert of_octaves(6, 13).variance_left(np.arange(2)).tolist() == [1, 1]


def all_parts(moments, parts_from, repeated=()):
    """The parts of some weights, each of which adds 10 steps; those of some numbers come again."""
    parts, seen = Parts(moments, parts_from), []
    while not parts.finished:
        part = parts.begin()
        seen.append(part)
        parts.put(part.mean + 10, len(seen) in repeated)
    return seen, parts.moments.mean.tolist()


def octaves_of(parts):
    """Octaves of the deviations of the weights of some parts."""
    return [[None if k < 0 else (k + LOWEST) / OCTAVE for k in part.deviation.tolist()] for part in parts]


def test_a_weight_of_much_information_is_coded_in_parts_by_hand():
    seen, weights = all_parts(of_octaves(0, 6, 13, mean=[1, 2, 3]), 6)
    # 13 octaves come in parts of 4 until fewer than 6 are left, 6 in one part and a last one
    assert octaves_of(seen) == [[None, 6, 13], [None, None, 9], [0, 2, 5]]
    assert [part.last for part in seen] == [False, False, True]
    assert weights == [31, 32, 33]


def test_a_part_that_comes_again_leaves_the_deviations_as_they_are():
    seen, weights = all_parts(of_octaves(0, 6, 13, mean=[1, 2, 3]), 6, repeated=(1, 4))
    assert octaves_of(seen) == [[None, 6, 13], [None, 6, 13], [None, None, 9], [0, 2, 5], [0, 2, 5]]
    assert [part.last for part in seen] == [False, False, False, True, True]
    assert weights == [51, 52, 53]


@given(st.lists(st.one_of(st.none(), st.integers(-2, 20)), max_size=6), st.integers(4, 20))
def test_every_weight_ends_with_a_last_part_of_few_octaves(octaves, parts_from):
    seen, _ = all_parts(of_octaves(*octaves), parts_from)
    assert [part.last for part in seen] == [False] * (len(seen) - 1) + [True]
    assert all(number is None or number < parts_from for number in octaves_of(seen)[-1])
    for before, number in zip(octaves, octaves_of(seen)[-1], strict=True):
        assert number is None if before is None else (before - number) % 4 == 0


def test_deviations_are_widened_before_the_first_sixteen_parts_and_not_before_a_last_part_that_comes_again():
    parts, asked = Parts(of_octaves(20), 4), []
    for _ in range(18):
        asked.append(parts.may_be_widened)
        parts.put(parts.begin().mean, repeat=True)
    assert asked == [True] * 16 + [False] * 2
    parts = Parts(of_octaves(0), 4)
    assert parts.may_be_widened
    parts.put(parts.begin().mean, repeat=True)
    assert not parts.may_be_widened


def test_no_deviation_is_beyond_the_table():
    moments = Moments(np.zeros(2), np.array([0, HIGHEST - LOWEST], dtype=np.int16))
    low, high = moments.deviations(np.arange(2))
    assert low == pytest.approx(2 ** (LOWEST / 16), abs=2**-13) and high == 2.0**20
    assert moments.information().tolist() == [round(128 * math.log2(1 + 2 ** (LOWEST / 8))), 256 * 20]
