"""The ``.cmb`` container, versions 1 to 4: magic, a positional msgpack header, the payload, a CRC-32.

In version 1 the payload is the group indices. In version 2 it is class numbers, where the prior has classes, and one
byte for each group. In version 3 it is a stream of entropy-coded classes and one byte for each group.
Version 4 is a wrapper: metadata, and a whole file of another version.

FORMAT.md is the description for other implementers; a test parses its worked example.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, replace

import msgpack
import numpy as np
import numpy.typing as npt

from ..errors import DamagedFileError, UnsupportedVersionError
from ..signals.signal import Kind

MAGIC = b"CMB"
VERSIONS = (1, 2, 3)  # of files that hold a signal
WITH_METADATA = 4
LARGEST_METADATA = 2**24  # bytes, as they are in a file
_CHECKSUM_BYTES = 4
_LARGEST_HEADER = 64  # bytes; with one stage a header has at most 23
_LONGEST_ARRAY = 16
_FIELDS = {1: 6, 2: 6, 3: 8}
_DENSITIES = 8
_LARGEST_DENSITY = 127
_MOST_CHAINS = 64
_TRANSFORM = (9, 64)  # hops of a prior, angles
_LARGEST_EXTENT = 2**32 - 1
_LARGEST_NOISE = 127
_IMAGE_DEPTHS = (8, 16)
_SOUND_DEPTHS = (16, 24)


@dataclass(frozen=True)
class Header:
    """What a decoder has to know besides the prior and the indices.

    Attributes:
        prior_id: first 32 bits of the prior's digest.
        kind: ``"image"`` or ``"sound"``.
        shape: ``(height, width)``, or ``(frames,)``.
        channels: 1 to 4 for an image, 1 or 2 for a sound.
        bit_depth: of the samples that come back.
        sample_rate: of a sound, in Hz; ``None`` for an image.
        groups: number of groups of each stage in version 1; empty in version 2, where the payload's length says it.
        noise: code of the noise variance, 0 where the prior has no use for it; of version 2, ``None`` in version 1.
        class_bytes: length of the stream of classes in version 3, else ``None``.
        densities: groups per information of the stages, eight numbers from 0 to 127, in version 3.
        chains: of groups, 1 to 64, in version 3.
        transform: of a sound in version 3: the number of the hop, and the angle of the channels; else empty.
    """

    prior_id: int
    kind: Kind
    shape: tuple[int, ...]
    channels: int
    bit_depth: int
    sample_rate: int | None
    groups: tuple[int, ...] = ()
    noise: int | None = None
    class_bytes: int | None = None
    densities: tuple[int, ...] = ()
    chains: int = 1
    transform: tuple[int, ...] = ()

    @property
    def version(self) -> int:
        if self.class_bytes is not None:
            return 3
        return 1 if self.noise is None else 2


def pack(header: Header, payload: bytes) -> bytes:
    """The whole file for a header and its payload.

    Raises:
        ValueError: the header has more stages than a file can hold.
    """
    last = header.noise if header.noise is not None else list(header.groups)
    if len(header.groups) == 1:
        last = header.groups[0]
    fields = [header.version, header.prior_id, _format_code(header), *_extent(header), last]
    if header.class_bytes is not None:
        fields += [header.class_bytes, [*header.densities, header.chains, *header.transform]]
    packed: bytes = msgpack.packb(fields)
    if len(packed) > _LARGEST_HEADER:
        raise ValueError(f"{len(header.groups)} stages do not fit a header")
    return _sealed(MAGIC + packed + payload)


def unpack(data: bytes, ignore_checksum: bool = False) -> tuple[Header, bytes]:
    """Header and payload of a file; of one with metadata, those of the file in it.

    The magic is checked first, then the checksum, then the version: a changed version digit is damage.

    Args:
        data: the whole file.
        ignore_checksum: take the last four bytes for the checksum and the rest for what it was of, right or not.

    Raises:
        DamagedFileError: not a ``.cmb`` file, or truncated or changed.
        UnsupportedVersionError: a version that this program does not know.
    """
    content, fields, start = _opened(data, ignore_checksum)
    if fields[0] == WITH_METADATA:
        content, fields, start = _opened(content[_metadata_end(content, fields, start) :], ignore_checksum)
        if fields[0] == WITH_METADATA:
            raise DamagedFileError("the file has metadata around metadata; it is damaged")
    return _header(fields), content[start:]


def with_metadata(data: bytes, metadata: bytes) -> bytes:
    """A file of version 4 around another file.

    Args:
        data: the other file, which has no metadata.
        metadata: what :mod:`combiner_cli.container.metadata` made of it.

    Raises:
        ValueError: the metadata are larger than a file can hold.
    """
    if len(metadata) > LARGEST_METADATA:
        raise ValueError(f"{len(metadata)} bytes of metadata do not fit a file")
    content = MAGIC + msgpack.packb([WITH_METADATA, len(metadata)]) + metadata + data
    return _sealed(content)


def split_metadata(data: bytes, ignore_checksum: bool = False) -> tuple[bytes, bytes]:
    """The file that is in a file of version 4, and its metadata; any other file itself, and nothing.

    Args:
        data: the whole file.
        ignore_checksum: as for :func:`unpack`.

    Raises:
        DamagedFileError, UnsupportedVersionError: as :func:`unpack`.
    """
    content, fields, start = _opened(data, ignore_checksum)
    if fields[0] != WITH_METADATA:
        return data, b""
    end = _metadata_end(content, fields, start)
    return content[end:], content[start:end]


def _opened(data: bytes, ignore_checksum: bool) -> tuple[bytes, list[object], int]:
    """All of a file but its checksum, the fields of its header, and where they end."""
    if data[: len(MAGIC)] != MAGIC:
        raise DamagedFileError("this is not a .cmb file: it does not begin with the letters CMB")
    if not (ignore_checksum or is_intact(data)):
        raise DamagedFileError("the file is truncated or was changed: its checksum does not match; fetch it again")
    content = data[:-_CHECKSUM_BYTES]
    return content, *_header_fields(content)


def _metadata_end(content: bytes, fields: list[object], start: int) -> int:
    """Where the metadata of a file of version 4 end, which begin at ``start``."""
    if len(fields) != 2:
        raise DamagedFileError(f"the header has {len(fields)} fields instead of 2; the file is damaged")
    length = _natural(fields[1])
    if length > min(LARGEST_METADATA, len(content) - start):
        raise DamagedFileError(f"the file declares {length} bytes of metadata, which it cannot hold; it is damaged")
    return start + length


def _sealed(content: bytes) -> bytes:
    """Content with its checksum."""
    return content + binascii.crc32(content).to_bytes(_CHECKSUM_BYTES, "big")


def is_intact(data: bytes) -> bool:
    """Whether the checksum at the end of a file is that of the rest."""
    return binascii.crc32(data[:-_CHECKSUM_BYTES]) == int.from_bytes(data[-_CHECKSUM_BYTES:], "big")


def indices_to_bytes(indices: npt.NDArray[np.int64], group_bits: int) -> bytes:
    """Group indices as big-endian integers of 8 or 16 bits."""
    return indices.astype(f">u{group_bits // 8}").tobytes()


def indices_from_bytes(payload: bytes, groups: int, group_bits: int) -> npt.NDArray[np.int64]:
    """The inverse of :func:`indices_to_bytes`.

    Raises:
        DamagedFileError: the payload does not hold exactly that many indices.
    """
    if len(payload) != groups * group_bits // 8:
        raise DamagedFileError(
            f"the payload has {len(payload)} bytes where its {groups} groups take {groups * group_bits // 8}; "
            "the file is damaged"
        )
    return np.frombuffer(payload, dtype=f">u{group_bits // 8}").astype(np.int64)


def _extent(header: Header) -> tuple[int, int]:
    """The two numbers of the header's shape: height and width, or frames and sample rate."""
    if header.kind == "image":
        return header.shape[0], header.shape[1]
    assert header.sample_rate is not None
    return header.shape[0], header.sample_rate


def _format_code(header: Header) -> int:
    """Kind, bit depth and channels in one byte: bit 3 sound, bit 2 the deeper of two depths, bits 0-1 channels - 1."""
    depths = _IMAGE_DEPTHS if header.kind == "image" else _SOUND_DEPTHS
    return (header.kind == "sound") * 8 + depths.index(header.bit_depth) * 4 + header.channels - 1


def _header_fields(content: bytes) -> tuple[list[object], int]:
    """The msgpack array behind the magic, and where it ends; the version is checked before anything else is read."""
    # a header of the known versions is made of numbers and of arrays of them
    none = dict.fromkeys(("max_str_len", "max_bin_len", "max_map_len", "max_ext_len"), 0)
    unpacker = msgpack.Unpacker(max_buffer_size=_LARGEST_HEADER, max_array_len=_LONGEST_ARRAY, **none)
    unpacker.feed(content[len(MAGIC) : len(MAGIC) + _LARGEST_HEADER])
    try:
        count = unpacker.read_array_header()
        version = _natural(unpacker.unpack()) if count else 0
        if version not in (*VERSIONS, WITH_METADATA):
            raise UnsupportedVersionError(
                f"this file has version {version}, this program reads versions {VERSIONS[0]} to {WITH_METADATA}; "
                "use a newer combiner"
            )
        fields = [version, *(unpacker.unpack() for _ in range(count - 1))]
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise DamagedFileError("the header cannot be read; the file is damaged") from error
    return fields, len(MAGIC) + unpacker.tell()


def _header(fields: list[object]) -> Header:
    """Check every field of a header that the checksum vouches for, and give it its meaning."""
    version = fields[0]
    assert isinstance(version, int)
    if len(fields) != _FIELDS[version]:
        raise DamagedFileError(
            f"the header has {len(fields)} fields instead of {_FIELDS[version]}; the file is damaged"
        )
    last = fields[5] if isinstance(fields[5], list) and version == 1 else [fields[5]]
    prior_id, code, first, second, *counts = (_natural(field) for field in (*fields[1:5], *last))
    if prior_id > 0xFFFFFFFF or code > 15 or not counts:
        raise DamagedFileError("the header holds a value out of range; the file is damaged")
    kind: Kind = "sound" if code & 8 else "image"
    channels = code % 4 + 1
    if min(first, second) < 1 or max(first, second) > _LARGEST_EXTENT or (kind == "sound" and channels > 2):
        raise DamagedFileError(f"the header declares an impossible {kind}; the file is damaged")
    depth = (_SOUND_DEPTHS if kind == "sound" else _IMAGE_DEPTHS)[code // 4 % 2]
    shape, sample_rate = ((first, second), None) if kind == "image" else ((first,), second)
    if version == 1:
        return Header(prior_id, kind, shape, channels, depth, sample_rate, groups=tuple(counts))
    if counts[0] > _LARGEST_NOISE:
        raise DamagedFileError("the header holds a value out of range; the file is damaged")
    header = Header(prior_id, kind, shape, channels, depth, sample_rate, noise=counts[0])
    return header if version == 2 else _with_streams(header, fields[6], fields[7])


def _with_streams(header: Header, length: object, streams: object) -> Header:
    """What a header of version 3 says besides: the length of the classes, densities and chains."""
    limits = _TRANSFORM if header.kind == "sound" else ()
    if not isinstance(streams, list) or len(streams) != _DENSITIES + 1 + len(limits):
        raise DamagedFileError("the header does not say how its groups are dealt; the file is damaged")
    numbers = tuple(_natural(field) for field in streams)
    densities, chains, transform = numbers[:_DENSITIES], numbers[_DENSITIES], numbers[_DENSITIES + 1 :]
    beyond = any(number >= limit for number, limit in zip(transform, limits, strict=True))
    if max(densities) > _LARGEST_DENSITY or not 1 <= chains <= _MOST_CHAINS or beyond:
        raise DamagedFileError("the header holds a value out of range; the file is damaged")
    return replace(header, class_bytes=_natural(length), densities=densities, chains=chains, transform=transform)


def _natural(field: object) -> int:
    if isinstance(field, bool) or not isinstance(field, int) or field < 0:
        raise DamagedFileError("the header holds something other than a natural number; the file is damaged")
    return field
