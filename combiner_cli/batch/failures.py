"""What goes wrong with one of many files, as data: it does not keep the others from being worked on."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

from ..errors import OUT_OF_MEMORY, CombinerError, LimitError, is_out_of_memory, one_line
from .requests import Failure

Value = TypeVar("Value")

_LONGEST = 200  # characters of an unexpected error that are shown


def attempt(work: Callable[[], Value]) -> Value | Failure:
    """The result of some work on a file, or why there is none.

    Args:
        work: to do.
    """
    try:
        return work()
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Failure:
    """Why there is no file.

    Args:
        error: that was raised instead; any other than a CombinerError, or one that says that memory is out, is a
            defect of this program.
    """
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, CombinerError):
        return Failure(str(error), error.exit_code, trace)
    if is_out_of_memory(error):
        return Failure(OUT_OF_MEMORY, LimitError.exit_code, trace)
    words = one_line(" ".join(str(error).split())[:_LONGEST])
    return Failure(f"unexpected {type(error).__name__}: {words}; please report this", CombinerError.exit_code, trace)
