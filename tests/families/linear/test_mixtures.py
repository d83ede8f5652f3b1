"""Mixtures: exact evidences and posteriors, and class numbers in files."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.learned import tiny_mixture

from combiner_cli.errors import DamagedFileError
from combiner_cli.families.linear import mixtures
from combiner_cli.families.linear.mixtures import (
    OCTAVE,
    Latents,
    PhaseMixture,
    class_costs,
    variance_level,
    variance_of,
)

NOISE = -1000
LATENTS, DIMENSIONS, CONTEXT, CLASSES = 12, 7, 5, 4


def _orthonormal(rows, columns, generator):
    return np.linalg.qr(generator.normal(size=(rows, columns)))[0]


def _phase(seed=0):
    """A mixture of four classes of which the second has no direction at all."""
    generator = np.random.default_rng(seed)
    counts = np.array([7, 0, 3, 5])
    directions = [_orthonormal(DIMENSIONS, DIMENSIONS, generator).T[:count] for count in counts]
    levels = [np.sort(generator.integers(-1600, 200, count))[::-1] for count in counts]
    return PhaseMixture(
        _orthonormal(LATENTS, DIMENSIONS, generator),
        generator.normal(size=(CONTEXT, DIMENSIONS)),
        generator.normal(size=(CLASSES, DIMENSIONS)),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate(directions),
        np.concatenate(levels).astype(np.int64),
    )


def _prior_covariance(phase, number, s2):
    """Of the network weights, dense: sum of max(v - s2, 0) · direction · direction' in the learned matrix."""
    rows = slice(phase.first[number], phase.first[number + 1])
    excess = np.maximum(2.0 ** (phase.levels[rows] / OCTAVE) - s2, 0)
    directions = phase.directions[rows] @ phase.projection.T
    return (directions.T * excess) @ directions


def _signals(tiles, seed=1):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(tiles, LATENTS)), generator.normal(size=(tiles, CONTEXT))


def _prior_means(phase, context, classes):
    return (context @ phase.gain + phase.mean[classes]) @ phase.projection.T


@pytest.mark.parametrize("noise", [-2000, NOISE, -256, 0, 300])
def test_class_costs_are_exact_negative_log_evidences_up_to_one_constant(noise, monkeypatch):
    """-log N(x; mean, prior covariance + s2 · I), less what every class has in common: half of log(2 pi s2) each."""
    monkeypatch.setattr(mixtures, "REACH", 1e6)
    phase, s2 = _phase(), 2.0 ** (noise / OCTAVE)
    weights, context = _signals(6)
    projected = weights @ phase.projection
    outside = (weights**2).sum(axis=1) - (projected**2).sum(axis=1)
    costs = class_costs(projected - context @ phase.gain, outside, phase, noise)
    for number in range(CLASSES):
        covariance = _prior_covariance(phase, number, s2) + s2 * np.eye(LATENTS)
        deviation = weights - _prior_means(phase, context, np.full(len(weights), number))
        distance = np.einsum("ti,ij,tj->t", deviation, np.linalg.inv(covariance), deviation)
        evidence = -0.5 * (distance + np.linalg.slogdet(covariance)[1] + LATENTS * math.log(2 * math.pi))
        constant = 0.5 * LATENTS * math.log(2 * math.pi * s2)
        assert np.allclose(costs[:, number], -evidence - constant, rtol=1e-9)


def test_class_costs_are_divergence_plus_squared_error_over_twice_the_noise(monkeypatch):
    """The expectation over the posterior: the bound is tight, so this is the negative log evidence again."""
    monkeypatch.setattr(mixtures, "REACH", 1e6)
    phase, s2 = _phase(), float(variance_of(NOISE))
    weights, context = _signals(4)
    projected = weights @ phase.projection
    outside = (weights**2).sum(axis=1) - (projected**2).sum(axis=1)
    costs = class_costs(projected - context @ phase.gain, outside, phase, NOISE)
    for number in range(CLASSES):
        latents = Latents(phase, np.full(4, number), NOISE)
        mean, deviation = latents.posterior(weights, context)
        divergence = (0.5 * (deviation**2 + mean**2 - 1) - np.log(deviation)).reshape(4, -1).sum(axis=1)
        error = ((latents.weights(mean, context) - weights) ** 2).sum(axis=1)
        used = latents.counts[0]
        levels = phase.levels[phase.first[number] : phase.first[number] + used]
        spread = (variance_of(levels) - s2) * s2 / variance_of(levels)  # of the weights, around their mean
        assert np.allclose(costs[:, number], divergence + (error + spread.sum()) / (2 * s2), rtol=1e-9)


def test_posteriors_are_those_of_dense_gaussian_conditioning():
    phase, s2 = _phase(), float(variance_of(NOISE))
    classes = np.array([2, 0, 1, 3, 0])
    weights, context = _signals(len(classes))
    latents = Latents(phase, classes, NOISE)
    mean, deviation = latents.posterior(weights, context)
    updated = latents.weights(mean, context)
    ends = np.cumsum(latents.counts)
    for tile, number in enumerate(classes):
        covariance = _prior_covariance(phase, number, s2)
        prior_mean = _prior_means(phase, context[[tile]], classes[[tile]])[0]
        gain = covariance @ np.linalg.inv(covariance + s2 * np.eye(LATENTS))
        assert np.allclose(updated[tile], prior_mean + gain @ (weights[tile] - prior_mean), atol=1e-10)
        of_tile = slice(ends[tile] - latents.counts[tile], ends[tile])
        rows = slice(phase.first[number], phase.first[number] + latents.counts[tile])
        factor = (phase.directions[rows] * np.sqrt(variance_of(phase.levels[rows]) - s2)[:, None]) @ phase.projection.T
        dense = (factor.T * deviation[of_tile] ** 2) @ factor
        assert np.allclose(dense, covariance - gain @ covariance, atol=1e-10)


def test_whitened_values_come_back_from_their_weights():
    """Weights are prior mean + factor · z, latents of tile after tile; z is recovered with the directions."""
    phase, s2 = _phase(), float(variance_of(NOISE))
    classes = np.array([3, 1, 0, 0, 2])
    _, context = _signals(len(classes))
    latents = Latents(phase, classes, NOISE)
    z = np.random.default_rng(4).normal(size=latents.counts.sum())
    weights = latents.weights(z, context)
    recovered = []
    for tile, number in enumerate(classes):
        rows = slice(phase.first[number], phase.first[number] + latents.counts[tile])
        residual = weights[tile] - _prior_means(phase, context[[tile]], classes[[tile]])[0]
        scaled = (residual @ phase.projection) @ phase.directions[rows].T
        recovered.append(scaled / np.sqrt(variance_of(phase.levels[rows]) - s2))
    assert np.allclose(np.concatenate(recovered), z)


def test_directions_under_the_noise_are_pruned():
    phase = _phase()
    for noise in (-1601, NOISE, -1, 200):
        expected = [int((phase.levels[phase.first[n] : phase.first[n + 1]] > noise).sum()) for n in range(CLASSES)]
        assert phase.used(noise).tolist() == expected
        classes = np.array([1, 3, 0])
        assert Latents(phase, classes, noise).counts.tolist() == [expected[n] for n in classes]


def test_information_is_half_the_octaves_over_the_noise_in_integers():
    phase = _phase()
    latents = Latents(phase, np.array([2, 0, 1, 2]), NOISE)
    information = latents.information()
    assert information.dtype == np.int64
    expected = []
    for number in latents.classes:
        levels = phase.levels[phase.first[number] : phase.first[number + 1]]
        expected += [(int(level) - NOISE) // 2 for level in levels if level > NOISE]
    assert information.tolist() == expected
    assert latents.stage(3).name == "phase 3"
    assert latents.stage(3).information.tolist() == expected


def test_noise_levels_step_by_an_eighth_of_an_octave_below_a_quarter():
    assert variance_of(variance_level(0, "image")) == 0.25
    assert variance_of(variance_level(8, "image")) == 0.125
    assert all(
        variance_level(code, "image") - variance_level(code + 1, "image") == OCTAVE // 8
        for code in range(mixtures.NOISE_LEVELS - 1)
    )


def _with_classes(count):
    """A prior of which only the number of classes matters."""
    prior = tiny_mixture()
    return replace(prior, mean=np.zeros((4, count, 2), dtype=np.float32))


@settings(deadline=None)  # the first example learns the prior
@given(st.integers(1, 300), st.data())
def test_class_numbers_come_back(count, data):
    prior = _with_classes(count)
    classes = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=40)), dtype=np.int64)
    packed = mixtures.pack_classes(classes, prior.class_bits)
    assert len(packed) == mixtures.class_bytes(len(classes), prior.class_bits)
    assert np.array_equal(mixtures.unpack_classes(packed, len(classes), prior.classes), classes)


def test_what_candidates_cannot_reach_counts_as_error():
    """One direction of variance v, a tile far out: the part beyond REACH is paid with (v - s2) / (2 · s2) per unit²."""
    variance, s2 = 16.0, float(variance_of(NOISE))
    level = round(OCTAVE * math.log2(variance))
    one = np.ones((1, 1))
    phase = mixtures.PhaseMixture(one, np.zeros((0, 1)), np.zeros((1, 1)), np.array([0, 1]), one, np.array([level]))
    far = 5 * math.sqrt(variance)
    whitened = far * math.sqrt(variance - s2) / variance
    exact = 0.5 * (math.log(variance / s2) + far**2 / variance)
    extra = 0.5 * (variance - s2) / s2 * (whitened - mixtures.REACH) ** 2
    costs = class_costs(np.array([[far]]), np.zeros(1), phase, NOISE)
    assert costs[0, 0] == pytest.approx(exact + extra)


def test_class_numbers_are_packed_from_the_most_significant_bit_on():
    assert mixtures.pack_classes(np.array([5, 1, 6]), 3) == bytes([0b10100111, 0b00000000])
    assert mixtures.pack_classes(np.array([0, 0]), 0) == b""


@pytest.mark.parametrize(("count", "named"), [(3, 3), (5, 7), (300, 300)])
def test_a_class_that_the_prior_does_not_have_is_damage(count, named):
    prior = _with_classes(count)
    packed = mixtures.pack_classes(np.array([0, named, 1]), prior.class_bits)
    with pytest.raises(DamagedFileError, match="a class that its prior does not have"):
        mixtures.unpack_classes(packed, 3, prior.classes)


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_stored_directions_stay_near_orthonormal(kind):
    for phase in tiny_mixture(kind).phases:
        for number in range(phase.classes):
            directions = mixtures.unit(phase.directions[phase.first[number] : phase.first[number + 1]])
            products = directions @ directions.T
            assert len(directions)
            assert np.allclose(np.diagonal(products), 1, atol=1e-12)
            assert np.abs(products - np.eye(len(directions))).max() < 0.03


def test_quantised_directions_point_where_they_did():
    vectors = _orthonormal(60, 60, np.random.default_rng(0))
    stored = mixtures.quantised(vectors)
    assert stored.dtype == np.int8
    assert (np.abs(stored).max(axis=1) == 127).all()
    cosine = (mixtures.unit(stored) * vectors).sum(axis=1)
    assert (cosine > 0.9995).all()
    assert mixtures.quantised(np.zeros((0, 5))).shape == (0, 5)
