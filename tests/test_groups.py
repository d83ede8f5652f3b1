"""The partition into groups: complete, balanced, and made of integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli import groups
from combiner_cli.errors import DamagedFileError

INFORMATION = st.lists(st.integers(0, 4096), min_size=1, max_size=200).filter(any)


@given(INFORMATION, st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_every_latent_with_information_is_in_exactly_one_place(information, count, key):
    information = np.array(information, dtype=np.int64)
    count = min(count, int(information.sum()))
    partition = groups.partition(information, count, key)
    assert np.array_equal(np.sort(partition.order), np.flatnonzero(information))
    assert (np.diff(partition.group) >= 0).all()
    assert partition.group.min() >= 0
    assert partition.group.max() < count
    places = set(zip(partition.group.tolist(), partition.column.tolist(), strict=True))
    assert len(places) == len(partition.order)
    for group in set(partition.group.tolist()):
        columns = partition.column[partition.group == group]
        assert np.array_equal(columns, np.arange(len(columns)))


@given(INFORMATION, st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_groups_hold_equal_information_but_for_one_latent(information, count, key):
    information = np.array(information, dtype=np.int64)
    count = min(count, int(information.sum()))
    partition = groups.partition(information, count, key)
    held = np.bincount(partition.group, weights=information[partition.order], minlength=count)
    share = information.sum() / count
    assert np.abs(held - share).max() <= information.max() + 1


def test_expected_groups_is_information_over_group_bits():
    assert groups.expected_groups(np.full(100, 256), 16) == 6
    assert groups.expected_groups(np.full(100, 256), 8) == 12
    assert groups.expected_groups(np.array([1]), 16) == 1


@pytest.mark.parametrize("count", [0, -1, 10**6, 2**62])
def test_impossible_numbers_of_groups_are_refused(count):
    with pytest.raises(DamagedFileError, match="do not fit"):
        groups.partition(np.full(10, 100, dtype=np.int64), count, 1)


def test_nothing_to_code_is_an_empty_partition():
    partition = groups.partition(np.zeros(4, dtype=np.int64), 1, 1)
    assert len(partition.order) == 0
    assert partition.width == 0
