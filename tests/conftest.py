"""Small priors and signals that the tests make themselves."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from combiner_cli.families.lapped import learning as learn_recordings
from combiner_cli.families.linear import learning as learn_mixture
from combiner_cli.families.linear.network import Linear
from combiner_cli.families.siren import learning as learn
from combiner_cli.families.siren.network import Siren
from combiner_cli.families.siren.prior import SirenPrior
from combiner_cli.families.siren.fitting.posterior import Descent
from combiner_cli.learning import trainer
from combiner_cli.priors import store
from combiner_cli.signals.signal import Signal, split, tiling, to_values

torch.set_num_threads(1)  # the tests' networks are too small for two


def tiny_prior(kind="image", group_bits=16, bits=2.0, extent=None, name="tiny"):
    """An untrained prior with small tiles: quick, and good enough for everything but compression."""
    extent = extent or ((8, 8) if kind == "image" else (64,))
    network = Siren(extent, 3 if kind == "image" else 1, 8, max(extent) / 2, 8, 1)
    generator = np.random.default_rng(5)
    bounds = network.initial_bounds()
    mean = generator.uniform(-bounds, bounds).astype(np.float32)
    information = np.full(network.latents, round(bits * 256), dtype=np.int32)
    information[::7] = 0
    return SirenPrior(name, kind, network, mean, bounds.astype(np.float32), information, group_bits, 1e-4)


def smooth_image(height, width, channels=3, depth=8, seed=0):
    """A smooth random picture."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = generator.uniform(0, 6, (2, channels))
    values = 0.5 + 0.4 * np.sin(3 * x[..., None] + phase[0]) * np.cos(4 * y[..., None] + phase[1])
    peak = 2**depth - 1
    return Signal("image", np.rint(values * peak).astype(np.uint8 if depth == 8 else np.uint16), None, depth)


def tone(frames, channels=1, rate=16000, seed=0):
    """A decaying chord, in steps of 16 bits."""
    generator = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / rate
    frequency = generator.uniform(100, 600, (1, channels))
    values = 0.4 * np.sin(2 * np.pi * frequency * time) * np.exp(-2 * time)
    return Signal("sound", (np.rint(values * 32768) / 32768).astype(np.float32), rate, 16)


def image_tiles(count, seed=0, size=8):
    """Tiles of a smooth picture, ``(count, 3, size²)``."""
    image = smooth_image(size * count, size, seed=seed)
    return split(to_values(image), tiling(image.shape, 3, (size, size), 3)).astype(np.float32)


@pytest.fixture(scope="session")
def learned_prior():
    """A small prior learned from smooth pictures, for tests of what depends on a fitting prior."""
    network = Siren((8, 8), 3, 8, 4.0, 8, 1)
    plan = learn.Plan("learned", "image", network, 1.5, 1e-3, 40, 25, 16, 1, Descent(points=64))
    training = np.concatenate([image_tiles(4, seed) for seed in range(12)])
    return learn.learn(plan, training, image_tiles(4, 99), "cpu").prior


def mixture_plan(kind="image", **changed):
    """Settings of a mixture prior that is learned within seconds."""
    network = Linear((8, 8), 3) if kind == "image" else Linear((32,), 1)
    usual = {"dimensions": 96, "context": 16, "reach": 2, "bits_per_point": 1.0, "rounds": 2, "seed": 0, "size": 64}
    settings = {"components": 3, "covariance": "full", **usual, **changed}
    return learn_mixture.MixturePlan(f"mixed-{kind}", kind, network, **settings)


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
def tiny_mixture(kind="image"):
    """A small mixture prior, learned once from smooth pictures or tones."""
    return learn_mixture.learn(mixture_plan(kind), [mixture_data(kind)], [mixture_data(kind, 4, 77)]).prior


def lapped_plan(**changed):
    """Settings of a lapped prior that is learned within seconds."""
    usual = {"steps": 100, "stretches": 2, "length": 640, "hops": (32, 64), "detail": (8, 8), "activity": (8, 8)}
    usual |= {"noise_codes": (20, 70), "seed": 1, "sample_rate": 16000, "channels": 2, "size": 2000}
    return learn_recordings.LappedPlan("tiny", **{**usual, **changed})


def recordings_of_tones(count, seed=0):
    """Tones with a little noise, single ones and pairs in turn, ``(channels, samples)`` float32."""
    generator, found = np.random.default_rng(seed), []
    for number in range(count):
        samples = tone(2000, 1 + number % 2, seed=seed + number).samples.T
        found.append((samples + generator.normal(0, 0.01, samples.shape)).astype(np.float32))
    return found


@functools.cache
def tiny_lapped():
    """A small lapped prior for pairs, learned once from tones, in great haste."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_LEARNING_RATE", 0.02)
        patch.setattr(trainer, "_WARM_UP", 5)
        return learn_recordings.learn(lapped_plan(), recordings_of_tones(6), recordings_of_tones(2, 50)).prior


@functools.cache
def tiny_lapped_mono():
    """The same without what it knows of pairs."""
    stored = {name: own for name, own in tiny_lapped().stored.items() if not name.split(".")[1].endswith("_1")}
    return replace(tiny_lapped(), channels=1, stored=stored)


@pytest.fixture(autouse=True)
def user_data(tmp_path_factory, monkeypatch):
    """The folder of the user's own data, so that tests neither see nor change that of whoever runs them."""
    folder = tmp_path_factory.mktemp("user-data")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def mixed_priors(tmp_path_factory):
    """A folder with files of a small mixture prior for images and of one for sounds."""
    folder = tmp_path_factory.mktemp("mixed")
    for kind in ("image", "sound"):
        store.save(tiny_mixture(kind), folder / f"{kind}.safetensors")
    return folder


@pytest.fixture
def prior_folder(tmp_path, monkeypatch):
    """A folder with a tiny prior of each kind, on the search path."""
    folder = tmp_path / "priors"
    folder.mkdir()
    for kind in ("image", "sound"):
        store.save(tiny_prior(kind, name=f"tiny-{kind}"), folder / f"tiny-{kind}.safetensors")
    monkeypatch.setenv("COMBINER_PRIORS", str(folder))
    return folder
