"""Packages that only some commands need, and which extra of this one brings them."""

from __future__ import annotations

import importlib.util

from ..errors import UsageError


def require(extra: str, what: str, *modules: str) -> None:
    """Make sure that the packages of an extra are there, without importing them.

    Args:
        extra: of this package.
        what: needs it, for the message.
        modules: names under which its packages are imported.

    Raises:
        UsageError: one of them is not installed.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{what} needs {' and '.join(missing)}; run pip install 'combiner[{extra}]'")
