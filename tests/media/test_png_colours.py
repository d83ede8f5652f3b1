"""Colours that PNG and AVIF files describe without a profile: converted, kept, or refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.media_files import (
    CONVERTED,
    MODES,
    SRGB_PROFILE,
    chunks_of,
    deep_png,
    fixed,
    from_linear,
    gamma_curve,
    noise,
    palette_image,
    profile,
    read,
    rgb_profile,
    saved,
    smooth,
    srgb_curve,
    with_chunks,
    with_profile,
)

from combiner_cli.container import metadata
from combiner_cli.errors import InputError, OutputError
from combiner_cli.media import files as media

LINEAR = struct.pack(">I", 100_000)
SRGB_GAMMA = struct.pack(">I", 45455)
SRGB_PRIMARIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PRIMARIES = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
P3, PQ, HLG, BT709 = (bytes(numbers) for numbers in ((12, 13, 0, 1), (9, 16, 0, 1), (9, 18, 0, 1), (1, 1, 0, 1)))


def p3_profile() -> bytes:
    """Display P3, with the numbers that are in profiles of it."""
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    tags = {name: b"XYZ " + bytes(4) + fixed(*point) for name, point in primaries.items()}
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), srgb_curve()))


@pytest.mark.parametrize("chunks", [{"cICP": P3}, {"gAMA": SRGB_GAMMA, "cHRM": P3_PRIMARIES}, {"cHRM": P3_PRIMARIES}])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_wide_primaries_are_converted(chunks: dict[str, bytes], bit_depth: int) -> None:
    samples = np.uint8(40) + smooth(24, 24, 3) // 2
    reference, notes = read(with_profile(saved(Image.fromarray(samples), "PNG"), p3_profile()))
    assert notes == [CONVERTED]
    plain = saved(Image.fromarray(samples), "PNG") if bit_depth == 8 else deep_png(samples.astype(np.uint16) * 257)
    returned, notes = read(with_chunks(plain, **chunks))
    assert notes == [CONVERTED]
    scale = 1 if bit_depth == 8 else 257
    # a pure power instead of the curve of sRGB is another thing, where gAMA says so
    assert np.abs(returned / scale - reference).max() <= (4 if "gAMA" in chunks else 1.1)
    assert np.abs(reference.astype(int) - samples).max() > 5


@pytest.mark.parametrize("channels", MODES.values())
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_linear_light_is_converted(channels: int, bit_depth: int) -> None:
    samples = noise(30, 40, channels, bit_depth=bit_depth)
    plain = saved(Image.fromarray(samples.squeeze()), "PNG") if bit_depth == 8 else deep_png(samples)
    scale = 1 if bit_depth == 8 else 257
    colours = channels - 1 if channels in (2, 4) else channels
    for chunks in ({"gAMA": LINEAR}, {"gAMA": LINEAR, "cHRM": SRGB_PRIMARIES}, {"cICP": bytes((1, 8, 0, 1))}):
        returned, notes = read(with_chunks(plain, **chunks))
        assert notes == [CONVERTED]
        assert returned.dtype == samples.dtype
        wanted = scale * from_linear(samples[:, :, :colours] / scale)
        assert np.abs(returned[:, :, :colours] - wanted).max() <= (0.6 if bit_depth == 8 else 2)
        assert np.array_equal(returned[:, :, colours:], samples[:, :, colours:])


def test_the_curve_of_bt709_is_not_that_of_srgb() -> None:
    samples = np.full((1, 1, 3), 128, np.uint8)
    returned, _ = read(with_chunks(saved(Image.fromarray(samples), "PNG"), cICP=BT709))
    light = ((128 / 255 + 0.0993) / 1.0993) ** (1 / 0.45)
    assert np.abs(returned - from_linear(np.array(light * 255))).max() <= 0.6
    assert returned[0, 0, 0] > 130


def test_a_palette_and_a_transparent_colour_are_converted_as_well(tmp_path: Path) -> None:
    image, indices, colours = palette_image()
    returned, _ = read(with_chunks(saved(image, "PNG"), gAMA=LINEAR))
    assert np.abs(returned - from_linear(colours[indices])).max() <= 0.6
    samples = np.full((2, 2, 3), 1000, np.uint16)
    samples[0, 0] = 2000
    returned, _ = read(with_chunks(deep_png(samples, transparent=(2000,) * 3), gAMA=LINEAR))
    assert returned[:, :, 3].tolist() == [[0, 65535], [65535, 65535]]
    assert np.abs(returned[:, :, :3] - 257 * from_linear(samples / 257)).max() <= 2


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": SRGB_GAMMA},
        {"gAMA": struct.pack(">I", 45450), "cHRM": SRGB_PRIMARIES},
        {"cHRM": SRGB_PRIMARIES},
        {"sRGB": b"\0"},
        {"cICP": bytes((1, 13, 0, 1))},
    ],
)
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_what_says_srgb_changes_nothing(chunks: dict[str, bytes], bit_depth: int) -> None:
    samples = noise(20, 20, 3, bit_depth=bit_depth)
    plain = saved(Image.fromarray(samples), "PNG") if bit_depth == 8 else deep_png(samples)
    content = with_chunks(plain, **chunks)
    returned, notes = read(content)
    assert np.array_equal(returned, samples)
    assert notes == []
    kept, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, samples)
    assert not found


def test_the_order_of_precedence_of_png() -> None:
    samples = noise(20, 20, 3)
    plain = saved(Image.fromarray(samples), "PNG")
    linear_profile = b"name\0\0" + zlib.compress(rgb_profile(gamma_curve(1.0)))
    cases = [
        ({"cICP": bytes((1, 13, 0, 1)), "iCCP": linear_profile, "sRGB": b"\0", "gAMA": LINEAR}, False),
        ({"iCCP": linear_profile, "sRGB": b"\0", "gAMA": SRGB_GAMMA}, True),
        ({"sRGB": b"\0", "gAMA": LINEAR, "cHRM": P3_PRIMARIES}, False),
        ({"cICP": bytes((1, 8, 0, 1)), "iCCP": b"name\0\0" + zlib.compress(SRGB_PROFILE)}, True),
    ]
    for chunks, is_linear in cases:
        returned, notes = read(with_chunks(plain, **chunks))
        assert np.abs(returned - (from_linear(samples) if is_linear else samples)).max() <= 1.5
        assert bool(notes) == is_linear


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        (
            {"cICP": bytes((99, 13, 0, 1))},
            "cICP of unknown colours (primaries 99, transfer 13, matrix 0), which",
        ),
        ({"cICP": bytes((12, 2, 0, 1))}, "cICP of unknown colours (primaries 12, transfer 2, matrix 0), which"),
        (
            {"cICP": bytes((12, 13, 1, 1))},
            "cICP of unknown colours (primaries 12, transfer 13, matrix 1), which",
        ),
        ({"gAMA": bytes(4)}, "chunks gAMA that make no sense, which are ignored"),
        ({"cHRM": bytes(32)}, "chunks cHRM that make no sense, which are ignored"),
        ({"cHRM": struct.pack(">8I", *[31270, 32900] * 4)}, "chunks cHRM that make no sense, which are ignored"),
    ],
)
def test_descriptions_that_make_no_sense_are_ignored_with_a_note(chunks: dict[str, bytes], words: str) -> None:
    samples = noise(20, 20, 3)
    returned, notes = read(with_chunks(saved(Image.fromarray(samples), "PNG"), **chunks))
    assert np.array_equal(returned, samples)
    (note,) = notes
    assert note.startswith("input has ")
    assert words in note


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize(("code_points", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_is_refused_or_kept(bit_depth: int, code_points: bytes, name: str) -> None:
    samples = noise(20, 20, 3, bit_depth=bit_depth)
    plain = saved(Image.fromarray(samples), "PNG") if bit_depth == 8 else deep_png(samples)
    hdr = {"cICP": code_points, "mDCV": bytes(range(24)), "cLLI": bytes(range(8))}
    content = with_chunks(plain, **hdr)
    with pytest.raises(InputError) as caught:
        media.read_signal_bytes(content, Path("input"))
    advice = "give --keep-metadata, or map its tones first"
    assert str(caught.value) == f"input has HDR colours ({name}), which cannot be converted to sRGB; {advice}"
    kept, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, samples)
    assert found.chunks == hdr
    assert chunks_of(media.signal_bytes(kept, ".png", found, pytest.fail)).items() >= hdr.items()
    notes: list[str] = []
    stripped = chunks_of(media.signal_bytes(kept, ".png", found, notes.append, strip=True))
    assert stripped["cICP"] == code_points
    assert notes == ["the colours stay what they are, since they cannot be converted to sRGB"]
    if bit_depth == 8:
        with pytest.raises(OutputError, match=r"a \.jpg file cannot hold the colours of this image, which cannot"):
            media.signal_bytes(kept, ".jpg", found)


def test_colours_in_a_part_of_the_range_are_refused() -> None:
    content = with_chunks(saved(Image.fromarray(noise(4, 4, 3)), "PNG"), cICP=bytes((1, 13, 0, 0)))
    with pytest.raises(InputError, match=r"input has colours \(cICP 1 13 0 0\) that cannot be converted to sRGB; give"):
        media.read_signal_bytes(content, Path("input"))


@pytest.mark.parametrize("chunks", [{"cICP": P3}, {"gAMA": LINEAR, "cHRM": P3_PRIMARIES}, {"gAMA": LINEAR}])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_descriptions_are_kept_and_written_again(chunks: dict[str, bytes], bit_depth: int) -> None:
    samples = noise(20, 20, 3, bit_depth=bit_depth)
    plain = saved(Image.fromarray(samples), "PNG") if bit_depth == 8 else deep_png(samples)
    content = with_chunks(plain, **chunks)
    kept, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, samples)
    assert found == metadata.Metadata(chunks=chunks)
    assert metadata.unpack(metadata.pack(found)) == found
    written = media.signal_bytes(kept, ".png", found, pytest.fail)
    assert chunks_of(written).items() >= chunks.items()
    again, _ = read(written)
    converted, _ = read(content)
    assert np.array_equal(again, converted)
    for suffix in (".tif", ".bmp") if bit_depth == 8 else ():
        notes: list[str] = []
        there, _ = read(media.signal_bytes(kept, suffix, found, notes.append))
        assert notes == [f"a {suffix} file cannot hold the colours of this image; they are converted to sRGB"]
        assert np.array_equal(there, converted)
    bare = media.signal_bytes(kept, ".png", found, pytest.fail, strip=True)
    assert not chunks_of(bare).keys() & {"cICP", "gAMA", "cHRM"}
    assert np.array_equal(read(bare)[0], converted)


def test_avif_that_names_its_colours_by_numbers(tmp_path: Path) -> None:
    """As encoders write them that are given no profile; Pillow does not look at these."""
    content = saved(Image.new("RGB", (16, 16), (200, 60, 40)), "AVIF", quality=95)
    place = content.index(b"colrnclx") + 8
    plain, notes = read(content)
    assert notes == []
    wide = content[:place] + struct.pack(">HH", 12, 13) + content[place + 4 :]
    returned, notes = read(wide)
    assert notes == [CONVERTED]
    assert returned[8, 8, 0] > plain[8, 8, 0] + 5
    kept, found = media.read_with_metadata(wide, Path("input"), pytest.fail)
    assert np.array_equal(kept.samples, plain)
    assert found.chunks == {"cICP": P3}
    unspecified = content[:place] + struct.pack(">HH", 2, 2) + content[place + 4 :]
    assert np.array_equal(read(unspecified)[0], plain)
