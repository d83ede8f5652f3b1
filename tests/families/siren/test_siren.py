"""Coding with networks with hidden layers: what was coded is what comes back, for every kind of signal, and damage."""

import binascii
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.priors import tiny_siren
from support.signals import smooth_image, tone

from combiner_cli.container.file import File, pack
from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.families.siren import encoder
from combiner_cli.families.siren.fitting import conditioning, newton, refinement
from combiner_cli.families.siren.fitting.coding import Schedule
from combiner_cli.families.siren.fitting.posterior import Descent
from combiner_cli.family import EncodingOptions, Target, View
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Format, from_values, join, split, to_values

QUICK = Schedule(steps=60, rounds=6, steps_per_round=4, newton_steps=4)
HASTY = Schedule(steps=4, rounds=2, steps_per_round=1, newton_steps=1)
USUAL = EncodingOptions()
PUBLISHED = EncodingOptions(refinement="gradient", search="astar")
LATENTS = View(keep_latents=True)


def _encode(signals, prior, schedule=HASTY, options=USUAL, target=None):
    target = target or Target("rate", prior.bits_per_point)
    return encoder.encode(prior, signals, target, options, lambda _: None, schedule)


def _file(signal, prior, *arguments, **more):
    (encoded,) = _encode([signal], prior, *arguments, **more)
    return File.parse(prior.pack(signal.format, encoded))


def _payload(file, prior):
    return bytes(file.numbers(prior.fields)[1])


def _made(prior, signal_format, payload, index_bytes=1):
    return File.parse(pack(prior.id, signal_format, prior.fields, {"index_bytes": (index_bytes,)}, payload))


def _image_format(height, width, channels=3):
    return Format("image", (height, width), channels, 8, None)


@pytest.mark.parametrize("options", [USUAL, PUBLISHED])
@pytest.mark.parametrize("group_bits", [8, 16])
def test_the_decoder_finds_the_very_weights_that_the_encoder_measured(group_bits, options):
    """Rebuilt here from the prior and the encoder's latents, sample for sample."""
    prior, image = tiny_siren(group_bits=group_bits), smooth_image(13, 21)
    (encoded,) = _encode([image], prior, QUICK, options)
    decoded = prior.decode(File.parse(prior.pack(image.format, encoded)), LATENTS)
    assert np.array_equal(decoded.latents, encoded.latents)
    layout = prior.tiling(image.shape, 3)
    weights = prior.mean.astype(float) + prior.deviation.astype(float) * encoded.latents.reshape(layout.tiles, -1)
    values = join(prior.network.render(weights), layout)
    assert np.array_equal(from_values(values, "image", None, 8).samples, decoded.signal().samples)
    assert set(encoded.seconds) == {"fit", "search", "refine"}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_images_come_back_better_than_from_other_bytes(channels, depth):
    prior, image = tiny_siren(), smooth_image(13, 21, channels, depth)
    file = _file(image, prior, QUICK)
    payload = _payload(file, prior)
    assert len(file.data) - len(payload) == 16
    decoded = prior.decode(file, View()).signal()
    assert decoded.format == image.format
    chance = _made(prior, image.format, np.random.default_rng(1).bytes(len(payload)))
    assert metrics.psnr(image, decoded) > metrics.psnr(image, prior.decode(chance, View()).signal()) + 1


@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100), (1, 7)])
def test_sounds_come_back_better_than_from_other_bytes(channels, rate):
    prior, sound = tiny_siren("sound"), replace(tone(333, channels), sample_rate=rate)
    file = _file(sound, prior, QUICK)
    decoded = prior.decode(file, View()).signal()
    assert decoded.format == sound.format
    chance = _made(prior, sound.format, np.random.default_rng(1).bytes(len(_payload(file, prior))))
    assert metrics.psnr(sound, decoded) > metrics.psnr(sound, prior.decode(chance, View()).signal()) + 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.sampled_from([USUAL, PUBLISHED]))
def test_any_size_works(height, width, channels, options):
    prior, image = tiny_siren(), smooth_image(height, width, channels)
    assert prior.decode(_file(image, prior, options=options), View()).signal().shape == (height, width)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 200), st.integers(1, 2))
def test_any_length_works(frames, channels):
    prior = tiny_siren("sound")
    assert prior.decode(_file(tone(frames, channels), prior), View()).signal().shape == (frames,)


def test_the_same_input_and_options_give_the_same_bytes_and_another_seed_others():
    image, prior = smooth_image(16, 16), tiny_siren()
    first, second = (_file(image, prior, QUICK).data for _ in range(2))
    assert first == second
    assert _file(image, prior, QUICK, EncodingOptions(seed=1)).data != first


def test_a_batch_gives_every_signal_a_file_of_its_own():
    prior = tiny_siren()
    images = [smooth_image(8, 8, seed=number) for number in range(3)]
    for image, encoded in zip(images, _encode(images, prior, QUICK), strict=True):
        decoded = prior.decode(File.parse(prior.pack(image.format, encoded)), LATENTS)
        assert np.array_equal(decoded.latents, encoded.latents)
        errors = [metrics.mean_squared_error(candidate, decoded.signal()) for candidate in images]
        assert min(errors) == metrics.mean_squared_error(image, decoded.signal())


def test_more_rate_gives_more_bytes_and_less_error():
    image, prior = smooth_image(16, 16), tiny_siren()
    files = [
        _file(image, prior, QUICK, target=Target("rate", factor * prior.bits_per_point)) for factor in (0.4, 1, 1.5)
    ]
    sizes = [len(_payload(file, prior)) for file in files]
    assert sizes == sorted(set(sizes))
    quality = [metrics.psnr(image, prior.decode(file, View()).signal()) for file in files]
    assert quality[0] < quality[-1]
    assert _file(image, prior, QUICK, target=Target("psnr", 30.0)).data == files[1].data  # nothing can be predicted


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 4), st.integers(0, 40))
def test_files_have_exactly_the_bytes_that_were_asked_for(height, width, channels, more):
    prior, image = tiny_siren(), smooth_image(height, width, channels)
    with pytest.raises(UsageError, match=r"takes \d+ bytes with prior tiny; ask for more than 1$") as refusal:
        _file(image, prior, target=Target("size", 1))
    smallest = int(re.search(r"takes (\d+) bytes", str(refusal.value))[1])
    file = _file(image, prior, target=Target("size", smallest + more))
    assert len(file.data) == smallest + more
    assert prior.decode(file, View()).signal().format == image.format
    with pytest.raises(UsageError, match=f"takes {smallest} bytes with prior tiny; ask for more than {smallest - 1}"):
        _file(image, prior, target=Target("size", smallest - 1))


@pytest.mark.parametrize(
    ("group_bits", "options", "index_bytes"),
    [
        (16, PUBLISHED, 2),
        (8, PUBLISHED, 1),
        (16, USUAL, 1),
        (16, EncodingOptions(refinement="gradient"), 1),
        (16, EncodingOptions(search="astar"), 1),
    ],
)
def test_groups_are_plain_in_the_published_form_and_chained_in_all_others(group_bits, options, index_bytes):
    prior, image = tiny_siren(group_bits=group_bits), smooth_image(9, 9)
    file = _file(image, prior, options=options)
    numbers, payload = file.numbers(prior.fields)
    assert numbers == {"index_bytes": (index_bytes,)}
    decoded = prior.decode(file, View())
    assert decoded.groups == {"weights": len(payload) // index_bytes}
    assert (decoded.class_bytes, decoded.noise_level) == (0, None)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UsageError, match="rate must be positive"):
        _file(smooth_image(8, 8), tiny_siren(), target=Target("rate", rate))


def test_refinements_and_devices_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="no refinement hope; choose closed-form or gradient"):
        _file(smooth_image(8, 8), tiny_siren(), options=EncodingOptions(refinement="hope"))
    with pytest.raises(UsageError, match="no device abacus; choose auto, cpu or cuda"):
        _file(smooth_image(8, 8), tiny_siren(), options=EncodingOptions(device="abacus"))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            _file(smooth_image(8, 8), tiny_siren(), options=EncodingOptions(device="cuda"))


def test_effort_and_size_decide_how_long_it_takes(monkeypatch):
    """Without a schedule of the caller's; where matrices do not fit the memory, gradient steps refine."""
    taken = []
    for engine, name in ((conditioning, "closed form"), (refinement, "gradient")):

        def stop(objective, task, schedule, report, name=name):
            taken.append((name, schedule.steps))
            raise UsageError("that is enough")

        monkeypatch.setattr(engine, "encode", stop)
    prior, image, target = tiny_siren(), smooth_image(8, 8), Target("rate", 1.0)
    for options in (EncodingOptions(effort=1), USUAL, EncodingOptions(effort=9, refinement="gradient")):
        with pytest.raises(UsageError, match="enough"):
            prior.encode([image], target, options, lambda _: None)
    monkeypatch.setattr(newton, "_MOST_MATRIX_FLOATS", 10)
    with pytest.raises(UsageError, match="enough"):
        prior.encode([image], target, USUAL, lambda _: None)
    assert taken == [("closed form", 500), ("closed form", 2000), ("gradient", 9000), ("gradient", 3000)]


def test_closed_form_is_better_than_gradient_steps(learned_prior):
    """The same prior, the same bits, the same search: the covariances make the difference."""
    images = [smooth_image(8, 8, seed=seed) for seed in range(60, 64)]
    errors = {}
    for name, schedule in (
        ("gradient", Schedule(1000, 6, 20, descent=Descent(points=64))),
        ("closed-form", Schedule(1000, 3, 3, newton_steps=12, descent=Descent(points=64))),
    ):
        coded = _encode(images, learned_prior, schedule, EncodingOptions(refinement=name))
        decoded = [
            learned_prior.decode(File.parse(learned_prior.pack(image.format, encoded)), View()).signal()
            for image, encoded in zip(images, coded, strict=True)
        ]
        errors[name] = np.mean([metrics.psnr(*pair) for pair in zip(images, decoded, strict=True)])
    assert errors["closed-form"] > errors["gradient"]


def test_rendering_at_an_odd_scale_is_the_same_function():
    prior, image = tiny_siren(), smooth_image(16, 16)
    file = _file(image, prior, QUICK)
    native = prior.decode(file, View()).signal().samples.astype(float)
    large = prior.decode(file, View(scale=3)).signal()
    assert large.shape == (48, 48)
    centres = large.samples[1::3, 1::3].astype(float)  # with an odd scale some points coincide
    assert np.abs(centres - native).max() <= 1


def test_a_sound_rendered_at_twice_the_rate_keeps_its_duration():
    prior = tiny_siren("sound")
    decoded = prior.decode(_file(tone(100), prior), View(scale=2)).signal()
    assert decoded.shape == (200,)
    assert decoded.sample_rate == 32000


def test_an_image_of_another_size_is_interpolated():
    prior = tiny_siren()
    decoded = prior.decode(_file(smooth_image(16, 20), prior), View(scale=2, size=(24, 40)))
    assert decoded.values.shape == (32, 40, 3)
    assert decoded.signal().shape == (24, 40)


def test_nothing_is_rendered_before_it_is_asked_for_and_all_of_it_once(monkeypatch):
    prior = tiny_siren()
    file = _file(smooth_image(70, 30), prior)
    rendered = []
    original = type(prior.network).render
    monkeypatch.setattr(type(prior.network), "render", lambda *arguments: rendered.append(1) or original(*arguments))
    decoded = prior.decode(file, View())
    assert decoded.values.shape == (70, 30, 3)
    assert len(decoded.latents) == 0
    assert not rendered
    decoded.signal()
    decoded.signal()
    assert rendered == [1]


def test_a_payload_that_cannot_fill_the_declared_size_is_damage_before_anything_is_allocated():
    prior = tiny_siren()
    for signal_format in (_image_format(8000, 8000), _image_format(2**32 - 1, 2**13)):
        with pytest.raises(DamagedFileError, match="payload cannot fill"):
            prior.decode(_made(prior, signal_format, bytes(2)), View())


@pytest.mark.parametrize(("payload", "index_bytes"), [(b"", 1), (b"", 2), (bytes(3), 2)])
def test_payloads_that_are_no_indices_are_damage(payload, index_bytes):
    prior = tiny_siren()
    with pytest.raises(DamagedFileError):
        prior.decode(_made(prior, _image_format(8, 8), payload, index_bytes), View())


def test_more_groups_than_there_is_information_are_damage():
    prior = tiny_siren()
    with pytest.raises(DamagedFileError, match="do not fit"):
        prior.decode(_made(prior, _image_format(8, 8), bytes(200_000)), View())


def test_index_bytes_out_of_range_are_damage():
    prior = tiny_siren()
    data = bytearray(_made(prior, _image_format(8, 8), bytes(40)).data[:-4])
    data[-41] = 3
    with pytest.raises(DamagedFileError, match="index_bytes is out of range"):
        prior.decode(File.parse(bytes(data) + binascii.crc32(data).to_bytes(4, "big")), View())


def test_half_an_index_of_a_damaged_file_is_left_out():
    prior = tiny_siren()
    whole = _made(prior, _image_format(8, 8), bytes(range(40)), 2)
    cut = File.parse(whole.data[:-5] + whole.data[-4:], ignore_checksum=True)
    assert not cut.intact
    decoded = prior.decode(cut, LATENTS)
    assert decoded.groups == {"weights": 19}
    shorter = _made(prior, _image_format(8, 8), bytes(range(38)), 2)
    assert np.array_equal(decoded.latents, prior.decode(shorter, LATENTS).latents)


def test_a_prior_that_expects_next_to_nothing_still_codes():
    prior = tiny_siren()
    information = np.zeros_like(prior.information)
    information[3] = 5
    prior = replace(prior, information=information)
    assert len(_payload(_file(smooth_image(8, 8), prior), prior)) == 1


def test_small_signals_gain_from_company_as_long_as_matrices_fit():
    prior = tiny_siren()
    cpu = EncodingOptions(device="cpu")
    assert prior.signals_together(_image_format(8, 8), cpu) == 32
    assert prior.signals_together(_image_format(64, 64), cpu) == 8
    assert prior.signals_together(_image_format(64, 65), cpu) == 1
    many = tiny_siren(extent=(4, 4))
    assert many.signals_together(_image_format(64, 64), cpu) == 2**24 // (256 * many.network.latents**2) < 8
    wide = replace(prior, network=replace(prior.network, width=400))
    assert wide.signals_together(_image_format(64, 64), cpu) == 1


def test_signals_in_company_have_the_bytes_that_they_have_alone():
    prior = tiny_siren()
    images = [smooth_image(8, 8, seed=number) for number in range(3)]
    together = [encoded.payload for encoded in _encode(images, prior, QUICK)]
    assert together == [_encode([image], prior, QUICK)[0].payload for image in images]
    assert len(set(together)) == 3


def test_whole_tiles_are_rendered_and_large_networks_count():
    prior = tiny_siren()
    assert prior.points_rendered(_image_format(8, 8)) == 64
    assert prior.points_rendered(_image_format(9, 8, 4)) == 4 * 64
    assert prior.points_rendered(_image_format(1, 1), scale=3) == 9 * 64
    wide = replace(prior, network=replace(prior.network, width=100))
    assert wide.points_rendered(_image_format(8, 8)) == wide.network.latents // 4 > 64


def test_split_tiles_join_again_in_the_order_of_the_format():
    """What :class:`RenderedTiles` gives, slice by slice, is the signal that the tiles were cut from."""
    image = smooth_image(13, 21, 4)
    prior = tiny_siren()
    layout = prior.tiling(image.shape, 4)
    cut = split(to_values(image), layout)
    values = encoder.tiles.RenderedTiles(layout, 4, 1, lambda: cut)
    assert values.shape == (13, 21, 4)
    assert np.allclose(np.concatenate([values[0:5], values[5:13]]), to_values(image))
