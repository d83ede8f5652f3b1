"""Coding with a mixture prior: what was coded comes back, byte budgets are exact, and damage is harmless."""

import binascii
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.learned import tiny_mixture
from support.signals import smooth_image, tone

from combiner_cli.container.file import File, pack
from combiner_cli.errors import CombinerError, DamagedFileError, UsageError
from combiner_cli.families.linear import choices, encoder, mixtures
from combiner_cli.families.linear.network import Linear
from combiner_cli.family import EncodingOptions, Target, View
from combiner_cli.rec import groups
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Format, Signal, split, to_values

USUAL, FAST = EncodingOptions(), EncodingOptions(effort=1)
LATENTS = View(keep_latents=True)
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _encode(signals, prior, target=None, options=USUAL):
    target = target or Target("rate", prior.bits_per_point)
    return prior.encode(signals, target, options, lambda _: None)


def _file(signal, prior, target=None, options=USUAL):
    """A file that decodes to what was coded."""
    (encoded,) = _encode([signal], prior, target, options)
    file = File.parse(prior.pack(signal.format, encoded))
    decoded = prior.decode(file, LATENTS)
    assert np.array_equal(decoded.latents, encoded.latents)
    assert decoded.format == decoded.signal().format == signal.format
    assert set(encoded.seconds) == {"fit", "search"}
    return file


def _sized(signal, prior, size, options=USUAL):
    file = _file(signal, prior, Target("size", size), options)
    assert len(file.data) == size
    return file


def _psnr(signal, file, prior):
    return metrics.psnr(signal, prior.decode(file, View()).signal())


def _made(prior, signal_format, payload, code=30):
    return File.parse(pack(prior.id, signal_format, prior.fields, {"noise": (code,)}, payload))


def _image_format(height, width, channels=3):
    return Format("image", (height, width), channels, 8, None)


def _smallest(signal, prior):
    """From the refusal of a file of one byte."""
    with pytest.raises(UsageError, match=r"takes \d+ bytes with prior .*; ask for more than 1$") as refusal:
        _file(signal, prior, Target("size", 1), FAST)
    return int(re.search(r"takes (\d+) bytes", str(refusal.value))[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("shape", [(1, 1), (13, 21), (8, 30)])
def test_images_come_back_better_than_from_other_bytes(channels, depth, shape):
    prior, image = tiny_mixture(), smooth_image(*shape, channels, depth, seed=3)
    file = _sized(image, prior, 70, FAST)
    numbers, payload = file.numbers(prior.fields)
    assert len(file.data) - len(payload) == 16
    chance = np.random.default_rng(1).integers(0, 3, len(payload), dtype=np.uint8).tobytes()
    made = _made(prior, image.format, chance, *numbers["noise"])
    assert _psnr(image, file, prior) > _psnr(image, made, prior) + 1


@pytest.mark.parametrize(("frames", "channels", "rate"), [(1, 1, 7), (31, 2, 44100), (333, 1, 16000), (200, 2, 8000)])
def test_sounds_come_back(frames, channels, rate):
    prior, sound = tiny_mixture("sound"), replace(tone(frames, channels, seed=3), sample_rate=rate)
    decoded = prior.decode(_sized(sound, prior, 60, FAST), View()).signal()
    silence = replace(sound, samples=np.zeros_like(sound.samples))
    power = metrics.mean_squared_error(sound, silence)
    assert metrics.mean_squared_error(sound, decoded) < max(0.5 * power, 1e-5)


@QUICK
@given(st.integers(1, 26), st.integers(1, 26), st.integers(1, 4), st.sampled_from([8, 16]), st.integers(0, 150))
def test_a_file_has_exactly_the_bytes_that_were_asked_for(height, width, channels, depth, more):
    prior, image = tiny_mixture(), smooth_image(height, width, channels, depth, seed=more)
    smallest = _smallest(image, prior)
    _sized(image, prior, smallest + more, FAST)
    with pytest.raises(UsageError, match=f"takes {smallest} bytes with prior .*; ask for more than {smallest - 1}"):
        _sized(image, prior, smallest - 1, FAST)


@QUICK
@given(st.integers(1, 300), st.integers(1, 2), st.integers(0, 120))
def test_a_file_of_a_sound_has_exactly_the_bytes_that_were_asked_for(frames, channels, more):
    prior, sound = tiny_mixture("sound"), tone(frames, channels, seed=more)
    _sized(sound, prior, _smallest(sound, prior) + more, FAST)


def test_more_bytes_than_the_prior_has_a_use_for_are_a_usage_error():
    with pytest.raises(UsageError, match=r"no use for .*; ask for a smaller file"):
        _sized(tone(5), tiny_mixture("sound"), 200_000, FAST)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UsageError, match="rate must be positive"):
        _file(smooth_image(8, 8), tiny_mixture(), Target("rate", rate), FAST)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (EncodingOptions(refinement="gradient"), "has no use for the refinement gradient; leave it out"),
        (EncodingOptions(device="cuda"), "leave out the device cuda"),
        (EncodingOptions(search="luck"), "no search"),
    ],
)
def test_options_of_other_families_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        _file(smooth_image(8, 8), tiny_mixture(), options=options)


def test_nothing_to_code_is_padded_to_the_size():
    """Every direction of the chosen class is under the noise: the groups say nothing, and the decoder agrees."""
    prior = tiny_mixture()
    prior = replace(prior, levels=np.full_like(prior.levels, mixtures.variance_level(0, "image") - 1))
    image = smooth_image(8, 8)
    layout = prior.tiling(image.shape, 3)
    weights = prior.network.weights(split(to_values(image), layout))
    (choice,) = choices.choose(prior, layout, weights[None], [0])
    coded = encoder.code_groups(prior, layout, weights, choice, 5, "best", np.random.default_rng(0))
    assert coded.indices.tolist() == [0] * 5
    assert len(coded.z) == 0
    payload = mixtures.pack_classes(coded.classes, prior.class_bits) + bytes(5)
    decoded = prior.decode(_made(prior, image.format, payload, 0), LATENTS)
    assert sum(decoded.groups.values()) == len(decoded.latents) == 0
    assert decoded.signal().format == image.format


@pytest.mark.parametrize(
    ("target", "options"), [(Target("size", 60), USUAL), (Target("rate", 1.0), FAST), (Target("psnr", 25.0), FAST)]
)
def test_repeated_runs_and_batches_give_the_same_bytes(target, options):
    prior = tiny_mixture()
    images = [smooth_image(17, 20, seed=n) for n in range(3)]
    alone = [_encode([image], prior, target, options)[0].payload for image in images]
    assert alone == [_encode([image], prior, target, options)[0].payload for image in images]
    assert [encoded.payload for encoded in _encode(images, prior, target, options)] == alone
    assert len(set(alone)) == 3


def test_quality_does_not_fall_as_files_grow():
    for signal, prior in ((smooth_image(40, 48, seed=5), tiny_mixture()), (tone(900, seed=5), tiny_mixture("sound"))):
        sizes = [40, 60, 90, 140, 220]
        options = EncodingOptions(effort=3)
        reached = [_psnr(signal, _sized(signal, prior, size, options), prior) for size in sizes]
        assert (np.diff(reached) > -0.05).all()
        assert reached[-1] > reached[0] + 3


def test_more_rate_gives_more_bytes_and_less_error():
    prior, image = tiny_mixture(), smooth_image(40, 48, seed=5)
    rates = [factor * prior.bits_per_point for factor in (0.25, 1.0, 3.0)]
    files = [_file(image, prior, Target("rate", rate)) for rate in rates]
    assert (np.diff([len(file.data) for file in files]) > 0).all()
    assert (np.diff([_psnr(image, file, prior) for file in files]) > 0).all()


@pytest.mark.parametrize(("kind", "psnr"), [("image", 24.0), ("image", 26.5), ("sound", 40.0), ("sound", 55.0)])
def test_a_psnr_is_about_what_was_predicted(kind, psnr):
    prior = tiny_mixture(kind)
    signal = smooth_image(33, 41, seed=5) if kind == "image" else tone(700, seed=5)
    assert _psnr(signal, _file(signal, prior, Target("psnr", psnr)), prior) == pytest.approx(psnr, abs=1.5)


@pytest.mark.parametrize("psnr", [1.0, 90.0])
def test_a_psnr_out_of_reach_gives_the_least_or_the_most(psnr):
    prior, image = tiny_mixture(), smooth_image(16, 16, seed=5)
    file = _file(image, prior, Target("psnr", psnr), FAST)
    assert prior.decode(file, View()).noise_level == (0 if psnr == 1.0 else mixtures.NOISE_LEVELS - 1)


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_every_effort_decodes_and_the_highest_is_not_worse_than_the_usual(kind):
    prior = tiny_mixture(kind)
    for seed in (5, 6):
        signal = smooth_image(30, 22, seed=seed) if kind == "image" else tone(500, seed=seed)
        errors = {}
        for effort in (1, 5, 9):
            file = _sized(signal, prior, 80, EncodingOptions(effort=effort))
            values = prior.decode(file, View()).values[:]
            errors[effort] = float(((values - to_values(signal)) ** 2).sum())
        # a higher effort searches seams more often, which nearly always pays, but not for every signal
        assert errors[9] <= errors[5] * 1.02
        assert errors[5] < errors[1] * 1.1


def test_the_reported_error_is_that_of_the_decoded_tiles():
    prior, image = tiny_mixture(), smooth_image(24, 24, seed=9)
    layout = prior.tiling(image.shape, 3)
    cut = split(to_values(image), layout)
    weights = prior.network.weights(cut)
    (choice,) = choices.decide_by_groups(prior, layout, weights[None], 60)
    coded = encoder.Coder(prior, layout, 60, 5, "viterbi", 0).encode(weights, choice)
    assert len(coded.indices) == 60
    assert ((coded.indices >= 0) & (coded.indices < 256)).all()
    assert coded.squared_error == pytest.approx(((prior.network.forward(coded.weights) - cut) ** 2).sum())
    noise = mixtures.variance_level(coded.noise_level, "image")
    bounds = np.cumsum([0, *(latents.counts.sum() for latents in prior.latents(layout, coded.classes, noise))])
    z = [coded.z[first:last] for first, last in pairwise(bounds)]
    assert np.array_equal(prior.network_weights(z, layout, coded.classes, noise), coded.weights)


def test_what_is_decided_meets_groups_rate_or_error():
    prior = tiny_mixture()
    images = [smooth_image(32, 40, seed=seed) for seed in (5, 6)]
    layout = prior.tiling((32, 40), 3)
    weights = np.stack([prior.network.weights(split(to_values(image), layout)) for image in images])
    for choice in choices.decide_by_groups(prior, layout, weights, 120):
        assert choice.bits == pytest.approx(8 * 120 / (1 + choices.OVERHEAD), rel=0.1)
    samples = layout.tiles * prior.network.latents
    for choice in choices.decide_by_error(prior, layout, weights, 0.01):
        assert choice.squared_error / samples == pytest.approx(0.01, rel=0.1)
    rates = [choices.decide_by_rate(prior, layout, weights, *prior.typical(rate)) for rate in (0.3, 1.0, 2.5)]
    codes = np.array([[choice.noise_level for choice in decided] for decided in rates])
    assert (np.diff(codes, axis=0) > 0).all()
    # every signal pays the same for a dB
    errors = np.array([[choice.squared_error for choice in decided] for decided in rates])
    prices = errors * 2.0 ** (codes / 8)
    assert (prices.max(axis=1) / prices.min(axis=1) < 1.2).all()


@pytest.mark.parametrize("method", ["astar", "best", "viterbi"])
def test_every_search_decodes_and_viterbi_is_the_best(method):
    prior, image = tiny_mixture(), smooth_image(32, 40, seed=5)
    file, best = (_sized(image, prior, 120, EncodingOptions(search=search)) for search in (method, "viterbi"))
    assert _psnr(image, best, prior) >= _psnr(image, file, prior)


def test_progress_is_told_signal_by_signal():
    prior, reports = tiny_mixture(), []
    images = [smooth_image(8, 8, seed=seed) for seed in range(2)]
    prior.encode(images, Target("rate", 1.0), FAST, reports.append)
    assert [(report.phase, report.done) for report in reports] == [("search", 0.5), ("search", 1.0)]


def _degenerate(kind):
    noise = np.random.default_rng(0)
    if kind == "sound":
        flat = [np.full((90, 1), value, dtype=np.float32) for value in (0.0, 1.0 - 2.0**-15, -1.0)]
        noisy = (np.rint(noise.uniform(-1, 1, (90, 1)) * 32767) / 32768).astype(np.float32)
        return [Signal("sound", samples, 16000, 16) for samples in (*flat, noisy)]
    flat = [np.full((17, 12, 3), value, dtype=np.uint8) for value in (0, 127, 255)]
    return [Signal("image", samples) for samples in (*flat, noise.integers(0, 256, (17, 12, 3), dtype=np.uint8))]


@pytest.mark.parametrize("kind", ["image", "sound"])
@pytest.mark.parametrize("size", [30, 400])
def test_degenerate_signals_of_a_size_come_back_finite(kind, size):
    prior = tiny_mixture(kind)
    for signal in _degenerate(kind):
        _sized(signal, prior, size, FAST)


@pytest.mark.parametrize("kind", ["image", "sound"])
@pytest.mark.parametrize("target", [Target("rate", 0.01), Target("rate", 1.0), Target("rate", 4.0), Target("psnr", 30)])
def test_degenerate_signals_of_a_rate_come_back_finite(kind, target):
    prior = tiny_mixture(kind)
    for signal in _degenerate(kind):
        assert np.isfinite(prior.decode(_file(signal, prior, target, FAST), View()).values[:]).all()


def test_rendering_at_three_times_the_size_is_the_same_function():
    prior, image = tiny_mixture(), smooth_image(16, 21, seed=5)
    file = _sized(image, prior, 100, FAST)
    large = prior.decode(file, View(scale=3)).signal().samples.astype(float)
    assert large.shape == (48, 63, 3)
    assert np.abs(large[1::3, 1::3] - prior.decode(file, View()).signal().samples).max() <= 1


def test_nothing_is_rendered_before_it_is_asked_for(monkeypatch):
    prior = tiny_mixture()
    file = _sized(smooth_image(16, 21), prior, 60, FAST)
    monkeypatch.setattr(Linear, "forward", lambda *_: pytest.fail("it was rendered"))
    decoded = prior.decode(file, View())
    assert decoded.values.shape == (16, 21, 3)
    assert len(decoded.latents) == 0


def test_groups_are_dealt_to_the_phases_by_what_the_file_itself_says():
    """The number of groups of every phase follows from the classes and the noise that the file names."""
    prior, image = tiny_mixture(), smooth_image(40, 40, seed=5)
    file = _sized(image, prior, 150, FAST)
    decoded = prior.decode(file, View())
    (code,) = file.numbers(prior.fields)[0]["noise"]
    payload = bytes(file.numbers(prior.fields)[1])
    assert (decoded.class_bytes, decoded.noise_level) == (mixtures.class_bytes(25, prior.class_bits), code)
    classes = mixtures.unpack_classes(payload[: decoded.class_bytes], 25, prior.classes)
    stages = prior.stages(prior.tiling((40, 40), 3), classes, mixtures.variance_level(code, "image"))
    shares = groups.share_out(stages, len(payload) - decoded.class_bytes)
    assert decoded.groups == {f"phase {number}": share for number, share in enumerate(shares)}
    assert min(shares) > 0


@pytest.mark.parametrize("kind", ["image", "sound"])
def test_mutated_files_with_a_good_checksum_decode_or_are_refused(kind):
    """No other exception escapes, and no file takes long."""
    prior = tiny_mixture(kind)
    signal = smooth_image(17, 20, seed=5) if kind == "image" else tone(200, seed=5)
    good = _sized(signal, prior, 60, FAST).data[:-4]
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
            file = File.parse(bytes(content) + binascii.crc32(content).to_bytes(4, "big"))
            if file.format.kind != kind or prior.points_rendered(file.format) > 4096:
                continue  # which codec sees to
            outcomes.append("decoded")
            assert prior.decode(file, View()).signal().kind == kind
        except CombinerError as error:
            outcomes.append(type(error).__name__)
    assert {"decoded", "DamagedFileError"} <= set(outcomes)


def test_a_payload_that_is_too_short_for_the_classes_is_damage():
    prior = tiny_mixture()
    for length in range(mixtures.class_bytes(25, prior.class_bits)):
        with pytest.raises(DamagedFileError, match="payload cannot fill"):
            prior.decode(_made(prior, _image_format(40, 40), bytes(length)), View())


def test_a_class_that_the_prior_does_not_have_is_damage():
    prior = tiny_mixture()
    with pytest.raises(DamagedFileError, match="a class that its prior does not have"):
        prior.decode(_made(prior, _image_format(16, 16), b"\xff" + bytes(30)), View())


def test_a_damaged_file_is_decoded_with_classes_that_there_are():
    prior = tiny_mixture()
    whole = _made(prior, _image_format(40, 40), b"\xff" * 4)  # of seven bytes of classes
    damaged = File.parse(whole.data[:-1] + bytes([whole.data[-1] ^ 1]), ignore_checksum=True)
    decoded = prior.decode(damaged, LATENTS)
    assert sum(decoded.groups.values()) == 0
    classes = np.array([prior.classes - 1] * 16 + [0] * 9)
    expected = _made(prior, _image_format(40, 40), mixtures.pack_classes(classes, prior.class_bits))
    assert np.array_equal(decoded.values[:], prior.decode(expected, View()).values[:])


def test_groups_that_latents_cannot_fill_are_damage():
    prior = tiny_mixture("sound")
    with pytest.raises(DamagedFileError, match="do not fit"):
        prior.decode(_made(prior, Format("sound", (5,), 1, 16, 16000), bytes(200_000), 70), View())


@pytest.mark.parametrize("size", [25, 40, 77, 121])
@pytest.mark.parametrize("code", [0, 60, 127])
def test_any_noise_code_in_a_header_decodes(size, code):
    prior = tiny_mixture()
    payload = bytes(2) + np.random.default_rng(size).bytes(size)
    assert prior.decode(_made(prior, _image_format(9, 17), payload, code), View()).signal().shape == (9, 17)
