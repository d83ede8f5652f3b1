"""The few array operations that the shared network code needs, on numpy arrays and on torch tensors.

Everything else that the network uses (``+``, ``*``, ``@``, slicing, ``reshape``) is spelled the same in both.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def namespace(array: Any) -> ModuleType:
    """The module whose functions work on ``array``: torch for a tensor, numpy for everything else.

    torch is looked up among the loaded modules and never imported, so that decoding stays free of it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    return np


def sin(array: Any) -> Any:
    """Element-wise sine, same shape and type as ``array``."""
    return namespace(array).sin(array)
