"""Learning siren priors: the closed-form update against cases solved by hand, resumption, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from support.learned import image_tiles
from support.signals import smooth_image, tone
from support.training import Recorded, StoppedError

from combiner_cli.errors import DamagedFileError, DatasetError, UsageError
from combiner_cli.families.siren import learning, training
from combiner_cli.families.siren.learning import SirenLearning, SirenPlan
from combiner_cli.families.siren.network import Siren
from combiner_cli.learning import datasets, job
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.job import LearningRequest
from combiner_cli.media import files as media

PLAN = SirenPlan("tiny", "image", Siren((8, 8), 3, 8, 4.0, 6, 1), 3.0, 1e-4, 6, 5, 16, 1, 32)


def learned(plan=PLAN, tiles=6, listener=None, checkpoint=None):
    return job.run(SirenLearning(plan, image_tiles(tiles), image_tiles(1, seed=9)), listener, checkpoint)


def test_update_against_a_case_solved_by_hand():
    """Means 1, 3 and variances 0.5, 1.5: mean 2; variance 1 (average) + 1 (squared deviations) = 2."""
    means = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    variances = torch.tensor([[0.5, 4.0], [1.5, 4.0]])
    moments = training.update(means, variances)
    assert moments.mean.tolist() == [2.0, 0.0]
    assert moments.deviation.tolist() == pytest.approx([math.sqrt(2), 2.0])


def test_update_minimises_the_average_kl():
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(7, 3, generator=generator)
    variances = torch.rand(7, 3, generator=generator) + 0.1
    best = training.update(means, variances)

    def average_kl(mean, deviation):
        terms = torch.log(deviation) - variances.log() / 2 + (variances + (means - mean) ** 2) / (2 * deviation**2)
        return float(terms.sum(1).mean())

    lowest = average_kl(best.mean, best.deviation)
    for factor in (0.97, 1.03):
        assert average_kl(best.mean, best.deviation * factor) > lowest
        assert average_kl(best.mean + (factor - 1), best.deviation) > lowest


def test_re_expressing_posteriors_in_the_new_prior_leaves_them_as_they_were():
    made = SirenLearning(PLAN, image_tiles(4), image_tiles(1, seed=9)).training()
    posterior, generator = made.posterior, torch.Generator().manual_seed(2)
    posterior.mean.copy_(torch.randn(posterior.mean.shape, generator=generator))
    before = made.moments.mean + made.moments.deviation * posterior.mean
    spread = made.moments.deviation * torch.exp(posterior.log_deviation)
    moments = made._update_in_place()
    assert torch.allclose(moments.mean + moments.deviation * posterior.mean, before, atol=1e-6)
    assert torch.allclose(moments.deviation * torch.exp(posterior.log_deviation), spread, rtol=1e-4)
    assert torch.allclose(posterior.mean[:4].mean(0), torch.zeros(PLAN.network.latents), atol=1e-5)


def test_the_first_round_is_three_times_as_long():
    assert PLAN.all_steps == (6 + 2) * 5
    rounds = [PLAN.round_of(number) for number in range(PLAN.all_steps)]
    assert [rounds.count(number) for number in range(6)] == [15, 5, 5, 5, 5, 5]
    assert [done for done in range(PLAN.all_steps + 1) if PLAN.ends_round(done)] == [15, 20, 25, 30, 35, 40]


def test_learning_approaches_the_rate_and_improves_the_quality():
    plan = SirenPlan("t", "image", PLAN.network, 1.5, 1e-3, 40, 20, 16, 1, 64)
    result = learned(plan, 12)
    first, last = result.measurements[0], result.measurements[-1]
    assert len(result.measurements) == 40
    assert last.number == plan.all_steps
    assert last.details["rate"] == pytest.approx(1.5, rel=0.15)
    assert last.training > first.training + 1
    assert result.prior.bits_per_point == pytest.approx(last.details["rate"], rel=0.2)
    assert result.curves.best()[1] == max(measurement.held_out for measurement in result.measurements)


@pytest.mark.parametrize("stop_at", [7, 16, 21, 40])
def test_a_stopped_run_resumes_to_the_same_prior(tmp_path, stop_at):
    checkpoint, seen, whole = CheckpointFile(tmp_path / "x", 0.0), Recorded(), learned()
    with pytest.raises(StoppedError):
        learned(listener=Recorded(stop_at), checkpoint=checkpoint)
    resumed = learned(listener=seen, checkpoint=checkpoint)
    assert seen.steps == list(range(stop_at, 41))
    assert resumed.prior.digest == whole.prior.digest
    assert resumed.measurements == whole.measurements
    assert learned(checkpoint=checkpoint).prior.digest == whole.prior.digest  # stopped after its last round


def test_checkpoints_of_other_data_or_nonsense_are_refused(tmp_path):
    checkpoint = CheckpointFile(tmp_path / "x")
    learned(checkpoint=checkpoint)
    with pytest.raises(DatasetError, match="other data or settings"):
        learned(tiles=7, checkpoint=checkpoint)
    checkpoint.path.write_bytes(b"nonsense")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        learned(checkpoint=checkpoint)


def test_no_tiles_and_no_good_settings_are_refused():
    with pytest.raises(DatasetError, match="too small"):
        SirenLearning(PLAN, image_tiles(3), image_tiles(1)[:0])
    wide = replace(PLAN, network=Siren((8, 8), 3, 8, 4.0, 1200, 2))
    with pytest.raises(UsageError, match="cannot have these settings"):
        SirenLearning(wide, image_tiles(3), image_tiles(1))
    with pytest.raises(DatasetError, match="the prior came out unusable"):
        learned(replace(PLAN, bits_per_point=None, beta=1e5))


def test_sizes_are_estimated():
    estimate = SirenLearning(PLAN, image_tiles(6), image_tiles(1)).estimate()
    assert estimate.prior_bytes == sum(tensor.nbytes for tensor in learned().prior.tensors().values())
    assert estimate.steps == PLAN.all_steps


@pytest.fixture
def request_of(tmp_path):
    def made(sounds=False, **options):
        for number in range(3):
            signal = tone(1100, seed=number) if sounds else smooth_image(64, 40, seed=number)
            media.write_signal(signal, tmp_path / f"{number}.{'wav' if sounds else 'png'}")
        values = job.completed(learning.OPTIONS, options, "siren")
        return LearningRequest("p", datasets.open_dataset(tmp_path), 30, options=values)

    return made


def test_a_request_without_options_has_the_published_form(request_of):
    plan = learning.begin(request_of()).settings
    assert plan.network == Siren((32, 32), 3, 64, 16.0, 16, 2)
    assert (plan.bits_per_point, plan.rounds, plan.steps, plan.group_bits, plan.points) == (1.0, 96, 40, 16, 256)


def test_a_request_for_sounds_has_tiles_of_one_axis(request_of):
    plan = learning.begin(request_of(True, beta=1e-4, layers=3, group_bits="8")).settings
    assert plan.network == Siren((512,), 1, 64, 256.0, 16, 3)
    assert (plan.bits_per_point, plan.beta, plan.group_bits) == (None, 1e-4, 8)


def test_options_that_do_not_go_together_are_refused(request_of):
    with pytest.raises(UsageError, match="--rate and --beta exclude each other"):
        learning.begin(request_of(rate=1.0, beta=1.0))
    with pytest.raises(UsageError, match="--features must be a multiple of 4 for images"):
        learning.begin(request_of(features=6))


def test_a_card_says_what_was_learned():
    card = " ".join(learned().card("combiner x", "5 s").split())
    assert "8 Fourier features up to frequency 4, 1 hidden layers of width 6, 3 outputs: 75 weights" in card
    assert "6 training tiles of 8x8 and 1 held out" in card
    assert "| step | training PSNR | held-out PSNR | rate | held-out rate | beta |" in card
