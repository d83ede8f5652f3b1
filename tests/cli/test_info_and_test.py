"""The commands info and test: transcripts, one bad file among many, and every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import coded_photo, left_in, plain_priors, refused, run
from support.signals import smooth_image, tone

from combiner_cli.codec import inspection, pipeline
from combiner_cli.container import file as container
from combiner_cli.container import metadata
from combiner_cli.container.file import File
from combiner_cli.container.metadata import Metadata
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.priors import library

FAST = EncodingOptions(effort=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three files, one of them damaged, below a folder."""
    priors = plain_priors(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("coded/deep").mkdir(parents=True)
    photo = pipeline.encode(smooth_image(11, 13), priors["plain-image"], Target("size", 100)).data
    Path("coded/a.cmb").write_bytes(photo)
    Path("coded/b.cmb").write_bytes(photo[:-1])
    sound = pipeline.encode(tone(3000), priors["plain-sound"], Target("size", 200)).data
    Path("coded/deep/c.cmb").write_bytes(sound)
    return tmp_path


def test_info_says_where_the_bytes_go(folder):
    prior = library.find("plain-image")
    done = run("info", "coded/a.cmb")
    assert done.exit_code == 0
    assert done.stdout == (
        "coded/a.cmb: 13x11 RGB, 8 bits\n"
        f"  prior    plain-image (id {prior.id:08x}, plain)\n"
        f"  size     100 bytes, 5.594 bpp; file version {container.VERSION}\n"
        "  header   20 bytes with checksum\n"
        "  groups   80 bytes, 80 groups\n"
        "    all         80  100.0 %  ██████████████████████████████\n"
    )


@pytest.mark.parametrize(
    ("prior", "signal"), [("photo-8", smooth_image(40, 50)), ("speech-5", tone(900)), ("cifar10-4", smooth_image(9, 9))]
)
def test_info_accounts_for_every_byte(tmp_path, prior, signal):
    described = Metadata(unknown={"x": b"y"})
    coded = pipeline.encode(signal, library.find(prior), Target("size", 150), FAST).file
    path = tmp_path / "x.cmb"
    path.write_bytes(container.with_metadata(coded, metadata.pack(described)))
    facts = json.loads(run("info", path, "--json").stdout)
    assert facts["bytes"] == path.stat().st_size == 150 + facts["metadata_bytes"]
    parts = [facts[name] for name in ("header_bytes", "metadata_bytes", "class_bytes", "group_bytes")]
    assert sum(parts) == facts["bytes"]
    assert 0 < sum(facts["stages"].values()) == facts["groups"] <= facts["group_bytes"]  # the rest fills the size
    assert (facts["prior"], facts["kind"], facts["shape"]) == (prior, signal.kind, list(signal.shape))
    lines = run("info", path).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    assert f"  noise    level {facts['noise_level']}" in lines
    assert any(line.startswith("  metadata ") and line.endswith(": unknown 1") for line in lines)


def test_info_without_the_prior_says_what_the_header_says(folder, monkeypatch):
    monkeypatch.undo()
    done = run("info", folder / "coded" / "a.cmb")
    assert done.exit_code == 0
    assert "not on this machine" in done.stdout and "unknown without the prior" in done.stdout
    facts = json.loads(run("info", folder / "coded" / "a.cmb", "--json").stdout)
    assert (facts["prior"], facts["group_bytes"], facts["groups"], facts["stages"]) == (None, None, None, {})
    assert facts["shape"] == [11, 13]


def test_info_renders_nothing_that_is_too_large(folder, monkeypatch):
    monkeypatch.setattr(type(library.find("plain-image")), "points_rendered", lambda *_: 2**40)
    assert "groups   unknown with so many samples" in run("info", "coded/a.cmb").stdout


@pytest.mark.parametrize("command", ["info", "test"])
def test_one_bad_file_does_not_stop_the_rest(folder, command):
    done = run(command, "-r", "coded")
    assert done.exit_code == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("combiner: coded/b.cmb: the file is truncated or was changed")
    assert last == "combiner: 1 of 3 failed: coded/b.cmb"
    assert "coded/a.cmb: " in done.stdout and "coded/deep/c.cmb: " in done.stdout
    lines = [json.loads(line) for line in run(command, "-r", "coded", "--json").stdout.splitlines()]
    assert [line["file"] for line in lines] == ["coded/a.cmb", "coded/b.cmb", "coded/deep/c.cmb"]
    assert lines[1]["exit_code"] == 4


def test_test_vouches_for_sound_files(folder):
    done = run("test", "coded/a.cmb", "coded/deep/c.cmb")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "coded/a.cmb: OK, 13x11 RGB\ncoded/deep/c.cmb: OK, 0.19 s mono at 16000 Hz\n"
    assert run("test", "coded/a.cmb", "--quiet").stdout == ""
    before = sorted(folder.rglob("*"))
    assert run("test", "coded/b.cmb").exit_code == 4
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["info", "test"])
@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["coded"], 3, "coded is a folder; give -r"),
        (["missing.cmb"], 3, "does not exist"),
        (["-r", "coded/empty"], 3, "there are no .cmb files"),
    ],
)
def test_mistakes_are_one_line(folder, command, arguments, exit_code, words):
    Path("coded/empty").mkdir()
    refused(run(command, *arguments), exit_code, words)
    assert left_in("coded") == ["a.cmb", "b.cmb", "deep", "empty"]


@pytest.mark.parametrize("command", ["info", "test"])
def test_standard_input(command):
    line = [sys.executable, "-m", "combiner_cli", command, "-"]
    done = subprocess.run(line, input=coded_photo(), capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().startswith("-: ")
    done = subprocess.run(line, input=coded_photo()[:-1], capture_output=True, check=False, timeout=60)
    assert done.returncode == 4
    assert done.stderr.decode().startswith("combiner: -: ")


def test_the_same_prior_is_asked_for_once():
    asked = []

    def find(prior_id):
        asked.append(prior_id)
        return library.find_id(prior_id)

    inspected = inspection.inspect(File.parse(coded_photo()), find)
    assert asked == [inspected.prior_id]
    assert inspected.bits_per_pixel == pytest.approx(8 * 300 / (75 * 102))
    assert inspected.kilobits_per_second is None
