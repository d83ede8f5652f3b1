"""Learning: the closed-form update against cases solved by hand, resumption, and what is refused."""

import math

import pytest
import torch
from conftest import image_tiles as tiles

from combiner_cli.errors import DamagedFileError, DatasetError
from combiner_cli.families.siren import learning as learn
from combiner_cli.families.siren.fitting.posterior import Descent
from combiner_cli.families.siren.network import Siren

PLAN = learn.Plan("tiny", "image", Siren((8, 8), 3, 8, 4.0, 6, 1), 3.0, 1e-4, 6, 5, 16, 1, Descent(points=32))


def test_update_against_a_case_solved_by_hand():
    """Means 1, 3 and variances 0.5, 1.5: mean 2; variance 1 (average) + 1 (squared deviations) = 2."""
    means = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    variances = torch.tensor([[0.5, 4.0], [1.5, 4.0]])
    moments = learn.update(means, variances)
    assert moments.mean.tolist() == [2.0, 0.0]
    assert moments.deviation.tolist() == pytest.approx([math.sqrt(2), 2.0])


def test_update_minimises_the_average_kl():
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(7, 3, generator=generator)
    variances = torch.rand(7, 3, generator=generator) + 0.1
    best = learn.update(means, variances)

    def average_kl(mean, deviation):
        terms = torch.log(deviation) - variances.log() / 2 + (variances + (means - mean) ** 2) / (2 * deviation**2)
        return float(terms.sum(1).mean())

    lowest = average_kl(best.mean, best.deviation)
    for factor in (0.97, 1.03):
        assert average_kl(best.mean, best.deviation * factor) > lowest
        assert average_kl(best.mean + (factor - 1), best.deviation) > lowest


def test_re_expressing_posteriors_in_the_new_prior_leaves_them_as_they_were():
    state = learn._initial(PLAN, 5, "cpu")
    generator = torch.Generator().manual_seed(2)
    state.posterior.mean.copy_(torch.randn(state.posterior.mean.shape, generator=generator))
    before = state.moments.mean + state.moments.deviation * state.posterior.mean
    spread = state.moments.deviation * torch.exp(state.posterior.log_deviation)
    moments = learn._update_in_place(state, 4)
    assert torch.allclose(moments.mean + moments.deviation * state.posterior.mean, before, atol=1e-6)
    assert torch.allclose(moments.deviation * torch.exp(state.posterior.log_deviation), spread, rtol=1e-4)
    assert torch.allclose(state.posterior.mean[:4].mean(0), torch.zeros(PLAN.network.latents), atol=1e-5)


def test_learning_approaches_the_rate_and_improves_the_quality():
    reports = []
    plan = learn.Plan("t", "image", PLAN.network, 1.5, 1e-3, 40, 20, 16, 1, Descent(points=64))
    learned = learn.learn(plan, tiles(12), tiles(2, seed=9), "cpu", report=reports.append)
    assert learned.reports == tuple(reports)
    prior = learned.prior
    assert reports[-1].number == 40
    assert reports[-1].bits_per_point == pytest.approx(1.5, rel=0.15)
    assert reports[-1].psnr > reports[0].psnr + 1
    assert prior.bits_per_point == pytest.approx(reports[-1].bits_per_point, rel=0.2)


def test_a_stopped_run_resumes_to_the_same_prior(tmp_path):
    checkpoint = tmp_path / "tiny.checkpoint"
    whole = learn.learn(PLAN, tiles(6), tiles(1, seed=9), "cpu")

    class StopError(Exception):
        pass

    def stop_after_three(report):
        if report.number == 3:
            raise StopError

    with pytest.raises(StopError):
        learn.learn(PLAN, tiles(6), tiles(1, seed=9), "cpu", checkpoint, 0.0, stop_after_three)
    resumed_from = []
    resumed = learn.learn(
        PLAN, tiles(6), tiles(1, seed=9), "cpu", checkpoint, 0.0, lambda r: resumed_from.append(r.number)
    )
    assert resumed_from[0] == 3  # the checkpoint after round 2 was the last before the stop
    assert resumed.prior.digest == whole.prior.digest
    assert resumed.reports == whole.reports
    again = learn.learn(PLAN, tiles(6), tiles(1, seed=9), "cpu", checkpoint)  # stopped after its last round
    assert again.prior.digest == whole.prior.digest
    assert len(again.reports) == PLAN.rounds


def test_checkpoints_of_other_data_or_nonsense_are_refused(tmp_path):
    checkpoint = tmp_path / "tiny.checkpoint"
    learn.learn(PLAN, tiles(6), tiles(1), "cpu", checkpoint)
    with pytest.raises(DatasetError, match="other data or settings"):
        learn.learn(PLAN, tiles(7), tiles(1), "cpu", checkpoint)
    checkpoint.write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        learn.learn(PLAN, tiles(6), tiles(1), "cpu", checkpoint)


def test_no_tiles_are_refused():
    with pytest.raises(DatasetError, match="too small"):
        learn.learn(PLAN, tiles(3), tiles(1)[:0], "cpu")
