"""What is decoded of a level, and what the networks see of it."""

import numpy as np
import pytest

from combiner_cli.families.pyramid import features, haar, levels
from combiner_cli.families.pyramid.encoder import mark_units
from combiner_cli.stages.integer_network import FEATURE_LIMIT
from combiner_cli.stages.moments import StageId
from combiner_cli.system import threads

STAGES = pytest.mark.parametrize("number", range(6))


def drawn_level(size, seed=0, number=1):
    """A level of random details and classes."""
    generator = np.random.default_rng(seed)
    picture = generator.integers(-5000, 5000, (1, 3, *size)).astype(float)
    level = levels.new_level(number, np.array([40]), picture)
    details = generator.integers(-500, 500, (1, 3, 3, *size))
    for stage in range(6):
        levels.put(level, stage, levels.details_of(details, stage).reshape(-1))
    level.classes[...] = generator.integers(0, levels.CLASSES, level.classes.shape)
    return level


def details_at(level, number):
    """The details of a stage as they are coded."""
    kept = [level.details[phase, number >= 4] for phase in levels.stage_phases(number)]
    return np.concatenate([part.reshape(part.shape[0] * 3, -1) for part in kept], axis=1)


def features_of(level, number, rows=None):
    """Features and contrasts of a stage, phase after phase."""
    rows = rows or level.all_units
    parts = [features.stage_features(level, number, phase, rows) for phase in levels.stage_phases(number)]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def test_features_are_those_of_what_is_decoded_by_now_however_often_a_level_is_come_back_to():
    level, fresh = drawn_level((12, 9)), drawn_level((12, 9))
    for number in (5, 0, 3):
        features_of(level, number)
        weights = np.random.default_rng(number).integers(-90, 90, details_at(level, number).size)
        for one in (level, fresh):
            levels.put(one, number, weights.astype(float))
        for later in range(6):
            fresh.unpacked.clear()
            for seen, expected in zip(features_of(level, later), features_of(fresh, later), strict=True):
                assert np.array_equal(seen, expected)
    assert level.unpacked


# what is decoded


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7), (8, 8)])
def test_all_positions_of_a_level_are_in_exactly_one_luma_and_one_chroma_stage(size):
    level = drawn_level(size)
    for chroma in (False, True):
        seen = np.zeros(size, dtype=int)
        for number in levels.stage_numbers(chroma):
            for place in (level.places(phase, level.all_units) for phase in levels.stage_phases(number)):
                seen[place] += 1
        assert (seen == 1).all()


@pytest.mark.parametrize(("height", "width"), [(5, 8), (8, 7), (1, 5), (2, 2)])
@pytest.mark.parametrize("narrow", [True, False])
def test_a_level_gives_back_the_details_that_were_put_into_it_and_renders_them(height, width, narrow):
    generator = np.random.default_rng(4)
    picture = generator.integers(-900, 900, (1, 3, height, width)).astype(float)
    details = generator.integers(-500, 500, (1, 3, 3, height, width)).astype(float)
    details[0, 1, 2, 0, 0] = 400 if narrow else 2.0**20 + 1
    level = levels.new_level(1, np.array([40]), picture)
    for number in range(6):
        values = levels.details_of(details, number)
        if values.size:
            levels.put(level, number, values.reshape(-1))
    for phase in levels.PHASES:
        for chroma, colours in ((False, slice(0, 1)), (True, slice(1, 3))):
            expected = np.moveaxis(details[:, colours, :, phase[0] :: 2, phase[1] :: 2], 0, 2)
            if expected.size:
                assert np.array_equal(level.details[phase, chroma], expected)
    kinds = {kept.dtype for kept in level.details.values()}
    assert kinds == ({np.dtype(np.int16)} if narrow else {np.dtype(np.int16), np.dtype(np.float32)})
    size = (2 * height, 2 * width - 1)
    assert np.array_equal(level.refined(size), haar.synthesise(picture, details, size))
    if height > 2:
        some = level.refined_rows(slice(2, 4), size)
        assert np.array_equal(some, haar.synthesise(picture, details, size)[:, :, 4:8])


def test_values_of_fine_levels_are_clipped_earlier():
    for number, largest in ((0, 2.0**21), (1, 2.0**21), (2, 2.0**28)):
        level = levels.new_level(number, np.array([40]), np.full((1, 1, 1, 1), -1e12))
        assert level.picture.item() == -largest
        levels.put(level, 0, np.full(3, 1e12))
        assert (level.details[(0, 0), False] == largest).all()


def test_parents_are_the_classes_of_the_level_before():
    classes = np.array([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])
    level = levels.new_level(1, np.array([40]), np.zeros((1, 3, 5, 7)), classes)
    assert level.units == (3, 4)
    assert level.parents[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    assert level.parents[0, 1].tolist() == [[5, 5, 6, 6], [5, 5, 6, 6], [7, 7, 8, 8]]


def test_units_of_a_stage_are_marked_where_their_details_are():
    level = drawn_level((5, 4))
    for number in range(6):
        for row, column in ((0, 0), (4, 2), (3, 3), (1, 2)):
            details = np.zeros((1, 3, 3, 5, 4))
            details[0, 2 if number >= 4 else 0, 1, row, column] = 1
            units = np.zeros(level.units, dtype=bool)
            mark_units(level, number, levels.details_of(details, number).reshape(-1) > 0, units)
            phase = levels.PHASES.index((row % 2, column % 2))
            of_stage = phase // 2 == number - 4 if number >= 4 else phase == number
            assert np.argwhere(units).tolist() == ([[row // 2, column // 2]] if of_stage else [])


def test_the_last_stage_of_a_picture_and_of_its_classes():
    assert levels.last_stage((40, 3), 3) == StageId(0, 5)
    assert levels.last_stage((5, 1), 1) == StageId(0, 3)
    assert levels.last_stage((4, 4), 3) == StageId(0, 0)  # the root
    assert [levels.last_classes(colours) for colours in (1, 3)] == [0, 4]


def test_planes_and_noise():
    assert levels.planes_of(1) == ((0,),)
    assert levels.planes_of(2) == ((1,), (0,))
    assert levels.planes_of(3) == ((0, 1, 2),)
    assert levels.planes_of(4) == ((3,), (0, 1, 2))
    assert levels.noise_deviation(0) == 127.5 / 2  # a variance of a quarter on values in [-1, 1]
    assert levels.noise_deviation(16) == 127.5 / 4
    assert levels.noise_range(shaped=False) == (-16, 111)
    assert levels.noise_range(shaped=True) == (-48, 79)


# what networks see


@STAGES
def test_the_context_of_a_stage_is_made_of_earlier_stages_only(number):
    """Change every detail of this stage and of later ones: nothing that the stage depends on moves."""
    level = drawn_level((6, 7))
    before, contrast = features_of(level, number)
    for later in range(number, 6):
        levels.put(level, later, details_at(level, later).reshape(-1) + 77)
    again, same = features_of(level, number)
    assert np.array_equal(before, again)
    assert np.array_equal(contrast, same)
    if number:
        levels.put(level, 0, details_at(level, 0).reshape(-1) + 77)
        assert not np.array_equal(features_of(level, number)[0], before)


@STAGES
def test_features_of_strips_are_those_of_the_whole(number):
    level = drawn_level((9, 6))
    whole, _ = features_of(level, number)
    halves = [features_of(level, number, rows)[0] for rows in (slice(0, 2), slice(2, 5))]
    assert {tuple(column) for half in halves for column in half.T} == {tuple(column) for column in whole.T}


@STAGES
def test_features_in_memory_that_is_used_again_are_the_same(number):
    scratch = threads.Scratch()
    for size, seed in (((9, 6), 0), ((5, 12), 1)):
        level = drawn_level(size, seed)
        for phase in levels.stage_phases(number):
            once, again = (
                features.stage_features(level, number, phase, slice(1, level.units[0]), *memory)
                for memory in ((), (scratch.take,))
            )
            assert np.array_equal(once[0], again[0])
            assert np.array_equal(once[1], again[1])


def test_features_are_whole_and_bounded_and_as_many_as_the_network_takes():
    level = drawn_level((6, 6))
    for chroma in (False, True):
        check(features.class_features(level, chroma, level.all_units)[0], features.class_network(chroma))
    for number in range(6):
        check(features_of(level, number)[0], features.stage_network(number))


def check(columns, network):
    assert columns.shape[0] == network.features
    assert np.array_equal(columns, np.floor(columns))
    assert np.abs(columns[: network.relative]).max() <= FEATURE_LIMIT


def test_networks_have_the_names_of_stored_tensors():
    names = ["luma_activity", "luma_0", "luma_1", "luma_2", "luma_3", "chroma_activity", "chroma_0", "chroma_1"]
    assert [network.name for network in features.NETWORKS] == names
