"""Compression of images and sound with Bayesian implicit neural representations.

The names of :mod:`combiner_cli.api` can be taken from here: ``combiner_cli.encode``, ``combiner_cli.decode`` and so on.
They are loaded when they are first used, so that the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.8.0"

__all__ = [
    "CombinerError",
    "EncodeResult",
    "Inspection",
    "Signal",
    "__version__",
    "decode",
    "encode",
    "find_prior",
    "inspect",
    "learn",
    "list_priors",
    "psnr",
    "read",
    "signal_to_noise",
    "write",
]

if TYPE_CHECKING:
    from .api import (
        CombinerError,
        EncodeResult,
        Inspection,
        Signal,
        decode,
        encode,
        find_prior,
        inspect,
        learn,
        list_priors,
        psnr,
        read,
        signal_to_noise,
        write,
    )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
