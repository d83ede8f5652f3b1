"""Which code to run where there are two versions of the same: in C, if the package was built with a compiler, or numpy.

A compiler is asked for once, when the package is built, and is not needed: without one there are no extension modules,
and numpy does their work. The results are the same, bit for bit; C takes a small part of the time. (Numba would have to
be there wherever the program runs: two hundred megabytes, most of a second to import, and seconds to compile in every
process.)

The variable ``COMBINER_NATIVE`` of the environment says otherwise: ``0`` takes numpy, ``plain`` takes C without the
vectors of AVX2 as far as there is such a version, for tests and for looking for faults.
"""

from __future__ import annotations

import os

VARIABLE = "COMBINER_NATIVE"


def wanted() -> bool:
    """Whether to run code in C at all."""
    return os.environ.get(VARIABLE, "") != "0"


def vectors_wanted() -> bool:
    """Whether to use vectors where the processor has them."""
    return os.environ.get(VARIABLE, "") not in ("0", "plain")
