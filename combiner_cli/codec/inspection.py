"""What is inside a ``.cmb`` file, as far as this machine can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..container import metadata
from ..container.file import VERSION, File
from ..container.metadata import Metadata
from ..errors import PriorError
from ..family import Prior, View
from ..signals import metrics
from ..signals.kinds import KINDS
from ..signals.signal import Format
from .pipeline import check_made_with


@dataclass(frozen=True)
class Inspection:
    """What is inside a file.

    Attributes:
        version: of the file format.
        format: of the signal that comes back.
        prior_id: that the file names.
        bytes: of the whole file.
        metadata_bytes: of metadata and of what says how long they are.
        metadata: that came with the file it was made of.
        prior: name of the prior; ``None`` where it is not on this machine, and so for all that follows from it.
        family: name of the prior's family.
        header_bytes: magic, header and checksum.
        class_bytes: of the payload, those of classes; ``None`` too, with all that follows, where the file declares more
            points than are rendered without being asked for.
        group_bytes: of the payload, those of group indices.
        groups: number of groups by the names of stages, in coding order.
        noise_level: number that stands for the noise variance which the file was made for, and decides its quality;
            ``None`` where the prior has one only.
        noise_shape: numbers that say where there is more and less noise than that; none where it is the same for all.
    """

    version: int
    format: Format
    prior_id: int
    bytes: int
    metadata_bytes: int = 0
    metadata: Metadata = field(default_factory=Metadata)
    prior: str | None = None
    family: str | None = None
    header_bytes: int | None = None
    class_bytes: int | None = None
    group_bytes: int | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    noise_level: int | None = None
    noise_shape: tuple[int, ...] = ()

    @property
    def bits_per_pixel(self) -> float | None:
        """Of an image, of the whole file; else ``None``."""
        if self.format.sample_rate is not None:
            return None
        return metrics.bits_per_pixel(self.bytes, self.format.shape)

    @property
    def kilobits_per_second(self) -> float | None:
        """Of a sound, of the whole file; else ``None``."""
        if self.format.sample_rate is None:
            return None
        return metrics.kilobits_per_second(self.bytes, self.format.points, self.format.sample_rate)


def inspect(file: File, find_prior: Callable[[int], Prior]) -> Inspection:
    """What is inside a file.

    Args:
        file: taken apart.
        find_prior: gives the prior with the id that the file names; its PriorError says that it is not there.

    Raises:
        DamagedFileError: the file's numbers and its payload do not fit each other.
        PriorError: the prior is for another kind of signal.
    """
    known = Inspection(
        version=VERSION,
        format=file.format,
        prior_id=file.prior_id,
        bytes=len(file.data),
        metadata_bytes=file.metadata_bytes,
        metadata=metadata.unpack(file.metadata),
    )
    try:
        prior = find_prior(file.prior_id)
    except PriorError:
        return known
    check_made_with(file, prior)
    payload_bytes = len(file.numbers(prior.fields)[1])
    known = replace(
        known,
        prior=prior.name,
        family=prior.family.name,
        header_bytes=len(file.data) - file.metadata_bytes - payload_bytes,
    )
    if prior.points_rendered(file.format) > KINDS[file.format.kind].most_points:
        return known  # to count the groups of stages, a file has to be decoded
    decoded = prior.decode(file, View())
    return replace(
        known,
        class_bytes=decoded.class_bytes,
        group_bytes=payload_bytes - decoded.class_bytes,
        groups=dict(decoded.groups),
        noise_level=decoded.noise_level,
        noise_shape=decoded.noise_shape,
    )
