"""Learning in closed form: the update by hand, known mixtures recovered, and resumption to the same prior."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import mixture_data, mixture_plan, tiny_mixture

from combiner_cli.errors import DamagedFileError, DatasetError, OutputError, UsageError
from combiner_cli.families.linear import learning as learn_mixture
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.network import Linear
from combiner_cli.families.linear.prior import problem

HELD_OUT = [mixture_data("sound", 4, 77)]


def _learn(plan=None, training=None, **more):
    return learn_mixture.learn(plan or mixture_plan("sound"), training or [mixture_data("sound")], HELD_OUT, **more)


def test_the_update_of_a_case_solved_by_hand():
    """Means (0, 0) and (2, 4) with covariances I and 3 · I: mean (1, 2), 2 · I + [[1, 2], [2, 4]]."""
    means = np.array([[0.0, 0.0], [2.0, 4.0]])
    mean, covariance = learn_mixture.update(means, np.stack([np.eye(2), 3 * np.eye(2)]))
    assert mean.tolist() == [1, 2]
    assert covariance.tolist() == [[3, 2], [2, 6]]
    again, from_average = learn_mixture.update(means, 2 * np.eye(2))
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
    mean, covariance = learn_mixture.update(centre + centred @ gain.T, prior - gain @ prior)
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
        _, updated = learn_mixture.update((gain * data)[:, None], np.array([[variance - gain * variance]]))
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
    prior = learn_mixture.learn(plan, [values], [values[:4]]).prior
    for phase in prior.phases:
        totals = []
        for number in range(2):
            rows = slice(phase.first[number], phase.first[number + 1])
            found = (phase.projection @ mixtures.unit(phase.directions[rows]).T) ** 2 @ mixtures.variance_of(
                phase.levels[rows]
            )
            totals.append(found)
        quiet, loud = sorted(totals, key=np.sum)
        assert np.allclose(np.sqrt(loud), np.linspace(0.3, 0.1, 8), rtol=0.3)
        assert np.allclose(np.sqrt(quiet), np.linspace(0.04, 0.02, 8), rtol=0.5)
        assert np.abs(phase.mean).max() < 0.1


def test_the_diagonal_covariance_has_the_axes_as_directions():
    plan = mixture_plan("sound", covariance="diagonal")
    prior = _learn(plan).prior
    for phase in prior.phases:
        assert (np.count_nonzero(phase.directions, axis=1) == 1).all()
        assert (np.abs(mixtures.unit(phase.directions)).max(axis=1) == 1).all()
    assert problem(prior) is None


def test_learning_again_gives_the_same_prior_and_another_seed_another():
    assert _learn().prior.id == _learn().prior.id == tiny_mixture("sound").id
    assert _learn(mixture_plan("sound", seed=1)).prior.id != tiny_mixture("sound").id


def test_what_is_measured_grows_with_the_noise_code_and_spans_the_asked_rate():
    learned = _learn()
    codes, rates, psnrs = zip(*learned.curve, strict=True)
    assert (np.diff(codes) > 0).all()
    assert (np.diff(rates) > 0).all()
    assert (np.diff(psnrs) > 0).all()
    assert rates[0] < mixture_plan("sound").bits_per_point < rates[-1]
    prior = learned.prior
    assert prior.noise_codes == (codes[0], codes[-1])
    assert prior.rates == (rates[0], rates[-1])
    assert prior.errors == pytest.approx([4 * 10 ** (-psnrs[end] / 10) for end in (0, -1)])


def test_rounds_are_reported_phase_by_phase_and_do_not_raise_the_cost():
    seen = []
    learned = _learn(mixture_plan("sound", rounds=3), report=seen.append)
    assert [(r.phase, r.number) for r in seen] == [(phase, n) for phase in (1, 2) for n in (1, 2, 3)]
    assert learned.reports == tuple(seen)
    assert all(r.rounds == 3 and r.phases == 2 and math.isfinite(r.cost) for r in seen)
    for phase in (1, 2):
        costs = [r.cost for r in seen if r.phase == phase]
        assert costs[-1] <= costs[0] + 0.01


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_resumed_learning_gives_the_very_same_prior(tmp_path, after):
    checkpoint = tmp_path / "x.checkpoint"
    count = 0

    def stop(_):
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt

    plan = mixture_plan("sound", rounds=3)
    with pytest.raises(KeyboardInterrupt):
        _learn(plan, checkpoint=checkpoint, checkpoint_seconds=0, report=stop)
    resumed = []
    learned = _learn(plan, checkpoint=checkpoint, checkpoint_seconds=0, report=resumed.append)
    assert len(resumed) == 6 - after
    whole = _learn(plan)
    assert learned.prior.digest == whole.prior.digest
    assert learned.reports == whole.reports


def _interrupted(path, plan):
    def stop(result):
        if result.number > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _learn(plan, checkpoint=path, checkpoint_seconds=0, report=stop)


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path):
    path, plan = tmp_path / "x.checkpoint", mixture_plan("sound")
    _interrupted(path, plan)
    with pytest.raises(DatasetError, match="other data or settings"):
        _learn(plan, [mixture_data("sound", seed=3)], checkpoint=path)
    with pytest.raises(DatasetError, match="other data or settings"):
        _learn(replace(plan, rounds=9), checkpoint=path)
    assert path.exists()


def test_a_broken_checkpoint_is_damage(tmp_path):
    path, plan = tmp_path / "x.checkpoint", mixture_plan("sound")
    _interrupted(path, plan)
    good = path.read_bytes()
    for bad in (b"", b"nonsense", good[:-1], good[: len(good) // 2], good[8:]):
        path.write_bytes(bad)
        with pytest.raises(DamagedFileError, match="remove it to start anew"):
            _learn(plan, checkpoint=path)
        assert path.read_bytes() == bad


def test_a_checkpoint_that_cannot_be_written_is_found_out_before_any_work(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        _learn(checkpoint=tmp_path / "nowhere" / "x", report=lambda _: pytest.fail("it began"))


def test_too_few_tiles_are_refused():
    data = mixture_data("sound", 1)  # 16 tiles per phase
    with pytest.raises(DatasetError, match="16 tiles per phase, 3 components take at least 150"):
        _learn(training=[data])
    with pytest.raises(DatasetError, match="components take at least"):
        _learn(mixture_plan("sound", components=100))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="no covariance round; choose full or diagonal"):
        _learn(mixture_plan("sound", covariance="round"))
    with pytest.raises(UsageError, match="wider than a tile"):
        _learn(mixture_plan("sound", reach=33))


def test_signals_of_several_shapes_are_learned_from_together():
    long, short = mixture_data("sound", 20), mixture_data("sound", 40, 200)[:, :, :512]
    prior = _learn(training=[long, short]).prior
    assert problem(prior) is None
    assert prior.id != tiny_mixture("sound").id


def test_a_class_with_hardly_any_tiles_takes_half_of_the_largest():
    labels = np.array([0] * 200 + [1] * 60 + [2] * 3)
    sizes = np.bincount(labels)
    learn_mixture._refill(labels, sizes, np.random.default_rng(0))
    assert np.bincount(labels).tolist() == [100, 60, 103] == sizes.tolist()


def test_surroundings_lower_the_cost_of_the_phases_that_see_them(monkeypatch):
    """Tones go on from tile to tile: what is decoded around a tile foretells it."""
    monkeypatch.setattr(learn_mixture, "_pilot", lambda plan, training: 4)  # costs compare at one noise variance only
    without, with_context = (_learn(mixture_plan("sound", context=kept)).reports for kept in (0, 16))
    assert with_context[-1].cost < without[-1].cost - 0.03
    assert with_context[0].cost == pytest.approx(without[0].cost, rel=0.2)  # the first phase sees nothing
