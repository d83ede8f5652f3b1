"""The .cmb files that commands are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CombinerError

LARGEST_FILE = 2**28  # bytes of a .cmb file


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Say which file an error is about, for those who decode many."""
    try:
        yield
    except CombinerError as error:
        raise type(error)(f"{source}: {error}") from error
