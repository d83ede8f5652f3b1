"""How long a photograph takes, in products of matrices, which say how fast a machine is.

    python benchmarks/products.py kodak/kodim05.png

The unit is three products of 3000x3000 float32 matrices by numpy, measured before and after in the same process.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from common import processor, write_table

from combiner_cli import api
from combiner_cli.media import files as media

SIDE, PRODUCTS = 3000, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--times", type=int, default=5, help="of which the median counts")
    arguments = parser.parse_args()
    matrix = np.random.default_rng(1).random((SIDE, SIDE), dtype=np.float32)

    def products() -> None:
        for _ in range(PRODUCTS):
            matrix @ matrix

    rows = []
    for path in arguments.images:
        data = encoded(path)  # once for what is loaded on the way
        before = seconds(products, arguments.times)
        encode = seconds(partial(encoded, path), arguments.times)
        decode = seconds(partial(api.decode, data), arguments.times)
        unit = (before + seconds(products, arguments.times)) / 2
        facts = {"image": path.stem, "pixels": api.inspect(data).format.points, "bytes": len(data)}
        times = {"encode s": f"{encode:.2f}", "decode s": f"{decode:.2f}", "products s": f"{unit:.2f}"}
        ratios = {"encode / products": f"{encode / unit:.2f}", "decode / products": f"{decode / unit:.2f}"}
        rows.append(facts | times | ratios)
    notes = (
        f"At the default quality and effort, in a process that runs already, on {os.cpu_count()} cores of "
        f"{processor()}, medians of {arguments.times}; products are {PRODUCTS} of float32 matrices of {SIDE}x{SIDE} "
        "by numpy."
    )
    write_table("products.md", "Photographs in products of matrices", notes, rows)


def encoded(path: Path) -> bytes:
    """The file of an image, which is read first."""
    return api.encode(media.read_signal(path)).data


def seconds(work: Callable[[], object], times: int) -> float:
    """The median of the times that some work takes."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
