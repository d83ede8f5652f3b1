"""A Dask cluster on this machine: the same bytes as from one process, whoever dies meanwhile."""

import os
import re
import signal as signals_of_the_system
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import ROOT, run
from support.learned import tiny_mixture, tiny_mixture_file
from support.signals import smooth_image

from combiner_cli.batch import cluster, outputs
from combiner_cli.batch.failures import attempt
from combiner_cli.batch.requests import Encoding, Failure, Job
from combiner_cli.errors import ClusterError
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.media import files as media
from combiner_cli.priors import store

PRIOR = ("--prior", "mixed-image", "--size", "400", "-e", "1")


@contextmanager
def dask(*arguments):
    """A process of Dask in which this program can be imported, but not the priors of a test."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {name: value for name, value in os.environ.items() if name != "COMBINER_PRIORS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        env={**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process, pattern):
    """The first group of a pattern in what a process says."""
    said = []
    for line in process.stderr:
        said.append(line)
        if match := re.search(pattern, line):
            return match[1]
    return pytest.fail("".join(said))


def scheduler():
    return dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")


def worker(address):
    """A worker without a nanny, which would start it again."""
    return dask("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")


@pytest.fixture(scope="module")
def running():
    """A scheduler with two workers: its address, and their processes."""
    pytest.importorskip("distributed", reason="distributed is not installed (combiner[dask])")
    with ExitStack() as stack:
        process = stack.enter_context(scheduler())
        address = wait_for(process, r"Scheduler at:\s+(tcp://\S+)")
        workers = [stack.enter_context(worker(address)) for _ in range(2)]
        for one in workers:
            wait_for(one, r"(Registered to)")
        yield SimpleNamespace(address=address, workers=workers)


@pytest.fixture
def pictures(tmp_path, prior_folder, monkeypatch):
    """Small pictures, which go together, and some too large for that; and a prior that the workers do not have."""
    (prior_folder / "mixed-image.safetensors").symlink_to(tiny_mixture_file())
    monkeypatch.chdir(tmp_path)
    folder = Path("pictures")
    (folder / "large").mkdir(parents=True)
    for number in range(3):
        media.write_signal(smooth_image(12, 12, seed=number), folder / f"{number}.png")
    for number in range(10):
        media.write_signal(smooth_image(100, 112, seed=number), folder / "large" / f"{number}.bmp")
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_bytes_are_those_of_one_process_though_a_worker_is_killed(pictures, running):
    assert run("encode", "-r", pictures, "-d", "here", *PRIOR).exit_code == 0
    command = ("encode", "-r", pictures, "-d", "there", *PRIOR, "--dask", running.address)
    process = subprocess.Popen(
        [sys.executable, "-m", "combiner_cli", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdout.readline()
        running.workers[0].send_signal(signals_of_the_system.SIGKILL)
        more, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 0, errors
    assert len(more.splitlines()) == 12
    assert contents("here") == contents("there") and len(contents("there")) == 13
    assert re.fullmatch(r"13 files encoded: [\d,]+ -> [\d,]+ bytes, \d+\.\d s\n", errors)
    assert running.workers[0].wait(10) == -signals_of_the_system.SIGKILL


def test_decoding_and_a_bad_file(pictures, running):
    assert run("encode", pictures / "0.png", pictures / "1.png", "-d", "coded", *PRIOR[:4]).exit_code == 0
    coded = Path("coded/1.cmb").read_bytes()
    Path("coded/bad.cmb").write_bytes(coded[:-1])
    os.utime("coded/1.cmb", (10**9, 10**9))
    done = run("decode", "-r", "coded", "-d", "there", "--dask", running.address)
    assert done.exit_code == 1
    assert done.stderr.startswith("combiner: coded/bad.cmb: the file is truncated or was changed")
    assert done.stderr.endswith("combiner: 1 of 3 failed: coded/bad.cmb\n")
    Path("coded/bad.cmb").unlink()
    assert run("decode", "-r", "coded", "-d", "here").exit_code == 0
    assert contents("here") == contents("there")
    assert Path("there/1.png").stat().st_mtime == 10**9


def test_a_prior_that_comes_with_the_program_is_not_sent(pictures, running, monkeypatch):
    def never(_prior):
        pytest.fail("the workers have it")

    monkeypatch.setattr(cluster, "_content", never)
    media.write_signal(smooth_image(32, 32), Path("small.png"))
    arguments = ("encode", "small.png", "--prior", "cifar10-5", "-e", "1")
    assert run(*arguments, "-d", "there", "--dask", running.address).exit_code == 0
    assert run(*arguments, "-d", "here").exit_code == 0
    assert contents("here") == contents("there")


@pytest.mark.slow
def test_what_is_cancelled_is_sent_again_with_its_prior(pictures, running, monkeypatch):
    """As the scheduler does where a prior is lost with all the workers that had it."""
    sent, cancelled = [], []
    original = cluster._Sender.send

    def send(self, files):
        future = original(self, files)
        sent.append(dict(self._sent))
        if len(sent) == 1:
            future.cancel()
            cancelled.append(future)
        return future

    monkeypatch.setattr(cluster._Sender, "send", send)
    names = [pictures / f"{number}.png" for number in range(3)]
    done = run("encode", *names, "-d", "there", *PRIOR[:4], "--dask", running.address)
    assert done.exit_code == 0, done.output
    assert len(sent) == 2 and cancelled
    (first,), (second,) = (files.values() for files in sent)
    assert first.key != second.key
    assert run("encode", *names, "-d", "here", *PRIOR[:4]).exit_code == 0
    assert contents("here") == contents("there")


def refused(done, message):
    assert done.exit_code == ClusterError.exit_code == 11
    assert done.stdout == ""
    assert re.fullmatch(f"combiner: {message}\n", done.stderr), done.stderr


def test_another_version_is_refused(pictures, running, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0.1")
    done = run("encode", pictures / "0.png", *PRIOR, "--dask", running.address)
    refused(done, r"worker tcp://\S+ has combiner \d+\.\d+\.\d+, and here is 0\.0\.1; install the same everywhere")
    with pytest.raises(ClusterError, match=r"a worker has combiner 0\.0\.1, and here is 0\.0\.2"):
        cluster.convert_contents("0.0.2", Encoding(), [], [], None, None)


def test_a_scheduler_that_does_not_answer(pictures, monkeypatch):
    pytest.importorskip("distributed", reason="distributed is not installed (combiner[dask])")
    monkeypatch.setattr(cluster, "_CONNECT", "1s")
    for address in ("tcp://127.0.0.1:1", "carrier-pigeon://roof:1"):
        done = run("encode", pictures / "0.png", *PRIOR, "--dask", address)
        refused(done, f"no Dask scheduler answers at {address}; start one, or give its address, .*")
    assert not (pictures / "0.cmb").exists()


def test_a_scheduler_that_is_lost(pictures, monkeypatch):
    """What is finished stays."""
    pytest.importorskip("distributed", reason="distributed is not installed (combiner[dask])")
    with scheduler() as process:
        address = wait_for(process, r"Scheduler at:\s+(tcp://\S+)")
        done = run("encode", pictures / "0.png", *PRIOR, "--dask", address)
        refused(done, f"the Dask cluster at {address} has no workers; start some: dask worker {address}")
        with worker(address) as one:
            wait_for(one, r"(Registered to)")
            finish = outputs.finish

            def kill_then_finish(*arguments):
                process.kill()
                process.wait()
                return finish(*arguments)

            monkeypatch.setattr(outputs, "finish", kill_then_finish)
            done = run("encode", "-r", pictures, "-d", "there", *PRIOR, "--dask", address)
    assert done.exit_code == 11
    assert (
        done.stderr == f"combiner: the scheduler at {address} is lost; start it again, and this with --skip-existing\n"
    )
    assert 0 < len(contents("there")) < 13


def test_without_the_package_it_says_how_to_get_it(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = run("encode", pictures / "0.png", *PRIOR, "--dask", "tcp://127.0.0.1:1")
    refused(done, r"--dask takes the package distributed; install it: pip install 'combiner\[dask\]'")


def test_work_of_a_worker_that_got_the_prior(tmp_path, prior_folder):
    """The prior is found by its id if it is here, and else taken from what was sent."""
    prior = tiny_mixture()
    job = Job(Path("x.bmp"), Path("x.cmb"))
    content = media.signal_bytes(smooth_image(12, 12), ".bmp")
    request = Encoding(Target("size", 70), EncodingOptions(effort=1), "elsewhere/mine.safetensors")
    arguments = (cluster.__version__, request, [job], [content], prior.id)
    cluster._received.cache_clear()
    (missing,) = [attempt(lambda: cluster.convert_contents(*arguments, None))]
    assert isinstance(missing, Failure) and missing.exit_code == 6
    (sent,) = cluster.convert_contents(*arguments, cluster._content(prior))
    cluster._received.cache_clear()
    store.save(prior, prior_folder / "any-name.safetensors")
    (found,) = cluster.convert_contents(*arguments, None)
    cluster._received.cache_clear()
    assert sent.data == found.data and len(found.data) == 70
