"""A second decoder of files with a linear prior, as FORMAT.md has it: slow, plain, and the same samples."""

import json
import math

import numpy as np
import pytest
from support.plain import chained_rows, keys_of, stage_latents

from combiner_cli.container.file import File, pack
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.neighbourhood import Ring
from combiner_cli.families.linear.network import Linear
from combiner_cli.families.linear.prior import MixturePrior, problem
from combiner_cli.family import View
from combiner_cli.signals.signal import Format


def decode(data, configuration, tensors):
    """Samples of an image of at most 127 pixels a side, ``(height, width, channels)``, as integers."""
    prior_id, key = keys_of(configuration, tensors)
    assert data[:4] == b"CMB\x05" and int.from_bytes(data[4:8], "big") == prior_id
    code, *shape, noise_level = data[8:12]
    channels, bit_depth, payload = code % 4 + 1, 16 if code & 4 else 8, data[12:-4]
    high, wide = configuration["network"]["extent"]
    outputs, reach = configuration["network"]["outputs"], configuration["reach"]
    down, across = (-(-size // side) for size, side in zip(shape, (high, wide), strict=True))
    planes = 2 if channels in (2, 4) else 1
    tiles = [(plane, r, c) for plane in range(planes) for r in range(down) for c in range(across)]

    classes_of_a_phase = tensors["mean"].shape[1]
    bits = (classes_of_a_phase - 1).bit_length()
    length = -(-len(tiles) * bits // 8)
    stream = "".join(f"{byte:08b}" for byte in payload[:length])
    classes = [int(stream[n * bits : (n + 1) * bits] or "0", 2) for n in range(len(tiles))]
    indices = list(payload[length:])
    if len(indices) <= 256:
        memory = [0, 0, *indices]
        rows = [
            65536 * (older % 16) + 256 * previous + index
            for older, previous, index in zip(memory, memory[1:], indices, strict=False)
        ]
    else:
        rows = chained_rows(indices, max(1, min(64, len(indices) // 32768)))

    noise = -512 - 32 * noise_level
    starts = np.concatenate([[0], np.cumsum(tensors["counts"].reshape(-1))])

    def directions_of(phase, number):
        owner = phase * classes_of_a_phase + number
        return [n for n in range(starts[owner], starts[owner + 1]) if tensors["levels"][n] > noise]

    stages = [[n for n, (_, r, c) in enumerate(tiles) if 2 * (r % 2) + c % 2 == phase] for phase in range(4)]
    information = [
        [(int(tensors["levels"][d]) - noise) // 2 for n in members for d in directions_of(phase, classes[n])]
        for phase, members in enumerate(stages)
    ]
    total, behind, latents = max(1, sum(map(sum, information))), 0, []
    for stage in information:
        first = len(indices) * behind // total
        behind += sum(stage)
        latents.append(stage_latents(stage, len(indices) * behind // total - first, first, rows, key))

    canvas, weights = {}, {}
    ring = [
        (y, x)
        for y in range(-reach, high + reach)
        for x in range(-reach, wide + reach)
        if not (0 <= y < high and 0 <= x < wide)
    ]

    def features(size):
        k, t = np.arange(size)[:, None], (np.arange(size) + 0.5) / size
        return np.where(k == 0, math.sqrt(1 / size), math.sqrt(2 / size)) * np.cos(math.pi * k * t)

    def values(tile):
        cube = weights[tile].reshape(outputs, high, wide)
        return np.einsum("okl,ky,lx->oyx", cube, features(high), features(wide))

    for phase, members in enumerate(stages):
        place = 0
        shown = dict(canvas)
        for n in members:
            plane, r, c = tiles[n]
            around = []
            for output in range(outputs):
                places = [shown.get((plane, output, r * high + y, c * wide + x)) for y, x in ring]
                there = [value for value in places if value is not None]
                mean = sum(there) / len(there) if there else 0.0
                around += [mean if value is None else value for value in places]
            gain = tensors["context_projection"][phase].astype(float) @ tensors["context_gain"][phase].astype(float)
            p = np.array(around) @ gain + tensors["mean"][phase, classes[n]].astype(float)
            for d in directions_of(phase, classes[n]):
                direction = tensors["directions"][d].astype(float)
                deviation = math.sqrt(2 ** (int(tensors["levels"][d]) / 256) - 2 ** (noise / 256))
                p += latents[phase][place] * deviation * direction / math.sqrt(direction @ direction)
                place += 1
            weights[n] = tensors["projection"][phase].astype(float) @ p
            rendered = np.clip(values(n), -1, 1)
            for output, y, x in np.ndindex(rendered.shape):
                canvas[plane, output, r * high + y, c * wide + x] = rendered[output, y, x]

    samples = np.zeros((down * high, across * wide, channels))
    for n, (plane, r, c) in enumerate(tiles):
        block = values(n)
        area = samples[r * high : (r + 1) * high, c * wide : (c + 1) * wide]
        if plane == 1:
            area[..., -1] = block.mean(axis=0)
        elif channels > 2:
            area[..., :3] = np.moveaxis(block, 0, -1)
        else:
            area[..., 0] = block.mean(axis=0)
    samples = samples[: shape[0], : shape[1]]
    return np.rint((np.clip(samples, -1, 1) + 1) * (2**bit_depth - 1) / 2)


def some_prior(classes):
    """A prior of random numbers for images in tiles of 4 x 6, whose directions are nearly those of a basis."""
    generator = np.random.default_rng(classes)
    network = Linear((4, 6), 3)
    dimensions, kept, context = 20, 5, 3 * Ring(network.extent, 2).size
    counts = generator.integers(5, dimensions + 1, (4, classes)).astype(np.int32)
    directions, levels = [], []
    for count in counts.reshape(-1):
        basis = np.linalg.qr(generator.standard_normal((dimensions, dimensions)))[0]
        directions.append(mixtures.quantised(basis[:count]))
        levels.append(np.sort(generator.integers(-2600, 0, count))[::-1])
    return MixturePrior(
        name="some",
        kind="image",
        network=network,
        reach=2,
        noise_codes=(10, 40),
        rates=(0.5, 2.0),
        errors=(0.01, 0.001),
        size=32,
        projection=np.stack(
            [np.linalg.qr(generator.standard_normal((network.latents, dimensions)))[0] for _ in range(4)]
        ).astype(np.float16),
        context_projection=(0.1 * generator.standard_normal((4, context, kept))).astype(np.float16),
        context_gain=(0.5 * generator.standard_normal((4, kept, dimensions))).astype(np.float16),
        mean=generator.standard_normal((4, classes, dimensions)).astype(np.float32),
        counts=counts,
        directions=np.concatenate(directions),
        levels=np.concatenate(levels).astype(np.int16),
    )


@pytest.mark.parametrize(
    ("classes", "shape", "channels", "depth", "groups"),
    [(5, (11, 17), 3, 8, 60), (1, (9, 20), 1, 8, 33), (8, (10, 13), 4, 16, 1100)],
)
def test_the_description_is_enough_to_decode(classes, shape, channels, depth, groups):
    prior = some_prior(classes)
    assert problem(prior) is None
    layout = prior.tiling(shape, channels)
    generator = np.random.default_rng(1)
    payload = mixtures.pack_classes(generator.integers(0, classes, layout.tiles), prior.class_bits)
    payload += generator.integers(0, 256, groups).astype(np.uint8).tobytes()
    data = pack(prior.id, Format("image", shape, channels, depth, None), prior.fields, {"noise": (30,)}, payload)
    samples = prior.decode(File.parse(data), View()).signal().samples
    again = decode(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    assert np.abs(samples.astype(np.int64) - again).max() <= 1  # another order of summation
    assert (samples != again).mean() < 0.01
