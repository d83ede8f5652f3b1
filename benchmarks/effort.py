"""Efforts 1, 5 and 9 at the same number of bytes: whole commands and their PSNR.

python benchmarks/effort.py --cifar10 cifar10_subset.npz --photographs kodim05.png kodim23.png
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from common import processor, write_table
from phases import timed

from combiner_cli import media
from combiner_cli.signals import Signal

EFFORTS = (1, 5, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=int, default=8, help="images of CIFAR-10")
    parser.add_argument("--bpp", type=float, default=0.4, help="of the photographs; the small images have 1.5")
    arguments = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = []
        with np.load(arguments.cifar10) as content:
            for number, image in enumerate(content["test"][: arguments.images]):
                small.append(folder / f"{number}.png")
                media.write_signal(Signal("image", image), small[-1])
        for title, sources, bpp in (
            (f"{len(small)} CIFAR-10 images", small, 1.5),
            (f"{len(arguments.photographs)} photographs", arguments.photographs, arguments.bpp),
        ):
            for effort in EFFORTS:
                runs = [
                    timed("encode", source, "-o", folder / "x.cmb", "-f", "--bpp", bpp, "-e", effort)
                    for source in sources
                ]
                table.append(
                    {
                        "input": title,
                        "bpp": bpp,
                        "effort": effort,
                        "PSNR dB": f"{np.mean([facts['psnr'] for facts, _, _ in runs]):.2f}",
                        "s per command": f"{np.median([seconds for _, seconds, _ in runs]):.2f}",
                        "peak MB": f"{max(memory for _, _, memory in runs):.0f}",
                    }
                )
                print(table[-1], flush=True)
    notes = (
        f"Whole commands, start-up included, one image each, on {os.cpu_count()} cores of {processor()}, no GPU; "
        "median of the times, mean of the PSNRs."
    )
    write_table("effort.md", "Efforts", notes, table)


if __name__ == "__main__":
    main()
