"""The command line as a whole: help, options, versions and errors."""

import dataclasses
import os
import sys

import click
import pytest
from support.commands import refused, run

from combiner_cli import __version__
from combiner_cli.batch.requests import Decoding, Encoding, Places
from combiner_cli.cli import converting, options
from combiner_cli.cli.main import main
from combiner_cli.codec import goals
from combiner_cli.family import EncodingOptions


def test_version_and_help():
    assert run("--version").stdout == f"combiner {__version__}\n"
    for command in main.commands:
        done = run(command, "-h")
        assert done.exit_code == 0
        assert done.stdout.startswith("Usage: ")


@pytest.mark.parametrize("arguments", [("paint",), ("encode",), ("encode", "x.png", "--colour"), ("info",)])
def test_what_is_no_command_line_is_a_usage_error(arguments):
    assert run(*arguments).exit_code == 2


def test_verbose_shows_the_traceback():
    done = run("info", "missing.cmb", "-v")
    assert done.exit_code == 3
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("combiner: missing.cmb does not exist; check the name\n")


def names_of(command):
    """The names by which a command is given the values of its options."""
    values = [parameter for parameter in main.commands[command].params if isinstance(parameter, click.Option)]
    return {parameter.name for parameter in values if parameter.expose_value and parameter.name != "help"}


def fields_of(*kinds):
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("encode", {*fields_of(Encoding, EncodingOptions), *goals.OPTIONS, "tune"} - {"target", "options"}),
        ("decode", fields_of(Decoding) - {"largest_file"}),
    ],
)
def test_every_option_fills_a_field_and_every_field_has_an_option(command, fields):
    shared = fields_of(Places, converting.Running, converting.Showing)
    assert names_of(command) == fields | (shared - ({"keep_suffix"} if command == "decode" else set()))


def test_options_are_taken_out_of_those_that_are_given():
    given = {"jobs": 3, "dask": None, "quiet": True}
    assert options.taken(converting.Running, given) == converting.Running(3, None)
    assert given == {"quiet": True}
    assert options.taken(converting.Showing, given, as_json=False) == converting.Showing(False, True)
    assert given == {}


@pytest.mark.parametrize("command", ["encode", "decode", "bench"])
def test_threads_are_an_option_of_all_that_computes(command):
    assert "--threads" in run(command, "-h").stdout


def test_threads_are_limited_before_numpy_is_loaded(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "5")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    refused(run("decode", "missing.cmb", "--threads", "3"), 3, "missing.cmb")
    assert {os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}
