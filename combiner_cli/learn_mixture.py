"""Learning a mixture prior in closed form: phase by phase, assign every tile to a class and update the classes, in turns.

Sources: the update is that of Guo et al. 2023, equation 7, with covariances; the alternation is hard expectation
maximisation (Dempster et al. 1977) with the rate-distortion cost of a tile in the place of its likelihood.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import mixtures
from .mixtures import OCTAVE, PhaseMixture, class_costs, variance_of
from .models.linear import Linear
from .neighbourhood import Canvas, Ring, phase_tiles, phases

Array = npt.NDArray[Any]

_AT_ONCE = 4096
_SHRINKAGE = 250.0  # a class's covariance weighs as many tiles of the average covariance


@dataclass(frozen=True)
class MixturePlan:
    network: Linear
    components: int
    dimensions: int
    context: int
    reach: int
    noise: int
    lowest_noise: int
    rounds: int
    seed: int


def learn_phases(plan: MixturePlan, batches: Sequence[Array], report=print) -> list[PhaseMixture]:
    """batches: arrays (planes, outputs, *shape), whole tiles."""
    generator = np.random.Generator(np.random.Philox(plan.seed))
    ring = Ring(plan.network.extent, plan.reach)
    axes = len(ring.extent)
    counts = [tuple(s // e for s, e in zip(b.shape[2:], ring.extent)) for b in batches]
    canvases = [Canvas(ring, c, np.zeros((*b.shape[:2], *(s + 2 * ring.reach for s in b.shape[2:])), np.float32)) for b, c in zip(batches, counts)]
    for canvas, batch in zip(canvases, batches):
        margin = tuple(slice(ring.reach, -ring.reach) for _ in range(axes))
        canvas.values[(slice(None), slice(None), *margin)] = batch
    originals = [c.tiles().reshape(len(b), -1, plan.network.outputs, math.prod(ring.extent)) for b, c in zip(batches, canvases)]
    for c in canvases: c.values[...] = 0
    learned = []
    for number in range(phases(axes)):
        picks = [phase_tiles(c, number) for c in counts]
        tiles = np.concatenate([o[:, p].reshape(-1, plan.network.outputs, o.shape[-1]) for o, p in zip(originals, picks)])
        context = np.concatenate([c.context(number) for c in canvases])
        weights = plan.network.weights(tiles)
        phase, labels = learn_phase(plan, weights, context, generator, lambda *a: report(number, *a), bool(ring.decoded(number).any()))
        learned.append(phase)
        decoded = plan.network.forward(sample(phase, weights, context, labels, plan.noise, generator))
        done = 0
        for canvas, pick, b in zip(canvases, picks, batches):
            n = len(b) * len(pick)
            canvas.place(number, np.clip(decoded[done:done + n].reshape(len(b), len(pick), plan.network.outputs, -1), -1, 1))
            done += n
    return learned


def learn_phase(plan, weights, context, generator, report, has_context):
    # learned matrix: principal directions of what the context does not explain
    count = len(weights)
    mean = weights.mean(axis=0)
    cbasis = _principal(context - context.mean(axis=0), plan.context)[0] if has_context else np.zeros((context.shape[1], 0), np.float32)
    c = (context - context.mean(axis=0)) @ cbasis
    gain = _regress(c, weights - mean)
    residual = weights - mean - c @ gain
    projection, variances = _principal(residual, plan.dimensions)
    y = weights @ projection
    outside = np.maximum((weights**2).sum(axis=1) - (y**2).sum(axis=1), 0)
    # the mean's part outside of the projection counts as error
    labels = _initial(residual @ projection, variances, plan, generator)
    c = context @ cbasis
    phase = None
    for turn in range(plan.rounds):
        phase = _update(plan, y, c, labels)
        costs_sum = 0.0
        changed = 0
        for first in range(0, count, _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            costs = class_costs(y[some] - c[some] @ phase.gain, outside[some], phase, plan.noise)
            new = costs.argmin(axis=1)
            changed += int((new != labels[some]).sum())
            labels[some] = new
            costs_sum += float(costs[np.arange(len(new)), new].sum())
        sizes = np.bincount(labels, minlength=plan.components)
        report(turn, costs_sum / count, changed / count, sizes.min(), len(phase.levels))
        _refill(labels, sizes, generator)
    phase = _update(plan, y, c, labels)
    phase = PhaseMixture(projection, (cbasis @ phase.gain).astype(np.float32), phase.mean, phase.first, phase.directions, phase.levels)
    return phase, labels


def _refill(labels, sizes, generator):
    """A class that lost its tiles takes half of the largest."""
    for empty in np.flatnonzero(sizes < 50):
        big = int(sizes.argmax())
        members = np.flatnonzero(labels == big)
        moved = generator.permutation(members)[: len(members) // 2]
        labels[moved] = empty
        sizes[empty] += len(moved)
        sizes[big] -= len(moved)


def _update(plan, y, c, labels):
    k = plan.components
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(k + 1))
    sizes = np.diff(bounds)
    means_y = np.zeros((k, y.shape[1]), np.float32)
    means_c = np.zeros((k, c.shape[1]), np.float32)
    for n in range(k):
        rows = order[bounds[n]:bounds[n + 1]]
        if len(rows):
            means_y[n], means_c[n] = y[rows].mean(axis=0), c[rows].mean(axis=0)
    within_c = c - means_c[labels]
    gain = _regress(within_c, y - means_y[labels])
    mean = means_y - means_c @ gain
    residual = y - c @ gain - mean[labels]
    average = residual.T @ residual / len(y)
    first, directions, levels = [0], [], []
    for n in range(k):
        part = residual[order[bounds[n]:bounds[n + 1]]]
        covariance = (part.T @ part + _SHRINKAGE * average) / (sizes[n] + _SHRINKAGE)
        values, vectors = np.linalg.eigh(covariance)
        level = np.rint(OCTAVE * np.log2(np.maximum(values, 1e-12))).astype(np.int64)
        kept = np.flatnonzero(level > plan.lowest_noise)[::-1]
        directions.append(vectors[:, kept].T)
        levels.append(level[kept])
        first.append(first[-1] + len(kept))
    return PhaseMixture(np.zeros((0, 0)), gain, mean, np.array(first), np.concatenate(directions).astype(np.float32), np.concatenate(levels))


def _regress(c, y):
    if c.shape[1] == 0:
        return np.zeros((0, y.shape[1]), np.float32)
    gram = (c.T @ c).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram) + 1e-9
    return np.linalg.solve(gram, (c.T @ y).astype(np.float64)).astype(np.float32)


def _principal(values, most):
    gram = (values.T @ values).astype(np.float64) / len(values)
    found, vectors = np.linalg.eigh(gram)
    kept = np.argsort(-found)[: min(most, len(found))]
    return np.ascontiguousarray(vectors[:, kept]).astype(np.float32), found[kept]


def _initial(residual, variances, plan, generator):
    """k-means on compressed magnitudes: textures of both signs fall together."""
    feature = np.abs(residual[:, :48]) ** 0.5
    n, k = len(feature), plan.components
    centres = feature[generator.choice(n, k, replace=False)]
    labels = np.zeros(n, np.int64)
    for _ in range(5):
        for first in range(0, n, 16384):
            some = slice(first, first + 16384)
            d = (centres**2).sum(1) - 2 * feature[some] @ centres.T
            labels[some] = d.argmin(1)
        sizes = np.bincount(labels, minlength=k)
        for j in range(k):
            if sizes[j]:
                centres[j] = feature[labels == j].mean(0)
    return labels


def posterior(phase, weights, context, labels, noise):
    """coefficients, prior mean per tile"""


def sample(phase, weights, context, labels, noise, generator):
    """decoded weights of a posterior sample (simulation of decoding)"""
    s2 = float(variance_of(noise))
    base = context @ phase.gain + phase.mean[labels]
    y = weights @ phase.projection - base
    out = base.copy()
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        part = phase.of_class(int(k))
        use = phase.levels[part] > noise
        e = phase.directions[part][use]
        v = variance_of(phase.levels[part][use])
        z = y[rows] @ e.T
        z = z * ((v - s2) / v) + generator.standard_normal(z.shape) * np.sqrt(s2 * (v - s2) / v)
        out[rows] += (z @ e).astype(np.float32)
    return out @ phase.projection.T
