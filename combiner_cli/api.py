"""The library: what programs use, in a dozen names, all of which :mod:`combiner_cli` gives as well.

Example:
    import combiner_cli as combiner

    signal = combiner.read("photo.png")
    encoded = combiner.encode(signal, bits_per_pixel=0.5)
    decoded = combiner.decode(encoded.data)
    combiner.write(decoded, "decoded.png")
    print(len(encoded.data), combiner.psnr(signal, decoded))
"""

from __future__ import annotations

import os
from pathlib import Path

from .codec import goals, pipeline
from .codec import inspection as _inspection
from .codec.inspection import Inspection
from .codec.pipeline import EncodeResult
from .container.file import File
from .errors import CombinerError, UsageError
from .family import EncodingOptions, Prior, View
from .media import files as media
from .priors import library
from .signals.metrics import psnr, signal_to_noise
from .signals.signal import Signal
from .system import files

__all__ = [
    "CombinerError",
    "EncodeResult",
    "Inspection",
    "Signal",
    "decode",
    "encode",
    "find_prior",
    "inspect",
    "list_priors",
    "psnr",
    "read",
    "signal_to_noise",
    "write",
]


def read(path: str | os.PathLike[str]) -> Signal:
    """The image or the sound in a file, as :func:`combiner_cli.media.files.read_signal` reads it.

    Raises:
        CombinerError: it cannot be read, or holds what a signal cannot hold without loss.
    """
    return media.read_signal(Path(path))


def write(signal: Signal, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write an image or a sound in the format that the suffix stands for; the file appears whole or not at all.

    Raises:
        CombinerError: it exists and may not be replaced, or the format cannot hold the signal.
    """
    media.check_writable_suffix(signal.kind, Path(path))
    with files.atomic_output(Path(path), overwrite) as partial:
        media.write_signal(signal, partial)


def encode(
    signal: Signal,
    *,
    quality: int | None = None,
    size: int | None = None,
    bits_per_pixel: float | None = None,
    kilobits_per_second: float | None = None,
    psnr: float | None = None,
    snr: float | None = None,
    effort: int = 5,
    prior: str | Prior | None = None,
    device: str = "auto",
    seed: int = 0,
) -> EncodeResult:
    """Encode an image or a sound.

    Args:
        signal: to encode.
        quality: 1 to 10; 5 where none of these is given, of which only one may be.
        size: bytes of the file, exactly.
        bits_per_pixel: of an image, at most.
        kilobits_per_second: of a sound, at most.
        psnr: dB to reach.
        snr: dB to reach, of a sound.
        effort: 1 (fastest) to 9 (best).
        prior: name, file, or what :func:`find_prior` gave; ``None`` for the one that suits.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``, where networks with hidden layers are fitted.
        seed: of the encoder's own random numbers.

    Returns:
        The file in ``data``, and what it decodes to in ``decoded``.

    Raises:
        CombinerError: the request makes no sense, or cannot be met.
    """
    if not 1 <= effort <= 9:
        raise UsageError(f"an effort is from 1 to 9, not {effort}")
    target = goals.target_of(
        quality=quality,
        size=size,
        bits_per_pixel=bits_per_pixel,
        kilobits_per_second=kilobits_per_second,
        psnr=psnr,
        snr=snr,
    )
    named = library.find(prior) if isinstance(prior, str) else prior
    chosen, settled = goals.plan(signal, target, named)
    return pipeline.encode(signal, chosen, settled, EncodingOptions(effort=effort, seed=seed, device=device))


def decode(
    data: bytes,
    *,
    scale: int = 1,
    size: tuple[int, int] | None = None,
    prior: str | Prior | None = None,
    most_points: int | None = None,
) -> Signal:
    """Decode a file.

    Args:
        data: the whole file.
        scale: samples per native sample and axis.
        size: height and width that an image is rendered at instead.
        prior: name, file, or what :func:`find_prior` gave; ``None`` for the one that the file names.
        most_points: pixels or sample instants beyond which a file is refused; ``None`` for the usual limit.

    Raises:
        CombinerError: the file is damaged, of an unknown version or over the limit, or its prior is missing.
    """
    named = library.find(prior) if isinstance(prior, str) else prior
    view = View(scale=scale, size=size)
    return pipeline.decode(File.parse(data), lambda prior_id: named or library.find_id(prior_id), view, most_points)


def inspect(data: bytes) -> Inspection:
    """What is inside a file: signal, prior, rate, and the groups of every stage.

    Raises:
        CombinerError: the file is damaged, or of an unknown version.
    """
    return _inspection.inspect(File.parse(data), library.find_id)


def find_prior(name_or_file: str) -> Prior:
    """A prior, by the name it is installed by or by its file.

    Raises:
        CombinerError: there is none, or it is damaged.
    """
    return library.find(name_or_file)


def list_priors() -> list[library.Entry]:
    """The installed priors, in the order in which they are looked for."""
    return list(library.entries())
