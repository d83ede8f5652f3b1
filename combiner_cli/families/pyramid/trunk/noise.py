"""How the noise of pictures is spread while a trunk is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ....stages.moments import UNIT

SIXTEENTHS = 16.0  # of an octave: what shapes of noise are counted in
_FINER_LEVELS, _MASKED_LEVELS = 4, 4
_REACH = 2  # positions around one whose spread masks
_LEAST_SPREAD, _MOST_SPREAD = 2.0, 3.0  # deviations of the noise; octaves from the average
_PERCEPTUAL = ((16.0, 8.0, 8.0, 8.0), 0.0, 0.375)


@dataclass(frozen=True)
class NoiseShapes:
    """How the noise of several pictures is spread.

    Attributes:
        finer: sixteenths of an octave by which the deviation of the noise is less in levels 1 to 4 than in the one
            before, ``(pictures, 4)``.
        chroma: sixteenths of an octave by which chroma details have more noise, ``(pictures,)``.
        masking: octaves of the deviation per octave of a local spread over the average, ``(pictures,)``.
    """

    finer: Tensor
    chroma: Tensor
    masking: Tensor

    @staticmethod
    def flat(pictures: int) -> NoiseShapes:
        """The same noise everywhere."""
        return NoiseShapes(torch.zeros(pictures, _FINER_LEVELS), torch.zeros(pictures), torch.zeros(pictures))

    @staticmethod
    def perceptual(pictures: int) -> NoiseShapes:
        """About what is for the eye."""
        finer, chroma, masking = _PERCEPTUAL
        return NoiseShapes(
            torch.tensor([finer]).expand(pictures, -1),
            torch.full((pictures,), chroma),
            torch.full((pictures,), masking),
        )

    @staticmethod
    def drawn(pictures: int, generator: torch.Generator, share: float) -> NoiseShapes:
        """Random shapes, so large a share of which is not flat."""
        shaped, colour, chroma, masked, masking = torch.rand(5, pictures, generator=generator)
        finer = torch.rand(pictures, _FINER_LEVELS, generator=generator) * torch.tensor([28.0, 14.0, 14.0, 14.0])
        chroma = torch.round(24 * chroma - 8) * (colour < 1 / 3)
        some = shaped < share
        return NoiseShapes(
            torch.round(finer) * some[:, None], chroma * some, torch.round(20 * masking) / 32 * (masked < 2 / 3) * some
        )

    def to(self, device: torch.device) -> NoiseShapes:
        """The same on a device."""
        return NoiseShapes(self.finer.to(device), self.chroma.to(device), self.masking.to(device))

    def finer_at(self, level: int) -> Tensor:
        """Octaves by which the noise of a level is finer than that of level 0, ``(pictures,)``."""
        return self.finer[:, :level].sum(dim=1) / SIXTEENTHS

    def of_positions(self, luma: Tensor, level: int) -> Tensor:
        """Octaves by which the noise is coarser than the level's at each position, ``(pictures, rows, columns)``.

        Args:
            luma: of the coarser picture in steps, likewise.
            level: number of it.
        """
        if level >= _MASKED_LEVELS or not bool(self.masking.any()):
            return torch.zeros_like(luma, dtype=torch.float32)
        # about the average distance of a window's samples from their average
        distance = (luma - _averaged(luma)).float().abs()
        spread = _averaged(distance) / UNIT
        octaves = octaves_of(spread.clamp(min=_LEAST_SPREAD)).float()
        over = (octaves - octaves.mean(dim=(1, 2), keepdim=True)).clamp(-_MOST_SPREAD, _MOST_SPREAD)
        return torch.round(self.masking[:, None, None] * over * SIXTEENTHS) / SIXTEENTHS


def octaves_of(values: Tensor) -> Tensor:
    """The logarithm to base 2 that is straight between powers of two; see ``integer_network.octaves``."""
    fraction, exponent = torch.frexp(values)
    return exponent + 2 * fraction - 2


def _averaged(planes: Tensor) -> Tensor:
    """Averages of the windows around every position; the edge is repeated."""
    reach = (_REACH,) * 4
    return functional.avg_pool2d(functional.pad(planes[:, None], reach, mode="replicate"), 2 * _REACH + 1, 1)[:, 0]
