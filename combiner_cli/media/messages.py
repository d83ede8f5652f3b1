"""What libtiff and libmpg123 print while they decode, so that it becomes notes and errors instead of lines on stderr.

Neither can be told by Pillow or soundfile to be silent, and both print on the file descriptor of stderr. So that is a
file for the time of a call. What others print meanwhile, as bars of another thread, comes through when the call ends.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2
_TURN = threading.RLock()  # the descriptor belongs to the whole process
# "tempfile.tif: Using code not yet in table.", "ZIPDecode: Decoding error at scanline 0, incorrect data check."
LIBTIFF = re.compile(rb"^(?:tempfile\.tif|[A-Z_]\w+): [^\n]*\.\n", re.MULTILINE)
# "Note: Trying to resync...", "[src/libmpg123/parse.c:wetwork():1349] error: Giving up resync after 1024 bytes"
LIBMPG123 = re.compile(rb"^(?:(?:Note|Warning): |\[[\w./]*libmpg123)[^\n]*\n", re.MULTILINE)
_PLACE = re.compile(r"^(?:\[[^\]]*\] (?:error|warning)|Note|Warning|tempfile\.tif): ")
_MOST_WORDS = 200  # characters of a reason


@contextmanager
def caught(pattern: re.Pattern[bytes]) -> Iterator[list[str]]:
    """Catch what a library prints while the block runs.

    Args:
        pattern: of its lines: ``LIBTIFF`` or ``LIBMPG123``. Everything else is printed when the block is over.

    Yields:
        A list that has these lines when the block is over, also if it raises.
    """
    import tempfile

    lines: list[str] = []
    with _TURN:
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # it is closed, so that nobody sees what is printed
            yield lines
            return
        with tempfile.TemporaryFile() as file:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(file.fileno(), _STDERR)
            try:
                yield lines
            finally:
                os.dup2(terminal, _STDERR)
                file.seek(0)
                printed = file.read()
                lines += [line.decode(errors="replace").strip() for line in pattern.findall(printed)]
                os.write(terminal, pattern.sub(b"", printed))
                os.close(terminal)


def reason(lines: list[str]) -> str:
    """Lines of a library as the reason of an error, each once, without places in its source."""
    words = dict.fromkeys(_PLACE.sub("", line).strip(" .!") for line in lines)
    text = "".join(letter for letter in "; ".join(words) if letter.isprintable())
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}..."


def tell(lines: list[str], path: Path, note: Callable[[str], None]) -> None:
    """Tell what a library said of a file that it decoded all the same."""
    if lines:
        note(f"{path} may be damaged; its decoder says: {reason(lines)}")
