"""What is asked for and what became of it, as plain data that travels between processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..codec import goals
from ..family import EncodingOptions, Target
from ..signals.signal import Format

ENCODED = ".cmb"


@dataclass(frozen=True)
class Places:
    """Where inputs are looked for, and where outputs go.

    Attributes:
        output: file of the output of a single input.
        directory: folder of all outputs; ``None`` for that of each input.
        recursive: whether folders stand for the files in them.
        overwrite: whether existing outputs are replaced.
        skip_existing: whether inputs whose output exists are left out.
        keep_times: whether an output has the modification time of its input.
        keep_suffix: whether a ``.cmb`` file has the whole name of its input before its own suffix.
    """

    output: Path | None = None
    directory: Path | None = None
    recursive: bool = False
    overwrite: bool = False
    skip_existing: bool = False
    keep_times: bool = True
    keep_suffix: bool = False


@dataclass(frozen=True)
class Encoding:
    """How images and sounds become ``.cmb`` files.

    Attributes:
        target: of each file.
        options: of the encoder.
        prior: name or file of the prior; ``None`` chooses for each signal.
        verify: whether each file is decoded once it is made, and compared.
        keep_metadata: whether metadata are kept, and the colours that images are in.
    """

    target: Target = field(default_factory=goals.target_of)
    options: EncodingOptions = field(default_factory=EncodingOptions)
    prior: str | None = None
    verify: bool = True
    keep_metadata: bool = False


@dataclass(frozen=True)
class Decoding:
    """How ``.cmb`` files become images and sounds.

    Attributes:
        prior: name or file of the prior; ``None`` looks for that of each file.
        format: suffix of the outputs, where none is named; ``None`` for that of the kind of signal.
        scale: samples per native sample and axis.
        size: height and width in pixels that images are rendered at instead.
        rate: sample rate in Hz that sounds are rendered at instead.
        fill: noise in the place of what sounds leave out, 0 to 1; ``None`` for as much as a file says.
        max_pixels: pixels or sample instants that a file may have; ``None`` for the usual limit.
        max_seconds: that a sound may last; ``None`` for any number.
        largest_file: bytes that a file may have; ``None`` for any number.
        ignore_checksum: whether to decode what can be decoded of damaged files.
        strip: whether metadata are left out.
    """

    prior: str | None = None
    format: str | None = None
    scale: int = 1
    size: tuple[int, int] | None = None
    rate: int | None = None
    fill: float | None = None
    max_pixels: int | None = None
    max_seconds: float | None = None
    largest_file: int | None = None
    ignore_checksum: bool = False
    strip: bool = False


Request = Encoding | Decoding


@dataclass(frozen=True)
class Input:
    """A file that is to be converted.

    Attributes:
        path: of the file.
        folder: of its output, where no output is named.
    """

    path: Path
    folder: Path


@dataclass(frozen=True)
class Job:
    """An input and its output.

    Attributes:
        source: file to read.
        target: file to write.
        suffix: that says in which format it is written, in lower case.
        size: bytes of the source; 0 where it cannot be said.
        modified: when the source was modified, in nanoseconds since 1970; ``None`` where it cannot be said.
    """

    source: Path
    target: Path
    suffix: str = ENCODED
    size: int = 0
    modified: int | None = None


@dataclass(frozen=True)
class Encoded:
    """What is told of a file that was encoded.

    Attributes:
        prior: name.
        prior_chosen: whether it was chosen for the signal, as nobody named one.
        input_bytes: size of the image or sound file.
        bytes: size of the ``.cmb`` file.
        payload_bytes: of that, class numbers and group indices.
        metadata_bytes: of that, the metadata.
        format: of the signal.
        psnr: of what the file decodes to, in dB; ``None`` where that was not looked at.
        snr: likewise, of a sound.
        seconds: wall time; files that were encoded together have an equal share each.
        phases: the same by phase.
        warnings: what is wrong with the file although it is what was asked for, some words each.
    """

    prior: str
    prior_chosen: bool
    input_bytes: int
    bytes: int
    payload_bytes: int
    metadata_bytes: int
    format: Format
    psnr: float | None
    snr: float | None
    seconds: float
    phases: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """What is told of a file that was decoded.

    Attributes:
        input_bytes: size of the ``.cmb`` file.
        bytes: size of the image or sound file.
        format: of the signal as it was rendered.
        seconds: wall time.
        damaged: whether the checksum of the ``.cmb`` file does not match.
    """

    input_bytes: int
    bytes: int
    format: Format
    seconds: float
    damaged: bool = False


@dataclass(frozen=True)
class Converted:
    """A finished file.

    Attributes:
        data: its content.
        facts: what is told of it.
        notes: what was changed without having been asked for, a line each.
    """

    data: bytes
    facts: Encoded | Decoded
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why there is no file.

    Attributes:
        message: one line.
        exit_code: of a program that does nothing else.
        trace: where it came from, for those who want to know.
    """

    message: str
    exit_code: int
    trace: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of an input; without facts and failure, it was left out since its output exists.

    Attributes:
        source: the input.
        target: its output; ``None`` where it could not be said.
        facts: of a finished file.
        failure: why there is none.
        notes: what was changed without having been asked for, a line each.
    """

    source: Path
    target: Path | None = None
    facts: Encoded | Decoded | None = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
