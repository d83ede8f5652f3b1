"""What takes long to make is made once for all processes of a test run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from combiner_cli.family import Prior
from combiner_cli.priors import store

FOLDER = "COMBINER_TESTS_FOLDER"  # variable of the environment: of one run, for all its processes


def folder() -> Path:
    """A folder of this run, the same for all its processes."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="combiner-tests-")
    return Path(os.environ[FOLDER])


def prior_file(name: str, learn: Callable[[], Prior]) -> Path:
    """The file of a prior that is learned by whichever process needs it first.

    Args:
        name: of the file; different for different priors.
        learn: makes the prior.
    """
    path = folder() / f"{name}{store.SUFFIX}"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            partial = path.with_suffix(".partial")
            store.save(learn(), partial)
            partial.rename(path)
    return path
