"""A Gaussian posterior with full covariance for every network: its state, and the linear algebra of its precision.

Nothing here knows what the networks compute: :mod:`.newton` fits such posteriors, :mod:`.conditioning` codes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

_JITTERS = (0.0, 1e-6, 1e-4, 1e-2, 1.0)  # added to a precision that is not positive definite, relative to its trace


@dataclass(frozen=True, eq=False)
class Motion:
    """The means of the posteriors and how they move.

    Attributes:
        mean: of all latents, ``(networks, latents)``; decided ones have their values, pruned ones 0.
        velocity: of the rows, ``(networks, rows)``.
        pace: factor on the step size, at most 1, ``(networks,)``.
        error: expected sum of squared errors at the last good mean, infinite if there is none, ``(networks,)``.
        good: the last mean at which the loss had not risen, ``(networks, latents)``.
    """

    mean: torch.Tensor
    velocity: torch.Tensor
    pace: torch.Tensor
    error: torch.Tensor
    good: torch.Tensor


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Posteriors of the networks of some signals, and what their fit has gathered.

    Rows and columns of all matrices stand for the latents in ``latents``: those not yet decided, and in several
    networks of one signal also some that are.

    Attributes:
        latents: of each network of a signal, no two the same, ``(networks of a signal, rows)`` int64.
        open: 1 for those that are to be coded and not yet decided, ``(networks of a signal, rows)``.
        motion: the means.
        gram: running average of J'J, ``(networks, rows, rows)``, J being the derivative of the output by the latents.
        factor: lower Cholesky factor of the precision gram / s2 + I, ``(networks, rows, rows)``.
        s2: noise variance of each signal, ``(signals,)``.
        initial_s2: the same at the beginning, ``(signals,)``.
        steps: number of samples of J'J so far.
        nats: KL(posterior, prior) of the latents not yet decided of each signal, ``(signals,)``, at the last step.
    """

    latents: torch.Tensor
    open: torch.Tensor
    motion: Motion
    gram: torch.Tensor
    factor: torch.Tensor
    s2: torch.Tensor
    initial_s2: torch.Tensor
    steps: int
    nats: torch.Tensor

    @property
    def signals(self) -> int:
        """Number of signals."""
        return len(self.s2)

    @property
    def mean(self) -> torch.Tensor:
        """Means of all latents, ``(networks, latents)``; decided ones have their values, pruned ones 0."""
        return self.motion.mean

    @property
    def places(self) -> torch.Tensor:
        """Latents of the rows of every network, ``(networks, rows)``."""
        return self.latents.repeat(self.signals, 1)

    @property
    def undecided(self) -> torch.Tensor:
        """1 for the rows of every network that are open, ``(networks, rows)``."""
        return self.open.repeat(self.signals, 1)

    @property
    def noise(self) -> torch.Tensor:
        """Noise variance of every network, ``(networks,)``."""
        return self.s2.repeat_interleave(len(self.latents))

    def by_signal(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over the networks of each signal, ``(signals,)``.

        Args:
            values: of the networks, ``(networks,)``.
        """
        return values.reshape(self.signals, -1).sum(dim=1)


def at_rest(mean: torch.Tensor, places: torch.Tensor) -> Motion:
    """Means that have not moved.

    Args:
        mean: of all latents, ``(networks, latents)``.
        places: latents of the rows, ``(networks, rows)``.
    """
    pace = torch.ones(len(mean), device=mean.device)
    velocity = torch.zeros(places.shape, device=mean.device)
    return Motion(mean, velocity, pace, torch.full_like(pace, torch.inf), mean)


def decide(posterior: Gaussian, values: torch.Tensor, decided: torch.Tensor) -> Gaussian:
    """Give some latents their values and condition the others on them, exactly.

    Rows that no network needs any more are cut off at the end.

    Args:
        posterior: before.
        values: of the rows, ``(networks, rows)``; only those of decided ones matter.
        decided: 1 for rows that are decided now, ``(networks of a signal, rows)``, none of them before.
    """
    now = decided.repeat(posterior.signals, 1)
    means = posterior.mean.gather(1, posterior.places)
    difference = torch.where(now > 0, values - means, 0.0)
    pushed = posterior.factor @ (posterior.factor.mT @ difference[..., None])  # precision · difference
    still_open = posterior.open - decided
    size = still_open.shape[1] - int((still_open.flip(1).cumsum(dim=1) == 0).sum(dim=1).min())
    same = bool(still_open[:, :size].all())  # the factor of the first rows' precision is the first rows of the factor
    after = replace(
        posterior,
        latents=posterior.latents[:, :size],
        open=still_open[:, :size],
        gram=posterior.gram[:, :size, :size].contiguous(),
    )
    factor = posterior.factor[:, :size, :size].contiguous() if same else None
    after = replace(after, factor=cholesky(after.gram, after.noise, after.undecided) if factor is None else factor)
    # the gradient of the quadratic form at the new values, for the latents that are left
    shift = solve(after.factor, -pushed[:, :size, 0] * after.undecided) * after.undecided
    mean = posterior.mean.scatter(1, posterior.places, torch.where(now > 0, values, means))
    mean = mean.scatter_add(1, after.places, shift)  # adds 0 to what is decided
    return replace(after, motion=replace(at_rest(mean, after.places), pace=posterior.motion.pace))


def marginal_factor(posterior: Gaussian, count: int) -> torch.Tensor:
    """Inverse of the last rows of the precision's factor, ``(networks, count, count)`` float64.

    Its transpose times itself is the covariance of these latents with all others integrated out.

    Args:
        posterior: whose.
        count: number of rows.
    """
    first = posterior.factor.shape[1] - count
    corner = posterior.factor[:, first:, first:].double()
    identity = torch.eye(count, dtype=corner.dtype, device=corner.device)
    inverse: torch.Tensor = torch.linalg.solve_triangular(corner, identity.expand_as(corner), upper=False)
    return inverse


def draw(posterior: Gaussian, count: int, generator: torch.Generator) -> torch.Tensor:
    """Deviations of samples from the mean, ``(networks, count, rows)``; 0 for latents already decided.

    Args:
        posterior: to draw from.
        count: number of samples of each network.
        generator: of random numbers, which all networks share.
    """
    size = posterior.latents.shape[1]
    noise = torch.randn(size, count, generator=generator, device=posterior.mean.device)
    shared = noise.expand(len(posterior.mean), -1, -1)
    spread: torch.Tensor = torch.linalg.solve_triangular(posterior.factor.mT, shared, upper=True)
    return spread.mT * posterior.undecided[:, None]


def divergence(posterior: Gaussian, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """KL(posterior, prior) of the latents not yet decided, and about its fall with the logarithm of s2, in nats.

    The trace of the covariance is estimated from samples: with many latents a few samples are enough.

    Args:
        posterior: whose.
        spread: deviations of samples, ``(networks, samples, rows)``.

    Returns:
        Two tensors ``(signals,)``; the second is at least 1.
    """
    undecided = posterior.undecided
    mean = posterior.mean.gather(1, posterior.places) * undecided  # (networks, rows)
    trace = (spread * spread).sum(dim=2).mean(dim=1)  # (networks,)
    logarithm = 2 * posterior.factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    count = undecided.sum(dim=1)
    kl = 0.5 * (trace + (mean * mean).sum(dim=1) - count + logarithm)
    # the part of the covariance and, from above, that of the mean: too small a step does not overshoot
    slope = 0.5 * (count - trace + (mean * mean).sum(dim=1))
    return posterior.by_signal(kl), posterior.by_signal(slope).clamp(min=1.0)


def cholesky(gram: torch.Tensor, noise: torch.Tensor, undecided: torch.Tensor) -> torch.Tensor:
    """Lower Cholesky factor of gram / noise + I, ``(networks, rows, rows)``.

    Rows of decided latents are those of I. Where rounding has left a matrix that is not positive definite, a multiple
    of I is added to it; what is not finite counts as no information at all.

    Args:
        gram: ``(networks, rows, rows)``, not changed.
        noise: variance of each network, ``(networks,)``.
        undecided: 1 for latents not yet decided, ``(networks, rows)``.
    """
    precision = gram / noise[:, None, None]
    if not bool(undecided.all()):
        precision *= undecided[:, :, None] * undecided[:, None]
    diagonal = precision.diagonal(dim1=1, dim2=2)
    diagonal += 1
    factor: torch.Tensor
    factor, failed = torch.linalg.cholesky_ex(precision)
    if not bool((failed != 0).any()):
        return factor
    bad = torch.nonzero(failed)[:, 0]
    factor[bad] = _repaired(precision[bad])
    return factor


def _repaired(precision: torch.Tensor) -> torch.Tensor:
    """Cholesky factors of matrices that have none, with as much of I added as it takes, the same shape."""
    identity = torch.eye(precision.shape[1], device=precision.device, dtype=precision.dtype)
    finite = torch.isfinite(precision).all(dim=2).all(dim=1)
    factors = identity.repeat(len(precision), 1, 1)
    left = finite
    for jitter in _JITTERS:
        scale = precision.diagonal(dim1=1, dim2=2).abs().mean(dim=1)
        tried, failed = torch.linalg.cholesky_ex(precision + (jitter * scale)[:, None, None] * identity)
        good = left & (failed == 0)
        factors[good] = tried[good]
        left = left & (failed != 0)
    return factors


def solve(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """precision⁻¹ · right, ``(networks, rows)``.

    Args:
        factor: of the precision, ``(networks, rows, rows)``.
        right: vectors, ``(networks, rows)``.
    """
    return torch.cholesky_solve(right[..., None], factor)[..., 0]
