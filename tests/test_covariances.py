"""Priors with covariances: the update, files, coding, learning, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import image_tiles, smooth_image
from safetensors.numpy import load_file, save_file

from combiner_cli.cli import main
from combiner_cli.codec import pipeline
from combiner_cli.errors import DamagedFileError, DatasetError, UsageError
from combiner_cli.families.linear import mixtures
from combiner_cli.families.siren import covariance_coding, gauss_newton, learn_covariance
from combiner_cli.families.siren import learning as learn
from combiner_cli.families.siren.covariances import CovariancePrior, whole_information
from combiner_cli.families.siren.network import Siren
from combiner_cli.families.siren.posterior import Descent
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.priors import library
from combiner_cli.rec import groups

NETWORK = Siren((8, 8), 3, 8, 4.0, 6, 1)
QUICK = Schedule(steps=60, rounds=4, steps_per_round=1, newton_steps=6)


def untrained(classes=1, directions=12, name="tiny", seed=5):
    """A prior over some random directions, the last of them pruned."""
    generator = np.random.default_rng(seed)
    bounds = NETWORK.initial_bounds()
    mean = generator.uniform(-bounds, bounds, (classes, NETWORK.latents)).astype(np.float32)
    basis = generator.standard_normal((classes, NETWORK.latents, directions)) * bounds[:, None] / 2
    information = np.full((classes, directions), 512, dtype=np.int32)
    information[:, -1] = 0
    return CovariancePrior(name, "image", NETWORK, 1e-4, mean, basis.astype(np.float16), information)


def plan(components=1, turns=6, rounds=8):
    return learn.Plan("t", "image", NETWORK, 1.5, 1e-3, rounds, 20, 8, 1, Descent(points=64), "full", components, turns)


@pytest.fixture(scope="module")
def learned():
    """A small prior of two classes."""
    return learn_covariance.learn_covariance(plan(2), tiles(10), image_tiles(4, 99), "cpu")


def tiles(signals):
    return np.concatenate([image_tiles(4, seed) for seed in range(signals)])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    library.save(untrained(2), path)
    return path


def test_update_against_a_case_solved_by_hand():
    """Means (1, 0) and (3, 2): mean (2, 1); each deviates by ±(1, 1); the average covariance comes on top."""
    means = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    mean, covariance = learn_covariance.update(means, torch.tensor([[0.5, 0.1], [0.1, 0.25]]))
    assert mean.tolist() == [2.0, 1.0]
    assert covariance.flatten().tolist() == pytest.approx([1.5, 1.1, 1.1, 1.25])


def test_update_minimises_the_average_kl():
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    roots = torch.randn(9, 3, 3, generator=generator, dtype=torch.float64)
    spreads = roots @ roots.mT + 0.1 * torch.eye(3)

    def average_kl(mean, covariance):
        inverse = torch.linalg.inv(covariance)
        deviation = means - mean
        outer = spreads + deviation[:, :, None] * deviation[:, None]
        trace = torch.einsum("ij,nji->n", inverse, outer)
        return float((0.5 * (trace + torch.logdet(covariance) - torch.logdet(spreads) - 3)).mean())

    mean, covariance = learn_covariance.update(means, spreads.mean(dim=0))
    lowest = average_kl(mean, covariance)
    other = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]])
    for sign in (-1, 1):
        assert average_kl(mean, covariance * (1 + sign * 0.03)) > lowest
        assert average_kl(mean, covariance + sign * other) > lowest
        assert average_kl(mean + sign * 0.1, covariance) > lowest


def test_a_saved_prior_comes_back(saved):
    prior, loaded = untrained(2), library.load(saved)
    assert isinstance(loaded, CovariancePrior)
    assert loaded.digest == prior.digest
    assert loaded.network == prior.network
    assert all(np.array_equal(loaded.tensors()[name], tensor) for name, tensor in prior.tensors().items())
    assert loaded.id != untrained(1).id
    assert untrained(name="a").id == untrained(name="b").id


def test_weights_are_mean_and_basis_of_the_class():
    prior = untrained(3)
    layout = prior.tiling((16, 16), 3)
    classes = np.array([2, 0, 1, 2])
    z = np.random.default_rng(1).standard_normal((4, prior.directions))
    weights = prior.network_weights([z.reshape(-1)], layout, classes)
    for tile, number in enumerate(classes):
        expected = prior.mean[number].astype(float) + prior.basis[number].astype(float) @ z[tile]
        assert weights[tile] == pytest.approx(expected, abs=1e-12)


def test_pruned_directions_cost_nothing():
    prior = untrained(2)
    layout = prior.tiling((8, 12), 3)
    (stage,) = prior.stages(layout, np.array([0, 1]))
    whole, half = stage.information.reshape(2, -1)
    assert whole.tolist() == [*[512] * 11, 0]
    assert half.tolist() == [*[256] * 11, 0]
    partition = groups.partition(stage.information, 5, prior.key)
    assert sorted(partition.order) == [n for n in range(24) if n not in (11, 23)]


def test_information_is_whole_and_small_amounts_are_pruned():
    assert whole_information(np.array([0.01, 0.02, 1.5, 99.0]), 0.02).tolist() == [0, 5, 384, 8 * 256]


@pytest.mark.parametrize("classes", [1, 3])
def test_what_is_encoded_is_what_is_decoded(classes, monkeypatch):
    prior = untrained(classes)
    monkeypatch.setattr(covariance_coding, "_STEPS", 5)
    signals = [smooth_image(9, 14, seed=seed) for seed in range(3)]
    size = 60
    coded = pipeline.encode_batch(signals, prior, pipeline.Settings(size=size, schedule=QUICK))
    for one in coded:
        assert len(one.data) == size
        decoded = pipeline.decode(one.data, lambda _: prior)
        assert np.array_equal(decoded.samples, one.decoded.samples)
        assert len(pipeline.read(one.data, prior).classes) == 4


def test_the_encoder_finds_the_class_that_a_signal_was_drawn_from():
    prior = untrained(3, directions=8)
    layout = prior.tiling((8, 8), 3)
    generator = np.random.default_rng(2)
    for number in range(3):
        weights = prior.network_weights([generator.standard_normal(8)], layout, np.array([number]))
        signal = pipeline.from_values(pipeline.join(prior.render(weights), layout, 1), "image", None, 8)
        fit = pipeline._objective([signal], layout, prior, "cpu")
        assert covariance_coding.choose(fit, prior, 0).tolist() == [number]


def test_groups_of_version_1_are_refused():
    with pytest.raises(UsageError, match="groups of 8 bits only"):
        pipeline.encode(smooth_image(8, 8), untrained(), pipeline.Settings(group_bits=16, schedule=QUICK))


def test_damaged_files_are_refused():
    prior = untrained(3)
    with pytest.raises(DamagedFileError, match="a class that its prior does not have"):
        mixtures.unpack_classes(b"\xff", 4, prior.classes)
    header = pipeline._header(smooth_image(512, 512), prior, 0, 8)
    with pytest.raises(DamagedFileError, match="cannot fill"):
        pipeline.read(pipeline.bitstream.pack(header, b"\0\0\0"), prior)


def test_learning_ends_near_the_rate_with_a_prior_that_codes(learned, tmp_path):
    prior = learned.prior
    assert [report.number for report in learned.reports] == list(range(1, 15))
    assert prior.classes == 2
    assert prior.directions < NETWORK.latents
    assert learned.reports[-1].bits_per_point == pytest.approx(1.5, rel=0.4)
    path = tmp_path / "t.safetensors"
    library.save(prior, path)
    loaded = library.load(path)
    assert loaded.digest == prior.digest
    image = smooth_image(32, 8, seed=3)
    coded = pipeline.encode(image, loaded, pipeline.Settings(schedule=QUICK))
    decoded = pipeline.decode(coded.data, lambda _: loaded)
    assert np.array_equal(decoded.samples, coded.decoded.samples)
    error = np.mean((decoded.samples.astype(float) - image.samples) ** 2)
    assert 10 * math.log10(255**2 / error) > 20


def test_a_stopped_run_resumes_to_the_same_prior(learned, tmp_path):
    checkpoint = tmp_path / "t.checkpoint"

    class StopError(Exception):
        pass

    for last in (3, 10, 13):

        def stop(report, last=last):
            if report.number == last:
                raise StopError

        with pytest.raises(StopError):
            learn_covariance.learn_covariance(plan(2), tiles(10), image_tiles(4, 99), "cpu", checkpoint, 0.0, stop)
    numbers = []
    resumed = learn_covariance.learn_covariance(
        plan(2), tiles(10), image_tiles(4, 99), "cpu", checkpoint, 0.0, lambda report: numbers.append(report.number)
    )
    assert numbers == [13, 14]
    assert resumed.prior.digest == learned.prior.digest
    assert resumed.reports == learned.reports
    with pytest.raises(DatasetError, match="other data or settings"):
        learn_covariance.learn_covariance(plan(2), tiles(9), image_tiles(4, 99), "cpu", checkpoint)


def test_too_few_tiles_for_the_classes_are_refused():
    with pytest.raises(DatasetError, match="too few for 4 classes"):
        learn_covariance.learn_covariance(plan(4), tiles(4), image_tiles(1), "cpu")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mean", lambda t: t[:, :-1].copy()),
        ("mean", lambda t: t[0].copy()),
        ("mean", lambda t: t.astype(np.float64)),
        ("mean", lambda t: np.full_like(t, np.nan)),
        ("basis", lambda t: t[:1].copy()),
        ("basis", lambda t: t[..., :-1].copy()),
        ("basis", lambda t: t.astype(np.float32)),
        ("basis", lambda t: np.full_like(t, np.inf)),
        ("basis", lambda t: t.reshape(-1)),
        ("information", lambda t: -t),
        ("information", lambda t: t * 0),
        ("information", lambda t: t * np.array([[1], [0]], dtype=np.int32)),
        ("information", lambda t: t + 2**20),
        ("information", lambda t: t[:, :0].copy()),
        ("information", lambda t: t.reshape(-1)),
    ],
)
def test_impossible_tensors_are_refused(saved, name, change):
    _rewrite(saved, tensors={name: change})
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        library.load(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "smell"),
        ("kind", "sound"),
        ("beta", 0),
        ("beta", "much"),
        ("surprise", 1),
        ("network", {"extent": [8]}),
    ],
)
def test_impossible_configurations_are_refused(saved, key, value):
    _rewrite(saved, configuration={key: value})
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        library.load(saved)


@pytest.mark.parametrize("names", [("basis",), ("mean", "information"), ("mean", "basis", "information")])
def test_missing_tensors_are_refused(saved, names):
    _rewrite(saved, without=names)
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        library.load(saved)


def test_a_file_of_the_other_format_is_refused(saved):
    _rewrite(saved, version=library.FORMATS[0])
    with pytest.raises(DamagedFileError, match="not a valid prior"):
        library.load(saved)


def _rewrite(path, tensors=None, configuration=None, without=(), version=library.FORMATS[1]):
    stored = load_file(path)
    stored |= {name: change(stored[name]) for name, change in (tensors or {}).items()}
    stored = {name: tensor for name, tensor in stored.items() if name not in without}
    text = json.dumps(untrained(2).configuration() | (configuration or {}))
    save_file(stored, path, {"format": version, "name": "tiny", "configuration": text})


def test_the_command_learns_a_mixture(tmp_path):
    images = np.stack([smooth_image(8, 8, seed=seed).samples for seed in range(60)])
    np.savez(tmp_path / "images.npz", train=images)
    target = tmp_path / "mine.safetensors"
    options = (
        "--layers 1 --covariance full --components 2 --tile 8 --features 8 --width 6 --rounds 4 --steps 10 --turns 4"
    )
    done = CliRunner().invoke(
        main.main, ["learn-prior", str(tmp_path / "images.npz"), "-o", str(target), "--device", "cpu", *options.split()]
    )
    assert done.exit_code == 0, done.output
    prior = library.load(target)
    assert isinstance(prior, CovariancePrior)
    assert prior.classes == 2
    card = target.with_suffix(".md").read_text()
    assert f"{prior.id:08x}" in card
    assert "Classes: 2, each with a full covariance" in card
    assert "4 turns with full covariances" in card


def test_tiles_keep_their_place_where_another_class_is_the_worse():
    """Two classes far apart: every tile stays in its own, with the latents and covariance that it had."""
    generator = torch.Generator().manual_seed(3)
    gram = torch.eye(3).repeat(4, 1, 1) * 8
    mean = torch.randn(4, 3, generator=generator)
    s2, row = torch.full((4,), 2.0), torch.arange(3)[None]
    course = gauss_newton.at_rest(mean.clone(), row.repeat(4, 1))
    factor = gauss_newton.cholesky(gram, s2, torch.ones(4, 3))
    posterior = gauss_newton.Gaussian(row, torch.ones(1, 3), course, gram, factor, s2, s2, 1, torch.zeros(4))
    factors = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    for number in (0, 1):
        means = torch.zeros(2, 3, dtype=torch.float64)
        means[1 - number] = 50.0
        moments = learn_covariance.Moments(means, factors, 0.2 * factors)
        best = learn_covariance._assigned(posterior, moments, number)
        assert best.labels.tolist() == [number] * 4
        assert torch.equal(best.z, mean)
        assert torch.equal(posterior.mean, mean)
        assert torch.allclose(best.covariance, torch.eye(3) / 5)
