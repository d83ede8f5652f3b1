"""The standard streams: closed, full or with nobody at the other end, they give one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import InputError, UsageError
from ..system import files

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIPE = Path("-")  # standard input or output among the names of files
_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


class OutputLost(Exception):  # noqa: N818  # no CombinerError: no single file of many is to blame for it
    """Standard output cannot be written any more.

    Attributes:
        unread: whether that is because whoever read it has enough, which is no fault.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(_explain(error))
        self.unread = isinstance(error, BrokenPipeError)


def _explain(error: OSError) -> str:
    if error.errno == errno.EBADF:
        return "standard output is closed; send it somewhere, as with > FILE"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "standard output cannot be written: no space left on the device; free some, or send it elsewhere"
    return f"standard output cannot be written: {error.strerror or error}; send it elsewhere"


class _Output(io.FileIO):
    """Standard output, whose errors are told from those of files."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputLost(error) from error


class _Errors(io.FileIO):
    """Standard error: where it cannot be written, there is nobody left to tell, and the exit code has to do."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise OutputLost(error) from error
        except OSError:
            return memoryview(data).nbytes


def attach() -> None:
    """Let standard output and standard error be written by way of this module.

    A stream that is closed is kept from becoming that of a file that is opened later, into which messages would go:
    its number is given to something that cannot be read, or written.
    """
    for number, flags in ((_INPUT, os.O_WRONLY), (_OUTPUT, os.O_RDONLY), (_ERRORS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest number that is free is this one
    sys.stdout = _text(_Output(_OUTPUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Errors(_ERRORS, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """A stream of text in the encoding of the one before it; what that does not have is escaped."""
    encoding = "utf-8" if before is None else before.encoding
    by_line = raw.isatty() or isinstance(raw, _Errors)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=by_line)


def detach_output() -> None:
    """Let what was not written yet, and whatever follows it, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _OUTPUT)


def named(path: Path, number: int) -> Path:
    """``PIPE`` for the other names of a standard stream, as /dev/stdout; every other name as it is.

    Args:
        path: of an input or an output.
        number: 0 for inputs, 1 for outputs.
    """
    return PIPE if files.descriptor(path) == number else path


def read(from_terminal: bool = True, limit: int | None = None) -> bytes:
    """All of standard input.

    Args:
        from_terminal: whether to read what is typed, too.
        limit: the most bytes that it may have; ``None`` for any number.

    Raises:
        UsageError: it is a terminal, and that is not to be read.
        InputError: it cannot be read, or has more bytes.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed; give a file, or pipe one in")
    if sys.stdin.isatty() and not from_terminal:
        raise UsageError("standard input is a terminal; give a file, or pipe one in")
    try:
        data = sys.stdin.buffer.read(-1 if limit is None else limit + 1)
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror or error}; give a file") from error
    if limit is not None and len(data) > limit:
        raise InputError(f"standard input has more than {limit} bytes; give a smaller file")
    return data


def write(data: bytes) -> None:
    """Bytes to standard output, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
