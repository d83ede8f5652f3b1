"""Files of a noise level, or of exactly a size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...errors import UnreachableError
from ...family import Target
from ..allocation import DENSITIES, GROUP_INFORMATION
from .encoder import Budget, CodedSignal, Writer
from .noise_levels import OVERHEAD
from .simulation import CostEstimate, NoiseGrid, Simulation

_LEAST_RATIO = 0.05
_LEVELS_AROUND = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)  # by effort: noise levels tried on each side of the expected best
_MOST_FILLED = 16  # bytes that groups cannot be made to take
_FEW_ATTEMPTS, _LAST_ATTEMPTS = 3, 9  # at a level with more noise, and at that with the most: down to no groups
_MOST_OVER_EXPECTED, _COARSER = 1.6, 3  # errors of a file of a size over those expected; levels
_MOST_ERROR = 1.4  # over the noise; rounding to samples adds a little
# ratios, and emphasis of errors
_MORE_BITS = ((1.1, 1.2), (1.1, 1.5), (1.1, 2.0), (1.15, 4.0), (1.2, 8.0), (1.3, 16.0), (1.3, 64.0))


@dataclass(frozen=True)
class SearchOptions:
    """How candidates are searched for.

    Attributes:
        effort: 1 (fastest) to 9 (best).
        method: one of ``search.METHODS``.
        seed: of the encoder's random numbers.
        adapt: whether networks may be adapted to a signal, where a prior has what it takes.
    """

    effort: int
    method: str
    seed: int
    adapt: bool = True


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
    if files:
        best = min(files, key=lambda file: file.squared_error)
        return _with_enough_groups(simulation, noise_level, size, how, best)
    # no file is smaller than that of the largest noise variance, with no groups but those that cannot be left out
    smallest = _coded(simulation, grid.lowest, Budget(0.0, 0), how)
    least = bytes_of(simulation, smallest)
    file = _of_size_with_more_noise(simulation, noise_level, size, how) if size >= least else None
    if file is None and size >= least:
        file = smallest if size == least else _filled(simulation, smallest, size)
    if file is None:
        raise UnreachableError(f"a file of this {simulation.format.kind} takes {least} bytes; ask for more than {size}")
    return file


def _with_enough_groups(
    simulation: Simulation, noise_level: int, size: int, how: SearchOptions, best: CodedSignal
) -> CodedSignal:
    """A file of exactly a size, or a better one at a level with more noise where its groups were far too few.

    A small file may have no room for what cannot be left out at a level, and would lose most of its signal there.
    """
    lowest, step = simulation.grid.lowest, _COARSER
    while best.squared_error > _MOST_OVER_EXPECTED * simulation.cost(noise_level).squared_error:
        if noise_level == lowest:
            break
        noise_level, step = max(noise_level - step, lowest), 2 * step
        file = _of_size(simulation, noise_level, size, simulation.grid.attempts, how)
        best = min((one for one in (best, file) if one), key=lambda one: one.squared_error)
    return best


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
    size = budget.total
    if size is None:
        information = float(simulation.sample.cost(noise_level).information.sum())
        size = int(information * budget.ratio / GROUP_INFORMATION)
    writer = Writer.begin(simulation.prior.key, size, budget, how.method, how.seed)
    return simulation.code(noise_level, writer)
