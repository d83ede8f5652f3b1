"""learn-prior for people: the plan, what is shown meanwhile, early ends, cards, and several processes."""

import io
import itertools
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch
from combiner_cli.learning.curves import Curves
from conftest import lapped_plan, mixture_plan, recordings_of_tones, smooth_image, tiny_mixture, tone
from rich.console import Console
from test_cli import refused, run

from combiner_cli.cli import learning_display
from combiner_cli.families.lapped import learning as learn_recordings
from combiner_cli.families.linear import learning as learn_mixture
from combiner_cli.families.pyramid import learning as learn_hierarchy
from combiner_cli.families.siren import learning as learn
from combiner_cli.families.siren.network import Siren
from combiner_cli.learning import curves as learning_curves
from combiner_cli.learning import estimate, trainer
from combiner_cli.learning.distributed import ALONE, Ranks
from combiner_cli.learning.trainer import Course, Learner, StepReport, Task, Watcher
from combiner_cli.media import files as media
from combiner_cli.priors import library

PYRAMID = ("--family", "pyramid", "--tile", "32", "--held-out", "20", "--device", "cpu")
LAPPED = ("--family", "lapped", "--hop", "64", "--sample-rate", "4000", "--held-out", "20", "--device", "cpu")


class StoppedError(Exception):
    """What stops a learning half-way here."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six small pictures and six short sounds, single ones and pairs, in folders of their own."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        for kind in ("pictures", "sounds"):
            (tmp_path / kind).mkdir(exist_ok=True)
        media.write_signal(smooth_image(36, 40, seed=number), tmp_path / "pictures" / f"{number}.png")
        media.write_signal(tone(1500, 1 + number % 2, 4000, seed=number), tmp_path / "sounds" / f"{number}.wav")
    return tmp_path


@pytest.fixture
def often(monkeypatch):
    """Measurements after every second step."""
    monkeypatch.setattr(trainer, "REPORT_STEPS", 2)


def pyramid_plan(**changed):
    small = ((8, 8), (8, 8), (8, 8))
    usual = {"steps": 6, "pictures": 2, "crop": 32, "fine": small, "coarse": small, "noise_codes": (20, 60)}
    return learn_hierarchy.PyramidPlan("tiny", **{**usual, "seed": 1, "size": 40, **changed})


def pictures(count, seed=0):
    return [smooth_image(36, 40, seed=seed + number).samples for number in range(count)]


def learn_pyramid(plan, **more):
    return learn_hierarchy.learn(plan, pictures(4), pictures(1, 50), **more)


def learn_lapped(plan, **more):
    return learn_recordings.learn(plan, recordings_of_tones(4), recordings_of_tones(2, 50), **more)


# the plan


def test_the_plan_is_told_and_nothing_is_written(folder):
    before = sorted(folder.rglob("*"))
    done = run("learn-prior", "pictures", "-o", "p.safetensors", *PYRAMID, "--patience", "3", "--dry-run")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr == textwrap.dedent(
        """\
        p: what will be learned
          prior       p.safetensors, family pyramid, 1.2 MB
          data        pictures, 6 files, 5 images to learn from, 1 held out, 26 kB
          held out    18 crops measured every 100 steps; after 3 without a better one
                      learning ends
          work        6,000 steps of 6 crops of 32x32
          device      cpu
          time        about 7 min on a core of a server; told again when it is known
                      better
          memory      about 300 MB
          checkpoint  p.checkpoint, every 60 s; there is none yet
        """
    )
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        ("sounds", (*LAPPED, "--shards", "4"), ["family lapped", "in 4 parts", "at 4000 Hz", "48 stretches of 4,096"]),
        ("pictures", ("--tile", "4", "--components", "1"), ["family linear, at most", "4 phases of 6 rounds"]),
        ("pictures", ("--tile", "8", "--layers", "1"), ["family siren", "96 rounds of 40 steps", "in every round"]),
        ("pictures", ("--tile", "8", "--layers", "1", "--covariance", "full"), ["16 turns with full covariances"]),
        ("pictures", (*PYRAMID, "--shards", "4"), ["6,000 steps of 8 crops of 32x32 in 4 parts"]),
    ],
)
def test_every_family_has_a_plan(folder, source, options, told):
    done = run("learn-prior", source, "-o", "p.safetensors", *options, "--dry-run")
    assert done.exit_code == 0, done.output
    for words in told:
        assert words in " ".join(done.stderr.split())
    assert max(map(len, done.stderr.splitlines())) < 80
    assert not list(folder.glob("p.*"))


def test_what_the_learning_would_refuse_is_refused_without_it(folder):
    def planned(source, *options):
        return run("learn-prior", source, "-o", "p.safetensors", *options, "--dry-run")

    refused(planned("sounds", *PYRAMID), 10, "a pyramid is for images")
    refused(planned("pictures", "--tile", "8", "--layers", "2", "--width", "1200"), 2, "cannot have these settings")
    refused(planned("pictures", "--tile", "8"), 10, "components take at least")
    refused(planned("pictures", *PYRAMID, "--checkpoint", "nowhere/x"), 7, "checkpoint nowhere/x cannot be written")
    refused(planned("pictures", "--patience", "3"), 2, "--patience go with --family pyramid or lapped")
    refused(planned("pictures", "--layers", "1", "--shards", "2"), 2, "--family pyramid or lapped")
    (folder / "p.svg").write_text("mine")
    refused(planned("pictures", *PYRAMID), 7, "p.svg exists; use -f")


def test_sizes_are_foretold():
    plan = pyramid_plan(steps=1)
    learned = learn_pyramid(plan)
    tensors = sum(own.nbytes for own in learned.prior.tensors().values())
    assert learn_hierarchy.networks_bytes(plan) == tensors
    plan = lapped_plan(steps=1)
    tensors = sum(own.nbytes for own in learn_lapped(plan).prior.tensors().values())
    assert learn_recordings.networks_bytes(plan) == tensors
    look = estimate.of_mixture(mixture_plan(), 4, 32 * 3 * 48 * 48 * 4)
    tensors = sum(own.nbytes for own in tiny_mixture().tensors().values())
    assert look.at_most
    assert tensors / 2 < look.prior_bytes
    assert tensors <= look.prior_bytes
    network = Siren((8, 8), 3, 8, 4.0, 8, 1)
    plan = learn.Plan("t", "image", network, 1.5, 1e-3, 40, 25, 16, 1)
    assert estimate.of_network(plan, 10, 1000).prior_bytes == 12 * network.latents


def test_foretold_times_and_sizes_grow_with_the_work():
    plan = pyramid_plan(steps=100, crop=256)
    looks = [estimate.of_pyramid(replace(plan, steps=steps), 1000, 1000, 0) for steps in (100, 200)]
    assert looks[1].seconds == 2 * looks[0].seconds
    assert looks[1].memory == looks[0].memory
    assert estimate.of_pyramid(plan, 1000, 10**9, 0).memory > 10**9
    times = [estimate.about_time(own) for own in (2, 61, 300, 7200, 86400 * 3)]
    assert times == ["5 s", "60 s", "5 min", "2.0 h", "3.0 days"]
    sizes = [estimate.size_text(own) for own in (10, 25_600, 2_340_000, 5_100_000_000)]
    assert sizes == ["1 kB", "26 kB", "2.3 MB", "5.1 GB"]
    assert estimate.about_size(397e6) == "400 MB"


# what is shown


def test_lines_where_there_is_no_terminal(folder, often):
    done = run("learn-prior", "pictures", "-o", "p.safetensors", *PYRAMID, "--steps", "5")
    assert done.exit_code == 0, done.output
    figure = r"\d\.\d{4}"
    lines = done.stderr.splitlines()[-3:]
    for line, step in zip(lines, (2, 4, 5), strict=True):
        assert re.fullmatch(rf"p: step {step}/5, cost {figure} bits, held out {figure}", line)
    assert re.fullmatch(
        rf"p\.safetensors: prior [0-9a-f]{{8}}, {figure} bits per pixel, \d+ s, \d\.\d GiB\n", done.stdout
    )


def test_the_time_is_told_again_when_it_is_known(monkeypatch, capsys):
    clock = itertools.count(0, 2)
    monkeypatch.setattr(learning_display.time, "monotonic", lambda: next(clock))
    lines = learning_display.Lines(learning_display.of_steps("p", 1000, "image"), 500)
    for done in range(501, 520):
        lines.step(done)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"p: \d\.\d\d s a step, about \d+ min left, \d+ MB of memory so far|.* GB .*", line)


def test_the_pace_counts_from_the_first_step_after_a_resumption(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(learning_display.time, "monotonic", lambda: now[0])
    pace = learning_display.Pace(40, 100)
    assert pace.seconds_left() is None
    now[0] += 60  # the first step takes long
    pace.went_on(41)
    assert pace.seconds_left() is None
    for done in range(42, 53):
        now[0] += 2
        pace.went_on(done)
    assert pace.seconds_per_step() == 2
    assert pace.seconds_left() == 2 * (100 - 52)
    assert pace.known()


def curves(values, held_out):
    return Curves("cost, bits", "step", tuple(range(100, 100 * len(values) + 1, 100)), tuple(values), tuple(held_out))


def test_curves_are_drawn_from_the_top_left_to_the_bottom_right():
    falling = [8.0 - 0.5 * number for number in range(12)]
    lines = learning_curves.drawn(curves(falling, [None] * 12), 60, 8)
    assert len(lines) == 10
    assert max(map(len, lines)) <= 60
    thin, thick = learning_curves.marks(True)
    places = [[column for column, mark in enumerate(line) if mark in thin] for line in lines[:8]]
    assert all(places)
    assert all(min(lower) > min(upper) for upper, lower in itertools.pairwise(places))
    assert lines[0].split()[0] == "8"
    assert lines[7].split()[0] == "2.5"
    assert lines[-1].endswith("step 1,200")
    assert not any(mark in "".join(lines) for mark in thick)
    both = learning_curves.drawn(curves(falling, [9.0] * 12), 60, 8)
    columns = 60 - learning_curves.FRONT
    measured = [column for column in range(columns) if 1200 * (column + 1) / columns >= 100]
    assert [column - learning_curves.FRONT for column, mark in enumerate(both[0]) if mark in thick] == measured
    plain = learning_curves.drawn(curves(falling, [9.0] * 12), 60, 8, unicode=False)
    assert "".join(plain).isascii()


@pytest.mark.parametrize(
    ("values", "held_out"), [([], []), ([1.0], [None]), ([2.0, 2.0], [2.0, 2.0]), ([float("nan"), 1.0], [None, 1.0])]
)
def test_few_values_are_drawn_too(values, held_out):
    lines = learning_curves.drawn(curves(values, held_out), 40, 4)
    assert len(lines) == (6 if values else 0)


def test_the_best_value_is_the_first_of_the_lowest_or_highest():
    assert curves([3, 3, 3, 3], [2.0, 1.0, 1.0, float("nan")]).best() == (200, 1.0)
    assert replace(curves([3, 3, 3], [2.0, 3.0, 1.0]), least_is_best=False).best() == (200, 3.0)
    assert curves([3], [None]).best() is None


def shown(manner, reports, **settings):
    """What a terminal of 80 columns shows of a learning."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, **settings)
    live = learning_display.Live(manner, 0, [], console)
    for own in reports:
        live.step(own.number)
        live.report(own)
    console.print(live)
    return console.file.getvalue()


def test_a_terminal_shows_a_table_and_a_plot(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    reports = [StepReport(100 * n, 400, 2 / n, 2.5 / n if n < 3 else 1.4) for n in (1, 2, 3)]
    coloured = shown(learning_display.of_steps("p", 400, "image"), reports, color_system="standard")
    assert "\x1b[33m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(learning_display.of_steps("p", 400, "image"), reports, color_system="standard")
    assert "\x1b[3" not in text
    text = re.sub(r"\x1b\[\d*m", "", text)
    assert max(map(len, text.splitlines())) <= 80
    row = next(line.split() for line in text.splitlines() if "300 of 400" in line)
    assert row[:3] == ["300", "of", "400"]
    assert row[3:8] == ["0.6667", "1.4000", "1.2500", "at", "200"]
    assert "cost, bits per picture element: ⣀⣀ training  ▄▄ held out" in text


@pytest.mark.parametrize("kind", ["rounds", "mixture"])
def test_rounds_are_shown_too(kind):
    if kind == "rounds":
        reports = [learn.RoundReport(n, 40, 1.0, 20.0 + n, 1.1, 19.0 + n, 1e-4) for n in range(1, 41)]
        manner = learning_display.of_rounds("p", 40)
        assert [manner.line(own) is not None for own in reports[:4]] == [False, True, False, True]
        assert "58.0000 at 39" not in shown(manner, reports)
        assert "59.0000 at 40" in shown(manner, reports)
    else:
        reports = [learn_mixture.MixtureReport(1, 2, n, 3, 2.0 / n, 0.5, 60) for n in (1, 2, 3)]
        manner = learning_display.of_mixture("p", 6)
        assert manner.line(reports[0]) == "p: phase 1/2, round 1/3, cost 2.0000 bits per point, 50.0 % changed class"
        text = shown(manner, reports)
        assert "3 of 6" in text
        assert "held out" not in text.splitlines()[-14]


def test_a_real_terminal_sees_the_table_and_no_colours_it_does_not_want(folder):
    """In a process of its own, whose stderr is a terminal of 80 columns."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "combiner_cli", "learn-prior", "pictures", "-o", "p.safetensors", *PYRAMID]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    process = subprocess.Popen(
        [*command, "--steps", "3", "--threads", "1"], stdout=subprocess.PIPE, stderr=other, env=environment
    )
    os.close(other)
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
    assert out.startswith(b"p.safetensors: prior ")
    assert "p: what will be learned" in text
    assert "best held out" in text
    assert "3 of 3" in text
    assert not re.search(r"\x1b\[3\d", text)


# measuring what is held out


@pytest.mark.parametrize(
    "learn_one", [lambda: learn_pyramid(pyramid_plan()), lambda: learn_lapped(lapped_plan(steps=6))]
)
def test_measuring_does_not_disturb_learning(learn_one, monkeypatch):
    seldom = learn_one()
    monkeypatch.setattr(trainer, "REPORT_STEPS", 1)
    often = learn_one()
    assert often.prior.id == seldom.prior.id
    assert len(seldom.reports) == 1
    assert len(often.reports) == 6
    assert often.reports[-1].held_out == seldom.reports[-1].held_out
    assert len({own.held_out for own in often.reports}) > 1


def toy(target, held_out_target):
    """A learner with one network, and a task: the first biases are to reach one value, and are measured by another."""
    generator = torch.Generator().manual_seed(1)
    shape = trainer.Shape(2, 1, 1, 1, (4, 4), (0.0,))
    networks = torch.nn.ModuleDict({"0": torch.nn.ModuleDict({"only": Learner(shape, generator)})})
    parameter = networks["0"]["only"].first_bias

    def descend(signals, codes, generator):
        if torch.is_grad_enabled():
            cost = ((parameter - torch.from_numpy(signals).float().mean()) ** 2).mean()
            cost.backward()
        else:
            cost = ((parameter - held_out_target) ** 2).mean()
        return float(cost.detach())

    def draw(generator):
        return target + generator.normal(0, 0.01, 4), np.zeros(4, dtype=np.int64)

    return networks, Task(draw, draw, descend)


def test_early_stopping_takes_the_best_state(monkeypatch):
    """The cost of what is held out falls, and rises again when the networks have gone past its own optimum."""
    monkeypatch.setattr(trainer, "REPORT_STEPS", 5)
    monkeypatch.setattr(trainer, "_WARM_UP", 1)
    monkeypatch.setattr(trainer, "_LEARNING_RATE", 0.02)
    networks, task = toy(1.0, 0.3)
    states = {}
    watcher = Watcher(report=lambda own: states.update({own.number: networks["0"]["only"].first_bias.detach().clone()}))
    plan = Course(400, 1, "toy", "", patience=3)
    reports = trainer.train(networks, task, plan, None, None, 60.0, watcher, ALONE)
    costs = [own.held_out for own in reports]
    best = int(np.argmin(costs))
    assert 0 < best == len(reports) - 4
    assert reports[-1].number < 400
    assert costs[best + 1] > costs[best] < costs[best - 1]
    assert torch.equal(networks["0"]["only"].first_bias.detach(), states[reports[best].number])
    assert not torch.equal(states[reports[best].number], states[reports[-1].number])
    # without patience: all steps, and the last state
    networks, task = toy(1.0, 0.3)
    reports = trainer.train(networks, task, replace(plan, patience=None), None, None, 60.0, Watcher(), ALONE)
    assert reports[-1].number == 400
    assert networks["0"]["only"].first_bias.detach().numpy() == pytest.approx(1.0, abs=0.05)


def test_an_early_end_is_told_and_is_on_the_card(folder, often, monkeypatch):
    """At a rate at which nothing is learned for long."""
    monkeypatch.setattr(trainer, "_LEARNING_RATE", 1.0)
    monkeypatch.setattr(trainer, "_WARM_UP", 1)
    done = run("learn-prior", "sounds", "-o", "p.safetensors", *LAPPED, "--steps", "60", "--patience", "2")
    assert done.exit_code == 0, done.output
    found = re.search(r"p: ended early, after step (\d+) of 60; the state of step (\d+), the best one,", done.stderr)
    assert found, done.stderr
    ended, best = map(int, found.groups())
    assert ended == best + 2 * 2
    card = (folder / "p.md").read_text()
    assert f"the prior is the state of step {best}, the best one" in " ".join(card.split())
    assert "--patience 2" not in card  # this is not the command line of this process


def test_an_interrupted_learning_ends_with_the_same_prior(tmp_path, often):
    plan, checkpoint = pyramid_plan(steps=7, shards=2, patience=2), tmp_path / "x.checkpoint"
    whole = learn_pyramid(plan)

    def stop(done):
        if done == 6:  # before it is measured: a step behind the checkpoint, which is between two measurements
            raise StoppedError

    with pytest.raises(StoppedError):
        learn_pyramid(plan, checkpoint=checkpoint, checkpoint_seconds=0, watcher=Watcher(step=stop))
    taken = []
    resumed = learn_pyramid(plan, checkpoint=checkpoint, watcher=Watcher(step=taken.append))
    assert taken == [6, 7]
    assert resumed.prior.id == whole.prior.id
    assert resumed.reports == whole.reports


@pytest.mark.parametrize("behind", [1, 12, 17])
def test_an_interrupted_learning_ends_early_with_the_same_state(tmp_path, monkeypatch, behind):
    """Interrupted at so many steps before its early end, before or after the best state."""
    monkeypatch.setattr(trainer, "REPORT_STEPS", 5)
    monkeypatch.setattr(trainer, "_WARM_UP", 1)
    monkeypatch.setattr(trainer, "_LEARNING_RATE", 0.02)
    checkpoint, plan = tmp_path / "x.checkpoint", Course(400, 1, "toy", "", patience=3)

    def learned(**watched):
        networks, task = toy(1.0, 0.3)
        reports = trainer.train(networks, task, plan, None, checkpoint, 0.0, Watcher(**watched), ALONE)
        return networks["0"]["only"].first_bias.detach().clone(), reports

    state, reports = learned()
    checkpoint.unlink()
    last = reports[-1].number

    def stop(done):
        if done == last - behind:
            raise StoppedError

    with pytest.raises(StoppedError):
        learned(step=stop)
    taken = []
    again, others = learned(step=taken.append)
    assert taken == list(range(last - behind, last + 1))
    assert torch.equal(again, state)
    assert others == reports
    # from a checkpoint of the end nothing is left to be done
    again, others = learned(step=taken.append)
    assert taken[-1] == last
    assert len(taken) == behind + 1
    assert torch.equal(again, state)


def test_a_checkpoint_is_small(tmp_path, often):
    plan, checkpoint = pyramid_plan(patience=4), tmp_path / "x.checkpoint"
    learned = learn_pyramid(plan, checkpoint=checkpoint, checkpoint_seconds=0)
    weights = sum(own.size for name, own in learned.prior.stored.items())
    # the weights, two moments of each and the best ones as float32, and their names
    assert checkpoint.stat().st_size < 4 * 4 * weights + 600 * len(learned.prior.stored)


def test_an_interrupted_command_says_how_to_go_on(folder, often, monkeypatch):
    options = (*PYRAMID, "--steps", "6", "--checkpoint-seconds", "0")
    assert run("learn-prior", "pictures", "-o", "whole.safetensors", *options).exit_code == 0
    usual = learn_hierarchy._crops
    calls = itertools.count()

    def interrupted(*arguments):
        if next(calls) == 2 + trainer.HELD_OUT_BATCHES:
            raise KeyboardInterrupt
        return usual(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(learn_hierarchy, "_crops", interrupted)
        done = run("learn-prior", "pictures", "-o", "whole.safetensors", "-f", *options)
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-2:] == [
        "combiner: note: the same command goes on from whole.checkpoint",
        "combiner: interrupted",
    ]
    left = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert left == ["whole.checkpoint", "whole.md", "whole.safetensors", "whole.svg"]
    before = library.load(folder / "whole.safetensors").id
    (folder / "whole.safetensors").unlink()
    done = run("learn-prior", "pictures", "-o", "whole.safetensors", "-f", *options)
    assert done.exit_code == 0
    assert "whole.checkpoint, every 0 s; resuming from step 2" in " ".join(done.stderr.split())
    assert library.load(folder / "whole.safetensors").id == before
    assert not (folder / "whole.checkpoint").exists()


# cards


def test_the_card_has_a_plot(folder, often):
    options = ("learn-prior", "pictures", "-o", "my own.safetensors", *PYRAMID, "--steps", "6")
    assert run(*options).exit_code == 0
    card = (folder / "my own.md").read_text()
    assert "![cost, bits per picture element, by step](my%20own.svg)" in card
    assert "| step | training cost | held-out cost |" in card
    assert len(re.findall(r"^\| \d+ \| \d\.\d{4} \| \d\.\d{4} \|$", card, re.MULTILINE)) == 3
    picture = (folder / "my own.svg").read_bytes()
    text = "".join(ElementTree.fromstring(picture).itertext())
    for words in ("my own", "training", "held out", "cost, bits per picture element"):
        assert words in text
    assert run(*options, "-f").exit_code == 0
    assert (folder / "my own.svg").read_bytes() == picture


def test_without_a_library_for_plots_the_card_has_one_of_characters(folder, often, monkeypatch):
    monkeypatch.setattr(learning_curves, "can_plot", lambda: False)
    assert run("learn-prior", "pictures", "-o", "p.safetensors", *PYRAMID, "--steps", "6").exit_code == 0
    card = (folder / "p.md").read_text()
    plot = card.split("```")[1].strip().splitlines()
    assert plot[0] == "cost, bits per picture element: ⣀⣀ training  ▄▄ held out"
    assert len(plot) == 1 + 14 + 2
    assert plot[-1].endswith("step 6")
    assert not (folder / "p.svg").exists()


# parts of a step, and processes


def test_the_parts_of_a_step_have_the_gradients_of_the_whole(monkeypatch):
    found = []
    for shards in (1, 2, 4):
        networks, task = toy(1.0, 0.3)
        trainer.train(networks, task, Course(20, 1, "toy", "", shards), None, None, 60.0, Watcher(), ALONE)
        found.append(networks["0"]["only"].first_bias.detach().numpy())
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[2] == pytest.approx(found[0], rel=1e-4)


def test_parts_have_random_numbers_of_their_own():
    one = learn_pyramid(pyramid_plan())
    two = learn_pyramid(pyramid_plan(shards=2))
    assert one.prior.id != two.prior.id
    assert two.reports[-1].cost == pytest.approx(one.reports[-1].cost, rel=0.2)
    with pytest.raises(trainer.UsageError, match="cannot be cut into 4 equal shards"):
        learn_pyramid(pyramid_plan(shards=4))


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "combiner_cli", "learn-prior", *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(("source", "options"), [("pictures", PYRAMID), ("sounds", LAPPED)])
def test_two_processes_learn_the_prior_of_one(folder, source, options):
    options = (*options, "--steps", "3", "--threads", "1")
    one = run("learn-prior", source, "-o", "one.safetensors", *options, "--shards", "2")
    assert one.exit_code == 0, one.output
    two = torchrun(source, "-o", "two.safetensors", *options)
    assert two.returncode == 0, two.stderr
    assert library.load(folder / "two.safetensors").id == library.load(folder / "one.safetensors").id
    assert len(two.stdout.splitlines()) == 1
    assert two.stderr.count("two: what will be learned") == 1
    assert "cpu, 2 processes" in two.stderr
    assert two.stderr.count("two: step 3/3, cost ") == 1
    assert "--shards 2`" in (folder / "two.md").read_text()
    assert not list(folder.glob("*.checkpoint"))
    assert not list(folder.glob(".*"))


def test_what_several_processes_cannot_do_is_told_by_the_first_one(folder, monkeypatch):
    for rank in (0, 1):
        for name in ("RANK", "LOCAL_RANK"):
            monkeypatch.setenv(name, str(rank))
        for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
            monkeypatch.setenv(name, "2")
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        linear = run("learn-prior", "pictures", "-o", "p.safetensors", "--tile", "4")
        uneven = run("learn-prior", "pictures", "-o", "p.safetensors", *PYRAMID, "--shards", "3")
        if rank == 0:
            refused(linear, 2, "a linear prior is learned by one process; start combiner without torchrun")
            refused(uneven, 2, "--shards 3 cannot be shared by 2 processes")
        else:
            assert [linear.exit_code, uneven.exit_code] == [2, 2]
            assert linear.output == uneven.output == ""
    assert not list(folder.glob("p.*"))


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Ranks(own, 4, own % 2, 2).device("cuda") for own in range(4)] == ["cuda:0", "cuda:1"] * 2
    assert Ranks(1, 2, 1, 2).device("cpu") == "cpu"
    assert ALONE.device("cuda") == "cuda"
    for rank in range(3):  # all of them notice
        with pytest.raises(trainer.UsageError, match="3 processes are more than the GPUs of this machine, 2"):
            Ranks(rank, 3, rank, 3).device("cuda")


def together(code):
    """What two processes print that run some code with their ranks; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    whole = "import os, sys\nfrom combiner_cli.ranks import from_environment, joined\n"
    whole += "from combiner_cli.errors import CombinerError, DatasetError\nranks = from_environment()\n"
    whole += f"with joined(ranks, 'cpu'):\n{textwrap.indent(textwrap.dedent(code), '    ')}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", whole],
            env=environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE="2",
                LOCAL_WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    done = [process.communicate(timeout=120) for process in processes]
    return [out for out, _ in done], [err for _, err in done], [process.returncode for process in processes]


def test_values_errors_and_ends_reach_all_processes():
    out, err, codes = together(
        """
        import numpy as np, torch
        from combiner_cli import learner
        print(ranks.shared(lambda: f"made by {ranks.number}"))
        print([own.tolist() for own in ranks.gathered(torch.tensor([ranks.number]))])
        try:
            with ranks.together():
                if ranks.number == 1:
                    raise DatasetError("the second one's")
        except DatasetError as error:
            print("error:", error)
        shape = learner.Shape(2, 1, 1, 1, (4, 4), (0.0,))
        one = learner.Learner(shape, torch.Generator().manual_seed(1))
        networks = torch.nn.ModuleDict({"0": torch.nn.ModuleDict({"only": one})})
        def descend(signals, codes, generator):
            if ranks.number == 1:
                raise MemoryError("of the second one")
            one.first_bias.sum().backward()
            return 0.0
        draw = lambda generator: (np.zeros(2), np.zeros(2, dtype=np.int64))
        task = learner.Task(draw, draw, descend)
        try:
            plan = learner.Course(3, 1, "toy", "", 2)
            learner.train(networks, task, plan, None, None, 60.0, learner.Watcher(), ranks)
        except MemoryError as error:
            print("in a step:", error)
        if ranks.number == 1:
            sys.stdout.flush()
            os._exit(3)
        try:
            ranks.gathered(torch.tensor([1.0]))
        except CombinerError as error:
            print(str(error).partition(" (")[0])
        """
    )
    common = "made by 0\n[[0], [1]]\nerror: the second one's\nin a step: of the second one\n"
    assert out == [f"{common}another process of this learning cannot be reached\n", common], err
    assert codes[1] == 3
    assert codes[0] in (0, -signal.SIGABRT)  # a thread of gloo's may abort at the end, since the other one is gone
