"""What decoders say to damaged files: zstd, FLAC, WebP, AVIF, JPEG XL and combiner.

python benchmarks/damage.py kodim05.png recording.flac

Every program decodes copies of a small file of its own in which one byte is changed, of which the end is missing, or to
which bytes are added. What comes out is compared with what comes out of the whole file.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import write_table

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.errors import CombinerError
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Signal

SEED = 7
SIDE = (96, 128)
SECONDS = 1
CHANGES, TRUNCATIONS, LONGEST = 2000, 200, 64
THROUGH_THE_COMMAND = 40  # of combiner's cases, to see that it is as the library says
PATIENCE = 20  # seconds


@dataclass(frozen=True)
class Decoder:
    """A program under test.

    Attributes:
        name: of the format.
        data: a whole file.
        decode: gives the samples, or other bytes, of a file; ``None`` if it refuses.
    """

    name: str
    data: bytes
    decode: Callable[[bytes], bytes | None]


class CrashError(Exception):
    """A program ended by a signal, or did not end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--only", nargs="*", help="names of formats")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, sound = inputs(arguments.photograph, arguments.recording, folder)
        decoders = [*other_programs(image, sound, folder), *combiner_files(image, sound, folder)]
        rows = [
            row
            for decoder in decoders
            if not arguments.only or decoder.name in arguments.only
            for row in rows_of(decoder)
        ]
    versions = "; ".join(f"{name} {version}" for name, version in tools().items())
    notes = (
        f"One photograph of {SIDE[1]}x{SIDE[0]} pixels and {SECONDS} s of speech, each coded by the program itself "
        f"with its usual settings. {CHANGES} changes of one byte to another value, {TRUNCATIONS} truncations, "
        f"1 to {LONGEST} bytes added (zeros, and noise); places and values by chance, the same for all files of a "
        "length. Refused: an exit code other than 0, or no output. Harmless: exit code 0 and the same samples. "
        f"Silently wrong: exit code 0 and other samples. Programs: {versions}. combiner was asked through its "
        f"library, and about {THROUGH_THE_COMMAND} cases of each file through the command, which said the same."
    )
    write_table("damage.md", "Damaged files", notes, rows)


def inputs(photograph: Path, recording: Path, folder: Path) -> tuple[Path, Path]:
    """A small PNG and a small WAV."""
    image = media.read_signal(photograph)
    media.write_signal(Signal("image", np.ascontiguousarray(image.samples[: SIDE[0], : SIDE[1], :3])), folder / "x.png")
    sound = media.read_signal(recording)
    assert sound.sample_rate is not None
    samples = sound.samples[: SECONDS * sound.sample_rate, :1]
    media.write_signal(Signal("sound", samples, sound.sample_rate, 16), folder / "x.wav")
    return folder / "x.png", folder / "x.wav"


def other_programs(image: Path, sound: Path, folder: Path) -> list[Decoder]:
    """The programs of this machine, those that are there."""
    wanted = {
        "zstd (of a PPM)": ("zstd -q -f {source} -o {coded}", "zstd -q -d -f {coded} -o {out}", "zst", "out"),
        "FLAC": ("flac -s -f {source} -o {coded}", "flac -s -d -f {coded} -o {out}", "flac", "wav"),
        "WebP": ("cwebp -quiet {source} -o {coded}", "dwebp -quiet {coded} -ppm -o {out}", "webp", "ppm"),
        "AVIF": ("avifenc -s 6 {source} {coded}", "avifdec {coded} {out}", "avif", "png"),
        "JPEG XL": ("cjxl --quiet {source} {coded}", "djxl --quiet {coded} {out}", "jxl", "ppm"),
    }
    decoders = []
    for name, (encode, decode, suffix, output) in wanted.items():
        if any(shutil.which(command.split()[0]) is None for command in (encode, decode)):
            continue
        source = sound if name == "FLAC" else image
        if name.startswith("zstd"):
            source = folder / "x.ppm"
            media.write_signal(media.read_signal(image), source)
        coded = folder / f"whole.{suffix}"
        subprocess.run(_filled(encode, source=source, coded=coded), check=True, capture_output=True)
        decoders.append(
            Decoder(name, coded.read_bytes(), by_program(decode, folder / f"x.{suffix}", folder / f"y.{output}"))
        )
    return decoders


def by_program(command: str, coded: Path, out: Path) -> Callable[[bytes], bytes | None]:
    def decode(data: bytes) -> bytes | None:
        coded.write_bytes(data)
        out.unlink(missing_ok=True)
        try:
            done = subprocess.run(
                _filled(command, coded=coded, out=out), capture_output=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CrashError from error
        if done.returncode < 0 or done.returncode in (134, 136, 139):
            raise CrashError
        if done.returncode or not out.exists():
            return None
        if out.suffix in (".png", ".wav"):  # what is written around the samples does not matter
            try:
                return media.read_signal(out).samples.tobytes()
            except CombinerError:
                return b"cannot be read"
        return out.read_bytes()

    return decode


def combiner_files(image: Path, sound: Path, folder: Path) -> list[Decoder]:
    """combiner, with a photograph and with a sound."""
    decoders = []
    for title, source in (("combiner (image)", image), ("combiner (sound)", sound)):
        coded = folder / "whole.cmb"
        subprocess.run(
            [sys.executable, "-m", "combiner_cli", "encode", source, "-o", coded, "-f"], check=True, capture_output=True
        )
        decoders.append(Decoder(title, coded.read_bytes(), by_library(folder)))
    return decoders


def by_library(folder: Path) -> Callable[[bytes], bytes | None]:
    asked = collections.Counter[str]()

    def decode(data: bytes) -> bytes | None:
        try:
            samples: bytes | None = pipeline.decode(File.parse(data), library.find_id).samples.tobytes()
        except CombinerError:
            samples = None
        asked["cases"] += 1
        if asked["cases"] % ((CHANGES + TRUNCATIONS + 2 * LONGEST) // (3 * THROUGH_THE_COMMAND)) == 0:
            (folder / "damaged.cmb").write_bytes(data)
            command = [sys.executable, "-m", "combiner_cli", "decode", str(folder / "damaged.cmb"), "-f"]
            done = subprocess.run(command, capture_output=True, check=False)
            if (samples is None, done.returncode) not in ((True, 4), (False, 0)):
                raise AssertionError(f"exit code {done.returncode}: {done.stderr.decode()}")
        return samples

    return decode


def _filled(command: str, **names: Path) -> list[str]:
    return [part.format(**names) for part in command.split()]


def rows_of(decoder: Decoder) -> list[dict[str, object]]:
    """Outcomes of a program by kind of damage."""
    right = decoder.decode(decoder.data)
    assert right is not None
    rows: list[dict[str, object]] = []
    for kind, cases in damaged(decoder.data).items():
        counts = collections.Counter(_outcome(decoder, data, right) for data in cases)
        row: dict[str, object] = {
            "format": decoder.name,
            "bytes": len(decoder.data),
            "damage": kind,
            "cases": len(cases),
        }
        row |= {outcome: counts[outcome] for outcome in ("refused", "harmless", "silently wrong", "crash")}
        rows.append(row)
        print(row, flush=True)
    return rows


def _outcome(decoder: Decoder, data: bytes, right: bytes) -> str:
    try:
        found = decoder.decode(data)
    except CrashError:
        return "crash"
    if found is None:
        return "refused"
    return "harmless" if found == right else "silently wrong"


def damaged(data: bytes) -> dict[str, list[bytes]]:
    """Damaged copies by kind of damage."""
    dice = random.Random(SEED)
    changed = []
    for _ in range(CHANGES):
        place = dice.randrange(len(data))
        changed.append(data[:place] + bytes([data[place] ^ dice.randrange(1, 256)]) + data[place + 1 :])
    cut = [data[: dice.randrange(len(data))] for _ in range(TRUNCATIONS)]
    added = [data + more for count in range(1, LONGEST + 1) for more in (bytes(count), dice.randbytes(count))]
    return {"a byte changed": changed, "the end missing": cut, "bytes added": added}


def tools() -> dict[str, str]:
    """Versions of the programs."""
    commands = {"zstd": "-V", "flac": "-v", "dwebp": "-version", "avifdec": "--version", "djxl": "--version"}
    versions = {}
    for name, option in commands.items():
        if shutil.which(name):
            done = subprocess.run([name, option], capture_output=True, text=True, check=False)
            words = (done.stdout + done.stderr).replace("v", " ").replace(",", " ").split()
            versions[name] = next((word for word in words if word[:1].isdigit() and "." in word), "")
    return versions


if __name__ == "__main__":
    main()
