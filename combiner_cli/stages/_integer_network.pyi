"""The types of the extension module."""

import numpy as np
from numpy.typing import NDArray

from .integer_network import Packed

SUPPORTED: int  # whether the processor has what it takes

def run(
    features: NDArray[np.float64],
    first: Packed,
    second: Packed,
    third: Packed,
    linear: Packed,
    results: NDArray[np.float64],
    /,
) -> bool: ...
