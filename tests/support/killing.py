"""Commands that are killed, interrupted, or run out of disk: an output is absent or complete, and an old one untouched.

make kill                                                   # fifty moments of each command
PYTHONPATH=tests python -m support.killing --moments 5
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from combiner_cli.media import files as media

from .signals import smooth_image

SEED = 20


@dataclass(frozen=True)
class Command:
    """A command that is stopped in the middle.

    Attributes:
        name: for people.
        arguments: of the program.
        target: what it writes.
        seconds: that it takes if nobody stops it.
    """

    name: str
    arguments: tuple[str, ...]
    target: Path
    seconds: float


@dataclass
class Tally:
    """What was found after a command was stopped so many times."""

    absent: int = 0
    complete: int = 0
    kept: int = 0
    left: int = 0  # temporaries; SIGKILL may leave some, nothing else
    faults: tuple[str, ...] = ()


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "combiner_cli", *map(str, arguments)]


def commands(folder: Path) -> list[Command]:
    """An encode, a decode and a learn-prior of a few seconds, each run once to the end to see how long it takes."""
    media.write_signal(smooth_image(96, 80), folder / "photo.png")
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(3):
        media.write_signal(smooth_image(32, 32, seed=number), pictures / f"{number}.png")
    learning = ("--family", "siren", "--tile", "8", "--width", "8", "--layers", "1", "--features", "8", "--rate", "1")
    learning += ("--rounds", "40", "--steps", "5", "--checkpoint-seconds", "0", "--device", "cpu")
    coded = folder / "photo.cmb"
    wanted = [
        ("encode", ("encode", folder / "photo.png", "-o", coded, "-f", "-e", "2"), coded),
        ("decode", ("decode", coded, "-o", folder / "back.png", "-f"), folder / "back.png"),
        (
            "learn-prior",
            ("learn-prior", pictures, "-o", folder / "mine.safetensors", "-f", *learning),
            folder / "mine.safetensors",
        ),
    ]
    timed = []
    for name, arguments, target in wanted:
        clock = time.perf_counter()
        subprocess.run(program(*arguments), check=True, capture_output=True)
        timed.append(Command(name, tuple(map(str, arguments)), target, time.perf_counter() - clock))
    return timed


def stopped(command: Command, after: float, number: signal.Signals) -> tuple[int, str]:
    """Run a command and send it a signal after so many seconds; its exit status, and what it said."""
    process = subprocess.Popen(program(*command.arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def stop_often(command: Command, moments: int, number: signal.Signals, dice: random.Random, old: bytes | None) -> Tally:
    """Stop a command at random moments.

    Args:
        command: to stop.
        moments: how many.
        number: of the signal.
        dice: chooses the moments.
        old: what the target holds before; ``None`` for nothing.
    """
    tally, right = Tally(), command.target.read_bytes()
    faults = []
    for _ in range(moments):
        command.target.unlink(missing_ok=True)
        if old is not None:
            command.target.write_bytes(old)
        before = names(command.target.parent)
        after = dice.uniform(0, 1.1 * command.seconds)
        status, errors = stopped(command, after, number)
        content = command.target.read_bytes() if command.target.exists() else None
        left = names(command.target.parent) - before - {command.target.name}
        left -= {command.target.with_suffix(suffix).name for suffix in (".checkpoint", ".md")}
        tally.left += len(left)
        if content == right:
            tally.complete += 1
        elif content is None and old is None:
            tally.absent += 1
        elif content == old:
            tally.kept += 1
        else:
            faults.append(f"{command.name} after {after:.2f} s: {len(content or b'')} bytes in the target")
        if left and number != signal.SIGKILL:
            faults.append(f"{command.name} after {after:.2f} s left {sorted(left)}")
        if status not in (0, -number) and not _before_the_program(errors):
            faults.append(f"{command.name} after {after:.2f} s: exit code {status}: {errors[-300:]}")
        for name in left:
            (command.target.parent / name).unlink()
    command.target.write_bytes(right)
    tally.faults = tuple(faults)
    return tally


def _before_the_program(errors: str) -> bool:
    """Whether an interruption came while Python itself was starting, which then ends with exit code 1."""
    return errors.rstrip().endswith("KeyboardInterrupt") and "combiner_cli" not in errors


def kill_while_learning(command: Command, moments: int, dice: random.Random) -> Tally:
    """Kill learning again and again; each time it goes on, and the prior at the end is that of a run in peace."""
    tally, right, faults = Tally(), command.target.read_bytes(), []
    checkpoint = command.target.with_suffix(".checkpoint")
    checkpoint.unlink(missing_ok=True)
    for _ in range(moments):
        if not checkpoint.exists():
            command.target.unlink(missing_ok=True)
        before = steps_in(checkpoint)
        if dice.random() < 0.3:
            status, errors = stopped(command, dice.uniform(0, 1.1) * command.seconds, signal.SIGKILL)
        else:
            status, errors = killed_after_steps(
                command, checkpoint, before + dice.randint(1, 30), dice.uniform(0, 0.02)
            )
        reported = [int(line.split("step ")[1].split("/")[0]) for line in errors.splitlines() if "step " in line]
        if status not in (0, -signal.SIGKILL):
            faults.append(f"exit code {status}: {errors[-300:]}")
        if command.target.exists():  # killed behind the end, perhaps
            tally.complete += 1
            if command.target.read_bytes() != right:
                faults.append("what was learned in pieces is another prior")
            checkpoint.unlink(missing_ok=True)
            continue
        tally.absent += 1
        after = steps_in(checkpoint)
        if status == 0 or after < max([before, *(number - 1 for number in reported)]):
            faults.append(f"steps {reported} were reported, the checkpoint has {after}, before it had {before}")
    checkpoint.unlink(missing_ok=True)
    command.target.write_bytes(right)
    tally.faults = tuple(faults)
    return tally


def killed_after_steps(command: Command, checkpoint: Path, steps: int, later: float) -> tuple[int, str]:
    """Kill learning a little later than its checkpoint has so many steps; its exit status, and what it said."""
    process = subprocess.Popen(program(*command.arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and steps_in(checkpoint) < steps:
        time.sleep(0.01)
    time.sleep(later)
    process.kill()
    _, errors = process.communicate()
    return process.returncode, errors


def steps_in(checkpoint: Path) -> int:
    """Finished steps in a checkpoint; 0 if there is none; −1 if it is damaged."""
    try:
        with safe_open(str(checkpoint), framework="numpy") as content:
            return int(content.metadata()["done"])
    except FileNotFoundError:
        return 0
    except SafetensorError:
        return -1


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def everything(moments: int) -> list[tuple[str, str, int, Tally]]:
    """Command, what happens to it, how often, and what was found."""
    dice, rows = random.Random(SEED), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encode, decode, learn = commands(folder)
        for command in (encode, decode):
            half = moments // 2
            rows.append((command.name, "SIGKILL", half, stop_often(command, half, signal.SIGKILL, dice, None)))
            more = moments - half
            rows.append(
                (command.name, "SIGKILL, with -f", more, stop_often(command, more, signal.SIGKILL, dice, b"mine"))
            )
            rows.append(
                (command.name, "SIGINT, with -f", moments, stop_often(command, moments, signal.SIGINT, dice, b"mine"))
            )
        rows.append((learn.name, "SIGKILL", moments, kill_while_learning(learn, moments, dice)))
        rows.append((learn.name, "SIGINT, with -f", moments, stop_often(learn, moments, signal.SIGINT, dice, b"mine")))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--table", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = everything(options.moments)
    lines = [
        "| command | stopped by | times | target complete | absent | old one untouched | temporaries left | faults |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for command, what, times, tally in rows:
        cells = (command, what, times, tally.complete, tally.absent, tally.kept, tally.left, len(tally.faults))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    table = "\n".join(lines) + "\n"
    print(table)
    for *_, tally in rows:
        for fault in tally.faults:
            print(fault)
    if options.table:
        notes = "`make kill`: signals at random moments of whole commands."
        options.table.write_text(f"# Commands that are stopped\n\n{notes}\n\n{table}")
    sys.exit(any(tally.faults for *_, tally in rows))


if __name__ == "__main__":
    main()
