"""What a start loads, and what works without torch."""

import subprocess
import sys

import pytest
from conftest import smooth_image, tiny_mixture

from combiner_cli.codec import pipeline
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.media import files as media
from combiner_cli.priors import library

HEAVY = ("torch", "PIL", "soundfile", "soxr", "matplotlib", "distributed", "scipy", "msgpack", "safetensors", "numpy")


@pytest.mark.parametrize("module", ["combiner_cli", "combiner_cli.cli.main"])
def test_a_start_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
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
def test_info_decode_and_help_work_with_torch_blocked(tmp_path):
    prior = library.find("tiny-image")
    result = pipeline.encode(smooth_image(9, 9), prior, pipeline.Settings(schedule=Schedule(20, 2, 2)))
    source = tmp_path / "x.cmb"
    source.write_bytes(result.data)
    assert run_without_torch("-h").returncode == 0
    assert run_without_torch("encode", "-h").returncode == 0
    assert "tiny-image" in run_without_torch("info", source).stdout
    done = run_without_torch("decode", source)
    assert done.returncode == 0, done.stderr
    assert (media.read_signal(tmp_path / "x.png").samples == result.decoded.samples).all()
    blocked = run_without_torch("encode", tmp_path / "x.png", "-f", "--prior", "tiny-image")
    assert blocked.returncode != 0
    assert "torch is blocked" in blocked.stderr


def test_encoding_with_a_mixture_prior_imports_no_torch(tmp_path):
    prior = tiny_mixture()
    library.save(prior, tmp_path / "mixed.safetensors")
    media.write_signal(smooth_image(20, 17), tmp_path / "x.png")
    command = ("encode", tmp_path / "x.png", "--prior", tmp_path / "mixed.safetensors")
    for more in (("-q", "4"), ("--size", "90", "-f", "-e", "9"), ("--psnr", "15", "-f", "-e", "1")):
        done = run_without_torch(*command, *more)
        assert done.returncode == 0, done.stderr
    done = run_without_torch("decode", tmp_path / "x.cmb", "-f", "--prior", tmp_path / "mixed.safetensors")
    assert done.returncode == 0, done.stderr
    expected = pipeline.decode((tmp_path / "x.cmb").read_bytes(), lambda _: prior)
    assert (media.read_signal(tmp_path / "x.png").samples == expected.samples).all()
