"""Many files in one call: transcripts, where outputs go, and what happens when something goes wrong with some."""

import json
import os
import re
import signal as signals_of_the_system
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import processes_work
import pytest
from click.testing import CliRunner
from conftest import smooth_image, tiny_mixture, tiny_prior, tone

from combiner_cli.batch import work
from combiner_cli.batch.work import Decoding, Encoding, Failure, Job, Places
from combiner_cli.cli.main import main
from combiner_cli.codec import pipeline
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.rec import energies, portable, search
from combiner_cli.system import processes

LONG_AGO = 1_000_000_000  # a second of 2001
PRIOR = ("--prior", "mixed-image", "--size", "70", "-e", "1")


@pytest.fixture
def pictures(tmp_path, prior_folder, monkeypatch):
    """A folder with nine pictures, one file that is none, and a fast prior."""
    library.save(tiny_mixture(), prior_folder / "mixed-image.safetensors")
    monkeypatch.chdir(tmp_path)
    folder = Path("pictures")
    (folder / "a" / "b").mkdir(parents=True)
    places = ["0.png", "1.png", "2.png", "a/3.png", "a/4.png", "a/b/5.png", "a/b/6.PNG", "7.png", "8.png"]
    for number, place in enumerate(places):
        width = 40 if place == "8.png" else 12
        media.write_signal(smooth_image(11, width, seed=number), folder / place)
        os.utime(folder / place, (LONG_AGO, LONG_AGO + number))
    (folder / "a" / "bad.png").write_text("no picture")
    return folder


def run(*arguments):
    """Run a command in this process; an unexpected exception fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def refused(done, exit_code, message):
    """One line on stderr that says so, nothing on stdout."""
    assert done.exit_code == exit_code, done.output
    assert done.stdout == ""
    assert re.fullmatch(rf"combiner: .*{message}.*\n", done.stderr), done.stderr


CODED = ["0.cmb", "1.cmb", "2.cmb", "7.cmb", "8.cmb", "a/3.cmb", "a/4.cmb", "a/b/5.cmb", "a/b/6.cmb"]


def test_ten_files_of_which_one_is_bad(pictures):
    done = run("encode", "-r", pictures, "-d", "coded", *PRIOR)
    assert done.exit_code == 1
    lines = sorted(re.sub(r"[\d,]+ ->|\d+\.\d+", "N", line) for line in done.stdout.splitlines())
    sources = sorted(["0.png", "1.png", "2.png", "7.png", "8.png", "a/3.png", "a/4.png", "a/b/5.png", "a/b/6.PNG"])
    assert lines == [f"pictures/{name} -> coded/{name[:-4]}.cmb: N 70 bytes, N bpp, PSNR N dB, N s" for name in sources]
    total = sum((pictures / name).stat().st_size for name in sources)
    errors = done.stderr.splitlines()
    bad = "pictures/a/bad.png"
    assert errors[0] == (
        f"combiner: {bad} is neither an image nor a sound that can be read (Format not recognised); give one"
    )
    assert re.fullmatch(rf"9 files encoded: {total:,} -> 630 bytes, \d+\.\d s", errors[1])
    assert errors[2:] == [f"combiner: 1 of 10 failed: {bad}"]
    assert files_in("coded") == CODED


def test_the_tree_and_the_times_there_and_back(pictures):
    run("encode", "-r", pictures, "-d", "coded", *PRIOR)
    assert (Path("coded") / "a" / "3.cmb").stat().st_mtime_ns == (LONG_AGO + 3) * 10**9
    done = run("decode", "-r", "coded", "-d", "back", "--format", "bmp")
    assert done.exit_code == 0, done.output
    assert files_in("back") == [name.replace(".cmb", ".bmp") for name in CODED]
    assert (Path("back") / "a" / "3.bmp").stat().st_mtime_ns == (LONG_AGO + 3) * 10**9
    assert media.read_signal(Path("back/8.bmp")).shape == (11, 40)
    assert re.fullmatch(r"9 files decoded: 630 -> [\d,]+ bytes, \d+\.\d s\n", done.stderr)
    assert re.match(r"coded/0\.cmb -> back/0\.bmp: 12x11 RGB, \d+\.\d\d s\n", done.stdout)


def test_a_single_file_has_the_time_of_its_input_unless_it_is_to_be_new(pictures):
    run("encode", pictures / "1.png", *PRIOR)
    assert (pictures / "1.cmb").stat().st_mtime_ns == (LONG_AGO + 1) * 10**9
    run("decode", pictures / "1.cmb", "-o", "back.png")
    assert Path("back.png").stat().st_mtime_ns == (LONG_AGO + 1) * 10**9
    run("encode", pictures / "1.png", *PRIOR, "-f", "--no-preserve-times")
    assert (pictures / "1.cmb").stat().st_mtime > LONG_AGO + 100


def test_outputs_lie_beside_their_inputs_without_a_folder_for_them(pictures):
    done = run("encode", pictures / "0.png", pictures / "a" / "3.png", *PRIOR)
    assert done.exit_code == 0, done.output
    assert (pictures / "0.cmb").exists() and (pictures / "a" / "3.cmb").exists()


def test_processes_give_the_same_bytes(pictures):
    run("encode", "-r", pictures, "-d", "one", *PRIOR)
    done = run("encode", "-r", pictures, "-d", "two", *PRIOR, "--jobs", "2")
    assert done.exit_code == 1
    assert done.stderr.endswith("combiner: 1 of 10 failed: pictures/a/bad.png\n")
    assert len(done.stdout.splitlines()) == 9
    assert files_in("one") == files_in("two") == CODED
    for name in files_in("one"):
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()


def test_existing_outputs_are_refused_or_left_out_or_replaced(pictures):
    run("encode", pictures / "0.png", "-d", "coded", *PRIOR)
    before = Path("coded/0.cmb").stat()
    both = (pictures / "0.png", pictures / "1.png", "-d", "coded", *PRIOR)
    done = run("encode", *both)
    assert done.exit_code == 1
    assert "combiner: pictures/0.png: coded/0.cmb exists; use -f to replace it\n" in done.stderr
    assert done.stderr.endswith("combiner: 1 of 2 failed: pictures/0.png\n")
    Path("coded/1.cmb").unlink()
    done = run("encode", *both, "--skip-existing")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1
    assert re.search(r"^1 file encoded, 1 skipped: [\d,]+ -> 70 bytes", done.stderr)
    assert Path("coded/0.cmb").stat() == before
    assert run("encode", *both, "-f").exit_code == 0
    assert Path("coded/0.cmb").stat().st_ino != before.st_ino
    done = run("encode", pictures / "0.png", "-d", "coded", "--skip-existing")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "combiner: note: coded/0.cmb exists and is kept\n"
    done = run("decode", "-r", "coded", "-d", "coded", "--skip-existing")
    done = run("decode", "-r", "coded", "-d", "coded", "--skip-existing")
    assert done.stderr.startswith("0 files decoded, 2 skipped: ")
    refused(run("encode", *both, "-f", "--skip-existing"), 2, "-f and --skip-existing exclude each other")


def test_inputs_that_would_become_one_file_are_refused_before_any_work(pictures):
    media.write_signal(smooth_image(9, 9), pictures / "0.bmp")
    done = run("encode", pictures / "1.png", pictures / "0.bmp", pictures / "0.png", "-d", "coded")
    refused(done, 2, "pictures/0.bmp and pictures/0.png would both become coded/0.cmb")
    (pictures / "0.bmp").unlink()
    done = run("encode", pictures / "0.png", pictures / "a" / ".." / "0.png", "-d", "coded", *PRIOR)
    refused(done, 2, "would both become")
    done = run("encode", pictures / "0.png", pictures / "0.png", "-d", "coded", *PRIOR)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)  # named twice
    assert files_in("coded") == ["0.cmb"]


def test_an_image_and_a_sound_of_one_name_do_not_collide_when_they_are_decoded(pictures, prior_folder):
    library.save(tiny_mixture("sound"), prior_folder / "mixed-sound.safetensors")
    media.write_signal(tone(500), pictures / "0.wav")
    run("encode", pictures / "0.png", "-o", "0.cmb", *PRIOR)
    Path("sounds").mkdir()
    run("encode", pictures / "0.wav", "-o", "sounds/0.cmb", "--prior", "mixed-sound", "--size", "80")
    done = run("decode", "0.cmb", "sounds/0.cmb", "-d", "back")
    assert done.exit_code == 0, done.output
    assert files_in("back") == ["0.png", "0.wav"]
    done = run("decode", "0.cmb", "sounds/0.cmb", "-d", "back", "--format", "flac")
    assert "combiner: 0.cmb: back/0.flac: an image cannot be written as .flac; use one of" in done.stderr
    assert files_in("back") == ["0.flac", "0.png", "0.wav"]


def test_a_folder_takes_minus_r(pictures):
    refused(run("encode", pictures), 3, "pictures is a folder; give -r to take the files in it")
    done = run("encode", pictures, pictures / "0.png", "-d", "coded", *PRIOR)
    assert done.exit_code == 1
    assert "combiner: pictures is a folder; give -r to take the files in it\n" in done.stderr
    assert files_in("coded") == ["0.cmb"]
    Path("empty").mkdir()
    refused(run("encode", "-r", "empty"), 3, "there are no images and no sounds in it")
    refused(run("decode", "-r", "empty"), 3, r"there are no \.cmb files in it")


def test_options_that_do_not_go_together(pictures):
    one, two = pictures / "0.png", pictures / "1.png"
    refused(run("encode", one, two, "-o", "x.cmb"), 2, "-o names the output of one input; give -d")
    refused(run("encode", "-r", pictures, "-o", "x.cmb"), 2, "-o names the output of one input; give -d")
    refused(run("encode", one, "-o", "x.cmb", "-d", "coded"), 2, "-o and -d exclude each other")
    refused(run("encode", one, "--json", "--quiet"), 2, "--json and --quiet exclude each other")
    refused(run("encode", one, two, "--jobs", "2", "--dask", "tcp://x:1"), 2, "--jobs and --dask exclude each other")
    refused(run("encode", one, "-", "-d", "coded"), 2, "- stands for standard input, which goes alone")
    refused(run("encode", one, two, "-d", one), 7, "pictures/0.png is not a folder")
    refused(run("decode", "x.cmb", "-o", "x.png", "--format", "png"), 2, "--format goes without -o FILE")
    refused(run("decode", "x.cmb", "--format", "gif"), 2, "--format takes one of aif, aiff, .*, not gif")
    assert run("encode", one, "--jobs", "0").exit_code == 2


def test_what_is_wrong_with_all_files_is_said_once(pictures):
    both = (pictures / "0.png", pictures / "1.png", "-d", "coded")
    refused(run("encode", *both, "-q", "3", "--bpp", "1"), 2, "-q and --bpp exclude each other")
    refused(run("encode", *both, "--prior", "nobody"), 6, "no prior is called nobody")
    assert not Path("coded").exists()


def test_json_has_a_line_for_every_file(pictures):
    run("encode", pictures / "0.png", "-d", "coded", *PRIOR)
    names = [pictures / name for name in ("0.png", "1.png", "a/bad.png", "missing.png")]
    done = run("encode", *names, "-d", "coded", *PRIOR, "--json", "--skip-existing")
    assert done.exit_code == 1
    facts = {line["input"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert facts["pictures/0.png"] == {"input": "pictures/0.png", "output": "coded/0.cmb", "skipped": True}
    assert facts["pictures/1.png"]["bytes"] == 70
    assert facts["pictures/a/bad.png"]["exit_code"] == 3
    assert facts["pictures/missing.png"] == {
        "input": "pictures/missing.png",
        "error": "pictures/missing.png does not exist; check the name",
        "exit_code": 3,
    }
    assert done.stderr.endswith("combiner: 2 of 4 failed: pictures/a/bad.png, pictures/missing.png\n")


def test_quiet_leaves_errors(pictures):
    done = run("encode", pictures / "0.png", "-o", "0.cmb", *PRIOR, "--quiet")
    assert (done.exit_code, done.output) == (0, "")
    done = run("encode", pictures / "1.png", pictures / "a" / "bad.png", "-d", "coded", *PRIOR, "--quiet")
    assert (done.exit_code, done.stdout) == (1, "")
    assert [line[:18] for line in done.stderr.splitlines()] == ["combiner: pictures", "combiner: 1 of 2 f"]
    done = run("decode", "0.cmb", "coded/1.cmb", "-d", "back", "--quiet")
    assert (done.exit_code, done.output) == (0, "")


def test_verbose_shows_the_traceback_of_a_file(pictures):
    done = run("encode", pictures / "1.png", pictures / "a" / "bad.png", "-d", "coded", *PRIOR, "-v")
    assert done.exit_code == 1
    assert "Traceback (most recent call last)" in done.stderr and "combiner_cli.errors.InputError: " in done.stderr


def test_hidden_files_and_links_in_a_circle(pictures):
    (pictures / ".hidden").mkdir()
    media.write_signal(smooth_image(9, 9), pictures / ".hidden" / "x.png")
    media.write_signal(smooth_image(9, 9), pictures / ".y.png")
    (pictures / "a" / "b" / "up").symlink_to(pictures.resolve())
    (pictures / "0-link").symlink_to((pictures / "a" / "b").resolve())
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    media.write_signal(smooth_image(9, 9), elsewhere / "z.png")
    (pictures / "a" / "linked").symlink_to(elsewhere.resolve())
    (pictures / "gone.png").symlink_to("nowhere")
    os.mkfifo(pictures / "pipe.png")
    found, failures = work.find([pictures], Places(recursive=True), media.IMAGE_SUFFIXES)
    names = [str(one.source.relative_to(pictures)) for one in found]
    assert names == sorted(names)
    expected = {"0.png", "1.png", "2.png", "7.png", "8.png", "a/3.png", "a/4.png", "a/b/5.png", "a/b/6.PNG"}
    assert set(names) == expected | {"a/bad.png", "a/linked/z.png", "gone.png"}
    assert failures == []


def test_a_folder_that_cannot_be_read_is_a_failure(pictures, monkeypatch):
    scan = os.scandir

    def refuse(place):
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    done = run("encode", "-r", pictures, "-d", "coded", *PRIOR)
    assert done.exit_code == 1
    assert "combiner: pictures/a/b cannot be read: Permission denied; change its permissions\n" in done.stderr
    assert done.stderr.endswith("combiner: 2 of 9 failed: pictures/a/b, pictures/a/bad.png\n")


def test_an_unexpected_error_is_that_of_one_file(pictures, monkeypatch):
    read = media.read_signal_bytes

    def fail(data, path, note=None):
        if path.name == "1.png":
            raise ZeroDivisionError("a defect")
        if path.name == "2.png":
            raise MemoryError
        return read(data, path, note)

    monkeypatch.setattr(media, "read_signal_bytes", fail)
    done = run("encode", *(pictures / f"{n}.png" for n in range(3)), "-d", "coded", *PRIOR)
    assert done.exit_code == 1
    assert "combiner: pictures/1.png: unexpected ZeroDivisionError: a defect; please report this\n" in done.stderr
    assert "combiner: pictures/2.png: not enough memory for this" in done.stderr
    assert files_in("coded") == ["0.cmb"]


# ---- what is encoded together ----------------------------------------------------------------------------------------


def test_small_signals_of_one_kind_are_encoded_together_with_the_same_bytes(pictures, monkeypatch):
    sizes = []
    original = pipeline.encode_batch

    def spy(signals, *more):
        sizes.append(len(signals))
        return original(signals, *more)

    monkeypatch.setattr(pipeline, "encode_batch", spy)
    run("encode", "-r", pictures, "-d", "coded", *PRIOR)
    assert sorted(sizes) == [1, 8]
    for name in CODED:
        suffix = ".PNG" if name == "a/b/6.cmb" else ".png"
        signal = media.read_signal((pictures / name).with_suffix(suffix))
        settings = pipeline.Settings(size=70, effort=1)
        assert (Path("coded") / name).read_bytes() == original([signal], tiny_mixture(), settings)[0].data


def test_one_that_fails_does_not_keep_those_beside_it_from_being_encoded(monkeypatch):
    jobs = [Job(Path(f"{n}"), Path(f"{n}.cmb")) for n in range(5)]
    images = {b"%d" % n: smooth_image(8, 8, seed=n) for n in range(5)}
    bad = images[b"2"]
    original = pipeline.encode_batch

    def fail(signals, *more):
        if any(signal is bad for signal in signals):
            raise ZeroDivisionError
        return original(signals, *more)

    monkeypatch.setattr(pipeline, "encode_batch", fail)
    monkeypatch.setattr(media, "read_signal_bytes", lambda data, path, note: images[data])
    known = work.Library(lambda _: tiny_mixture(), lambda _: tiny_mixture())
    results = dict(work.convert(jobs, Encoding(prior="mixed"), known, lambda job: str(job.source).encode()))
    assert [isinstance(results[job], Failure) for job in jobs] == [False, False, True, False, False]


def test_what_goes_together_is_bounded():
    def most(prior, image, **changed):
        settings = replace(pipeline.Settings(device="cpu"), **changed)
        return work._most_together(work._Planned(Job(Path("x"), Path("y")), image, b"", prior, settings, 1, 0.0, ()))

    mixture, network = tiny_mixture(), tiny_prior()
    assert most(mixture, smooth_image(8, 8)) == 32
    assert most(mixture, smooth_image(64, 64)) == 8
    assert most(mixture, smooth_image(65, 64)) == 1
    assert most(mixture, smooth_image(8, 8), psnr=20.0) == 1
    wide = tiny_prior(extent=(32, 32))
    floats = wide.network.latents**2
    assert most(wide, smooth_image(32, 32)) == min(32, 2**24 // floats)
    assert most(network, smooth_image(64, 64)) == min(8, 2**24 // (64 * network.network.latents**2))


def test_windows_hold_all_jobs_once():
    jobs = [Job(Path(f"{n}"), Path(f"{n}.cmb"), 10**6 if n % 10 == 3 else 100) for n in range(100)]
    for workers in (1, 2, 7):
        parts = list(work.windows(jobs, Encoding(), workers))
        assert {job for part in parts for job in part} == set(jobs)
        assert sum(map(len, parts)) == 100
        assert all(len(part) == 1 for part in parts if part[0].size > 100)
        assert max(map(len, parts)) <= 32
    assert all(len(part) == 1 for part in work.windows(jobs, Decoding(), 2))


# ---- processes -------------------------------------------------------------------------------------------------------


def test_a_killed_process_costs_the_work_that_kills_it_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [[1, 2], [3, 13, 4], [5], [14, 6], [15], [7]]
    results = dict(processes.run(tasks, processes_work.square, 2))
    lost = {number for number, result in results.items() if isinstance(result, processes.Lost)}
    assert lost == {13, 15}
    assert "too little memory" in results[13].reason
    assert results[15].reason == "unexpected ValueError: of no use"
    assert {number: result for number, result in results.items() if number not in lost} == {
        number: number**2 for number in (1, 2, 3, 4, 5, 14, 6, 7)
    }


def test_processes_share_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert dict(processes.run([["a"], ["b"]], processes_work.threads, 2)) == {"a": "3", "b": "3"}
    assert os.environ["OMP_NUM_THREADS"] == "6"


def test_nothing_goes_on_once_nobody_wants_it():
    results = processes.run([[0.0], [50.0], [50.1]], processes_work.sleep, 2)
    assert next(results) == (0.0, 0.0)
    clock = time.monotonic()
    results.close()
    assert time.monotonic() - clock < 20


def test_processes_end_with_the_one_that_started_them():
    """Even where that is killed, and can do nothing about it."""
    program = (
        "import processes_work; from combiner_cli import processes\n"
        "if __name__ == '__main__': list(processes.run([[50.0], [51.0]], processes_work.say_and_sleep, 2))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
        process.kill()
        process.communicate(timeout=30)  # which lasts until nobody can write there any more


SLOW = ("--prior", "mixed-image", "-e", "9")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_batch_keeps_what_is_finished_and_leaves_nothing_else(tmp_path, prior_folder, jobs):
    library.save(tiny_mixture(), prior_folder / "mixed-image.safetensors")
    folder = tmp_path / "pictures"
    folder.mkdir()
    media.write_signal(smooth_image(9, 9), folder / "0.png")
    for number in range(1, 4):
        media.write_signal(smooth_image(600, 600, seed=number), folder / f"{number}.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "combiner_cli", "encode", "-r", folder, "-d", tmp_path / "coded", "--jobs", jobs, *SLOW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert "0.png" in process.stdout.readline()
    os.killpg(process.pid, signals_of_the_system.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)  # which lasts until nobody can write there any more
    assert process.returncode == -signals_of_the_system.SIGINT
    assert errors == "combiner: interrupted\n"
    assert files_in(tmp_path / "coded") == ["0.cmb"]
    assert pipeline.decode((tmp_path / "coded" / "0.cmb").read_bytes(), library.find_id).shape == (9, 9)


def test_another_prior_is_made_room_for(monkeypatch):
    """Candidates of a prior are kept for its next signal, and not beside those of the next prior."""
    forgotten = []
    monkeypatch.setattr(search, "forget", lambda: forgotten.append(len(forgotten)))
    work._make_room_for.cache_clear()
    for prior in (1, 1, 2, 2, 1):
        work._make_room_for(prior)
    assert len(forgotten) == 3
    kept = energies.table(8, 1, False, portable.fill)
    assert energies.table(8, 1, False, portable.fill)[0] is kept[0]
    monkeypatch.undo()
    search.forget()
    assert energies.table(8, 1, False, portable.fill)[0] is not kept[0]
