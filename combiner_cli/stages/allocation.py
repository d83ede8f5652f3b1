"""How many groups each stage of a pyramid has, and the file's two streams: classes and indices.

What information a stage has is known only when the stages before it are decoded. So the file says how much information
a group holds: a density for the coarse levels, one for the second finest, and one for each stage of the finest. The
last stage takes the groups that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import constriction
import numpy as np
import numpy.typing as npt

from ..container.header import Numbers
from ..errors import DamagedFileError
from ..rec import candidates, groups
from ..rec.candidates import Chaining
from ..rec.groups import EMPTY, Partition
from .moments import COARSE, FREQUENCY_BITS, Moments, StageName, in_parts

Array = npt.NDArray[Any]

DENSITIES = 8  # coarse levels, the second finest level, six stages of the finest level
_GROUP = 8 * groups.INFORMATION_UNIT
_UNIT = 96  # of a density: groups per 8 bits of information
MOST_DENSITY = 127
STRAIGHT = 4
_FEW_GROUPS = 256
_UNITS_AT_ONCE = 1 << 13
_MOST_REPEATED = 1 << 30  # latents, many times what encoders make of the largest image; or else hours for a few bytes
AGAIN = 8  # groups more than a share, after which another part like this one follows
# of 0 to 8 groups more than a share, in 65536ths
MORE_FREQUENCIES = np.array([49152, 5632, 3584, 2304, 1664, 1280, 896, 640, 384], dtype=np.float64)[:, None]
LAST_STAGE = {1: StageName(0, 3), 3: StageName(0, 5)}  # by colours


def density_of(ratio: float) -> int:
    """The density nearest to a number of groups per 8 bits of information."""
    return min(max(round(ratio * _UNIT), 0), MOST_DENSITY)


def density_number(name: StageName) -> int:
    """Which of the densities is a stage's."""
    return 2 + name.number if name.level == 0 else 1 if name.level == 1 else 0


@dataclass(eq=False)
class Share:
    """Deals the groups of a file to its stages, one after another, by integer arithmetic.

    Attributes:
        densities: eight of them.
        left: groups that no stage has taken yet; ``None`` where there is no bound to them.
        final: the file's last stage, once its plane is begun.
        pending: information in 1/256 bit, times the density, that has not filled a group yet.
    """

    densities: list[int]
    left: int | None
    final: StageName | None = None
    pending: int = 0

    def take(self, name: StageName, information: int, last: bool = True) -> int:
        """The number of groups of the next stage.

        Args:
            name: of the stage.
            information: of all its latents, in 1/256 bit.
            last: whether no further part of the stage's details comes later.
        """
        if self.left is not None and name == self.final and last:
            count = min(self.left, information)
        else:
            # planes before the last one are coded before the size of the file is known: they have one density
            density = self.densities[density_number(name) if self.final else 0]
            count, self.pending = divmod(self.pending + information * density, _GROUP * _UNIT)
            if not last:
                count = max(count, 1)  # or else the parts to come had to mend what they cannot
            count = min(count, information) if self.left is None else min(count, information, self.left)
        if self.left is not None:
            self.left -= count
        return count

    def steer(self, digit: int) -> None:
        """Change the density of what is coded before the size of the file is known, 4 meaning not at all."""
        self.densities[0] = min(max(self.densities[0] + digit - STRAIGHT, 0), MOST_DENSITY)

    def most_more(self, information: int, count: int) -> int:
        """How many groups a part of a stage can have beyond those that it took."""
        most = min(len(MORE_FREQUENCIES) - 1, information - count)
        return most if self.left is None else min(most, self.left)

    def take_more(self, more: int) -> None:
        """Take groups beyond a share."""
        if self.left is not None:
            self.left -= more


@dataclass(eq=False)
class FileSource:
    """The weights that a file names.

    Attributes:
        share: of the groups.
        chaining: of the groups.
        key: of the prior.
        parts_from: of the prior.
        decoder: of the classes.
        indices: of all groups, ``(groups,)`` uint8.
        first: the first group of the part that comes next.
        keep: whether candidates are kept.
        damaged: whether the file is known to be: classes that cannot be read are 0 then.
        repeated: latents of parts of stages that came again.
        latents: candidates of the latents that are coded, stage after stage, if they are kept.
        stages: number of groups of each stage so far.
    """

    expects: ClassVar[bool] = False
    share: Share
    chaining: Chaining
    key: int
    parts_from: int
    decoder: Any
    indices: npt.NDArray[np.uint8]
    keep: bool = True
    damaged: bool = False
    first: int = 0
    repeated: int = 0
    latents: list[Array] = field(default_factory=list)
    stages: dict[StageName, int] = field(default_factory=dict)

    def all_latents(self) -> npt.NDArray[np.float32]:
        """Candidates of all latents that are coded, if they are kept."""
        return np.concatenate([np.zeros(0, dtype=np.float32), *self.latents])

    def activity(self, own: Any, chroma: bool, frequencies: Array, means: Array) -> Array:
        del own, chroma, means
        return self.classes_of(frequencies)

    def classes_of(self, frequencies: Array) -> Array:
        """The next classes of the stream, ``(units,)``, given their frequencies."""
        found = np.empty(frequencies.shape[1], dtype=np.int8)
        for begin in range(0, len(found), _UNITS_AT_ONCE):
            units = slice(begin, begin + _UNITS_AT_ONCE)
            found[units] = self.symbols(frequencies[:, units])
        return found

    def symbols(self, frequencies: Array) -> Array:
        """The next symbols of the stream of classes, given their frequencies."""
        try:
            found: Array = self.decoder.decode(class_model(), probabilities(frequencies))
        except (AssertionError, ValueError) as error:
            if self.damaged:
                return np.zeros(frequencies.shape[1], dtype=np.int32)
            raise DamagedFileError("the classes of the file cannot be read; it is damaged") from error
        return found

    def details(
        self, name: StageName, own: Any, moments: Moments, widen: Callable[[Moments], None] | None = None
    ) -> Array:
        del own
        return in_parts(moments, self.parts_from, lambda own_moments: self._part(name, own_moments), widen)

    def _part(self, name: StageName, moments: Moments) -> tuple[Array, bool]:
        information = moments.whole_information()
        count, more = self.share.take(name, information, moments.last), 0
        if takes_more(name, count, self.parts_from):
            more = min(int(self.symbols(MORE_FREQUENCIES)[0]), self.share.most_more(information, count))
            self.share.take_more(more)
            count += more
        if more == AGAIN:
            self.repeated += len(moments.mean)
            if self.repeated > _MOST_REPEATED:
                raise DamagedFileError("the file repeats its parts without end; it is damaged")
        values = moments.mean  # nobody has use for the means any more
        if count:
            self.stages[name] = self.stages.get(name, 0) + count
            key = partition_key(self.key, more)
            for part in groups.pieces(moments.information_of, len(values), count, key):
                z = self._candidates(part)
                values = moments.added(values, part.order, z)
                if self.keep:
                    self.latents.append(z)
            self.first += count
        return values, more == AGAIN

    def _candidates(self, part: Partition) -> npt.NDArray[np.float32]:
        """Whitened values of the latents of a piece of the partition that is being read."""
        first, last = int(part.group[0]), int(part.group[-1]) + 1
        rows = rows_of(self.indices[: self.first + last], last - first, self.chaining)
        return candidates.candidates(rows, replace(part, group=part.group - first), self.key)


def file_source(
    numbers: Numbers, payload: memoryview, key: int, parts_from: int, keep: bool, damaged: bool = False
) -> FileSource:
    """The weights that a file names.

    Args:
        numbers: of the file's header.
        payload: of the file.
        key: of the prior.
        parts_from: of the prior.
        keep: whether latents are kept.
        damaged: whether the file is known to be: classes that cannot be read are 0 then, and no error.

    Raises:
        DamagedFileError: the header and the payload do not fit each other.
    """
    (length,), (chains,) = numbers["class_bytes"], numbers["chains"]
    if length > len(payload):
        if not damaged:
            raise DamagedFileError("the file declares more classes than its payload holds; it is damaged")
        length = len(payload)
    indices = np.frombuffer(payload[length:], dtype=np.uint8)  # there may be millions
    share, chaining = Share(list(numbers["densities"]), len(indices)), Chaining(8, chains)
    decoder = class_decoder(bytes(payload[:length]))
    return FileSource(share, chaining, key, parts_from, decoder, indices, keep, damaged)


def partition(information: npt.NDArray[np.integer], count: int, key: int, more: int = 0) -> Partition:
    """The partition of a part of a stage's latents into some groups.

    Args:
        information: of the part's latents in 1/256 bit, ``(latents,)``.
        count: of groups.
        key: of the prior.
        more: how many of the groups are beyond its share.
    """
    return groups.partition(information, count, partition_key(key, more)) if count else EMPTY


def partition_key(key: int, more: int) -> int:
    """The key of a partition: with each number of groups beyond a share the latents are dealt anew."""
    return (key + more) % 2**64


def takes_more(name: StageName, count: int, parts_from: int) -> bool:
    """Whether the file says of a part of a stage how many groups more than its share it has.

    A few latents that stand for many samples each may have no good candidates in their share of the groups; with more
    they are dealt anew. Those that no candidates reach are coded once again.
    """
    return bool(parts_from) and name.level >= COARSE and 0 < count <= _FEW_GROUPS


def reach_of(chaining: Chaining) -> int:
    """How many groups before one decide which candidates it has."""
    return max(chaining.chains, 2)


def look_up(indices: npt.NDArray[np.int64], part: Partition, chaining: Chaining, key: int) -> Array:
    """Whitened values of the latents of a stage, in the order of ``part.order``.

    Args:
        indices: of all groups up to the stage's last one.
        part: of the stage.
        chaining: of the file.
        key: of the prior.
    """
    return candidates.candidates(rows_of(indices, part.groups, chaining), part, key)


def rows_of(indices: npt.NDArray[np.integer], count: int, chaining: Chaining) -> npt.NDArray[np.int64]:
    """Rows of the table that the last groups of some name, ``(count,)``."""
    begin = max(0, len(indices) - count - reach_of(chaining))
    return candidates.table_rows(indices[begin:].astype(np.int64), chaining)[len(indices) - count - begin :]


def class_model() -> Any:
    """The family of models of the range coder: any probabilities."""
    return constriction.stream.model.Categorical(perfect=False)


def probabilities(frequencies: Array) -> npt.NDArray[np.float32]:
    """Frequencies ``(9, units)`` as the range coder takes them, ``(units, 9)``: exact."""
    return np.ascontiguousarray(frequencies.T * 2.0**-FREQUENCY_BITS, dtype=np.float32)


def class_decoder(data: bytes) -> Any:
    """A decoder of the stream of classes."""
    padded = data + bytes(-len(data) % 4)
    return constriction.stream.queue.RangeDecoder(np.frombuffer(padded, dtype="<u4").astype(np.uint32))


def class_encoder() -> Any:
    """An encoder of the stream of classes."""
    return constriction.stream.queue.RangeEncoder()


def put_classes(encoder: Any, classes: Array, frequencies: Array) -> None:
    """Encode classes ``(units,)`` with their frequencies ``(9, units)``."""
    encoder.encode(classes.astype(np.int32), class_model(), probabilities(frequencies))


def class_bytes(encoder: Any) -> bytes:
    """The stream of classes: words of the range coder, least significant byte first, without zeros at its end."""
    words: npt.NDArray[np.uint32] = encoder.get_compressed()
    return words.astype("<u4").tobytes().rstrip(b"\0")
