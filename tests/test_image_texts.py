"""Resolution, texts and IPTC of images: kept, written again, or named as left out."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from camera_files import UPRIGHT_XMP, camera_exif
from conftest import smooth_image
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import (
    png_chunk,
    saved,
    smooth,
    tiff,
    with_chunks,
)
from PIL import Image

from combiner_cli.container import metadata
from combiner_cli.container.metadata import Metadata
from combiner_cli.errors import InputError, OutputError
from combiner_cli.media import files as media
from combiner_cli.media import images

RESOLUTION = struct.pack(">IIB", 11811, 5906, 1)  # 300 and 150 by the inch
IPTC = b"\x1c\x02x\0\x05Title\x1c\x02P\0\x06Author"
PLAIN = Image.fromarray(smooth(9, 13, 3))


def read(content, path="input"):
    """The metadata of a file, and what is told about them."""
    notes = []
    return media.read_with_metadata(content, Path(path), notes.append)[1], notes


def jpeg_with(*segments, content=None):
    """A JPEG file with more segments behind its first one."""
    content = content or saved(PLAIN, "JPEG", dpi=(300, 150))
    added = b"".join(marker + struct.pack(">H", len(part) + 2) + part for marker, part in segments)
    return content[:20] + added + content[20:]


def photoshop(number, content):
    resource = b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content
    return b"\xff\xed", b"Photoshop 3.0\0" + resource + bytes(len(resource) % 2)


TEXTS = {"Title": "my scan", "Comment": "Grüße 漢", "Author": "One\0Two"}


def described_png():
    """A PNG file with resolution, texts of all three kinds, and IPTC."""
    content = with_chunks(saved(PLAIN, "PNG"), pHYs=RESOLUTION, tEXt=b"Title\0my scan")
    content = with_chunks(content, iTXt=b"Comment\0\1\0\0\0" + zlib.compress("Grüße 漢".encode()))
    content = with_chunks(content, zTXt=b"Author\0\0" + zlib.compress(b"Two"))
    content = with_chunks(content, tEXt=b"Author\0One")
    resource = photoshop(0x0404, IPTC)[1].removeprefix(b"Photoshop 3.0\0")
    lines = f"\niptc\n{len(resource):8}\n{resource.hex()}\n".encode()
    return with_chunks(content, zTXt=b"Raw profile type iptc\0\0" + zlib.compress(lines))


def test_resolution_texts_and_iptc_of_png_are_kept_and_written_again():
    found, notes = read(described_png())
    assert notes == []
    assert found == Metadata(tags=TEXTS, iptc=IPTC, chunks={"pHYs": RESOLUTION})
    assert metadata.unpack(metadata.pack(found)) == found
    written = media.signal_bytes(smooth_image(5, 7), ".png", found, pytest.fail)
    assert read(written) == (found, [])
    with Image.open(io.BytesIO(written)) as image:
        image.load()
        assert image.text["Title"] == "my scan"
        assert image.text["Comment"] == "Grüße 漢"
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    deep = media.signal_bytes(smooth_image(5, 7, 3, 16), ".png", found, pytest.fail)
    assert read(deep) == (found, [])


@pytest.mark.parametrize(
    ("suffix", "kept", "left_out"),
    [
        (".jpg", {"iptc", "pHYs", "Comment"}, "texts"),
        (".tif", {"iptc", "pHYs"}, "texts"),
        (".webp", set(), "IPTC, texts, resolution"),
        (".avif", set(), "IPTC, texts, resolution"),
        (".bmp", {"pHYs"}, "IPTC, texts"),
        (".jp2", set(), "IPTC, texts, resolution"),
        (".ppm", set(), "IPTC, texts, resolution"),
    ],
)
def test_other_formats_keep_what_they_hold_and_name_the_rest(suffix, kept, left_out):
    found, _ = read(described_png())
    notes = []
    written = media.signal_bytes(smooth_image(5, 7), suffix, found, notes.append)
    assert notes == [f"a {suffix} file cannot hold all of the metadata; left out: {left_out}"]
    again, notes = read(written)
    assert notes == []
    assert (again.iptc == IPTC) == ("iptc" in kept)
    assert again.chunks == ({"pHYs": RESOLUTION} if "pHYs" in kept else {})
    assert again.tags == ({"Comment": TEXTS["Comment"]} if "Comment" in kept else {})


def test_resolution_comment_and_iptc_of_jpeg_are_kept_and_written_again():
    comments = (b"\xff\xfe", "Grüße".encode()), (b"\xff\xfe", b"caf\xe9\0")
    content = jpeg_with(photoshop(0x0404, IPTC), *comments)
    found, notes = read(content)
    assert notes == []
    assert found == Metadata(tags={"Comment": "Grüße\0café"}, iptc=IPTC, chunks={"pHYs": RESOLUTION})
    written = media.signal_bytes(smooth_image(5, 7), ".jpg", found, pytest.fail)
    assert read(written) == (found, [])
    with Image.open(io.BytesIO(written)) as image:
        image.load()
        assert image.info["dpi"] == (300, 150)
        assert image.info["photoshop"][0x0404] == IPTC
    with_exif = replace(found, exif=camera_exif().tobytes()[6:], xmp=UPRIGHT_XMP)
    again, notes = read(media.signal_bytes(smooth_image(5, 7), ".jpg", with_exif, pytest.fail))
    assert notes == []
    assert again == replace(with_exif, exif=metadata.upright_exif(with_exif.exif))


@pytest.mark.parametrize(
    ("unit", "density", "resolution"),
    [
        (0, (1, 1), b""),
        (0, (2, 3), struct.pack(">IIB", 2, 3, 0)),
        (1, (72, 72), struct.pack(">IIB", 2835, 2835, 1)),
        (2, (118, 40), struct.pack(">IIB", 11800, 4000, 1)),
        (1, (0, 0), b""),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_units_of_resolution(unit, density, resolution, suffix):
    content = saved(PLAIN, "JPEG")
    content = content[:13] + struct.pack(">BHH", unit, *density) + content[18:]
    found, _ = read(content)
    assert found.chunks.get("pHYs", b"") == resolution
    written = media.signal_bytes(smooth_image(5, 7), suffix, found, pytest.fail)
    assert read(written)[0].chunks == found.chunks
    if suffix == ".jpg" and resolution:
        assert written[13:18] == struct.pack(">BHH", unit, *density)


def test_resolution_and_iptc_of_tiff_are_kept():
    for options in ({"dpi": (300, 150)}, {"resolution_unit": 3, "x_resolution": 118.11, "y_resolution": 59.06}):
        content = saved(PLAIN, "TIFF", **options)
        found, notes = read(content)
        assert notes == []
        assert found.chunks == {"pHYs": RESOLUTION}
        with Image.open(io.BytesIO(media.signal_bytes(smooth_image(5, 7), ".tif", found, pytest.fail))) as image:
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    for kind, count in ((7, len(IPTC)), (4, -(-len(IPTC) // 4))):  # as bytes, and as integers
        content = tiff(smooth(9, 13, 3), 2, more=[(33723, kind, count, 0)])
        place = content.index(struct.pack("<HHI", 33723, kind, count)) + 8
        content = content[:place] + struct.pack("<I", len(content)) + content[place + 4 :] + IPTC + bytes(4)
        found, notes = read(content)
        assert notes == []
        assert found.iptc == IPTC


def test_resolution_of_bmp_and_comment_of_gif_are_kept():
    found, notes = read(saved(PLAIN, "BMP", dpi=(300, 150)))
    assert (found, notes) == (Metadata(chunks={"pHYs": RESOLUTION}), [])
    written = media.signal_bytes(smooth_image(5, 7), ".bmp", found, pytest.fail)
    assert read(written) == (found, [])
    assert not read(media.signal_bytes(smooth_image(5, 7), ".bmp"))[0]
    found, notes = read(saved(PLAIN.convert("P"), "GIF", comment=b"hello"))
    assert (found, notes) == (Metadata(tags={"Comment": "hello"}), [])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_resolution_turns_with_its_image(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found, _ = read(saved(PLAIN, "JPEG", dpi=(300, 150), exif=exif))
    turned = struct.pack(">IIB", 5906, 11811, 1)
    assert found.chunks["pHYs"] == (turned if orientation > 4 else RESOLUTION)


def test_webp_need_not_hold_a_resolution_that_exif_has():
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 300, 150, 2
    found, _ = read(saved(PLAIN, "JPEG", dpi=(300, 150), exif=exif))
    media.signal_bytes(smooth_image(5, 7), ".webp", found, pytest.fail)


def test_kinds_that_are_not_kept_are_named_in_one_line():
    jumbf = b"\xff\xeb", b"JP\0\1" + bytes(20)
    extended = b"\xff\xe1", b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)
    content = jpeg_with(jumbf, extended, (b"\xff\xec", b"Ducky"), photoshop(0x03F3, bytes(8)), (b"\xff\xfe", b"hi"))
    found, notes = read(content)
    assert found.tags == {"Comment": "hi"}
    kinds = "C2PA or other JUMBF, extended XMP, JPEG segment APP12, resources of Photoshop"
    assert notes == [f"input has metadata that are not kept; left out: {kinds}"]
    more = {"bKGD": bytes(6), "tIME": bytes(7), "vpAg": bytes(9), "iTXt": b"Title\0\0\0de\0Titel\0Text"}
    found, notes = read(with_chunks(saved(PLAIN, "PNG"), **more))
    assert found.tags == {"Title": "Text"}
    assert notes == ["input has metadata that are not kept; left out: PNG chunks bKGD tIME vpAg, languages of texts"]
    found, notes = read(with_chunks(saved(PLAIN, "PNG"), zTXt=b"Title\0\0damaged", tEXt=b"Author\0one"))
    assert notes == ["input has metadata that are not kept; left out: texts that cannot be read"]
    content = tiff(smooth(9, 13, 3), 2, more=[(33550, 3, 1, 0), (50838, 3, 1, 0)])
    assert read(content)[1] == ["input has metadata that are not kept; left out: TIFF tags 33550 50838"]
    content = saved(PLAIN, "JPEG2000") + struct.pack(">I4s", 12, b"xml ") + b"<a/>"
    assert read(content)[1] == ["input has metadata that are not kept; left out: JPEG 2000 box xml"]
    content = saved(PLAIN, "MPO", save_all=True, append_images=[PLAIN])
    assert read(content)[1] == [
        "input has metadata that are not kept; left out: further images, as previews or gain maps"
    ]


def test_without_keeping_nothing_is_told_of_metadata():
    media.read_signal_bytes(jpeg_with((b"\xff\xec", b"Ducky")), Path("input"), pytest.fail)
    media.read_signal_bytes(described_png(), Path("input"), pytest.fail)


def test_exif_that_is_written_as_text_is_read():
    exif = camera_exif().tobytes()
    lines = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    content = with_chunks(saved(PLAIN, "PNG"), tEXt=b"Raw profile type exif\0" + lines)
    signal, found = media.read_with_metadata(content, Path("input"), pytest.fail)
    assert signal.shape == (13, 9)  # upright
    assert found == Metadata(exif=metadata.upright_exif(exif[6:]))
    with pytest.raises(InputError, match="damaged or unsupported"):
        media.read_signal_bytes(
            content[:33] + png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\nxyz") + content[33:], Path()
        )


def test_texts_of_too_many_names_and_bombs_are_left_out():
    content = saved(PLAIN, "PNG")
    many = b"".join(png_chunk(b"tEXt", f"k{number}\0text".encode()) for number in range(300))
    found, notes = read(content[:33] + many + content[33:])
    assert len(found.tags) == 256
    assert notes == ["input has metadata that are not kept; left out: texts of too many names"]
    assert metadata.unpack(metadata.pack(found)) == found
    bomb = zlib.compress(bytes(2**25), 9)
    found, notes = read(with_chunks(content, zTXt=b"Title\0\0" + bomb))
    assert not found
    assert notes == ["input has metadata that are not kept; left out: texts that cannot be read"]
    with pytest.raises(InputError, match="input has a damaged colour profile"):
        media.read_signal_bytes(with_chunks(content, iCCP=b"name\0\0" + bomb), Path("input"))


@pytest.mark.parametrize("name", ["", " a", "a" * 80, "漢", "a\n", "a  b"])
def test_names_that_png_does_not_allow_are_left_out(name):
    notes = []
    content = media.signal_bytes(smooth_image(5, 7), ".png", Metadata(tags={name: "x", "Title": "y"}), notes.append)
    assert notes == ["a .png file cannot hold all of the metadata; left out: texts"]
    assert read(content)[0].tags == {"Title": "y"}


CHUNKS = st.fixed_dictionaries(
    {}, optional={name: st.binary(min_size=n, max_size=n) for name, n in metadata.CHUNKS.items()}
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(images.FORMATS)),
    st.dictionaries(st.text(max_size=5) | st.just("Comment"), st.text(max_size=20), max_size=3),
    st.binary(max_size=30),
    st.fixed_dictionaries(
        {}, optional={name: st.binary(min_size=n, max_size=n) for name, n in metadata.CHUNKS.items()}
    ),
    st.binary(max_size=10),
    st.booleans(),
    st.sampled_from([(1, 8), (3, 8), (3, 16)]),
)
def test_other_hostile_metadata_do_no_harm(suffix, tags, iptc, chunks, other, strip, samples):
    notes = []
    signal = smooth_image(3, 4, *samples)
    given_ = Metadata(tags=tags, iptc=iptc, chunks=chunks, pictures=bytes(32), unknown={"x": other})
    try:
        content = media.signal_bytes(signal, suffix, given_, notes.append, strip)
    except OutputError as error:
        assert "cannot hold" in str(error)
        return
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (4, 3)
    again, _ = media.read_with_metadata(content, Path("input"), notes.append)
    assert again.shape == (3, 4)
    assert all(note and "\n" not in note for note in notes)
