"""Pipelines of a shell, as people write them."""

import os
import pty
import re
import shutil
from io import BytesIO
from pathlib import Path

import pytest
import soundfile
from PIL import Image
from support.commands import environment, in_shell
from support.signals import smooth_image, tone

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.media import files as media
from combiner_cli.priors import library

PRIOR = "--prior photo-8 --size 70 -e 1"
SOUND_PRIOR = "--prior speech-5 --size 125 -e 1"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("programs") / "bin")


@pytest.fixture
def shell(tmp_path, variables, monkeypatch):
    """A function that runs a line in a folder with a picture and a sound."""
    monkeypatch.chdir(tmp_path)
    media.write_signal(smooth_image(11, 13), Path("photo.png"))
    media.write_signal(tone(500), Path("voice.wav"))
    return lambda line: in_shell(line, variables)


def names():
    return sorted(path.name for path in Path().iterdir())


def test_there_and_back_through_pipes(shell):
    done = shell(f"cat photo.png | combiner encode - {PRIOR} | combiner decode - > x.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert re.fullmatch(r"stdin -> stdout: [\d,]+ -> 70 bytes, \d\.\d+ bpp, PSNR \d+\.\d\d dB, \d+\.\d s", lines[0])
    assert re.fullmatch(r"stdin -> stdout: 13x11 RGB, \d+\.\d\d s", lines[1])
    shell(f"combiner encode photo.png {PRIOR} && combiner decode photo.cmb -o y.png")
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()


def test_to_and_from_files(shell):
    done = shell(
        f"combiner encode photo.png -o - {PRIOR} --quiet > a.cmb && combiner encode - -o b.cmb {PRIOR} < photo.png"
    )
    assert done.returncode == 0, done.stderr
    assert re.match(rb"stdin -> b\.cmb: [\d,]+ -> 70 bytes", done.stdout)
    assert done.stderr == b""
    assert Path("a.cmb").read_bytes() == Path("b.cmb").read_bytes()
    done = shell("combiner decode a.cmb -o - --format ppm --json > a.ppm")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b'"input": "a.cmb", "output": "stdout", "kind": "image"' in done.stderr
    done = shell("combiner decode - -o c.png < a.cmb")
    assert done.stdout.startswith(b"stdin -> c.png: 13x11 RGB")
    with Image.open("a.ppm") as one, Image.open("c.png") as other:
        assert one.format == "PPM" and one.tobytes() == other.tobytes()


def test_a_sound_through_pipes(shell):
    done = shell(f"combiner encode - {SOUND_PRIOR} < voice.wav | combiner decode - | cat")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(BytesIO(done.stdout)).frames == 500
    assert soundfile.info(BytesIO(done.stdout)).format == "WAV"
    done = shell(f"combiner encode - {SOUND_PRIOR} < voice.wav | combiner decode - --format flac")
    assert soundfile.info(BytesIO(done.stdout)).format == "FLAC"
    done = shell(f"combiner encode - {SOUND_PRIOR} < voice.wav | combiner decode - --format png")
    assert (done.returncode, done.stdout) == (7, b"")
    assert b"a sound cannot be written as .png" in done.stderr


def test_find_and_xargs(shell):
    Path("new lines\nand spaces").mkdir()
    for number in range(5):
        media.write_signal(smooth_image(9, 9, seed=number), Path("new lines\nand spaces") / f"a b {number}.png")
    done = shell(f"find . -name '*.png' -print0 | xargs -0 -n 2 -P 2 combiner encode {PRIOR} -d coded --quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(path.name for path in Path("coded").iterdir()) == [
        *(f"a b {n}.cmb" for n in range(5)),
        "photo.cmb",
    ]
    done = shell("find coded -name '*.cmb' -print0 | xargs -0 combiner decode -d back | wc -l")
    assert done.stdout.strip() == b"6"
    assert len(list(Path("back").iterdir())) == 6


def test_xargs_goes_on_after_a_bad_file_and_says_so(shell):
    Path("bad.png").write_text("no picture")
    done = shell(f"printf '%s\\0' bad.png photo.png | xargs -0 -n 1 combiner encode {PRIOR}")
    assert done.returncode == 123
    assert Path("photo.cmb").exists()
    assert b"bad.png is neither an image nor a sound" in done.stderr


def test_what_comes_in_may_be_damaged(shell):
    done = shell("head -c 100 photo.png | combiner encode - > x.cmb")
    assert (done.returncode, Path("x.cmb").read_bytes()) == (3, b"")
    assert re.fullmatch(rb"combiner: stdin is damaged or unsupported .*\n", done.stderr)
    done = shell("combiner decode - < photo.png > x.png")
    assert (done.returncode, Path("x.png").read_bytes()) == (4, b"")
    assert done.stderr.startswith(b"combiner: stdin: this is not a .cmb file")
    done = shell("combiner encode - -o - < /dev/null | combiner decode -")
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("line", ["combiner encode photo.png {} -o -", "combiner encode photo.png photo.png {} -f"])
def test_a_reader_that_has_enough_ends_it_quietly(shell, line):
    """By the signal, as with cat: 128 + 13, and nothing is said."""
    done = shell(f"({line.format(PRIOR)} 2> errors; echo $? > code) | true")
    assert done.returncode == 0
    assert Path("code").read_text() == "141\n"
    assert "Traceback" not in Path("errors").read_text() and "Exception" not in Path("errors").read_text()
    assert not [name for name in names() if name.startswith(".")]


def on_a_terminal(shell, line, stdin=None):
    """The end of a line whose output and errors go to a terminal, and what it shows."""
    ours, theirs = pty.openpty()
    try:
        done = shell(f"({line}) > {os.ttyname(theirs)} 2>&1 < {stdin or os.ttyname(theirs)}")
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 2**16)
        except BlockingIOError:
            shown = b""
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, shown.replace(b"\r\n", b"\n")


def test_no_binary_goes_to_a_terminal(shell):
    code, shown = on_a_terminal(shell, f"combiner encode photo.png -o - {PRIOR}")
    assert code == 7
    assert (
        shown == b"combiner: standard output is a terminal, which a file would garble; give -o FILE, or -f to do it\n"
    )
    shell(f"combiner encode photo.png {PRIOR}")
    code, shown = on_a_terminal(shell, "combiner decode -", stdin="photo.cmb")
    assert code == 7 and shown.startswith(b"combiner: standard output is a terminal")
    code, shown = on_a_terminal(shell, f"combiner encode - {PRIOR} > x.cmb")
    assert code == 2
    assert shown == b"combiner: standard input is a terminal; give a file, or pipe one in\n"
    code, shown = on_a_terminal(shell, f"combiner encode - -f {PRIOR}", stdin="photo.png")
    assert code == 0 and b"CMB" in shown


def test_a_bar_over_files_on_a_terminal_and_lines_where_they_belong(shell):
    code, shown = on_a_terminal(shell, f"combiner encode photo.png voice.wav {PRIOR} -d coded > lines")
    assert code == 1
    assert b"/2 files" in shown and b"combiner: voice.wav: " in shown
    assert re.fullmatch(r"photo\.png -> coded/photo\.cmb: .*\n", Path("lines").read_text())
    code, shown = on_a_terminal(shell, f"combiner encode photo.png {PRIOR} -d coded --skip-existing --quiet")
    assert (code, shown) == (0, b"")


def test_decoding_from_a_pipe_gives_what_the_encoder_measured(shell):
    shell(f"combiner encode photo.png {PRIOR}")
    done = shell("combiner decode - < photo.cmb")
    decoded = media.read_signal_bytes(done.stdout, Path("x.png"))
    expected = pipeline.decode(File.parse(Path("photo.cmb").read_bytes()), library.find_id)
    assert (decoded.samples == expected.samples).all()
