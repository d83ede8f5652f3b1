"""The command encode: transcripts, targets, efforts, and every mistake with its line and its exit code."""

import itertools
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import zoo_images, zoo_sounds
from support.commands import left_in, plain_priors, refused, run
from support.learned import tiny_mixture_file
from support.signals import smooth_image, tone

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File
from combiner_cli.media import files as media
from combiner_cli.priors import library, store
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Signal

IMAGE = ("--prior", "plain-image")
SOUND = ("--prior", "plain-sound")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a picture and a sound, and priors that take no time."""
    plain_priors(monkeypatch)
    monkeypatch.chdir(tmp_path)
    media.write_signal(smooth_image(11, 13), tmp_path / "photo.png")
    media.write_signal(tone(500), tmp_path / "voice.wav")
    return tmp_path


@pytest.fixture
def mixed(folder, monkeypatch):
    """The same with priors of the linear family, whose encoder searches."""
    (folder / "priors").mkdir()
    for kind in ("image", "sound"):
        (folder / "priors" / f"mixed-{kind}.safetensors").symlink_to(tiny_mixture_file(kind))
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(folder / "priors"))
    return folder


def test_the_line_of_an_image(folder):
    done = run("encode", "photo.png", "-o", "x.cmb", *IMAGE)
    assert done.exit_code == 0
    size, source = (folder / "x.cmb").stat().st_size, (folder / "photo.png").stat().st_size
    line = (
        rf"photo\.png -> x\.cmb: {source:,} -> {size:,} bytes, {8 * size / 143:.3f} bpp, PSNR \d+\.\d\d dB, \d+\.\d s\n"
    )
    assert re.fullmatch(line, done.stdout)


def test_the_line_of_a_sound(folder):
    done = run("encode", "voice.wav", *SOUND, "--kbps", "32")
    decibels = r"PSNR \d\d\.\d\d dB, SNR -?\d+\.\d\d dB"
    line = rf"voice\.wav -> voice\.cmb: 1,044 -> 125 bytes, 32\.000 kbit/s, {decibels}, \d+\.\d s, "
    assert re.fullmatch(line + r"\d+\.\d\d times real time\n", done.stdout)


def test_json_of_an_image_agrees_with_the_decoded_file(folder):
    facts = json.loads(run("encode", "photo.png", *IMAGE, "--json").stdout)
    assert run("decode", "photo.cmb", "-o", "back.png").exit_code == 0
    original, back = (media.read_signal(folder / name) for name in ("photo.png", "back.png"))
    assert facts["psnr"] == pytest.approx(metrics.psnr(original, back), abs=1e-3)
    assert facts["bytes"] == (folder / "photo.cmb").stat().st_size
    assert facts["bytes"] - facts["payload_bytes"] <= 24
    assert (facts["prior"], facts["metadata_bytes"]) == ("plain-image", 0)
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / 143, abs=1e-4)
    assert set(facts["phases"]) == {"prepare", "fit", "decode"}


def test_json_of_a_sound_agrees_with_the_decoded_file(folder):
    facts = json.loads(run("encode", "voice.wav", *SOUND, "--json").stdout)
    assert run("decode", "voice.cmb", "-o", "back.wav").exit_code == 0
    original, back = (media.read_signal(folder / name) for name in ("voice.wav", "back.wav"))
    assert facts["psnr"] == pytest.approx(metrics.psnr(original, back), abs=1e-3)
    assert facts["snr"] == pytest.approx(metrics.signal_to_noise(original, back), abs=1e-3)
    assert facts["kbps"] == pytest.approx(8 * facts["bytes"] / (500 / 16000) / 1000, abs=1e-3)
    assert facts["times_real_time"] == pytest.approx(500 / 16000 / facts["seconds"], rel=0.5)


def test_a_file_that_is_too_small_for_its_content_and_a_lost_sound_are_told_of(folder):
    dice = np.random.default_rng(1)
    media.write_signal(zoo_images.image_of(dice.integers(0, 2, (64, 64, 3)) * 255), folder / "odd.png")
    media.write_signal(zoo_sounds.SOUNDS["silence-one-step"](), folder / "step.wav")
    words = "the content is far from what prior photo-8 expects, and reaches"
    done = run("encode", "odd.png", "--prior", "photo-8", "--size", "120", "-e", "1", "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning.startswith(words) and warning.endswith("dB in so few bytes")
    assert f"; {warning}\n" in run("encode", "odd.png", "-f", "--prior", "photo-8", "--size", "120", "-e", "1").stdout
    assert not json.loads(run("encode", "odd.png", "-f", "--prior", "photo-8", "-e", "1", "--json").stdout)["warnings"]
    done = run("encode", "step.wav", "-e", "1", "--json")
    assert json.loads(done.stdout)["warnings"] == ["hardly anything of the sound is left"]


def test_a_size_that_has_no_room_for_a_shape_of_the_noise_is_met_without_one(folder):
    media.write_signal(zoo_images.image_of(np.zeros((12, 9, 3))), folder / "black.png")
    done = run("encode", "black.png", "--prior", "photo-8", "--size", "30")
    assert done.exit_code == 0 and (folder / "black.cmb").stat().st_size == 30
    assert "shape" not in run("info", "black.cmb").stdout
    run("encode", "photo.png", "-f", "--prior", "photo-8", "--size", "140")
    assert "perceptual shape" in run("info", "photo.cmb").stdout


def test_the_shipped_priors_are_used_by_default(folder):
    done = run("encode", "photo.png", "--json", "-e", "1")
    facts = json.loads(done.stdout)
    assert facts["prior"] in {path.stem for path in library.shipped()}
    assert facts["prior_chosen"]
    assert run("encode", "photo.png", "-f", "-e", "1").stdout.endswith(f", chosen prior {facts['prior']}\n")
    assert not json.loads(run("encode", "photo.png", "-f", *IMAGE, "--json").stdout)["prior_chosen"]
    done = run("encode", "voice.wav", "--json", "-e", "1")
    assert json.loads(done.stdout)["prior"].startswith("speech-")


def test_quality_raises_the_rate(folder):
    sizes = []
    for quality in (1, 10):
        run("encode", "photo.png", "-f", *IMAGE, "-q", quality)
        sizes.append((folder / "photo.cmb").stat().st_size)
    assert sizes[0] < sizes[1]


def test_files_are_of_the_size_that_was_asked_for(folder):
    assert run("encode", "photo.png", *IMAGE, "--size", "160").exit_code == 0
    assert (folder / "photo.cmb").stat().st_size == 160
    facts = json.loads(run("encode", "photo.png", "-f", *IMAGE, "--bpp", "8", "--json").stdout)
    assert facts["bytes"] == 143 == (folder / "photo.cmb").stat().st_size
    assert facts["bpp"] == 8
    (folder / "photo.cmb").unlink()
    refused(run("encode", "photo.png", *IMAGE, "--size", "5"), 2, "ask for more")
    assert "photo.cmb" not in left_in(folder)


def test_sounds_are_of_the_rate_that_was_asked_for(folder):
    assert run("encode", "voice.wav", *SOUND, "--kbps", "32").exit_code == 0
    assert (folder / "voice.cmb").stat().st_size == 125  # 500 samples of 16,000 a second
    refused(run("encode", "voice.wav", "-f", *SOUND, "--bpp", "1"), 2, "--bpp is for images")
    refused(run("encode", "photo.png", *IMAGE, "--kbps", "32"), 2, "--kbps is for sounds")


def test_a_psnr_that_was_asked_for_is_reached(mixed):
    done = run("encode", "photo.png", "--prior", "mixed-image", "--psnr", "18.5", "--json")
    assert done.exit_code == 0, done.output
    assert 18.5 <= json.loads(done.stdout)["psnr"] < 20.5
    refused(run("encode", "photo.png", "-f", "--prior", "mixed-image", "--psnr", "99"), 2, "ask for less than 99 dB")


@pytest.mark.parametrize("tune", ["psnr", "perceptual"])
def test_a_ssimulacra2_that_was_asked_for_is_reached(tmp_path, monkeypatch, tune):
    monkeypatch.chdir(tmp_path)
    pink = zoo_images.IMAGES["noise-pink"]()
    original = Signal("image", pink.samples[:32, :32].copy(), None, 8)
    media.write_signal(original, Path("pink.png"))
    done = run("encode", "pink.png", "--ssimulacra2", "60", "--tune", tune, "--effort", "1", "--prior", "photo-8")
    assert done.exit_code == 0, done.output
    assert run("decode", "pink.cmb", "-o", "back.png").exit_code == 0
    assert 60 <= metrics.ssimulacra2(original, media.read_signal(Path("back.png"))) < 63


def test_an_snr_that_was_asked_for_is_reached(mixed):
    done = run("encode", "voice.wav", "--prior", "mixed-sound", "--snr", "12", "--json")
    assert done.exit_code == 0, done.output
    assert 12 <= json.loads(done.stdout)["snr"] < 14
    refused(run("encode", "photo.png", "--prior", "mixed-image", "--snr", "12"), 2, "--snr is for sounds")
    soundfile.write("silence.wav", np.zeros(500), 16000, "PCM_16")
    refused(run("encode", "silence.wav", "--prior", "mixed-sound", "--snr", "12"), 2, "the sound is silent")
    assert "silence.cmb" not in left_in(mixed)


TARGETS = (("-q", "3"), ("--size", "99"), ("--bpp", "2"), ("--kbps", "4"), ("--psnr", "20"), ("--snr", "20"))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(TARGETS, 2)))
def test_targets_exclude_each_other(folder, first, second):
    done = run("encode", "photo.png", *IMAGE, *second, *first)
    refused(done, 2, f"{first[0]} and {second[0]} exclude each other")
    assert "photo.cmb" not in left_in(folder)


@pytest.mark.parametrize(
    "options",
    [
        ("-q", "0"),
        ("-q", "11"),
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
        ("--device", "abacus"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--jobs", "0"),
    ],
)
def test_options_out_of_range_are_usage_errors(folder, options):
    assert run("encode", "photo.png", *IMAGE, *options).exit_code == 2
    assert "photo.cmb" not in left_in(folder)


def test_efforts_and_searches_give_files_that_decode(mixed):
    contents = set()
    for options in (("-e", "1"), ("--search", "best"), ("--search", "astar"), ("-e", "1", "--search", "viterbi")):
        command = ("encode", "photo.png", "-f", "--prior", "mixed-image", "--size", "90", *options)
        assert run(*command).exit_code == 0
        contents.add((mixed / "photo.cmb").read_bytes())
        assert (mixed / "photo.cmb").stat().st_size == 90
        assert run("decode", "photo.cmb", "-f", "-o", "back.png").exit_code == 0
    assert len(contents) >= 3


def test_what_a_family_has_no_use_for_is_refused(mixed):
    done = run("encode", "photo.png", "--prior", "mixed-image", "--size", "90", "--refine", "gradient")
    refused(done, 2, "prior mixed-image has no use for the refinement gradient; leave it out")
    assert "photo.cmb" not in left_in(mixed)


def test_refinement_and_seed_reach_the_encoder(folder, prior_folder):
    contents = {}
    for options in (("--refine", "closed-form"), ("--refine", "gradient"), ("--seed", "1"), ()):
        command = ("encode", "photo.png", "-f", "-e", "1", "--prior", "tiny-image", "--size", "90", *options)
        assert run(*command).exit_code == 0
        contents[options] = (folder / "photo.cmb").read_bytes()
        assert len(contents[options]) == 90
    assert contents[()] == contents["--refine", "closed-form"]
    assert len(set(contents.values())) == 3


def test_a_file_that_is_not_verified_has_no_psnr(folder):
    done = run("encode", "photo.png", *IMAGE, "--no-verify")
    assert ", not verified, " in done.stdout
    facts = json.loads(run("encode", "photo.png", "-f", *IMAGE, "--no-verify", "--json").stdout)
    assert "psnr" not in facts and "decode" not in facts["phases"]


def test_a_file_that_does_not_decode_to_what_was_coded_is_not_written(folder, monkeypatch):
    broken = library.find("plain-image")
    monkeypatch.setattr(library, "find", lambda name: type(broken)(wrong="latents"))
    refused(run("encode", "photo.png", *IMAGE), 8, "please report this")
    assert "photo.cmb" not in left_in(folder)


def test_existing_outputs_are_kept_without_force(folder):
    run("encode", "photo.png", *IMAGE)
    before = (folder / "photo.cmb").read_bytes()
    refused(run("encode", "photo.png", *IMAGE, "-q", "1"), 7, "photo.cmb exists; use -f to replace it")
    assert (folder / "photo.cmb").read_bytes() == before
    assert run("encode", "photo.png", *IMAGE, "-q", "1", "-f").exit_code == 0
    assert (folder / "photo.cmb").read_bytes() != before


def test_something_that_is_no_image(folder):
    (folder / "text.png").write_text("not an image")
    refused(run("encode", "text.png"), 3, "text.png")
    refused(run("encode", "missing.png"), 3, "missing.png does not exist; check the name")
    refused(run("encode", "."), 3, "is a folder")
    refused(run("encode", "/"), 3, "is a folder")
    assert left_in(folder) == ["photo.png", "text.png", "voice.wav"]


def test_nan_in_a_sound(folder):
    soundfile.write("nan.wav", np.array([0.0, np.nan, 0.5], dtype=np.float32), 16000, subtype="FLOAT")
    refused(run("encode", "nan.wav", *SOUND), 3, "NaN")
    assert left_in(folder) == ["nan.wav", "photo.png", "voice.wav"]


def test_a_lossy_sound_beyond_full_scale_is_clipped_with_a_note(folder):
    steps = np.sign(np.sin(np.arange(4000) / 40))
    soundfile.write("loud.ogg", steps, 16000, "VORBIS", format="OGG")
    done = run("encode", "loud.ogg", *SOUND, "--json")
    assert done.exit_code == 0, done.output
    assert re.fullmatch(
        r"combiner: note: loud\.ogg has [\d,]+ samples beyond full scale \(peak 1\.\d+\) that are clipped\n",
        done.stderr,
    )
    assert json.loads(done.stdout)["bytes"] == (folder / "loud.cmb").stat().st_size


def test_a_sound_that_is_cut_off(folder):
    (folder / "voice.wav").write_bytes((folder / "voice.wav").read_bytes()[:-100])
    refused(run("encode", "voice.wav", *SOUND), 3, "voice.wav is cut off: 944 of 1,044 bytes are there")


def test_priors_that_do_not_go_with_the_signal_or_are_none(folder):
    refused(run("encode", "photo.png", *SOUND), 6, "is for sounds")
    refused(run("encode", "photo.png", "--prior", "n" * 400), 6, "no prior is called")
    assert "photo.cmb" not in left_in(folder)


def test_an_image_of_too_many_points_has_the_exit_code_of_limits(folder, monkeypatch):
    monkeypatch.setattr(type(library.find("plain-image")), "points_rendered", lambda *_: 2**27)
    refused(run("encode", "photo.png", *IMAGE), 9, "over the limit of 67108864; cut it into parts")
    (folder / "again.png").write_bytes((folder / "photo.png").read_bytes())
    done = run("encode", "photo.png", "again.png", *IMAGE, "-d", "coded", "--json")
    assert {json.loads(line)["exit_code"] for line in done.stdout.splitlines()} == {9}


def test_an_image_that_is_not_even_read_has_the_same_exit_code(folder):
    """As it is refused by its size before there is memory for it."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return len(content).to_bytes(4, "big") + name + content + checksum.to_bytes(4, "big")

    size = (50_000).to_bytes(4, "big") * 2
    header = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0]))
    pixels = chunk(b"IDAT", zlib.compress(bytes(9)))
    Path("huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    refused(run("encode", "huge.png", *IMAGE), 9, "huge.png")
    assert "huge.cmb" not in left_in(folder)


def test_too_little_memory_is_one_line(folder, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(pipeline, "encode", fail)
    refused(run("encode", "photo.png", *IMAGE), 9, "not enough memory")
    assert "photo.cmb" not in left_in(folder)


def test_a_folder_that_does_not_exist(folder):
    done = run("encode", "photo.png", "-o", "nowhere/photo.cmb", *IMAGE)
    refused(done, 7, "the folder nowhere does not exist; create it first")


def test_a_prior_is_named_by_its_file(folder):
    prior = tiny_mixture_file()
    assert run("encode", "photo.png", "--prior", prior, "--size", "90", "-e", "1").exit_code == 0
    file = File.parse((folder / "photo.cmb").read_bytes())
    assert file.prior_id == store.load(prior).id
    assert run("decode", "photo.cmb", "-o", Path("back.png"), "--prior", prior).exit_code == 0
