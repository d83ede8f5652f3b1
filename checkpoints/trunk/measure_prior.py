"""What a prior of the first generation costs on the crops that ``learn.py`` measures.

    PYTHONPATH=. python checkpoints/trunk/measure_prior.py PRIOR PHOTOS [CROPS]

Bits per pixel at each noise level: luma, luma classes, chroma and chroma classes of all levels from the finest on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import data
import numpy as np
import torch

from combiner_cli.families.pyramid import training
from combiner_cli.families.pyramid.learning import PyramidPlan
from combiner_cli.families.pyramid.levels import CHROMA_STAGES, Level
from combiner_cli.learning.networks import load_networks
from combiner_cli.priors import store

LEVELS, BATCH = 6, 4


class Measured(training.TrainingPass):
    """A way down that notes what every part costs."""

    def begin(self) -> None:
        """Begin to count."""
        self.parts, self._part = np.zeros((LEVELS, 4)), 0

    def _backward(self, level: Level, counts: Sequence[int], costs: Any, counted: Any = None) -> None:
        del counts
        self.parts[level.number, self._part] += float((costs if counted is None else counted).sum())

    def _cropped(self, level: Level, true: Any) -> tuple[Level, Any]:
        return level, true

    def _classes(self, level: Level, true: Any, chroma: bool) -> None:
        self._part = 3 if chroma else 1
        super()._classes(level, true, chroma)

    def _stage(self, level: Level, true: Any, number: int) -> None:
        self._part = 2 if number in CHROMA_STAGES else 0
        super()._stage(level, true, number)


def main() -> None:
    torch.set_num_threads(1)
    prior = store.load(Path(sys.argv[1]))
    plan = PyramidPlan(name="", steps=1, signals=BATCH, noise_levels=(4, 88), seed=0, size=512, crop=data.CROP)
    networks = training.new_networks(plan)
    load_networks(networks, prior.tensors(), prior.name)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    crops = data.measured_crops(data.read(Path(sys.argv[2]) / "val"), count)
    for code in data.MEASURED_CODES:
        total = np.zeros((LEVELS, 4))
        for first in range(0, len(crops), BATCH):
            some = crops[first : first + BATCH]
            way = Measured(networks, np.random.Generator(np.random.Philox([7, code, first])), "cpu")
            way.begin()
            with torch.no_grad():
                way.run(some, np.full(len(some), code))
            total += way.parts
        print(f"noise level {code}: {total.sum() / (len(crops) * data.CROP**2):.4f}")
        print(np.round(total / (len(crops) * data.CROP**2), 4))


if __name__ == "__main__":
    main()
