"""Images and sounds of every sort, coded at four qualities: whether what comes out is what was asked for.

    python benchmarks/zoo.py
    python benchmarks/zoo.py --only checkerboard stripes --image-prior photo-8

The signals are those of tests/support/zoo_images.py and zoo_sounds.py; no data is needed.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from common import number, processor, write_csv, write_table
from PIL import Image

import combiner_cli as combiner
from combiner_cli.bench import measures, tables
from combiner_cli.bench.codecs import images
from combiner_cli.bench.codecs.baselines import Codec
from combiner_cli.bench.tables import Row
from combiner_cli.container.file import File
from combiner_cli.family import View
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Kind, Signal

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support import zoo_images, zoo_sounds

QUALITIES = (2, 5, 8, 10)
USUAL = 5  # quality at which others are compared
GUARANTEED = 1.5  # mean squared error over the noise variance that a file is made for
OTHERS = ("webp", "avif")
_SUBTYPES = {16: "PCM_16", 24: "PCM_24"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of the names of signals")
    parser.add_argument("--image-prior", help="name or file; the usual choice unless given")
    parser.add_argument("--jobs", type=int, default=1, help="signals at the same time; more than one spoils the times")
    parser.add_argument("--sound-prior", help="name or file; the usual choice unless given")
    arguments = parser.parse_args()
    only = tuple(arguments.only)
    images_of_all = [(name, "image", arguments.image_prior) for name in zoo_images.IMAGES if name.startswith(only)]
    sounds_of_all = [(name, "sound", arguments.sound_prior) for name in zoo_sounds.SOUNDS if name.startswith(only)]
    with ProcessPoolExecutor(arguments.jobs) as processes:
        rows = [
            row for one in processes.map(measured, *zip(*images_of_all, *sounds_of_all, strict=True)) for row in one
        ]
    write_csv("zoo.csv", rows)
    notes = (
        f"{len(by_name(rows))} signals that tests/support/zoo_images.py and zoo_sounds.py make, coded at qualities "
        f"{', '.join(map(str, QUALITIES))} on {os.cpu_count()} cores of {processor()}, {arguments.jobs} at a time. "
        "Files are tuned for PSNR. Error / noise is the mean "
        "squared error of the decoded signal over the noise variance that its file was made for, the largest of the "
        f"four; {GUARANTEED} at most is guaranteed. {summary(rows)} Then bytes and PSNR in dB at each quality. "
        f"{measures.SSIMULACRA_2.words} PNG and FLAC are without loss; WebP and AVIF have the PSNR of quality {USUAL} "
        "at least, where they reach it. The worst come first."
    )
    write_table("zoo.md", "Whatever goes in", notes, list(lines(rows)))


def measured(name: str, kind: Kind, prior: str | None) -> list[Row]:
    """A row for each quality of a signal of the zoo."""
    signal = (zoo_images.IMAGES if kind == "image" else zoo_sounds.SOUNDS)[name]()
    lossless = lossless_bytes(signal)
    rows: list[Row] = []
    for quality in QUALITIES:
        clock = time.perf_counter()
        result = combiner.encode(signal, quality=quality, prior=prior)
        seconds = time.perf_counter() - clock
        assert result.decoded is not None
        psnr = metrics.psnr(signal, result.decoded)
        image = signal.kind == "image"
        similarity = measures.ssimulacra(signal, result.decoded) if image else None
        smallest = [bytes_at(images.codecs(), other, signal, psnr) if image else None for other in OTHERS]
        rows.append(
            {
                "name": name,
                "kind": signal.kind,
                "quality": quality,
                "bytes": len(result.data),
                "psnr": round(psnr, 3),
                "ssimulacra2": "" if similarity is None else round(similarity, 2),
                "error_over_noise": rounded(error_over_noise(signal, result.data, result.decoded)),
                "seconds": round(seconds, 2),
                "lossless_bytes": lossless,
                **{f"{other}_bytes": size or "" for other, size in zip(OTHERS, smallest, strict=True)},
            }
        )
        print(rows[-1], flush=True)
    return rows


def error_over_noise(signal: Signal, data: bytes, decoded: Signal) -> float | None:
    """Mean squared error over the noise variance of a file; ``None`` where its prior knows of none."""
    file = File.parse(data)
    variance = library.find_id(file.prior_id).decode(file, View()).noise_variance
    step = 1.0 if signal.kind == "sound" else 2 / (2**signal.bit_depth - 1)
    return None if variance is None else metrics.mean_squared_error(signal, decoded) * step**2 / variance


def rounded(value: float | None) -> float | str:
    """A ratio as the CSV file has it."""
    return "" if value is None else round(value, 4)


def lossless_bytes(signal: Signal) -> int:
    """Size of a PNG or FLAC file."""
    buffer = io.BytesIO()
    if signal.kind == "sound":
        assert signal.sample_rate is not None
        soundfile.write(buffer, signal.samples, signal.sample_rate, format="FLAC", subtype=_SUBTYPES[signal.bit_depth])
    else:
        samples = signal.samples.squeeze(axis=2) if signal.channels == 1 else signal.samples
        Image.fromarray(samples).save(buffer, "PNG", optimize=True)
    return len(buffer.getvalue())


def bytes_at(codecs: Mapping[str, Codec], name: str, signal: Signal, psnr: float) -> int | None:
    """Size of the smallest file of a codec that reaches a PSNR; ``None`` where none does, or it cannot hold the image.

    Its PSNR is taken to grow from setting to setting.
    """
    if name not in codecs or signal.bit_depth != 8 or signal.channels not in (1, 3):
        return None
    codec, size = codecs[name], None
    low, high = 0, len(codec.fine) - 1
    while low <= high:
        middle = (low + high) // 2
        try:
            coded = codec.encode(signal, codec.fine[middle])
        except ValueError:  # libavif refuses its best quality with some tunes
            high = middle - 1
            continue
        if metrics.psnr(signal, coded.decoded) >= psnr:
            size, high = len(coded.data), middle - 1
        else:
            low = middle + 1
    return size


def by_name(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each signal, in the order of the quality."""
    return [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["name"])]


def worst_ratio(rows: Sequence[Row]) -> float:
    """The largest error over noise of a signal; -1 where none is known."""
    return max((number(row, "error_over_noise") for row in rows if row["error_over_noise"] != ""), default=-1.0)


def falls(rows: Sequence[Row]) -> bool:
    """Whether bytes or PSNR of a signal fall while the quality rises."""
    return any(
        number(second, column) < number(first, column)
        for first, second in itertools.pairwise(rows)
        for column in ("bytes", "psnr")
    )


def summary(rows: Sequence[Row]) -> str:
    """How many signals do not have what is guaranteed."""
    signals = by_name(rows)
    over = sum(worst_ratio(signal_rows) > GUARANTEED for signal_rows in signals)
    falling = [str(signal_rows[0]["name"]) for signal_rows in signals if falls(signal_rows)]
    names = f": {', '.join(falling)}" if falling else ""
    return f"{over} of them have more. With a higher quality bytes or PSNR are less for {len(falling)} signals{names}."


def lines(rows: Sequence[Row]) -> Iterator[Row]:
    """A line for each signal, the one with the largest error over noise first."""
    kinds: tuple[Kind, ...] = ("image", "sound")
    for kind in kinds:
        signals = [signal_rows for signal_rows in by_name(rows) if signal_rows[0]["kind"] == kind]
        for signal_rows in sorted(signals, key=worst_ratio, reverse=True):
            usual = next(row for row in signal_rows if row["quality"] == USUAL)
            ratio = worst_ratio(signal_rows)
            yield {
                kinds[0] + " or " + kinds[1]: signal_rows[0]["name"],
                "error / noise": tables.text(None if ratio < 0 else ratio),
                **{f"q{row['quality']}": f"{row['bytes']}, {decibels(number(row, 'psnr'))}" for row in signal_rows},
                f"SSIMULACRA 2 at {USUAL}": usual["ssimulacra2"] if usual["ssimulacra2"] != "" else tables.text(None),
                "seconds": f"{np.mean([number(row, 'seconds') for row in signal_rows]):.1f}",
                "PNG, FLAC": usual["lossless_bytes"],
                "WebP": usual["webp_bytes"] or tables.text(None),
                "AVIF": usual["avif_bytes"] or tables.text(None),
            }


def decibels(psnr: float) -> str:
    """A PSNR in words."""
    return "exact" if math.isinf(psnr) else f"{psnr:.1f}"


if __name__ == "__main__":
    main()
