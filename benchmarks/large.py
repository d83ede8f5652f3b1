"""Whole commands with the default prior on mosaics of a photograph from 0.1 to 24 megapixels, and by effort.

python benchmarks/large.py kodim05.png
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from common import processor, write_table
from phases import timed

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

MEGAPIXELS = (0.1, 0.4, 1.6, 6.0, 24.0)
EFFORTS = (1, 5, 9)
BPP = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--largest", type=float, default=MEGAPIXELS[-1], help="megapixels")
    arguments = parser.parse_args()
    image = media.read_signal(arguments.photograph).samples
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in (size for size in MEGAPIXELS if size <= arguments.largest):
            source = folder / "x.png"
            media.write_signal(Signal("image", mosaic(image, megapixels)), source)
            for effort in EFFORTS if megapixels == 0.4 else (5,):
                table.append(measured(source, folder / "x.cmb", megapixels, effort))
                print(table[-1], flush=True)
    notes = (
        f"On {os.cpu_count()} cores of {processor()}, no GPU, one run; mosaics of one photograph at {BPP} bits per "
        "pixel, PNG in and out, start-up included. Fit: simulations that choose the noise variance. Search: the path "
        "of candidates. Decode: the encoder's check of its own file."
    )
    write_table("large.md", "Large photographs, and efforts", notes, table)


def mosaic(image: np.ndarray, megapixels: float) -> np.ndarray:
    """A picture of a size in the shape of an image, made of copies of it."""
    height = round((megapixels * 1e6 * image.shape[0] / image.shape[1]) ** 0.5)
    width = round(megapixels * 1e6 / height)
    copies = (-(-height // image.shape[0]), -(-width // image.shape[1]), 1)
    return np.ascontiguousarray(np.tile(image, copies)[:height, :width])


def measured(source: Path, coded: Path, megapixels: float, effort: int) -> dict[str, object]:
    facts, seconds, memory = timed("encode", source, "-o", coded, "-f", "--tune", "psnr", "--bpp", BPP, "-e", effort)
    _, decode_seconds, decode_memory = timed("decode", coded, "-o", coded.with_name("decoded.png"), "-f")
    return {
        "megapixels": megapixels,
        "effort": effort,
        "PSNR dB": f"{facts['psnr']:.2f}",
        **{f"{phase} s": f"{facts['phases'][phase]:.1f}" for phase in ("fit", "search", "decode")},
        "encode command s": f"{seconds:.1f}",
        "peak MB": f"{memory:.0f}",
        "decode command s": f"{decode_seconds:.2f}",
        "decode peak MB": f"{decode_memory:.0f}",
    }


if __name__ == "__main__":
    main()
