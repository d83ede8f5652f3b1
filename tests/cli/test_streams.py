"""Standard streams that are closed, full, or read by nobody."""

import shutil
from pathlib import Path

import pytest
from support.commands import coded_photo, environment, in_shell
from support.signals import smooth_image

from combiner_cli.media import files as media

PRIOR = "--prior photo-8 --size 70 -e 1"

pytestmark = [
    pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here"),
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full"),
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A function that runs a line in a folder with a picture and its file."""
    folder = tmp_path_factory.mktemp("streams")
    media.write_signal(smooth_image(11, 13), folder / "photo.png")
    (folder / "photo.cmb").write_bytes(coded_photo())
    variables = environment(folder / "bin")
    return lambda line: in_shell(line, variables, cwd=folder)


WITHOUT_ROOM = (
    b"combiner: standard output cannot be written: no space left on the device; free some, or send it elsewhere\n"
)
CLOSED = b"combiner: standard output is closed; send it somewhere, as with > FILE\n"
COMMANDS = (
    "--help",
    "--version",
    "encode -h",
    "info photo.cmb",
    "info photo.cmb photo.cmb --json",
    "test photo.cmb",
    "priors",
    "completion bash",
    "compare photo.png photo.png",
    "decode photo.cmb -o -",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_standard_output_is_one_line(shell, command):
    done = shell(f"combiner {command} > /dev/full")
    assert (done.returncode, done.stderr) == (7, WITHOUT_ROOM)


@pytest.mark.parametrize("command", ["--help", "info photo.cmb", "decode photo.cmb -o -"])
def test_standard_output_that_is_closed_is_one_line(shell, command):
    done = shell(f"combiner {command} >&-")
    assert (done.returncode, done.stderr) == (7, CLOSED)


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_an_output_is_complete_though_its_line_cannot_be_written(shell, redirection):
    done = shell(f"combiner decode photo.cmb -f -o x.png {redirection} && echo well")
    assert done.returncode == 7
    assert shell("combiner decode photo.cmb -o - --format png 2> /dev/null | cmp - x.png").returncode == 0
    done = shell(f"combiner decode photo.cmb -f -o x.png --quiet {redirection}")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["--help", "encode -h", "info photo.cmb", "priors", "decode photo.cmb -o -"])
def test_a_reader_that_has_enough_ends_it_quietly(shell, command):
    """By the signal, as with cat: 128 + 13, and nothing is said."""
    done = shell(f"{{ combiner {command}; echo $? > code; }} 2> errors | true; cat code errors")
    assert done.stdout == b"141\n"


def test_standard_input_that_is_closed_is_one_line(shell):
    for command in (f"encode - -o x.cmb {PRIOR}", "decode - -o x.bmp", "info -", "test -"):
        done = shell(f"combiner {command} <&-")
        assert (done.returncode, done.stdout) == (3, b"")
        assert done.stderr.endswith(b"standard input is closed; give a file, or pipe one in\n")
        assert done.stderr.count(b"\n") == 1


def test_standard_input_that_cannot_be_read_is_one_line(shell):
    done = shell("combiner info - 0> x.txt")  # open, but to be written to
    assert done.returncode == 3
    assert done.stderr == b"combiner: -: standard input cannot be read: Bad file descriptor; give a file\n"


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "<&- 2>&-"])
def test_without_standard_error_the_exit_code_says_it_all(shell, redirection):
    for command, code in (
        (f"encode photo.png -o y.cmb -f {PRIOR}", 0),
        ("decode missing.cmb", 3),
        ("decode photo.cmb -o nowhere/x.png", 7),
        ("paint", 2),
        ("info photo.cmb photo.png", 1),
    ):
        assert shell(f"combiner {command} {redirection}").returncode == code, command


def test_no_message_goes_into_a_file_that_is_opened_in_place_of_a_closed_stream(shell):
    quietly = shell(f"combiner encode photo.png -f -o a.cmb {PRIOR} && cat a.cmb")
    closed = shell(f"combiner encode photo.png -f -o b.cmb {PRIOR} <&- >&- 2>&-; cat b.cmb")
    assert quietly.returncode == closed.returncode == 0
    assert closed.stdout == quietly.stdout[-70:]


def test_what_the_encoding_of_the_terminal_does_not_have_is_escaped(shell):
    shell("cp photo.cmb 日.cmb")
    done = shell("PYTHONIOENCODING=latin-1 combiner info 日.cmb")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(rb"\u65e5.cmb: 102x75 RGB, 8 bits" + b"\n")
    assert rb"\u2588" in done.stdout  # of the bars
