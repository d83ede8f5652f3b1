"""What is decoded of a segment, what the networks see of it, and the moments that they predict."""

import itertools

import numpy as np
import pytest
from support.learned import tiny_lapped, tiny_lapped_mono

from combiner_cli.families.lapped import features
from combiner_cli.families.lapped.decoder import descend
from combiner_cli.families.lapped.features import BAND, CLASSES, LEVELS, PARITIES, PHASES
from combiner_cli.stages.moments import StageId

LEVEL = pytest.mark.parametrize("level", range(LEVELS))


class Drawn:
    """Random classes and weights, different ones from some step on; what each is predicted from is kept."""

    def __init__(self, changed):
        self._generators = np.random.default_rng(0), np.random.default_rng(1)
        self._changed, self.predicted = changed, []

    def limit(self):
        return 60

    def _drawn(self, predicted, method, *arguments):
        values = [getattr(generator, method)(*arguments) for generator in self._generators]
        self.predicted.append(predicted)
        return values[len(self.predicted) > self._changed]

    def classes(self, segment, level, parity, channel, frequencies):
        return self._drawn(frequencies, "integers", 0, CLASSES, frequencies.shape[1])

    def weights(self, stage, segment, moments):
        values = self._drawn(moments.deviation, "normal", 0, 1000, len(moments.mean))
        return np.rint(values) * (moments.deviation >= 0)


@pytest.mark.parametrize("changed", range(0, 40, 5))
def test_what_is_predicted_of_a_step_depends_on_earlier_steps_only(changed):
    predicted = []
    for first in (changed, 1000):
        source = Drawn(first)
        descend(tiny_lapped(), 19, 2, 32, 40, source)
        predicted.append(source.predicted)
    same = [np.array_equal(*pair) for pair in zip(*predicted, strict=True)]
    assert len(same) == LEVELS * 2 * (PARITIES + PHASES)
    assert all(same[: changed + 1])
    assert changed == len(same) - 1 or not all(same[changed + 1 :])


def drawn_segment(noise_levels, seeds, count=21, bins=40, hop=64):
    """Recordings of random weights and classes, each with a seed of its own."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    segment = features.new_segment(np.array(noise_levels), hop, 2, count, bins)
    for level, channel in itertools.product(range(LEVELS), range(2)):
        for parity in range(PARITIES):
            each = features.band_count(segment, level, parity) // len(seeds)
            drawn = [generator.integers(0, CLASSES, each) for generator in generators]
            features.put_classes(segment, level, parity, channel, np.concatenate(drawn))
        for phase in range(PHASES):
            each = features.latents(segment, level, phase) // len(seeds)
            drawn = [np.rint(generator.standard_cauchy(each) * 300) for generator in generators]
            features.put(segment, level, phase, channel, np.concatenate(drawn))
    return segment


def detail_features(segment, level, phase, channel):
    which = np.arange(features.latents(segment, level, phase))
    return features.detail_features(segment, level, phase, channel, which)


@LEVEL
def test_a_batch_gives_the_same_features_as_its_recordings_alone(level):
    noise_levels, seeds = [40, 9, 77], [5, 6, 7]
    batch = drawn_segment(noise_levels, seeds)
    alone = [drawn_segment([noise], [seed]) for noise, seed in zip(noise_levels, seeds, strict=True)]
    for numbers, gather in ((PHASES, detail_features), (PARITIES, features.class_features)):
        for number, channel in itertools.product(range(numbers), range(2)):
            single = np.concatenate([gather(segment, level, number, channel) for segment in alone], axis=1)
            assert np.array_equal(gather(batch, level, number, channel), single)


@LEVEL
def test_features_are_whole_and_bounded_and_as_many_as_the_network_takes(level):
    segment, known = drawn_segment([40], [2]), features.networks(level)
    for channel in range(2):
        for phase in range(PHASES):
            columns = detail_features(segment, level, phase, channel)
            assert len(columns) == known[features.detail_name(phase, channel)].features
            assert np.array_equal(columns, np.floor(columns))
            assert columns[0].max() <= 256 * 15 and np.abs(columns[1:]).max() <= 2047
        for parity in range(PARITIES):
            columns = features.class_features(segment, level, parity, channel)
            assert len(columns) == known[features.class_name(parity, channel)].features
            assert np.array_equal(columns, np.floor(columns)) and np.abs(columns).max() <= 64 * 15


def test_every_weight_is_in_exactly_one_stage():
    seen = np.zeros((1, 21, 40), dtype=int)
    for level, phase in itertools.product(range(LEVELS), range(PHASES)):
        features.weights_of(seen, level, phase)[...] += 1
    assert (seen == 1).all()


def test_frames_of_levels_by_hand():
    # every eighth, then those in the middle
    frames = [list(range(first, 17, step)) for first, step in map(features.frames_of, (3, 2, 1, 0))]
    assert frames == [[0, 8, 16], [4, 12], [2, 6, 10, 14], [1, 3, 5, 7, 9, 11, 13, 15]]


def test_stages_are_numbered_phase_after_phase_and_channel_after_channel():
    stages = [features.stage_id(1, phase, channel, 2) for phase in range(3) for channel in range(2)]
    assert stages == [StageId(1, number) for number in range(6)]
    assert [features.place_of(stage, 2) for stage in stages[:3]] == [(1, 0, 0), (1, 0, 1), (1, 1, 0)]
    assert features.last_stage(1) == StageId(0, 2) and features.last_stage(2) == StageId(0, 5)


def test_limits_are_eightieths_of_the_bands_rounded_up():
    # 32 weights are four bands
    assert [features.limit_bins(limit, 32) for limit in (0, 1, 20, 21, 80)] == [0, 8, 8, 16, 32]
    assert features.limit_bins(80, 2048) == 2048


# moments


def test_weights_of_silent_bands_are_pruned():
    prior, segment = tiny_lapped(), drawn_segment([40], [3], hop=32, bins=24)
    classes = np.zeros((1, 21, 3), dtype=int)
    classes[:, ::2, 1] = 9
    for level, parity in itertools.product(range(LEVELS), range(PARITIES)):
        first, step = features.frames_of(level)
        features.put_classes(segment, level, parity, 0, classes[:, first::step, parity::PARITIES])
    for level, phase in itertools.product(range(LEVELS), range(PHASES)):
        moments = prior.moments(segment, level, phase, 0)
        expected = features.weights_of(np.repeat(classes > 0, BAND, axis=-1), level, phase).reshape(-1)
        assert np.array_equal(moments.deviation >= 0, expected)
        assert np.array_equal(moments.information() > 0, expected)
        assert not moments.mean.any()


def test_frequencies_sum_up_and_none_is_zero():
    segment = drawn_segment([40], [3], hop=32, bins=24)
    for level, parity, channel in itertools.product(range(LEVELS), range(PARITIES), range(2)):
        frequencies = tiny_lapped().class_frequencies(segment, level, parity, channel)
        assert frequencies.shape == (CLASSES, features.band_count(segment, level, parity))
        assert (frequencies.sum(axis=0) == 2**16).all() and frequencies.min() >= 1


def test_a_second_channel_is_one_by_itself_for_a_prior_of_one():
    pair, swapped = drawn_segment([40], [3], hop=32, bins=24), drawn_segment([40], [3], hop=32, bins=24)
    for array in (swapped.weights, swapped.loudness, swapped.smooth, swapped.padded_classes):
        array[...] = array[:, ::-1].copy()
    for prior, alike in ((tiny_lapped_mono(), True), (tiny_lapped(), False)):
        moments = [prior.moments(one, 0, 2, channel).deviation for one, channel in ((pair, 1), (swapped, 0))]
        assert np.array_equal(*moments) == alike
        frequencies = [prior.class_frequencies(one, 0, 1, channel) for one, channel in ((pair, 1), (swapped, 0))]
        assert np.array_equal(*frequencies) == alike
