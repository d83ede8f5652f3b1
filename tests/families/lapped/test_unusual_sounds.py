"""Sounds that are not what priors expect: none is lost, none takes more than without loss, no rate takes long."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


def few_samples(count, channels, rate):
    """Samples that have nothing to do with each other."""
    return zoo_sounds.sound_of(np.random.default_rng(count).uniform(-1, 1, (count, channels)), rate)


@pytest.mark.parametrize("name", sorted(zoo_sounds.SOUNDS))
def test_no_file_is_larger_than_one_without_loss(name):
    sound = zoo_sounds.SOUNDS[name]()
    assert len(combiner.encode(sound, effort=1).data) <= flac_bytes(sound)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17])
@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100)])
def test_nor_is_that_of_a_few_samples_which_are_still_there(count, channels, rate):
    sound = few_samples(count, channels, rate)
    for quality in (5, 10):
        result = combiner.encode(sound, effort=1, quality=quality)
        assert len(result.data) <= flac_bytes(sound)
        assert combiner.signal_to_noise(sound, result.decoded) > 10


def test_with_so_few_bytes_a_constant_sound_is_about_the_same():
    sound = zoo_sounds.SOUNDS["constant"]()
    assert combiner.signal_to_noise(sound, combiner.encode(sound, effort=1).decoded) > 15


@pytest.mark.parametrize("name", ["jump", "speech-like-quiet", "speech-like-quiet-24", "rate-100", "rate-192000"])
def test_more_quality_is_more_bytes_and_less_error(name):
    sound = zoo_sounds.SOUNDS[name]()
    results = [combiner.encode(sound, effort=1, quality=quality, tune="psnr") for quality in (2, 5, 8, 10)]
    sizes = [len(result.data) for result in results]
    psnrs = [combiner.psnr(sound, result.decoded) for result in results]
    assert sizes == sorted(sizes) and psnrs == sorted(psnrs)


KINDS = {
    "noise": lambda count, dice: dice.normal(0, 0.2, count),
    "tone": lambda count, dice: 0.5 * np.sin(np.arange(count) * dice.uniform(0, np.pi) + dice.uniform(0, 6)),
    "clicks": lambda count, dice: 0.9 * (dice.random(count) < 0.01),
    "jump": lambda count, dice: dice.uniform(-0.9, 0.9) * (np.arange(count) > count * dice.random()),
    "wander": lambda count, dice: np.sin(np.cumsum(dice.normal(0, 0.05, count))),
    "constant": lambda count, dice: np.full(count, dice.uniform(-1, 1)),
}


@st.composite
def sounds(draw):
    """Sounds of every kind and loudness, and of any number of samples."""
    count, channels = draw(st.integers(1, 40) | st.integers(1, 2000)), draw(st.integers(1, 2))
    kind, rate = draw(st.sampled_from(sorted(KINDS))), draw(st.sampled_from([100, 8000, 16000, 44100]))
    dice = np.random.default_rng(draw(st.integers(0, 999)))
    loudness = 10.0 ** -draw(st.integers(0, 3))
    samples = np.stack([KINDS[kind](count, dice) for _ in range(channels)], axis=1)
    return zoo_sounds.sound_of(loudness * samples, rate, draw(st.sampled_from([16, 24])))


@given(sounds(), st.integers(1, 9))
@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_higher_quality_is_no_worse(sound, quality):
    lower, higher = (combiner.encode(sound, effort=1, quality=step, tune="psnr") for step in (quality, quality + 1))
    lower_psnr, higher_psnr = (min(combiner.psnr(sound, result.decoded), 100) for result in (lower, higher))
    # the error of few samples is as much chance as a mean of so many squares of normal numbers; three deviations of it
    assert higher_psnr >= lower_psnr - 10 * np.log10(1 + 3 * np.sqrt(2 / sound.samples.size))
    # candidates that come out badly are mended by more of them
    assert len(higher.data) >= 0.9 * len(lower.data) - 4


def test_a_low_sample_rate_has_no_more_samples_to_code():
    prior = combiner.find_prior("speech-5")
    assert prior.points_rendered(Signal("sound", tone(20_000).samples, 16, 16).format) == 20_000


def test_a_shape_that_would_lose_a_sound_is_weaker_or_left_out():
    results = [combiner.encode(zoo_sounds.SOUNDS[name](), effort=1) for name in ("speech-like", "speech-like-quiet")]
    usual, quiet = (combiner.inspect(result.data).noise_shape for result in results)
    assert usual and quiet != usual
    assert combiner.signal_to_noise(zoo_sounds.SOUNDS["speech-like-quiet"](), results[1].decoded) > LEAST


def test_music_has_another_shape_than_speech():
    exponents = []
    for name, rate in (("speech-5", 16000), ("general-2", 44100)):
        tone_of_rate = zoo_sounds.sound_of(0.4 * np.sin(np.arange(rate) * 0.1), rate)
        coded = combiner.encode(tone_of_rate, effort=1, prior=name)
        exponents.append(combiner.inspect(coded.data).noise_shape[0])
    assert exponents == [encoder.PERCEPTUAL.exponent, encoder.PERCEPTUAL_MUSIC.exponent]


def test_few_samples_have_no_shape():
    assert not combiner.inspect(combiner.encode(few_samples(17, 2, 44100), effort=1).data).noise_shape


def test_to_ears_all_sounds_are_worth_about_as_much():
    sounds = [zoo_sounds.sound_of(loudness * zoo_sounds.hiss(1.0), 16000) for loudness in (0.05, 0.5)]
    sounds.append(zoo_sounds.SOUNDS["speech-like"]())
    spread = {}
    for tune in ("psnr", "perceptual"):
        rates = [8 * len(combiner.encode(sound, effort=1, tune=tune).data) / sound.points for sound in sounds]
        spread[tune] = max(rates) / min(rates)
    assert spread["perceptual"] < 1.5 and spread["perceptual"] < spread["psnr"]


def test_what_lies_next_to_half_of_a_lower_rate_is_not_filtered_away():
    sound = zoo_sounds.SOUNDS["rate-8000"]()  # up to 3900 Hz; on the way to 16000 Hz and back it gets an SNR of 23 dB
    usual, finest = (combiner.encode(sound, effort=1, quality=quality, tune="psnr").decoded for quality in (5, 10))
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


@pytest.mark.parametrize("name", ["constant", "chord", "jump", "clicks", "white-noise", "speech-like", "rate-192000"])
def test_the_size_without_loss_is_about_that_of_flac(name):
    sound = zoo_sounds.SOUNDS[name]()
    assert 0.9 * flac_bytes(sound) < lossless_bytes(sound) < 1.1 * flac_bytes(sound)


def test_the_size_without_loss_worked_by_hand():
    # 86 bytes and a frame's 9, two samples as they are, and two blocks of second differences that are all 0: one bit
    # each, and 4 for the parameter of each block; 0.96 of these bits
    ramp = Signal("sound", (np.arange(256)[:, None] * (2 / 2**15)).astype(np.float32), 16000, 16)
    assert lossless_bytes(ramp) == 86 + 9 + round(0.96 * (2 * 16 + 254 + 2 * 4) / 8)
    silent = Signal("sound", np.zeros((5000, 1), np.float32), 16000, 16)
    assert lossless_bytes(silent) == 86 + 2 * 9 + round(0.96 * 2 * 2)


def test_the_cost_of_a_sound_counts_what_resampling_loses():
    prior, sound = combiner.find_prior("speech-5"), zoo_sounds.sound_of(zoo_sounds.chirp(9000, 20000, 48000), 48000)
    kept = Signal("sound", resampled(resampled(sound.samples, 48000, 16000), 16000, 48000, sound.points), 48000, 16)
    lost, little = (prior.predicted_costs([one], 1e-4)[0] for one in (sound, kept))
    energy = float(np.square(sound.samples, dtype=np.float64).sum())
    assert lost - little > 0.9 * energy / (2 * np.log(2) * 1e-4)


@pytest.mark.parametrize(("name", "far"), [("tone", False), ("white-noise", True)])
def test_a_shape_of_the_noise_does_not_make_a_sound_far_from_its_prior(name, far):
    """The base of a shaped noise is far below what most weights have."""
    sound = tone(20_000) if name == "tone" else zoo_sounds.SOUNDS[name]()
    result = combiner.encode(sound, size=1500, effort=1, tune="perceptual")
    assert result.far_from_prior == far
