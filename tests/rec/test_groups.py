"""The partition into groups: complete, balanced, and made of integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.errors import DamagedFileError
from combiner_cli.rec import groups, sampler

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


def sorted_at_once(information, count, key):
    """The partition by its definition: one sort of everything."""
    coded = np.flatnonzero(information)
    words = sampler.permutation_words(np.arange(len(coded)), len(coded), key)
    order = coded[np.argsort(words, kind="stable")]
    own = information[order].astype(np.int64)
    group = (np.cumsum(own) - own) * count // own.sum()
    first = np.searchsorted(group, group)
    return order, group, np.arange(len(order)) - first


@pytest.mark.parametrize(("latents", "pruned"), [(5, 0.0), (70_000, 0.5), (400_000, 0.1), (1_500_000, 0.0)])
def test_a_partition_in_pieces_is_the_partition(latents, pruned):
    generator = np.random.default_rng(latents)
    information = (generator.integers(1, 3000, latents) * (generator.random(latents) >= pruned)).astype(np.int16)
    count, key = max(1, latents // 7), 12345
    expected = sorted_at_once(information, count, key)
    whole = groups.partition(information, count, key)
    pieces = list(groups.pieces(lambda some: information[some], latents, count, key))
    assert len(pieces) > 1 or latents < 100_000
    assert all(0 < len(piece.order) <= 1 << 16 and piece.groups == count for piece in pieces)
    for number, name in enumerate(("order", "group", "column")):
        assert np.array_equal(getattr(whole, name), expected[number])
        assert np.array_equal(np.concatenate([getattr(piece, name) for piece in pieces]), expected[number])


def test_nothing_to_code_is_an_empty_partition():
    partition = groups.partition(np.zeros(4, dtype=np.int64), 1, 1)
    assert len(partition.order) == 0
    assert partition.width == 0


STAGES = st.lists(st.lists(st.integers(0, 4096), max_size=30), min_size=1, max_size=8)


def _stages(informations):
    return [groups.Stage(str(n), np.array(own, dtype=np.int64)) for n, own in enumerate(informations)]


@given(STAGES.filter(lambda stages: any(map(sum, stages))), st.integers(0, 10**6))
def test_groups_are_shared_out_completely_and_in_proportion(informations, count):
    shares = groups.share_out(_stages(informations), count)
    total = sum(map(sum, informations))
    assert sum(shares) == count
    assert all(type(share) is int for share in shares)
    for share, own in zip(shares, informations, strict=True):
        assert abs(share * total - count * sum(own)) < total  # less than a group from the exact proportion
        assert share == 0 or sum(own) > 0


def test_sharing_out_is_exact_where_floating_point_is_not():
    """Two stages of nearly equal information: a fraction of float64 would round the boundary up."""
    large = 2**60
    stages = _stages([[large - 1], [large + 1]])
    assert groups.share_out(stages, 2) == (0, 2)
    assert groups.share_out(_stages([[large], [large]]), 2) == (1, 1)


def test_stages_without_information_get_no_groups():
    assert groups.share_out(_stages([[], [0, 0], [5], []]), 7) == (0, 0, 7, 0)
    assert groups.share_out(_stages([[], [0]]), 7) == (0, 0)


def test_the_partitions_of_a_file_have_as_many_groups_as_the_file():
    stages = _stages([[300] * 20, [], [1, 0, 2], [700] * 9])
    parts = groups.partitions(stages, 11, 5)
    assert [part.groups for part in parts] == list(groups.share_out(stages, 11))
    assert sum(part.groups for part in parts) == 11
    assert parts[1] is groups.EMPTY
    assert np.array_equal(np.sort(parts[3].order), np.arange(9))
