"""The command compare."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.commands import plain_priors, refused, run
from support.signals import smooth_image, tone

from combiner_cli.errors import InputError
from combiner_cli.media import files as media
from combiner_cli.signals import metrics


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_images(folder):
    original = smooth_image(170, 180)
    changed = original.samples.copy()
    changed[3, 4, 1] += 5
    media.write_signal(original, folder / "a.png")
    media.write_signal(type(original)("image", changed), folder / "b.png")
    done = run("compare", "a.png", "b.png", "--difference", "d.png", "--gain", 4)
    psnr = 10 * np.log10(255**2 * 170 * 180 * 3 / 25)
    assert done.exit_code == 0, done.output
    ssimulacra2 = metrics.ssimulacra2(original, media.read_signal(folder / "b.png"))
    sizes = [(folder / name).stat().st_size for name in ("a.png", "b.png")]
    assert done.stdout == (
        f"a.png {sizes[0]:,} bytes, b.png {sizes[1]:,} bytes: "
        f"PSNR {psnr:.2f} dB, MS-SSIM 1.0000, SSIMULACRA 2 {ssimulacra2:.1f}, largest difference 5 of 255\n"
    )
    assert 95 < ssimulacra2 < 100
    shown = media.read_signal(folder / "d.png").samples
    assert shown[3, 4].tolist() == [128, 148, 128]
    assert (shown == 128).sum() == shown.size - 1
    assert run("compare", "a.png", "a.png").stdout.endswith("no difference\n")
    facts = json.loads(run("compare", "a.png", "a.png", "--json").stdout)
    assert (facts["psnr"], facts["largest_difference"], facts["bytes"]) == (None, 0, [sizes[0]] * 2)
    refused(run("compare", "a.png", "b.png", "--difference", "d.png"), 7, "-f")
    assert run("compare", "a.png", "b.png", "--difference", "d.png", "-f").exit_code == 0
    refused(run("compare", "a.png", "b.png", "--difference", "d.wav"), 7, "an image cannot be written as .wav")


def test_a_coded_file(folder, monkeypatch):
    """What a file decodes to has no difference to what it was decoded to."""
    plain_priors(monkeypatch)
    media.write_signal(tone(900), folder / "a.wav")
    assert run("encode", "a.wav", "--prior", "plain-sound", "--size", "200").exit_code == 0
    assert run("decode", "a.cmb", "-o", "b.wav").exit_code == 0
    assert run("compare", "b.wav", "a.cmb").stdout.endswith("a.cmb 200 bytes: no difference\n")
    Path("a.cmb").write_bytes(Path("a.cmb").read_bytes()[:-1])
    refused(run("compare", "b.wav", "a.cmb"), 4, "a.cmb: the file is truncated or was changed")


def test_sounds(folder):
    first, second = tone(2000), tone(2000, seed=1)
    media.write_signal(first, folder / "a.wav")
    media.write_signal(second, folder / "b.flac")
    done = run("compare", "a.wav", "b.flac", "--json", "--difference", "d.wav")
    facts = json.loads(done.stdout)
    assert facts["psnr"] == pytest.approx(metrics.psnr(first, second), abs=1e-3)
    assert facts["snr"] == pytest.approx(metrics.signal_to_noise(first, second), abs=1e-3)
    expected = np.clip((second.samples.astype(float) - first.samples) * 8, -1, 1 - 2**-15)
    assert np.abs(media.read_signal(folder / "d.wav").samples - expected).max() <= 2**-15
    media.write_signal(tone(1999), folder / "c.wav")
    refused(run("compare", "a.wav", "c.wav"), 3, "cannot be compared")


def test_without_its_package_a_measure_is_left_out(folder, monkeypatch):
    import sys

    media.write_signal(smooth_image(170, 170), folder / "a.png")
    media.write_signal(smooth_image(170, 170, seed=1), folder / "b.png")
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    monkeypatch.delitem(sys.modules, "combiner_cli.bench.measures", raising=False)
    done = run("compare", "a.png", "b.png")
    assert done.exit_code == 0
    assert done.stderr == "combiner: note: MS-SSIM is left out; pip install 'combiner[bench]' brings it\n"
    assert "MS-SSIM" not in done.stdout


def test_differences_of_other_images_are_pictures_too():
    deep = smooth_image(5, 6, channels=4, depth=16)
    shown = metrics.difference(deep, deep, 8.0)
    assert (shown.channels, shown.bit_depth) == (3, 8)
    assert (shown.samples == 128).all()
    assert metrics.difference(smooth_image(5, 6, 2), smooth_image(5, 6, 2, seed=1), 1.0).channels == 1
    with pytest.raises(InputError):
        metrics.largest_difference(deep, smooth_image(5, 6))
