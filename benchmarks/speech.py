"""Speech: whole files of the command line, of the first three seconds of recordings, beside other codecs.

    python benchmarks/speech.py speech/test --published published_curves.json --jobs 2
    python benchmarks/speech.py speech/test --baselines
    python benchmarks/speech.py speech/test --spectrogram out.png --clip 1688-142285-0001 --rate 16

What is measured, and what is kept for the next time, is described in sound.py.
"""

from __future__ import annotations

from pathlib import Path

import sound

from combiner_cli.bench import measures
from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

FRAMES, RATE = 48000, 16000
TEST_CLEAN = "librispeech_full_kbps"


def main() -> None:
    sound.run(STUDY, __doc__)


def first_seconds(path: Path) -> Signal | None:
    """The first three seconds of a recording, if it has as many, at 16 kHz."""
    signal = media.read_signal(path)
    if signal.sample_rate != RATE or signal.points < FRAMES:
        return None
    return Signal("sound", signal.samples[:FRAMES, :1], RATE, signal.bit_depth)


def clips(folder: Path) -> dict[str, Signal]:
    """Every recording of three seconds or more."""
    by_name = {path.stem: first_seconds(path) for path in sorted(folder.rglob("*.flac"))}
    return {name: clip for name, clip in by_name.items() if clip is not None}


STUDY = sound.Study(
    name="speech",
    rates=(16, 8, 32, 6, 24, 12, 48, 4, 64),
    clips=clips,
    about="The first 3 s of the recordings of LibriSpeech test-other, 16 kHz, mono.",
    measure=measures.ESTOI,
    peers={
        "RECOMBINER": ("RECOMBINER", TEST_CLEAN),
        "COIN++": ("COIN++", TEST_CLEAN),
        "MP3, published": ("MP3_lame3.100", TEST_CLEAN),
    },
    footing="MP3",
    ticks=(4, 6, 8, 12, 16, 24, 32, 48, 64),
    speaker=lambda name: name.split("-")[0],
)


if __name__ == "__main__":
    main()
