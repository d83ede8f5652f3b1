"""Graphics: bytes at equal PSNR and at equal SSIMULACRA 2, beside PNG, WebP, AVIF and JPEG XL.

    python benchmarks/graphics.py graphics/held-out --pictures 42

The pictures are those that ``graphics_data.py`` holds out. What is measured is kept in ``graphics.csv``, and is not
measured again; ``--again NAME`` forgets what there is of a codec or a prior. Needs pillow-jxl-plugin.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import read_csv, write_csv, write_table
from PIL import Image, features

from combiner_cli.bench.measures import SSIMULACRA_2
from combiner_cli.codec import goals, pipeline
from combiner_cli.container.file import File
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal

Array = npt.NDArray[Any]
Point = dict[str, object]

PRIORS = {"graphics-2": (3, 5, 7), "photo-8": (2, 4, 6, 8)}  # and the qualities at which they are measured
ANCHORS = (3, 5, 7)  # qualities of the first prior at which the others are compared with it
BACKGROUND = 160  # grey that pictures with alpha are looked at on
LOSSLESS_PSNR = 100.0
PEERS: dict[str, dict[str, Sequence[Mapping[str, object]]]] = {
    "WebP": {
        "WEBP": [{"quality": quality, "method": 6} for quality in (5, 20, 40, 60, 75, 87, 95, 100)]
        + [{"lossless": True, "method": 6, "quality": 100}]
    },
    "AVIF": {"AVIF": [{"quality": quality, "speed": 6, "subsampling": "4:4:4"} for quality in (25, 55, 80, 95)]},
    "JPEG XL": {
        "JXL": [{"quality": quality, "effort": 7} for quality in (30, 65, 88, 97)] + [{"lossless": True, "effort": 7}]
    },
    "PNG": {"PNG": [{"optimize": True}]},
}
NOTES = (
    "{count} held-out pictures (graphics_data.py), sum of bytes of {first} at three qualities; of every other "
    "codec the sum of its bytes at the same quality of each picture over that (so that 2.00 is twice the "
    "bytes), and the median of the pictures' proportions. Between the measured points of a codec bytes are "
    "linear in the logarithm; a codec that has a file without loss takes at most as many as that; PNG is "
    "always without loss (Pillow, optimize). Where it is asked for less than its smallest measured file has, "
    "that file counts, which is too much for it. In brackets the number of pictures for which a codec has no "
    "measured file as good, which are not in its sums. With alpha, errors of colours count by how much they "
    "are seen, and SSIMULACRA 2 is of pictures on grey. {versions}."
)
MEASURES = {"psnr": "PSNR", "ssimulacra2": "SSIMULACRA 2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of pictures, KIND-NUMBER.png")
    parser.add_argument("--pictures", type=int, default=42, help="as many of each kind as of the others")
    parser.add_argument("--codec", action="append", help="only this one; may be repeated")
    parser.add_argument("--again", action="append", default=[], help="codec to measure anew; may be repeated")
    arguments = parser.parse_args()
    sources = chosen(sorted(arguments.data.glob("*.png")), arguments.pictures)
    rows: list[Point] = [dict(row) for row in read_csv("graphics.csv") if row["codec"] not in arguments.again]
    done = {(row["picture"], row["codec"]) for row in rows}
    for codec in arguments.codec or [*PEERS, *PRIORS]:
        for path in sources:
            if (path.stem, codec) not in done:
                picture = media.read_signal(path)
                measured = of_prior(picture, codec) if codec in PRIORS else of_peer(picture, codec)
                rows += [{"picture": path.stem, "kind": kind_of(path), "codec": codec, **point} for point in measured]
                print(rows[-1], flush=True)
                write_csv("graphics.csv", rows)
    if not arguments.codec:
        write_tables(rows)


def kind_of(path: Path) -> str:
    """What a picture is of, by its name."""
    return re.sub(r"-\d+$", "", path.stem)


def chosen(paths: Sequence[Path], most: int) -> list[Path]:
    """So many files, about as many of each kind, one of each kind after another."""
    kinds = [list(group) for _, group in itertools.groupby(paths, kind_of)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return [path for path in turns if path is not None][:most]


def of_prior(picture: Signal, name: str) -> list[Point]:
    """Files with a prior at some qualities."""
    points: list[Point] = []
    for quality in PRIORS[name]:
        plan = goals.plan(picture, Target("quality", quality), library.find(name))
        (result,) = pipeline.encode_batch([picture], plan.prior, plan.target, EncodingOptions(device="cpu"))
        decoded = pipeline.decode(File.parse(result.data), {plan.prior.id: plan.prior}.__getitem__)
        points.append(point(str(quality), len(result.data), picture, decoded))
    return points


def of_peer(picture: Signal, codec: str) -> list[Point]:
    """Files of another codec."""
    if codec == "JPEG XL":
        import_module("pillow_jxl")  # it makes Pillow write and read the format
    points: list[Point] = []
    ((form, settings),) = PEERS[codec].items()
    for options in settings:
        file = io.BytesIO()
        samples = picture.samples.squeeze(axis=2) if picture.channels == 1 else picture.samples
        Image.fromarray(samples).save(file, form, **options)
        with Image.open(io.BytesIO(file.getvalue())) as opened:
            decoded = np.asarray(opened.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[picture.channels]))
        name = "lossless" if "quality" not in options or options.get("lossless") else str(options["quality"])
        points.append(
            point(name, file.getbuffer().nbytes, picture, Signal("image", decoded.reshape(picture.samples.shape)))
        )
    return points


def point(setting: str, size: int, picture: Signal, decoded: Signal) -> Point:
    """Size and quality of a file."""
    first, second = seen(picture.samples), seen(decoded.samples)
    error = float(((first - second) ** 2).mean())
    psnr = min(10 * math.log10(255**2 / error), LOSSLESS_PSNR) if error else LOSSLESS_PSNR
    pair = (Signal("image", on_grey(signal.samples)) for signal in (picture, decoded))
    score = SSIMULACRA_2.of(*pair)
    return {"setting": setting, "bytes": size, "psnr": round(psnr, 3), "ssimulacra2": round(score or 0, 3)}


def seen(samples: Array) -> npt.NDArray[np.float64]:
    """Samples as an error counts: colours by how much they are seen, and alpha."""
    values = samples.astype(np.float64)
    if samples.shape[2] in (2, 4):
        values[..., :-1] *= values[..., -1:] / 255
    return values


def on_grey(samples: Array) -> Array:
    """A picture on a grey background, RGB."""
    values = seen(samples)
    if samples.shape[2] in (2, 4):
        values = values[..., :-1] + (255 - values[..., -1:]) / 255 * BACKGROUND
    result: Array = np.rint(np.broadcast_to(values, (*values.shape[:2], 3))).astype(np.uint8)
    return result


def size_at(points: Sequence[Mapping[str, object]], measure: str, quality: float) -> float | None:
    """Bytes at which a codec has a quality: between points linear in the logarithm, at most those without loss.

    ``None`` where even its best file is not as good.
    """
    exact = [float(str(row["bytes"])) for row in points if float(str(row["psnr"])) == LOSSLESS_PSNR]
    lossy = [row for row in points if float(str(row["psnr"])) < LOSSLESS_PSNR]
    curve = sorted((float(str(row[measure])), float(str(row["bytes"]))) for row in lossy)
    sizes = list(exact)
    if curve and quality <= curve[-1][0]:
        values, logarithms = np.array(curve).T[0], np.log(np.array(curve).T[1])
        least = np.minimum.accumulate(logarithms[::-1])[::-1]  # of what is at least as good
        sizes.append(float(np.exp(np.interp(quality, values, least))))
    return min(sizes, default=None)


def write_tables(rows: Sequence[Mapping[str, object]]) -> None:
    """Tables of all codecs against the first prior."""
    first, *others = [*PRIORS, *PEERS]
    by_picture: dict[str, dict[str, list[Mapping[str, object]]]] = {}
    for row in rows:
        by_picture.setdefault(str(row["picture"]), {}).setdefault(str(row["codec"]), []).append(row)
    # those that all codecs have been measured with
    by_picture = {name: codecs for name, codecs in by_picture.items() if len(codecs) == 1 + len(others)}
    rows = [row for row in rows if row["picture"] in by_picture]
    kinds = sorted({str(row["kind"]) for row in rows})
    table = []
    for (measure, title), anchor, kind in itertools.product(MEASURES.items(), ANCHORS, ["all", *kinds]):
        names = sorted({str(row["picture"]) for row in rows if kind in ("all", row["kind"])})
        anchors = {
            name: next(row for row in by_picture[name][first] if int(str(row["setting"])) == anchor) for name in names
        }
        line: dict[str, object] = {
            "at equal": title,
            "-q": anchor,
            "kind": kind,
            "pictures": len(names),
            "median": f"{np.median([float(str(row[measure])) for row in anchors.values()]):.1f}",
            f"{first}, bytes": f"{sum(int(str(row['bytes'])) for row in anchors.values()):,}",
        }
        for codec in others:
            line[codec] = compared(by_picture, anchors, codec, measure)
        table.append(line)
    write_table(
        "graphics.md",
        "Graphics",
        NOTES.format(count=len(by_picture), first=first, versions=versions()),
        table,
    )


def versions() -> str:
    """Of the codecs."""
    return (
        f"Pillow {version('pillow')}, libwebp {features.version('webp')}, libavif {features.version('avif')} (4:4:4, "
        f"speed 6), pillow-jxl-plugin {version('pillow-jxl-plugin')} (effort 7)"
    )


def compared(
    by_picture: Mapping[str, Mapping[str, Sequence[Mapping[str, object]]]],
    anchors: Mapping[str, Mapping[str, object]],
    codec: str,
    measure: str,
) -> str:
    """The bytes of a codec over those of the anchors at equal quality: of the sums, and the median."""
    pairs, missing = [], 0
    for name, anchor in anchors.items():
        size = size_at(by_picture[name][codec], measure, float(str(anchor[measure])))
        missing += size is None
        if size is not None:
            pairs.append((size, int(str(anchor["bytes"]))))
    if not pairs:
        return "–"
    sums = sum(size for size, _ in pairs) / sum(of_anchor for _, of_anchor in pairs)
    median = float(np.median([size / of_anchor for size, of_anchor in pairs]))
    return f"{sums:.2f} / {median:.2f}" + (f" ({missing})" if missing else "")


if __name__ == "__main__":
    main()
