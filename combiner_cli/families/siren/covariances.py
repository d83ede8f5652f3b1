"""Gaussians with covariances, and mixtures of them, as the prior of the weights of networks with hidden layers.

The weights of a tile are mean + basis · z of the class that the tile names, with standard normal z. The columns of a
basis are the directions in which the posteriors of the training tiles were narrower than the prior. All others carry no
information: the weights stay at the mean there, and neither search nor decoding sees them. The update that such a prior
is learned with is that of Guo et al. 2023, equation 7, with covariances in the place of variances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import family as identity
from ...rec import groups
from ...rec.groups import Stage
from ...signals.signal import Kind, Tiling, coverage, tiling
from .network import FAMILY, Siren

Array = npt.NDArray[Any]

GROUP_BITS = 8  # such a prior goes with chained groups only
MOST_CLASSES = 4096
_MOST_ENTRIES = 2**25  # of the bases of all classes
_MOST_BITS = 64  # of a latent
_SMALLEST_COVERAGE = 16  # a tile is given at least 1/16 of its expected information


@dataclass(frozen=True, eq=False)
class CovariancePrior(identity.Identified):
    """A mixture of Gaussians with covariances over the weights of the network of one tile.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals it was learned from.
        network: shape of the network.
        beta: loss = mean squared error + beta · KL in nats, on values in [-1, 1], of training.
        mean: weights of each class where the latents are 0, ``(classes, weights)`` float32.
        basis: weights by latents, a deviation long each, ``(classes, weights, directions)`` float16; a class with fewer
            directions than another ends in columns of zeros.
        information: average KL(posterior, prior) of each latent in training, in 1/256 bit,
            ``(classes, directions)`` int32.
        family: name of the family.
    """

    name: str
    kind: Kind
    network: Siren
    beta: float
    mean: npt.NDArray[np.float32]
    basis: npt.NDArray[np.float16]
    information: npt.NDArray[np.int32]
    family: str = FAMILY

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.mean)

    @property
    def class_bits(self) -> int:
        """Bits of the number of a class."""
        return (self.classes - 1).bit_length()

    @property
    def directions(self) -> int:
        """Latents of a tile, those that its class has no use for included."""
        return int(self.information.shape[1])

    @property
    def fewest(self) -> int:
        """Coded latents of a tile of the class that has fewest."""
        return int(np.count_nonzero(self.information, axis=1).min())

    @property
    def bits_per_point(self) -> float:
        """Expected information over the points of a tile, average of the classes."""
        bits = float(self.information.sum()) / groups.INFORMATION_UNIT / self.classes
        return bits / float(np.prod(self.network.extent))

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """Tiles of a signal, one network each."""
        return tiling(shape, channels, self.network.extent, self.network.outputs)

    def stages(
        self,
        layout: Tiling,
        classes: npt.NDArray[np.int64],
        noise: int = 0,
    ) -> tuple[Stage, ...]:
        """The stages of a signal: the latents of all its tiles, tile after tile. There is no noise level.

        A tile that reaches beyond the signal is expected to need information in proportion to the part inside.

        Args:
            layout: tiles of the signal.
            classes: of the tiles, ``(tiles,)``.
            noise: not used.
        """
        full = int(np.prod(layout.extent))
        inside = np.maximum(coverage(layout), -(-full // _SMALLEST_COVERAGE))
        scaled = -(-self.information.astype(np.int64)[classes] * inside[:, None] // full)  # (tiles, directions)
        return (Stage("weights", scaled.reshape(-1)),)

    def network_weights(
        self,
        z: Sequence[Array],
        layout: Tiling,
        classes: npt.NDArray[np.int64],
        noise: int = 0,
    ) -> npt.NDArray[np.float64]:
        """Weights of the networks of all tiles, ``(tiles, weights)``, from the whitened latents of the one stage."""
        whitened = z[0].astype(np.float64).reshape(layout.tiles, self.directions)
        weights = self.mean.astype(np.float64)[classes]  # (tiles, weights)
        for number in np.unique(classes):
            own = classes == number
            weights[own] += whitened[own] @ self.basis[number].astype(np.float64).T
        return weights

    def render(self, weights: npt.NDArray[np.float64], scale: int = 1) -> npt.NDArray[np.float64]:
        """Values of tiles from their weights, ``(tiles, outputs, points)``; see :meth:`Siren.render`."""
        return self.network.render(weights, scale)

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = {name: getattr(self, name) for name in ("kind", "beta", "family")}
        return {"network": {**asdict(self.network), "extent": list(self.network.extent)}, **fields}

    def tensors(self) -> dict[str, Array]:
        """The stored tensors by name."""
        return {"basis": self.basis, "information": self.information, "mean": self.mean}


def whole_information(bits: npt.NDArray[np.floating[Any]], pruned_below: float) -> npt.NDArray[np.int32]:
    """Information as a prior stores it: in 1/256 bit, 0 for what is below a limit in bits; the same shape."""
    whole = np.rint(np.minimum(bits, GROUP_BITS) * groups.INFORMATION_UNIT)
    information: npt.NDArray[np.int32] = whole.astype(np.int32)
    information[bits < pruned_below] = 0
    found: npt.NDArray[np.int32] = information
    return found


def problem(prior: CovariancePrior) -> str | None:
    """Why the tensors of a prior cannot work, or ``None``; its network and configuration are checked elsewhere."""
    if prior.mean.ndim != 2 or prior.information.ndim != 2:
        return "its mean or information has a wrong shape, type or value"
    classes, directions = prior.information.shape
    weights = prior.network.latents
    if not (1 <= classes <= MOST_CLASSES and 1 <= directions <= weights):
        return "its number of classes or directions is out of range"
    if classes * weights * directions > _MOST_ENTRIES:
        return "its bases are too large"
    shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "mean": (np.float32, (classes, weights)),
        "basis": (np.float16, (classes, weights, directions)),
        "information": (np.int32, (classes, directions)),
    }
    for name, (kind, shape) in shapes.items():
        tensor = getattr(prior, name)
        if tensor.shape != shape or tensor.dtype != kind or not np.isfinite(tensor).all():
            return f"its {name} has a wrong shape, type or value"
    if (prior.information < 0).any() or (prior.information > _MOST_BITS * groups.INFORMATION_UNIT).any():
        return "an information is out of range"
    if not prior.information.any(axis=1).all():
        return "it expects no information at all of a class"
    return None
