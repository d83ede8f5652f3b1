"""At which noise level, and with which hop, a sound is coded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import UnreachableError
from ...family import Target
from ...stages.encoding import noise_levels, rate_control
from ...stages.encoding.encoder import CodedSignal
from ...stages.encoding.rate_control import SearchOptions
from ...stages.encoding.simulation import CostEstimate
from .transform import noise_level_of

if TYPE_CHECKING:
    from .encoder import SoundSimulation

Array = npt.NDArray[Any]

# of a sound's amplitude at the prior's own rate, of a short one: 24 and 30 dB; of any: 48 dB
_COARSE_ENOUGH, _FINE_ENOUGH, _FINEST = 2.0**-4, 2.0**-5, 2.0**-8
_MOST_LOST = 0.35  # of a sound's energy: 4.6 dB of SNR
_BARELY_ENOUGH = 0.03  # of a sound's energy may be lost, 15 dB, so that its file is smaller than one without loss
_EVENNESS = 0.6  # of 1, with which all sounds have about one rate
_LEVELS_OF_OCTAVE = 10  # of a file's size, or a little more
_LEAST_SHARE = 1e-9  # of an error that is allowed, less than which makes no difference


def choose(
    simulations: Sequence[SoundSimulation], target: Target, effort: int, lossless: float
) -> tuple[SoundSimulation, int]:
    """The best of the hops for a sound, and the noise level.

    Args:
        simulations: of the sound, one for each hop.
        target: of the file.
        effort: 1 (fastest) to 9 (best).
        lossless: bytes of the sound without loss.
    """
    if target.unit not in ("rate", "noise"):
        return noise_levels.of_target_size(*_best(simulations, target, effort, lossless), target, effort)
    # with a shape of the noise, the level is that of a file that is as large as the one without
    flat = [one.unshaped for one in simulations]
    if flat == list(simulations):
        target = replace(target, tune="psnr")  # every dB is worth the same
    best, noise_level = _best(flat, target, effort, lossless)
    return _not_lost(simulations[flat.index(best)], noise_level)


def _not_lost(simulation: SoundSimulation, noise_level: int) -> tuple[SoundSimulation, int]:
    """A sound at the level of the same size as without a shape, with a weaker one where it would be lost in the noise.

    Args:
        simulation: of the sound.
        noise_level: without a shape of the noise, at which the sound is not lost.
    """
    shaped, level = noise_levels.of_same_size(simulation, noise_level)
    if shaped.noise.flat or shaped.lost(level) <= _MOST_LOST * _energy(shaped.recording.samples):
        return shaped, level
    return _not_lost(shaped.weaker, noise_level)


def _energy(samples: Array) -> float:
    """The sum of squared samples."""
    return float(np.square(samples, dtype=np.float64).sum())


def no_larger(
    simulation: SoundSimulation, noise_level: int, target: Target, how: SearchOptions, lossless: float
) -> CodedSignal:
    """A sound, coded so that its file is no larger than one without loss, as long as the sound is still there.

    Args:
        simulation: of the sound.
        noise_level: that is expected to be right.
        target: of the file.
        how: candidates are searched for.
        lossless: bytes of the sound without loss; infinite where the target says how large a file is, or how good.
    """
    coded = rate_control.code(simulation, noise_level, target, how, lossless)
    if rate_control.bytes_of(simulation, coded) <= lossless:
        return coded
    rules = _Rules.of(simulation.unshaped, target, lossless)
    while (size := rate_control.bytes_of(simulation, coded)) > lossless:
        noise_level -= max(1, math.floor(_LEVELS_OF_OCTAVE * math.log2(size / lossless)))
        if noise_level < simulation.grid.lowest or rules.over(_BARELY_ENOUGH, noise_level) < 0:
            return _of_size(simulation, target, how, lossless, rules.energy) or coded
        coded = rate_control.code(simulation, noise_level, target, how, lossless)
    return coded


def _of_size(
    simulation: SoundSimulation, target: Target, how: SearchOptions, size: float, energy: float
) -> CodedSignal | None:
    """A file of a size, with fewer groups than usual; ``None`` where the sound is lost in it."""
    of_size = replace(target, unit="size", value=size)
    noise_level = noise_levels.choose_noise_level(simulation, of_size, how.effort)
    try:
        coded = rate_control.code(simulation, noise_level, of_size, how)
    except UnreachableError:
        return None
    return coded if coded.squared_error <= _MOST_LOST * energy else None


def _best(
    simulations: Sequence[SoundSimulation], target: Target, effort: int, lossless: float
) -> tuple[SoundSimulation, int]:
    """The best of the hops for a sound, and the noise level by what its last bit gains."""
    usual = simulations[len(simulations) // 2]
    noise_level = _level(usual, target, effort, lossless)
    simulation = min(simulations, key=lambda one: one.lagrangian(noise_level))
    if simulation is not usual:
        noise_level = _level(simulation, target, effort, lossless)
    return simulation, noise_level


def _level(simulation: SoundSimulation, target: Target, effort: int, lossless: float) -> int:
    """The noise level of a sound by what its last bit gains, within what makes sense for it."""
    if target.unit not in ("rate", "noise"):
        return noise_levels.choose_noise_level(simulation, target, effort)
    rules = _Rules.of(simulation, target, lossless)
    return noise_levels.choose_noise_level(simulation, target, effort, rules.corrected)


@dataclass(frozen=True, eq=False)
class _Rules:
    """What makes sense for a sound; none asks for a coarser level with a higher rate.

    Attributes:
        simulation: of the sound.
        energy: sum of all its squared samples.
        lossless: bytes of it without loss.
        coarsest: a level that is coarse enough for its loudness.
        finest: a level that is fine enough for it.
        typical_bits: of a typical sound as long as this one; ``None`` where every dB is worth the same.
    """

    simulation: SoundSimulation
    energy: float
    lossless: float
    coarsest: float
    finest: float
    typical_bits: float | None

    @staticmethod
    def of(simulation: SoundSimulation, target: Target, lossless: float) -> _Rules:
        """The rules for a sound.

        Args:
            simulation: of the sound.
            target: a rate or a noise.
            lossless: bytes of the sound without loss.
        """
        samples, prior = simulation.recording.samples, simulation.prior
        energy, (usual, _) = _energy(samples), prior.typical_of(target, simulation.format)
        typical_bits = prior.typical_bits(usual, simulation.format) if target.perceptual else None
        if not energy:
            return _Rules(simulation, 0.0, lossless, -math.inf, math.inf, typical_bits)
        finer = usual - prior.typical(prior.bits_per_point)[0]  # than at the prior's own rate
        coarse, fine, finest = (
            finer + noise_level_of(math.sqrt(energy / samples.size) * share)
            for share in (_COARSE_ENOUGH, _FINE_ENOUGH, _FINEST)
        )
        if simulation.recording.short:
            # what the last bit gains says little of so few weights; and bytes saved there are of no use to other sounds
            return _Rules(simulation, energy, lossless, min(usual, coarse), max(usual, fine), typical_bits)
        return _Rules(simulation, energy, lossless, -math.inf, max(usual, finest), typical_bits)

    def corrected(self, noise_level: int, excess: float) -> float:
        """How much finer a level is than it should be, given that by what the last bit gains.

        Of white noise, of clicks and of what is very quiet, the last bit gains so little that none would be spent; the
        sound is not to be lost in the noise, nor to take more bytes than without loss as long as it is still there. And
        to ears, unlike in dB, all sounds are worth about as much: a voice that is clear as it is gains nothing from the
        bits that one lacks which is hard to understand.
        """
        if self.typical_bits is not None:
            octaves = math.log2(noise_levels.bits_at(self.simulation, noise_level) / self.typical_bits)
            excess += _EVENNESS * (octaves - excess)
        within = max(min(excess, noise_level - self.coarsest), noise_level - self.finest)
        if not self.energy:
            return within
        audible = min(within, self.over(_MOST_LOST, noise_level))
        larger = math.log2(noise_levels.expected_bytes(self.simulation, noise_level) / self.lossless)
        if larger <= max(audible, 0):
            return audible
        return max(audible, min(larger, self.over(_BARELY_ENOUGH, noise_level)))

    def over(self, share: float, noise_level: int) -> float:
        """Octaves of error that a level has less than a share of the sound's energy.

        Args:
            share: of the energy that may be lost.
            noise_level: at which it is coded.
        """
        allowed = share * self.energy
        error = self.simulation.noise_variance(noise_level) * self.simulation.recording.samples.size
        if error > allowed:
            whole = CostEstimate.total(self.simulation.parts(noise_level))
            error = whole.squared_error * self.simulation.recording.share_inside
        return math.log2(allowed / max(error, _LEAST_SHARE * allowed))
