"""The library: what programs use, in a dozen names, all of which :mod:`combiner_cli` gives as well.

Example:
    import combiner_cli as combiner

    signal = combiner.read("photo.png")
    encoded = combiner.encode(signal, bits_per_pixel=0.5)
    decoded = combiner.decode(encoded.data)
    combiner.write(decoded, "decoded.png")
    print(len(encoded.data), combiner.psnr(signal, decoded))

A prior of one's own (see ``combiner learn-prior -h`` for what each family takes besides):

    learned = combiner.learn("photographs/", steps=2000)
    combiner.encode(signal, prior=learned.prior)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .codec import goals, pipeline
from .codec import inspection as _inspection
from .codec.inspection import Inspection
from .codec.pipeline import EncodeResult
from .container.file import File
from .errors import CombinerError, UsageError
from .family import EncodingOptions, Prior, View
from .media import files as media
from .priors import library
from .signals.kinds import Tune
from .signals.metrics import psnr, signal_to_noise
from .signals.signal import Signal
from .system import files

if TYPE_CHECKING:
    from .learning.job import LearningResult
    from .learning.trainer import ProgressListener

__all__ = [
    "CombinerError",
    "EncodeResult",
    "Inspection",
    "Signal",
    "decode",
    "encode",
    "find_prior",
    "inspect",
    "learn",
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
    ssimulacra2: float | None = None,
    tune: Tune | None = None,
    effort: int = 5,
    prior: str | Prior | None = None,
    device: str = "auto",
    seed: int = 0,
    adapt: bool = True,
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
        ssimulacra2: score to reach, of an image; needs the extra bench.
        tune: what errors are weighed by: ``"psnr"``, all alike, or ``"perceptual"``, by how much they are noticed;
            ``None`` for what is usual of the kind of signal.
        effort: 1 (fastest) to 9 (best).
        prior: name, file, or what :func:`find_prior` gave; ``None`` for the best of those shipped.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``, where networks with hidden layers are fitted.
        seed: of the encoder's own random numbers.
        adapt: whether the networks of the prior may be adapted to an image, from effort 7 on.

    Returns:
        The file in ``data``, what it decodes to in ``decoded``, and the name of its prior in ``prior``.

    Raises:
        CombinerError: the request makes no sense, or cannot be met.
    """
    if not 1 <= effort <= 9:
        raise UsageError(f"an effort is from 1 to 9, not {effort}")
    target = goals.target_of(
        tune,
        quality=quality,
        size=size,
        bits_per_pixel=bits_per_pixel,
        kilobits_per_second=kilobits_per_second,
        psnr=psnr,
        snr=snr,
        ssimulacra2=ssimulacra2,
    )
    named = library.find(prior) if isinstance(prior, str) else prior
    plan = goals.plan(signal, target, named)
    options = EncodingOptions(effort=effort, seed=seed, device=device, adapt=adapt)
    return pipeline.encode(signal, plan.prior, plan.target, options, others=plan.others)


def decode(
    data: bytes,
    *,
    scale: int = 1,
    size: tuple[int, int] | None = None,
    fill: float | None = None,
    prior: str | Prior | None = None,
    most_points: int | None = None,
) -> Signal:
    """Decode a file.

    Args:
        data: the whole file.
        scale: samples per native sample and axis.
        size: height and width that an image is rendered at instead.
        fill: noise in the place of what a sound leaves out, 0 to 1; ``None`` for as much as the file says.
        prior: name, file, or what :func:`find_prior` gave; ``None`` for the one that the file names.
        most_points: pixels or sample instants beyond which a file is refused; ``None`` for the usual limit.

    Raises:
        CombinerError: the file is damaged, of an unknown version or over the limit, or its prior is missing.
    """
    named = library.find(prior) if isinstance(prior, str) else prior
    view = View(scale=scale, size=size, fill=fill)
    return pipeline.decode(File.parse(data), lambda prior_id: named or library.find_id(prior_id), view, most_points)


def inspect(data: bytes) -> Inspection:
    """What is inside a file: signal, prior, rate, and the groups of every stage.

    Raises:
        CombinerError: the file is damaged, or of an unknown version.
    """
    return _inspection.inspect(File.parse(data), library.find_id)


def learn(
    dataset: str | os.PathLike[str],
    *,
    name: str | None = None,
    family: str | None = None,
    held_out: int = 5,
    seed: int = 0,
    description: str | None = None,
    device: str = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    listener: ProgressListener | None = None,
    **options: Any,
) -> LearningResult:
    """Learn a prior, as ``combiner learn-prior`` does.

    Args:
        dataset: folder of images or sounds, or an ``.npz`` file with an array of images.
        name: of the prior; ``None`` for that of the folder.
        family: name of the family; ``None`` for that of ``start``, where it is among the options, or else the usual
            one for what the folder holds: ``"pyramid"`` for images, ``"lapped"`` for sounds.
        held_out: percent of the signals that nothing is learned from, 1 to 50.
        seed: of all random numbers.
        description: of the data, for the card; ``None`` for the name of their folder.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        checkpoint: file to go on from, and to keep up to date; ``None`` for none.
        checkpoint_seconds: time between two states in it.
        listener: is told how it goes.
        options: of the family, by the names of the command's options with underscores (``steps=2000``); ``start`` is a
            name, a file, or what :func:`find_prior` gave.

    Returns:
        The prior in ``prior``, which :func:`encode` takes as it is, what was measured, and the text of its card.

    Raises:
        CombinerError: nothing can be learned from that, an option goes with another family, or the checkpoint is of
            another learning or cannot be written.
    """
    from .families import registry
    from .learning import datasets, job
    from .learning.checkpoint import CheckpointFile
    from .learning.distributed import Device

    if isinstance(options.get("start"), str):
        options["start"] = library.find(options["start"])
    source = datasets.open_dataset(Path(dataset))
    request = job.LearningRequest(
        name=name or Path(dataset).resolve().stem,
        dataset=source,
        held_out=held_out,
        seed=seed,
        description=description,
        device=Device(device),
        options=options,
    )
    learning = job.begin(registry.to_learn(family, source.kind, options.get("start")), request)
    kept = None if checkpoint is None else CheckpointFile(Path(checkpoint), checkpoint_seconds)
    return job.run(learning, listener, kept)


def find_prior(name_or_file: str) -> Prior:
    """A prior, by the name it is installed by or by its file.

    Raises:
        CombinerError: there is none, or it is damaged.
    """
    return library.find(name_or_file)


def list_priors() -> list[library.Entry]:
    """The installed priors, in the order in which they are looked for."""
    return list(library.entries())
