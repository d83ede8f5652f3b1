"""The pipeline: what the encoder measured is what comes back, for every kind of signal, and damage is noticed."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import smooth_image, tiny_prior, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from combiner_cli.codec import goals, pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import (
    CombinerError,
    DamagedFileError,
    InputError,
    LimitError,
    PriorError,
    UsageError,
    VerificationError,
)
from combiner_cli.families.siren import conditioning, refinement
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import from_values, join

GRADIENT = {"refine": "gradient", "group_bits": 16}  # as published
QUICK = pipeline.Settings(schedule=Schedule(steps=60, rounds=6, steps_per_round=4))
HASTY = pipeline.Settings(schedule=Schedule(steps=10, rounds=2, steps_per_round=2))


def _decode(data, prior):
    return pipeline.decode(data, lambda _: prior)


def _with_random_payload(result):
    header, payload = bitstream.unpack(result.data)
    return bitstream.pack(header, np.random.default_rng(1).bytes(len(payload)))


def _spied_latents(monkeypatch):
    """Whitened latents that the encoder's networks ended with, call after call."""
    seen = []

    def spied(original):
        def spy(*arguments):
            coded = original(*arguments)
            seen.append(coded.values)
            return coded

        return spy

    for engine in (refinement, conditioning):
        monkeypatch.setattr(engine, "encode", spied(engine.encode))
    return seen


@pytest.mark.parametrize("group_bits", [8, 16])
def test_the_decoder_finds_the_very_weights_that_the_encoder_measured(monkeypatch, group_bits):
    """Rebuilt here from the prior and the encoder's own latents, sample for sample."""
    seen = _spied_latents(monkeypatch)
    prior, image = tiny_prior(group_bits=group_bits), smooth_image(13, 21)
    data = pipeline.encode(image, prior, QUICK).data
    layout = prior.tiling(image.shape, 3)
    weights = prior.mean.astype(float) + prior.deviation.astype(float) * seen[0].reshape(layout.tiles, -1)
    values = join(prior.render(weights), layout)
    assert np.array_equal(from_values(values, "image", None, 8).samples, _decode(data, prior).samples)


def test_a_file_that_does_not_hold_what_was_coded_is_never_reported_as_a_success(monkeypatch):
    original = bitstream.indices_to_bytes
    monkeypatch.setattr(bitstream, "indices_to_bytes", lambda indices, bits: original(indices ^ 1, bits))
    with pytest.raises(VerificationError, match="does not decode"):
        pipeline.encode(smooth_image(8, 8), tiny_prior(), HASTY)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_images_come_back_as_the_encoder_measured_them(channels, depth):
    prior, image = tiny_prior(), smooth_image(13, 21, channels, depth)
    result = pipeline.encode(image, prior, QUICK)
    decoded = _decode(result.data, prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)
    assert decoded.samples.shape == image.samples.shape
    assert decoded.samples.dtype == image.samples.dtype
    assert metrics.psnr(image, decoded) > metrics.psnr(image, _decode(_with_random_payload(result), prior)) + 1
    assert len(result.data) - result.payload_bytes <= 24


@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100), (1, 7)])
def test_sounds_come_back_as_the_encoder_measured_them(channels, rate):
    prior, sound = tiny_prior("sound"), tone(333, channels, 16000)
    sound = replace(sound, sample_rate=rate)
    result = pipeline.encode(sound, prior, QUICK)
    decoded = _decode(result.data, prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)
    assert decoded.samples.shape == sound.samples.shape
    assert decoded.sample_rate == rate
    assert metrics.psnr(sound, decoded) > metrics.psnr(sound, _decode(_with_random_payload(result), prior)) + 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.sampled_from([8, 16]))
def test_any_size_works(height, width, channels, group_bits):
    prior = tiny_prior(group_bits=group_bits)
    image = smooth_image(height, width, channels)
    result = pipeline.encode(image, prior, HASTY)
    assert _decode(result.data, prior).shape == (height, width)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 200), st.integers(1, 2))
def test_any_length_works(frames, channels):
    prior = tiny_prior("sound")
    result = pipeline.encode(tone(frames, channels), prior, HASTY)
    assert _decode(result.data, prior).shape == (frames,)


def test_the_same_input_and_settings_give_the_same_bytes():
    image = smooth_image(16, 16)
    first, second = (pipeline.encode(image, tiny_prior(), QUICK).data for _ in range(2))
    assert first == second
    assert pipeline.encode(image, tiny_prior(), replace(QUICK, seed=1)).data != first


def test_a_batch_gives_every_signal_a_file_of_its_own():
    prior = tiny_prior()
    images = [smooth_image(8, 8, seed=n) for n in range(3)]
    results = pipeline.encode_batch(images, prior, QUICK)
    for image, result in zip(images, results, strict=True):
        decoded = _decode(result.data, prior)
        assert np.array_equal(decoded.samples, result.decoded.samples)
        errors = [metrics.mean_squared_error(other, decoded) for other in images]
        assert min(errors) == metrics.mean_squared_error(image, decoded)


def test_more_groups_give_more_bytes_and_less_error():
    image, prior = smooth_image(16, 16), tiny_prior()
    small, large = (pipeline.encode(image, prior, replace(QUICK, rate=rate)) for rate in (0.4, 1.5))
    assert small.payload_bytes < large.payload_bytes
    assert metrics.psnr(image, small.decoded) < metrics.psnr(image, large.decoded)


def test_refinement_lowers_the_error_of_what_is_decoded(learned_prior):
    """Refinement by gradient steps; in closed form the conditioning refines even without a step."""
    image = smooth_image(16, 16, seed=33)
    without, refined = (
        pipeline.encode(image, learned_prior, pipeline.Settings(**GRADIENT, schedule=Schedule(400, 24, steps)))
        for steps in (0, 30)
    )
    assert without.payload_bytes == refined.payload_bytes
    assert metrics.psnr(image, refined.decoded) > metrics.psnr(image, without.decoded) + 0.3


def test_the_penalties_bring_every_group_near_its_budget(learned_prior, monkeypatch):
    seen = []

    class Spy(refinement._Budget):
        def adapt(self, posterior):
            super().adapt(posterior)
            seen.append((self.group_kl(posterior) / math.log(2)).cpu().numpy())

    monkeypatch.setattr(refinement, "_Budget", Spy)
    settings = pipeline.Settings(**GRADIENT, schedule=Schedule(1500, 1, 0))
    pipeline.encode(smooth_image(16, 16, seed=33), learned_prior, settings)
    first, last = (np.abs(divergence - 16) for divergence in (seen[0], seen[-1]))
    assert last.max() < 4
    assert last.mean() < 1 < first.mean()


def test_rendering_at_twice_the_size_is_the_same_function():
    prior, image = tiny_prior(), smooth_image(16, 16)
    data = pipeline.encode(image, prior, QUICK).data
    native = pipeline.decode(data, lambda _: prior).samples.astype(float)
    large = pipeline.decode(data, lambda _: prior, scale=3)
    assert large.shape == (48, 48)
    centres = large.samples[1::3, 1::3].astype(float)  # with an odd scale some points coincide
    assert np.abs(centres - native).max() <= 1


def test_a_sound_rendered_at_twice_the_rate_keeps_its_duration():
    prior = tiny_prior("sound")
    data = pipeline.encode(tone(100), prior, HASTY).data
    decoded = pipeline.decode(data, lambda _: prior, scale=2)
    assert decoded.shape == (200,)
    assert decoded.sample_rate == 32000


def test_a_prior_of_the_other_kind_is_refused():
    with pytest.raises(PriorError, match="is for sounds and this is an image"):
        pipeline.encode(smooth_image(8, 8), tiny_prior("sound"), HASTY)


def test_signals_of_different_shapes_are_not_encoded_together():
    with pytest.raises(InputError, match="one shape and format"):
        pipeline.encode_batch([smooth_image(8, 8), smooth_image(8, 9)], tiny_prior(), HASTY)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UsageError, match="rate must be positive"):
        pipeline.encode(smooth_image(8, 8), tiny_prior(), replace(HASTY, rate=rate))


def test_devices_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="no device"):
        pipeline.choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            pipeline.choose_device("cuda")


def test_a_gigantic_declaration_is_refused_before_anything_is_allocated():
    prior = tiny_prior()
    header = bitstream.Header(prior.id, "image", (2**32 - 1, 2**32 - 1), 3, 8, None, (1,))
    with pytest.raises(LimitError, match="over the limit"):
        _decode(bitstream.pack(header, bytes(2)), prior)
    within_limit = replace(header, shape=(8000, 8000))
    with pytest.raises(DamagedFileError, match="payload cannot fill"):
        _decode(bitstream.pack(within_limit, bytes(2)), prior)


@pytest.mark.parametrize("groups", [(0,), (1, 1), (3,)])
def test_headers_that_do_not_fit_the_payload_are_refused(groups):
    prior = tiny_prior()
    header = bitstream.Header(prior.id, "image", (8, 8), 3, 8, None, groups)
    with pytest.raises(DamagedFileError):
        _decode(bitstream.pack(header, bytes(4)), prior)


def test_a_file_of_another_prior_is_refused():
    prior, other = tiny_prior(), tiny_prior(bits=3.0)
    data = pipeline.encode(smooth_image(8, 8), prior, HASTY).data
    with pytest.raises(PriorError, match="needs prior"):
        _decode(data, other)


def test_padding_counts_towards_the_limit():
    prior = tiny_prior()
    data = pipeline.encode(smooth_image(1, 1), prior, HASTY).data
    assert pipeline.decode(data, lambda _: prior, scale=4, most_points=32 * 32).shape == (4, 4)
    with pytest.raises(LimitError):
        pipeline.decode(data, lambda _: prior, scale=4, most_points=32 * 32 - 1)


def test_signals_beyond_the_limit_are_not_encoded(monkeypatch):
    monkeypatch.setattr(pipeline, "MOST_POINTS", {"image": 63, "sound": 63})
    with pytest.raises(LimitError, match="64 points"):
        pipeline.encode(smooth_image(8, 8), tiny_prior(), HASTY)


def test_a_prior_that_expects_next_to_nothing_still_codes():
    prior = tiny_prior()
    information = np.zeros_like(prior.information)
    information[3] = 5
    prior = replace(prior, information=information)
    result = pipeline.encode(smooth_image(8, 8), prior, HASTY)
    assert result.payload_bytes == 1


def test_a_sample_rate_that_cannot_be_multiplied_is_a_usage_error():
    prior = tiny_prior("sound")
    sound = replace(tone(64), sample_rate=2**31)
    data = pipeline.encode(sound, prior, HASTY).data
    with pytest.raises(UsageError, match="too high"):
        pipeline.decode(data, lambda _: prior, scale=2)


def test_every_changed_byte_of_a_real_file_is_refused():
    prior = tiny_prior()
    data = pipeline.encode(smooth_image(5, 5), prior, HASTY).data
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x41
        with pytest.raises(CombinerError):
            _decode(bytes(changed), prior)


CLOSED = pipeline.Settings(effort=1, schedule=Schedule(steps=4, rounds=2, steps_per_round=1))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 4), st.integers(0, 40))
def test_files_of_networks_with_hidden_layers_have_exactly_the_bytes_that_were_asked_for(height, width, channels, more):
    prior, image = tiny_prior(), smooth_image(height, width, channels)
    with pytest.raises(UsageError, match=r"takes \d+ bytes; ask for more than 1$") as refusal:
        pipeline.encode(image, prior, replace(CLOSED, size=1))
    smallest = int(re.search(r"takes (\d+) bytes", str(refusal.value))[1])
    result = pipeline.encode(image, prior, replace(CLOSED, size=smallest + more))
    assert len(result.data) == smallest + more
    assert bitstream.unpack(result.data)[0].version == 2
    assert np.array_equal(_decode(result.data, prior).samples, result.decoded.samples)
    with pytest.raises(UsageError, match=f"takes {smallest} bytes; ask for more than {smallest - 1}"):
        pipeline.encode(image, prior, replace(CLOSED, size=smallest - 1))


def test_groups_of_16_bits_write_files_of_version_1_and_chained_ones_of_version_2():
    image = smooth_image(9, 9)
    published = pipeline.encode(image, tiny_prior(group_bits=16), replace(HASTY, **GRADIENT))
    assert bitstream.unpack(published.data)[0].version == 1
    assert published.payload_bytes == 2 * bitstream.unpack(published.data)[0].groups[0]
    for group_bits in (8, 16):  # of the prior: of no concern to version 2
        chained = pipeline.encode(image, tiny_prior(group_bits=group_bits), HASTY)
        assert bitstream.unpack(chained.data)[0].version == 2
    with pytest.raises(UsageError, match="does not go with groups of 16 bits"):
        pipeline.encode(image, tiny_prior(group_bits=8), replace(HASTY, **GRADIENT))


def test_goals_become_settings_and_exclude_each_other():
    image, sound = smooth_image(20, 30), tone(8000)
    prior = tiny_prior()
    assert goals.plan(image, goals.Goal(size=77), prior) == (prior, pipeline.Settings(size=77))
    assert goals.plan(image, goals.Goal(bits_per_pixel=1.5), prior)[1].size == 112  # 600 · 1.5 / 8, at most
    assert goals.plan(image, goals.Goal(psnr=30.0), prior)[1] == pipeline.Settings(psnr=30.0)
    assert goals.plan(image, goals.Goal(), prior)[1] == pipeline.Settings()
    assert goals.plan(sound, goals.Goal(kilobits_per_second=6.0), tiny_prior("sound"))[1].size == 375
    noise_ratio = goals.plan(sound, goals.Goal(snr=20.0), tiny_prior("sound"))[1].psnr
    assert noise_ratio == pytest.approx(20 + 10 * math.log10(4 / np.mean(np.square(sound.samples.astype(float)))))
    with pytest.raises(UsageError, match="--snr is for sounds; give --psnr for an image"):
        goals.plan(image, goals.Goal(snr=20.0), prior)
    with pytest.raises(UsageError, match="the sound is silent, so that it has no SNR to reach; give -q or --psnr"):
        goals.plan(replace(sound, samples=0 * sound.samples), goals.Goal(snr=20.0), tiny_prior("sound"))
    with pytest.raises(UsageError, match="-q and --psnr exclude each other"):
        goals.plan(image, goals.Goal(quality=5, psnr=30.0), prior)
    with pytest.raises(UsageError, match="--kbps is for sounds"):
        goals.plan(image, goals.Goal(kilobits_per_second=6.0), prior)
    with pytest.raises(UsageError, match="--bpp is for images"):
        goals.plan(sound, goals.Goal(bits_per_pixel=1.0), tiny_prior("sound"))
    with pytest.raises(PriorError, match="is for images"):
        goals.plan(sound, goals.Goal(), prior)
