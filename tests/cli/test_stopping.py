"""Commands that are killed, interrupted, or find no room: some of what `make kill` does fifty times, and full disks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from support import killing
from support.commands import coded_photo, files_in, left_in
from support.signals import smooth_image

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.media import files as media
from combiner_cli.priors import library


@pytest.fixture(scope="module")
def stopped_commands(tmp_path_factory):
    return killing.commands(tmp_path_factory.mktemp("killing"))


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["encode", "decode"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("old", [None, b"mine"], ids=["new", "existing"])
def test_an_output_is_absent_or_complete_and_an_old_one_untouched(stopped_commands, which, number, old):
    tally = killing.stop_often(stopped_commands[which], 2, number, random.Random(3), old)
    assert not tally.faults
    assert tally.absent + tally.kept + tally.complete == 2


@pytest.mark.slow
def test_learning_goes_on_after_it_was_killed_and_ends_with_the_same_prior(stopped_commands):
    tally = killing.kill_while_learning(stopped_commands[2], 4, random.Random(5))
    assert not tally.faults
    assert tally.absent >= 1


@pytest.mark.slow
def test_what_is_stopped_is_stopped_in_the_middle(stopped_commands):
    """Or else nothing of this would say anything; the machine may have become faster since the command was timed."""
    encode = stopped_commands[0]
    assert -signal.SIGKILL in {
        killing.stopped(encode, share * encode.seconds, signal.SIGKILL)[0] for share in (0.05, 0.1, 0.2, 0.4)
    }


def test_an_interruption_before_the_command_ends_by_the_signal_too():
    """There click sees to it, and knows no better exit code than 1."""
    program = """
import signal, sys
from combiner_cli.cli import main as program
def interrupted(*_, **__):
    signal.raise_signal(signal.SIGINT)
program._Commands.{method} = interrupted
sys.argv = ["combiner", "info", "x.cmb"]
program.run()
"""
    for method in ("make_context", "parse_args", "invoke"):
        command = [sys.executable, "-c", program.replace("{method}", method)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGINT


def stopped_while_reading(number, read):
    """What is printed by a command in whose place of reading a file some lines stand, which the signal ends."""
    program = f"""
import signal, sys, time, types, weakref
from combiner_cli.cli.main import run
from combiner_cli.system import files
{read.format(number=int(number))}
files.read_bytes = read
sys.argv = ["combiner", "info", "x.cmb"]
run()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == -number, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_torch_is_loaded(number):
    """An exception in the midst of that may abort the process, and a temporary file would be left."""
    read = """
torch = sys.modules["torch"] = types.ModuleType("torch")
torch.__spec__ = types.SimpleNamespace(_initializing=True)
def read(*_):
    signal.raise_signal({number})
    print("loaded", flush=True)
    torch.__spec__._initializing = False
    time.sleep(10)
"""
    assert stopped_while_reading(number, read) == "loaded\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_callback_of_an_import_is_not_lost(number):
    """Python ignores exceptions there."""
    read = """
names = dict(signal=signal)
exec(compile("def callback(_): signal.raise_signal({number})", "<frozen importlib._bootstrap>", "exec"), names)
def read(*_):
    lock = type("Lock", (), dict())()
    reference = weakref.ref(lock, names["callback"])
    del lock
    print("gone", flush=True)
    time.sleep(10)
"""
    assert stopped_while_reading(number, read) == "gone\n"


def started(*arguments):
    return subprocess.Popen(
        killing.program(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_encode_that_is_stopped_leaves_nothing_behind_and_ends_by_the_signal(tmp_path, number):
    media.write_signal(smooth_image(256, 256), tmp_path / "photo.png")
    before = left_in(tmp_path)
    process = started("encode", tmp_path / "photo.png", "--prior", "photo-8", "-e", "9")
    deadline = time.monotonic() + 60
    while left_in(tmp_path) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -number, errors
    assert "Traceback" not in errors
    assert left_in(tmp_path) == before


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_batch_that_is_interrupted_keeps_what_is_finished_and_leaves_nothing_else(tmp_path, jobs):
    folder = tmp_path / "pictures"
    folder.mkdir()
    media.write_signal(smooth_image(9, 9), folder / "0.png")
    for n in range(1, 4):
        media.write_signal(smooth_image(600, 600, seed=n), folder / f"{n}.png")
    options = ("--jobs", jobs, "--prior", "photo-8", "-e", "9")
    process = started("encode", "-r", folder, "-d", tmp_path / "coded", *options)
    assert "0.png" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)  # which lasts until nobody can write there any more
    assert process.returncode == -signal.SIGINT
    assert errors == "combiner: interrupted\n"
    assert files_in(tmp_path / "coded") == ["0.cmb"]
    file = File.parse((tmp_path / "coded" / "0.cmb").read_bytes())
    assert pipeline.decode(file, library.find_id).shape == (9, 9)


def finished(*arguments, **more):
    return subprocess.run(killing.program(*arguments), capture_output=True, text=True, check=False, **more)


def failed_to_write(done, folder, before) -> None:
    assert done.returncode == 7, done.stderr
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert killing.names(folder) == before


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 64 KiB, where one can be mounted; nearly full."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a file system of its own")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(full_disk, tmp_path):
    media.write_signal(smooth_image(100, 100, seed=1), tmp_path / "photo.png")
    (full_disk / "photo.cmb").write_bytes(coded_photo())
    (full_disk / "filler").write_bytes(bytes(56 << 10))
    (full_disk / "photo.png").write_bytes(b"mine")
    before = killing.names(full_disk)
    failed_to_write(finished("decode", full_disk / "photo.cmb", "-f", "--scale", "8"), full_disk, before)
    assert (full_disk / "photo.png").read_bytes() == b"mine"
    command = ("encode", tmp_path / "photo.png", "-o", full_disk / "photo.cmb", "-f", "-e", "1", "--size", "20000")
    failed_to_write(finished(*command), full_disk, before)
    assert (full_disk / "photo.cmb").read_bytes() == coded_photo()


def test_a_disk_quota(tmp_path):
    """A limit on the size of files: the system refuses to write on, as it does on a full disk."""
    resource = pytest.importorskip("resource")
    (tmp_path / "photo.cmb").write_bytes(coded_photo())
    (tmp_path / "photo.png").write_bytes(b"mine")
    before = killing.names(tmp_path)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    failed_to_write(finished("decode", tmp_path / "photo.cmb", "-f", preexec_fn=limit), tmp_path, before)
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody can write to, not even root."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"mine")
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mounted = [["mount", "--bind", str(folder), str(folder)], ["mount", "-o", "remount,ro,bind", str(folder)]]
    for command in mounted:
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
            pytest.skip(f"root ignores permissions, and nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_cannot_be_written_to(read_only, tmp_path):
    before = killing.names(read_only)
    (tmp_path / "photo.cmb").write_bytes(coded_photo())
    done = finished("decode", tmp_path / "photo.cmb", "-f", "-o", read_only / "photo.png")
    failed_to_write(done, read_only, before)
    assert "no permission" in done.stderr
    assert (read_only / "photo.png").read_bytes() == b"mine"
