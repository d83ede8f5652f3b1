"""The same bytes in every process and with any number of threads; the same candidates from numpy and torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.priors import hasty_siren, tiny_priors, tiny_siren
from support.signals import smooth_image

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.family import EncodingOptions, View
from combiner_cli.priors import library, store
from combiner_cli.rec import candidates, sampler

GOLDEN = Path(__file__).parent / "golden"

# every family encodes, and decodes what others have encoded; digests of files and samples are printed
PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from support.priors import hasty_siren
from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.family import EncodingOptions
from combiner_cli.priors import library, store
from combiner_cli.signals.signal import Signal
folder, golden, threads = sys.argv[1:]
generator = np.random.default_rng(4)
image = Signal("image", generator.integers(0, 256, (6, 5, 3)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8))
steps = np.rint(8000 * np.sin(np.arange(500)[:, None] / (9, 31)))
sound = Signal("sound", (steps / 32768).astype(np.float32), 16000, 16)
digests = {}
for path in sorted(Path(folder).iterdir()):
    prior = store.load(path)
    published = {"search": "astar", "refinement": "gradient"} if path.stem == "siren-16" else {}
    options = EncodingOptions(effort=1, seed=3, device="cpu", **published)
    with hasty_siren():
        result = pipeline.encode(image if prior.kind == "image" else sound, prior, options=options)
    digests[path.stem] = hashlib.sha256(result.data).hexdigest()
for path in map(Path, json.loads(golden)):
    samples = pipeline.decode(File.parse(path.read_bytes()), library.find_id).samples
    digests[path.stem] = hashlib.sha256(samples.tobytes()).hexdigest()
import torch
assert torch.get_num_threads() == int(threads)
print(json.dumps(digests))
"""
ENCODED = ("siren-16", "siren-8", "pyramid-parts", "lapped")
DECODED = ("rgb", "stereo", "photo-2", "photo-8", "general-2")


def _digests(threads: int, folder: Path) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": paths}
    environment[library.SEARCH_VARIABLE] = str(GOLDEN)
    golden = json.dumps([str(GOLDEN / f"{name}.cmb") for name in DECODED])
    command = [sys.executable, "-c", PROGRAM, str(folder), golden, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


def test_three_processes_with_one_and_two_threads_write_and_decode_the_same(tmp_path):
    for name in ENCODED:
        store.save(tiny_priors()[name], tmp_path / f"{name}.safetensors")
    first, second, with_two_threads = (_digests(threads, tmp_path) for threads in (1, 1, 2))
    assert set(first) == {*ENCODED, *DECODED}
    assert first == second
    assert {name for name in first if first[name] != with_two_threads[name]} == set()


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["cifar10-1", "rgb", "speech-1", "photo-1", "photo-8", "speech-5"])
def test_latents_are_the_same_bits_from_numpy_and_torch(name, device, monkeypatch):
    """The look-up of a decoder with torch's tensors in the place of numpy's arrays."""
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(GOLDEN))
    file, view = File.parse((GOLDEN / f"{name}.cmb").read_bytes()), View(keep_latents=True)
    prior = library.find_id(file.prior_id)
    expected = prior.decode(file, view).latents
    calls = []

    def by_torch(rows, columns, key):
        calls.append(len(rows))
        lanes = sampler.lanes(torch.from_numpy(rows).to(device), torch.from_numpy(columns.copy()).to(device), key)
        quantiles = torch.from_numpy(sampler.normal_quantiles().copy()).to(device)
        return quantiles[lanes].cpu().numpy()

    monkeypatch.setattr(candidates.sampler, "normals", by_torch)
    latents = prior.decode(file, view).latents
    assert calls
    assert latents.tobytes() == expected.tobytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_file_that_a_gpu_encodes_decodes_on_the_cpu():
    options = EncodingOptions(effort=1, device="cuda")
    result = pipeline.encode(smooth_image(16, 16), tiny_siren(group_bits=8), options=options)
    assert result.decoded is not None  # it was decoded, in numpy


def test_the_seed_decides_where_chance_has_a_say():
    def encoded(seed):
        options = EncodingOptions(seed=seed, search="astar", refinement="gradient")
        with hasty_siren():
            return pipeline.encode(smooth_image(21, 17), tiny_siren(), options=options).data

    digests = [hashlib.sha256(encoded(seed)).hexdigest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
