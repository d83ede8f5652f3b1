"""The command decode: transcripts, sizes and rates, and every mistake with its line and its exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from support.commands import ROOT, left_in, plain_priors, refused, run
from support.signals import smooth_image, tone

import combiner_cli
from combiner_cli.codec import pipeline
from combiner_cli.container import file as container
from combiner_cli.errors import UsageError
from combiner_cli.families.lapped import encoder
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals.signal import Format


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a coded picture of 13x11 pixels, and a coded sound of 500 samples at 16,000 Hz."""
    priors = plain_priors(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name, signal in (("photo", smooth_image(11, 13)), ("voice", tone(500))):
        coded = pipeline.encode(signal, priors[f"plain-{signal.kind}"], Target("size", 125))
        Path(f"{name}.cmb").write_bytes(coded.data)
    return tmp_path


def test_the_lines_of_an_image_and_a_sound(folder):
    done = run("decode", "photo.cmb", "-o", "back.bmp")
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.fullmatch(r"photo\.cmb -> back\.bmp: 13x11 RGB, \d+\.\d\d s\n", done.stdout)
    assert media.read_signal(folder / "back.bmp").shape == (11, 13)
    done = run("decode", "voice.cmb")
    line = r"voice\.cmb -> voice\.wav: 0\.03 s mono at 16000 Hz, \d+\.\d\d s, \d+\.\d\d times real time\n"
    assert re.fullmatch(line, done.stdout)
    assert media.read_signal(folder / "voice.wav").shape == (500,)


def test_json(folder):
    facts = json.loads(run("decode", "photo.cmb", "--json").stdout)
    assert facts.pop("seconds") >= 0
    assert facts == {
        "input": "photo.cmb",
        "output": "photo.png",
        "kind": "image",
        "shape": [11, 13],
        "channels": 3,
    }
    facts = json.loads(run("decode", "voice.cmb", "--json").stdout)
    assert (facts["kind"], facts["sample_rate"], facts["shape"]) == ("sound", 16000, [500])
    assert facts["times_real_time"] > 0


def test_at_another_size(folder):
    assert run("decode", "photo.cmb", "-o", "large.png", "--scale", "2").exit_code == 0
    with Image.open("large.png") as image:
        assert image.size == (26, 22)
    assert run("decode", "photo.cmb", "-o", "small.png", "--resize", "7X5").exit_code == 0
    with Image.open("small.png") as image:
        assert image.size == (7, 5)
    for size in ("7", "7x", "0x5", "axb", "7x5x3"):
        done = run("decode", "photo.cmb", "-o", "x.png", "--resize", size)
        refused(done, 2, f"--resize takes a width and a height like 640x480, not {size}")


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A coded sound of 500 samples at 16,000 Hz, of a prior that is shipped."""
    path = tmp_path_factory.mktemp("voice") / "voice.cmb"
    fast = EncodingOptions(effort=1)
    path.write_bytes(pipeline.encode(tone(500), library.find("speech-5"), Target("size", 125), fast).data)
    return path


@pytest.mark.parametrize(("rate", "frames"), [(16000, 500), (48000, 1500), (44100, 1378), (8000, 250)])
def test_at_another_sample_rate(voice, folder, rate, frames):
    done = run("decode", voice, "-o", "back.flac", "--rate", rate)
    assert done.exit_code == 0, done.output
    assert f"mono at {rate} Hz" in done.stdout
    assert (soundfile.info("back.flac").samplerate, soundfile.info("back.flac").frames) == (rate, frames)


def test_a_whole_multiple_of_the_sample_rate_is_rendered_and_not_resampled(voice, folder):
    run("decode", voice, "-o", "rate.wav", "--rate", "48000")
    run("decode", voice, "-o", "scale.wav", "--scale", "3")
    assert Path("rate.wav").read_bytes() == Path("scale.wav").read_bytes()


def test_a_sound_at_its_own_rate_is_as_without_the_option(voice, folder):
    run("decode", voice, "-o", "rate.wav", "--rate", "16000")
    run("decode", voice, "-o", "plain.wav")
    assert Path("rate.wav").read_bytes() == Path("plain.wav").read_bytes()


def test_sample_rates_that_cannot_be(folder):
    assert run("decode", "voice.cmb", "-o", "back.wav", "--rate", "0").exit_code == 2
    done = run("decode", "voice.cmb", "-o", "back.wav", "--rate", "44100", "--max-pixels", "1377")
    refused(done, 9, "voice.cmb: the sound has 1378 samples at 44100 Hz, over the limit of 1377")
    refused(run("decode", "voice.cmb", "-o", "back.wav", "--rate", "8000", "--scale", "2"), 2, "exclude each other")
    refused(run("decode", "voice.cmb", "-o", "back.wav", "--rate", "8000", "--resize", "2x2"), 2, "exclude each other")
    refused(run("decode", "photo.cmb", "-o", "back.png", "--rate", "8000"), 2, "--rate is for sounds")
    assert left_in(folder) == ["photo.cmb", "voice.cmb"]


def test_as_much_noise_as_is_wanted_where_nothing_is_coded(voice, folder):
    def decoded(path, *options):
        done = run("decode", path, "-o", "back.wav", "-f", *options)
        assert done.exit_code == 0, done.output
        return soundfile.read("back.wav")[0]

    plain, half, full = decoded(voice), decoded(voice, "--fill", "0.5"), decoded(voice, "--fill", "1")
    assert np.array_equal(plain, decoded(voice, "--fill", "0"))  # the file has no shape, and says nothing of noise
    assert np.std(half - plain) == pytest.approx(np.std(full - plain) / 2, rel=0.05)
    perceptual = pipeline.encode(
        tone(4000), library.find("speech-5"), Target("size", 250, "perceptual"), EncodingOptions(effort=1)
    )
    Path("tuned.cmb").write_bytes(perceptual.data)
    strength = encoder.PERCEPTUAL.fill / 16
    assert np.array_equal(decoded("tuned.cmb"), decoded("tuned.cmb", "--fill", strength))
    assert not np.array_equal(decoded("tuned.cmb"), decoded("tuned.cmb", "--fill", "0"))


def test_strengths_of_noise_that_cannot_be(voice, folder):
    assert run("decode", voice, "-o", "back.wav", "--fill", "1.5").exit_code == 2
    refused(run("decode", "photo.cmb", "-o", "back.png", "--fill", "0.5"), 2, "only a sound can be filled")
    with pytest.raises(UsageError, match="from 0 to 1, not -1"):
        combiner_cli.decode(voice.read_bytes(), fill=-1)


def test_decoding_at_another_sample_rate_does_without_torch(voice, folder):
    program = (
        "import sys; from combiner_cli.cli.main import main; "
        f"main(['decode', {str(voice)!r}, '-o', 'back.wav', '--rate', '44100'], standalone_mode=False); "
        "print('torch' in sys.modules, 'soxr' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.splitlines()[-1] == "False True"


def test_existing_outputs_are_kept_without_force(folder):
    Path("photo.png").write_text("mine")
    refused(run("decode", "photo.cmb"), 7, "photo.png exists; use -f to replace it")
    assert Path("photo.png").read_text() == "mine"
    assert run("decode", "photo.cmb", "-f").exit_code == 0
    assert media.read_signal(folder / "photo.png").shape == (11, 13)


def test_a_missing_prior_is_named_by_its_id(folder, monkeypatch):
    number = library.find("plain-image").id
    monkeypatch.undo()
    done = run("decode", folder / "photo.cmb", "-o", folder / "back.png")
    refused(done, 6, f"{folder / 'photo.cmb'}: the file needs the prior with id {number:08x}")
    assert "back.png" not in left_in(folder)


def test_a_file_is_not_decoded_with_another_prior(folder):
    refused(run("decode", "photo.cmb", "--prior", "plain-sound"), 6, "is for sounds")
    refused(run("decode", "photo.cmb", "--prior", "photo-8"), 6, "not photo-8")
    assert left_in(folder) == ["photo.cmb", "voice.cmb"]


@pytest.mark.parametrize("command", [("decode", "photo.cmb", "-o", "back.png"), ("info", "photo.cmb")])
def test_truncated_and_changed_files(folder, command):
    data = Path("photo.cmb").read_bytes()
    for damaged in (data[:-1], data[:10], b"", data[:20] + bytes([data[20] ^ 1]) + data[21:], b"GIF89a"):
        Path("photo.cmb").write_bytes(damaged)
        refused(run(*command), 4, "photo.cmb: ")
        assert left_in(folder) == ["photo.cmb", "voice.cmb"]


def test_a_damaged_file_can_be_decoded_as_far_as_it_goes_with_a_warning(folder):
    data = Path("photo.cmb").read_bytes()
    Path("photo.cmb").write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    done = run("decode", "photo.cmb", "--ignore-checksum")
    assert done.exit_code == 0
    warning = "photo.cmb is damaged, its checksum does not match; this is what could be decoded"
    assert done.stderr == f"combiner: warning: {warning}\n"


def test_an_unknown_version(folder):
    content = container.MAGIC + bytes([7]) + Path("photo.cmb").read_bytes()[4:-4]
    Path("new.cmb").write_bytes(content + container.checksum(content))
    refused(run("decode", "new.cmb"), 5, "version 7")


def test_a_file_that_declares_a_gigantic_image(folder):
    prior = library.find("plain-image")
    numbers = {"count": (2**16 + 1,)}
    huge = Format("image", (2**31, 2**31), 3, 8, None)
    Path("huge.cmb").write_bytes(container.pack(prior.id, huge, prior.fields, numbers, b"x"))
    refused(run("decode", "huge.cmb"), 9, "--max-pixels")
    refused(run("decode", "photo.cmb", "--max-pixels", "100"), 9, "over the limit of 100")
    refused(run("decode", "voice.cmb", "--max-seconds", "0.03"), 9, "over the limit of 0.03; raise --max-seconds")
    assert left_in(folder) == ["huge.cmb", "photo.cmb", "voice.cmb"]


def test_targets_that_cannot_be_written(folder):
    refused(run("decode", "photo.cmb", "-o", "photo.xyz"), 7, "an image cannot be written as .xyz; use one of")
    refused(run("decode", "photo.cmb", "-o", "photo"), 7, "an image cannot be written without a suffix")
    refused(run("decode", "photo.cmb", "-o", "photo.wav"), 7, "an image cannot be written as .wav")
    refused(run("decode", "voice.cmb", "-o", "voice.png"), 7, "a sound cannot be written as .png")
    assert left_in(folder) == ["photo.cmb", "voice.cmb"]


def test_too_little_memory_is_one_line(folder, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(pipeline, "decode", fail)
    refused(run("decode", "photo.cmb"), 9, "not enough memory")
    assert left_in(folder) == ["photo.cmb", "voice.cmb"]


def test_options_out_of_range_are_usage_errors(folder):
    for options in (
        ("--scale", "0"),
        ("--scale", "65"),
        ("--max-pixels", "0"),
        ("--max-seconds", "0"),
        ("--threads", "0"),
    ):
        assert run("decode", "photo.cmb", *options).exit_code == 2
    assert left_in(folder) == ["photo.cmb", "voice.cmb"]
