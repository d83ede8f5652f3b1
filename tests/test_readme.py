"""Every block of code in the README runs, in order, in one folder that has nothing but the inputs that it names."""

import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, chdir

import numpy as np
import pytest
from PIL import Image
from support.commands import ROOT, environment, in_shell
from support.signals import smooth_image, tone

from combiner_cli.media import files as media

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
BLOCKS = [(language, code) for language, code in FENCED if language]
SHELLS = ("console", "sh")
SLOW = ("combiner learn-prior", "combiner bench", "--dask")
# what takes long or is elsewhere: what the README says, and what stands for it here
INSTEAD = {"--steps 1000": "--steps 2", "make ": "make -n -C {root} ", "pip install .": "test -f {root}/pyproject.toml"}
SCHEDULER = "tcp://machine:8786"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def blocks():
    """All blocks, each by the first words in it."""
    for language, code in BLOCKS:
        slow = [pytest.mark.slow] if any(words in code for words in SLOW) else []
        name = " ".join(code.split("#")[0].split()[:5])
        yield pytest.param(language, code, id=name, marks=slow)


def grainy(height, width, seed=0):
    """A picture in which there is more to code than in a smooth one."""
    image = smooth_image(height, width, seed=seed)
    grain = np.random.default_rng(seed).normal(0, 4, image.samples.shape)
    return type(image)("image", (image.samples + grain).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The inputs that the README names, small ones."""
    folder = tmp_path_factory.mktemp("readme")
    media.write_signal(grainy(75, 100), folder / "photo.png")
    media.write_signal(grainy(40, 50), folder / "scan.png")
    media.write_signal(tone(8000), folder / "talk.flac")
    with Image.open(folder / "photo.png") as image:
        exif = Image.Exif()
        exif[0x010F] = "a maker"
        image.save(folder / "holiday.jpg", exif=exif)
    for name in ("photographs/a.png", "photographs/below/b.png", *(f"scans/{n}.png" for n in range(6))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        media.write_signal(grainy(66, 70, len(name)), folder / name)
    return folder


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("programs") / "bin")


def commands(code):
    """The command lines of a block, without their comments."""
    lines = [line.removeprefix("$ ") for line in code.splitlines() if line.strip()]
    assert all(line.startswith("$ ") for line in code.splitlines() if line.strip())
    return lines


def scheduler(stack, variables):
    """The address of a Dask scheduler on this machine that has a worker."""
    pytest.importorskip("distributed", reason="distributed is not installed (combiner[dask])")

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard", "--host", "127.0.0.1"]
        process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
        stack.callback(process.communicate)
        stack.callback(process.kill)
        return process

    lines = iter(start("scheduler", "--port", "0", "--no-show").stderr)
    address = next(match[1] for line in lines if (match := re.search(r"Scheduler at:\s+(tcp://\S+)", line)))
    worker = start("worker", address, "--nthreads", "1", "--no-nanny")
    next(line for line in worker.stderr if "Registered to" in line)
    return address


@pytest.mark.parametrize(("language", "code"), list(blocks()))
def test_blocks_run(language, code, folder, variables, capsys):
    if language == "python":
        with chdir(folder):
            exec(compile(code, "README", "exec"), {})
        assert capsys.readouterr().out
        return
    assert language in SHELLS, f"nobody runs blocks of {language}"
    with ExitStack() as stack:
        if SCHEDULER in code:
            code = code.replace(SCHEDULER, scheduler(stack, variables))
        for line in commands(code):
            for words, others in INSTEAD.items():
                line = line.replace(words, others.format(root=ROOT))
            done = in_shell(line, variables, cwd=folder)
            assert done.returncode == 0, f"{line}\n{done.stderr.decode()}"
            assert b"Traceback" not in done.stderr


def test_there_are_blocks_of_all_kinds():
    """Or else they are not found."""
    languages = [language for language, _ in BLOCKS]
    assert languages.count("console") >= 10
    assert languages.count("python") >= 2
    assert TEXT.count("\n```") == 2 * len(FENCED)
    assert not any("combiner " in figure for language, figure in FENCED if not language)


@pytest.mark.parametrize(
    ("recipe", "extra"),
    [
        ("$ combiner bench", "takes the extra `bench`"),
        ("$ combiner compare", "with the extra bench"),
        ("--dask tcp", "with the extra `dask`"),
    ],
)
def test_what_takes_an_extra_says_so(recipe, extra):
    place = TEXT.index(recipe)
    assert extra in " ".join(TEXT[place - 600 : place + 200].split())
