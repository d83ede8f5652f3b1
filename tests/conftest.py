"""Where tests run, and fixtures of several packages."""

from __future__ import annotations

import os
import shutil

import pytest
from support import shared
from support.learned import learned_siren
from support.priors import tiny_siren

from combiner_cli.priors import library, store


def pytest_configure(config):
    """Make the folder of what all processes of this run share, before there are several."""
    if not hasattr(config, "workerinput"):
        shared.folder()


def pytest_unconfigure(config):
    """Remove it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(shared.FOLDER), ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Of several processes, one gets the tests of a file, for what they share; cases of the fuzzer share nothing."""
    for item in items:
        if item.path.stem != "test_fuzzing":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def user_data(tmp_path_factory, monkeypatch):
    """The folder of the user's own data, so that tests neither see nor change that of whoever runs them."""
    folder = tmp_path_factory.mktemp("user-data")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def learned_prior():
    """A small prior learned from smooth pictures, for tests of what depends on a fitting prior."""
    return learned_siren()


@pytest.fixture
def prior_folder(tmp_path, monkeypatch):
    """A folder with a tiny prior of each kind, on the search path."""
    folder = tmp_path / "priors"
    folder.mkdir()
    for kind in ("image", "sound"):
        store.save(tiny_siren(kind, name=f"tiny-{kind}"), folder / f"tiny-{kind}.safetensors")
    monkeypatch.setenv(library.SEARCH_VARIABLE, str(folder))
    return folder
