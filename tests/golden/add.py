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

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.families.lapped.prior import LappedPrior
from combiner_cli.media import files as media
from combiner_cli.priors import library

GOLDEN = Path(__file__).parent


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
    known = {text: _known(folder / f"{text}.json") for text in ("digests", "recordings", "latents")}
    copies = {folder / f"{name}.cmb": file}
    if own_prior is not None:
        copies[folder / own_prior.name] = own_prior
    taken = [str(target) for target in copies if target.exists()] + [text for text in known if name in known[text]]
    if taken:
        raise SystemExit(f"{name}: there is {', '.join(taken)}; a golden file is never written anew")
    data = file.read_bytes()
    prior_id = bitstream.unpack(data)[0].prior_id
    prior = library.load(own_prior) if own_prior else library.find_id(prior_id)
    decoded = pipeline.decode(data, lambda _: prior)
    latents = digest_of_latents(pipeline.read(data, prior).z)
    known["latents"][name] = latents
    if isinstance(prior, LappedPrior):  # samples may differ by a step from machine to machine
        known["recordings"][name] = latents
        media.write_signal(decoded, folder / f"{name}.wav")
    else:
        samples = decoded.samples
        digest = hashlib.sha256(samples.astype(samples.dtype.newbyteorder("<")).tobytes()).hexdigest()
        known["digests"][name] = {"sha256": digest, "shape": list(samples.shape), "type": str(samples.dtype)}
    for target, source in copies.items():
        shutil.copyfile(source, target)
    for text, entries in known.items():
        indent = 1 if text == "recordings" else 2
        (folder / f"{text}.json").write_text(json.dumps(entries, indent=indent, sort_keys=True) + "\n")


def digest_of_latents(latents: Any) -> str:
    """SHA-256 of the whitened latents of all stages as little-endian float32, which holds them exactly."""
    return hashlib.sha256(np.concatenate(latents).astype("<f4").tobytes()).hexdigest()


def _known(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


if __name__ == "__main__":
    main()
