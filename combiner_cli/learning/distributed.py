"""Processes that learn together, each with a device of its own: started by torchrun, joined by torch.distributed.

What they learn must not depend on how many there are. So they exchange whole values, and each one adds these up by
itself and in the same order; nothing is summed on the way.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ..errors import CombinerError, UsageError

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

_LONGEST_WAIT = timedelta(hours=24)  # the others may wait for long while the first process measures


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that learn together.

    Attributes:
        number: of this process, from 0; the first one talks and writes.
        count: of all processes.
        local: number of this process among those of its machine.
        local_count: of the processes of its machine.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that talks and writes."""
        return self.number == 0

    def device(self, kind: str) -> str:
        """This process's own device of a kind, ``"cpu"`` or ``"cuda"``.

        Raises:
            UsageError: there are fewer devices on this machine than processes.
        """
        if kind == "cpu" or self.count == 1:
            return kind
        import torch

        if self.local_count > torch.cuda.device_count():  # the first process is to notice, too
            raise UsageError(
                f"{self.local_count} processes are more than the GPUs of this machine, {torch.cuda.device_count()}; "
                "start as many as there are, or give --device cpu"
            )
        return f"cuda:{self.local}"

    def shared(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in all of them; an error of it likewise."""
        made: list[Value] = []
        with self.together():
            if self.first:
                made.append(make())
        if self.count == 1:
            return made[0]
        import torch.distributed

        box: list[Value | None] = [made[0] if self.first else None]
        with _company():
            torch.distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def gathered(self, own: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes, in their order; all have the same shape."""
        if self.count == 1:
            return [own]
        import torch

        found = [torch.empty_like(own) for _ in range(self.count)]
        with _company():
            torch.distributed.all_gather(found, own)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block after which either all processes go on, or all raise the error of the first one that had any."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.count == 1:
                raise
            if not isinstance(error, CombinerError):
                error.add_note(f"in process {self.number} of {self.count}: {traceback.format_exc()}")
            failure = error
        for found in self._exchanged(failure):
            if found is not None:
                raise found

    def _exchanged(self, own: Exception | None) -> list[Exception | None]:
        if self.count == 1:
            return [own]
        import torch.distributed

        found: list[Exception | None] = [None] * self.count
        with _company():
            torch.distributed.all_gather_object(found, own)
        return found


ALONE = Ranks()


def from_environment() -> Ranks:
    """The place that torchrun gave to this process, if it did."""
    found = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")]
    started = "MASTER_ADDR" in os.environ and all(text.isdecimal() for text in found)
    return Ranks(*map(int, found)) if started else ALONE


@contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[None]:
    """A block in which the processes can exchange values.

    Args:
        ranks: the place of this one.
        device: that it computes on.
    """
    if ranks.count == 1:
        yield
        return
    import torch
    import torch.distributed

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    with _company():
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def _company() -> Iterator[None]:
    """What is raised when another process cannot be reached, as it has ended in most cases, in words."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*] *", "", " ".join(str(error).split()))[:120]  # without the line of whose source
        raise CombinerError(
            f"another process of this learning cannot be reached ({reason}); the same command goes on from the last "
            "checkpoint"
        ) from error
