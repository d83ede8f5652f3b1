"""Measures whether noise in the place of what is left out makes signals better to the ear or to the eye.

    python benchmarks/fill.py --music music --photographs photos/val
    python benchmarks/fill.py --speech speech/train --variants nothing doubt known

Signals are coded in simulation with the shape of `--tune perceptual`; then noise is added, which takes no bits. Its
variance is what a decoder can know of what is missing, times the square of a strength:

- pruned: weights whose noise the shape makes so large that they are not coded, by their predicted variance;
- doubt: the weights of bands of sound of class 0, by the probability that was predicted of the other classes, times the
  base noise's variance;
- uncoded: those that are pruned, and the weights of bands of sound of class 0, by the mean energy of such bands of
  other recordings where class 0 was predicted as surely;
- all: these, and the error of weights that are coded, by their posterior variance;
- known: bands of sound of class 0 and beyond a segment's limit with their true energies, which a decoder does not know:
  as much as noise could bring if it were described at no cost.

Kinds of signals for which no folder is given keep the results that they have.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from common import read_csv, write_csv, write_table
from shapes import Pictures, Sounds, Trial, shortened

from combiner_cli.bench import measures
from combiner_cli.bench.measures import Measure
from combiner_cli.bench.tables import text
from combiner_cli.families.lapped import encoder as lapped
from combiner_cli.families.lapped import features, transform
from combiner_cli.families.lapped.features import BAND, Segment
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.families.pyramid import encoder as pyramid
from combiner_cli.families.pyramid import haar, levels
from combiner_cli.families.pyramid.levels import HALF_RANGE, Level
from combiner_cli.families.pyramid.prior import PyramidPrior
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal, from_values
from combiner_cli.stages.encoding.noise_levels import level_of_same_size
from combiner_cli.stages.encoding.simulation import SimulatedCoder
from combiner_cli.stages.moments import LOWEST, OCTAVE, Moments

Array = npt.NDArray[Any]
Row = dict[str, object]
Parts = dict[str, Array]  # variances of what is missing, by what it is

# what is filled, by the name of a variant, and the strengths that are tried
VARIANTS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "nothing": ((), (0.0,)),
    "pruned": (("pruned",), (1.0,)),
    "doubt": (("doubt",), (0.5, 0.7, 1.0)),
    "uncoded": (("pruned", "quiet"), (0.5, 1.0)),
    "all": (("pruned", "quiet", "error"), (0.5,)),
    "known": (("pruned", "known"), (1.0,)),
}
ALL_MEASURES = (measures.VISQOL, measures.ESTOI, measures.PESQ, measures.SSIMULACRA_2, measures.MS_SSIM)
FINEST = 3  # levels of pictures that are filled
_SURENESS = 17  # buckets of how surely class 0 was predicted
_FINER_STEPS = 2.0**16  # of what is added to a picture, so that rounding makes no difference
_UNPRUNED = 80  # sixteenths of an octave that noise is taken to be finer by, so that no prediction is pruned
_SEED = 1

Recorded = TypeVar("Recorded", LappedPrior, PyramidPrior)


@dataclass(frozen=True, eq=False)
class RecordingLapped(LappedPrior):
    """A lapped prior that keeps what it predicted of a segment.

    Attributes:
        moments_of: of the weights, before the noise has a shape, by level and phase.
        quiet_of: probabilities of class 0 of the bands, by level and parity.
        segments: whose weights these are; the last one counts.
    """

    moments_of: dict[tuple[int, int], Moments] = field(default_factory=dict)
    quiet_of: dict[tuple[int, int], Array] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)

    def class_frequencies(self, segment: Segment, level: int, parity: int, channel: int) -> Array:
        frequencies = super().class_frequencies(segment, level, parity, channel)
        self.quiet_of[level, parity] = frequencies[0] * 2.0**-16
        return frequencies

    def moments(self, segment: Segment, level: int, phase: int, channel: int) -> Moments:
        moments = super().moments(segment, level, phase, channel)
        self.moments_of[level, phase] = moments
        self.segments[:] = [segment]
        return moments


@dataclass(frozen=True, eq=False)
class RecordingPyramid(PyramidPrior):
    """A pyramid prior that keeps what it predicted of the finest levels.

    Attributes:
        stages: the level, its moments, and the predicted deviations over the level's noise, by level and stage.
    """

    stages: dict[tuple[int, int], tuple[Level, Moments, Array]] = field(default_factory=dict)

    def moments(self, level: Level, number: int) -> Moments:
        moments = super().moments(level, number)
        if level.number < FINEST:
            finer = np.full((1, *level.size), -_UNPRUNED, dtype=np.int16)
            unpruned = super().moments(replace(level, masking=finer), number)
            assert unpruned.noise is not None
            octaves = (unpruned.deviation + float(LOWEST) + unpruned.noise) / OCTAVE
            predicted = np.where(unpruned.deviation < 0, 0, np.exp2(octaves))
            self.stages[level.number, number] = level, moments, predicted
        return moments


def recording(kind: type[Recorded], prior: Any) -> Recorded:
    """A prior with the values of another one that keeps what it predicts."""
    return kind(**{one.name: getattr(prior, one.name) for one in fields(prior)})


def missing(moments: Moments, predicted: Array, coded: Array) -> Parts:
    """Variances of what is missing of the weights of a stage, over the base noise's.

    Args:
        moments: of the weights, with the shape of the noise.
        predicted: deviations of the weights over the base noise's, ``(latents,)``.
        coded: whether a weight is coded, ``(latents,)``.
    """
    noise = 1.0 if moments.noise is None else np.exp2(moments.noise * (2 / OCTAVE))
    variance = predicted**2
    return {
        "pruned": np.where(coded, 0, variance),
        "error": np.where(coded, variance * noise / (variance + noise), 0),
    }


@dataclass(frozen=True, eq=False)
class Filling(ABC):
    """Signals of a kind that are coded with the shape of `--tune perceptual` and filled.

    Attributes:
        name: of the kind.
        trial: with the signals.
        noise_levels: without a shape, at which they are coded.
        quality: measures of them.
    """

    name: str
    trial: Trial
    noise_levels: Sequence[int]
    quality: Sequence[Measure]

    @property
    @abstractmethod
    def numbers(self) -> tuple[int, ...]:
        """Of the shape."""

    @abstractmethod
    def filled(self, signal: Signal, level: int) -> Iterator[tuple[str, float, float, Signal]]:
        """Variants and strengths, the bits of a signal, and what comes of it."""

    def rows(self) -> Iterator[Row]:
        """Quality of each signal at each level, variant after variant."""
        first = self.trial.simulation(self.trial.signals[0], self.numbers)
        for unshaped, (number, signal) in product(self.noise_levels, enumerate(self.trial.signals)):
            level = level_of_same_size(first, unshaped)
            for variant, strength, bits, decoded in self.filled(signal, level):
                row: Row = {"kind": self.name, "level": unshaped, "signal": number}
                row |= {"filled": variant, "strength": strength, "rate": round(bits / self.trial.per_unit(signal), 4)}
                row |= {measure.column: "" for measure in ALL_MEASURES}
                for measure in self.quality:
                    row[measure.column] = round(measure.of(signal, decoded) or 0.0, 5)
                yield row


def strengths() -> Iterator[tuple[str, tuple[str, ...], float]]:
    """All variants, what is filled in them, and their strengths."""
    for variant, (parts, some) in VARIANTS.items():
        for strength in some:
            yield variant, parts, strength


@dataclass(frozen=True, eq=False)
class SoundFilling(Filling):
    """Sounds under a lapped prior.

    Attributes:
        energies: mean energies of bands of class 0 over the base noise's, by how surely that was predicted.
    """

    trial: Sounds
    energies: Array

    @property
    def numbers(self) -> tuple[int, ...]:
        return lapped.perceptual_shape(self.trial.prior).numbers

    def filled(self, signal: Signal, level: int) -> Iterator[tuple[str, float, float, Signal]]:
        simulation = self.trial.simulation(signal, self.numbers)
        assert isinstance(simulation, lapped.SoundSimulation)
        coder, segments = SimulatedCoder(), []
        for frames in simulation.recording.segments:
            weights = simulation.recording.weights(frames)
            decoded, _ = lapped.coded_segment(self.trial.prior, weights, level, simulation.noise, coder)
            parts = sound_parts(self.trial.prior, weights[0] / transform.noise_deviation(level), self.energies)
            whole = np.zeros_like(weights)
            whole[..., : decoded.shape[-1]] = decoded
            segments.append((whole, parts))
        bits, hop = coder.bits + coder.symbols.bits, self.trial.hop
        for variant, chosen, strength in strengths():
            generator = np.random.default_rng(_SEED)
            noisy = []
            for whole, parts in segments:
                deviation = strength * np.sqrt(sum((parts[name] for name in chosen), np.zeros(whole.shape[1:])))
                noise = transform.noise_deviation(level) * deviation * generator.standard_normal(deviation.shape)
                noisy.append(whole + noise)
            values = transform.render(noisy, 1, signal.points, hop, hop)
            clipped = np.clip(values, -1, 1)
            yield variant, strength, bits, from_values(clipped, "sound", signal.sample_rate, signal.bit_depth)


def sound_parts(prior: LappedPrior, true: Array, energies: Array) -> Parts:
    """Variances of what is missing of the weights of the segment that was coded last, over the base noise's.

    Args:
        prior: that it was coded with.
        true: its weights over the base noise's deviation, ``(frames, hop)``.
        energies: see :class:`SoundFilling`.

    Returns:
        ``(frames, hop)`` each.
    """
    assert isinstance(prior, RecordingLapped)
    (segment,) = prior.segments
    parts = {name: np.zeros(true.shape) for name in ("pruned", "error")}
    quiet, expected = quiet_bands(prior, true.shape[1] // BAND)
    for (level, phase), moments in prior.moments_of.items():
        pitch = features.weight_pitches(segment.bins, segment.hop, prior.sample_rate, phase)
        shaped = lapped.perceptual_shape(prior).shaped(moments, pitch)
        predicted = moments.deviations(np.arange(len(moments.deviation)))
        found = missing(shaped, predicted, shaped.deviation >= 0)
        for name, values in found.items():
            place = features.weights_of(parts[name][:, : segment.bins], level, phase)
            place[...] = values.reshape(place.shape)
    parts["quiet"] = np.where(quiet, energies[sureness_of(expected)], 0).repeat(BAND, axis=1)
    parts["doubt"] = np.where(quiet, 1 - expected, 0).repeat(BAND, axis=1)
    beyond = np.arange(true.shape[1] // BAND) >= segment.bands
    energy = np.square(true.reshape(len(true), -1, BAND)).mean(axis=2)
    parts["known"] = np.where(quiet | beyond, energy, 0).repeat(BAND, axis=1)
    return parts


def quiet_bands(prior: RecordingLapped, bands: int) -> tuple[npt.NDArray[np.bool_], Array]:
    """Which bands are of class 0, and the probability that was predicted of it, ``(frames, bands)`` each.

    Args:
        prior: with which a segment was coded.
        bands: of a frame, those beyond the limit included.
    """
    (segment,) = prior.segments
    expected = np.zeros((segment.count, bands))
    classes = np.ones((segment.count, bands), dtype=np.int64)
    margin_rows, margin = ((have - want) // 2 for have, want in zip(
        segment.padded_classes.shape[2:], (segment.count, segment.bands), strict=True
    ))  # fmt: skip
    inside = segment.padded_classes[0, 0, margin_rows : margin_rows + segment.count, margin : margin + segment.bands]
    classes[:, : segment.bands] = inside
    for (level, parity), probabilities in prior.quiet_of.items():
        first, step = features.frames_of(level)
        place = expected[first::step, parity : segment.bands : features.PARITIES]
        place[...] = probabilities.reshape(place.shape)
    return classes == 0, expected


def sureness_of(probabilities: Array) -> npt.NDArray[np.int64]:
    """Buckets of probabilities of class 0, by octaves of their odds."""
    likely = np.clip(probabilities, 1e-6, 1 - 1e-6)
    octaves: Array = np.clip(np.rint(np.log2(likely / (1 - likely))) + _SURENESS // 2, 0, _SURENESS - 1)
    return octaves.astype(np.int64)


def energies_of_quiet(trial: Sounds, noise_levels: Sequence[int]) -> Array:
    """Mean energies of bands of class 0 of recordings, over the base noise's, by how surely that was predicted.

    Args:
        trial: with recordings from which to learn it.
        noise_levels: without a shape.
    """
    prior, sums, counts = trial.prior, np.zeros(_SURENESS), np.zeros(_SURENESS)
    assert isinstance(prior, RecordingLapped)
    numbers = lapped.perceptual_shape(prior).numbers
    first = trial.simulation(trial.signals[0], numbers)
    for unshaped, signal in product(noise_levels, trial.signals):
        level = level_of_same_size(first, unshaped)
        simulation = trial.simulation(signal, numbers)
        assert isinstance(simulation, lapped.SoundSimulation)
        for frames in simulation.recording.segments:
            weights = simulation.recording.weights(frames)
            lapped.coded_segment(prior, weights, level, simulation.noise, SimulatedCoder())
            true = weights[0] / transform.noise_deviation(level)
            energy = np.square(true.reshape(len(true), -1, BAND)).mean(axis=2)
            quiet, expected = quiet_bands(prior, true.shape[1] // BAND)
            sureness = sureness_of(expected)[quiet]
            sums += np.bincount(sureness, energy[quiet], minlength=_SURENESS)
            counts += np.bincount(sureness, minlength=_SURENESS)
    energies: Array = sums / np.maximum(counts, 1)
    return energies


@dataclass(frozen=True, eq=False)
class PictureFilling(Filling):
    """Images under a pyramid prior."""

    trial: Pictures

    @property
    def numbers(self) -> tuple[int, ...]:
        return pyramid.PERCEPTUAL.numbers

    def filled(self, signal: Signal, level: int) -> Iterator[tuple[str, float, float, Signal]]:
        prior, simulation = self.trial.prior, self.trial.simulation(signal, self.numbers)
        assert isinstance(simulation, pyramid.ImageSimulation)
        assert isinstance(prior, RecordingPyramid)
        coder, height = SimulatedCoder(), signal.shape[0]
        (plane,) = simulation.planes
        rows = simulation.rendering(plane, level, coder).rows(slice(0, height))
        bits = coder.bits + coder.symbols.bits
        for variant, chosen, strength in strengths():
            if variant in ("pruned", "doubt", "known"):  # pictures have no bands without predictions
                continue
            generator = np.random.default_rng(_SEED)
            picture = np.zeros((3, *haar.sizes(signal.shape)[FINEST]))
            for number in range(FINEST - 1, -1, -1):
                details = strength * level_noise(prior, number, chosen, generator)
                # in finer steps, as what is whole is rounded
                scale = levels.noise_deviation(level + pyramid.PERCEPTUAL.finer_at(number)) * _FINER_STEPS
                picture = haar.synthesise(picture, details * scale, haar.sizes(signal.shape)[number])
            noise = np.einsum("khw,kc->hwc", picture / _FINER_STEPS, haar.COLOUR)
            values = np.clip((rows + noise) / HALF_RANGE, -1, 1).astype(np.float32)
            yield variant, strength, bits, from_values(values, "image", None, signal.bit_depth)


def level_noise(prior: RecordingPyramid, number: int, chosen: Sequence[str], generator: np.random.Generator) -> Array:
    """Noise in the place of what is missing of the details of a level, over its noise's deviation.

    Args:
        prior: that a picture was coded with.
        number: of the level.
        chosen: what is filled.
        generator: of the noise.

    Returns:
        ``(3 colours, 3, rows, columns)``.
    """
    whole: Array = np.zeros(0)
    for (of, stage), (level, moments, predicted) in prior.stages.items():
        if of != number:
            continue
        if not whole.size:
            whole = np.zeros((3, haar.BANDS, *level.size))
        parts = missing(moments, predicted, moments.deviation >= 0)
        variance = sum((parts[name] for name in chosen if name in parts), np.zeros(len(predicted)))
        values = np.sqrt(variance) * generator.standard_normal(len(variance))
        colours = whole[1:] if stage in levels.CHROMA_STAGES else whole[:1]
        values, first = values.reshape(*colours.shape[:2], -1), 0
        for phase in levels.stage_phases(stage):
            part = colours[(slice(None), slice(None), *level.places(phase, level.all_units))]
            count = part.shape[2] * part.shape[3]
            part[...] = values[..., first : first + count].reshape(part.shape)
            first += count
    return whole


def signals_in(folder: Path, count: int, seconds: float, every: int = 1, *, between: bool = False) -> list[Signal]:
    """Signals of a folder, spread over every so many of it; or others between them."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".webp", ".flac", ".wav"))[::every]
    edges = np.linspace(0, len(paths) - 1, 2 * count + 1).round().astype(int)
    places = edges[2::2] - 1 if between else edges[1::2]
    return [shortened(media.read_signal(paths[place]), 256, seconds) for place in places]


def speech(folder: Path) -> Filling:
    """Recordings of a folder under speech-5."""
    quality = (measures.VISQOL, measures.ESTOI, measures.PESQ)
    return sounds("speech", "speech-5", (22, 30), quality, (folder, 4, 4.0))


def music(folder: Path) -> Filling:
    """Those recordings of a folder that general-2 was not learned from, which are every fourth one."""
    return sounds("music", "general-2", (24,), (measures.VISQOL,), (folder, 3, 5.0, 4))


def sounds(
    name: str, prior: str, noise_levels: Sequence[int], quality: Sequence[Measure], which: tuple[Any, ...]
) -> Filling:
    """Sounds, and what is learned of their quiet bands from others; ``which`` as :func:`signals_in` takes it."""
    recorder = recording(RecordingLapped, library.find(prior))
    energies = energies_of_quiet(Sounds(recorder, signals_in(*which, between=True), noise_levels), noise_levels)
    return SoundFilling(name, Sounds(recorder, signals_in(*which), noise_levels), noise_levels, quality, energies)


def photographs(folder: Path) -> Filling:
    """Photographs of a folder."""
    recorder = recording(RecordingPyramid, library.find("photo-8"))
    quality = (measures.SSIMULACRA_2, measures.MS_SSIM)
    levels = Pictures.usual_levels
    return PictureFilling("photographs", Pictures(recorder, signals_in(folder, 4, 0), levels), levels, quality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="folder of images that photo-8 was not learned from")
    parser.add_argument("--speech", type=Path, help="folder of recordings; speech-5")
    parser.add_argument("--music", type=Path, help="folder of recordings; general-2")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, help="that are tried")
    arguments = parser.parse_args()
    for variant in set(VARIANTS) - set(arguments.variants):
        del VARIANTS[variant]
    torch.set_num_threads(1)
    rows: list[Row] = [dict(row) for row in read_csv("fill.csv") if getattr(arguments, row["kind"]) is None]
    for kind in (photographs, speech, music):
        folder = getattr(arguments, kind.__name__)
        if folder is None:
            continue
        for row in kind(folder).rows():
            rows.append(row)
            print(*row.values(), flush=True)
        write_csv("fill.csv", rows)
    tables(rows)


def tables(rows: Sequence[Row]) -> None:
    """Write the means over the signals of each kind."""
    notes = "\n".join(line for line in (__doc__ or "").splitlines()[5:-2])
    table = []
    for kind, variant, strength in dict.fromkeys((row["kind"], row["filled"], str(row["strength"])) for row in rows):
        some = [row for row in rows if (row["kind"], row["filled"], str(row["strength"])) == (kind, variant, strength)]
        noise_levels = list(dict.fromkeys(str(row["level"]) for row in some))

        def means(column: str, digits: int, some: Sequence[Row] = some, at: Sequence[str] = noise_levels) -> str:
            groups = [[row for row in some if str(row["level"]) == level] for level in at]
            if any(row[column] == "" for row in some):
                return text(None)
            return " ".join(
                text(float(np.mean([float(str(row[column])) for row in group])), digits) for group in groups
            )

        shown: Row = {"signals": kind, "filled": variant, "strength": strength}
        shown["rate"] = means("rate", 2)
        table.append(shown | {measure.title: means(measure.column, measure.digits + 1) for measure in ALL_MEASURES})
    write_table("fill.md", "Noise in the place of what is left out", notes, table)


if __name__ == "__main__":
    main()
