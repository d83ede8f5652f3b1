"""Names of files: those that cannot be shown as they are, and those that would mislead."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support.commands import coded_photo, environment, in_shell, left_in, refused, run
from support.signals import smooth_image

from combiner_cli.media import files as media

ODD = "a\nb\x1b[2J.cmb"
SHOWN = r"a\nb\x1b[2J.cmb"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    media.write_signal(smooth_image(11, 13), Path("photo.png"))
    Path(ODD).write_bytes(coded_photo())
    return tmp_path


def test_names_with_control_characters_are_escaped_in_errors(folder):
    for command in ("encode", "decode", "info", "test"):
        refused(run(command, "no\nfile"), 3, r"no\nfile does not exist")
    refused(run("decode", ODD, "-o", "x.xyz"), 7, "x.xyz")
    refused(run("decode", ODD, "-o", "no\nfolder/x.png"), 7, r"the folder no\nfolder does not exist")
    refused(run("compare", "photo.png", "no\nfile"), 3, r"no\nfile does not exist")
    refused(run("encode", "photo.png", "--prior", "no\nprior"), 6, r"no prior is called no\nprior")
    Path("bad\n.cmb").write_bytes(b"CMB")
    refused(run("decode", "bad\n.cmb"), 4, r"combiner: bad\n.cmb: ")


def test_names_with_control_characters_are_escaped_in_results(folder):
    assert run("decode", ODD, "-o", "x\t.png").stdout.startswith(rf"{SHOWN} -> x\t.png: 102x75 RGB, ")
    assert run("info", ODD).stdout.startswith(rf"{SHOWN}: 102x75 RGB, 8 bits" + "\n")
    assert run("test", ODD).stdout == f"{SHOWN}: OK, 102x75 RGB\n"
    done = run("compare", ODD, ODD)
    assert done.stdout.startswith(SHOWN) and done.stdout.count("\n") == 1
    done = run("decode", ODD, "no\nfile.cmb", "-d", "back")
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert lines[0] == r"combiner: no\nfile.cmb does not exist; check the name"
    assert lines[-1] == r"combiner: 1 of 2 failed: no\nfile.cmb"
    assert len(lines) == 3
    run("decode", ODD, "-o", "back.png")
    note = run("decode", ODD, "-d", ".", "--skip-existing", "--format", "png")
    assert note.exit_code == 0


def test_json_has_names_as_they_are(folder):
    assert json.loads(run("info", ODD, "--json").stdout)["file"] == ODD
    done = run("decode", ODD, "no\nfile.cmb", "-d", "back", "--json")
    assert {json.loads(line)["input"] for line in done.stdout.splitlines()} == {ODD, "no\nfile.cmb"}


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_names_that_are_no_text_are_escaped(folder, tmp_path_factory):
    variables = environment(tmp_path_factory.mktemp("programs") / "bin")
    Path(os.fsdecode(b"\xff.cmb")).write_bytes(coded_photo())
    done = in_shell(r"combiner decode $'\xff.cmb' -o x.png; combiner info $'\xfe.cmb'", variables)
    assert done.stdout.startswith(rb"\xff.cmb -> x.png: 102x75 RGB, ")
    assert done.stderr == rb"combiner: \xfe.cmb does not exist; check the name" + b"\n"


@pytest.mark.parametrize("name", ["x.png", "x.JPG", "x.wav", "x.flac"])
def test_a_coded_file_is_not_named_like_a_picture_or_a_sound(folder, name):
    hint = f"{name} would be a .cmb file, which its name denies; give -o x.cmb"
    refused(run("encode", "photo.png", "-o", name), 2, hint)
    refused(run("encode", "photo.png", "-o", name, "-f"), 2, hint)
    assert name not in left_in(folder)


@pytest.mark.parametrize("name", ["x.cmb", "x.CMB", "x", "x.v2"])
def test_a_coded_file_has_any_other_name(folder, name):
    done = run("encode", "photo.png", "-o", name, "--prior", "photo-8", "--size", "70", "-e", "1")
    assert done.exit_code == 0, done.output
    assert (folder / name).stat().st_size == 70
