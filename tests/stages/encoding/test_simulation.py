"""Simulated coding: exact posteriors, what they cost, wider deviations."""

import math

import numpy as np
import pytest

from combiner_cli.stages.encoding import simulation
from combiner_cli.stages.encoding.simulation import (
    CostEstimate,
    SimulatedCoder,
    posterior,
)
from combiner_cli.stages.moments import LOWEST, OCTAVE, Moments, StageId
from combiner_cli.stages.widening import NO_WIDENING

FINE, COARSE = StageId(0, 3), StageId(4, 0)


def moments_of(octaves, mean=None, last=True):
    numbers = [-1 if one is None else OCTAVE * one - LOWEST for one in octaves]
    means = np.zeros(len(octaves)) if mean is None else np.array(mean, dtype=float)
    return Moments(means, np.array(numbers, dtype=np.int16), last)


def test_the_posterior_by_hand():
    # prior deviations 1 and 2, noise 1: whole variances 2 and 5; residuals 3 - 1 = 2 and -4
    moments = moments_of([0, None, 1], mean=[64, 0, 0])
    mean, deviation = posterior(moments, np.array([3.0, 9.0, -4.0]), np.array([0, 2]))
    # whitened: residual · deviation / variance, and sqrt(noise / variance)
    assert mean == pytest.approx([2 * 1 / 2, -4 * 2 / 5])
    assert deviation == pytest.approx([math.sqrt(1 / 2), math.sqrt(1 / 5)])


def test_the_posterior_of_a_part_leaves_the_rest_to_later_parts():
    # 6 octaves: deviation 64; a sixteenth of it, 4, is left over, and the noise
    mean, deviation = posterior(moments_of([6], last=False), np.array([128.0]), np.array([0]))
    assert mean == pytest.approx([128 * 64 / (17 + 4096)])
    assert deviation == pytest.approx([math.sqrt(17 / (17 + 4096))])


def test_a_simulation_counts_what_the_posterior_is_worth():
    coder = SimulatedCoder()
    weights = coder.weights(FINE, moments_of([0, None]), np.array([1.0, 0.5]))
    # KL of N(1/2, 1/2) from N(0, 1) in nats: (1/2 + 1/4 - 1) / 2 + ln(2) / 2
    assert coder.bits == pytest.approx((-0.125 + 0.5 * math.log(2)) / math.log(2))
    assert coder.information.tolist() == [0, 0, 0, 0, 0, 128, 0, 0]  # density 2 + 3, half a bit
    assert weights[1] == 0 and weights[0] == math.floor(weights[0])
    coder.weights(COARSE, moments_of([1]), np.array([0.0]))
    assert coder.information.tolist() == [297, 0, 0, 0, 0, 128, 0, 0]
    cost = coder.cost(0.25)
    assert (cost.bits, cost.class_bits, cost.squared_error) == (coder.bits, coder.symbols.bits, 0.25)
    assert 0 < cost.class_bits < 0.1  # to say twice that nothing is wider


def test_samples_are_distributed_like_the_posterior():
    coder, count = SimulatedCoder(), 20_000
    weights = coder.weights(FINE, moments_of([1] * count), np.full(count, 2.0)) / 64
    # mean 2 · 4 / 5, variance 4 / 5
    assert weights.mean() == pytest.approx(1.6, abs=0.02)
    assert weights.var() == pytest.approx(0.8, abs=0.02)


def test_in_fine_levels_candidates_do_not_reach_everything(monkeypatch):
    monkeypatch.setattr(simulation, "widenings_of", lambda moments, bands, *_: [NO_WIDENING] * bands)
    weight = np.array([100.0])
    near, far = (SimulatedCoder().weights(stage, moments_of([0]), weight) for stage in (FINE, COARSE))
    assert near[0] / 64 < 3.2 + 4  # 3.0 + 0.3 · 0.5 deviations, and a sample around that
    assert far[0] / 64 > 45  # half of the way


def test_a_simulation_is_the_same_every_time():
    weights = [SimulatedCoder().weights(FINE, moments_of([2] * 9), np.arange(9.0)) for _ in range(2)]
    assert np.array_equal(*weights)


def test_outliers_are_widened_and_paid_for():
    quiet, loud = SimulatedCoder(), SimulatedCoder()
    quiet.weights(FINE, moments_of([0] * 5), np.zeros(5))
    weights = loud.weights(FINE, moments_of([0] * 5), np.array([0, 0, 60.0, 0, 0]))
    assert loud.symbols.bits > quiet.symbols.bits + 6
    assert weights[2] / 64 > 40  # prior deviation 16 now


def test_costs_are_added_up():
    parts = [CostEstimate(8.0, 1.0, np.full(8, 2.0), 0.5), CostEstimate(4.0, 3.0, np.arange(8.0), 0.25)]
    total = CostEstimate.total(parts, 2.0)
    assert (total.bits, total.class_bits, total.squared_error) == (24, 8, 1.5)
    assert total.information.tolist() == [4, 6, 8, 10, 12, 14, 16, 18]
    assert CostEstimate.total([]).information.tolist() == [0] * 8
