"""How the noise of pictures is spread while a trunk is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....stages import shape
from ....stages.moments import OCTAVE
from ....stages.shape import FLAT_PICTURE, LEVELS, PictureShape
from ..encoder import PERCEPTUAL, levels_coarser
from ..training import FINEST_NOISE, random_shape

_PERCEPTUAL_SHARE = 2 / 3  # of the shapes that are not flat


@dataclass(frozen=True)
class NoiseShapes:
    """How the noise of several pictures is spread.

    Attributes:
        shapes: of each.
        device: where the pictures are.
    """

    shapes: tuple[PictureShape, ...]
    device: torch.device

    @staticmethod
    def drawn(pictures: int, generator: np.random.Generator, share: float, device: torch.device) -> NoiseShapes:
        """Random shapes, so large a share of which is not flat."""

        def one() -> PictureShape:
            if generator.random() >= share:
                return FLAT_PICTURE
            return PERCEPTUAL if generator.random() < _PERCEPTUAL_SHARE else random_shape(generator)

        return NoiseShapes(tuple(one() for _ in range(pictures)), device)

    @staticmethod
    def same(pictures: int, noise: PictureShape, device: torch.device) -> NoiseShapes:
        """The same shape for all."""
        return NoiseShapes((noise,) * pictures, device)

    @property
    def chroma(self) -> Tensor:
        """Octaves by which chroma details have more noise, ``(pictures,)``."""
        return torch.tensor([noise.chroma / OCTAVE for noise in self.shapes], device=self.device)

    def coarser(self, noise_levels: Tensor) -> Tensor:
        """The noise levels at which pictures with these shapes take about as much as flat ones at given levels."""
        pairs = zip(noise_levels.tolist(), self.shapes, strict=True)
        shaped = [
            level if noise.flat else min(level - levels_coarser(noise), FINEST_NOISE - noise.finer_at(LEVELS))
            for level, noise in pairs
        ]
        return torch.tensor(shaped)

    def finer_at(self, level: int) -> Tensor:
        """Octaves by which the noise of a level is finer than that of level 0, ``(pictures,)``."""
        return torch.tensor([noise.finer_at(level) / OCTAVE for noise in self.shapes], device=self.device)

    def of_positions(self, luma: Tensor, level: int) -> Tensor:
        """Octaves by which the noise is coarser than the level's at each position, ``(pictures, rows, columns)``.

        Args:
            luma: of the coarser picture in steps, likewise.
            level: number of it.
        """
        masked = [number for number, noise in enumerate(self.shapes) if noise.masks(level)]
        octaves = torch.zeros_like(luma, dtype=torch.float32)
        if masked:
            strengths = np.array([self.shapes[number].masking for number in masked])[:, None, None]
            sixteenths = shape.masking(luma[masked].cpu().numpy(), strengths)
            octaves[masked] = torch.from_numpy(sixteenths).to(self.device).float() / OCTAVE
        return octaves


def octaves_of(values: Tensor) -> Tensor:
    """The logarithm to base 2 that is straight between powers of two; see ``integer_network.octaves``."""
    fraction, exponent = torch.frexp(values)
    return exponent + 2 * fraction - 2
