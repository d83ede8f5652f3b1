"""Colour profiles of images: applied, kept, or refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.media_files import (
    CONVERTED,
    MODES,
    SRGB_PROFILE,
    cmyk_profile,
    deep_png,
    floats,
    from_bytes,
    from_linear,
    gamma_curve,
    grey_profile,
    image_signal,
    noise,
    palette_image,
    parametric_curve,
    profile,
    read,
    rgb_profile,
    rgb_tags,
    saved,
    smooth,
    srgb_curve,
    table_profile,
    with_profile,
)

from combiner_cli.container import metadata
from combiner_cli.errors import InputError
from combiner_cli.media import files as media


@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize("icc", [SRGB_PROFILE, rgb_profile(srgb_curve())], ids=["Pillow's", "table"])
def test_an_srgb_profile_changes_nothing(tmp_path: Path, channels: int, icc: bytes) -> None:
    samples = noise(64, 64, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=icc)
    assert Image.open(io.BytesIO(content)).info["icc_profile"] == icc
    assert np.array_equal(from_bytes(content, tmp_path).samples, samples)


@pytest.mark.parametrize("channels", MODES.values())
def test_another_profile_is_applied(tmp_path: Path, channels: int) -> None:
    samples = noise(16, 16, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=rgb_profile(gamma_curve(1.0)))
    returned = floats(from_bytes(content, tmp_path))
    colours = channels - 1 if channels in (2, 4) else channels
    assert returned.shape == samples.shape
    assert np.abs(returned[:, :, :colours] - from_linear(samples[:, :, :colours])).max() <= 1.5
    assert np.array_equal(returned[:, :, colours:], samples[:, :, colours:])


@pytest.mark.parametrize("channels", [1, 2])
def test_a_grey_profile_is_applied(tmp_path: Path, channels: int) -> None:
    samples = noise(16, 16, channels)
    content = saved(Image.fromarray(samples.squeeze()), "PNG", icc_profile=grey_profile(1.0))
    returned = floats(from_bytes(content, tmp_path))
    assert np.abs(returned[:, :, :1] - from_linear(samples[:, :, :1])).max() <= 1.5
    assert np.array_equal(returned[:, :, 1:], samples[:, :, 1:])


def test_a_profile_close_to_srgb_is_not_taken_for_it(tmp_path: Path) -> None:
    samples = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = saved(Image.fromarray(samples), "PNG", icc_profile=grey_profile(2.2))
    assert np.abs(from_bytes(content, tmp_path).samples[:, :, 0].astype(int) - samples).max() > 2


def test_a_palette_with_a_profile(tmp_path: Path) -> None:
    image, indices, colours = palette_image()
    returned = floats(from_bytes(saved(image, "PNG", icc_profile=rgb_profile(gamma_curve(1.0))), tmp_path))
    assert np.abs(returned - from_linear(colours[indices])).max() <= 1.5


def test_a_cmyk_profile_is_applied(tmp_path: Path) -> None:
    inks = np.zeros((1, 3, 4), np.uint8)
    inks[0, 1, 3] = 255
    inks[0, 2, 0] = 255
    image = Image.frombytes("CMYK", (3, 1), inks.tobytes())
    returned = floats(from_bytes(saved(image, "TIFF", icc_profile=cmyk_profile()), tmp_path))
    assert np.abs(returned - np.array([[[255.0] * 3, [0] * 3, [255] * 3]])).max() <= 2
    assert from_bytes(saved(image, "TIFF"), tmp_path).samples[0, 2].tolist() == [0, 255, 255]


def test_profiles_that_cannot_be_applied_are_refused(tmp_path: Path) -> None:
    colour = Image.fromarray(noise(4, 4, 3))
    linear = rgb_profile(gamma_curve(1.0))
    for damaged in (
        b"no profile at all",
        linear[:16] + b"RG\x80 " + linear[20:],
        linear[:16] + b"\x1b[3m" + linear[20:],
    ):
        with pytest.raises(InputError, match="has a damaged colour profile; remove it, or convert the image to sRGB"):
            from_bytes(saved(colour, "PNG", icc_profile=damaged), tmp_path)
    with pytest.raises(InputError, match="has a colour profile for GRAY, not for its colours; convert it to sRGB"):
        from_bytes(saved(colour, "PNG", icc_profile=grey_profile(2.2)), tmp_path)
    with pytest.raises(InputError, match="has a colour profile for CMYK, not for its colours"):
        from_bytes(saved(colour, "TIFF", icc_profile=cmyk_profile()), tmp_path)


@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize("curve", [gamma_curve(1.0), parametric_curve(0, 1.0), parametric_curve(3, 1, 1, 0, 1, 0.5)])
def test_profiles_of_16_bits_are_applied(tmp_path: Path, channels: int, curve: bytes) -> None:
    samples = noise(30, 30, channels, bit_depth=16)
    content = deep_png(samples)
    assert np.array_equal(from_bytes(with_profile(content, SRGB_PROFILE), tmp_path).samples, samples)
    notes: list[str] = []
    icc = rgb_profile(curve) if channels > 2 else profile(b"GRAY", {b"kTRC": curve})
    signal = media.read_signal_bytes(with_profile(content, icc), Path("input"), notes.append)
    assert notes == [CONVERTED]
    assert signal.bit_depth == 16
    colours = channels - 1 if channels in (2, 4) else channels
    wanted = 257 * from_linear(samples[:, :, :colours] / 257)
    assert np.abs(signal.samples[:, :, :colours] - wanted).max() < 200  # the primaries of the profile are rounded
    assert np.array_equal(signal.samples[:, :, colours:], samples[:, :, colours:])


def test_a_profile_of_tables_is_refused_with_16_bits(tmp_path: Path) -> None:
    samples = noise(3, 3, 3, bit_depth=16)
    content = with_profile(deep_png(samples), table_profile())
    with pytest.raises(InputError, match="has 16 bits and a colour profile that cannot be applied to them; give"):
        from_bytes(content, tmp_path)
    kept, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, samples)
    assert found.icc == table_profile()
    from_bytes(with_profile(saved(Image.fromarray(noise(3, 3, 3)), "PNG"), table_profile()), tmp_path)


def test_a_profile_of_more_than_a_mebibyte_is_read_and_told_when_it_is_written() -> None:
    icc = profile(b"RGB ", {b"zzzz": np.random.default_rng(0).bytes(2**20), **rgb_tags(gamma_curve(1.0))})
    samples = noise(20, 20, 3)
    content = with_profile(saved(Image.fromarray(samples), "PNG"), icc)
    returned, notes = read(content)
    assert notes == [CONVERTED]
    assert np.abs(returned - from_linear(samples)).max() <= 1.5
    kept, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert found.icc == icc
    notes.clear()
    media.signal_bytes(kept, ".png", found, notes.append)
    assert notes == ["the colour profile has more than 1 MiB, for which some programs refuse a PNG file"]


def test_a_profile_that_jpeg_has_no_room_for_is_applied() -> None:
    icc = profile(b"RGB ", {b"zzzz": bytes(255 * 65519), **rgb_tags(gamma_curve(1.0))})
    notes: list[str] = []
    signal = image_signal(smooth(16, 16, 3))
    content = media.signal_bytes(signal, ".jpg", metadata.Metadata(icc=icc), notes.append)
    assert notes == ["a .jpg file cannot hold the colours of this image; they are converted to sRGB"]
    returned, notes = read(content)
    assert notes == []
    assert np.abs(returned - from_linear(signal.samples)).max() < 12
