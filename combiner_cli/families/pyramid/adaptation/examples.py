"""What the networks were asked while a picture was coded in simulation, and what the answers should have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ....stages.encoding.simulation import SimulatedCoder
from ....stages.integer_network import FEATURE_UNIT
from ....stages.integer_network import octaves as octaves_of
from ....stages.moments import OCTAVE, UNIT, Moments, StageId
from .. import features, levels
from ..decoder import descend
from ..features import Network
from ..levels import Level

if TYPE_CHECKING:
    from ..encoder import EncoderSource, ImageSimulation

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Example:
    """Some questions to one network.

    Attributes:
        name: of the network, ``level.network``.
        network: what it sees and says.
        features: ``(features, columns)`` float32.
        contrast: what means are relative to, in deviations of the noise, ``(columns,)``.
        true: what means should be, in deviations of the noise, ``(outputs, columns)``.
        classes: that were chosen, ``(columns,)``; ``None`` where the network predicts deviations.
        noise: octaves by which the noise is coarser than the base, ``(columns,)``; all 0 for classes.
    """

    name: str
    network: Network
    features: npt.NDArray[np.float32]
    contrast: npt.NDArray[np.float32]
    true: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64] | None
    noise: npt.NDArray[np.float32]

    @property
    def octaves(self) -> npt.NDArray[np.float32]:
        """Logarithms of the contrast, ``(columns,)``."""
        return octaves_of(self.contrast).astype(np.float32)

    def some(self, columns: Any) -> Example:
        """A part of the questions.

        Args:
            columns: an index of numpy.
        """
        classes = None if self.classes is None else self.classes[columns]
        return Example(
            self.name,
            self.network,
            np.ascontiguousarray(self.features[:, columns]),
            self.contrast[columns],
            self.true[:, columns],
            classes,
            self.noise[columns],
        )


@dataclass(eq=False)
class _RecordingSource:
    """Classes and weights of another source, with what the networks were asked for them; see ``LatentSource``.

    Attributes:
        source: of classes and weights.
        examples: so far.
    """

    wants_means: ClassVar[bool] = True
    source: EncoderSource
    examples: list[Example] = field(default_factory=list)

    def classes(self, level: Level, chroma: bool, frequencies: Array, means: Array) -> Array:
        """The classes of a level, recorded."""
        classes = self.source.classes(level, chroma, frequencies, means)
        asked, contrast = features.class_features(level, chroma, level.all_units, _memory)
        true = self.source.true_of_units(level, chroma)
        self._put(level, features.class_network(chroma), asked, contrast, true, classes, np.zeros(len(contrast)))
        return classes

    def weights(self, stage: StageId, level: Level | None, moments: Moments) -> Array:
        """The weights of a stage, recorded."""
        if level is not None and len(moments.mean):
            phases, chroma = levels.stage_phases(stage.number), stage.number in levels.CHROMA_STAGES
            parts = [features.stage_features(level, stage.number, one, level.all_units, _memory) for one in phases]
            asked, contrast = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
            network = features.stage_network(stage.number)
            true = self.source.true(stage, level).reshape(network.outputs, -1)
            noises = [level.noise(phase, level.all_units, chroma) for phase in phases]
            known = [noise for noise in noises if noise is not None]  # all or none are
            noise = np.concatenate(known) / OCTAVE if known else np.zeros(len(contrast))
            self._put(level, network, asked, contrast, true, None, noise)
        return self.source.weights(stage, level, moments)

    def _put(
        self,
        level: Level,
        network: Network,
        asked: Array,
        contrast: Array,
        true: Array,
        classes: Array | None,
        noise: Array,
    ) -> None:
        asked *= np.float32(1 / FEATURE_UNIT)
        name = f"{level.kind}.{network.name}"
        reals = [values.astype(np.float32) for values in (contrast / UNIT, true, noise)]
        chosen = None if classes is None else classes.reshape(-1).astype(np.int64)
        self.examples.append(Example(name, network, asked, reals[0], reals[1], chosen, reals[2]))


def recorded(simulation: ImageSimulation, noise_level: int) -> list[Example]:
    """All questions to the networks on the way through a picture, those of one network together.

    Args:
        simulation: of the picture.
        noise_level: of the file.
    """
    examples: list[Example] = []
    for plane in simulation.planes:
        source = _RecordingSource(simulation.source(plane, noise_level, SimulatedCoder(), simulation.prior))
        descend(simulation.prior, plane.shape, plane.colours, noise_level, source, simulation.noise)
        examples += source.examples
    by_name: dict[str, list[Example]] = {}
    for example in examples:
        by_name.setdefault(example.name, []).append(example)
    return [_joined(parts) for _, parts in sorted(by_name.items())]


def _joined(parts: Sequence[Example]) -> Example:
    """Questions to the same network in one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    known = [part.classes for part in parts if part.classes is not None]  # all or none are
    return Example(
        first.name,
        first.network,
        np.concatenate([part.features for part in parts], axis=1),
        np.concatenate([part.contrast for part in parts]),
        np.concatenate([part.true for part in parts], axis=1),
        np.concatenate(known) if known else None,
        np.concatenate([part.noise for part in parts]),
    )


def _memory(_name: str, shape: tuple[int, ...]) -> Array:
    """Memory for features, in float32."""
    return np.empty(shape, dtype=np.float32)
