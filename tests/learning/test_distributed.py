"""Processes that learn together: what they exchange, whose errors they raise, and which devices they have."""

import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest
import torch
from threadpoolctl import threadpool_info

from combiner_cli.errors import UsageError
from combiner_cli.learning.distributed import ALONE, Device, ProcessGroup, from_environment


def test_torchrun_says_which_process_this_is(monkeypatch):
    assert from_environment() == ALONE
    for name, number in (("RANK", 3), ("WORLD_SIZE", 4), ("LOCAL_RANK", 1), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(number))
    assert from_environment() == ALONE  # something else has set these
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert from_environment() == ProcessGroup(3, 4, 1, 2)


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    names = [ProcessGroup(rank, 4, rank % 2, 2).device_name("cuda") for rank in range(4)]
    assert names == ["cuda:0", "cuda:1"] * 2
    assert ProcessGroup(1, 2, 1, 2).device_name("cpu") == "cpu"
    assert ALONE.device_name("cuda") == "cuda"
    for rank in range(3):  # all of them notice
        with pytest.raises(UsageError, match="3 processes are more than the GPUs of this machine, 2"):
            ProcessGroup(rank, 3, rank, 3).device_name("cuda")


def test_a_device_is_settled_when_it_is_needed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Device("auto").settled() == Device("cpu")
    with pytest.raises(UsageError, match="no CUDA device"):
        Device("cuda").settled()


def test_threads_are_as_many_as_asked_for_and_then_as_before():
    def products():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = torch.get_num_threads(), products()
    with Device(threads=3).in_use(uses_torch=True):
        assert torch.get_num_threads() == 3
    with Device().in_use(uses_torch=True):
        assert (torch.get_num_threads(), products()) == (1, {1})
    with Device().in_use(uses_torch=False):
        assert torch.get_num_threads() == before[0]
    assert (torch.get_num_threads(), products()) == before


def test_one_process_alone_exchanges_with_itself():
    assert ALONE.first
    assert ALONE.shared(lambda: 5) == 5
    assert ALONE.any(True, "cpu")
    assert not ALONE.any(False, "cpu")
    with pytest.raises(ZeroDivisionError), ALONE.together():
        raise ZeroDivisionError


def together(code):
    """What two processes print that run some code as ``processes``; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    whole = "import os, sys\nfrom combiner_cli.learning.distributed import Device, from_environment, joined\n"
    whole += "from combiner_cli.errors import CombinerError, DatasetError\nprocesses = from_environment()\n"
    whole += f"with joined(processes, 'cpu'):\n{textwrap.indent(textwrap.dedent(code), '    ')}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", whole],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    done = [process.communicate(timeout=120) for process in started]
    return [out for out, _ in done], [err for _, err in done], [process.returncode for process in started]


@pytest.mark.slow
def test_values_errors_and_ends_reach_all_processes():
    out, err, codes = together(
        """
        import signal
        import numpy as np, torch
        from combiner_cli.learning import networks, trainer
        from combiner_cli.learning.networks import GradientTraining, MomentNetwork, NetworkShape
        print(processes.shared(lambda: f"made by {processes.rank}"))
        print([tensor.tolist() for tensor in processes.gathered(torch.tensor([processes.rank]))])
        print(processes.any(processes.rank == 1, "cpu"), processes.any(False, "cpu"))
        try:
            with processes.together():
                if processes.rank == 1:
                    raise DatasetError("the second one's")
        except DatasetError as error:
            print("error:", error)
        one = MomentNetwork(NetworkShape(2, 1, 1, 1, (4, 4), (0.0,)), torch.Generator().manual_seed(1))
        plan = trainer.TrainingPlan(3, 1, "", 2)
        class Toy(GradientTraining):
            def draw(self, generator):
                return np.zeros(2), np.zeros(2, dtype=np.int64)
            draw_held_out = draw
            def cost(self, signals, noise_levels, generator):
                if self.fails and processes.rank == 1:
                    raise MemoryError("of the second one")
                if not self.fails and processes.rank == 1:
                    signal.raise_signal(signal.SIGINT)
                if torch.is_grad_enabled():
                    one.first_bias.sum().backward()
                return 0.0
            prior = simulated = None
        Toy.__abstractmethods__ = frozenset()
        device = Device(processes=processes)
        networks_of_all = torch.nn.ModuleDict({"0": torch.nn.ModuleDict({"only": one})})
        for fails in (True, False):
            toy = Toy(networks_of_all, plan, [], device, None)
            toy.fails = fails
            try:
                trainer.train(toy, plan, device=device)
            except (MemoryError, KeyboardInterrupt) as error:
                print("in a step:", type(error).__name__, error)
        if processes.rank == 1:
            sys.stdout.flush()
            os._exit(3)
        try:
            processes.gathered(torch.tensor([1.0]))
        except CombinerError as error:
            print(str(error).partition(" (")[0])
        """
    )
    common = "made by 0\n[[0], [1]]\nTrue False\nerror: the second one's\n"
    common += "in a step: MemoryError of the second one\nin a step: KeyboardInterrupt \n"
    assert out == [f"{common}another process of this learning cannot be reached\n", common], err
    assert codes[1] == 3
    assert codes[0] in (0, -signal.SIGABRT)  # a thread of gloo's may abort at the end, since the other one is gone
