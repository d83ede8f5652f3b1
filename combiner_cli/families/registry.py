"""The families by name, each imported when it is asked for: the only place that names them."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from ..errors import UsageError
from ..family import Family, Prior
from ..signals.signal import Kind

# the package of each family, whose room ``family`` has FAMILY, an object of the interface
_PACKAGES = ("pyramid", "lapped", "linear", "siren")
# what is learned from signals of a kind where no family is named
USUAL: dict[Kind, str] = {"image": "pyramid", "sound": "lapped"}


def names() -> tuple[str, ...]:
    """The names of all families."""
    return _PACKAGES


@cache
def get(name: str) -> Family:
    """The family of a name.

    Raises:
        KeyError: there is none.
    """
    if name not in _PACKAGES:
        raise KeyError(f"there is no family {name}")
    family: Family = import_module(f".{name}.family", __package__).FAMILY
    return family


def to_learn(name: str | None, kind: Kind, start: Prior | None) -> Family:
    """The family that is to be learned: the one that is named, that of the prior that is learned on, or the usual one.

    Args:
        name: of the family, if it is named.
        kind: of the signals that are learned from.
        start: prior that is learned on, if any.

    Raises:
        UsageError: there is no family of that name.
    """
    if name is None:
        return get(USUAL[kind]) if start is None else start.family
    if name not in _PACKAGES:
        raise UsageError(f"there is no family {name}; choose one of {', '.join(sorted(_PACKAGES))}")
    return get(name)
