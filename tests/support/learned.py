"""Small priors that are learned from signals that tests make, once for all processes of a run."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from combiner_cli.priors import store
from combiner_cli.signals.signal import split, tiling, to_values

from . import shared
from .signals import recordings_of_tones, smooth_image, tone


def image_tiles(count, seed=0, size=8):
    """Tiles of a smooth picture, ``(count, 3, size²)``."""
    image = smooth_image(size * count, size, seed=seed)
    return split(to_values(image), tiling(image.shape, 3, (size, size), 3)).astype(np.float32)


@functools.cache
def learned_siren():
    """A small prior of networks with a hidden layer, learned from smooth pictures."""
    from combiner_cli.families.siren.learning import SirenLearning, SirenPlan
    from combiner_cli.families.siren.network import Siren
    from combiner_cli.learning import job

    def learn():
        plan = SirenPlan("learned", "image", Siren((8, 8), 3, 8, 4.0, 8, 1), 1.5, 1e-3, 40, 25, 16, 1, 64)
        training = np.concatenate([image_tiles(4, seed) for seed in range(12)])
        return job.run(SirenLearning(plan, training, image_tiles(4, 99))).prior

    return store.load(shared.prior_file("learned-siren", learn))


def mixture_plan(kind="image", **changed):
    """Settings of a mixture prior that is learned within seconds."""
    from combiner_cli.families.linear.learning import MixturePlan
    from combiner_cli.families.linear.network import Linear

    network = Linear((8, 8), 3) if kind == "image" else Linear((32,), 1)
    usual = {"dimensions": 96, "context": 16, "reach": 2, "bits_per_point": 1.0, "rounds": 2, "seed": 0, "size": 64}
    settings = {"components": 3, "covariance": "full", **usual, **changed}
    return MixturePlan(f"mixed-{kind}", kind, network, **settings)


def mixture_data(kind="image", signals=32, seed=0):
    """Values of smooth pictures or tones with a little noise, ``(signals, outputs, *shape)`` float32."""
    generator = np.random.default_rng(seed)
    if kind == "image":
        made = [smooth_image(48, 48, seed=seed + n) for n in range(signals)]
    else:
        made = [tone(1024, seed=seed + n) for n in range(signals)]
    values = np.stack([np.moveaxis(to_values(signal), -1, 0) for signal in made])
    return (values + generator.normal(0, 0.02, values.shape)).clip(-1, 1).astype(np.float32)


@functools.cache
def tiny_mixture_file(kind="image"):
    """The file of a small mixture prior, learned from smooth pictures or tones."""
    from combiner_cli.families.linear.learning import MixtureLearning
    from combiner_cli.learning import job

    def learn():
        data = [mixture_data(kind)], [mixture_data(kind, 4, 77)]
        return job.run(MixtureLearning(mixture_plan(kind), *data)).prior

    return shared.prior_file(f"mixed-{kind}", learn)


@functools.cache
def tiny_mixture(kind="image"):
    """A small mixture prior, learned from smooth pictures or tones."""
    return store.load(tiny_mixture_file(kind))


def lapped_plan(**changed):
    """Settings of a lapped prior that is learned within seconds."""
    from combiner_cli.families.lapped.learning import LappedPlan

    usual = {"steps": 100, "signals": 2, "length": 640, "hops": (32, 64), "detail": (8, 8), "activity": (8, 8)}
    usual |= {"noise_levels": (20, 70), "seed": 1, "sample_rate": 16000, "channels": 2, "size": 2000}
    return LappedPlan(name="tiny", **{**usual, **changed})


def pyramid_plan(**changed):
    """Settings of a pyramid prior that is learned within seconds, from :func:`pictures`."""
    from combiner_cli.families.pyramid.learning import PyramidPlan

    small = ((8, 8), (8, 8), (8, 8))
    usual = {"steps": 6, "signals": 2, "crop": 32, "fine": small, "coarse": small, "noise_levels": (20, 60)}
    return PyramidPlan(name="tiny", **{**usual, "seed": 1, "size": 40, **changed})


def pictures(count, seed=0):
    """Samples of smooth pictures, ``(36, 40, 3)`` uint8 each."""
    return [smooth_image(36, 40, seed=seed + number).samples for number in range(count)]


@functools.cache
def tiny_lapped():
    """A small lapped prior for pairs, learned from tones, in great haste."""
    from combiner_cli.families.lapped.learning import LappedLearning
    from combiner_cli.learning import job, networks

    def learn():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(networks, "_LEARNING_RATE", 0.02)
            patch.setattr(networks, "_WARM_UP", 5)
            data = recordings_of_tones(6), recordings_of_tones(2, 50)
            return job.run(LappedLearning(lapped_plan(), *data)).prior

    return store.load(shared.prior_file("tiny-lapped", learn))


@functools.cache
def tiny_lapped_mono():
    """The same without what it knows of pairs."""
    pair = tiny_lapped()
    stored = {name: tensor for name, tensor in pair.stored.items() if not name.split(".")[1].endswith("_1")}
    return replace(pair, channels=1, stored=stored)
