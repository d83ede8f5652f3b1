"""A pyramid prior whose moments come from a trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ....stages import integer_network
from ....stages.class_stream import frequencies_of
from ....stages.integer_network import octaves
from ....stages.moments import COARSE, HIGHEST, LOWEST, OCTAVE, UNIT, Moments
from ....system import arrays, threads
from ....system.arrays import NarrowArray
from .. import levels
from ..filtering import filter as picture_filter
from ..haar import CORNERS
from ..levels import PHASES, Level
from ..prior import PyramidPrior
from . import networks
from .layers import RESULT_BITS
from .networks import HEADS, LevelNetworks
from .state import TrunkState

Array = npt.NDArray[Any]

# where the phases of a unit are among its corners
_PHASES_OF_CORNERS = [PHASES.index(corner) for corner in CORNERS]


def is_trunk(tensors: Mapping[str, Array]) -> bool:
    """Whether tensors are of a prior with a trunk."""
    return "0.embed.weight" in tensors


@dataclass(frozen=True, eq=False)
class TrunkPrior(PyramidPrior):
    """A prior over the weights of a pyramid whose networks share a trunk."""

    @cached_property
    def kinds(self) -> tuple[LevelNetworks, ...]:
        """The networks of each kind of level."""
        return tuple(
            LevelNetworks(
                {name.partition(".")[2]: tensor for name, tensor in self.stored.items() if name.startswith(f"{kind}.")}
            )
            for kind in range(COARSE + 1)
        )

    def before_classes(self, level: Level, chroma: bool) -> None:
        """Take the stream of a level to where the classes of its luma or its chroma come."""
        kind, trunk = self.kinds[level.kind], level.trunk
        if chroma:
            assert trunk.stream is not None
            trunk.stream = kind.with_luma(level, trunk.stream, self.scratch)
        else:
            trunk.stream = kind.begun(level, trunk.handed, self.scratch)

    def after_classes(self, level: Level, chroma: bool) -> None:
        """Take the stream of a level to where the details of its luma or its chroma come, whose classes are known."""
        assert level.trunk.stream is not None
        level.trunk.stream = self.kinds[level.kind].with_classes(level, chroma, level.trunk.stream, self.scratch)

    def handed_down(self, level: Level) -> TrunkState:
        """The stream of a level, and where it has masked noise."""
        if len(level.picture[0]) == 1:  # in grey the stream goes on as if the chroma were nothing
            self.before_classes(level, True)
            self.after_classes(level, True)
        masking = None if level.masking is None else level.masking[0]
        return TrunkState(handed=level.trunk.stream, coarser_masking=masking)

    def class_frequencies(self, level: Level, chroma: bool, wants_means: bool = True) -> tuple[Array, Array]:
        """What is predicted of the units of a level before their classes are decoded."""
        name = "chroma_classes" if chroma else "luma_classes"
        outputs = HEADS[name].means
        count = level.units[0] * level.units[1]
        frequencies = arrays.mapped_zeros((levels.CLASSES, count), np.uint16)
        means = np.empty((outputs if wants_means else 0, count))
        wanted = slice(0 if wants_means else outputs, outputs + levels.CLASSES)

        def strip(rows: slice) -> None:
            results, contrast = self._results(name, level, rows, wanted)
            units = slice(rows.start * level.units[1], rows.stop * level.units[1])
            logits = results[-levels.CLASSES :] * 2.0 ** (integer_network.RESULT_BITS - RESULT_BITS)
            frequencies[:, units] = frequencies_of(logits)
            if wants_means:
                whole = np.floor(results[:outputs] * contrast[int(chroma)] * 2.0**-RESULT_BITS)
                by_phase = whole.reshape(len(PHASES), -1, whole.shape[1])
                means[:, units] = by_phase[_PHASES_OF_CORNERS].reshape(whole.shape)

        threads.mapped(strip, networks.strips(level))
        return frequencies, means

    def moments(self, level: Level, number: int) -> Moments:
        """Moments of the details of a stage; see :class:`PyramidPrior`."""
        name, phases = networks.stage_head(number), levels.stage_phases(number)
        chroma, most = number in levels.CHROMA_STAGES, levels.limit(level.number)
        counts = [levels.positions(level, phase, level.all_units) for phase in phases]
        bands = levels.band_count(level, number)
        mean = NarrowArray((bands, sum(counts)))
        deviation = arrays.mapped_zeros(mean.values.shape, np.int16)
        noise = levels.stage_noise(level, number)

        def strip(rows: slice) -> None:
            results, contrast = self._results(name, level, rows, slice(None))
            of_contrast = np.floor(octaves(contrast[int(chroma)] / UNIT) * OCTAVE)
            whole_means, numbers = results.reshape(2, len(phases), bands, -1)
            whole_means = np.floor(whole_means * contrast[int(chroma)] * 2.0**-RESULT_BITS)
            whole_means = np.clip(whole_means, -most, most)
            numbers = np.floor(numbers * (OCTAVE * 2.0**-RESULT_BITS)) + of_contrast
            for place, phase in enumerate(phases):
                height, width = level.shape_of(phase, rows)
                first = sum(counts[:place]) + levels.positions(level, phase, slice(0, rows.start))
                columns = slice(first, first + height * width)
                inside = (bands, rows.stop - rows.start, level.units[1])
                of_phase = numbers[place].reshape(inside)[:, :height, :width].reshape(bands, -1)
                if noise is not None:
                    of_phase = of_phase - noise[columns]
                deviation[:, columns] = np.clip(of_phase, LOWEST - 1, HIGHEST) - LOWEST
                mean.put(
                    (slice(None), columns), whole_means[place].reshape(inside)[:, :height, :width].reshape(bands, -1)
                )

        threads.mapped(strip, networks.strips(level))
        of_bands = None if noise is None else np.tile(noise, bands)
        return Moments(mean.values.reshape(-1), deviation.reshape(-1), noise=of_bands)

    def _results(self, name: str, level: Level, rows: slice, wanted: slice) -> tuple[Array, Array]:
        assert level.trunk.stream is not None
        return self.kinds[level.kind].results(name, level, level.trunk.stream, rows, self.scratch, wanted)


def problem(prior: TrunkPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``."""
    if prior.kind != "image" or not prior.configuration_possible():
        return "its configuration is out of range"
    if {name.partition(".")[0] for name in prior.stored_but_filter} != {str(kind) for kind in range(COARSE + 1)}:
        return "it holds tensors that it has no use for, or lacks some"
    for number, kind in enumerate(prior.kinds):
        reason = kind.problem()
        if reason is not None:
            return f"in its networks {number}, {reason}"
    of_filter = {name: tensor for name, tensor in prior.stored.items() if name not in prior.stored_but_filter}
    return picture_filter.problem(of_filter) if of_filter else None
