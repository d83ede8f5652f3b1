"""The shape of the noise: factors worked by hand, and what they follow from."""

import numpy as np
import pytest

from combiner_cli.families.lapped import features as lapped_features
from combiner_cli.stages import shape
from combiner_cli.stages.moments import LOWEST, UNIT, Moments
from combiner_cli.stages.shape import FLAT_PICTURE, FLAT_SOUND, PICTURE_FIELDS, SOUND_FIELDS, PictureShape, SoundShape

HAND = np.array([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 6400], [0, 0, 0, 0, 0, 0]])[None]


def test_masking_worked_by_hand():
    # around columns 3, 4 and 5 lie one, two and three of the bright sample, as the edge repeats; of 25 samples with n
    # that are v, the sum of |25 x − X| is 2 v n (25 − n): 307200, 588800 and 844800 for v = 6400, else 80000 at least.
    # sixteenths of lg, straight between powers of two: 80000 = 2^16 · 1.2207: 16 · 16.2207 = 259.5;
    # 307200 = 2^18 · 1.1719: 16 · 18.1719 = 290.75; 588800 = 2^19 · 1.1230: 305.97; 844800 = 2^19 · 1.6113: 313.8
    spread = np.array([259, 259, 259, 290, 305, 313])
    average = 3 * spread.sum() // 18  # 280
    expected = ((spread - average) * 10 + 16) // 32
    assert average == 280 and expected.tolist() == [-7, -7, -7, 3, 8, 10]
    assert (shape.masking(HAND, 10)[0] == expected).all()


def test_masking_is_bounded_and_the_same_in_strips(monkeypatch):
    luma = (np.random.default_rng(1).laplace(size=(2, 41, 30)) * 10 ** np.linspace(0, 6, 30)).astype(np.int64)
    whole = shape.masking(luma, 32)
    assert whole.min() == -48 and whole.max() == 48
    monkeypatch.setattr(shape, "_ROWS_AT_ONCE", 100)
    assert (shape.masking(luma, 32) == whole).all()
    assert (shape.masking(luma[1:], 32) == whole[1:]).all()
    assert not shape.masking(luma, 0).any()
    assert not shape.masking(np.full((1, 9, 4), 77), 32).any()


def test_a_picture_in_another_unit_worked_by_hand():
    values = np.array([-3, 0, 1, 3, 1000, 2**28])
    assert shape.rescaled(values, 16).tolist() == [-1, 0, 1, 2, 500, 2**27]  # halves are rounded up
    assert shape.rescaled(values, 64)[-2:].tolist() == [63, 2**24]  # 62.5
    assert shape.rescaled(values, 0) is values
    assert shape.rescaled(values, 8)[-2] == 707


def test_levels_are_finer_one_after_another():
    noise = PictureShape((14, 20, 4, 5), 8, 10)
    assert [noise.finer_at(level) for level in range(7)] == [0, 14, 34, 38, 43, 43, 43]
    assert [level for level in range(7) if noise.masks(level)] == [0, 1, 2, 3]


def test_the_noise_of_sounds_worked_by_hand():
    # a deviation of 4 octaves has log2(1 + 4^4) / 2 · 256 = 1024.7 of information: with an exponent of 32/64 two
    # octaves, 32 sixteenths of noise; the deviation is left two octaves over it
    deviation = np.array([64, 0, -37, -38]) - LOWEST
    moments = Moments(np.zeros(4), deviation.astype(np.int16))
    assert moments.information().tolist() == [1025, 128, 7, 0]
    pitch = np.array([0, 10, 24, 40])
    shaped = SoundShape(32).shaped(moments, pitch)
    assert shaped.noise.tolist() == [32, 4, 0, 0]
    assert (shaped.deviation + LOWEST).tolist() == [32, -4, -37, -38]
    tilted = SoundShape(32, 0, 16).shaped(moments, pitch)
    assert tilted.noise.tolist() == [32, 14, 24, 40]
    assert (tilted.deviation + LOWEST).tolist() == [32, -14, -38, -38]  # of the third nothing is over its noise
    smooth = SoundShape(32, 1).shaped(moments, pitch)
    averages = [(1025 + 128) // 2, (1025 + 128 + 7) // 3, (128 + 7 + 0) // 3, 7 // 2]
    assert smooth.noise.tolist() == [(32 * average + 512) // 1024 for average in averages]


def test_a_weight_is_as_far_from_its_mean_as_its_deviation_says_whatever_its_noise():
    deviation = np.array([40, 40]) - LOWEST
    plain = Moments(np.zeros(2), deviation.astype(np.int16))
    shaped = plain.with_noise(np.array([0, 30], dtype=np.int16))
    both, candidates = np.arange(2), np.array([1.0, -1.0])
    assert (plain.values(both, candidates) == shaped.values(both, candidates)).all()
    assert shaped.deviations(both).round(3).tolist() == [round(2 ** (40 / 16), 3), round(2 ** (10 / 16), 3)]
    assert shaped.over_noise(np.array([2.0, 2.0])).tolist() == pytest.approx([2, 2 * 2 ** (-30 / 16)], rel=1e-5)
    assert plain.values(both, candidates)[0] == np.floor(round(2 ** (40 / 16 + 12)) * UNIT / 2**12)


def test_pitch_is_about_that_of_hearing():
    pitches = lapped_features.weight_pitches(256, 256, 16000, 0)
    frequencies = (2 * np.arange(0, 256, 4) + 1) * 16000 / 1024
    assert np.abs(pitches / 16 - np.log2(1 + frequencies / 700)).max() < 0.15
    assert pitches[0] == 0 and (np.diff(pitches) >= 0).all()


@pytest.mark.parametrize("noise", [PictureShape((1, 2, 3, 4), -5, 6), SoundShape(7, 8, 9), SoundShape(0, 0, 1, 16)])
def test_a_shape_is_what_its_numbers_say(noise):
    fields = PICTURE_FIELDS if len(noise.numbers) == 6 else SOUND_FIELDS
    header = shape.header_numbers(fields, noise.numbers)
    assert all(field.least <= number <= field.largest for field in fields for number in header[field.name])
    assert type(noise).of(shape.numbers_in(fields, header)) == noise


def test_a_flat_shape_has_no_numbers_and_changes_nothing():
    assert PictureShape().numbers == SoundShape(0, 5, 0, 3).numbers == ()
    assert shape.header_numbers(SOUND_FIELDS, ()) == {}
    assert PictureShape.of(()).flat and SoundShape.of(()).flat
    moments = Moments(np.zeros(3), np.zeros(3, dtype=np.int16))
    assert SoundShape().shaped(moments, np.arange(3)) is moments


def test_a_weaker_shape_is_half_of_it_and_none_in_the_end():
    picture = PictureShape((14, 20, 4, 5), -9, 10)
    assert picture.weaker == PictureShape((7, 10, 2, 2), -4, 5)
    assert picture.weaker.weaker == PictureShape((3, 5, 1, 1), -2, 2)
    assert picture.weaker.weaker.weaker == FLAT_PICTURE == FLAT_PICTURE.weaker
    sound = SoundShape(28, 2, -15, 11)
    assert sound.weaker == SoundShape(14, 2, -7, 11)
    assert sound.weaker.weaker == SoundShape(7, 2, -3, 11)
    assert sound.weaker.weaker.weaker == FLAT_SOUND == FLAT_SOUND.weaker
