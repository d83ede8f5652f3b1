"""Tables as CSV, as Markdown, and as numbers in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError
from ..system import files

Row = Mapping[str, object]
Cells = dict[str, str]


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
    """Write rows, one column per key of the first unless they are named; what a row lacks is empty.

    A file that was there stays whole until the new one is, for hours of results must not go with a write that is cut
    off.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns or rows[0]), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    with files.atomic_output(path, overwrite=True) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def read_csv(path: Path) -> list[Cells]:
    """The rows of a file; none where it does not exist.

    Raises:
        InputError: it is not a table.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no table: {error}; restore it or remove it") from error
    if any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path} is damaged: a row has too few or too many columns; restore it or remove it")
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table; bars in what it shows are escaped."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(row[head]).replace("|", "\\|") for head in heads) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def text(value: float | None, digits: int = 2) -> str:
    """A number with so many digits behind the point, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference with its sign, or a dash."""
    return "–" if value is None else f"{value:+.1f}".replace("-", "−")
