"""The command priors: listing, showing, installing and removing."""

import json

import pytest
from support.commands import run
from support.priors import tiny_siren

from combiner_cli.priors import library, store


def test_the_list_has_every_installed_prior():
    entries = {entry["name"]: entry for entry in json.loads(run("priors", "--json").stdout)}
    assert set(entries) == {path.stem for path in library.shipped()}
    assert entries["photo-8"]["origin"] == "shipped"
    assert entries["speech-5"]["family"] == "lapped" and entries["speech-5"]["kind"] == "sound"
    for name, entry in entries.items():
        prior = library.find(name)
        assert entry["id"] == f"{prior.id:08x}"
        assert entry["rates"][0] <= prior.bits_per_point <= entry["rates"][-1]
    text = run("priors", env={"COLUMNS": "80"}).stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(name in text for name in entries)


def test_show_and_path():
    number = f"{library.find('photo-8').id:08x}"
    done = run("priors", "show", "photo-8")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"photo-8: pyramid, for images, id {number}\n  rates  ")
    assert done.stdout.splitlines()[1].endswith(" bits per pixel")
    assert "bits per sample" in run("priors", "show", "speech-5").stdout
    card = library.shipped_folder() / "photo-8.md"
    assert card.read_text().splitlines()[0].removeprefix("# ") in done.stdout
    assert json.loads(run("priors", "show", "photo-8", "--json").stdout)["id"] == number
    assert run("priors", "path", "photo-8").stdout == f"{library.shipped_folder() / 'photo-8.safetensors'}\n"
    refused = run("priors", "show", "nobody")
    assert refused.exit_code == 6 and "no prior is called nobody" in refused.stderr


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.safetensors"
    store.save(tiny_siren(name="mine"), path)
    path.with_suffix(".md").write_text("# mine\n\nA prior of the tests.\n")
    return path


def test_a_prior_is_installed_found_and_removed(mine, user_data):
    done = run("priors", "install", mine)
    assert done.exit_code == 0, done.output
    target = user_data / "combiner" / "priors" / "mine.safetensors"
    assert done.stdout == f"{mine} -> {target}: mine, id {tiny_siren().id:08x}\n"
    assert target.read_bytes() == mine.read_bytes()
    assert library.find("mine").id == library.find_id(tiny_siren().id).id == tiny_siren().id
    assert "A prior of the tests" in run("priors", "show", "mine").stdout
    entry = next(entry for entry in library.entries() if entry.name == "mine")
    assert (entry.origin, entry.family, entry.rates) == ("user", "siren", (tiny_siren().bits_per_point,))
    refused = run("priors", "install", mine)
    assert refused.exit_code == 7 and "-f" in refused.stderr
    assert run("priors", "install", mine, "-f").exit_code == 0
    again = run("priors", "install", mine, "--name", "other")
    assert again.exit_code == 6 and "installed already, as mine" in again.stderr
    assert run("priors", "remove", "mine").exit_code == 0
    assert list(target.parent.iterdir()) == []


def test_what_is_not_installed(mine, tmp_path):
    taken = run("priors", "install", mine, "--name", "photo-8")
    assert taken.exit_code == 6 and "give another --name" in taken.stderr
    for name in ("../mine", ".mine", "mine.safetensors"):
        assert run("priors", "install", mine, "--name", name).exit_code == 2
    (tmp_path / "broken.safetensors").write_bytes(mine.read_bytes()[:-1])
    assert run("priors", "install", tmp_path / "broken.safetensors").exit_code == 4
    assert run("priors", "install", tmp_path / "missing.safetensors").exit_code == 3
    shipped = run("priors", "remove", "photo-8")
    assert shipped.exit_code == 6 and "not in the user's folder" in shipped.stderr


def test_files_that_are_no_priors_are_not_listed(tmp_path, monkeypatch):
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    monkeypatch.setenv("COMBINER_PRIORS", str(tmp_path))
    assert "no" not in {entry.name for entry in library.entries()}
