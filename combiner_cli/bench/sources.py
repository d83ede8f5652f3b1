"""The files of a data set that is coded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CombinerError, DatasetError
from ..learning import datasets
from ..media import files as media
from ..signals import metrics
from ..signals.signal import Format, Signal
from ..system import files


@dataclass(frozen=True)
class Source:
    """A file and what is known of the signal in it.

    Attributes:
        path: of the file.
        name: within the data set.
        digest: SHA-256 of the file, in hexadecimal.
        format: of the signal.
    """

    path: Path
    name: str
    digest: str
    format: Format

    def rate(self, size: int) -> float:
        """Bits per pixel, or kbit/s, of a file of ``size`` bytes."""
        if self.format.sample_rate is None:
            return metrics.bits_per_pixel(size, self.format.shape)
        return metrics.kilobits_per_second(size, self.format.points, self.format.sample_rate)

    @property
    def seconds(self) -> float | None:
        """Of a sound."""
        return None if self.format.sample_rate is None else self.format.points / self.format.sample_rate


@dataclass(frozen=True)
class Failure:
    """Something that could not be read or coded, and why."""

    what: str
    why: str


def gather(
    places: Sequence[Path],
    results: Path,
    limit: int | None,
    note: Callable[[str], None],
    check: Callable[[Signal], None] | None = None,
) -> tuple[list[Source], list[Failure]]:
    """Look at the files of a data set.

    Args:
        places: folders, which are searched with all that is in them, and files.
        results: folder of the benchmark's own files, which are not of the data set.
        limit: files at most, spread over all; ``None`` for all.
        note: told of what is left out.
        check: raises a CombinerError for signals that cannot be coded.

    Returns:
        The files, and what cannot be read or coded. Of files with the same content the first one counts.

    Raises:
        DatasetError: a folder is empty or mixed, images and sounds are given, or no file can be read.
        InputError: there is no such file.
    """
    listed = [(path, name) for path, name in _listed(places) if not path.resolve().is_relative_to(results.resolve())]
    if limit is not None and limit < len(listed):
        listed = [listed[int(place)] for place in np.linspace(0, len(listed) - 1, limit).round()]
    by_digest: dict[str, Source] = {}
    failures = []
    for path, name in listed:
        try:
            signal = media.read_signal(path, note)
            if check is not None:
                check(signal)
        except CombinerError as error:
            failures.append(Failure(name, str(error)))
            continue
        source = _source(path, name, signal)
        if source.digest in by_digest:
            note(f"{name} has the same content as {by_digest[source.digest].name} and is left out")
            continue
        by_digest[source.digest] = source
    kinds = {source.format.kind: source.name for source in by_digest.values()}
    if len(kinds) > 1:
        raise DatasetError(f"{' and '.join(kinds.values())} are an image and a sound; measure them apart")
    if not by_digest:
        raise DatasetError(f"{failures[0].what}: {failures[0].why}" if failures else f"{places[0]} holds only results")
    return list(by_digest.values()), failures


def _listed(places: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for place in places:
        if place.is_dir():
            yield from ((path, str(path.relative_to(place))) for path in datasets.open_dataset(place).files)
        else:
            files.read_bytes(place)  # says what is wrong with a single file at once
            yield place, place.name


def _source(path: Path, name: str, signal: Signal) -> Source:
    digest = hashlib.sha256(files.read_bytes(path)).hexdigest()
    return Source(path, name, digest, signal.format)
