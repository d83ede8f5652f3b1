"""The families by name, each imported when it is asked for: the only place that names them."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from ..family import Family
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
