"""Encoding with a prior of the siren family: how many groups, and which of two ways of fitting and coding them.

- ``closed-form``: a posterior with all covariances of a network, conditioned on the groups that are coded.
- ``gradient``: as published, a factorised posterior that gradient steps adapt to the groups that are coded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...container.file import length_around
from ...errors import UsageError
from ...family import Encoded, EncodingOptions, Report, Target
from ...rec import candidates, groups
from ...rec.groups import Stage
from ...signals.signal import Format, Signal, Tiling, coordinates, coverage, inside_mask, split, to_values
from ...system.device import choose_device
from . import tiles
from .fitting import conditioning, newton, refinement
from .fitting.coding import Coded, CodingTask, Schedule
from .fitting.posterior import Objective, objective

if TYPE_CHECKING:
    from .prior import SirenPrior

CLOSED_FORM, GRADIENT = "closed-form", "gradient"
REFINEMENTS = (CLOSED_FORM, GRADIENT)

_STEPS = (0.0, 0.25, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0)  # factors on the numbers of steps, by effort

Engine = Callable[[Objective, CodingTask, Schedule, Report], Coded]


def encode(
    prior: SirenPrior,
    signals: Sequence[Signal],
    target: Target,
    options: EncodingOptions,
    report: Report,
    schedule: Schedule | None = None,
) -> list[Encoded]:
    """Encode signals of one format in one computation.

    A PSNR cannot be predicted: where one is asked for, the file has the prior's own rate.

    Args:
        prior: shared with the decoder.
        signals: one or more.
        target: of each file.
        options: how.
        report: called as the work proceeds.
        schedule: how long to fit and refine; ``None`` chooses by the size of the signals and the effort.

    Raises:
        UsageError: the target cannot be met, or an option is out of range.
    """
    device, method = choose_device(options.device), options.search or tiles.usual_search(options.effort)
    refinement_name = options.refinement or CLOSED_FORM
    if refinement_name not in REFINEMENTS:
        raise UsageError(f"there is no refinement {refinement_name}; choose {' or '.join(REFINEMENTS)}")
    # as published, the index of a group has the bits that the prior is made for; everything else chains groups
    published = refinement_name == GRADIENT and method == "astar"
    index_bytes = prior.group_bits // 8 if published else 1
    signal_format = signals[0].format
    layout = prior.tiling(signal_format.shape, signal_format.channels)
    (stage,) = prior.stages(layout)
    count = _number_of_groups(prior, signal_format, stage, target, index_bytes)
    chaining = tiles.chaining_of(count, index_bytes)
    partition = groups.partition(stage.information, count, prior.key)
    task = CodingTask(partition, chaining, prior.key, len(signals), method, options.seed)
    engine, usual = _engine(prior, len(signals), layout, refinement_name, device)
    coded = engine(
        _objective(prior, signals, layout, device), task, schedule or usual.scaled(_STEPS[options.effort]), report
    )
    return [
        Encoded(
            {tiles.INDEX_BYTES.name: (index_bytes,)}, tiles.pack_indices(indices, index_bytes), latents, coded.seconds
        )
        for indices, latents in zip(coded.indices, coded.values, strict=True)
    ]


def _number_of_groups(prior: SirenPrior, signal_format: Format, stage: Stage, target: Target, index_bytes: int) -> int:
    """Groups for a stage at a target, within what can be coded.

    Raises:
        UsageError: a size is too small, or a rate is not positive.
    """
    coded = int(np.count_nonzero(stage.information))
    # as many as the encoder's table has to have to hold the latents, with some room
    fewest = max(1, -(-coded // (candidates.WIDEST_GROUP // 2)))
    most = min(coded, int(stage.information.sum()))
    if target.unit == "size":
        around = length_around(signal_format, prior.fields, {tiles.INDEX_BYTES.name: (index_bytes,)})
        count = math.floor((target.value - around) / index_bytes)
        if count < fewest:
            raise UsageError(
                f"a file of this {signal_format.kind} takes {around + fewest * index_bytes} bytes "
                f"with prior {prior.name}; ask for more than {target.value:g}"
            )
        return min(count, most)
    rate = target.value / prior.bits_per_point if target.unit == "rate" else 1.0
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"the rate must be positive, not {target.value}")
    count = round(groups.expected_groups(stage.information, 8 * index_bytes) * rate)
    return max(fewest, min(count, most))


def _engine(
    prior: SirenPrior, signals: int, layout: Tiling, refinement_name: str, device: str
) -> tuple[Engine, Schedule]:
    """What fits, searches and refines, and for how long if nobody says otherwise.

    Where the covariances of all networks do not fit the memory, gradient steps refine.
    """
    latents = int(np.count_nonzero(prior.information))
    if refinement_name == GRADIENT or not newton.affordable(signals * layout.tiles, latents, device):
        return refinement.encode, refinement.default_schedule(layout.tiles * math.prod(layout.extent))
    return conditioning.encode, conditioning.default_schedule(layout.tiles)


def _objective(prior: SirenPrior, signals: Sequence[Signal], layout: Tiling, device: str) -> Objective:
    """The fit of all tiles of all signals, signal after signal."""
    values = np.concatenate([split(to_values(signal), layout) for signal in signals])
    inside = None
    if (coverage(layout) < math.prod(layout.extent)).any():
        inside = np.tile(inside_mask(layout), (len(signals), 1, 1))
    features = prior.network.fourier_features(coordinates(layout.extent))
    return objective(prior.network, features, values, inside, (prior.mean, prior.deviation), prior.beta, device)
