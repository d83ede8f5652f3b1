"""Makes all golden and hostile files anew, and the tiny priors that they need: how those of today were made.

    PYTHONPATH=tests python tests/golden/make.py --anew

What stands here goes with a format that is not yet a promise. Once it is one, `add.py` adds files, and none is made
again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import add
import msgpack
import numpy as np
from PIL import Image
from support.media_files import gamma_curve, rgb_profile
from support.priors import random_pyramid, tiny_siren
from support.signals import smooth_image, tone

from combiner_cli.codec import pipeline
from combiner_cli.container import metadata
from combiner_cli.container.file import File, with_metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.family import EncodingOptions, Prior, Target
from combiner_cli.priors import library, store
from combiner_cli.signals.kinds import Tune
from combiner_cli.signals.signal import Signal

GOLDEN = Path(__file__).parent
HOSTILE = GOLDEN.parent / "hostile"
MADE_HERE = {".cmb", ".json", ".safetensors", ".wav"}

QUICK = EncodingOptions(effort=1)
# as published: groups of as many bits as the prior says, each for itself
PUBLISHED = EncodingOptions(effort=1, search="astar", refinement="gradient")


@dataclass(frozen=True)
class Golden:
    """A golden file.

    Attributes:
        name: of the file.
        signal: that is in it.
        prior: name of a tiny prior, or of a shipped one.
        target: of the file; ``None`` for the prior's own rate.
        options: of the encoder.
        metadata: as the file holds them, packed.
    """

    name: str
    signal: Signal
    prior: str
    target: Target | None = None
    options: EncodingOptions = QUICK
    metadata: bytes = b""


@dataclass(frozen=True)
class Hostile:
    """A file whose metadata once did harm.

    Attributes:
        name: of the file.
        golden: name of the golden file that it is but for the metadata.
        parts: of the metadata, by name.
    """

    name: str
    golden: str
    parts: dict[str, object]


def tiny_priors() -> dict[str, Prior]:
    """The priors that are kept beside the golden files."""
    return {
        "tiny": tiny_siren("image", 16, name="tiny"),
        "tiny-chained": tiny_siren("image", 8, name="tiny-chained"),
        "tiny-sound": tiny_siren("sound", 16, name="tiny-sound"),
    }


def exactly(size: int) -> Target:
    """A file of so many bytes."""
    return Target("size", size)


def about(bits_per_point: float, tune: Tune = "psnr") -> Target:
    """A file of such a rate, should the signal be a typical one."""
    return Target("rate", bits_per_point, tune)


def deep_tone(frames: int, channels: int, rate: int) -> Signal:
    """A chord in steps of 24 bits."""
    sound = tone(frames, channels, rate)
    fine = np.rint(sound.samples * np.float32(0.77) * 2**23) / 2**23
    return Signal("sound", fine.astype(np.float32), rate, 24)


def golden_files() -> Iterator[Golden]:
    """Every family, every number of channels and bit depth, the smallest signals, and several rates and searches."""
    yield Golden("rgb", smooth_image(13, 21), "tiny", options=PUBLISHED)
    yield Golden("rgba", smooth_image(10, 10, 4), "tiny", options=PUBLISHED)
    yield Golden("grey16", smooth_image(9, 7, 1, 16), "tiny", options=PUBLISHED)
    yield Golden("one-pixel", smooth_image(1, 1), "tiny", options=PUBLISHED)
    yield Golden("stereo", tone(300, 2), "tiny-sound", options=PUBLISHED)
    yield Golden("chained-published", smooth_image(11, 5), "tiny-chained", options=PUBLISHED)
    yield Golden("chained", smooth_image(15, 9), "tiny-chained")
    yield Golden("image-metadata", smooth_image(11, 5), "tiny-chained", metadata=metadata.pack(image_metadata()))
    yield Golden("sound-tags", tone(300), "tiny-sound", metadata=metadata.pack(sound_tags()))
    for number in (1, 2, 3):
        yield Golden(f"cifar10-{number}", smooth_image(32, 32, seed=number), f"cifar10-{number}")
    yield Golden("cifar10-4", smooth_image(32, 32), "cifar10-4", about(0.7))
    yield Golden("cifar10-5", smooth_image(32, 32, 4), "cifar10-5", about(1.1))
    yield Golden("cifar10-6", smooth_image(33, 31, 1), "cifar10-6", exactly(400))
    yield Golden("cifar10-6-pixel", smooth_image(1, 1), "cifar10-6", exactly(85))
    yield Golden("photo-1", smooth_image(50, 70), "photo-1")
    yield Golden("photo-2", smooth_image(50, 70), "photo-2")
    yield Golden("speech-1", tone(900), "speech-1")
    yield Golden("photo-8", smooth_image(75, 102), "photo-8", exactly(900), EncodingOptions())
    yield Golden("photo-8-blocks", smooth_image(70, 300, 3, 16), "photo-8", about(0.4))
    yield Golden("photo-8-deep", smooth_image(17, 23, 3, 16), "photo-8", exactly(300))
    yield Golden("photo-8-grey", smooth_image(21, 40, 1), "photo-8", about(0.8))
    yield Golden("photo-8-grey-alpha", smooth_image(30, 11, 2), "photo-8", exactly(200))
    yield Golden("photo-8-pixel", smooth_image(1, 1), "photo-8", exactly(30))
    yield Golden("photo-8-rgba", smooth_image(33, 20, 4), "photo-8", exactly(700))
    yield Golden("photo-8-effort", smooth_image(40, 60), "photo-8", exactly(500), EncodingOptions(effort=9))
    yield Golden("graphics-2", smooth_image(24, 64, 4), "graphics-2", about(0.5))
    yield Golden("photo-8-perceptual", smooth_image(75, 102), "photo-8", about(0.5, "perceptual"))
    yield Golden("graphics-2-perceptual", smooth_image(30, 41, 4), "graphics-2", about(0.5, "perceptual"))
    yield Golden("general-2-perceptual", tone(6000, 2, 44100), "general-2", about(0.4, "perceptual"))
    yield Golden("speech-5-perceptual", tone(6000), "speech-5", about(0.4, "perceptual"))
    yield Golden("general-2", tone(6000, 2, 44100), "general-2", exactly(1500))
    yield Golden("general-2-24", deep_tone(4000, 1, 48000), "general-2", about(0.5))
    yield Golden("general-2-pair-24", deep_tone(3001, 2, 44100), "general-2", exactly(400))
    yield Golden("speech-5", tone(3000), "speech-5", exactly(700), EncodingOptions())
    yield Golden("speech-5-high", tone(2000), "speech-5", exactly(2500))
    yield Golden("speech-5-instant", tone(1), "speech-5", exactly(33))
    yield Golden("speech-5-narrow", tone(1000, rate=8000), "speech-5", about(1.0))
    yield Golden("speech-5-pair", tone(2000, 2), "speech-5", about(0.5))


def image_metadata() -> Metadata:
    """What a camera and a program for pictures say."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "A smooth picture", 1
    exif.get_ifd(0x8769)[0x9003] = "2026:11:28 04:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="1"/></rdf:RDF></x:xmpmeta>'
    )
    return Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), rgb_profile(gamma_curve(1.8)), xmp)


def sound_tags() -> Metadata:
    """Some tags, not all of them in ASCII."""
    tags = {"artist": "Nobody", "date": "2026", "license": "CC0", "title": "A chord, très court"}
    return Metadata(tags=tags)


def hostile_files() -> Iterator[Hostile]:
    """Metadata that the fuzzer found harm in."""
    profile = bytearray(rgb_profile(gamma_curve(1.0)))
    profile[18] = 0x80  # in the name of the space of its colours
    orientation = (0x0112).to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little")
    turned = Image.Exif()
    turned[0x010E], turned[0x0112] = "A picture", 6
    yield Hostile("exif-that-is-none", "rgb", {"exif": b"no EXIF"})
    yield Hostile("exif-that-turns-the-image", "rgb", {"exif": turned.tobytes().removeprefix(b"Exif\0\0")})
    yield Hostile(
        "orientation-of-another-type",
        "rgb",
        {"exif": b"II*\0\x08\0\0\0\x01\0" + orientation + (6).to_bytes(4, "little") + bytes(4)},
    )
    # a directory without entries at 8, and behind it, at 2, another one
    yield Hostile("thumbnail-in-the-header", "rgb", {"exif": b"MM\0*\0\0\0\x08\0\0\0\0\0\x02" + bytes(600)})
    yield Hostile("profile-of-a-space-that-is-no-text", "rgb", {"icc": bytes(profile)})
    yield Hostile(
        "xmp-that-turns-the-image",
        "rgb",
        {"xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><d tiff:Orientation=\"6\"/></x:xmpmeta>"},
    )
    yield Hostile("flac-tag-that-is-no-text", "stereo", {"tags": {"artist": "a", "title": "\ufffe"}})
    yield Hostile("flac-software-cut-within-a-character", "stereo", {"tags": {"software": "é" * 100, "title": "a"}})


def hostile_priors() -> Iterator[tuple[str, Prior]]:
    """Priors that the fuzzer found harm in, by the names of their files."""
    prior = random_pyramid(parts_from=8)
    stored = {name: tensor.astype(np.float32) for name, tensor in prior.stored.items() if name.endswith("first")}
    yield "weights-that-are-no-integers", replace(prior, stored=prior.stored | stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="remove those that are there")
    arguments = parser.parse_args()
    made = [path for folder in (GOLDEN, HOSTILE) for path in folder.iterdir() if path.suffix in MADE_HERE]
    if made and not arguments.anew:
        raise SystemExit(f"there are {len(made)} files; they are removed with --anew")
    for path in made:
        path.unlink()
    os.environ[library.SEARCH_VARIABLE] = str(GOLDEN)
    make_golden()
    make_hostile()


def make_golden() -> None:
    """Write the priors and the files, and what the files decode to."""
    for name, prior in tiny_priors().items():
        store.save(prior, GOLDEN / f"{name}{store.SUFFIX}")
    described = {}
    with tempfile.TemporaryDirectory() as folder:
        for golden in golden_files():
            data = encoded(golden)
            path = Path(folder) / f"{golden.name}.cmb"
            path.write_bytes(data)
            add.add(golden.name, path)
            print(f"{golden.name}: {len(data)} bytes", flush=True)
            if golden.metadata:
                described[golden.name] = add.words_of_metadata(golden.metadata)
    (GOLDEN / "metadata.json").write_text(json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def encoded(golden: Golden) -> bytes:
    """The bytes of a golden file."""
    result = pipeline.encode(golden.signal, library.find(golden.prior), golden.target, golden.options)
    return with_metadata(result.file, golden.metadata)


def make_hostile() -> None:
    """Write files and priors that once did harm."""
    for hostile in hostile_files():
        packed = zlib.compress(msgpack.packb(hostile.parts), 9)  # which nothing has checked
        file = File.parse((GOLDEN / f"{hostile.golden}.cmb").read_bytes())
        (HOSTILE / f"{hostile.name}.cmb").write_bytes(with_metadata(file, packed))
    for name, prior in hostile_priors():
        store.save(prior, HOSTILE / f"{name}{store.SUFFIX}")


if __name__ == "__main__":
    main()
