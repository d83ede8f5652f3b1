"""Images against sounds: everything in which one kind of signal differs from the other, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .signal import Kind

Tune = Literal["perceptual", "psnr"]


@dataclass(frozen=True)
class Traits:
    """What is particular to a kind of signal.

    Attributes:
        article: the kind with its indefinite article.
        axes: number of coordinate axes.
        point: name of one coordinate: a pixel or a sample instant.
        rate_name: of an option that asks for a rate, and of the rate in JSON.
        rate_unit: in which people count the rate of a file, as a short name.
        rate_words: the same in words.
        suffix: of a decoded file where none is asked for; its format holds every signal of the kind exactly.
        most_points: coordinates that a file may declare, unless the caller says otherwise.
        limit_option: of the command line, that raises this limit.
    """

    article: str
    axes: int
    point: str
    rate_name: str
    rate_unit: str
    rate_words: str
    suffix: str
    most_points: int
    limit_option: str


KINDS: dict[Kind, Traits] = {
    "image": Traits("an image", 2, "pixel", "bpp", "bpp", "bits per pixel", ".png", 2**26, "--max-pixels"),
    "sound": Traits("a sound", 1, "sample", "kbps", "kbit/s", "kilobits per second", ".wav", 2**28, "--max-seconds"),
}
