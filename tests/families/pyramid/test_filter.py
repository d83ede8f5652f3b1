"""The filter of pyramid priors: where it works, when an encoder wants it, and how it is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.coding import coded
from support.learned import pictures
from support.priors import filtering_pyramid, random_pyramid, tiny_priors
from support.signals import smooth_image
from support.training import Recorded, StoppedError

from combiner_cli.container.file import File
from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.families import registry
from combiner_cli.families.pyramid.encoder import ImageSimulation
from combiner_cli.families.pyramid.filtering import filter as picture_filter
from combiner_cli.families.pyramid.filtering import training
from combiner_cli.families.pyramid.filtering.filter import CHANNELS, PREFIX
from combiner_cli.families.pyramid.filtering.learning import FilterLearning, FilterPlan
from combiner_cli.families.pyramid.filtering.training import FilterNetwork
from combiner_cli.family import Target, View
from combiner_cli.learning import datasets, job, trainer
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import CPU
from combiner_cli.learning.job import LearningRequest
from combiner_cli.media import files as media
from combiner_cli.stages.encoding.simulation import SimulatedCoder

PRIOR = tiny_priors()["pyramid-filter"]


def flagged(coding, filtered, prior=PRIOR):
    """A file that is like another one, but says otherwise whether it is filtered."""
    numbers = {**coding.encoded.numbers, "filter": (int(filtered),)}
    return prior.pack(coding.signal.format, replace(coding.encoded, numbers=numbers))


def decoded(data, view=None, prior=PRIOR):
    return prior.decode(File.parse(data), view or View())


@pytest.mark.parametrize(
    ("channels", "target"), [(1, Target("rate", 1.0)), (3, Target("size", 300)), (4, Target("rate", 1.0, "perceptual"))]
)
def test_a_file_says_whether_it_is_filtered_and_nothing_else_depends_on_that(channels, target):
    coding = coded(smooth_image(13, 22, channels), PRIOR, target)
    assert coding.encoded.numbers["filter"] == (0,)  # what is random helps nobody
    with_filter, without = (decoded(flagged(coding, filtered)) for filtered in (True, False))
    assert np.array_equal(without.values[:], coding.decoded.values[:])
    changed = np.abs(with_filter.values[:] - without.values[:]).max(axis=(0, 1))
    assert (changed[: 1 if channels < 3 else 3] > 0.01).all()
    assert channels % 2 or changed[-1] == 0  # alpha
    assert np.array_equal(with_filter.latents, without.latents)


@pytest.mark.parametrize("size", [(21, 14), (5, 30), (4, 3)])
def test_strips_threads_and_rows_change_nothing(size, monkeypatch):
    data = flagged(coded(smooth_image(*size), PRIOR, Target("rate", 1.0, "perceptual")), filtered=True)
    whole = decoded(data).values[:]
    for rows, threads in ((2, "1"), (6, "3")):
        monkeypatch.setattr(picture_filter, "_ROWS_AT_ONCE", rows)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        values = decoded(data).values
        assert np.array_equal(values[:], whole)
        assert np.array_equal(values[1:3], whole[1:3])


def test_what_is_rendered_larger_is_filtered_too():
    coding = coded(smooth_image(12, 14), PRIOR)
    for filtered in (True, False):
        small, large = (decoded(flagged(coding, filtered), View(scale=scale)).signal().samples for scale in (1, 3))
        assert np.abs(large[1::3, 1::3].astype(float) - small).mean() < 3


@pytest.mark.parametrize("channels", [1, 4])
def test_an_encoder_takes_what_has_the_least_error(channels):
    coding = coded(smooth_image(12, 14, channels), PRIOR, Target("rate", 1.0))
    for filtered in (True, False):
        simulation = ImageSimulation(PRIOR, decoded(flagged(coding, filtered)).signal())
        original = ImageSimulation(PRIOR, coding.signal)
        plane, noise_level = simulation.planes[-1], coding.encoded.numbers["noise"][0] - 16
        picture = original.decoded(original.planes[-1], noise_level, SimulatedCoder())
        errors = dict.fromkeys((False, True), 0.0)
        for choice in errors:
            errors[choice] = simulation._error(plane, simulation._shown(plane, picture, noise_level, choice))
        best = min(errors, key=errors.get)
        assert simulation._least_error(plane, picture, noise_level) == (errors[best], best)
    if channels == 4:
        picture = original.decoded(original.planes[0], noise_level, SimulatedCoder())
        assert original._least_error(original.planes[0], picture, noise_level)[1] is False


def test_a_prior_with_a_filter_is_another_one_and_a_hostile_one_is_refused():
    prior = filtering_pyramid()
    assert prior.id != random_pyramid(parts_from=8).id
    assert prior.stored_but_filter.keys() == random_pyramid(parts_from=8).stored.keys()
    family, tensors = registry.get("pyramid"), prior.tensors()
    assert family.load("x", prior.configuration(), tensors).id == prior.id
    tensors[f"{PREFIX}0.bias"] = tensors[f"{PREFIX}0.bias"] + np.int32(2**24)
    with pytest.raises(DamagedFileError, match="layer 0 of its filter may leave"):
        family.load("x", prior.configuration(), tensors)


def test_what_is_trained_is_what_is_used():
    generator = torch.Generator().manual_seed(3)
    network = FilterNetwork(8, 4, generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        inputs = torch.randint(-511, 512, (2, CHANNELS, 12, 17), generator=generator).float()
        conditions = torch.tensor([[10, 14, 20, 4, 4, 8, 10], [-20, 0, 0, 0, 0, 0, 0]])
        results = network(inputs, conditions.float()).numpy()
    exact = network.quantised()
    for picture, told, expected in zip(inputs.numpy(), conditions.tolist(), results, strict=True):
        assert np.array_equal(exact(picture, slice(0, 12), 12, told), expected)
    assert len(np.unique(results)) > 50


@pytest.mark.parametrize("channels", [1, 3])
def test_an_example_lacks_what_makes_it_the_original(channels):
    picture = smooth_image(24, 32, channels).samples
    one = training.example(random_pyramid(8), picture, 60, training.FLAT_PICTURE, np.random.default_rng(0))
    assert one.inputs.shape == (CHANNELS, 12, 16)
    assert one.conditions == (20, 0, 0, 0, 0, 0, 0)
    rough = training.example(random_pyramid(8), picture, 20, training.PERCEPTUAL, np.random.default_rng(0))
    assert rough.conditions[1:] == (14, 20, 4, 4, 8, 10)
    deviation = [np.sqrt((example.lacking**2).mean()) / training.UNIT for example in (one, rough)]
    assert all(0.1 < value < 30 for value in deviation)
    if channels == 1:
        assert not one.lacking[4:].any() and not one.inputs[4:12].any()


@pytest.fixture
def few(monkeypatch):
    """Few pictures, which a test has the time for."""
    monkeypatch.setattr(training, "_LATEST", 2)
    monkeypatch.setattr(training, "_STEPS_OF_EACH", 2)
    monkeypatch.setattr(training, "PART", 8)


def learning(start, **changed):
    usual = {"steps": 5, "signals": 2, "noise_levels": (20, 60), "seed": 1, "size": 40, "crop": 32, "channels": 4}
    plan = FilterPlan(name="filtered", start=start.id, layers=3, **{**usual, **changed})
    return FilterLearning(plan, pictures(4), pictures(1, 50), start, "pictures", CPU)


@pytest.mark.usefixtures("few")
def test_a_filter_is_learned_and_an_interrupted_learning_ends_with_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "MEASURED_STEPS", 2)
    start, checkpoint = random_pyramid(parts_from=8), CheckpointFile(tmp_path / "x", 0.0)
    whole = job.run(learning(start))
    with pytest.raises(StoppedError):
        job.run(learning(start), Recorded(4), checkpoint)
    resumed = job.run(learning(start), None, checkpoint)
    assert resumed.prior.id == whole.prior.id != start.id
    assert resumed.measurements == whole.measurements
    assert resumed.prior.filter is not None
    assert all(np.array_equal(resumed.prior.stored[name], tensor) for name, tensor in start.stored.items())
    card = whole.card("combiner x", "5 s")
    assert f"{start.id:08x}" in card
    assert "gain in dB" in card
    again = job.run(learning(filtering_pyramid()))
    assert {name: tensor.shape for name, tensor in again.prior.stored.items()} == {
        name: tensor.shape for name, tensor in whole.prior.stored.items()
    }


@pytest.mark.usefixtures("few")
def test_a_filter_learns_what_pictures_lack(monkeypatch):
    """An example that lacks a multiple of a detail, which a linear network can tell."""
    monkeypatch.setattr(training, "_LEARNING_RATE", 0.02)

    def known(prior, picture, noise_level, noise, generator):
        inputs = generator.integers(-30, 31, (CHANNELS, 16, 16)).astype(np.float32)
        lacking = np.zeros((12, 16, 16), dtype=np.float32)
        lacking[1] = 2 * np.maximum(inputs[1], 0)
        return training.Example(inputs, lacking, (0,) * 7)

    monkeypatch.setattr(training, "example", known)
    one = learning(random_pyramid(8), steps=150, channels=8)
    taught = one.training()
    first = taught.measure(0).held_out if taught.step(0) is None else None
    for number in range(1, 150):
        taught.step(number)
    assert taught.measure(150).held_out < 0.6 * first


def test_the_options_of_a_filter(tmp_path):
    for number, samples in enumerate(pictures(6)):
        media.write_signal(replace(smooth_image(36, 40), samples=samples), tmp_path / f"{number}.png")
    family, dataset = registry.get("pyramid"), datasets.open_dataset(tmp_path)
    given = {"part": "filter", "start": filtering_pyramid(), "steps": 3, "crop": 32}
    ready = job.begin(family, LearningRequest("mine", dataset, options=given))
    assert isinstance(ready, FilterLearning)
    assert ready.estimate().prior_bytes > sum(tensor.nbytes for tensor in random_pyramid(8).stored.values())
    for wrong in ({"start": None}, {"shapes": 10}):
        with pytest.raises(UsageError, match="--part filter takes"):
            job.begin(family, LearningRequest("mine", dataset, options=given | wrong))
