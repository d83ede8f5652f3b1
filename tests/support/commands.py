"""Commands as tests run them: in this process, or as people do in a shell."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from combiner_cli.cli.main import main
from combiner_cli.codec import pipeline
from combiner_cli.family import EncodingOptions, Target
from combiner_cli.priors import library

from .plain_prior import PlainPrior
from .signals import smooth_image

ROOT = Path(__file__).parent.parent.parent


def run(*arguments, **options):
    """Run a command in this process; an unexpected exception fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(done, exit_code, message):
    """One line on stderr that says so, nothing on stdout."""
    assert done.exit_code == exit_code, done.output
    assert done.stdout == ""
    assert message in done.stderr
    assert re.fullmatch(r"combiner: .*\n", done.stderr), done.stderr


def left_in(folder):
    """Names of what is in a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def files_in(folder):
    """Files below a folder, by their paths from there."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def environment(programs):
    """Variables with which a shell finds ``combiner`` as it is here, with one thread.

    Args:
        programs: a folder for it, which is made.
    """
    programs.mkdir()
    program = programs / "combiner"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m combiner_cli "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    programs_path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": programs_path, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def in_shell(line, variables, **more):
    """Run a line in bash; the exit status is that of the first command of a pipeline that fails."""
    command = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(command, env=variables, capture_output=True, timeout=120, check=False, **more)


@functools.cache
def coded_photo():
    """A file of 300 bytes of a picture of 102x75 pixels."""
    fast = EncodingOptions(effort=1)
    return pipeline.encode(smooth_image(75, 102), library.find("photo-8"), Target("size", 300), fast).data


def plain_priors(monkeypatch):
    """Priors of a family that the program does not know, one of each kind of signal, which it is made to find.

    Commands that are run in this process take no time with them.

    Args:
        monkeypatch: that undoes it.

    Returns:
        The priors by their names, ``plain-image`` and ``plain-sound``.
    """
    priors = {f"plain-{kind}": PlainPrior(f"plain-{kind}", kind) for kind in ("image", "sound")}
    by_id = {prior.id: prior for prior in priors.values()}
    find, find_id = library.find, library.find_id
    monkeypatch.setattr(library, "find", lambda name: priors[name] if name in priors else find(name))
    monkeypatch.setattr(library, "find_id", lambda number: by_id[number] if number in by_id else find_id(number))
    return priors
