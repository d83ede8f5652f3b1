"""The Haar transform: orthonormal, undone up to the rounding, and the sizes of its levels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.families.pyramid import haar, levels
from combiner_cli.families.pyramid.decoder import PlaneRendering
from combiner_cli.families.pyramid.encoder import analyse
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


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_a_root_is_put_together_as_it_was_taken_apart(height, width, seed):
    root = np.random.default_rng(seed).integers(-(10**5), 10**5, (3, height, width)) * 4.0
    weights = haar.analyse_root(root)
    assert weights.shape == (3, height * width)
    again = haar.synthesise_root(weights, (height, width))
    assert again.shape == root.shape and np.abs(again - root).max() <= 1e-6


def test_a_root_by_hand():
    # one step gives 4 and 14 in a row and details; the next one, for which the row is repeated, (2 · 4 + 2 · 14) / 2
    weights = haar.analyse_root(np.array([[[1.0, 3.0, 7.0], [1.0, 3.0, 7.0]]]))
    assert weights.tolist() == [[18, 10, 2, 0, 0, 0]]
    # the average times 2^2; then what the columns and the rows differ by, and the rest, in halves and in quarters
    smooth = haar.analyse_root(np.add.outer([0.0, 1.0, 2.0, 3.0], [0.0, 10.0, 20.0, 30.0])[None])[0]
    assert smooth.tolist() == [66, 40, 4, 0, *[10] * 4, *[1] * 4, *[0] * 4]


def test_colours_are_orthonormal():
    assert pytest.approx(np.eye(3), abs=1e-12) == haar.COLOUR @ haar.COLOUR.T


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (12, 17)])
@pytest.mark.parametrize("channels", [(0,), (0, 1, 2)])
def test_values_survive_the_way_down_and_up(shape, channels):
    """Rendering the weights of the whole pyramid gives the image that they were made from."""
    values, noise_level = np.random.default_rng(1).uniform(-127, 127, (*shape, len(channels))), 100
    plane = analyse(values, channels)
    unit = UNIT / levels.noise_deviation(noise_level)
    picture = haar.synthesise_root(np.rint(haar.analyse_root(plane.root) * unit), plane.root.shape[1:])[None]
    for size, details in zip(haar.sizes(shape)[-2::-1], plane.details[::-1], strict=True):
        picture = haar.synthesise(picture, np.rint(details * unit)[None], size)
    rendering = PlaneRendering(picture[0], shape, len(channels), noise_level)
    assert np.abs(rendering.rows(slice(None)) - values).max() < 0.2
