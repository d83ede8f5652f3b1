"""Where outputs go, and which of them collide."""

import os
from pathlib import Path

import pytest
from support.plain_prior import PlainPrior
from support.signals import smooth_image, tone

from combiner_cli.batch import outputs
from combiner_cli.batch.requests import Converted, Decoded, Decoding, Encoding, Failure, Input, Job, Places
from combiner_cli.codec import pipeline
from combiner_cli.errors import InputError, OutputError, UsageError

HERE = Path()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def target(name, kind=None, places=None, request=None):
    found, suffix = outputs.target_for(Input(Path(name), HERE), kind, places or Places(), request or Encoding())
    return str(found), suffix


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.png", "photo.cmb"),
        ("folder.d/photo", "photo.cmb"),
        ("photo.v2.png", "photo.v2.cmb"),
        (".hidden", ".hidden.cmb"),
        ("photo.cmb", "photo.cmb"),
    ],
)
def test_names_of_coded_files(name, expected):
    assert target(name) == (expected, ".cmb")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("photo.png", "photo.png.cmb"), ("photo", "photo.cmb"), ("a.tar.gz", "a.tar.gz.cmb"), (".x", ".x.cmb")],
)
def test_names_of_coded_files_that_keep_their_suffix(name, expected):
    assert target(name, places=Places(keep_suffix=True)) == (expected, ".cmb")


@pytest.mark.parametrize(
    ("name", "kind", "wanted", "expected"),
    [
        ("photo.cmb", "image", None, "photo.png"),
        ("talk.cmb", "sound", None, "talk.wav"),
        ("photo.cmb", "image", ".jpg", "photo.jpg"),
        ("photo.png.cmb", "image", None, "photo.png"),
        ("photo.PNG.cmb", "image", None, "photo.PNG"),
        ("photo.jpg.cmb", "image", None, "photo.jpg.png"),  # not a JPEG of a JPEG, unless that is asked for
        ("photo.jpg.cmb", "image", ".jpg", "photo.jpg"),
        ("talk.flac.cmb", "sound", ".flac", "talk.flac"),
        ("talk.v2.cmb", "sound", None, "talk.v2.wav"),
        ("photo", "image", None, "photo.png"),
    ],
)
def test_names_of_decoded_files(name, kind, wanted, expected):
    assert target(name, kind, request=Decoding(format=wanted))[0] == expected


def test_what_is_named_is_taken():
    places = Places(output=Path("x/Y.JPG"))
    assert target("photo.cmb", "image", places, Decoding()) == ("x/Y.JPG", ".jpg")
    assert target("photo.png", None, Places(output=Path("x/y"))) == ("x/y", ".cmb")


@pytest.mark.parametrize("name", ["x.wav", "x.xyz", "x"])
def test_a_name_that_goes_with_another_kind_or_with_none_is_refused(name):
    with pytest.raises(OutputError, match=r"an image cannot be written .*; use one of"):
        target("photo.cmb", "image", Places(output=Path(name)), Decoding())


def test_a_stream_need_not_say_the_format():
    for name, request, suffix in (
        ("/dev/null", Decoding(), ".png"),
        ("/dev/fd/1", Decoding(format=".bmp"), ".bmp"),
    ):
        assert target("photo.cmb", "image", Places(output=Path(name)), request) == (name, suffix)


@pytest.mark.parametrize("name", [".", "/", ""])
def test_a_folder_gives_its_output_no_name(name):
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        target(name)


def test_an_open_file_gives_its_output_no_name():
    with pytest.raises(UsageError, match="/dev/fd/63 has no name of its own to call its output by"):
        target("/dev/fd/63")
    assert target("/dev/fd/63", places=Places(output=Path("x.cmb")))[0] == "x.cmb"


def prepared(*names, places=None, request=None):
    given = [Input(Path(name), HERE) for name in names]
    jobs, outcomes = outputs.prepare(given, places or Places(), request or Encoding())
    failures = {str(one.source): one.failure.message for one in outcomes if one.failure is not None}
    skipped = [str(one.source) for one in outcomes if one.failure is None]
    return [str(job.source) for job in jobs], failures, skipped


def test_two_that_would_become_one_file_fail_and_the_rest_is_done(folder):
    for name in ("a.png", "a.jpg", "a.gif", "b.png"):
        (folder / name).touch()
    jobs, failures, _ = prepared("a.png", "b.png", "a.jpg", "a.gif")
    assert jobs == ["b.png"]
    advice = "would both become a.cmb; give --keep-suffix, rename one, or leave one out"
    assert failures == {
        "a.png": f"a.png and a.jpg {advice}",
        "a.jpg": f"a.jpg and a.png {advice}",
        "a.gif": f"a.gif and a.png {advice}",
    }
    jobs, failures, _ = prepared("a.png", "b.png", "a.jpg", "a.gif", places=Places(keep_suffix=True))
    assert jobs == ["a.png", "b.png", "a.jpg", "a.gif"]
    assert failures == {}


def test_a_file_that_is_named_in_two_ways_is_one_input(folder):
    (folder / "below").mkdir()
    (folder / "a.png").touch()
    assert prepared("a.png", "below/../a.png", str(folder / "a.png")) == (["a.png"], {}, [])


def test_folders_that_are_one_by_a_link_are_one_place(folder):
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    (folder / "a.png").touch()
    (folder / "a.bmp").touch()
    given = [Input(Path("a.png"), Path("real")), Input(Path("a.bmp"), Path("link"))]
    jobs, outcomes = outputs.prepare(given, Places(), Encoding())
    assert jobs == []
    assert len(outcomes) == 2


def test_what_exists_is_left_out_or_refused(folder):
    for name in ("a.png", "b.png", "b.cmb"):
        (folder / name).touch()
    assert prepared("a.png", "b.png", places=Places(skip_existing=True)) == (["a.png"], {}, ["b.png"])
    assert prepared("a.png", "b.png")[1] == {"b.png": "b.cmb exists; use -f to replace it"}
    assert prepared("a.png", "b.png", places=Places(overwrite=True))[0] == ["a.png", "b.png"]


def test_folders_without_minus_r_and_what_is_missing(folder):
    (folder / "sub").mkdir()
    jobs, failures, _ = prepared("sub", "missing.png")
    assert jobs == ["missing.png"]  # whoever reads it says why it cannot be
    assert failures == {"sub": "sub is a folder; give -r to take the files in it"}


def coded(signal, kind):
    return pipeline.encode(signal, PlainPrior(kind=kind)).data


def test_kinds_are_read_from_the_beginnings_of_files(folder, monkeypatch):
    (folder / "a.cmb").write_bytes(coded(smooth_image(9, 9), "image") + bytes(10**6))
    (folder / "b.cmb").write_bytes(coded(tone(99), "sound"))
    read = []
    original = Path.open

    def spy(self, *arguments):
        file = original(self, *arguments)
        read.append((self.name, file))
        return file

    monkeypatch.setattr(Path, "open", spy)
    jobs, outcomes = outputs.prepare([Input(Path(f"{name}.cmb"), HERE) for name in "ab"], Places(), Decoding())
    assert [str(job.target) for job in jobs] == ["a.png", "b.wav"]
    assert [name for name, _ in read] == ["a.cmb", "b.cmb"]
    assert outcomes == []


def test_what_is_no_coded_file_is_told_at_once(folder):
    data = coded(smooth_image(9, 9), "image")
    for name, content in (
        ("a", b"GIF89a"),
        ("b", b""),
        ("c", b"CMB"),
        ("d", data[:20]),
        ("e", data[:3] + b"\x09" + data[4:]),
    ):
        (folder / f"{name}.cmb").write_bytes(content)
    jobs, failures, _ = prepared(*(f"{name}.cmb" for name in "abcdef"), request=Decoding())
    assert jobs == ["d.cmb"]  # whose beginning is there; the rest is told by whoever reads it
    assert failures["f.cmb"] == "f.cmb does not exist; check the name"
    assert "does not begin with the letters CMB" in failures["a.cmb"]
    assert {name: "damaged" in text or "changed" in text for name, text in failures.items()}["e.cmb"]


def test_an_image_and_a_sound_of_one_name_do_not_collide(folder):
    for name, data in (("x/0.cmb", coded(smooth_image(9, 9), "image")), ("y/0.cmb", coded(tone(99), "sound"))):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(data)
    places = Places(directory=Path("back"))
    given = [Input(Path(name), Path("back")) for name in ("x/0.cmb", "y/0.cmb")]
    jobs, _ = outputs.prepare(given, places, Decoding())
    assert [str(job.target) for job in jobs] == ["back/0.png", "back/0.wav"]


FACTS = Decoded(1, 1, smooth_image(2, 2).format, 0.1)


def test_a_finished_file_has_the_time_of_its_input(folder):
    job = Job(Path("a.cmb"), Path("back/a.png"), ".png", 1, 10**18 + 1)
    outcome = outputs.finish(job, Converted(b"content", FACTS, ("a note",)), Places(directory=Path("back")))
    assert (outcome.facts, outcome.failure, outcome.notes) == (FACTS, None, ("a note",))
    assert Path("back/a.png").read_bytes() == b"content"
    assert Path("back/a.png").stat().st_mtime_ns == 10**18 + 1
    places = Places(directory=Path("back"), keep_times=False, overwrite=True)
    outputs.finish(job, Converted(b"content", FACTS), places)
    assert Path("back/a.png").stat().st_mtime_ns > 10**18 + 10**17


def test_what_cannot_be_written_is_a_failure_of_its_own(folder):
    (folder / "a.png").touch()
    outcome = outputs.finish(Job(Path("a.cmb"), Path("a.png")), Converted(b"content", FACTS, ("a note",)), Places())
    assert outcome.failure.message == "a.png exists; use -f to replace it"
    assert (outcome.failure.exit_code, outcome.facts, outcome.notes) == (7, None, ("a note",))
    failed = outputs.finish(Job(Path("a.cmb"), Path("b.png")), Failure("why", 4), Places())
    assert failed.failure == Failure("why", 4)
    assert os.listdir() == ["a.png"]  # noqa: PTH208
