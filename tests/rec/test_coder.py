"""A* coding: the distribution of what it chooses, and equal values on both sides."""

import math

import numpy as np
import pytest

from combiner_cli.rec import candidates, groups, sampler, search
from combiner_cli.rec.candidates import Chaining
from combiner_cli.rec.search import Target

KEY = 2024


def _target(mean, deviation, count):
    shape = (1, count, 1)
    return Target(np.full(shape, mean), np.full(shape, deviation))


def _normal_cdf(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


@pytest.mark.parametrize(("mean", "deviation"), [(1.5, 0.3), (-0.5, 0.8), (2.5, 0.2)])
def test_a_star_samples_follow_the_target_distribution(mean, deviation):
    """Chi-square over ten equally likely bins of the target: choosing the best weight, or the prior, fails by far."""
    count = 2000
    indices = search.search(
        _target(mean, deviation, count),
        Chaining(16),
        KEY,
        np.zeros((1, 0), np.int64),
        "astar",
        np.random.default_rng(7),
    )
    values = sampler.table(1, KEY)[indices[0], 0]
    uniform = np.array([_normal_cdf((value - mean) / deviation) for value in values])
    observed = np.histogram(uniform, bins=10, range=(0, 1))[0]
    statistic = float(((observed - count / 10) ** 2 / (count / 10)).sum())
    assert statistic < 33.7  # 9 degrees of freedom, exceeded with probability 1e-4


def test_the_statistical_test_would_notice_a_biased_sampler():
    """Without its noise the search always takes the heaviest candidate."""
    table = sampler.table(1, KEY)[:, 0].astype(np.float64)
    heaviest = table[np.argmax((table**2) / 2 - (table - 1.5) ** 2 / (2 * 0.3**2))]
    uniform = _normal_cdf((heaviest - 1.5) / 0.3)
    observed = np.histogram(np.full(2000, uniform), bins=10, range=(0, 1))[0]
    assert float(((observed - 200) ** 2 / 200).sum()) > 1000


def test_noise_has_the_moments_of_a_gumbel_variable():
    noise = search.gumbel_noise(20000, 4, np.random.default_rng(3)).astype(np.float64)
    assert abs(noise.mean() - 0.5772157) < 5 * math.pi / math.sqrt(6 * 80000)
    assert abs(noise.var() - math.pi**2 / 6) < 0.1


def test_choices_of_a_signal_do_not_depend_on_the_rest_of_the_batch():
    generator = np.random.default_rng(1)
    mean, deviation = generator.normal(size=(3, 40, 5)), generator.uniform(0.2, 0.9, (3, 40, 5))
    together = search.search(
        Target(mean, deviation), Chaining(16), KEY, np.zeros((3, 0), np.int64), "astar", np.random.default_rng(9)
    )
    for n in range(3):
        part = Target(mean[n : n + 1], deviation[n : n + 1])
        alone = search.search(part, Chaining(16), KEY, np.zeros((1, 0), np.int64), "astar", np.random.default_rng(9))
        assert np.array_equal(alone[0], together[n])


@pytest.mark.parametrize("group_bits", [8, 16])
def test_lookup_gives_the_values_that_the_search_chose(group_bits):
    information = np.full(60, 512, dtype=np.int64)
    partition = groups.partition(information, 12, KEY)
    generator = np.random.default_rng(2)
    target = Target(generator.normal(size=(2, 12, partition.width)), np.full((2, 12, partition.width), 0.4))
    indices = search.search(target, Chaining(group_bits), KEY, np.zeros((2, 0), np.int64), "astar", generator)
    values = candidates.lookup(indices, partition, Chaining(group_bits), KEY)
    table = sampler.table(partition.width, KEY)
    for signal in range(2):
        previous = 0
        for group in range(12):
            row = indices[signal, group] + (256 * previous if group_bits == 8 else 0)
            held = partition.group == group
            assert np.array_equal(values[signal, held], table[row, partition.column[held]])
            previous = indices[signal, group]
    part = slice(10, 23)
    assert np.array_equal(candidates.lookup(indices, partition, Chaining(group_bits), KEY, part), values[:, part])


def test_chained_indices_name_candidates_closer_to_the_target_than_chance():
    target = Target(np.full((1, 200, 3), 0.8), np.full((1, 200, 3), 0.4))
    indices = search.search(target, Chaining(8), KEY, np.zeros((1, 0), np.int64), "astar", np.random.default_rng(5))
    assert indices.min() >= 0
    assert indices.max() < 256
    values = sampler.table(3, KEY)[candidates.table_rows(indices, Chaining(8))[0]]
    assert np.abs(values.mean(axis=0) - 0.8).max() < 0.15


@pytest.mark.parametrize(
    ("count", "chains"), [(0, 1), (32767, 1), (65535, 1), (65536, 2), (98304, 3), (64 * 32768, 64), (10**8, 64)]
)
def test_there_is_a_chain_for_every_32768_groups(count, chains):
    assert candidates.chains_of(count) == chains
    assert candidates.chaining_of(count) == Chaining(8, chains)


def test_the_memory_is_long_in_small_files_of_mixtures_alone():
    assert candidates.chaining_of(256, long=True) == Chaining(8, 1, 12)
    assert candidates.chaining_of(256, long=True).long
    assert candidates.chaining_of(257, long=True) == candidates.chaining_of(257) == Chaining(8, 1, 8)
    assert not candidates.chaining_of(256).long
    with pytest.raises(AssertionError):
        Chaining(8, 2, 12)


def test_rows_are_those_of_the_format():
    """The worked example of version 2 in FORMAT.md, and two chains."""
    indices = np.array([[18, 255, 7], [1, 2, 3]])
    assert candidates.table_rows(indices, Chaining(16)).tolist() == indices.tolist()
    assert candidates.table_rows(indices, Chaining(8)).tolist() == [[18, 4863, 65287], [1, 258, 515]]
    assert candidates.table_rows(indices, Chaining(8, 1, 12)).tolist() == [[18, 4863, 196359], [1, 258, 65536 + 515]]
    assert candidates.table_rows(indices, Chaining(8, 2)).tolist() == [[18, 255, 18 * 256 + 7], [1, 2, 259]]
