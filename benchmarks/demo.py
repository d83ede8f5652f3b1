"""Encode and decode a photograph and a synthesised sound with the command line, and show what comes out.

python benchmarks/demo.py --output demo
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import skimage

from combiner_cli.media import files as media
from combiner_cli.signals.signal import Signal

RATE = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(skimage.__file__).parent / "data" / "astronaut.png", folder / "photograph.png")
    media.write_signal(vowels(), folder / "sound.wav")
    for source, suffix in (("photograph.png", ".png"), ("sound.wav", ".wav")):
        stem = folder / Path(source).stem
        combiner("encode", folder / source, "-o", f"{stem}.cmb", "-f")
        combiner("info", f"{stem}.cmb")
        combiner("decode", f"{stem}.cmb", "-o", f"{stem}-decoded{suffix}", "-f")
    combiner("decode", folder / "photograph.cmb", "-o", folder / "photograph-twice.png", "--scale", 2, "-f")


def combiner(*arguments: object) -> None:
    """Run a command and show it with what it prints."""
    words = [str(argument) for argument in arguments]
    print("$ combiner", *words, flush=True)
    subprocess.run([sys.executable, "-m", "combiner_cli", *words], check=True)


def vowels() -> Signal:
    """Two seconds that sound like vowels: pulses at a falling pitch through moving resonances."""
    time = np.arange(2 * RATE) / RATE
    phase = np.cumsum(140 - 30 * time) / RATE
    first, second = 700 - 250 * np.sin(2 * np.pi * time), 1200 + 500 * np.sin(3 * np.pi * time)
    sound = np.zeros_like(time)
    for harmonic in range(1, 25):
        frequency = harmonic * (140 - 30 * time)
        level = sum(1 / (1 + ((frequency - centre) / 120) ** 2) for centre in (first, second))
        sound += level * np.sin(2 * np.pi * harmonic * phase)
    envelope = np.sin(np.pi * time / 2) ** 0.5 * (0.6 + 0.4 * np.sin(8 * np.pi * time))
    samples = 0.4 * envelope * sound / np.abs(sound).max()
    return Signal("sound", (np.rint(samples * 32767) / 32768).astype(np.float32)[:, None], RATE, 16)


if __name__ == "__main__":
    main()
