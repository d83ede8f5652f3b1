"""Music: whole files of the command line at four rates, of clips at 44.1 kHz, mono and stereo, beside other codecs.

    python benchmarks/music.py music/ --jobs 2
    python benchmarks/music.py music/ --baselines
    python benchmarks/music.py music/ --spectrogram out.png --clip loop_3d_printer --rate 48

Of the folder's clips in the order of their names every fourth is taken, the first one included; the others are for
learning. What is measured, and what is kept for the next time, is described in sound.py.
"""

from __future__ import annotations

import operator
from pathlib import Path

import numpy as np
import sound

from combiner_cli import media
from combiner_cli.signals import Signal

SECONDS = 10
EVERY = 4
FLOOR = 1e-6  # of the power of the loudest place of the original


def main() -> None:
    sound.run(STUDY, __doc__)


def clips(folder: Path) -> dict[str, Signal]:
    """At most the first seconds of the clips that nothing was learned from."""
    paths = sorted(folder.rglob("*.flac"))[::EVERY]
    return {path.stem: sound.beginning(media.read_signal(path), SECONDS) for path in paths}


def spectral_distance(original: Signal, decoded: Signal) -> float:
    """Distance of the logarithms of two spectrograms: rms over frequencies, mean over time and channels, in dB."""
    distances = []
    for one, other in zip(original.samples.T, decoded.samples.T, strict=True):
        powers = [
            sound.short_time_power(samples.astype(np.float64), original.sample_rate or 1) for samples in (one, other)
        ]
        floor = FLOOR * max(powers[0].max(), np.finfo(np.float64).tiny)
        levels = [10 * np.log10(np.maximum(power, floor)) for power in powers]
        distances.append(np.sqrt(np.square(levels[0] - levels[1]).mean(axis=1)).mean())
    return float(np.mean(distances))


STUDY = sound.Study(
    name="music",
    rates=(48, 96, 24, 160),
    clips=clips,
    about=f"Every fourth of the clips, which nothing was learned from; at most {SECONDS} s, 44.1 kHz, mono and stereo; "
    "a rate is that of all channels.",
    measure=sound.Measure(
        "lsd",
        "LSD",
        spectral_distance,
        False,
        operator.neg,
        "Log-spectral distance in dB, less is better: windows of 23 ms, rms over frequencies, mean over time "
        "and channels. What is more than 60 dB under the loudest place of a clip counts as 60 dB under it.",
    ),
    peers={},
    anchors={},
    ticks=(24, 32, 48, 64, 96, 128, 160),
)


if __name__ == "__main__":
    main()
