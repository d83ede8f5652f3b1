"""The command learn-prior: help, plan, families, files, interruptions, and several processes."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext

import numpy as np
import pytest
from support.commands import ROOT, left_in, refused, run
from support.priors import tiny_siren
from support.signals import smooth_image, tone

from combiner_cli.learning import gradients, job, networks, report
from combiner_cli.media import files as media
from combiner_cli.priors import store

PYRAMID = ("--crop", "32", "--crops", "2", "--held-out", "20", "--device", "cpu")
LAPPED = ("--hop", "64", "--sample-rate", "1000", "--held-out", "20", "--device", "cpu")
SIREN = ("--family", "siren", "--tile", "8", "--features", "8", "--width", "6", "--layers", "1", "--rounds", "4")
SIREN += ("--steps", "4", "--held-out", "20", "--device", "cpu")
LINEAR = ("--family", "linear", "--tile", "4", "--components", "1", "--dimensions", "24", "--context", "6")
LINEAR += ("--rounds", "1", "--held-out", "20")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six small pictures and six short sounds, single ones and pairs, in folders of their own."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        for kind in ("pictures", "sounds"):
            (tmp_path / kind).mkdir(exist_ok=True)
        media.write_signal(smooth_image(36, 40, seed=number), tmp_path / "pictures" / f"{number}.png")
        media.write_signal(tone(1100, 1 + number % 2, 1000, seed=number), tmp_path / "sounds" / f"{number}.wav")
    return tmp_path


@pytest.fixture
def often(monkeypatch):
    """Measurements after every second step."""
    monkeypatch.setattr(gradients, "MEASURED_STEPS", 2)


def learn(source, *options):
    return run("learn-prior", source, "-o", "p.safetensors", *options)


# help


def flags_in(text):
    return set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE))


COMMON = {"--output", "--force", "--family", "--held-out", "--seed", "--dry-run", "--checkpoint", "--threads", "--help"}


def test_help_has_what_all_families_have_and_what_the_usual_ones_have():
    text = run("learn-prior", "-h", terminal_width=80).stdout
    assert flags_in(text) > COMMON | {"--steps", "--start", "--crop", "--hop", "--sample-rate"}
    assert not flags_in(text) & {"--layers", "--components"}
    assert "learn-prior --family linear -h" in text
    assert text.count("--steps INTEGER") == 1
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "there", "missing"),
    [
        (("--family", "lapped"), {"--hop", "--steps"}, {"--crop", "--layers"}),
        (("--family=siren",), {"--layers", "--beta", "--steps"}, {"--crop", "--hop", "--components", "--start"}),
        (("--family", "linear"), {"--components", "--reach"}, {"--layers", "--steps"}),
    ],
)
def test_help_of_a_family_has_its_options(arguments, there, missing):
    text = run("learn-prior", *arguments, "-h", terminal_width=80).stdout
    assert flags_in(text) > COMMON | there
    assert not flags_in(text) & missing
    assert max(map(len, text.splitlines())) <= 80


def test_help_needs_no_torch():
    program = "import sys; from combiner_cli.cli.main import main\n"
    program += "try: main(['learn-prior', '-h'])\nexcept SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_family_that_there_is_not_is_refused(folder):
    done = learn("pictures", "--family", "cubes")
    assert done.exit_code == 2
    assert "there is no family cubes; choose one of lapped, linear, pyramid, siren" in done.stderr


# the plan


def test_the_plan_is_told_and_nothing_is_written(folder, monkeypatch):
    monkeypatch.setattr(job, "timed", lambda learning: learning.estimate().at_pace(0.07))
    before = sorted(folder.rglob("*"))
    done = learn("pictures", "--patience", "3", "--held-out", "20", "--device", "cpu", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr == textwrap.dedent(
        """\
        p: what will be learned
          prior       p.safetensors, family pyramid, 1.2 MB
          data        pictures, 5 images to learn from, 1 held out, 26 kB
          held out    288 crops of 32x32 measured every 100 steps; after 3 without a
                      better one learning ends
          work        6,000 steps of 96 crops of 32x32
          device      cpu
          time        about 7 min, as some steps took here; corrected as it goes
          memory      about 300 MB
          checkpoint  p.checkpoint, every 60 s; there is none yet
        """
    )
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        ("sounds", (*LAPPED, "--shards", "4"), ["family lapped", "in 4 parts", "at 1000 Hz", "of 1,024 samples"]),
        ("pictures", (*PYRAMID, "--shards", "4"), ["family pyramid", "6,000 steps of 4 crops of 32x32 in 4 parts"]),
        ("pictures", LINEAR, ["family linear, at most", "1 rounds in each of 4 phases"]),
        ("pictures", SIREN, ["family siren", "4 rounds of 4 steps", "in every round"]),
        ("pictures", ("--family", "siren", "--tiles", "4"), ["family siren", "96 rounds of 40 steps on 5 tiles"]),
    ],
)
def test_every_family_has_a_plan(folder, source, options, told):
    done = learn(source, *options, "--dry-run")
    assert done.exit_code == 0, done.output
    for words in told:
        assert words in " ".join(done.stderr.split())
    assert max(map(len, done.stderr.splitlines())) < 80
    assert not list(folder.glob("p.*"))


def test_what_the_learning_would_refuse_is_refused_at_once(folder):
    def planned(source, *options):
        return learn(source, *options, "--dry-run")

    refused(planned("sounds", "--family", "pyramid"), 10, "sounds holds sounds; the pyramid family is for images")
    refused(planned("pictures", *SIREN, "--width", "1200", "--layers", "2"), 2, "cannot have these settings")
    refused(planned("pictures", "--family", "linear", "--tile", "8"), 10, "components take at least")
    refused(planned("pictures", *PYRAMID, "--checkpoint", "nowhere/x"), 7, "checkpoint nowhere/x cannot be written")
    refused(planned("pictures", *PYRAMID, "--hop", "64"), 2, "--hop does not go with --family pyramid; see combiner")
    refused(planned("pictures", *LINEAR, "--patience", "3"), 2, "--patience does not go with --family linear")
    refused(planned("sounds", *LAPPED, "--rate", "1"), 2, "--rate does not go with --family lapped")
    refused(planned("pictures", *SIREN, "--components", "2"), 2, "--components does not go with --family siren")
    refused(planned("pictures", *PYRAMID, "--steps", "0"), 2, "--steps takes a whole number of at least 1, not 0")
    refused(planned("pictures", *SIREN, "--rate", "nan"), 2, "--rate takes a number, not nan")
    refused(planned("pictures", *LINEAR, "--reach", "9"), 2, "wider than a tile")
    refused(run("learn-prior", "pictures", "-o", "prior.bin"), 2, "a prior's name ends in .safetensors")
    (folder / "p.svg").write_text("mine")
    refused(planned("pictures", *PYRAMID), 7, "p.svg exists; use -f")


def test_unsuitable_data_sets_are_refused(folder):
    (folder / "empty").mkdir()
    refused(learn("empty"), 10, "holds no images and no sounds")
    refused(learn("nowhere"), 10, "neither a folder nor an .npz")
    refused(learn("n" * 400), 10, "neither a folder")
    refused(learn("pictures", "--crop", "64"), 10, "images of at least 64x64 pixels; it takes two or more")
    (folder / "pictures" / "broken.png").write_bytes(b"broken")
    refused(learn("pictures", *PYRAMID), 10, "broken.png")
    (folder / "pictures" / "broken.png").unlink()
    media.write_signal(tone(100), folder / "pictures" / "voice.wav")
    refused(learn("pictures", *PYRAMID), 10, "mixes images and sounds")
    assert left_in(folder) == ["empty", "pictures", "sounds"]


# priors and cards


def test_a_folder_is_all_that_a_pyramid_prior_takes(folder, often):
    done = learn("pictures", "--steps", "5", "--crops", "2")
    assert done.exit_code == 0, done.output
    prior = store.load(folder / "p.safetensors")
    assert prior.family.name == "pyramid"
    figure = r"\d\.\d{4}"
    for line, step in zip(done.stderr.splitlines()[-3:], (2, 4, 5), strict=True):
        assert re.fullmatch(rf"p: step {step}/5, cost {figure} bits per picture element, held out {figure}", line)
    line = rf"p\.safetensors: prior {prior.id:08x}, {figure} bits per pixel, \d+ s, \d\.\d GiB\n"
    assert re.fullmatch(line, done.stdout)
    assert left_in(folder) == ["p.md", "p.safetensors", "p.svg", "pictures", "sounds"]
    card = (folder / "p.md").read_text()
    assert "![cost, bits per picture element, by step](p.svg)" in card
    assert len(re.findall(r"^\| \d+ \| \d\.\d{4} \| \d\.\d{4} \|$", card, re.MULTILINE)) == 3
    assert str(folder) not in card
    refused(learn("pictures", *PYRAMID), 7, "-f")


def test_a_prior_is_learned_on(folder):
    assert learn("pictures", *PYRAMID, "--steps", "2").exit_code == 0
    start = store.load(folder / "p.safetensors")
    more = ("learn-prior", "pictures", "-o", "q.safetensors", *PYRAMID, "--steps", "2", "--start")
    assert run(*more, "p.safetensors").exit_code == 0
    assert store.load(folder / "q.safetensors").id != start.id
    assert f"on from the prior {start.id:08x}" in " ".join((folder / "q.md").read_text().split())
    store.save(tiny_siren(), folder / "siren.safetensors")
    refused(run(*more, "p.safetensors", "-f", "--family", "linear"), 2, "does not go with --family linear")
    refused(run(*more, "siren.safetensors", "-f", "--family", "pyramid"), 2, "--start tiny is of the siren family")


def test_a_folder_is_all_that_a_lapped_prior_takes(folder):
    done = learn("sounds", "--hop", "16", "--hop", "32", "--steps", "1", "--device", "cpu")
    assert done.exit_code == 0, done.output
    prior = store.load(folder / "p.safetensors")
    assert (prior.family.name, prior.hops, prior.sample_rate, prior.channels) == ("lapped", (16, 32), 1000, 2)
    assert "bits per sample, " in done.stdout
    refused(learn("sounds", "-f", "--hop", "24"), 2, "multiple of 16")


def test_the_published_method_needs_nothing_but_its_name(folder):
    """Its defaults are those of larger data, of which there is a part here."""
    done = learn("pictures", "--family", "siren", "--rounds", "2", "--steps", "1", "--tiles", "4", "--device", "cpu")
    assert done.exit_code == 0, done.output
    prior = store.load(folder / "p.safetensors")
    assert (prior.network.hidden, prior.network.extent) == (2, (32, 32))
    images = np.stack([smooth_image(8, 8, seed=n).samples for n in range(10)])
    np.savez(folder / "images.npz", train=images, test=images[:2], labels=np.zeros(3))
    assert learn("images.npz", "-f", *SIREN).exit_code == 0
    assert store.load(folder / "p.safetensors").network.extent == (8, 8)


def test_the_linear_family_is_learned_from_images_and_sounds(folder):
    assert learn("pictures", *LINEAR).exit_code == 0
    assert store.load(folder / "p.safetensors").family.name == "linear"
    options = ("--family", "linear", "--tile", "16", "--components", "1", "--reach", "8", "--rounds", "1")
    done = learn("sounds", "-f", *options, "--covariance", "diagonal")
    assert done.exit_code == 0, done.output
    assert store.load(folder / "p.safetensors").kind == "sound"
    assert "diagonal covariances" in " ".join((folder / "p.md").read_text().split())


def test_a_prior_of_no_use_is_an_error_that_says_what_to_do(folder):
    done = learn("pictures", *SIREN, "--beta", "1e5")
    assert done.exit_code == 10
    assert done.stderr.splitlines()[-1].startswith("combiner: the prior came out unusable")


def test_an_early_end_is_told_and_is_on_the_card(folder, often, monkeypatch):
    """At a rate at which nothing is learned for long."""
    monkeypatch.setattr(networks, "_LEARNING_RATE", 1.0)
    monkeypatch.setattr(networks, "_WARM_UP", 1)
    done = learn("sounds", *LAPPED, "--steps", "60", "--patience", "2")
    assert done.exit_code == 0, done.output
    told = re.search(r"p: ended early, after step (\d+) of 60; the state of step (\d+), the best one,", done.stderr)
    assert told, done.stderr
    ended, best = map(int, told.groups())
    assert ended == best + 2 * 2
    card = " ".join((folder / "p.md").read_text().split())
    assert f"the prior is the state of step {best}, the best one" in card


def test_without_a_library_for_plots_the_card_has_one_of_characters(folder, often, monkeypatch):
    monkeypatch.setattr(report, "can_plot", lambda: False)
    assert run("learn-prior", "pictures", "-o", "my own.safetensors", *PYRAMID, "--steps", "6").exit_code == 0
    plot = (folder / "my own.md").read_text().split("```")[1].strip().splitlines()
    assert plot[0] == "cost, bits per picture element: ⣀⣀ training  ▄▄ held out"
    assert plot[-1].endswith("step 6")
    assert not (folder / "my own.svg").exists()


def start(*arguments, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", "combiner_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )


def test_the_card_shows_the_command_without_folders(folder):
    """In a process of its own, since the command line is read from there."""
    process = start("learn-prior", "pictures/", "-o", folder / "p.safetensors", "-f", "--threads", "1", *SIREN)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    typed = " ".join(option for option in SIREN if option not in ("--device", "cpu"))
    assert f"`combiner learn-prior DATASET -o p.safetensors {typed}`" in (folder / "p.md").read_text()


# interruptions


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupted_command_saves_what_is_done_and_goes_on(folder, number, code):
    """Long before a minute is over; and the prior is that of a learning in peace."""
    command = ("learn-prior", "pictures", "-o", "p.safetensors", *SIREN[:-6], "--rounds", "30", "--device", "cpu")
    command += ("--held-out", "20", "--threads", "1")
    process, lines = start(*command), []
    while not any("step 120/" in line for line in lines):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    note = r"combiner: note: (\d+) of 1,280 steps are saved in p\.checkpoint; the same command goes on from there"
    saved = re.search(note, errors)
    assert saved, errors
    assert int(saved[1]) >= 120
    assert left_in(folder) == ["p.checkpoint", "pictures", "sounds"]
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert f"resuming from step {int(saved[1]):,}" in " ".join(done.stderr.split())
    resumed = store.load(folder / "p.safetensors").id
    assert not (folder / "p.checkpoint").exists()
    assert run(*command, "-f").exit_code == 0
    assert store.load(folder / "p.safetensors").id == resumed


def test_an_interruption_before_anything_is_done_says_nothing_of_a_checkpoint(folder, monkeypatch):
    def interrupted(_learning):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "timed", interrupted)
    done = learn("pictures", *PYRAMID)
    assert done.exit_code == 130
    assert done.stderr == "combiner: interrupted\n"
    assert left_in(folder) == ["pictures", "sounds"]


@pytest.mark.slow
def test_a_learning_run_that_is_killed_resumes(folder):
    """SIGKILL as soon as there is a checkpoint of a round; the same command then goes on from it."""
    command = ("learn-prior", "pictures", "-o", "p.safetensors", *SIREN, "--rounds", "200", "--checkpoint-seconds", "0")
    process, deadline = start(*command), time.monotonic() + 60
    for line in process.stderr:
        if "step 100/" in line or time.monotonic() > deadline:
            break
    process.kill()
    process.communicate()
    assert not (folder / "p.safetensors").exists()
    done = run(*command)
    assert done.exit_code == 0, done.output
    resumed = int(re.search(r"resuming from step (\d+)", " ".join(done.stderr.split()))[1])
    assert resumed >= 99
    (first,) = re.findall(r"^p: step (\d+)/", done.stderr, re.MULTILINE)[:1]
    assert int(first) > resumed


# several processes


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "combiner_cli", "learn-prior", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("source", "options"), [("pictures", PYRAMID), ("sounds", LAPPED)])
def test_two_processes_learn_the_prior_of_one(folder, source, options):
    options = (*options, "--steps", "3", "--threads", "1")
    one = run("learn-prior", source, "-o", "one.safetensors", *options, "--shards", "2")
    assert one.exit_code == 0, one.output
    two = torchrun(source, "-o", "two.safetensors", *options)
    assert two.returncode == 0, two.stderr
    assert store.load(folder / "two.safetensors").id == store.load(folder / "one.safetensors").id
    assert len(two.stdout.splitlines()) == 1
    assert two.stderr.count("two: what will be learned") == 1
    assert "cpu, 2 processes" in two.stderr
    assert two.stderr.count("two: step 3/3, cost ") == 1
    assert "--shards 2`" in (folder / "two.md").read_text()
    assert not list(folder.glob("*.checkpoint"))
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("rank", [0, 1])
def test_what_several_processes_cannot_do_is_told_by_the_first_one(folder, monkeypatch, rank):
    from combiner_cli.learning import distributed
    from combiner_cli.learning.distributed import ProcessGroup

    group = ProcessGroup(rank, 2, rank, 2)
    monkeypatch.setattr(distributed, "from_environment", lambda: group)
    monkeypatch.setattr(ProcessGroup, "together", lambda self: nullcontext())
    monkeypatch.setattr(distributed, "joined", lambda processes, device: nullcontext())
    linear, uneven = learn("pictures", *LINEAR), learn("pictures", *PYRAMID, "--shards", "3")
    if rank == 0:
        refused(linear, 2, "a linear prior is learned by one process; start combiner without torchrun")
        refused(uneven, 2, "--shards 3 cannot be shared by 2 processes")
    else:
        assert [linear.exit_code, uneven.exit_code] == [2, 2]
        assert linear.output == uneven.output == ""
    assert not list(folder.glob("p.*"))
