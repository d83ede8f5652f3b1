"""Metrics against values worked out by hand, and the properties that they must have."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from combiner_cli.errors import InputError
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

Values = npt.NDArray[np.generic]


def image(values: object, bit_depth: int = 8) -> Signal:
    return Signal("image", np.asarray(values, dtype=f"u{bit_depth // 8}"), bit_depth=bit_depth)


def sound(values: object, sample_rate: int = 8000, bit_depth: int = 16) -> Signal:
    return Signal("sound", np.asarray(values, dtype=np.float32), sample_rate, bit_depth)


def test_mean_squared_error_counts_all_samples_and_does_not_wrap() -> None:
    a = image([[[0, 0, 0], [10, 10, 10]]])
    b = image([[[255, 0, 0], [10, 10, 13]]])
    assert metrics.mean_squared_error(a, b) == (255**2 + 9) / 6
    assert metrics.mean_squared_error(b, a) == (255**2 + 9) / 6


def test_mean_squared_error_of_16_bits() -> None:
    assert metrics.mean_squared_error(image([[[65535]]], 16), image([[[0]]], 16)) == 65535**2


def test_psnr_of_images() -> None:
    black, white = image(np.zeros((2, 3, 1))), image(np.full((2, 3, 1), 255))
    assert metrics.psnr(black, white) == 0
    assert metrics.psnr(black, image(np.full((2, 3, 1), 1))) == pytest.approx(20 * math.log10(255))
    deep = image(np.zeros((1, 1, 1)), 16), image(np.full((1, 1, 1), 1), 16)
    assert metrics.psnr(*deep) == pytest.approx(20 * math.log10(65535))


def test_psnr_of_sounds_maps_to_0_1_without_rounding() -> None:
    reference, decoded = sound([[-1.0], [0.5]]), sound([[-0.75], [0.5 + 2**-15]])
    mapped = [(float(a) + 1) / 2 - (float(b) + 1) / 2 for a, b in ((-1, -0.75), (0.5, 0.5 + 2**-15))]
    assert metrics.psnr(reference, decoded) == pytest.approx(-10 * math.log10(sum(x * x for x in mapped) / 2))
    assert metrics.mean_squared_error(reference, decoded) == (0.25**2 + 2**-30) / 2


def test_equal_signals_have_no_noise() -> None:
    assert metrics.psnr(image([[[7]]]), image([[[7]]])) == math.inf
    assert metrics.psnr(sound([[0.5]]), sound([[0.5]])) == math.inf
    assert metrics.signal_to_noise(sound([[0.5]]), sound([[0.5]])) == math.inf
    assert metrics.signal_to_noise(sound([[0.0]]), sound([[0.0]])) == math.inf


def test_signal_to_noise() -> None:
    reference = sound([[1.0, -1.0], [0.5, 0.0]])
    decoded = sound([[0.75, -1.0], [0.5, 0.25]])
    assert metrics.signal_to_noise(reference, decoded) == pytest.approx(10 * math.log10(2.25 / 0.125))
    assert metrics.signal_to_noise(sound([[0.0]]), sound([[0.5]])) == -math.inf
    assert metrics.signal_to_noise(sound([[0.5]]), sound([[0.0]])) == 0


def test_signal_to_noise_of_images_is_refused() -> None:
    with pytest.raises(InputError, match="needs sounds, not an image; use PSNR"):
        metrics.signal_to_noise(image([[[1]]]), image([[[1]]]))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (image(np.zeros((2, 3, 1))), image(np.zeros((3, 2, 1))), r"shape \(2, 3, 1\) and \(3, 2, 1\) cannot"),
        (image(np.zeros((2, 3, 1))), image(np.zeros((2, 3, 3))), "give two of the same shape"),
        (sound(np.zeros((3, 1))), sound(np.zeros((3, 2))), "give two of the same shape"),
        (image(np.zeros((3, 1, 1))), sound(np.zeros((3, 1))), "kind image and sound cannot be compared"),
        (image(np.zeros((1, 1, 1))), image(np.zeros((1, 1, 1)), 16), "images of 8 and 16 bits"),
        (sound(np.zeros((3, 1))), sound(np.zeros((3, 1)), 16000), "sample rate 8000 and 16000"),
    ],
)
def test_signals_that_do_not_match_are_refused(a: Signal, b: Signal, message: str) -> None:
    for compare in (metrics.mean_squared_error, metrics.psnr):
        with pytest.raises(InputError, match=message):
            compare(a, b)


def test_sounds_of_other_depth_compare() -> None:
    assert metrics.mean_squared_error(sound([[0.5]]), sound([[0.25]], bit_depth=24)) == 0.0625


def test_rates() -> None:
    assert metrics.bits_per_pixel(1000, (20, 40)) == 10
    assert metrics.kilobits_per_second(1000, 24000, 16000) == pytest.approx(16 / 3)


small_images = arrays.arrays(np.uint8, (3, 5, 3))


@given(small_images, small_images)
def test_psnr_agrees_with_its_definition(a: Values, b: Values) -> None:
    squares = [(int(x) - int(y)) ** 2 for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True)]
    expected = 10 * math.log10(255**2 * len(squares) / sum(squares)) if any(squares) else math.inf
    assert metrics.psnr(image(a), image(b)) == pytest.approx(expected)


@given(arrays.arrays(np.int16, (9, 2)), st.integers(1, 3))
def test_halving_the_error_adds_6_db(values: npt.NDArray[np.int16], halvings: int) -> None:
    reference = values / 2.0**17
    error = np.resize([2.0**-6, -(2.0**-6)], reference.shape)
    coarse = metrics.psnr(sound(reference), sound(reference + error))
    fine = metrics.psnr(sound(reference), sound(reference + error / 2**halvings))
    assert fine - coarse == pytest.approx(20 * math.log10(2) * halvings, abs=1e-3)


@given(arrays.arrays(np.int16, (9, 2)), arrays.arrays(np.int16, (9, 2)))
def test_psnr_less_snr_is_a_constant_of_the_sound(values: npt.NDArray[np.int16], other: npt.NDArray[np.int16]) -> None:
    reference, decoded = sound(values / 2.0**15), sound(other / 2.0**15)
    constant = metrics.peak_over_signal(reference)
    if not values.any():
        assert constant == math.inf
    elif (values != other).any():
        difference = metrics.psnr(reference, decoded) - metrics.signal_to_noise(reference, decoded)
        assert constant == pytest.approx(difference, abs=1e-9)


def test_only_sounds_have_energy() -> None:
    with pytest.raises(InputError, match="needs sounds"):
        metrics.peak_over_signal(image(np.zeros((3, 5, 3), np.uint8)))
