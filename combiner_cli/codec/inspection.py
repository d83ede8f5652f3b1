"""What is inside a ``.cmb`` file, as far as this machine can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..container import bitstream, metadata
from ..container.metadata import Metadata
from ..errors import PriorError
from ..priors.library import AnyPrior, Prior
from ..signals import metrics
from ..signals.signal import Kind
from . import pipeline


@dataclass(frozen=True)
class Inspection:
    """What is inside a file.

    Attributes:
        version: of the file format, 4 where there are metadata around a file of another version.
        kind: ``"image"`` or ``"sound"``.
        shape: ``(height, width)``, or ``(frames,)``.
        channels: of the signal.
        bit_depth: of the samples that come back.
        sample_rate: of a sound, in Hz; else ``None``.
        prior_id: that the file names.
        prior: name of that prior; ``None`` where it is not on this machine, and so for all that follows from it.
        family: of the prior.
        bytes: of the whole file.
        header_bytes: magic, header and checksum.
        metadata_bytes: of metadata and what is around them.
        metadata: that came with the file it was made of.
        class_bytes: of the payload, those of classes.
        group_bytes: of the payload, those of group indices.
        groups: number of groups.
        stages: number of groups by the names of stages.
        noise: code of the noise variance that the file was made for, which decides its quality; ``None`` in version 1.
        bits_per_pixel: of an image, of the whole file; else ``None``.
        kilobits_per_second: of a sound, likewise.
    """

    version: int
    kind: Kind
    shape: tuple[int, ...]
    channels: int
    bit_depth: int
    sample_rate: int | None
    prior_id: int
    bytes: int
    header_bytes: int
    metadata_bytes: int = 0
    metadata: Metadata = field(default_factory=Metadata)
    noise: int | None = None
    prior: str | None = None
    family: str | None = None
    class_bytes: int | None = None
    group_bytes: int | None = None
    groups: int | None = None
    stages: dict[str, int] = field(default_factory=dict)

    @property
    def bits_per_pixel(self) -> float | None:
        return metrics.bits_per_pixel(self.bytes, self.shape) if self.kind == "image" else None

    @property
    def kilobits_per_second(self) -> float | None:
        if self.sample_rate is None:
            return None
        return metrics.kilobits_per_second(self.bytes, self.shape[0], self.sample_rate)


def inspect(data: bytes, find_prior: Callable[[int], AnyPrior]) -> Inspection:
    """What is inside a file.

    Args:
        data: the whole file.
        find_prior: gives the prior with the id that the file names; its PriorError says that it is not there.

    Raises:
        DamagedFileError: not a file of this program, or truncated or changed.
        UnsupportedVersionError: written by a version that this one does not know.
    """
    inner, packed = bitstream.split_metadata(data)
    header, payload = bitstream.unpack(inner)
    known = Inspection(
        version=bitstream.WITH_METADATA if packed else header.version,
        kind=header.kind,
        shape=header.shape,
        channels=header.channels,
        bit_depth=header.bit_depth,
        sample_rate=header.sample_rate,
        prior_id=header.prior_id,
        bytes=len(data),
        header_bytes=len(inner) - len(payload),
        metadata_bytes=len(data) - len(inner),
        metadata=metadata.unpack(packed),
        noise=header.noise,
        class_bytes=header.class_bytes,
        groups=sum(header.groups) if header.groups else None,
    )
    try:
        prior = find_prior(header.prior_id)
    except PriorError:
        return known
    stages = pipeline.read(inner, prior).stages
    groups = sum(stages.values())
    group_bytes = groups * (prior.group_bits if header.version == 1 and isinstance(prior, Prior) else 8) // 8
    return replace(
        known,
        prior=prior.name,
        family=prior.family,
        class_bytes=len(payload) - group_bytes,
        group_bytes=group_bytes,
        groups=groups,
        stages=stages,
    )
