"""Puts together what the prior general-2 is learned from: the music that music.py does not measure, and some speech.

    python benchmarks/general.py music/ speech/train general/
    combiner learn-prior general/ --family lapped ...

The rest of the command is in priors/general-2.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import music

SPEECH_EVERY = 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="folder of clips")
    parser.add_argument("speech", type=Path, help="folder of utterances")
    parser.add_argument("output", type=Path, help="folder to be made, of links")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True)
    for number, path in enumerate(sorted(arguments.music.rglob("*.flac"))):
        if number % music.EVERY:
            (arguments.output / path.name).symlink_to(path.resolve())
    for path in sorted(arguments.speech.glob("*.flac"))[::SPEECH_EVERY]:
        (arguments.output / f"speech_{path.name}").symlink_to(path.resolve())


if __name__ == "__main__":
    main()
