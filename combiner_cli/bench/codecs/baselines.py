"""What the other codecs of images and of sounds have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...signals.signal import Signal
from .. import curves
from ..curves import Curve
from ..measures import Measure
from ..tables import Row

Options = Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Coded:
    """A file of a codec and what it decodes to.

    Attributes:
        data: the file.
        decoded: of the shape of the original.
        encode_seconds: wall time.
        decode_seconds: wall time.
    """

    data: bytes
    decoded: Signal
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True, eq=False)
class Codec:
    """Another codec that runs here.

    Attributes:
        title: its name in tables.
        ways: of using it, each with its settings from small to large files; the best way counts at each rate.
        fine: settings from small to large files, by which a file of a certain size is looked for.
        suffix: of its files.
        program: what encodes, with its version.
        about: how it is used, for the notes of tables.
        encode: codes a signal with some settings.
        decode: what a file holds, brought to the length and the form of the original.
    """

    title: str
    ways: Mapping[str, Sequence[Options]]
    fine: Sequence[Options]
    suffix: str
    program: str
    about: str
    encode: Callable[[Signal, Options], Coded]
    decode: Callable[[bytes, Signal], Signal]


def setting_text(options: Options) -> str:
    """Settings in words; what they have in common with all of a codec is left out."""
    return " ".join(f"{option}={value}" for option, value in options.items() if option not in ("format", "subtype"))


def curve_of(rows: Iterable[Row], ways: Iterable[str], measure: Measure, rate: str, scaled: bool = False) -> Curve:
    """The curve of a codec: the best that its ways reach with each rate or less.

    Args:
        rows: means of all settings, with the column codec for the way.
        ways: of the codec.
        measure: wanted at each rate.
        rate: column of the rate.
        scaled: by the measure's scale, in which points lie between points, else in its own numbers.
    """
    sign = 1 if measure.rises else -1
    rows = list(rows)

    def number(row: Row) -> float:
        value = float(str(row[measure.column]))
        return measure.scale(value) if scaled else sign * value

    def curve(way: str) -> Curve:
        of_way = [row for row in rows if row["codec"] == way and row[measure.column] not in ("", None)]
        points = [(float(str(row[rate])), number(row)) for row in of_way]
        return [point for point in points if math.isfinite(point[1])]

    best = curves.better([curve(way) for way in ways])
    return best if scaled else [(at, sign * value) for at, value in best]


def nearest(codec: Codec, original: Signal, size: int) -> Coded:
    """The file of a codec whose size is the nearest to ``size`` bytes, by bisection of its fine settings."""
    low, high, tried = 0, len(codec.fine) - 1, list[Coded]()
    while low <= high:
        middle = (low + high) // 2
        tried.append(codec.encode(original, codec.fine[middle]))
        low, high = (middle + 1, high) if len(tried[-1].data) < size else (low, middle - 1)
    return min(tried, key=lambda coded: abs(math.log(len(coded.data) / size)))
