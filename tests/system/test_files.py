"""Atomic outputs, reading, and names."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from combiner_cli.errors import InputError, OutputError
from combiner_cli.system import files


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_new_file_appears_whole_and_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    with files.atomic_output(target, overwrite=False) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".photo.")
        assert temporary.name.endswith(".tmp.cmb")
        temporary.write_bytes(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert names(tmp_path) == {"photo.cmb"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_ordinary_permissions(tmp_path: Path, overwrite: bool, mask: int) -> None:
    before = os.umask(mask)
    try:
        with files.atomic_output(tmp_path / "photo.cmb", overwrite):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "photo.cmb").stat().st_mode) == 0o666 & ~mask


def test_overwrite_replaces(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    target.write_bytes(b"old")
    with files.atomic_output(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {"photo.cmb"}


def test_an_existing_file_is_refused_before_the_work_starts(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    target.write_bytes(b"old")
    with pytest.raises(OutputError) as caught, files.atomic_output(target, overwrite=False):
        pytest.fail("the block must not run")
    assert str(caught.value) == f"{target} exists; use -f to replace it"
    assert target.read_bytes() == b"old"


def refuse_links(*_: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    target = tmp_path / "photo.cmb"
    with (
        pytest.raises(OutputError, match="exists; use -f to replace it"),
        files.atomic_output(target, overwrite=False) as temporary,
    ):
        temporary.write_bytes(b"mine")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == {"photo.cmb"}


def test_folders_without_hard_links_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse_links)
    with files.atomic_output(tmp_path / "photo.cmb", overwrite=False) as temporary:
        temporary.write_bytes(b"content")
    assert (tmp_path / "photo.cmb").read_bytes() == b"content"
    assert names(tmp_path) == {"photo.cmb"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_nothing_is_left_after_an_exception(tmp_path: Path, overwrite: bool, exception: type[BaseException]) -> None:
    with pytest.raises(exception), files.atomic_output(tmp_path / "photo.cmb", overwrite) as temporary:
        temporary.write_bytes(b"half")
        raise exception
    assert names(tmp_path) == set()


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), files.atomic_output(target, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"photo.cmb"}


def test_an_interruption_at_the_very_end_leaves_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt), files.atomic_output(tmp_path / "photo.cmb", overwrite=True):
        pass
    assert names(tmp_path) == set()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_missing_folder(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "missing" / "photo.cmb"
    with pytest.raises(OutputError) as caught, files.atomic_output(target, overwrite):
        pytest.fail("the block must not run")
    assert (
        str(caught.value) == f"{target} cannot be written: the folder {target.parent} does not exist; create it first"
    )


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="does not exist; create it first"),
        files.atomic_output(tmp_path / "file" / "photo.cmb", overwrite=False),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_place_of_the_file(tmp_path: Path, overwrite: bool) -> None:
    for folder in (tmp_path, Path("/"), Path(), Path("..")):
        with (
            pytest.raises(OutputError, match="is a folder; give the name of a file"),
            files.atomic_output(folder, overwrite),
        ):
            pytest.fail("the block must not run")


def test_a_device_is_not_replaced() -> None:
    with (
        pytest.raises(OutputError, match="is not a regular file; write to an ordinary file"),
        files.atomic_output(Path(os.devnull), overwrite=True),
    ):
        pytest.fail("the block must not run")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_an_unwritable_folder(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, for whom no folder is unwritable.
    def refuse(path: Path, *_: object) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    target = tmp_path / "photo.cmb"
    with pytest.raises(OutputError) as caught, files.atomic_output(target, overwrite=False):
        pytest.fail("the block must not run")
    expected = f"{target} cannot be written: no permission to write in {tmp_path}; choose another folder"
    assert str(caught.value) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    with pytest.raises(OutputError) as caught, files.atomic_output(target, overwrite=False):
        Path("/dev/full").write_bytes(b"content")
    assert str(caught.value) == f"{target} cannot be written: no space left on the device; free some and run again"
    assert names(tmp_path) == set()


def test_an_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), files.atomic_output(tmp_path / "photo.cmb", overwrite=False):
        (tmp_path / "other").read_bytes()
    assert names(tmp_path) == set()


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="cannot be written: File name too long; choose another name or folder"),
        files.atomic_output(tmp_path / ("n" * 300 + ".cmb"), overwrite=False),
    ):
        pass
    assert names(tmp_path) == set()


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 125 + ".cmb")
    with files.atomic_output(target, overwrite=False) as temporary:
        temporary.write_bytes(b"content")
    assert target.read_bytes() == b"content"


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "photo.cmb"
    target.write_bytes(b"old")
    link = tmp_path / "link.cmb"
    link.symlink_to(target)
    with files.atomic_output(link, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_dangling_symbolic_link_exists(tmp_path: Path) -> None:
    link = tmp_path / "link.cmb"
    link.symlink_to(tmp_path / "missing.cmb")
    with pytest.raises(OutputError, match="exists"), files.atomic_output(link, overwrite=False):
        pytest.fail("the block must not run")


def test_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with files.atomic_output(Path("photo.cmb"), overwrite=False) as temporary:
        temporary.write_bytes(b"content")
    assert (tmp_path / "photo.cmb").read_bytes() == b"content"


def test_a_folder_is_created_with_those_above_it(tmp_path: Path) -> None:
    for _ in range(2):  # the second time it is there
        files.make_folder(tmp_path / "above" / "below")
        assert (tmp_path / "above" / "below").is_dir()
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"the folder .* cannot be created: .*; choose another"):
            files.make_folder(folder)


def test_a_modification_time_is_set_to_the_nanosecond_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1234")
    files.set_modified(source, 1_234_567_890_123_456_789)
    assert source.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert source.stat().st_atime_ns > 1_700_000_000 * 10**9  # now, not then
    assert source.read_bytes() == b"1234"


def test_read_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1234")
    assert files.read_bytes(source) == b"1234"
    assert files.read_bytes(source, limit=4) == b"1234"
    with pytest.raises(InputError) as caught:
        files.read_bytes(source, limit=3)
    assert str(caught.value) == f"{source} is larger than 3 bytes; give a smaller file"


def test_read_bytes_of_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        files.read_bytes(tmp_path / "missing")
    assert str(caught.value) == f"{tmp_path / 'missing'} does not exist; check the name"
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        files.read_bytes(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be read: Not a directory; check the name and the disk"):
        files.read_bytes(tmp_path / "file" / "below")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="cannot be read: no permission; change its permissions"):
        files.read_bytes(tmp_path / "file")


def test_the_beginning_of_a_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"1234")
    assert files.read_beginning(source, 3) == b"123"
    assert files.read_beginning(source, 9) == b"1234"
    with pytest.raises(InputError, match="does not exist; check the name"):
        files.read_beginning(tmp_path / "missing", 3)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("/dev/stdin", 0),
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/63", 63),
        ("/proc/self/fd/1", 1),
        ("/dev/fd/x", None),
        ("/dev/null", None),
        ("dev/stdout", None),
        ("-", None),
        ("1", None),
    ],
)
def test_names_of_open_files(name: str, number: int | None) -> None:
    assert files.descriptor(Path(name)) == number


def test_streams_are_pipes_devices_and_open_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("pipe")
    for stream in (tmp_path / "pipe", tmp_path / "link", Path(os.devnull), Path("/dev/fd/9")):
        assert files.is_stream(stream)
        files.check_target(stream, overwrite=False)
    for other in (tmp_path / "file", tmp_path / "missing", tmp_path):
        assert not files.is_stream(other)


def test_an_output_is_a_file_that_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "photo.cmb"
    with files.output(target, overwrite=False, modified=1_234_567_890_123_456_789) as file:
        file.write(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert target.stat().st_mtime_ns == 1_234_567_890_123_456_789
    with pytest.raises(OutputError, match="exists; use -f"), files.output(target, overwrite=False):
        pytest.fail("the block must not run")
    with pytest.raises(ZeroDivisionError), files.output(target, overwrite=True) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"content"
    assert names(tmp_path) == {"photo.cmb"}


def test_an_open_file_is_written_to_where_it_stands_and_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(b"before ")
        with files.output(Path(f"/dev/fd/{log.fileno()}"), overwrite=False, modified=1) as file:
            file.write(b"content")
        log.write(b" behind")
    assert (tmp_path / "log").read_bytes() == b"before content behind"
    assert (tmp_path / "log").stat().st_mtime > 10**9


def test_a_stream_that_is_not_open_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="/dev/fd/999 cannot be written: Bad file descriptor"),
        files.output(Path("/dev/fd/999"), overwrite=True),
    ):
        pytest.fail("the block must not run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full() -> None:
    with (
        pytest.raises(OutputError, match="/dev/full cannot be written: no space left on the device"),
        files.output(Path("/dev/full"), overwrite=False) as file,
    ):
        file.write(b"content")


def test_a_pipe_that_nobody_reads_is_no_fault_of_the_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError), files.output(Path(f"/dev/fd/{writing}"), overwrite=False) as file:
            file.write(b"content")
    finally:
        os.close(writing)
