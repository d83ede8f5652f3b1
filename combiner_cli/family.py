"""What a way of coding is: the interface between the families and everything else.

A *family* is a way of coding signals; a *prior* of a family is learned from a data set and shared by encoder and
decoder. ``codec``, ``batch``, ``priors`` and ``cli`` hold priors and families by these two classes only, and never ask
which they have.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .container.file import File, pack
from .container.header import Fields, Numbers
from .signals.kinds import Tune
from .signals.resizing import Resized
from .signals.signal import Format, Kind, Rows, Signal, from_values

if TYPE_CHECKING:
    from .learning.job import Learning, LearningOption, LearningRequest

Array = npt.NDArray[Any]
Configuration = Mapping[str, Any]
Tensors = Mapping[str, Array]


Unit = Literal[
    "quality", "rate", "noise", "size", "bits_per_pixel", "kilobits_per_second", "psnr", "snr", "ssimulacra2"
]


@dataclass(frozen=True)
class Target:
    """What a file is to be: one number in one unit.

    ``codec.goals`` settles what only makes sense for a signal or with a prior; encoders get a rate, a noise, a size
    or a PSNR, and a tune.

    Attributes:
        unit: ``"quality"``: 1 (smallest) to 10 (best). ``"rate"``: bits per point that a typical signal takes at the
            quality that is meant; other signals take what that quality takes of them. ``"noise"``: the same, said by
            the noise variance on values in [-1, 1] that a typical signal is coded with. ``"size"``: bytes of the whole
            file, exactly. ``"bits_per_pixel"`` of an image and ``"kilobits_per_second"`` of a sound: of the whole file,
            at most. ``"psnr"``: dB that the decoded signal is to reach; ``"snr"``: likewise, of a sound.
            ``"ssimulacra2"``: score that a decoded image is to reach.
        value: in that unit.
        tune: what errors are weighed by: ``"psnr"``: all alike; ``"perceptual"``: by how much they are noticed;
            ``None`` for what is usual of the kind of signal.
        typical_error: of a ``"noise"``: mean squared error of a typical signal that is coded with it.
    """

    unit: Unit
    value: float
    tune: Tune | None = "psnr"
    typical_error: float | None = None

    @property
    def perceptual(self) -> bool:
        """Whether errors are weighed by how much they are noticed; a PSNR weighs them all alike."""
        return self.tune == "perceptual" and self.unit != "psnr"


@dataclass(frozen=True)
class Progress:
    """State of a long computation, for display.

    Attributes:
        phase: what is being done.
        done: fraction of the phase, 0 to 1.
        squared_error: mean squared error so far on values in [-1, 1], or ``None``.
    """

    phase: str
    done: float
    squared_error: float | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class EncodingOptions:
    """How to encode, whatever the file is to be.

    A family refuses what it has no use for; with ``None`` and ``"auto"`` it chooses by itself.

    Attributes:
        effort: 1 (fastest) to 9 (best).
        seed: of the encoder's own random numbers.
        search: one of ``rec.search.METHODS``, or ``None``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``: where gradient steps are made.
        refinement: how the weights still uncoded are adapted to the coded ones, by a name of the family, or ``None``.
        adapt: whether the networks of a prior may be adapted to a signal.
    """

    effort: int = 5
    seed: int = 0
    search: str | None = None
    device: str = "auto"
    refinement: str | None = None
    adapt: bool = True


@dataclass(frozen=True)
class View:
    """How a file is looked at.

    Attributes:
        scale: samples per native sample and axis.
        size: height and width in pixels that an image is rendered at, instead of a scale.
        keep_latents: whether latents are kept, which takes more memory.
        fill: noise in the place of what a sound leaves out, 0 to 1; ``None`` for as much as the file says. Families
            that leave nothing out have no use for it.
    """

    scale: int = 1
    size: tuple[int, int] | None = None
    keep_latents: bool = False
    fill: float | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an encoder has made of a signal.

    Attributes:
        numbers: of the fields that the prior declares.
        payload: of the file.
        latents: whitened latents of all stages, one after another, as the decoder is to find them, ``(latents,)``.
        seconds: wall time by phase, of all signals that were encoded together.
    """

    numbers: Numbers
    payload: bytes
    latents: npt.NDArray[np.floating]
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a decoder has made of a file.

    Attributes:
        format: of the signal as it is to be rendered.
        values: of the signal in [-1, 1], ``(*shape, channels)``, rendered when rows are asked for. An image may come at
            another size than that of the format, and is then interpolated.
        groups: number of groups of each stage by its name, in coding order.
        class_bytes: bytes of the payload that are not group indices.
        noise_level: the number of the file that stands for the noise variance; ``None`` where the prior has one only.
        latents: whitened latents of all stages, one after another, ``(latents,)``; empty where they are not kept.
        noise_variance: that the file was made for, on values in [-1, 1]: about the largest mean squared error that it
            may have; ``None`` where the prior knows of none.
        noise_shape: the numbers of the file that say where there is more and less noise than that; none where it is
            the same everywhere.
    """

    format: Format
    values: Rows
    groups: Mapping[str, int]
    class_bytes: int
    noise_level: int | None = None
    latents: npt.NDArray[np.floating] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    noise_variance: float | None = None
    noise_shape: tuple[int, ...] = ()

    def signal(self) -> Signal:
        """The signal, with samples rounded to the steps of its bit depth.

        Raises:
            InputError: a value is not finite.
        """
        wanted = self.format
        if wanted.kind == "image" and self.values.shape[:2] != wanted.shape:
            height, width = wanted.shape
            resized = Resized(self.values, (height, width))
            return from_values(resized, wanted.kind, None, wanted.bit_depth, multiple=resized.multiple)
        return from_values(self.values, wanted.kind, wanted.sample_rate, wanted.bit_depth, in_place=True)


class Prior(ABC):
    """A learned prior.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals that it is for.
        shapes_noise: whether it can weigh errors by how much they are noticed.
    """

    shapes_noise: ClassVar[bool] = False
    name: str
    kind: Kind

    @property
    @abstractmethod
    def family(self) -> Family:
        """The way of coding that it belongs to."""

    @property
    @abstractmethod
    def fields(self) -> Fields:
        """The numbers that the header of its files has besides those of all files, in their order."""

    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""

    @abstractmethod
    def tensors(self) -> dict[str, Array]:
        """The stored tensors by name."""

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of everything that decides how a file decodes."""
        return digest(self.configuration(), self.tensors())

    @property
    def id(self) -> int:
        """The 32 bits that a file carries."""
        return int.from_bytes(self.digest[:4], "big")

    @property
    def key(self) -> int:
        """The 64-bit key of the shared sampler."""
        return int.from_bytes(self.digest[:8], "big")

    @property
    @abstractmethod
    def bits_per_point(self) -> float:
        """The prior's own rate, where nothing else is asked for."""

    def suits(self, signal_format: Format) -> float | None:
        """How far a signal is from those that the prior was learned from; see :meth:`Family.suits`."""
        return self.family.suits(self.configuration(), signal_format)

    @abstractmethod
    def rate_at(self, quality: int) -> float:
        """Bits per point of a typical signal at a quality from 1 to 10."""

    @abstractmethod
    def psnr_range(self) -> tuple[float, float] | None:
        """Lowest and highest PSNR (dB, peak-to-peak 2) that it was learned for; ``None`` where that is not known."""

    def typical_noise(self, bits_per_point: float, signal_format: Format) -> Target | None:
        """The noise that a typical signal is coded with at a rate, as a target for any other prior.

        Args:
            bits_per_point: of the typical signal.
            signal_format: of the signal that is to be coded.

        Returns:
            ``None`` where the prior has no choice of noise, and cannot be compared with others.
        """
        del bits_per_point, signal_format  # as a rule
        return None

    def predicted_costs(
        self, signals: Sequence[Signal], noise_variance: float, most: float = math.inf
    ) -> list[float] | None:
        """What coding signals at a noise variance comes to, in bits: to choose among priors of all families.

        An error counts as the bits that it is worth: bits + squared error / (2 · noise variance · ln 2).

        Args:
            signals: each by itself.
            noise_variance: on values in [-1, 1]; the same for all priors that are compared.
            most: bits from which on nobody asks how many there are: a cost that is larger may be any other beyond that.

        Returns:
            Of each signal; ``None`` where that cannot be said without coding them.
        """
        del signals, noise_variance, most  # as a rule
        return None

    @abstractmethod
    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """How many points are rendered for a signal, by what it takes in time and memory; for limits.

        Args:
            signal_format: of the file.
            scale: samples per native sample and axis.
        """

    def signals_together(self, signal_format: Format, options: EncodingOptions) -> int:
        """How many signals of a format to encode in one computation; 1 where that gains nothing or changes the bytes.

        Args:
            signal_format: of each signal.
            options: of the encoder.
        """
        del signal_format, options  # as a rule
        return 1

    @abstractmethod
    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode signals of one format in one computation; each becomes a file of its own.

        Args:
            signals: one or more.
            target: of each file. A size is met exactly, a PSNR as well as can be predicted.
            options: how.
            report: called as the work proceeds.

        Raises:
            UsageError: the target cannot be met, or an option goes with another family.
        """

    @abstractmethod
    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file that was made with this prior.

        Args:
            file: whose prior id is this prior's. One that is not intact is decoded as far as it goes.
            view: how it is looked at.

        Raises:
            DamagedFileError: the file's numbers and its payload do not fit each other.
        """

    def pack(self, signal_format: Format, encoded: Encoded) -> bytes:
        """All bytes of a file without metadata.

        Args:
            signal_format: of the signal.
            encoded: what the encoder has made of it.
        """
        return pack(self.id, signal_format, self.fields, encoded.numbers, encoded.payload)


class Family(ABC):
    """A way of coding.

    Attributes:
        name: by which priors say that they belong to it.
        kinds: of signals that it can code.
    """

    name: str
    kinds: tuple[Kind, ...]

    @abstractmethod
    def load(self, name: str, configuration: Configuration, tensors: Tensors) -> Prior:
        """A prior from what is stored of it.

        Args:
            name: of the prior.
            configuration: what :meth:`Prior.configuration` gave, or any JSON object at all.
            tensors: what :meth:`Prior.tensors` gave, or any tensors at all.

        Raises:
            DamagedFileError: such a prior cannot work. (ArithmeticError, AttributeError, LookupError, TypeError and
                ValueError mean the same to the caller.)
        """

    @abstractmethod
    def suits(self, configuration: Configuration, signal_format: Format) -> float | None:
        """How far a signal is from those that a prior was learned from, to choose among priors of all families.

        Args:
            configuration: of the prior, without its tensors.
            signal_format: of the signal.

        Returns:
            Octaves in size or sample rate, plus what one family is behind another; ``None`` where it does not do.
        """

    @abstractmethod
    def options(self) -> tuple[LearningOption, ...]:
        """The options of learning that only this family has."""

    @abstractmethod
    def learning(self, request: LearningRequest) -> Learning:
        """A learning that is ready to begin.

        Raises:
            UsageError: an option is out of range, or two of them do not go together.
            DatasetError: nothing can be learned from the data set with these options.
        """


def digest(configuration: Configuration, tensors: Tensors) -> bytes:
    """SHA-256 of a configuration as sorted JSON and of the tensors' bytes, little-endian, ordered by name."""
    content = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for _, tensor in sorted(tensors.items()):
        content.update(np.ascontiguousarray(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)).data)
    return content.digest()
