"""Coding as published: penalties bring every group to its budget, and gradient steps make up for what was coded."""

import math

import numpy as np
import pytest
from support.priors import tiny_siren
from support.signals import smooth_image

from combiner_cli.errors import UsageError
from combiner_cli.families.siren import encoder
from combiner_cli.families.siren.fitting import refinement
from combiner_cli.families.siren.fitting.coding import Schedule
from combiner_cli.family import EncodingOptions, Target

PUBLISHED = EncodingOptions(refinement="gradient", search="astar")


def _encoded(image, prior, schedule, options=PUBLISHED):
    target = Target("rate", prior.bits_per_point)
    (encoded,) = encoder.encode(prior, [image], target, options, lambda _: None, schedule)
    return encoded


def _squared_error(image, prior, encoded):
    layout = prior.tiling(image.shape, image.channels)
    values = prior.network.render(prior.network_weights(encoded.latents, layout))
    return float(((values - encoder.split(encoder.to_values(image), layout)) ** 2).sum())


def test_refinement_lowers_the_error_of_what_is_decoded(learned_prior):
    options = EncodingOptions(refinement="gradient", search="best")  # without chance
    errors = {}
    for steps in (0, 30):
        images = [smooth_image(16, 16, seed=seed) for seed in (33, 35, 36)]
        coded = [_encoded(image, learned_prior, Schedule(400, 24, steps), options) for image in images]
        errors[steps] = sum(
            _squared_error(image, learned_prior, each) for image, each in zip(images, coded, strict=True)
        )
    assert errors[30] < 0.9 * errors[0]


def test_the_penalties_bring_every_group_near_its_budget(learned_prior, monkeypatch):
    seen = []

    class Spy(refinement._Budget):
        def adapt(self, posterior):
            super().adapt(posterior)
            seen.append((self.group_kl(posterior) / math.log(2)).cpu().numpy())

    monkeypatch.setattr(refinement, "_Budget", Spy)
    _encoded(smooth_image(16, 16, seed=33), learned_prior, Schedule(1500, 1, 0))
    first, last = (np.abs(divergence - 16) for divergence in (seen[0], seen[-1]))
    assert last.max() < 4
    assert last.mean() < 1 < first.mean()


def test_progress_goes_from_fit_to_refinement():
    reports = []
    prior, schedule = tiny_siren(), Schedule(200, 20, 2)
    image, target = smooth_image(16, 16), Target("rate", tiny_siren().bits_per_point)
    encoder.encode(prior, [image], target, PUBLISHED, reports.append, schedule)
    phases = [report.phase for report in reports]
    assert phases == sorted(phases) and set(phases) == {"fit", "refine"}
    assert all(0 < report.done <= 1 and report.squared_error > 0 for report in reports)


def test_an_unknown_search_is_refused():
    with pytest.raises(UsageError, match="no search"):
        options = EncodingOptions(refinement="gradient", search="luck")
        _encoded(smooth_image(8, 8), tiny_siren(), Schedule(4, 2, 1), options)


def test_large_signals_get_fewer_steps_and_turns():
    small, large = (refinement.default_schedule(points) for points in (2**14, 2**14 + 1))
    assert (small.steps, small.rounds) > (large.steps, large.rounds)
    assert small.scaled(0.5).steps == small.steps // 2
    assert Schedule(1, 1, 0).scaled(0.1).steps_per_round == 0
