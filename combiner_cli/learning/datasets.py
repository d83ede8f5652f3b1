"""Data sets for learning: folders of images or sounds, or an ``.npz`` of images, cut into tiles."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import CombinerError, DatasetError
from ..media import files as media
from ..signals.resampling import resampled
from ..signals.signal import Kind, Signal, split, tiling, to_values

_PREFERRED_ARRAY = "train"
_SMALL_SHARE = 0.1  # of the images that may be too small for the crops of the others
# what zipfile and numpy raise for damaged archives, and for headers that declare more than there is
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    MemoryError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Dataset:
    """Where training signals come from.

    Attributes:
        source: the folder or file.
        kind: of the signals.
        files: of a folder; empty for an ``.npz``.
    """

    source: Path
    kind: Kind
    files: tuple[Path, ...]

    def signals(self) -> Iterator[Signal]:
        """All signals, in the order of their names or places."""
        if not self.files:
            for image in _images(self.source):
                yield Signal("image", image)
        for path in self.files:
            try:
                signal = media.read_signal(path)
            except CombinerError as error:
                raise DatasetError(f"training file {path}: {error}") from error
            if signal.kind != self.kind:
                raise DatasetError(
                    f"{path} is a {signal.kind} in a data set of {self.kind}s; keep them in separate folders"
                )
            yield signal


def open_dataset(source: Path) -> Dataset:
    """Find out what a data set holds.

    Raises:
        DatasetError: it does not exist, is empty, or mixes images and sounds.
    """
    if source.suffix == ".npz":
        _images(source)
        return Dataset(source, "image", ())
    if not _is_folder(source):
        raise DatasetError(f"{source} is neither a folder nor an .npz file; name the folder of your training files")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    images = tuple(path for path in files if path.suffix.lower() in media.IMAGE_SUFFIXES)
    sounds = tuple(path for path in files if path.suffix.lower() in media.SOUND_SUFFIXES)
    if images and sounds:
        raise DatasetError(f"{source} mixes images and sounds (as {images[0].name}, {sounds[0].name}); keep them apart")
    if not images and not sounds:
        raise DatasetError(f"{source} holds no images and no sounds that this program reads")
    return Dataset(source, "image" if images else "sound", images or sounds)


def sample_tiles(
    dataset: Dataset, extent: tuple[int, ...], outputs: int, most: int, held_out: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], int]:
    """Draw tiles at random from all signals of a data set, some of them to be held out.

    The held-out tiles come from signals of their own. Only whole tiles are drawn; of every signal about the same share.

    Args:
        dataset: where from.
        extent: samples of a tile along each axis.
        outputs: channels of a tile; signals with fewer repeat theirs.
        most: training tiles at most.
        held_out: percent of the signals whose tiles are held out, 1 to 50.
        seed: of the draw.

    Returns:
        Training tiles and held-out tiles, ``(tiles, outputs, points)`` float32 in [-1, 1], and the number of signals.

    Raises:
        DatasetError: fewer than two signals have a whole tile.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    reservoirs: list[list[tuple[float, npt.NDArray[np.float32]]]] = [[], []]
    signals = 0
    for signal in dataset.signals():
        whole = tuple(size // tile * tile for size, tile in zip(signal.shape, extent, strict=True))
        if math.prod(whole) == 0:
            continue
        cropped = to_values(signal)[tuple(slice(0, size) for size in whole)]
        tiles = split(cropped, tiling(whole, signal.channels, extent, outputs)).astype(np.float32)
        reservoir = reservoirs[1] if _kept_out(signals, held_out) else reservoirs[0]
        reservoir.extend(zip(generator.random(len(tiles)).tolist(), tiles, strict=True))
        signals += 1
        _keep_smallest(reservoirs[0], most)
        _keep_smallest(reservoirs[1], max(1, most * held_out // 100))
    if not reservoirs[0] or not reservoirs[1]:
        size = "x".join(str(n) for n in extent)
        raise DatasetError(
            f"{dataset.source} holds {signals} {dataset.kind}s of at least {size} samples; it takes two or more"
        )
    training, others = (np.stack([tile for _, tile in sorted(part, key=lambda pair: pair[0])]) for part in reservoirs)
    return training, others, signals


@dataclass(frozen=True, eq=False)
class SignalSample:
    """Whole signals for learning, those of one shape together.

    Attributes:
        training: values in [-1, 1], arrays of ``(planes, outputs, *shape)`` float32.
        held_out: the same of signals that are kept out.
        signals: number of signals.
        size: longer side of the median signal, in samples.
    """

    training: list[npt.NDArray[np.float32]]
    held_out: list[npt.NDArray[np.float32]]
    signals: int
    size: int


def sample_signals(
    dataset: Dataset, extent: tuple[int, ...], outputs: int, most: int, held_out: int, mirrored: bool
) -> SignalSample:
    """Whole signals, cut to a multiple of two tiles along each axis, until there are enough tiles.

    Args:
        dataset: where from.
        extent: samples of a tile along each axis.
        outputs: channels of a plane; signals with fewer repeat theirs, alpha is left out.
        most: training tiles at most, copies not counted; at least one signal is used.
        held_out: percent of the signals that are held out, 1 to 50.
        mirrored: add a copy of every training image with left and right exchanged.

    Raises:
        DatasetError: fewer than two signals have four tiles (a sound: two).
    """
    parts: tuple[dict[tuple[int, ...], list[npt.NDArray[np.float32]]], ...] = ({}, {})
    tiles = 0
    sizes: list[int] = []
    for signal in dataset.signals():
        whole = tuple(size // (2 * tile) * 2 * tile for size, tile in zip(signal.shape, extent, strict=True))
        if math.prod(whole) == 0:
            continue
        plane = np.moveaxis(to_values(signal)[tuple(slice(0, size) for size in whole)], -1, 0)
        plane = plane[list(tiling(whole, signal.channels, extent, outputs).planes[0])].astype(np.float32)
        kept_out = _kept_out(len(sizes), held_out)
        parts[kept_out].setdefault(whole, []).append(plane)
        sizes.append(max(signal.shape))
        tiles += 0 if kept_out else math.prod(whole) // math.prod(extent)
        if tiles >= most and parts[1]:
            break
    if not all(parts):
        size = "x".join(str(2 * n) for n in extent)
        raise DatasetError(
            f"{dataset.source} holds {len(sizes)} {dataset.kind}s of at least {size} samples; it takes two or more"
        )
    training, others = ([np.stack(planes) for planes in part.values()] for part in parts)
    if mirrored:
        training = [np.concatenate([batch, batch[..., ::-1]]) for batch in training]
    return SignalSample(training, others, len(sizes), sorted(sizes)[len(sizes) // 2])


@dataclass(frozen=True, eq=False)
class PictureSample:
    """Whole pictures of a data set, some of them held out.

    Attributes:
        training: ``(height, width, 3)`` uint8 each.
        held_out: likewise.
        signals: number of both.
        size: longer side of the typical one, in samples.
    """

    training: list[npt.NDArray[np.uint8]]
    held_out: list[npt.NDArray[np.uint8]]
    signals: int
    size: int


def usual_side(dataset: Dataset, most: int, multiple: int) -> int:
    """The largest side that square crops of nearly all images of a data set can have.

    Args:
        dataset: of images.
        most: that it may be, a multiple of that number.
        multiple: of which it is one.

    Raises:
        DatasetError: nearly all images are smaller than that multiple.
    """
    sides = sorted(_shorter_sides(dataset))
    side = sides[int(_SMALL_SHARE * len(sides))] if sides else 0
    side = min(side // multiple * multiple, most)
    if not side:
        raise DatasetError(
            f"most images in {dataset.source} are smaller than {multiple}x{multiple} pixels, the least to learn from; "
            "take larger ones"
        )
    return side


def _shorter_sides(dataset: Dataset) -> list[int]:
    """Of all images whose size can be told without decoding them; others are refused when they are read."""
    if not dataset.files:
        images = _images(dataset.source)
        return [min(images.shape[1:3])] * len(images)
    sizes = [media.image_size(path) for path in dataset.files]
    return [min(size) for size in sizes if size is not None]


def sample_pictures(dataset: Dataset, side: int, held_out: int, most_bytes: int, seed: int) -> PictureSample:
    """Pictures for crops of a side: all of them, or as many as there is room for, drawn at random while they are read.

    Args:
        dataset: of images.
        side: of the crops; smaller pictures are left out.
        held_out: percent of the pictures that are held out, 1 to 50.
        most_bytes: of the training pictures.
        seed: of the draw.

    Raises:
        DatasetError: fewer than two pictures are large enough.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    training: list[npt.NDArray[np.uint8]] = []
    others: list[npt.NDArray[np.uint8]] = []
    sizes: list[int] = []
    size = 0  # bytes of the training pictures
    for signal in dataset.signals():
        if min(signal.shape) < side:
            continue
        values = (to_values(signal)[..., : 3 if signal.channels >= 3 else 1] + 1) * 127.5
        picture = np.broadcast_to(np.rint(values), (*signal.shape, 3)).astype(np.uint8)
        kept_out = _kept_out(len(sizes), held_out)
        sizes.append(max(signal.shape))
        if kept_out:
            others.append(picture)
        elif training and size + picture.nbytes > most_bytes:
            # every picture has the same chance to stay, whenever it comes
            place = int(generator.integers(len(sizes)))
            if place < len(training):
                size += picture.nbytes - training[place].nbytes
                training[place] = picture
        else:
            training.append(picture)
            size += picture.nbytes
    if not training or not others:
        raise DatasetError(
            f"{dataset.source} holds {len(sizes)} images of at least {side}x{side} pixels; it takes two or more: give "
            f"more or larger images, or smaller crops with --crop"
        )
    return PictureSample(training, others, len(sizes), sorted(sizes)[len(sizes) // 2])


@dataclass(frozen=True, eq=False)
class RecordingSample:
    """Whole recordings of a data set, some of them held out.

    Attributes:
        training: ``(channels, samples)`` float32 each, pairs as they are coded.
        held_out: likewise.
        signals: number of both.
        size: length of the typical one, in samples.
        sample_rate: of all of them.
    """

    training: list[npt.NDArray[np.float32]]
    held_out: list[npt.NDArray[np.float32]]
    signals: int
    size: int
    sample_rate: int


def sample_recordings(
    dataset: Dataset,
    sample_rate: int | None,
    held_out: int,
    most_bytes: int,
    prepare: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.floating]],
) -> RecordingSample:
    """Recordings at one sample rate, as many as there is room for.

    Args:
        dataset: of sounds.
        sample_rate: in Hz, that of the first recording where it is left out. Others are resampled.
        held_out: percent of the recordings that are held out, 1 to 50.
        most_bytes: of the recordings.
        prepare: makes of samples ``(frames, channels)`` what is coded, of the same shape.

    Raises:
        DatasetError: there are fewer than two recordings.
    """
    kept: tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.float32]]] = ([], [])
    sizes: list[int] = []
    total = 0  # bytes
    for signal in dataset.signals():
        assert signal.sample_rate is not None
        sample_rate = sample_rate or signal.sample_rate
        samples = prepare(resampled(signal.samples, signal.sample_rate, sample_rate))
        kept[_kept_out(len(sizes), held_out)].append(np.ascontiguousarray(samples.T, dtype=np.float32))
        sizes.append(len(samples))
        total += 4 * samples.size
        if total > most_bytes and all(kept):
            break
    if not all(kept):
        raise DatasetError(f"{dataset.source} holds {len(sizes)} sounds; it takes two or more")
    assert sample_rate is not None
    return RecordingSample(*kept, len(sizes), sorted(sizes)[len(sizes) // 2], sample_rate)


def _kept_out(number: int, percent: int) -> bool:
    """Whether a signal is one of those held out; the second one is the first."""
    turn = number + -(-100 // percent) - 2
    return (turn + 1) * percent // 100 > turn * percent // 100


def _keep_smallest(reservoir: list[tuple[float, npt.NDArray[np.float32]]], most: int) -> None:
    """Keep the tiles with the smallest random numbers: a uniform sample of all tiles so far, in bounded memory."""
    if len(reservoir) > most:
        reservoir.sort(key=lambda pair: pair[0])
        del reservoir[most:]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, say
        return False


def _images(path: Path) -> npt.NDArray[np.uint8]:
    """The array of images of an ``.npz``: the one called train, or the only one of its form."""
    try:
        with np.load(path, allow_pickle=False) as content:
            names = [_PREFERRED_ARRAY] if _PREFERRED_ARRAY in content.files else content.files
            images = {name: content[name] for name in names}
    except _DAMAGE as error:
        raise DatasetError(f"cannot read {path}: {' '.join(str(error).split())[:200]}; restore it") from error
    images = {name: array for name, array in images.items() if _is_images(array)}
    if len(images) != 1:
        raise DatasetError(
            f"{path} must hold one array of images (count, height, width, channels) of 8 bits, or one called train"
        )
    return next(iter(images.values()))


def _is_images(array: npt.NDArray[np.generic]) -> bool:
    return array.ndim == 4 and array.dtype == np.uint8 and array.shape[-1] in (1, 3) and array.size > 0
