"""A tiny prior of every family and kind, quick to decode with, and random files that go with them."""

from __future__ import annotations

import functools
import itertools
import random
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from combiner_cli.container.file import pack
from combiner_cli.container.header import Field
from combiner_cli.families.lapped import features as lapped_features
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.families.pyramid.filtering.filter import CHANNELS, CONDITIONS, PREFIX, RESULTS
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.families.siren.network import Siren
from combiner_cli.families.siren.prior import SirenPrior
from combiner_cli.family import Prior
from combiner_cli.signals.signal import Format
from combiner_cli.stages.convolution import ConvolutionNetwork

MOST_SIDE = 40  # samples of a random image's side
MOST_LENGTH = 1200  # of a random sound
# of each network of a pyramid prior: features, relative ones among them, means, and further results
PYRAMID_NETWORKS = {
    "luma_activity": (58, 41, 12, 9),
    "luma_0": (78, 52, 3, 3),
    "luma_1": (93, 64, 3, 3),
    "luma_2": (117, 88, 3, 3),
    "luma_3": (129, 100, 3, 3),
    "chroma_activity": (76, 57, 24, 9),
    "chroma_0": (79, 51, 6, 6),
    "chroma_1": (105, 75, 6, 6),
}
_RANGES = ((10, 60), (0.5, 4.0), (0.01, 0.0005))  # noise codes, rates and errors
_SMALL, _USUAL = 3, 60  # numbers of a random header


def tiny_siren(kind="image", group_bits=16, bits=2.0, extent=None, name="tiny"):
    """An untrained prior with small tiles: quick, and good enough for everything but compression."""
    extent = extent or ((8, 8) if kind == "image" else (64,))
    network = Siren(extent, 3 if kind == "image" else 1, 8, max(extent) / 2, 8, 1)
    generator = np.random.default_rng(5)
    bounds = network.initial_bounds()
    mean = generator.uniform(-bounds, bounds).astype(np.float32)
    information = np.full(network.latents, round(bits * 256), dtype=np.int32)
    information[::7] = 0
    return SirenPrior(name, kind, network, mean, bounds.astype(np.float32), information, group_bits, 1e-4)


@contextmanager
def hasty_siren(steps=20, rounds=2, steps_per_round=2):
    """Encoders of priors with hidden layers take so few steps meanwhile, whatever the effort; tests want no quality."""
    from combiner_cli.families.siren import encoder
    from combiner_cli.families.siren.fitting.coding import Schedule

    hasty = functools.partial(encoder.encode, schedule=Schedule(steps, rounds, steps_per_round))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "encode", hasty)
        yield


def random_network(generator, features, linear, weights, centre):
    """Tensors of a small network with two hidden layers.

    Args:
        generator: of their numbers.
        features: number of them.
        linear: shape of that tensor.
        weights: deviations of the rows of the last layer.
        centre: of its biases.
    """

    def drawn(scale, *shape, centre=0):
        kind = np.int16 if len(shape) == 2 else np.int32
        return np.rint(centre + scale * generator.standard_normal(shape)).astype(kind)

    return {
        "first": drawn(200, 6, features),
        "first_bias": drawn(2**18, 6),
        "second": drawn(2**11, 5, 6),
        "second_bias": drawn(2**21, 5),
        "third": drawn(weights[:, None], len(weights), 5),
        "third_bias": drawn(2**19, len(weights), centre=centre),
        "linear": drawn(200, *linear),
    }


def random_pyramid(parts_from):
    """A prior of small random networks, whose deviations are about a sixth of the contrast."""
    generator, stored = np.random.default_rng(3), {}
    for kind, (name, shape) in itertools.product(range(4), PYRAMID_NETWORKS.items()):
        features, relative, means, further = shape
        is_mean, has_classes = np.arange(means + further) < means, further == 9
        centre = np.where(is_mean, 0, 0 if has_classes else -5 * 2**21)
        weights = np.where(is_mean, 150, 2000 if has_classes else 6000)
        tensors = random_network(generator, features, (means, relative), weights, centre)
        stored |= {f"{kind}.{name}.{part}": tensor for part, tensor in tensors.items()}
    return PyramidPrior("some", "image", *_RANGES, 32, stored, parts_from)


def random_filter(seed=4, channels=5, layers=3, most=90):
    """A network of random kernels for a filter of a pyramid prior."""
    generator, sizes = np.random.default_rng(seed), [CHANNELS, *[channels] * (layers - 1), RESULTS]
    kernels = [generator.integers(-most, most + 1, (made, given, 3, 3)) for given, made in itertools.pairwise(sizes)]
    return ConvolutionNetwork(
        tuple(kernel.astype(np.int8) for kernel in kernels),
        tuple(generator.integers(-(2**12), 2**14, size).astype(np.int32) for size in sizes[1:]),
        generator.integers(-300, 301, (channels, CONDITIONS)).astype(np.int16),
    )


def filtering_pyramid():
    """A random pyramid prior with a random filter."""
    prior = random_pyramid(parts_from=8)
    return replace(prior, stored=prior.stored | random_filter().tensors(PREFIX))


def random_lapped(channels):
    """A prior of small random networks, whose deviations are about those that the classes stand for."""
    generator, stored = np.random.default_rng(3), {}
    for level in range(4):
        for name, network in lapped_features.networks(level).items():
            rows, has_classes = network.values, network.values > 1
            weights, linear = np.full(rows, 2000 if has_classes else 500), (rows, network.relative)
            tensors = random_network(generator, network.features, linear, weights, 0 if has_classes else -2 * 2**22)
            if not has_classes:
                tensors["linear"][...] = 2**14
            if channels == 2 or name.endswith("_0"):
                stored |= {f"{level}.{name}.{part}": tensor for part, tensor in tensors.items()}
    return LappedPrior("some", "sound", 16000, (16, 48, 32), channels, *_RANGES, 500, stored, 4)


@functools.cache
def tiny_priors() -> dict[str, Prior]:
    """By name; of every family and kind."""
    # threads that wait for one another take a hundred times as long on a machine that has other work
    with threadpool_limits(1):
        return {
            "siren-16": tiny_siren("image", 16),
            "siren-8": tiny_siren("image", 8),
            "siren-sound": tiny_siren("sound", 16),
            "pyramid": random_pyramid(parts_from=8),
            "pyramid-parts": random_pyramid(parts_from=4),
            "pyramid-filter": filtering_pyramid(),
            "lapped": random_lapped(channels=2),
            "lapped-mono": random_lapped(channels=1),
        }


def random_format(kind, dice: random.Random) -> Format:
    """Of a small signal."""
    if kind == "image":
        shape = (dice.randint(1, MOST_SIDE), dice.randint(1, MOST_SIDE))
        return Format("image", shape, dice.randint(1, 4), dice.choice((8, 16)), None)
    rate = dice.choice((16000, 15000, 8000, 44100))
    return Format("sound", (dice.randint(1, MOST_LENGTH),), dice.randint(1, 2), 16, rate)


def random_numbers(field: Field, dice: random.Random) -> tuple[int, ...]:
    """Of a field of a header; small ones make sense wherever they are."""
    most = min(field.largest, dice.choice((_SMALL, _USUAL, _USUAL, 4 * _USUAL)))
    return tuple(dice.randint(field.least, max(field.least, most)) for _ in range(field.count))


def random_payload(dice: random.Random) -> bytes:
    """Bytes that no encoder would write, beginning like the code of classes of several sizes."""
    beginning = dice.choice((dice.randbytes(60), bytes(12), b"\xff" * 40, dice.randbytes(500)))
    return beginning + dice.randbytes(dice.choice((0, 1, 40, 300, 1500)))


def random_file(prior: Prior, dice: random.Random) -> tuple[Format, dict[str, tuple[int, ...]], bytes]:
    """Format, numbers and payload of a file that no encoder would write, but that a decoder has to take, mostly."""
    numbers = {field.name: random_numbers(field, dice) for field in prior.fields}
    return random_format(prior.kind, dice), numbers, random_payload(dice)


def packed_file(prior: Prior, seed: int) -> bytes:
    """A random file as bytes."""
    signal_format, numbers, payload = random_file(prior, random.Random(seed))
    return pack(prior.id, signal_format, prior.fields, numbers, payload)
