"""From a target to a noise level.

What a file at a noise level comes to is known from a simulation; how a signal is coded does not matter here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from ...container.header import Numbers
from ...family import Target
from ..allocation import DENSITIES, GROUP_INFORMATION, LARGEST_DENSITY, density_of
from .simulation import NoiseGrid, Simulation

OVERHEAD = 1.05  # groups per 8 bits of information
_SMALLEST_ERROR = 1e-6 / 127.5**2
_NEXT_TO_NOTHING, _SOMETHING = 400.0, 40_000.0  # bits
_FAST = 2  # efforts up to this one save time
_WIDTH, _MANY_SAMPLES = 8, 1 << 14  # levels between those whose cost is simulated; samples of which that takes time
_LEAST_SLOPE, _STEEPEST_SLOPE = 1 / 64, 1.0
_NEAREST = 0.55  # levels to the root with which a level is the nearest or as good
_FAST_TOLERANCE = 0.25  # octaves of variance from the root that will do
_SIZE_TOLERANCE = 0.1  # octaves of size by which the coarsest or the finest noise may miss one
_LEAST_TIMES_SHAPE = 10  # bits of a file over those of the shape of the noise in its header
_SHORTEST: Numbers = {"noise": (0,), "class_bytes": (0,), "densities": (0,) * DENSITIES, "chains": (1,)}
_LARGEST_STREAM = 2**16  # bytes of a stream of classes whose length takes as many bytes as any
# how the functions whose roots are looked for grow, in units of the noise's octaves or in themselves, per level
_PSNR_SLOPE, _SIZE_SLOPE = 0.73, 1 / 13


SimulationType = TypeVar("SimulationType", bound=Simulation)
Corrected = Callable[[int, float], float]  # from a level and how much finer it is than wanted, to that


def choose(simulation: SimulationType, target: Target, effort: int) -> tuple[SimulationType, int]:
    """The noise level at which a signal is to be coded, and how: as it was given, or with a weaker shape of the noise.

    Args:
        simulation: of the signal.
        target: of the file.
        effort: 1 (fastest) to 9 (best).

    Raises:
        UsageError: the rate is not positive.
    """
    if target.unit in ("rate", "noise"):
        evenness = simulation.grid.evenness
        return of_same_size(simulation, choose_noise_level(simulation.unshaped, target, effort, evenness=evenness))
    return of_target_size(simulation, choose_noise_level(simulation, target, effort), target, effort)


def choose_noise_level(
    simulation: Simulation,
    target: Target,
    effort: int,
    corrected: Corrected = lambda _, excess: excess,
    evenness: float = 0.0,
) -> int:
    """The noise level at which a signal is to be coded, with the shape of the noise that it was given.

    Args:
        simulation: of the signal; without a shape where the target is a rate or a noise.
        target: of the file.
        effort: 1 (fastest) to 9 (best).
        corrected: what else is asked of a level that is found by what the last bit gains: how much finer it is than
            wanted, given that by the last bit alone; for no level more with a higher rate.
        evenness: of the rates of signals whose level is adapted to them, 0 to 1: where all have the same.

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
    if simulation.grid.adaptation is not None:
        return _level_adapted(simulation, start, usual, evenness)
    return _level_of_slope(simulation, start, usual, corrected)


def of_same_size(simulation: SimulationType, noise_level: int) -> tuple[SimulationType, int]:
    """The level at which a signal takes as much as it does at another one without a shape of the noise.

    So a quality or a rate stands for as large a file with a shape as without, and only its errors are elsewhere.

    Args:
        simulation: of the signal.
        noise_level: without a shape.

    Returns:
        The simulation, with a weaker shape where no level with this one takes so much, and the level.
    """
    level, some = level_of_same_size(simulation, noise_level), simulation.sample
    if simulation.unshaped is simulation or _takes(some, level, bits_at(some.unshaped, noise_level)):
        return simulation, level
    return of_same_size(simulation.weaker, noise_level)


def level_of_same_size(simulation: Simulation, noise_level: int) -> int:
    """The level at which a signal takes as much, as far as there is one, as it does at another one without a shape.

    Args:
        simulation: of the signal.
        noise_level: without a shape.
    """
    if simulation.unshaped is simulation:
        return noise_level
    some = simulation.sample
    wanted = bits_at(some.unshaped, noise_level)

    def excess(level: int) -> float:
        return math.log2(bits_at(some, level) / wanted)

    return root(excess, simulation.grid, simulation.about_as_large(noise_level), _SIZE_SLOPE)


def of_target_size(
    simulation: SimulationType, noise_level: int, target: Target, effort: int
) -> tuple[SimulationType, int]:
    """A simulation with its level, or one with a weaker shape of the noise where that has none for a size.

    Args:
        simulation: of the signal.
        noise_level: that was found for it.
        target: of the file; anything but a size is met as it is.
        effort: 1 (fastest) to 9 (best).
    """
    if target.unit != "size" or simulation.unshaped is simulation:
        return simulation, noise_level
    if _takes(simulation, noise_level, 8 * target.value):
        return simulation, noise_level
    weaker = simulation.weaker
    return of_target_size(weaker, choose_noise_level(weaker, target, effort), target, effort)


def _takes(simulation: Simulation, noise_level: int, wanted: float) -> bool:
    """Whether a level takes about as many bits as wanted, or finer or coarser ones would be there to do so.

    Nor is a shape of the noise to take more than a small part of the file for itself.
    """
    header = [one.overhead(_SHORTEST) for one in (simulation, simulation.unshaped)]
    if wanted < _LEAST_TIMES_SHAPE * 8 * (header[0] - header[1]):
        return False
    over, grid = math.log2(bits_at(simulation, noise_level) / wanted), simulation.grid
    if noise_level == grid.lowest:
        return over < _SIZE_TOLERANCE
    return noise_level < grid.highest or over > -_SIZE_TOLERANCE or wanted < _NEXT_TO_NOTHING


def bits_at(simulation: Simulation, noise_level: int) -> float:
    """About what a signal takes at a noise level."""
    cost = simulation.cost(noise_level)
    return max(cost.bits + cost.class_bits, 1.0)


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


def _level_adapted(simulation: Simulation, start: float, usual: float, evenness: float) -> int:
    """The level of a typical signal, or one that is coarser where the error is larger than a typical signal's there.

    About what :func:`_level_of_slope` finds for what is like a typical signal; but as an error never grows with a finer
    noise, a level rises with that of a typical signal, whatever the signal is. A signal that takes next to nothing even
    without any noise to speak of, as one of a single colour does, is coded so.

    Args:
        simulation: of the signal.
        start: level of a typical signal.
        usual: mean squared error of a typical signal there.
        evenness: by how much of what a signal takes more than a typical one its level is coarser besides.
    """
    grid = simulation.grid
    assert grid.adaptation is not None
    near, some = min(max(round(start), grid.lowest), grid.highest), simulation.sample
    if some.cost(near).bits < _SOMETHING:
        some = simulation  # what a sample does not show may be all that there is
    coarser = grid.adaptation * math.log2(_error(some, near) / usual) / grid.octaves
    if evenness:
        typical_bits = simulation.prior.typical_bits(near, simulation.format)
        coarser += evenness * math.log2(bits_at(some, near) / typical_bits) / _SIZE_SLOPE
    level = start - min(max(coarser, -grid.farthest), grid.farthest)
    chosen = min(max(round(level), grid.lowest), grid.highest)
    if some.cost(near).bits >= _SOMETHING:  # nor does it take next to nothing at a coarser level
        return chosen
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
