"""The errors that a user can meet, each with the exit code that the command line returns for it."""

from __future__ import annotations

import unicodedata

OUT_OF_MEMORY = "not enough memory for this; use a smaller input or another machine"


_UNSHOWN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, undecodable bytes, ends of lines and paragraphs
_TURNS_AROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # text behind it runs the other way
_UNDECODABLE = range(0xDC80, 0xDD00)  # what stands for the bytes 0x80 to 0xff where a name is not in UTF-8


def one_line(words: str) -> str:
    """Words as they can be shown: what would break or garble a line, as names of files may have it, is escaped.

    Args:
        words: a message, or the name of a file.
    """
    if words.isprintable():
        return words
    return "".join(_escaped(character) if _is_unshown(character) else character for character in words)


def _is_unshown(character: str) -> bool:
    return unicodedata.category(character) in _UNSHOWN_CATEGORIES or character in _TURNS_AROUND


def _escaped(character: str) -> str:
    number = ord(character)
    if number in _UNDECODABLE:
        return f"\\x{number & 0xFF:02x}"
    return character.encode("unicode_escape").decode()


class CombinerError(Exception):
    """Base of every expected error: one line that says what, where and what to do.

    Attributes:
        exit_code: the process exit code that the command line uses for this kind of error.
    """

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class UsageError(CombinerError):
    """The request makes no sense: options that exclude each other, a value out of range."""

    exit_code = 2


class UnreachableError(UsageError):
    """A prior cannot code a signal as well, or in as few bytes, as was asked for; another one may."""


class InputError(CombinerError):
    """An input cannot be read as an image or sound, or holds values that cannot be coded."""

    exit_code = 3


class DamagedFileError(CombinerError):
    """A ``.cmb`` or prior file is truncated, changed or otherwise not what it claims to be."""

    exit_code = 4


class UnsupportedVersionError(CombinerError):
    """A ``.cmb`` or prior file was written by a version that this one does not know."""

    exit_code = 5


class PriorError(CombinerError):
    """A prior is missing, or is of the wrong kind for the signal."""

    exit_code = 6


class OutputError(CombinerError):
    """An output cannot be written, or exists and may not be replaced."""

    exit_code = 7


class VerificationError(CombinerError):
    """The decoder does not reproduce what the encoder measured: a defect, never the user's fault."""

    exit_code = 8


class LimitError(CombinerError):
    """A file declares more samples than the limits allow to be allocated."""

    exit_code = 9


class DatasetError(CombinerError):
    """A training folder is empty, mixed, or too small for the requested settings."""

    exit_code = 10


class ClusterError(CombinerError):
    """A Dask cluster cannot be reached, or is not fit to work for this program."""

    exit_code = 11


def is_out_of_memory(error: Exception) -> bool:
    """Whether numpy or torch could not allocate; torch says so with a RuntimeError."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    words = str(error).lower()
    return "out of memory" in words or "can't allocate memory" in words
