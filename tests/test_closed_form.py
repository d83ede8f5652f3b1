"""Coding with a mixture prior: what is measured comes back, byte budgets are exact, and damage is harmless."""

import binascii
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import smooth_image, tiny_mixture, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import CombinerError, DamagedFileError, PriorError, UsageError
from combiner_cli.families.linear import closed_form, mixtures
from combiner_cli.rec import groups
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal, split, to_values

FAST = pipeline.Settings(effort=1)
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _decode(data, prior, scale=1):
    return pipeline.decode(data, lambda _: prior, scale)


def _came_back(signal, result, prior):
    decoded = _decode(result.data, prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)
    assert decoded.samples.dtype == signal.samples.dtype
    assert decoded.samples.shape == signal.samples.shape
    assert (decoded.sample_rate, decoded.bit_depth) == (signal.sample_rate, signal.bit_depth)


def _smallest(signal, prior):
    """From the refusal of a file of one byte."""
    with pytest.raises(UsageError, match=r"takes \d+ bytes with prior .*; ask for more than 1$") as refusal:
        pipeline.encode(signal, prior, replace(FAST, size=1))
    return int(re.search(r"takes (\d+) bytes", str(refusal.value))[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (13, 21), (8, 30)])
def test_images_come_back_as_the_encoder_measured_them(channels, depth, shape):
    prior, image = tiny_mixture(), smooth_image(*shape, channels, depth, seed=3)
    result = pipeline.encode(image, prior, replace(FAST, size=70))
    _came_back(image, result, prior)
    header, payload = bitstream.unpack(result.data)
    assert header.version == 2
    assert len(payload) == result.payload_bytes
    noise = bitstream.pack(header, np.random.default_rng(1).integers(0, 3, len(payload), dtype=np.uint8).tobytes())
    assert metrics.psnr(image, result.decoded) > metrics.psnr(image, _decode(noise, prior)) + 1


@pytest.mark.parametrize(("frames", "channels", "rate"), [(1, 1, 7), (31, 2, 44100), (333, 1, 16000), (200, 2, 8000)])
def test_sounds_come_back_as_the_encoder_measured_them(frames, channels, rate):
    prior, sound = tiny_mixture("sound"), replace(tone(frames, channels, seed=3), sample_rate=rate)
    result = pipeline.encode(sound, prior, replace(FAST, size=60))
    _came_back(sound, result, prior)
    silence = replace(sound, samples=np.zeros_like(sound.samples))
    power = metrics.mean_squared_error(sound, silence)
    assert metrics.mean_squared_error(sound, result.decoded) < max(0.5 * power, 1e-5)


@QUICK
@given(st.integers(1, 26), st.integers(1, 26), st.integers(1, 4), st.sampled_from([8, 16]), st.integers(0, 150))
def test_a_file_has_exactly_the_bytes_that_were_asked_for(height, width, channels, depth, more):
    prior, image = tiny_mixture(), smooth_image(height, width, channels, depth, seed=more)
    smallest = _smallest(image, prior)
    result = pipeline.encode(image, prior, replace(FAST, size=smallest + more))
    assert len(result.data) == smallest + more
    _came_back(image, result, prior)
    with pytest.raises(UsageError, match=f"takes {smallest} bytes with prior .*; ask for more than {smallest - 1}"):
        pipeline.encode(image, prior, replace(FAST, size=smallest - 1))


@QUICK
@given(st.integers(1, 300), st.integers(1, 2), st.integers(0, 120))
def test_a_file_of_a_sound_has_exactly_the_bytes_that_were_asked_for(frames, channels, more):
    prior, sound = tiny_mixture("sound"), tone(frames, channels, seed=more)
    smallest = _smallest(sound, prior)
    result = pipeline.encode(sound, prior, replace(FAST, size=smallest + more))
    assert len(result.data) == smallest + more
    _came_back(sound, result, prior)


def test_more_bytes_than_the_prior_has_a_use_for_are_a_usage_error():
    with pytest.raises(UsageError, match=r"no use for .*; ask for a smaller file"):
        pipeline.encode(tone(5), tiny_mixture("sound"), replace(FAST, size=200_000))


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UsageError, match="rate must be positive"):
        pipeline.encode(smooth_image(8, 8), tiny_mixture(), replace(FAST, rate=rate))


def test_a_mixture_prior_does_not_go_with_groups_of_16_bits():
    with pytest.raises(UsageError, match=r"go(es)? with groups of"):
        pipeline.encode(smooth_image(8, 8), tiny_mixture(), replace(FAST, group_bits=16))


def test_nothing_to_code_is_padded_to_the_size():
    """Every direction of the chosen class is under the noise: the groups say nothing, and the decoder agrees."""
    prior = tiny_mixture()
    prior = replace(prior, levels=np.full_like(prior.levels, mixtures.noise_level(0, "image") - 1))
    image = smooth_image(8, 8)
    layout = prior.tiling(image.shape, 3)
    weights = prior.network.weights(split(to_values(image), layout))
    (choice,) = closed_form.choose(prior, layout, weights[None], [0])
    coded = closed_form.encode(prior, layout, weights, choice, 5, "best", np.random.default_rng(0))
    assert coded.indices.tolist() == [0] * 5
    assert len(coded.z) == 0
    header = bitstream.Header(prior.id, "image", (8, 8), 3, 8, None, noise=0)
    payload = mixtures.pack_classes(coded.classes, prior.class_bits) + bytes(5)
    assert np.isfinite(_decode(bitstream.pack(header, payload), prior).samples).all()


@pytest.mark.parametrize("asked", [{"size": 90}, {"rate": 1.0}])
def test_repeated_runs_and_batches_give_the_same_bytes(asked):
    prior = tiny_mixture()
    images = [smooth_image(17, 20, seed=n) for n in range(3)]
    alone = [pipeline.encode(image, prior, pipeline.Settings(**asked)).data for image in images]
    assert alone == [pipeline.encode(image, prior, pipeline.Settings(**asked)).data for image in images]
    together = pipeline.encode_batch(images, prior, pipeline.Settings(**asked))
    assert [result.data for result in together] == alone
    assert len(set(alone)) == 3


def test_quality_does_not_fall_as_files_grow():
    for signal, prior in ((smooth_image(40, 48, seed=5), tiny_mixture()), (tone(900, seed=5), tiny_mixture("sound"))):
        sizes = [40, 60, 90, 140, 220, 350]
        found = [metrics.psnr(signal, pipeline.encode(signal, prior, pipeline.Settings(size=n)).decoded) for n in sizes]
        assert (np.diff(found) > -0.05).all()
        assert found[-1] > found[0] + 3


def test_more_rate_gives_more_bytes_and_less_error():
    prior, image = tiny_mixture(), smooth_image(40, 48, seed=5)
    results = [pipeline.encode(image, prior, pipeline.Settings(rate=rate)) for rate in (0.25, 1.0, 3.0)]
    assert (np.diff([len(result.data) for result in results]) > 0).all()
    assert (np.diff([metrics.psnr(image, result.decoded) for result in results]) > 0).all()


@pytest.mark.parametrize(("kind", "psnr"), [("image", 24.0), ("image", 26.5), ("sound", 40.0), ("sound", 55.0)])
def test_a_psnr_is_reached_with_a_file_that_is_not_absurdly_large(kind, psnr):
    prior = tiny_mixture(kind)
    signal = smooth_image(33, 41, seed=5) if kind == "image" else tone(700, seed=5)
    result = pipeline.encode(signal, prior, pipeline.Settings(psnr=psnr))
    _came_back(signal, result, prior)
    assert psnr <= metrics.psnr(signal, result.decoded) < psnr + 1.5
    fewer = pipeline.encode(signal, prior, pipeline.Settings(size=round(0.9 * len(result.data))))
    assert metrics.psnr(signal, fewer.decoded) < psnr


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_a_psnr_that_the_smallest_file_exceeds_gives_about_the_smallest_file(kind):
    prior = tiny_mixture(kind)
    signal = smooth_image(40, 40, seed=5) if kind == "image" else tone(700, seed=5)
    result = pipeline.encode(signal, prior, replace(FAST, psnr=1.0))
    _came_back(signal, result, prior)
    assert len(result.data) == _smallest(signal, prior)


def test_a_psnr_beyond_the_prior_is_a_usage_error_that_says_what_is_possible():
    image, prior = smooth_image(16, 16, seed=5), tiny_mixture()
    with pytest.raises(UsageError, match=r"reaches \d+\.\d\d dB here; ask for less than 90 dB") as refusal:
        pipeline.encode(image, prior, pipeline.Settings(psnr=90.0, effort=1))
    possible = float(re.search(r"reaches (\d+\.\d\d) dB", str(refusal.value))[1])
    result = pipeline.encode(image, prior, pipeline.Settings(psnr=possible - 1, effort=1))
    assert metrics.psnr(image, result.decoded) >= possible - 1


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_every_effort_decodes_and_the_highest_is_not_worse_than_the_usual(kind):
    prior = tiny_mixture(kind)
    for seed in (5, 6):
        signal = smooth_image(30, 22, seed=seed) if kind == "image" else tone(500, seed=seed)
        tiles = split(to_values(signal), prior.tiling(signal.shape, signal.channels))
        errors = {}
        for effort in (1, 5, 9):
            result = pipeline.encode(signal, prior, pipeline.Settings(size=80, effort=effort))
            _came_back(signal, result, prior)
            assert len(result.data) == 80
            content = pipeline.read(result.data, prior)
            weights = prior.network_weights(content.z, content.layout, content.classes, content.noise)
            errors[effort] = float(((prior.render(weights) - tiles) ** 2).sum())
        # a higher effort searches seams more often, which nearly always pays, but not for every signal
        assert errors[9] <= errors[5] * 1.02
        assert errors[5] < errors[1] * 1.1


def test_the_reported_error_is_that_of_the_decoded_tiles():
    prior, image = tiny_mixture(), smooth_image(24, 24, seed=9)
    layout = prior.tiling(image.shape, 3)
    tiles = split(to_values(image), layout)
    weights = prior.network.weights(tiles)
    choices = closed_form.decide(prior, layout, weights[None], 60, 1.0)
    (coded,) = closed_form.encode_batch(prior, layout, weights[None], choices, 60, 5, "viterbi", 0)
    assert len(coded.indices) == 60
    assert ((coded.indices >= 0) & (coded.indices < 256)).all()
    assert coded.squared_error == pytest.approx(((prior.render(coded.weights) - tiles) ** 2).sum())
    latents = prior.latents(layout, coded.classes, mixtures.noise_level(coded.code, "image"))
    bounds = np.cumsum([0, *(own.counts.sum() for own in latents)])
    z = [coded.z[first:last] for first, last in pairwise(bounds)]
    again = prior.network_weights(z, layout, coded.classes, mixtures.noise_level(coded.code, "image"))
    assert np.array_equal(again, coded.weights)


@pytest.mark.parametrize("method", ["astar", "best", "viterbi"])
def test_every_search_decodes_and_viterbi_is_the_best(method):
    prior, image = tiny_mixture(), smooth_image(32, 40, seed=5)
    result = pipeline.encode(image, prior, pipeline.Settings(size=120, search=method))
    _came_back(image, result, prior)
    best = pipeline.encode(image, prior, pipeline.Settings(size=120))
    assert metrics.psnr(image, best.decoded) >= metrics.psnr(image, result.decoded)


def _degenerate(kind):
    noise = np.random.default_rng(0)
    if kind == "sound":
        flat = [np.full((90, 1), value, dtype=np.float32) for value in (0.0, 1.0 - 2.0**-15, -1.0)]
        noisy = (np.rint(noise.uniform(-1, 1, (90, 1)) * 32767) / 32768).astype(np.float32)
        return [Signal("sound", samples, 16000, 16) for samples in (*flat, noisy)]
    flat = [np.full((17, 12, 3), value, dtype=np.uint8) for value in (0, 127, 255)]
    return [Signal("image", samples) for samples in (*flat, noise.integers(0, 256, (17, 12, 3), dtype=np.uint8))]


@pytest.mark.parametrize("kind", ["image", "sound"])
@pytest.mark.parametrize("asked", [{"size": 30}, {"size": 400}, {"rate": 0.01}, {"rate": 1.0}, {"rate": 4.0}])
def test_degenerate_signals_come_back_finite(kind, asked):
    prior = tiny_mixture(kind)
    for signal in _degenerate(kind):
        result = pipeline.encode(signal, prior, replace(FAST, **asked))
        _came_back(signal, result, prior)
        content = pipeline.read(result.data, prior)
        weights = prior.network_weights(content.z, content.layout, content.classes, content.noise)
        assert np.isfinite(weights).all()
        assert len(result.data) == asked.get("size", len(result.data))


def test_rendering_at_three_times_the_size_is_the_same_function():
    prior, image = tiny_mixture(), smooth_image(16, 21, seed=5)
    data = pipeline.encode(image, prior, replace(FAST, size=100)).data
    large = _decode(data, prior, 3).samples.astype(float)
    assert large.shape == (48, 63, 3)
    assert np.abs(large[1::3, 1::3] - _decode(data, prior).samples).max() <= 1


def test_groups_are_dealt_to_the_phases_by_what_the_file_itself_says():
    """The number of groups of every phase follows from the classes and the noise that the file names."""
    prior, image = tiny_mixture(), smooth_image(40, 40, seed=5)
    result = pipeline.encode(image, prior, replace(FAST, size=150))
    content = pipeline.read(result.data, prior)
    count = result.payload_bytes - mixtures.class_bytes(25, prior.class_bits)
    shares = groups.share_out(prior.stages(content.layout, content.classes, content.noise), count)
    assert [len(indices) for indices in content.indices] == list(shares)
    assert min(shares) > 0


def _repaired(content):
    return content + binascii.crc32(content).to_bytes(4, "big")


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_mutated_files_with_a_good_checksum_decode_or_are_refused(kind):
    """No other exception escapes, and no file takes long."""
    prior = tiny_mixture(kind)
    signal = smooth_image(17, 20, seed=5) if kind == "image" else tone(200, seed=5)
    good = pipeline.encode(signal, prior, replace(FAST, size=60)).data[:-4]
    generator = np.random.default_rng(11)
    outcomes = []
    for turn in range(300):
        content = bytearray(good)
        if turn % 3 == 0:
            content = content[: generator.integers(3, len(content))]
        for _ in range(generator.integers(1, 4)):
            content[generator.integers(3, len(content)) if len(content) > 3 else 0] = generator.integers(0, 256)
        if turn % 5 == 0:
            content += generator.bytes(int(generator.integers(1, 9)))
        try:
            decoded = pipeline.decode(_repaired(bytes(content)), lambda _: prior, most_points=4096)
            outcomes.append("decoded")
            assert decoded.kind == kind
        except CombinerError as error:
            outcomes.append(type(error).__name__)
    assert {"decoded", "DamagedFileError", "PriorError"} <= set(outcomes)


def test_a_payload_that_is_too_short_for_the_classes_is_damage():
    prior = tiny_mixture()
    header, payload = bitstream.unpack(pipeline.encode(smooth_image(40, 40), prior, replace(FAST, size=60)).data)
    for length in range(mixtures.class_bytes(25, prior.class_bits)):
        with pytest.raises(DamagedFileError, match="payload cannot fill"):
            _decode(bitstream.pack(header, payload[:length]), prior)


def test_a_class_that_the_prior_does_not_have_is_damage():
    prior = tiny_mixture()
    header, payload = bitstream.unpack(pipeline.encode(smooth_image(16, 16), prior, replace(FAST, size=60)).data)
    with pytest.raises(DamagedFileError, match="a class that its prior does not have"):
        _decode(bitstream.pack(header, b"\xff" + payload[1:]), prior)


def test_a_file_of_version_1_does_not_go_with_a_mixture_prior():
    prior = tiny_mixture()
    header = bitstream.Header(prior.id, "image", (8, 8), 3, 8, None, groups=(4,))
    with pytest.raises(DamagedFileError, match="version 1"):
        _decode(bitstream.pack(header, bytes(5)), prior)


def test_groups_that_latents_cannot_fill_are_damage():
    prior = tiny_mixture("sound")
    header = bitstream.Header(prior.id, "sound", (5,), 1, 16, 16000, noise=70)
    with pytest.raises(DamagedFileError, match="do not fit"):
        _decode(bitstream.pack(header, bytes(200_000)), prior)


@pytest.mark.parametrize("size", [25, 40, 77, 121])
@pytest.mark.parametrize("code", [0, 60, 127])
def test_any_noise_code_in_a_header_decodes(size, code):
    prior = tiny_mixture()
    header = bitstream.Header(prior.id, "image", (9, 17), 3, 8, None, noise=code)
    payload = bytes(2) + np.random.default_rng(size).bytes(size)
    assert _decode(bitstream.pack(header, payload), prior).shape == (9, 17)


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_a_file_of_the_other_kind_is_refused_whatever_prior_is_named(kind):
    prior, other = tiny_mixture(kind), tiny_mixture("sound" if kind == "image" else "image")
    signal = smooth_image(8, 8) if kind == "image" else tone(50)
    data = pipeline.encode(signal, prior, replace(FAST, size=40)).data
    with pytest.raises(PriorError, match=f"is for {other.kind}s"):
        _decode(data, other)
