"""Which files inputs stand for: those that are named, and those below folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..media import files as media
from .failures import failure
from .requests import ENCODED, Encoding, Input, Outcome, Places, Request

_KNOWN = media.IMAGE_SUFFIXES | media.SOUND_SUFFIXES | {ENCODED}


@dataclass(frozen=True)
class Listing:
    """The files that inputs stand for.

    Attributes:
        inputs: the files, each once, in the order of the inputs, below a folder by name.
        unreadable: folders that could not be looked into.
        others: number of files in folders which, by their suffixes, are neither media nor ``.cmb`` files.
    """

    inputs: tuple[Input, ...]
    unreadable: tuple[Outcome, ...]
    others: int


def suffixes(request: Request) -> frozenset[str]:
    """Suffixes of the files in folders that are worked on, in lower case.

    Args:
        request: what is to be done with them.
    """
    if isinstance(request, Encoding):
        return media.IMAGE_SUFFIXES | media.SOUND_SUFFIXES
    return frozenset({ENCODED})


def find(given: Sequence[Path], places: Places, wanted: frozenset[str]) -> Listing:
    """The files that inputs stand for.

    Args:
        given: files and, if ``places`` says so, folders, which stand for the files below them. Hidden files and folders
            are left out; links are followed, to each folder once.
        places: where outputs go: below ``directory`` as the files lie below the folder that was given.
        wanted: suffixes of the files in folders that count, in lower case.
    """
    listed: dict[Input, None] = {}
    unreadable: list[Outcome] = []
    others = 0
    for path in given:
        if not (places.recursive and path.is_dir()):
            listed[Input(path, places.directory or path.parent)] = None
            continue
        for below in _walk(path, unreadable):
            suffix = below.suffix.lower()
            if suffix in wanted and _may_be_a_file(below):
                folder = places.directory / below.parent.relative_to(path) if places.directory else below.parent
                listed[Input(below, folder)] = None
            elif suffix not in _KNOWN and below.is_file():
                others += 1
    return Listing(tuple(listed), tuple(unreadable), others)


def _walk(folder: Path, unreadable: list[Outcome]) -> list[Path]:
    """All that is no folder below a folder, by name.

    Args:
        folder: to look into.
        unreadable: to which folders are added that cannot be read.
    """

    def refuse(error: OSError) -> None:
        reason = InputError(f"{error.filename} cannot be read: {error.strerror}; change its permissions")
        unreadable.append(Outcome(Path(error.filename), failure=failure(reason)))

    paths: list[Path] = []
    seen: set[tuple[int, int]] = set()
    links = [folder]
    while links:
        for place, folders, names in os.walk(links.pop(0), onerror=refuse):
            try:
                status = Path(place).stat()
            except OSError as error:  # it was there a moment ago
                folders.clear()
                refuse(error)
                continue
            known = (status.st_dev, status.st_ino) in seen
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [] if known else sorted(name for name in folders if not name.startswith("."))
            links += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
            paths += [Path(place, name) for name in ([] if known else names) if not name.startswith(".")]
    return sorted(paths)


def _may_be_a_file(path: Path) -> bool:
    """Whether a name in a folder stands for a file, or for one that is missing, and not for a pipe or a device."""
    return path.is_file() or not path.exists()
