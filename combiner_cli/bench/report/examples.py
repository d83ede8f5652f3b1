"""Parts of some files beside what codecs make of them at about the same size."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ...codec import pipeline
from ...container.file import File
from ...media import files as media
from ...signals import metrics
from ...signals.kinds import KINDS
from ...signals.signal import Signal
from ...system import files
from .. import measures
from ..codecs import baselines
from ..codecs.baselines import Codec
from ..measures import Measure
from ..sources import Source
from ..sweep import REFUSALS, Store
from ..tasks import CombinerWay, Task, planned
from .wording import WORDING

MOST_RATES = 2

_CROP = 224  # pixels
_SECONDS = 4.0
_PANEL = (320, 160)  # pixels of a spectrogram
_ABOUT_THE_SAME = 1.2  # times the size
_RANGE = 80  # dB of a spectrogram

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Part:
    """A part of what one codec made of a file.

    Attributes:
        title: of the codec, or that it is the original.
        facts: rate and quality of the whole file, in words.
        picture: PNG of a crop or a spectrogram.
        sound: FLAC, ``None`` for an image.
    """

    title: str
    facts: str
    picture: bytes
    sound: bytes | None


@dataclass(frozen=True, eq=False)
class Example:
    """A file at one rate.

    Attributes:
        name: of the file.
        setting: of combiner, which the others go by, in words.
        about: what part is shown.
        parts: the original, combiner, and the others.
    """

    name: str
    setting: str
    about: str
    parts: Sequence[Part]


def chosen(tasks: Sequence[Task]) -> list[Task]:
    """Those of combiner's tasks that examples are made of: some files at a low and a middle rate.

    Args:
        tasks: that were done, file after file.
    """
    by_combiner = [task for task in tasks if isinstance(task.how, CombinerWay)]
    if not by_combiner:
        return []
    first = by_combiner[0].title
    settings = list(dict.fromkeys(task.setting for task in by_combiner if task.title == first))
    wanted = _spread(settings[: max(1, math.ceil(len(settings) * 0.6))], MOST_RATES)
    sources = list(dict.fromkeys(task.source for task in by_combiner))
    shown = _spread(sources, WORDING[by_combiner[0].source.format.kind].most_files)
    return [task for task in by_combiner if task.title == first and task.setting in wanted and task.source in shown]


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many of some items, the first and the last included."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round()
    return [items[int(place)] for place in places]


def make(task: Task, store: Store, codecs: Mapping[str, Codec]) -> Example:
    """Show a file of combiner beside those of other codecs of about its size, which are kept."""
    assert isinstance(task.how, CombinerWay)
    original = media.read_signal(task.source.path, lambda _: None)
    part = _crop(original) if original.kind == "image" else _excerpt(original)
    prior, _ = planned(task.source, task.how)
    coded = store.coded(task)
    data = files.read_bytes(coded)
    shown = [(task.title, len(data), pipeline.decode(File.parse(data), lambda _: prior))]
    for name, codec in codecs.items():
        path = coded.with_name(f"{coded.stem}-{len(data)}-{name}{codec.suffix}")
        with suppress(*REFUSALS):  # which the sweep has told of
            shown.append((codec.title, *_beside(codec, original, len(data), path)))
    measure = store.measures[-1] if original.kind == "image" else measures.SNR
    top = None if original.kind == "image" else float(power_levels(part(original)).max())
    pictures = [_part("original", _size_text(task.source), part(original), top)]
    for title, size, decoded in shown:
        facts = f"{_rate_text(task.source, size)}, {_quality_text(original, decoded, measure)}"
        facts += ", its smallest file" if size > _ABOUT_THE_SAME * len(data) else ""
        pictures.append(_part(title, facts, part(decoded), top))
    return Example(task.source.name, task.how.words, _about(original), pictures)


def _beside(codec: Codec, original: Signal, size: int, path: Path) -> tuple[int, Signal]:
    """Size and content of a codec's file of about ``size`` bytes, which is looked for once."""
    if not path.exists():
        coded = baselines.nearest(codec, original, size)
        with files.atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(coded.data)
        return len(coded.data), coded.decoded
    data = files.read_bytes(path)
    return len(data), codec.decode(data, original)


def _part(title: str, facts: str, signal: Signal, top: float | None) -> Part:
    if top is None:
        return Part(title, facts, _png(_picture(signal)), None)
    buffer = io.BytesIO()
    soundfile.write(buffer, signal.samples, signal.sample_rate, format="FLAC", subtype="PCM_16")
    return Part(title, facts, _png(spectrogram(signal, top)), buffer.getvalue())


def _crop(original: Signal) -> Callable[[Signal], Signal]:
    """The middle of an image."""
    height, width = (min(_CROP, length) for length in original.shape)
    top, left = ((length - part) // 2 for length, part in zip(original.shape, (height, width), strict=True))

    def crop(signal: Signal) -> Signal:
        samples = np.ascontiguousarray(signal.samples[top : top + height, left : left + width])
        return Signal("image", samples, None, signal.bit_depth)

    return crop


def _excerpt(original: Signal) -> Callable[[Signal], Signal]:
    """The beginning of a sound."""
    frames = round(_SECONDS * (original.sample_rate or 1))
    return lambda sound: Signal("sound", sound.samples[:frames], sound.sample_rate, sound.bit_depth)


def _about(original: Signal) -> str:
    if original.kind == "image":
        height, width = (min(_CROP, length) for length in original.shape)
        return f"the middle, {width} × {height} of {original.shape[1]} × {original.shape[0]} pixels"
    rate = original.sample_rate or 1
    seconds = min(_SECONDS, original.points / rate)
    return f"the first {seconds:.1f} of {original.points / rate:.1f} s, spectrograms up to {rate / 2000:g} kHz"


def _size_text(source: Source) -> str:
    return f"{source.path.stat().st_size:,} bytes"


def _rate_text(source: Source, size: int) -> str:
    kind = source.format.kind
    return f"{source.rate(size):.{WORDING[kind].rate_digits}f} {KINDS[kind].rate_unit}"


def _quality_text(original: Signal, decoded: Signal, measure: Measure) -> str:
    if original.kind == "sound":
        return f"SNR {metrics.signal_to_noise(original, decoded):.1f} dB"
    second = measure.of(original, decoded)
    words = "" if second is None else f", {measure.title} {second:.{measure.digits}f}"
    return f"{metrics.psnr(original, decoded):.2f} dB{words}"


def _picture(signal: Signal) -> Image.Image:
    """8 bits of an image, without transparency."""
    samples = signal.samples if signal.bit_depth == 8 else signal.samples >> 8  # type: ignore[operator]
    colours = samples[..., : 3 if signal.channels > 2 else 1].astype(np.uint8)
    return Image.fromarray(colours[..., 0] if colours.shape[-1] == 1 else colours)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def spectrogram(sound: Signal, top: float) -> Image.Image:
    """Power of the mean of all channels over time and frequency, low frequencies below, ``top`` dB the brightest."""
    from matplotlib import colormaps

    unit = np.clip((power_levels(sound) - top) / _RANGE + 1, 0, 1)
    coloured = np.rint(255 * colormaps["magma"](unit[::-1])[..., :3]).astype(np.uint8)
    return Image.fromarray(coloured).resize(_PANEL, Image.Resampling.BILINEAR)


def power_levels(sound: Signal) -> npt.NDArray[np.float64]:
    """Power of the mean of all channels in dB, ``(frequencies, times)``, windows of about 32 ms."""
    power = measures.short_time_power(sound.samples.astype(np.float64).mean(axis=1), sound.sample_rate or 1)
    levels: npt.NDArray[np.float64] = 10 * np.log10(power.T + 1e-12)
    return levels
