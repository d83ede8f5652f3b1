"""Sounds that are not what priors expect: none is lost, none takes more than without loss, no rate takes long."""

import io

import numpy as np
import pytest
import soundfile
from support import zoo_sounds
from support.signals import tone

import combiner_cli as combiner
from combiner_cli.families.lapped import encoder
from combiner_cli.family import Target
from combiner_cli.signals.lossless import lossless_bytes
from combiner_cli.signals.resampling import resampled
from combiner_cli.signals.signal import Signal

LEAST = 3.0  # dB of SNR
NAMES = (
    "white-noise",
    "clicks",
    "square",
    "silence-one-click",
    "constant",
    "chirp",
    "speech-like-quiet",
    "rate-192000",
)


def flac_bytes(sound):
    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.sample_rate, format="FLAC", subtype=f"PCM_{sound.bit_depth}")
    return len(file.getvalue())


@pytest.mark.parametrize("name", NAMES)
def test_no_sound_is_lost_at_the_usual_quality(name):
    sound = zoo_sounds.SOUNDS[name]()
    result = combiner.encode(sound, effort=1)
    assert combiner.signal_to_noise(sound, result.decoded) > LEAST


@pytest.mark.parametrize("name", ["clicks", "rate-1", "rate-100"])
def test_no_file_is_larger_than_one_without_loss(name):
    sound = zoo_sounds.SOUNDS[name]()
    assert len(combiner.encode(sound, effort=1).data) <= flac_bytes(sound)


def test_a_low_sample_rate_has_no_more_samples_to_code():
    prior = combiner.find_prior("speech-5")
    assert prior.points_rendered(Signal("sound", tone(20_000).samples, 16, 16).format) == 20_000


@pytest.mark.parametrize("name", ["white-noise", "speech-like-quiet", "clicks"])
def test_no_sound_is_lost_when_it_is_tuned_for_ears(name):
    sound = zoo_sounds.SOUNDS[name]()
    result = combiner.encode(sound, effort=1, tune="perceptual")
    assert combiner.signal_to_noise(sound, result.decoded) > 1.5  # as many bits as without, with the errors elsewhere


def test_what_lies_next_to_half_of_a_lower_rate_is_not_filtered_away():
    sound = zoo_sounds.SOUNDS["rate-8000"]()  # up to 3900 Hz; on the way to 16000 Hz and back it gets an SNR of 23 dB
    usual, finest = (combiner.encode(sound, effort=1, quality=quality).decoded for quality in (5, 10))
    assert combiner.signal_to_noise(sound, usual) > 40
    assert combiner.signal_to_noise(sound, finest) > combiner.signal_to_noise(sound, usual) + 10


def test_what_lies_above_the_rate_of_a_prior_is_coded_as_it_is():
    prior = combiner.find_prior("speech-5")
    low = zoo_sounds.sound_of(zoo_sounds.chirp(50, 3000, 48000), 48000)
    high = zoo_sounds.sound_of(zoo_sounds.chirp(50, 20000, 48000), 48000)
    usual = Target("rate", 1.0)
    assert [encoder._loses_much(prior, sound, usual) for sound in (low, high)] == [False, True]
    assert encoder._loses_much(prior, low, Target("psnr", 100.0))  # resampling itself would lose too much for that
    decoded = combiner.encode(high, prior=prior, effort=1).decoded
    assert combiner.signal_to_noise(high, decoded) > 10


@pytest.mark.parametrize("name", ["constant", "tone", "clicks", "white-noise", "speech-like"])
def test_the_size_without_loss_is_about_that_of_flac(name):
    sound = zoo_sounds.SOUNDS[name]()
    assert 0.8 * flac_bytes(sound) < lossless_bytes(sound) < 2.5 * flac_bytes(sound)


def test_the_size_without_loss_worked_by_hand():
    # 86 bytes and a frame's 10, the first sample as it is, and a block of differences that are all 2: as numbers
    # without a sign 4, whose Rice parameter is 2: 3 bits and one more each, and 5 bits for the parameter
    ramp = Signal("sound", (np.arange(256)[:, None] * (2 / 2**15)).astype(np.float32), 16000, 16)
    assert lossless_bytes(ramp) <= 86 + 10 + (16 + 5 + 256 * 4) / 8
    silent = Signal("sound", np.zeros((5000, 1), np.float32), 16000, 16)
    assert lossless_bytes(silent) == 86 + 2 * 10 + 2


def test_the_cost_of_a_sound_counts_what_resampling_loses():
    prior, sound = combiner.find_prior("speech-5"), zoo_sounds.sound_of(zoo_sounds.chirp(9000, 20000, 48000), 48000)
    kept = Signal("sound", resampled(resampled(sound.samples, 48000, 16000), 16000, 48000, sound.points), 48000, 16)
    lost, little = (prior.predicted_costs([one], 1e-4)[0] for one in (sound, kept))
    energy = float(np.square(sound.samples, dtype=np.float64).sum())
    assert lost - little > 0.9 * energy / (2 * np.log(2) * 1e-4)
