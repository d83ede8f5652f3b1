"""Deviations that are wider than predicted: what is said is what is read, and it pays."""

import numpy as np
import pytest

from combiner_cli.stages import widening as widening_module
from combiner_cli.stages.class_stream import SymbolCost, SymbolReader, SymbolWriter
from combiner_cli.stages.encoding.simulation import REACH
from combiner_cli.stages.moments import HIGHEST, LOWEST, OCTAVE, Moments
from combiner_cli.stages.widening import NO_WIDENING, Widening, exchange_widening, widenings_of

LATENTS = 3000


def moments_of(deviation):
    """Moments with means of 0 and some deviations, in units of the noise's; 0 is pruned."""
    numbers = np.rint(np.log2(np.where(deviation > 0, deviation, 1)) * OCTAVE) - LOWEST
    return Moments(np.zeros(len(deviation)), np.where(deviation > 0, numbers, -1).astype(np.int16))


def normal(seed, count=LATENTS):
    return np.random.default_rng(seed).standard_normal(count)


def test_weights_as_predicted_are_left_alone_for_less_than_a_tenth_of_a_bit():
    deviation = np.full(LATENTS, 2.0)
    moments = moments_of(deviation)
    (widening,) = widenings_of(moments, 1, np.sqrt(1 + deviation**2) * normal(0), REACH)
    assert (widening.octaves, widening.rarity) == (0, 0)
    before, cost = moments.deviation.copy(), SymbolCost()
    exchange_widening(cost, moments.deviation, widening)
    assert np.array_equal(moments.deviation, before)
    assert cost.bits < 0.1


@pytest.mark.parametrize("count", [1, 5, 300, 3000])
def test_each_band_is_widened_as_if_it_were_alone(count):
    scale = np.repeat([0.5, 1.0, 3.0, 40.0, 1.0, 900.0], count)
    moments = moments_of(np.where(np.arange(6 * count) % 4, 2.0, 0.0))
    weights = scale * np.random.default_rng(count).standard_t(3, 6 * count)
    together = widenings_of(moments, 6, weights, REACH)
    assert count < 300 or (together[0].octaves, together[-1].octaves) == (0, 10)
    for number, widening in enumerate(together):
        band = slice(number * count, (number + 1) * count)
        (alone,) = widenings_of(Moments(moments.mean[band], moments.deviation[band]), 1, weights[band], REACH)
        assert (alone.octaves, alone.rarity) == (widening.octaves, widening.rarity)
        assert np.array_equal(alone.outliers, widening.outliers)


@pytest.mark.parametrize("octaves", [1, 3, 7])
def test_a_band_of_wider_weights_is_widened_by_as_many_octaves(octaves):
    weights = 4 * 2.0**octaves * normal(octaves)
    (widening,) = widenings_of(moments_of(np.full(LATENTS, 4.0)), 1, weights, REACH)
    assert widening.octaves == octaves


def test_bands_are_widened_apart():
    weights = np.concatenate([normal(1), 60 * normal(2), normal(3)])
    widenings = widenings_of(moments_of(np.ones(3 * LATENTS)), 3, weights, REACH)
    assert [widening.octaves > 0 for widening in widenings] == [False, True, False]


def test_pruned_weights_that_are_not_small_become_coded():
    moments = moments_of(np.zeros(LATENTS))
    weights = 50 * normal(4)
    exchange_widening(SymbolCost(), moments.deviation, widenings_of(moments, 1, weights, REACH)[0])
    assert (moments.deviation >= 0).all()
    assert np.abs(weights).max() < 4.5 * np.sqrt(1 + moments.deviations(np.arange(LATENTS)) ** 2).min()


@pytest.mark.parametrize("pruned", [False, True])
def test_a_few_weights_far_away_are_named(pruned):
    deviation = np.where(np.arange(LATENTS) % 2, 0.0 if pruned else 1.0, 1.0)
    places = [7, 500, 1801]
    weights = np.sqrt(1 + deviation**2) * np.clip(normal(5), -3, 3)
    weights[places] = [40, -300, 5000]
    moments = moments_of(deviation)
    (widening,) = widenings_of(moments, 1, weights, REACH)
    assert widening.octaves == 0
    assert np.flatnonzero(widening.outliers).tolist() == places
    before, cost = moments.deviation.copy(), SymbolCost()
    exchange_widening(cost, moments.deviation, widening)
    assert np.flatnonzero(moments.deviation != before).tolist() == places
    assert (np.abs(weights[places]) < 4 * moments.deviations(np.array(places))).all()
    assert cost.bits < 3 * 22 + 15


def test_what_does_not_pay_is_not_named():
    weights = np.zeros(LATENTS)
    weights[3] = 4.5  # an error of 20 noise variances is worth 14 bits
    (widening,) = widenings_of(moments_of(np.zeros(LATENTS)), 1, weights, REACH)
    assert (widening.octaves, widening.rarity) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_put_is_what_is_read(seed):
    dice = np.random.default_rng(seed)
    latents = int(dice.integers(1, 400))
    written, bands = SymbolWriter(), []
    for _ in range(5):
        rarity = int(dice.integers(0, 15))
        outliers = dice.integers(1, 16, latents) * (dice.random(latents) < 0.3)
        widening = Widening(int(dice.integers(0, 16)), rarity, outliers if rarity else NO_WIDENING.outliers)
        deviation = dice.integers(-1, HIGHEST - LOWEST + 1, latents).astype(np.int16)
        bands.append((deviation.copy(), deviation))
        exchange_widening(written, deviation, widening)
    reader = SymbolReader(written.stream())
    for before, after in bands:
        exchange_widening(reader, before)
        assert np.array_equal(before, after)
        assert before.max() <= HIGHEST - LOWEST


def test_what_cannot_be_read_of_a_damaged_file_widens_nothing_beyond_the_widest():
    reader = SymbolReader(bytes(range(255, 0, -1)) * 8, damaged=True)
    for _ in range(40):
        deviation = np.full(300, 200, dtype=np.int16)
        exchange_widening(reader, deviation)
        assert deviation.min() >= 200
        assert deviation.max() <= HIGHEST - LOWEST


def test_the_less_reach_is_relied_on_and_the_more_errors_weigh_the_more_is_widened():
    weights, moments = np.zeros(LATENTS), moments_of(np.full(LATENTS, 20.0))
    weights[9] = 3 * 20.0
    (usual,) = widenings_of(moments, 1, weights, REACH)
    assert (usual.octaves, usual.rarity) == (0, 0)
    for (widening,) in (widenings_of(moments, 1, weights, 2), widenings_of(moments, 1, weights, REACH, emphasis=4.0)):
        assert np.flatnonzero(widening.outliers).tolist() == [9]


@pytest.mark.parametrize("most", [100, 999, 3000])
def test_a_large_band_is_widened_as_in_one_piece(most, monkeypatch):
    scale = np.repeat([1.0, 3.0, 900.0], LATENTS)
    moments = moments_of(np.where(np.arange(3 * LATENTS) % 4, 2.0, 0.0))
    weights = scale * np.random.default_rng(most).standard_t(3, 3 * LATENTS)
    as_usual = widenings_of(moments, 3, weights, REACH)
    monkeypatch.setattr(widening_module, "_MOST_OF_BAND", most)
    for usual, in_pieces in zip(as_usual, widenings_of(moments, 3, weights, REACH), strict=True):
        assert (usual.octaves, usual.rarity) == (in_pieces.octaves, in_pieces.rarity)
        assert np.array_equal(usual.outliers, in_pieces.outliers)
    assert any(widening.outliers.any() for widening in as_usual)
