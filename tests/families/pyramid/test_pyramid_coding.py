"""Coding images with a pyramid prior: what comes back, exact sizes, rendering."""

import gc
import re
import weakref
from dataclasses import replace

import numpy as np
import pytest
from support.coding import coded, of_size, shipped
from support.priors import tiny_priors
from support.signals import smooth_image

from combiner_cli.container.file import File
from combiner_cli.errors import DamagedFileError, UsageError
from combiner_cli.families.pyramid import encoder, haar, levels
from combiner_cli.families.pyramid.decoder import PlaneRendering
from combiner_cli.families.pyramid.encoder import ImageSimulation
from combiner_cli.family import Target, View
from combiner_cli.signals.signal import Signal, to_values
from combiner_cli.stages.encoding.encoder import Budget, Writer
from combiner_cli.stages.moments import UNIT
from combiner_cli.stages.shape import FLAT_PICTURE, PictureShape


def noisy_image(height=40, width=44, seed=3):
    """A smooth picture with a little noise, which takes some bits."""
    generator = np.random.default_rng(seed)
    samples = smooth_image(height, width, seed=seed).samples + generator.normal(0, 4, (height, width, 3))
    return Signal("image", np.clip(np.rint(samples), 0, 255).astype(np.uint8))


# what comes back


@pytest.mark.parametrize(
    ("height", "width", "channels", "depth"),
    [
        (1, 1, 3, 8),
        (1, 1, 1, 8),
        (4, 3, 3, 8),
        (1, 40, 3, 8),
        (33, 18, 1, 8),
        (21, 30, 2, 8),
        (17, 16, 4, 8),
        (24, 25, 3, 16),
    ],
)
def test_what_is_encoded_decodes(height, width, channels, depth):
    signal = smooth_image(height, width, channels, depth)
    coding = coded(signal, shipped("photo-8"))
    assert coding.psnr > 23
    assert coding.decoded.format == signal.format
    assert coded(signal, shipped("photo-8")).file.data == coding.file.data


def test_quality_grows_with_the_rate_and_with_the_size():
    prior, signal = shipped("photo-8"), noisy_image()
    codings = [coded(signal, prior, Target("rate", prior.rate_at(quality))) for quality in (1, 5, 10)]
    for codings_by_size in (codings, [of_size(signal, prior, size) for size in (150, 400, 1200)]):
        psnrs, sizes = [one.psnr for one in codings_by_size], [one.size for one in codings_by_size]
        assert psnrs == sorted(psnrs) and sizes == sorted(sizes)
        assert psnrs[-1] > psnrs[0] + 3


def test_a_psnr_is_about_reached():
    for psnr in (28.0, 36.0):
        assert coded(noisy_image(), shipped("photo-8"), Target("psnr", psnr)).psnr == pytest.approx(psnr, abs=0.8)


def test_the_search_does_better_than_the_quick_way():
    best, quick = (of_size(noisy_image(), shipped("photo-8"), 700, search=one).psnr for one in ("viterbi", "best"))
    assert best > quick + 0.3
    assert of_size(noisy_image(), shipped("photo-8"), 700, search="astar", seed=2).psnr < best
    # fast efforts take the quick way where nothing is asked for
    fast, same = (coded(noisy_image(), shipped("photo-8"), effort=2, search=one) for one in (None, "best"))
    assert fast.file.data == same.file.data


def test_seeds_make_a_difference_to_sampling_alone():
    prior, signal = tiny_priors()["pyramid"], smooth_image(12, 9)
    sampled = [coded(signal, prior, search="astar", seed=seed).encoded.payload for seed in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert len({coded(signal, prior, seed=seed).encoded.payload for seed in (0, 1)}) == 1


# sizes


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [150, 151, 333, 900])
def test_a_size_is_met_exactly(size, channels):
    of_size(smooth_image(40, 37, channels), tiny_priors()["pyramid-parts"], size)


@pytest.mark.parametrize(("height", "width", "channels"), [(40, 37, 3), (1, 1, 1), (64, 50, 4)])
def test_a_size_that_is_too_small_is_refused_with_one_that_will_do(height, width, channels):
    signal, prior = smooth_image(height, width, channels), shipped("photo-8")
    with pytest.raises(UsageError, match=r"a file of this image takes \d+ bytes; ask for more than 20") as caught:
        of_size(signal, prior, 20)
    least = int(re.search(r"takes (\d+)", str(caught.value))[1])
    of_size(signal, prior, least)
    for size in (least - 3, 1):
        with pytest.raises(UsageError, match=f"takes {least} bytes"):
            of_size(signal, prior, size)


def test_every_size_of_a_few_bytes_is_met():
    signal, prior = smooth_image(64, 50, 4), shipped("photo-8")  # flat in part: groups skip some numbers of bytes
    for size in (40, 48, 54):
        of_size(signal, prior, size, effort=1)


def test_more_bytes_than_there_is_use_for_are_filled_up():
    assert of_size(smooth_image(6, 5), tiny_priors()["pyramid"], 3000).psnr > 10


# simulation


def test_a_simulation_tells_what_coding_comes_to():
    simulation = ImageSimulation(shipped("photo-8"), noisy_image())
    coarse, fine = simulation.cost(40), simulation.cost(80)
    assert fine.bits > 2 * coarse.bits
    assert fine.squared_error < 0.5 * coarse.squared_error
    assert coarse.information.sum() > 0 and coarse.class_bits > 0
    prior = shipped("photo-8")
    writer = Writer.begin(prior.key, 0, Budget(1.05), "viterbi", 0)
    result = simulation.code(80, writer)
    assert result.number == 80 + 16
    assert result.squared_error == pytest.approx(fine.squared_error, rel=0.4)  # candidates are no samples
    assert 8 * len(result.classes) == pytest.approx(fine.class_bits, rel=0.15)
    assert 8 * len(result.indices) == pytest.approx(1.05 * fine.information.sum() / 256, rel=0.15)


def test_an_image_is_analysed_once_and_a_noise_level_simulated_once(monkeypatch):
    analysed, usual = [], encoder.analyse
    monkeypatch.setattr(encoder, "analyse", lambda *arguments: analysed.append(1) or usual(*arguments))
    simulation = ImageSimulation(tiny_priors()["pyramid"], smooth_image(9, 8, 4))
    first = simulation.parts(30)
    assert len(first) == len(analysed) == 2  # alpha and colours
    assert simulation.parts(30) is first
    simulation.cost(31)
    assert len(analysed) == 2


def test_what_a_prior_was_chosen_by_is_not_simulated_again_by_the_encoder(monkeypatch):
    levels_simulated, usual = [], ImageSimulation._simulated

    def watched(simulation, plane, noise_level):
        levels_simulated.append(noise_level)
        return usual(simulation, plane, noise_level)

    monkeypatch.setattr(ImageSimulation, "_simulated", watched)
    prior, signal = shipped("photo-8"), smooth_image(30, 31)
    (cost,) = prior.predicted_costs([signal], prior.noise_variance(40))
    first = coded(signal, prior, Target("noise", prior.noise_variance(40), typical_error=1e-3))
    assert levels_simulated.count(40) == 1 and len(set(levels_simulated)) == len(levels_simulated)
    assert prior.predicted_costs([signal], prior.noise_variance(40)) == [cost]
    again = coded(replace(signal), prior, Target("noise", prior.noise_variance(40), typical_error=1e-3))
    assert again.encoded.payload == first.encoded.payload and levels_simulated.count(40) == 2
    shaped = ImageSimulation(prior, signal, encoder.PERCEPTUAL)
    assert shaped.cost(40).bits != shaped.unshaped.cost(40).bits
    assert signal in prior.simulated
    seen = weakref.ref(signal)
    del signal, shaped, first
    gc.collect()
    assert seen() is None  # nothing is kept of it


def test_an_image_is_analysed_once_for_noise_with_a_shape_and_without(monkeypatch):
    analysed, usual = [], encoder.analyse
    monkeypatch.setattr(encoder, "analyse", lambda *arguments: analysed.append(1) or usual(*arguments))
    simulation = ImageSimulation(tiny_priors()["pyramid"], smooth_image(9, 8), encoder.PERCEPTUAL)
    assert simulation.unshaped.planes is simulation.planes
    assert len(analysed) == 1


def test_the_error_of_a_simulation_is_that_of_the_samples(monkeypatch):
    monkeypatch.setattr(encoder, "_ROWS_AT_ONCE", 7)
    signal, prior = noisy_image(33, 20), shipped("photo-8")
    simulation = ImageSimulation(prior, signal)
    writer = Writer.begin(prior.key, 0, Budget(1.05), "best", 0)
    result = simulation.code(40, writer)
    data = prior.pack(signal.format, coded(signal, prior).encoded.__class__(result.numbers, result.payload, [], {}))
    values = prior.decode(File.parse(data), View()).values[:]
    expected = ((np.clip(values, -1, 1).astype(float) - to_values(signal)) ** 2).sum()
    assert result.squared_error == pytest.approx(expected, rel=1e-5)


def test_classes_are_raised_where_candidates_do_not_reach_a_detail(monkeypatch):
    """Blocks that nothing predicts; what is missed in coarse levels would be an error over many samples."""
    blocks = np.random.default_rng(0).integers(0, 2, (8, 8, 1)) * 220 + 20
    signal, raised = Signal("image", blocks.repeat(8, 0).repeat(8, 1).repeat(3, 2).astype(np.uint8)), []
    usual = encoder._EncoderSource._raised

    def watched(source, level, chroma, classes):
        before = classes.copy()
        raised.append((level.number, usual(source, level, chroma, classes) - before))
        return before + raised[-1][1]

    monkeypatch.setattr(encoder._EncoderSource, "_raised", watched)
    costs = [ImageSimulation(shipped("photo-8"), signal).cost(60)]
    assert {number for number, _ in raised} == {2, 3}  # of levels 0 to 3
    steps = np.concatenate([change for _, change in raised])
    assert steps.min() == 0 and 0 < steps.max() <= 4
    monkeypatch.setattr(encoder, "_MOST_RAISES", 0)
    costs.append(ImageSimulation(shipped("photo-8"), replace(signal)).cost(60))
    assert costs[0].class_bits != costs[1].class_bits  # raised classes are what is coded


# decoding


def test_groups_are_told_by_level_luma_and_chroma():
    coding = coded(noisy_image(), shipped("photo-8"))
    names = list(coding.decoded.groups)
    assert names[0] == "level 4 luma" and names[-1].endswith("chroma")
    assert [name.split()[1] for name in names] == sorted((name.split()[1] for name in names), reverse=True)
    decoded = coding.decoded
    assert decoded.class_bytes == coding.encoded.numbers["class_bytes"][0]
    assert decoded.class_bytes + sum(decoded.groups.values()) == len(coding.encoded.payload)
    assert decoded.noise_level == coding.encoded.numbers["noise"][0]


def test_more_classes_than_payload_are_refused_unless_damage_is_known():
    prior = tiny_priors()["pyramid"]
    coding = coded(smooth_image(20, 20), prior)
    numbers = {**coding.encoded.numbers, "class_bytes": (len(coding.encoded.payload) + 1,)}
    data = prior.pack(coding.signal.format, replace(coding.encoded, numbers=numbers))
    with pytest.raises(DamagedFileError, match="more classes"):
        prior.decode(File.parse(data), View())
    damaged = File.parse(data[:-1] + bytes([data[-1] ^ 1]), ignore_checksum=True)
    assert prior.decode(damaged, View()).signal().samples.shape == (20, 20, 3)


def test_a_payload_that_is_cut_is_decoded_as_far_as_it_goes_where_damage_is_known():
    prior = shipped("photo-8")
    coding = coded(noisy_image(), prior)
    payload = coding.encoded.payload
    psnrs = []
    for length in (len(payload), len(payload) * 9 // 10, 3):
        data = bytearray(prior.pack(coding.signal.format, replace(coding.encoded, payload=payload[:length])))
        data[-1] ^= 1
        signal = prior.decode(File.parse(bytes(data), ignore_checksum=True), View()).signal()
        psnrs.append(float(-((signal.samples.astype(float) - coding.signal.samples) ** 2).mean()))
    assert psnrs[0] > psnrs[1] > psnrs[2]


# rendering


@pytest.mark.parametrize("size", [(37, 26), (70, 300), (130, 43), (64, 42)])
@pytest.mark.parametrize("colours", [1, 3])
def test_rows_of_a_rendered_plane_are_those_of_the_whole(size, colours):
    height, _ = size
    picture = np.random.default_rng(5).integers(-9000, 9000, (colours, *size)).astype(np.float32)
    plane = PlaneRendering(picture, size, colours, 50)
    whole = plane.rows(slice(None))
    matrix = (haar.COLOUR if colours == 3 else np.ones((1, 1)) / 3**0.5) * (levels.noise_deviation(50) / UNIT)
    exact = np.moveaxis(picture, 0, 2).astype(float) @ matrix
    assert np.array_equal(whole, exact.astype(np.float32)) or whole == pytest.approx(exact, rel=1e-6, abs=1e-4)
    assert whole.dtype == np.float32
    for first, last in ((0, 1), (1, 6), (5, height), (height - 1, height), (7, 7), (60, 66), (0, 64)):
        assert np.array_equal(plane.rows(slice(first, last)), whole[first:last])


def test_rows_of_a_decoded_image_are_those_of_the_whole():
    values = coded(smooth_image(37, 26, 4), tiny_priors()["pyramid"]).decoded.values
    whole = values[:]
    assert whole.shape == values.shape == (37, 26, 4)
    for first, last in ((0, 1), (1, 6), (5, 37), (36, 37), (7, 7)):
        assert np.array_equal(values[first:last], whole[first:last])


def test_a_larger_picture_is_the_smaller_one_between_its_samples():
    coding = coded(smooth_image(24, 26), shipped("photo-8"))
    large = coding.file and shipped("photo-8").decode(coding.file, View(scale=3)).signal().samples.astype(float)
    assert large.shape == (72, 78, 3)
    assert np.abs(large[1::3, 1::3] - coding.decoded_signal.samples).mean() < 2


@pytest.mark.parametrize("size", [(24, 26), (50, 31), (7, 60), (12, 13)])
def test_any_size_can_be_rendered(size):
    coding = coded(smooth_image(24, 26), tiny_priors()["pyramid"])
    samples = tiny_priors()["pyramid"].decode(coding.file, View(size=size)).signal().samples
    assert samples.shape == (*size, 3)
    assert np.abs(samples.mean(axis=(0, 1)) - coding.decoded_signal.samples.mean(axis=(0, 1))).max() < 8


@pytest.mark.parametrize("target", [Target("size", 300), Target("rate", 1.1)])
def test_a_flat_shape_of_the_noise_gives_the_same_bytes_as_none(target, monkeypatch):
    monkeypatch.setattr(encoder, "PERCEPTUAL", FLAT_PICTURE)
    prior, image = shipped("photo-8"), smooth_image(25, 31)
    flat = coded(image, prior, replace(target, tune="perceptual")).file.data
    assert flat == coded(image, prior, target).file.data


def test_a_rate_is_about_the_same_with_a_shape_of_the_noise_and_a_psnr_has_none():
    prior, image = shipped("photo-8"), noisy_image()
    sizes = [coded(image, prior, Target("rate", 0.8, tune)).size for tune in ("psnr", "perceptual")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.12)
    target = Target("psnr", 30.0, "perceptual")
    assert not coded(image, prior, target).decoded.noise_shape


def test_masking_does_not_depend_on_what_is_not_decoded_yet():
    prior, generator = shipped("photo-8"), np.random.default_rng(3)
    picture = generator.normal(0, 3000, (1, 3, 20, 18)).round()
    level = levels.new_level(1, np.array([40]), picture, None, PictureShape((4, 4, 0, 0), 8, 20))
    noises = []
    for number in range(6):
        before = prior.moments(level, number).noise
        levels.put(level, number, generator.normal(0, 500, len(before)).round())
        level.classes[...] = generator.integers(0, 9, level.classes.shape)
        assert (prior.moments(level, number).noise == before).all()
        noises.append(before.reshape(levels.band_count(level, number), -1))
        assert (noises[-1] == noises[-1][0]).all()
    assert len({tuple(noise[0]) for noise in noises}) == 6
