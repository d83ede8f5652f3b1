"""Where a learning computes: one device, or several processes with a device each, that torchrun started.

What is learned must not depend on how many processes there are. So they exchange whole values, and each one adds these
up by itself and in the same order; nothing is summed on the way.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ..errors import CombinerError, UsageError
from ..system.device import choose_device

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

_LONGEST_WAIT = timedelta(hours=24)  # the others may wait for long while the first process measures


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that learn together, and which of them this one is.

    Attributes:
        rank: number of this process, from 0; the first one talks and writes.
        size: number of all processes.
        local_rank: number of this process among those of its machine.
        local_size: number of the processes of its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that talks and writes."""
        return self.rank == 0

    def device_name(self, kind: str) -> str:
        """This process's own device of a kind, ``"cpu"`` or ``"cuda"``, as torch names it.

        Raises:
            UsageError: there are fewer devices on this machine than processes.
        """
        if kind == "cpu" or self.size == 1:
            return kind
        import torch

        if self.local_size > torch.cuda.device_count():  # the first process is to notice, too
            raise UsageError(
                f"{self.local_size} processes are more than the GPUs of this machine, {torch.cuda.device_count()}; "
                "start as many as there are, or give --device cpu"
            )
        return f"cuda:{self.local_rank}"

    def shared(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in all of them; an error of it likewise."""
        made: list[Value] = []
        with self.together():
            if self.first:
                made.append(make())
        if self.size == 1:
            return made[0]
        import torch.distributed

        box: list[Value | None] = [made[0] if self.first else None]
        with _reachable():
            torch.distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes, in their order; all have the same shape."""
        if self.size == 1:
            return [tensor]
        import torch

        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        with _reachable():
            torch.distributed.all_gather(tensors, tensor)
        return tensors

    def any(self, flag: bool, device_name: str) -> bool:
        """Whether a flag is set in any process.

        Args:
            flag: of this process.
            device_name: of torch, that the processes compute on.
        """
        if self.size == 1:
            return flag
        import torch

        return any(bool(tensor) for tensor in self.gathered(torch.tensor([float(flag)], device=device_name)))

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block after which either all processes go on, or all raise the error of the first one that had any."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            if not isinstance(error, CombinerError):
                error.add_note(f"in process {self.rank} of {self.size}: {traceback.format_exc()}")
            failure = error
        for error_of_process in self._exchanged(failure):
            if error_of_process is not None:
                raise error_of_process

    def _exchanged(self, failure: Exception | None) -> list[Exception | None]:
        if self.size == 1:
            return [failure]
        import torch.distributed

        failures: list[Exception | None] = [None] * self.size
        with _reachable():
            torch.distributed.all_gather_object(failures, failure)
        return failures


ALONE = ProcessGroup()


@dataclass(frozen=True)
class Device:
    """Where a process computes.

    Attributes:
        name: of torch's device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` where it is still to be settled.
        threads: of the CPU for products of matrices and for torch.
        processes: that learn together.
    """

    name: str = "cpu"
    threads: int = 1
    processes: ProcessGroup = ALONE

    def settled(self) -> Device:
        """The same with the name of a device that is there; torch is imported.

        Raises:
            UsageError: there is no such device, or fewer of them than processes.
        """
        return replace(self, name=self.processes.device_name(choose_device(self.name)))

    @contextmanager
    def in_use(self, uses_torch: bool) -> Iterator[None]:
        """A block in which matrices are multiplied with these threads.

        They wait for each other in every product: beside other work several are much slower than a single one, and the
        last bits of sums depend on their number. So there is one, unless more are asked for.

        Args:
            uses_torch: whether it is used in the block.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(self.threads, user_api="blas"):
            if not uses_torch:
                yield
                return
            import torch

            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


CPU = Device()


def from_environment() -> ProcessGroup:
    """The group that torchrun started this process in, if it did."""
    numbers = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
    started = "MASTER_ADDR" in os.environ and all(text.isdecimal() for text in numbers)
    return ProcessGroup(*map(int, numbers)) if started else ALONE


@contextmanager
def joined(processes: ProcessGroup, device_name: str) -> Iterator[None]:
    """A block in which the processes can exchange values.

    Args:
        processes: that learn together.
        device_name: of torch, that this one computes on.
    """
    if processes.size == 1:
        yield
        return
    import torch
    import torch.distributed

    on_gpu = device_name.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device_name)
    with _reachable():
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def _reachable() -> Iterator[None]:
    """What is raised when another process cannot be reached, as it has ended in most cases, in words."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*] *", "", " ".join(str(error).split()))[:120]  # without the line of whose source
        raise CombinerError(
            f"another process of this learning cannot be reached ({reason}); the same command goes on from the last "
            "checkpoint"
        ) from error
