"""The filter of pyramid priors as FORMAT.md has it, once more: slow and plain."""

from __future__ import annotations

import itertools

import numpy as np

from .plain_stages import clipped, logarithm


def compressed(step):
    """An input: straight up to 32, in octaves beyond."""
    size = abs(step)
    return step if size <= 32 else (32 + logarithm(2 * size, 32)) * (1 if step > 0 else -1)


def inputs(level, colours):
    """Fifteen whole numbers at every position of a level."""
    rows, columns = range(level.rows), range(level.columns)
    values = np.zeros((15, level.rows, level.columns), dtype=np.int64)
    for colour, y, x in itertools.product(range(colours), rows, columns):
        samples = level.picture[colour]
        around = [
            samples[clipped(y + down, 0, level.rows - 1)][clipped(x + right, 0, level.columns - 1)]
            for down, right in itertools.product(range(-2, 3), repeat=2)
        ]
        details = [level.details.get((colour, band, y, x), 0) for band in range(3)]
        told = [samples[y][x] - sum(around) // 25, *details]
        values[4 * colour : 4 * colour + 4, y, x] = [compressed(step // 8) for step in told]
    for y, x in itertools.product(rows, columns):
        classes = [level.classes[chroma].get((y // 2, x // 2), 0) for chroma in (0, 1)]
        values[12:, y, x] = 16 * classes[0], 16 * classes[1], 2 * level.masking[y, x]
    return values


def convolved(values, weights):
    """Sums of products with kernels, zeros around the picture."""
    _, rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    sums = np.zeros((len(weights), rows, columns), dtype=np.int64)
    for y, x in itertools.product(range(3), repeat=2):
        sums += np.einsum("oi,iyx->oyx", weights[:, :, y, x].astype(np.int64), padded[:, y : y + rows, x : x + columns])
    return sums


def network_results(tensors, values, conditions):
    """What the network of a filter says of all positions, twelve whole numbers each."""
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("filter.") and name.endswith("bias"))
    for layer in range(last + 1):
        sums = convolved(values, tensors[f"filter.{layer}.weights"])
        sums += tensors[f"filter.{layer}.bias"].astype(np.int64)[:, None, None]
        if layer == 0:
            sums += (tensors["filter.conditions"].astype(np.int64) @ np.array(conditions))[:, None, None]
        sums //= 256
        if layer < last:
            values = np.clip(sums + values if layer else sums, 0, 255)
    return np.clip(sums, -1023, 1023)


def apply(level, colours, tensors, conditions):
    """Filter the coarser picture and the details of a level."""
    added = network_results(tensors, inputs(level, colours), conditions).tolist()
    for colour, y, x in itertools.product(range(colours), range(level.rows), range(level.columns)):
        level.picture[colour][y][x] += added[4 * colour][y][x]
        for band in range(3):
            place = colour, band, y, x
            level.details[place] = level.details.get(place, 0) + added[4 * colour + 1 + band][y][x]
