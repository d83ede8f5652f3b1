"""How groups are dealt to stages, worked by hand."""

import numpy as np
import pytest

from combiner_cli.rec.candidates import Chaining
from combiner_cli.stages.allocation import (
    EXTRA_FREQUENCIES,
    GROUP_INFORMATION,
    GroupAllocator,
    density_number,
    density_of,
    may_have_extra_groups,
    partition,
    partition_key,
    rows_of,
)
from combiner_cli.stages.moments import Moments, StageId

LAST = StageId(0, 5)


def test_densities_by_hand():
    # groups per 8 bits of information, in 96ths
    assert [density_of(ratio) for ratio in (0, 0.5, 1, 1.05, 5)] == [0, 48, 96, 101, 127]
    stages = [StageId(7, 0), StageId(2, 5), StageId(1, 0), StageId(1, 5), StageId(0, 0), StageId(0, 5)]
    assert [density_number(stage) for stage in stages] == [0, 0, 1, 1, 2, 7]


def test_groups_are_dealt_by_information_and_the_last_stage_takes_the_rest():
    allocator = GroupAllocator([96] * 8, 100, LAST)
    # 2048 are 8 bits in 256ths: what does not fill a group goes on to the next stage
    assert allocator.take(StageId(3, 0), 2048 * 10 + 1000) == 10
    assert allocator.pending == 1000 * 96
    assert allocator.take(StageId(2, 0), 2048 * 5 + 1100) == 5 + 1
    assert allocator.pending == 52 * 96
    assert allocator.take(LAST, 10**6) == 100 - 16
    assert allocator.left == 0


def test_a_small_file_by_hand():
    """Eight densities 80 to 87, five groups; information in 1/256 bit. The example of FORMAT.md."""
    allocator = GroupAllocator(list(range(80, 88)), 5, LAST)
    stages = [StageId(1, 0), *(StageId(0, number) for number in range(6))]
    information = [3000, 2000, 1500, 900, 800, 1000, 600]
    # 3000 · 81 = 243000: one group of 196608, 46392 go on; + 2000 · 82 = 210392: one, 13784 go on;
    # + 1500 · 83 = 138284: none; + 900 · 84 = 213884: one, 17276 go on; + 800 · 85 = 85276: none;
    # + 1000 · 86 = 171276: none; the last stage has the two that are left
    taken = [allocator.take(stage, bits) for stage, bits in zip(stages, information, strict=True)]
    assert taken == [1, 1, 0, 1, 0, 0, 2]


def test_a_stage_takes_no_more_groups_than_are_left_or_than_it_has_information():
    allocator = GroupAllocator([127] * 8, 3, LAST)
    assert allocator.take(StageId(1, 0), 10**7) == 3
    assert allocator.take(LAST, 10**7) == 0
    allocator = GroupAllocator([96] * 8, 50, LAST)
    assert allocator.take(LAST, 7) == 7
    allocator.pending = GROUP_INFORMATION * 96 * 40
    assert allocator.take(StageId(0, 0), 9) == 9


def test_before_the_last_plane_there_is_one_density_and_no_bound():
    allocator = GroupAllocator([96, 0, 0, 0, 0, 0, 0, 0], None)
    assert allocator.take(LAST, 2048 * 7) == 7
    allocator.final_stage = LAST
    assert allocator.take(StageId(0, 0), 2048 * 7) == 0
    assert allocator.take(StageId(2, 0), 2048 * 7) == 7


def test_a_part_that_is_not_the_last_one_has_one_group_at_least():
    allocator = GroupAllocator([0] * 8, 2, LAST)
    assert allocator.take(StageId(2, 0), 1024, last=False) == 1
    # nor does it take the rest, though it is of the last stage
    assert allocator.take(LAST, 10**6, last=False) == 1
    assert allocator.take(LAST, 10**6, last=False) == 0


@pytest.mark.parametrize(("digit", "density"), [(4, 96), (0, 92), (8, 100)])
def test_the_density_before_the_last_plane_is_adjusted_by_a_digit(digit, density):
    allocator = GroupAllocator([96] * 8, None)
    allocator.adjust_rate(digit)
    assert allocator.densities == [density, *[96] * 7]
    allocator.densities[0] = 126
    allocator.adjust_rate(8)
    assert allocator.densities[0] == 127
    allocator.densities[0] = 2
    allocator.adjust_rate(0)
    assert allocator.densities[0] == 0


def test_extra_groups_are_for_few_groups_that_are_not_as_many_as_there_can_be():
    assert [may_have_extra_groups(StageId(3, 0), count, 999) for count in (0, 1, 256, 257)] == [True, True, True, False]
    assert [may_have_extra_groups(StageId(2, 0), count, 999) for count in (0, 16, 17)] == [True, True, False]
    assert [may_have_extra_groups(StageId(2, 0), 5, information) for information in (0, 5, 6)] == [False, False, True]
    assert EXTRA_FREQUENCIES.sum() == 2**16
    allocator = GroupAllocator([96] * 8, 10, LAST)
    # eight at most, no more than are left, nor more groups than information
    assert allocator.most_extra(10**4, 3) == 8
    assert allocator.most_extra(5, 3) == 2
    allocator.take_extra(7)
    assert allocator.most_extra(10**4, 3) == 3
    assert GroupAllocator([96] * 8, None).most_extra(10**4, 3) == 8


def test_with_extra_groups_the_latents_are_dealt_anew():
    moments = Moments(np.zeros(200), np.full(200, 40, dtype=np.int16))
    usual, extra = (partition(moments, 12, 77, more) for more in (0, 2))
    assert usual.groups == extra.groups == 12
    assert sorted(usual.order) == sorted(extra.order) == list(range(200))
    assert usual.order.tolist() != extra.order.tolist()
    assert partition(moments, 12, 79).order.tolist() == extra.order.tolist()
    assert partition_key(2**64 - 1, 3) == 2
    assert partition(moments, 0, 77).groups == 0


@pytest.mark.parametrize("chains", [1, 2, 5])
def test_rows_of_the_last_groups_are_those_of_all(chains):
    indices = np.random.default_rng(0).integers(0, 256, 40)
    before = np.concatenate([np.zeros(chains, dtype=int), indices])[:40]
    rows = 256 * before + indices
    for count in (1, 7, 40):
        assert rows_of(indices, count, Chaining(8, chains)).tolist() == rows[40 - count :].tolist()
