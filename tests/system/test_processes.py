"""Processes that work side by side, and what becomes of the work of one that dies."""

import os
import subprocess
import sys
import time
from pathlib import Path

from support import processes_work

from combiner_cli.system import processes

TESTS = Path(__file__).parent.parent


def test_a_killed_process_costs_the_work_that_kills_it_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [[1, 2], [3, 13, 4], [5], [14, 6], [15], [7]]
    results = dict(processes.run(tasks, processes_work.square, 2))
    lost = {number for number, result in results.items() if isinstance(result, processes.Lost)}
    assert lost == {13, 15}
    assert "too little memory" in results[13].reason
    assert results[15].reason == "unexpected ValueError: of no use"
    assert {number: result for number, result in results.items() if number not in lost} == {
        number: number**2 for number in (1, 2, 3, 4, 5, 14, 6, 7)
    }


def test_processes_share_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert dict(processes.run([["a"], ["b"]], processes_work.threads, 2)) == {"a": "3", "b": "3"}
    assert os.environ["OMP_NUM_THREADS"] == "6"


def test_nothing_goes_on_once_nobody_wants_it():
    results = processes.run([[0.0], [50.0], [50.1]], processes_work.sleep, 2)
    assert next(results) == (0.0, 0.0)
    clock = time.monotonic()
    results.close()
    assert time.monotonic() - clock < 20


def test_processes_end_with_the_one_that_started_them():
    """Even where that is killed, and can do nothing about it."""
    program = (
        "from support import processes_work; from combiner_cli.system import processes\n"
        "if __name__ == '__main__': list(processes.run([[50.0], [51.0]], processes_work.say_and_sleep, 2))"
    )
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
        process.kill()
        process.communicate(timeout=100)  # which lasts until nobody can write there any more
