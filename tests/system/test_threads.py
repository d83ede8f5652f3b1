"""Threads for numpy: the same results in the same order with any number of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from combiner_cli.system import threads as workers


@pytest.fixture(params=["1", "2", "5"])
def threads(request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", request.param)
    return int(request.param)


def test_the_environment_says_how_many(threads, monkeypatch):
    assert workers.count() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= workers.count() <= 8


def test_results_are_in_order(threads):
    assert workers.mapped(lambda number: number**2, range(20)) == [number**2 for number in range(20)]
    assert workers.mapped(lambda number: number, []) == []


def test_an_error_reaches_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        workers.mapped(lambda number: 1 // number, [3, 2, 1, 0])


def test_products_have_one_thread_each_meanwhile_and_all_again_afterwards(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def blas_threads(_number=0):
        return {pool["num_threads"] for pool in workers._controller().info() if pool["user_api"] == "blas"}

    before = blas_threads()
    assert set.union(*workers.mapped(blas_threads, range(4))) == {1}
    assert blas_threads() == before


def test_every_thread_keeps_arrays_of_its_own():
    scratch = workers.Scratch()
    first = scratch.take("a", (3, 4))
    assert first.shape == (3, 4)
    assert np.shares_memory(first, scratch.take("a", (2, 5)))
    assert not np.shares_memory(first, scratch.take("b", (3, 4)))
    grown = scratch.take("a", (5, 5))
    assert grown.shape == (5, 5)
    with ThreadPoolExecutor(1) as other:
        assert not np.shares_memory(grown, other.submit(scratch.take, "a", (2, 2)).result())


def test_memory_that_is_given_back_is_taken_anew():
    scratch = workers.Scratch()
    with scratch:
        first = scratch.take("a", (4,))
    assert not np.shares_memory(first, scratch.take("a", (4,)))


def test_results_come_one_after_another_in_order(threads):
    assert list(workers.streamed(lambda number: number**2, range(50))) == [number**2 for number in range(50)]
    assert list(workers.streamed(lambda number: number, [])) == []
    begun = []
    results = workers.streamed(begun.append, range(1000))
    next(results)
    results.close()
    assert len(begun) < 100  # nothing goes on for somebody who has stopped to ask


def test_an_error_comes_in_its_turn(threads):
    results = workers.streamed(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
