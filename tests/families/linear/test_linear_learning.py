"""Learning in closed form: the update by hand, known mixtures recovered, and resumption to the same prior."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support.learned import mixture_data, mixture_plan, tiny_mixture
from support.training import Recorded, StoppedError

from combiner_cli.errors import DatasetError, UsageError
from combiner_cli.families.linear import mixtures, training
from combiner_cli.families.linear.fitting import classes
from combiner_cli.families.linear.learning import MixtureLearning
from combiner_cli.families.linear.network import Linear
from combiner_cli.families.linear.prior import problem
from combiner_cli.learning import job
from combiner_cli.learning.checkpoint import CheckpointFile

HELD_OUT = [mixture_data("sound", 4, 77)]


def learned(plan=None, data=None, held_out=None, listener=None, checkpoint=None):
    data = data or [mixture_data("sound")]
    learning = MixtureLearning(plan or mixture_plan("sound"), data, held_out or HELD_OUT)
    return job.run(learning, listener, checkpoint)


def test_the_update_of_a_case_solved_by_hand():
    """Means (0, 0) and (2, 4) with covariances I and 3 · I: mean (1, 2), 2 · I + [[1, 2], [2, 4]]."""
    means = np.array([[0.0, 0.0], [2.0, 4.0]])
    mean, covariance = classes.update(means, np.stack([np.eye(2), 3 * np.eye(2)]))
    assert mean.tolist() == [1, 2]
    assert covariance.tolist() == [[3, 2], [2, 6]]
    again, from_average = classes.update(means, 2 * np.eye(2))
    assert np.array_equal(again, mean)
    assert np.array_equal(from_average, covariance)


@pytest.mark.parametrize("noise_variance", [0.01, 0.3, 1.0])
def test_variance_less_noise_is_the_fixed_point_of_the_update(noise_variance):
    """Prior variances max(v - s2, 0), exact posteriors under noise s2, updated: the same prior comes out."""
    generator = np.random.default_rng(0)
    vectors = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    data = generator.normal(size=(500, 4)) * np.sqrt([4.0, 0.5, 0.2, 0.001]) @ vectors.T + generator.normal(size=4)
    centre = data.mean(axis=0)
    centred = data - centre
    variances, directions = np.linalg.eigh(centred.T @ centred / len(data))
    prior = (directions * np.maximum(variances - noise_variance, 0)) @ directions.T
    gain = prior @ np.linalg.inv(prior + noise_variance * np.eye(4))
    mean, covariance = classes.update(centre + centred @ gain.T, prior - gain @ prior)
    assert np.allclose(mean, centre)
    assert np.allclose(covariance, prior, atol=1e-12)
    assert (np.linalg.eigvalsh(prior) > 1e-9).sum() == (variances > noise_variance).sum()


def test_the_update_from_elsewhere_converges_to_the_fixed_point():
    generator = np.random.default_rng(1)
    data, noise = generator.normal(size=2000) * 0.7, 0.2
    data -= data.mean()
    variance = 3.0
    for _ in range(400):
        gain = variance / (variance + noise)
        _, updated = classes.update((gain * data)[:, None], np.array([[variance - gain * variance]]))
        variance = float(updated[0, 0])
    assert variance == pytest.approx(data.var() - noise, rel=1e-6)


def _two_gaussians(planes=40, seed=0):
    """Tiles of 8 samples: seven of ten are quiet, three loud; independent weights of known deviations."""
    generator = np.random.default_rng(seed)
    network = Linear((8,), 1)
    loud = generator.random((planes, 60)) < 0.3
    deviation = np.where(loud[..., None], np.linspace(0.3, 0.1, 8), np.linspace(0.04, 0.02, 8))
    weights = generator.normal(size=deviation.shape) * deviation
    values = network.forward(weights.reshape(-1, 8)).reshape(planes, 1, 480)
    return network, values.astype(np.float32)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_known_mixture_of_two_gaussians_is_recovered(covariance):
    network, values = _two_gaussians()
    plan = replace(mixture_plan("sound", components=2, covariance=covariance, reach=2, rounds=5), network=network)
    plan = replace(plan, dimensions=8, context=2, bits_per_point=2.0)
    prior = learned(plan, [values], [values[:4]]).prior
    for phase in prior.phases:
        totals = []
        for number in range(2):
            rows = slice(phase.first[number], phase.first[number + 1])
            axes = (phase.projection @ mixtures.unit(phase.directions[rows]).T) ** 2
            totals.append(axes @ mixtures.variance_of(phase.levels[rows]))
        quiet, loud = sorted(totals, key=np.sum)
        assert np.allclose(np.sqrt(loud), np.linspace(0.3, 0.1, 8), rtol=0.3)
        assert np.allclose(np.sqrt(quiet), np.linspace(0.04, 0.02, 8), rtol=0.5)
        assert np.abs(phase.mean).max() < 0.1


def test_the_diagonal_covariance_has_the_axes_as_directions():
    plan = mixture_plan("sound", covariance="diagonal")
    prior = learned(plan).prior
    for phase in prior.phases:
        assert (np.count_nonzero(phase.directions, axis=1) == 1).all()
        assert (np.abs(mixtures.unit(phase.directions)).max(axis=1) == 1).all()
    assert problem(prior) is None


def test_learning_again_gives_the_same_prior_and_another_seed_another():
    assert learned().prior.id == learned().prior.id == tiny_mixture("sound").id
    assert learned(mixture_plan("sound", seed=1)).prior.id != tiny_mixture("sound").id


def test_what_is_measured_grows_with_the_noise_level_and_spans_the_asked_rate():
    result = learned()
    levels, rates, psnrs = zip(*((point.noise_level, point.rate, point.psnr) for point in result.points), strict=True)
    assert (np.diff(levels) > 0).all()
    assert (np.diff(rates) > 0).all()
    assert (np.diff(psnrs) > 0).all()
    assert rates[0] < mixture_plan("sound").bits_per_point < rates[-1]
    prior = result.prior
    assert prior.noise_codes == (levels[0], levels[-1])
    assert prior.rates == (rates[0], rates[-1])
    assert prior.errors == pytest.approx([4 * 10 ** (-psnrs[end] / 10) for end in (0, -1)])


def test_rounds_are_measured_and_do_not_raise_the_cost():
    seen = Recorded()
    result = learned(mixture_plan("sound", rounds=3), listener=seen)
    assert seen.steps == [measurement.number for measurement in seen.measurements] == [1, 2, 3, 4, 5, 6]
    assert result.measurements == tuple(seen.measurements)
    costs = [measurement.training for measurement in seen.measurements]
    assert all(map(math.isfinite, costs))
    for first in (0, 3):  # rounds of the two phases
        assert costs[first + 2] <= costs[first] + 0.01
    assert all(0 <= measurement.details["changed"] <= 1 for measurement in seen.measurements)
    assert seen.shares[0] == 0
    assert seen.shares[-1] == 1


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5])
def test_a_resumed_learning_gives_the_very_same_prior(tmp_path, stop_at):
    plan, checkpoint, seen = mixture_plan("sound", rounds=3), CheckpointFile(tmp_path / "x", 0.0), Recorded()
    with pytest.raises(StoppedError):
        learned(plan, listener=Recorded(stop_at), checkpoint=checkpoint)
    resumed, whole = learned(plan, listener=seen, checkpoint=checkpoint), learned(plan)
    assert seen.steps == list(range(stop_at, 7))
    assert resumed.prior.digest == whole.prior.digest
    assert resumed.measurements == whole.measurements


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path):
    plan, checkpoint = mixture_plan("sound"), CheckpointFile(tmp_path / "x")
    learned(plan, checkpoint=checkpoint)
    with pytest.raises(DatasetError, match="other data or settings"):
        learned(plan, [mixture_data("sound", seed=3)], checkpoint=checkpoint)
    with pytest.raises(DatasetError, match="other data or settings"):
        learned(replace(plan, rounds=9), checkpoint=checkpoint)


def test_too_few_tiles_are_refused():
    data = mixture_data("sound", 1)  # 16 tiles per phase
    with pytest.raises(DatasetError, match="16 tiles per phase, 3 components take at least 150"):
        learned(data=[data])
    with pytest.raises(DatasetError, match="components take at least"):
        learned(mixture_plan("sound", components=100))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="no covariance round; choose full or diagonal"):
        learned(mixture_plan("sound", covariance="round"))
    with pytest.raises(UsageError, match="wider than a tile"):
        learned(mixture_plan("sound", reach=33))


def test_signals_of_several_shapes_are_learned_from_together():
    long, short = mixture_data("sound", 20), mixture_data("sound", 40, 200)[:, :, :512]
    prior = learned(data=[long, short]).prior
    assert problem(prior) is None
    assert prior.id != tiny_mixture("sound").id


def test_a_class_with_hardly_any_tiles_takes_half_of_the_largest():
    labels = np.array([0] * 200 + [1] * 60 + [2] * 3)
    sizes = np.bincount(labels)
    classes.refill(labels, sizes, np.random.default_rng(0))
    assert np.bincount(labels).tolist() == [100, 60, 103] == sizes.tolist()


def test_surroundings_lower_the_cost_of_the_phases_that_see_them(monkeypatch):
    """Tones go on from tile to tile: what is decoded around a tile foretells it."""
    monkeypatch.setattr(training, "_pilot", lambda *_: 4)  # costs compare at one noise variance only
    without, with_context = (
        [measurement.training for measurement in learned(mixture_plan("sound", context=kept)).measurements]
        for kept in (0, 16)
    )
    assert with_context[-1] < without[-1] - 0.03
    assert with_context[0] == pytest.approx(without[0], rel=0.2)  # the first phase sees nothing


def test_sizes_and_work_are_estimated():
    def made(**changed):
        return MixtureLearning(mixture_plan(**changed), [mixture_data()], [mixture_data(signals=4)]).estimate()

    estimate, size = made(), sum(tensor.nbytes for tensor in tiny_mixture().tensors().values())
    assert estimate.at_most
    assert size <= estimate.prior_bytes < 2 * size
    assert made(rounds=4).seconds() > estimate.seconds()
    assert made(rounds=4).steps == 4 * 4


def test_a_card_says_what_was_learned():
    plan = mixture_plan(components=2, covariance="diagonal")
    learning = MixtureLearning(plan, [mixture_data()], [mixture_data(signals=4)], "pictures, 36 images")
    card = " ".join(job.run(learning).card("combiner x", "5 s").split())
    assert "2 classes for each of 4 phases, diagonal covariances" in card
    assert "Learned with 2 rounds in each of 4 phases, 2 classes; 5 s." in card
    assert "- Data: pictures, 36 images." in card
