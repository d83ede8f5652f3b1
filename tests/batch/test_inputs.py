"""Which files inputs stand for."""

import os
from pathlib import Path

import pytest

from combiner_cli.batch import inputs
from combiner_cli.batch.requests import Decoding, Encoding, Input, Places
from combiner_cli.media import files as media

MEDIA = inputs.suffixes(Encoding())


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Empty files in folders, for whose names alone it matters."""
    monkeypatch.chdir(tmp_path)
    for name in ("p/2.png", "p/1.JPG", "p/a/3.flac", "p/a/b/4.tif", "p/.y.png", "p/.hidden/x.png", "p/a/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return Path("p")


def found(listing, folder="p"):
    return [str(given.path.relative_to(folder)) for given in listing.inputs]


def test_folders_stand_for_the_media_below_them_by_name(tree):
    listing = inputs.find([tree], Places(recursive=True), MEDIA)
    assert found(listing) == ["1.JPG", "2.png", "a/3.flac", "a/b/4.tif"]
    assert listing.unreadable == ()
    assert listing.others == 1


def test_every_suffix_that_is_read_counts_in_folders_too(tree):
    for suffix in media.IMAGE_SUFFIXES | media.SOUND_SUFFIXES:
        (tree / "a" / f"x{suffix.upper()}").touch()
    listing = inputs.find([tree / "a"], Places(recursive=True), MEDIA)
    assert len(listing.inputs) == len(media.IMAGE_SUFFIXES | media.SOUND_SUFFIXES) + 2


def test_files_that_are_to_be_decoded_are_those_with_one_suffix(tree):
    (tree / "a" / "x.cmb").touch()
    (tree / "a" / "y.CMB").touch()
    listing = inputs.find([tree], Places(recursive=True), inputs.suffixes(Decoding()))
    assert found(listing) == ["a/x.cmb", "a/y.CMB"]


def test_what_is_left_alone_is_counted_and_neither_media_nor_coded_files_are(tree):
    for name in ("x.cmb", "y.md", "z", ".z.md"):
        (tree / name).touch()
    for request in (Encoding(), Decoding()):
        assert inputs.find([tree], Places(recursive=True), inputs.suffixes(request)).others == 3


def test_what_is_named_is_taken_whatever_its_suffix(tree):
    given = [tree / "a" / "notes.txt", Path("missing"), tree / "a" / "notes.txt"]
    listing = inputs.find(given, Places(directory=Path("out")), MEDIA)
    assert listing.inputs == (Input(given[0], Path("out")), Input(given[1], Path("out")))


def test_the_tree_is_mirrored(tree):
    listing = inputs.find([tree], Places(recursive=True, directory=Path("out")), MEDIA)
    assert [str(given.folder) for given in listing.inputs] == ["out", "out", "out/a", "out/a/b"]
    listing = inputs.find([tree], Places(recursive=True), MEDIA)
    assert [given.folder for given in listing.inputs] == [given.path.parent for given in listing.inputs]


def test_links_are_followed_to_each_folder_once(tree, tmp_path):
    (tree / "a" / "b" / "up").symlink_to(tree.resolve())
    (tree / "0-link").symlink_to((tree / "a" / "b").resolve())
    Path("elsewhere").mkdir()
    Path("elsewhere/z.png").touch()
    (tree / "a" / "linked").symlink_to((tmp_path / "elsewhere").resolve())
    (tree / "gone.png").symlink_to("nowhere")
    os.mkfifo(tree / "pipe.png")
    listing = inputs.find([tree], Places(recursive=True), MEDIA)
    names = found(listing)
    assert names == sorted(names)
    assert set(names) == {"1.JPG", "2.png", "a/3.flac", "a/b/4.tif", "a/linked/z.png", "gone.png"}
    assert listing.unreadable == ()


def test_a_folder_that_cannot_be_read_is_told(tree, monkeypatch):
    scan = os.scandir

    def refuse(place):
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = inputs.find([tree], Places(recursive=True), MEDIA)
    assert found(listing) == ["1.JPG", "2.png", "a/3.flac"]
    (outcome,) = listing.unreadable
    assert outcome.source == tree / "a" / "b"
    assert outcome.failure.message == "p/a/b cannot be read: Permission denied; change its permissions"
    assert outcome.failure.exit_code == 3
