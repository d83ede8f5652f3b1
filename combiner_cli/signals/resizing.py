"""Images at other sizes than their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .signal import Rows

_LANCZOS = 3  # samples to each side
_MOST_ROWS = 64  # of a strip


@dataclass(frozen=True, eq=False)
class Resized:
    """An image at another size: the function of the plane that its values describe, at the centres of other samples.

    Between samples it is their Lanczos interpolation. Rows that are asked for by themselves are as in the whole image,
    up to the rounding of float32 and of the place at which they begin, which is exact where a row of the image begins.

    Attributes:
        values: the image, ``(height, width, channels)``.
        size: height and width that are wanted.
    """

    values: Rows
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.size, self.values.shape[2])

    @property
    def multiple(self) -> int:
        """Of how many rows to ask for a multiple, from a multiple of them on."""
        exact = self.size[0] // math.gcd(self.size[0], self.values.shape[0])
        return exact if exact <= _MOST_ROWS else 1

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.float32]:
        from PIL import Image

        (height, width), (first, last, _) = self.values.shape[:2], rows.indices(self.size[0])
        top, bottom = first * height / self.size[0], last * height / self.size[0]
        reach = math.ceil(_LANCZOS * max(1, height / self.size[0])) + 1
        begin = max(math.floor(top) - reach, 0)
        source = self.values[begin : math.ceil(bottom) + reach].astype(np.float32, copy=False)
        box = (0, top - begin, width, bottom - begin)
        parts = [
            np.asarray(Image.fromarray(plane).resize((self.size[1], last - first), Image.Resampling.LANCZOS, box=box))
            for plane in np.moveaxis(source, 2, 0)
        ]
        return np.stack(parts, axis=2)
