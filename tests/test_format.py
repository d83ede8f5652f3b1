"""A second decoder, of versions 4 and 2 with a linear prior, as FORMAT.md has it: slow, plain, and the same samples."""

import hashlib
import json
import math
import struct
import zlib
from statistics import NormalDist

import numpy as np
import pytest

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream, metadata
from combiner_cli.container.bitstream import Header
from combiner_cli.container.metadata import Metadata
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.mixtures import MixturePrior
from combiner_cli.families.linear.neighbourhood import Ring
from combiner_cli.families.linear.network import Linear
from combiner_cli.rec import candidates

LONG = getattr(candidates, "LONGEST_OF_LONG_MEMORY", 0)  # groups; see "Rows"


def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        low, high = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(high >> 32) ^ c[1] ^ k0, high & 0xFFFFFFFF, (low >> 32) ^ c[3] ^ k1, low & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def candidate(row, column, key):
    word = philox((column // 8, row, 0, 0), key)[column % 8 // 2]
    lane = word >> 16 if column % 2 else word & 0xFFFF
    mirrored = min(lane, 65535 - lane)
    value = round(NormalDist().inv_cdf((mirrored + 0.5) / 65536) * 2**20) / 2**20
    return value if lane == mirrored else -value


def rows_of(indices):
    def index(g):
        return indices[g] if g >= 0 else 0

    groups = len(indices)
    if groups <= LONG:
        return [65536 * (index(g - 2) % 16) + 256 * index(g - 1) + index(g) for g in range(groups)]
    chains = max(1, min(64, groups // 32768))
    return [256 * index(g - chains) + index(g) for g in range(groups)]


def stage_latents(information, groups, first, rows, key):
    """The latents of one stage, whose groups begin at ``first``."""
    coded = [place for place, bits in enumerate(information) if bits]
    latents = [0.0] * len(information)
    if not groups:
        return latents
    order = sorted(range(len(coded)), key=lambda j: 2**32 * (philox((j, len(coded), 1, 0), key)[0] // 2) + j)
    before, total, columns = 0, sum(information), {}
    for j in order:
        group = before * groups // total
        column = columns.get(group, 0)
        columns[group] = column + 1
        latents[coded[j]] = candidate(rows[first + group], column, key)
        before += information[coded[j]]
    return latents


def decode(payload, header, configuration, tensors):
    """Samples ``(*shape, channels)`` as integers, for images of one or three colours without alpha."""
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].astype(tensors[name].dtype.newbyteorder("<")).tobytes())
    assert header.prior_id == int.from_bytes(digest.digest()[:4], "big")
    whole_key = int.from_bytes(digest.digest()[:8], "big")
    key = (whole_key % 2**32, whole_key // 2**32)
    high, wide = configuration["network"]["extent"]
    outputs, reach = configuration["network"]["outputs"], configuration["reach"]
    down, across = (-(-size // side) for size, side in zip(header.shape, (high, wide), strict=True))
    planes = 2 if header.channels in (2, 4) else 1
    tiles = [(plane, r, c) for plane in range(planes) for r in range(down) for c in range(across)]

    classes_of_a_phase = tensors["mean"].shape[1]
    bits = (classes_of_a_phase - 1).bit_length()
    length = -(-len(tiles) * bits // 8)
    stream = "".join(f"{byte:08b}" for byte in payload[:length])
    classes = [int(stream[n * bits : (n + 1) * bits] or "0", 2) for n in range(len(tiles))]
    indices = list(payload[length:])
    rows = rows_of(indices)

    noise = -512 - 32 * header.noise
    starts = np.concatenate([[0], np.cumsum(tensors["counts"].reshape(-1))])

    def directions_of(phase, number):
        owner = phase * classes_of_a_phase + number
        return [n for n in range(starts[owner], starts[owner + 1]) if tensors["levels"][n] > noise]

    stages = [[n for n, (_, r, c) in enumerate(tiles) if 2 * (r % 2) + c % 2 == phase] for phase in range(4)]
    information = [
        [(int(tensors["levels"][d]) - noise) // 2 for n in own for d in directions_of(phase, classes[n])]
        for phase, own in enumerate(stages)
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

    for phase, own in enumerate(stages):
        place = 0
        shown = dict(canvas)
        for n in own:
            plane, r, c = tiles[n]
            around = []
            for output in range(outputs):
                found = [shown.get((plane, output, r * high + y, c * wide + x)) for y, x in ring]
                there = [value for value in found if value is not None]
                mean = sum(there) / len(there) if there else 0.0
                around += [mean if value is None else value for value in found]
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

    samples = np.zeros((down * high, across * wide, header.channels))
    for n, (plane, r, c) in enumerate(tiles):
        block = values(n)
        area = samples[r * high : (r + 1) * high, c * wide : (c + 1) * wide]
        if plane == 1:
            area[..., -1] = block.mean(axis=0)
        elif header.channels > 2:
            area[..., :3] = np.moveaxis(block, 0, -1)
        else:
            area[..., 0] = block.mean(axis=0)
    samples = samples[: header.shape[0], : header.shape[1]]
    return np.rint((np.clip(samples, -1, 1) + 1) * (2**header.bit_depth - 1) / 2)


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
    assert mixtures.problem(prior) is None
    layout = prior.tiling(shape, channels)
    generator = np.random.default_rng(1)
    payload = mixtures.pack_classes(generator.integers(0, classes, layout.tiles), prior.class_bits)
    payload += generator.integers(0, 256, groups).astype(np.uint8).tobytes()
    header = Header(prior.id, "image", shape, channels, depth, None, noise=30)
    samples = pipeline.decode(bitstream.pack(header, payload), lambda _: prior).samples
    again = decode(payload, header, json.loads(json.dumps(prior.configuration())), prior.tensors())
    assert np.abs(samples.astype(np.int64) - again).max() <= 1  # another order of summation
    assert (samples != again).mean() < 0.01


def msgpack_item(data, at):
    """One item of a metadata map, by the table of msgpack's types, and where the next one is."""
    kind = data[at]
    if kind < 0x80:
        return kind, at + 1
    if kind < 0x90:
        return msgpack_map(data, at + 1, kind - 0x80)
    if 0xA0 <= kind < 0xC0:
        return data[at + 1 : at + 1 + kind - 0xA0].decode(), at + 1 + kind - 0xA0
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDE: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4}[kind]
    number, start = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
    if kind in (0xCC, 0xCD, 0xCE):
        return number, start
    if kind == 0xDE:
        return msgpack_map(data, start, number)
    content = data[start : start + number]
    return content if kind < 0xD0 else content.decode(), start + number


def msgpack_map(data, at, entries):
    found = {}
    for _ in range(entries):
        name, at = msgpack_item(data, at)
        found[name], at = msgpack_item(data, at)
    return found, at


def unwrapped(data):
    """The file and the map of metadata in a file of version 4."""
    assert data[:5] == b"CMB\x92\x04"
    assert struct.unpack(">I", data[-4:]) == (zlib.crc32(data[:-4]),)
    length, start = msgpack_item(data, 5)
    packed = zlib.decompress(data[start : start + length])
    parts, end = msgpack_item(packed, 0)
    assert end == len(packed)
    return data[start + length : -4], parts


@pytest.mark.parametrize("size", [1, 100, 300, 70000])
def test_the_description_is_enough_to_read_metadata(size):
    prior = some_prior(1)
    header = Header(prior.id, "image", (4, 6), 3, 8, None, noise=30)
    inner = bitstream.pack(header, bytes([1, 2, 3]))
    noise = np.random.default_rng(size).bytes(size)
    tags = {f"tag {number}": "é" * number for number in (3, 20, 40, 200)}
    given = Metadata(noise, b"icc", b"", tags, {"later": b"unknown", **{f"x{n}": b"x" for n in range(size % 99)}})
    data = bitstream.with_metadata(inner, metadata.pack(given))
    found, parts = unwrapped(data)
    assert found == inner
    assert list(parts) == sorted(parts)
    assert parts == {"exif": noise, "icc": b"icc", "tags": tags, **given.other}
    samples = pipeline.decode(data, lambda _: prior).samples
    assert np.array_equal(samples, pipeline.decode(inner, lambda _: prior).samples)
