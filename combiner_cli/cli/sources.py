"""The .cmb files, images and sounds that commands are given to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CombinerError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..signals.signal import Signal

LARGEST_FILE = 2**28  # bytes of a .cmb file
PIPE = Path("-")
MOST_NAMED = 10  # files in the line of those that failed


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Say which file an error is about, for those who look at many."""
    try:
        yield
    except CombinerError as error:
        words = str(error)
        raise type(error)(words if str(source) in words else f"{source}: {words}") from error


def read_file(source: Path) -> bytes:
    """The content of a ``.cmb`` file, or of standard input for ``-``."""
    from ..system import files

    if source == PIPE:
        data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise InputError(f"standard input has more than {LARGEST_FILE} bytes; give a smaller file")
        return data
    return files.read_bytes(source, LARGEST_FILE)


def read_signal(source: Path, note: Callable[[str], None]) -> tuple[Signal, int]:
    """The signal of an image, a sound or a ``.cmb`` file, and the size of the file in bytes."""
    from ..codec import pipeline
    from ..container import bitstream
    from ..media import files as media
    from ..priors import library
    from ..system import files

    data = files.read_bytes(source)
    if data[: len(bitstream.MAGIC)] != bitstream.MAGIC:
        return media.read_signal_bytes(data, source, note), len(data)
    with naming(source):
        return pipeline.decode(data, library.find_id), len(data)


def listed(inputs: Sequence[Path], recursive: bool) -> list[Path]:
    """The ``.cmb`` files that inputs stand for: folders are those in them.

    Raises:
        InputError: a folder without ``recursive``, or folders without any such file.
    """
    from ..batch import work

    for given in inputs:
        if given.is_dir() and not recursive:
            raise InputError(f"{given} is a folder; give -r to take the files in it")
    found, refused = work.find(inputs, work.Places(recursive=recursive), frozenset({work.ENCODED}))
    for outcome in refused:
        assert outcome.failure is not None
        raise InputError(outcome.failure.message)
    if not found:
        raise InputError(f"{inputs[0]}: there are no {work.ENCODED} files in it")
    return [one.source for one in found]


def each(
    sources: Sequence[Path], look: Callable[[Path], None], tell_failure: Callable[[Path, CombinerError], None]
) -> None:
    """Look at every file; one that fails does not keep the others from it.

    Args:
        sources: the files.
        look: at one, and tell what is to be seen.
        tell_failure: told of a file that failed, where there are others.

    Raises:
        CombinerError: what is wrong with a single file, or that some of many failed.
    """
    if len(sources) == 1:
        look(sources[0])
        return
    failed = []
    for source in sources:
        try:
            look(source)
        except CombinerError as error:
            tell_failure(source, error)
            failed.append(str(source))
    if failed:
        raise some_failed(failed, len(sources))


def some_failed(failed: Sequence[str], count: int) -> CombinerError:
    """The error that names those of ``count`` files that failed."""
    more = len(failed) - MOST_NAMED
    names = ", ".join(failed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return CombinerError(f"{len(failed)} of {count} failed: {names}")
