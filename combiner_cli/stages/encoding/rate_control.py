"""From a target to a noise level, and to a file of exactly a size.

What a file at a noise level comes to is known from a simulation; how a signal is coded does not matter here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...errors import UnreachableError
from ...family import Target
from ..allocation import DENSITIES, GROUP_INFORMATION, LARGEST_DENSITY, density_of
from .encoder import Budget, CodedSignal, Writer
from .simulation import CostEstimate, NoiseGrid, Simulation

OVERHEAD = 1.05  # groups per 8 bits of information
_LEAST_RATIO = 0.05
_LEVELS_AROUND = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)  # by effort: noise levels tried on each side of the expected best
_SMALLEST_ERROR = 1e-6 / 127.5**2
_MOST_FILLED = 16  # bytes that groups cannot be made to take
_FEW_ATTEMPTS, _LAST_ATTEMPTS = 3, 9  # at a level with more noise, and at that with the most: down to no groups
_MOST_ERROR = 1.4  # over the noise; rounding to samples adds a little
# ratios, and emphasis of errors
_MORE_BITS = ((1.1, 1.2), (1.1, 1.5), (1.1, 2.0), (1.15, 4.0), (1.2, 8.0), (1.3, 16.0), (1.3, 64.0))
_NEXT_TO_NOTHING = 400.0  # bits
_FAST = 2  # efforts up to this one save time
_WIDTH, _MANY_SAMPLES = 8, 1 << 14  # levels between those whose cost is simulated; samples of which that takes time
_LEAST_SLOPE, _STEEPEST_SLOPE = 1 / 64, 1.0
_NEAREST = 0.55  # levels to the root with which a level is the nearest or as good
_FAST_TOLERANCE = 0.25  # octaves of variance from the root that will do
_LARGEST_STREAM = 2**16  # bytes of a stream of classes whose length takes as many bytes as any
# how the functions whose roots are looked for grow, in units of the noise's octaves or in themselves, per level
_PSNR_SLOPE, _SIZE_SLOPE = 0.73, 1 / 13


@dataclass(frozen=True)
class SearchOptions:
    """How candidates are searched for.

    Attributes:
        effort: 1 (fastest) to 9 (best).
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
    """

    effort: int
    method: str
    seed: int


Corrected = Callable[[int, float], float]  # from a level and how much finer it is than wanted, to that


def choose_noise_level(
    simulation: Simulation, target: Target, effort: int, corrected: Corrected = lambda _, excess: excess
) -> int:
    """The noise level at which a signal is to be coded.

    Args:
        simulation: of the signal.
        target: of the file.
        effort: 1 (fastest) to 9 (best).
        corrected: what else is asked of a level that is found by what the last bit gains: how much finer it is than
            wanted, given that by the last bit alone; for no level more with a higher rate.

    Raises:
        UsageError: the rate is not positive.
    """
    if target.unit == "psnr":
        return _level_of_psnr(simulation, target.value)
    if target.unit == "size":
        return _level_of_size(simulation, target.value, effort)
    if target.unit not in ("rate", "noise"):
        raise ValueError(f"an encoder takes a rate, a noise, a size or a PSNR, not {target.unit}")
    start, usual = simulation.prior.typical_of(target, simulation.format)
    flat = simulation.unshaped
    if simulation.grid.adaptation is not None:
        noise_level = _level_adapted(flat, start, usual, simulation.grid.adaptation)
    else:
        noise_level = _level_of_slope(flat, start, usual, corrected)
    return level_of_same_size(simulation, noise_level)


def level_of_same_size(simulation: Simulation, noise_level: int) -> int:
    """The level at which a signal takes as much as it does at another one without a shape of the noise.

    So a quality or a rate stands for as large a file with a shape as without, and only its errors are elsewhere.

    Args:
        simulation: of the signal.
        noise_level: without a shape.
    """
    if simulation.unshaped is simulation:
        return noise_level
    grid, cost = simulation.grid, simulation.unshaped.cost(noise_level)
    wanted = max(cost.bits + cost.class_bits, 1.0)

    def excess(level: int) -> float:
        cost = simulation.cost(level)
        return math.log2(max(cost.bits + cost.class_bits, 1.0) / wanted)

    return root(excess, grid, noise_level, _SIZE_SLOPE)


def expected_bytes(simulation: Simulation, noise_level: int) -> float:
    """What a file at a noise level comes to, all of it."""
    cost = simulation.cost(noise_level)
    densities = (density_of(OVERHEAD),) * DENSITIES
    numbers = {"noise": (0,), "class_bytes": (round(cost.class_bits / 8),), "densities": densities, "chains": (1,)}
    return simulation.overhead(numbers) + (OVERHEAD * cost.bits + cost.class_bits) / 8


def expected_cost(simulation: Simulation, noise_level: int) -> float:
    """What a file at a noise level comes to in bits, the squared error counted as the bits that it is worth."""
    return 8 * expected_bytes(simulation, noise_level) + simulation.worth(noise_level)


def _level_of_psnr(simulation: Simulation, psnr: float) -> int:
    """The level whose error is expected to come nearest to what a PSNR (dB, peak-to-peak 2) allows."""
    grid, allowed = simulation.grid, 4 * 10 ** (-psnr / 10)

    def excess(level: int) -> float:
        return math.log2(allowed / _error(simulation, level))

    return root(excess, grid, grid.middle, _PSNR_SLOPE * grid.octaves)


def _level_adapted(simulation: Simulation, start: float, usual: float, adaptation: float) -> int:
    """The level of a typical signal, or one that is coarser where the error is larger than a typical signal's there.

    About what :func:`_level_of_slope` finds for what is like a typical signal; but as an error never grows with a finer
    noise, a level rises with that of a typical signal, whatever the signal is. A signal that takes next to nothing even
    without any noise to speak of, as one of a single colour does, is coded so.

    Args:
        simulation: of the signal.
        start: level of a typical signal.
        usual: mean squared error of a typical signal there.
        adaptation: octaves of noise variance for each octave of error.
    """
    grid = simulation.grid
    near = min(max(round(start), grid.lowest), grid.highest)
    coarser = adaptation * math.log2(_error(simulation, near) / usual) / grid.octaves
    level = start - min(max(coarser, -grid.farthest), grid.farthest)
    chosen = min(max(round(level), grid.lowest), grid.highest)
    next_to_nothing = all(simulation.cost(level).bits < _NEXT_TO_NOTHING for level in (chosen, grid.highest))
    return grid.highest if next_to_nothing else chosen


def _level_of_slope(simulation: Simulation, start: float, usual: float, corrected: Corrected) -> int:
    """The level at which the last bit gains as much as it does where a typical signal takes a rate.

    Every signal pays the same for a dB that way, which gives the best average PSNR of many signals at their average
    rate (the derivative of the PSNR by the bits of a signal is s2 / error).
    """
    grid = simulation.grid

    def excess(level: int) -> float:
        gained = (level - start) * grid.octaves + math.log2(_error(simulation, level) / usual)
        # where the error is nothing but the noise, or there is none, no level is better than another
        near = max(min(gained, level - start + grid.farthest), level - start - grid.farthest)
        return corrected(level, near)

    return rising_level(excess, grid, _WIDTH if simulation.samples > _MANY_SAMPLES else 1)


def rising_level(excess: Callable[[int], float], grid: NoiseGrid, width: int) -> int:
    """About the noise level at which a function is 0; it rises, or stays, if all values of the function get less.

    It is looked for at levels that depend on the grid alone, so that this holds for any function, however it goes up
    and down by chance.

    Args:
        excess: the function, that grows with the level by and large.
        grid: the levels that there are.
        width: of levels between which the function is taken to be straight.
    """
    low, high = grid.lowest - 1, grid.highest + 1  # not enough, too much
    below, above = -math.inf, math.inf
    while high - low > (width if math.isfinite(below + above) else 1):
        level = (low + high) // 2
        value = excess(level)
        if value < 0:
            low, below = level, value
        else:
            high, above = level, value
    if not math.isfinite(below + above):
        return min(max(high, grid.lowest), grid.highest)
    return round(low + (high - low) * below / (below - above))


def _level_of_size(simulation: Simulation, size: float, effort: int) -> int:
    """The level at which groups for all information are expected to come nearest to a size in bytes."""
    grid, prior = simulation.grid, simulation.prior
    largest = {"noise": (0,), "class_bytes": (_LARGEST_STREAM,), "densities": (LARGEST_DENSITY,) * DENSITIES}
    room = max(size - simulation.overhead({**largest, "chains": (1,)}), 1)
    start, _ = prior.typical(max(8 * size / simulation.format.points, 1e-3))

    def excess(level: int) -> float:
        cost = simulation.cost(level)
        groups = float(cost.information.sum()) * OVERHEAD / GROUP_INFORMATION
        return math.log2((1.0 + groups + cost.class_bits / 8) / room)

    # exactly the size comes of the densities: a level nearby loses little
    fast = effort <= _FAST
    tolerance = max(_FAST_TOLERANCE / grid.octaves, _NEAREST) if fast else _NEAREST
    level = root(excess, grid, start, _SIZE_SLOPE, tolerance, fast)
    # finer than what the prior was learned for, weights may be larger than any candidate, the more of them the less
    # noise there is
    octave = round(1 / grid.octaves)
    while level > prior.noise_codes[1] and _error(simulation, level - octave) < _error(simulation, level):
        level -= octave
    return level


def _error(simulation: Simulation, level: int) -> float:
    """Expected mean squared error at a noise level, on values in [-1, 1]."""
    return max(simulation.cost(level).squared_error / simulation.samples, _SMALLEST_ERROR)


def code(
    simulation: Simulation, noise_level: int, target: Target, how: SearchOptions, most_bytes: float = math.inf
) -> CodedSignal:
    """Code a signal: the best file of some near a noise level.

    Args:
        simulation: of the signal.
        noise_level: that is expected to be the best.
        target: of the file.
        how: candidates are searched for.
        most_bytes: that bits beyond the usual may make a file of no size or PSNR take.

    Raises:
        UsageError: the target is a size that is too small.
    """
    if target.unit == "psnr":
        return _coded(simulation, noise_level, Budget(OVERHEAD), how)
    if target.unit != "size":
        return _of_any_size(simulation, noise_level, how, most_bytes)
    size, grid = int(target.value), simulation.grid
    files = [
        file
        for level in levels_near(noise_level, grid, how.effort)
        if (file := _of_size(simulation, level, size, grid.attempts, how))
    ]
    if not files:
        # no file is smaller than that of the largest noise variance, with no groups but those that cannot be left out
        smallest = _coded(simulation, grid.lowest, Budget(0.0, 0), how)
        least = bytes_of(simulation, smallest)
        file = _of_size_with_more_noise(simulation, noise_level, size, how) if size >= least else None
        if file is None and size >= least:
            file = smallest if size == least else _filled(simulation, smallest, size)
        if file is None:
            raise UnreachableError(
                f"a file of this {simulation.format.kind} takes {least} bytes; ask for more than {size}"
            )
        files = [file]
    return min(files, key=lambda file: file.squared_error)


def _of_any_size(simulation: Simulation, noise_level: int, how: SearchOptions, most_bytes: float) -> CodedSignal:
    """A file at a noise level, with more groups than usual where the error would be larger than the noise."""
    allowed = _MOST_ERROR * simulation.noise_variance(noise_level) * simulation.samples
    coded = _coded(simulation, noise_level, Budget(OVERHEAD), how)
    for ratio, emphasis in _MORE_BITS:
        if coded.squared_error <= allowed:
            break
        further = _coded(simulation, noise_level, Budget(ratio, emphasis=emphasis), how)
        if bytes_of(simulation, further) <= most_bytes:
            coded = min(coded, further, key=lambda file: file.squared_error)
    return coded


def bytes_of(simulation: Simulation, coded: CodedSignal) -> int:
    """Bytes of a file.

    Args:
        simulation: of the signal.
        coded: what the file holds.
    """
    return simulation.overhead(coded.numbers) + len(coded.payload)


def _of_size_with_more_noise(
    simulation: Simulation, noise_level: int, size: int, how: SearchOptions
) -> CodedSignal | None:
    """A file of exactly a size at a level with more noise than another one: with too few groups, more and more weights
    may have to be named as outliers, or their parts to be repeated."""
    lowest, step, file = simulation.grid.lowest, 1, None
    while file is None and noise_level > lowest:
        noise_level, step = max(noise_level - step, lowest), 2 * step
        attempts = _FEW_ATTEMPTS if noise_level > lowest else _LAST_ATTEMPTS
        file = _of_size(simulation, noise_level, size, attempts, how)
    return file


def levels_near(noise_level: int, grid: NoiseGrid, effort: int) -> list[int]:
    """Noise levels to try for a file of a given size, the expected best one first."""
    around = _LEVELS_AROUND[effort]
    levels = sorted(range(noise_level - around, noise_level + around + 1), key=lambda level: abs(level - noise_level))
    return [level for level in levels if grid.lowest <= level <= grid.highest]


def _of_size(
    simulation: Simulation, noise_level: int, size: int, attempts: int, how: SearchOptions
) -> CodedSignal | None:
    """A file of exactly a size at a noise level; ``None`` where that is too small."""
    # the header is as long as its numbers are large, and is known afterwards only; so is what the last stages hold
    cost = CostEstimate.total(simulation.parts(noise_level))
    class_bytes, information = cost.class_bits / 8, float(cost.information.sum()) / GROUP_INFORMATION
    shortest = {"noise": (0,), "class_bytes": (round(class_bytes),), "densities": (0,) * DENSITIES, "chains": (1,)}
    around = simulation.overhead(shortest)
    reserve = max(1, size // 500)
    ratio = min(OVERHEAD, max(size - around - class_bytes, 0) / max(information, 1))
    excess = 0  # bytes of classes that no room could be kept for, as there were no groups left to leave out
    shorter = None
    for _ in range(attempts):
        coded = _coded(simulation, noise_level, Budget(ratio, max(size - around - excess, 0), reserve), how)
        used, around = len(coded.indices), simulation.overhead(coded.numbers)
        over = around + len(coded.classes) + used - size
        if over == 0:
            return coded
        if ratio == 0:
            excess += over if over < 0 else excess + over
        if -_MOST_FILLED <= over < 0:
            shorter = _filled(simulation, coded, size) or shorter
        if over > 0:
            reserve *= 4
            ratio *= max(used - over - reserve, 0) / max(used, 1)
            ratio = ratio if ratio > _LEAST_RATIO else 0.0  # very large groups take long and help nothing
    return shorter


def _filled(simulation: Simulation, coded: CodedSignal, size: int) -> CodedSignal | None:
    """A file with zeros behind its classes, where a decoder reads zeros anyway; ``None`` where none has the size."""
    for zeros in range(1, _MOST_FILLED + 1):
        filled = replace(coded, classes=coded.classes + bytes(zeros))
        if bytes_of(simulation, filled) == size:
            return filled
    return None


def _coded(simulation: Simulation, noise_level: int, budget: Budget, how: SearchOptions) -> CodedSignal:
    """A file at a noise level of about a budget."""
    writer = Writer.begin(simulation.prior.key, simulation.parts(noise_level), budget, how.method, how.seed)
    return simulation.code(noise_level, writer)


def root(
    excess: Callable[[int], float],
    grid: NoiseGrid,
    start: float,
    slope: float,
    tolerance: float = _NEAREST,
    fast: bool = False,
) -> int:
    """The noise level at which a function that grows with it is nearest to 0: secants within a bracket.

    Args:
        excess: the function.
        grid: the levels that there are.
        start: about where the function is 0.
        slope: about how much it grows by with each level.
        tolerance: levels from the root that are near enough.
        fast: whether the slope is relied on, so that the start may be near enough.
    """
    low, high = grid.lowest - 1, grid.highest + 1  # not enough, too much
    level, known = min(max(round(start), grid.lowest), grid.highest), dict[int, float]()
    while level not in known:
        known[level] = excess(level)
        if known[level] > 0:
            high = level
        else:
            low = level
        if len(known) > 1:
            first, second = sorted(known, key=lambda tried: abs(known[tried]))[:2]
            slope = (known[first] - known[second]) / (first - second)
        slope = min(max(slope, _LEAST_SLOPE), _STEEPEST_SLOPE)
        step = -known[level] / slope
        if abs(step) < tolerance and (fast or len(known) > 1):
            break
        level = min(max(round(level + step), low + 1), high - 1)
        if low + 1 >= high:
            break
    # the last level that is not enough or the first that is too much: what is flat has no nearest one
    return min(known.keys() & {low, high}, key=lambda tried: (abs(known[tried]), tried))
