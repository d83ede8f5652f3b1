"""The command line: transcripts of success, and every mistake with its line and its exit code."""

import binascii
import itertools
import json
import os
import re
import signal as signals_of_the_system
import subprocess
import sys
import time

import msgpack
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import smooth_image, tiny_mixture, tone
from PIL import Image
from safetensors import safe_open

from combiner_cli import __version__
from combiner_cli.cli.main import main
from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals import metrics


@pytest.fixture
def quick(monkeypatch, prior_folder, tmp_path):
    """Short schedules, tiny priors, and a folder to work in."""
    monkeypatch.setattr(pipeline, "default_schedule", lambda points: Schedule(30, 4, 3))
    monkeypatch.chdir(tmp_path)
    media.write_signal(smooth_image(11, 13), tmp_path / "photo.png")
    media.write_signal(tone(500), tmp_path / "voice.wav")
    return tmp_path


def run(*arguments):
    """Run a command in this process; an unexpected exception fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def encode(source, target, prior="tiny-image"):
    done = run("encode", source, "-o", target, "--prior", prior)
    assert done.exit_code == 0, done.output
    return done


def refused(done, exit_code, message):
    """One line on stderr that says so, nothing on stdout."""
    assert done.exit_code == exit_code, done.output
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.startswith("combiner: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_image_there_and_back(quick):
    done = encode("photo.png", "photo.cmb")
    size = (quick / "photo.cmb").stat().st_size
    assert done.stdout.startswith("photo.png -> photo.cmb: ")
    assert f"{size:,} bytes, {8 * size / 143:.3f} bpp, PSNR " in done.stdout
    done = run("decode", "photo.cmb", "-o", "back.png")
    assert done.exit_code == 0
    assert done.stdout.startswith("photo.cmb -> back.png: 13x11 RGB, ")
    assert media.read_signal(quick / "back.png").shape == (11, 13)


def test_a_sound_there_and_back_with_default_names(quick):
    done = run("encode", "voice.wav", "--prior", "tiny-sound", "--json")
    facts = json.loads(done.stdout)
    (quick / "voice.wav").rename(quick / "original.wav")
    assert run("decode", "voice.cmb").exit_code == 0
    decoded = media.read_signal(quick / "voice.wav")
    original = media.read_signal(quick / "original.wav")
    assert decoded.shape == (500,)
    assert facts["psnr"] == pytest.approx(metrics.psnr(original, decoded), abs=1e-3)
    assert facts["snr"] == pytest.approx(metrics.signal_to_noise(original, decoded), abs=1e-3)
    assert facts["bytes"] == (quick / "voice.cmb").stat().st_size
    assert facts["kbps"] == pytest.approx(8 * facts["bytes"] / (500 / 16000) / 1000, abs=1e-3)


def test_json_of_an_image_agrees_with_the_decoded_file(quick):
    done = run("encode", "photo.png", "--prior", "tiny-image", "--json")
    facts = json.loads(done.stdout)
    assert run("decode", "photo.cmb", "-o", "back.png", "--json").exit_code == 0
    original, back = (media.read_signal(quick / name) for name in ("photo.png", "back.png"))
    assert facts["psnr"] == pytest.approx(metrics.psnr(original, back), abs=1e-3)
    assert facts["bytes"] - facts["payload_bytes"] <= 24
    assert set(facts["phases"]) == {"prepare", "fit", "search", "refine", "decode"}


def test_quality_raises_the_rate(quick):
    sizes = []
    for quality in (1, 10):
        run("encode", "photo.png", "-f", "--prior", "tiny-image", "-q", quality)
        sizes.append((quick / "photo.cmb").stat().st_size)
    assert sizes[0] < sizes[1]


def test_the_shipped_priors_are_used_by_default(quick):
    done = run("encode", "photo.png", "--json")
    assert json.loads(done.stdout)["prior"].startswith("cifar10-")
    done = run("encode", "voice.wav", "--json")
    assert json.loads(done.stdout)["prior"].startswith("speech-")


def test_info(quick):
    encode("photo.png", "photo.cmb")
    prior = library.find("tiny-image")
    done = run("info", "photo.cmb")
    assert done.exit_code == 0
    assert "13x11 RGB" in done.stdout
    assert f"tiny-image (id {prior.id:08x}, siren)" in done.stdout
    facts = json.loads(run("info", "photo.cmb", "--json").stdout)
    assert facts["shape"] == [11, 13]
    assert facts["bytes"] == (quick / "photo.cmb").stat().st_size
    (quick / "priors" / "tiny-image.safetensors").unlink()
    assert "not on this machine" in run("info", "photo.cmb").stdout


def test_decode_at_twice_the_size(quick):
    encode("photo.png", "photo.cmb")
    assert run("decode", "photo.cmb", "-o", "large.png", "--scale", "2").exit_code == 0
    with Image.open("large.png") as image:
        assert image.size == (26, 22)


def test_version_and_help():
    assert run("--version").stdout == f"combiner {__version__}\n"
    for command in ("encode", "decode", "info", "learn-prior"):
        done = run(command, "-h")
        assert done.exit_code == 0
        assert done.stdout.startswith("Usage: ")


def test_existing_outputs_are_kept_without_force(quick):
    encode("photo.png", "photo.cmb")
    before = (quick / "photo.cmb").read_bytes()
    refused(run("encode", "photo.png", "--prior", "tiny-image"), 7, "-f")
    assert (quick / "photo.cmb").read_bytes() == before
    refused(run("decode", "photo.cmb"), 7, "-f")
    assert run("decode", "photo.cmb", "-f").exit_code == 0


def test_something_that_is_no_image(quick):
    (quick / "text.png").write_text("not an image")
    refused(run("encode", "text.png"), 3, "text.png")
    refused(run("encode", "missing.png"), 3, "missing.png")
    assert "text.cmb" not in left_in(quick)


def test_nan_in_a_sound(quick):
    soundfile.write("nan.wav", np.array([0.0, np.nan, 0.5], dtype=np.float32), 16000, subtype="FLOAT")
    refused(run("encode", "nan.wav", "--prior", "tiny-sound"), 3, "NaN")
    assert left_in(quick) == ["nan.wav", "photo.png", "priors", "voice.wav"]


def test_a_lossy_sound_beyond_full_scale_is_clipped_with_a_note(quick):
    steps = np.sign(np.sin(np.arange(4000) / 40))
    soundfile.write("loud.ogg", steps, 16000, "VORBIS", format="OGG")
    done = run("encode", "loud.ogg", "--prior", "tiny-sound", "--json")
    assert done.exit_code == 0, done.output
    assert re.fullmatch(
        r"combiner: note: loud\.ogg has [\d,]+ samples beyond full scale \(peak 1\.\d+\) that are clipped\n",
        done.stderr,
    )
    assert json.loads(done.stdout)["bytes"] == (quick / "loud.cmb").stat().st_size


def test_a_sound_that_is_cut_off(quick):
    (quick / "voice.wav").write_bytes((quick / "voice.wav").read_bytes()[:-100])
    done = run("encode", "voice.wav", "--prior", "tiny-sound")
    refused(done, 3, "voice.wav is cut off: 944 of 1,044 bytes are there")


def test_a_prior_of_the_wrong_kind(quick):
    refused(run("encode", "photo.png", "--prior", "tiny-sound"), 6, "is for sounds")
    assert "photo.cmb" not in left_in(quick)


def test_a_missing_prior_is_named_by_its_id(quick):
    encode("photo.png", "photo.cmb")
    prior = library.find("tiny-image")
    (quick / "priors" / "tiny-image.safetensors").unlink()
    refused(run("decode", "photo.cmb", "-o", "back.png"), 6, f"{prior.id:08x}")
    assert "back.png" not in left_in(quick)


def test_truncated_and_changed_files(quick):
    encode("photo.png", "photo.cmb")
    data = (quick / "photo.cmb").read_bytes()
    before = left_in(quick)
    for damaged in (data[:-1], data[:10], b"", data[:20] + bytes([data[20] ^ 1]) + data[21:], b"GIF89a"):
        (quick / "photo.cmb").write_bytes(damaged)
        refused(run("decode", "photo.cmb", "-o", "back.png"), 4, "photo.cmb: ")
        refused(run("info", "photo.cmb"), 4, "photo.cmb: ")
        assert left_in(quick) == before


def test_an_unknown_version(quick):
    content = bitstream.MAGIC + msgpack.packb([7, 1])
    (quick / "new.cmb").write_bytes(content + binascii.crc32(content).to_bytes(4, "big"))
    refused(run("decode", "new.cmb"), 5, "version 7")


def test_a_header_that_declares_a_gigantic_image(quick):
    header = bitstream.Header(library.find("tiny-image").id, "image", (2**31, 2**31), 3, 8, None, (1,))
    (quick / "huge.cmb").write_bytes(bitstream.pack(header, bytes(2)))
    refused(run("decode", "huge.cmb"), 9, "--max-pixels")
    assert "huge.png" not in left_in(quick)
    encode("photo.png", "photo.cmb")
    refused(run("decode", "photo.cmb", "-o", "back.png", "--max-pixels", "100"), 9, "over the limit of 100")


def test_targets_that_cannot_be_written(quick):
    refused(run("encode", "photo.png", "-o", "nowhere/photo.cmb", "--prior", "tiny-image"), 7, "nowhere")
    encode("photo.png", "photo.cmb")
    refused(run("decode", "photo.cmb", "-o", "photo.xyz"), 7, "xyz")
    refused(run("decode", "photo.cmb", "-o", "photo.wav"), 7, "wav")
    assert left_in(quick) == ["photo.cmb", "photo.png", "priors", "voice.wav"]


def test_options_out_of_range_are_usage_errors(quick):
    for arguments in (
        ("encode", "photo.png", "-q", "11"),
        ("encode", "photo.png", "--device", "abacus"),
        ("decode", "photo.cmb", "--scale", "0"),
        ("encode",),
        ("paint",),
    ):
        assert run(*arguments).exit_code == 2
    refused(run("learn-prior", ".", "-o", "prior.bin"), 2, ".safetensors")
    refused(run("learn-prior", ".", "-o", "p.safetensors", "--rate", "1", "--beta", "1"), 2, "exclude each other")


def test_names_that_are_none_are_refused_in_one_line(quick):
    refused(run("encode", "."), 3, "is a folder")
    refused(run("encode", "/"), 3, "is a folder")
    refused(run("encode", "photo.png", "--prior", "n" * 400), 6, "no prior is called")
    refused(run("learn-prior", "n" * 400, "-o", "p.safetensors"), 10, "neither a folder")


def test_too_little_memory_is_one_line(quick, monkeypatch):
    encode("photo.png", "photo.cmb")

    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(pipeline, "decode", fail)
    refused(run("decode", "photo.cmb", "-o", "back.png"), 9, "not enough memory")
    assert "back.png" not in left_in(quick)


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


def test_verbose_shows_the_traceback(quick):
    done = run("info", "missing.cmb", "-v")
    assert done.exit_code == 3
    assert "Traceback" in done.stderr


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
    prior = library.load(target)
    assert prior.network.extent == (8, 8)
    card = (tmp_path / "mine.md").read_text()
    assert f"{prior.id:08x}" in card
    assert "6 images" in card
    assert str(tmp_path) not in card.replace("DATASET", "")[: card.index("Command")]
    assert left_in(tmp_path) == ["mine.md", "mine.safetensors", "mine.svg", "pictures"]
    refused(run("learn-prior", dataset, "-o", target, *LEARN), 7, "-f")
    monkeypatch.setattr(pipeline, "default_schedule", lambda points: Schedule(30, 4, 3))
    assert run("encode", dataset / "0.png", "-o", tmp_path / "0.cmb", "--prior", target).exit_code == 0


def test_learn_prior_from_sounds_and_from_an_array(tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for n in range(4):
        media.write_signal(tone(300, seed=n), folder / f"{n}.flac")
    options = ("--tile", "64", *LEARN[2:])
    assert run("learn-prior", folder, "-o", tmp_path / "s.safetensors", *options).exit_code == 0
    assert library.load(tmp_path / "s.safetensors").kind == "sound"
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
    start, prior = library.load(first), library.load(second)
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
    start, prior = library.load(first), library.load(second)
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


@pytest.mark.parametrize("number", [signals_of_the_system.SIGINT, signals_of_the_system.SIGTERM])
def test_an_interrupted_encode_leaves_nothing_behind_and_ends_by_the_signal(tmp_path, prior_folder, number):
    media.write_signal(smooth_image(256, 256), tmp_path / "photo.png")
    before = left_in(tmp_path)
    process = _start("encode", tmp_path / "photo.png", "--prior", "tiny-image")
    deadline = time.monotonic() + 60
    while left_in(tmp_path) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -number, errors
    assert "Traceback" not in errors
    assert left_in(tmp_path) == before


@pytest.fixture
def mixed(quick):
    """The folder of ``quick`` with mixture priors besides."""
    for kind in ("image", "sound"):
        library.save(tiny_mixture(kind), quick / "priors" / f"mixed-{kind}.safetensors")
    return quick


@pytest.mark.parametrize("prior", ["mixed-image", "tiny-image"])
def test_files_are_of_the_size_that_was_asked_for(mixed, prior):
    assert run("encode", "photo.png", "--prior", prior, "--size", "160").exit_code == 0
    assert (mixed / "photo.cmb").stat().st_size == 160
    done = run("encode", "photo.png", "-f", "--prior", prior, "--bpp", "8", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["bytes"] == 143 == (mixed / "photo.cmb").stat().st_size
    assert json.loads(done.stdout)["bpp"] == 8
    (mixed / "photo.cmb").unlink()
    refused(run("encode", "photo.png", "--prior", prior, "--size", "5"), 2, "ask for more than 5")
    assert "photo.cmb" not in left_in(mixed)


def test_sounds_are_of_the_rate_that_was_asked_for(mixed):
    assert run("encode", "voice.wav", "--prior", "mixed-sound", "--kbps", "32").exit_code == 0
    assert (mixed / "voice.cmb").stat().st_size == 125  # 500 samples of 16,000 a second
    refused(run("encode", "voice.wav", "-f", "--prior", "mixed-sound", "--bpp", "1"), 2, "--bpp is for images")
    refused(run("encode", "photo.png", "--prior", "mixed-image", "--kbps", "32"), 2, "--kbps is for sounds")


def test_a_psnr_that_was_asked_for_is_reached(mixed):
    done = run("encode", "photo.png", "--prior", "mixed-image", "--psnr", "18.5", "--json")
    assert done.exit_code == 0
    assert 18.5 <= json.loads(done.stdout)["psnr"] < 20.5
    refused(run("encode", "photo.png", "-f", "--prior", "mixed-image", "--psnr", "99"), 2, "ask for less than 99 dB")
    assert run("encode", "voice.wav", "--prior", "mixed-sound", "--psnr", "45").exit_code == 0


def test_an_snr_that_was_asked_for_is_reached(mixed):
    done = run("encode", "voice.wav", "--prior", "mixed-sound", "--snr", "12", "--json")
    assert done.exit_code == 0, done.output
    assert 12 <= json.loads(done.stdout)["snr"] < 14
    done = run("encode", "voice.wav", "-f", "--prior", "mixed-sound", "--snr", "99")
    refused(done, 2, "(SNR 99.00 dB)")
    assert re.search(r"reaches [\d.]+ dB \(SNR \d\d\.\d\d dB\) here; ask for less than [\d.]+ dB", done.stderr)
    refused(run("encode", "photo.png", "--prior", "mixed-image", "--snr", "12"), 2, "--snr is for sounds")
    soundfile.write("silence.wav", np.zeros(500), 16000, "PCM_16")
    refused(run("encode", "silence.wav", "--prior", "mixed-sound", "--snr", "12"), 2, "the sound is silent")
    assert "silence.cmb" not in left_in(mixed)


def test_the_line_of_a_sound(mixed):
    done = run("encode", "voice.wav", "--prior", "mixed-sound", "--kbps", "32")
    decibels = r"PSNR \d\d\.\d\d dB, SNR \d+\.\d\d dB"
    line = rf"voice\.wav -> voice\.cmb: 1,044 -> 125 bytes, 32\.00 kbit/s, {decibels}, \d+\.\d s, "
    assert re.fullmatch(line + r"\d+\.\d\d times real time\n", done.stdout)
    done = run("decode", "voice.cmb", "-o", "back.wav")
    line = r"voice\.cmb -> back\.wav: 0\.03 s mono at 16000 Hz, \d+\.\d\d s, \d+\.\d\d times real time\n"
    assert re.fullmatch(line, done.stdout)


def test_speed_in_json_is_that_of_the_seconds(mixed):
    facts = json.loads(run("encode", "voice.wav", "--prior", "mixed-sound", "--kbps", "32", "--json").stdout)
    assert facts["times_real_time"] == pytest.approx(500 / 16000 / facts["seconds"], rel=0.05)
    facts = json.loads(run("decode", "voice.cmb", "-f", "--json").stdout)
    assert facts["times_real_time"] == pytest.approx(500 / 16000 / facts["seconds"], rel=0.2)
    assert (facts["sample_rate"], facts["shape"]) == (16000, [500])


@pytest.fixture
def voice(mixed):
    """The folder of ``mixed`` with a coded sound of 500 samples at 16,000 Hz."""
    assert run("encode", "voice.wav", "--prior", "mixed-sound", "--size", "125").exit_code == 0
    return mixed


@pytest.mark.parametrize(("rate", "frames"), [(16000, 500), (48000, 1500), (44100, 1378), (8000, 250)])
def test_decode_a_sound_at_another_sample_rate(voice, rate, frames):
    done = run("decode", "voice.cmb", "-o", "back.flac", "--rate", rate)
    assert done.exit_code == 0, done.output
    assert f"mono at {rate} Hz" in done.stdout
    assert (soundfile.info("back.flac").samplerate, soundfile.info("back.flac").frames) == (rate, frames)


def test_a_whole_multiple_of_the_sample_rate_is_rendered_and_not_resampled(voice):
    run("decode", "voice.cmb", "-o", "rate.wav", "--rate", "48000")
    run("decode", "voice.cmb", "-o", "scale.wav", "--scale", "3")
    assert (voice / "rate.wav").read_bytes() == (voice / "scale.wav").read_bytes()


def test_a_sound_at_its_own_rate_is_as_without_the_option(voice):
    run("decode", "voice.cmb", "-o", "rate.wav", "--rate", "16000")
    run("decode", "voice.cmb", "-o", "plain.wav")
    assert (voice / "rate.wav").read_bytes() == (voice / "plain.wav").read_bytes()


def test_sample_rates_that_cannot_be(voice):
    assert run("decode", "voice.cmb", "-o", "back.wav", "--rate", "0").exit_code == 2
    done = run("decode", "voice.cmb", "-o", "back.wav", "--rate", "44100", "--max-pixels", "1377")
    refused(done, 9, "voice.cmb: the sound has 1378 samples at 44100 Hz, over the limit of 1377")
    refused(run("decode", "voice.cmb", "-o", "back.wav", "--rate", "8000", "--scale", "2"), 2, "exclude each other")
    refused(run("decode", "voice.cmb", "-o", "back.wav", "--rate", "8000", "--resize", "2x2"), 2, "exclude each other")
    assert run("encode", "photo.png", "--prior", "mixed-image", "--size", "90").exit_code == 0
    refused(run("decode", "photo.cmb", "-o", "back.png", "--rate", "8000"), 2, "--rate is for sounds")
    assert not {"back.wav", "back.png"} & set(left_in(voice))


def test_decoding_at_another_sample_rate_does_without_torch(voice):
    program = (
        "import sys; from combiner_cli.cli import main; "
        "main(['decode', 'voice.cmb', '-o', 'back.wav', '--rate', '44100'], standalone_mode=False); "
        "print('torch' in sys.modules, 'soxr' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False True"


GOALS = (("-q", "3"), ("--size", "99"), ("--bpp", "2"), ("--kbps", "4"), ("--psnr", "20"), ("--snr", "20"))


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(GOALS, 2)))
def test_goals_exclude_each_other(mixed, one, other):
    done = run("encode", "photo.png", "--prior", "mixed-image", *other, *one)
    refused(done, 2, f"{one[0]} and {other[0]} exclude each other")
    assert "photo.cmb" not in left_in(mixed)


@pytest.mark.parametrize(
    "options",
    [
        ("--size", "0"),
        ("--size", "much"),
        ("--bpp", "0"),
        ("--bpp", "-1"),
        ("--bpp", "nan"),
        ("--bpp", "inf"),
        ("--kbps", "0"),
        ("--psnr", "0"),
        ("--snr", "0"),
        ("--snr", "inf"),
        ("--psnr", "nan"),
        ("-e", "0"),
        ("-e", "10"),
        ("--search", "luck"),
        ("--refine", "twice"),
    ],
)
def test_goals_and_efforts_out_of_range_are_usage_errors(mixed, options):
    assert run("encode", "photo.png", "--prior", "mixed-image", *options).exit_code == 2
    assert "photo.cmb" not in left_in(mixed)


@pytest.mark.parametrize("prior", ["mixed-image", "tiny-image"])
def test_efforts_and_searches_give_files_that_decode(mixed, prior):
    for options in (("-e", "1"), ("--search", "best"), ("--search", "astar"), ("-e", "1", "--search", "viterbi")):
        assert run("encode", "photo.png", "-f", "--prior", prior, "--size", "90", *options).exit_code == 0
        assert (mixed / "photo.cmb").stat().st_size == 90
        assert run("decode", "photo.cmb", "-f", "-o", "back.png").exit_code == 0


def test_refinement_by_gradient_steps_is_another_file(mixed):
    contents = []
    for refine in ("closed-form", "gradient"):
        command = ("encode", "photo.png", "-f", "--prior", "tiny-image", "--size", "90", "--refine", refine)
        assert run(*command).exit_code == 0
        contents.append((mixed / "photo.cmb").read_bytes())
        assert run("decode", "photo.cmb", "-f", "-o", "back.png").exit_code == 0
    assert contents[0] != contents[1]
    assert len(contents[0]) == len(contents[1]) == 90


def test_info_of_a_file_with_a_mixture_prior(mixed):
    assert run("encode", "photo.png", "--prior", "mixed-image", "--size", "90").exit_code == 0
    facts = json.loads(run("info", "photo.cmb", "--json").stdout)
    assert (facts["version"], facts["prior"], facts["bytes"]) == (2, "mixed-image", 90)
    done = run("info", "photo.cmb")
    assert "mixed-image" in done.stdout
    assert "90 bytes" in done.stdout


def test_a_file_is_not_decoded_with_a_prior_of_the_other_kind(mixed):
    assert run("encode", "photo.png", "--prior", "mixed-image", "--size", "90").exit_code == 0
    for prior in ("mixed-sound", "tiny-sound"):
        refused(run("decode", "photo.cmb", "-o", "back.png", "--prior", prior), 6, "is for sounds")
    assert "back.png" not in left_in(mixed)


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
    prior = library.load(target)
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
    assert library.load(target).kind == "sound"
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
