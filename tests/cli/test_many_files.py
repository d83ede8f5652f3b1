"""Many files in one call: transcripts, where outputs go, and what happens when something goes wrong with some."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from support.commands import files_in, plain_priors, refused, run
from support.signals import smooth_image, tone

from combiner_cli.media import files as media

LONG_AGO = 1_000_000_000  # a second of 2001
PRIOR = ("--prior", "plain-image", "--size", "70")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder with nine pictures, one file that is none, and a fast prior."""
    plain_priors(monkeypatch)
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
    shipped = ("--prior", "photo-8", "--size", "70", "-e", "1")
    run("encode", "-r", pictures, "-d", "one", *shipped)
    done = run("encode", "-r", pictures, "-d", "two", *shipped, "--jobs", "2")
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


def test_two_that_would_become_one_file_fail_and_the_rest_is_done(pictures):
    media.write_signal(smooth_image(9, 9), pictures / "0.bmp")
    done = run("encode", pictures / "1.png", pictures / "0.bmp", pictures / "0.png", "-d", "coded", *PRIOR)
    assert done.exit_code == 1
    assert done.stdout.startswith("pictures/1.png -> coded/1.cmb: ") and done.stdout.count("\n") == 1
    advice = "would both become coded/0.cmb; give --keep-suffix, rename one, or leave one out"
    assert done.stderr.splitlines()[:2] == [
        f"combiner: pictures/0.bmp and pictures/0.png {advice}",
        f"combiner: pictures/0.png and pictures/0.bmp {advice}",
    ]
    assert done.stderr.endswith("combiner: 2 of 3 failed: pictures/0.bmp, pictures/0.png\n")
    assert files_in("coded") == ["1.cmb"]


def test_suffixes_can_be_kept_and_are_taken_off_again(pictures):
    media.write_signal(smooth_image(9, 9), pictures / "0.bmp")
    both = (pictures / "0.bmp", pictures / "0.png")
    assert run("encode", *both, "-d", "coded", *PRIOR, "--keep-suffix").exit_code == 0
    assert files_in("coded") == ["0.bmp.cmb", "0.png.cmb"]
    assert run("decode", "-r", "coded", "-d", "back").exit_code == 0
    assert files_in("back") == ["0.bmp.png", "0.png"]
    assert run("encode", pictures / "1.png", *PRIOR, "--keep-suffix").exit_code == 0
    assert (pictures / "1.png.cmb").exists()
    done = run("encode", pictures / "1.png", *PRIOR, "--keep-suffix", "-o", "x.cmb")
    refused(done, 2, "-o and --keep-suffix exclude each other")


def test_a_file_that_is_named_twice_is_done_once(pictures):
    names = (pictures / "0.png", pictures / "0.png", pictures / "a" / ".." / "0.png")
    done = run("encode", *names, "-d", "coded", *PRIOR)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    assert files_in("coded") == ["0.cmb"]


def test_files_that_are_no_media_are_counted_at_the_end(pictures):
    (pictures / "a" / "bad.png").unlink()
    (pictures / "notes.txt").write_text("none")
    done = run("encode", "-r", pictures, "-d", "coded", *PRIOR)
    note = "combiner: note: 1 file in the folders is no image or sound by its name, and is left alone"
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == note
    shutil.copytree(pictures, "coded", dirs_exist_ok=True)
    Path("coded/more.md").touch()
    done = run("decode", "-r", "coded", "-d", "back")
    note = "combiner: note: 2 files in the folders are no images or sounds by their names, and are left alone"
    assert done.stderr.splitlines()[0] == note
    assert run("decode", "-r", "coded", "-d", "back", "-f", "--quiet").stderr == ""


def test_an_image_and_a_sound_of_one_name_do_not_collide_when_they_are_decoded(pictures):
    media.write_signal(tone(500), pictures / "0.wav")
    run("encode", pictures / "0.png", "-o", "0.cmb", *PRIOR)
    Path("sounds").mkdir()
    run("encode", pictures / "0.wav", "-o", "sounds/0.cmb", "--prior", "plain-sound", "--size", "80")
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
    refused(run("decode", "-r", "empty"), 3, "there are no .cmb files in it")


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
    refused(run("decode", "x.cmb", "--format", "gif"), 2, "--format takes one of aif, aiff, ")
    assert run("encode", one, "--jobs", "0").exit_code == 2


def test_what_is_wrong_with_all_files_is_said_once(pictures):
    both = (pictures / "0.png", pictures / "1.png", "-d", "coded")
    refused(run("encode", *both, "-q", "3", "--bpp", "1"), 2, "-q and --bpp exclude each other")
    refused(run("encode", *both, "--prior", "nobody"), 6, "no prior is called nobody")
    if not torch.cuda.is_available():
        refused(run("encode", *both, "--device", "cuda"), 2, "no CUDA device is available here")
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
