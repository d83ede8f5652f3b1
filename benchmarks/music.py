"""Music: whole files of the command line at four rates, of clips at 44.1 kHz, mono and stereo, beside other codecs.

    python benchmarks/music.py music/ --jobs 2
    python benchmarks/music.py music/ --baselines
    python benchmarks/music.py music/ --spectrogram out.png --clip loop_3d_printer --rate 48

Of the folder's clips in the order of their names every fourth is taken, the first one included; the others are for
learning. What is measured, and what is kept for the next time, is described in sound.py.
"""

from __future__ import annotations

from pathlib import Path

import sound

from combiner_cli.bench import measures
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

SECONDS = 10
EVERY = 4


def main() -> None:
    sound.run(STUDY, __doc__)


def clips(folder: Path) -> dict[str, Signal]:
    """At most the first seconds of the clips that nothing was learned from."""
    paths = sorted(folder.rglob("*.flac"))[::EVERY]
    return {path.stem: sound.beginning(media.read_signal(path), SECONDS) for path in paths}


STUDY = sound.Study(
    name="music",
    rates=(48, 96, 24, 160),
    clips=clips,
    about=f"Every fourth of the clips, which nothing was learned from; at most {SECONDS} s, 44.1 kHz, mono and stereo; "
    "a rate is that of all channels.",
    measure=measures.LSD,
    peers={},
    footing=None,
    ticks=(24, 32, 48, 64, 96, 128, 160),
)


if __name__ == "__main__":
    main()
