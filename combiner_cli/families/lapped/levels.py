"""At which noise level, and with which hop, a sound is coded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...family import Target
from ...signals.lossless import lossless_bytes
from ...signals.signal import Signal
from ...stages.encoding import rate_control
from ...stages.encoding.simulation import CostEstimate
from .transform import noise_level_of

if TYPE_CHECKING:
    from .encoder import SoundSimulation

# of a sound's amplitude at the prior's own rate, of a short one: 24 and 30 dB; of any: 48 dB
_COARSE_ENOUGH, _FINE_ENOUGH, _FINEST = 2.0**-4, 2.0**-5, 2.0**-8
_MOST_LOST = 0.35  # of a sound's energy: 4.6 dB of SNR
_BARELY_ENOUGH = 0.03  # of a sound's energy may be lost, 15 dB, so that its file is smaller than one without loss
_STEP = 2  # noise levels from one that is not good enough to the next


def choose(
    simulations: Sequence[SoundSimulation], signal: Signal, target: Target, effort: int
) -> tuple[SoundSimulation, int]:
    """The best of the hops for a sound, and the noise level.

    Args:
        simulations: of the sound, one for each hop.
        signal: the sound.
        target: of the file.
        effort: 1 (fastest) to 9 (best).
    """
    if target.unit not in ("rate", "noise"):
        return _best(simulations, target, effort)
    # with a shape of the noise, the level is that of a file that is as large as the one without
    flat = [one.unshaped for one in simulations]
    best, noise_level = _best(flat, target, effort)
    noise_level = _smaller_than_lossless(best, _audible(best, noise_level), lossless_bytes(signal))
    simulation = simulations[flat.index(best)]
    return simulation, rate_control.level_of_same_size(simulation, noise_level)


def _best(simulations: Sequence[SoundSimulation], target: Target, effort: int) -> tuple[SoundSimulation, int]:
    """The best of the hops for a sound, and the noise level by what its last bit gains."""
    usual = simulations[len(simulations) // 2]
    noise_level = _level(usual, target, effort)
    simulation = min(simulations, key=lambda one: one.lagrangian(noise_level))
    if simulation is not usual and not usual.recording.short:
        noise_level = _level(simulation, target, effort)
    return simulation, noise_level


def _level(simulation: SoundSimulation, target: Target, effort: int) -> int:
    """The noise level of a sound by what its last bit gains, within what makes sense for its loudness."""
    noise_level = rate_control.choose_noise_level(simulation, target, effort)
    loudness = math.sqrt(_energy(simulation) / simulation.recording.samples.size)
    if target.unit not in ("rate", "noise") or not loudness:
        return noise_level
    prior, grid = simulation.prior, simulation.grid
    usual, _ = prior.typical_of(target, simulation.format)
    finer = usual - prior.typical(prior.bits_per_point)[0]  # than at the prior's own rate
    coarsest, fine, finest = (
        finer + noise_level_of(loudness * share) for share in (_COARSE_ENOUGH, _FINE_ENOUGH, _FINEST)
    )
    if simulation.recording.short:
        # what the last bit gains says little of so few weights; and bytes saved there are of no use to other sounds
        chosen = min(max(noise_level, min(usual, coarsest)), max(usual, fine))
    else:
        chosen = min(noise_level, max(usual, finest))
    return min(max(round(chosen), grid.lowest), grid.highest)


def _energy(simulation: SoundSimulation) -> float:
    """Sum of all squared samples."""
    return float(np.square(simulation.recording.samples, dtype=np.float64).sum())


def _audible(simulation: SoundSimulation, noise_level: int) -> int:
    """A noise level at which a sound is not lost in the noise: that one, or the first that is fine enough for it.

    Of white noise, of clicks and of what is very quiet, the last bit gains so little that none would be spent.
    """
    most, samples, highest = _MOST_LOST * _energy(simulation), simulation.recording.samples, simulation.grid.highest
    if not most:
        return noise_level
    while noise_level < highest and simulation.noise_variance(noise_level) * samples.size > most:
        if CostEstimate.total(simulation.parts(noise_level)).squared_error <= most:
            break
        noise_level = min(noise_level + _STEP, highest)
    return noise_level


def _smaller_than_lossless(simulation: SoundSimulation, noise_level: int, lossless: int) -> int:
    """A noise level at which a file is smaller than one without loss, as long as the sound is still there."""
    most = _BARELY_ENOUGH * _energy(simulation)
    while noise_level > simulation.grid.lowest and rate_control.expected_bytes(simulation, noise_level) > lossless:
        if simulation.cost(noise_level - _STEP).squared_error > most:
            break
        noise_level = max(noise_level - _STEP, simulation.grid.lowest)
    return noise_level
