"""Looks for the shapes of the noise that are best by measures of what people perceive, by steps from a first one.

    python benchmarks/shapes.py photos/val --start 16 8 8 8 32 10 --name shapes_photographs
    python benchmarks/shapes.py speech/train --start 28 2 14 --name shapes_speech

Signals are coded in simulation, at four noise levels, with a shape and without one; what counts is the mean
BD-rate of images by SSIMULACRA 2 and MS-SSIM, and of sounds by ESTOI and PESQ. Take what the priors were not learned of and no test
data: results/NAME.csv says what every shape that was tried comes to.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from common import write_csv

from combiner_cli.bench import curves, measures
from combiner_cli.bench.measures import Measure
from combiner_cli.families.lapped import encoder as lapped
from combiner_cli.families.lapped import transform
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.families.pyramid import encoder as pyramid
from combiner_cli.families.pyramid.levels import HALF_RANGE
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.family import Prior
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal, from_values
from combiner_cli.stages.encoding.noise_levels import level_of_same_size
from combiner_cli.stages.encoding.simulation import SimulatedCoder, Simulation
from combiner_cli.stages.shape import PICTURE_FIELDS, SOUND_FIELDS, PictureShape, SoundShape

Numbers = tuple[int, ...]
Point = dict[str, float]

LEAST_GAIN = 0.1  # per cent of rate, for which a step is taken


@dataclass(frozen=True, eq=False)
class Trial(ABC):
    """Signals, and what a shape of the noise makes of them.

    Attributes:
        prior: they are coded with.
        signals: of the search.
        levels: of the noise without a shape.
        known: curves of the shapes that were tried, a point for each noise level.
    """

    prior: Prior
    signals: Sequence[Signal]
    levels: Sequence[int]
    known: dict[Numbers, list[Point]] = field(default_factory=dict)

    usual_levels: ClassVar[Sequence[int]]  # without a shape
    measures: ClassVar[Sequence[tuple[Measure, float]]]  # and units of their scales that are about a dB
    most: ClassVar[Numbers]  # that the numbers of a shape may be

    @abstractmethod
    def simulation(self, signal: Signal, numbers: Numbers) -> Simulation:
        """A signal with a shape of the noise; with none where there are no numbers."""

    @abstractmethod
    def decoded(self, simulation: Simulation, signal: Signal, level: int) -> tuple[float, Signal]:
        """Bits of a signal at a noise level, and what comes of it."""

    def per_unit(self, signal: Signal) -> float:
        """Points of a pixel, or seconds per 1000 points."""
        return signal.points

    def curve(self, numbers: Numbers) -> list[Point]:
        """Rate and quality with a shape at the noise levels at which the first signal is about as large as without."""
        if numbers not in self.known:
            first = self.simulation(self.signals[0], numbers)
            shaped = [level_of_same_size(first, level) for level in self.levels]
            self.known[numbers] = [self._point(numbers, level) for level in shaped]
        return self.known[numbers]

    def _point(self, numbers: Numbers, level: int) -> Point:
        rows = []
        for signal in self.signals:
            bits, decoded = self.decoded(self.simulation(signal, numbers), signal, level)
            row = {"rate": bits / self.per_unit(signal)}
            row |= {measure.column: measure.scale(measure.of(signal, decoded) or 0.0) for measure, _ in self.measures}
            rows.append(row)
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def deltas(self, numbers: Numbers) -> dict[str, float]:
        """BD-rates in per cent against no shape, by measure."""
        found = {}
        for measure, unit in self.measures:
            anchor, shaped = (
                [(point["rate"], unit * point[measure.column]) for point in self.curve(some)] for some in ((), numbers)
            )
            percent = curves.bd_rate(anchor, shaped).percent
            found[measure.column] = float("nan") if percent is None else percent
        return found

    @abstractmethod
    def goal(self, deltas: dict[str, float]) -> float:
        """What is to be small."""


class Pictures(Trial):
    """Images under a pyramid prior; the mean of SSIMULACRA 2 and MS-SSIM counts."""

    prior: PyramidPrior

    usual_levels = (12, 28, 44, 60)
    measures = ((measures.SSIMULACRA_2, 1.0), (measures.MS_SSIM, 1.0), (measures.PSNR, 1.0))
    most = tuple(one.largest for one in PICTURE_FIELDS for _ in range(one.count))

    def simulation(self, signal: Signal, numbers: Numbers) -> Simulation:
        return pyramid.ImageSimulation(self.prior, signal, PictureShape.of(numbers))

    def decoded(self, simulation: Simulation, signal: Signal, level: int) -> tuple[float, Signal]:
        assert isinstance(simulation, pyramid.ImageSimulation)
        coder = SimulatedCoder()
        (plane,) = simulation.planes
        rows = simulation.rendering(plane, level, coder).rows(slice(0, signal.shape[0]))
        decoded = from_values(np.clip(rows / HALF_RANGE, -1, 1), "image", None, signal.bit_depth)
        return coder.bits + coder.symbols.bits, decoded

    def goal(self, deltas: dict[str, float]) -> float:
        return float(np.mean([deltas[one.column] for one in (measures.SSIMULACRA_2, measures.MS_SSIM)]))


class Sounds(Trial):
    """Sounds of one channel under a lapped prior; the mean of both measures counts."""

    usual_levels = (30, 38, 46, 56)
    measures = ((measures.ESTOI, 1.0), (measures.PESQ, 10.0))  # ViSQOL takes too long
    most = tuple(one.largest for one in SOUND_FIELDS)

    prior: LappedPrior

    @cached_property
    def hop(self) -> int:
        """The one in the middle of the prior's."""
        return self.prior.hops[len(self.prior.hops) // 2]

    def simulation(self, signal: Signal, numbers: Numbers) -> Simulation:
        recording = lapped.Recording(np.ascontiguousarray(signal.samples.T), self.hop)
        header = {"hop": (0,), "angle": (0,)}
        return lapped.SoundSimulation(self.prior, signal.format, recording, header, 1 << 20, SoundShape.of(numbers))

    def decoded(self, simulation: Simulation, signal: Signal, level: int) -> tuple[float, Signal]:
        assert isinstance(simulation, lapped.SoundSimulation)
        coder, parts = SimulatedCoder(), []
        for frames in simulation.recording.segments:
            weights = simulation.recording.weights(frames)
            parts.append(lapped.coded_segment(self.prior, weights, level, simulation.noise, coder)[0])
        values = transform.render(parts, 1, signal.points, self.hop, self.hop)
        return coder.bits + coder.symbols.bits, from_values(values, "sound", signal.sample_rate, signal.bit_depth)

    def per_unit(self, signal: Signal) -> float:
        return 1000 * signal.points / (signal.sample_rate or 1)

    def goal(self, deltas: dict[str, float]) -> float:
        return float(np.mean(list(deltas.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images or recordings")
    parser.add_argument("--prior", help="name or file; for images photo-8, for sounds speech-5")
    parser.add_argument("--start", type=int, nargs="+", required=True, help="numbers of the first shape")
    parser.add_argument("--try", dest="more", type=int, nargs="+", action="append", default=[], help="a shape to try")
    parser.add_argument("--signals", type=int, default=8, help="how many, spread over all")
    parser.add_argument("--side", type=int, default=256, help="of the middle of an image, pixels")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a recording, from its beginning")
    parser.add_argument("--levels", type=int, nargs="+", help="four of the noise without a shape; the usual ones")
    parser.add_argument("--steps", type=int, nargs="+", default=(8, 4, 2), help="of the numbers, one after another")
    parser.add_argument("--name", default="shapes", help="of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(path for path in arguments.data.iterdir() if path.suffix in (".png", ".webp", ".flac", ".wav"))
    places = np.linspace(0, len(paths) - 1, min(arguments.signals, len(paths))).round().astype(int)
    signals = [shortened(media.read_signal(paths[place]), arguments.side, arguments.seconds) for place in places]
    kind = Pictures if signals[0].kind == "image" else Sounds
    usual = {"image": "photo-8", "sound": "speech-5"}[signals[0].kind]
    levels = arguments.levels or kind.usual_levels
    search(kind(library.find(arguments.prior or usual), signals, levels), arguments)


def shortened(signal: Signal, side: int, seconds: float) -> Signal:
    """The middle of an image, or the beginning of a sound."""
    if signal.kind == "sound":
        samples = signal.samples[: round(seconds * (signal.sample_rate or 1)), :1]
        return Signal("sound", samples.copy(), signal.sample_rate, signal.bit_depth)
    top, left = ((size - side) // 2 for size in signal.shape)
    return Signal("image", signal.samples[top : top + side, left : left + side, :3].copy(), None, signal.bit_depth)


def search(trial: Trial, arguments: argparse.Namespace) -> None:
    """Change one number after another, by smaller and smaller steps, and write down every shape that is tried."""
    rows = []

    def tried(numbers: Numbers) -> float:
        deltas = trial.deltas(numbers)
        goal = trial.goal(deltas)
        row = {"shape": " ".join(map(str, numbers)), "goal": round(goal, 2)}
        row |= {f"bd_{name}": round(value, 2) for name, value in deltas.items()}
        row |= {
            f"{name}_{place}": round(value, 4)
            for place, point in enumerate(trial.curve(numbers))
            for name, value in point.items()
        }
        rows.append(row)
        write_csv(f"{arguments.name}.csv", rows)
        print(row["shape"], row["goal"], deltas, flush=True)
        return goal

    for numbers in arguments.more:
        tried(tuple(numbers))
    best = tuple(arguments.start)
    goals = {best: tried(best)}
    for step in arguments.steps:
        for place, sign in ((place, sign) for place in range(len(best)) for sign in (1, -1)):
            numbers = list(best)
            numbers[place] = min(max(numbers[place] + sign * step, 0), trial.most[place])
            candidate = tuple(numbers)
            if candidate not in goals:
                goals[candidate] = tried(candidate)
            if goals[candidate] < goals[best] - LEAST_GAIN:
                best = candidate
    print("best:", *best, flush=True)


if __name__ == "__main__":
    main()
