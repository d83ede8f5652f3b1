"""Arrays that take little memory and hold the same."""

import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.system import arrays

MEMORY = Path("/proc/self/statm")
WHOLE = st.lists(st.integers(-(2**30), 2**30), max_size=20)


@given(WHOLE)
def test_narrowed_numbers_are_the_same_in_the_narrowest_type(values):
    given_values = np.array(values, dtype=np.float64)
    found = arrays.narrowed(given_values)
    assert np.array_equal(found, given_values)
    most = max(map(abs, values), default=0)
    assert found.dtype == (np.int16 if most < 2**15 else np.float32 if most <= 2**24 else np.float64)


@given(WHOLE, WHOLE)
def test_a_widened_array_is_the_same_and_holds_the_others(kept, values):
    narrow = arrays.narrowed(np.array(kept, dtype=np.float64))
    found = arrays.widened(narrow, arrays.largest(np.array(values, dtype=np.float64)))
    assert np.array_equal(found, narrow)
    assert np.array_equal(np.array(values, dtype=np.float64).astype(found.dtype), values)
    assert found is narrow or found.dtype != narrow.dtype


@pytest.mark.parametrize("large", [100.0, -32768.0, 2.0**20 + 1, 2.0**27 + 1])
def test_what_is_put_into_a_compact_array_is_there_whatever_comes_later(large):
    kept = arrays.NarrowArray((3, 4))
    kept.put((slice(None), slice(0, 2)), np.full((3, 2), -7.0))
    kept.put((1, slice(2, 4)), np.array([large, 5.0]))
    kept.put((0, 3), np.array(9.0))
    assert kept.values.tolist() == [[-7, -7, 0, 9], [-7, -7, large, 5], [-7, -7, 0, 0]]


def test_threads_that_fill_an_array_lose_nothing_where_it_is_widened():
    kept = arrays.NarrowArray((8, 4000))

    def fill(row):
        for column in range(4000):
            kept.put((row, column), np.array(float(row * column * (1 + 100 * (column > 3000)))))

    threads = [threading.Thread(target=fill, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    columns = np.arange(4000)
    assert np.array_equal(kept.values, np.arange(8)[:, None] * columns * (1 + 100 * (columns > 3000)))


@pytest.mark.parametrize("shape", [(), (0, 5), (3,), (700, 800)])
def test_fresh_memory_is_zero_and_can_be_written(shape):
    found = arrays.mapped_zeros(shape, np.float32)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert not found.any()
    found[...] = 3
    assert (found == 3).all()


def resident():
    return int(MEMORY.read_text().split()[1]) * 4096  # bytes


@pytest.mark.skipif(not MEMORY.exists(), reason="the system does not tell what memory a process has")
def test_memory_of_large_arrays_goes_back_at_once():
    before = resident()
    held = [arrays.mapped_zeros((1 << 20,), np.float64) for _ in range(8)]
    for one in held:
        one[...] = 1
    assert resident() > before + 60e6
    del held, one
    assert resident() < before + 10e6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_large_arrays_of_its_own():
    kept = arrays.mapped_zeros((1 << 18,), np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # later versions of Python warn of threads, which the child does not touch
        child = os.fork()
    if not child:
        kept[...] = 7
        os._exit(0)
    os.waitpid(child, 0)
    assert not kept.any()


def test_where_there_is_no_memory_it_is_said_so(monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(arrays.mmap, "mmap", refuse)
    with pytest.raises(MemoryError):
        arrays.mapped_zeros((1 << 18,), np.float64)
    assert arrays.mapped_zeros((5,), np.float64).tolist() == [0] * 5
