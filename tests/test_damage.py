"""Damage is noticed, wherever it is; with --ignore-checksum what can be decoded is decoded."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import families
import numpy as np
import pytest
from conftest import smooth_image, tone
from test_cli import left_in, refused, run

from combiner_cli.codec import pipeline
from combiner_cli.container import bitstream
from combiner_cli.errors import CombinerError, DamagedFileError, LimitError, VerificationError
from combiner_cli.families.siren.refinement import Schedule
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.rec import candidates
from combiner_cli.signals import metrics

GOLDEN = Path(__file__).parent / "golden"
FILES = ("chained", "cifar10-4", "photo-6-grey", "speech-4-instant", "sound-tags")  # versions 1, 2, 3, 3 and 4


def no_prior(_: int):
    raise AssertionError("a damaged file must be refused before its prior is looked for")


def refuses(data: bytes) -> None:
    with pytest.raises(DamagedFileError):
        pipeline.decode(data, no_prior)


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


def test_a_changed_version_is_damage_unless_the_checksum_vouches_for_it():
    data = bytearray((GOLDEN / "cifar10-4.cmb").read_bytes())
    data[4] = 9
    with pytest.raises(DamagedFileError, match="checksum"):
        bitstream.unpack(bytes(data))


ENCODED = {
    "siren-16": ("image", {"group_bits": 16, "refine": "gradient"}),
    "siren-8": ("image", {}),
    "covariances": ("image", {}),
    "linear": ("image", {}),
    "linear-sound": ("sound", {}),
    "pyramid-parts": ("image", {}),
    "lapped": ("sound", {}),
}


def encoded(name, **changed):
    """A prior, a small signal and its file."""
    kind, settings = ENCODED[name]
    prior = families.tiny_priors()[name]
    signal = smooth_image(21, 17) if kind == "image" else tone(900)
    settings = pipeline.Settings(schedule=Schedule(10, 2, 2), effort=2, **settings, **changed)
    return prior, signal, pipeline.encode(signal, prior, settings)


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_what_can_be_decoded_of_a_damaged_file_is(name):
    prior, signal, result = encoded(name)

    def decoded(data):
        return pipeline.decode(data, lambda _: prior, ignore_checksum=True).samples

    assert np.array_equal(decoded(result.data), result.decoded.samples)
    around = len(result.data) - result.payload_bytes - 4  # header and magic
    dice = random.Random(2)
    for _ in range(20):
        place = dice.randrange(around, len(result.data))
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
    prior, signal, result = encoded(name, size=600)
    part = pipeline.decode(result.data[: 3 * len(result.data) // 4], lambda _: prior, ignore_checksum=True)
    noise = pipeline.decode(
        bitstream.pack(bitstream.unpack(result.data)[0], random.Random(1).randbytes(result.payload_bytes)),
        lambda _: prior,
        ignore_checksum=True,
    )
    assert metrics.psnr(signal, part) > metrics.psnr(signal, noise) + 3


def test_the_command_line_warns_of_a_damaged_file_that_it_decodes(tmp_path):
    data = bytearray((GOLDEN / "cifar10-4.cmb").read_bytes())
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


def test_a_damaged_number_of_groups_allocates_nothing():
    prior = families.tiny_priors()["siren-16"]
    header = bitstream.Header(prior.id, "image", (8, 8), 3, 8, None, (2**32 - 1,))
    with pytest.raises(DamagedFileError, match="payload has"):
        pipeline.decode(bitstream.pack(header, bytes(9))[:-1] + b"x", lambda _: prior, ignore_checksum=True)


def break_decoder(patch):
    """A fault in the look-up of candidates, as a decoder on a broken machine would have it."""
    usual_read, usual = pipeline.read, candidates.candidates

    def faulty_read(*arguments, **more):
        with pytest.MonkeyPatch.context() as within:
            within.setattr(candidates, "candidates", lambda rows, *others: usual(rows ^ 1, *others))
            return usual_read(*arguments, **more)

    patch.setattr(pipeline, "read", faulty_read)


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_an_encoder_that_does_not_decode_its_own_file_says_so(name, monkeypatch):
    break_decoder(monkeypatch)
    with pytest.raises(VerificationError):
        encoded(name)
    _, _, result = encoded(name, verify=False)
    assert result.decoded is None
    assert result.payload_bytes > 0


@pytest.mark.parametrize("fault", ["refuses", "another format"])
def test_an_encoder_whose_file_is_refused_or_has_another_format_says_so(fault, monkeypatch):
    def refuse(*_, **__):
        raise DamagedFileError("no")

    def other(values, kind, rate, depth):
        return usual(values[:-1], kind, rate, depth)

    usual = pipeline.from_values
    monkeypatch.setattr(pipeline, *(("read", refuse) if fault == "refuses" else ("from_values", other)))
    with pytest.raises(VerificationError, match="does not decode"):
        encoded("linear")


def test_exit_code_8_and_no_output_without_verification_none(tmp_path, monkeypatch):
    media.write_signal(smooth_image(32, 32), tmp_path / "x.png")
    command = ("encode", tmp_path / "x.png", "--size", "120", "--prior", "cifar10-6")
    with monkeypatch.context() as patch:
        break_decoder(patch)
        refused(run(*command), 8, "does not decode to the weights that were coded")
        assert left_in(tmp_path) == ["x.png"]
    done = run(*command, "--no-verify")
    assert done.exit_code == 0
    assert "not verified" in done.stdout and "PSNR" not in done.stdout
    unverified = (tmp_path / "x.cmb").read_bytes()
    assert '"psnr"' not in run(*command, "-f", "--no-verify", "--json").stdout
    assert "PSNR" in run(*command, "-f").stdout
    assert (tmp_path / "x.cmb").read_bytes() == unverified
    assert run(*command[:2], "-f", "--prior", "cifar10-6", "--psnr", "20", "--no-verify").exit_code == 0


# limits


def _declared(name: str, shape, rate=None, payload=bytes(2)) -> bytes:
    """A small file that declares a large signal, of a shipped prior."""
    prior = library.find(name)
    kind = "image" if rate is None else "sound"
    header = bitstream.Header(prior.id, kind, shape, 1, 8 if rate is None else 16, rate, noise=30)
    if name in ("photo-6", "speech-4"):
        transform = (0, 0) if rate else ()
        header = pipeline.replace(header, class_bytes=1, densities=(0,) * 8, chains=1, transform=transform)
    return bitstream.pack(header, payload)


MEASURED = """
import sys
from pathlib import Path
from combiner_cli.cli import main
try:
    main(sys.argv[1:])
finally:  # what getrusage says begins with the memory of the process that started this one
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a system that tells a process its memory")
@pytest.mark.parametrize("name", ["photo-6", "photo-4", "cifar10-2"])
def test_a_small_file_that_declares_a_gigantic_image_is_refused_in_little_memory(name, tmp_path):
    source = tmp_path / "x.cmb"
    source.write_bytes(_declared(name, (2**32 - 1, 2**32 - 1)))
    assert source.stat().st_size <= 45
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "decode", str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 9
    assert "over the limit" in done.stderr
    assert int(done.stdout) < 100_000  # KiB
    assert left_in(tmp_path) == ["x.cmb"]


@pytest.mark.parametrize(
    ("name", "shape", "rate", "error"),
    [
        ("photo-4", (8000, 8000), None, DamagedFileError),
        ("cifar10-2", (8000, 8000), None, DamagedFileError),
        ("speech-3", (2**28,), 16000, DamagedFileError),
        ("speech-4", (2**28 + 1,), 16000, LimitError),
        ("speech-4", (2**32 - 1,), 2**32 - 1, LimitError),
        ("photo-6", (2**13, 2**13 + 1), None, LimitError),
    ],
)
def test_what_the_payload_cannot_hold_or_the_limit_forbids_is_refused_at_once(name, shape, rate, error, monkeypatch):
    monkeypatch.setattr(np, "empty", no_prior)  # nothing is allocated before
    with pytest.raises(error):
        pipeline.decode(_declared(name, shape, rate), library.find_id)


def test_limits_can_be_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(GOLDEN / "photo-6-grey.cmb", "photo.cmb")
    shutil.copy(GOLDEN / "speech-4.cmb", "voice.cmb")
    header, _ = bitstream.unpack(Path("photo.cmb").read_bytes())
    points = header.shape[0] * header.shape[1]
    refused(run("decode", "photo.cmb", "--max-pixels", points - 1), 9, "raise --max-pixels")
    assert run("decode", "photo.cmb", "--max-pixels", points).exit_code == 0
    header, _ = bitstream.unpack(Path("voice.cmb").read_bytes())
    seconds = header.shape[0] / header.sample_rate
    refused(run("decode", "voice.cmb", "--max-seconds", seconds * 0.99), 9, "raise --max-seconds")
    refused(run("decode", "voice.cmb", "--max-pixels", header.shape[0] - 1), 9, "raise --max-seconds")
    assert run("decode", "voice.cmb", "--max-seconds", seconds).exit_code == 0
    assert run("decode", "voice.cmb", "-f", "--max-pixels", 1, "--max-seconds", seconds).exit_code == 0


def test_seconds_allow_as_many_instants_as_they_have():
    header = bitstream.Header(1, "sound", (2**29,), 1, 16, 48000, noise=0)
    assert pipeline.limit_of(header, None, None) == 2**28
    assert pipeline.limit_of(header, None, 20000) == 960_000_000
    assert pipeline.limit_of(pipeline.replace(header, sample_rate=2**32 - 1), None, 10) == 2**28
    assert pipeline.limit_of(pipeline.replace(header, shape=(5,)), 77, None) == 77
    image = bitstream.Header(1, "image", (2**29, 1), 1, 16, None, noise=0)
    assert pipeline.limit_of(image, None, 1) == pipeline.MOST_POINTS["image"]


def test_the_names_of_outputs_never_come_from_a_file():
    """There is no name in a file: what decodes is a header of numbers, and samples."""
    fields = bitstream.Header.__dataclass_fields__
    assert not any("str" in str(field.type) and name != "kind" for name, field in fields.items())


def test_repeated_parts_come_to_an_end(monkeypatch):
    from combiner_cli.stages import allocation

    prior = families.tiny_priors()["pyramid-parts"]
    monkeypatch.setattr(allocation, "_MOST_REPEATED", 10)
    found = []
    for seed in range(200):
        try:
            pipeline.decode(families.packed_file(prior, seed), lambda _: prior)
        except CombinerError as error:
            found.append(str(error))
    assert any("repeats its parts" in words for words in found)
