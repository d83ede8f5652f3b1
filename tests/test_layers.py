"""Imports go down only: the rooms of the house, lowest first."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import smooth_image, tiny_mixture

from combiner_cli.codec import pipeline
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.media import files as media
from combiner_cli.priors import library

PACKAGE = Path(__file__).parent.parent / "combiner_cli"
LEVELS = {
    "errors": 0,
    "extras": 0,
    "ops": 0,
    "signals": 0,
    "bitstream": 0,
    "metadata": 1,
    "sampler": 0,
    "models": 1,
    "models.siren": 1,
    "models.linear": 1,
    "models.haar": 1,
    "models.pyramid": 1,
    "models.pyramid_features": 1,
    "models.whole": 1,
    "models.lapped": 1,
    "neighbourhood": 1,
    "identity": 0,
    "compact": 0,
    "workers": 0,
    "processes": 0,
    "ranks": 0,
    "resampling": 0,
    "groups": 2,
    "mixtures": 2,
    "covariances": 2,
    "moments": 2,
    "hierarchy": 2,
    "recordings": 2,
    "priors": 2,
    "coder": 2,
    "long_memory": 2,
    "search": 2,
    "hierarchy_groups": 2,
    "stage_coding": 3,
    "rates": 3,
    "hierarchy_coding": 3,
    "recording_coding": 3,
    "pyramid_codec": 3,
    "recording_files": 2,
    "recording_codec": 3,
    "learner": 3,
    "learn_hierarchy": 3,
    "learn_recordings": 3,
    "posterior": 3,
    "gauss_newton": 3,
    "refine": 3,
    "condition": 3,
    "covariance_coding": 3,
    "learn": 3,
    "learn_covariance": 3,
    "closed_form": 3,
    "learn_mixture": 3,
    "codec": 4,
    "goals": 5,
    "image_files": 5,
    "sound_files": 5,
    "media": 5,
    "files": 5,
    "batch": 5,
    "cluster": 5,
    "metrics": 3,
    "datasets": 5,
    "cards": 5,
    "bench": 5,
    "bench.curves": 5,
    "bench.tables": 5,
    "bench.measures": 5,
    "bench.baselines": 5,
    "bench.baselines_images": 5,
    "bench.baselines_sounds": 5,
    "bench.machine": 5,
    "bench.sources": 5,
    "bench.sweep": 5,
    "bench.summary": 5,
    "bench.examples": 5,
    "bench.plots": 5,
    "bench.report": 5,
    "bench.study": 5,
    "learning_curves": 5,
    "outlook": 5,
    "commands": 6,
    "commands.display": 6,
    "commands.options": 6,
    "commands.sources": 6,
    "commands.converting": 6,
    "commands.encode": 6,
    "commands.decode": 6,
    "commands.info": 6,
    "commands.test": 6,
    "commands.compare": 6,
    "commands.priors": 6,
    "commands.completion": 6,
    "inspection": 5,
    "api": 6,
    "pillow_plugin": 6,
    "commands.learning_display": 6,
    "commands.learning_jobs": 6,
    "commands.learn_prior": 6,
    "commands.bench": 6,
    "cli": 6,
    "__init__": 6,
    "__main__": 7,
}
# within a level, in this order: a module may import those named before it
ORDER = [
    "errors",
    "extras",
    "identity",
    "compact",
    "workers",
    "processes",
    "ranks",
    "resampling",
    "ops",
    "signals",
    "bitstream",
    "metadata",
    "sampler",
    "models.haar",
    "models.whole",
    "models.pyramid",
    "models.pyramid_features",
    "models.lapped",
    "groups",
    "mixtures",
    "covariances",
    "moments",
    "hierarchy",
    "recordings",
    "priors",
    "coder",
    "long_memory",
    "search",
    "hierarchy_groups",
    "recording_files",
    "stage_coding",
    "rates",
    "hierarchy_coding",
    "pyramid_codec",
    "recording_coding",
    "recording_codec",
    "learner",
    "learn_hierarchy",
    "learn_recordings",
    "posterior",
    "gauss_newton",
    "refine",
    "condition",
    "covariance_coding",
    "learn",
    "learn_covariance",
    "closed_form",
    "learn_mixture",
    "metrics",
]
ORDER += [
    "inspection",
    "api",
    "__init__",
    "pillow_plugin",
    "goals",
    "files",
    "image_files",
    "sound_files",
    "media",
    "batch",
    "cluster",
    "datasets",
    "cards",
    "bench.curves",
    "bench.tables",
    "bench.measures",
    "bench.baselines",
    "bench.baselines_images",
    "bench.baselines_sounds",
    "bench.machine",
    "bench.sources",
    "bench.sweep",
    "bench.summary",
    "bench.examples",
    "bench.plots",
    "bench.report",
    "bench.study",
    "learning_curves",
    "outlook",
    "commands.display",
    "commands.options",
    "commands.sources",
    "commands.converting",
    "commands.encode",
    "commands.decode",
    "commands.info",
    "commands.test",
    "commands.compare",
    "commands.priors",
    "commands.completion",
    "commands.learning_display",
    "commands.learning_jobs",
    "commands.learn_prior",
    "commands.bench",
    "cli",
]
WITH_TORCH = {
    "posterior",
    "gauss_newton",
    "refine",
    "condition",
    "covariance_coding",
    "learn",
    "learn_covariance",
    "learner",
    "learn_hierarchy",
    "learn_recordings",
}


def _name(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _imports(path, everywhere=True):
    """Modules of the package, and others, that a file imports; at the top only unless ``everywhere``."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            base = (
                ["combiner_cli", *_name(path).split(".")][: -node.level]
                if path.stem != "__init__"
                else ["combiner_cli"]
            )
            module = [node.module] if node.module else []
            for alias in node.names:
                whole = ".".join([*base, *module, alias.name])
                part = ".".join([*base, *module])
                exists = (PACKAGE.parent / Path(*whole.split("."))).with_suffix(".py").exists()
                yield whole if exists or not module else part


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_room_is_on_a_level_and_imports_from_no_higher_one(path):
    name = _name(path)
    assert name in LEVELS, f"{name} has no level; give it one"
    for imported in _imports(path):
        if not imported.startswith("combiner_cli."):
            continue
        other = imported.removeprefix("combiner_cli.")
        if other in ("__version__",):
            continue
        assert LEVELS[other] <= LEVELS[name], f"{name} imports {other}, which is above it"
        if LEVELS[other] == LEVELS[name]:
            assert ORDER.index(other) < ORDER.index(name), f"{name} imports {other}, which comes after it"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_only_the_learning_rooms_import_torch_at_the_top(path):
    imports_torch = any(module.split(".")[0] == "torch" for module in _imports(path, everywhere=False))
    assert imports_torch == (_name(path) in WITH_TORCH)


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, Block())
from combiner_cli.cli import main
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
