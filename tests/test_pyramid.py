"""The pyramid: transform, context, whole-number networks, moments, coding, learning."""

from __future__ import annotations

import functools
import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import smooth_image
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.codec import pipeline
from combiner_cli.errors import DamagedFileError, DatasetError, UsageError
from combiner_cli.families.pyramid import (
    encoder as hierarchy_coding,
)
from combiner_cli.families.pyramid import features as pyramid_features
from combiner_cli.families.pyramid import (
    files as pyramid_codec,
)
from combiner_cli.families.pyramid import haar, levels
from combiner_cli.families.pyramid import (
    learning as learn_hierarchy,
)
from combiner_cli.families.pyramid import (
    prior as hierarchy,
)
from combiner_cli.families.pyramid.encoder import forecast, picture_of
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.learning import trainer
from combiner_cli.priors import library
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal
from combiner_cli.stages import integer_network
from combiner_cli.stages.allocation import (
    Share,
    class_bytes,
    class_decoder,
    class_encoder,
    class_model,
    density_of,
    probabilities,
    put_classes,
)
from combiner_cli.stages.encoder import Budget, best_classes, writer_for
from combiner_cli.stages.moments import LOWEST, PARTS_FROM, Moments, StageName, frequencies_of, in_deviations, in_parts
from combiner_cli.system import threads


def plan(**changed):
    usual = {"steps": 150, "pictures": 2, "crop": 40, "seed": 1, "size": 64}
    small = ((12, 8), (8, 8), (8, 8))
    usual |= {"fine": small, "coarse": small, "noise_codes": (20, 60)}
    return learn_hierarchy.PyramidPlan("tiny", **{**usual, **changed})


def pictures(count, seed=0):
    generator = np.random.default_rng(seed)
    made = [smooth_image(56, 64, seed=seed + n).samples.astype(float) for n in range(count)]
    return [np.clip(picture + generator.normal(0, 4, picture.shape), 0, 255).astype(np.uint8) for picture in made]


@functools.cache
def tiny_pyramid():
    """A pyramid prior with small networks, learned once from a few smooth pictures."""
    return learn_hierarchy.learn(plan(), pictures(6), pictures(2, 50)).prior


# transform


@given(st.integers(1, 23), st.integers(1, 23), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_synthesis_undoes_analysis_up_to_the_rounding(height, width, seed):
    picture = np.random.default_rng(seed).integers(-(10**5), 10**5, (2, 3, height, width)).astype(float)
    coarse, details = haar.analyse(picture)
    back = haar.synthesise(coarse, details, (height, width))
    assert back.shape == picture.shape
    assert np.abs(back - picture).max() <= 1e-6


def test_the_transform_is_orthonormal_on_even_sizes():
    picture = np.random.default_rng(0).normal(size=(3, 16, 24))
    coarse, details = haar.analyse(picture)
    assert (coarse**2).sum() + (details**2).sum() == pytest.approx((picture**2).sum(), rel=1e-12)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_levels_halve_until_the_root(height, width):
    found = haar.sizes((height, width))
    assert found[0] == (height, width)
    assert max(found[-1]) <= 4
    for fine, coarse in itertools.pairwise(found):
        assert coarse == (math.ceil(fine[0] / 2), math.ceil(fine[1] / 2))


def test_colours_are_orthonormal():
    assert pytest.approx(np.eye(3), abs=1e-12) == haar.COLOUR @ haar.COLOUR.T


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (12, 17)])
@pytest.mark.parametrize("colours", [1, 3])
def test_values_survive_the_way_down_and_up(shape, colours):
    """Rendering the weights of the whole pyramid gives the image that they were made from."""
    values = np.random.default_rng(1).uniform(-127, 127, (*shape, colours))
    picture, code = picture_of(values), 100
    unit = levels.UNIT / hierarchy.noise_deviation(code)
    planes = np.rint(picture.root * unit)[None]
    for size, details in zip(haar.sizes(shape)[-2::-1], picture.details[::-1], strict=True):
        planes = haar.synthesise(planes, np.rint(details * unit)[None], size)
    rendering = hierarchy.Rendering(planes[0], shape, colours, code)
    assert np.abs(rendering.whole() - values).max() < 0.2


# context


def drawn_level(size, seed=0, number=1):
    generator = np.random.default_rng(seed)
    picture = generator.integers(-5000, 5000, (1, 3, *size)).astype(float)
    own = levels.level(number, np.array([40]), picture)
    details = generator.integers(-500, 500, (1, 3, 3, *size))
    for stage in range(6):
        levels.put(own, stage, levels.get(details, own, stage).reshape(-1))
    own.own_activity[...] = generator.integers(0, levels.CLASSES, own.own_activity.shape)
    return own


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7), (8, 8)])
def test_all_positions_of_a_level_are_in_exactly_one_luma_and_one_chroma_stage(size):
    own = drawn_level(size)
    for numbers in (range(4), range(4, 6)):
        seen = np.zeros(size, dtype=int)
        for number in numbers:
            for place in levels.stage_places(own, number):
                seen[place] += 1
        assert (seen == 1).all()


@pytest.mark.parametrize(("height", "width"), [(5, 8), (8, 7), (1, 5), (2, 2)])
@pytest.mark.parametrize("narrow", [True, False])
def test_a_level_gives_back_the_details_that_were_put_into_it_and_renders_them(height, width, narrow):
    generator = np.random.default_rng(4)
    picture = generator.integers(-900, 900, (1, 3, height, width)).astype(float)
    details = generator.integers(-500, 500, (1, 3, 3, height, width)).astype(float)
    details[0, 1, 2, 0, 0] = 400 if narrow else 2.0**20 + 1
    own = levels.level(1, np.array([40]), picture)
    for number in range(6):
        values = levels.get(details, own, number)
        if values.size:
            levels.put(own, number, values.reshape(-1))
    for phase in levels.PHASES:
        for chroma, colours in ((False, slice(0, 1)), (True, slice(1, 3))):
            found = own.details.get((phase, chroma))
            mine = np.moveaxis(details[:, colours, :, phase[0] :: 2, phase[1] :: 2], 0, 2)
            if mine.size:
                assert np.array_equal(found, mine)
    kinds = {kept.dtype for kept in own.details.values()}
    assert kinds == ({np.dtype(np.int16)} if narrow else {np.dtype(np.int16), np.dtype(np.float32)})
    size = (2 * height, 2 * width - 1)
    assert np.array_equal(own.refined(size), haar.synthesise(picture, details, size))
    if height > 2:
        some = own.refined_rows(slice(2, 4), size)
        assert np.array_equal(some, haar.synthesise(picture, details, size)[:, :, 4:8])


def parts(own, number):
    """The details of a stage, phase after phase, as they are coded."""
    found = [own.details[phase, number >= 4] for phase in levels.stage_phases(number)]
    return [part.reshape(part.shape[0] * 3, -1) for part in found]


def features_of(own, number):
    rows = slice(0, own.units[0])
    if number >= 4:
        return pyramid_features.chroma_features(own, number - 4, rows)
    return pyramid_features.luma_features(own, number, rows)


@pytest.mark.parametrize("stage", range(6))
def test_the_context_of_a_stage_is_made_of_earlier_stages_only(stage):
    """Change every detail of this stage and of later ones: nothing that the stage depends on moves."""
    own = drawn_level((6, 7))
    features, contrast = features_of(own, stage)
    for later in range(stage, 6):
        levels.put(own, later, np.concatenate(parts(own, later), axis=1).reshape(-1) + 77)
    again, same = features_of(own, stage)
    assert np.array_equal(features, again)
    assert np.array_equal(contrast, same)
    if stage:
        levels.put(own, 0, parts(own, 0)[0].reshape(-1) + 77)
        assert not np.array_equal(features_of(own, stage)[0], features)


@pytest.mark.parametrize("number", range(6))
def test_features_of_strips_are_those_of_the_whole(number):
    own = drawn_level((9, 6))
    whole_features, _ = features_of(own, number)
    gather = pyramid_features.chroma_features if number >= 4 else pyramid_features.luma_features
    halves = [gather(own, number - 4 if number >= 4 else number, rows)[0] for rows in (slice(0, 2), slice(2, 5))]
    assert {tuple(column) for half in halves for column in half.T} == {tuple(column) for column in whole_features.T}


@pytest.mark.parametrize("number", range(6))
def test_features_in_memory_that_is_used_again_are_the_same(number):
    scratch = threads.Scratch()
    for size, seed in (((9, 6), 0), ((5, 12), 1)):
        own = drawn_level(size, seed)
        for phase in levels.stage_phases(number):
            fresh, again = (
                pyramid_features.stage_features(own, number, phase, slice(1, own.units[0]), scratch=memory)
                for memory in (None, scratch)
            )
            assert np.array_equal(fresh[0], again[0])
            assert np.array_equal(fresh[1], again[1])


@pytest.mark.parametrize("network", pyramid_features.NETWORKS, ids=lambda network: network.name)
def test_features_are_whole_and_bounded(network):
    own = drawn_level((6, 6))
    rows = slice(0, 3)
    gather = {
        "luma_activity": pyramid_features.luma_activity_features,
        "chroma_activity": pyramid_features.chroma_activity_features,
    }
    if network.activity:
        features, _ = gather[network.name](own, rows)
    else:
        features, _ = features_of(
            own, [n.name for n in (*pyramid_features.LUMA, *pyramid_features.CHROMA)].index(network.name)
        )
    assert features.shape[0] == network.features
    assert np.array_equal(features, np.floor(features))
    assert np.abs(features[: network.relative]).max() <= pyramid_features.FEATURE_LIMIT


# networks in whole numbers


def test_a_network_in_whole_numbers_is_the_network_in_floating_point():
    generator = np.random.default_rng(3)
    tensors = {
        "first": generator.normal(0, 0.3, (8, 5)),
        "first_bias": generator.normal(0, 0.3, 8),
        "second": generator.normal(0, 0.3, (6, 8)),
        "second_bias": generator.normal(0, 0.3, 6),
        "third": generator.normal(0, 0.3, (4, 6)),
        "third_bias": generator.normal(0, 0.3, 4),
        "linear": generator.normal(0, 0.3, (2, 3)),
    }
    stored = integer_network.quantised(tensors)
    assert integer_network.fits(stored, 5, 4, 2, 3)
    network = integer_network.WholeNetwork(**stored)
    features = generator.integers(-400, 400, (5, 50)).astype(float)
    x = features / 128
    hidden = np.clip(tensors["first"] @ x + tensors["first_bias"][:, None], 0, 16)
    hidden = np.clip(tensors["second"] @ hidden + tensors["second_bias"][:, None], 0, 16)
    expected = tensors["third"] @ hidden + tensors["third_bias"][:, None]
    expected[:2] += tensors["linear"] @ x[:3]
    results = network(features)
    assert np.array_equal(results, np.floor(results))
    assert results / 2**22 == pytest.approx(expected, abs=0.02)
    order = generator.permutation(50)
    assert np.array_equal(network(features[:, order]), results[:, order])


def test_tensors_of_another_shape_or_type_do_not_fit():
    stored = integer_network.quantised({part: np.zeros((3, 3)) for part in integer_network.TENSORS})
    assert not integer_network.fits(stored, 3, 3, 3, 3)
    assert not integer_network.fits(dict.fromkeys(integer_network.TENSORS), 3, 3, 3, 3)


# classes


def test_frequencies_sum_up_and_none_is_zero():
    logits = np.random.default_rng(0).normal(0, 8, (levels.CLASSES, 200)) * 2**22
    found = frequencies_of(logits)
    assert (found.sum(axis=0) == 2**16).all()
    assert found.min() >= 1
    shares = np.exp2(logits / 2**22)
    likely = shares / shares.sum(axis=0) > 0.01
    assert (found / 2**16)[likely] == pytest.approx((shares / shares.sum(axis=0))[likely], rel=0.06)


@given(st.integers(0, 300), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_classes_come_back_from_their_stream(count, seed):
    generator = np.random.default_rng(seed)
    frequencies = frequencies_of(generator.normal(0, 3, (levels.CLASSES, count)) * 2**22)
    classes = generator.integers(0, levels.CLASSES, count)
    encoder = class_encoder()
    put_classes(encoder, classes, frequencies)
    data = class_bytes(encoder)
    decoder = class_decoder(data)
    halves = [slice(0, count // 3), slice(count // 3, count)]
    found = [decoder.decode(class_model(), probabilities(frequencies[:, half])) for half in halves]
    assert np.concatenate(found).tolist() == classes.tolist()
    bits = sum(16 - math.log2(frequencies[own, n]) for n, own in enumerate(classes))
    assert 8 * len(data) <= bits + 64


def test_a_class_is_chosen_for_what_it_saves():
    even = np.full((levels.CLASSES, 3), -math.log2(levels.CLASSES))
    assert best_classes(np.array([0.5, 2.5, 21.0]), even, 12, hierarchy_coding.CLASS_VARIANCES).tolist() == [0, 1, 3]
    rare = even.copy()
    rare[1:] = -20.0  # bits: more than a small variance saves
    assert best_classes(np.array([0.5, 2.5, 21.0]), rare, 12, hierarchy_coding.CLASS_VARIANCES).tolist() == [0, 0, 3]


def test_units_of_a_stage_are_marked_where_their_details_are():
    own = drawn_level((5, 4))
    for number in range(6):
        for row, column in ((0, 0), (4, 2), (3, 3), (1, 2)):
            details = np.zeros((1, 3, 3, 5, 4))
            details[0, 2 if number >= 4 else 0, 1, row, column] = 1
            units = np.zeros(own.units, dtype=bool)
            levels.mark_units(own, number, levels.get(details, own, number).reshape(-1) > 0, units)
            phase = levels.PHASES.index((row % 2, column % 2))
            mine = phase // 2 == number - 4 if number >= 4 else phase == number
            assert np.argwhere(units).tolist() == ([[row // 2, column // 2]] if mine else [])


# groups


def test_groups_are_dealt_by_information_and_the_last_stage_takes_the_rest():
    share = Share([density_of(1.0)] * 8, 100, StageName(0, 5))
    first = share.take(StageName(3, 0), 8 * 256 * 10 + 1000)
    second = share.take(StageName(2, 0), 8 * 256 * 5 + 1100)
    assert (first, second) == (10, 16 - 10 + 0)  # what did not fill a group goes on
    assert share.take(StageName(0, 5), 10**6) == 100 - first - second
    assert share.left == 0


def test_a_stage_takes_no_more_groups_than_are_left():
    share = Share([127] * 8, 3, StageName(0, 5))
    assert share.take(StageName(1, 0), 10**7) == 3
    assert share.take(StageName(0, 5), 10**7) == 0


# moments and evidence


def test_the_evidence_is_least_at_the_closed_form_update():
    """Of data of variance v around the mean the best prior variance is max(v − s2, 0), with s2 = 1."""
    import torch

    for variance in (0.5, 3.0, 40.0):
        residual = torch.from_numpy(np.random.default_rng(0).normal(0, math.sqrt(variance), (1, 100_000)))
        octaves = torch.arange(-5, 5, 1 / 32)
        costs = torch.stack([trainer.evidence(residual, own.expand(residual.shape)).mean() for own in octaves])
        best = float(torch.exp2(2 * octaves[costs.argmin()]))
        assert best == pytest.approx(max(variance - 1, 2**-10), rel=0.08)


def test_values_of_moments_by_hand():
    own = Moments(np.array([100.0, -7.0, 5.0]), np.array([-LOWEST, -1, 16 - LOWEST]))
    # numbers 0 and 16 are one and two deviations of the noise, 64 and 128 steps
    found = own.values(np.array([0, 2]), np.array([1.5, -0.25]))
    assert found.tolist() == [100 + 96, -7, 5 - 32]
    assert own.information().tolist() == [128, 0, round(128 * math.log2(5))]


@pytest.mark.parametrize("steps", [[100, -7, 5], [2**20, -7, 5]])
def test_steps_are_the_same_deviations_in_every_type_that_holds_them(steps):
    for kind in (np.int32, np.float32, np.float64):
        assert np.array_equal(in_deviations(np.array(steps, dtype=kind)), np.array(steps) / 64)
    narrow = in_deviations(np.array([100, -7, 5], dtype=np.int16))
    assert narrow.tolist() == [100 / 64, -7 / 64, 5 / 64]
    assert narrow.dtype == np.float32


def test_a_detail_of_much_information_is_coded_in_parts_by_hand():
    octaves = (0, 6, 13)
    own = Moments(np.array([1.0, 2.0, 3.0]), np.array([16 * k - LOWEST for k in octaves]))
    asked, again = [], ()

    def coded(part):
        asked.append(part)
        return part.mean + 10, len(asked) in again

    assert in_parts(own, 6, coded).tolist() == [31, 32, 33]
    # 13 octaves come in parts of 4 until fewer than 6 are left, 6 in one part
    assert [(part.deviation + LOWEST).tolist()[1:] for part in asked] == [[96, 208], [-38, 144], [32, 80]]
    assert [part.deviation[0] for part in asked] == [-1, -1, -LOWEST]
    assert [part.information().tolist() for part in asked[:2]] == [[0, 1024, 1024], [0, 0, 1024]]
    # what a part leaves over is a sixteenth of its deviation, and the noise
    assert asked[0].rest(np.array([1, 2])).tolist() == [1 + 4.0**2, 1 + 512.0**2]
    assert asked[2].last and asked[2].rest(np.arange(3)).tolist() == [1, 1, 1]
    asked, again = [], (1, 4)
    assert in_parts(own, 6, coded).tolist() == [51, 52, 53]
    firsts = [(part.deviation + LOWEST).tolist()[2] for part in asked]
    assert firsts == [208, 208, 144, 80, 80]
    assert [part.last for part in asked] == [False, False, False, True, True]
    asked, again = [], ()
    in_parts(own, 0, coded)
    assert len(asked) == 1


def test_no_detail_of_a_coarse_level_is_left_behind():
    # 8 bits in one group are 256 candidates, one of which is near the right one or is not
    prior = replace(tiny_pyramid(), parts_from=PARTS_FROM)
    image = smooth_image(64, 60, seed=11)
    code = 88
    values = image.samples.astype(float) - 127.5
    worst = []
    for own in (prior, replace(prior, parts_from=0)):
        expected = [forecast(own, values, code)]
        writer = writer_for(own.key, expected, Budget(1.07), "viterbi", 0)
        coded = hierarchy_coding.encode_planes(own, [values], expected, writer)
        assert coded.squared_error > 0
        worst.append(coded.squared_error)
    assert worst[0] < 0.8 * worst[1]


def test_simulated_coding_counts_what_it_should():
    prior = tiny_pyramid()
    values = pictures(1, 9)[0].astype(float) - 127.5
    coarse, fine = (forecast(prior, values, code) for code in (24, 56))
    assert fine.bits > 2 * coarse.bits
    assert fine.squared_error < 0.5 * coarse.squared_error
    assert coarse.information.sum() > 0 and coarse.class_bits > 0


# files


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
    prior, signal = tiny_pyramid(), smooth_image(height, width, channels, depth)
    result = pipeline.encode(signal, prior)
    decoded = pipeline.decode(result.data, lambda _: prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)
    assert decoded.samples.shape == signal.samples.shape
    assert decoded.bit_depth == depth
    assert metrics.psnr(signal, decoded) > 18
    again = pipeline.encode(signal, prior)
    assert again.data == result.data


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [150, 151, 333, 900])
def test_a_size_is_met_exactly(size, channels):
    prior, signal = tiny_pyramid(), smooth_image(40, 37, channels)
    result = pipeline.encode(signal, prior, pipeline.Settings(size=size))
    assert len(result.data) == size
    decoded = pipeline.decode(result.data, lambda _: prior)
    assert np.array_equal(decoded.samples, result.decoded.samples)


@pytest.mark.parametrize(("height", "width", "channels"), [(40, 37, 3), (1, 1, 1), (64, 50, 4)])
def test_a_size_that_is_too_small_is_refused_with_one_that_will_do(height, width, channels):
    signal = smooth_image(height, width, channels)
    with pytest.raises(UsageError, match=r"takes \d+ bytes; ask for more than 20") as caught:
        pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(size=20))
    least = int(re.search(r"takes (\d+)", str(caught.value))[1])
    assert len(pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(size=least)).data) == least
    with pytest.raises(UsageError, match=f"takes {least} bytes"):
        pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(size=least - 1))


def test_a_psnr_is_reached():
    signal = smooth_image(40, 37)
    result = pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(psnr=33.0))
    assert 33.0 <= metrics.psnr(signal, result.decoded) < 34.5


def test_more_bytes_give_a_better_picture():
    signal = Signal("image", pictures(1, 3)[0])
    sizes = (150, 400, 1200)
    found = [pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(size=size)) for size in sizes]
    psnrs = [metrics.psnr(signal, result.decoded) for result in found]
    assert psnrs == sorted(psnrs)
    assert psnrs[-1] > psnrs[0] + 3


def test_the_search_does_better_than_the_quick_way():
    signal = Signal("image", pictures(1, 3)[0])
    slow, quick = (
        pipeline.encode(signal, tiny_pyramid(), pipeline.Settings(size=700, search=method))
        for method in ("viterbi", "best")
    )
    assert metrics.psnr(signal, slow.decoded) > metrics.psnr(signal, quick.decoded) + 0.3


@pytest.mark.parametrize("where", ["classes", "streams", "version"])
def test_files_that_do_not_fit_their_prior_are_refused(where):
    from dataclasses import replace

    from combiner_cli.container import bitstream

    prior = tiny_pyramid()
    header, payload = bitstream.unpack(pipeline.encode(smooth_image(20, 20), prior).data)
    changed = {
        "classes": replace(header, class_bytes=len(payload) + 1),
        "streams": replace(header, densities=header.densities[:7]),
        "version": replace(header, class_bytes=None, densities=()),
    }[where]
    with pytest.raises(DamagedFileError):
        pipeline.decode(bitstream.pack(changed, payload), lambda _: prior)


# rendering


def test_another_size_keeps_what_is_constant():
    flat = pyramid_codec.Resampled(np.full((9, 7, 3), 0.3), (31, 20))  # weights of the interpolation sum to one
    assert flat.shape == (31, 20, 3)
    assert flat[:] == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize("size", [(80, 50), (160, 100), (20, 25), (100, 33), (79, 51), (120, 7)])
def test_an_image_of_another_size_has_no_seams_between_its_strips(size):
    values = np.random.default_rng(0).uniform(-1, 1, (80, 50, 2)).astype(np.float32)
    resampled = pyramid_codec.Resampled(values, size)
    step = max(resampled.multiple, 7 // resampled.multiple * resampled.multiple)
    strips = [resampled[first : first + step] for first in range(0, size[0], step)]
    assert len(strips) > 1
    assert np.concatenate(strips) == pytest.approx(resampled[:], abs=1e-6 if resampled.multiple > 1 else 1e-5)


@pytest.mark.parametrize("size", [(37, 26), (70, 300), (130, 43), (64, 42)])
@pytest.mark.parametrize("colours", [1, 3])
def test_rows_of_a_rendered_image_are_those_of_the_whole(size, colours):
    height, _ = size
    picture = np.random.default_rng(5).integers(-9000, 9000, (colours, *size)).astype(np.float32)
    rendering = hierarchy.Rendering(picture, size, colours, 50)
    image = rendering.whole()
    unit = hierarchy.noise_deviation(50) / levels.UNIT
    exact = (
        np.moveaxis(picture, 0, 2).astype(float) @ (haar.COLOUR if colours == 3 else np.ones((1, 1)) / 3**0.5) * unit
    )
    assert image == pytest.approx(exact, rel=1e-5, abs=1e-3)
    for first, last in ((0, 1), (1, 6), (5, height), (height - 1, height), (7, 7), (60, 66), (0, 64)):
        assert np.array_equal(rendering.rows(slice(first, last)), image[first:last])


def test_colours_are_rounded_once_in_small_blocks_and_with_every_term_in_large_ones():
    """What files decode to: blocks of 64 rows of at most 8192 values are small ones."""
    picture = np.random.default_rng(6).integers(-9000, 9000, (3, 74, 60)).astype(np.float32)
    image = hierarchy.Rendering(picture, (74, 60), 3, 50).whole()
    matrix = haar.COLOUR * (hierarchy.noise_deviation(50) / levels.UNIT)
    y, p, q = picture.astype(float)
    differ = 0
    for colour in range(3):
        first, second, third = matrix[:, colour]
        once = (y * first + p * second + q * third).astype(np.float32)
        always = (((y * first).astype(np.float32) + p * second).astype(np.float32) + q * third).astype(np.float32)
        assert np.array_equal(image[:64, :, colour], always[:64])
        assert np.array_equal(image[64:, :, colour], once[64:])
        differ += np.count_nonzero(once != always)
    assert differ > 100


def test_rows_of_a_decoded_image_are_those_of_the_whole():
    prior, signal = tiny_pyramid(), smooth_image(37, 26)
    content = pipeline.read(pipeline.encode(signal, prior).data, prior)
    whole_image = content.values[:]
    assert whole_image.shape == content.values.shape == (37, 26, 3)
    for first, last in ((0, 1), (1, 6), (5, 37), (36, 37), (7, 7)):
        assert np.array_equal(content.values[first:last], whole_image[first:last])


def test_a_larger_picture_is_the_smaller_one_between_its_samples():
    prior, signal = tiny_pyramid(), smooth_image(24, 26)
    data = pipeline.encode(signal, prior).data
    usual, large = (pipeline.decode(data, lambda _: prior, scale).samples.astype(float) for scale in (1, 3))
    assert large.shape == (72, 78, 3)
    assert np.abs(large[1::3, 1::3] - usual).mean() < 2


@pytest.mark.parametrize("size", [(24, 26), (50, 31), (7, 60), (12, 13)])
def test_any_size_can_be_rendered(size):
    prior, signal = tiny_pyramid(), smooth_image(24, 26)
    data = pipeline.encode(signal, prior).data
    usual = pipeline.decode(data, lambda _: prior).samples.astype(float)
    found = pipeline.decode(data, lambda _: prior, size=size).samples
    assert found.shape == (*size, 3)
    assert np.abs(found.mean(axis=(0, 1)) - usual.mean(axis=(0, 1))).max() < 4


# priors and learning


def test_a_prior_survives_its_file(tmp_path):
    prior = tiny_pyramid()
    path = tmp_path / "tiny.safetensors"
    library.save(prior, path)
    again = library.load(path)
    assert isinstance(again, PyramidPrior)
    assert again.id == prior.id
    data = pipeline.encode(smooth_image(16, 16), prior).data
    assert np.array_equal(
        pipeline.decode(data, lambda _: again).samples, pipeline.decode(data, lambda _: prior).samples
    )


@pytest.mark.parametrize("change", ["missing", "shape", "type", "more", "codes"])
def test_a_damaged_prior_is_refused(tmp_path, change):
    from dataclasses import replace

    prior = tiny_pyramid()
    stored = dict(prior.stored)
    name = "1.luma_2.first"
    if change == "missing":
        del stored[name]
    elif change == "shape":
        stored[name] = stored[name][:, :-1]
    elif change == "type":
        stored[name] = stored[name].astype(np.int32)
    elif change == "more":
        stored["other"] = stored[name]
    changed = replace(prior, stored=stored, noise_codes=(60, 20) if change == "codes" else prior.noise_codes)
    path = tmp_path / "tiny.safetensors"
    library.save(changed, path)
    with pytest.raises(DamagedFileError):
        library.load(path)


def test_learning_pays_and_goes_on_where_it_was_stopped(tmp_path):
    class StoppedError(Exception):
        pass

    training, held_out = pictures(6), pictures(2, 50)
    whole_run = learn_hierarchy.learn(plan(), training, held_out)
    checkpoint = tmp_path / "x.checkpoint"
    steps = itertools.count()

    def interrupted(*arguments):
        if next(steps) == 117:
            raise StoppedError
        return usual(*arguments)

    usual = learn_hierarchy._crops
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(learn_hierarchy, "_crops", interrupted)
        learn_hierarchy.learn(plan(), training, held_out, checkpoint=checkpoint, checkpoint_seconds=0)
    resumed = learn_hierarchy.learn(plan(), training, held_out, checkpoint=checkpoint, checkpoint_seconds=0)
    assert resumed.prior.id == whole_run.prior.id
    assert [report.number for report in resumed.reports] == [100, 150]
    with pytest.raises(DatasetError):
        learn_hierarchy.learn(plan(seed=2), training, held_out, checkpoint=checkpoint)
    untrained = learn_hierarchy.learn(plan(steps=1), training, held_out).prior
    values = held_out[0].astype(float) - 127.5
    one, other = (forecast(prior, values, 50) for prior in (whole_run.prior, untrained))
    assert one.bits + one.class_bits < 0.8 * (other.bits + other.class_bits)
    assert one.squared_error < 1.2 * other.squared_error


def test_learning_goes_on_from_a_prior():
    training, held_out = pictures(6), pictures(2, 50)
    start = tiny_pyramid()
    unchanged = learn_hierarchy._learner(plan())
    trainer.go_on_from(unchanged, start.stored, start.name)
    assert all(np.array_equal(tensor, start.stored[name]) for name, tensor in trainer.stored(unchanged).items())
    more = learn_hierarchy.learn(plan(steps=5, start=start.id), training, held_out, start=start)
    assert more.prior.id != start.id
    first = learn_hierarchy.learn(plan(steps=5), training, held_out)
    assert more.reports[-1].cost < 0.8 * first.reports[-1].cost
    with pytest.raises(UsageError, match="other sizes"):
        learn_hierarchy.learn(plan(fine=((8, 8),) * 3, start=start.id), training, held_out, start=start)


def test_qualities_go_up_in_rate():
    prior = tiny_pyramid()
    rates = [library.quality_rate(prior, quality) for quality in range(1, 11)]
    assert rates == sorted(rates)
    assert rates[9] > 2 * rates[0]


def test_the_simulation_is_the_same_every_time():
    values = pictures(1, 4)[0].astype(float) - 127.5
    one, other = (forecast(tiny_pyramid(), values, 40) for _ in range(2))
    assert one.bits == other.bits
