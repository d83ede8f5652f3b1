"""Inputs and outputs that are no regular files: devices, named pipes, open files of a shell."""

import os
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest
from support.commands import coded_photo, environment, in_shell, left_in, refused, run
from support.signals import smooth_image

from combiner_cli.media import files as media

PRIOR = "--prior photo-8 --size 70 -e 1"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A function that runs a line in a folder with a picture and a file."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    media.write_signal(smooth_image(11, 13), Path("photo.png"))
    Path("coded.cmb").write_bytes(coded_photo())
    variables = environment(tmp_path / "bin")
    return lambda line: in_shell(line, variables)


@pytest.mark.parametrize("overwrite", ["", "-f"])
def test_the_null_device_takes_everything_and_stays_what_it_is(shell, overwrite):
    done = shell(f"combiner encode photo.png {PRIOR} -o /dev/null {overwrite}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"photo.png -> /dev/null: ")
    done = shell(f"combiner decode coded.cmb -o /dev/null {overwrite}")
    assert (done.returncode, done.stderr) == (0, b"")
    done = shell(f"combiner compare photo.png photo.png --difference /dev/null {overwrite}")
    assert b"cannot be written without a suffix" in done.stderr
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_has_other_names(shell, name):
    expected = shell(f"combiner encode photo.png {PRIOR} -o -").stdout
    assert len(expected) == 70
    done = shell(f"combiner encode photo.png {PRIOR} -o {name} | cat")
    assert done.stdout == expected
    assert done.stderr.startswith(b"photo.png -> stdout: ")
    done = shell(f"echo before > all; combiner encode photo.png {PRIOR} -o {name} --quiet >> all; cat all")
    assert done.stdout == b"before\n" + expected
    assert left_in(".") == ["all", "coded.cmb", "photo.png"]


def test_standard_error_is_written_to_as_it_is(shell):
    expected = shell(f"combiner encode photo.png {PRIOR} -o -").stdout
    done = shell(f"echo before > log; combiner encode photo.png {PRIOR} -o /dev/stderr 2>> log")
    assert done.stdout.startswith(b"photo.png -> /dev/stderr: ")
    assert Path("log").read_bytes() == b"before\n" + expected


def test_an_open_file_is_written_to_where_it_stands(shell):
    expected = shell(f"combiner encode photo.png {PRIOR} -o -").stdout
    done = shell(f"exec 5> both; echo before >&5; combiner encode photo.png {PRIOR} -o /dev/fd/5; echo behind >&5")
    assert done.stdout.startswith(b"photo.png -> /dev/fd/5: ")
    assert Path("both").read_bytes() == b"before\n" + expected + b"behind\n"
    done = shell(f"combiner encode photo.png {PRIOR} -o /dev/fd/7")
    assert done.returncode == 7
    assert done.stderr.startswith(b"combiner: /dev/fd/7 cannot be written: Bad file descriptor")


def test_a_process_reads_what_is_written(shell):
    expected = shell(f"combiner encode photo.png {PRIOR} -o -").stdout
    shell(f"combiner encode photo.png {PRIOR} -o >(cat > x.cmb; touch ready); until [ -e ready ]; do sleep 0.1; done")
    assert Path("x.cmb").read_bytes() == expected
    done = shell("combiner decode coded.cmb -o >(true) --scale 8 --format bmp; exit $?")  # more than a pipe holds
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("name", "magic"), [("pipe", b"\x89PNG"), ("pipe.bmp", b"BM")])
def test_a_named_pipe_takes_an_output_and_stays(shell, name, magic):
    os.mkfifo(name)
    contents = []
    reader = threading.Thread(target=lambda: contents.append(Path(name).read_bytes()))
    reader.start()
    done = run("decode", "coded.cmb", "-o", name)
    reader.join(60)
    assert (done.exit_code, done.stderr) == (0, "")
    assert contents[0].startswith(magic)
    assert stat.S_ISFIFO(Path(name).stat().st_mode)


def test_the_format_can_be_said_where_the_name_does_not(shell):
    done = shell("combiner decode coded.cmb -o /dev/fd/5 --format bmp 5> x")
    assert done.returncode == 0, done.stderr
    assert Path("x").read_bytes().startswith(b"BM")
    refused(run("decode", "coded.cmb", "-o", "x.png", "--format", "bmp"), 2, "--format goes without -o FILE")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_without_room_is_one_line(shell):
    for command in (f"encode photo.png {PRIOR}", "decode coded.cmb"):
        done = shell(f"combiner {command} -o /dev/full")
        assert done.returncode == 7
        assert done.stderr == (
            b"combiner: /dev/full cannot be written: no space left on the device; free some and run again\n"
        )


def test_a_socket_is_not_replaced(shell):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.cmb")
        refused(run("encode", "photo.png", "-o", "socket.cmb", "-f"), 7, "socket.cmb is not a regular file")
        assert stat.S_ISSOCK(Path("socket.cmb").stat().st_mode)


def test_a_pipe_is_read_once(shell):
    assert shell(f"combiner encode <(cat photo.png) {PRIOR} -o x.cmb").returncode == 0
    shell(f"combiner encode photo.png {PRIOR} -o y.cmb")
    assert Path("x.cmb").read_bytes() == Path("y.cmb").read_bytes()
    done = shell("combiner decode <(cat coded.cmb) -o x.png")
    assert done.returncode == 0, done.stderr
    shell("combiner decode coded.cmb -o y.png")
    assert Path("x.png").read_bytes() == Path("y.png").read_bytes()
    assert shell("combiner info <(cat coded.cmb)").returncode == 0
    assert shell("combiner test <(cat coded.cmb)").returncode == 0
    done = shell("combiner decode <(cat coded.cmb) -o - | head -c 4")
    assert done.stdout == b"\x89PNG"


def test_a_pipe_gives_its_output_no_name(shell):
    done = shell(f"combiner encode <(cat photo.png) {PRIOR}")
    assert done.returncode == 2
    assert done.stderr.endswith(b" has no name of its own to call its output by; give it alone, with -o FILE\n")
    done = shell(f"combiner encode <(cat photo.png) photo.png {PRIOR} -d coded")
    assert done.returncode == 1
    assert left_in("coded") == ["photo.cmb"]


def test_a_named_pipe_among_several_files_is_refused_where_it_would_be_read_twice(shell):
    os.mkfifo("pipe.cmb")
    done = run("decode", "pipe.cmb", "coded.cmb", "-d", "back")
    assert done.exit_code == 1
    assert "combiner: pipe.cmb is a pipe, which cannot be one of several; give it alone\n" in done.stderr
    assert left_in("back") == ["coded.png"]


def test_standard_input_has_other_names(shell):
    expected = shell(f"combiner encode photo.png {PRIOR} -o -").stdout
    for name in ("/dev/stdin", "/dev/fd/0"):
        done = shell(f"combiner encode {name} {PRIOR} < photo.png")
        assert (done.returncode, done.stdout) == (0, expected)
        assert done.stderr.startswith(b"stdin -> stdout: ")


def test_a_file_called_stdin_is_none_of_standard_input(shell):
    Path("stdin").mkdir()
    done = shell(f"combiner encode - {PRIOR} -o x.cmb < photo.png")
    assert (done.returncode, done.stderr) == (0, b"")
