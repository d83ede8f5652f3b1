"""Sounds of a few samples come back as well as long ones of like content, with shipped priors at the usual quality."""

import numpy as np
import pytest
from support.coding import coded, shipped

from combiner_cli.families.lapped.encoder import Recording, SoundSimulation, simulate
from combiner_cli.family import Target
from combiner_cli.signals.signal import Signal

QUALITY = 5
RATES = pytest.mark.parametrize(
    ("name", "rate"), [("speech-5", 16000), ("speech-5", 8000), ("general-2", 44100), ("general-2", 32000)]
)


def content(length, rate, seed, channels=1, loudness=1.0):
    """A part of three tones and a little noise, from anywhere in a second of it."""
    generator = np.random.default_rng(seed)
    time, phases = np.arange(rate)[:, None] / rate, generator.uniform(0, 6, (3, channels))
    tones = (0.1 * np.sin(2 * np.pi * f * time + phase) for f, phase in zip((220, 330.5, 1201), phases, strict=True))
    samples = loudness * (sum(tones) + 0.01 * generator.standard_normal((rate, channels)))
    first = int(generator.integers(0, rate - length + 1))
    return Signal("sound", (np.rint(samples[first : first + length] * 32768) / 32768).astype(np.float32), rate, 16)


def usual(signal, name):
    prior = shipped(name)
    return coded(signal, prior, Target("rate", prior.rate_at(QUALITY)))


def snr(signals, name):
    """Signal to noise in dB of several sounds together, and their bytes of payload on average."""
    power, noise, size = 0.0, 1e-12, 0
    for signal in signals:
        coding = usual(signal, name)
        power += float((signal.samples.astype(float) ** 2).sum())
        noise += float(((signal.samples.astype(float) - coding.decoded_signal.samples) ** 2).sum())
        size += len(coding.encoded.payload)
    return 10 * np.log10(power / noise), size / len(signals)


@RATES
def test_any_number_of_samples_comes_back_as_well_as_a_second(name, rate):
    second, _ = snr([content(rate, rate, 0)], name)
    assert second > 18
    for length in (1, 2, 3, 5, 8, 19, 40):
        signals = [content(length, rate, seed) for seed in (length, 50 + length)]
        short, size = snr(signals, name)
        assert short > second - 3, length
        assert size < 160 + 24 * length


@pytest.mark.parametrize("loudness", [0.01, 0.1, 3.0])
def test_so_do_quiet_and_loud_ones(loudness):
    second, _ = snr([content(16000, 16000, 0, loudness=loudness)], "speech-5")
    for length in (1, 3, 30, 500):
        signals = [content(length, 16000, length + seed, loudness=loudness) for seed in range(3)]
        assert snr(signals, "speech-5")[0] > second - 4, length


@pytest.mark.parametrize("length", [1, 2, 13, 40])
def test_so_do_pairs(length):
    second, _ = snr([content(44100, 44100, 0, channels=2)], "general-2")
    assert snr([content(length, 44100, seed, channels=2) for seed in range(3)], "general-2")[0] > second - 3


@pytest.mark.parametrize("rate", [48_000, 96_000, 11_025, 1000])
def test_a_single_sample_of_any_rate_comes_back(rate):
    signal = Signal("sound", np.array([[0.5]], dtype=np.float32), rate, 16)
    for name in ("speech-5", "general-2"):
        assert usual(signal, name).decoded_signal.samples.item() == pytest.approx(0.5, abs=0.02)


def test_qualities_make_a_difference_to_short_sounds_too():
    prior, signal = shipped("speech-5"), content(300, 16000, 1)
    codings = [coded(signal, prior, Target("rate", prior.rate_at(quality))) for quality in (1, 5, 10)]
    assert codings[0].size < codings[1].size < codings[2].size
    assert codings[0].psnr < codings[1].psnr < codings[2].psnr


def test_what_lies_beyond_the_ends_of_a_short_sound_is_no_error_of_it():
    """Two frames of 256 weights are simulated for 64 samples; an eighth of their error is the sound's."""
    prior, signal = shipped("speech-5"), content(64, 16000, 1)
    recording = Recording(signal.samples.T, 256, short=True)
    simulation = SoundSimulation(prior, signal.format, recording, {}, 8)
    whole = simulate(prior, recording.weights(slice(0, 2)), 40)
    assert simulation.cost(40).squared_error == pytest.approx(whole.squared_error / 8)
    assert simulation.cost(40).bits == whole.bits
