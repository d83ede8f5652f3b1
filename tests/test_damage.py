"""Damage is noticed, wherever it is; with --ignore-checksum what can be decoded is decoded; small files take little."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import left_in, refused, run
from support.mutations import resealed
from support.priors import hasty_siren, packed_file, tiny_priors
from support.signals import smooth_image, tone

from combiner_cli.codec import pipeline
from combiner_cli.container.file import File, pack
from combiner_cli.errors import CombinerError, DamagedFileError, LimitError, VerificationError
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.rec import candidates
from combiner_cli.signals import metrics
from combiner_cli.signals.signal import Format

GOLDEN = Path(__file__).parent / "golden"
FILES = ("chained", "cifar10-1", "photo-8-grey", "speech-5-instant", "sound-tags")  # of every family, and with metadata


def refuses(data: bytes) -> None:
    with pytest.raises(DamagedFileError):
        File.parse(data)


@pytest.mark.parametrize("name", FILES)
def test_every_change_of_a_byte_is_noticed(name):
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    changed = bytearray(data)
    for place, right in enumerate(data):
        for value in range(256):
            if value != right:
                changed[place] = value
                refuses(bytes(changed))
        changed[place] = right


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_and_whatever_is_appended_is_noticed(name):
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    for length in range(len(data)):
        refuses(data[:length])
    dice = random.Random(1)
    for count in range(1, 65):
        for more in (bytes(count), b"\xff" * count, dice.randbytes(count), (data * count)[:count]):
            refuses(data + more)


@pytest.mark.parametrize("name", FILES)
def test_the_command_line_says_so_and_writes_nothing(name, tmp_path):
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    source, target = tmp_path / "x.cmb", tmp_path / ("x.wav" if name.startswith(("speech", "sound")) else "x.png")
    target.write_bytes(b"mine")
    changed = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(0, len(data), 7)]
    for damaged in (*changed, data[:-1], data[: len(data) // 2], b"", data + b"\0"):
        source.write_bytes(damaged)
        refused(run("decode", source, "-f"), 4, "x.cmb")
        refused(run("info", source), 4, "x.cmb")
        assert target.read_bytes() == b"mine"
        assert left_in(tmp_path) == sorted([source.name, target.name])


ENCODED = {
    "siren-16": EncodingOptions(search="astar", refinement="gradient"),
    "siren-8": EncodingOptions(effort=2),
    "pyramid-parts": EncodingOptions(effort=2),
    "lapped": EncodingOptions(effort=2),
}


def encoded(name, target=None, verify=True):
    """A prior, a small signal and its file."""
    prior = tiny_priors()[name]
    signal = smooth_image(21, 17) if prior.kind == "image" else tone(900)
    with hasty_siren(10):
        return prior, signal, pipeline.encode(signal, prior, target, ENCODED[name], verify=verify)


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_what_can_be_decoded_of_a_damaged_file_is(name):
    prior, signal, result = encoded(name)

    def decoded(data):
        return pipeline.decode(File.parse(data, ignore_checksum=True), lambda _: prior).samples

    assert np.array_equal(decoded(result.data), result.decoded.samples)
    payload_at = len(result.data) - result.payload_bytes - 4  # behind the header, before the checksum
    dice = random.Random(2)
    for _ in range(20):
        place = dice.randrange(payload_at, len(result.data))
        changed = bytearray(result.data)
        changed[place] ^= dice.randrange(1, 256)
        assert decoded(bytes(changed)).shape == signal.samples.shape
        assert decoded(result.data[:place] + bytes(9)).shape == signal.samples.shape
        assert decoded(result.data + dice.randbytes(dice.randrange(1, 64))).shape == signal.samples.shape
    changed = bytearray(result.data)
    changed[-1] ^= 1
    assert np.array_equal(decoded(bytes(changed)), result.decoded.samples)


@pytest.mark.parametrize("name", ["pyramid-parts", "lapped"])
def test_a_file_that_is_cut_off_begins_well(name):
    """Coarse scales come first: three quarters of a file are worth more than none."""
    prior, signal, result = encoded(name, Target("size", 300))

    def decoded(data):
        return pipeline.decode(File.parse(data, ignore_checksum=True), lambda _: prior)

    part = decoded(result.data[: 3 * len(result.data) // 4])
    noise = decoded(result.data[: -4 - result.payload_bytes] + random.Random(1).randbytes(result.payload_bytes + 4))
    assert metrics.psnr(signal, part) > metrics.psnr(signal, noise) + 3


def test_the_command_line_warns_of_a_damaged_file_that_it_decodes(tmp_path):
    data = bytearray((GOLDEN / "cifar10-1.cmb").read_bytes())
    source = tmp_path / "x.cmb"
    source.write_bytes(data)
    done = run("decode", source, "--ignore-checksum")
    assert (done.exit_code, done.stderr) == (0, "")
    whole = media.read_signal(tmp_path / "x.png").samples
    data[40] ^= 255
    source.write_bytes(data)
    refused(run("decode", source, "-f"), 4, "checksum does not match")
    done = run("decode", source, "-f", "--ignore-checksum")
    assert done.exit_code == 0
    assert done.stderr.startswith(f"combiner: warning: {source} is damaged")
    assert not np.array_equal(media.read_signal(tmp_path / "x.png").samples, whole)
    data[7] ^= 255  # the prior's id: a header that makes no sense
    source.write_bytes(data)
    refused(run("decode", source, "-f", "--ignore-checksum"), 6, "needs the prior")
    source.write_bytes(data[:9])
    refused(run("decode", source, "-f", "--ignore-checksum"), 4, "header cannot be read")


def break_decoder(patch, prior_type):
    """A fault in the look-up of candidates, as a decoder on a broken machine would have it."""
    usual_decode, usual = prior_type.decode, candidates.candidates

    def faulty_decode(*arguments):
        with pytest.MonkeyPatch.context() as within:
            within.setattr(candidates, "candidates", lambda rows, *others: usual(rows ^ 1, *others))
            return usual_decode(*arguments)

    patch.setattr(prior_type, "decode", faulty_decode)


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_an_encoder_that_does_not_decode_its_own_file_says_so(name, monkeypatch):
    break_decoder(monkeypatch, type(tiny_priors()[name]))
    with pytest.raises(VerificationError):
        encoded(name)
    _, _, result = encoded(name, verify=False)
    assert result.decoded is None
    assert result.payload_bytes > 0


def test_exit_code_8_and_no_output_without_verification_none(tmp_path, monkeypatch):
    media.write_signal(smooth_image(32, 32), tmp_path / "x.png")
    command = ("encode", tmp_path / "x.png", "--size", "120", "--prior", "photo-8", "-e", 1, "--tune", "psnr")
    with monkeypatch.context() as patch:
        break_decoder(patch, type(library.find("photo-8")))
        refused(run(*command), 8, "does not decode to the weights that were coded")
        assert left_in(tmp_path) == ["x.png"]
    done = run(*command, "--no-verify")
    assert done.exit_code == 0
    assert "not verified" in done.stdout and "PSNR" not in done.stdout
    unverified = (tmp_path / "x.cmb").read_bytes()
    assert '"psnr"' not in run(*command, "-f", "--no-verify", "--json").stdout
    assert "PSNR" in run(*command, "-f").stdout
    assert (tmp_path / "x.cmb").read_bytes() == unverified
    assert run(*command[:2], "-f", "--prior", "photo-8", "-e", 1, "--psnr", "20", "--no-verify").exit_code == 0


# limits


def _declared(name: str, signal_format: Format, payload=bytes(2)) -> bytes:
    """A small file of a shipped prior that declares a large signal."""
    prior = library.find(name)
    numbers = {field.name: (max(field.least, 0),) * field.count for field in prior.fields}
    if "class_bytes" in numbers:
        numbers |= {"noise": (30,), "class_bytes": (1,)}
    return pack(prior.id, signal_format, prior.fields, numbers, payload)


def _image(height, width):
    return Format("image", (height, width), 1, 8, None)


def _sound(frames, rate):
    return Format("sound", (frames,), 1, 16, rate)


MEASURED = """
import sys
from pathlib import Path
from combiner_cli.cli.main import main
try:
    main(sys.argv[1:])
finally:  # what getrusage says begins with the memory of the process that started this one
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a system that tells a process its memory")
@pytest.mark.parametrize("name", ["photo-8", "cifar10-2"])
def test_a_small_file_that_declares_a_gigantic_image_is_refused_in_little_memory(name, tmp_path):
    source = tmp_path / "x.cmb"
    source.write_bytes(_declared(name, _image(2**32 - 1, 2**32 - 1)))
    assert source.stat().st_size <= 45
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "decode", str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 9, done.stderr
    assert "over the limit" in done.stderr
    assert int(done.stdout) < 100_000  # KiB
    assert left_in(tmp_path) == ["x.cmb"]


@pytest.mark.parametrize(
    ("name", "signal_format", "error"),
    [
        ("cifar10-2", _image(8000, 8000), DamagedFileError),
        ("speech-1", _sound(2**28, 16000), DamagedFileError),
        ("speech-5", _sound(2**28 + 1, 16000), LimitError),
        ("speech-5", _sound(2**32 - 1, 2**32 - 1), LimitError),
        ("photo-8", _image(2**13, 2**13 + 1), LimitError),
    ],
)
def test_what_the_payload_cannot_hold_or_the_limit_forbids_is_refused_at_once(name, signal_format, error, monkeypatch):
    def nothing_is_allocated_before(*_, **__):
        raise AssertionError

    file, prior = File.parse(_declared(name, signal_format)), library.find(name)
    monkeypatch.setattr(np, "empty", nothing_is_allocated_before)
    with pytest.raises(error):
        pipeline.decode(file, lambda _: prior)


def test_a_damaged_number_of_bytes_allocates_nothing():
    prior = tiny_priors()["pyramid"]
    numbers = {field.name: (field.least,) * field.count for field in prior.fields} | {"class_bytes": (2**32 - 1,)}
    data = pack(prior.id, _image(8, 8), prior.fields, numbers, bytes(9))
    with pytest.raises(DamagedFileError, match="more classes than its payload holds"):
        pipeline.decode(File.parse(data), lambda _: prior)
    damaged = File.parse(data[:-1] + b"x", ignore_checksum=True)  # which is decoded as far as it goes
    assert pipeline.decode(damaged, lambda _: prior).shape == (8, 8)


def test_limits_can_be_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(GOLDEN / "photo-8-grey.cmb", "photo.cmb")
    shutil.copy(GOLDEN / "speech-5.cmb", "voice.cmb")
    points = File.parse(Path("photo.cmb").read_bytes()).format.points
    refused(run("decode", "photo.cmb", "--max-pixels", points - 1), 9, "raise --max-pixels")
    assert run("decode", "photo.cmb", "--max-pixels", points).exit_code == 0
    voice = File.parse(Path("voice.cmb").read_bytes()).format
    seconds = voice.points / voice.sample_rate
    refused(run("decode", "voice.cmb", "--max-seconds", seconds * 0.99), 9, "raise --max-seconds")
    refused(run("decode", "voice.cmb", "--max-pixels", voice.points - 1), 9, "raise --max-seconds")
    assert run("decode", "voice.cmb", "--max-seconds", seconds).exit_code == 0
    assert run("decode", "voice.cmb", "-f", "--max-pixels", 1, "--max-seconds", seconds).exit_code == 0


def test_a_changed_version_is_damage_unless_the_checksum_vouches_for_it():
    data = bytearray((GOLDEN / "cifar10-1.cmb").read_bytes())
    data[3] = 9
    with pytest.raises(DamagedFileError, match="checksum"):
        File.parse(bytes(data))
    with pytest.raises(CombinerError, match="version 9"):
        File.parse(resealed(bytes(data)))


def test_repeated_parts_come_to_an_end(monkeypatch):
    from combiner_cli.stages import decoder

    prior = tiny_priors()["pyramid-parts"]
    monkeypatch.setattr(decoder, "_MOST_REPEATED", 10)
    refusals = []
    for seed in range(60):
        try:
            pipeline.decode(File.parse(packed_file(prior, seed)), lambda _: prior)
        except CombinerError as error:
            refusals.append(str(error))
    assert any("repeats its parts" in words for words in refusals)
