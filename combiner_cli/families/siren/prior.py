"""Priors of the siren family: a factorised Gaussian over the weights of the network of one tile.

Source: Guo et al., "Compression with Bayesian implicit neural representations" (NeurIPS 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...container.file import File
from ...container.header import Fields
from ...errors import DamagedFileError
from ...family import Decoded, Encoded, EncodingOptions, Family, Prior, Report, Target, View
from ...rec import candidates, groups
from ...rec.groups import Stage
from ...signals.kinds import KINDS
from ...signals.signal import Format, Kind, Signal, Tiling, coverage, tiling
from ...system.device import choose_device
from .. import registry
from . import tiles
from .network import Siren

NAME = "siren"
LARGEST_NETWORK = 2**20
GROUP_BITS = (8, 16)

_LARGEST_TILE = 2**22  # points
_LARGEST_FEATURES = 2**28  # features · points of a tile
_LARGEST_FACTOR = 1e6
_MOST_HIDDEN = 64
_MOST_BITS = 64  # of a latent
_SMALLEST_COVERAGE = 16  # a tile is given at least 1/16 of its expected information
_MOST_WEIGHTS = 4  # of a network for each point of a tile, before they count
_RATE_STEP = 1.12  # factor on the rate from a quality to the next
_USUAL_QUALITY = 5  # that of the prior's own rate
_MOST_TOGETHER = 32  # signals
_SMALL_SIGNAL = 2**12  # points up to which signals gain from being encoded together
_POINTS_TOGETHER = 2**15
_MATRIX_FLOATS_TOGETHER = 2**24  # of covariances; some matrices of that size exist


@dataclass(frozen=True, eq=False)
class SirenPrior(Prior):
    """A factorised Gaussian over the weights of the network of one tile.

    Attributes:
        name: for people; the id does not depend on it.
        kind: of the signals that it was learned from.
        network: shape of the network.
        mean: ``(latents,)`` float32.
        deviation: standard deviations, ``(latents,)`` float32, positive.
        information: average KL(posterior, prior) of each latent in training, in 1/256 bit, ``(latents,)`` int32.
        group_bits: 16 (plain groups) or 8 (chained groups): what it was learned for.
        beta: loss = mean squared error + beta · KL in nats, on values in [-1, 1], of training.
    """

    name: str
    kind: Kind
    network: Siren
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    information: npt.NDArray[np.int32]
    group_bits: int
    beta: float

    @property
    def family(self) -> Family:
        """The siren family."""
        return registry.get(NAME)

    @property
    def fields(self) -> Fields:
        """How many bytes a group index has."""
        return (tiles.INDEX_BYTES,)

    @property
    def bits_per_point(self) -> float:
        """Expected information over the points of a tile: the payload's rate at the prior's own number of groups."""
        return float(self.information.sum()) / groups.INFORMATION_UNIT / float(np.prod(self.network.extent))

    def configuration(self) -> dict[str, Any]:
        """Everything but the tensors that decides how a file decodes, as JSON has it."""
        fields = {"kind": self.kind, "group_bits": self.group_bits, "beta": self.beta, "family": NAME}
        return {"network": asdict(self.network), **fields}

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The stored tensors by name."""
        return {"deviation": self.deviation, "information": self.information, "mean": self.mean}

    def rate_at(self, quality: int) -> float:
        """Bits per point at a quality from 1 to 10: the prior's own rate at quality 5, and 12 % more with each step."""
        return self.bits_per_point * _RATE_STEP ** (quality - _USUAL_QUALITY)

    def psnr_range(self) -> None:
        """Not known."""

    def points_rendered(self, signal_format: Format, scale: int = 1) -> int:
        """Points of whole tiles; networks that have many more weights than points count for what they take."""
        layout = self.tiling(signal_format.shape, signal_format.channels)
        points = max(math.prod(layout.extent), self.network.latents // _MOST_WEIGHTS)
        return layout.tiles * points * int(scale ** len(layout.extent))

    def signals_together(self, signal_format: Format, options: EncodingOptions) -> int:
        """How many small signals to encode in one computation; sums of a GPU may depend on how many there are."""
        if signal_format.points > _SMALL_SIGNAL or choose_device(options.device) != "cpu":
            return 1
        count = self.tiling(signal_format.shape, signal_format.channels).tiles
        by_matrices = _MATRIX_FLOATS_TOGETHER // (count * self.network.latents**2)
        return max(1, min(_MOST_TOGETHER, _POINTS_TOGETHER // signal_format.points, by_matrices))

    def encode(
        self, signals: Sequence[Signal], target: Target, options: EncodingOptions, report: Report
    ) -> list[Encoded]:
        """Encode signals of one format in one computation; see :func:`.encoder.encode`."""
        from .encoder import encode

        return encode(self, signals, target, options, report)

    def decode(self, file: File, view: View) -> Decoded:
        """Decode a file; of an index that is not whole, as a damaged file may have it, nothing is known.

        Raises:
            DamagedFileError: the payload does not fit the size of the signal.
        """
        numbers, payload = file.numbers(self.fields)
        layout = self.tiling(file.format.shape, file.format.channels)
        (index_bytes,) = numbers[tiles.INDEX_BYTES.name]
        if not file.intact:
            payload = payload[: len(payload) // index_bytes * index_bytes]
        indices = tiles.unpack_indices(payload, index_bytes)
        if layout.tiles * np.count_nonzero(self.information) > candidates.WIDEST_GROUP * len(indices):
            raise DamagedFileError("the file declares a size that its payload cannot fill; it is damaged")
        chaining = tiles.chaining_of(len(indices), index_bytes)
        counts, latents = tiles.look_up(self.stages(layout), indices, chaining, self.key)

        def render() -> npt.NDArray[np.float64]:
            return self.network.render(self.network_weights(latents[0], layout), view.scale)

        values = tiles.RenderedTiles(layout, file.format.channels, view.scale, render)
        decoded = Decoded(tiles.format_shown(file.format, view), values, counts, class_bytes=0)
        return replace(decoded, latents=latents[0]) if view.keep_latents else decoded

    def tiling(self, shape: tuple[int, ...], channels: int) -> Tiling:
        """Tiles of a signal, one network each.

        Args:
            shape: of the signal.
            channels: of the signal.
        """
        return tiling(shape, channels, self.network.extent, self.network.outputs)

    def stages(self, layout: Tiling) -> tuple[Stage]:
        """The one stage of a signal: the weights of all its tiles, tile after tile.

        A tile that reaches beyond the signal is expected to need information in proportion to the part inside.

        Args:
            layout: tiles of the signal.
        """
        full = int(np.prod(layout.extent))
        inside = np.maximum(coverage(layout), -(-full // _SMALLEST_COVERAGE))
        scaled = -(-self.information.astype(np.int64) * inside[:, None] // full)  # (tiles, latents), rounded up
        return (Stage("weights", scaled.reshape(-1)),)

    def network_weights(self, z: npt.NDArray[np.floating], layout: Tiling) -> npt.NDArray[np.float64]:
        """Weights of the networks of all tiles, ``(tiles, latents)``.

        Args:
            z: whitened latents of all tiles, tile after tile, ``(tiles · latents,)``.
            layout: tiles of the signal.
        """
        whitened = z.astype(np.float64).reshape(layout.tiles, -1)
        return self.mean.astype(np.float64) + self.deviation.astype(np.float64) * whitened  # two roundings


def problem(prior: SirenPrior) -> str | None:
    """Why the values of a prior cannot work, or ``None``; nothing is allocated from them.

    Args:
        prior: of any values at all.
    """
    network = prior.network
    factors = (network.highest_frequency, network.frequency, prior.beta)
    whole = (*network.extent, network.outputs, network.features, network.width, network.hidden)
    points = math.prod(network.extent)
    possible = (
        prior.kind in list(KINDS)
        and KINDS[prior.kind].axes == len(network.extent)
        and type(prior.group_bits) is int
        and prior.group_bits in GROUP_BITS
        and all(type(number) is int and 0 < number <= LARGEST_NETWORK for number in whole)
        and all(type(factor) in (int, float) and 0 < factor <= _LARGEST_FACTOR for factor in factors)
        and network.hidden <= _MOST_HIDDEN
        and network.outputs in ((1, 3) if prior.kind == "image" else (1,))
        and network.features % (2 * len(network.extent)) == 0
        and points <= _LARGEST_TILE
        and network.features * points <= _LARGEST_FEATURES
        and network.latents <= LARGEST_NETWORK
    )
    return _wrong_tensor(prior) if possible else "its configuration is out of range"


def _wrong_tensor(prior: SirenPrior) -> str | None:
    """Why the tensors of a prior cannot work, or ``None``."""
    types = {"mean": np.float32, "deviation": np.float32, "information": np.int32}
    for name, number_type in types.items():
        tensor = getattr(prior, name)
        if tensor.shape != (prior.network.latents,) or tensor.dtype != number_type or not np.isfinite(tensor).all():
            return f"its {name} has a wrong shape, type or value"
    largest = _MOST_BITS * groups.INFORMATION_UNIT
    if (prior.deviation <= 0).any() or (prior.information < 0).any() or (prior.information > largest).any():
        return "a deviation or an information is out of range"
    if not prior.information.any():
        return "it expects no information at all"
    return None
