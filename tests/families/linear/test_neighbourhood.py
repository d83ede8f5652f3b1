"""Phases and surroundings: a tile sees what is decoded before it and nothing else."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.families.linear.neighbourhood import Ring, blank, phase_tiles, phases

COUNTS = st.one_of(st.tuples(st.integers(1, 7)), st.tuples(st.integers(1, 6), st.integers(1, 6)))
CASES = [((1,), 4, 3), ((5,), 4, 4), ((6,), 3, 1), ((1, 1), 4, 2), ((3, 5), 4, 3), ((4, 2), 3, 3), ((1, 4), 4, 1)]


def _filled(counts, side, reach, outputs=2, planes=2, without=()):
    """A canvas on which every phase but those of ``without`` is placed, and the planes that it should hold."""
    ring = Ring((side,) * len(counts), reach)
    canvas = blank(ring, counts, planes, outputs, np.float64)
    shape = tuple(count * side for count in counts)
    whole = np.random.default_rng(2).uniform(-1, 1, (planes, outputs, *shape))
    for phase in range(phases(len(counts))):
        if phase not in without:
            canvas.place(phase, _tiles_of(whole, counts, side, phase))
    return canvas, whole


def _tiles_of(whole, counts, side, phase):
    """Cut tile by tile, ``(planes, tiles, outputs, points)``."""
    parts = []
    for number in phase_tiles(counts, phase):
        corner = np.unravel_index(number, counts)
        part = whole[(slice(None), slice(None), *(slice(side * at, side * (at + 1)) for at in corner))]
        parts.append(part.reshape(*whole.shape[:2], -1))
    return np.stack(parts, axis=1) if parts else np.zeros((len(whole), 0, whole.shape[1], side ** len(counts)))


def _phase_of(position):
    order = 0
    for at in position:
        order = 2 * order + at % 2
    return order


@given(COUNTS)
def test_every_tile_belongs_to_exactly_one_phase(counts):
    dealt = [phase_tiles(counts, phase) for phase in range(phases(len(counts)))]
    assert np.array_equal(np.sort(np.concatenate(dealt)), np.arange(np.prod(counts)))
    for phase, own in enumerate(dealt):
        assert all(_phase_of(np.unravel_index(number, counts)) == phase for number in own)
        assert (np.diff(own) > 0).all()


@given(COUNTS)
def test_tiles_of_a_phase_are_no_neighbours(counts):
    for phase in range(phases(len(counts))):
        positions = [np.array(np.unravel_index(number, counts)) for number in phase_tiles(counts, phase)]
        distances = [np.abs(a - b).max() for n, a in enumerate(positions) for b in positions[:n]]
        assert min(distances, default=2) >= 2


@pytest.mark.parametrize(
    ("extent", "reach", "size"), [((8, 8), 3, 14 * 14 - 64), ((4, 6), 4, 12 * 14 - 24), ((9,), 5, 10)]
)
def test_a_ring_surrounds_its_tile(extent, reach, size):
    ring = Ring(extent, reach)
    assert ring.size == size
    assert len(set(map(tuple, ring.offsets))) == size
    assert ring.offsets.min() == -reach
    assert (ring.offsets.max(axis=0) == np.array(extent) + reach - 1).all()
    assert not ((ring.offsets >= 0) & (ring.offsets < np.array(extent))).all(axis=1).any()


@pytest.mark.parametrize("axes", [1, 2])
def test_the_first_phase_sees_nothing_and_the_last_sees_everything(axes):
    ring = Ring((4,) * axes, 3)
    assert not ring.decoded(0).any()
    assert ring.decoded(phases(axes) - 1).all()


@pytest.mark.parametrize(("counts", "side", "reach"), CASES)
def test_what_is_placed_is_there_tile_by_tile(counts, side, reach):
    canvas, whole = _filled(counts, side, reach)
    tiles = canvas.tiles().reshape(2, -1, 2, side ** len(counts))
    for phase in range(phases(len(counts))):
        assert np.array_equal(tiles[:, phase_tiles(counts, phase)], _tiles_of(whole, counts, side, phase))


@pytest.mark.parametrize(("counts", "side", "reach"), CASES)
def test_a_context_depends_on_tiles_of_earlier_phases_within_reach_and_on_nothing_else(counts, side, reach):
    canvas, whole = _filled(counts, side, reach)
    for phase in range(phases(len(counts))):
        before = canvas.context(phase).reshape(2, -1, 2 * canvas.ring.size)
        own = [np.unravel_index(number, counts) for number in phase_tiles(counts, phase)]
        for changed in product(*map(range, counts)):
            other = whole.copy()
            place = (slice(None), slice(None), *(slice(side * at, side * (at + 1)) for at in changed))
            other[place] += 1
            canvas.place(_phase_of(changed), _tiles_of(other, counts, side, _phase_of(changed)))
            differs = (canvas.context(phase).reshape(before.shape) != before).any(axis=2)
            canvas.place(_phase_of(changed), _tiles_of(whole, counts, side, _phase_of(changed)))
            for number, position in enumerate(own):
                neighbour = max(abs(a - b) for a, b in zip(position, changed, strict=True)) == 1
                assert differs[:, number].all() == differs[:, number].any()
                assert differs[0, number] == (neighbour and _phase_of(changed) < phase)


@pytest.mark.parametrize(("counts", "side", "reach"), CASES)
def test_values_that_are_not_there_are_the_mean_of_those_of_their_output(counts, side, reach):
    canvas, whole = _filled(counts, side, reach)
    axes, size = len(counts), np.array(counts) * side
    for phase in range(phases(axes)):
        found = canvas.context(phase).reshape(2, -1, 2, canvas.ring.size)
        for number, tile in enumerate(phase_tiles(counts, phase)):
            corner = np.array(np.unravel_index(tile, counts)) * side
            places = [tuple(corner + offset) for offset in canvas.ring.offsets]
            there = [
                all(0 <= at < most for at, most in zip(place, size, strict=True))
                and _phase_of([at // side for at in place]) < phase
                for place in places
            ]
            known = [whole[(slice(None), slice(None), *place)] for place, ok in zip(places, there, strict=True) if ok]
            mean = np.mean(known, axis=0) if known else np.zeros((2, 2))
            for at, (place, ok) in enumerate(zip(places, there, strict=True)):
                expected = whole[(slice(None), slice(None), *place)] if ok else mean
                assert np.allclose(found[:, number, :, at], expected, rtol=0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(COUNTS, st.integers(1, 4))
def test_a_context_is_the_same_before_and_after_its_own_phase_is_placed(counts, reach):
    last = phases(len(counts)) - 1
    for phase in range(last + 1):
        before, _ = _filled(counts, 4, reach, without=range(phase, last + 1))
        after, _ = _filled(counts, 4, reach)
        assert np.array_equal(before.context(phase), after.context(phase))


def test_a_lone_tile_has_surroundings_of_zeros():
    canvas, _ = _filled((1, 1), 4, 2)
    assert canvas.context(0).shape == (2, 2 * canvas.ring.size)
    assert not canvas.context(0).any()
    assert canvas.context(3).shape == (0, 2 * canvas.ring.size)
