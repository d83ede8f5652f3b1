"""Lapped priors: transform, context, moments, coding, segments, damage, learning."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from combiner_cli.families.lapped.files import _Listener
from conftest import lapped_plan, recordings_of_tones, smooth_image, tiny_lapped, tiny_lapped_mono, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import DamagedFileError, DatasetError, LimitError, UsageError
from combiner_cli.families.lapped import encoder
from combiner_cli.families.lapped import learning as learn_recordings
from combiner_cli.families.lapped import prior as recordings
from combiner_cli.families.lapped import transform as lapped
from combiner_cli.families.lapped.encoder import Recording, forecast
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.families.lapped.transform import BAND, LEVELS, PARITIES, PHASES
from combiner_cli.learning import datasets, trainer
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.rec.candidates import Chaining
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal
from combiner_cli.stages.allocation import Share
from combiner_cli.stages.encoder import Forecast, Writer
from combiner_cli.system import threads as workers

HOPS = st.integers(1, 8).map(lambda n: 16 * n)


def noise(length, channels=1, seed=0, size=0.1):
    return np.random.default_rng(seed).normal(0, size, (length, channels)).astype(np.float32)


def sound(samples, rate=16000, depth=16):
    steps = 2.0 ** (depth - 1)
    samples = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * steps), -steps, steps - 1) / steps
    return Signal("sound", samples.reshape(len(samples), -1).astype(np.float32), rate, depth)


def both_ways(signal, prior, how=None):
    """The result of encoding, once decoding has given the same samples."""
    result = pipeline.encode(signal, prior, how)
    decoded = pipeline.decode(result.data, lambda _: prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)
    assert decoded.samples.shape == signal.samples.shape
    assert (decoded.sample_rate, decoded.bit_depth) == (signal.sample_rate, signal.bit_depth)
    return result


# transform


@given(st.integers(1, 700), HOPS, st.integers(1, 2), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_synthesis_undoes_analysis(length, hop, channels, seed):
    recording = Recording(noise(length, channels, seed).T, hop)
    frames = lapped.frame_count(length, hop)
    weights = recording.weights(slice(0, frames))
    assert weights.shape == (channels, frames, hop)
    back = recordings.rendered(iter([weights]), channels, length, hop, hop)
    assert back == pytest.approx(recording.samples.T, abs=1e-6)
    in_two = [recording.weights(slice(0, frames // 2)), recording.weights(slice(frames // 2, frames))]
    assert recordings.rendered(iter(in_two), channels, length, hop, hop) == pytest.approx(back, abs=1e-6)


@pytest.mark.parametrize("hop", [16, 48])
def test_the_features_of_all_frames_are_orthonormal(hop):
    frames = 3
    features = lapped.synthesise(np.eye(frames * hop).reshape(-1, frames, hop), hop)
    assert features @ features.T == pytest.approx(np.eye(frames * hop), abs=1e-12)


@given(HOPS)
@settings(max_examples=10, deadline=None)
def test_the_squares_of_windows_that_overlap_sum_to_one(hop):
    shape = lapped.window(hop)
    assert shape[:hop] ** 2 + shape[hop:] ** 2 == pytest.approx(np.ones(hop), abs=1e-12)
    assert shape == pytest.approx(shape[::-1])


def values_by_hand(weights, hop, times):
    """The continuous functions at times in hops from the beginning of the second frame."""
    found = np.zeros(len(times))
    for frame, place in np.ndindex(weights.shape):
        t = times - (frame - 1)
        window = np.sin(math.pi / 2 * np.sin(math.pi * t / 2) ** 2) * ((t > 0) & (t < 2))
        found += weights[frame, place] * window * math.sqrt(2 / hop) * np.cos(math.pi * (t + 0.5) * (place + 0.5))
    return found


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_rendering_is_of_functions_of_continuous_time(scale):
    hop, length = 16, 50
    weights = np.random.default_rng(2).normal(size=(1, lapped.frame_count(length, hop), hop))
    found = recordings.rendered(iter([weights]), 1, length * scale, hop, hop * scale)[:, 0]
    times = (np.arange(length * scale) + 0.5) / (hop * scale)
    assert found == pytest.approx(values_by_hand(weights[0], hop, times), abs=1e-5)
    if scale == 1:
        whole = lapped.synthesise(weights[0], hop)[hop : hop + length]
        assert found == pytest.approx(whole, abs=1e-6)


# context


class Drawn:
    """A source of random classes and weights, other ones from some step on, that keeps what each is foretold from."""

    def __init__(self, changed):
        self._generator, self._other = np.random.default_rng(0), np.random.default_rng(1)
        self._changed, self.foretold = changed, []

    def steer(self):
        raise AssertionError("a segment alone is not steered")

    def limit(self):
        return 60

    def _drawn(self, foretold, method, *arguments):
        values = [getattr(generator, method)(*arguments) for generator in (self._generator, self._other)]
        self.foretold.append(foretold)
        return values[len(self.foretold) > self._changed]

    def activity(self, own, level, parity, channel, frequencies):
        return self._drawn(frequencies, "integers", 0, lapped.CLASSES, frequencies.shape[1])

    def details(self, name, own, moments):
        values = self._drawn(moments.deviation, "normal", 0, 1000, len(moments.mean))
        return np.rint(values) * (moments.deviation >= 0)


@pytest.mark.parametrize("changed", range(0, 40, 5))
def test_what_is_foretold_of_a_step_depends_on_earlier_steps_only(changed):
    found = []
    for first in (changed, 1000):
        source = Drawn(first)
        recordings.descend(tiny_lapped(), 19, 2, 32, 40, source)
        found.append(source.foretold)
    same = [np.array_equal(*pair) for pair in zip(*found, strict=True)]
    assert len(same) == LEVELS * 2 * (PARITIES + PHASES)
    assert all(same[: changed + 1])
    assert changed == len(same) - 1 or not all(same[changed + 1 :])


def drawn_segment(codes, seeds, count=21, bins=40, hop=64):
    """Recordings of random weights and classes, each with a seed of its own."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    own = lapped.segment(np.array(codes), hop, 2, count, bins)
    for level, channel in itertools.product(range(LEVELS), range(2)):
        for parity in range(PARITIES):
            count = lapped.band_latents(own, level, parity) // len(codes)
            drawn = [generator.integers(0, lapped.CLASSES, count) for generator in generators]
            lapped.put_activity(own, level, parity, channel, np.concatenate(drawn))
        for phase in range(PHASES):
            count = lapped.latents(own, level, phase) // len(codes)
            drawn = [np.rint(generator.standard_cauchy(count) * 300) for generator in generators]
            lapped.put(own, level, phase, channel, np.concatenate(drawn))
    return own


def detail_features(own, level, phase, channel):
    return lapped.detail_features(own, level, phase, channel, np.arange(lapped.latents(own, level, phase)))


@pytest.mark.parametrize("level", range(LEVELS))
def test_a_batch_gives_the_same_features_as_its_recordings_alone(level):
    codes, seeds = [40, 9, 77], [5, 6, 7]
    batch = drawn_segment(codes, seeds)
    alone = [drawn_segment([code], [seed]) for code, seed in zip(codes, seeds, strict=True)]
    for numbers, gather in ((PHASES, detail_features), (PARITIES, lapped.activity_features)):
        for number, channel in itertools.product(range(numbers), range(2)):
            single = np.concatenate([gather(own, level, number, channel) for own in alone], axis=1)
            assert np.array_equal(gather(batch, level, number, channel), single)


@pytest.mark.parametrize("level", range(LEVELS))
def test_features_are_whole_and_bounded_and_as_many_as_the_network_takes(level):
    own, known = drawn_segment([40], [2]), lapped.networks(level)
    for channel in range(2):
        for phase in range(PHASES):
            features = detail_features(own, level, phase, channel)
            assert len(features) == known[lapped.detail_name(phase, channel)].features
            assert np.array_equal(features, np.floor(features))
            assert features[0].max() <= 256 * 15 and np.abs(features[1:]).max() <= 2047
        for parity in range(PARITIES):
            features = lapped.activity_features(own, level, parity, channel)
            assert len(features) == known[lapped.activity_name(parity, channel)].features
            assert np.array_equal(features, np.floor(features)) and np.abs(features).max() <= 64 * 15


def test_every_weight_is_in_exactly_one_stage():
    seen = np.zeros((1, 21, 40), dtype=int)
    for level, phase in itertools.product(range(LEVELS), range(PHASES)):
        lapped.target(seen, level, phase)[...] += 1
    assert (seen == 1).all()


# moments


def test_weights_of_silent_bands_are_pruned():
    prior, own = tiny_lapped(), drawn_segment([40], [3], hop=32, bins=24)
    classes = np.zeros((1, 21, 3), dtype=int)
    classes[:, ::2, 1] = 9
    for level, parity in itertools.product(range(LEVELS), range(PARITIES)):
        first, step = lapped.frames_of(level)
        lapped.put_activity(own, level, parity, 0, classes[:, first::step, parity::PARITIES])
    for level, phase in itertools.product(range(LEVELS), range(PHASES)):
        moments = prior.moments(own, level, phase, 0)
        expected = lapped.target(np.repeat(classes > 0, BAND, axis=-1), level, phase).reshape(-1)
        assert np.array_equal(moments.deviation >= 0, expected)
        assert np.array_equal(moments.information() > 0, expected)
        assert not moments.mean.any()


def test_frequencies_sum_up_and_none_is_zero():
    own = drawn_segment([40], [3], hop=32, bins=24)
    for level, parity, channel in itertools.product(range(LEVELS), range(PARITIES), range(2)):
        found = tiny_lapped().activity(own, level, parity, channel)
        assert found.shape == (lapped.CLASSES, lapped.band_latents(own, level, parity))
        assert (found.sum(axis=0) == 2**16).all() and found.min() >= 1
    assert recordings.number_frequencies().sum() == 2**16


def test_a_second_channel_is_one_of_its_own_for_a_prior_of_one():
    pair, swapped = drawn_segment([40], [3], hop=32, bins=24), drawn_segment([40], [3], hop=32, bins=24)
    for array in (swapped.weights, swapped.loudness, swapped.smooth, swapped.activity):
        array[...] = array[:, ::-1].copy()
    for prior, alike in ((tiny_lapped_mono(), True), (tiny_lapped(), False)):
        moments = [prior.moments(own, 0, 2, channel).deviation for own, channel in ((pair, 1), (swapped, 0))]
        assert np.array_equal(*moments) == alike
        frequencies = [prior.activity(own, 0, 1, channel) for own, channel in ((pair, 1), (swapped, 0))]
        assert np.array_equal(*frequencies) == alike


@pytest.mark.parametrize("frames", [1, 2, 511, 512, 513, 1024, 5000])
def test_segments_follow_one_another(frames):
    found = recordings.segments(frames)
    assert [own.start for own in found] == [0, *(own.stop for own in found[:-1])]
    assert found[-1].stop == frames
    sizes = [own.stop - own.start for own in found]
    assert max(sizes) <= 512 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "changed",
    [
        {"family": "pyramid"},
        {"kind": "image"},
        {"size": 0},
        {"size": 1.0},
        {"sample_rate": 0},
        {"sample_rate": 2**32},
        {"channels": 0},
        {"channels": 3},
        {"parts_from": 3},
        {"parts_from": 21},
        {"hops": ()},
        {"hops": (32,) * 10},
        {"hops": (32, 24)},
        {"hops": (8,)},
        {"hops": (4112,)},
        {"hops": (32.0,)},
        {"noise_codes": (60, 20)},
        {"noise_codes": (20, 128)},
        {"noise_codes": (20, 60, 70)},
        {"rates": (2.0, 1.0)},
        {"rates": (1, 2)},
        {"errors": (0.1, 0.0)},
        {"errors": (0.1, math.inf)},
    ],
    ids=str,
)
def test_impossible_configurations_are_refused(changed):
    assert recordings.problem(tiny_lapped()) is None
    assert recordings.problem(replace(tiny_lapped(), **changed)) == "its configuration is out of range"


@pytest.mark.parametrize("change", ["missing", "shape", "type", "more", "pairs"])
def test_a_damaged_prior_is_refused(tmp_path, change):
    prior, path = tiny_lapped(), tmp_path / "tiny.safetensors"
    stored, name = dict(prior.stored), "1.detail_2_1.first"
    if change == "missing":
        del stored[name]
    elif change == "shape":
        stored[name] = stored[name][:, :-1]
    elif change == "type":
        stored[name] = stored[name].astype(np.int32)
    elif change == "more":
        stored["other"] = stored[name]
    library.save(replace(prior, stored=stored, channels=1 if change == "pairs" else 2), path)
    with pytest.raises(DamagedFileError):
        library.load(path)


@pytest.mark.parametrize("prior", [tiny_lapped, tiny_lapped_mono])
def test_a_prior_survives_its_file(tmp_path, prior):
    path = tmp_path / "tiny.safetensors"
    library.save(prior(), path)
    again = library.load(path)
    assert isinstance(again, LappedPrior)
    assert again.id == prior().id and again.configuration() == prior().configuration()
    data = pipeline.encode(tone(200), prior()).data
    assert np.array_equal(
        pipeline.decode(data, lambda _: again).samples, pipeline.decode(data, lambda _: prior()).samples
    )


def test_a_sample_rate_near_that_of_the_prior_is_taken_as_it_is():
    prior = tiny_lapped()
    rates_ = {8000: 16000, 13333: 16000, 13334: 13334, 16000: 16000, 19200: 19200, 19201: 16000, 44100: 16000}
    assert {rate: prior.coded_rate(rate) for rate in rates_} == rates_


# coding


@given(
    st.one_of(st.integers(1, 40), st.integers(41, 900)),
    st.integers(1, 2),
    st.sampled_from([8000, 16000, 15000, 22050, 44100]),
    st.sampled_from([16, 24]),
    st.sampled_from([{"rate": 0.3}, {"rate": 1.0}, {"rate": 2.5}, {"size": 400}]),
    st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_what_is_encoded_decodes(length, channels, rate, depth, how, seed):
    signal = sound(tone(length, channels, rate, seed).samples + noise(length, channels, seed, 0.02), rate, depth)
    result = both_ways(signal, tiny_lapped(), pipeline.Settings(effort=1 + seed % 5, **how))
    assert how.get("size") in (None, len(result.data))
    assert np.abs(result.decoded.samples - signal.samples).max() < 1.5


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_of_any_sample_rate_comes_back_as_what_it_was(rate, channels):
    signal = tone(1200, channels, rate, 4)
    result = both_ways(signal, tiny_lapped(), pipeline.Settings(rate=1.0))
    assert metrics.psnr(signal, result.decoded) > 35
    assert pipeline.encode(signal, tiny_lapped(), pipeline.Settings(rate=1.0)).data == result.data


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [70, 71, 150, 333, 900, 2000])
def test_a_size_is_met_exactly(size, channels):
    signal = tone(1000, channels, seed=3)
    assert len(both_ways(signal, tiny_lapped(), pipeline.Settings(size=size)).data) == size


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(UsageError, match="ask for more than 20"):
        pipeline.encode(tone(1000), tiny_lapped(), pipeline.Settings(size=20))


@pytest.mark.parametrize("psnr", [30.0, 45.0])
def test_a_psnr_is_reached(psnr):
    signal = sound(recordings_of_tones(1, 9)[0].T)
    result = both_ways(signal, tiny_lapped(), pipeline.Settings(psnr=psnr))
    assert psnr <= metrics.psnr(signal, result.decoded) < psnr + 2
    smaller = pipeline.encode(signal, tiny_lapped(), pipeline.Settings(size=int(0.8 * len(result.data))))
    assert metrics.psnr(signal, smaller.decoded) < psnr


def test_a_low_psnr_is_reached_where_not_every_size_can_be_made():
    signal = tone(1500, seed=2)
    result = both_ways(signal, tiny_lapped(), pipeline.Settings(psnr=18.5))
    assert metrics.psnr(signal, result.decoded) >= 18.5
    with pytest.raises(UsageError, match="ask for more than"):
        pipeline.encode(signal, tiny_lapped(), pipeline.Settings(size=len(result.data) - 15))


def test_more_bytes_give_a_better_sound():
    signal = sound(recordings_of_tones(1, 9)[0].T)
    found = [
        pipeline.encode(signal, tiny_lapped(), pipeline.Settings(size=size)).decoded for size in (100, 300, 900, 2000)
    ]
    psnrs = [metrics.psnr(signal, decoded) for decoded in found]
    assert psnrs == sorted(psnrs) and psnrs[-1] > psnrs[0] + 15


def test_a_weight_that_no_candidate_reaches_does_not_take_all_groups_there_are():
    signal = sound(tone(36, 1, 15000, 51).samples + noise(36, 1, 51, 0.02), 15000)
    assert len(both_ways(signal, tiny_lapped(), pipeline.Settings(size=200)).data) == 200


def test_many_more_bytes_than_there_is_use_for_do_no_harm():
    signal = tone(300)
    usual, most = (pipeline.encode(signal, tiny_lapped(), pipeline.Settings(size=size)).decoded for size in (150, 5000))
    assert metrics.psnr(signal, most) > metrics.psnr(signal, usual) - 6


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [1, 500])
def test_silence_comes_back_as_silence(length, channels):
    signal = sound(np.zeros((length, channels)))
    result = both_ways(signal, tiny_lapped())
    assert not result.decoded.samples.any()
    assert len(result.data) < 45
    assert len(both_ways(signal, tiny_lapped(), pipeline.Settings(size=300)).data) == 300


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
    signal = sound(samples)
    assert metrics.psnr(signal, both_ways(signal, tiny_lapped(), pipeline.Settings(size=1200)).decoded) > least


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_clip_of_few_samples_is_coded(length):
    signal = sound(np.array([0.5, -0.4, 0.3])[:length])
    result = both_ways(signal, tiny_lapped(), pipeline.Settings(size=120))
    assert metrics.psnr(signal, result.decoded) > 25


def test_a_prior_of_one_channel_encodes_pairs():
    signal = tone(1000, 2, seed=3)
    result = both_ways(signal, tiny_lapped_mono())
    assert metrics.psnr(signal, result.decoded) > 35


def test_channels_are_turned_to_where_the_energy_is():
    samples = tone(1000).samples[:, :1]
    for left, right, angle in ((1, 0, 0), (1, 1, 16), (0, 1, 32), (1, -1, 48)):
        signal = sound(np.concatenate([left * samples, right * samples], axis=1))
        result = both_ways(signal, tiny_lapped(), pipeline.Settings(size=400))
        assert bitstream.unpack(result.data)[0].transform[1] == angle
        assert metrics.psnr(signal, result.decoded) > 30
        coded = result.decoded.samples @ recordings.rotation(angle).T
        assert np.abs(coded[:, 1]).max() < 1.5 / 32768 < 0.1 < np.abs(coded[:, 0]).max()


def test_more_effort_gives_no_worse_sound():
    signal = sound(recordings_of_tones(2, 30)[1].T)
    psnrs = []
    for effort in (1, 5, 9):
        result = both_ways(signal, tiny_lapped(), pipeline.Settings(size=700, effort=effort))
        assert len(result.data) == 700
        psnrs.append(metrics.psnr(signal, result.decoded))
    assert psnrs[2] > psnrs[0] - 0.2


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(recordings, "_AT_ONCE", 50)
    data = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert workers.count() == int(threads)
        data.append(pipeline.encode(tone(700, 2), tiny_lapped(), pipeline.Settings(rate=0.5)).data)
    assert data[0] == data[1]


def test_the_cheaper_hop_is_chosen(monkeypatch):
    asked, usual = {}, _Listener.cost

    def watched(listener, code):
        asked[listener.recording.hop] = usual(listener, code)
        return asked[listener.recording.hop]

    monkeypatch.setattr(_Listener, "cost", watched)
    prior, numbers = tiny_lapped(), []
    for samples in (tone(1500, seed=6).samples, np.arange(1500) % 100 == 40):
        header, _ = bitstream.unpack(pipeline.encode(sound(samples), prior, pipeline.Settings(rate=0.5)).data)
        assert set(asked) == set(prior.hops)
        assert prior.hops[header.transform[0]] == min(asked, key=asked.get)
        numbers.append(header.transform[0])
    assert numbers == [1, 0]  # tones are for long frames, clicks are for short ones


def test_weights_that_candidates_would_not_reach_are_named(monkeypatch):
    prior, code = replace(tiny_lapped(), hops=(32,)), 60
    weights = np.random.default_rng(4).normal(0, 4, (1, 9, 32))
    weights[0, 5, 9] = 1000
    weights *= recordings.noise_deviation(code)
    named = forecast(prior, weights, code).squared_error
    monkeypatch.setattr(encoder._Recorded, "widen", lambda *_: None)
    assert named < 0.6 * forecast(prior, weights, code).squared_error


# segments


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(recordings, "MOST_FRAMES", 12)


def test_a_sine_has_no_step_where_segments_join(short_segments):
    hop, length = 32, 2400
    prior, samples = replace(tiny_lapped(), hops=(hop,)), 0.3 * np.sin(np.arange(length) * 0.11)
    parts = recordings.segments(lapped.frame_count(length, hop))
    assert len(parts) >= 6
    joins = [own.start * hop + offset for own in parts[1:] for offset in range(-hop, hop)]
    signal = sound(samples)
    decoded = both_ways(signal, prior, pipeline.Settings(rate=1.0)).decoded
    error = (decoded.samples - signal.samples)[:, 0]
    for values in (error, np.diff(error)):
        inside = np.isin(np.arange(len(values)), joins)
        assert np.sqrt((values[inside] ** 2).mean()) < 2 * np.sqrt((values[~inside] ** 2).mean())
        assert np.abs(values[inside]).max() < 2 * np.abs(values[~inside]).max()


@pytest.mark.parametrize("size", [300, 900])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_size_is_met_exactly_with_several_segments(short_segments, size, channels):
    signal = tone(1600, channels, seed=8)
    assert len(both_ways(signal, tiny_lapped(), pipeline.Settings(size=size)).data) == size


@pytest.mark.parametrize(("share", "digit"), [(0.0, 0), (0.97, 1), (1.0, 4), (1.02, 6), (3.0, 8)])
def test_steering_follows_what_is_left(share, digit):
    """Bytes that are left for 100 bytes of information to come, at 96 groups per 96 bytes so far."""
    to_come = [Forecast(40, 0.0, 400.0, np.full(8, 50 * 256.0), 0.0)] * 2
    writer = Writer(Share([96] * 8, None), Chaining(8), 0, "best", np.random.default_rng(0), 0, 5)
    writer.append(np.zeros(30, dtype=np.int64))
    writer.total = 30 + 25 + 100 + 5 + round(100 * share)
    assert encoder._steering(writer, to_come, 200.0) == digit
    writer.share.steer(digit)
    assert writer.share.densities == [96 + digit - 4, *[96] * 7]
    writer.total = None
    assert encoder._steering(writer, to_come, 200.0) == 4


# damage


@functools.cache
def whole_file():
    return pipeline.encode(tone(600, 2), tiny_lapped()).data


def some_file(**changed):
    """Header and payload of a file, with a few fields of the header changed."""
    header, payload = bitstream.unpack(whole_file())
    return replace(header, **changed), payload


def test_a_hop_that_the_prior_does_not_have_is_refused():
    for number in (2, 8, 9):
        with pytest.raises(DamagedFileError, match="out of range"):
            pipeline.decode(bitstream.pack(*some_file(transform=(number, 0))), lambda _: tiny_lapped())
    with pytest.raises(DamagedFileError, match="out of range"):
        pipeline.decode(bitstream.pack(*some_file(transform=(0, 64))), lambda _: tiny_lapped())


@pytest.mark.parametrize(
    "changed",
    [
        {"class_bytes": 10_000},
        {"transform": ()},
        {"transform": (0,)},
        {"transform": (0, 0, 0)},
        {"densities": (1,) * 7},
        {"chains": 65},
        {"class_bytes": None, "densities": (), "transform": ()},
    ],
    ids=str,
)
def test_headers_that_do_not_fit_are_refused(changed):
    with pytest.raises(DamagedFileError):
        pipeline.decode(bitstream.pack(*some_file(**changed)), lambda _: tiny_lapped())


def test_a_payload_that_is_cut_decodes_to_a_sound_or_is_refused():
    header, payload = some_file()
    assert header.class_bytes is not None
    refused = []
    for length in (0, 1, header.class_bytes - 1, header.class_bytes, header.class_bytes + 3, len(payload) - 1):
        data = bitstream.pack(header, payload[:length])
        if length < header.class_bytes:
            with pytest.raises(DamagedFileError):
                pipeline.decode(data, lambda _: tiny_lapped())
            refused.append(length)
        else:
            assert pipeline.decode(data, lambda _: tiny_lapped()).samples.shape == (600, 2)
    assert len(refused) == 3


@given(
    st.binary(max_size=80), st.integers(0, 90), st.integers(0, 127), st.tuples(st.integers(0, 1), st.integers(0, 63))
)
@settings(max_examples=25, deadline=None)
def test_random_payloads_decode_or_are_refused(payload, class_bytes, code, transform):
    header, _ = some_file(noise=code, transform=transform, class_bytes=class_bytes, shape=(150,))
    data = bitstream.pack(header, payload)
    if class_bytes > len(payload):
        with pytest.raises(DamagedFileError):
            pipeline.decode(data, lambda _: tiny_lapped())
        return
    try:
        assert pipeline.decode(data, lambda _: tiny_lapped()).samples.shape == (150, 2)
    except DamagedFileError:
        return  # the stream of classes may not be one


def test_classes_that_no_encoder_writes_are_refused():
    header, _ = some_file(class_bytes=12)
    with pytest.raises(DamagedFileError, match="classes"):
        pipeline.decode(bitstream.pack(header, b"\xff" * 12), lambda _: tiny_lapped())


def test_a_sound_that_is_much_longer_at_the_rate_of_its_prior_is_over_the_limit():
    header, payload = some_file(sample_rate=1, shape=(10_000,))
    with pytest.raises(LimitError, match="over the limit"):
        pipeline.decode(bitstream.pack(header, payload), lambda _: tiny_lapped())
    with pytest.raises(LimitError):
        pipeline.encode(Signal("sound", np.zeros((20_000, 1), np.float32), 1, 16), tiny_lapped())


# learning


def test_learning_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    class StoppedError(Exception):
        pass

    plan, training, held_out = lapped_plan(steps=14), recordings_of_tones(4), recordings_of_tones(1, 50)
    whole = learn_recordings.learn(plan, training, held_out)
    checkpoint, usual, count = tmp_path / "x.checkpoint", learn_recordings._stretches, itertools.count()

    def interrupted(*arguments):
        if next(count) == 9:
            raise StoppedError
        return usual(*arguments)

    monkeypatch.setattr(learn_recordings, "_stretches", interrupted)
    with pytest.raises(StoppedError):
        learn_recordings.learn(plan, training, held_out, checkpoint=checkpoint, checkpoint_seconds=0)
    resumed = learn_recordings.learn(plan, training, held_out, checkpoint=checkpoint, checkpoint_seconds=0)
    assert next(count) == 9 + 1 + 14 - 9 + trainer.HELD_OUT_BATCHES
    assert resumed.prior.id == whole.prior.id
    assert resumed.curve == whole.curve
    for other in (lapped_plan(steps=14, seed=2), lapped_plan(steps=15)):
        with pytest.raises(DatasetError, match="other data or settings"):
            learn_recordings.learn(other, training, held_out, checkpoint=checkpoint)
    with pytest.raises(DatasetError, match="other data or settings"):
        learn_recordings.learn(plan, training[1:], held_out, checkpoint=checkpoint)
    checkpoint.write_bytes(b"something else")
    with pytest.raises(DamagedFileError):
        learn_recordings.learn(plan, training, held_out, checkpoint=checkpoint)


def test_learning_pays_and_goes_on_from_a_prior():
    start, training, held_out = tiny_lapped(), recordings_of_tones(4), recordings_of_tones(1, 50)
    unlearned = learn_recordings.learn(lapped_plan(steps=1), training, held_out).prior
    recording = Recording(recordings_of_tones(1, 70)[0], 32)
    weights = recording.weights(recording.segments[0])
    unit = 2 * math.log(2) * recordings.noise_deviation(40) ** 2
    one, other = (forecast(prior, weights, 40) for prior in (start, unlearned))
    costs = [found.bits + found.class_bits + found.squared_error / unit for found in (one, other)]
    assert costs[0] < 0.8 * costs[1]

    plan = lapped_plan(steps=3, start=start.id)
    unchanged = learn_recordings._learner(plan, start)
    trainer.go_on_from(unchanged, start.stored, start.name)
    assert all(np.array_equal(tensor, start.stored[name]) for name, tensor in trainer.stored(unchanged).items())
    more = learn_recordings.learn(plan, training, held_out, start=start)
    first = learn_recordings.learn(lapped_plan(steps=3), training, held_out)
    assert more.prior.id != start.id
    assert more.reports[-1].cost < 0.9 * first.reports[-1].cost
    with pytest.raises(UsageError, match="other sizes"):
        learn_recordings.learn(lapped_plan(detail=(4, 8), start=start.id), training, held_out, start=start)


def test_a_prior_of_single_channels_has_no_networks_for_pairs():
    single = [own for own in recordings_of_tones(4) if len(own) == 1]
    learned = learn_recordings.learn(lapped_plan(steps=1, channels=1), single, single[:1])
    assert recordings.problem(learned.prior) is None
    assert {name.split(".")[1][-2:] for name in learned.prior.stored} == {"_0"}


@pytest.mark.parametrize("hops", [(24,), (32, 8), (4112,), (16,) * 10], ids=str)
def test_hops_that_a_prior_cannot_have_are_refused(hops):
    learn_recordings.check_hops((16, 4096))
    with pytest.raises(UsageError, match="hop"):
        learn_recordings.check_hops(hops)


@pytest.fixture
def folder(tmp_path):
    """Three sounds, two of them pairs of one channel, one of another sample rate."""
    for number, rate in enumerate((8000, 16000, 16000)):
        samples = tone(800, 1, rate, number).samples
        media.write_signal(sound(np.repeat(samples, 1 + (number > 0), axis=1), rate), tmp_path / f"{number}.wav")
    return tmp_path


def test_recordings_of_a_data_set_are_brought_to_one_rate_and_turned(folder):
    found = datasets.sample_recordings(datasets.open_dataset(folder), 16000, 30, 2**20)
    assert (found.signals, found.size, found.sample_rate) == (3, 800, 16000)
    (held_out,) = found.held_out
    assert sorted(own.shape for own in found.training) == [(1, 1600), (2, 800)]
    assert held_out.shape == (2, 800)
    assert np.abs(held_out[1]).max() < 1e-6 < np.abs(held_out[0]).max()
    assert datasets.sample_recordings(datasets.open_dataset(folder), None, 30, 2**20).sample_rate == 8000


def test_images_and_too_few_sounds_are_refused(folder, tmp_path):
    for number in (1, 2):
        (folder / f"{number}.wav").unlink()
    with pytest.raises(DatasetError, match="1 sounds; it takes two"):
        datasets.sample_recordings(datasets.open_dataset(folder), None, 10, 2**20)
    images = tmp_path / "images"
    images.mkdir()
    media.write_signal(smooth_image(8, 8), images / "one.png")
    with pytest.raises(DatasetError, match="images"):
        datasets.sample_recordings(datasets.open_dataset(images), None, 10, 2**20)
