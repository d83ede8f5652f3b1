"""Efforts at the same number of bytes: whole commands and their PSNR.

python benchmarks/effort.py --cifar10 cifar10_subset.npz --photographs kodim05.png kodim23.png --speech clip.flac
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import processor, write_table
from phases import timed

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

EFFORTS = (1, 3, 5, 7, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, nargs="+", required=True)
    parser.add_argument("--speech", type=Path, nargs="+", required=True, help="recordings at 16 kHz")
    parser.add_argument("--images", type=int, default=8, help="images of CIFAR-10")
    parser.add_argument("--bpp", type=float, default=0.4, help="of the photographs; the small images have 1.5")
    parser.add_argument("--kbps", type=float, default=16, help="of the speech")
    arguments = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = []
        with np.load(arguments.cifar10) as content:
            for number, image in enumerate(content["test"][: arguments.images]):
                small.append(folder / f"{number}.png")
                media.write_signal(Signal("image", image), small[-1])
        for title, sources, rate in (
            (f"{len(small)} CIFAR-10 images", small, ("--bpp", 1.5)),
            (f"{len(arguments.photographs)} photographs", arguments.photographs, ("--bpp", arguments.bpp)),
            (f"{len(arguments.speech)} recordings of speech", arguments.speech, ("--kbps", arguments.kbps)),
        ):
            for effort in EFFORTS:
                table.append(
                    {"input": title, "rate": " ".join(map(str, rate)), **measured(sources, rate, effort, folder)}
                )
                print(table[-1], flush=True)
    notes = (
        f"Whole commands, start-up included, one input each, on {os.cpu_count()} cores of {processor()}, no GPU; "
        "median of the encoding times, mean of the PSNRs, the largest memory; the last file is decoded."
    )
    write_table("effort.md", "Efforts", notes, table)


def measured(sources: Sequence[Path], rate: tuple[str, float], effort: int, folder: Path) -> dict[str, object]:
    """Means and medians over some inputs at one effort."""
    coded, decoded = folder / "x.cmb", folder / f"x{'.wav' if rate[0] == '--kbps' else '.png'}"
    encoded = [timed("encode", source, "-o", coded, "-f", "--tune", "psnr", *rate, "-e", effort) for source in sources]
    _, decode_seconds, decode_memory = timed("decode", coded, "-o", decoded, "-f")
    return {
        "effort": effort,
        "PSNR dB": f"{np.mean([facts['psnr'] for facts, _, _ in encoded]):.2f}",
        "encode s": f"{np.median([seconds for _, seconds, _ in encoded]):.2f}",
        "encode MB": f"{max(memory for _, _, memory in encoded):.0f}",
        "decode s": f"{decode_seconds:.2f}",
        "decode MB": f"{decode_memory:.0f}",
    }


if __name__ == "__main__":
    main()
