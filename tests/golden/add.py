"""Add a file to those that are decoded for ever. What is there is never written anew.

python tests/golden/add.py NAME FILE.cmb [PRIOR.safetensors]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from combiner_cli.container import metadata
from combiner_cli.container.file import File
from combiner_cli.family import View
from combiner_cli.media import files as media
from combiner_cli.priors import library

GOLDEN = Path(__file__).parent
OF_FLOATS = ("lapped",)  # families of which samples may differ by a step from machine to machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("file", type=Path)
    parser.add_argument("prior", type=Path, nargs="?", help="of the file, where it is not shipped")
    arguments = parser.parse_args()
    os.environ[library.SEARCH_VARIABLE] = str(GOLDEN)
    add(arguments.name, arguments.file, arguments.prior)


def add(name: str, file: Path, own_prior: Path | None = None, folder: Path = GOLDEN) -> None:
    """Copy a file, and its prior, and write down what they decode to.

    Raises:
        SystemExit: there is something of that name.
    """
    known = {text: _written(folder / f"{text}.json") for text in ("digests", "recordings", "latents")}
    copies = {folder / f"{name}.cmb": file}
    if own_prior is not None:
        copies[folder / own_prior.name] = own_prior
    taken = [str(target) for target in copies if target.exists()] + [text for text in known if name in known[text]]
    if taken:
        raise SystemExit(f"{name}: there is {', '.join(taken)}; a golden file is never written anew")
    parsed = File.parse(file.read_bytes())
    prior = library.find(str(own_prior)) if own_prior else library.find_id(parsed.prior_id)
    decoded = prior.decode(parsed, View(keep_latents=True))
    signal, latents = decoded.signal(), digest_of_latents(decoded.latents)
    known["latents"][name] = latents
    if prior.family.name in OF_FLOATS:
        known["recordings"][name] = latents
        media.write_signal(signal, folder / f"{name}.wav")
    else:
        digest = digest_of_samples(signal.samples)
        known["digests"][name] = {
            "sha256": digest,
            "shape": list(signal.samples.shape),
            "type": str(signal.samples.dtype),
        }
    for target, source in copies.items():
        shutil.copyfile(source, target)
    for text, entries in known.items():
        indent = 1 if text == "recordings" else 2
        (folder / f"{text}.json").write_text(json.dumps(entries, indent=indent, sort_keys=True) + "\n")


def digest_of_latents(latents: np.ndarray) -> str:
    """SHA-256 of the whitened latents of all stages as little-endian float32, which holds them exactly."""
    return hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest()


def digest_of_samples(samples: np.ndarray) -> str:
    """SHA-256 of samples in their own type, little-endian."""
    return hashlib.sha256(samples.astype(samples.dtype.newbyteorder("<")).tobytes()).hexdigest()


def words_of_metadata(packed: bytes) -> dict[str, Any]:
    """SHA-256 of the binary parts of metadata, and their tags."""
    read = metadata.unpack(packed)
    parts = {"exif": read.exif, "icc": read.icc, "xmp": read.xmp}
    digests: dict[str, Any] = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items() if part}
    return digests | ({"tags": dict(read.tags)} if read.tags else {})


def _written(path: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return entries


if __name__ == "__main__":
    main()
