"""The processor that gradient steps and products of matrices run on."""

from __future__ import annotations

from ..errors import UsageError

NAMES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> str:
    """The torch device behind a name; torch is imported.

    Args:
        name: one of ``NAMES``; ``"auto"`` is a GPU where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if name not in NAMES:
        raise UsageError(f"there is no device {name}; choose {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available here; choose --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
