"""A tiny prior of every family and kind, quick to decode with, and random files that go with them."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np
import test_covariances
import test_lapped_format
import test_pyramid_format
from conftest import tiny_mixture, tiny_prior
from threadpoolctl import threadpool_limits

from combiner_cli.container import bitstream
from combiner_cli.container.bitstream import Header
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.mixtures import MixturePrior
from combiner_cli.families.siren.covariances import CovariancePrior
from combiner_cli.priors.library import Prior

MOST_SIDE = 40  # samples of a random image's side
MOST_LENGTH = 1200  # of a random sound


@functools.cache
def tiny_priors():
    """By name."""
    # threads that wait for one another take a hundred times as long on a machine that has other work
    with threadpool_limits(1):
        return {
            "siren-16": tiny_prior("image", 16),
            "siren-8": tiny_prior("image", 8),
            "siren-sound": tiny_prior("sound", 16),
            "covariance": test_covariances.untrained(1),
            "covariances": test_covariances.untrained(3),
            "linear": tiny_mixture("image"),
            "linear-sound": tiny_mixture("sound"),
            "pyramid": test_pyramid_format.PRIOR,
            "pyramid-parts": test_pyramid_format.IN_PARTS,
            "lapped": test_lapped_format.PRIOR,
            "lapped-mono": test_lapped_format.MONO,
        }


def random_file(prior, dice: random.Random) -> tuple[Header, bytes]:
    """Header and payload of a file that no encoder would write, but that a decoder has to take, for the most part."""
    if prior.kind == "image":
        shape = (dice.randint(1, MOST_SIDE), dice.randint(1, MOST_SIDE))
        header = Header(prior.id, "image", shape, dice.randint(1, 4), dice.choice((8, 16)), None)
    else:
        rate = dice.choice((16000, 15000, 8000, 44100))
        header = Header(prior.id, "sound", (dice.randint(1, MOST_LENGTH),), dice.randint(1, 2), 16, rate)
    count = dice.choice((0, 1, 40, 300, 1500))
    layout = prior.tiling(header.shape, header.channels)
    if isinstance(prior, Prior):
        if dice.random() < 0.5:
            return replace(header, noise=0), dice.randbytes(count)
        return replace(header, groups=(count,)), dice.randbytes(count * prior.group_bits // 8)
    noise = dice.randint(0, 127)
    if isinstance(prior, MixturePrior | CovariancePrior):
        classes = np.array([dice.randrange(prior.classes) for _ in range(layout.tiles)], dtype=np.int64)
        packed = mixtures.pack_classes(classes, prior.class_bits)
        return replace(header, noise=noise), packed + dice.randbytes(count)
    classes = dice.choice((dice.randbytes(60), bytes(12), b"\xff" * 40, dice.randbytes(500)))
    densities = tuple(dice.randint(0, 127) for _ in range(8))
    streams = {"noise": noise, "class_bytes": len(classes), "densities": densities, "chains": dice.randint(1, 64)}
    if isinstance(prior, LappedPrior):
        streams["transform"] = (dice.randrange(len(prior.hops)), dice.randint(0, 63))
    return replace(header, **streams), classes + dice.randbytes(count)


def packed_file(prior, seed: int) -> bytes:
    """A random file as bytes."""
    return bitstream.pack(*random_file(prior, random.Random(seed)))
