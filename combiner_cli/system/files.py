"""Files as bytes: outputs that appear whole or not at all, inputs with errors that say what to do, and names."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError, OutputError

_LONGEST_STEM = 40  # characters of the target's name kept in the temporary's, so that it never grows beyond 255 bytes
_STANDARD_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_FOLDERS_OF_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")


def descriptor(path: Path) -> int | None:
    """The number of the open file that a name stands for, as /dev/stdout and a shell's /dev/fd/63 do.

    Args:
        path: any name; ``None`` is returned for one of the file system.
    """
    if str(path.parent) in _FOLDERS_OF_DESCRIPTORS and path.name.isdecimal():
        return int(path.name)
    return _STANDARD_STREAMS.get(str(path))


def is_stream(path: Path) -> bool:
    """Whether bytes that are written to a name flow on: to an open file, a pipe or a device that is no disk.

    Args:
        path: any name, of something that is there or not.
    """
    if descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def output(path: Path, overwrite: bool, modified: int | None = None) -> Iterator[BinaryIO]:
    """An output to write to: a stream (:func:`is_stream`) as it is, anything else by :func:`atomic_output`.

    Args:
        path: the name of the output.
        overwrite: whether an existing file may be replaced; a stream is written to in any case.
        modified: the modification time that a file is given, in nanoseconds since 1970; ``None`` for that of now.

    Yields:
        The open output.

    Raises:
        OutputError: as :func:`atomic_output`, or the stream cannot be written to.
        BrokenPipeError: nobody reads from the stream any more.
    """
    if is_stream(path):
        with _stream(path) as file:
            yield file
        return
    with atomic_output(path, overwrite) as temporary:
        with temporary.open("wb") as file:
            yield file
        if modified is not None:
            set_modified(temporary, modified)


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """What is there already, open to be written to: it is neither created nor cut off, nor replaced by a file."""
    number = descriptor(path)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY) if number is None else os.dup(number), "wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(path):
            raise
        raise OutputError(_explain_output(path, error)) from error


@contextmanager
def atomic_output(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary file in the folder of ``path`` that takes its place when the block ends well.

    The temporary is hidden, exists already (empty), has the suffix of ``path`` and the permissions of any new file.
    It is removed when the block raises, whatever it raises. A symbolic link is followed: its target is replaced.

    Args:
        path: the file to write.
        overwrite: whether an existing file may be replaced. If not, a file that appears while the block runs is safe
            too.

    Yields:
        The path to write to.

    Raises:
        OutputError: the target exists and may not be replaced, is no regular file, or cannot be written. An OSError
            in the block becomes an OutputError, unless it names another file.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.stem[:_LONGEST_STEM]}.{secrets.token_hex(8)}.tmp{target.suffix}"
    try:
        _check_file(path, overwrite)
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            if overwrite:
                temporary.replace(target)
            else:
                _place_new(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(path), str(target), str(temporary)):
            raise
        raise OutputError(_explain_output(path, error)) from error


def check_target(path: Path, overwrite: bool) -> None:
    """Make sure that :func:`output` may write to a name.

    Args:
        path: the name of the output.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: it exists and may not be replaced, or is neither a file nor a stream.
    """
    if not is_stream(path):
        _check_file(path, overwrite)


def _check_file(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file")
    # Replacing a device, a pipe or a socket by a file would break it for everyone else.
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a regular file; write to an ordinary file")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(_explain_existing(path))


def _place_new(temporary: Path, target: Path) -> None:
    """Give the temporary its name, or raise FileExistsError when that name is taken; there is no moment in between."""
    try:
        os.link(temporary, target)
    except OSError:
        # FAT and some network folders have no hard links: claim the name, which fails if it is taken, then replace.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        temporary.replace(target)


def _explain_existing(path: Path) -> str:
    return f"{path} exists; use -f to replace it"


def _explain_output(path: Path, error: OSError) -> str:
    if error.errno == errno.EEXIST:
        return _explain_existing(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{path} cannot be written: the folder {path.parent} does not exist; create it first"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be written: no permission to write in {path.parent}; choose another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} cannot be written: no space left on the device; free some and run again"
    return f"{path} cannot be written: {error.strerror or error}; choose another name or folder"


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, unless it exists.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be created: {error.strerror or error}; choose another"
        ) from error


def set_modified(path: Path, modified: int) -> None:
    """Give a file a modification time, in nanoseconds since 1970."""
    os.utime(path, ns=(time.time_ns(), modified))


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The whole content of a file.

    Args:
        path: the file to read.
        limit: the most bytes that the file may have; ``None`` for any number.

    Raises:
        InputError: the file is missing, a folder, unreadable, or larger than ``limit``.
    """
    content = _read(path, -1 if limit is None else limit + 1)
    if limit is not None and len(content) > limit:
        raise InputError(f"{path} is larger than {limit} bytes; give a smaller file")
    return content


def read_beginning(path: Path, count: int) -> bytes:
    """The first bytes of a file.

    Args:
        path: the file to read.
        count: number of bytes; a smaller file is read whole.

    Raises:
        InputError: the file is missing, a folder, or unreadable.
    """
    return _read(path, count)


def _read(path: Path, count: int) -> bytes:
    """The first bytes of a file; all of them where the number is negative."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the name") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give the name of a file") from error
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: no permission; change its permissions") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; check the name and the disk") from error
