"""What the networks of a trunk carry along from one step of a level to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt


@dataclass(eq=False)
class TrunkState:
    """The trunk of a level, as far as that is decoded.

    Attributes:
        handed: the coarser level's stream at its end, where there is one.
        coarser_masking: sixteenths of an octave by which the noise of the level before is coarser than its own at each
            unit, ``(unit rows, unit columns)``; ``None`` where it nowhere is.
        stream: of the level; ``None`` before it has begun.
        kept: what networks see of rows of units, by the first of them, where it is worth keeping.
    """

    handed: npt.NDArray[Any] | None = None
    coarser_masking: npt.NDArray[Any] | None = None
    stream: npt.NDArray[Any] | None = None
    kept: dict[int, Any] = field(default_factory=dict)
