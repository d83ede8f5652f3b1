"""Files in the making and the search for candidates, worked by hand; what is written is what a decoder finds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from combiner_cli.errors import DamagedFileError
from combiner_cli.stages import allocation
from combiner_cli.stages import decoder as stage_decoder
from combiner_cli.stages.allocation import EXTRA_FREQUENCIES, NO_CHANGE, REPEAT, GroupAllocator
from combiner_cli.stages.class_stream import equal_frequencies
from combiner_cli.stages.decoder import open_payload
from combiner_cli.stages.encoding import encoder
from combiner_cli.stages.encoding.encoder import Budget, SearchingCoder, Writer
from combiner_cli.stages.encoding.simulation import CostEstimate
from combiner_cli.stages.moments import LOWEST, OCTAVE, Moments, StageId
from combiner_cli.stages.widening import NO_WIDENING, exchange_widening

KEY, PARTS_FROM = 1234, 6
FINAL = StageId(0, 5)
GROUP = 8 * 256  # information of a group


def moments_of(octaves):
    numbers = [-1 if one is None else OCTAVE * one - LOWEST for one in octaves]
    return Moments(np.zeros(len(octaves)), np.array(numbers, dtype=np.int16))


def expected(information, class_bits=0.0):
    """A cost of which only information, by density in groups, and class bits are wanted."""
    return CostEstimate(0.0, class_bits, GROUP * np.array(information, dtype=float), 0.0)


def begun(total=None, ratio=1.0, reserve=0, information=(0,) * 8, class_bits=0.0, last_classes=0, final=FINAL):
    """A file whose last plane is begun."""
    cost = expected(information, class_bits)
    writer = Writer.begin(KEY, 0, Budget(ratio, total, reserve), "viterbi", 0)
    writer.begin_part(cost, last_classes, final)
    return writer


def coder_of(writer):
    return SearchingCoder(writer, PARTS_FROM)


def decoder_of(coded, final=FINAL, damaged=False):
    payload = memoryview(coded.payload)
    latents = open_payload(coded.numbers, payload, KEY, PARTS_FROM, keep=True, damaged=damaged)
    latents.allocator.final_stage = final
    return latents


# the file in the making


def test_a_file_begins_with_one_density_and_the_chains_of_its_size():
    writer = Writer.begin(KEY, 126, Budget(1.05), "viterbi", 0)
    assert writer.allocator.densities == [101] * 8
    assert writer.allocator.final_stage is None
    assert writer.chaining.chains == 1
    # a chain for every 32,768 groups
    assert Writer.begin(KEY, 126_000, Budget(1.05), "viterbi", 0).chaining.chains == 3
    assert Writer.begin(KEY, 200_000, Budget(1.0, 200_000), "viterbi", 0).chaining.chains == 6


def test_densities_come_of_what_is_left_by_hand():
    # 100 bytes; 80 bits of classes are expected, 10 bytes; 10 groups are written
    writer = begun(100, information=(0, 20, 5, 5, 5, 5, 5, 5), class_bits=80.0, last_classes=4)
    writer.append(np.zeros(10, dtype=np.int64))
    # level 1: 80 bytes for 20 groups of information here and 30 later, 1.6 bytes a group, in 96ths
    writer.adjust(StageId(1, 0), moments_of([0] * 16))
    assert writer.allocator.densities[:3] == [96, min(round(96 * 80 / 50), 127), 96]
    # the other stages of level 1 go on with it
    writer.adjust(StageId(1, 1), moments_of([0] * 16))
    assert writer.allocator.densities[1] == 127
    # the first stage of the finest level: 48 weights of 128/256 bit are 3 groups of information, and 25 come later
    writer.append(np.zeros(70, dtype=np.int64))
    writer.adjust(StageId(0, 0), moments_of([0] * 48))
    assert writer.allocator.densities[2] == round(96 * 10 / (3 + 25))
    # coarse levels are coded before that
    writer.adjust(StageId(2, 0), moments_of([0] * 48))
    assert writer.allocator.densities[0] == 96


def put_classes(writer, count):
    """Put classes of 4 bits each into the stream; the bytes that it takes then, whole words."""
    writer.symbols.put(np.arange(count) % 15 + 1, np.tile(equal_frequencies(16), count))
    length = len(writer.symbols.stream())
    assert count / 2 <= length <= count / 2 + 8
    return length


def test_classes_that_are_there_count_as_they_are_and_others_as_they_are_expected():
    writer = begun(100, information=(0, 0, 1, 1, 1, 1, 1, 1), class_bits=160.0, last_classes=4)
    length = put_classes(writer, 20)  # half of what is expected
    weights = moments_of([0] * 160)  # 10 groups of information
    writer.append(np.zeros(70, dtype=np.int64))
    writer.adjust(StageId(0, 0), weights)
    # 20 bytes of classes are expected in all, so that 10 are left for 10 groups here and 5 later
    assert writer.allocator.densities[2] == round(96 * (100 - 20 - 70) / 15)
    # before stage 4 all classes are there, and one group comes later
    writer.append(np.zeros(10, dtype=np.int64))
    writer.adjust(StageId(0, 4), weights)
    assert writer.allocator.densities[6] == round(96 * (100 - length - 80) / 11)


def test_a_reserve_is_kept_while_what_comes_later_can_hardly_give_way():
    plenty, little = (0, 0, 1, 9, 9, 9, 9, 9), (0, 0, 1, 1, 1, 1, 1, 1)
    weights = moments_of([0] * 160)  # 10 groups of information
    for information, kept in ((plenty, 0), (little, 5)):
        later = sum(information[3:])
        assert (later < 8 * 5) == bool(kept)
        writer = begun(12, reserve=5, information=information)
        writer.adjust(StageId(0, 0), weights)
        assert writer.allocator.densities[2] == round(96 * (12 - kept) / (10 + later))


def test_the_last_stage_is_left_exactly_what_there_is():
    writer = begun(100, class_bits=400.0)
    length = put_classes(writer, 20)
    writer.append(np.zeros(30, dtype=np.int64))
    writer.adjust(FINAL, moments_of([0] * 16))
    assert writer.allocator.left == 100 - length - 30
    writer.budget = Budget(1.0, 20)
    writer.leave_rest()
    assert writer.allocator.left == 0
    writer = begun()
    writer.leave_rest()
    assert writer.allocator.left is None


def test_room_is_what_classes_are_not_expected_to_take():
    writer = begun(100, class_bits=401.0)
    writer.append(np.zeros(30, dtype=np.int64))
    assert writer.room(7) == 100 - 51 - 30 - 7
    assert writer.room(50) == 0
    assert begun().room(50) == REPEAT


@pytest.mark.parametrize(("share", "digit"), [(0.0, 0), (0.97, 1), (1.0, 4), (1.02, 6), (3.0, 8)])
def test_the_density_is_adjusted_to_what_is_left(share, digit):
    """50 bits are left over for 100 groups of information to come, of which there were 96 groups per 96 so far."""
    to_come = [expected([6.25] * 8, class_bits=400.0)] * 2
    writer = Writer.begin(KEY, 200, Budget(1.0, None, 5), "viterbi", 0)
    writer.symbols.put(np.zeros(50, dtype=int), np.tile(equal_frequencies(16), 50))  # 25 bytes
    writer.append(np.zeros(30, dtype=np.int64))
    # 30 groups, 25 bytes of classes and 100 to come, 5 in reserve, and what is left for the groups
    writer.budget = Budget(1.0, 30 + 25 + 100 + 5 + round(100 * share), 5)
    bits = writer.symbols.bits
    writer.adjust_rate(to_come)
    assert writer.allocator.densities == [96 + digit - 4, *[96] * 7]
    assert writer.symbols.bits == pytest.approx(bits + math.log2(9), abs=0.01)
    # the header has the first density, and the stream of classes how it was adjusted
    coded = writer.finish(40, 0.0)
    assert coded.densities == (96,) * 8
    latents = decoder_of(coded)
    latents.symbols.read(np.tile(equal_frequencies(16), 50))
    latents.adjust_rate()
    assert latents.allocator.densities[0] == 96 + digit - 4


def test_without_a_total_nothing_is_adjusted():
    writer = begun(information=(1,) * 8)
    writer.adjust(StageId(0, 0), moments_of([0] * 160))
    assert writer.allocator.densities == [96] * 8
    writer.adjust_rate([expected([1] * 8)])
    assert writer.allocator.densities == [96] * 8
    assert NO_CHANGE == 4


def test_what_is_left_at_the_end_is_filled_up():
    writer = begun(100)
    writer.append(np.full(30, 7))
    coded = writer.finish(40, 0.5)
    assert len(coded.payload) == 100 and coded.indices.tolist() == [7] * 30 + [0] * 70
    assert (coded.number, coded.squared_error) == (40, 0.5)
    assert coded.numbers == {"noise": (40,), "class_bytes": (0,), "densities": (96,) * 8, "chains": (1,)}


def test_indices_are_kept_beyond_the_room_there_was():
    writer, generator = begun(), np.random.default_rng(0)
    parts = [generator.integers(0, 256, count) for count in (60_000, 10_000, 200_000, 5)]
    for part in parts:
        writer.append(part)
    assert np.array_equal(writer.indices, np.concatenate(parts))


# the search


def test_three_stages_by_hand():
    """Densities of one group per 8 bits; the groups of every stage, and what goes on to the next one."""
    writer = begun(60, information=(0, 0, 2, 1, 0, 0, 0, 3))
    coder, generator, counts = coder_of(writer), np.random.default_rng(0), []
    stages = [(StageId(2, 0), 72, 1), (StageId(0, 0), 40, 0), (FINAL, 20, 0)]
    for stage, count, octaves in stages:
        before = len(writer.indices)
        moments = moments_of([octaves] * count)
        weights = coder.weights(stage, moments, generator.normal(0, 2.0**octaves, count))
        assert weights.shape == (count,)
        counts.append(len(writer.indices) - before)
    # level 2: 72 · 297/256 bits = 83.5 bits: 10 groups, and 904/256 bits go on, times the density 96
    # stage 0: 40 · 128/256 = 20 bits of information, 2.5 groups, and 1 + 0 + 0 + 0 + 3 later; 50 bytes are left:
    # a density of 96 · 50 / 6.5 = 738, of which 127 is the most; (904 · 96 + 5120 · 127) / 196608 = 3.7
    # the last stage: the 47 that are left, no more than its information of 20 · 128/256 bit in 1/256
    assert counts == [10, 3, 47]
    assert writer.allocator.left == 0
    assert len(writer.finish(40, 0.0).payload) == 60


def test_a_better_fit_is_found_with_more_groups():
    generator, errors = np.random.default_rng(1), []
    true = generator.normal(0, 4, 64)
    for ratio in (0.2, 0.6, 1.3):
        weights = coder_of(begun(ratio=ratio)).weights(StageId(1, 0), moments_of([2] * 64), true)
        errors.append(float(((weights / 64 - true) ** 2).sum()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_a_pruned_stage_has_no_groups_and_its_means():
    writer = begun()
    moments = Moments(np.array([64.0, -64.0]), np.array([-1, -1], dtype=np.int16))
    assert coder_of(writer).weights(StageId(0, 0), moments, np.array([1.5, -2.5])).tolist() == [64, -64]
    assert not len(writer.indices)


@pytest.fixture
def unwidened(monkeypatch):
    """A coder that leaves all deviations as they are."""
    monkeypatch.setattr(encoder, "widenings_of", lambda moments, bands, *_: [NO_WIDENING] * bands)


NOTHING_WIDER = -math.log2(65011 / 65536) - math.log2(64010 / 65536)  # bits of saying so of a band


def test_a_coarse_weight_has_as_many_extra_groups_as_pay(monkeypatch):
    """Four weights whose candidates share one group fit badly; each group more costs 8 bits and may save more."""
    generator = np.random.default_rng(3)
    extras, errors, plain_errors = [], [], []
    for _ in range(12):
        true = generator.normal(0, 16, 4)
        writer, plain = begun(), begun()
        # 4 · log2(17) bits are 2 groups
        weights = coder_of(writer).weights(StageId(3, 0), moments_of([4] * 4), true)
        extras.append(len(writer.indices) - 2)
        errors.append(((weights / 64 - true) ** 2).sum())
        with monkeypatch.context() as patch:
            patch.setattr(encoder, "may_have_extra_groups", lambda *_: False)
            weights = coder_of(plain).weights(StageId(3, 0), moments_of([4] * 4), true)
        assert len(plain.indices) == 2
        plain_errors.append(((weights / 64 - true) ** 2).sum())
    assert max(extras) > 0 and min(extras) >= 0
    assert sum(errors) < 0.5 * sum(plain_errors)


def test_extra_groups_are_said_in_the_stream_of_classes():
    writer = begun()
    coder_of(writer).weights(StageId(3, 0), moments_of([4] * 4), np.array([30.0, -30.0, 30.0, -30.0]))
    extra = len(writer.indices) - 2
    bits = 16 - math.log2(EXTRA_FREQUENCIES[min(extra, 8), 0])
    assert writer.symbols.bits == pytest.approx(NOTHING_WIDER + bits)


def test_the_last_part_of_a_file_has_as_many_groups_as_pay_and_nobody_is_told():
    true = np.array([30.0, -30.0, 30.0, -30.0])  # 4 · log2(17) bits are 2 groups
    writer = begun()
    weights = coder_of(writer).weights(FINAL, moments_of([4] * 4), true)
    assert len(writer.indices) > 2
    assert writer.symbols.bits == pytest.approx(NOTHING_WIDER)
    assert np.array_equal(decoder_of(writer.finish(40, 0.0)).weights(FINAL, moments_of([4] * 4)), weights)
    writer = begun(total=2, information=(0,) * 7 + (2,))
    coder_of(writer).weights(FINAL, moments_of([4] * 4), true)
    assert len(writer.indices) == 2  # where the size is given they are those that are left


def test_the_more_errors_weigh_the_more_groups_pay():
    true = np.random.default_rng(3).normal(0, 16, 4)
    counts = []
    for emphasis in (1.0, 4.0, 64.0):
        writer = begun()
        writer.budget = replace(writer.budget, emphasis=emphasis)
        coder_of(writer).weights(FINAL, moments_of([4] * 4), true)
        counts.append(len(writer.indices))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_what_is_out_of_reach_is_widened_and_said():
    writer, true = begun(), np.random.default_rng(4).normal(0, 60, 200)
    weights = coder_of(writer).weights(StageId(0, 0), moments_of([0] * 200), true)
    assert ((weights / 64 - true) ** 2).mean() < 2
    coded = writer.finish(40, 0.0)
    assert np.array_equal(decoder_of(coded).weights(StageId(0, 0), moments_of([0] * 200)), weights)


def test_a_weight_that_no_candidate_reaches_is_coded_again(unwidened):
    # deviations of 2 do not reach 60: one group by its information, and 8 more each time, as long as that pays
    writer = begun()
    true = np.array([60.0, 1.0, -1.0, 2.0, 0.0, 1.0, -2.0, 0.0])
    weights = coder_of(writer).weights(StageId(3, 0), moments_of([1] * 8), true)
    assert np.abs(weights / 64 - true).max() < 20
    assert len(writer.indices) > 3 * REPEAT
    coded = writer.finish(40, 0.0)
    assert np.array_equal(decoder_of(coded).weights(StageId(3, 0), moments_of([1] * 8)), weights)


def test_repetitions_come_to_an_end(monkeypatch, unwidened):
    monkeypatch.setattr(encoder, "_MOST_REPEATED", 3)
    writer = begun()
    coder_of(writer).weights(StageId(3, 0), moments_of([1] * 8), np.full(8, 60.0))
    # three times it comes again, and then no more
    assert 3 * (1 + REPEAT) < len(writer.indices) <= 3 * (1 + REPEAT) + REPEAT


def test_no_extra_groups_are_taken_that_the_file_has_no_room_for(unwidened):
    writer = begun(3, information=(0,) * 8)
    coder_of(writer).weights(StageId(3, 0), moments_of([1] * 8), np.full(8, 500.0))
    assert len(writer.indices) == 3  # one by its information, and two extra ones


def test_large_deviations_are_coded_in_parts():
    true = np.array([30_000.0, -9.0, 3.0, 0.5])
    moments = moments_of([14, 8, 2, 0])
    writer = begun()
    weights = coder_of(writer).weights(StageId(5, 0), moments, true)
    assert np.abs(weights / 64 - true).max() < 4
    # 14 octaves are two parts of one weight and one of two; a candidate of one group alone is 2^14 / 256 away
    assert len(writer.latents) >= 4
    latents = decoder_of(writer.finish(40, 0.0))
    assert np.array_equal(latents.weights(StageId(5, 0), moments_of([14, 8, 2, 0])), weights)


# what is written is what is found


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.one_of(st.none(), st.integers(-2, 9)), min_size=1, max_size=30)),
        min_size=1,
        max_size=4,
        unique_by=lambda stage: stage[0],
    ),
    st.sampled_from([None, 30, 90]),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_a_decoder_finds_what_was_coded(stages, total, seed):
    generator, writer = np.random.default_rng(seed), begun(total, information=(2,) * 8, class_bits=40.0)
    stages = [*((StageId(level, 1), octaves) for level, octaves in stages), (FINAL, [1] * 12)]
    coder, weights = coder_of(writer), []
    for stage, octaves in stages:
        true = generator.standard_cauchy(len(octaves)) * 3
        weights.append(coder.weights(stage, moments_of(octaves), true))
    coded = writer.finish(40, 0.0)
    assert total is None or len(coded.payload) >= total
    latents = decoder_of(coded)
    for (stage, octaves), expected_weights in zip(stages, weights, strict=True):
        assert np.array_equal(latents.weights(stage, moments_of(octaves)), expected_weights)
    decoded = latents.finish()
    assert np.array_equal(decoded.latents, coded.latents)
    assert decoded.class_bytes == len(coded.classes)
    assert sum(decoded.groups.values()) <= len(coded.indices)


def coded_stage():
    writer = begun()
    coder_of(writer).weights(StageId(3, 0), moments_of([2] * 40), np.linspace(-90, 90, 40))
    return writer.finish(40, 0.0)


def test_without_keeping_latents_the_weights_are_the_same():
    coded = coded_stage()
    weights = []
    for keep in (True, False):
        payload = memoryview(coded.payload)
        latents = open_payload(coded.numbers, payload, KEY, PARTS_FROM, keep=keep, damaged=False)
        weights.append(latents.weights(StageId(3, 0), moments_of([2] * 40)))
        assert len(latents.finish().latents) == (len(coded.latents) if keep else 0)
    assert np.array_equal(*weights)


def test_more_classes_than_there_are_bytes_are_refused_unless_damage_is_known():
    coded = coded_stage()
    numbers = {**coded.numbers, "class_bytes": (len(coded.payload) + 1,)}
    payload = memoryview(coded.payload)
    with pytest.raises(DamagedFileError, match="more classes"):
        open_payload(numbers, payload, KEY, PARTS_FROM, keep=False, damaged=False)
    latents = open_payload(numbers, payload, KEY, PARTS_FROM, keep=False, damaged=True)
    assert latents.finish().class_bytes == len(payload)
    assert latents.weights(StageId(3, 0), moments_of([2] * 40)).tolist() == [0] * 40  # there are no groups


def test_parts_that_are_repeated_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(stage_decoder, "_MOST_REPEATED", 100)
    writer = begun()
    exchange_widening(writer.symbols, moments_of([2] * 40).deviation)
    for _ in range(5):
        writer.symbols.exchange(REPEAT, EXTRA_FREQUENCIES)
    writer.append(np.zeros(1000, dtype=np.int64))
    latents = decoder_of(writer.finish(40, 0.0))
    with pytest.raises(DamagedFileError, match="without end"):
        latents.weights(StageId(3, 0), moments_of([2] * 40))


def test_a_decoder_takes_a_piece_of_a_large_stage_at_a_time(monkeypatch):
    """With groups in which many latents lie, across the pieces that a partition comes in."""
    generator, count = np.random.default_rng(5), 300
    moments, true = moments_of([1] * count), generator.normal(0, 2, count)
    writer = begun()
    weights = coder_of(writer).weights(StageId(1, 0), moments, true)
    monkeypatch.setattr("combiner_cli.rec.groups._IN_PIECE", 37)
    latents = decoder_of(writer.finish(40, 0.0))
    assert np.array_equal(latents.weights(StageId(1, 0), moments_of([1] * count)), weights)
    assert isinstance(latents.allocator, GroupAllocator) and allocation.GROUP_BITS == 8
