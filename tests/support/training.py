"""A training that is quick and easily followed: a number that steps of random length take towards another one."""

from __future__ import annotations

import numpy as np

from combiner_cli.learning.checkpoint import TrainingState
from combiner_cli.learning.report import Measurement
from combiner_cli.learning.trainer import LearnedPrior, ProgressListener, Training, TrainingPlan


class StoppedError(Exception):
    """What stops a learning half-way."""


class Walk(Training):
    """Goes up by random steps; what is held out is best at a height on the way.

    Attributes:
        height: reached so far.
        best: height of the best measurement.
    """

    def __init__(self, seed=1, every=2, held_out_at=None):
        self.height, self.steps_since, self.seed, self.every = 0.0, [], seed, every
        self.held_out_at, self.measured_at = held_out_at, []

    def step(self, number):
        length = float(np.random.default_rng([self.seed, number]).uniform(0.5, 1.5))
        self.height += length
        self.steps_since.append(length)

    def is_measured(self, done):
        return done % self.every == 0

    def measure(self, done):
        self.measured_at.append(done)
        training, self.steps_since = float(np.mean(self.steps_since)), []
        held_out = None if self.held_out_at is None else abs(self.height - self.held_out_at)
        return Measurement(done, training, held_out, {"height": self.height})

    def state(self):
        return TrainingState({"since": self.steps_since}, {"height": np.array(self.height)})

    def restore(self, state):
        self.steps_since = [float(length) for length in state.facts["since"]]
        self.height = float(state.tensors["height"])

    def finished(self, report):
        report(1.0)
        return LearnedPrior(None)


def plan(steps=9, patience=None, fingerprint="of nothing"):
    return TrainingPlan(steps, 1, fingerprint, 1, patience)


class Recorded(ProgressListener):
    """Keeps what it is told, and may stop a learning after a step."""

    def __init__(self, stop_at=None):
        self.steps, self.measurements, self.saves, self.shares, self.stop_at = [], [], [], [], stop_at

    def step(self, done):
        self.steps.append(done)
        if done == self.stop_at:
            raise StoppedError

    def measured(self, measurement):
        self.measurements.append(measurement)

    def saved(self, done):
        self.saves.append(done)

    def finishing(self, share):
        self.shares.append(share)
