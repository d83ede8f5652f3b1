"""Shell completion, and the help of every command."""

import os
import subprocess
import sys

import pytest
from support.commands import run

from combiner_cli.cli.main import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_program(shell):
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_COMBINER_COMPLETE" in done.stdout
    assert run("completion", "abacus").exit_code == 2


def completions(*words):
    """What the program proposes for the last of some words, as a shell asks it."""
    asked = {"COMP_WORDS": " ".join(["combiner", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-m", "combiner_cli"],
        env={**os.environ, **asked, "_COMBINER_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [line.split(",", 1) for line in done.stdout.splitlines()]


def test_commands_options_and_priors_are_completed():
    assert ["plain", "encode"] in completions("enc")
    assert ["plain", "--quality"] in completions("encode", "--qu")
    assert ["plain", "speech-5"] in completions("encode", "--prior", "spe")
    assert ["plain", "photo-8"] in completions("priors", "show", "pho")
    assert completions("encode", "--prior", "./no-such")[0][0] == "file"
    assert completions("encode", "pho")[0][0] == "file"


def commands():
    for name, command in main.commands.items():
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", {}))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_help_fits_a_terminal_and_names_exit_codes(words):
    done = run(*words, "-h", env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: main {' '.join(words)} ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    assert "Exit codes:" in done.stdout


def test_the_program_has_one_name():
    done = subprocess.run(
        [sys.executable, "-m", "combiner_cli", "info", "-h"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("Usage: combiner info ")
