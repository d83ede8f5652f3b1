"""Coding sounds with a lapped prior: what comes back, exact sizes, hops, segments, damage."""

import functools
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.coding import coded, of_size, shipped
from support.learned import tiny_lapped, tiny_lapped_mono
from support.signals import recordings_of_tones, tone

from combiner_cli.container.file import File
from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.families.lapped import encoder, transform
from combiner_cli.families.lapped.encoder import Recording, SoundSimulation, simulate
from combiner_cli.family import Target, View
from combiner_cli.signals.signal import Signal
from combiner_cli.stages.shape import FLAT_SOUND
from combiner_cli.stages.widening import NO_WIDENING


def noise(length, channels=1, seed=0, size=0.1):
    return np.random.default_rng(seed).normal(0, size, (length, channels)).astype(np.float32)


def sound(samples, rate=16000, depth=16):
    steps = 2.0 ** (depth - 1)
    samples = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * steps), -steps, steps - 1) / steps
    return Signal("sound", samples.reshape(len(samples), -1).astype(np.float32), rate, depth)


def at_rate(times=1.0, prior=None):
    """A target of so many times a prior's own rate."""
    return Target("rate", times * (prior or tiny_lapped()).bits_per_point)


# what comes back


@given(
    st.one_of(st.integers(1, 40), st.integers(41, 900)),
    st.integers(1, 2),
    st.sampled_from([8000, 16000, 15000, 22050, 44100]),
    st.sampled_from([16, 24]),
    st.sampled_from([at_rate, None]),
    st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_what_is_encoded_decodes(length, channels, rate, depth, target, seed):
    signal = sound(tone(length, channels, rate, seed).samples + noise(length, channels, seed, 0.02), rate, depth)
    if target is None:
        coding = of_size(signal, tiny_lapped(), 400, effort=1 + seed % 5)
    else:
        coding = coded(signal, tiny_lapped(), target((0.3, 1.0, 2.5)[seed % 3]), effort=1 + seed % 5)
    assert np.abs(coding.decoded_signal.samples - signal.samples).max() < 1.5


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_of_any_sample_rate_comes_back_as_what_it_was(rate, channels):
    signal = tone(1200, channels, rate, 4)
    coding = coded(signal, tiny_lapped())
    assert coding.psnr > 35
    assert coded(signal, tiny_lapped()).file.data == coding.file.data


def test_quality_grows_with_the_rate_and_with_the_size():
    signal, prior = sound(recordings_of_tones(1, 9)[0].T), tiny_lapped()
    by_quality = [coded(signal, prior, Target("rate", prior.rate_at(quality))) for quality in (1, 6, 10)]
    by_size = [of_size(signal, prior, size) for size in (100, 300, 900, 2000)]
    # which candidates there are is a matter of the prior's id, which is another one on every kind of processor
    chance = 0.2
    for codings, more in ((by_quality, 0.5), (by_size, 15)):
        psnrs = [coding.psnr for coding in codings]
        assert all(later > earlier - chance for earlier, later in pairwise(psnrs)) and psnrs[-1] > psnrs[0] + more


@pytest.mark.parametrize("psnr", [30.0, 45.0])
def test_a_psnr_is_about_reached(psnr):
    signal = sound(recordings_of_tones(1, 9)[0].T)
    assert coded(signal, tiny_lapped(), Target("psnr", psnr)).psnr == pytest.approx(psnr, abs=2.5)


def test_a_prior_of_one_channel_encodes_pairs():
    assert coded(tone(1000, 2, seed=3), tiny_lapped_mono()).psnr > 35


def test_channels_are_turned_to_where_the_energy_is():
    samples = tone(1000).samples[:, :1]
    for left, right, angle in ((1, 0, 0), (1, 1, 16), (0, 1, 32), (1, -1, 48)):
        coding = of_size(sound(np.concatenate([left * samples, right * samples], axis=1)), tiny_lapped(), 400)
        assert coding.encoded.numbers["angle"] == (angle,)
        assert coding.psnr > 30
        turned = coding.decoded_signal.samples @ transform.rotation(angle).T
        assert np.abs(turned[:, 1]).max() < 1.5 / 32768 < 0.1 < np.abs(turned[:, 0]).max()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [1, 500])
def test_silence_comes_back_as_silence(length, channels):
    signal = sound(np.zeros((length, channels)))
    coding = coded(signal, tiny_lapped())
    assert not coding.decoded_signal.samples.any()
    assert coding.size < 45
    of_size(signal, tiny_lapped(), 300)


@pytest.mark.parametrize(
    ("samples", "least"),
    [
        (np.full(600, 0.5), 30),
        (np.full(600, 1.0), 30),
        (np.sign(np.sin(np.arange(600) * 0.2 + 0.1)), 20),
        (np.sign(np.sin(np.arange(600) * 3.1 + 0.1)), 20),
        (np.eye(1, 600, 300)[0], 30),
    ],
    ids=["constant", "largest constant", "low square", "high square", "click"],
)
def test_unusual_sounds(samples, least):
    assert of_size(sound(samples), tiny_lapped(), 1200).psnr > least


# sizes


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [74, 75, 150, 333, 900, 2000])
def test_a_size_is_met_exactly(size, channels):
    of_size(tone(1000, channels, seed=3), tiny_lapped(), size)


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(UsageError, match=r"a file of this sound takes \d+ bytes; ask for more than 20"):
        of_size(tone(1000), tiny_lapped(), 20)


def test_a_weight_that_no_candidate_reaches_does_not_take_all_groups_there_are():
    of_size(sound(tone(36, 1, 15000, 51).samples + noise(36, 1, 51, 0.02), 15000), tiny_lapped(), 200)


def test_many_more_bytes_than_there_is_use_for_do_no_harm():
    usual, most = (of_size(tone(300), tiny_lapped(), size).psnr for size in (150, 5000))
    assert most > usual - 6


def test_more_effort_gives_no_worse_sound():
    signal = sound(recordings_of_tones(2, 30)[1].T)
    least, _, most = (of_size(signal, tiny_lapped(), 700, effort=effort).psnr for effort in (1, 5, 9))
    assert most > least - 0.2


# choices


def test_the_cheaper_hop_is_chosen(monkeypatch):
    asked, usual = {}, SoundSimulation.lagrangian

    def watched(simulation, noise_level):
        asked[simulation.recording.hop] = usual(simulation, noise_level)
        return asked[simulation.recording.hop]

    monkeypatch.setattr(SoundSimulation, "lagrangian", watched)
    prior, hops = tiny_lapped(), []
    for samples in (tone(3000, seed=6).samples, np.arange(1500) % 100 == 40):
        (number,) = coded(sound(samples), prior, at_rate(0.5)).encoded.numbers["hop"]
        assert set(asked) == set(prior.hops)
        assert prior.hops[number] == min(asked, key=asked.get)
        hops.append(number)
    assert hops == [1, 0]  # tones are for long frames, clicks are for short ones


def test_segments_are_simulated_once_and_a_few_stand_for_all(monkeypatch):
    signal, prior = tone(1600), tiny_lapped()
    monkeypatch.setattr(transform, "MOST_FRAMES", 5)
    simulated, usual = [], encoder._simulated
    monkeypatch.setattr(encoder, "_simulated", lambda *arguments: simulated.append(1) or usual(*arguments))
    recording = Recording(signal.samples.T, 32)
    assert len(recording.segments) == 11
    simulation = SoundSimulation(prior, signal.format, recording, {}, most_segments=3)
    some = simulation.cost(40)
    assert len(simulated) == 3
    simulation.cost(40)
    assert len(simulated) == 3
    parts = simulation.parts(40)
    assert len(simulated) == 11
    assert some.bits == pytest.approx(sum(parts[number].bits for number in (1, 5, 9)) * 11 / 3)
    assert some.information == pytest.approx(sum(parts[number].information for number in (1, 5, 9)) * 11 / 3)


def test_weights_that_candidates_would_not_reach_are_named(monkeypatch):
    prior, noise_level = replace(tiny_lapped(), hops=(32,)), 60
    weights = np.random.default_rng(4).normal(0, 4, (1, 9, 32))
    weights[0, 5, 9] = 1000
    weights *= transform.noise_deviation(noise_level)
    named = simulate(prior, weights, noise_level).squared_error
    none = "combiner_cli.stages.encoding.simulation.widenings_of"
    monkeypatch.setattr(none, lambda _, bands, *__: [NO_WIDENING] * bands)
    assert named < 0.6 * simulate(prior, weights, noise_level).squared_error


def test_only_bands_that_are_worth_it_are_coded():
    weights = np.zeros((1, 3, 64))
    assert encoder.limit_of(weights) == 0
    # a band is worth it where 4 · (energy - 1 - ln(energy)) / ln 2 bits are more than 6: energies from 3.205 on
    for energy, limit in ((3.2, 0), (3.21, 21)):  # three of eight bands are 21 80ths, rounded up
        weights[0, 1, 16:24] = energy**0.5
        assert encoder.limit_of(weights) == limit
    weights[0, 2, 63] = 100
    assert encoder.limit_of(weights) == 71  # the last of them


# segments


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(transform, "MOST_FRAMES", 12)


@pytest.mark.usefixtures("short_segments")
def test_a_sine_has_no_step_where_segments_join():
    hop, length = 32, 2400
    prior, samples = replace(tiny_lapped(), hops=(hop,)), 0.3 * np.sin(np.arange(length) * 0.11)
    parts = transform.segments(transform.frame_count(length, hop))
    assert len(parts) >= 6
    joins = [part.start * hop + offset for part in parts[1:] for offset in range(-hop, hop)]
    signal = sound(samples)
    error = (coded(signal, prior).decoded_signal.samples - signal.samples)[:, 0]
    for values in (error, np.diff(error)):
        inside = np.isin(np.arange(len(values)), joins)
        assert np.sqrt((values[inside] ** 2).mean()) < 2 * np.sqrt((values[~inside] ** 2).mean())
        assert np.abs(values[inside]).max() < 2 * np.abs(values[~inside]).max()


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("size", [300, 900])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_size_is_met_exactly_with_several_segments(size, channels):
    of_size(tone(1600, channels, seed=8), tiny_lapped(), size)


# damage


@functools.cache
def usual_coding():
    return coded(tone(600, 2), tiny_lapped())


def changed_file(payload=None, intact=True, signal_format=None, **numbers):
    """A file with another payload or numbers."""
    coding = usual_coding()
    encoded = replace(
        coding.encoded,
        numbers={**coding.encoded.numbers, **numbers},
        payload=coding.encoded.payload if payload is None else payload,
    )
    data = bytearray(tiny_lapped().pack(signal_format or coding.signal.format, encoded))
    if not intact:
        data[-1] ^= 1
    return File.parse(bytes(data), ignore_checksum=not intact)


def decoded(file):
    return tiny_lapped().decode(file, View()).signal().samples


@pytest.mark.parametrize("number", [2, 8])
def test_a_hop_that_the_prior_does_not_have_is_refused(number):
    with pytest.raises(DamagedFileError, match="hop is out of range"):
        decoded(changed_file(hop=(number,)))


@pytest.mark.parametrize("numbers", [{"hop": (18,)}, {"angle": (64,)}, {"chains": (0,)}, {"noise": (-1,)}], ids=str)
def test_numbers_out_of_range_are_not_written(numbers):
    with pytest.raises(ValueError, match="cannot be"):
        changed_file(**numbers)


def test_a_payload_that_is_cut_is_refused_where_classes_are_missing():
    payload, (class_bytes,) = usual_coding().encoded.payload, usual_coding().encoded.numbers["class_bytes"]
    for length in (0, 1, class_bytes - 1):
        with pytest.raises(DamagedFileError):
            decoded(changed_file(payload[:length]))
        assert decoded(changed_file(payload[:length], intact=False)).shape == (600, 2)
    for length in (class_bytes, class_bytes + 3, len(payload) - 1):
        assert decoded(changed_file(payload[:length])).shape == (600, 2)


def test_a_file_that_is_cut_sounds_as_well_as_it_goes():
    payload = usual_coding().encoded.payload
    cut = decoded(changed_file(payload[:-3], intact=False))
    whole = usual_coding().decoded_signal.samples
    assert np.sqrt(((cut - whole) ** 2).mean()) < 0.3 * np.sqrt((whole**2).mean())


def test_classes_that_no_encoder_writes_are_refused_unless_damage_is_known():
    with pytest.raises(DamagedFileError, match="classes"):
        decoded(changed_file(b"\xff" * 12, class_bytes=(12,)))
    assert decoded(changed_file(b"\xff" * 12, intact=False, class_bytes=(12,))).shape == (600, 2)


@given(st.binary(max_size=80), st.integers(0, 90), st.integers(0, 127), st.integers(0, 1), st.integers(0, 63))
@settings(max_examples=25, deadline=None)
def test_random_payloads_decode_or_are_refused(payload, class_bytes, noise_level, hop, angle):
    signal_format = replace(usual_coding().signal.format, shape=(150,))
    numbers = {"noise": (noise_level,), "hop": (hop,), "angle": (angle,), "class_bytes": (class_bytes,)}
    file = changed_file(payload, signal_format=signal_format, **numbers)
    with suppress(DamagedFileError):  # the stream of classes may not be one
        assert decoded(file).shape == (150, 2)
    assert decoded(changed_file(payload, intact=False, signal_format=signal_format, **numbers)).shape == (150, 2)


# looking at files


def test_a_sound_is_rendered_at_a_multiple_of_its_rate():
    file = usual_coding().file
    usual, twice = (tiny_lapped().decode(file, View(scale=scale)).signal() for scale in (1, 2))
    assert (twice.sample_rate, twice.points) == (32000, 1200)
    between = (twice.samples[::2] + twice.samples[1::2]) / 2
    assert np.abs(between - usual.samples).max() < 0.02


def test_groups_are_told_by_level_and_phase():
    coding = coded(tone(3000), shipped("speech-5"))
    names = list(coding.decoded.groups)
    assert names[0] == "level 3 phase 0"
    assert names == sorted(names, key=lambda name: (-int(name.split()[1]), int(name.split()[3])))
    total = sum(coding.decoded.groups.values())
    assert coding.decoded.class_bytes + total == len(coding.encoded.payload)
    assert coding.decoded.noise_level == coding.encoded.numbers["noise"][0]


@pytest.mark.parametrize("target", [Target("size", 400), Target("rate", 0.7)])
def test_a_flat_shape_of_the_noise_gives_the_same_bytes_as_none(target, monkeypatch):
    monkeypatch.setattr(encoder, "PERCEPTUAL", FLAT_SOUND)
    prior, sound = shipped("speech-5"), tone(3000)
    flat = coded(sound, prior, replace(target, tune="perceptual")).file.data
    assert flat == coded(sound, prior, target).file.data


def test_a_rate_is_about_the_same_with_a_shape_of_the_noise():
    prior, sound = shipped("speech-5"), tone(16000)
    sizes = [coded(sound, prior, Target("rate", 0.7, tune)).size for tune in ("psnr", "perceptual")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.12)
