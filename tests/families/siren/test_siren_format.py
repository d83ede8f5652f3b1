"""A second decoder of files with a siren prior, as FORMAT.md has it: slow, plain, and the same samples."""

import json
import math

import numpy as np
import pytest
from support.plain import chained_rows, keys_of, stage_latents
from support.priors import tiny_siren

from combiner_cli.container.file import File, pack
from combiner_cli.family import View
from combiner_cli.signals.signal import Format


def decode(data, configuration, tensors):
    """Samples of an image of at most 127 pixels a side, ``(height, width, channels)``, as integers."""
    prior_id, key = keys_of(configuration, tensors)
    assert data[:4] == b"CMB\x05" and int.from_bytes(data[4:8], "big") == prior_id
    code, height, width, index_bytes = data[8:12]
    channels, bit_depth, payload = code % 4 + 1, 16 if code & 4 else 8, data[12:-4]
    network = configuration["network"]
    high, wide = network["extent"]
    down, across = -(-height // high), -(-width // wide)
    planes = 2 if channels in (2, 4) else 1
    tiles = [(plane, r, c) for plane in range(planes) for r in range(down) for c in range(across)]

    if index_bytes == 2:
        rows = [int.from_bytes(payload[place : place + 2], "big") for place in range(0, len(payload), 2)]
    else:
        rows = chained_rows(payload, max(1, min(64, len(payload) // 32768)))
    information, points = [], high * wide
    for _, r, c in tiles:
        inside = min(high, height - r * high) * min(wide, width - c * wide)
        inside = max(inside, -(-points // 16))
        information += [-(-int(bits) * inside // points) for bits in tensors["information"]]
    latents = stage_latents(information, len(rows), 0, rows, key)

    def fourier_features(y, x):
        count = network["features"] // 4
        frequencies = [network["highest_frequency"] ** (k / (count - 1)) for k in range(count)]
        angles = [math.pi * f * place for place in (y, x) for f in frequencies]
        return [*map(math.cos, angles), *map(math.sin, angles)]

    samples = np.zeros((down * high, across * wide, channels))
    for n, (plane, r, c) in enumerate(tiles):
        count = len(tensors["mean"])
        z = np.array(latents[n * count : (n + 1) * count])
        weights = tensors["mean"].astype(float) + tensors["deviation"].astype(float) * z
        for y, x in np.ndindex(high, wide):
            values = np.array(fourier_features((2 * y + 1) / high - 1, (2 * x + 1) / wide - 1))
            place, sizes = 0, [*[network["width"]] * network["hidden"], network["outputs"]]
            for layer, size in enumerate(sizes):
                matrix = weights[place : place + size * (len(values) + 1)].reshape(size, -1)
                place += matrix.size
                values = matrix @ [*values, 1]
                if layer < network["hidden"]:
                    values = np.sin(network["frequency"] * values)
            pixel = samples[r * high + y, c * wide + x]
            if plane == 1:
                pixel[-1] = values.mean()
            elif channels > 2:
                pixel[:3] = values
            else:
                pixel[0] = values.mean()
    samples = samples[:height, :width]
    return np.rint((np.clip(samples, -1, 1) + 1) * (2**bit_depth - 1) / 2)


@pytest.mark.parametrize(
    ("shape", "channels", "depth", "groups", "index_bytes"),
    [((8, 8), 3, 8, 20, 1), ((11, 17), 3, 8, 90, 1), ((9, 10), 1, 8, 33, 2), ((10, 13), 4, 16, 300, 2)],
)
def test_the_description_is_enough_to_decode(shape, channels, depth, groups, index_bytes):
    prior = tiny_siren()
    payload = np.random.default_rng(1).bytes(groups * index_bytes)
    signal_format = Format("image", shape, channels, depth, None)
    data = pack(prior.id, signal_format, prior.fields, {"index_bytes": (index_bytes,)}, payload)
    samples = prior.decode(File.parse(data), View()).signal().samples
    again = decode(data, json.loads(json.dumps(prior.configuration())), prior.tensors())
    assert np.abs(samples.astype(np.int64) - again).max() <= 1  # another order of summation
    assert (samples != again).mean() < 0.02
