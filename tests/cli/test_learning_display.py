"""What people see of a learning: lines without a terminal, a table and a plot on one."""

import io
import itertools
import os
import pty
import re
import subprocess
import sys

import pytest
from rich.console import Console
from support.commands import ROOT
from support.signals import smooth_image

from combiner_cli.cli import learning_display
from combiner_cli.cli.learning_display import Lines, Live, Shown
from combiner_cli.learning import estimate
from combiner_cli.learning.estimate import ResourceEstimate
from combiner_cli.learning.report import Measurement, ReportStyle
from combiner_cli.media import files as media

STYLE = ReportStyle("cost", "bits per pixel", "Cost")


def learning(steps=1000, done=0, last=0.0):
    made = ResourceEstimate(1000, 1e9, steps, step_operations=1.0, last_operations=last, speed=1.0)
    return Shown("p", STYLE, made, done)


def test_a_measurement_is_a_line_where_there_is_no_terminal(capsys):
    lines = Lines(learning(6))
    lines.step(2)
    lines.measured(Measurement(2, 1.5, 1.75))
    assert capsys.readouterr().err == "p: step 2/6, cost 1.5000 bits per pixel, held out 1.7500\n"


def test_the_time_is_told_again_when_it_is_known(monkeypatch, capsys):
    clock = itertools.count(0, 2)
    monkeypatch.setattr(estimate.time, "monotonic", lambda: next(clock))
    lines = Lines(learning(done=500))
    for done in range(501, 520):
        lines.step(done)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"p: \d\.\d\d s a step, about \d+ min left, [\d.]+ [MG]B of memory so far", line)


@pytest.mark.parametrize(("last", "told"), [(600.0, ["p: the prior is measured, which takes about 10 min"]), (1.0, [])])
def test_a_long_end_is_told_once(capsys, last, told):
    lines = Lines(learning(6, 6, last))
    for share in (0.0, 0.5, 1.0):
        lines.finishing(share)
    assert capsys.readouterr().err.splitlines() == told


def test_what_is_saved_is_known():
    lines = Lines(learning())
    assert lines.saved_steps is None
    lines.saved(7)
    assert lines.saved_steps == 7


def shown(monkeypatch, measurements, colours, finishing=None):
    """What a terminal of 80 columns shows of a learning."""
    monkeypatch.setattr(learning_display.time, "monotonic", lambda: 100.0)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=colours)
    live = Live(learning(400), console)
    for measurement in measurements:
        live.step(measurement.number)
        live.measured(measurement)
    if finishing is not None:
        live.finishing(0.0)
        monkeypatch.setattr(learning_display.time, "monotonic", lambda: 400.0)
        live.finishing(finishing)
    console.print(live)
    return console.file.getvalue()


MEASUREMENTS = [Measurement(100 * n, 2 / n, 2.5 / n if n < 3 else 1.4) for n in (1, 2, 3)]


def test_a_terminal_shows_a_table_and_a_plot(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33m" in shown(monkeypatch, MEASUREMENTS, "standard")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(monkeypatch, MEASUREMENTS, "standard")
    assert "\x1b[3" not in text
    text = re.sub(r"\x1b\[\d*m", "", text)
    assert max(map(len, text.splitlines())) <= 80
    row = next(line.split() for line in text.splitlines() if "300 of 400" in line)
    assert row[:3] == ["300", "of", "400"]
    assert row[3:8] == ["0.6667", "1.4000", "1.2500", "at", "200"]
    assert "cost, bits per pixel: ⣀⣀ training  ▄▄ held out" in text


@pytest.mark.parametrize(("share", "words"), [(0.5, "measuring .* about 5 min"), (1.0, "300 of 400 .* 0 s")])
def test_a_terminal_shows_how_the_prior_is_measured(monkeypatch, share, words):
    assert re.search(words, shown(monkeypatch, MEASUREMENTS, None, share))


def test_before_the_first_measurement_there_is_no_plot(monkeypatch):
    text = shown(monkeypatch, [], None)
    assert "curves begin with the first measurement" in text
    assert "0 of 400" in text


@pytest.mark.slow
def test_a_real_terminal_sees_the_table_and_no_colours_it_does_not_want(tmp_path):
    """In a process of its own, whose stderr is a terminal of 80 columns."""
    for number in range(4):
        media.write_signal(smooth_image(32, 32, seed=number), tmp_path / f"{number}.png")
    main, terminal = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "combiner_cli",
        "learn-prior",
        str(tmp_path),
        "-o",
        str(tmp_path / "p.safetensors"),
    ]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    options = ("--steps", "3", "--crops", "2", "--threads", "1", "--device", "cpu")
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=terminal, env=environment, cwd=ROOT)
    os.close(terminal)
    seen = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    out, _ = process.communicate(timeout=60)
    os.close(main)
    text = seen.decode()
    assert process.returncode == 0, text
    assert b"p.safetensors: prior " in out
    assert "p: what will be learned" in text
    assert "best held out" in text
    assert "3 of 3" in text
    assert not re.search(r"\x1b\[3\d", text)
