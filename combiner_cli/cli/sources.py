"""The .cmb files, images and sounds that commands are given to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CombinerError, InputError
from . import display, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..container.file import File
    from ..signals.signal import Signal

LARGEST_FILE = 2**28  # bytes of a .cmb file
MOST_NAMED = 10  # files in the line of those that failed


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Say which file an error is about.

    Args:
        source: the file.
    """
    try:
        yield
    except CombinerError as error:
        raise type(error)(display.with_name(source, str(error))) from error


def read_file(source: Path) -> File:
    """A ``.cmb`` file.

    Args:
        source: the file, or ``-`` for standard input.

    Raises:
        InputError: it cannot be read, or is too large.
        DamagedFileError, UnsupportedVersionError: it is no such file.
    """
    from ..container.file import File
    from ..system import files

    data = streams.read(limit=LARGEST_FILE) if source == streams.PIPE else files.read_bytes(source, LARGEST_FILE)
    return File.parse(data)


def read_signal(source: Path, note: Callable[[str], None]) -> tuple[Signal, int]:
    """The signal of an image, a sound or a ``.cmb`` file, and the size of the file in bytes.

    Args:
        source: the file.
        note: told what was changed.

    Raises:
        CombinerError: it cannot be read.
    """
    from ..codec import pipeline
    from ..container import file as container
    from ..media import files as media
    from ..priors import library
    from ..system import files

    data = files.read_bytes(source)
    if data[: len(container.MAGIC)] != container.MAGIC:
        return media.read_signal_bytes(data, source, note), len(data)
    with naming(source):
        return pipeline.decode(container.File.parse(data), library.find_id), len(data)


def listed(inputs: Sequence[Path], recursive: bool) -> list[Path]:
    """The ``.cmb`` files that inputs stand for: folders are those in them.

    Args:
        inputs: files and folders.
        recursive: whether there may be folders.

    Raises:
        InputError: a folder without ``recursive``, or folders without any such file.
    """
    from ..batch import inputs as batch_inputs
    from ..batch.requests import ENCODED, Places

    for given in inputs:
        if given.is_dir() and not recursive:
            raise InputError(f"{given} is a folder; give -r to take the files in it")
    listing = batch_inputs.find(inputs, Places(recursive=recursive), frozenset({ENCODED}))
    for outcome in listing.unreadable:
        assert outcome.failure is not None
        raise InputError(outcome.failure.message)
    if not listing.inputs:
        raise InputError(f"{inputs[0]}: there are no {ENCODED} files in it")
    return [given.path for given in listing.inputs]


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
    """The error that names those of many files that failed.

    Args:
        failed: their names.
        count: number of all files.
    """
    more = len(failed) - MOST_NAMED
    names = ", ".join(failed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return CombinerError(f"{len(failed)} of {count} failed: {names}")
