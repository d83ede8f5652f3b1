"""Checkpoints: the state of a learning as a file, from which it goes on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import DamagedFileError, DatasetError, OutputError
from .report import Measurement

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = npt.NDArray[Any]

_FORMAT = "combiner-learning-1"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What goes on from step to step.

    Attributes:
        facts: numbers, texts and lists of them, as JSON has them; a float comes back with the same bits.
        tensors: arrays by name.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ResumeState:
    """How far a learning has come.

    Attributes:
        done: number of steps that are done.
        measurements: that were made after some of them.
        training: the state of what is trained.
    """

    done: int = 0
    measurements: tuple[Measurement, ...] = ()
    training: TrainingState = field(default_factory=TrainingState)


@dataclass(frozen=True)
class CheckpointFile:
    """The file that a learning goes on from, and keeps up to date.

    Attributes:
        path: of the file, which need not exist.
        seconds: between two states that are written to it.
    """

    path: Path
    seconds: float = 60.0

    def load(self, fingerprint: str) -> ResumeState | None:
        """What the file holds; ``None`` where there is no file.

        Args:
            fingerprint: of the learning that is to go on.

        Raises:
            DatasetError: it is of other data or settings.
            DamagedFileError: it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework="numpy") as content:
                metadata = content.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise DamagedFileError(f"{self.path} is not a checkpoint of learn-prior; remove it to start anew")
                if metadata["fingerprint"] != fingerprint:
                    raise DatasetError(f"{self.path} belongs to other data or settings; remove it to start anew")
                tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
                facts = json.loads(metadata["facts"])
                measurements = tuple(Measurement(**one) for one in json.loads(metadata["measurements"]))
                return ResumeState(int(metadata["done"]), measurements, TrainingState(facts, tensors))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise self.unreadable(error) from error

    def save(self, fingerprint: str, state: ResumeState) -> None:
        """Write a state, replacing the last one in one step.

        Args:
            fingerprint: of the learning.
            state: of it.

        Raises:
            OutputError: the file cannot be written.
        """
        from safetensors.numpy import save

        metadata = {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "done": str(state.done),
            "facts": json.dumps(dict(state.training.facts)),
            "measurements": json.dumps([asdict(measurement) for measurement in state.measurements]),
        }
        tensors = {name: np.asarray(tensor, order="C") for name, tensor in state.training.tensors.items()}
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            partial.write_bytes(save(tensors, metadata))
            partial.replace(self.path)
        except OSError as error:
            raise OutputError(f"checkpoint {self.path} cannot be written ({error}); choose another place") from error
        finally:
            partial.unlink(missing_ok=True)

    def unreadable(self, error: Exception) -> DamagedFileError:
        """The error to raise where the file does not hold what it should.

        Args:
            error: that was met.
        """
        return DamagedFileError(f"checkpoint {self.path} cannot be read ({error}); remove it to start anew")


def fingerprint(family: str, settings: DataclassInstance, arrays: Iterable[Array]) -> str:
    """A digest of everything that must not change between a checkpoint and its resumption.

    Args:
        family: that is learned.
        settings: of the learning.
        arrays: that are learned from.
    """
    content = hashlib.sha256(json.dumps([family, asdict(settings)], sort_keys=True).encode())
    for array in arrays:
        content.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
