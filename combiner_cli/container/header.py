"""The header of a ``.cmb`` file: every number that it holds, declared once, written and read by one loop.

A file begins with eight fixed bytes: the magic, the version, and the id of the prior. Then come natural numbers in
msgpack, one after another: those that every file has, and those of the prior's family. FORMAT.md is the description for
other implementers; a test parses its worked example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgpack

from ..errors import DamagedFileError
from ..signals.signal import Format, Kind

LARGEST_METADATA = 2**24  # bytes, as they are in a file
_LARGEST_NUMBER = 2**32 - 1
_LONGEST_NUMBER = 5  # bytes of a number in msgpack, up to the largest
_DEPTHS: dict[Kind, tuple[int, int]] = {"image": (8, 16), "sound": (16, 24)}
_MOST_SOUND_CHANNELS = 2
_DEEPER, _SOUND, _METADATA = 1 << 2, 1 << 3, 1 << 4  # bits of the code of the format; bits 0 and 1: channels - 1


@dataclass(frozen=True)
class Field:
    """Some numbers of a header that follow one another.

    Attributes:
        name: of the field.
        largest: that one of the numbers may be.
        least: that one of the numbers may be.
        count: of the numbers.
        may_be_one: whether one number may stand for all of them. Where it does not, the first one is written with
            ``largest + 1`` on top.
        present: name of a field before it, and how large its number must be, or else a header does not have this one;
            ``None`` where every header has it.
    """

    name: str
    largest: int = _LARGEST_NUMBER
    least: int = 0
    count: int = 1
    may_be_one: bool = False
    present: tuple[str, int] | None = None

    def counts(self, numbers: int) -> bool:
        """Whether it may have so many numbers."""
        return numbers == self.count or (self.may_be_one and numbers == 1)


Fields = tuple[Field, ...]
Numbers = Mapping[str, Sequence[int]]

# code: channels - 1, plus 4 for the deeper of two bit depths, 8 for a sound, 16 where there are metadata;
# first and second: height and width, or sample instants and sample rate
COMMON: Fields = (Field("code", 31), Field("first", least=1), Field("second", least=1))
METADATA_LENGTH: Fields = (Field("metadata", LARGEST_METADATA, least=1),)


def longest(fields: Fields) -> int:
    """How many bytes the numbers of some fields take at most.

    Args:
        fields: of a header.
    """
    return _LONGEST_NUMBER * sum(field.count for field in fields)


def write(fields: Fields, numbers: Numbers) -> bytes:
    """The numbers of some fields as bytes.

    Args:
        fields: in the order in which they are written.
        numbers: of each field that is present by its name, as many as it counts, or one where that may stand for all.

    Raises:
        ValueError: a number is out of the field's range, or there are too many or too few.
    """
    written: list[int] = []
    for field in (field for field in fields if _is_present(field, numbers)):
        values = numbers[field.name]
        if not field.counts(len(values)) or not all(field.least <= value <= field.largest for value in values):
            raise ValueError(f"{field.name} cannot be {values!r}")
        more = field.may_be_one and len(values) > 1
        written += [values[0] + (field.largest + 1) * more, *values[1:]]
    return b"".join(msgpack.packb(int(value)) for value in written)


def _is_present(field: Field, numbers: Numbers) -> bool:
    """Whether a header has a field, given the numbers of those before it."""
    if field.present is None:
        return True
    name, least = field.present
    return numbers[name][0] >= least


def read(fields: Fields, content: memoryview) -> tuple[dict[str, tuple[int, ...]], int]:
    """The inverse of :func:`write`.

    Args:
        fields: in the order in which they were written.
        content: begins with them.

    Returns:
        The numbers of each field that is present by its name, and how many bytes they take.

    Raises:
        DamagedFileError: there are no such numbers.
    """
    none = dict.fromkeys(("max_str_len", "max_bin_len", "max_array_len", "max_map_len", "max_ext_len"), 0)
    unpacker = msgpack.Unpacker(max_buffer_size=longest(fields), **none)
    unpacker.feed(content[: longest(fields)])
    numbers: dict[str, tuple[int, ...]] = {}
    for field in fields:
        if not _is_present(field, numbers):
            continue
        first = _number(unpacker, field, 2 * field.largest + 1 if field.may_be_one else field.largest)
        count = field.count
        if field.may_be_one:
            more, first = divmod(first, field.largest + 1)
            count = field.count if more else 1
        numbers[field.name] = (first, *(_number(unpacker, field, field.largest) for _ in range(count - 1)))
    return numbers, unpacker.tell()


def _number(unpacker: msgpack.Unpacker, field: Field, largest: int) -> int:
    """The next number of a field."""
    try:
        value = unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise DamagedFileError("the header cannot be read; the file is damaged") from error
    if isinstance(value, bool) or not isinstance(value, int) or not field.least <= value <= largest:
        raise DamagedFileError(f"the header's {field.name} is out of range; the file is damaged")
    return value


def common_numbers(signal_format: Format, has_metadata: bool) -> Numbers:
    """The numbers of the fields that every file has.

    Args:
        signal_format: of the signal in the file.
        has_metadata: whether metadata follow.
    """
    deeper = _DEPTHS[signal_format.kind].index(signal_format.bit_depth)
    sound = signal_format.kind == "sound"
    code = signal_format.channels - 1 + deeper * _DEEPER + sound * _SOUND + has_metadata * _METADATA
    first, *rest = signal_format.shape
    second = signal_format.sample_rate if signal_format.sample_rate is not None else rest[0]
    return {"code": (code,), "first": (first,), "second": (second,)}


def format_of(numbers: Numbers) -> tuple[Format, bool]:
    """The format that the common numbers stand for, and whether metadata follow.

    Raises:
        DamagedFileError: no signal has that format.
    """
    (code,), (first,), (second,) = (numbers[field.name] for field in COMMON)
    kind: Kind = "sound" if code & _SOUND else "image"
    channels, bit_depth = code % 4 + 1, _DEPTHS[kind][bool(code & _DEEPER)]
    if kind == "sound" and channels > _MOST_SOUND_CHANNELS:
        raise DamagedFileError("the header declares an impossible sound; the file is damaged")
    shape, sample_rate = ((first,), second) if kind == "sound" else ((first, second), None)
    return Format(kind, shape, channels, bit_depth, sample_rate), bool(code & _METADATA)
