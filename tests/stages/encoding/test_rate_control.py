"""From targets to noise levels and files of exactly a size, worked by hand with signals whose costs are formulas."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from combiner_cli.container.header import Field
from combiner_cli.errors import UsageError
from combiner_cli.family import Target
from combiner_cli.signals.signal import Format
from combiner_cli.stages.encoding import noise_levels
from combiner_cli.stages.encoding.encoder import CodedSignal
from combiner_cli.stages.encoding.noise_levels import choose, choose_noise_level, rising_level, root
from combiner_cli.stages.encoding.rate_control import SearchOptions, code, levels_near
from combiner_cli.stages.encoding.simulation import CostEstimate, NoiseGrid, Simulation

GRID = NoiseGrid(0, 100, middle=48, octaves=1 / 4, farthest=16, attempts=4)
SAMPLES = 1000


@dataclass
class StandIn:
    """A prior of which only rates are wanted: at 1 bit per point a typical signal is at level 40, its error 2^-12."""

    id: int = 7
    key: int = 9
    noise_codes: tuple[int, int] = (10, 80)
    fields: tuple[Field, ...] = (
        Field("noise", 255),
        Field("class_bytes"),
        Field("densities", 127, count=8),
        Field("chains", 64, least=1),
    )

    def typical(self, bits_per_point):
        return 40 + 8 * math.log2(bits_per_point), 2.0**-12 / bits_per_point**2

    def typical_of(self, target, signal_format):
        return self.typical(target.value)

    def typical_bits(self, noise_level, signal_format):
        return 2 ** ((noise_level - 40) / 8) * signal_format.points


class Formula(Simulation):
    """A signal whose costs are functions of the noise level.

    Attributes:
        asked: noise levels whose costs were asked for.
        written: noise level, ratio and total of all files.
        beyond: bytes that a file at a level takes beyond its budget.
    """

    def __init__(self, error=lambda level: 2.0 ** (-2 - level / 4), bits=lambda level: 80.0 * level, **changed):
        self.prior, self.format, self.grid = StandIn(), Format("image", (20, 50), 1, 8, None), GRID
        self.samples, self.numbers = SAMPLES, {}
        self.asked, self.written, self.beyond = [], [], lambda level: 0
        self._error, self._bits, self.class_bits = error, bits, 160.0
        for name, value in changed.items():
            setattr(self, name, value)

    @property
    def unshaped(self):
        return self

    @property
    def weaker(self):
        return self

    def _take_shape(self, noise):
        raise AssertionError("it has no shape to be changed")

    def parts(self, noise_level):
        self.asked.append(noise_level)
        information = np.full(8, 256 * self._bits(noise_level) / 8)
        error = SAMPLES * self._error(noise_level)
        return [CostEstimate(self._bits(noise_level), self.class_bits, information, error)]

    def noise_variance(self, noise_level):
        return 2.0 ** (-2 - noise_level / 4)

    def code(self, noise_level, writer):
        budget = writer.budget
        self.written.append((noise_level, budget.ratio, budget.total))
        classes = int(self.class_bits / 8)
        groups = round(self._bits(noise_level) * budget.ratio / 8) if budget.total is None else budget.total - classes
        groups = max(groups, 0) + self.beyond(noise_level)
        indices = np.zeros(groups, dtype=np.int64)
        densities = tuple(writer.allocator.densities)
        return CodedSignal(
            noise_level, densities, 1, bytes(classes), indices, np.zeros(0), SAMPLES * self._error(noise_level)
        )

    def size_of(self, coded):
        return self.overhead(coded.numbers) + len(coded.payload)


def searching(effort=5):
    return SearchOptions(effort, "viterbi", 0)


# roots


def watched(function):
    """A function that keeps what it was asked for."""
    asked = []

    def excess(level):
        asked.append(level)
        return function(level)

    return excess, asked


def test_the_root_of_a_straight_line_is_found_with_its_second_point():
    excess, asked = watched(lambda level: 0.2 * (level - 33))
    # at 20 it is -2.6: with a slope of 0.4 the root were 6.5 on; the slope is then known to be 0.2
    assert root(excess, GRID, 20, 0.4) == 33
    assert asked == [20, 26, 33]


def test_of_two_levels_around_a_root_the_nearer_one_is_taken():
    excess, asked = watched(lambda level: 0.5 * (level - 33.4))
    assert root(excess, GRID, 30, 0.5) == 33
    assert asked == [30, 33]  # 0.4 levels from the root: there is no nearer one


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_about_the_same_everywhere_has_its_root_at_an_end(sign):
    """Whatever it comes to in detail: or else a little more or less of something were another level altogether."""
    for seed in range(9):
        values = sign + 0.1 * np.random.default_rng(seed).random(101)
        assert root(lambda level, values=values: values[level], GRID, 40, 0.1) == (100 if sign < 0 else 0)


@pytest.mark.parametrize(("value", "level"), [(-1.0, 100), (1.0, 0)])
def test_without_a_root_the_end_is_taken(value, level):
    assert root(lambda at: value + at * 1e-9, GRID, 48, 0.3) == level


def test_a_step_is_found_by_bisection_of_a_bracket():
    excess, asked = watched(lambda level: -5.0 if level < 71 else 4.0)
    assert root(excess, GRID, 40, 0.4) >= 71
    assert {70, 71} <= set(asked)
    assert len(asked) < 12


def test_where_time_is_saved_the_slope_is_relied_on():
    excess, asked = watched(lambda level: 0.4 * (level - 41.5))
    assert root(excess, GRID, 41, 0.4, tolerance=1.0, fast=True) == 41
    assert asked == [41]
    excess, asked = watched(lambda level: 0.4 * (level - 41.5))
    root(excess, GRID, 41, 0.4, tolerance=1.0)
    assert len(asked) == 2


@pytest.mark.parametrize(("zero", "width", "level"), [(33.4, 1, 33), (33.4, 8, 33), (-7, 8, 0), (200, 8, 100)])
def test_a_rising_level_is_about_where_the_function_is_0(zero, width, level):
    excess, asked = watched(lambda at: 0.2 * (at - zero))
    assert rising_level(excess, GRID, width) == level
    assert len(asked) <= 8 - (width == 8 and 0 < zero < 100) * 2


@pytest.mark.parametrize("width", [1, 8])
def test_a_rising_level_rises_whatever_a_function_is_like(width):
    dice = np.random.default_rng(4)
    for _ in range(50):
        values, less = dice.normal(0, 1, 101), np.cumsum(np.abs(dice.normal(0, 0.3, (12, 101))), axis=0)
        levels = [rising_level(lambda at, row=values - row: row[at], GRID, width) for row in less]
        assert levels == sorted(levels)


# targets


@pytest.mark.parametrize("level", [12, 40, 77])
def test_a_psnr_is_that_of_the_expected_error(level):
    # the error 2^(-2 - level / 4) of a range of 2
    psnr = 10 * math.log10(4 / 2.0 ** (-2 - level / 4))
    simulation = Formula()
    assert choose_noise_level(simulation, Target("psnr", psnr), 5) == level
    assert choose_noise_level(simulation, Target("psnr", psnr + 0.2), 5) == level  # a level is 0.75 dB
    assert choose_noise_level(simulation, Target("psnr", psnr + 0.5), 5) == level + 1


@pytest.mark.parametrize(
    ("octave", "level", "level_at_twice_the_rate"),
    [
        (-12, 40, 40),  # a typical signal has it at 40: at twice the rate, level 48 and an error of 2^-14
        (-10, 40 - 2 * 4, 48 - 4 * 4),  # two octaves more: (level - 40) / 4 + 2 = 0
        (-13, 40 + 4, 48 - 4),
        (-2, 40 - 16, 48 - 16),  # no farther than that
        (-30, 40 + 16, 48 + 16),
    ],
)
def test_at_a_rate_the_last_bit_gains_as_much_as_in_a_typical_signal(octave, level, level_at_twice_the_rate):
    simulation = Formula(error=lambda _: 2.0**octave)
    assert choose_noise_level(simulation, Target("rate", 1.0), 5) == level
    assert choose_noise_level(simulation, Target("rate", 2.0), 5) == level_at_twice_the_rate


def adapted(error, start):
    """The level of an image whose error is a function of the level, where that of a typical one is known."""
    grid = replace(GRID, octaves=1 / 8, adaptation=1.2)
    return choose_noise_level(Formula(error=error, grid=grid), Target("rate", 2 ** ((start - 40) / 8)), 5)


def test_an_image_of_a_typical_error_has_the_level_of_a_typical_image():
    assert adapted(lambda level: 2.0**-12, 40) == 40


def test_twice_the_error_is_coarser_by_so_many_octaves():
    assert adapted(lambda level: 2.0**-11, 40) == 40 - round(1.2 * 8)
    assert adapted(lambda level: 2.0**-13, 40) == 40 + round(1.2 * 8)
    assert adapted(lambda level: 1.0, 40) == 40 - GRID.farthest


@pytest.mark.parametrize(("evenness", "level"), [(0.0, 40), (0.25, 40 - 6), (1.0, 40 - 26)])
def test_rates_are_as_even_as_wanted(evenness, level):
    """Of a typical error and four times the bits of a typical image: two octaves, of 13 levels each."""
    grid = replace(GRID, octaves=1 / 8, adaptation=1.2, farthest=40)
    busy = Formula(error=lambda level: 2.0**-12, bits=lambda level: 4 * 1000 - 160.0, grid=grid)
    assert choose_noise_level(busy, Target("rate", 1.0), 5, evenness=evenness) == level


class Photographs(StandIn):
    """A prior of signals whose error falls by two thirds of the octaves of the noise, as that of photographs does."""

    def typical(self, bits_per_point):
        return 40 + 8 * math.log2(bits_per_point), 2.0**-12 / bits_per_point ** (4 / 3)


@pytest.mark.parametrize("octaves", [0.0, 0.05, 1 / 4, 0.4])  # of error from a level to the next
def test_a_level_rises_with_the_quality_however_fast_the_error_falls(octaves):
    grid = replace(GRID, adaptation=1.2)
    image = Formula(error=lambda level: 2.0 ** (-5 - octaves * level), grid=grid, prior=Photographs())
    chosen = [choose_noise_level(image, Target("rate", 2.0**rate), 5) for rate in np.arange(-2, 3, 0.5)]
    assert (np.diff(chosen) >= 0).all() and chosen[0] < chosen[-1]


def test_what_takes_next_to_nothing_is_coded_without_noise():
    grid = replace(GRID, adaptation=1.2)
    cheap = Formula(error=lambda level: 2.0**-12, bits=lambda level: 50 + level, grid=grid)
    assert [choose_noise_level(cheap, Target("rate", rate), 5) for rate in (0.3, 1.0, 2.0)] == [grid.highest] * 3


def test_what_only_users_ask_for_is_not_for_encoders():
    with pytest.raises(ValueError, match="not quality"):
        choose_noise_level(Formula(), Target("quality", 5), 5)


def test_a_size_is_that_of_groups_for_all_information_with_five_percent_more():
    simulation = Formula()
    # 8 bytes of prefix, 3 bytes of format, 5 bytes of the length of classes, 1 each of the other ten numbers, 4 of the
    # checksum; classes take 20 bytes; the information of level 30, 2400 bits, 315 groups; one byte more
    around = 8 + 3 + 5 + 10 + 4
    assert choose_noise_level(simulation, Target("size", around + 1 + 20 + 315), 5) == 30
    assert choose_noise_level(simulation, Target("size", around + 1 + 20 + 630), 5) == 60


def test_a_size_is_not_met_with_less_noise_where_that_does_harm():
    """Finer than what the prior was learned for, errors may grow: octaves of variance back until they do not."""
    simulation = Formula(error=lambda level: 2.0**-20 if level <= 84 else 2.0 ** (level - 100))
    # 30 + 21 + 94 · 10.5 bytes are 1038
    assert choose_noise_level(simulation, Target("size", 1040), 5) == 94 - 3 * 4
    simulation = Formula(error=lambda level: 2.0**-20 * (1 + (level > 60)))
    assert choose_noise_level(simulation, Target("size", 890), 5) == 80  # the prior was learned for that


def test_a_perfect_signal_has_an_error_all_the_same():
    assert choose_noise_level(Formula(error=lambda _: 0.0), Target("rate", 1.0), 5) == 40 + 16


# files


def test_without_a_size_one_file_is_written():
    simulation = Formula()
    coded = code(simulation, 40, Target("rate", 1.0), searching(9))
    assert simulation.written == [(40, noise_levels.OVERHEAD, None)]
    assert len(coded.indices) == round(3200 * 1.05 / 8)


def test_a_file_with_more_error_than_noise_is_written_with_more_groups_until_it_has_less():
    simulation = Formula()
    usual, errors = simulation.code, iter([1.6, 1.5, 1.7, 1.3, 0.1])

    def code_with_errors(noise_level, writer):
        coded = usual(noise_level, writer)
        return replace(coded, squared_error=next(errors) * SAMPLES * simulation.noise_variance(noise_level))

    simulation.code = code_with_errors
    coded = code(simulation, 40, Target("rate", 1.0), searching())
    assert coded.squared_error == pytest.approx(1.3 * SAMPLES * simulation.noise_variance(40))
    ratios = [ratio for _, ratio, _ in simulation.written]
    assert len(ratios) == 4
    assert ratios == sorted(ratios) and ratios[0] == noise_levels.OVERHEAD


def test_of_files_with_too_much_error_the_best_is_kept():
    simulation = Formula()
    usual, errors = simulation.code, iter([3.0, 2.0, 5.0, 4.0, 6.0, 7.0, 8.0, 9.0])

    def code_with_errors(noise_level, writer):
        return replace(usual(noise_level, writer), squared_error=next(errors) * SAMPLES)

    simulation.code = code_with_errors
    assert code(simulation, 40, Target("rate", 1.0), searching()).squared_error == 2 * SAMPLES
    assert not list(errors)


def test_a_size_is_met_once_the_length_of_the_header_is_known():
    simulation = Formula()
    coded = code(simulation, 40, Target("size", 400), searching())
    assert simulation.size_of(coded) == 400
    # the length of the stream, 20, takes one byte; so does all else but the four of the checksum
    around = 8 + 3 + 1 + 10 + 4
    assert simulation.written == [(40, pytest.approx(8 * (400 - around - 20) / 3200), 400 - around)]


def test_no_more_groups_than_are_of_use_are_planned():
    simulation = Formula()
    code(simulation, 10, Target("size", 500), searching())
    assert [ratio for _, ratio, _ in simulation.written] == [noise_levels.OVERHEAD]


def test_a_file_that_is_too_large_is_written_again_with_fewer_groups_and_more_reserve():
    simulation, tries = Formula(), iter([6, 3, 0])
    simulation.beyond = lambda level: next(tries)
    coded = code(simulation, 40, Target("size", 400), searching())
    assert simulation.size_of(coded) == 400
    ratios = [ratio for _, ratio, _ in simulation.written]
    # 360 groups of which 6 are too many; the reserve is 1, then 4, then 16
    used = 400 - 26 - 20 + 6
    assert ratios[1] == pytest.approx(ratios[0] * (used - 6 - 4) / used)
    used -= 3
    assert ratios[2] == pytest.approx(ratios[1] * (used - 3 - 16) / used)


def test_very_few_groups_are_none():
    simulation, tries = Formula(bits=lambda level: 10000.0), iter([1, 0])
    simulation.beyond = lambda level: next(tries)
    code(simulation, 40, Target("size", 26 + 20 + 8), searching())
    assert [ratio for _, ratio, _ in simulation.written] == [pytest.approx(8 / 1250), 0.0]


def test_a_size_that_is_too_small_is_refused_with_one_that_will_do():
    simulation = Formula(beyond=lambda level: 5)
    with pytest.raises(UsageError, match="a file of this image takes 51 bytes; ask for more than 48"):
        code(simulation, 40, Target("size", 48), searching())
    # four attempts, and the smallest file that there is
    assert [level for level, _, _ in simulation.written] == [40] * 4 + [0]
    assert simulation.written[-1] == (0, 0.0, 0)


def test_a_level_with_more_noise_is_taken_where_its_file_has_the_size():
    simulation = Formula(beyond=lambda level: 4 if level > 33 else 0)
    assert code(simulation, 40, Target("size", 48), searching()).number == 33
    # in steps that double, with few attempts at each
    assert [level for level, _, _ in simulation.written] == [40] * 4 + [0] + [39] * 3 + [37] * 3 + [33]


@pytest.mark.parametrize(
    ("too_few_from", "times", "levels", "best"),
    [(38, 1.5, [40], 40), (38, 1.7, [40, 37], 37), (36, 30.0, [40, 37, 31], 31), (0, 30.0, [40, 37, 31, 19, 0], 40)],
)
def test_a_file_of_far_too_few_groups_gives_way_to_one_with_more_noise(too_few_from, times, levels, best):
    """From a level on errors are so many times what was expected; 1.5 times as much is good enough."""

    class TooFew(Formula):
        def code(self, noise_level, writer):
            coded = super().code(noise_level, writer)
            return replace(coded, squared_error=coded.squared_error * (times if noise_level >= too_few_from else 1.0))

    simulation = TooFew(error=lambda level: 2.0 ** (-level / 8))
    assert code(simulation, 40, Target("size", 500), searching()).number == best
    assert list(dict.fromkeys(level for level, _, _ in simulation.written)) == levels


def test_more_effort_tries_more_levels_and_takes_the_best_file():
    assert levels_near(40, GRID, 5) == [40]
    assert levels_near(40, GRID, 8) == [40, 39, 41]
    assert levels_near(40, GRID, 9) == [40, 39, 41, 38, 42]
    assert levels_near(0, GRID, 9) == [0, 1, 2]
    assert levels_near(100, GRID, 9) == [100, 99, 98]
    simulation = Formula(error=lambda level: 1 + (level - 41) ** 2)
    assert code(simulation, 40, Target("size", 500), searching(9)).number == 41
    assert {level for level, _, _ in simulation.written} == {38, 39, 40, 41, 42}


# shapes of the noise


class Shaped(Formula):
    """A signal with a shape of the noise: bits are those without one, so many levels finer, within a grid."""

    def __init__(self, strength, finer, grid=GRID):
        super().__init__(bits=lambda level: 800.0 * 2 ** ((level + strength * finer) / 13), grid=grid, class_bits=0.0)
        self.strength, self.finer = strength, finer

    @property
    def unshaped(self):
        return self if not self.strength else Shaped(0, self.finer)

    @property
    def weaker(self):
        return Shaped(self.strength // 2, self.finer, self.grid if self.strength > 1 else GRID)


@pytest.mark.parametrize("unit", ["rate", "size"])
def test_with_a_shape_a_signal_takes_as_much_as_without(unit):
    target = Target(unit, {"rate": 1.0, "size": 400}[unit])
    flat, level = choose(Shaped(0, 5), target, 5)
    shaped, finer = choose(Shaped(2, 5), target, 5)
    assert (flat.strength, shaped.strength) == (0, 2)
    assert finer == level - 10


@pytest.mark.parametrize(
    ("limits", "finer", "strength"),
    [
        ((22, 100), 5, 0),
        ((16, 100), 5, 1),
        ((0, 100), 5, 2),
        ((0, 40), -20, 0),
        ((0, 55), -20, 1),
        ((0, 85), -20, 2),
    ],
)
def test_where_no_level_of_a_shape_takes_so_much_it_is_a_weaker_one(limits, finer, strength):
    grid = replace(GRID, lowest=limits[0], highest=limits[1])
    flat_level = choose_noise_level(Shaped(0, finer), Target("rate", 1.0), 5)
    chosen, level = choose(Shaped(2, finer, grid), Target("rate", 1.0), 5)
    assert flat_level == 24
    assert (chosen.strength, level) == (strength, flat_level - strength * finer)


def test_where_a_size_is_too_small_for_a_shape_it_is_a_weaker_one():
    grid = replace(GRID, lowest=35)
    chosen, _ = choose(Shaped(4, 20, grid), Target("size", 150), 5)
    assert chosen.strength == 0
    chosen, _ = choose(Shaped(4, 20, grid), Target("size", 100_000), 5)
    assert chosen.strength == 4


def test_a_small_file_has_no_shape_of_the_noise():
    # which takes a byte of the header here: a tenth of ten bytes
    for size, strength in ((9, 0), (11, 2)):
        bits = lambda level, size=size: 8.0 * size * 2 ** ((level - 20) / 13)  # noqa: E731
        shaped = Shaped(2, 0)
        shaped._bits = bits
        chosen, _ = choose(shaped, Target("size", size), 5)
        assert chosen.strength == strength
