"""Cards: what a prior was learned from, how, and what it reached, as a Markdown page beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..families.linear.learning import LearnedMixture, MixturePlan
from ..families.siren.covariances import CovariancePrior
from ..priors.library import Prior

if TYPE_CHECKING:
    from ..families.lapped.learning import LappedPlan, LearnedLapped
    from ..families.pyramid.learning import LearnedPyramid, PyramidPlan
    from ..families.siren.learning import Plan, RoundReport
    from .trainer import StepReport


def card(
    prior: Prior | CovariancePrior,
    plan: Plan,
    command: str,
    data: str,
    tiles: tuple[int, int],
    reports: Sequence[RoundReport],
    spent: str,
    plot: str,
) -> str:
    """The card's text.

    Args:
        prior: finished.
        plan: its settings.
        command: that made it.
        data: description of the data set.
        tiles: number of training and held-out tiles.
        reports: of all rounds.
        spent: time and memory of this run, which may have gone on from a checkpoint.
        plot: of the course of learning, in Markdown.
    """
    network, unit = prior.network, "bits per pixel" if prior.kind == "image" else "bits per sample"
    last = reports[-1]
    if isinstance(prior, Prior):
        coded = f"of which\n  {np.count_nonzero(prior.information)}"
        form, more = f"Groups: {prior.group_bits} bits each", ""
    else:
        coded = f"in which\n  {' to '.join(str(n) for n in sorted({prior.fewest, prior.directions}))} directions"
        form = f"Classes: {prior.classes}, each with a full covariance"
        more = f" and {plan.turns} turns with full covariances"
    milestones = [report for report in reports if report.number in {1, 2, 4, 8, last.number} or report.number % 16 == 0]
    table = "\n".join(
        f"| {r.number} | {r.bits_per_point:.4f} | {r.psnr:.2f} | {r.held_out_bits_per_point:.4f} "
        f"| {r.held_out_psnr:.2f} | {r.beta:.3g} |"
        for r in milestones
    )
    return f"""# {prior.name}

A prior of the `{prior.family}` family for {prior.kind}s, id `{prior.id:08x}`.

- Data: {data}; {tiles[0]} training tiles of {"x".join(str(n) for n in network.extent)} and {tiles[1]} held out.
- Command: `{command}`
- Network: {network.features} Fourier features up to frequency {network.highest_frequency:g}, {network.hidden} hidden
  layers of width {network.width}, {network.outputs} outputs: {network.latents} weights, {coded} carry
  information and are coded.
- {form}. Loss: mean squared error + {prior.beta:.4g} · KL.
- Rate: {prior.bits_per_point:.4f} {unit} for the group indices.
- Learned with {plan.rounds} rounds of {plan.steps} steps{more}; {spent}.

Rate ({unit}) and PSNR (dB) of samples of the posteriors, before coding:

{plot}

| round | training rate | training PSNR | held-out rate | held-out PSNR | beta |
|---|---|---|---|---|---|
{table}
"""


def mixture_card(plan: MixturePlan, learned: LearnedMixture, command: str, data: str, spent: str, plot: str) -> str:
    """The text of a mixture prior's card.

    Args:
        plan: settings of the learning.
        learned: its result.
        command: that made it.
        data: description of the data set.
        spent: time and memory of this run, which may have gone on from a checkpoint.
        plot: of the course of learning, in Markdown.
    """
    prior = learned.prior
    unit = "bits per pixel" if prior.kind == "image" else "bits per sample"
    rounds = "\n".join(
        f"| {r.phase} | {r.number} | {r.cost:.4f} | {100 * r.changed:.1f} % | {r.smallest} |" for r in learned.reports
    )
    curve = "\n".join(f"| {code} | {rate:.4f} | {psnr:.2f} |" for code, rate, psnr in learned.curve)
    megabytes = sum(tensor.nbytes for tensor in prior.tensors().values()) / 1e6
    return f"""# {prior.name}

A mixture prior of the `{prior.family}` family for {prior.kind}s, id `{prior.id:08x}`, {megabytes:.1f} MB.

- Data: {data}.
- Command: `{command}`
- Network: no hidden layer, {prior.network.latents} cosine features of tiles of
  {"x".join(str(n) for n in prior.network.extent)}, {plan.dimensions} directions of the learned matrix.
- Mixture: {plan.components} classes for each of {len(prior.counts)} phases, {plan.covariance} covariances,
  {len(prior.levels)} directions in all; the mean depends on {prior.context_projection.shape[2]} dimensions
  of the {prior.reach} samples around a tile.
- Learned with {plan.rounds} rounds per phase; {spent}.

Rate ({unit}) and PSNR (dB) of posterior samples of held-out signals, before coding:

| noise code | rate | PSNR |
|---|---|---|
{curve}

Cost of a training tile (KL + squared error / (2 · s2), bits over its points, up to a constant):

{plot}

| phase | round | cost | changed class | smallest class |
|---|---|---|---|---|
{rounds}
"""


def pyramid_card(plan: PyramidPlan, learned: LearnedPyramid, command: str, data: str, spent: str, plot: str) -> str:
    """The text of a pyramid prior's card.

    Args:
        plan: settings of the learning.
        learned: its result.
        command: that made it.
        data: description of the data set.
        spent: time and memory of this run, which may have gone on from a checkpoint.
        plot: of the course of learning, in Markdown.
    """
    prior = learned.prior
    size = sum(tensor.nbytes for tensor in prior.tensors().values())
    curve = "\n".join(f"| {code} | {rate:.4f} | {psnr:.2f} |" for code, rate, psnr in learned.curve)
    costs = _costs(learned.reports)
    ending, parts = _ending(plan.patience, learned.reports), f" in {plan.shards} parts" if plan.shards > 1 else ""
    before = "" if plan.start is None else f" on from the prior {plan.start:08x}"
    return f"""# {prior.name}

A prior of the `{prior.family}` family for {prior.kind}s, id `{prior.id:08x}`, {size / 1e6:.1f} MB.

- Data: {data}.
- Command: `{command}`
- Networks that foretell moments and activity, two hidden layers each: {_widths(plan.fine)} units
  in the two finest levels, {_widths(plan.coarse)} in the others (luma, chroma, activity).
- Learned{before} with {plan.steps} steps of {plan.pictures} crops of {plan.crop}x{plan.crop}{parts}, noise codes
  {plan.noise_codes[0]} to {plan.noise_codes[1]}; {spent}.

Rate (bits per pixel, KL and classes) and PSNR (dB) of posterior samples of held-out pictures, before coding:

| noise code | rate | PSNR |
|---|---|---|
{curve}

Cost of a picture (KL + class bits + squared error / (2 · s2), weighted, bits per picture element), of those of the
last steps and of held-out ones{ending}:

{plot}

| step | training cost | held-out cost |
|---|---|---|
{costs}
"""


def lapped_card(plan: LappedPlan, learned: LearnedLapped, command: str, data: str, spent: str, plot: str) -> str:
    """The text of a lapped prior's card; for the arguments see :func:`pyramid_card`."""
    prior = learned.prior
    size = sum(tensor.nbytes for tensor in prior.tensors().values())
    curve = "\n".join(
        f"| {code} | {rate:.4f} | {rate * prior.sample_rate / 1000:.2f} | {psnr:.2f} |"
        for code, rate, psnr in learned.curve
    )
    costs = _costs(learned.reports)
    ending, parts = _ending(plan.patience, learned.reports), f" in {plan.shards} parts" if plan.shards > 1 else ""
    before = "" if plan.start is None else f" on from the prior {plan.start:08x}"
    hops = " or ".join(str(hop) for hop in prior.hops)
    channels = "single channels and pairs" if prior.channels > 1 else "single channels"
    return f"""# {prior.name}

A prior of the `{prior.family}` family for {prior.kind}s, id `{prior.id:08x}`, {size / 1e6:.1f} MB.

- Data: {data}; {channels} at {prior.sample_rate} Hz.
- Command: `{command}`
- Frames of {hops} samples. Networks that foretell moments and activity, two hidden layers each:
  {_widths([plan.detail, plan.activity])} units.
- Learned{before} with {plan.steps} steps of {plan.stretches} stretches of {plan.length} samples{parts}, noise codes
  {plan.noise_codes[0]} to {plan.noise_codes[1]}; {spent}.

Rate (bits per sample instant, kbit/s; KL and classes) and PSNR (dB) of posterior samples of held-out recordings,
before coding:

| noise code | rate | kbit/s | PSNR |
|---|---|---|---|
{curve}

Cost of a stretch (KL + class bits + squared error / (2 · s2), bits per weight), of those of the last steps and of
held-out ones{ending}:

{plot}

| step | training cost | held-out cost |
|---|---|---|
{costs}
"""


def _costs(reports: Sequence[StepReport]) -> str:
    """About twenty rows of a table, the last report among them."""
    every = max(1, len(reports) // 20)
    rows = [(own, "–" if own.held_out is None else f"{own.held_out:.4f}") for own in reports[::-1][::every]]
    return "\n".join(f"| {own.number} | {own.cost:.4f} | {held_out} |" for own, held_out in reversed(rows))


def _ending(patience: int | None, reports: Sequence[StepReport]) -> str:
    """Which state became the prior, where it may not be the last one."""
    from .trainer import best_report

    best = best_report(reports)
    return "" if patience is None or best is None else f"; the prior is the state of step {best.number}, the best one"


def _widths(hidden: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first} and {second}" for first, second in hidden)
