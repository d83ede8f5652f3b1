"""The command learn-prior."""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors import safe_open
from support.commands import left_in, refused, run
from support.signals import smooth_image, tone

from combiner_cli.media import files as media
from combiner_cli.priors import store


@pytest.fixture
def quick(monkeypatch, prior_folder, tmp_path):
    """Short schedules, tiny priors, and a folder to work in."""
    monkeypatch.chdir(tmp_path)
    media.write_signal(smooth_image(11, 13), tmp_path / "photo.png")
    media.write_signal(tone(500), tmp_path / "voice.wav")
    return tmp_path


def test_settings_that_make_no_prior_are_refused_before_any_work(tmp_path, dataset):
    target = tmp_path / "p.safetensors"
    done = run("learn-prior", dataset, "-o", target, *LEARN, "--width", "1200", "--layers", "2")
    refused(done, 2, "cannot have these settings")
    done = run("learn-prior", dataset, "-o", target, *LEARN, "--beta", "1e5")
    assert done.exit_code == 10
    assert done.stderr.splitlines()[-1].startswith("combiner: the prior came out unusable")
    target.with_suffix(".checkpoint").unlink()
    elsewhere = ("--checkpoint", tmp_path / "nowhere" / "x")
    refused(run("learn-prior", dataset, "-o", target, *LEARN, *elsewhere), 7, "checkpoint")
    assert left_in(tmp_path) == ["pictures"]


def test_the_card_shows_the_command_without_folders(tmp_path, dataset):
    """In a process of its own, since the command line is read from there."""
    target = tmp_path / "p.safetensors"
    process = _start("learn-prior", f"{dataset}/", "-o", target, "-f", "--threads", "1", *LEARN)
    process.communicate(timeout=120)
    assert process.returncode == 0
    card = target.with_suffix(".md").read_text()
    assert f"`combiner learn-prior DATASET -o p.safetensors {' '.join(LEARN)}`" in card
    assert str(tmp_path) not in card


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(6):
        media.write_signal(smooth_image(20, 18, seed=n), folder / f"{n}.png")
    return folder


LEARN = (
    "--tile",
    "8",
    "--features",
    "8",
    "--width",
    "6",
    "--layers",
    "1",
    "--rounds",
    "4",
    "--steps",
    "4",
    "--held-out",
    "20",
)


def test_learn_prior_writes_a_prior_and_its_card(tmp_path, dataset, monkeypatch):
    target = tmp_path / "mine.safetensors"
    done = run("learn-prior", dataset, "-o", target, "--rate", "2", *LEARN)
    assert done.exit_code == 0, done.output
    prior = store.load(target)
    assert prior.network.extent == (8, 8)
    card = (tmp_path / "mine.md").read_text()
    assert f"{prior.id:08x}" in card
    assert "6 images" in card
    assert str(tmp_path) not in card.replace("DATASET", "")[: card.index("Command")]
    assert left_in(tmp_path) == ["mine.md", "mine.safetensors", "mine.svg", "pictures"]
    refused(run("learn-prior", dataset, "-o", target, *LEARN), 7, "-f")
    assert run("encode", dataset / "0.png", "-o", tmp_path / "0.cmb", "--prior", target).exit_code == 0


def test_learn_prior_from_sounds_and_from_an_array(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for n in range(4):
        media.write_signal(tone(300, seed=n), folder / f"{n}.flac")
    options = ("--tile", "64", *LEARN[2:])
    assert run("learn-prior", folder, "-o", tmp_path / "s.safetensors", *options).exit_code == 0
    assert store.load(tmp_path / "s.safetensors").kind == "sound"
    images = np.stack([smooth_image(8, 8, seed=n).samples for n in range(10)])
    np.savez(tmp_path / "images.npz", train=images, test=images[:2], labels=np.zeros(3))
    assert run("learn-prior", tmp_path / "images.npz", "-o", tmp_path / "i.safetensors", *LEARN).exit_code == 0


def test_unsuitable_data_sets(tmp_path, dataset):
    empty = tmp_path / "empty"
    empty.mkdir()
    target = tmp_path / "p.safetensors"

    def learn(source, *more):
        return run("learn-prior", source, "-o", target, *LEARN, *more)

    refused(learn(empty), 10, "holds no images and no sounds")
    refused(learn(tmp_path / "nowhere"), 10, "neither a folder nor an .npz")
    refused(learn(dataset, "--tile", "64"), 10, "of at least 64x64")
    media.write_signal(tone(100), dataset / "voice.wav")
    refused(learn(dataset), 10, "mixes images and sounds")
    (dataset / "voice.wav").unlink()
    (dataset / "broken.png").write_bytes(b"broken")
    refused(learn(dataset), 10, "broken.png")
    np.savez(tmp_path / "numbers.npz", x=np.zeros(4))
    refused(learn(tmp_path / "numbers.npz"), 10, "one array of images")
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    refused(learn(tmp_path / "broken.npz"), 10, "cannot read")
    assert left_in(tmp_path) == ["broken.npz", "empty", "numbers.npz", "pictures"]


def _start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "combiner_cli", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_learn_prior_learns_a_pyramid_and_goes_on_from_it(tmp_path, dataset):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    common = ("--tile", "16", "--steps", "2", "--held-out", "20")
    done = run("learn-prior", dataset, "-o", first, "--family", "pyramid", *common)
    assert done.exit_code == 0, done.output
    done = run("learn-prior", dataset, "-o", second, "--start", first, *common)
    assert done.exit_code == 0, done.output
    start, prior = store.load(first), store.load(second)
    assert start.id != prior.id and start.parts_from == prior.parts_from > 0
    card = second.with_suffix(".md").read_text()
    assert f"on from the prior {start.id:08x}" in card and f"id `{prior.id:08x}`" in card
    assert "on from" not in first.with_suffix(".md").read_text()
    refused(run("learn-prior", dataset, "-o", second, "-f", "--start", "cifar10-1", *common), 2, "a siren one")
    refused(run("learn-prior", dataset, "-o", second, "-f", "--start", first, "--family", "linear"), 2, "--start")


def test_learn_prior_learns_a_lapped_prior_and_goes_on_from_it(tmp_path, quick):
    first, second, source = tmp_path / "first.safetensors", tmp_path / "second.safetensors", tmp_path / "sounds"
    source.mkdir()
    for number in range(3):
        media.write_signal(tone(700, 2 - number % 2, 1000, number), source / f"{number}.wav")
    common = ("--family", "lapped", "--hop", "16", "--steps", "1")
    done = run("learn-prior", source, "-o", first, *common)
    assert done.exit_code == 0, done.output
    done = run("learn-prior", source, "-o", second, "--start", first, *common)
    assert done.exit_code == 0, done.output
    start, prior = store.load(first), store.load(second)
    assert start.id != prior.id
    assert (prior.hops, prior.sample_rate, prior.channels) == ((16,), 1000, 2)
    card = second.with_suffix(".md").read_text()
    assert f"on from the prior {start.id:08x}" in card and f"id `{prior.id:08x}`" in card
    done = run("encode", source / "0.wav", "-o", "pair.cmb", "--prior", second, "--size", "200")
    assert done.exit_code == 0, done.output
    assert (quick / "pair.cmb").stat().st_size == 200
    assert run("decode", "pair.cmb", "-o", "pair.wav", "--prior", second).exit_code == 0
    assert media.read_signal(quick / "pair.wav").samples.shape == (700, 2)
    refused(run("learn-prior", source, "-o", second, "-f", *common[:2], "--hop", "24"), 2, "multiple of 16")
    refused(run("learn-prior", source, "-o", second, "-f", *common, "--start", "tiny-sound"), 2, "a siren one")
    refused(run("learn-prior", source, "-o", second, "-f", "--hop", "16"), 2, "--family lapped")
    refused(run("learn-prior", source, "-o", second, "-f", *common, "--rate", "1"), 2, "all rates")


def _rounds_in(checkpoint):
    """Number of finished rounds that a checkpoint holds; 0 if there is none."""
    if not checkpoint.exists():
        return 0
    with safe_open(str(checkpoint), framework="numpy") as content:
        return len(json.loads(content.metadata()["reports"]))


def test_a_learning_run_that_is_killed_resumes(tmp_path, dataset):
    """SIGKILL as soon as there is a checkpoint of a round; the same command then goes on from it to the end."""
    target = tmp_path / "mine.safetensors"
    checkpoint = target.with_suffix(".checkpoint")
    arguments = (
        "learn-prior",
        dataset,
        "-o",
        target,
        *LEARN[:8],
        "--rounds",
        "4000",
        "--steps",
        "1",
        "--checkpoint-seconds",
        "0",
    )
    process = _start(*arguments)
    deadline = time.monotonic() + 60
    while not _rounds_in(checkpoint) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    _, errors = process.communicate()
    assert _rounds_in(checkpoint) > 0, errors
    assert not target.exists()
    with pytest.MonkeyPatch.context() as patch:
        from combiner_cli.families.siren import learning as learn

        rounds = []
        original = learn.learn

        def spy(*a, report, **k):
            def both(result):
                rounds.append(result.number)
                report(result)
                if result.number > rounds[0] + 3:
                    raise KeyboardInterrupt

            return original(*a, report=both, **k)

        patch.setattr(learn, "learn", spy)
        done = run(*arguments)
    assert done.exit_code == 130, done.output
    assert rounds[0] > 1
    assert checkpoint.exists()


MIXTURE = ("--tile", "8", "--components", "2", "--dimensions", "24", "--context", "6", "--rounds", "1")


@pytest.fixture
def larger_dataset(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(8):
        media.write_signal(smooth_image(70, 66, seed=n), folder / f"{n}.png")
    return folder


def test_learn_prior_without_layers_writes_a_mixture_prior_and_its_card(tmp_path, larger_dataset):
    target = tmp_path / "mine.safetensors"
    done = run("learn-prior", larger_dataset, "-o", target, *MIXTURE)
    assert done.exit_code == 0, done.output
    prior = store.load(target)
    assert prior.family == "linear"
    assert prior.network.extent == (8, 8)
    assert prior.mean.shape == (4, 2, 24)
    assert done.stdout.startswith(f"{target}: prior {prior.id:08x}, {prior.bits_per_point:.4f} bits per pixel, ")
    card = target.with_suffix(".md").read_text()
    assert card.startswith("# mine\n")
    assert f"{prior.id:08x}" in card
    assert "pictures, 8 images" in card
    assert "2 classes for each of 4 phases, full covariances" in card
    assert re.search(r"1 rounds per phase; \d+ s and \d+\.\d GiB in the last run", card)
    assert str(tmp_path) not in card[: card.index("Command")]
    assert left_in(tmp_path) == ["mine.md", "mine.safetensors", "mine.svg", "pictures"]
    for goal in (("-q", "5"), ("--size", "150"), ("--psnr", "12")):
        target_file = tmp_path / "0.cmb"
        done = run("encode", larger_dataset / "0.png", "-f", "-o", target_file, "--prior", target, *goal)
        assert done.exit_code == 0, done.output
    done = run("decode", tmp_path / "0.cmb", "-o", tmp_path / "0.png", "--prior", target)
    assert done.exit_code == 0, done.output


def test_learn_prior_of_sounds_without_layers(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for n in range(4):
        media.write_signal(tone(3000, seed=n), folder / f"{n}.flac")
    target = tmp_path / "s.safetensors"
    options = ("--tile", "16", "--components", "2", "--reach", "8", "--rounds", "1", "--covariance", "diagonal")
    done = run("learn-prior", folder, "-o", target, *options)
    assert done.exit_code == 0, done.output
    assert store.load(target).kind == "sound"
    assert "diagonal covariances" in target.with_suffix(".md").read_text()


def test_data_and_settings_that_make_no_mixture_prior_are_refused(tmp_path, dataset):
    target = tmp_path / "p.safetensors"

    def learn(*more):
        return run("learn-prior", dataset, "-o", target, *MIXTURE, *more)

    refused(learn("--beta", "1"), 2, "--beta goes with hidden layers")
    refused(learn("--rate", "nan"), 2, "--rate takes a finite number")
    refused(learn("--reach", "9"), 2, "wider than a tile")
    refused(learn(), 10, "components take at least 100")
    refused(learn("--tile", "16"), 10, "of at least 32x32")
    assert left_in(tmp_path) == ["pictures"]


def test_what_makes_no_sense_is_refused_before_any_work(tmp_path):
    refused(run("learn-prior", tmp_path, "-o", "prior.bin"), 2, ".safetensors")
    refused(run("learn-prior", tmp_path, "-o", "p.safetensors", "--rate", "1", "--beta", "1"), 2, "exclude each other")
    refused(run("learn-prior", "n" * 400, "-o", "p.safetensors"), 10, "neither a folder")
