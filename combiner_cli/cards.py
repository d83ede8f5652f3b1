"""Cards: what a prior was learned from, how, and what it reached, as a Markdown page beside it."""

from __future__ import annotations

from collections.abc import Sequence

from .learn import Plan, RoundReport
from .priors import Prior


def card(
    prior: Prior,
    plan: Plan,
    command: str,
    data: str,
    tiles: tuple[int, int],
    reports: Sequence[RoundReport],
    seconds: float,
) -> str:
    """The card's text.

    Args:
        prior: finished.
        plan: its settings.
        command: that made it.
        data: description of the data set.
        tiles: number of training and held-out tiles.
        reports: of all rounds.
        seconds: of this run, which may have gone on from a checkpoint.
    """
    network, unit = prior.network, "bits per pixel" if prior.kind == "image" else "bits per sample"
    last = reports[-1]
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
  layers of width {network.width}, {network.outputs} outputs: {network.latents} weights, of which
  {int((prior.information > 0).sum())} carry information and are coded.
- Groups: {prior.group_bits} bits each. Loss: mean squared error + {prior.beta:.4g} · KL.
- Rate: {prior.bits_per_point:.4f} {unit} for the group indices.
- Learned with {plan.rounds} rounds of {plan.steps} steps; {seconds:.0f} s in the last run.

Rate ({unit}) and PSNR (dB) of samples of the posteriors, before coding:

| round | training rate | training PSNR | held-out rate | held-out PSNR | beta |
|---|---|---|---|---|---|
{table}
"""
