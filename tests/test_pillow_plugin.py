"""Pillow opens and saves .cmb images."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from support.signals import smooth_image

import combiner_cli
import combiner_cli.pillow_plugin
from combiner_cli.codec import pipeline
from combiner_cli.priors import library

GOLDEN = Path(__file__).parent / "golden"


def test_it_is_registered():
    assert Image.registered_extensions()[".cmb"] == "CMB"
    assert Image.MIME["CMB"] == "image/x-combiner"


def test_opening_reads_the_header_alone(monkeypatch):
    decoded = []
    original = pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda *a, **k: decoded.append(1) or original(*a, **k))
    with Image.open(GOLDEN / "photo-8.cmb") as image:
        assert (image.format, image.size, image.mode, decoded) == ("CMB", (102, 75), "RGB", [])
        expected = combiner_cli.decode((GOLDEN / "photo-8.cmb").read_bytes()).samples
        decoded.clear()
        assert (np.asarray(image) == expected).all()
        image.load()
        assert image.getpixel((0, 0)) == tuple(expected[0, 0])
    assert decoded == [1]


@pytest.mark.parametrize(
    ("name", "mode"), [("photo-8-grey", "L"), ("photo-8-rgba", "RGBA"), ("photo-8-blocks", "RGB"), ("cifar10-6", "L")]
)
def test_modes(name, mode):
    data = (GOLDEN / f"{name}.cmb").read_bytes()
    with Image.open(BytesIO(data)) as image:
        assert image.mode == mode
        samples = combiner_cli.decode(data).samples
        if samples.dtype == np.uint16:  # colours of 16 bits, which Pillow has no mode for
            samples = np.rint(samples / 257).astype(np.uint8)
        assert (np.asarray(image).reshape(samples.shape) == samples).all()


def test_grey_of_sixteen_bits():
    encoded = combiner_cli.encode(smooth_image(12, 9, 1, 16), quality=3)
    with Image.open(BytesIO(encoded.data)) as image:
        assert image.mode == "I;16"
        assert (np.asarray(image) == encoded.decoded.samples[:, :, 0]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_saving(tmp_path, mode):
    picture = Image.fromarray(smooth_image(30, 40).samples).convert(mode)
    picture.save(tmp_path / "x.cmb", size=260, effort=1)
    assert (tmp_path / "x.cmb").stat().st_size == 260
    with Image.open(tmp_path / "x.cmb") as image:
        assert image.size == (40, 30)
        assert image.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
        image.load()


def test_saving_is_encoding():
    signal = smooth_image(30, 40)
    target = BytesIO()
    Image.fromarray(signal.samples).save(target, "CMB", bits_per_pixel=2.0)
    assert target.getvalue() == combiner_cli.encode(signal, bits_per_pixel=2.0).data


def test_metadata_are_kept_where_that_is_asked_for():
    picture = Image.fromarray(smooth_image(30, 40).samples)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    plain, kept = BytesIO(), BytesIO()
    picture.save(plain, "CMB", quality=1, exif=exif)
    picture.save(kept, "CMB", quality=1, exif=exif, keep_metadata=True)
    with Image.open(plain) as image:
        assert dict(image.getexif()) == {}
    with Image.open(kept) as image:
        assert image.getexif()[0x010E] == "a description"


def test_what_cannot_be_saved():
    for mode in ("CMYK", "F", "I", "YCbCr"):
        with pytest.raises(OSError, match=f"cannot write mode {mode}"):
            Image.new(mode, (4, 4)).save(BytesIO(), "CMB")
    with pytest.raises(OSError, match="exclude each other"):
        Image.new("RGB", (4, 4)).save(BytesIO(), "CMB", size=100, quality=3)


@pytest.mark.parametrize("cut", [1, 40])
def test_damaged_files_and_sounds_are_no_images(cut):
    data = (GOLDEN / "photo-8.cmb").read_bytes()
    for content in (data[:-cut], (GOLDEN / "speech-5.cmb").read_bytes(), b"CMB"):
        with pytest.raises(UnidentifiedImageError):
            Image.open(BytesIO(content))


def test_a_missing_prior_is_an_oserror(monkeypatch, tmp_path):
    with Image.open(GOLDEN / "photo-8.cmb") as image:
        monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
        with pytest.raises(OSError, match="not on this machine"):
            image.load()
