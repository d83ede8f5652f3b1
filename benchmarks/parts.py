"""What the parts of coding photographs bring: each is taken away alone, at the same size of the file.

python benchmarks/parts.py photographs/ --images 6
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from common import number, processor, write_csv, write_table

from combiner_cli.bench.tables import Row
from combiner_cli.codec import pipeline
from combiner_cli.families.pyramid import encoder
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.family import EncodingOptions, Prior, Target
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal
from combiner_cli.stages import decoder as stage_decoder
from combiner_cli.stages.encoding import encoder as stage_encoder
from combiner_cli.stages.moments import MOST_PARTS_FROM
from combiner_cli.system import threads

RATES = (0.1, 0.3, 1.0)
Array = npt.NDArray[Any]
Variant = tuple[str, Prior, str, Callable[[], AbstractContextManager[object]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--prior", default="photo-8")
    arguments = parser.parse_args()
    sources = sorted(path for path in arguments.data.iterdir() if path.suffix in media.IMAGE_SUFFIXES)
    images = [media.read_signal(path) for path in sources[: arguments.images]]
    prior = library.find(arguments.prior)
    if not isinstance(prior, PyramidPrior):
        raise SystemExit(f"{prior.name} is no pyramid")
    rows: list[Row] = []
    for name, changed, method, without in variants(prior):
        for rate in RATES:
            with without():
                numbers = [measured(image, changed, rate, method) for image in images]
            psnr, bpp, seconds = np.mean(numbers, axis=0)
            rows.append({"variant": name, "rate": rate, "bpp": bpp, "psnr": psnr, "seconds": seconds})
            print(rows[-1], flush=True)
    write_csv("parts.csv", rows)
    write_table(
        "parts.md",
        "What the parts bring",
        f"The first {len(images)} images of a folder that no prior has seen, whole files of exactly the size, "
        f"{prior.name}; PSNR in dB of decoded files and its difference to the program as it is, and seconds to encode "
        f"an image without start-up, on {processor()} with {threads.count()} thread(s).",
        list(lines(rows)),
    )


def variants(prior: PyramidPrior) -> Iterator[Variant]:
    """Name, prior, search, and what is changed meanwhile."""
    yield "all", prior, "viterbi", nullcontext
    yield "the likeliest classes, not the cheapest", prior, "viterbi", likeliest_classes
    yield "coarse classes not widened", prior, "viterbi", narrow_classes
    yield "no groups beyond a stage's share", prior, "viterbi", no_more_groups
    yield "details of much information in one part", replace(prior, parts_from=MOST_PARTS_FROM), "viterbi", nullcontext
    yield "best candidate of each group, not the best path", prior, "best", nullcontext
    yield "A* coding", prior, "astar", nullcontext


@contextmanager
def likeliest_classes() -> Iterator[None]:
    def likeliest(_energy: Array, octaves: Array, _details: int, _variances: Array) -> Array:
        classes: Array = octaves.argmax(axis=0)
        return classes

    with mock.patch.object(encoder, "best_classes", likeliest):
        yield


@contextmanager
def narrow_classes() -> Iterator[None]:
    def same(_self: object, _level: object, _chroma: bool, classes: Array) -> Array:
        return classes

    with mock.patch.object(encoder._EncoderSource, "_raised", same):
        yield


@contextmanager
def no_more_groups() -> Iterator[None]:
    names = [f"{room.__name__}.may_have_extra_groups" for room in (stage_encoder, stage_decoder)]
    with mock.patch(names[0], return_value=False), mock.patch(names[1], return_value=False):
        yield


def measured(image: Signal, prior: Prior, rate: float, method: str) -> tuple[float, float, float]:
    """PSNR, bits per pixel and seconds of an image."""
    target = Target("size", round(rate * image.points / 8))
    clock = time.perf_counter()
    result = pipeline.encode(image, prior, target, EncodingOptions(search=method))
    seconds = time.perf_counter() - clock
    decoded = pipeline.decode(result.file, lambda _: prior)
    return metrics.psnr(image, decoded), 8 * len(result.data) / image.points, seconds


def lines(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """A line for each variant."""
    whole = {row["rate"]: number(row, "psnr") for row in rows if row["variant"] == "all"}
    for name in dict.fromkeys(str(row["variant"]) for row in rows):
        line = {"with": name}
        for row in (row for row in rows if row["variant"] == name):
            psnr = number(row, "psnr")
            difference = "" if name == "all" else f" ({psnr - whole[row['rate']]:+.2f})"
            line[f"{row['rate']} bpp, dB"] = f"{psnr:.2f}{difference}"
            line[f"{row['rate']} bpp, s"] = f"{number(row, 'seconds'):.1f}"
        yield line


if __name__ == "__main__":
    main()
