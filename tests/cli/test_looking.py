"""The commands info, test and compare: transcripts, one bad file among many, and every mistake."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import smooth_image, tone

from combiner_cli.cli.main import main
from combiner_cli.codec import inspection, pipeline
from combiner_cli.errors import InputError
from combiner_cli.media import files as media
from combiner_cli.priors import library
from combiner_cli.signals import metrics

GOLDEN = Path(__file__).parent / "golden"


def run(*arguments, **options):
    """Run a command in this process; an unexpected exception fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three files, one of them damaged, below a folder."""
    (tmp_path / "coded" / "deep").mkdir(parents=True)
    shutil.copy(GOLDEN / "photo-6.cmb", tmp_path / "coded" / "a.cmb")
    data = (GOLDEN / "photo-6-grey.cmb").read_bytes()
    (tmp_path / "coded" / "b.cmb").write_bytes(data[:-1])
    shutil.copy(GOLDEN / "speech-4.cmb", tmp_path / "coded" / "deep" / "c.cmb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_info_says_where_the_bytes_go():
    done = run("info", GOLDEN / "cifar10-4.cmb")
    assert done.exit_code == 0
    assert done.stdout == (
        f"{GOLDEN / 'cifar10-4.cmb'}: 32x32 RGB, 8 bits\n"
        "  prior    cifar10-4 (id 1b14bb63, linear)\n"
        "  size     101 bytes, 0.789 bpp; file version 2\n"
        "  noise    code 31\n"
        "  header   18 bytes with checksum\n"
        "  classes  3 bytes\n"
        "  groups   80 bytes, 80 groups\n"
        "    phase 0         23   28.7 %  █████████\n"
        "    phase 1         20   25.0 %  ████████\n"
        "    phase 2         18   22.5 %  ███████\n"
        "    phase 3         19   23.8 %  ███████\n"
    )


SHIPPED = [
    path for path in sorted(GOLDEN.glob("*.cmb")) if path.stem.startswith(("cifar", "general", "photo", "speech"))
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_info_accounts_for_every_byte(path):
    facts = json.loads(run("info", path, "--json").stdout)
    assert facts["bytes"] == path.stat().st_size
    assert facts["bytes"] == facts["header_bytes"] + facts["class_bytes"] + facts["group_bytes"]
    assert sum(facts["stages"].values()) == facts["groups"]
    content = pipeline.read(path.read_bytes(), library.find(facts["prior"]))
    assert sum(map(len, content.indices)) == facts["groups"]
    assert all(len(line) <= 80 for line in run("info", path).stdout.splitlines()[1:])


def test_info_without_the_prior_says_what_the_header_says(folder):
    path = GOLDEN / "grey16.cmb"  # of a prior that only the tests have
    done = run("info", path)
    assert done.exit_code == 0
    assert "not on this machine" in done.stdout and "unknown without the prior" in done.stdout
    facts = json.loads(run("info", path, "--json").stdout)
    assert (facts["prior"], facts["group_bytes"], facts["groups"], facts["stages"]) == (None, None, 10, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "shipped_folder", lambda: folder)
        facts = json.loads(run("info", folder / "coded" / "a.cmb", "--json").stdout)
    assert (facts["class_bytes"], facts["groups"]) == (80, None)


@pytest.mark.parametrize("command", ["info", "test"])
def test_one_bad_file_does_not_stop_the_rest(folder, command):
    done = run(command, "-r", "coded")
    assert done.exit_code == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("combiner: coded/b.cmb: the file is truncated or was changed")
    assert last == "combiner: 1 of 3 failed: coded/b.cmb"
    assert "coded/a.cmb: " in done.stdout and "coded/deep/c.cmb: " in done.stdout
    lines = [json.loads(line) for line in run(command, "-r", "coded", "--json").stdout.splitlines()]
    assert [line["file"] for line in lines] == ["coded/a.cmb", "coded/b.cmb", "coded/deep/c.cmb"]
    assert lines[1]["exit_code"] == 4


def test_test_vouches_for_sound_files(folder):
    done = run("test", "coded/a.cmb", "coded/deep/c.cmb")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "coded/a.cmb: OK, 102x75 RGB\ncoded/deep/c.cmb: OK, 0.19 s mono at 16000 Hz\n"
    assert run("test", "coded/a.cmb", "--quiet").stdout == ""
    before = sorted(folder.rglob("*"))
    assert run("test", "coded/b.cmb").exit_code == 4
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["info", "test"])
def test_mistakes_are_one_line(folder, command):
    for arguments, exit_code, words in (
        (["coded"], 3, "give -r"),
        (["missing.cmb"], 3, "does not exist"),
        (["-r", "empty"], 3, "there are no .cmb files"),
    ):
        (folder / "empty").mkdir(exist_ok=True)
        done = run(command, *arguments)
        assert done.exit_code == exit_code
        assert done.stdout == ""
        assert words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["info", "test"])
def test_standard_input(command):
    data = (GOLDEN / "photo-6.cmb").read_bytes()
    line = [sys.executable, "-m", "combiner_cli", command, "-"]
    done = subprocess.run(line, input=data, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode().startswith("-: ")
    done = subprocess.run(line, input=data[:-1], capture_output=True, check=False, timeout=60)
    assert done.returncode == 4
    assert done.stderr.decode().startswith("combiner: -: ")


def test_compare_images(tmp_path):
    original = smooth_image(170, 180)
    other = original.samples.copy()
    other[3, 4, 1] += 5
    media.write_signal(original, tmp_path / "a.png")
    media.write_signal(type(original)("image", other), tmp_path / "b.png")
    done = run("compare", tmp_path / "a.png", tmp_path / "b.png", "--difference", tmp_path / "d.png", "--gain", 4)
    psnr = 10 * np.log10(255**2 * 170 * 180 * 3 / 25)
    assert done.exit_code == 0, done.output
    assert f"PSNR {psnr:.2f} dB, MS-SSIM 1.0000, largest difference 5 of 255\n" in done.stdout
    shown = media.read_signal(tmp_path / "d.png").samples
    assert shown[3, 4].tolist() == [128, 148, 128]
    assert (shown == 128).sum() == shown.size - 1
    assert run("compare", tmp_path / "a.png", tmp_path / "a.png").stdout.endswith("no difference\n")
    facts = json.loads(run("compare", tmp_path / "a.png", tmp_path / "a.png", "--json").stdout)
    assert (facts["psnr"], facts["largest_difference"]) == (None, 0)
    refused = run("compare", tmp_path / "a.png", tmp_path / "b.png", "--difference", tmp_path / "d.png")
    assert refused.exit_code == 7 and "-f" in refused.stderr


def test_compare_with_a_coded_file():
    """What a file decodes to has no difference to what it was decoded to."""
    done = run("compare", GOLDEN / "speech-4.wav", GOLDEN / "speech-4.cmb")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("700 bytes: no difference\n")


def test_compare_sounds(tmp_path):
    first, second = tone(2000), tone(2000, seed=1)
    media.write_signal(first, tmp_path / "a.wav")
    media.write_signal(second, tmp_path / "b.flac")
    done = run("compare", tmp_path / "a.wav", tmp_path / "b.flac", "--json", "--difference", tmp_path / "d.wav")
    facts = json.loads(done.stdout)
    assert facts["psnr"] == pytest.approx(metrics.psnr(first, second), abs=1e-3)
    assert facts["snr"] == pytest.approx(metrics.signal_to_noise(first, second), abs=1e-3)
    expected = np.clip((second.samples.astype(float) - first.samples) * 8, -1, 1 - 2**-15)
    assert np.abs(media.read_signal(tmp_path / "d.wav").samples - expected).max() <= 2**-15
    media.write_signal(tone(1999), tmp_path / "c.wav")
    refused = run("compare", tmp_path / "a.wav", tmp_path / "c.wav")
    assert refused.exit_code == 3 and "cannot be compared" in refused.stderr


def test_differences_of_other_images_are_pictures_too():
    deep = smooth_image(5, 6, channels=4, depth=16)
    shown = metrics.difference(deep, deep, 8.0)
    assert (shown.channels, shown.bit_depth) == (3, 8)
    assert (shown.samples == 128).all()
    assert metrics.difference(smooth_image(5, 6, 2), smooth_image(5, 6, 2, seed=1), 1.0).channels == 1
    with pytest.raises(InputError):
        metrics.largest_difference(deep, smooth_image(5, 6))


def test_the_same_prior_is_asked_for_once():
    asked = []

    def find(prior_id):
        asked.append(prior_id)
        return library.find_id(prior_id)

    found = inspection.inspect((GOLDEN / "photo-6.cmb").read_bytes(), find)
    assert asked == [found.prior_id]
    assert found.bits_per_pixel == pytest.approx(8 * 900 / (75 * 102))
    assert found.kilobits_per_second is None
