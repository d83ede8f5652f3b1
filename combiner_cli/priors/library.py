"""Where priors are found: the search path, names, ids, and what is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import CombinerError, PriorError
from ..family import Prior
from .store import SUFFIX, load, stated_configuration, stated_metadata

SEARCH_VARIABLE = "COMBINER_PRIORS"


@dataclass(frozen=True)
class Entry:
    """An installed prior, as far as its file says without being read whole.

    Attributes:
        name: that it is found by: that of its file.
        path: of its file.
        id: eight hexadecimal digits, as files name it.
        family: name of the family.
        kind: of the signals.
        rates: lowest and highest bits per pixel or sample that it is meant for, or the one rate.
        bytes: size of its file.
        origin: ``"shipped"``, ``"user"``, or ``"path"`` for one in a folder of ``$COMBINER_PRIORS``.
    """

    name: str
    path: Path
    id: str
    family: str
    kind: str
    rates: tuple[float, ...]
    bytes: int
    origin: str


def entries() -> Iterator[Entry]:
    """The priors on the search path; what is there and no prior is left out."""
    for candidate in available():
        try:
            yield entry(candidate)
        except CombinerError:
            continue  # a file beside the priors that is none must not keep the others from being listed


def entry(path: Path) -> Entry:
    """What the file of a prior says of it.

    Args:
        path: of the file.

    Raises:
        InputError, DamagedFileError, UnsupportedVersionError: as :func:`store.load`.
    """
    prior_id, stated = stated_metadata(path).get("id"), stated_configuration(path)
    family, kind, rates = stated.get("family"), stated.get("kind"), stated.get("rates")
    if prior_id is None or rates is None or family is None or kind is None:  # it has one rate, or is none at all
        prior = load(path)
        prior_id, rates = f"{prior.id:08x}", (prior.bits_per_point,)
        family, kind = prior.family.name, prior.kind
    origins = {shipped_folder(): "shipped", user_folder(): "user"}
    origin = origins.get(path.parent, "path")
    return Entry(path.stem, path, prior_id, family, kind, tuple(rates), path.stat().st_size, origin)


def search_path() -> tuple[Path, ...]:
    """Folders in which priors are looked for: those of ``$COMBINER_PRIORS``, the user's own one, the shipped one."""
    named = [Path(folder) for folder in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if folder]
    return (*named, user_folder(), shipped_folder())


def user_folder() -> Path:
    """The folder of the priors that the user installed; it need not exist."""
    from platformdirs import user_data_path

    return user_data_path("combiner", appauthor=False) / "priors"


def shipped_folder() -> Path:
    """The folder of the priors that come with the program: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "shipped_priors"
    return installed if installed.is_dir() else package.parent / "priors"


def shipped() -> list[Path]:
    """Files of the priors that come with the program."""
    return sorted(shipped_folder().glob(f"*{SUFFIX}"))


def available() -> Iterator[Path]:
    """Files of all priors on the search path."""
    for folder in search_path():
        yield from sorted(folder.glob(f"*{SUFFIX}"))


@lru_cache(maxsize=8)
def load_shipped(path: Path) -> Prior:
    """A prior that comes with the program, whose file does not change; many signals are encoded with it.

    Args:
        path: of its file.
    """
    return load(path)


@lru_cache(maxsize=64)
def stated_of_shipped(path: Path) -> dict[str, Any]:
    """The configuration of a prior that comes with the program, as its file states it; read once, not to be changed.

    Args:
        path: of its file.
    """
    return stated_configuration(path)


def find(name_or_file: str) -> Prior:
    """A prior by its name on the search path, or by its file.

    Args:
        name_or_file: the latter where it ends with the suffix of priors.

    Raises:
        PriorError: there is none.
    """
    return load(path_of(name_or_file))


def path_of(name_or_file: str) -> Path:
    """The file of a prior by its name on the search path, or as it is named.

    Args:
        name_or_file: the latter where it ends with the suffix of priors.

    Raises:
        PriorError: there is none of that name.
    """
    if name_or_file.endswith(SUFFIX):
        return Path(name_or_file)
    for candidate in available():
        if candidate.stem == name_or_file:
            return candidate
    known = ", ".join(sorted({candidate.stem for candidate in available()})) or "none"
    raise PriorError(f"no prior is called {name_or_file}; known: {known}")


def find_id(prior_id: int) -> Prior:
    """The prior on the search path that a file names.

    Args:
        prior_id: first 32 bits of the prior's digest.

    Raises:
        PriorError: there is none.
    """
    # an id is of the content, so the order does not matter, and shipped priors are those of most files
    for folder in (shipped_folder(), *search_path()):
        for candidate in sorted(folder.glob(f"*{SUFFIX}")):
            prior = _with_id(candidate, prior_id)
            if prior is not None:
                return prior
    raise PriorError(
        f"the file needs the prior with id {prior_id:08x}, which is not on this machine; "
        f"name its file with --prior, or its folder in {SEARCH_VARIABLE}"
    )


def is_shipped(prior: Prior) -> bool:
    """Whether a prior comes with the program, so that it is wherever the program is.

    Args:
        prior: any one.
    """
    return any(stated_metadata(path).get("id") == f"{prior.id:08x}" for path in shipped())


def _with_id(path: Path, prior_id: int) -> Prior | None:
    """The prior of a file if it has an id; it is read whole only where the file itself does not deny that."""
    try:
        stated = stated_metadata(path).get("id")
        if stated is not None and stated != f"{prior_id:08x}":
            return None
        prior = load(path)
    except CombinerError:
        return None  # a file beside the priors that is none must not keep the others from being found
    return prior if prior.id == prior_id else None
