"""The sampler: published vectors, equal bits everywhere, and the distribution of its values."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.rec import sampler

# kat_vectors of Random123, philox4x32 with 10 rounds: counter, key, result
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_gives_the_published_vectors_in_numpy_and_torch(counter, key, expected):
    arrays = tuple(np.array([word], dtype=np.int64) for word in counter)
    assert tuple(int(word[0]) for word in sampler.philox(arrays, key)) == expected
    tensors = tuple(torch.tensor([word], dtype=torch.int64) for word in counter)
    assert tuple(int(word[0]) for word in sampler.philox(tensors, key)) == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 100))
def test_lanes_are_the_same_bits_in_numpy_and_torch(key, first):
    rows = np.arange(first, first + 40, dtype=np.int64)
    columns = np.arange(40, dtype=np.int64)[::-1].copy()
    in_numpy = sampler.lanes(rows, columns, key)
    in_torch = sampler.lanes(torch.tensor(rows), torch.tensor(columns), key)
    assert np.array_equal(in_numpy, in_torch.numpy())
    assert in_numpy.min() >= 0
    assert in_numpy.max() < 65536


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_lanes_are_the_same_bits_on_a_gpu():
    rows, columns = np.arange(65536, dtype=np.int64), np.arange(65536, dtype=np.int64) % 40
    on_gpu = sampler.lanes(torch.tensor(rows, device="cuda"), torch.tensor(columns, device="cuda"), 99)
    assert np.array_equal(sampler.lanes(rows, columns, 99), on_gpu.cpu().numpy())


def test_table_holds_what_normals_gives_at_every_place():
    table = sampler.table(13, 77)
    rows, columns = np.meshgrid(np.arange(0, 65536, 97), np.arange(13), indexing="ij")
    assert table.shape == (65536, 13)
    assert np.array_equal(sampler.normals(rows, columns, 77), table[::97])


def test_a_wider_table_begins_with_the_narrower_one():
    assert np.array_equal(sampler.table(20, 5)[:, :9], sampler.table(9, 5))


def test_quantiles_are_exact_multiples_of_their_step_and_far_from_rounding_ties():
    quantiles = sampler.normal_quantiles()
    scaled = quantiles.astype(np.float64) * 2**20
    assert np.array_equal(scaled, np.rint(scaled))
    assert np.array_equal(quantiles, -quantiles[::-1])
    assert (np.diff(quantiles) > 0).all()
    # a platform whose logarithm differs in its last bits still rounds every quantile to the same multiple
    exact = np.array([NormalDist().inv_cdf((v + 0.5) / 65536) for v in range(32768)]) * 2**20
    assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6
    assert np.array_equal(scaled[:32768], np.rint(exact))


def test_candidates_are_standard_normal():
    table = sampler.table(16, 123).astype(np.float64)
    count = table.size
    assert abs(table.mean()) < 5 / count**0.5
    assert abs(table.var() - 1) < 5 * (2 / count) ** 0.5
    correlations = np.corrcoef(table.T) - np.eye(16)
    assert np.abs(correlations).max() < 5 / len(table) ** 0.5


def permutation(count, key):
    words = sampler.permutation_words(np.arange(count), count, key)
    assert words.min(initial=0) >= 0 and words.max(initial=0) < 2**31
    return np.argsort(words, kind="stable")


def test_keys_give_different_tables_and_permutations():
    assert not np.array_equal(sampler.table(2, 1), sampler.table(2, 2**32 + 1))
    assert not np.array_equal(permutation(100, 1), permutation(100, 2))


@given(st.integers(0, 3000), st.integers(0, 2**64 - 1))
def test_permutation_is_one(count, key):
    assert np.array_equal(np.sort(permutation(count, key)), np.arange(count))


def test_permutation_is_pinned():
    """What a shipped version has permuted stays so for ever: files depend on it."""
    assert permutation(8, 42).tolist() == PINNED_PERMUTATION


PINNED_PERMUTATION = [2, 6, 7, 1, 4, 3, 0, 5]
