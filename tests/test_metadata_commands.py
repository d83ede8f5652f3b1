"""Metadata through the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from camera_files import ICC, XMP, bomb, camera_file, described
from conftest import smooth_image, tiny_mixture
from PIL import Image
from support.commands import left_in, refused, run
from test_sound_tags import tagged

from combiner_cli.container import bitstream, metadata
from combiner_cli.media import files as media
from combiner_cli.priors import library


@pytest.fixture
def camera(tmp_path, monkeypatch, prior_folder):
    """A folder with pictures, a sound, and fast priors."""
    library.save(tiny_mixture(), prior_folder / "mixed-image.safetensors")
    library.save(tiny_mixture("sound"), prior_folder / "mixed-sound.safetensors")
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(camera_file("jpg"))
    Path("photo.png").write_bytes(camera_file("png"))
    Path("plain.png").write_bytes(media.signal_bytes(smooth_image(9, 13), ".png"))
    Path("voice.flac").write_bytes(tagged({"title": "../../../outside", "artist": "\x1b[31mred"}))
    return tmp_path


ENCODE = ("encode", "--prior", "mixed-image", "-e", "1", "--keep-metadata")


def test_metadata_through_the_commands(camera):
    done = run(*ENCODE, "photo.jpg", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["bytes"] == Path("photo.cmb").stat().st_size
    assert told["metadata_bytes"] == told["bytes"] - len(bitstream.split_metadata(Path("photo.cmb").read_bytes())[0])
    assert told["bpp"] == pytest.approx(8 * told["bytes"] / (9 * 13), abs=1e-4)
    facts = json.loads(run("info", "photo.cmb", "--json").stdout)
    assert facts["version"] == 4
    assert list(facts["metadata"]) == ["exif", "icc", "xmp"]
    assert facts["metadata"]["icc"] == len(ICC)
    assert f"colour profile {len(ICC)}, XMP {len(XMP)}" in run("info", "photo.cmb").stdout
    assert run("decode", "photo.cmb", "-o", "back.webp").exit_code == 0
    assert described(Path("back.webp").read_bytes())[0] == "A picture"
    assert run("decode", "photo.cmb", "-o", "bare.png", "--strip").exit_code == 0
    with Image.open("bare.png") as image:
        assert set(image.info) == set()
    with Image.open("back.webp") as kept, Image.open("bare.png") as bare:
        assert kept.size == bare.size == (9, 13)
        assert np.abs(np.asarray(kept, dtype=int) - np.asarray(bare)).max() > 20


def test_without_the_option_nothing_is_kept_and_the_conversion_is_told(camera):
    done = run("encode", "--prior", "mixed-image", "-e", "1", "photo.jpg")
    assert "combiner: note: photo.jpg has colours of another profile, which are converted to sRGB" in done.stderr
    assert bitstream.split_metadata(Path("photo.cmb").read_bytes())[1] == b""
    assert run("encode", "--prior", "mixed-image", "-e", "1", "-f", "--quiet", "photo.jpg").stderr == ""


def test_a_file_without_metadata_is_not_wrapped(camera):
    run(*ENCODE, "plain.png", "-o", "a.cmb")
    run("encode", "--prior", "mixed-image", "-e", "1", "plain.png", "-o", "b.cmb")
    assert Path("a.cmb").read_bytes() == Path("b.cmb").read_bytes()


def test_a_size_counts_the_whole_file(camera):
    alone = metadata.overhead(metadata.pack(media.read_with_metadata(Path("photo.png").read_bytes(), Path("x"))[1]))
    for size in (alone + 60, alone + 111, alone + 400):
        assert run(*ENCODE, "photo.png", "-f", "--size", size).exit_code == 0
        assert Path("photo.cmb").stat().st_size == size
    bits = 8 * (alone + 80) / (9 * 13)
    assert run(*ENCODE, "photo.png", "-f", "--bpp", bits).exit_code == 0
    assert Path("photo.cmb").stat().st_size in (alone + 79, alone + 80)
    Path("photo.cmb").unlink()
    message = f"the metadata take {alone:,} bytes of {alone:,}; ask for a larger file, or leave out --keep-metadata"
    refused(run(*ENCODE, "photo.png", "--size", alone), 2, message)
    refused(run(*ENCODE, "photo.png", "--size", alone + 3), 2, f"{alone:,} bytes go to the metadata besides")
    assert not Path("photo.cmb").exists()


def test_tags_through_the_commands_reach_no_path(camera):
    before = left_in(camera)
    assert run("encode", "--prior", "mixed-sound", "-e", "1", "--keep-metadata", "voice.flac").exit_code == 0
    assert "\x1b" not in run("info", "voice.cmb").stdout + run("info", "voice.cmb", "--json").stdout
    assert run("decode", "voice.cmb", "--format", "flac", "-d", "out").exit_code == 0
    with soundfile.SoundFile("out/voice.flac") as sound:
        assert sound.copy_metadata() == {"title": "../../../outside", "artist": "\x1b[31mred"}
    assert left_in(camera) == sorted([*before, "out", "voice.cmb"])


def test_metadata_of_many_files(camera):
    for number in range(3):
        Path(f"{number}.png").write_bytes(camera_file("png", ICC if number else b""))
    done = run(*ENCODE, "0.png", "1.png", "2.png", "plain.png", "-d", "out", "--size", 900)
    assert done.exit_code == 0, done.output
    sizes = [metadata.read(Path(f"out/{name}.cmb").read_bytes()).sizes() for name in ("0", "1", "2", "plain")]
    assert [sorted(size) for size in sizes] == [["exif", "xmp"], ["exif", "icc", "xmp"], ["exif", "icc", "xmp"], []]
    done = run("decode", *(f"out/{name}.cmb" for name in ("0", "1", "2", "plain")), "-d", "back", "--format", "bmp")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("a .bmp file cannot hold a colour profile") == 2


def test_more_metadata_than_a_file_can_hold_are_refused_by_name(camera, monkeypatch):
    monkeypatch.setattr(metadata, "LARGEST", 400)
    message = "photo.png: the metadata have [0-9]+ bytes, over the limit of 400; leave out --keep-metadata"
    done = run(*ENCODE, "photo.png")
    assert done.exit_code == 3
    assert re.fullmatch(f"combiner: {message}\n", done.stderr)


def test_metadata_that_cannot_be_read_can_be_done_without(camera):
    run(*ENCODE, "plain.png")
    inner = Path("plain.cmb").read_bytes()
    for packed, code in ((b"noise", 4), (bomb(b"", 20), 9)):
        Path("x.cmb").write_bytes(bitstream.with_metadata(inner, packed))
        refused(run("decode", "x.cmb", "-o", "x.png"), code, "x.cmb")
        refused(run("info", "x.cmb"), code, "x.cmb")
        done = run("decode", "x.cmb", "-o", "x.png", "--strip", "-f")
        assert done.exit_code == 0, done.output
        assert done.stderr == "combiner: note: the metadata cannot be read and are left out; colours may differ\n"
        Path("x.png").unlink()


def test_a_damaged_file_with_metadata_can_be_decoded_in_part(camera):
    run(*ENCODE, "photo.png")
    data = Path("photo.cmb").read_bytes()
    whole = run("decode", "photo.cmb", "-o", "whole.png")
    assert whole.exit_code == 0
    Path("x.cmb").write_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:])  # in the metadata
    refused(run("decode", "x.cmb", "-o", "x.png"), 4, "its checksum does not match")
    done = run("decode", "x.cmb", "-o", "x.png", "--ignore-checksum")
    assert done.exit_code == 0, done.output
    assert "the metadata cannot be read and are left out" in done.stderr
    with Image.open("x.png") as image, Image.open("whole.png") as reference:
        assert np.array_equal(np.asarray(image), np.asarray(reference))
    Path("x.cmb").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])  # in the payload
    assert run("decode", "x.cmb", "-o", "x.png", "--ignore-checksum", "-f").exit_code == 0
    assert described(Path("x.png").read_bytes())[0] == "A picture"
