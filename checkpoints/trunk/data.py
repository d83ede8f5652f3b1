"""Pictures to learn from at several scales, and the crops that are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CROP = 256
MEASURED_CODES = (24, 40, 56)


def read(folder: Path) -> list[np.ndarray]:
    """All pictures of a folder, ``(height, width, 3)`` uint8."""
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir()) if path.suffix != ".txt"]


def crops(pictures: list[np.ndarray], weights: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random crops in random positions and at random scales, ``(count, 3, CROP, CROP)`` around 0."""
    chosen = []
    for number in generator.choice(len(pictures), count, p=weights):
        picture = pictures[int(number)]
        smallest = min(picture.shape[:2])
        scale = 1.0 if generator.random() < 0.6 else float(generator.uniform(max(0.4, CROP / smallest), 1.0))
        side = min(round(CROP / scale), smallest)
        top, left = (int(generator.integers(size - side + 1)) for size in picture.shape[:2])
        crop = picture[top : top + side, left : left + side]
        if side > CROP:
            crop = np.asarray(Image.fromarray(crop).resize((CROP, CROP), Image.Resampling.LANCZOS))
        crop = np.rot90(crop, int(generator.integers(4)))
        if generator.random() < 0.5:
            crop = crop[::-1]
        crop = crop[..., generator.permutation(3)] if generator.random() < 0.05 else crop
        chosen.append(crop.transpose(2, 0, 1).astype(np.float64) - 127.5)
    return np.stack(chosen)


def measured_crops(pictures: list[np.ndarray], count: int) -> np.ndarray:
    """Always the same crops of what is held out, the middle of some pictures."""
    chosen = []
    for picture in pictures[:count]:
        top, left = ((size - CROP) // 2 for size in picture.shape[:2])
        chosen.append(picture[top : top + CROP, left : left + CROP].transpose(2, 0, 1).astype(np.float64) - 127.5)
    return np.stack(chosen)


def training(photos: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures to learn from, and how often each is drawn; large ones, which have more to show, oftener."""
    pictures = read(photos / "train")
    weights = [1.0] * len(pictures)
    if (photos / "train_large").is_dir():
        large = read(photos / "train_large")
        pictures, weights = [*pictures, *large], [*weights, *([3.0] * len(large))]
    return pictures, np.array(weights) / sum(weights)
