"""The one trainer: when it measures and saves, where it goes on, how it ends early, and what signals do to it."""

import itertools
import math
import os
import signal
import threading
import time

import pytest
from support.training import Recorded, StoppedError, Walk, plan

from combiner_cli.errors import DamagedFileError, DatasetError, OutputError, UsageError
from combiner_cli.learning import trainer
from combiner_cli.learning.checkpoint import CheckpointFile
from combiner_cli.learning.distributed import Device, ProcessGroup
from combiner_cli.learning.report import Measurement
from combiner_cli.learning.trainer import train


@pytest.fixture
def checkpoint(tmp_path):
    return CheckpointFile(tmp_path / "x.checkpoint", 0.0)


def test_all_steps_are_taken_and_measured_at_their_time_and_after_the_last_one():
    walk, seen = Walk(every=4), Recorded()
    measurements = train(walk, plan(9), seen)
    assert seen.steps == list(range(1, 10))
    assert walk.measured_at == [4, 8, 9]
    assert [measurement.number for measurement in measurements] == [4, 8, 9]
    assert tuple(seen.measurements) == measurements
    assert seen.saves == []


def test_the_state_is_saved_before_the_first_step_and_then_now_and_then(tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(trainer.time, "monotonic", lambda: next(clock))
    seen = Recorded()
    train(Walk(), plan(9), seen, CheckpointFile(tmp_path / "x", 2.5))
    assert seen.saves[0] == 0
    assert seen.saves[-1] == 9
    assert 3 < len(seen.saves) < 10


@pytest.mark.parametrize("stop_at", range(1, 10))
def test_a_stopped_learning_goes_on_and_ends_like_a_whole_one(checkpoint, stop_at):
    walk = Walk(every=4)
    measurements = train(walk, plan())
    with pytest.raises(StoppedError):
        train(Walk(every=4), plan(), Recorded(stop_at), checkpoint)
    resumed, seen = Walk(every=4), Recorded()
    assert train(resumed, plan(), seen, checkpoint) == measurements
    assert seen.steps == list(range(stop_at, 10))  # the checkpoint is from before the step that failed
    assert resumed.height == walk.height
    again = Walk(every=4)
    assert train(again, plan(), seen, checkpoint) == measurements  # nothing is left to be done
    assert len(seen.steps) == 10 - stop_at
    assert again.height == walk.height


def test_a_checkpoint_of_something_else_or_of_nothing_is_refused(checkpoint):
    train(Walk(), plan(), None, checkpoint)
    with pytest.raises(DatasetError, match="other data or settings; remove it"):
        train(Walk(), plan(fingerprint="of something else"), None, checkpoint)
    whole = checkpoint.path.read_bytes()
    for bad in (b"", b"nonsense", whole[:-1], whole[: len(whole) // 2], whole[8:]):
        checkpoint.path.write_bytes(bad)
        with pytest.raises(DamagedFileError, match="remove it to start anew"):
            train(Walk(), plan(), None, checkpoint)
        assert checkpoint.path.read_bytes() == bad


def test_a_state_that_does_not_fit_is_damage(checkpoint, monkeypatch):
    train(Walk(), plan(), None, checkpoint)
    monkeypatch.setattr(Walk, "restore", lambda self, state: state.tensors["no such thing"])
    with pytest.raises(DamagedFileError, match="no such thing"):
        train(Walk(), plan(), None, checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_noticed_before_any_step(tmp_path):
    seen = Recorded()
    with pytest.raises(OutputError, match="choose another place"):
        train(Walk(), plan(), seen, CheckpointFile(tmp_path / "nowhere" / "x"))
    assert seen.steps == []


def test_learning_ends_when_what_is_held_out_gets_no_better():
    walk = Walk(every=1, held_out_at=5.0)
    measurements = train(walk, plan(60, patience=3))
    costs = [measurement.held_out for measurement in measurements]
    best = costs.index(min(costs))
    assert len(costs) == best + 4 < 60
    assert trainer.best_measurement(measurements) == measurements[best]
    assert len(train(Walk(every=1, held_out_at=5.0), plan(60))) == 60


@pytest.mark.parametrize("behind", [1, 3, 4])
def test_an_early_end_is_the_same_after_an_interruption(checkpoint, behind):
    settings = plan(60, patience=3)
    measurements = train(Walk(every=1, held_out_at=5.0), settings)
    with pytest.raises(StoppedError):
        train(Walk(every=1, held_out_at=5.0), settings, Recorded(len(measurements) - behind), checkpoint)
    for _ in range(2):  # and once more from its end
        assert train(Walk(every=1, held_out_at=5.0), settings, None, checkpoint) == measurements


def test_the_best_measurement_is_the_first_of_the_lowest():
    def made(*costs):
        return [Measurement(number, 1.0, cost) for number, cost in enumerate(costs)]

    assert trainer.best_measurement(made(3.0, 1.0, 1.0, math.nan)).number == 1
    assert trainer.best_measurement(made(None, math.nan)) is None
    assert trainer.best_measurement([]) is None


def test_parts_that_the_processes_cannot_share_are_refused():
    with pytest.raises(UsageError, match="1 shards cannot be shared by 2 processes"):
        train(Walk(), plan(), device=Device(processes=ProcessGroup(0, 2)))


class Signalled(Recorded):
    """Sends signals to this process after some steps."""

    def __init__(self, number, *at, pause=0.0):
        super().__init__()
        self.number, self.at, self.pause = number, at, pause

    def step(self, done):
        super().step(done)
        if done in self.at:
            os.kill(os.getpid(), self.number)
            time.sleep(self.pause)


@pytest.fixture
def terminated(monkeypatch):
    """SIGTERM ends the program as it does on the command line."""

    def terminate(*_):
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("terminated")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_waits_until_the_step_is_saved(checkpoint, number, error):
    seldom = CheckpointFile(checkpoint.path, 3600.0)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    seen = Signalled(number, 5)
    with pytest.raises(error):
        train(Walk(every=4), plan(), seen, seldom)
    assert seen.steps == [1, 2, 3, 4, 5]
    assert seen.saves == [0, 5]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    whole, resumed, later = Walk(every=4), Walk(every=4), Recorded()
    assert train(resumed, plan(), later, seldom) == train(whole, plan())
    assert later.steps == [6, 7, 8, 9]
    assert resumed.height == whole.height


def test_a_signal_in_the_last_step_is_obeyed_when_all_is_saved(checkpoint):
    seen = Signalled(signal.SIGINT, 9)
    with pytest.raises(KeyboardInterrupt):
        train(Walk(), plan(), seen, checkpoint)
    assert seen.saves[-1] == 9


def test_a_second_signal_a_moment_later_does_not_wait(checkpoint, monkeypatch):
    monkeypatch.setattr(trainer, "_SOON", 0.0)

    class Twice(Signalled):
        def step(self, done):
            super().step(done)
            super().step(done)

    seen = Twice(signal.SIGINT, 5)
    with pytest.raises(KeyboardInterrupt):
        train(Walk(), plan(), seen, checkpoint)
    assert seen.saves[-1] == 4


def test_a_signal_that_comes_twice_at_once_counts_once(checkpoint):
    """As torchrun passes on what the terminal has sent to all processes already."""

    class Twice(Signalled):
        def step(self, done):
            super().step(done)
            super().step(done)

    seen = Twice(signal.SIGINT, 5)
    with pytest.raises(KeyboardInterrupt):
        train(Walk(), plan(), seen, checkpoint)
    assert seen.saves[-1] == 5


def test_a_signal_that_is_ignored_ends_the_learning_all_the_same(checkpoint):
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Walk(), plan(), Signalled(signal.SIGINT, 5), checkpoint)
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_are_left_alone_outside_the_main_thread():
    handlers, seen = [], []

    class Looking(Recorded):
        def step(self, done):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: seen.append(train(Walk(), plan(), Looking())))
    thread.start()
    thread.join()
    assert len(seen[0]) == 5
    assert set(handlers) == {signal.getsignal(signal.SIGINT)}
