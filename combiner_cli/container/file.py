"""A ``.cmb`` file as one object: read, checked and taken apart once, and handed on."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from functools import cached_property

from ..errors import DamagedFileError, UnsupportedVersionError
from ..signals.signal import Format
from . import header
from .header import Fields, Numbers

MAGIC = b"CMB"
VERSION = 5
_FIRST_OF_OLD = range(0x90, 0xA0)  # what stands behind the magic in files of versions 1 to 4: an array of msgpack
_PREFIX = len(MAGIC) + 1 + 4  # bytes: magic, version, id of the prior
_CHECKSUM_BYTES = 4
LONGEST_BEGINNING = _PREFIX + header.longest(header.COMMON)  # bytes, within which every file states its format


@dataclass(frozen=True, eq=False)
class File:
    """The content of a ``.cmb`` file.

    Attributes:
        data: all bytes of the file.
        intact: whether its checksum is that of the rest.
        prior_id: first 32 bits of the digest of the prior that it was made with.
        format: of the signal in it.
        metadata: that came with the signal, packed; empty where there are none.
        body: what the prior's family makes of it: its own numbers, and the payload.
    """

    data: bytes
    intact: bool
    prior_id: int
    format: Format
    metadata: bytes
    body: memoryview

    @classmethod
    def parse(cls, data: bytes, ignore_checksum: bool = False) -> File:
        """Take a file apart.

        The magic is checked first, then the checksum, then the version: a version that was changed is damage.

        Args:
            data: all bytes of the file.
            ignore_checksum: take the last four bytes for the checksum and the rest for what it was of, right or not.

        Raises:
            DamagedFileError: it is no ``.cmb`` file, or is truncated or changed.
            UnsupportedVersionError: it has a version that this program does not read.
        """
        if data[: len(MAGIC)] != MAGIC:
            raise DamagedFileError("this is not a .cmb file: it does not begin with the letters CMB")
        intact = checksum(data[:-_CHECKSUM_BYTES]) == data[-_CHECKSUM_BYTES:]
        if not (intact or ignore_checksum):
            raise DamagedFileError("the file is truncated or was changed: its checksum does not match; fetch it again")
        if len(data) < _PREFIX + _CHECKSUM_BYTES:
            raise DamagedFileError("the header cannot be read; the file is damaged")
        _check_version(data[len(MAGIC)], data[len(MAGIC) + 1])
        content = memoryview(data)[_PREFIX:-_CHECKSUM_BYTES]
        prior_id = int.from_bytes(data[_PREFIX - 4 : _PREFIX], "big")
        numbers, length = header.read(header.COMMON, content)
        signal_format, has_metadata = header.format_of(numbers)
        content = content[length:]
        metadata = b""
        if has_metadata:
            numbers, length = header.read(header.METADATA_LENGTH, content)
            (size,) = numbers["metadata"]
            if size > len(content) - length:
                raise DamagedFileError(f"the file declares {size} bytes of metadata, which it has not; it is damaged")
            metadata, content = bytes(content[length : length + size]), content[length + size :]
        return cls(data, intact, prior_id, signal_format, metadata, content)

    def numbers(self, fields: Fields) -> tuple[dict[str, tuple[int, ...]], memoryview]:
        """The numbers of the prior's family, and the payload behind them.

        Args:
            fields: that the family declares.

        Raises:
            DamagedFileError: the file does not have such numbers.
        """
        numbers, length = header.read(fields, self.body)
        return numbers, self.body[length:]

    @cached_property
    def metadata_bytes(self) -> int:
        """How many bytes of the file metadata take, with what says how long they are."""
        return metadata_overhead(self.metadata)


def stated_format(beginning: bytes) -> Format:
    """The format of the signal that a file states, which is believed: for what is planned before files are read.

    Args:
        beginning: of the file, ``LONGEST_BEGINNING`` bytes or all of it.

    Raises:
        DamagedFileError: it is no ``.cmb`` file, or states no format.
        UnsupportedVersionError: it has a version that this program does not read.
    """
    if beginning[: len(MAGIC)] != MAGIC or len(beginning) < _PREFIX:
        raise DamagedFileError("this is not a .cmb file: it does not begin with the letters CMB")
    _check_version(beginning[len(MAGIC)], beginning[len(MAGIC) + 1])
    numbers, _ = header.read(header.COMMON, memoryview(beginning)[_PREFIX:])
    return header.format_of(numbers)[0]


def pack(prior_id: int, signal_format: Format, fields: Fields, numbers: Numbers, payload: bytes) -> bytes:
    """All bytes of a file without metadata.

    Args:
        prior_id: first 32 bits of the prior's digest.
        signal_format: of the signal in the file.
        fields: that the prior's family declares.
        numbers: of these fields.
        payload: of the file.

    Raises:
        ValueError: a number is out of its field's range.
    """
    common = header.write(header.COMMON, header.common_numbers(signal_format, has_metadata=False))
    return _sealed(prior_id, common, header.write(fields, numbers) + payload)


def length_around(signal_format: Format, fields: Fields, numbers: Numbers) -> int:
    """Bytes of a file besides its payload, whichever prior of its family it is made with.

    Args:
        signal_format, fields, numbers: as for :func:`pack`.
    """
    return len(pack(0, signal_format, fields, numbers, b""))


def with_metadata(file: File, metadata: bytes) -> bytes:
    """All bytes of a file that has metadata besides what another one has.

    Args:
        file: without metadata.
        metadata: packed; where they are empty, the file stays as it is.

    Raises:
        ValueError: there are more of them than a file can hold.
    """
    if not metadata:
        return file.data
    common = header.write(header.COMMON, header.common_numbers(file.format, has_metadata=True))
    return _sealed(file.prior_id, common, _length_of(metadata) + metadata + bytes(file.body))


def metadata_overhead(metadata: bytes) -> int:
    """How many bytes metadata add to a file.

    Args:
        metadata: packed; there may be none.
    """
    return len(_length_of(metadata)) + len(metadata) if metadata else 0


def checksum(content: bytes) -> bytes:
    """The four bytes that end a file: CRC-32 of everything before them."""
    return binascii.crc32(content).to_bytes(_CHECKSUM_BYTES, "big")


def _length_of(metadata: bytes) -> bytes:
    return header.write(header.METADATA_LENGTH, {"metadata": (len(metadata),)})


def _sealed(prior_id: int, common: bytes, rest: bytes) -> bytes:
    content = MAGIC + bytes([VERSION]) + prior_id.to_bytes(4, "big") + common + rest
    return content + checksum(content)


def _check_version(version: int, following: int) -> None:
    """Refuse files of other versions.

    Args:
        version: the byte behind the magic.
        following: the byte behind that one, which is the version in files of versions 1 to 4.

    Raises:
        UnsupportedVersionError: it is not the one that this program reads.
    """
    if version == VERSION:
        return
    known = following if version in _FIRST_OF_OLD else version
    advice = "use a newer combiner" if known > VERSION else "code the original again"
    raise UnsupportedVersionError(f"this file has version {known}, this program reads version {VERSION}; {advice}")
