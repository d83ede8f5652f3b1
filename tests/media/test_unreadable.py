"""Files that cannot be read, or only in part: they are named, with what to do, and nothing else is printed."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.media_files import from_bytes, noise, saved, smooth, sound_file, tiff

from combiner_cli.errors import InputError
from combiner_cli.media import files as media
from combiner_cli.media import messages

PREVIEW = smooth(8, 12, 3)


def with_sub_image(width: int, height: int, photometric: int) -> bytes:
    """A TIFF file whose image has another one below it, of which but a directory is there."""
    content = tiff(PREVIEW, 2, more=[(330, 4, 1, 0)])
    entries = [(256, 4, 1, width), (257, 4, 1, height), (262, 3, 1, photometric)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    place = content.index(struct.pack("<HHI", 330, 4, 1)) + 8
    return content[:place] + struct.pack("<I", len(content)) + content[place + 4 :] + directory


RAW = "is a raw photograph, of which only a preview could be read; develop it first, to a PNG or TIFF file"
BEGINS = "begins with a preview of a larger image, which would be taken for it; extract the image that you want first"
DNG_VERSION = (50706, 1, 4, 0x00000401)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(PREVIEW, 2, more=[(254, 4, 1, 1), DNG_VERSION]), RAW),
        (tiff(PREVIEW, 2, more=[DNG_VERSION]), RAW),
        (tiff(noise(8, 12, 1, bit_depth=16), 32803), RAW),
        (tiff(noise(8, 12, 3, bit_depth=16), 34892), RAW),
        (with_sub_image(4000, 3000, 32803), RAW),
        (struct.pack("<2sHI8sHHHIII", b"II", 42, 16, b"CR\2\0", 1, 256, 4, 1, 12, 0), RAW),
        (tiff(PREVIEW, 2, more=[(254, 4, 1, 1)]), BEGINS),
        (tiff(PREVIEW, 2, more=[(255, 3, 1, 2)]), BEGINS),
        (with_sub_image(4000, 3000, 2), BEGINS),
    ],
)
def test_a_preview_is_not_taken_for_the_image(content: bytes, words: str) -> None:
    for reads in (media.read_signal_bytes, media.read_with_metadata):
        with pytest.raises(InputError) as caught:
            reads(content, Path("input"))
        assert str(caught.value) == f"input {words}"


@pytest.mark.parametrize(
    "content", [tiff(PREVIEW, 2), tiff(PREVIEW, 2, more=[(254, 4, 1, 0)]), with_sub_image(4, 6, 2)]
)
def test_a_tiff_file_with_smaller_images_below_it_is_read(content: bytes) -> None:
    assert np.array_equal(media.read_signal_bytes(content, Path("input")).samples, PREVIEW)


def test_an_mpo_file_that_begins_with_a_preview_is_refused() -> None:
    images = [Image.fromarray(PREVIEW), Image.fromarray(smooth(80, 120, 3))]
    content = saved(images[0], "MPO", save_all=True, append_images=images[1:])
    place = content.rindex(
        struct.pack("<I", 0x030000), 0, content.index(b"\xff\xdb")
    )  # the kind of the first image: the main one
    with pytest.raises(InputError) as caught:
        media.read_signal_bytes(content[:place] + struct.pack("<I", 0x010002) + content[place + 4 :], Path("input"))
    assert str(caught.value) == f"input {BEGINS}"


def media_file(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + bytes(4) + bytes(100)


KNOWN = {
    "HEIC": (media_file(b"heic"), "is a HEIC image, which cannot be read; convert it to PNG first"),
    "HEIF": (media_file(b"mif1"), "is a HEIC image, which"),
    "CR3": (media_file(b"crx "), "is a raw photograph (CR3), which cannot be read; develop it first, to a PNG or TIFF"),
    "RAF": (b"FUJIFILMCCD-RAW 0201" + bytes(100), "is a raw photograph (RAF), which"),
    "M4A": (
        media_file(b"M4A "),
        "is an M4A sound (AAC or Apple Lossless), which cannot be read; convert it to FLAC or W",
    ),
    "MP4": (media_file(b"isom"), "is an MP4 or QuickTime file, which cannot be read; extract the picture or the sound"),
    "AAC": (
        b"\xff\xf1\x50\x80" + bytes(range(200)),
        "is an AAC sound, which cannot be read; convert it to FLAC or WAV",
    ),
    "JXL": (b"\xff\x0a" + bytes(range(200)), "is a JPEG XL image, which cannot be read; convert it to PNG first"),
    "JXL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100), "is a JPEG XL image, which"),
    "PDF": (b"%PDF-1.7\n" + bytes(100), "is a PDF document, which cannot be read; export it as PNG first"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing, which cannot be"),
    "WMA": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(100), "is a Windows Media file (WMA, WMV), which"),
    "WebM": (b"\x1a\x45\xdf\xa3" + bytes(100), "is a Matroska or WebM file, which"),
    "AVI": (b"RIFF" + bytes(4) + b"AVI LIST" + bytes(100), "is an AVI video, which"),
    "PSD": (b"8BPS\0\1" + bytes(100), "is a Photoshop document, which"),
    "MIDI": (b"MThd\0\0\0\6" + bytes(100), "is a MIDI file, which cannot be read; render it to FLAC or WAV first"),
    "EXR": (b"\x76\x2f\x31\x01" + bytes(100), "is an OpenEXR image, which"),
    "cmb": (b"CMB" + bytes(100), "is a .cmb file already, which cannot be read; decode it first"),
    "empty": (b"", "is empty; give an image or a sound"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_is_named(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, words = KNOWN[name]
    with pytest.raises(InputError) as caught:
        media.read_signal_bytes(content, Path("input"))
    assert str(caught.value).startswith(f"input {words}")
    assert capfd.readouterr().err == ""


def test_what_is_neither(tmp_path: Path) -> None:
    for content in (b"text " * 100, bytes(1000), b"<html>" + bytes(100)):
        with pytest.raises(InputError, match="input is neither an image nor a sound that can be read"):
            from_bytes(content, tmp_path)
    with pytest.raises(InputError, match=r"missing\.png does not exist; check the name"):
        media.read_signal(tmp_path / "missing.png")
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        media.read_signal(tmp_path)


def test_suffixes_of_raw_photographs_are_known() -> None:
    """So that a folder's are refused and not passed over."""
    assert {".dng", ".nef", ".cr2", ".cr3", ".arw", ".heic", ".jxl"} <= media.IMAGE_SUFFIXES
    assert {".m4a", ".aac", ".wma"} <= media.SOUND_SUFFIXES


# What libraries print


def damaged_tiff(compression: str) -> bytes:
    image = Image.fromarray(noise(64, 64, 3))
    image = image.convert("1") if compression == "group4" else image
    content = saved(image, "TIFF", compression=compression)
    stop = min(len(content) // 2, 900)
    return content[:100] + bytes(number * 7 & 255 for number in range(100, stop)) + content[stop:]


@pytest.mark.parametrize(
    ("compression", "words"),
    [
        ("tiff_lzw", "Using code not yet in table"),
        ("jpeg", "JPEGLib: Unsupported marker type 0x06"),
        ("tiff_adobe_deflate", "ZIPDecode: Decoding error at scanline 0, incorrect data check"),
        ("group4", "Fax4Decode: Uncompressed data"),
    ],
)
def test_what_libtiff_prints_is_the_reason(compression: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        media.read_signal_bytes(damaged_tiff(compression), Path("input"))
    assert str(caught.value).startswith(f"input is damaged or unsupported ({words}")
    assert capfd.readouterr().err == ""


def test_what_pillow_logs_is_not_printed() -> None:
    """In a process of its own, since pytest has handlers for what is logged."""
    content = tiff(PREVIEW, 2).replace(struct.pack("<HHII", 277, 3, 1, 3), struct.pack("<HHII", 277, 3, 1, 255))
    program = (
        "import pathlib, sys; from combiner_cli.media import files\n"
        "try: files.read_signal_bytes(sys.stdin.buffer.read(), pathlib.Path('input'))\n"
        "except Exception as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], input=content, capture_output=True, check=True)
    assert result.stdout.startswith(b"input is ")
    assert result.stderr == b""


def test_what_libmpg123_prints_is_the_reason_or_a_note(capfd: pytest.CaptureFixture[str]) -> None:
    content = sound_file("MP3", "MPEG_LAYER_III")
    noisy = bytearray(content)
    noisy[3000:9000] = bytes(number * 7 & 255 for number in range(6000))
    with pytest.raises(InputError, match=r"input cannot be decoded to its end \(.*Illegal Audio-MPEG-Header .*\)"):
        media.read_signal_bytes(bytes(noisy), Path("input"))
    with pytest.raises(
        InputError, match=r"input is damaged or cut off \(Illegal Audio-MPEG-Header 0x00000000 at offset"
    ):
        media.read_signal_bytes(content[:4] + bytes(2000), Path("input"))
    with pytest.raises(
        InputError, match=r"input is damaged or cut off \(Xing stream size off by .*\); restore it from its"
    ):
        media.read_signal_bytes(content[:500], Path("input"))
    frame = content.index(b"\xff\xfb", 4000)
    junk = content[:frame] + b"junk" * 50 + content[frame:]
    notes: list[str] = []
    media.read_signal_bytes(junk, Path("input"), notes.append)
    (note,) = notes
    assert note.startswith("input may be damaged; its decoder says: Illegal Audio-MPEG-Header 0x6a756e6b")
    assert capfd.readouterr().err == ""


def test_a_file_that_exists_is_not_said_to_be_missing() -> None:
    """As libsndfile says of MPEG audio that it cannot decode, also where libmpg123 prints nothing."""
    for kept in range(4, 200, 7):
        with pytest.raises(InputError) as caught:
            media.read_signal_bytes(sound_file("MP3", "MPEG_LAYER_III")[:kept], Path("input"))
        assert "does not exist" not in str(caught.value)


def test_what_others_print_meanwhile_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with messages.caught(messages.LIBTIFF) as lines:
        os.write(2, b"ZIPDecode: Decoding error at scanline 0.\nencode: 3/10\n_TIFFGet: Inconsistent count.\n")
        writer = threading.Thread(target=lambda: os.write(2, b"combiner: note: something else.\n"))
        writer.start()
        writer.join()
        os.write(2, b"Note: not of this library\nbar \x1b[2K")
    assert lines == ["ZIPDecode: Decoding error at scanline 0.", "_TIFFGet: Inconsistent count."]
    said = "encode: 3/10\ncombiner: note: something else.\nNote: not of this library\nbar \x1b[2K"
    assert capfd.readouterr().err == said


def test_stderr_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), messages.caught(messages.LIBMPG123) as lines:
        os.write(2, b"[src/libmpg123/parse.c:x():1] error: one\nNote: two\n")
        raise KeyError
    assert messages.reason(lines) == "one; two"
    print("still there", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "still there\n"


def test_a_closed_stderr_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: int) -> int:
        raise OSError

    monkeypatch.setattr(os, "dup", closed)
    with messages.caught(messages.LIBTIFF) as lines:
        pass
    assert lines == []
