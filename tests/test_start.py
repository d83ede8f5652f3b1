"""What a start loads, and what works without torch."""

import subprocess
import sys

import numpy as np
import pytest
from support.priors import hasty_siren, tiny_priors
from support.signals import smooth_image, tone

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.family import EncodingOptions
from combiner_cli.media import files as media
from combiner_cli.priors import library, store

HEAVY = ("torch", "PIL", "soundfile", "soxr", "matplotlib", "distributed", "scipy", "msgpack", "safetensors", "numpy")


@pytest.mark.parametrize("module", ["combiner_cli", "combiner_cli.cli.main"])
def test_a_start_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_encoding_an_image_loads_nothing_for_sounds_and_for_many_processes(tmp_path):
    media.write_signal(smooth_image(9, 9), tmp_path / "x.png")
    unneeded = ("multiprocessing", "statistics", "combiner_cli.media.sound_containers.headers", "soundfile", "torch")
    program = (
        "import sys; from combiner_cli.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print(*[name for name in {unneeded} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, "encode", "-e", "1", "--quiet", str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stdout.split()


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, Block())
from combiner_cli.cli.main import main
main(sys.argv[1:])
"""


def run_without_torch(*arguments):
    return subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("prior_folder")
def test_help_info_and_what_needs_torch_with_torch_blocked(tmp_path):
    source = tmp_path / "x.cmb"
    with hasty_siren():
        source.write_bytes(pipeline.encode(smooth_image(9, 9), library.find("tiny-image")).data)
    assert run_without_torch("-h").returncode == 0
    assert run_without_torch("encode", "-h").returncode == 0
    assert "tiny-image" in run_without_torch("info", source).stdout
    media.write_signal(smooth_image(9, 9), tmp_path / "x.png")
    blocked = run_without_torch("encode", tmp_path / "x.png", "-f", "--prior", "tiny-image")
    assert blocked.returncode != 0
    assert "torch is blocked" in blocked.stderr


@pytest.mark.parametrize("name", ["siren-8", "siren-sound", "pyramid", "lapped"])
def test_decoding_imports_no_torch(name, tmp_path):
    prior = tiny_priors()[name]
    signal, suffix = (smooth_image(20, 17), "png") if prior.kind == "image" else (tone(400), "wav")
    with hasty_siren():
        result = pipeline.encode(signal, prior, options=EncodingOptions(effort=1))
    (tmp_path / "x.cmb").write_bytes(result.data)
    store.save(prior, tmp_path / "prior.safetensors")
    done = run_without_torch("decode", tmp_path / "x.cmb", "--prior", tmp_path / "prior.safetensors")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(media.read_signal(tmp_path / f"x.{suffix}").samples, result.decoded.samples)


def test_encoding_with_the_shipped_priors_imports_no_torch(tmp_path):
    media.write_signal(smooth_image(20, 17), tmp_path / "x.png")
    media.write_signal(tone(400), tmp_path / "y.wav")
    for source, *options in (
        ("x.png", "-q", "4", "--prior", "photo-8"),
        ("x.png", "--size", "90", "--prior", "photo-8"),
        ("x.png", "--psnr", "20", "--prior", "photo-8"),
        ("y.wav", "-q", "4"),
    ):
        done = run_without_torch("encode", tmp_path / source, "-f", "-e", "1", *options)
        assert done.returncode == 0, done.stderr
    done = run_without_torch("decode", tmp_path / "x.cmb", "-f")
    assert done.returncode == 0, done.stderr
    expected = pipeline.decode(File.parse((tmp_path / "x.cmb").read_bytes()), library.find_id)
    assert (media.read_signal(tmp_path / "x.png").samples == expected.samples).all()
