"""The Haar transform: orthonormal, undone up to the rounding, and the sizes of its levels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.families.pyramid import haar, levels
from combiner_cli.families.pyramid.decoder import PlaneRendering
from combiner_cli.families.pyramid.haar import Plane
from combiner_cli.stages.moments import UNIT


@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_synthesis_undoes_analysis_up_to_the_rounding(height, width, seed):
    picture = np.random.default_rng(seed).integers(-(10**5), 10**5, (2, 3, height, width)).astype(float)
    coarse, details = haar.analyse(picture)
    again = haar.synthesise(coarse, details, (height, width))
    assert again.shape == picture.shape
    assert np.abs(again - picture).max() <= 1e-6


def test_one_step_by_hand():
    coarse, details = haar.analyse(np.array([[1.0, 2.0], [4.0, 9.0]]))
    assert coarse.tolist() == [[8]]
    assert details[:, 0, 0].tolist() == [3, 5, 2]  # columns, rows, and both
    assert haar.synthesise(coarse, details, (2, 1)).tolist() == [[1], [4]]
    # halves are rounded down
    assert haar.synthesise(np.array([[5.0]]), np.array([[[2.0]], [[0.0]], [[0.0]]]), (1, 2)).tolist() == [[1, 3]]


def test_the_transform_is_orthonormal_on_even_sizes():
    picture = np.random.default_rng(0).normal(size=(3, 16, 24))
    coarse, details = haar.analyse(picture)
    assert (coarse**2).sum() + (details**2).sum() == pytest.approx((picture**2).sum(), rel=1e-12)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_levels_halve_until_the_root(height, width):
    sizes = haar.sizes((height, width))
    assert sizes[0] == (height, width)
    assert max(sizes[-1]) <= 4
    for fine, coarse in itertools.pairwise(sizes):
        assert coarse == (math.ceil(fine[0] / 2), math.ceil(fine[1] / 2))


def test_colours_are_orthonormal():
    assert pytest.approx(np.eye(3), abs=1e-12) == haar.COLOUR @ haar.COLOUR.T


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (12, 17)])
@pytest.mark.parametrize("channels", [(0,), (0, 1, 2)])
def test_values_survive_the_way_down_and_up(shape, channels):
    """Rendering the weights of the whole pyramid gives the image that they were made from."""
    values, noise_level = np.random.default_rng(1).uniform(-127, 127, (*shape, len(channels))), 100
    plane = Plane.of(lambda rows: values[rows], shape, channels)
    unit = UNIT / levels.noise_deviation(noise_level)
    picture = np.rint(plane.root * unit)[None]
    for size, details in zip(haar.sizes(shape)[-2::-1], plane.kept[::-1], strict=True):
        picture = haar.synthesise(picture, np.rint(details * unit)[None], size)
    rendering = PlaneRendering(picture[0], shape, len(channels), noise_level)
    assert np.abs(rendering.rows(slice(None)) - values).max() < 0.2


@pytest.mark.parametrize("shape", [(1, 9), (61, 37), (64, 96)])
def test_details_that_are_made_when_they_are_asked_for_are_those_that_are_kept(shape, monkeypatch):
    values = np.random.default_rng(1).uniform(-127, 127, (*shape, 3))
    kept = Plane.of(lambda rows: values[rows], shape, (0, 1, 2))
    monkeypatch.setattr(haar, "_MOST_KEPT", 40)
    monkeypatch.setattr(haar, "_PIXELS_AT_ONCE", 300)
    made = Plane.of(lambda rows: values[rows], shape, (0, 1, 2))
    assert any(details is None for details in made.kept) == (max(shape) > 9)
    assert np.array_equal(made.root, kept.root)
    for level, details in enumerate(kept.kept):
        for first in range(0, details.shape[2], 6):
            rows = slice(first, min(first + 6, details.shape[2]))
            assert np.array_equal(made.details(level, rows), details[:, :, rows])
