"""Everything in which a report on images differs from one on sounds, in one table."""

from __future__ import annotations

from dataclasses import dataclass

from ...signals.signal import Kind


@dataclass(frozen=True)
class Wording:
    """What is particular to the report on a kind of signal.

    Attributes:
        rate: in words, of curves.
        rate_digits: behind the point, of the rate of an example.
        most_files: that examples are made of.
        part: of a file that is shown.
        parts: the same at the beginning of a sentence.
        part_width: in pixels that it takes at least.
        most_part_width: that it takes at most.
        speed: its unit.
        points_per_unit: pixels or seconds, of that unit.
    """

    rate: str
    rate_digits: int
    most_files: int
    part: str
    parts: str
    part_width: int
    most_part_width: int
    speed: str
    points_per_unit: float


WORDING: dict[Kind, Wording] = {
    "image": Wording("bits per pixel", 3, 3, "crop", "Crops", 150, 224, "megapixels a second", 1e6),
    "sound": Wording("kbit/s of all channels", 1, 2, "spectrogram", "The beginnings", 200, 320, "times real time", 1),
}
